"""Operators that treat each value by itself: sums and products of two tensors, new scales, ReLUs.

A code is worth scale * (q - zero_point), so that two codes can only be added in a common scale.
Shapes broadcast as NumPy's do.
"""

import numpy as np

from tinylab.affine import AffineParams, round_half_away
from tinylab.errors import DataError
from tinylab.runners.integer.kernels.rescaling import finished, rescale, to_register
from tinylab.runners.integer.kernels.sizes import checked


def add(
    a: np.ndarray,
    b: np.ndarray,
    a_params: AffineParams,
    b_params: AffineParams,
    params: AffineParams,
    activation: str = "NONE",
) -> np.ndarray:
    """ADD: both inputs in a common, finer scale, added there, and brought to the output's scale.

    Args:
        a, b: int8 or int16, shapes that broadcast.

    >>> half, one = AffineParams(0.5, 0), AffineParams(1.0, 10)
    >>> add(np.int8([3]), np.int8([12]), half, one, AffineParams(0.25, 0))  # 1.5 + 2
    array([14], dtype=int8)
    """
    first, second, real = _common_scale(a, b, a_params, b_params, params)
    return finished(rescale(first + second, real), params, activation)


def subtract(
    a: np.ndarray,
    b: np.ndarray,
    a_params: AffineParams,
    b_params: AffineParams,
    params: AffineParams,
    activation: str = "NONE",
) -> np.ndarray:
    """SUB: as `add`, with a minus between.

    >>> half, one = AffineParams(0.5, 0), AffineParams(1.0, 10)
    >>> subtract(np.int8([3]), np.int8([12]), half, one, AffineParams(0.25, 0))  # 1.5 - 2
    array([-2], dtype=int8)
    """
    first, second, real = _common_scale(a, b, a_params, b_params, params)
    return finished(rescale(first - second, real), params, activation)


def _common_scale(
    a: np.ndarray, b: np.ndarray, a_params: AffineParams, b_params: AffineParams, params: AffineParams
) -> tuple[np.ndarray, np.ndarray, float]:
    """Two inputs in units of twice the larger scale / 2**fraction, and M from there to the output.

    The fraction bits, 20 for 8-bit codes and 15 for 16-bit ones, keep the sum within 32 bits.
    """
    checked(np.broadcast_shapes(a.shape, b.shape))
    fraction = 15 if params.dtype == "int16" else 20
    unit = 2 * max(a_params.scale, b_params.scale)
    first, second = (
        rescale((q.astype(np.int64) - p.zero_point) << fraction, p.scale / unit)
        for q, p in ((a, a_params), (b, b_params))
    )
    real = unit / (2**fraction * params.scale)
    if real >= 1:
        raise DataError(f"an output scale of {params.scale:g}, far too small for a sum of such inputs.")
    return first, second, real


def multiply(
    a: np.ndarray,
    b: np.ndarray,
    a_params: AffineParams,
    b_params: AffineParams,
    params: AffineParams,
    activation: str = "NONE",
) -> np.ndarray:
    """MUL: the product of the steps is worth a_scale * b_scale. LiteRT computes M in float32 here.

    Args:
        a, b: int8 or int16, shapes that broadcast.

    >>> half, one = AffineParams(0.5, 0), AffineParams(1.0, 10)
    >>> multiply(np.int8([3]), np.int8([12]), half, one, AffineParams(0.25, 0))  # 1.5 * 2
    array([12], dtype=int8)
    """
    checked(np.broadcast_shapes(a.shape, b.shape))
    with np.errstate(over="ignore"):  # infinity is refused as a multiplier
        real = np.float32(a_params.scale) * np.float32(b_params.scale) / np.float32(params.scale)
    steps = (a.astype(np.int64) - a_params.zero_point) * (b.astype(np.int64) - b_params.zero_point)
    return finished(rescale(steps, real), params, activation)


def to_codes(x: np.ndarray, *params: AffineParams) -> np.ndarray:
    """QUANTIZE: real numbers to codes, or codes to those of another scale, zero point or type.

    Args:
        x: float32, or codes.
        params: of the output; if x are codes, theirs come first.

    >>> to_codes(np.int8([-128, 0, 127]), AffineParams(0.5, 0), AffineParams(0.5, 128, "uint8"))
    array([  0, 128, 255], dtype=uint8)
    """
    if x.dtype == np.float32:
        return _quantize(x, *params)
    x_params, params = params
    steps = x.astype(np.int64) - x_params.zero_point
    return finished(rescale(steps, x_params.scale / params.scale), params)


def _quantize(x: np.ndarray, params: AffineParams) -> np.ndarray:
    """The same as `affine.quantize`, but in 32-bit registers."""
    if np.isnan(x).any():
        raise DataError("NaN cannot be quantized: no integer stands for it.")
    with np.errstate(over="ignore"):
        steps = round_half_away((x / np.float32(params.scale)).astype(np.float64))
    return finished(to_register(steps), params)


def relu(x: np.ndarray, x_params: AffineParams, params: AffineParams) -> np.ndarray:
    """RELU as an operator of its own: a new scale, and a comparison. LiteRT computes M in float32.

    >>> relu(np.int8([-20, 5, 100]), AffineParams(0.1, 0), AffineParams(0.05, -128))
    array([-128, -118,   72], dtype=int8)
    """
    return _rescaled(x, x_params, params, "RELU")


def relu6(x: np.ndarray, x_params: AffineParams, params: AffineParams) -> np.ndarray:
    """RELU6: the same, with an end at 6.

    >>> relu6(np.int8([-20, 5, 100]), AffineParams(0.1, 0), AffineParams(0.05, -128))
    array([-128, -118,   -8], dtype=int8)
    """
    return _rescaled(x, x_params, params, "RELU6")


def _rescaled(x: np.ndarray, x_params: AffineParams, params: AffineParams, activation: str) -> np.ndarray:
    steps = x.astype(np.int64) - x_params.zero_point
    with np.errstate(over="ignore"):  # infinity is refused as a multiplier
        real = np.float32(x_params.scale) / np.float32(params.scale)
    return finished(rescale(steps, real), params, activation)
