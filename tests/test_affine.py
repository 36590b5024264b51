"""Laws of affine quantization, and agreement to the bit with LiteRT's operators and its converter."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinylab import runners, tflite_file
from tinylab.affine import (
    AffineParams,
    dequantize,
    error_parts,
    expected_rmse,
    integer_limits,
    largest_error,
    params_from_data,
    params_from_range,
    quantize,
    round_half_away,
    sqnr,
)
from tinylab.errors import DataError

from .conftest import slow

DTYPES = [f"{sign}int{bits}" for bits in range(2, 17) for sign in ("", "u")]
EPSILON = float(np.finfo(np.float32).eps)
LARGEST = float(np.finfo(np.float32).max)
dtypes = st.sampled_from(DTYPES)


@st.composite
def ranges(draw):
    """Two float32 numbers, the smaller first, of any sign and size; not both 0."""
    unit = draw(st.floats(2.0**-40, 2.0**40))
    thousandths = st.integers(-1000, 1000)
    ends = draw(st.tuples(thousandths, thousandths).filter(any))
    return tuple(float(np.float32(end * unit)) for end in sorted(ends))


@st.composite
def params(draw):
    """Made from a range as in a course, or a scale and a zero point out of nowhere."""
    dtype = draw(dtypes)
    if draw(st.booleans()):
        return params_from_range(*draw(ranges()), dtype, draw(st.booleans()))
    return AffineParams(
        draw(st.floats(2.0**-20, 2.0**10, width=32)), draw(st.integers(*integer_limits(dtype))), dtype
    )


def real_numbers(largest=1e6):
    return arrays.arrays(np.float32, 50, elements=st.floats(-largest, largest, width=32))


shares = arrays.arrays(np.float64, 50, elements=st.floats(0, 1))


def numbers_between(low, high, shares):
    """Numbers inside a range, its ends among them."""
    return np.clip(low + np.append(shares, [0, 1]) * (high - low), low, high).astype(np.float32)


# Types


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits_and_storage_of_every_width(dtype):
    p, bits = AffineParams(1.0, 0, dtype), int(dtype.split("int")[1])
    assert p.highest - p.lowest == 2**bits - 1
    assert p.lowest == (0 if dtype.startswith("u") else -(2 ** (bits - 1)))
    assert p.storage.name == dtype.replace(str(bits), "8" if bits <= 8 else "16")


@pytest.mark.parametrize(("dtype", "name"), [("int17", "int32"), ("uint32", "uint32"), ("int64", "int64")])
def test_storage_of_wider_integers(dtype, name):
    assert AffineParams(1.0, 0, dtype).storage == name


@pytest.mark.parametrize(
    "dtype", ["int1", "uint1", "int0", "int65", "int", "float32", "int08", "xint8", "int8x"]
)
def test_what_is_no_integer_type_is_refused(dtype):
    with pytest.raises(DataError, match="integer type"):
        integer_limits(dtype)
    with pytest.raises(DataError, match="integer type"):
        params_from_range(-1, 1, dtype)
    with pytest.raises(DataError, match="integer type"):
        _ = AffineParams(1.0, 0, dtype).storage


@pytest.mark.parametrize("dtype", ["int17", "uint17", "int32", "int64"])
def test_a_range_is_not_mapped_onto_more_than_16_bits(dtype):
    with pytest.raises(DataError, match="2 to 16 bits"):
        params_from_range(-1, 1, dtype)


# Rounding


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1000, 1000).map(lambda n: n / 2))
def test_whole_numbers_are_the_nearest_exact_halves_away_from_zero(x):
    nearest = math.floor(abs(Fraction(x)) + Fraction(1, 2))
    assert float(round_half_away(x)) == (nearest if x >= 0 else -nearest)


def test_infinity_is_rounded_to_itself(recwarn):
    assert round_half_away(np.array([np.inf, -np.inf])).tolist() == [np.inf, -np.inf]
    assert not recwarn.list


@pytest.mark.parametrize(("x", "expected"), [(0.25, 1), (-0.25, -1), (0.75, 2), (-0.75, -2), (0.24, 0)])
def test_halves_are_rounded_away_from_zero(x, expected):
    assert quantize(np.array(x), AffineParams(0.5, 0)) == expected


# Laws of every scale and zero point


@given(params(), shares)
def test_between_the_ends_the_error_is_at_most_half_a_step(p, shares):
    low, high = p.limits
    x = numbers_between(low, high, shares)
    # float32 itself rounds x / scale and scale * steps
    rounding = 4 * EPSILON * np.abs(x).max()
    assert np.abs(dequantize(quantize(x, p), p) - x.astype(float)).max() <= largest_error(p) + rounding


@given(params(), real_numbers())
def test_a_larger_number_never_gets_a_smaller_code(p, x):
    assert (np.diff(quantize(np.sort(x), p).astype(int)) >= 0).all()


@given(params())
def test_zero_becomes_the_zero_point_and_comes_back_as_zero(p):
    assert p.lowest <= p.zero_point <= p.highest
    assert quantize(np.zeros(1), p) == p.zero_point
    assert dequantize(np.array([p.zero_point]), p) == 0


@given(params())
def test_every_code_survives_the_round_trip(p):
    codes = np.arange(p.lowest, p.highest + 1).astype(p.storage)
    assert np.array_equal(quantize(dequantize(codes, p), p), codes)


@given(params(), st.floats(1, 1e20))
def test_beyond_the_range_the_ends_are_given(p, factor):
    low, high = p.limits
    x = np.array([low - factor * p.scale, high + factor * p.scale])
    assert quantize(x, p).tolist() == [p.lowest, p.highest]


@pytest.mark.parametrize("beyond", [np.inf, 1e300, np.float32(3e38)])
def test_infinity_and_what_float32_cannot_hold_are_beyond_every_range(beyond, recwarn):
    p = AffineParams(0.5, 3, "int6")
    assert quantize(np.array([-beyond, 0, beyond]), p).tolist() == [-32, 3, 31]
    assert not recwarn.list


@given(params(), real_numbers())
def test_shape_and_dtypes(p, x):
    q = quantize(x.reshape(5, 2, 5), p)
    assert (q.shape, q.dtype) == ((5, 2, 5), p.storage)
    assert dequantize(q, p).dtype == np.float32
    assert quantize(float(x[0]), p).shape == ()


def test_integers_are_quantized_like_real_numbers():
    p = params_from_data(np.arange(-3, 7))
    assert p == params_from_range(-3.0, 6.0)
    assert np.array_equal(quantize(np.arange(-3, 7), p), quantize(np.arange(-3.0, 7.0), p))


def test_differences_of_16_bit_codes_do_not_overflow():
    p = AffineParams(1.0, 32767, "int16")
    assert dequantize(np.array([-32768], np.int16), p) == -65535


# Laws of scales and zero points that come from a range


def widened(low, high):
    return min(low, 0.0), max(high, 0.0)


@given(ranges(), dtypes, st.booleans(), shares)
def test_inside_the_range_the_error_is_at_most_half_a_step(ends, dtype, symmetric, shares):
    low, high = widened(*ends)
    p = params_from_range(*ends, dtype, symmetric)
    x = numbers_between(low, high, shares)
    error = np.abs(dequantize(quantize(x, p), p) - x.astype(float))
    # float32 itself rounds the scale, x / scale and scale * steps
    assert error.max() <= largest_error(p) + 4 * EPSILON * (high - low)


@given(ranges(), dtypes)
def test_the_ends_of_the_range_reach_the_ends_of_the_integers(ends, dtype):
    low, high = widened(*ends)
    p = params_from_range(low, high, dtype)
    rounding = 4 * EPSILON * (high - low)
    assert np.abs(np.subtract(p.limits, (low, high))).max() <= p.scale / 2 + rounding
    q = quantize(np.array([low, high]), p).astype(int)
    assert q[0] - p.lowest <= 1
    assert p.highest - q[1] <= 1
    assert math.isclose(p.scale * (p.highest - p.lowest), high - low, rel_tol=2 * EPSILON)


@given(ranges(), dtypes)
def test_a_symmetric_range_has_its_zero_point_in_the_middle(ends, dtype):
    p = params_from_range(*ends, dtype, symmetric=True)
    largest = max(map(abs, ends))
    assert p.zero_point == (2 ** (int(dtype[4:]) - 1) if dtype.startswith("u") else 0)
    assert quantize(np.array([-largest, largest]), p).tolist() == [p.lowest + 1, p.highest]
    assert math.isclose(p.limits[1], largest, rel_tol=2 * EPSILON)


@given(ranges(), dtypes, st.booleans())
def test_a_range_is_widened_to_hold_zero(ends, dtype, symmetric):
    assert params_from_range(*ends, dtype, symmetric) == params_from_range(*widened(*ends), dtype, symmetric)


@given(ranges(), dtypes, st.booleans())
def test_a_scale_is_a_float32_number(ends, dtype, symmetric):
    p = params_from_range(*ends, dtype, symmetric)
    assert p.scale == np.float32(p.scale) > 0
    assert (type(p.scale), type(p.zero_point), p.dtype, p.axis) == (float, int, dtype, None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("symmetric", [False, True])
def test_spread_out_numbers_are_wrong_by_a_step_over_root_12(dtype, symmetric):
    x = np.random.default_rng(0).uniform(-1, 2, 100_000).astype(np.float32)
    p = params_from_data(x, dtype, symmetric)
    assert dequantize(quantize(x, p), p).std() > 0.1
    rmse = math.sqrt(np.mean((dequantize(quantize(x, p), p) - x.astype(float)) ** 2))
    # in two bits the range's ends lie too far from the middle of their steps
    tolerance = 0.3 if p.highest - p.lowest < 8 else 0.1 if p.highest - p.lowest < 32 else 0.02
    assert rmse == pytest.approx(expected_rmse(p), rel=tolerance)


# Errors by cause


@given(params(), real_numbers())
def test_rounding_and_clipping_make_up_the_whole_error(p, x):
    parts = error_parts(x, p)
    error = dequantize(quantize(x, p), p) - x.astype(float)
    outside = (x < p.limits[0]) | (x > p.limits[1])
    assert parts.rmse == pytest.approx(math.sqrt(np.mean(error**2)))
    assert parts.rmse == pytest.approx(math.hypot(parts.rounding, parts.clipping))
    assert parts.rounding == pytest.approx(math.sqrt(np.sum(error[~outside] ** 2) / x.size))
    assert parts.clipped == np.mean(outside)
    assert parts.clipped or not parts.clipping


def test_numbers_inside_the_range_are_not_clipped():
    x = np.random.default_rng(0).uniform(-3, 6, 100_000)
    parts = error_parts(x, params_from_range(-3.1, 6.1))
    assert (parts.clipping, parts.clipped, parts.rmse) == (0, 0, parts.rounding)
    assert parts.rounding == pytest.approx(expected_rmse(params_from_range(-3.1, 6.1)), rel=0.01)


def test_no_numbers_have_no_error():
    with pytest.raises(DataError, match="at least one"):
        error_parts(np.zeros(0), AffineParams(1.0, 0))


# Signal to quantization noise


def nonzero_numbers():
    """Numbers of 1 to 2, or -1 to -2: none is lost beside another."""
    return st.tuples(shares, arrays.arrays(bool, 50)).map(lambda x: (1 + x[0]) * np.where(x[1], -1, 1))


@given(nonzero_numbers(), shares, st.floats(1e-6, 1e3))
def test_sqnr_is_signal_to_error_in_decibels(reference, errors, size):
    x = reference + size * (errors + 0.01)
    signal = math.fsum(float(r) ** 2 for r in reference)
    noise = math.fsum(float(b - a) ** 2 for a, b in zip(reference, x, strict=True))
    expected = 10 * (math.log10(signal) - math.log10(noise))
    assert sqnr(reference, x) == pytest.approx(expected, abs=1e-9)
    assert sqnr(-reference, -x) == sqnr(reference, x)
    assert sqnr(reference.reshape(5, 10), x.reshape(5, 10)) == pytest.approx(expected, abs=1e-9)
    assert sqnr(reference.tolist(), x.tolist()) == sqnr(reference, x)


@given(nonzero_numbers(), st.floats(-6, 6), st.sampled_from([-1, 1]))
def test_an_error_of_a_tenth_of_the_signal_is_20_db(reference, magnitude, sign):
    x = reference * (1 + sign * 10.0**magnitude)
    assert sqnr(reference, x) == pytest.approx(-20 * magnitude, abs=1e-3)


@given(nonzero_numbers(), st.sampled_from([2.0**-60, 0.5, 3.0, 1e30]))
def test_sqnr_has_no_unit(reference, factor):
    x = reference + 0.01
    assert sqnr(factor * reference, factor * x) == pytest.approx(sqnr(reference, x), abs=1e-6)


@given(nonzero_numbers())
def test_one_bit_more_is_6_db_more(reference):
    """While the error is spread over a step, and the numbers are not few."""
    reference = np.append(reference, np.linspace(-2, 2, 5000))
    found = [sqnr(reference, dequantize(q, p)) for q, p in quantized_to(reference, ("int8", "int9"))]
    assert found[1] - found[0] == pytest.approx(20 * math.log10(2), abs=0.3)


def quantized_to(x, dtypes):
    for dtype in dtypes:
        params = params_from_range(-2.0, 2.0, dtype)
        yield quantize(x, params), params


def test_sqnr_without_any_error_or_any_signal():
    assert sqnr(np.ones(3), np.ones(3)) == math.inf
    assert sqnr(np.zeros(3), np.zeros(3)) == math.inf
    assert sqnr(np.zeros(3), np.array([0, 0, 1e-20])) == -math.inf
    assert sqnr(np.ones(3), np.zeros(3)) == 0


def test_the_difference_of_integers_and_of_half_precision_does_not_wrap_round():
    assert sqnr(np.array([0, 200], np.uint8), np.array([20, 200], np.uint8)) == pytest.approx(20)
    assert sqnr(np.array([0, 1e4], np.float16), np.array([1e3, 1e4], np.float16)) == pytest.approx(20)


@pytest.mark.parametrize(
    ("reference", "x"),
    [(np.zeros(0), np.zeros(0)), (np.zeros(3), np.zeros(4)), (np.zeros((1, 3)), np.zeros(3)), (1.0, [1.0])],
    ids=["empty", "length", "broadcast", "scalar"],
)
def test_sqnr_of_other_shapes_or_of_nothing_is_refused(reference, x):
    with pytest.raises(DataError, match="the same expected, and at least one number"):
        sqnr(reference, x)


# Ranges at the edge


@pytest.mark.parametrize("dtype", ["int2", "int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("symmetric", [False, True])
class TestRangesAtTheEdge:
    def test_nothing_but_zero_stays_zero(self, dtype, symmetric):
        for data in ([0.0], [-0.0, 0.0], [0, 0]):
            p = params_from_data(np.array(data), dtype, symmetric)
            assert p.scale == 1
            assert dequantize(quantize(np.array(data), p), p).tolist() == [0] * len(data)

    @pytest.mark.parametrize("number", [5.0, -5.0, 1e-30, -1e30, 0.1])
    def test_one_number_comes_back(self, dtype, symmetric, number):
        p = params_from_data(np.array([number]), dtype, symmetric)
        assert dequantize(quantize(number, p), p) == pytest.approx(number, rel=2 * EPSILON)

    @pytest.mark.parametrize("ends", [(0, 1e-45), (-1e-45, 0), (-1e-38, 1e-38), (0, 1e-40)])
    def test_what_is_too_narrow_is_refused(self, dtype, symmetric, ends):
        with pytest.raises(DataError, match="too narrow or too wide"):
            params_from_range(*ends, dtype, symmetric)

    @pytest.mark.parametrize("ends", [(-LARGEST, LARGEST), (-3e38, 2e38)])
    def test_what_is_too_wide_is_refused(self, dtype, symmetric, ends, recwarn):
        with pytest.raises(DataError, match="too narrow or too wide"):
            params_from_range(*ends, dtype, symmetric)
        assert not recwarn.list

    @pytest.mark.parametrize(
        "ends", [(-1e-30, 1e37), (-1e37, 1e-30), (-8e37, 8e37), (0, 8e37), (-1e-33, 1e-33)]
    )
    def test_what_is_just_not_too_wide_keeps_every_law(self, dtype, symmetric, ends, recwarn):
        p = params_from_range(*ends, dtype, symmetric)
        assert p.lowest <= p.zero_point <= p.highest
        codes = np.arange(p.lowest, p.highest + 1)
        assert np.isfinite(dequantize(codes, p)).all()
        assert np.array_equal(quantize(dequantize(codes, p), p), codes)
        assert not recwarn.list


@pytest.mark.parametrize(
    "ends", [(np.nan, 1), (0, np.nan), (-np.inf, 1), (0, np.inf), (0, 1e39), (2, 1), (-1, -2)]
)
def test_what_is_no_range_is_refused(ends):
    with pytest.raises(DataError, match="end of the range"):
        params_from_range(*ends)
    with pytest.raises(DataError, match="end of the range"):
        params_from_range(np.array([0, ends[0]]), np.array([1, ends[1]]), axis=0)


@pytest.mark.parametrize("data", [[0.0, np.nan], [np.inf, 0.0], [-np.inf]])
def test_data_without_a_range_are_refused(data):
    with pytest.raises(DataError, match="finite"):
        params_from_data(np.array(data))


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
@pytest.mark.parametrize("axis", [None, 0])
def test_no_data_are_refused(shape, axis):
    with pytest.raises(DataError, match="at least one"):
        params_from_data(np.zeros(shape), axis=axis)


@pytest.mark.parametrize("x", [np.nan, [0.0, np.nan]])
def test_nan_is_not_quantized(x):
    with pytest.raises(DataError, match="NaN"):
        quantize(np.array(x), AffineParams(1.0, 0))


# Per-channel


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@given(dtype=dtypes, symmetric=st.booleans(), seed=st.integers(0, 1000))
def test_per_channel_is_per_tensor_channel_by_channel(axis, dtype, symmetric, seed):
    rng = np.random.default_rng(seed)
    sizes = np.moveaxis(10 ** rng.uniform(-3, 3, 3 + axis % 3).reshape(-1, 1, 1), 0, axis)
    x = (rng.normal(rng.normal(), 1, (3, 4, 5)) * sizes).astype(np.float32)
    p = params_from_data(x, dtype, symmetric, axis)
    assert (p.scale.shape, p.zero_point.shape, p.dtype, p.axis) == (
        (3 + axis % 3,),
        (3 + axis % 3,),
        dtype,
        axis,
    )
    q = quantize(x, p)
    assert (q.shape, q.dtype) == (x.shape, p.storage)
    back = dequantize(q, p)
    assert (back.shape, back.dtype) == (x.shape, np.float32)
    for channel in range(x.shape[axis]):
        own = params_from_data(x.take(channel, axis), dtype, symmetric)
        assert (own.scale, own.zero_point) == (p.scale[channel], p.zero_point[channel])
        assert np.array_equal(quantize(x.take(channel, axis), own), q.take(channel, axis))
        assert np.array_equal(dequantize(q.take(channel, axis), own), back.take(channel, axis))
        assert own.limits == (p.limits[0][channel], p.limits[1][channel])
        assert largest_error(own) == pytest.approx(largest_error(p)[channel])
        assert expected_rmse(own) == pytest.approx(expected_rmse(p)[channel])


def test_one_channel_is_still_per_channel():
    p = params_from_data(np.array([[-1.0, 2.0]]), axis=0)
    assert (p.scale.shape, p.zero_point.shape, p.axis) == ((1,), (1,), 0)


@pytest.mark.parametrize(
    ("low", "high", "axis"),
    [
        ([0, 0], [1, 1], None),  # arrays without an axis
        ([0], [1], None),
        (0, 1, 0),  # an axis without arrays
        ([0, 0], [1, 1, 1], 0),
        ([0, 0], 1, 0),
        ([[0, 0]], [[1, 1]], 0),
        ([], [], 0),
    ],
)
@pytest.mark.parametrize("symmetric", [False, True])
def test_ends_that_do_not_fit_together_are_refused(low, high, axis, symmetric):
    with pytest.raises(DataError, match=r"two numbers, or two arrays"):
        params_from_range(np.array(low, float), np.array(high, float), symmetric=symmetric, axis=axis)


@pytest.mark.parametrize(("shape", "axis"), [((2, 3), 2), ((2, 3), -3), ((), 0)])
def test_an_axis_that_an_array_lacks_is_refused(shape, axis):
    with pytest.raises(DataError, match="no axis"):
        params_from_data(np.ones(shape), axis=axis)


@pytest.mark.parametrize("change", [quantize, dequantize])
@pytest.mark.parametrize("shape", [(2, 4), (3,), (3, 1), ()])
def test_another_number_of_channels_is_refused(change, shape):
    p = params_from_range(np.zeros(3), np.ones(3), axis=1)
    assert change(np.zeros((2, 3), int), p).shape == (2, 3)
    with pytest.raises(DataError, match="3 channels along axis 1 expected"):
        change(np.zeros(shape, int), p)


@pytest.mark.parametrize("change", [quantize, dequantize])
def test_scales_without_an_axis_are_refused(change):
    with pytest.raises(DataError, match="no axis"):
        change(np.zeros((3, 3), int), AffineParams(np.ones(3, np.float32), np.zeros(3, int)))


# LiteRT's operators QUANTIZE and DEQUANTIZE


def float_in_and_out(low, high, activations):
    """A file of TensorFlow's own making: QUANTIZE, something to compute, DEQUANTIZE."""
    from tinylab._tensorflow import keras, tf
    from tinylab.quiet import quiet

    model = keras.Sequential([keras.layers.MaxPooling2D(1, input_shape=(1, 1, 1))])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [np.full((1, 1, 1, 1), value, np.float32)] for value in (low, high)
    )
    converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, activations)]
    with quiet():
        return converter.convert()


