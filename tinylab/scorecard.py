"""Is a model ready for a board? What it has to do, what it does, and points for how near it comes.

    scorecard(float_file, int8_file, x, labels, Budget(board="Arduino Nano 33 BLE Sense", accuracy=0.85))

POINTS says what each criterion is worth. Those that the budget does not ask, or that cannot be tried on
this machine, drop out, and the others are worth more, so that there are always 100 in all. Points are
given in part:

- accuracy: from the share of the commonest class, which a model reaches that always answers the same, 0
  points, to the required one, all; in proportion between.
- flash, arena, latency: all up to the limit, 0 from twice the limit on; in proportion between.
- agreement: from what two models agree in that choose at random, each class as often as these do, to
  AGREEMENT; in proportion between.
- integers, TensorFlow Lite Micro: all or none.

The points of all but accuracy are multiplied by the share of its points that accuracy got: a model that
is small, fast and knows nothing gets none.

What counts is the class that is chosen on LiteRT's reference kernels, the yardstick of this course; a
sample for which the outputs hold NaN counts as wrong.
"""

import html
import math
import textwrap
from dataclasses import dataclass, replace
from numbers import Real
from os import PathLike

import numpy as np
import pandas as pd

from tinylab import arena, boards, measure, memory_plan, runners
from tinylab.affine import sqnr
from tinylab.boards import Board
from tinylab.errors import DataError, ModelFileError, TinylabError
from tinylab.precision import precision
from tinylab.runners import micro

Model = bytes | str | PathLike

KERNELS = "reference"
POINTS = {
    "accuracy": 40,
    "flash": 15,
    "arena": 15,
    "agreement with float32": 10,
    "integers throughout": 5,
    "runs on TFLM": 10,
    "latency, estimated": 5,
}
AGREEMENT = 0.95  # share of samples for which the int8 model has to choose what the float32 model chooses
TRIED = 8  # samples that TensorFlow Lite Micro has to answer


@dataclass(frozen=True)
class Budget:
    """What is asked of a model. What is None is not asked.

    Attributes:
        board: a board, or the name of one of `boards.BOARDS`.
        flash: most bytes of the file; the board's without `boards.INTERPRETER_FLASH` if not given.
        ram: most bytes of the arena; the board's if not given.
        accuracy: least share of right classes, 0 to 1; if not given, more than the commonest class has.
        milliseconds: most for one inference, estimated on the board.

    Raises:
        DataError: no such board, numbers out of their range, or milliseconds without a board for which
            they can be estimated.
    """

    board: Board | str | None = None
    flash: int | None = None
    ram: int | None = None
    accuracy: float | None = None
    milliseconds: float | None = None

    def __post_init__(self):
        if isinstance(self.board, str):
            if self.board not in boards.BOARDS:
                raise DataError(f"no board {self.board!r}: there are {', '.join(boards.BOARDS)}.")
            self._set("board", boards.BOARDS[self.board])
        for name in ("flash", "ram", "accuracy", "milliseconds"):
            value, most = getattr(self, name), 1 if name == "accuracy" else math.inf
            if value is not None and not (isinstance(value, Real) and 0 < value <= most):
                limit = " up to 1" if most == 1 else ""
                raise DataError(f"{name}={value!r}: a number above 0{limit} expected, or None.")
        if self.board and self.flash is None:
            self._set("flash", self.board.flash - boards.INTERPRETER_FLASH)
        if self.board and self.ram is None:
            self._set("ram", self.board.ram)
        if self.milliseconds and (not self.board or self.board.processor not in boards.MEASURED):
            raise DataError(
                f"milliseconds are estimated on a board with one of {', '.join(boards.MEASURED)}; "
                f"board={self.board.name if self.board else None!r} given."
            )

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Scorecard:
    """What a model has to do, what it does, and the points that it gets.

    Attributes:
        table: a row a criterion: measured and required, as texts; points, and `of` how many; passed, "yes",
            "no", "not asked" or "not tried"; remark, why, where that takes a sentence.
        note: how it was measured.
    """

    table: pd.DataFrame
    note: str

    @property
    def points(self) -> float:
        """The sum, 0 to 100."""
        return round(float(self.table["points"].sum()), 1)

    @property
    def passed(self) -> bool:
        """Whether everything that was asked was tried, and passed."""
        return self.verdict == "deployable"

    @property
    def verdict(self) -> str:
        """ "deployable", "not deployable", or "unproven" where nothing failed but something was not tried."""
        outcomes = set(self.table["passed"])
        if "no" in outcomes:
            return "not deployable"
        return "unproven" if "not tried" in outcomes else "deployable"

    @property
    def shown(self) -> pd.DataFrame:
        """The table with signs and rounded points; remarks have a place of their own."""
        signs = {"yes": "✓ yes", "no": "✗ no"}
        table = self.table.drop(columns="remark")
        for column in ("points", "of"):
            pairs = zip(table[column], table["of"], strict=True)
            table[column] = [f"{points:.1f}" if most else "" for points, most in pairs]
        return table.assign(passed=[signs.get(outcome, outcome) for outcome in table["passed"]])

    @property
    def _below(self) -> list[str]:
        """Everything that stands below the table, the verdict first."""
        remarks = [f"{name}: {remark}" for name, remark in self.table["remark"].items() if remark]
        return [f"{self.points:.1f} of 100 points: {self.verdict}", *remarks, self.note]

    def __repr__(self) -> str:
        return "\n".join([self.shown.to_string(), *(textwrap.fill(text, 100) for text in self._below)])

    def _repr_html_(self) -> str:
        verdict, *others = map(html.escape, self._below)
        paragraphs = [f"<b>{verdict}</b>", *others]
        return self.shown.to_html(justify="left") + "".join(f"<p>{text}</p>" for text in paragraphs)


