"""Exercise 05: its solutions on further cases, typical mistakes, and what its answers are measured by."""

import numpy as np
import pytest

from tinylab import affine, fixed_point, one_operator
from tinylab.check import exercise_05 as check
from tinylab.one_operator import Values

from .conftest import slow
from .solved import Mistakes, checked, solved, tasks

SOLVED = solved("05_quantization_arithmetic")
TASKS = tasks(check)
SEEDS = (1, *slow(2, 3, 4, 5))
CONVERTING = ("scale_and_zero_point", "quantize_weights", "quantize_bias")  # half a second a check


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", TASKS)
def test_a_solution_is_right(name, seed):
    result = checked(getattr(check, name), getattr(SOLVED, name), seed)
    assert result.score == 1, result


def as_int8(codes):
    return np.clip(codes, -128, 127).astype(np.int8)


away = SOLVED.round_half_away


def rounds_as(function):
    return lambda x, scale, zero_point: as_int8(function(x / scale) + zero_point)


def pair(zero_point):
    """The right scale, with another zero point."""

    def scale_and_zero_point(low, high):
        scale, right = SOLVED.scale_and_zero_point(low, high)
        return scale, zero_point(min(low, 0), scale, right)

    return scale_and_zero_point


def with_scales(scales_of, shift=lambda w, scales: 0):
    """Weights quantized by other scales, of shape (outputs,)."""

    def quantize_weights(w):
        scales = np.broadcast_to(scales_of(w), len(w))
        return as_int8(away(w / scales[:, np.newaxis]) + shift(w, scales)), scales

    return quantize_weights


def codes_as(function):
    """The right scales, with other codes."""

    def quantize_weights(w):
        codes, scales = SOLVED.quantize_weights(w)
        return function(w / scales[:, np.newaxis], codes), scales

    return quantize_weights


def span(w):
    return (w.max(axis=1) - w.min(axis=1)) / 255


def in_units(function):
    return lambda b, input_scale, weight_scales: function(b / (input_scale * weight_scales))


def wide(q):
    return q.astype(np.int64)


def sums_right(q, zero_point, weights, bias):
    return (wide(q) - zero_point) @ wide(weights).T + bias


def multiplier_right(input_scale, weight_scales, output_scale):
    return input_scale * weight_scales.astype(np.float64) / output_scale


def dense(
    sums=sums_right,
    multiplier=multiplier_right,
    rounding=away,
    plus=lambda z: z,
    floor=lambda z, relu: z if relu else -128,
):
    """A dense layer with one of its parts exchanged."""

    def dense(q, scale, zero_point, weights, scales, bias, output_scale, output_zero_point, relu):
        real = multiplier(scale, scales, output_scale)
        codes = rounding(sums(q, zero_point, weights, bias) * real) + plus(output_zero_point)
        return np.clip(codes, floor(output_zero_point, relu), 127).astype(np.int8)

    return dense


def dense_in_float32(q, scale, zero_point, weights, scales, bias, output_scale, output_zero_point, relu):
    x = np.float32(scale) * (q.astype(np.float32) - zero_point)
    y = x @ (weights * scales[:, np.newaxis]).T + bias * (np.float32(scale) * scales)
    return SOLVED.quantize(np.maximum(y, 0) if relu else y, np.float32(output_scale), output_zero_point)


def dense_in_fixed_point(q, scale, zero_point, weights, scales, bias, output_scale, output_zero_point, relu):
    sums = sums_right(q, zero_point, weights, bias)
    pairs = [SOLVED.multiplier_and_shift(real) for real in multiplier_right(scale, scales, output_scale)]
    columns = [SOLVED.multiply(sums[:, k], *pair) for k, pair in enumerate(pairs)]
    lowest = output_zero_point if relu else -128
    return np.clip(np.stack(columns, axis=1) + output_zero_point, lowest, 127).astype(np.int8)


def dense_wrapped(*arguments):
    q, scale, zero_point, weights, scales, bias, output_scale, output_zero_point, _ = arguments
    sums = sums_right(q, zero_point, weights, bias)
    return (away(sums * multiplier_right(scale, scales, output_scale)) + output_zero_point).astype(np.int8)


def parts(fraction_of=lambda real: np.frexp(real), rounding=away):
    def multiplier_and_shift(real):
        fraction, shift = fraction_of(real)
        return int(rounding(fraction * 2**31)), int(shift)

    return multiplier_and_shift


def high_product(accumulator, multiplier, shift):
    return (wide(accumulator) << np.maximum(shift, 0)) * multiplier


def second_rounding(function):
    return lambda a, m, s: function((high_product(a, m, s) + 2**30) >> 31, np.maximum(-s, 0))


