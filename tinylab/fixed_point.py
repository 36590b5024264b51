"""Multiplying by a real number in integers: how a layer's 32-bit sums become 8-bit codes again.

A quantized layer adds up integers, and each unit of that sum, the accumulator, is worth
input_scale * weight_scale. The next layer counts in output_scale. So every sum has to be multiplied by

    M = input_scale * weight_scale / output_scale

which is a real number. LiteRT's reference kernels have three ways to do it, which do not always give
the same integer (measured with ai-edge-litert 2.3.0; a test compares thousands of layers):

- `multiply_fixed_point`, in integers only: M becomes a 31-bit integer and a shift. CONV_2D and
  DEPTHWISE_CONV_2D do this.
- `multiply_double`, in double precision. FULLY_CONNECTED does this.
- `multiply_reduced`, with a multiplier of 15 bits, where 16-bit activations make sums of 64 bits.

Source of the first: Jacob et al. (2018), https://arxiv.org/abs/1712.05877, section 2.2, and the
library gemmlowp, https://github.com/google/gemmlowp/blob/master/doc/quantization.md.
"""

import numpy as np

from tinylab.affine import round_half_away
from tinylab.errors import DataError

INT32 = np.iinfo(np.int32)


def real_multiplier(input_scale: float, weight_scale: np.ndarray, output_scale: float) -> np.ndarray:
    """M = input_scale * weight_scale / output_scale, computed in double precision.

    Args:
        input_scale, output_scale: of activations, float32 numbers.
        weight_scale: one number, or (C,), one for each output channel.

    Returns:
        float64, the shape of weight_scale.

    >>> print(real_multiplier(0.5, np.float32([0.25, 0.125]), 2.0))
    [0.0625  0.03125]
    """
    return np.float64(input_scale) * np.float64(weight_scale) / np.float64(output_scale)


