"""Tasks of exercise 05: every number of a quantized layer, equal to LiteRT's to the last bit."""

from typing import Any

import numpy as np

from tinylab import conversion, fixed_point, one_operator, runners, tflite_file
from tinylab._tensorflow import keras
from tinylab.affine import round_half_away as _rounded
from tinylab.check.task import Right, Task, identical
from tinylab.conversion import Recipe
from tinylab.one_operator import Values

LOWEST, HIGHEST = -128, 127
SCALE_TOLERANCE = 1e-6  # relative: the scale of a file is a float32 number
JUST_BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0))

CUT_OFF = "cut off instead of rounded?"
HALF_TO_EVEN = "exact halves to the even number? np.round does that."
WRAPPED = "not clipped: 128 became -128?"


def _as_int8(codes: np.ndarray) -> np.ndarray:
    return np.clip(codes, LOWEST, HIGHEST).astype(np.int8)


def _float32(number: float) -> float:
    """The nearest number that a file can hold."""
    return float(np.float32(number))


def _few_bits(rng: np.random.Generator, unit: float) -> float:
    """A scale with 6 significant bits, so that float32 holds products with it exactly."""
    return int(rng.integers(32, 64)) * unit


def _halves(rng: np.random.Generator, count: int, most: int) -> np.ndarray:
    """Exact halves, every second one negative, which rounding to even would take towards 0."""
    return (2 * rng.integers(0, most // 2, count) + 0.5) * np.resize([1, -1], count)


# 1. Rounding


def _cases_of_real_numbers(rng: np.random.Generator) -> list[tuple]:
    return [
        (np.float32([*rng.normal(0, 20, 4), *_halves(rng, 4, 100)]),),
        (np.float32([[-2.5, -1.5, -0.5, 0.5], [1.5, 2.5, *rng.uniform(-9, 9, 2)]]),),
        (np.float32([0.0, -0.0, JUST_BELOW_HALF, -JUST_BELOW_HALF]),),
    ]


def _rounded_by_litert(x: np.ndarray) -> Right:
    """QUANTIZE with the scale 1 and the zero point 0 does nothing but round."""
    return Right(
        one_operator.quantized(x, 1.0, 0).astype(np.float64),
        {
            HALF_TO_EVEN: np.round(x),
            CUT_OFF: np.trunc(x),
            "floor(x + 0.5)? It takes negative halves up, -2.5 to -2.": np.floor(x + np.float32(0.5)),
            "floor(|x| + 0.5)? For the number just below 0.5 that sum is rounded up to 1.": np.sign(x)
            * np.floor(np.abs(x) + np.float32(0.5)),
        },
    )


round_half_away = Task(
    "round_half_away",
    _cases_of_real_numbers,
    _rounded_by_litert,
    identical("iuf"),
    (
        "Cut off first: np.trunc(x) drops what stands after the point, on both sides of zero.",
        "What was dropped is x - np.trunc(x). Where that is a half or more, go one further from zero.",
        "whole = np.trunc(x); return whole + np.sign(x) * (np.abs(x - whole) >= 0.5)",
    ),
)


# 2. A range becomes two numbers


def _cases_of_ranges(rng: np.random.Generator) -> list[tuple]:
    """On both sides of 0, on one side only, and with a zero point that falls on an exact half."""
    step, below = rng.uniform(0.01, 0.05), rng.integers(20, 100) + rng.uniform(0.1, 0.4)
    far, half = rng.uniform(1, 9, 4), 2 * int(rng.integers(5, 60)) + 1.5
    ranges = [
        (-below * step, (255 - below) * step),
        (far[0], far[0] + far[1]),
        (-far[2] - far[3], -far[2]),
        (-half, 255 - half),
    ]
    return [(_float32(low), _float32(high)) for low, high in ranges]


def _calibrated(low: float, high: float) -> Right:
    """What the converter writes into a file whose input went from low to high."""
    unchanged = keras.Sequential([keras.layers.MaxPooling2D(1, input_shape=(1, 1, 2), name="unchanged")])
    content = conversion.convert(unchanged, Recipe.INT8, np.float32([low, high]).reshape(1, 1, 1, 2))
    spec = runners.load(content).inputs[0]
    scale, zero_point = spec.scale, spec.zero_point
    narrow = (high - low) / 255
    shift = LOWEST - min(low, 0) / scale
    return Right(
        (scale, zero_point),
        {
            "is 0 in the range? Widen it first.": (narrow, int(_rounded(LOWEST - low / narrow))),
            HALF_TO_EVEN: (scale, round(shift)),
            "the zero point was cut off instead of rounded?": (scale, int(shift)),
            "the other sign: low / scale is taken away.": (
                scale,
                int(_rounded(LOWEST + min(low, 0) / scale)),
            ),
            "the codes begin at -128, not at 0.": (scale, int(_rounded(-min(low, 0) / scale))),
        },
    )


def _same_map(expected: Right, got: Any) -> str:
    """Scale to float32's precision, zero point exactly, as an integer."""
    scale, zero_point = expected.answer
    try:
        got_scale, got_zero_point = float(got[0]), got[1]
    except (TypeError, ValueError, IndexError, KeyError):
        return f"expected  two numbers, (scale, zero_point)\ngot       {type(got).__name__} {got!r}"
    text = f"expected  {scale:.9g}, {zero_point}\ngot       {got_scale:.9g}, {got_zero_point}"
    if not isinstance(got_zero_point, (int, np.integer)):
        return f"{text}\nperhaps   not an integer? The zero point is a {type(got_zero_point).__name__}."

    def same(got: tuple[float, int], other: tuple[float, int]) -> bool:
        return _near(other[0], got[0]) and got[1] == other[1]

    pair = got_scale, got_zero_point
    return "" if same(pair, expected.answer) else text + expected.recognized(pair, same)


def _near(expected: float, got: float) -> bool:
    return abs(got - expected) <= SCALE_TOLERANCE * abs(expected)


scale_and_zero_point = Task(
    "scale_and_zero_point",
    _cases_of_ranges,
    _calibrated,
    _same_map,
    (
        "First widen the range: low = min(low, 0), high = max(high, 0). Between 256 codes lie 255 steps.",
        "scale = (high - low) / 255. The real number low shall become the code -128.",
        "zero_point = int(round_half_away(-128 - low / scale))",
    ),
)


# 3. and 4. There and back


def _cases_of_numbers_to_quantize(rng: np.random.Generator) -> list[tuple]:
    """Any numbers; exact ties; far outside."""
    scale, step = _float32(rng.uniform(0.01, 0.1)), 2.0 ** -int(rng.integers(3, 7))
    ties = _halves(rng, 6, 30).reshape(2, 3)
    return [
        (np.float32(rng.normal(0, 50, 8) * scale), scale, int(rng.integers(10, 50))),
        (np.float32(ties * step), step, -int(rng.integers(40, 60))),
        (
            np.float32([-1e6, -200, -1, 0, 1, 200, 1e6]) * np.float32(scale),
            scale,
            -int(rng.integers(90, 129)),
        ),
    ]


def _quantized_by_litert(x: np.ndarray, scale: float, zero_point: int) -> Right:
    steps = x / np.float32(scale)
    return Right(
        one_operator.quantized(x, scale, zero_point),
        {
            HALF_TO_EVEN: _as_int8(np.round(steps) + zero_point),
            CUT_OFF: _as_int8(np.trunc(steps) + zero_point),
            "the zero point is added, not taken away.": _as_int8(_rounded(steps) - zero_point),
            "is the zero point in it?": _as_int8(_rounded(steps)),
            "multiplied by the scale?": _as_int8(_rounded(x * np.float32(scale)) + zero_point),
            WRAPPED: (_rounded(steps) + zero_point).astype(np.int64).astype(np.int8),
        },
    )


quantize = Task(
    "quantize",
    _cases_of_numbers_to_quantize,
    _quantized_by_litert,
    identical(),
    (
        "How many steps is x away from 0? Round that, and count from the zero point.",
        "Clip before you change the dtype: int8 cannot hold 128, and turns it into -128.",
        "np.clip(round_half_away(x / scale) + zero_point, -128, 127).astype(np.int8)",
    ),
)


def _cases_of_codes(rng: np.random.Generator) -> list[tuple]:
    """Among them both ends, whose distance from the zero point does not fit in 8 bits."""
    ends = np.int8([LOWEST, HIGHEST])
    return [
        (
            np.concatenate([ends, rng.integers(LOWEST, HIGHEST + 1, 4).astype(np.int8)]).reshape(shape),
            _float32(rng.uniform(0.01, 0.1)),
            int(zero_point),
        )
        for shape, zero_point in (((6,), rng.integers(20, 100)), ((2, 3), -rng.integers(20, 100)))
    ]


def _dequantized_by_litert(q: np.ndarray, scale: float, zero_point: int) -> Right:
    wide, step = q.astype(np.float32), np.float32(scale)
    return Right(
        one_operator.dequantized(q, scale, zero_point),
        {
            "int8 minus int8 overflowed: q.astype(np.int32) comes first.": step * (q - np.int8(zero_point)),
            "the zero point is taken away, not added.": step * (wide + zero_point),
            "is the zero point in it?": step * wide,
            "divided by the scale?": (wide - zero_point) / step,
        },
    )


dequantize = Task(
    "dequantize",
    _cases_of_codes,
    _dequantized_by_litert,
    identical(),
    (
        "The formula of the lesson, read from right to left: real = scale * (q - zero_point).",
        "q is int8, and 127 - (-43) = 170 is no int8: make q wider before you subtract.",
        "np.float32(scale) * (q.astype(np.int32) - zero_point).astype(np.float32)",
    ),
)


# 5. and 6. Weights and biases


def _cases_of_weights(rng: np.random.Generator) -> list[tuple]:
    """Channels of very different size; and weights that fall on exact halves."""
    channels = int(rng.integers(3, 6))
    spread = rng.normal(0, 1, (channels, 6)) * 10.0 ** -np.arange(channels)[:, np.newaxis]
    halves = _halves(rng, 10, 60).reshape(2, 5) * 2.0**-8
    ends = np.array([[127, 1], [-127, 3]]) * 2.0**-8
    return [(spread.astype(np.float32),), (np.hstack([ends, halves]).astype(np.float32),)]


def _weights_by_the_converter(w: np.ndarray) -> Right:
    file, content = _dense_file(w, np.ones(len(w)), np.eye(w.shape[1]))
    tensor = file.tensors[file.operators[0].inputs[1]]
    codes = runners.interpreter(content, "reference").get_tensor(tensor.index)
    largest = np.abs(w).max(axis=1, keepdims=True)
    step = tensor.scale[:, np.newaxis]
    whole = np.abs(w).max() / 127
    low, high = w.min(axis=1, keepdims=True), w.max(axis=1, keepdims=True)
    moved = (high - low) / 255
    return Right(
        (codes, tensor.scale),
        {
            HALF_TO_EVEN: np.round(w / step),
            CUT_OFF: np.trunc(w / step),
            "one scale for all channels? Each has its own.": _rounded(w / whole),
            "the largest weight of a channel becomes 127, not 128.": _as_int8(_rounded(w / (largest / 128))),
            "weights have the zero point 0: divide by the largest absolute value.": _as_int8(
                _rounded(w / moved) + _rounded(LOWEST - low / moved)
            ),
            "the largest weight, or the largest absolute value?": _as_int8(_rounded(w / (high / 127))),
        },
    )


def _dense_file(w: np.ndarray, b: np.ndarray, samples: np.ndarray) -> tuple[tflite_file.TFLiteFile, bytes]:
    """The converter's file of a dense layer with weights (outputs, inputs)."""
    layer = keras.layers.Dense(len(w), input_shape=w.shape[1:], name="layer")
    model = keras.Sequential([layer], name="one_layer")
    model.set_weights([w.T, b])
    content = conversion.convert(model, Recipe.INT8, samples.astype(np.float32))
    return tflite_file.parse(content), content


def _same_weights(expected: Right, got: Any) -> str:
    codes, scales = expected.answer
    try:
        got_codes, got_scales = got
        got_scales = np.asarray(got_scales, np.float64)
    except (TypeError, ValueError):
        return f"expected  two arrays, (codes, scales)\ngot       {type(got).__name__}"
    wrong = identical()(Right(codes, expected.mistakes), got_codes)
    if wrong:
        return f"codes:\n{wrong}"
    if got_scales.shape != scales.shape:
        return f"scales:\nexpected  shape {scales.shape}\ngot       shape {got_scales.shape}"
    if not np.allclose(got_scales, scales, rtol=SCALE_TOLERANCE, atol=0):
        return f"scales:\nexpected  {scales}\ngot       {got_scales}"
    return ""


quantize_weights = Task(
    "quantize_weights",
    _cases_of_weights,
    _weights_by_the_converter,
    _same_weights,
    (
        "Per channel: each row of w has a scale of its own, from its largest absolute value.",
        "scales = np.abs(w).max(axis=1) / 127, one a row. The zero point is 0.",
        "codes = round_half_away(w / scales[:, np.newaxis]).astype(np.int8)",
    ),
)


def _cases_of_biases(rng: np.random.Generator) -> list[tuple]:
    """Any biases, with codes far beyond 8 bits; and biases that fall on exact halves.

    Halves need powers of two as scales: the converter multiplies by the reciprocal, which is exact then.
    """
    channels = int(rng.integers(3, 6))
    input_scale, scales = _few_bits(rng, 2.0**-11), [_few_bits(rng, 2.0**-12) for _ in range(channels)]
    exact, powers = 2.0 ** -int(rng.integers(4, 7)), 2.0 ** -rng.integers(5, 9, channels)
    codes = rng.normal(0, 20_000, channels), _halves(rng, channels, 900)
    codes[0][0] = -int(rng.integers(40_000, 90_000))  # 16 bits would not do
    return [
        (np.float32(steps * scale * several), scale, np.float32(several))
        for steps, scale, several in zip(codes, (input_scale, exact), (scales, powers), strict=True)
    ]


def _bias_by_the_converter(b: np.ndarray, input_scale: float, weight_scales: np.ndarray) -> Right:
    """Weights and samples are made so that the converter finds these very scales."""
    samples = input_scale * np.outer([LOWEST, HIGHEST], np.ones(len(b)))
    file, content = _dense_file(np.diag(127 * weight_scales), b, samples)
    tensor = file.tensors[file.operators[0].inputs[2]]
    codes = runners.interpreter(content, "reference").get_tensor(tensor.index)
    size = np.float64(input_scale) * weight_scales
    return Right(
        codes,
        {
            HALF_TO_EVEN: np.round(b / size),
            CUT_OFF: np.trunc(b / size),
            "is the input's scale in it?": _rounded(b / weight_scales.astype(np.float64)),
            "are the weights' scales in it?": _rounded(b / np.float64(input_scale)),
            "a bias has 32 bits, not 8.": np.clip(codes, LOWEST, HIGHEST),
        },
    )


quantize_bias = Task(
    "quantize_bias",
    _cases_of_biases,
    _bias_by_the_converter,
    identical(),
    (
        "A bias is added to a sum of products. What is one unit of such a product worth?",
        "It is input_scale * weight_scales, one for each channel. The zero point is 0, in 32 bits.",
        "round_half_away(b / (input_scale * weight_scales.astype(np.float64))).astype(np.int32)",
    ),
)


# 7. A dense layer


def _cases_of_dense_layers(rng: np.random.Generator) -> list[tuple]:
    """Without a ReLU; with one, whose zero point is not the lowest code; sums on halves, and beside them."""
    return [
        _dense_case(rng, relu=False),
        _dense_case(rng, relu=True),
        _dense_case(rng, relu=False, scales=(2.0**-5, 2.0**-7, 2.0**-9), largest=4),
        _beside_halves(_dense_case(rng, relu=False)),
    ]


def _dense_case(
    rng: np.random.Generator, relu: bool, scales: tuple[float, ...] | None = None, largest: int = 127
) -> tuple:
    inputs, outputs = int(rng.integers(4, 9)), int(rng.integers(12, 17))
    q = rng.integers(LOWEST, HIGHEST + 1, (12, inputs)).astype(np.int8)
    weights = rng.integers(-largest, largest + 1, (outputs, inputs)).astype(np.int8)
    bias = rng.integers(-20 * largest, 20 * largest, outputs).astype(np.int32)
    weight_scales = rng.uniform(0.002, 0.01, outputs).astype(np.float32)
    input_scale = _float32(rng.uniform(0.01, 0.1))
    output_scale = _float32(input_scale * weight_scales.mean() * 75 * np.sqrt(inputs))
    if scales:
        input_scale, output_scale = scales[0], scales[2]
        weight_scales = np.full(outputs, scales[1], np.float32)
    zero_points = int(rng.integers(10, 60)), -int(rng.integers(10, 60))
    layer = weights, weight_scales, bias
    return q, input_scale, zero_points[0], *layer, output_scale, zero_points[1], relu


def _beside_halves(case: tuple) -> tuple:
    """The case with biases that put each channel's first sum so near to a half that float32 misses it."""
    q, input_scale, input_zero_point, weights, weight_scales, _, output_scale, *rest = case
    output_scale = _float32(1000 * output_scale)
    real = fixed_point.real_multiplier(input_scale, weight_scales, output_scale)[:, np.newaxis]
    halves = np.arange(-60, 60) + 0.5
    sums = np.rint(halves / real)
    nearest = np.abs(sums * real - halves).argmin(axis=1)
    products = weights.astype(np.int64) @ (q[0].astype(np.int64) - input_zero_point)
    bias = (sums[np.arange(len(weights)), nearest] - products).astype(np.int32)
    return q, input_scale, input_zero_point, weights, weight_scales, bias, output_scale, *rest


def _dense_by_litert(
    q: np.ndarray,
    input_scale: float,
    input_zero_point: int,
    weights: np.ndarray,
    weight_scales: np.ndarray,
    bias: np.ndarray,
    output_scale: float,
    output_zero_point: int,
    relu: bool,
) -> Right:
    codes = one_operator.dense(
        Values(q, input_scale, input_zero_point),
        Values(weights, weight_scales),
        bias,
        Values(np.zeros((len(q), len(weights)), np.int8), output_scale, output_zero_point),
        relu,
    )
    wide, kernel = q.astype(np.int64), weights.T.astype(np.int64)
    sums = (wide - input_zero_point) @ kernel + bias
    real = fixed_point.real_multiplier(input_scale, weight_scales, output_scale)
    lowest = output_zero_point if relu else LOWEST

    def finished(steps: np.ndarray, zero_point: int = output_zero_point, lowest: int = lowest) -> np.ndarray:
        return np.clip(steps + zero_point, lowest, HIGHEST).astype(np.int8)

    steps = fixed_point.multiply_double(sums, real)
    return Right(
        codes,
        {
            HALF_TO_EVEN: finished(np.round(sums * real)),
            CUT_OFF: finished(np.trunc(sums * real)),
            "is the input's zero point in it?": finished(
                fixed_point.multiply_double(wide @ kernel + bias, real)
            ),
            "int8 arithmetic overflows: q and weights to int32 first.": finished(
                fixed_point.multiply_double((q - np.int8(input_zero_point)) @ weights.T + bias, real)
            ),
            "is the bias in it?": finished(fixed_point.multiply_double(sums - bias, real)),
            "is the output's zero point in it?": finished(steps, zero_point=0),
            "is the ReLU in it?": finished(steps, lowest=LOWEST),
            "which code stands for the real number 0? That is where the ReLU cuts.": finished(
                steps, lowest=0
            ),
            "one scale for all channels?": finished(fixed_point.multiply_double(sums, real[0])),
            "the multiplier in float32? It has to be float64.": finished(
                fixed_point.multiply_double(
                    sums, np.float32(input_scale) * weight_scales / np.float32(output_scale)
                )
            ),
            "fixed point? That is how convolutions do it.": finished(
                fixed_point.multiply_fixed_point(sums, *fixed_point.quantize_multiplier(real))
            ),
            WRAPPED: (steps + output_zero_point).astype(np.int8),
        },
    )


dense = Task(
    "dense",
    _cases_of_dense_layers,
    _dense_by_litert,
    identical(),
    (
        "Three stages: sums in 32 bits; times a real multiplier, rounded; zero point, clipping.",
        "sums = (q.astype(np.int32) - input_zero_point) @ weights.T.astype(np.int32) + bias. A channel's "
        "multiplier is input_scale * weight_scale / output_scale, in float64.",
        "codes = round_half_away(sums * real) + output_zero_point, clipped to -128 .. 127. With a ReLU, the "
        "lowest code is that of the real number 0: the output's zero point.",
    ),
)


# 8. and 9. The same without real numbers


def _cases_of_real_multipliers(rng: np.random.Generator) -> list[tuple]:
    """Usual ones, an exact power of two, one above 1, and one whose fraction is rounded up to 1."""
    return [
        (float(rng.uniform(0.001, 0.02)),),
        (2.0 ** -int(rng.integers(1, 9)),),
        (float(rng.uniform(2, 9)),),
        ((1 - 2.0**-40) * 2.0 ** -int(rng.integers(1, 9)),),
    ]


def _multiplier_and_shift(real: float) -> Right:
    multiplier, shift = (int(part) for part in fixed_point.quantize_multiplier(real))
    fraction, exponent = np.frexp(real)
    return Right(
        (multiplier, shift),
        {
            CUT_OFF: (int(fraction * 2.0**31), int(exponent)),
            "the other sign: a shift above 0 goes left.": (multiplier, -shift),
            "2**31 does not fit: halve it, and add 1 to the shift.": (2**31, int(exponent)),
            "between 0.5 and 1, not between 1 and 2.": (multiplier // 2, shift + 1),
        },
    )


def _same_integers(expected: Right, got: Any) -> str:
    try:
        multiplier, shift = got
    except (TypeError, ValueError):
        return f"expected  two integers, (multiplier, shift)\ngot       {type(got).__name__} {got!r}"
    text = f"expected  {expected.answer}\ngot       ({multiplier}, {shift})"
    for part in (multiplier, shift):
        if not isinstance(part, (int, np.integer)):
            return f"{text}\nperhaps   not an integer? There is {type(part).__name__}."
    if (multiplier, shift) == expected.answer:
        return ""
    return text + expected.recognized((int(multiplier), int(shift)))


multiplier_and_shift = Task(
    "multiplier_and_shift",
    _cases_of_real_multipliers,
    _multiplier_and_shift,
    _same_integers,
    (
        "Write the number as fraction * 2**shift with 0.5 <= fraction < 1. NumPy has a function for that.",
        "fraction, shift = np.frexp(real); the multiplier is fraction * 2**31, rounded, as an int.",
        "If rounding gave 2**31, which 32 bits do not hold: multiplier 2**30, and the shift is one more.",
    ),
)


def _cases_of_sums(rng: np.random.Generator) -> list[tuple]:
    """Multipliers with a short way right, none, left; and one for each channel."""
    cases = []
    for real in (_float32(rng.uniform(0.26, 0.49)), 0.5, _float32(rng.uniform(2.1, 3.9))):
        multiplier, shift = (int(part) for part in fixed_point.quantize_multiplier(real))
        cases.append((_sums(rng, real), multiplier, shift))
    several = rng.uniform(0.02, 0.24, 3).astype(np.float32)
    sums = np.stack([_sums(rng, real) for real in several], axis=1)
    return [*cases, (sums, *fixed_point.quantize_multiplier(several))]


def _sums(rng: np.random.Generator, real: float) -> np.ndarray:
    """Sums whose product fits in 8 bits: half of them such that two roundings end elsewhere than one."""
    most = int(120 / real)
    every = np.arange(-most, most + 1)
    once = fixed_point.multiply_double(every, real)
    twice = fixed_point.multiply_fixed_point(every, *fixed_point.quantize_multiplier(real))
    telling = every[once != twice]
    chosen = [rng.choice(telling, 6)] if len(telling) else []
    return np.concatenate([*chosen, rng.choice(every, 12 - 6 * len(chosen))]).astype(np.int32)


def _product_by_litert(accumulator: np.ndarray, multiplier: Any, shift: Any) -> Right:
    """A convolution whose weights are 0 has nothing but its biases to multiply: one channel a sum."""
    real = np.broadcast_to(multiplier * 2.0 ** (np.asarray(shift) - 31), accumulator.shape).ravel()
    weights = Values(np.zeros((real.size, 1, 1, 1), np.int8), real.astype(np.float32))
    output = Values(np.zeros((1, 1, 1, real.size), np.int8), 1.0)
    codes = one_operator.convolution(
        Values(np.zeros((1, 1, 1, 1), np.int8), 1.0), weights, accumulator.ravel(), output
    )
    wide, left = accumulator.astype(np.int64), np.maximum(shift, 0)
    right = np.maximum(-np.asarray(shift), 0)
    first = fixed_point.rounding_doubling_high_multiply(wide << left, multiplier)
    total = 31 - np.asarray(shift)
    return Right(
        codes.reshape(accumulator.shape).astype(np.int64),
        {
            "the second rounding: halves away from zero, also below it.": (first + ((1 << right) >> 1))
            >> right,
            "cut off at the end instead of rounded?": first >> right,
            "cut off in the first step: 2**30 is added before >> 31.": fixed_point.rounding_shift_right(
                (wide << left) * multiplier >> 31, right
            ),
            "in the first step, halves go up: -1.5 to -1.": fixed_point.rounding_shift_right(
                _rounded((wide << left) * multiplier / 2.0**31).astype(np.int64), right
            ),
            "rounded once, at the end? The kernel rounds twice.": _rounded(wide * multiplier / 2.0**total),
            "a shift above 0 goes left, before the multiplication.": fixed_point.rounding_shift_right(
                fixed_point.rounding_doubling_high_multiply(wide, multiplier), np.abs(shift)
            ),
        },
    )


multiply = Task(
    "multiply",
    _cases_of_sums,
    _product_by_litert,
    identical("iu"),
    (
        "The product needs 64 bits: accumulator.astype(np.int64) first.",
        "First rounding: (accumulator * multiplier + 2**30) >> 31. A shift above 0 is done before it, left.",
        "Second rounding, for a shift below 0: round_half_away(product / 2**-shift), as integers again. "
        "np.maximum(shift, 0) and np.maximum(-shift, 0) are the two ways.",
    ),
)


# 10. A convolution


def _cases_of_convolutions(rng: np.random.Generator) -> list[tuple]:
    return [_convolution_case(rng, *size) for size in ((10, 9, 2, 3), (9, 12, 3, 1))]


def _convolution_case(rng: np.random.Generator, rows: int, columns: int, tall: int, wide: int) -> tuple:
    """Kernels tall by wide, of small weights: multipliers are large then, and two roundings often tell."""
    inputs, outputs = (int(n) for n in rng.integers(2, 5, 2))
    q = rng.integers(LOWEST, HIGHEST + 1, (rows, columns, inputs)).astype(np.int8)
    weights = rng.integers(-5, 6, (outputs, tall, wide, inputs)).astype(np.int8)
    bias = rng.integers(-300, 300, outputs).astype(np.int32)
    weight_scales = rng.uniform(0.002, 0.01, outputs).astype(np.float32)
    input_scale = _float32(rng.uniform(0.01, 0.1))
    output_scale = _float32(input_scale * weight_scales.mean() * 4 * np.sqrt(inputs * tall * wide))
    zero_points = int(rng.integers(10, 60)), -int(rng.integers(10, 60))
    return q, input_scale, zero_points[0], weights, weight_scales, bias, output_scale, zero_points[1]


def _convolution_by_litert(
    q: np.ndarray,
    input_scale: float,
    input_zero_point: int,
    weights: np.ndarray,
    weight_scales: np.ndarray,
    bias: np.ndarray,
    output_scale: float,
    output_zero_point: int,
) -> Right:
    tall, wide = weights.shape[1:3]
    shape = (1, q.shape[0] - tall + 1, q.shape[1] - wide + 1, len(weights))
    codes = one_operator.convolution(
        Values(q[np.newaxis], input_scale, input_zero_point),
        Values(weights, weight_scales),
        bias,
        Values(np.zeros(shape, np.int8), output_scale, output_zero_point),
    )
    real = fixed_point.real_multiplier(input_scale, weight_scales, output_scale)
    parts = fixed_point.quantize_multiplier(real)

    def sums(zero_point: int = input_zero_point, kernel: np.ndarray = weights) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(
            q.astype(np.int64) - zero_point, (tall, wide), (0, 1)
        )
        return np.einsum("hwcij,oijc->hwo", windows, kernel.astype(np.int64)) + bias

    def finished(steps: np.ndarray, zero_point: int = output_zero_point) -> np.ndarray:
        return _as_int8(steps + zero_point)

    def fixed(total: np.ndarray) -> np.ndarray:
        return fixed_point.multiply_fixed_point(total, *parts)

    return Right(
        codes[0],
        {
            "the dense layer's rule? A convolution multiplies in fixed point.": finished(
                fixed_point.multiply_double(sums(), real)
            ),
            CUT_OFF: finished(np.trunc(sums() * real)),
            "is the input's zero point in it?": finished(fixed(sums(zero_point=0))),
            "the kernel is not turned round.": finished(fixed(sums(kernel=weights[:, ::-1, ::-1]))),
            "is the bias in it?": finished(fixed(sums() - bias)),
            "is the output's zero point in it?": finished(fixed(sums()), zero_point=0),
            WRAPPED: (fixed(sums()) + output_zero_point).astype(np.int8),
        },
    )


convolution = Task(
    "convolution",
    _cases_of_convolutions,
    _convolution_by_litert,
    identical(),
    (
        "A convolution is a dense layer at every place: the window's numbers are the inputs.",
        "Let x = q.astype(np.int64) - input_zero_point. The window at (i, j): x[i:i + height, j:j + width]; "
        "channel k's sum: (window * weights[k]).sum() + bias[k].",
        "Each channel has its own multiplier_and_shift(input_scale * weight_scale / output_scale), from "
        "float64 numbers. Then multiply, add the output's zero point, clip, int8.",
    ),
)
