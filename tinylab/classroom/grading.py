"""One notebook's grade: its cells run and its functions called behind the wall, its answers judged outside.

Whatever ends or blocks the process, a cell or a function, is left out, and the rest is run again in a new
one: a learner loses the points of that task only.
"""

import atexit
import contextlib
import itertools
import json
import re
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from tinylab.check import exchange
from tinylab.check.task import Answers
from tinylab.classroom.collection import cells
from tinylab.classroom.exercises import Exercise, exercises
from tinylab.classroom.judge import Judge
from tinylab.classroom.report import Report
from tinylab.classroom.sandbox import Limits, Run, Sandbox
from tinylab.errors import TinylabError

IMPORT = re.compile(
    r"^\s*(?:from\s+(?P<package>tinylab[\w.]*)\s+import\s+(?P<names>[\w, ]+)"
    r"|import\s+(?P<module>tinylab\.[\w.]+))",
    re.MULTILINE,
)
OWN_CHECKS = re.compile(r"exercise_\d\d")
MOST_LEFT_OUT = 10  # cells and functions; then the rest of the notebook is not tried any more


def grade_notebook(content: bytes, exercise: str, seed: int, limits: Limits) -> Report:
    """Grade a notebook that was handed in.

    What an exercise needs is kept until no thread grades it any more: grade all notebooks of an exercise
    in a row, and call `close` when done.

    Args:
        content: of the file; `collection.exercise_of` must have found the exercise in it.
        exercise: its name, "05_quantization_arithmetic".
        seed: of the cases.
        limits: what the notebook may take.

    Raises:
        DataError: it is no notebook. Whatever it does when it runs raises nothing.
        TinylabError: our own processes cannot be started, or end before the notebook begins.
    """
    asked, room = exercises()[exercise], _room(exercise, seed, limits)
    read = cells(content)
    sources = dict(enumerate((source for kind, source in read if kind == "code"), 1))
    answers, outputs, remarks = _answers(room, sources)
    remarks = [*_foreign_imports(asked, sources), *remarks]
    with room.judge() as judge:
        tasks = tuple(judge.judge(task, answers[task]) for task in asked.tasks)
    return Report(exercise, tasks, tuple(remarks), _executed(read, outputs))


def close() -> None:
    """End all processes that `grade_notebook` has left waiting for the next notebook."""
    with _lock:
        while _rooms:
            _rooms.popitem()[1].close()
        _used.clear()


# Where notebooks of an exercise are graded


class _Room:
    """A sandbox, and judges: as many as are at work at the same time."""

    def __init__(self, exercise: str, seed: int, limits: Limits):
        self._exercise, self._seed = exercises()[exercise], seed
        self.sandbox = Sandbox(self._exercise, limits)
        self._lock, self._idle, self._cases = threading.Lock(), [], {}

    @property
    def cases(self) -> dict[str, bytes]:
        """Pickled (cases, call) of each task, by its name; made once."""
        with self._lock:
            if not self._cases:
                judge = Judge(self._exercise, self._seed)
                self._idle.append(judge)
                self._cases = judge.cases()
        return self._cases

    @contextlib.contextmanager
    def judge(self) -> Iterator[Judge]:
        """A judge who has nothing else to do."""
        with self._lock:
            judge = self._idle.pop() if self._idle else Judge(self._exercise, self._seed)
        try:
            yield judge
        finally:
            with self._lock:
                self._idle.append(judge)

    def close(self) -> None:
        """End its processes."""
        self.sandbox.close()
        for judge in self._idle:
            judge.close()


_lock = threading.Lock()
_rooms: dict[tuple[str, int, Limits], _Room] = {}
_used: dict[int, tuple[str, int, Limits]] = {}  # by each thread
atexit.register(close)


