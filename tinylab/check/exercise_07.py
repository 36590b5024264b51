"""Tasks of exercise 07: two measures of an error, the layer that hurts, and three networks to mend."""

import functools
import math
from typing import Any

import numpy as np

from tinylab import conversion, runners
from tinylab._tensorflow import keras
from tinylab.affine import params_from_range, quantize
from tinylab.check.given_07 import (
    LAST,
    NOT_WANTED,
    PLACES,
    SURE,
    outlier_weights,
    patients,
    some_images,
    split_images,
    switched_off,
    uneven_channels,
)
from tinylab.check.task import Right, Task, near
from tinylab.conversion import Recipe
from tinylab.debug import LayerErrors, layer_errors

CALIBRATION = 100  # images
TO_MEND_WITH = 1000  # images: what is 0 on all of these is 0 on hardly any other
MOST_OFF = 1e-4  # of a number: what float32 rounds away, and more
MOST_MOVED, MOST_CHANGED = 0.01, 0.005  # of a probability; share of images with a larger move
LEAST_AGREEING = 0.97  # share of images to which int8 gives the class that float32 gave


# 1. Signal and error


def _cases_of_signals(rng: np.random.Generator) -> list[tuple]:
    """A small error, an error larger than the signal, and numbers far from 0."""
    cases = []
    for mean, error in ((0.0, 0.05), (0.0, 3.0), (5.0, 0.2)):
        reference = rng.normal(mean, 1, (2, 5, 3)).astype(np.float32)
        cases.append(
            (reference, (reference * 1.1 + rng.normal(0, error, reference.shape)).astype(np.float32))
        )
    return cases


def _decibels(reference: np.ndarray, values: np.ndarray) -> Right:
    r, v = reference.astype(np.float64), values.astype(np.float64)
    ratio = (r**2).sum() / ((r - v) ** 2).sum()
    answer = 10 * math.log10(ratio)
    return Right(
        answer,
        {
            "which of the two is the error? It goes below the line.": -answer,
            "20 log10 is for a ratio of values; this is one of squares.": 2 * answer,
            "squares on both sides of the line?": 10 * math.log10(np.abs(r).sum() / np.abs(r - v).sum()),
            "the decimal logarithm: np.log10.": 10 * math.log(ratio),
            "a ratio is not yet in dB: 10 log10 of it.": ratio,
            "the signal is the reference.": 10 * math.log10((v**2).sum() / ((r - v) ** 2).sum()),
            "its mean belongs to the signal: no variance here.": 10 * math.log10(r.var() / (r - v).var()),
            "one ratio of two sums, no mean of ratios.": 10 * math.log10((r**2 / (r - v) ** 2).mean()),
        },
    )


sqnr = Task(
    "sqnr",
    _cases_of_signals,
    _decibels,
    near(MOST_OFF),
    (
        "Two sums of squares: of the reference, and of what differs from it.",
        "10 * np.log10(ratio), with the signal above the line and the error below it.",
        "return 10 * np.log10((reference**2).sum() / ((reference - values) ** 2).sum())",
    ),
)


# 2. Errors in steps


def _cases_of_codes(rng: np.random.Generator) -> list[tuple]:
    """Values that were only rounded, after a ReLU; some that were clipped, too; and wrong ones."""
    cases = []
    for low, high, reach, wrong in ((0.0, 6.0, 1.0, 0), (-1.0, 3.0, 1.5, 0), (-2.0, 2.0, 1.0, 4)):
        params = params_from_range(low, high * rng.uniform(0.9, 1.1))
        real = (reach * rng.uniform(low, high, (3, 20))).astype(np.float32)
        codes = quantize(real, params).astype(np.int64) + rng.integers(-wrong, wrong + 1, real.shape)
        codes = np.clip(codes, -128, 127).astype(np.int8)
        cases.append((real, codes, params.scale, params.zero_point))
    return cases


def _rmse(real: np.ndarray, codes: np.ndarray, scale: float, zero_point: int) -> Right:
    q = codes.astype(np.int64)

    def rms(values: np.ndarray) -> float:
        return float(np.sqrt(((real - values) ** 2).mean()))

    right = scale * (q - zero_point)
    wrapped = (q - zero_point).astype(np.int8)
    return Right(
        rms(right) / scale,
        {
            "in steps: divide by the scale.": rms(right),
            "divide by the scale, do not multiply.": rms(right) * scale,
            "the root is missing.": ((real - right) ** 2).mean() / scale**2,
            "the root is missing, and the scale squared.": ((real - right) ** 2).mean() / scale,
            "int8 overflows: codes - zero_point needs a wider dtype.": rms(scale * wrapped.astype(np.float64))
            / scale,
            "is the zero point in it?": rms(scale * q) / scale,
            "the zero point is taken away, not added.": rms(scale * (q + zero_point)) / scale,
            "the codes have to become real numbers first.": rms(q) / scale,
            "the mean of squares, not of absolute values.": np.abs(real - right).mean() / scale,
            "the mean, not the largest error.": np.abs(real - right).max() / scale,
        },
    )