def quantize_multiplier(real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A real number as a 31-bit integer and a shift: real ~ multiplier * 2**(shift - 31).

    The multiplier has its leading bit set (2**30 <= multiplier < 2**31), which leaves a relative
    error of at most 2**-31. A number below 2**-32 becomes 0.

    Args:
        real: numbers > 0, any shape.

    Returns:
        multiplier and shift, both int64, the shape of `real`. A shift > 0 goes left.

    Raises:
        DataError: a number that is not above 0, or not below 2**30.

    >>> multiplier, shift = quantize_multiplier(0.3)
    >>> int(multiplier), int(shift), float(multiplier * 2.0 ** (shift - 31))
    (1288490189, -1, 0.30000000004656613)
    """
    real = np.asarray(real, np.float64)
    if not ((real > 0) & (real < 2**30)).all():
        raise DataError("a multiplier above 0 and below 2**30 expected: is a scale zero, negative or NaN?")
    fraction, shift = np.frexp(real)  # 0.5 <= fraction < 1
    multiplier = round_half_away(fraction * 2.0**31).astype(np.int64)
    full = multiplier == 2**31  # the fraction was rounded up to 1
    multiplier, shift = np.where(full, 2**30, multiplier), shift.astype(np.int64) + full
    vanishing = shift < -31
    return np.where(vanishing, 0, multiplier), np.where(vanishing, 0, shift)


def rounding_doubling_high_multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """round(a * b / 2**31): the upper half of a 64-bit product, doubled (gemmlowp's SRDHM).

    Exact halves go up, towards positive infinity.

    Args:
        a, b: 32-bit integers in int64 arrays; not both -2**31.

    >>> rounding_doubling_high_multiply(np.array([3, -3]), np.array([2**30, 2**30]))  # 1.5 and -1.5
    array([ 2, -1])
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return (product + 2**30) >> 31


def rounding_shift_right(x: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """round(x / 2**bits), exact halves away from zero (gemmlowp's RoundingDivideByPOT).

    >>> rounding_shift_right(np.array([5, -5, 4]), 1)  # 2.5, -2.5 and 2
    array([ 3, -3,  2])
    """
    x, bits = np.asarray(x, np.int64), np.asarray(bits, np.int64)
    half = (1 << bits) >> 1
    # Adding a half and cutting off rounds halves up; one less makes negative ones go down.
    return (x + half - ((x < 0) & (bits > 0))) >> bits


def multiply_fixed_point(accumulator: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """round(accumulator * M) in integers only, rounding twice: gemmlowp's rule.

    The product with the 31-bit multiplier is rounded once, the shift to the right a second time, and
    two roundings in a row can end one off: 8 * 0.3 = 2.4, computed as 8 * 0.6 = 4.8, rounded to 5,
    halved to 2.5, rounded to 3. LiteRT's reference kernels of CONV_2D and DEPTHWISE_CONV_2D do this.

    Args:
        accumulator: 32-bit sums, any integer type, (..., C).
        multiplier, shift: from `quantize_multiplier`; numbers, or (C,).

    Returns:
        int64, the shape of accumulator; zero point and saturation come afterwards.

    Raises:
        DataError: an accumulator that 32 bits do not hold, also after the shift to the left.

    >>> multiplier, shift = quantize_multiplier(0.3)
    >>> multiply_fixed_point(np.array([100, 7, 8, -8]), multiplier, shift)
    array([30,  2,  3, -3])
    """
    accumulator = np.asarray(accumulator, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(np.negative(shift), 0)
    _check_32_bits(accumulator, left)
    product = rounding_doubling_high_multiply(accumulator << left, multiplier)
    return rounding_shift_right(product, right)


def multiply_reduced(accumulator: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """round(accumulator * M) for sums of up to 48 bits: a multiplier of 16 bits, rounded once, halves up.

    Activations of 16 bits make sums that 32 bits do not hold. So that a product still fits in 64, the
    31-bit multiplier is rounded to 15 bits. LiteRT's reference kernels of CONV_2D and DEPTHWISE_CONV_2D
    do this where the bias has 64 bits.

    Args:
        accumulator: 48-bit sums, any integer type, (..., C).
        multiplier, shift: from `quantize_multiplier`; numbers, or (C,).

    Returns:
        int64, the shape of accumulator; zero point and saturation come afterwards.

    >>> multiplier, shift = quantize_multiplier(0.3)
    >>> multiply_reduced(np.array([100, 5, -5, 2**40]), multiplier, shift)  # 0.3 is now 19661 / 2**16
    array([          30,            2,           -2, 329856843776])
    """
    reduced = np.minimum((multiplier + 2**15) >> 16, 2**15 - 1)
    bits = 15 - np.asarray(shift, np.int64)
    return (np.asarray(accumulator, np.int64) * reduced + (1 << (bits - 1))) >> bits


def multiply_double(accumulator: np.ndarray, real: np.ndarray) -> np.ndarray:
    """round(accumulator * M) in double precision, exact halves away from zero.

    LiteRT's reference kernel of FULLY_CONNECTED computes this.

    Args:
        accumulator: 32-bit sums, any integer type, (..., C).
        real: M from `real_multiplier`; a number, or (C,).

    Returns:
        int64, the shape of accumulator; zero point and saturation come afterwards.

    Raises:
        DataError: an accumulator that 32 bits do not hold, also after the multiplication.

    >>> multiply_double(np.array([100, 7, 8, -8]), 0.3)
    array([30,  2,  2, -2])
    """
    accumulator = np.asarray(accumulator, np.float64)
    product = round_half_away(accumulator * real)
    _check_32_bits(accumulator)
    _check_32_bits(product)
    return product.astype(np.int64)


def _check_32_bits(x: np.ndarray, left: np.ndarray | int = 0) -> None:
    """Refuse what 32 bits do not hold, shifted to the left: LiteRT's kernels would overflow unnoticed."""
    if not ((x >= INT32.min >> left) & (x <= INT32.max >> left)).all():
        raise DataError("an accumulator, or its product, does not fit in 32 bits.")
