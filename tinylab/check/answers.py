"""What a learner's function gave, and how to say that in a few words, whatever it is."""

import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_SHOWN = 12  # elements of an array that are written out
LONGEST = 120  # characters of a value that is shown
LONGEST_MESSAGE = 2000  # of what is said about an answer


@dataclass(frozen=True)
class Answers:
    """What a learner's function gave: an answer a case, and the error that ended it early, if any."""

    values: list[Any]
    error: str = ""
    attempted: bool = True


class Foreign:
    """Stands for an answer that did not leave the learner's process: a function, say.

    Its class is named like the class of that answer (`foreign`), so whoever looks at its type reads
    what was given.

    Attributes:
        text: the answer in a few words.
        remark: why it had to stay, where that helps; "" else.
    """

    def __init__(self, text: str, remark: str = ""):
        self.text, self.remark = text, remark

    def __repr__(self) -> str:
        return self.text


def foreign(library: str, kind: str, text: str, remark: str = "") -> Foreign:
    """A Foreign whose type is called `kind`, of a module `library`."""
    return type(kind, (Foreign,), {"__module__": library})(text, remark)


class _Shown(reprlib.Repr):
    """A repr that goes neither far nor deep: what is cut off at LONGEST anyway is not written first."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 6
        self.maxtuple = self.maxlist = self.maxarray = self.maxset = self.maxfrozenset = self.maxdeque = 60
        self.maxdict = self.maxlong = self.maxstring = self.maxother = 10 * LONGEST


def in_short(value: Any) -> str:
    """A value in a few words, whatever it is."""
    try:
        return shortened(_text(value), LONGEST)
    except Exception:  # a value of a learner's class, or a number that is too long to be written
        return type(value).__name__


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value):,} bytes"
    if isinstance(value, np.ndarray):
        return f"array {value.dtype} {value.shape}" if value.size > MOST_SHOWN else np.array2string(value)
    if hasattr(value, "layers"):
        return f"model {value.name!r}"
    return _Shown().repr(value)


def error_in_short(error: BaseException) -> str:
    """An error's type, and what it says."""
    try:
        return shortened(f"{type(error).__name__}: {error}", LONGEST_MESSAGE)
    except Exception:  # an error of a learner's own class may fail to say anything
        return type(error).__name__


def shortened(text: str, longest: int) -> str:
    """The text, or its beginning and three dots."""
    return text if len(text) <= longest else text[: longest - 3] + "..."
