"""Tasks of exercise 06: three kernels that the integer engine lacks, equal to LiteRT's to the last bit.

The learner's functions take what the engine hands to a kernel, in its order, so that they can go into
a network: `load(model, engine="integer", kernels={"ADD": add})`.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import eq
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinylab import conversion, data, fixed_point, models, one_operator, runners, tflite_file
from tinylab._tensorflow import keras
from tinylab.affine import AffineParams, quantize
from tinylab.affine import round_half_away as _rounded
from tinylab.check import given_06
from tinylab.check.answers import shortened
from tinylab.check.given_06 import Faulty, Params, traced
from tinylab.check.networks import filled
from tinylab.check.task import Right, Task, identical
from tinylab.conversion import Recipe
from tinylab.one_operator import Values
from tinylab.runners.integer.kernels.windows import padded, positions
from tinylab.tflite_file import IDENTIFIER

LOWEST, HIGHEST = -128, 127
ACTIVATIONS = {"NONE": schema.ActivationFunctionType.NONE, "RELU": schema.ActivationFunctionType.RELU}
PADDINGS = {"VALID": schema.Padding.VALID, "SAME": schema.Padding.SAME}

CUT_OFF = "cut off instead of rounded?"
HALF_TO_EVEN = "exact halves to the even number? np.round does that."
WRAPPED = "not clipped: 128 became -128?"
NO_ZERO_POINT = "is the output's zero point in it?"
NO_RELU = "is the ReLU in it?"
RELU_AT_0 = "which code stands for the real number 0? That is where the ReLU cuts."


def _float32(number: float) -> float:
    """The nearest number that a file can hold."""
    return float(np.float32(number))


def _params(rng: np.random.Generator, scale: float, low: int, high: int) -> AffineParams:
    """Of an activation, with a zero point from low to high."""
    return Params(_float32(scale), int(rng.integers(low, high + 1)))


def _codes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(LOWEST, HIGHEST + 1, shape).astype(np.int8)


def _values(codes: np.ndarray, params: AffineParams) -> Values:
    return Values(codes, params.scale, params.zero_point)


def _output(shape: tuple[int, ...], params: AffineParams) -> Values:
    return _values(np.zeros(shape, np.int8), params)


def _finished(steps: np.ndarray, params: AffineParams, activation: str) -> np.ndarray:
    lowest = params.zero_point if activation == "RELU" else LOWEST
    return np.clip(steps + params.zero_point, lowest, HIGHEST).astype(np.int8)


def _unfinished(steps: np.ndarray, params: AffineParams, activation: str) -> dict[str, np.ndarray]:
    """What mistakes in the last step make of steps of the output's scale."""
    lowest = 0 if activation == "RELU" else LOWEST
    return {
        WRAPPED: (steps + params.zero_point).astype(np.int8),
        NO_ZERO_POINT: _finished(steps, AffineParams(params.scale, 0), activation),
        NO_RELU: _finished(steps, params, "NONE"),
        RELU_AT_0: np.clip(steps + params.zero_point, lowest, HIGHEST).astype(np.int8),
    }


def _fixed(sums: np.ndarray, real: np.ndarray) -> np.ndarray:
    return fixed_point.multiply_fixed_point(sums, *fixed_point.quantize_multiplier(real))


# 1. The end of every kernel


def _cases_of_steps(rng: np.random.Generator) -> list[tuple]:
    """Steps on both sides of 0, some far outside; the ReLU cuts below the code 0, then above it."""
    cases = []
    for activation, low, high in (("NONE", 20, 60), ("RELU", -60, -20), ("RELU", 20, 60)):
        ends = [-rng.integers(300, 400), -rng.integers(5, 15), rng.integers(5, 15), rng.integers(300, 400)]
        steps = np.concatenate([ends, rng.integers(-100, 100, 4)]).reshape(2, 4)
        cases.append((steps, _params(rng, rng.uniform(0.01, 0.1), low, high), activation))
    return cases