@dataclass(frozen=True)
class _Row:
    """One criterion, as in the table, but for its points: share is what it gets of them, 0 to 1."""

    measured: str
    required: str
    share: float
    passed: str
    remark: str = ""


def scorecard(
    float_file: Model, int8_file: Model, x: np.ndarray, labels: np.ndarray, budget: Budget
) -> Scorecard:
    """Measure a model against a budget.

    Args:
        float_file: the model in float32, a .tflite file's bytes or path.
        int8_file: the model that is to be delivered.
        x: real numbers (N, ...), as the files take them, of samples that the model has not seen.
        labels: integers (N,), of two classes or more.
        budget: what is asked.

    Raises:
        DataError: samples or labels that do not fit, labels of one class only, a required accuracy that
            always answering the same reaches, a float_file that does not compute in float32, or two files
            with different outputs.
        ModelFileError: not a .tflite, or one that LiteRT cannot run.
    """
    if not precision(float_file).verdict.startswith("float32"):
        raise DataError(f"float_file: float32 expected, {precision(float_file).verdict} given.")
    labels = measure.checked_labels(x, labels)
    before, after = (runners.load(file, kernels=KERNELS).predict(x) for file in (float_file, int8_file))
    commonest = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    arena_row, micro_row = _on_micro(int8_file, x, budget.ram)
    size = measure.size(int8_file)
    rows = {
        "accuracy": _accuracy(measure.share(labels, measure.chosen(after)), commonest, budget.accuracy),
        "flash": _limited(f"{size:,} bytes", size, budget.flash, "bytes"),
        "arena": arena_row,
        "agreement with float32": _agreement(before, after),
        "integers throughout": _integers(int8_file),
        "runs on TFLM": micro_row,
        "latency, estimated": _latency(int8_file, budget),
    }
    return Scorecard(_graded(rows), _note(len(labels), commonest, budget))


def _graded(rows: dict[str, _Row]) -> pd.DataFrame:
    asked = sum(POINTS[name] for name, row in rows.items() if row.passed in ("yes", "no"))
    knows = rows["accuracy"].share
    made = {}
    for name, row in rows.items():
        most = 100 * POINTS[name] / asked if row.passed in ("yes", "no") else 0.0
        points = most * row.share * (1 if name == "accuracy" else knows)
        made[name] = {
            "measured": row.measured,
            "required": row.required,
            "points": points,
            "of": most,
            "passed": row.passed,
            "remark": row.remark,
        }
    return pd.DataFrame.from_dict(made, orient="index")


def _note(samples: int, commonest: float, budget: Budget) -> str:
    text = (
        f"{samples:,} samples; classes as {KERNELS} kernels of LiteRT choose them; the commonest class has "
        f"{commonest:.4f} of the samples, the accuracy that is worth no points. Other points are given in "
        "the share in which accuracy got its own."
    )
    return f"{text} Board: {budget.board.name}, {budget.board.processor}." if budget.board else text


