"""Tasks of exercise 04: a gradient for rounding, models that quantize_model rejects, a network to rescue."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylab import data, measure, tflite_file
from tinylab._tensorflow import keras, tf
from tinylab.check import given_04
from tinylab.check.answers import Foreign
from tinylab.check.given_04 import uneven_network
from tinylab.check.keras_objects import flat as _flat
from tinylab.check.networks import filled
from tinylab.check.task import Right, Task
from tinylab.quiet import quiet

with quiet():
    import tensorflow_model_optimization as tfmot

MOST_OFF = 1e-4  # of a number, as a share of the largest: what float32 rounds away, and more
IMAGE = (28, 28, 1)

TRAINED_ON = 8000  # images of the training split; the network has not met the others
GIVEN = 5000  # of these
LARGEST_LOSS = 0.02  # of accuracy


def _numbers(got: Any) -> np.ndarray | None:
    """An answer as float64; None if it holds no numbers."""
    try:
        return np.asarray(got, np.float64)
    except (TypeError, ValueError):
        return None


def _close(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where numbers are the same, apart from float rounding."""
    return np.abs(a - b) <= MOST_OFF * np.abs(b).max()


def _near(expected: Right, got: Any) -> str:
    """Arrays of the same shape, whose numbers are close."""
    right, numbers = expected.answer, _numbers(got)
    if numbers is None or numbers.shape != right.shape:
        shown = type(got).__name__ if numbers is None else f"shape {numbers.shape}"
        return f"expected  shape {right.shape}\ngot       {shown}"
    differing = np.argwhere(~_close(numbers, right))
    if not len(differing):
        return ""
    place = tuple(differing[0])
    text = f"at {list(map(int, place))}, and {len(differing)} of {right.size} differ:\n"
    text += f"expected  {right[place]:.6g}\ngot       {numbers[place]:.6g}"
    return text + expected.recognized(numbers, lambda got, mistake: _close(got, mistake).all())


def _highest(bits: int) -> int:
    return 2 ** (bits - 1) - 1


def _rounded(x: np.ndarray, scale: float, bits: int) -> np.ndarray:
    return scale * np.clip(np.round(x / scale), -_highest(bits), _highest(bits))


# 1. Fake quantization


