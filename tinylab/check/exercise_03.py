"""Tasks of exercise 03: representative data, integers at the door, and what is wrong with these models."""

import functools
from typing import Any

import numpy as np

from tinylab import conversion, data, runners, tflite_file
from tinylab._tensorflow import keras, tf
from tinylab.affine import AffineParams, integer_limits, round_half_away
from tinylab.check import given_03
from tinylab.check.networks import image_network
from tinylab.check.task import Right, Task, exactly, identical
from tinylab.conversion import Recipe
from tinylab.precision import precision

RANGE_TOLERANCE = 1e-5  # of a range that was observed, as a share of its width
MOST_WRONG = 0.1  # how far an int8 file's outputs may be from the model's, as a share of their span
MANY_TIMES, TOO_SHORT = 10, 0.75  # how far an input reaches: its upper end / the brightest pixel
FINE, NOT_SCALED, DIMMED, FLOAT_INSIDE = "fine", "not scaled", "dimmed", "float inside"


@functools.cache
def _train_images() -> np.ndarray:
    return data.arrays("fashion_mnist", "train")[0]


def _images(rng: np.random.Generator, count: int) -> np.ndarray:
    """Real images, uint8 (count, 28, 28, 1), of which the last one only has a white pixel.

    So whoever leaves out the last one, or takes the first one only, observes another range.
    """
    images = _train_images()[rng.choice(len(_train_images()), count, replace=False)]
    images = np.minimum(images, 180)
    images[-1, 14, 14] = 255
    return images


