"""Operators that make one value of many: pooling and means."""

import numpy as np

from tinylab.affine import AffineParams
from tinylab.errors import DataError
from tinylab.fixed_point import quantize_multiplier, rounding_doubling_high_multiply, rounding_shift_right
from tinylab.runners.integer.kernels.rescaling import activation_limits, finished
from tinylab.runners.integer.kernels.windows import padded, positions


def average_pool(
    x: np.ndarray,
    params: AffineParams,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: str = "VALID",
    activation: str = "NONE",
) -> np.ndarray:
    """AVERAGE_POOL_2D: the mean of the codes in each window, rounded, halves away from zero.

    Input and output have one scale and zero point, so that the mean of codes is the code of the mean.
    What SAME padding adds is not counted.

    Args:
        x: int8 or int16 (N, H, W, C).

    Returns:
        The type of x, (N, height, width, C).

    >>> average_pool(np.int8([[[[1], [2]], [[3], [4]]]]), AffineParams(1.0, 0), (2, 2), (2, 2)).ravel()
    array([3], dtype=int8)
    """
    ones = np.ones((1, *x.shape[1:3], 1), np.int32)
    total, count = (
        sum(seen for _, _, seen in positions(padded(a, window, strides, (1, 1), padding, 0), window, strides))
        for a in (x.astype(np.int32), ones)
    )
    half = count // 2
    mean = np.where(total > 0, (total + half) // count, -((half - total) // count))
    low, high = activation_limits(params, activation)
    return np.clip(mean, low, high).astype(x.dtype)


def max_pool(
    x: np.ndarray,
    params: AffineParams,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: str = "VALID",
    activation: str = "NONE",
) -> np.ndarray:
    """MAX_POOL_2D: the largest code in each window; a larger code is a larger number.

    >>> max_pool(np.int8([[[[1], [2]], [[3], [4]]]]), AffineParams(1.0, 0), (2, 2), (2, 2)).ravel()
    array([4], dtype=int8)
    """
    x = padded(x, window, strides, (1, 1), padding, value=params.lowest)
    largest = None
    for _, _, seen in positions(x, window, strides):
        largest = seen if largest is None else np.maximum(largest, seen)
    low, high = activation_limits(params, activation)
    return np.clip(largest, low, high)


def mean(
    x: np.ndarray,
    axes: np.ndarray,
    x_params: AffineParams,
    params: AffineParams,
    keep_dims: bool = False,
) -> np.ndarray:
    """MEAN: the sum over some axes, and the division by their number is part of M.

        M = x_scale / scale, as multiplier and shift;  multiplier / count, cut off

    Before it is divided, the multiplier is shifted up by the bits of count, so that none are lost.

    Args:
        x: int8 or int16.
        axes: which to average over; negative ones count from the last.

    >>> one = AffineParams(1.0, 0)
    >>> mean(np.int8([[[1, 10], [2, 20], [6, 60]]]), np.int32([1]), one, one)
    array([[ 3, 30]], dtype=int8)
    """
    if not all(-x.ndim <= axis < x.ndim for axis in np.ravel(axes)):
        raise DataError(f"axes {np.ravel(axes).tolist()} of an input {x.shape}.")
    axes = tuple({int(axis) % x.ndim for axis in np.ravel(axes)})
    count = int(np.prod([x.shape[axis] for axis in axes]))
    steps = x.sum(axis=axes, dtype=np.int64, keepdims=keep_dims) - count * x_params.zero_point
    multiplier, shift = (int(part) for part in quantize_multiplier(x_params.scale / params.scale))
    up = min(count.bit_length() - 1, 32, 31 + shift)
    multiplier, shift = (multiplier << up) // count, shift - up
    # In 32 bits, in which what overflows wraps around.
    steps = (steps.astype(np.int32).astype(np.int64) << max(shift, 0)).astype(np.int32)
    product = rounding_doubling_high_multiply(steps, multiplier)
    return finished(rounding_shift_right(product, max(-shift, 0)), params)