def _steps(rng: np.random.Generator, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of steps, no exact halves: inside the range, beyond it, and between the last code and there."""
    last = _highest(bits)
    steps = rng.integers(-last, last, shape) + rng.uniform(0.55, 1.45, shape)
    edge = last + np.array([-0.3, 0.1, 0.3, 0.7, 2.2]) + rng.uniform(-0.05, 0.05, 5)
    steps.flat[:10] = rng.permutation([*edge, *-edge])
    return steps


def _cases_of_numbers(rng: np.random.Generator) -> list[tuple]:
    """The widths of the lesson, the narrowest among them; one array has two axes."""
    widths = (int(rng.integers(4, 7)), (15,)), (8, (4, 5)), (2, (12,))
    cases = []
    for bits, shape in widths:
        scale = float(np.float32(rng.uniform(0.01, 0.3)))
        cases.append(((_steps(rng, bits, shape) * scale).astype(np.float32), scale, bits))
    return cases


def _by_tensorflow(x: tf.Tensor, scale: float, bits: int) -> tf.Tensor:
    end = np.float32(scale * _highest(bits))
    return tf.quantization.fake_quant_with_min_max_vars(x, -end, end, bits, narrow_range=True)


def _fake_quantized(x: np.ndarray, scale: float, bits: int) -> Right:
    highest, steps = _highest(bits), x / scale
    codes = np.clip(np.round(steps), -highest, highest)
    return Right(
        _by_tensorflow(tf.constant(x), scale, bits).numpy(),
        {
            "from the codes back to real numbers: times the scale.": codes,
            "not clipped to the codes that there are?": scale * np.round(steps),
            f"a symmetric type leaves out its lowest code: from {-highest} on.": scale
            * np.clip(np.round(steps), -highest - 1, highest),
            f"the highest code is 2 ** (bits - 1) - 1, {highest} here.": scale
            * np.clip(np.round(steps), -highest - 1, highest + 1),
            "a symmetric type has as many codes below 0 as above it.": scale
            * np.clip(np.round(steps), 0, 2**bits - 1),
            "cut off instead of rounded?": scale * np.clip(np.trunc(steps), -highest, highest),
            "clipped, but not rounded?": scale * np.clip(steps, -highest, highest),
        },
    )


fake_quantize = Task(
    "fake_quantize",
    _cases_of_numbers,
    _fake_quantized,
    _near,
    (
        "Divide by the scale, round, clip to the codes that there are, multiply by the scale.",
        "The highest code is 2 ** (bits - 1) - 1, the lowest is minus that.",
        "highest = 2 ** (bits - 1) - 1; return scale * np.clip(np.round(x / scale), -highest, highest)",
    ),
)


# 2. The gradient that passes


def _cases_of_gradients(rng: np.random.Generator) -> list[tuple]:
    """With gradients of which some are larger than the last code, and should not be clipped."""
    return [
        (x, scale, bits, rng.normal(0, 2 * scale * _highest(bits), x.shape).astype(np.float32))
        for x, scale, bits in _cases_of_numbers(rng)
    ]


def _passed(x: np.ndarray, scale: float, bits: int, upstream: np.ndarray) -> Right:
    variable, end = tf.Variable(x), scale * _highest(bits)
    with tf.GradientTape() as tape:
        y = _by_tensorflow(variable, scale, bits)
    inside = np.abs(x) <= end
    return Right(
        tape.gradient(y, variable, output_gradients=tf.constant(upstream)).numpy() + 0.0,  # no -0
        {
            "outside of the range y is clipped: there it does not change with x.": upstream,
            "what comes from behind is missing: times upstream.": 1.0 * inside,
            "the slope of a stair is 0, but straight-through pretends that it is 1.": 0.0 * upstream,
            "the other way round: it passes inside the range.": upstream * ~inside,
            "a number beyond the last code is outside, even if it is rounded to that code.": upstream
            * (np.abs(np.round(x / scale)) <= _highest(bits)),
            "on both sides: below the lowest code, too.": upstream * (x <= end),
            "straight through: not times the scale.": upstream * inside * scale,
            "straight through: not divided by the scale.": upstream * inside / scale,
            "where x is outside, not where the gradient is: it is x that decides.": np.clip(
                upstream, -end, end
            ),
        },
    )


straight_through_gradient = Task(
    "straight_through_gradient",
    _cases_of_gradients,
    _passed,
    _near,
    (
        "Forget the rounding, and keep the clipping: how does clip(x, -end, end) change with x?",
        "By 1 where x lies between the ends, by 0 elsewhere. The ends are the lowest and the highest code, "
        "times the scale.",
        "return upstream * (np.abs(x) <= scale * (2 ** (bits - 1) - 1))",
    ),
)


# 3. Training through rounding


def _cases_of_trainings(rng: np.random.Generator) -> list[tuple]:
    """Weights in a range from -1 to 1; in the last case one of them begins outside."""
    cases = []
    for bits, largest in ((4, 0.97), (3, 0.97), (3, 1.6)):
        x, wanted = rng.normal(0, 1, (40, 6)), rng.uniform(-0.9, 0.9, 6)
        y = x @ wanted + rng.normal(0, 0.1, 40)
        w = wanted + rng.uniform(-0.3, 0.3, 6)
        w[rng.integers(6)] = largest * rng.choice([-1, 1])
        rate, steps = float(rng.uniform(0.03, 0.06)), int(rng.integers(8, 20))
        cases.append((x, y, w, 1 / _highest(bits), bits, rate, steps))
    return cases


def _descended(
    x: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    rate: float,
    steps: int,
    forward: Callable,
    passes: Callable,
    kept: Callable = np.asarray,
) -> np.ndarray:
    """Weights after so many steps downhill, of which `kept` is kept after each."""
    with np.errstate(all="ignore"):  # some mistakes lead to infinity
        for _ in range(steps):
            gradient = 2 * x.T @ (x @ forward(w) - y) / len(y)
            w = kept(w - rate * gradient * passes(w))
    return w


def _trained_through(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, scale: float, bits: int, rate: float, steps: int
) -> Right:
    def rounded(w: np.ndarray) -> np.ndarray:
        return _rounded(w, scale, bits)

    def inside(w: np.ndarray) -> np.ndarray:
        return np.abs(w) <= scale * _highest(bits)

    def everywhere(w: np.ndarray) -> float:
        return 1.0

    right = _descended(x, y, w, rate, steps, rounded, inside)
    return Right(
        right,
        {
            "return the weights that were trained, in full precision: rounding them comes last.": rounded(
                right
            ),
            "the rounded weights were kept? Then small steps are lost: keep them in full precision, and "
            "round in each forward pass.": _descended(x, y, w, rate, steps, rounded, inside, rounded),
            "the prediction takes the rounded weights: the error has to feel the rounding.": _descended(
                x, y, w, rate, steps, np.asarray, inside
            ),
            "a weight outside of the range gets no gradient.": _descended(
                x, y, w, rate, steps, rounded, everywhere
            ),
            "uphill? The gradient is taken away.": _descended(x, y, w, -rate, steps, rounded, inside),
            "the mean over the samples, not the sum.": _descended(
                x, y, w, rate * len(y), steps, rounded, inside
            ),
            "the derivative of a square has a 2.": _descended(x, y, w, rate / 2, steps, rounded, inside),
            "a single step?": _descended(x, y, w, rate, 1, rounded, inside),
            "not trained?": w,
        },
    )


train_rounded = Task(
    "train_rounded",
    _cases_of_trainings,
    _trained_through,
    _near,
    (
        "In each step: round w with your fake_quantize, compute the error of the prediction with that, and "
        "from the error the gradient. Then change w itself, which stays in full precision.",
        "With error = x @ rounded - y, upstream is 2 * x.T @ error / len(y): the gradient of the rounded "
        "weights. straight_through_gradient makes of it that of w.",
        "for _ in range(steps): error = x @ fake_quantize(w, scale, bits) - y; upstream = 2 * x.T @ error / "
        "len(y); w = w - rate * straight_through_gradient(w, scale, bits, upstream). Then return w.",
    ),
)


# 4. Batch normalization, as a convolution


def _cases_of_normalizations(rng: np.random.Generator) -> list[tuple]:
    """Layers that have met data; one with small variances, beside which epsilon counts."""
    cases = []
    for epsilon, largest in ((1e-3, 4.0), (0.1, 0.05)):
        channels = int(rng.integers(3, 9))
        layer = keras.layers.BatchNormalization(epsilon=epsilon)
        layer.build((None, 7, 7, channels))
        gamma, beta, mean = rng.normal(0, 1, (3, channels))
        layer.set_weights([gamma + 3, beta, mean, rng.uniform(0.1, 1, channels) * largest])
        cases.append((layer,))
    return cases


def _normalized(layer: keras.layers.BatchNormalization) -> tuple[np.ndarray, Right]:
    """Something to put into the layer, and what comes out."""
    gamma, beta, mean, variance = layer.get_weights()
    x = np.random.default_rng(0).normal(0, 2, (2, 7, 7, gamma.size)).astype(np.float32)
    deviation = np.sqrt(variance + layer.epsilon)
    return x, Right(
        layer(x, training=False).numpy(),
        {
            "without epsilon?": gamma * (x - mean) / np.sqrt(variance) + beta,
            "epsilon is added to the variance, before the root.": gamma
            * (x - mean)
            / (np.sqrt(variance) + layer.epsilon)
            + beta,
            "divided by the root of the variance, not by the variance.": gamma
            * (x - mean)
            / (variance + layer.epsilon)
            + beta,
            "the mean is divided by the deviation, too, and multiplied by gamma.": gamma * x / deviation
            + beta
            - mean,
            "is the mean in the bias?": gamma * x / deviation + beta,
            "the mean is taken away.": gamma * (x + mean) / deviation + beta,
            "is gamma in it?": (x - mean) / deviation + beta,
            "is beta in the bias?": gamma * (x - mean) / deviation,
            "a layer that does nothing yet?": x,
        },
    )


def _is_same_convolution(expected: tuple[np.ndarray, Right], got: Any) -> str:
    x, right = expected
    if not isinstance(got, (keras.layers.DepthwiseConv2D, keras.layers.Conv2D)):
        return f"expected  a DepthwiseConv2D layer of tf_keras\ngot       {_kind(got)}"
    try:
        values = got(x)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        return f"expected  a layer for {right.answer.shape[-1]} channels\ngot       {_in_short(error)}"
    return _near(right, values)


def _kind(got: Any) -> str:
    """A type's name, with its library: there are several Kerases."""
    library, name = type(got).__module__.split(".")[0], type(got).__name__
    return name if library == "builtins" else f"{library}.{name}"


def _in_short(error: Exception) -> str:
    """An error's type, and the first sentence that it says."""
    lines = (line.strip() for line in str(error).splitlines())
    text = next((line for line in lines if line), "")
    return f"{type(error).__name__}: {text.split('. ')[0]}"[:200]


as_convolution = Task(
    "as_convolution",
    _cases_of_normalizations,
    _normalized,
    _is_same_convolution,
    (
        "Multiply out: gamma * (x - mean) / sqrt(variance + epsilon) + beta is factor * x + offset, with one "
        "factor and one offset a channel.",
        "factor = gamma / np.sqrt(variance + layer.epsilon), offset = beta - mean * factor. A "
        "DepthwiseConv2D of size 1 multiplies each channel by a number, and adds its bias.",
        "return keras.layers.DepthwiseConv2D(1, weights=[factor.reshape(1, 1, -1, 1), offset])",
    ),
)


# 5. Models that quantize_model rejects


def _rejected(rng: np.random.Generator, name: str, *first: keras.layers.Layer) -> keras.Model:
    """A network that begins like this, with random weights, and variances that are none below 0."""
    last = keras.layers.MaxPooling2D(4), keras.layers.Flatten(), keras.layers.Dense(10)
    model = filled(keras.Sequential([keras.Input(IMAGE), *first, *last], name=name), rng)
    for layer in _flat(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            *others, variance = layer.get_weights()
            layer.set_weights([*others, variance**2 + 0.01])
    return model


def _cases_of_rejected(rng: np.random.Generator) -> list[tuple]:
    """One ailment each, and then a model that has them all, two models deep."""
    layers, (a, b) = keras.layers, rng.integers(4, 9, 2).tolist()

    def active() -> keras.layers.Layer:
        return layers.Conv2D(a, 3, activation="relu")

    def inner(name: str, shape: tuple, *parts: keras.layers.Layer) -> keras.Model:
        return keras.Sequential([keras.Input(shape), *parts], name=name)

    same = layers.Conv2D(b, 3, padding="same")
    good = layers.Conv2D(b, 3, use_bias=False), layers.BatchNormalization(), layers.ReLU()
    scaled = layers.Rescaling(1 / 127.5, offset=-1), active(), layers.BatchNormalization()
    backbone = inner("backbone", IMAGE, *scaled, inner("head", (26, 26, a), *good))
    return [
        (_rejected(rng, "scales_its_input", layers.Rescaling(1 / 255), active()),),
        (_rejected(rng, "a_model_in_a_model", inner("inner", IMAGE, active())),),
        (_rejected(rng, "normalizes_behind_an_activation", active(), layers.BatchNormalization(), same),),
        (_rejected(rng, "all_of_it", backbone),),
    ]


@dataclass(frozen=True)
class _Repaired:
    """What a repaired model has to answer to images.

    Attributes:
        unscaled: images as the rejected model takes them.
        images: as the repaired one does: the same, where nothing scales them.
        answers: (N, 10).
    """

    unscaled: np.ndarray
    images: np.ndarray
    answers: np.ndarray


def _expected_of(model: keras.Model) -> _Repaired:
    images = data.arrays("fashion_mnist", "test")[0][:20].astype(np.float32)
    scaling = [layer for layer in _flat(model) if isinstance(layer, keras.layers.Rescaling)]
    unscaled = images if scaling else images / 255
    images = scaling[0](unscaled).numpy() if scaling else unscaled
    return _Repaired(unscaled, images, model(unscaled, training=False).numpy())


def _is_repaired(expected: _Repaired, got: Any) -> str:
    """A tf_keras model that is accepted as a whole, and answers as before."""
    if not isinstance(got, keras.Model):
        text = f"expected  a tf_keras model\ngot       {_kind(got)}"
        if isinstance(got, Foreign) and "Quantize" in got.remark:
            text += "\nperhaps   is it wrapped already? The check calls quantize_model itself."
        return text
    try:
        quantized = tfmot.quantization.keras.quantize_model(got)
    except Exception as error:  # the model is the learner's, and tfmot raises whatever it meets
        return f"expected  a model that quantize_model accepts\ngot       {_in_short(error)}"
    kinds = {type(layer) for layer in got.layers} - {keras.layers.InputLayer}
    left = [layer for layer in quantized.layers if type(layer) in kinds]  # the others are wrapped
    if left:
        return f"expected  layers that can be rounded\ngot       {_kind(left[0])}, which is left in float32"
    if got.input_shape != (None, *IMAGE) or got.output_shape != (None, 10):
        text = f"{got.input_shape[1:]} to {got.output_shape[1:]}"
        return f"expected  a model from {IMAGE} to (10,)\ngot       one from {text}"

    def farthest(images: np.ndarray) -> float:
        """How far the answers are from the right ones, as a share of their span."""
        return float(np.abs(got(images, training=False) - expected.answers).max() / np.ptp(expected.answers))

    if farthest(expected.images) <= MOST_OFF:
        return ""
    text = f"expected  the answers as before\ngot       others, {100 * farthest(expected.images):.3g} % off"
    if farthest(expected.unscaled) <= MOST_OFF:
        text += "\nperhaps   it still scales its input? It gets images that are scaled already."
    return text


repair = Task(
    "repair",
    _cases_of_rejected,
    _expected_of,
    _is_repaired,
    (
        "Make a list of the layers that a repaired model has, going through model.layers, and then a "
        "keras.Sequential of keras.Input(model.input_shape[1:]) and that list.",
        "Three questions about each layer. Is it a keras.Model? Then its layers are wanted, and they may "
        "have the same ailments. A BatchNormalization? You have as_convolution. A Rescaling? Leave it out.",
        "For a model inside, the function can call itself: layers += repair(layer).layers.",
    ),
)


# 6. The rescue


@functools.cache
def _images() -> tuple[np.ndarray, np.ndarray]:
    images, labels = data.arrays("fashion_mnist", "train")
    return images.astype(np.float32) / 255, labels


@functools.cache
def _held_out() -> tuple[np.ndarray, np.ndarray]:
    """What no network has been trained on: the rest of the training split, and the test split."""
    images, labels = data.arrays("fashion_mnist", "test")
    return (
        np.concatenate([_images()[0][TRAINED_ON:], images.astype(np.float32) / 255]),
        np.concatenate([_images()[1][TRAINED_ON:], labels]),
    )


@functools.cache
def _float32_accuracy() -> float:
    """What the uneven network reaches before anything is rounded."""
    x, labels = _held_out()
    return float(np.mean(uneven_network().predict(x, verbose=0).argmax(axis=1) == labels))


def _cases_of_rescues(rng: np.random.Generator) -> list[tuple]:
    """The same network, three times, and other images to train it on: luck does not come three times."""
    cases = []
    for _ in range(3):
        chosen = rng.choice(TRAINED_ON, GIVEN, replace=False)
        cases.append((uneven_network(), *(array[chosen] for array in _images())))
    return cases


def _is_rescued(wanted: int, got: Any) -> str:
    """A file with all weights in 4 bits, and nearly the float model's accuracy: the file is judged."""
    if not isinstance(got, dict):
        return f"expected  the quantization-aware model, which training changes\ngot       {_kind(got)}"
    if "file" not in got:
        return f"got       a model that cannot be converted\n{got.get('refused')}"
    content = got["file"]
    found = _weights_in_4_bits(content)
    if found != wanted:
        return f"expected  {wanted:,} weights in 4 bits in the file\ngot       {found:,}"
    accuracy, least = measure.accuracy(content, *_held_out()), _float32_accuracy() - LARGEST_LOSS
    if accuracy >= least:
        return ""
    text = f"expected  an accuracy of {least:.3f}, {LARGEST_LOSS:g} below float32's\n"
    text += f"got       {accuracy:.3f}, measured on the file and images that are new to it"
    if got.get("same weights"):
        text += "\nperhaps   not trained? Its weights are what they were, before they are rounded."
    return text


def _weights(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> int:
    """How many weights there are to round."""
    return sum(kernel.size for kernel in model.get_weights() if kernel.ndim > 1)


def _weights_in_4_bits(tflite_model: bytes) -> int:
    constants = [tensor for tensor in tflite_file.parse(tflite_model).tensors if tensor.nbytes]
    return sum(math.prod(tensor.shape) for tensor in constants if tensor.dtype == "int4")


rescue = Task(
    "rescue",
    _cases_of_rescues,
    _weights,
    _is_rescued,
    (
        "First a model that computes with 4-bit weights, from ranges that are right. Then train that one.",
        "qat.quantization_aware makes it, with some of the images; qat.train trains it, changes it, and "
        "returns losses.",
        "quantized = qat.quantization_aware(model, images[:200], weight_bits=4); qat.train(quantized, "
        "images, labels); return quantized",
    ),
    call=given_04.converted,
)