# The criteria


def _accuracy(measured: float, commonest: float, required: float | None) -> _Row:
    if commonest == 1:
        raise DataError("labels: all of the same class; two classes or more expected.")
    if required is None:
        passed = measured > commonest
        return _Row(f"{measured:.4f}", f"more than {commonest:.4f}", float(passed), _yes(passed))
    if required <= commonest:
        raise DataError(
            f"accuracy={required}: more expected, because an answer that is always the same reaches "
            f"{commonest:.4f} with these labels."
        )
    way = (measured - commonest) / (required - commonest)
    return _Row(f"{measured:.4f}", f"at least {required:.4f}", _within(way), _yes(measured >= required))


def _limited(text: str, measured: float, most: float | None, unit: str) -> _Row:
    """A criterion where less is better."""
    if most is None:
        return _Row(text, "", 0.0, "not asked")
    return _Row(text, f"at most {most:,} {unit}", _within(2 - measured / most), _yes(measured <= most))


def _on_micro(model: Model, x: np.ndarray, most: int | None) -> tuple[_Row, _Row]:
    """The arena, and whether TensorFlow Lite Micro answers some samples."""
    if not micro.available():
        untried = "there is no package tflite-micro here: see tinylab doctor."
        return _planned(model, most), _Row("not tried here", "yes", 0.0, "not tried", untried)
    try:
        runners.load(model, engine="micro").predict(x[:TRIED])
        total = arena.measure(model).total
    except TinylabError as error:
        none = _limited("none", math.inf, most, "bytes")
        return none, _Row("no", "yes", 0.0, "no", str(error))
    return _limited(f"{total:,} bytes", total, most, "bytes"), _Row("yes", "yes", 1.0, "yes")


def _planned(model: Model, most: int | None) -> _Row:
    """The arena where nothing can measure it: a lower bound can fail, and cannot pass."""
    try:
        size = memory_plan.plan(model).size
    except ModelFileError:
        raise
    except TinylabError as error:
        return _Row("unknown", "", 0.0, "not tried" if most else "not asked", str(error))
    row = _limited(f"more than {size:,} bytes", size, most, "bytes")
    row = replace(row, remark="its tensors alone, planned from the file: bookkeeping comes on top.")
    return replace(row, passed="not tried") if row.passed == "yes" else row


def _agreement(before: np.ndarray, after: np.ndarray) -> _Row:
    first, second = measure.chosen(before), measure.chosen(after)
    if before.shape != after.shape:
        raise DataError(f"outputs {before.shape} and {after.shape}: two files of the same model expected.")
    agreed = measure.share(first, second)
    classes = np.unique(first)
    chance = float(sum(np.mean(first == c) * np.mean(second == c) for c in classes))
    passed = agreed >= AGREEMENT and agreed > chance  # two models that always answer the same have chance 1
    part = (agreed - chance) / (AGREEMENT - chance) if chance < AGREEMENT else float(passed)
    text = f"{agreed:.4f}"
    if np.isfinite(before).all() and np.isfinite(after).all():
        text += f" (SQNR {sqnr(before, after):.1f} dB)"
    return _Row(text, f"at least {AGREEMENT:.4f}", _within(part), _yes(passed))


def _integers(model: Model) -> _Row:
    verdict = precision(model).verdict
    passed = verdict.startswith(("all integer", "integer inside"))
    return _Row(_yes(passed), "yes", float(passed), _yes(passed), "" if passed else verdict)


def _latency(model: Model, budget: Budget) -> _Row:
    if not budget.board:
        return _Row("", "", 0.0, "not asked")
    estimate = boards.estimated_ms(model, budget.board)
    if math.isnan(estimate):
        row = _limited("none", math.inf, budget.milliseconds, "ms")
        return replace(row, remark="there are measured cycles for layers in int8 only, on some processors.")
    return _limited(f"{estimate:.3g} ms", estimate, budget.milliseconds, "ms")


def _within(part: float) -> float:
    return min(max(part, 0.0), 1.0)


def _yes(passed: bool) -> str:
    return "yes" if passed else "no"