def _finished_by_litert(steps: np.ndarray, params: AffineParams, activation: str) -> Right:
    """A convolution by M = 1 whose weights are 0 has nothing but its biases: one channel a number."""
    options = schema.Conv2DOptionsT()
    options.padding, options.fusedActivationFunction = schema.Padding.VALID, ACTIVATIONS[activation]
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    inputs = [
        Values(np.zeros((1, 1, 1, 1), np.int8), 1.0),
        Values(np.zeros((steps.size, 1, 1, 1), np.int8), params.scale),
        Values(steps.ravel().astype(np.int32), params.scale),
    ]
    codes = one_operator.run("CONV_2D", options, inputs, _output((1, 1, 1, steps.size), params))
    too_early = np.clip(steps, LOWEST, HIGHEST) + params.zero_point
    return Right(
        codes.reshape(steps.shape),
        {
            "clipped before the zero point was added?": too_early.astype(np.int8),
            "a ReLU, although the activation is NONE?": _finished(steps, params, "RELU"),
            **_unfinished(steps, params, activation),
        },
    )


finish = Task(
    "finish",
    _cases_of_steps,
    _finished_by_litert,
    identical(),
    (
        "The real number 0 is step 0. Which code is that?",
        "Add the zero point first, while the numbers are wide. Then clip, then change the dtype.",
        "lowest = params.zero_point if activation == 'RELU' else -128; "
        "return np.clip(steps + params.zero_point, lowest, 127).astype(np.int8)",
    ),
)


# 2. The mean of a window


def _cases_of_pools(rng: np.random.Generator) -> list[tuple]:
    """Codes on both sides of 0 and windows of even size: exact halves of either sign. Then paddings."""
    rows, columns = (int(n) for n in rng.integers(5, 9, 2))
    scale = rng.uniform(0.01, 0.1)
    return [
        (_codes(rng, 2, 8, 8, 2), _params(rng, scale, 11, 51), (2, 2), (2, 2), "VALID", "NONE"),
        (_codes(rng, 1, rows, columns, 3), _params(rng, scale, 11, 51), (3, 3), (2, 2), "SAME", "NONE"),
        (_codes(rng, 2, 7, columns, 2), _params(rng, scale, -50, -10), (2, 3), (1, 1), "SAME", "RELU"),
    ]