INT8 = "TFLITE_BUILTINS_INT8"
INT16 = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"


def awkward_numbers(p):
    """Everything near a change of code: exact ties, their neighbours, the ends, numbers far outside."""
    steps = np.arange(p.lowest - 3, p.highest + 4)[:: 16 if p.dtype == "int16" else 1]
    ties = np.float32(p.scale) * (steps - p.zero_point + 0.5).astype(np.float32)
    near = [np.nextafter(ties, np.float32(-np.inf)), ties, np.nextafter(ties, np.float32(np.inf))]
    spread = np.random.default_rng(0).normal(0, 2 * np.abs(ties).max(), 4000)
    far = p.scale * 2.0**30  # further out, at 2**31 steps, LiteRT's reference kernel overflows
    return np.concatenate([*near, spread, [0, -0.0, far, -far]]).astype(np.float32)


@pytest.mark.parametrize(
    ("low", "high", "activations"),
    [(0, 1, INT8), (-1, 1, INT8), (-0.37, 5.1, INT8), (-700, 3, INT8), (-2.7, 1.9, INT16)],
)
def test_quantize_and_dequantize_agree_with_litert_to_the_bit(low, high, activations):
    runner = runners.load(float_in_and_out(low, high, activations), kernels="reference")
    operators = {operator.name: operator for operator in runner.file.operators}
    quantized = runner.file.tensors[operators["QUANTIZE"].outputs[0]]
    result = runner.file.tensors[operators["DEQUANTIZE"].inputs[0]]
    x = awkward_numbers(quantized.params)
    trace = runner.trace(x.reshape(-1, 1, 1, 1))
    codes = trace.tensors[quantized.name].reshape(-1)
    assert np.array_equal(quantize(x, quantized.params), codes)
    assert np.array_equal(
        dequantize(trace.tensors[result.name], result.params).reshape(-1), trace.outputs.reshape(-1)
    )


