"""What is known about a notebook that was handed in: whose it is, and what came of each task."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from tinylab.check.task import Outcome

SAME_FILE = "the same file, byte for byte, as that of"  # a remark for teachers: it names other learners


@dataclass(frozen=True)
class TaskReport:
    """What came of one task.

    Attributes:
        task: name of the learner's function.
        outcome: one of the four.
        message: the error, or the first case whose answer differs; "" if right.
        hints: of the task, in steps.
    """

    task: str
    outcome: Outcome
    message: str = ""
    hints: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        """1 if right, else 0."""
        return int(self.outcome is Outcome.RIGHT)


@dataclass(frozen=True)
class Report:
    """What came of one notebook.

    Attributes:
        exercise: its name, "05_quantization_arithmetic".
        tasks: all tasks of the exercise, in their order.
        remarks: what teacher and learner should know: "cell 3 ended the process, and was left out".
        notebook: the notebook as executed, JSON in nbformat 4; "" if it could not be run.
    """

    exercise: str
    tasks: tuple[TaskReport, ...]
    remarks: tuple[str, ...] = ()
    notebook: str = ""

    @property
    def points(self) -> int:
        """Of all its tasks."""
        return sum(task.points for task in self.tasks)

    def to_json(self) -> str:
        """The same, as text."""
        return json.dumps(asdict(self), default=lambda outcome: outcome.name)

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """What `to_json` wrote; anything else raises ValueError, KeyError or TypeError."""
        read: dict[str, Any] = json.loads(text)
        tasks = tuple(
            TaskReport(t["task"], Outcome[t["outcome"]], t["message"], tuple(t["hints"]))
            for t in read["tasks"]
        )
        return cls(read["exercise"], tasks, tuple(read["remarks"]), read["notebook"])


@dataclass(frozen=True)
class Graded:
    """One file that was handed in, and what came of it.

    Attributes:
        student: name, as the folder, the file or the learning management system tells it.
        id: the number that a learning management system gave the student; "" if none.
        file: its path inside the submissions, for people to find it.
        exercise: which one it is; "" if none.
        report: what came of it; None if it could not be graded.
        problem: why it could not be graded; "" if it was.
        counts: False if a better one of the same student and exercise counts in its place.
    """

    student: str
    id: str
    file: str
    exercise: str = ""
    report: Report | None = None
    problem: str = ""
    counts: bool = True
