"""Windows that slide over an image: padding, and the slice of the image that each position sees."""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinylab.errors import DataError
from tinylab.runners.integer.kernels.sizes import checked

MOST_PLACES = 2**16  # in a window; each is a step of a loop


def output_size(size: int, window: int, stride: int, padding: str) -> int:
    """How many positions a window has along one axis: with SAME padding one each stride.

    `window` counts from the first to the last value it sees, gaps of a dilation included.

    >>> output_size(28, 3, 1, "VALID"), output_size(28, 3, 2, "SAME")
    (26, 14)
    """
    covered = size if padding == "SAME" else size - window + 1
    return -(-covered // stride)


def margins(size: int, window: int, stride: int, padding: str) -> tuple[int, int]:
    """What SAME padding adds before and after; if it is an odd number, one more after.

    >>> margins(28, 3, 2, "SAME"), margins(28, 3, 1, "SAME"), margins(28, 3, 1, "VALID")
    ((0, 1), (1, 1), (0, 0))
    """
    if padding != "SAME":
        return 0, 0
    missing = max((output_size(size, window, stride, padding) - 1) * stride + window - size, 0)
    return missing // 2, missing - missing // 2


def padded(
    x: np.ndarray,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    padding: str,
    value: float,
) -> np.ndarray:
    """An image (N, H, W, C) with its margins filled with a value.

    Raises:
        DataError: no place for a single window, or a stride or dilation below 1.
    """
    if kernel[0] * kernel[1] > MOST_PLACES:
        raise DataError(f"a window of {kernel}, which is far too large.")
    if min(*kernel, *strides, *dilations) < 1:
        raise DataError(f"kernel {kernel}, strides {strides}, dilations {dilations}: 1 at least expected.")
    covered = _covered(kernel, dilations)
    sizes = list(zip(x.shape[1:3], covered, strides, strict=True))
    if min(output_size(*size, padding) for size in sizes) < 1:
        raise DataError(f"a window of {covered} does not fit into an image of {x.shape[1:3]}.")
    margin = [margins(*size, padding) for size in sizes]
    if not np.any(margin):
        return x
    (above, below), (left, right) = margin
    batch, height, width, channels = x.shape
    shape = checked((batch, above + height + below, left + width + right, channels))
    wide = np.full(shape, value, x.dtype)
    wide[:, above : above + height, left : left + width] = x
    return wide


def windows(
    x: np.ndarray, kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int]
) -> np.ndarray:
    """What each position of the window sees: a view (N, output height, output width, h, w, C).

    Args:
        x: (N, H, W, C), its margins included.

    >>> x = np.arange(9).reshape(1, 3, 3, 1)
    >>> windows(x, (2, 2), (1, 1), (1, 1))[0, 0, 1, :, :, 0]
    array([[1, 2],
           [4, 5]])
    """
    seen = sliding_window_view(x, _covered(kernel, dilations), axis=(1, 2))
    seen = seen[:, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]
    return seen.transpose(0, 1, 2, 4, 5, 3)


def positions(
    x: np.ndarray, kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int] = (1, 1)
) -> Iterator[tuple[int, int, np.ndarray]]:
    """For each place (i, j) in the window: what all positions of the window see there.

    A layer is then a short loop over its window, and each step works on the whole image at once.

    Args:
        x: (N, H, W, C), its margins included.

    Yields:
        i, j, and a view (N, output height, output width, C).

    >>> x = np.arange(9).reshape(1, 3, 3, 1)
    >>> [int(seen.sum()) for i, j, seen in positions(x, (2, 2), (1, 1))]
    [8, 12, 20, 24]
    """
    sizes = zip(x.shape[1:3], _covered(kernel, dilations), strides, strict=True)
    counts = [output_size(*size, "VALID") for size in sizes]
    for i, j in np.ndindex(*kernel):
        starts = i * dilations[0], j * dilations[1]
        rows, columns = (
            slice(start, start + (count - 1) * stride + 1, stride)
            for start, count, stride in zip(starts, counts, strides, strict=True)
        )
        yield i, j, x[:, rows, columns]


def _covered(kernel: tuple[int, int], dilations: tuple[int, int]) -> list[int]:
    """From the first to the last value that a window sees, along each axis."""
    return [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
