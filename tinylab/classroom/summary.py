"""What became of a class: per exercise, which tasks were hard, and which mistakes were common."""

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tinylab.check.task import Outcome
from tinylab.classroom.report import Report, TaskReport
from tinylab.palette import BLUE, HATCHES, ORANGE, PALETTE

LOOKS = {  # colour and hatch, from right to not attempted
    Outcome.RIGHT: (BLUE, HATCHES[0]),
    Outcome.WRONG: (ORANGE, HATCHES[1]),
    Outcome.ERROR: (PALETTE[5], HATCHES[4]),
    Outcome.NOT_ATTEMPTED: ("#dddddd", HATCHES[0]),
}
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d_,.]*(?:e[-+]?\d+)?\b", re.IGNORECASE)
MOST_LETTERS = 160  # of a mistake; an error's text may be anything
MOST_MISTAKES = 10  # that are shown of an exercise


@dataclass(frozen=True)
class Mistake:
    """One that several students may have made.

    Attributes:
        task: in which.
        text: what a check, or Python, says about it.
        students: how many made it.
    """

    task: str
    text: str
    students: int


@dataclass(frozen=True)
class ExerciseSummary:
    """One exercise in a class.

    Attributes:
        name: "05_quantization_arithmetic".
        students: how many handed it in.
        points: of all of them together.
        possible: points that one of them may have.
        outcomes: number of students by outcome, by task.
        mistakes: the most common first.
    """

    name: str
    students: int
    points: int
    possible: int
    outcomes: dict[str, dict[Outcome, int]]
    mistakes: tuple[Mistake, ...]

    @property
    def in_words(self) -> str:
        """Which tasks are hard."""
        right = {task: counts[Outcome.RIGHT] for task, counts in self.outcomes.items()}
        order = sorted(right, key=right.get)
        told = [f"{task} ({right[task]} of {self.students})" for task in order]
        hard = [words for task, words in zip(order, told, strict=True) if 2 * right[task] < self.students]
        if hard:
            return f"Hard, right in fewer than half of the notebooks: {', '.join(hard)}."
        if sum(right.values()) == self.students * len(right):
            return "Every task is right in every notebook."
        return f"Every task is right in at least half of the notebooks; in the fewest: {told[0]}."

    @property
    def drawing(self) -> bytes:
        """A bar a task, cut by outcome: SVG, the same for the same numbers."""
        import matplotlib
        from matplotlib.figure import Figure

        tasks = list(self.outcomes)[::-1]
        # Text stays text, in the reader's own font, and no id is random.
        settings = {"svg.fonttype": "none", "svg.hashsalt": "tinylab", "hatch.linewidth": 0.6}
        with matplotlib.rc_context(settings):
            figure = Figure(figsize=(8, 1.1 + 0.34 * len(tasks)), facecolor="white", layout="constrained")
            axes = figure.subplots()
            start = [0] * len(tasks)
            for outcome, (colour, hatch) in LOOKS.items():
                sizes = [self.outcomes[task][outcome] for task in tasks]
                look = {"color": colour, "hatch": hatch, "edgecolor": "white", "height": 0.75}
                bars = axes.barh(tasks, sizes, left=start, label=outcome.value, **look)
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.9}
                labels = [str(size) if size else "" for size in sizes]
                for text in axes.bar_label(bars, labels, label_type="center", fontsize=9):
                    if text.get_text():
                        text.set_bbox(box)
                start = [left + size for left, size in zip(start, sizes, strict=True)]
            axes.set(xlabel="students", xlim=(0, max(self.students, 1)))
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.spines[["top", "right"]].set_visible(False)
            figure.legend(frameon=False, fontsize=9, ncols=4, loc="outside upper left")
            drawn = io.BytesIO()
            figure.savefig(drawn, format="svg", metadata={"Date": None})
        return drawn.getvalue()


def summarize(reports: Sequence[Report]) -> list[ExerciseSummary]:
    """One summary an exercise, in the order of the course.

    Args:
        reports: the ones that count, one a student and exercise.
    """
    by_exercise = defaultdict(list)
    for report in reports:
        by_exercise[report.exercise].append(report)
    return [_summary(name, by_exercise[name]) for name in sorted(by_exercise)]


def _summary(name: str, reports: Sequence[Report]) -> ExerciseSummary:
    outcomes: dict[str, dict[Outcome, int]] = {}
    for task in (task for report in reports for task in report.tasks):
        outcomes.setdefault(task.task, dict.fromkeys(Outcome, 0))[task.outcome] += 1
    points = sum(report.points for report in reports)
    return ExerciseSummary(name, len(reports), points, len(outcomes), outcomes, _mistakes(reports))


def _mistakes(reports: Sequence[Report]) -> tuple[Mistake, ...]:
    """Those that differ in numbers only are one."""
    texts = defaultdict(list)
    for task in (task for report in reports for task in report.tasks):
        if text := mistake(task):
            texts[task.task, generalized(text)].append(text)
    found = [
        Mistake(task, same[0] if len(set(same)) == 1 else general, len(same))
        for (task, general), same in texts.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.students, one.task, one.text))[:MOST_MISTAKES])


def generalized(text: str) -> str:
    """A text with its numbers left out.

    >>> generalized("cell 3 ended the process")
    'cell … ended the process'
    """
    return NUMBER.sub("…", text)


def mistake(task: TaskReport) -> str:
    """What went wrong, in a line; "" if nothing did.

    >>> mistake(TaskReport("f", Outcome.WRONG, "expected  6\\ngot       5\\nperhaps   not rounded?"))
    'not rounded?'
    >>> mistake(TaskReport("f", Outcome.WRONG, "given     3\\nexpected  int8\\ngot       int64"))
    'expected int8, got int64'
    """
    if task.outcome not in (Outcome.WRONG, Outcome.ERROR):
        return ""
    said = _labelled(task.message)
    if task.outcome is Outcome.ERROR or not said.keys() & {"perhaps", "expected", "got"}:
        text = task.message.strip().split("\n")[0]
    elif "perhaps" in said:
        text = said["perhaps"]
    elif said.get("got", "").startswith("None:"):
        text = "None: no return?"
    else:
        text = ", ".join(f"{label} {said[label]}" for label in ("expected", "got") if label in said)
        if not re.search(r"[a-z]{3}", re.sub("expected|got|nan|inf|array", "", generalized(text).lower())):
            text = "other values than expected"
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"


def _labelled(message: str) -> dict[str, str]:
    """The parts of a check's message: given, expected, got, perhaps; the first of each counts."""
    parts: dict[str, str] = {}
    for line in message.splitlines():
        label, _, rest = line.partition(" ")
        parts.setdefault(label, rest.strip())
    return {label: rest for label, rest in parts.items() if rest}
