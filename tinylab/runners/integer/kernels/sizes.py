"""How large a tensor may become: a file of a few bytes must not fill a machine's memory."""

import math

from tinylab.errors import DataError

LARGEST = 2**24  # values; on the chips that this course is about fit a thousand times fewer
GROWTH = 4  # a batch may be as large as it likes, but an operator must not make far more of it


def checked(shape: tuple[int, ...], given: int = 0) -> tuple[int, ...]:
    """A shape, if it is not too large to be computed from so many given values.

    Raises:
        DataError: more than LARGEST values, and more than GROWTH times the given ones; or a length below 0.

    >>> checked((1000, 96, 96, 8), given=1000 * 96 * 96 * 3)
    (1000, 96, 96, 8)
    """
    shape = tuple(map(int, shape))
    if min(shape, default=1) < 0 or math.prod(shape) > max(LARGEST, GROWTH * given):
        raise DataError(f"a tensor of shape {shape}, which is far too large.")
    return shape