def convolution(
    multiply=lambda sums, real: SOLVED.multiply(sums, *SOLVED.multiplier_and_shift(real)),
    minus=lambda z: z,
    kernel=lambda weights: weights,
    bias_of=lambda bias, k: bias[k],
    scale_of=lambda scales, k: scales[k],
    plus=lambda z: z,
):
    """A convolution with one of its parts exchanged."""

    def convolution(q, scale, zero_point, weights, scales, bias, output_scale, output_zero_point):
        x, weights = wide(q) - minus(zero_point), kernel(wide(weights))
        outputs, height, width, _ = weights.shape
        codes = np.zeros((len(x) - height + 1, x.shape[1] - width + 1, outputs))
        for i, j, k in np.ndindex(codes.shape):
            total = (x[i : i + height, j : j + width] * weights[k]).sum() + bias_of(bias, k)
            real = scale * np.float64(scale_of(scales, k)) / output_scale
            codes[i, j, k] = multiply(total, real) + plus(output_zero_point)
        return as_int8(codes)

    return convolution


# name, wrong answer, what the message says about it
MISTAKES = {
    "round_half_away": {
        "to even": (np.round, "np.round"),
        "halves up": (lambda x: np.floor(x + 0.5), "negative halves up"),
        "cut off": (np.trunc, "cut off"),
        "adding a half": (lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5), "rounded up to 1"),
        "integers, cut off": (lambda x: x.astype(int), "cut off"),
        "NaN": (lambda x: x * np.nan, "nan"),
        "flat": (lambda x: away(x).ravel(), "shape"),
        "a list": (lambda x: away(x).tolist(), "list"),
    },
    "scale_and_zero_point": {
        "not widened": (
            lambda low, high: ((high - low) / 255, int(away(-128 - low / ((high - low) / 255)))),
            "Widen",
        ),
        "256 steps": (lambda low, high: ((max(high, 0) - min(low, 0)) / 256, -128), "expected"),
        "cut off": (pair(lambda low, scale, _: int(-128 - low / scale)), "cut off"),
        "to even": (pair(lambda low, scale, _: round(-128 - low / scale)), "even"),
        "other sign": (pair(lambda low, scale, _: int(away(-128 + low / scale))), "sign"),
        "from 0 on": (pair(lambda low, scale, _: int(away(-low / scale))), "-128"),
        "a float": (pair(lambda low, scale, right: float(right)), "not an integer"),
        "symmetric": (lambda low, high: (max(-low, high) / 127, 0), "expected"),
        "swapped": (lambda low, high: SOLVED.scale_and_zero_point(low, high)[::-1], "not an integer"),
        "one number": (lambda low, high: SOLVED.scale_and_zero_point(low, high)[0], "two numbers"),
        "NaN": (lambda low, high: (np.nan, 0), "nan"),
        "a string": (lambda low, high: "ab", "two numbers"),
    },
    "quantize": {
        "cut off": (rounds_as(np.trunc), "cut off"),
        "to even": (rounds_as(np.round), "even"),
        "rounded after the zero point": (lambda x, s, z: as_int8(away(x / s + z)), "expected"),
        "other sign": (lambda x, s, z: as_int8(away(x / s) - z), "added"),
        "no zero point": (lambda x, s, z: as_int8(away(x / s)), "zero point"),
        "multiplied": (lambda x, s, z: as_int8(away(x * s) + z), "multiplied"),
        "wrapped": (lambda x, s, z: (away(x / s) + z).astype(np.int64).astype(np.int8), "not clipped"),
        "clipped too early": (lambda x, s, z: (as_int8(away(x / s)) + z).astype(np.int8), "expected"),
        "from -127 on": (lambda x, s, z: np.maximum(SOLVED.quantize(x, s, z), -127), "expected"),
        "floats": (lambda x, s, z: SOLVED.quantize(x, s, z).astype(np.float32), "float32"),
        "uint8": (lambda x, s, z: np.clip(away(x / s) + z, 0, 255).astype(np.uint8), "uint8"),
    },
    "dequantize": {
        "int8 overflow": (lambda q, s, z: np.float32(s) * (q - np.int8(z)), "overflowed"),
        "other sign": (lambda q, s, z: np.float32(s) * (wide(q) + z).astype(np.float32), "taken away"),
        "no zero point": (lambda q, s, z: np.float32(s) * q.astype(np.float32), "zero point"),
        "float64": (lambda q, s, z: s * (wide(q) - z), "float64"),
        "divided": (lambda q, s, z: ((wide(q) - z) / np.float32(s)).astype(np.float32), "expected"),
        "NaN": (lambda q, s, z: q * np.float32(np.nan), "nan"),
    },
    "quantize_weights": {
        "per-tensor": (with_scales(lambda w: np.abs(w).max() / 127), "one scale"),
        "128": (with_scales(lambda w: np.abs(w).max(axis=1) / 128), "not 128"),
        "no absolute value": (with_scales(lambda w: w.max(axis=1) / 127), "absolute"),
        "a zero point": (
            with_scales(span, lambda w, s: away(-128 - w.min(axis=1) / s)[:, np.newaxis]),
            "zero point 0",
        ),
        "cut off": (codes_as(lambda steps, codes: steps.astype(np.int8)), "cut off"),
        "to even": (codes_as(lambda steps, codes: np.round(steps).astype(np.int8)), "even"),
        "floats": (codes_as(lambda steps, codes: away(steps)), "float32"),
        "turned round": (codes_as(lambda steps, codes: codes.T), "shape"),
        "codes alone": (lambda w: SOLVED.quantize_weights(w)[0], "(codes, scales)"),
        "a column of scales": (lambda w: (SOLVED.quantize_weights(w)[0], np.ones((len(w), 1))), "scales"),
        "inverse scales": (
            lambda w: (SOLVED.quantize_weights(w)[0], 1 / SOLVED.quantize_weights(w)[1]),
            "scales",
        ),
    },
    "quantize_bias": {
        "cut off": (in_units(lambda units: units.astype(np.int32)), "cut off"),
        "to even": (in_units(lambda units: np.round(units).astype(np.int32)), "even"),
        "8 bits": (in_units(lambda units: as_int8(away(units)).astype(np.int32)), "32 bits"),
        "16 bits": (in_units(lambda units: wide(away(units)).astype(np.int16).astype(np.int32)), "expected"),
        "64 bits": (in_units(lambda units: wide(away(units))), "int64"),
        "floats": (in_units(away), "float32"),
        "no input scale": (lambda b, s, scales: away(b / scales).astype(np.int32), "input's scale"),
        "no weight scales": (lambda b, s, scales: away(b / s).astype(np.int32), "weights' scales"),
        "one weight scale": (lambda b, s, scales: away(b / (s * scales[0])).astype(np.int32), "expected"),
    },
    "dense": {
        "no input zero point": (dense(sums=lambda q, z, w, b: sums_right(q, 0, w, b)), "input's zero point"),
        "int8 overflow": (dense(sums=lambda q, z, w, b: (q - np.int8(z)) @ w.T + b), "overflows"),
        "no bias": (dense(sums=lambda q, z, w, b: sums_right(q, z, w, 0)), "bias"),
        "cut off": (dense(rounding=np.trunc), "cut off"),
        "to even": (dense(rounding=np.round), "even"),
        "halves up": (dense(rounding=lambda x: np.floor(x + 0.5)), "expected"),
        "no output zero point": (dense(plus=lambda z: 0), "output's zero point"),
        "no ReLU": (dense(floor=lambda z, relu: -128), "ReLU"),
        "ReLU at code 0": (dense(floor=lambda z, relu: 0 if relu else -128), "ReLU cuts"),
        "ReLU always": (dense(floor=lambda z, relu: z), "expected"),
        "one scale": (dense(multiplier=lambda s, scales, o: s * float(scales[0]) / o), "one scale"),
        "float32 multiplier": (
            dense(multiplier=lambda s, scales, o: np.float32(s) * scales / np.float32(o)),
            "float64",
        ),
        "wrapped": (dense_wrapped, "not clipped"),
        "computed in float32": (dense_in_float32, "expected"),
        "fixed point": (dense_in_fixed_point, "fixed point"),
        "floats": (lambda *arguments: SOLVED.dense(*arguments).astype(np.float32), "float32"),
        "turned round": (lambda *arguments: SOLVED.dense(*arguments).T, "shape"),
    },
    "multiplier_and_shift": {
        "cut off": (parts(rounding=int), "cut off"),
        "2**31": (parts(), "halve it"),
        "other sign": (
            lambda real: (SOLVED.multiplier_and_shift(real)[0], -SOLVED.multiplier_and_shift(real)[1]),
            "sign",
        ),
        "from 1 to 2": (parts(lambda real: (np.frexp(real)[0] / 2, np.frexp(real)[1] + 1)), "between 0.5"),
        "by logarithm": (
            parts(lambda real: (real / 2 ** np.ceil(np.log2(real)), np.ceil(np.log2(real)))),
            "expected",
        ),
        "float32": (lambda real: SOLVED.multiplier_and_shift(np.float32(real)), "expected"),
        "floats": (
            lambda real: (float(SOLVED.multiplier_and_shift(real)[0]), SOLVED.multiplier_and_shift(real)[1]),
            "not an integer",
        ),
        "one number": (lambda real: SOLVED.multiplier_and_shift(real)[0], "two integers"),
        "NaN": (lambda real: (np.nan, 0), "not an integer"),
    },
    "multiply": {
        "rounded once": (lambda a, m, s: wide(away(wide(a) * m * 2.0 ** (s - 31))), "rounds twice"),
        "32 bits": (lambda a, m, s: (a * np.int32(m) + 2**30) >> 31, "expected"),
        "no first rounding": (
            lambda a, m, s: wide(away((high_product(a, m, s) >> 31) / 2 ** np.maximum(-s, 0))),
            "2**30",
        ),
        "halves away at first": (
            lambda a, m, s: wide(away(away(high_product(a, m, s) / 2**31) / 2 ** np.maximum(-s, 0))),
            "halves go up",
        ),
        "halves up at last": (second_rounding(lambda x, bits: (x + ((1 << bits) >> 1)) >> bits), "below it"),
        "halves to even at last": (second_rounding(lambda x, bits: wide(np.round(x / 2**bits))), "expected"),
        "no second rounding": (second_rounding(lambda x, bits: x >> bits), "cut off at the end"),
        "never to the left": (
            lambda a, m, s: wide(away(((wide(a) * m + 2**30) >> 31) / 2.0 ** np.abs(s))),
            "goes left",
        ),
        "to the left at last": (
            lambda a, m, s: wide(away(((wide(a) * m + 2**30) >> 31) * 2.0**s)),
            "expected",
        ),
        "floats": (lambda a, m, s: SOLVED.multiply(a, m, s).astype(float), "integer dtype"),
    },
    "convolution": {
        "double": (convolution(multiply=lambda sums, real: away(sums * real)), "fixed point"),
        "cut off": (convolution(multiply=lambda sums, real: np.trunc(sums * real)), "cut off"),
        "no input zero point": (convolution(minus=lambda z: 0), "input's zero point"),
        "turned round": (convolution(kernel=lambda w: w[:, ::-1, ::-1]), "not turned round"),
        "axes swapped": (convolution(kernel=lambda w: w.transpose(0, 2, 1, 3)), "shape"),
        "no bias": (convolution(bias_of=lambda bias, k: 0), "bias"),
        "one scale": (convolution(scale_of=lambda scales, k: scales[0]), "expected"),
        "no output zero point": (convolution(plus=lambda z: 0), "output's zero point"),
        "a batch axis": (lambda *arguments: SOLVED.convolution(*arguments)[np.newaxis], "shape"),
        "floats": (lambda *arguments: SOLVED.convolution(*arguments).astype(np.float32), "float32"),
    },
}