def _room(*key: Any) -> _Room:
    """The room for this exercise, seed and limits; those that no thread uses any more are closed."""
    with _lock:
        _used[threading.get_ident()] = key
        for other in _rooms.keys() - set(_used.values()):
            _rooms.pop(other).close()
        if key not in _rooms:
            _rooms[key] = _Room(*key)
        return _rooms[key]


# Running


def _answers(
    room: _Room, sources: dict[int, str]
) -> tuple[dict[str, bytes], dict[int, list[dict]], list[str]]:
    """What each task's function answered, what each cell showed, and what had to be left out."""
    left, tasks, limits = dict(sources), dict(room.cases), room.sandbox.limits
    answers: dict[str, bytes] = {}
    outputs: dict[int, list[dict]] = {}
    remarks: list[str] = []
    over = time.monotonic() + limits.seconds * limits.times
    why = "not called: too much had to be left out of this notebook"
    while len(remarks) < MOST_LEFT_OUT:
        run = room.sandbox.run(left, tasks, over - time.monotonic())
        if run.stopped and run.step == "start":  # nothing of the notebook's has run yet
            raise TinylabError(f"the process that notebooks are run in {run.stopped}.")
        outputs |= run.outputs
        answers |= {name: run.answers[name] for name in tasks.keys() & run.answers.keys()}
        tasks = {name: cases for name, cases in tasks.items() if name not in answers}
        if not run.stopped or not tasks:
            break
        culprit = _culprit(run, left, tasks)
        if culprit is None or time.monotonic() > over:
            why = f"not called: the notebook {run.stopped}"
            remarks.append(f"the notebook {run.stopped}")
            break
        remarks.append(f"{culprit} {run.stopped}, and was left out")
        if culprit in tasks:
            tasks.pop(culprit)
            answers[culprit] = exchange.dump(Answers([], f"the function {run.stopped}"))
        else:
            number = int(culprit.removeprefix("cell "))
            left.pop(number)
            outputs[number] = [_said(f"This cell {run.stopped}, and was left out.")]
    for name in tasks:
        answers[name] = exchange.dump(Answers([], why))
    return answers, outputs, remarks


def _culprit(run: Run, cells: dict[int, str], tasks: dict[str, bytes]) -> str | None:
    """The cell or function at which a run stopped; None if there is no such one."""
    steps = [*(f"cell {number}" for number in cells), *tasks]
    return run.step if run.step in steps else None


def _foreign_imports(exercise: Exercise, sources: dict[int, str]) -> list[str]:
    """A remark if a notebook uses more of tinylab than the exercise does."""
    found = sorted(_parts_used(sources.values()) - _parts_used(exercise.sources))
    return [f"imports {', '.join(found)}, which the exercise does not"] if found else []


def _parts_used(sources: Iterable[str]) -> set[str]:
    """The modules of tinylab's that cells import, by their text: parsing a stranger's code can crash."""
    found = set()
    for match in itertools.chain.from_iterable(map(IMPORT.finditer, sources)):
        names = [name.split()[0] for name in (match["names"] or "").split(",") if name.strip()]
        if match["package"] == "tinylab":
            found |= {f"tinylab.{name}" for name in names}
        elif not (match["package"] == "tinylab.check" and all(map(OWN_CHECKS.fullmatch, names))):
            found.add(match["package"] or match["module"])
    return found


# The notebook as executed


def _said(text: str) -> dict:
    return {"output_type": "stream", "name": "stderr", "text": text}


def _executed(read: Iterable[tuple[str, str]], outputs: dict[int, list[dict]]) -> str:
    """As JSON in nbformat 4; of the notebook that was handed in, nothing but kinds and sources of cells."""
    made, number = [], 0
    for kind, source in read:
        kind = kind if kind in ("code", "raw") else "markdown"
        cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source}
        if kind == "code":
            number += 1
            cell["outputs"] = outputs.get(number, [_said("This cell was not run.")])
            cell["execution_count"] = number if number in outputs else None
        made.append(cell)
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": made})
