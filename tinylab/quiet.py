"""Keeping the chatter of C++ libraries off the page.

TensorFlow, its converter and LiteRT write to the process's file descriptor 2, which Python's
`contextlib.redirect_stderr` does not reach. A notebook would store that text in its outputs, and
nbgrader gives 0 to a cell that writes any.
"""

import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import IO

from tinylab.errors import TinylabError


@contextlib.contextmanager
def quiet() -> Iterator[Callable[[], str]]:
    """Hold back what is logged, warned of, or written to file descriptor 2 inside the block.

    An interruption (Ctrl-C) leaves the page as it was, wherever it comes.

    Yields:
        A function that returns the text held back so far, for an error message to quote.

    Raises:
        TinylabError: no folder for temporary files.

    >>> with quiet() as held_back:
    ...     _ = os.write(2, b"chatter")
    >>> held_back()
    'chatter'
    """
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    states = [(logger.level, logger.disabled) for logger in loggers]
    filters, before = warnings.filters, warnings.filters[:]
    handler = signal.getsignal(signal.SIGINT)
    # Python runs it in the main thread only; what is no function raises nothing
    interruptible = threading.current_thread() is threading.main_thread() and callable(handler)
    restored, text = False, None

    def restore() -> None:
        nonlocal restored
        if restored:
            return
        os.dup2(page.fileno(), 2)
        for logger, (level, disabled) in zip(loggers, states, strict=True):
            logger.setLevel(level)
            logger.disabled = disabled
        filters[:] = before  # the same list, as a `catch_warnings` inside the block will put it back
        warnings.filters = filters
        if interruptible:
            signal.signal(signal.SIGINT, handler)
        restored = True

    def interrupt(number: int, frame: FrameType | None) -> None:
        restore()  # in a `finally` alone it could be interrupted itself, and the page would stay mute
        handler(number, frame)

    def held_back() -> str:
        return written() if text is None else text

    def written() -> str:
        file.seek(0)
        return file.read().decode(errors="replace")

    sys.stderr.flush()
    with _temporary_file() as file, open(os.devnull, "wb") as page:
        os.dup2(2, page.fileno(), inheritable=False)
        if interruptible:
            signal.signal(signal.SIGINT, interrupt)
        try:
            os.dup2(file.fileno(), 2)
            for logger in loggers:
                logger.disabled = True  # a level would not do: TensorFlow sets absl's
            warnings.simplefilter("ignore")
            yield held_back
        finally:
            restore()
            text = written()


def _temporary_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:  # TensorFlow could not even be imported
        raise TinylabError(
            f"no temporary file can be made ({error.strerror or error}): make room on the disk, or set "
            "TMPDIR to a folder that can be written to."
        ) from error