rmse_in_steps = Task(
    "rmse_in_steps",
    _cases_of_codes,
    _rmse,
    near(MOST_OFF),
    (
        "First the real numbers that the codes stand for, then the root of the mean of squared differences.",
        "scale * (codes - zero_point), but not in int8: codes.astype(int). A step is as long as the scale.",
        "values = scale * (codes.astype(int) - zero_point); "
        "return np.sqrt(((real - values) ** 2).mean()) / scale",
    ),
)


# 3. The guilty layer


def _cases_of_files(rng: np.random.Generator) -> list[tuple]:
    return [(*files, images.copy()) for *files, images in _files(int(rng.integers(2**31)))]


@functools.cache
def _files(seed: int) -> tuple[tuple[bytes, bytes, np.ndarray], ...]:
    """A float32 file, an int8 file and images: each kind of broken network once, some again.

    One int8 file takes uint8, so that its operators are numbered from a QUANTIZE on.
    """
    rng = np.random.default_rng(seed)
    images = some_images(rng, CALIBRATION)
    networks = patients(int(rng.integers(2**31))).values()
    recipes = (Recipe.INT8, Recipe.INT8_UINT8_IO, Recipe.INT8)
    made = [
        (conversion.convert(network, Recipe.FLOAT32), conversion.convert(network, recipe, images), images)
        for network, recipe in zip(networks, recipes, strict=True)
    ]
    return tuple(made[i] for i in rng.permutation([*range(len(made)), *rng.integers(0, len(made), 2)]))


def _greatest_fall(errors: LayerErrors) -> int:
    """The number of the operator behind which the SQNR is furthest below what it was before."""
    return int(errors.table["sqnr_so_far"].diff().idxmin())


@functools.lru_cache(maxsize=8)
def _layer_errors(float_file: bytes, int8_file: bytes, pixels: bytes) -> LayerErrors:
    images = np.frombuffer(pixels, np.float32).reshape(-1, 28, 28, 1)
    return layer_errors(float_file, int8_file, images)


def _guilty(float_file: bytes, int8_file: bytes, images: np.ndarray) -> tuple[Right, LayerErrors]:
    """The right answer, and what it was read from."""
    errors = _layer_errors(float_file, int8_file, images.tobytes())
    table, number = errors.table, _greatest_fall(errors)
    mistakes = {
        "what the operator adds by itself? A coarse step may be harmless here, and fatal to the next.": int(
            errors.worst.name
        ),
        "the lowest of all? Errors are handed on: asked is the greatest fall.": int(
            table["sqnr_so_far"].idxmin()
        ),
        "its place in the table? Its number in the file is the table's index.": table.index.get_loc(number),
        "that one's output is still good: the SQNR falls in the operator behind it.": number - 1,
    }
    return Right(number, mistakes), errors


def _same_operator(expected: tuple[Right, LayerErrors], got: Any) -> str:
    right, errors = expected
    got = got.item() if isinstance(got, np.generic) else got
    if type(got) is int and got == right.answer:
        return ""
    so_far = ", ".join(f"{n}: {value:.0f}" for n, value in errors.table["sqnr_so_far"].items())
    return f"expected  {right.answer}\ngot       {got!r}\nso far    {so_far} dB" + right.recognized(got)


guilty_layer = Task(
    "guilty_layer",
    _cases_of_files,
    _guilty,
    _same_operator,
    (
        "layer_errors(float_file, int8_file, images).table has the SQNR behind each operator: sqnr_so_far.",
        "Compare each with that of the operator before it: where does it fall most?",
        "return table['sqnr_so_far'].diff().idxmin()",
    ),
)


# 4. to 6. Mending


def _answers(model: keras.Model) -> np.ndarray:
    return model(split_images("test", 1000), training=False).numpy()


