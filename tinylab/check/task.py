"""What an exercise task is: cases to try, the right answers, how to compare them, hints.

A task works in two halves, so that a grader can put a wall between them: `collect` calls the
learner's function, `judge` compares its answers with the reference and never sees the function.
"""

import enum
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinylab.errors import TinylabError
from tinylab.quiet import quiet

NOTEBOOK_SEED = 1
MOST_SHOWN = 12  # elements of an array that are written out


class Outcome(enum.Enum):
    """The four things that can come of an attempt."""

    NOT_ATTEMPTED = "not attempted yet"
    ERROR = "stopped with an error"
    WRONG = "not right yet"
    RIGHT = "right"


@dataclass(frozen=True)
class Answers:
    """What a learner's function gave: an answer a case, and the error that ended it early, if any."""

    values: list[Any]
    error: str = ""
    attempted: bool = True


@dataclass(frozen=True)
class Result:
    """What a check shows. Its repr is the score, 0 or 1, which is what nbgrader reads."""

    task: str
    outcome: Outcome
    message: str
    hints: tuple[str, ...]

    @property
    def score(self) -> int:
        """1 if right, else 0."""
        return int(self.outcome is Outcome.RIGHT)

    def __repr__(self) -> str:
        return str(self.score)

    def __str__(self) -> str:
        return f"{self.task}: {self.outcome.value}" + (f"\n{self.message}" if self.message else "")

    def _repr_html_(self) -> str:
        marks = {Outcome.RIGHT: "✅", Outcome.WRONG: "❌", Outcome.ERROR: "⚠️", Outcome.NOT_ATTEMPTED: "✏️"}
        parts = [f"<p>{marks[self.outcome]} <code>{self.task}</code>: <b>{self.outcome.value}</b></p>"]
        if self.message:
            parts.append(f"<pre>{html.escape(self.message)}</pre>")
        if self.outcome is not Outcome.RIGHT:
            parts.append(self._hints_html())
        return "\n".join(parts)

    def _hints_html(self) -> str:
        """Hints one inside the other, so that each shows only after the one before it."""
        nested = ""
        for number, hint in reversed(list(enumerate(self.hints, 1))):
            title = f"Hint {number} of {len(self.hints)}"
            nested = f"<details><summary>{title}</summary><p>{html.escape(hint)}</p>{nested}</details>"
        return nested


@dataclass(frozen=True)
class Task:
    """One thing to solve: a function to write.

    Attributes:
        name: of the learner's function.
        cases: makes the input cases from a random generator, a tuple of arguments each. The same
            generator state gives the same cases, so both halves of a check make their own.
        reference: the right answer to a case.
        compare: what is wrong with an answer, given the right one, in words; "" if nothing is.
        hints: from a nudge to nearly the answer.
    """

    name: str
    cases: Callable[[np.random.Generator], Sequence[tuple]]
    reference: Callable[..., Any]
    compare: Callable[[Any, Any], str]
    hints: tuple[str, ...]

    def __call__(self, function: Callable) -> Result:
        """Check a function at once: what the last line of a notebook's check cell does."""
        return self.judge(self.collect(function, NOTEBOOK_SEED), NOTEBOOK_SEED)

    def collect(self, function: Callable, seed: int) -> Answers:
        """Call the learner's function on every case, until it raises."""
        if not callable(function):
            return Answers([], f"expected the function {self.name}, got {_short(function)}")
        values: list[Any] = []
        # nbgrader gives 0 to a cell that writes to stderr, and LiteRT does
        with quiet():
            for arguments in self.cases(np.random.default_rng(seed)):
                try:
                    values.append(function(*arguments))
                except NotImplementedError as error:
                    learners = error.__traceback__.tb_next
                    if learners is not None and learners.tb_next is None:  # raised by the blank itself
                        return Answers(values, attempted=False)
                    return Answers(values, "NotImplementedError: is a function that yours calls still blank?")
                except (Exception, SystemExit) as error:
                    return Answers(values, f"{type(error).__name__}: {error}")
        return Answers(values)

    def judge(self, answers: Answers, seed: int) -> Result:
        """Compare answers with the reference, up to the first that differs."""
        if not answers.attempted:
            return Result(self.name, Outcome.NOT_ATTEMPTED, "", self.hints)
        cases = self.cases(np.random.default_rng(seed))
        with quiet():
            for arguments, value in zip(cases, answers.values, strict=False):
                wrong = self._fault(arguments, value)
                if wrong:
                    given = ", ".join(map(_short, arguments)) or "nothing"
                    return Result(self.name, Outcome.WRONG, f"given     {given}\n{wrong}", self.hints)
        if answers.error:
            return Result(self.name, Outcome.ERROR, answers.error, self.hints)
        if len(answers.values) != len(cases):
            return Result(
                self.name, Outcome.WRONG, f"{len(answers.values)} answers to {len(cases)} cases", self.hints
            )
        return Result(self.name, Outcome.RIGHT, "", self.hints)

    def _fault(self, arguments: tuple, value: Any) -> str:
        if value is None:
            return "got       None: is there a return at the end of the function?"
        try:
            return self.compare(self.reference(*arguments), value)
        except TinylabError as error:  # an answer that our own tools refuse says why
            return f"got       {_short(value)}\n{error}"


