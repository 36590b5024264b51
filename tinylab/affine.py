"""Affine quantization: real = scale * (q - zero_point), the map behind every 8-bit number.

Source: Jacob et al. (2018), "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", https://arxiv.org/abs/1712.05877, equation 1. Where the paper
leaves open how a number is rounded, this module does what LiteRT's converter and its reference
kernels do, to the bit.

The course's own example, -3.0 to 6.0 in 8 bits:

>>> params = params_from_range(-3.0, 6.0)
>>> print(f"scale {params.scale:.7f}, zero_point {params.zero_point}")
scale 0.0352941, zero_point -43
>>> quantize(np.array([-3.0, 0.0, 1.0, 6.0, 7.5]), params)
array([-128,  -43,  -15,  127,  127], dtype=int8)
"""

import math
import re
from dataclasses import dataclass

import numpy as np

from tinylab.errors import DataError

RANGE_BITS = range(2, 17)  # the widths that a range can be mapped onto


def integer_limits(dtype: str) -> tuple[int, int]:
    """The smallest and the largest integer of a type, of any width: "int8", "uint4", "int32".

    Raises:
        DataError: not an integer type.

    >>> integer_limits("int8"), integer_limits("uint4")
    ((-128, 127), (0, 15))
    """
    found = re.fullmatch(r"(u?)int([1-9]\d?)", str(dtype))
    if not found or not 2 <= int(found[2]) <= 64:
        raise DataError(f"an integer type such as int8, uint8 or int4 expected, not {dtype}.")
    unsigned, bits = bool(found[1]), int(found[2])
    return (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@dataclass(frozen=True)
class AffineParams:
    """How one tensor's integers stand for real numbers.

    Attributes:
        scale: real distance between neighbouring integers, > 0, in the unit of the real numbers;
            one number (per-tensor), or an array (C,), one for each channel (per-channel).
        zero_point: the integer that stands for the real number 0; an int, or an array (C,).
        dtype: name of the integers' type: "int8", "uint8", "int4", ... Types that NumPy lacks are
            stored in its next larger one.
        axis: the axis of a tensor that its channels run along; None if per-tensor.
    """

    scale: float | np.ndarray
    zero_point: int | np.ndarray
    dtype: str = "int8"
    axis: int | None = None

    @property
    def lowest(self) -> int:
        """The smallest integer."""
        return integer_limits(self.dtype)[0]

    @property
    def highest(self) -> int:
        """The largest integer."""
        return integer_limits(self.dtype)[1]

    @property
    def storage(self) -> np.dtype:
        """NumPy's smallest type that holds the integers: int8 for "int4", int16 for "int12".

        >>> AffineParams(0.5, 0, "uint12").storage
        dtype('uint16')
        """
        return np.min_scalar_type(self.lowest or self.highest)  # lowest is 0 if unsigned

    @property
    def limits(self) -> tuple[float | np.ndarray, float | np.ndarray]:
        """The real numbers that the smallest and the largest integer stand for.

        >>> AffineParams(scale=0.5, zero_point=-28).limits
        (-50.0, 77.5)
        """
        return self.scale * (self.lowest - self.zero_point), self.scale * (self.highest - self.zero_point)


def params_from_range(
    low: float | np.ndarray,
    high: float | np.ndarray,
    dtype: str = "int8",
    symmetric: bool = False,
    axis: int | None = None,
) -> AffineParams:
    """Scale and zero point that map the real numbers from low to high onto an integer type.

    The range is widened to hold 0 first, and the zero point is rounded, so that 0 is represented
    exactly: padding and ReLU make many zeros. Then

        asymmetric: scale = (high - low) / (highest - lowest),  zero_point = round(lowest - low / scale)
        symmetric:  scale = max(|low|, |high|) / (highest - zero_point),  zero_point in the middle

    with the middle 0 for signed types (so that int8 uses -127 to 127) and 128 for uint8. The scale
    is a float32 number, because a file keeps it as one, and lowest - low / scale is rounded to
    float32 before it is rounded to an integer, because LiteRT's converter does that too. A range
    of nothing but 0 gets the scale 1: every scale represents it exactly.

    Source: Jacob et al. (2018), section 3, and LiteRT's quantization specification,
    https://ai.google.dev/edge/litert/models/quantization_spec.

    Args:
        low, high: the ends; numbers, or arrays (C,) for per-channel.
        dtype: "int2" to "int16", "uint2" to "uint16".
        symmetric: whether 0 has to be in the middle of the integers, as weights have it.
        axis: for per-channel, the axis that the channels run along.

    Raises:
        DataError: low above high, NaN or infinity, a range too narrow or too wide for float32, arrays
            without an axis, no channels, or a type of another width.

    >>> params_from_range(-1.0, 1.0, "int4", symmetric=True)
    AffineParams(scale=0.1428571492433548, zero_point=0, dtype='int4', axis=None)
    >>> params_from_range(2.0, 6.0, "uint8").zero_point  # 2 to 6 was widened to 0 to 6
    0
    """
    lowest, highest = integer_limits(dtype)
    if (highest - lowest).bit_length() not in RANGE_BITS:
        raise DataError(f"{dtype}: a width of {RANGE_BITS[0]} to {RANGE_BITS[-1]} bits expected.")
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
        low, high = (np.asarray(end, np.float64).astype(np.float32) for end in (low, high))
    if low.shape != high.shape or low.ndim != (axis is not None) or not low.size:
        raise DataError(
            f"low {low.shape} and high {high.shape}: two numbers, or two arrays (C,) and an axis, expected."
        )
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
        raise DataError("the low end of the range is above its high end, or one of them is not finite.")
    low, high = np.minimum(low, np.float32(0)), np.maximum(high, np.float32(0))
    middle = (lowest + highest + 1) // 2
    with np.errstate(over="ignore"):
        if symmetric:
            scale = np.maximum(-low, high) / np.float32(highest - middle)
        else:
            scale = (high - low) / np.float32(highest - lowest)
        scale = np.where(low == high, np.float32(1), scale)
        widest = scale * np.float32(highest - lowest)  # between any two integers
    if not (np.isfinite(widest) & (scale >= np.finfo(np.float32).tiny)).all():
        raise DataError("the range is too narrow or too wide for a scale in float32.")
    if symmetric:
        zero_point = np.full(low.shape, middle)
    else:
        zero_point = round_half_away(np.float32(lowest - low / scale.astype(np.float64)))
        zero_point = np.where(low == high, 0, zero_point).astype(np.int64)
    if axis is None:
        return AffineParams(float(scale), int(zero_point), dtype)
    return AffineParams(scale.astype(np.float32), zero_point, dtype, axis)


def params_from_data(
    x: np.ndarray, dtype: str = "int8", symmetric: bool = False, axis: int | None = None
) -> AffineParams:
    """Scale and zero point for the range that data span, in all or channel by channel.

    Args:
        x: real numbers, any shape, at least one; finite.
        dtype, symmetric: as for `params_from_range`.
        axis: the axis of the channels for per-channel parameters, None for per-tensor ones.

    Raises:
        DataError: no data, NaN or infinity, no such axis.

    >>> weights = np.array([[0.5, -1.27], [0.02, 0.0254]])  # two channels, very different in size
    >>> print(params_from_data(weights, symmetric=True, axis=0).scale)
    [0.01   0.0002]
    """
    x = np.asarray(x)
    if not x.size:
        raise DataError("no data: a range needs at least one number.")
    if axis is not None and not -x.ndim <= axis < x.ndim:
        raise DataError(f"no axis {axis} in an array of shape {x.shape}.")
    others = None if axis is None else tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    return params_from_range(x.min(axis=others), x.max(axis=others), dtype, symmetric, axis)


def round_half_away(x: np.ndarray) -> np.ndarray:
    """Round to the nearest whole number, exact halves away from zero, as C's `round` does.

    (NumPy's own `round` takes halves to the even number. And `floor(|x| + 0.5)`, often seen, is wrong
    for the float64 number just below 0.5, because the sum is rounded up to 1.)

    >>> round_half_away(np.array([-2.5, -0.5, 0.49999999999999994, 0.5, 1.5]))
    array([-3., -1.,  0.,  1.,  2.])
    """
    whole = np.trunc(x)
    with np.errstate(invalid="ignore"):  # infinity has no fraction
        fraction = np.abs(x - whole)
    return whole + np.copysign(fraction >= 0.5, x)


def quantize(x: np.ndarray, params: AffineParams) -> np.ndarray:
    """Real numbers to integers: q = round(x / scale) + zero_point, saturated.

    Rounds to nearest, halves away from zero, with the division in float32: what the reference kernel
    of LiteRT's QUANTIZE does. (Other kernels may round an exact half the other way. The converter
    multiplies weights by 1 / scale instead, which may move one that lies beside an exact half.)
    What lies beyond the type's range becomes its smallest or largest integer.

    Args:
        x: real numbers, any shape; if per-channel, with params.axis as long as the scales.
        params: scale, zero point and integer type.

    Returns:
        Integers of `params.storage`, the shape of x.

    Raises:
        DataError: NaN, which no integer stands for, another number of channels, or several scales
            without an axis.

    >>> params = AffineParams(scale=0.5, zero_point=-28)
    >>> quantize(np.array([0.0, 0.25, -0.25, 1.0, 1000.0]), params)
    array([-28, -27, -29, -26, 127], dtype=int8)
    """
    scale, zero_point = _along_axis(params, np.shape(x))
    with np.errstate(over="ignore"):  # beyond float32 is beyond every integer, too
        x = np.asarray(x, np.float32)
        steps = round_half_away((x / scale).astype(np.float64))
    if np.isnan(x).any():
        raise DataError("NaN cannot be quantized: no integer stands for it.")
    return np.clip(steps + zero_point, params.lowest, params.highest).astype(params.storage)


def dequantize(q: np.ndarray, params: AffineParams) -> np.ndarray:
    """Integers to real numbers: scale * (q - zero_point), as float32.

    Args:
        q: integers, any shape; if per-channel, with params.axis as long as the scales.
        params: scale and zero point.

    Raises:
        DataError: another number of channels, or several scales without an axis.

    >>> params = AffineParams(scale=0.5, zero_point=-28)
    >>> dequantize(np.array([-28, -27, 127], np.int8), params)
    array([ 0. ,  0.5, 77.5], dtype=float32)
    """
    scale, zero_point = _along_axis(params, np.shape(q))
    return scale * (np.asarray(q, np.int64) - zero_point).astype(np.float32)


def _along_axis(params: AffineParams, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point in a shape that broadcasts against a tensor's."""
    scale, zero_point = np.asarray(params.scale, np.float32), np.asarray(params.zero_point, np.int64)
    if params.axis is None:
        if scale.size > 1 or zero_point.size > 1:
            raise DataError(f"{scale.size} scales, and no axis that their channels run along.")
        return scale, zero_point
    if not -len(shape) <= params.axis < len(shape) or shape[params.axis] != scale.size:
        raise DataError(
            f"{scale.size} channels along axis {params.axis} expected, an array of shape {shape} given."
        )
    aligned = [1] * len(shape)
    aligned[params.axis] = -1
    return scale.reshape(aligned), zero_point.reshape(aligned)


def largest_error(params: AffineParams) -> float | np.ndarray:
    """The most that quantizing can move a number inside the range: half a step, scale / 2.

    Outside the range there is no such bound.

    >>> round(largest_error(params_from_range(-3.0, 6.0)), 5)
    0.01765
    """
    return params.scale / 2


def expected_rmse(params: AffineParams) -> float | np.ndarray:
    """The root mean square error to be expected inside the range: scale / sqrt(12).

    It is that of an error spread evenly over one step, which holds where the numbers fall anywhere
    between two codes, and not where they sit on a few values.
    Source: Bennett (1948), "Spectra of Quantized Signals", Bell System Technical Journal 27(3).

    >>> round(expected_rmse(params_from_range(-3.0, 6.0)), 5)
    0.01019
    """
    return params.scale / math.sqrt(12)


@dataclass(frozen=True)
class ErrorParts:
    """Root mean square errors of quantizing some numbers, by cause, in the unit of the numbers.

    Attributes:
        rmse: the whole; rmse**2 = rounding**2 + clipping**2.
        rounding: what the numbers inside the range contribute to it.
        clipping: what those outside contribute, which become the range's end.
        clipped: the share of numbers outside, 0 to 1.
    """

    rmse: float
    rounding: float
    clipping: float
    clipped: float


def error_parts(x: np.ndarray, params: AffineParams) -> ErrorParts:
    """How far quantizing moves numbers, and how much of that is rounding, how much clipping.

    Args:
        x: real numbers, any shape, at least one; finite.
        params: per-tensor scale and zero point.

    Raises:
        DataError: NaN, or no numbers.

    >>> parts = error_parts(np.array([0.0, 0.25, 1.0, 8.0]), AffineParams(0.5, 0, "int4"))
    >>> parts.rounding, parts.clipping, parts.clipped  # 0.25 becomes 0.5, 8 becomes 3.5
    (0.125, 2.25, 0.25)
    """
    x = np.asarray(x, np.float64)
    if not x.size:
        raise DataError("no numbers: an error needs at least one.")
    low, high = params.limits
    outside = (x < low) | (x > high)
    squares = (dequantize(quantize(x, params), params) - x) ** 2
    rounding, clipping = (squares * ~outside).mean(), (squares * outside).mean()
    parts = (math.sqrt(rounding + clipping), math.sqrt(rounding), math.sqrt(clipping))
    return ErrorParts(*parts, float(outside.mean()))


def sqnr(reference: np.ndarray, x: np.ndarray) -> float:
    """Signal-to-quantization-noise ratio in decibels: 10 log10(sum reference^2 / sum (x - reference)^2).

    20 dB: the error is a tenth of the signal, in the root mean square; 40 dB: a hundredth. Every 6 dB
    more are half the error, and one bit more in the codes of a quantizer gives 6.02 dB (Bennett, as above).

    Args:
        reference: real numbers as they should be, any shape, at least one; finite.
        x: what became of them, the same shape.

    Returns:
        infinity if nothing differs, minus infinity if the reference is all 0 and x is not.

    Raises:
        DataError: different shapes, no numbers, NaN or infinity.

    >>> sqnr(np.array([3.0, 4.0]), np.array([3.0, 4.5]))
    20.0
    """
    reference, x = np.asarray(reference, np.float64), np.asarray(x, np.float64)
    if reference.shape != x.shape or not x.size:
        raise DataError(
            f"shapes {reference.shape} and {x.shape}: the same expected, and at least one number."
        )
    if not (np.isfinite(reference).all() and np.isfinite(x).all()):
        raise DataError("NaN or infinity: finite numbers expected.")
    return decibels(float((reference**2).sum()), float(((x - reference) ** 2).sum()))


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise), of two sums of squares; infinity where there is no noise.

    >>> decibels(25.0, 0.25)
    20.0
    """
    if not noise:
        return math.inf
    # not of their quotient, which may be too small for a float
    return 10 * (math.log10(signal) - math.log10(noise)) if signal else -math.inf
