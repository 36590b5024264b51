"""How large a tensor may become: a file of a few bytes must not fill a machine's memory.

A file is tried on its own batch before any data come, and within limits. Later, whoever gives more
samples wants more memory to be used.
"""

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar

from tinylab.errors import DataError

LARGEST = 2**24  # values; on the chips that this course is about fit a thousand times fewer
_is_limited = ContextVar("is_limited", default=False)


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Within it, `checked` refuses large tensors."""
    token = _is_limited.set(True)
    try:
        yield
    finally:
        _is_limited.reset(token)


def checked(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that can be computed.

    Raises:
        DataError: a length below 0; within `limited`, more than LARGEST values.

    >>> checked((1000, 96, 96, 32))
    (1000, 96, 96, 32)
    >>> with limited():
    ...     checked((1000, 96, 96, 32))
    Traceback (most recent call last):
    tinylab.errors.DataError: a tensor of shape (1000, 96, 96, 32), which is far too large.
    """
    shape = tuple(map(int, shape))
    if min(shape, default=1) < 0 or (_is_limited.get() and math.prod(shape) > LARGEST):
        raise DataError(f"a tensor of shape {shape}, which is far too large.")
    return shape