@dataclass(frozen=True)
class Right:
    """The right answer to a case, and what typical mistakes make of it, by what to say about them."""

    answer: Any
    mistakes: Mapping[str, Any] = field(default_factory=dict)

    def recognized(self, got: Any) -> str:
        """What to say about an answer that is one of the mistakes; "" if it is none."""
        for remark, mistake in self.mistakes.items():
            if np.shape(got) == np.shape(mistake) and np.array_equal(got, mistake):
                return f"\nperhaps   {remark}"
        return ""


def exactly(expected: Any, got: Any) -> str:
    """Compare for equality; True and 1 are not the same."""
    if isinstance(got, np.generic):
        got = got.item()
    return "" if type(got) is type(expected) and got == expected else _differs(expected, got)


def within(tolerance: float) -> Callable[[Any, Any], str]:
    """Compare numbers or arrays: the same shape, and no value further off than `tolerance`."""

    def compare(expected: Any, got: Any) -> str:
        try:
            got_array, expected_array = np.asarray(got, np.float64), np.asarray(expected, np.float64)
        except (TypeError, ValueError):
            return _differs(expected, got)
        if got_array.shape != expected_array.shape:
            return f"expected  shape {expected_array.shape}\ngot       shape {got_array.shape}"
        if not np.allclose(got_array, expected_array, rtol=0, atol=tolerance, equal_nan=True):
            return _differs(expected, got)
        return ""

    return compare


def identical(kinds: str = "") -> Callable[[Right, Any], str]:
    """Compare arrays: the same shape, dtype and values.

    Args:
        kinds: of dtypes that may stand for the right one, by NumPy's letters ("iu": any integers).
    """

    def compare(expected: Right, got: Any) -> str:
        right = expected.answer
        if not isinstance(got, (np.ndarray, np.generic)):
            return f"expected  a NumPy array\ngot       {type(got).__name__}"
        if got.shape != right.shape:
            return f"expected  shape {right.shape}\ngot       shape {got.shape}"
        if not (got.dtype.kind in kinds if kinds else got.dtype == right.dtype):
            wanted = "whole numbers of an integer dtype" if kinds == "iu" else right.dtype
            return f"expected  {wanted}\ngot       {got.dtype}"
        differing = np.argwhere(got != right)  # NaN differs from everything
        if not len(differing):
            return ""
        if right.size <= MOST_SHOWN:
            text = _differs(right, got)
        else:
            place = tuple(differing[0].tolist())
            text = f"at {list(place)}, and {len(differing):,} of {right.size:,} differ:\n"
            text += _differs(right[place].item(), got[place].item())
        return text + expected.recognized(got)

    return compare


def _differs(expected: Any, got: Any) -> str:
    return f"expected  {_short(expected)}\ngot       {_short(got)}"


def _short(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value):,} bytes"
    if isinstance(value, np.ndarray) and value.size > MOST_SHOWN:
        return f"array {value.dtype} {value.shape}"
    if hasattr(value, "layers"):
        return f"model {value.name!r}"
    text = np.array2string(value) if isinstance(value, np.ndarray) else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