def _scaled(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / 255


# 1. Representative data


def _items_of(expected: Right, got: Any) -> str:
    """One list for each image, with one float32 array (1, 28, 28, 1) in it, from 0 to 1."""
    images = expected.answer
    if not isinstance(got, list):
        return f"expected  a generator of lists\ngot       {type(got).__name__}"
    for item in got:
        wrong = _fault_of_item(item)
        if wrong:
            return f"expected  lists with one float32 array (1, 28, 28, 1) each\ngot       {wrong}"
    if len(got) != len(images):
        number = len(got) if len(got) < len(images) else f"more than {len(images)}"
        return f"expected  {len(images)} items, one for each image\ngot       {number}"
    values = np.concatenate([item[0] for item in got])
    if not np.allclose(values, _scaled(images), rtol=0, atol=1e-6):
        text = f"expected  pixels from {images.min() / 255:g} to {images.max() / 255:g}, in their order\n"
        return f"{text}got       from {values.min():g} to {values.max():g}" + expected.recognized(values)
    return ""


def _fault_of_item(item: Any) -> str:
    if not isinstance(item, (list, tuple)):
        return f"{type(item).__name__} in place of a list: [image]"
    if len(item) != 1 or not isinstance(item[0], np.ndarray):
        return f"a list of {', '.join(type(part).__name__ for part in item)}"
    right = (item[0].shape, item[0].dtype) == ((1, 28, 28, 1), np.float32)
    return "" if right else f"{item[0].dtype} {item[0].shape}"


def _right_items(images: np.ndarray) -> Right:
    return Right(
        images,
        {
            "pixels as for training: divided by 255.": images.astype(np.float32),
            "divided by 256?": images.astype(np.float32) / 256,
        },
    )


representative_data = Task(
    "representative_data",
    lambda rng: [(_images(rng, int(count)),) for count in rng.integers(3, 8, 2)],
    _right_items,
    _items_of,
    (
        "A generator is a function with yield in place of return: it hands out one item, and goes on.",
        "for image in images: prepare it, and yield [image]: float32, from 0 to 1, with a batch axis.",
        "yield [image[np.newaxis].astype(np.float32) / 255]",
    ),
    call=given_03.listed,
)


# 2. Integers only


def _is_integer_file(expected: tuple[keras.Model, np.ndarray], got: Any) -> str:
    """uint8 in and out, integers inside, the range of the images, and the model's answers."""
    model, images = expected
    if not isinstance(got, (bytes, bytearray)):
        return f"expected  the file's bytes\ngot       {type(got).__name__}"
    runner = runners.load(bytes(got))
    found, ends = precision(bytes(got)), [str(spec.dtype) for spec in (*runner.inputs, *runner.outputs)]
    if ends != ["uint8", "uint8"] or found.leftovers:
        text = f"{found.verdict}; in and out: {', '.join(ends)}"
        return f"expected  all integer, uint8 in and out\ngot       {text}"
    low, high = runner.inputs[0].params.limits
    brightest = float(images.max()) / 255
    if abs(low) > RANGE_TOLERANCE or abs(high - brightest) > RANGE_TOLERANCE:
        text = f"expected  an input from 0 to {brightest:g}\ngot       an input from {low:g} to {high:g}\n"
        return f"{text}perhaps   not all of the images, or pixels that were not divided by 255?"
    answers = np.asarray(model(_scaled(images), training=False))
    far = np.abs(runner.predict(_scaled(images)) - answers).max() / np.ptp(answers)
    return (
        "" if far <= MOST_WRONG else f"expected  the model's answers\ngot       others, {100 * far:.0f} % off"
    )


to_integers = Task(
    "to_integers",
    lambda rng: [(image_network(rng), _images(rng, 10)) for _ in range(2)],
    lambda model, images: (model, images),
    _is_integer_file,
    (
        "Five lines between making the converter and converter.convert(), as in the lesson.",
        "optimizations, representative_dataset, target_spec.supported_ops, inference_input_type and "
        "inference_output_type. The second one is a function: lambda: representative_data(images).",
        "[tf.lite.Optimize.DEFAULT], [tf.lite.OpsSet.TFLITE_BUILTINS_INT8], and tf.uint8 twice.",
    ),
)


# 3. Integers at the door


def _cases_of_pixels(rng: np.random.Generator) -> list[tuple]:
    """All pixel values for both types, and an input whose range they leave on both sides."""
    pixels = _scaled(rng.permutation(256)).reshape(16, 16)
    scale = float(np.float32(1 / 255))
    narrow = float(np.float32(rng.uniform(0.0021, 0.0029)))
    return [
        (pixels, scale, 0, "uint8"),
        (pixels, scale, -128, "int8"),
        (pixels * 2 - 1, narrow, int(rng.integers(-20, 20)), "int8"),
        (pixels * 2 - 1, narrow, int(rng.integers(100, 140)), "uint8"),
    ]


def _right_pixels(x: np.ndarray, scale: float, zero_point: int, dtype: str) -> Right:
    steps = x / np.float32(scale)
    lowest, highest = integer_limits(dtype)

    def clipped(codes: np.ndarray) -> np.ndarray:
        return np.clip(codes, lowest, highest).astype(dtype)

    return Right(
        clipped(round_half_away(steps) + zero_point),
        {
            "cut off instead of rounded? astype does that.": clipped(np.trunc(steps + zero_point)),
            "cut off before the zero point is added?": clipped(np.trunc(steps) + zero_point),
            "not clipped: 300 became 44?": (round_half_away(steps) + zero_point)
            .astype(np.int64)
            .astype(dtype),
            "is the zero point in it?": clipped(round_half_away(steps)),
            "the zero point is added, not taken away.": clipped(round_half_away(steps) - zero_point),
            "multiplied by the scale?": clipped(round_half_away(x * scale) + zero_point),
        },
    )


quantize_images = Task(
    "quantize_images",
    _cases_of_pixels,
    _right_pixels,
    identical(),
    (
        "Divide by the scale, round, add the zero point, clip, and only then change the dtype.",
        "np.iinfo(dtype).min and np.iinfo(dtype).max are the ends to clip to.",
        "codes = np.round(x / scale) + zero_point; limits = np.iinfo(dtype); "
        "return np.clip(codes, limits.min, limits.max).astype(dtype)",
    ),
)


# 4. What an input can represent


def _cases_of_inputs(rng: np.random.Generator) -> list[tuple]:
    """Ranges on one side of 0 and on both, in int8 and uint8."""
    cases = []
    for recipe, low in ((Recipe.INT8, -rng.uniform(0.5, 3)), (Recipe.INT8_UINT8_IO, -rng.uniform(0.1, 0.4))):
        cases.append((_calibrated(low, rng.uniform(1, 2), recipe),))
    return [*cases, (_calibrated(0.0, rng.uniform(0.2, 9), Recipe.INT8),)]


@functools.cache
def _calibrated(low: float, high: float, recipe: Recipe) -> bytes:
    """A file whose input was observed from low to high."""
    unchanged = keras.Sequential([keras.layers.MaxPooling2D(1, input_shape=(1, 1, 2), name="unchanged")])
    return conversion.convert(unchanged, recipe, np.float32([low, high]).reshape(1, 1, 1, 2))


def _limits(params: AffineParams) -> Right:
    lowest, highest = params.lowest, params.highest

    def ends(low: int, high: int, zero_point: int = params.zero_point) -> tuple[float, float]:
        return params.scale * (low - zero_point), params.scale * (high - zero_point)

    return Right(
        tuple(float(end) for end in params.limits),
        {
            "uint8 goes from 0 to 255, int8 from -128 to 127.": (
                ends(-128, 127) if params.dtype == "uint8" else ends(0, 255)
            ),
            "is the zero point in it?": ends(lowest, highest, zero_point=0),
            "the zero point is taken away, not added.": ends(lowest, highest, -params.zero_point),
            "symmetric? -128 belongs to int8, too.": ends(-127, 127),
            "how many codes? 256 of them have 255 steps between.": ends(lowest, highest + 1),
        },
    )


def _same_range(expected: Right, got: Any) -> str:
    low, high = expected.answer
    tolerance = RANGE_TOLERANCE * (high - low)
    try:
        got_low, got_high = (float(end) for end in got)
    except (TypeError, ValueError):
        return f"expected  two numbers, (low, high)\ngot       {type(got).__name__}"
    if abs(got_low - low) <= tolerance and abs(got_high - high) <= tolerance:
        return ""
    text = f"expected  {low:.6g} to {high:.6g}\ngot       {got_low:.6g} to {got_high:.6g}"
    same = functools.partial(np.allclose, rtol=0, atol=tolerance)
    return text + expected.recognized((got_low, got_high), same)


input_range = Task(
    "input_range",
    _cases_of_inputs,
    lambda tflite_model: _limits(runners.load(tflite_model).inputs[0].params),
    _same_range,
    (
        "Scale, zero point and dtype of the input are in runners.load(tflite_model).inputs[0].",
        "The smallest and the largest code of the dtype, as real numbers: scale * (code - zero_point).",
        "limits = np.iinfo(spec.dtype); low = spec.scale * (limits.min - spec.zero_point), high likewise.",
    ),
)


# 5. Integers inside?


def _cases_of_files(rng: np.random.Generator) -> list[tuple]:
    return [(content,) for content in _files(int(rng.integers(2**31)))]


@functools.cache
def _files(seed: int) -> list[bytes]:
    """Files of different kinds, each once and some again, in an order that the seed decides."""
    rng = np.random.default_rng(seed)
    samples = _scaled(_images(rng, 10))
    made = [
        conversion.convert(image_network(rng, activation), recipe, samples)
        for activation, recipe in (
            ("relu", Recipe.INT8),
            ("relu", Recipe.DYNAMIC_RANGE),
            ("relu", Recipe.FLOAT16),
            ("elu", Recipe.INT8),
        )
    ]
    made.append(_with_float_ends(image_network(rng, use_bias=False), samples))
    return [made[i] for i in rng.permutation([*range(len(made)), *rng.integers(0, len(made), 6)])]


def _with_float_ends(model: keras.Model, samples: np.ndarray) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[np.newaxis]] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