def _pooled_by_litert(
    x: np.ndarray,
    params: AffineParams,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
    activation: str,
) -> Right:
    def sums_of(a: np.ndarray, value: int = 0, dtype: type = np.int64) -> np.ndarray:
        a = padded(a.astype(dtype), window, strides, (1, 1), padding, value)
        return sum(seen for _, _, seen in positions(a, window, strides))

    def limited(mean: np.ndarray, lowest: int) -> np.ndarray:
        return np.clip(mean, lowest, HIGHEST).astype(np.int8)

    total, every, zero = sums_of(x), window[0] * window[1], params.zero_point
    count = sums_of(np.ones((1, *x.shape[1:3], 1)))
    lowest = zero if activation == "RELU" else LOWEST
    mean = _rounded(total / count)
    options = schema.Pool2DOptionsT()
    options.padding, options.fusedActivationFunction = PADDINGS[padding], ACTIVATIONS[activation]
    (options.filterHeight, options.filterWidth), (options.strideH, options.strideW) = window, strides
    codes = one_operator.run("AVERAGE_POOL_2D", options, [_values(x, params)], _output(total.shape, params))
    return Right(
        codes,
        {
            "// goes down, for negative sums too; the kernel rounds.": limited(total // count, lowest),
            CUT_OFF: limited(np.trunc(total / count), lowest),
            HALF_TO_EVEN: limited(np.round(total / count), lowest),
            "negative halves go up? -2.5 becomes -3: away from zero.": limited(
                (2 * total + count) // (2 * count), lowest
            ),
            "halves go away from the code 0, not from the zero point: take the mean of codes.": limited(
                _rounded((total - zero * count) / count) + zero, lowest
            ),
            "what SAME padding adds is not counted: divide by the values that are there.": limited(
                _rounded(total / every), lowest
            ),
            "what SAME padding adds is no value, not even the code of 0.": limited(
                _rounded(sums_of(x, zero) / every), lowest
            ),
            "int8 plus int8 overflows: x.astype(np.int64) comes first.": limited(
                _rounded(sums_of(x, dtype=np.int8) / count), lowest
            ),
            NO_RELU: limited(mean, LOWEST),
            RELU_AT_0: limited(mean, 0 if activation == "RELU" else LOWEST),
            "no zero point to add: the mean of codes is a code.": limited(mean + zero, lowest),
        },
    )


average_pool = Task(
    "average_pool",
    _cases_of_pools,
    _pooled_by_litert,
    identical(),
    (
        "Two sums: of the codes in each window, and of how many there are. With SAME padding, a window "
        "at the edge holds fewer.",
        "Pad x with 0 and add up what positions gives. Do the same with an array of ones, shape "
        "(1, H, W, 1): that counts. x needs a wider dtype first.",
        "Halves away from zero, with integers: sign * ((2 * |total| + count) // (2 * count)). Or divide, "
        "and round as in exercise 05.",
        "The mean of codes is a code already: there is no zero point to add. Clip it at the lowest code, "
        "which is params.zero_point with a ReLU, and give it x's dtype.",
    ),
)


# 3. A sum of two tensors


def _cases_of_sums(rng: np.random.Generator) -> list[tuple]:
    """Any scales, with and without a ReLU; and sums that are nearer to a half than 20 bits can tell.

    These have the scales 3 : 1 : 2, the last one a hair larger: every second sum lies a hair below a
    half, which the kernel takes for a half, and a computation in real numbers does not.
    """
    cases = []
    for activation in ("NONE", "RELU"):
        a_scale, b_scale = rng.uniform(0.02, 0.05), rng.uniform(0.06, 0.1)
        params = (
            _params(rng, a_scale, 20, 60),
            _params(rng, b_scale, -60, -20),
            _params(rng, 0.6 * (a_scale + b_scale), -50, -10),
        )
        cases.append((_codes(rng, 1, 5, 6, 3), _codes(rng, 1, 5, 6, 3), *params, activation))
    step = np.float32(2.0 ** -int(rng.integers(4, 7)))
    scales = 3 * step, step, np.nextafter(2 * step, np.float32(1))
    params = [_params(rng, scale, -40, -10) for scale in scales]
    a, b = rng.integers(-60, 20, (2, 1, 8, 8, 4)).astype(np.int8)
    return [*cases, (a, b, *params, "NONE")]


def _added_by_litert(
    a: np.ndarray,
    b: np.ndarray,
    a_params: AffineParams,
    b_params: AffineParams,
    params: AffineParams,
    activation: str,
) -> Right:
    options = schema.AddOptionsT()
    options.fusedActivationFunction = ACTIVATIONS[activation]
    inputs = [_values(a, a_params), _values(b, b_params)]
    codes = one_operator.run("ADD", options, inputs, _output(a.shape, params))
    pair = (a_params, b_params)
    largest = max(p.scale for p in pair)
    zero_points = a_params.zero_point, b_params.zero_point

    def sums(bits: int = 20, unit: float = 2 * largest, zero_points: tuple = zero_points) -> np.ndarray:
        wide = [(q.astype(np.int64) - zero) << bits for q, zero in zip((a, b), zero_points, strict=True)]
        return sum(_fixed(q, p.scale / unit) for q, p in zip(wide, pair, strict=True))

    def steps(bits: int = 20, unit: float = 2 * largest, **changed: Any) -> np.ndarray:
        return _fixed(sums(bits, unit, **changed), unit / (2.0**bits * params.scale))

    def finished(steps: np.ndarray) -> np.ndarray:
        return _finished(steps, params, activation)

    def steps_of(q: np.ndarray, p: AffineParams, dtype: type = np.int64) -> np.ndarray:
        return q.astype(dtype) - dtype(p.zero_point)

    real = sum(p.scale * steps_of(q, p) for q, p in zip((a, b), pair, strict=True)) / params.scale
    one_each = sum(_fixed(steps_of(q, p), p.scale / params.scale) for q, p in zip((a, b), pair, strict=True))
    overflowed = sum(
        _fixed(steps_of(q, p, np.int8).astype(np.int64) << 20, p.scale / (2 * largest))
        for q, p in zip((a, b), pair, strict=True)
    )
    output = 2 * largest / (2.0**20 * params.scale)
    return Right(
        codes,
        {
            "codes of different scales cannot be added as they are.": finished(
                steps_of(a, a_params) + steps_of(b, b_params)
            ),
            "two codes were added, without their scales and zero points.": np.clip(
                a.astype(np.int64) + b, LOWEST, HIGHEST
            ).astype(np.int8),
            "computed in real numbers? The kernel rounds three times, in fixed point.": finished(
                _rounded(real)
            ),
            "both inputs straight to the output's scale? Their sum is rounded in a finer one.": finished(
                one_each
            ),
            "the shift to the left is missing: 20 bits, before the first multiplication.": finished(
                steps(bits=0)
            ),
            "the unit is twice the larger scale.": finished(steps(unit=largest)),
            "is the first input's zero point in it?": finished(steps(zero_points=(0, b_params.zero_point))),
            "is the second input's zero point in it?": finished(steps(zero_points=(a_params.zero_point, 0))),
            "are the inputs' zero points in it?": finished(steps(zero_points=(0, 0))),
            "int8 arithmetic overflows: a and b to int64 first.": finished(_fixed(overflowed, output)),
            "int8 has no room for 20 more bits: to int64 before the shift.": finished(
                np.zeros_like(a, np.int64)
            ),
            CUT_OFF: finished(np.trunc(sums() * output)),
            **_unfinished(steps(), params, activation),
        },
    )


add = Task(
    "add",
    _cases_of_sums,
    _added_by_litert,
    identical(),
    (
        "First give both inputs one unit: (q - zero_point) is worth scale, so in the common unit it is "
        "(q - zero_point) * scale / unit. The 20 bits keep what stands behind the point.",
        "unit = 2 * max(a_params.scale, b_params.scale). For each input: steps = (q.astype(np.int64) - "
        "zero_point) << 20, times scale / unit, in fixed point.",
        "Times a real number in fixed point is multiply_fixed_point(steps, *quantize_multiplier(real)).",
        "Add the two. To the output's scale: times unit / (2**20 * params.scale), again in fixed point. Then "
        "finish(...).",
    ),
)


# 4. A convolution, channel by channel


def _cases_of_depthwise(rng: np.random.Generator) -> list[tuple]:
    """Plain; with two filters a channel, padding and a ReLU; sums beside halves, where float32 misses."""
    return [
        _depthwise_case(rng, 1, (2, 3), (1, 1), "VALID", "NONE"),
        _depthwise_case(rng, 2, (3, 3), (2, 2), "SAME", "RELU"),
        _beside_halves(_depthwise_case(rng, 1, (3, 2), (1, 1), "VALID", "NONE")),
    ]


def _depthwise_case(
    rng: np.random.Generator,
    filters: int,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
    activation: str,
) -> tuple:
    """Small weights: multipliers are large then, and two roundings often end elsewhere than one."""
    channels = int(rng.integers(3, 6))
    outputs = channels * filters
    x = _codes(rng, 2, *(int(n) for n in rng.integers(8, 11, 2)), channels)
    weights = rng.integers(-5, 6, (1, *window, outputs)).astype(np.int8)
    weights[0, 0, 0] = rng.integers(1, 6, outputs)  # no filter of zeros
    bias = rng.integers(-300, 300, outputs).astype(np.int32)
    w_params = Params(rng.uniform(0.002, 0.01, outputs).astype(np.float32), 0, axis=3)
    x_params = _params(rng, rng.uniform(0.01, 0.1), 10, 60)
    scale = x_params.scale * w_params.scale.mean() * 5 * np.sqrt(np.prod(window))
    params = _params(rng, scale, -60, -10)
    return x, weights, bias, x_params, w_params, params, strides, (1, 1), padding, activation


def _beside_halves(case: tuple) -> tuple:
    """The case with biases that put each channel's first sum so near to a half that float32 misses it."""
    x, weights, _, x_params, w_params, params, *rest = case
    params = Params(_float32(30_000 * params.scale), params.zero_point)
    exact = fixed_point.real_multiplier(x_params.scale, w_params.scale, params.scale)
    rough = np.float32(x_params.scale) * w_params.scale / np.float32(params.scale)
    halves = np.concatenate([np.arange(-60, -20), np.arange(20, 60)]) + 0.5
    near = np.rint(halves / exact[:, np.newaxis])
    sums = (near[..., np.newaxis] + np.arange(-3, 4)).reshape(len(exact), -1).T.astype(np.int64)
    telling = _fixed(sums, exact) != _fixed(sums, rough)
    chosen = sums[telling.argmax(axis=0), np.arange(len(exact))]
    first = _depthwise_sums(x, weights, 0 * chosen, x_params.zero_point, *rest[:3])[0, 0, 0]
    bias = (chosen - first).astype(np.int32)
    return x, weights, bias, x_params, w_params, params, *rest


def _depthwise_sums(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    zero_point: int,
    strides: tuple[int, int],
    dilations: tuple[int, int],
    padding: str,
    margin: int = 0,
    order: Callable = np.repeat,
) -> np.ndarray:
    """What the kernel multiplies by M, or what mistakes put in its place.

    Args:
        margin: what stands in the margins, as steps from the zero point.
        order: np.repeat or np.tile: how the input's channels are laid out for several filters each.
    """
    window = weights.shape[1:3]
    steps = padded(x.astype(np.int64) - zero_point, window, strides, dilations, padding, margin)
    filters = weights.shape[3] // x.shape[3]
    steps = np.repeat(steps, filters, 3) if order is np.repeat else np.tile(steps, (1, 1, 1, filters))
    taps = weights[0].astype(np.int64)
    return bias + sum(seen * taps[i, j] for i, j, seen in positions(steps, window, strides, dilations))


def _depthwise_by_litert(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    x_params: AffineParams,
    w_params: AffineParams,
    params: AffineParams,
    strides: tuple[int, int],
    dilations: tuple[int, int],
    padding: str,
    activation: str,
) -> Right:
    def sums(
        weights: np.ndarray = weights, zero_point: int = x_params.zero_point, **changed: Any
    ) -> np.ndarray:
        return _depthwise_sums(x, weights, bias, zero_point, strides, dilations, padding, **changed)

    def finished(steps: np.ndarray) -> np.ndarray:
        return _finished(steps, params, activation)

    real = fixed_point.real_multiplier(x_params.scale, w_params.scale, params.scale)
    in_float32 = np.float32(x_params.scale) * w_params.scale / np.float32(params.scale)
    total = sums()
    steps = _fixed(total, real)
    overflowed = (x - np.int8(x_params.zero_point)).astype(np.int8)
    return Right(
        _depthwise_in_litert(
            [_values(x, x_params), Values(weights, w_params.scale), _bias(bias, x_params, w_params)],
            _output(total.shape, params),
            strides,
            padding,
            activation,
        ),
        {
            "rounded once, in double precision? This kernel multiplies in fixed point.": finished(
                fixed_point.multiply_double(total, real)
            ),
            CUT_OFF: finished(np.trunc(total * real)),
            "is the input's zero point in it?": finished(_fixed(sums(zero_point=0), real)),
            "padded with the code 0? The margins stand for the real number 0: that is step 0.": finished(
                _fixed(sums(margin=-x_params.zero_point), real)
            ),
            "padded with the zero point after it was taken away? Then 0 is 0.": finished(
                _fixed(sums(margin=x_params.zero_point), real)
            ),
            "all filters of channel 0 come first, then those of channel 1: np.repeat, not np.tile.": finished(
                _fixed(sums(order=np.tile), real)
            ),
            "the filter is not turned round.": finished(_fixed(sums(weights[:, ::-1, ::-1]), real)),
            "is the bias in it?": finished(_fixed(total - bias, real)),
            "one multiplier for all channels? Each has its own.": finished(_fixed(total, real[0])),
            "M in float32? It has to be float64: real_multiplier sees to that.": finished(
                _fixed(total, in_float32)
            ),
            "int8 arithmetic overflows: x and weights to int64 first.": finished(
                _fixed(_depthwise_sums(overflowed, weights, bias, 0, strides, dilations, padding), real)
            ),
            **_unfinished(steps, params, activation),
        },
    )


def _bias(bias: np.ndarray, x_params: AffineParams, w_params: AffineParams) -> Values:
    return Values(bias, np.float32(x_params.scale) * w_params.scale)


def _depthwise_in_litert(
    inputs: list[Values], output: Values, strides: tuple[int, int], padding: str, activation: str
) -> np.ndarray:
    options = schema.DepthwiseConv2DOptionsT()
    options.padding, options.fusedActivationFunction = PADDINGS[padding], ACTIVATIONS[activation]
    (options.strideH, options.strideW), options.dilationHFactor, options.dilationWFactor = strides, 1, 1
    options.depthMultiplier = inputs[1].array.shape[3] // inputs[0].array.shape[3]
    content = one_operator.tflite("DEPTHWISE_CONV_2D", options, inputs, output)
    model = schema.ModelT.InitFromPackedBuf(content)
    model.subgraphs[0].tensors[1].quantization.quantizedDimension = 3  # the scales run along the last axis
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return runners.load(bytes(builder.Output()), kernels="reference").predict_integers(inputs[0].array)


depthwise_convolution = Task(
    "depthwise_convolution",
    _cases_of_depthwise,
    _depthwise_by_litert,
    identical(),
    (
        "In one place (i, j) of the window: what all windows see there, times weights[0, i, j], channel by "
        "channel. Add that up over the window, and nothing across channels.",
        "Take x_params.zero_point away first, in int64; then pad with 0, because 0 steps are the real "
        "number 0.",
        "With several filters a channel, each channel of x is needed so many times in a row: "
        "np.repeat(steps, filters, axis=3), where filters = weights.shape[3] // x.shape[3].",
        "sums = bias + sum(seen * weights[0, i, j].astype(np.int64) for i, j, seen in positions(steps, "
        "weights.shape[1:3], strides, dilations))",
        "real = real_multiplier(x_params.scale, w_params.scale, params.scale), then multiply_fixed_point("
        "sums, *quantize_multiplier(real)), then finish.",
    ),
)


# 5. Which layers differ


@functools.cache
def _random_file(seed: int) -> bytes:
    """A network of random weights with all of OWN, and without ReLUs: codes on both sides of their zero."""
    rng, layers = np.random.default_rng(seed), keras.layers
    images = layers.Input((9, 9, 3), name="images")
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, name="first")(images)
    y = layers.DepthwiseConv2D(2, padding="same", name="second")(x)
    x = layers.Add(name="sum")([x, y])
    x = layers.AveragePooling2D(2, strides=1, padding="same", name="average")(x)
    x = layers.Dense(4, name="scores")(layers.Flatten(name="flatten")(x))
    model = filled(keras.Model(images, x, name="random_network"), rng)
    return conversion.convert(model, Recipe.INT8, rng.normal(0, 1, (20, 9, 9, 3)).astype(np.float32))