# The converter's scales and zero points of activations


def awkward_ranges(count, rng):
    """Ranges of every sign and size; from half of them, the zero point comes out as nearly an exact half."""
    low = -(10 ** rng.uniform(-4, 3, count)).astype(np.float32)
    steps = rng.integers(0, 255, count) + 0.5
    high = np.where(np.arange(count) % 2, -low * (255 - steps) / steps, 10 ** rng.uniform(-4, 3, count))
    kind = np.arange(count) // 2 % 8  # now and then, 0 or both ends on one side of it
    low, high = np.where(kind == 0, 0, low), np.where(kind == 1, low / 3, high)
    return np.where(kind == 2, high / 3, low).astype(np.float32), high.astype(np.float32)


def calibrated(recipe, low, high, directory):
    """The converter's scales and zero points for so many ranges: of a model with an input for each."""
    from tinylab._tensorflow import tf
    from tinylab.conversion import convert
    from tinylab.quiet import quiet

    names = [f"x{i:04}" for i in range(len(low))]
    module = tf.Module()
    # a pooling over one pixel: it changes nothing, and is quantized like any layer
    module.pool = tf.function(
        lambda **x: {f"y_{n}": tf.nn.max_pool2d(a, 1, 1, "VALID") for n, a in x.items()}
    )
    inputs = {name: tf.TensorSpec((1, 1, 1, 1), tf.float32, name=name) for name in names}
    with quiet():
        tf.saved_model.save(module, directory, module.pool.get_concrete_function(**inputs))
    samples = [{n: np.full((1, 1, 1, 1), x) for n, x in zip(names, end, strict=True)} for end in (low, high)]
    file = tflite_file.parse(convert(directory, recipe, samples))
    tensors = sorted((file.tensors[i] for i in file.inputs), key=lambda tensor: tensor.name)
    assert [tensor.name for tensor in tensors] == [f"serving_default_{name}:0" for name in names]
    return np.array([t.params.scale for t in tensors]), np.array([t.params.zero_point for t in tensors])


