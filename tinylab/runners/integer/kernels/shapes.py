"""Operators that move codes, or choose among them: a code keeps its meaning, wherever it stands.

And those that compute lengths of axes, in networks that find out a shape while they run.
"""

import numpy as np

from tinylab.affine import AffineParams, round_half_away
from tinylab.errors import DataError
from tinylab.runners.integer.kernels.sizes import checked


def reshape(x: np.ndarray, shape: np.ndarray | None, older: np.ndarray | None = None) -> np.ndarray:
    """RESHAPE: the same values in another shape, of which one length may be -1: what is left.

    Older files have the shape in the operator's options.

    >>> reshape(np.int8([1, 2, 3, 4]), np.int32([2, -1]))
    array([[1, 2],
           [3, 4]], dtype=int8)
    """
    shape = older if shape is None else shape
    if shape is None:
        raise DataError("no shape to give to its input.")
    return x.reshape([int(n) for n in shape])


def squeeze(x: np.ndarray, axes: np.ndarray | None) -> np.ndarray:
    """SQUEEZE: without some axes of length 1, or without all of them.

    >>> squeeze(np.zeros((1, 3, 1)), [2]).shape, squeeze(np.zeros((1, 3, 1)), None).shape
    ((1, 3), (3,))
    """
    return np.squeeze(x, None if axes is None or not len(axes) else tuple(int(axis) for axis in axes))