def _random_network(rng: np.random.Generator) -> tuple[bytes, np.ndarray]:
    """A file, and codes for it."""
    return _random_file(int(rng.integers(2**31))), _codes(rng, 3, 9, 9, 3)


def _cases_of_kernels(rng: np.random.Generator) -> list[tuple]:
    """A fault in the middle, one near the end, and none."""
    given = _random_network(rng)
    return [(*given, {name: Faulty(name)}) for name in ("ADD", "AVERAGE_POOL_2D")] + [(*given, {})]


def _short(name: Any) -> str:
    """A tensor's name; the converter joins those of all layers that it made one of."""
    return shortened(str(name), 60)


def _traced_by_litert(content: bytes, codes: np.ndarray) -> dict[str, np.ndarray]:
    return runners.load(content, kernels="reference").trace(codes).tensors


def _differing(content: bytes, codes: np.ndarray, kernels: Mapping[str, Callable]) -> Right:
    expected, got = _traced_by_litert(content, codes), traced(content, codes, kernels)

    def by_name(number: Callable[[np.ndarray, np.ndarray], Any]) -> dict[str, Any]:
        return {name: number(a.astype(int), got[name].astype(int)) for name, a in expected.items()}

    return Right(
        by_name(lambda a, b: int((a != b).sum())),
        {
            "is the engine given the kernels?": by_name(lambda a, b: 0),
            "how many differ, not how many agree.": by_name(lambda a, b: int((a == b).sum())),
            "how many values differ, not whether any does.": by_name(lambda a, b: int((a != b).any())),
            "how many values differ, not by how much.": by_name(lambda a, b: int(np.abs(a - b).sum())),
            "the number of values, not their share.": by_name(lambda a, b: (a != b).mean()),
        },
    )


