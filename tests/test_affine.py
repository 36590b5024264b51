"""Laws of affine quantization, and agreement to the bit with LiteRT's own operators."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinylab import runners
from tinylab.affine import AffineParams, dequantize, quantize

DTYPES = [np.dtype(name) for name in ("int8", "uint8", "int16")]


@st.composite
def params(draw):
    dtype = draw(st.sampled_from(DTYPES))
    limits = np.iinfo(dtype)
    scale = draw(st.floats(2.0**-20, 2.0**10, width=32))
    return AffineParams(scale, draw(st.integers(limits.min, limits.max)), dtype)


def real_numbers(largest=1e6):
    return arrays.arrays(np.float32, 50, elements=st.floats(-largest, largest, width=32))


def ends(p):
    """The smallest and the largest real number that the codes stand for."""
    limits = np.iinfo(p.dtype)
    return p.scale * (limits.min - p.zero_point), p.scale * (limits.max - p.zero_point)


@given(params(), arrays.arrays(np.float64, 50, elements=st.floats(0, 1)))
def test_inside_the_range_the_error_is_at_most_half_a_step(p, where):
    low, high = ends(p)
    x = np.float32(low + where * (high - low))
    # float32 itself rounds x / scale and scale * steps
    rounding = 4 * np.finfo(np.float32).eps * np.abs(x).max()
    assert np.abs(dequantize(quantize(x, p), p) - x).max() <= p.scale / 2 + rounding


@given(params(), real_numbers())
def test_a_larger_number_never_gets_a_smaller_code(p, x):
    assert (np.diff(quantize(np.sort(x), p).astype(int)) >= 0).all()


@given(params())
def test_zero_becomes_the_zero_point_and_comes_back_as_zero(p):
    assert quantize(np.zeros(1), p) == p.zero_point
    assert dequantize(np.array([p.zero_point]), p) == 0


@given(params())
def test_every_code_survives_the_round_trip(p):
    limits = np.iinfo(p.dtype)
    codes = np.arange(limits.min, limits.max + 1).astype(p.dtype)
    assert np.array_equal(quantize(dequantize(codes, p), p), codes)


@given(params(), st.floats(1, 1e20))
def test_beyond_the_range_the_ends_are_given(p, factor):
    low, high = ends(p)
    limits = np.iinfo(p.dtype)
    x = np.array([low - factor * p.scale, high + factor * p.scale], np.float32)
    assert quantize(x, p).tolist() == [limits.min, limits.max]


@given(params(), real_numbers())
def test_shape_and_dtypes(p, x):
    q = quantize(x.reshape(5, 2, 5), p)
    assert (q.shape, q.dtype) == ((5, 2, 5), p.dtype)
    assert dequantize(q, p).dtype == np.float32


@pytest.mark.parametrize(("x", "expected"), [(0.25, 1), (-0.25, -1), (0.75, 2), (-0.75, -2), (0.24, 0)])
def test_halves_are_rounded_away_from_zero(x, expected):
    assert quantize(np.array(x), AffineParams(0.5, 0, np.dtype("int8"))) == expected


def test_differences_of_16_bit_codes_do_not_overflow():
    p = AffineParams(1.0, 32767, np.dtype("int16"))
    assert dequantize(np.array([-32768], np.int16), p) == -65535


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
    limits = np.iinfo(p.dtype)
    steps = np.arange(limits.min - 3, limits.max + 4)[:: max(1, 2**16 // 4096) if p.dtype == np.int16 else 1]
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