def _is_mended(expected: tuple[keras.Model, np.ndarray], got: Any) -> str:
    """The float32 answers of the broken network, and int8 answers that agree with them."""
    broken, images = expected
    if not isinstance(got, keras.Model):
        return f"expected  a Keras model\ngot       {type(got).__name__}"
    shapes, expected_shapes = ((m.input_shape, m.output_shape) for m in (got, broken))
    if shapes != expected_shapes:
        return f"expected  a model from {expected_shapes[0]} to {expected_shapes[1]}\ngot       {shapes}"
    before, after = _answers(broken), _answers(got)
    moved = ~(np.abs(after - before).max(axis=1) <= MOST_MOVED)  # NaN has moved, too
    if moved.mean() > MOST_CHANGED:
        text = (
            f"expected  float32 to answer as before\ngot       {moved.sum()} of {len(moved):,} answers moved"
        )
        back = sorted({*after.argmax(axis=1).tolist()} - {*before.argmax(axis=1).tolist()})
        return text + "".join(f"\nperhaps   class {number} is back?" for number in back[:1])
    images = images[:CALIBRATION]
    tflite_model = conversion.convert(got, Recipe.INT8, images)
    chosen = runners.load(tflite_model).predict(split_images("test", 1000)).argmax(axis=1)
    agreeing = (chosen == before.argmax(axis=1)).mean()
    if agreeing >= LEAST_AGREEING:
        return ""
    errors = layer_errors(conversion.convert(got, Recipe.FLOAT32), tflite_model, images)
    row = errors.table.loc[_greatest_fall(errors)]
    return (
        f"expected  int8 to choose as float32 did, on {LEAST_AGREEING:.0%} of the images\n"
        f"got       {agreeing:.1%}\n"
        f"perhaps   operator {row.name}, {row.operator}? Behind it the SQNR is {row.sqnr_so_far:.0f} dB."
    )


def _given(model: keras.Model, images: np.ndarray) -> tuple[keras.Model, np.ndarray]:
    return model, images


def _with_other_classes(model: keras.Model, rng: np.random.Generator) -> keras.Model:
    """The network with its classes in another order: its answers are those of no other network."""
    order = rng.permutation(model.output_shape[-1])
    model.layers[LAST].set_weights([weights[..., order] for weights in model.layers[LAST].get_weights()])
    return model


def _to_mend(model: keras.Model, rng: np.random.Generator) -> tuple[keras.Model, np.ndarray]:
    return _with_other_classes(model, rng), some_images(rng, TO_MEND_WITH)


def _cases_of_channels(rng: np.random.Generator) -> list[tuple]:
    """One place, and the two others at once."""
    first, *others = (tuple(place) for place in rng.permutation(PLACES))
    return [_to_mend(uneven_channels(rng, *places), rng) for places in ([first], others)]


mend_channels = Task(
    "mend_channels",
    _cases_of_channels,
    _given,
    _is_mended,
    (
        "rescale_channels made them uneven, and can make them even. equalizing_factors knows by how much.",
        "Go through the three places, and rescale each. model.layers[0].name is the first layer's name.",
        "for a, b in places: names = model.layers[a].name, model.layers[b].name; "
        "model = rescale_channels(model, *names, equalizing_factors(model, *names, images)); return model",
    ),
)


def _cases_of_outliers(rng: np.random.Generator) -> list[tuple]:
    """Two of the three places."""
    places = rng.permutation(PLACES)[:2]
    return [_to_mend(outlier_weights(rng, tuple(place)), rng) for place in places]


mend_outliers = Task(
    "mend_outliers",
    _cases_of_outliers,
    _given,
    _is_mended,
    (
        "The huge weights are multiplied by 0 on every image. Do they have to be huge?",
        "What a layer reads: read_by(model, number, images). Which of its inputs are 0 on all images?",
        "read = read_by(model, number, images); dead = read.reshape(-1, read.shape[-1]).max(axis=0) == 0; "
        "kernel, bias = model.layers[number].get_weights(); kernel[..., dead, :] = 0, and set_weights.",
    ),
)


def _cases_of_classes(rng: np.random.Generator) -> list[tuple]:
    """The class that the network is most sure of, and any other."""
    numbers = rng.permutation([SURE, rng.choice(NOT_WANTED)])
    return [_to_mend(switched_off(rng, number), rng) for number in numbers]


mend_switched_off = Task(
    "mend_switched_off",
    _cases_of_classes,
    _given,
    _is_mended,
    (
        "How low does a logit have to be, never to win? Lower than that only makes the scale coarser.",
        "Logits: read_by(model, 7, images) @ kernel + bias. A logit is the bias and what the weights add.",
        "kernel[:, number] = 0, so that the weights add nothing, and bias[number] = the lowest logit of the "
        "other classes: np.delete(logits, number, axis=1).min().",
    ),
)
