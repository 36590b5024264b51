"""Answers on their way out of a learner's process: plain data, and nothing that anybody could execute.

The answers are a tree, written as JSON, with the bytes of arrays, one after the other, behind it. Whoever
reads them trusts nobody: every kind of value is on a list, every size is checked before memory is asked for.
What is on no list goes as a `Foreign`, which is a wrong answer, and says what it was.
"""

import itertools
import json
import struct
import sys
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Set, ValuesView
from typing import Any

import numpy as np

from tinylab.check.answers import LONGEST, LONGEST_MESSAGE, Answers, Foreign, foreign, in_short, shortened
from tinylab.errors import DataError

MOST_BYTES = 256_000_000
MOST_TEXT = 8_000_000  # bytes of JSON: what is made of them takes some 20 times as much memory
MOST_VALUES = 100_000  # in all answers together
MOST_DEPTH = 60
MOST_KEYS = 10_000  # of a dict: whoever makes all of them collide makes it slow
LONG = 1000  # characters of a text that is better kept outside of the JSON
PLAIN = "biufcSU"  # kinds of dtypes: booleans, integers, floats, complex numbers, bytes, text
WIDEST = 16  # bytes of a number
LENGTH = struct.Struct("<Q")


def dump(answers: Answers, most: int = MOST_BYTES) -> bytes:
    """Write answers.

    Args:
        answers: any; lists may contain themselves, iterators may never end.
        most: bytes, 10 million or more; an answer for which there is no room goes as a Foreign that
            says so.
    """
    writer = _Writer(most - MOST_TEXT)
    tree = {
        "values": [writer.value(value) for value in answers.values],
        "error": shortened(str(answers.error), LONGEST_MESSAGE),
        "attempted": bool(answers.attempted),
    }
    text = json.dumps(tree, separators=(",", ":")).encode()
    return b"".join([LENGTH.pack(len(text)), text, *writer.blobs])


def load(content: bytes, most: int = MOST_BYTES) -> Answers:
    """Read what `dump` wrote, or what somebody wants to pass off as that.

    Raises:
        DataError: these are no answers, or more than `most` bytes of them.
    """
    if len(content) > most:
        raise DataError(f"answers of {len(content):,} bytes: {most:,} are the most.")
    try:
        length = LENGTH.unpack_from(content)[0]
        end = LENGTH.size + length
        if end > len(content) or length > MOST_TEXT:
            raise ValueError("cut short, or too long")
        tree = json.loads(content[LENGTH.size : end])
        reader = _Reader(memoryview(content)[end:])
        values = [reader.value(value) for value in _listed(tree["values"])]
        error, attempted = tree["error"], tree["attempted"]
        if not (isinstance(error, str) and isinstance(attempted, bool)):
            raise ValueError("no error text")
    except Exception as error:  # of whatever kind: these bytes were meant to cause it
        raise DataError(f"not readable as answers: {shortened(repr(error), LONGEST)}") from None
    return Answers(values, shortened(error, LONGEST_MESSAGE), attempted)


class _TooLarge(Exception):
    """An answer for which there is no room."""