@pytest.mark.filterwarnings("ignore::tinylab.errors.RepresentativeDataWarning")
@pytest.mark.filterwarnings("ignore::tinylab.errors.AgreementWarning")
class TestTheConvertersActivations:
    @pytest.mark.parametrize("count", [40, *slow(600)])
    def test_int8_has_the_same_scales_and_zero_points_to_the_bit(self, count, tmp_path):
        from tinylab.conversion import Recipe

        low, high = awkward_ranges(count, np.random.default_rng(count))
        scale, zero_point = calibrated(Recipe.INT8, low, high, str(tmp_path))
        p = params_from_range(low, high, axis=0)
        assert p.scale.shape == scale.shape == (count,)
        assert np.array_equal(p.scale, scale)
        assert np.array_equal(p.zero_point, zero_point)
        # without rounding to float32 on the way, some of these zero points would be others
        unrounded = round_half_away(-128 - np.minimum(low, 0) / p.scale.astype(float))
        assert (unrounded != zero_point).sum() > count / 50

    @pytest.mark.parametrize("count", [25, *slow(600)])
    def test_int16_has_the_same_scales_to_the_bit(self, count, tmp_path):
        from tinylab.conversion import Recipe

        low, high = awkward_ranges(count, np.random.default_rng(count))
        scale, zero_point = calibrated(Recipe.INT16X8, low, high, str(tmp_path))
        p = params_from_range(low, high, "int16", symmetric=True, axis=0)
        assert p.scale.shape == scale.shape == (count,)
        assert np.array_equal(p.scale, scale)
        assert not zero_point.any()

    def test_the_converter_widens_int8_ranges_up_to_a_millionth(self, tmp_path):
        """Where it differs from params_from_range, which takes every range as it is."""
        from tinylab.conversion import Recipe

        low = np.array([0, 0, -4e-7, -1e-6, 1e-7, 0, -2e-6], np.float32)
        high = np.array([0, 5e-7, 5e-7, 0, 1e-7, 1.01e-6, 1e-6], np.float32)
        by = np.where(np.maximum(high, 0) - np.minimum(low, 0) <= np.float32(1e-6), np.float32(1e-6), 0)
        scale, zero_point = calibrated(Recipe.INT8, low, high, str(tmp_path))
        p = params_from_range(np.minimum(low, 0) - by, np.maximum(high, 0) + by, axis=0)
        np.testing.assert_allclose(scale, p.scale, rtol=1e-6)
        assert np.abs(zero_point - p.zero_point).max() <= 1
        assert by.tolist() == [np.float32(1e-6)] * 5 + [0, 0]