def expand_dims(x: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """EXPAND_DIMS: with one more axis, of length 1.

    >>> expand_dims(np.zeros((2, 3)), np.int32(1)).shape
    (2, 1, 3)
    """
    return np.expand_dims(x, axis.item())


def transpose(x: np.ndarray, order: np.ndarray) -> np.ndarray:
    """TRANSPOSE: the axes in another order.

    >>> transpose(np.zeros((2, 3, 4)), np.int32([0, 2, 1])).shape
    (2, 4, 3)
    """
    return np.ascontiguousarray(np.transpose(x, order))


def concatenate(parts: list[np.ndarray], axis: int) -> np.ndarray:
    """CONCATENATION: tensors one behind the other along an axis.

    >>> concatenate([np.int8([[1]]), np.int8([[2]])], axis=1)
    array([[1, 2]], dtype=int8)
    """
    return np.concatenate(parts, axis)


def pack(parts: list[np.ndarray], axis: int) -> np.ndarray:
    """PACK: tensors of one shape along a new axis.

    >>> pack([np.int32(1), np.int32(784)], axis=0)
    array([  1, 784], dtype=int32)
    """
    return np.stack(parts, axis)


def shape(x: np.ndarray, dtype: str) -> np.ndarray:
    """SHAPE: the lengths of the axes, as int32 or int64.

    >>> shape(np.zeros((5, 784)), "int32")
    array([  5, 784], dtype=int32)
    """
    return np.array(x.shape, dtype)


def pad(x: np.ndarray, margins: np.ndarray, x_params: AffineParams, params: AffineParams) -> np.ndarray:
    """PAD: margins [[before, after], ...] of the code that stands for 0, the zero point.

    >>> params = AffineParams(0.1, -3)
    >>> pad(np.int8([5]), np.int32([[1, 2]]), params, params)
    array([-3,  5, -3, -3], dtype=int8)
    """
    return _framed(x, margins, params.zero_point)


def _framed(x: np.ndarray, margins: np.ndarray, value: int) -> np.ndarray:
    if np.shape(margins) != (x.ndim, 2) or np.min(margins, initial=0) < 0:
        raise DataError(f"margins {np.shape(margins)} do not fit an input {x.shape}.")
    checked(np.add(x.shape, np.sum(margins, axis=1, dtype=np.int64)))
    return np.pad(x, margins, constant_values=value)


def space_to_batch(
    x: np.ndarray, block: np.ndarray, margins: np.ndarray, x_params: AffineParams, params: AffineParams
) -> np.ndarray:
    """SPACE_TO_BATCH_ND: an image as several smaller ones, each of every second (third, ...) pixel.

    The converter computes a dilated convolution so: neighbours in a small image are `block` apart in
    the large one.

    Args:
        x: (N, H, W, C).
        block: (height, width), how far apart the pixels of one small image are.
        margins: [[above, below], [left, right]], filled with the zero point first.

    >>> params = AffineParams(1.0, 0)
    >>> x = np.arange(4, dtype=np.int8).reshape(1, 1, 4, 1)
    >>> space_to_batch(x, np.int32([1, 2]), np.int32([[0, 0], [0, 0]]), params, params)[:, 0, :, 0]
    array([[0, 2],
           [1, 3]], dtype=int8)
    """
    x = pad(x, np.concatenate([[[0, 0]], margins, [[0, 0]]]), x_params, params)
    batch, height, width, channels = x.shape
    down, right = (int(n) for n in block)
    x = x.reshape(batch, height // down, down, width // right, right, channels)
    return x.transpose(2, 4, 0, 1, 3, 5).reshape(-1, height // down, width // right, channels)


def batch_to_space(x: np.ndarray, block: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """BATCH_TO_SPACE_ND: the small images of `space_to_batch` as one again, with margins cut off.

    >>> x = np.int8([[0, 2], [1, 3]]).reshape(2, 1, 2, 1)
    >>> batch_to_space(x, np.int32([1, 2]), np.int32([[0, 0], [0, 1]])).ravel()
    array([0, 1, 2], dtype=int8)
    """
    down, right = (int(n) for n in block)
    batch, height, width, channels = x.shape
    x = x.reshape(down, right, batch // (down * right), height, width, channels)
    x = x.transpose(2, 3, 0, 4, 1, 5).reshape(-1, height * down, width * right, channels)
    (top, bottom), (left, end) = crops.tolist()
    if min(top, bottom, left, end) < 0:
        raise DataError(f"crops {crops.tolist()} below 0.")
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - end]


def gather(x: np.ndarray, places: np.ndarray, axis: int, batch_axes: int) -> np.ndarray:
    """GATHER: the values at some places of an axis. Networks pick lengths from a shape with it.

    >>> gather(np.int32([5, 7, 9]), np.int32([2, 0]), 0, 0)
    array([9, 5], dtype=int32)
    """
    if batch_axes:
        raise DataError("a gather by batches.")
    if np.min(places, initial=0) < 0:
        raise DataError("a place below 0.")
    return np.asarray(np.take(x, places, axis))


def product(x: np.ndarray, axes: np.ndarray, keep_dims: bool) -> np.ndarray:
    """REDUCE_PROD: the product along some axes, of the lengths in a shape.

    >>> product(np.int32([2, 3, 4]), np.int32([0]), False)
    array(24, dtype=int32)
    """
    axes = tuple({int(axis) for axis in np.ravel(axes)})
    return np.array(np.prod(x, axis=axes, keepdims=keep_dims, dtype=x.dtype))


def pad_with(x: np.ndarray, margins: np.ndarray, value: np.ndarray) -> np.ndarray:
    """PADV2: margins of a given code.

    >>> pad_with(np.int8([5]), np.int32([[1, 2]]), np.int8([9]))
    array([9, 5, 9, 9], dtype=int8)
    """
    return _framed(x, margins, value.item())


def resize_nearest(x: np.ndarray, size: np.ndarray, align_corners: bool, half_pixel: bool) -> np.ndarray:
    """RESIZE_NEAREST_NEIGHBOR: each pixel of the new image is the one of the old image nearest to it.

    Args:
        x: (N, H, W, C).
        size: height and width of the new image.
        align_corners: the middles of the corner pixels stay where they are, instead of the corners.
        half_pixel: a pixel's place is its middle, instead of its beginning.

    >>> resize_nearest(np.int8([[[[1], [2]]]]), np.int32([1, 4]), False, False).ravel()
    array([1, 1, 2, 2], dtype=int8)
    """
    height, width = (int(n) for n in size)
    checked((len(x), height, width, x.shape[3]))
    rows, columns = (
        _nearest(old, new, align_corners, half_pixel)
        for old, new in ((x.shape[1], height), (x.shape[2], width))
    )
    return x[:, rows][:, :, columns]


def _nearest(old: int, new: int, align_corners: bool, half_pixel: bool) -> np.ndarray:
    """For each of so many new places, the old one that is nearest, in float32 as LiteRT computes it."""
    corners = align_corners and new > 1
    scale = np.float32(old - 1) / np.float32(new - 1) if corners else np.float32(old) / np.float32(new)
    places = (np.arange(new, dtype=np.float32) + np.float32(0.5 if half_pixel else 0)) * scale
    chosen = round_half_away(places) if align_corners else np.floor(places)
    return np.clip(chosen.astype(np.int64), 0, old - 1)


def reduce_max(x: np.ndarray, axes: np.ndarray, keep_dims: bool) -> np.ndarray:
    """REDUCE_MAX: the largest code along some axes.

    >>> reduce_max(np.int8([[1, 7], [5, 2]]), np.int32([1]), False)
    array([7, 5], dtype=int8)
    """
    return np.array(x.max(axis=tuple({int(axis) for axis in np.ravel(axes)}), keepdims=keep_dims))


def maximum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """MAXIMUM: the larger of two codes of one scale.

    >>> maximum(np.int8([1, 7]), np.int8([5]))
    array([5, 7], dtype=int8)
    """
    checked(np.broadcast_shapes(a.shape, b.shape))
    return np.maximum(a, b)


def minimum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """MINIMUM: the smaller of two codes of one scale.

    >>> minimum(np.int8([1, 7]), np.int8([5]))
    array([1, 5], dtype=int8)
    """
    checked(np.broadcast_shapes(a.shape, b.shape))
    return np.minimum(a, b)


def strided_slice(
    x: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    strides: np.ndarray,
    begin_mask: int = 0,
    end_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> np.ndarray:
    """STRIDED_SLICE: x[begin:end:stride] on each axis. A bit of a mask that is set belongs to that axis.

    begin_mask and end_mask: take the axis from its very beginning, to its very end; shrink_axis_mask:
    take the one index begin, and drop the axis.

    >>> strided_slice(np.int8([[1, 2, 3], [4, 5, 6]]), [1, 0], [2, 2], [1, 1], shrink_axis_mask=1)
    array([4, 5], dtype=int8)
    """
    if not len(begin) == len(end) == len(strides) <= x.ndim:
        raise DataError(f"begin, end and strides of {len(begin)} axes for an input {x.shape}.")
    index = []
    for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        if shrink_axis_mask >> axis & 1:
            if step != 1:
                raise DataError(f"one index, taken with a stride of {step}.")
            index.append(0 if begin_mask >> axis & 1 else int(first))
        else:
            start = None if begin_mask >> axis & 1 else int(first)
            stop = None if end_mask >> axis & 1 else int(last)
            index.append(slice(start, stop, int(step)))
    return np.asarray(x[tuple(index)])