class TestMistakes(Mistakes):
    check, table, seeds = check, MISTAKES, (2, 3, 4)
    slow_tasks = CONVERTING


def test_what_litert_answers_is_what_our_arithmetic_says():
    """The kernels that answers are compared with, on random numbers of every kind."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        source = affine.AffineParams(float(np.float32(rng.uniform(0.001, 1))), int(rng.integers(-128, 128)))
        x = rng.normal(0, 200 * source.scale, (3, 5)).astype(np.float32)
        q = rng.integers(-128, 128, (4, 5, 6, 2)).astype(np.int8)
        in_litert = one_operator.quantized(x, source.scale, source.zero_point)
        assert np.array_equal(in_litert, affine.quantize(x, source))
        in_litert = one_operator.dequantized(q, source.scale, source.zero_point)
        assert np.array_equal(in_litert, affine.dequantize(q, source))

        scales = rng.uniform(0.001, 0.1, 3).astype(np.float32)
        weights, bias = rng.integers(-127, 128, (3, 2, 3, 2)).astype(np.int8), rng.integers(-5000, 5000, 3)
        target = affine.AffineParams(float(np.float32(source.scale * scales.mean() * 300)), -7)
        windows = np.lib.stride_tricks.sliding_window_view(wide(q) - source.zero_point, (2, 3), (1, 2))
        sums = np.einsum("nhwcij,oijc->nhwo", windows, wide(weights)) + bias
        real = fixed_point.real_multiplier(source.scale, scales, target.scale)
        steps = fixed_point.multiply_fixed_point(sums, *fixed_point.quantize_multiplier(real))
        in_litert = one_operator.convolution(
            Values(q, source.scale, source.zero_point),
            Values(weights, scales),
            bias.astype(np.int32),
            Values(np.zeros(steps.shape, np.int8), target.scale, target.zero_point),
        )
        assert np.array_equal(in_litert, as_int8(steps + target.zero_point))