# The converter's weights and biases


def on_ties(kernel, p, rng):
    """A kernel (..., C) with half of its weights moved to an exact half of a step, or a hair beside it."""
    scale = np.float32(p.scale)
    ties = np.float32(rng.integers(-126, 126, kernel.shape) + 0.5) * scale
    ties = np.nextafter(ties, ties + np.float32(rng.integers(-1, 2, kernel.shape)) * scale)
    movable = np.abs(quantize(kernel, p)) < p.highest  # the others make the scale
    return np.where((rng.random(kernel.shape) < 0.5) & movable, ties, kernel)


def layers_with_weights(rng, per_channel=True):
    """A convolution, a depthwise one and a dense layer, and their kernels (..., C) and biases (C,)."""
    from tinylab._tensorflow import keras

    model = keras.Sequential(
        [
            keras.layers.Conv2D(8, 3, input_shape=(8, 8, 4)),
            keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
            keras.layers.Flatten(),
            keras.layers.Dense(12),
        ]
    )
    shapes = [weights.shape for weights in model.get_weights()]
    values = [rng.normal(0, rng.uniform(0.01, 2), shape).astype(np.float32) for shape in shapes]
    for i in (0, 2, 4):
        kernel = values[i].reshape(-1, values[i + 1].size)
        values[i] = on_ties(kernel, params_from_data(kernel, "int8", True, -1 if per_channel else None), rng)
    model.set_weights([v.reshape(shape) for v, shape in zip(values, shapes, strict=True)])
    return model, list(zip(values[::2], values[1::2], strict=True))


