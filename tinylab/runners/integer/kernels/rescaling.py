"""From 32-bit sums back to 8-bit codes: the last step of every layer that computes.

    q = zero_point + round(M * sum), limited to what the type and the activation allow

`tinylab.fixed_point` explains how M becomes an integer and a shift. It refuses sums that do not fit
in 32 bits; here they wrap around, as they do in a register, because that is what LiteRT's kernels
and a chip do with a network so extreme.
"""

import functools

import numpy as np

from tinylab.affine import AffineParams, quantize, round_half_away
from tinylab.errors import DataError
from tinylab.fixed_point import multiply_reduced, quantize_multiplier

# The real numbers that a fused activation lets through.
ACTIVATIONS = {
    "NONE": (-np.inf, np.inf),
    "RELU": (0.0, np.inf),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU6": (0.0, 6.0),
}


@functools.cache
def activation_limits(params: AffineParams, activation: str) -> tuple[int, int]:
    """The lowest and highest code that an activation lets through: a ReLU on codes is a comparison.

    >>> activation_limits(AffineParams(0.05, -128), "RELU6")
    (-128, -8)
    """
    ends = np.array(ACTIVATIONS[activation])
    if (np.abs(ends[np.isfinite(ends)]) / params.scale >= 2**31).any():
        raise DataError(f"a scale of {params.scale:g}, in which {activation} has no end within 32 bits.")
    low, high = quantize(ends, params)
    return int(low), int(high)


def finished(steps: np.ndarray, params: AffineParams, activation: str = "NONE") -> np.ndarray:
    """Add the zero point to steps of the output's scale, and saturate: the codes, in their own type.

    The addition, too, happens in 32 bits.

    >>> finished(np.array([-7, 5, 400]), AffineParams(0.1, -3), "RELU")
    array([ -3,   2, 127], dtype=int8)
    """
    low, high = activation_limits(params, activation)
    codes = np.asarray(steps).astype(np.int32)  # a copy
    codes += np.int32(params.zero_point)
    return np.minimum(np.maximum(codes, low, out=codes), high, out=codes).astype(params.storage)


def rescale(sums: np.ndarray, real: np.ndarray) -> np.ndarray:
    """round(sums * real), by gemmlowp's rule, in registers of 32 bits.

    The same as `fixed_point.multiply_fixed_point`, except that what overflows wraps around.

    Args:
        sums: integers (..., C), of which the lowest 32 bits count.
        real: M, 0 or larger; a number, or (C,).

    >>> rescale(np.array([100, 7, 8, 2**32 + 100]), 0.3)
    array([30,  2,  3, 30], dtype=int32)
    """
    multiplier, shift = _multiplier_and_shift(real)
    if multiplier.ndim:  # a constant for each value of a row: NumPy is fastest on long rows
        row = sums.shape[2:] or sums.shape[1:]
        multiplier, shift = (np.array(np.broadcast_to(a, row)) for a in (multiplier, shift))
    left, right = (np.maximum(s, 0).astype(np.int32) for s in (shift, -shift))
    sums = sums.astype(np.int32, copy=False)
    if left.any():
        sums = sums << left
    # Each step in place, and in 32 bits where they suffice: most of a network's time is spent here.
    products = np.multiply(sums, multiplier, dtype=np.int64)
    products += 2**30
    products >>= 31
    steps = products.astype(np.int32)
    # To the right: all bits but one, then add 1 and shift the last, so that no sum leaves the register.
    last = np.minimum(right, 1)
    negative = steps >> 31  # -1 or 0: halves of negative numbers go down
    negative *= last
    steps += negative
    steps >>= right - last
    steps += last
    steps >>= last
    return steps


def rescale_wide(sums: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The same for sums of 64 bits, as layers with 16-bit activations have them.

    >>> rescale_wide(np.array([100, 7, 8, 2**32]), 0.3)
    array([        30,          2,          2, 1288503296])
    """
    multiplier, shift = _multiplier_and_shift(real)
    if np.max(shift) > 14:
        raise DataError("an output scale that is far too small for 16-bit sums.")
    return multiply_reduced(sums, multiplier, shift)


def _multiplier_and_shift(real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `quantize_multiplier`; and 0 for an M of 0, which channels have whose weights are all 0."""
    multiplier, shift = quantize_multiplier(np.where(real == 0, 1, real))
    return multiplier * (real != 0), shift


def rescale_double(sums: np.ndarray, real: np.ndarray) -> np.ndarray:
    """round(sums * real) in double precision, as FULLY_CONNECTED does it.

    The same as `fixed_point.multiply_double`, except for what overflows (`to_register`).

    >>> rescale_double(np.array([100, 8, 2**31 - 1]), 1.5)
    array([        150,          12, -2147483648])
    """
    return to_register(round_half_away(sums * np.float64(real)))


def to_register(whole: np.ndarray) -> np.ndarray:
    """Whole floating-point numbers as 32-bit integers.

    What 32 bits do not hold becomes -2**31: that is what an x86 processor answers, and so LiteRT's
    kernels there (other processors saturate).

    >>> to_register(np.array([3.0, 1e10]))
    array([          3, -2147483648])
    """
    too_large = (whole < -(2.0**31)) | (whole > 2.0**31 - 1)
    return np.where(too_large, -(2**31), whole).astype(np.int64)