def _with_reason(tflite_model: bytes) -> tuple[bool, str]:
    """The right answer, and why."""
    file = tflite_file.parse(tflite_model)
    computing = [operator for operator in file.operators if operator.name not in ("QUANTIZE", "DEQUANTIZE")]
    used = {file.tensors[i].dtype for o in computing for i in (*o.inputs, *o.outputs) if i >= 0}
    return "float32" not in used, precision(tflite_model).verdict


def _same_answer(expected: tuple[Any, str], got: Any) -> str:
    answer, reason = expected
    wrong = exactly(answer, got)
    return f"{wrong}\nthe file  {reason}" if wrong else ""


computes_in_integers = Task(
    "computes_in_integers",
    _cases_of_files,
    _with_reason,
    _same_answer,
    (
        "Do not ask the input, nor the weights: ask every operator for the tensors that it reads and writes.",
        "Leave out QUANTIZE and DEQUANTIZE. Any other operator with a float32 tensor computes in float32.",
        "Collect file.tensors[i].dtype for i in (*operator.inputs, *operator.outputs) if i >= 0. The answer: "
        "'float32' not in dtypes.",
    ),
)


# 6. What is wrong with these models?


def _cases_of_patients(rng: np.random.Generator) -> list[tuple]:
    return [(content, images.copy()) for content, images in _patients(int(rng.integers(2**31)))]