def converted(model, x, recipe, per_channel=True):
    """By a recipe; with one scale for each tensor by a switch that the recipes do not have."""
    from tinylab._tensorflow import tf
    from tinylab.conversion import convert
    from tinylab.quiet import quiet

    if per_channel:
        return convert(model, recipe, x)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[np.newaxis]] for sample in x)
    converter._experimental_disable_per_channel = True
    with quiet():
        return converter.convert()


def layers_in_the_file(content):
    """Of each layer, the tensors of input, kernel and bias, and the codes of kernel (..., C) and bias."""
    file, interpreter = tflite_file.parse(content), runners.interpreter(content, "reference")
    for name, axis in (("CONV_2D", 0), ("DEPTHWISE_CONV_2D", 3), ("FULLY_CONNECTED", 0)):
        (operator,) = (operator for operator in file.operators if operator.name == name)
        image, kernel, bias = (file.tensors[i] for i in operator.inputs)
        codes = np.moveaxis(interpreter.get_tensor(kernel.index), axis, -1)
        yield image, kernel, bias, codes.reshape(-1, codes.shape[-1]), interpreter.get_tensor(bias.index)


@pytest.mark.parametrize("seed", [0, *slow(*range(1, 10))])
@pytest.mark.parametrize(
    ("recipe", "per_channel"),
    [("int8", True), ("int8", False), pytest.param("int16x8", True, marks=pytest.mark.slow)],
)
def test_weights_and_biases_are_the_converters(recipe, per_channel, seed):
    """To the bit, except next to an exact half: the converter multiplies by the reciprocal of the scale."""
    from tinylab.conversion import Recipe

    rng = np.random.default_rng(seed)
    model, given = layers_with_weights(rng, per_channel)
    x = rng.normal(0, 1, (20, 8, 8, 4)).astype(np.float32)
    made = layers_in_the_file(converted(model, x, Recipe(recipe), per_channel))
    for (kernel, bias), (image, weights, biases, codes, bias_codes) in zip(given, made, strict=True):
        axis = -1 if per_channel else None
        p = params_from_data(kernel, symmetric=True, axis=axis)
        assert np.array_equal(p.scale, weights.params.scale)
        assert np.array_equal(p.zero_point, weights.params.zero_point)
        differing = quantize(kernel, p).astype(int) - codes
        steps = kernel / np.float64(p.scale)
        assert np.abs(differing).max() <= 1
        assert (np.abs(np.abs(steps[differing != 0]) % 1 - 0.5) < 127 * EPSILON).all()
        reciprocal = np.float32(1) / np.float32(p.scale)
        if recipe == "int16x8" or not per_channel:  # of the scale before it was rounded to float32
            reciprocal = np.float32(127) / np.abs(kernel).max(axis=0 if per_channel else None)
        assert np.array_equal(round_half_away(kernel * reciprocal), codes)

        assert biases.dtype == ("int64" if recipe == "int16x8" else "int32")
        assert np.array_equal(np.float32(image.params.scale) * weights.scale, biases.scale)
        differing = quantize(bias, biases.params) - bias_codes
        assert (np.abs(differing) <= 1 + 2 * EPSILON * np.abs(bias_codes)).all()
        assert np.array_equal(round_half_away(bias * (np.float32(1) / biases.scale)), bias_codes)