def _same_counts(expected: Right, got: Any) -> str:
    if not isinstance(got, Mapping):
        return f"expected  a dictionary: a number for each tensor\ngot       {type(got).__name__}"
    missing = [name for name in expected.answer if name not in got]
    unknown = [name for name in got if name not in expected.answer]
    if missing or unknown:
        text = f"expected  the {len(expected.answer)} tensors of the trace, by their names\ngot       "
        return text + (f"no {_short(missing[0])}" if missing else f"also {_short(unknown[0])}")
    for name, number in expected.answer.items():
        value = got[name].item() if isinstance(got[name], np.generic) else got[name]
        if type(value) is not int or value != number:
            shown = (
                f"{type(value).__name__} {value}" if isinstance(value, (int, float)) else type(value).__name__
            )
            return f"for {_short(name)}:\nexpected  int {number}\ngot       {shown}{_hit(expected, got)}"
    return ""


def _hit(expected: Right, got: Mapping) -> str:
    """What to say about counts that are one of the mistakes."""
    if not all(isinstance(number, (int, float, np.generic)) for number in got.values()):
        return "\nperhaps   one number for each tensor: how many of its values differ."
    return expected.recognized(dict(got), eq)


differing_values = Task(
    "differing_values",
    _cases_of_kernels,
    _differing,
    _same_counts,
    (
        "Two runners of the same file: one on LiteRT's reference kernels, one on our engine with kernels.",
        "runners.load(tflite_model, kernels='reference') and runners.load(tflite_model, engine='integer', "
        "kernels=kernels). Their trace(codes).tensors are dictionaries with the same names.",
        "return {name: int((expected[name] != got[name]).sum()) for name in expected}",
    ),
)