class _Writer:
    """Makes trees of values, and keeps the bytes of arrays, each within its limits."""

    def __init__(self, most: int):
        self.blobs: list[bytes] = []
        self.left = {"bytes": most, "text": MOST_TEXT // 2, "values": MOST_VALUES}

    def value(self, value: Any) -> Any:
        """The tree of one answer."""
        left, blobs = self.left.copy(), len(self.blobs)
        try:
            return self._tree(value, MOST_DEPTH)
        except Exception as error:  # a learner's class may raise anything
            self.left = left
            del self.blobs[blobs:]
            return self._foreign(value, "too large to be compared" if isinstance(error, _TooLarge) else "")

    def _tree(self, value: Any, depth: int) -> Any:
        self._spend(values=1, text=25)  # the longest number
        if not depth:
            raise _TooLarge
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, np.generic) and value.dtype.kind in PLAIN:
            return {"scalar": self._array(np.asarray(value))}
        if isinstance(value, str):
            return self._text(str(value))
        if isinstance(value, int):
            return int(value) if abs(value) < 2**63 else {"int": self._blob(hex(value).encode())}
        if isinstance(value, float):
            return float(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return {"bytes": self._blob(value)}
        if _is_keras(value):
            return self._of_keras(value, depth)
        if isinstance(value, Mapping):
            return {"dict": self._trees(itertools.chain.from_iterable(value.items()), depth)}
        if isinstance(value, tuple):
            return {"tuple": self._trees(value, depth)}
        if isinstance(value, (list, range, Iterator, KeysView, ValuesView, ItemsView)):
            return self._trees(value, depth)
        if isinstance(value, Set):
            return {"set": self._trees(value, depth)}
        if hasattr(type(value), "__array__") and np.asarray(value).dtype.kind in PLAIN:
            return {"array": self._array(np.asarray(value))}
        self._spend(text=4 * 6 * LONGEST)
        return self._foreign(value)

    def _trees(self, values: Any, depth: int) -> list:
        return [self._tree(value, depth - 1) for value in values]

    def _text(self, text: str) -> Any:
        if len(text) > LONG:
            self._spend(bytes=len(text))
            return {"text": self._blob(text.encode("utf-8", "surrogatepass"))}
        self._spend(text=6 * len(text))  # what JSON may make of each character
        return text

    def _array(self, array: np.ndarray) -> list:
        self._spend(bytes=array.nbytes, text=25 * array.ndim)
        return [array.dtype.str, list(array.shape), self._blob(array.tobytes(), spent=True)]

    def _blob(self, content: Any, spent: bool = False) -> int:
        self._spend(bytes=0 if spent else len(content), text=100)
        self.blobs.append(bytes(content))
        return len(self.blobs[-1])

    def _of_keras(self, value: Any, depth: int) -> Any:
        from tinylab.check import keras_objects

        parts = keras_objects.parts(value)
        if parts is None:
            return self._foreign(value, keras_objects.UNKNOWN)
        kind, config, weights = parts
        return {"keras": [kind, self._tree(config, depth - 1), self._trees(weights, depth)]}

    def _foreign(self, value: Any, remark: str = "") -> Any:
        if isinstance(value, Foreign):
            remark = remark or value.remark
        kind = type(value)
        parts = (kind.__module__, kind.__name__, in_short(value), remark)
        return {"foreign": [shortened(str(part), LONGEST) for part in parts]}

    def _spend(self, **amounts: int) -> None:
        for what, amount in amounts.items():
            self.left[what] -= amount
            if self.left[what] < 0:
                raise _TooLarge


def _is_keras(value: Any) -> bool:
    """Whether this is a layer or a model; TensorFlow is not imported to find out."""
    keras = sys.modules.get("tf_keras")
    return keras is not None and isinstance(value, keras.layers.Layer)


class _Reader:
    """Makes values of trees, and takes the bytes of arrays in their order, each once."""

    def __init__(self, blobs: memoryview):
        self.blobs, self.left = blobs, MOST_VALUES

    def value(self, tree: Any) -> Any:
        """One answer."""
        return self._value(tree, MOST_DEPTH)

    def _value(self, tree: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth < 0:
            raise ValueError("too many values")
        if isinstance(tree, list):
            return self._values(tree, depth)
        if not isinstance(tree, dict):
            return tree  # None, bool, int, float, str: JSON knows nothing else
        ((kind, inside),) = tree.items()
        if kind == "bytes":
            return self._blob(inside)
        if kind == "text":
            return self._blob(inside).decode("utf-8", "surrogatepass")
        if kind == "int":
            return int(self._blob(inside), 16)
        if kind == "array":
            return self._array(*inside)
        if kind == "scalar":
            return self._array(*inside)[()]
        if kind == "foreign":
            return self._foreign(*inside)
        if kind == "keras":
            return self._of_keras(*inside, depth)
        values = self._values(_listed(inside), depth)
        if kind == "tuple":
            return tuple(values)
        if len(values) > 2 * MOST_KEYS:
            raise ValueError("too many keys")
        if kind == "set":
            return set(values)
        if kind == "dict":
            return dict(zip(values[::2], values[1::2], strict=True))
        raise ValueError(f"no kind of value: {kind}")

    def _values(self, trees: list, depth: int) -> list:
        return [self._value(tree, depth - 1) for tree in trees]

    def _blob(self, length: int) -> bytes:
        if not (type(length) is int and 0 <= length <= len(self.blobs)):
            raise ValueError("cut short")
        taken, self.blobs = self.blobs[:length], self.blobs[length:]
        return bytes(taken)

    def _array(self, dtype: str, shape: list, length: int) -> np.ndarray:
        kind = np.dtype(_text(dtype))
        if kind.kind not in PLAIN or not kind.itemsize or (kind.kind in "biufc" and kind.itemsize > WIDEST):
            raise ValueError(f"no plain dtype: {kind}")
        if not all(type(size) is int and size >= 0 for size in _listed(shape)):
            raise ValueError("no shape")
        array = np.frombuffer(bytearray(self._blob(length)), kind).reshape(shape)
        if kind.kind == "b":
            # any other byte than 0 and 1 would be True, and differ from True
            return np.asarray(array.view(np.uint8) != 0)
        if kind.kind == "U" and array.size and array.ravel().view(f"{kind.str[0]}u4").max() > sys.maxunicode:
            raise ValueError("no characters")
        return array

    def _foreign(self, library: str, kind: str, text: str, remark: str) -> Foreign:
        text, remark = (shortened(_text(part), 2 * LONGEST) for part in (text, remark))
        return foreign(_identifier(library), _identifier(kind), text, remark)

    def _of_keras(self, kind: str, config: Any, weights: list, depth: int) -> Any:
        from tinylab.check import keras_objects

        config, weights = self._value(config, depth - 1), self._values(_listed(weights), depth)
        try:
            return keras_objects.rebuilt(_text(kind), config, weights)
        except DataError as error:
            return foreign("tf_keras", _identifier(kind), f"tf_keras.{_identifier(kind)}", str(error))


def _listed(value: Any) -> list:
    if not isinstance(value, list):
        raise ValueError("no list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def _identifier(name: Any) -> str:
    """A class's or a module's name, if it may be one."""
    plain = all(part.isidentifier() and part.isascii() for part in _text(name).split("."))
    return name if plain and len(name) <= LONGEST else "object"