def test_trained_weights_are_the_converters_to_the_bit(cnn, fashion):
    """Where nobody put them beside exact halves, one weight in a million lies there, and none of these."""
    from tinylab.conversion import Recipe

    content = converted(cnn, fashion[0][:100], Recipe.INT8)
    layers = [layer.get_weights() for layer in cnn.layers if layer.get_weights()]
    file, interpreter = tflite_file.parse(content), runners.interpreter(content, "reference")
    operators = [o for o in file.operators if o.name in ("CONV_2D", "FULLY_CONNECTED")]
    for (kernel, bias), operator in zip(layers, operators, strict=True):
        weights, biases = (file.tensors[i] for i in operator.inputs[1:])
        kernel = np.moveaxis(kernel, -1, 0)
        p = params_from_data(kernel, symmetric=True, axis=weights.params.axis)
        assert np.array_equal(p.scale, weights.params.scale)
        assert np.array_equal(quantize(kernel, p), interpreter.get_tensor(weights.index))
        assert np.array_equal(quantize(bias, biases.params), interpreter.get_tensor(biases.index))


@pytest.mark.slow
def test_the_converter_chooses_other_scales_for_channels_of_almost_nothing():
    """Where it differs from params_from_data, which takes every channel as it is."""
    from tinylab.conversion import Recipe

    rng = np.random.default_rng(0)
    model, _ = layers_with_weights(rng)
    kernel, bias, *others = model.get_weights()
    kernel[..., 3] = 0
    kernel[..., 4] = 1e-9  # the bias, in units of this times the input's scale, would not fit in int32
    bias[3:5] = 0, 1.8
    model.set_weights([kernel, bias, *others])
    x = rng.normal(0, 1, (20, 8, 8, 4)).astype(np.float32)
    _, weights, _, codes, bias_codes = next(layers_in_the_file(converted(model, x, Recipe.INT8)))
    p = params_from_data(kernel, symmetric=True, axis=-1)
    assert np.flatnonzero(p.scale != weights.scale).tolist() == [3, 4]
    assert p.scale[3] == 1
    assert weights.scale[4] > 1000 * p.scale[4]
    assert not codes[:, 3:5].any()
    assert 2**29 < bias_codes[4] < 2**31