# 6. The whole network


@functools.cache
def _trained_file() -> bytes:
    images, _ = data.arrays("fashion_mnist", "train")
    calibration = images[:100].astype(np.float32) / 255
    return conversion.convert(models.trained("small_resnet"), Recipe.INT8, calibration)


def _networks(rng: np.random.Generator) -> list[tuple[bytes, np.ndarray]]:
    """The random network, where faults show soonest, and the trained one on some test images."""
    images, _ = data.arrays("fashion_mnist", "test")
    chosen = images[rng.choice(len(images), 8, replace=False)].astype(np.float32) / 255
    file = _trained_file()
    params = runners.load(file).inputs[0].params
    return [_random_network(rng), (file, quantize(chosen, params))]


@dataclass(frozen=True)
class _Expected:
    """Tensors by name, and which operator computes each."""

    tensors: dict[str, np.ndarray]
    operators: dict[str, str]


def _network_by_litert(content: bytes, codes: np.ndarray) -> _Expected:
    file = tflite_file.parse(content)
    operators = {file.tensors[o.outputs[0]].name: o.name for o in file.operators}
    return _Expected(_traced_by_litert(content, codes), operators)


def _same_tensors(expected: _Expected, got: Any) -> str:
    """The first tensor that differs, and the operator that made it: everything before it agrees."""
    if isinstance(got, str):
        return got
    for number, (name, right) in enumerate(expected.tensors.items(), 1):
        wrong = identical()(Right(right), got[name])
        if wrong:
            operator = expected.operators[name]
            return (
                f"output of {operator}, tensor {number} of {len(expected.tensors)}, {_short(name)}:\n"
                f"{wrong}\n"
                f"perhaps   your {operator}: all the tensors before this one agree."
            )
    return ""


my_kernels = Task(
    "my_kernels",
    _networks,
    _network_by_litert,
    _same_tensors,
    (
        "A dictionary: the operators' names in the file, and your functions.",
        "The functions themselves, without brackets: the engine will call them.",
        "return {'AVERAGE_POOL_2D': average_pool, 'ADD': add, 'DEPTHWISE_CONV_2D': depthwise_convolution}",
    ),
    call=given_06.tensors_on_own_kernels,
)
