"""What an exercise task is: cases to try, the right answers, how to compare them, hints.

A task works in two halves, so that a grader can put a wall between them: `collect` calls the
learner's function and needs nothing of a task but its cases, `judge` compares the answers with the
reference and never sees the function.
"""

import enum
import functools
import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinylab import record
from tinylab.check import exchange
from tinylab.check.answers import (
    LONGEST_MESSAGE,
    MOST_SHOWN,
    Answers,
    Foreign,
    error_in_short,
    in_short,
    shortened,
)
from tinylab.errors import TinylabError
from tinylab.quiet import quiet

NOTEBOOK_SEED = 1


class Outcome(enum.Enum):
    """The four things that can come of an attempt."""

    NOT_ATTEMPTED = "not attempted yet"
    ERROR = "stopped with an error"
    WRONG = "not right yet"
    RIGHT = "right"


def asked(function: Callable, *arguments: Any) -> Any:
    """Call a learner's function: how most tasks do it."""
    return function(*arguments)


def collect(
    function: Callable, cases: Sequence[tuple], name: str, call: Callable[..., Any] = asked
) -> Answers:
    """Call the learner's function on every case, until it raises.

    Args:
        function: the learner's.
        cases: a tuple of arguments each.
        name: of the function that is asked for.
        call: what asks it, `Task.call`.
    """
    if not callable(function):
        return Answers([], f"expected the function {name}, got {in_short(function)}")
    values: list[Any] = []
    # nbgrader gives 0 to a cell that writes to stderr, and LiteRT does
    with quiet():
        for arguments in cases:
            try:
                values.append(call(function, *arguments))
            except NotImplementedError as error:
                if _raised_by(function, error):
                    return Answers(values, attempted=False)
                return Answers(values, "NotImplementedError: is a function that yours calls still blank?")
            except (Exception, SystemExit) as error:
                return Answers(values, error_in_short(error))
    return Answers(values)


def _raised_by(function: Callable, error: Exception) -> bool:
    """Whether a function raised this itself, and nothing that it called."""
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    return place is not None and place.tb_frame.f_code is getattr(function, "__code__", None)


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
        call: how the learner's function is asked, given it and a case, and what of its answer leaves
            the learner's process.
    """

    name: str
    cases: Callable[[np.random.Generator], Sequence[tuple]]
    reference: Callable[..., Any]
    compare: Callable[[Any, Any], str]
    hints: tuple[str, ...]
    call: Callable[..., Any] = asked

    def __call__(self, function: Callable) -> Result:
        """Check a function at once: what the last line of a notebook's check cell does.

        Its answers go the way that they go from a sandbox to a grader, so that both say the same.
        """
        with quiet():
            answers = exchange.load(exchange.dump(self.collect(function, NOTEBOOK_SEED)))
        result = self.judge(answers, NOTEBOOK_SEED)
        if result.outcome is not Outcome.NOT_ATTEMPTED:
            record.keep(self.cases.__module__[-2:], self.name, done=result.outcome is Outcome.RIGHT)
        return result

    def collect(self, function: Callable, seed: int) -> Answers:
        """Call the learner's function on every case of a seed, until it raises."""
        return collect(function, self.cases(np.random.default_rng(seed)), self.name, self.call)

    def expected(self, seed: int) -> list[tuple[tuple, Any]]:
        """The cases of a seed, and the right answer to each."""
        with quiet():
            cases = self.cases(np.random.default_rng(seed))
            return [(arguments, self.reference(*arguments)) for arguments in cases]

    def judge(self, answers: Answers, seed: int) -> Result:
        """Compare answers with the right ones to this seed's cases, up to the first that differs."""
        return self.judge_against(answers, self.expected(seed) if answers.attempted else [])

    def judge_against(self, answers: Answers, expected: Sequence[tuple[tuple, Any]]) -> Result:
        """The same with what `expected` gave, which serves for any number of learners."""
        if not answers.attempted:
            return Result(self.name, Outcome.NOT_ATTEMPTED, "", self.hints)
        with quiet():
            for (arguments, right), value in zip(expected, answers.values, strict=False):
                wrong = self._fault(right, value)
                if wrong:
                    given = ", ".join(map(in_short, arguments)) or "nothing"
                    return self._result(Outcome.WRONG, f"given     {given}\n{wrong}")
        if answers.error:
            return self._result(Outcome.ERROR, answers.error)
        if len(answers.values) != len(expected):
            return self._result(Outcome.WRONG, f"{len(answers.values)} answers to {len(expected)} cases")
        return self._result(Outcome.RIGHT, "")

    def _result(self, outcome: Outcome, message: str) -> Result:
        return Result(self.name, outcome, shortened(message, LONGEST_MESSAGE), self.hints)

    def _fault(self, right: Any, value: Any) -> str:
        """What is wrong with an answer; it may be anything, also what its comparison cannot bear."""
        if value is None:
            return "got       None: is there a return at the end of the function?"
        try:
            wrong = self.compare(right, value)
        except TinylabError as error:  # an answer that our own tools refuse says why
            return f"got       {in_short(value)}\n{error}"
        except Exception as error:
            return f"got       {in_short(value)}, which cannot be compared\n{error_in_short(error)}"
        return f"{wrong}\n{value.remark}".rstrip() if wrong and isinstance(value, Foreign) else wrong


@dataclass(frozen=True)
class Right:
    """The right answer to a case, and what typical mistakes make of it, by what to say about them."""

    answer: Any
    mistakes: Mapping[str, Any] = field(default_factory=dict)

    def recognized(self, got: Any, same: Callable[[Any, Any], bool] = np.array_equal) -> str:
        """What to say about an answer that is one of the mistakes; "" if it is none.

        Args:
            same: whether an answer and a mistake are the same; otherwise both are arrays.
        """
        hits = (remark for remark, mistake in self.mistakes.items() if same(got, mistake))
        remark = next(hits, "")
        return f"\nperhaps   {remark}" if remark else ""


def exactly(expected: Any, got: Any) -> str:
    """Compare for equality; True and 1 are not the same."""
    if isinstance(got, np.generic):
        got = got.item()
    return "" if type(got) is type(expected) and got == expected else _differs(expected, got)


def whole_number(expected: Right, got: Any) -> str:
    """Compare with a whole number; only an integer is equal to it."""
    got = got.item() if isinstance(got, np.generic) else got
    if type(got) is int and got == expected.answer:
        return ""
    shown = f"{got:,}" if type(got) is int else f"{type(got).__name__} {got!r:.100}"
    remark = "\nperhaps   a whole number, as an int" if got == expected.answer else expected.recognized(got)
    return f"expected  {expected.answer:,}\ngot       {shown}{remark}"


def near(tolerance: float) -> Callable[[Right, Any], str]:
    """Compare with a number: no further off than `tolerance`, or than so large a share of it."""

    def compare(expected: Right, got: Any) -> str:
        try:
            number = float(got)
        except (TypeError, ValueError):
            return f"expected  a number\ngot       {type(got).__name__}"
        if math.isclose(number, expected.answer, rel_tol=tolerance, abs_tol=tolerance):
            return ""
        text = f"expected  {expected.answer:.4f}\ngot       {number:.4f}"
        return text + expected.recognized(number, functools.partial(math.isclose, rel_tol=tolerance))

    return compare


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
    return f"expected  {in_short(expected)}\ngot       {in_short(got)}"