@functools.cache
def _patients(seed: int) -> list[tuple]:
    """Files, and the images each of them is going to meet, in an order that the seed decides.

    One file of each pair takes images from 0 to 1, the other images with mean 0 and variance 1.
    """
    rng = np.random.default_rng(seed)
    complaints = [complaint for complaint in (FINE, NOT_SCALED, DIMMED, FLOAT_INSIDE) for _ in range(2)]
    order = rng.permutation(len(complaints))
    return [_patient(rng, complaints[i], standardized=bool(i % 2)) for i in order]


def _patient(rng: np.random.Generator, complaint: str, standardized: bool) -> tuple[bytes, np.ndarray]:
    """A file with this complaint, and real images as its network was trained on them."""
    pixels = _images(rng, 10)
    x = _scaled(pixels)
    if standardized:
        x = (x - x.mean()) / x.std()
    recipe = Recipe.INT8 if rng.random() < 0.5 else Recipe.INT8_UINT8_IO
    calibration, activation = x, "relu"
    if complaint == NOT_SCALED:
        calibration = pixels.astype(np.float32)
    elif complaint == DIMMED:
        calibration = x * np.float32(rng.uniform(0.45, 0.6))
    elif complaint == FLOAT_INSIDE and standardized:
        activation = "elu"
    elif complaint == FLOAT_INSIDE:
        recipe = Recipe.DYNAMIC_RANGE
    return conversion.convert(image_network(rng, activation), recipe, calibration), x


def _diagnosis(tflite_model: bytes, images: np.ndarray) -> tuple[str, str]:
    """The right answer, and why."""
    in_integers, verdict = _with_reason(tflite_model)
    if not in_integers:
        return FLOAT_INSIDE, verdict
    low, high = runners.load(tflite_model).inputs[0].params.limits
    reason = f"input from {low:.3g} to {high:.3g}, images from {images.min():.3g} to {images.max():.3g}"
    reach = high / images.max()
    return NOT_SCALED if reach > MANY_TIMES else DIMMED if reach < TOO_SHORT else FINE, reason


diagnose = Task(
    "diagnose",
    _cases_of_patients,
    _diagnosis,
    _same_answer,
    (
        "Look inside first, with computes_in_integers. Then compare input_range with the images' range.",
        "Calibrated with 0 to 255, the input reaches many times as far as the images; calibrated with dimmed "
        "images, not as far as they do.",
        "low, high = input_range(tflite_model). 'not scaled' if high > 10 * images.max(), 'dimmed' if "
        "high < 0.75 * images.max(), else 'fine'.",
    ),
)
