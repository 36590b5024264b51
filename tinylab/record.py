"""The learner's own record: which tasks are done, tried or open, in one small file on this machine.

A check in a notebook calls `keep`, which never raises, prints nothing, and seldom writes: a state only goes
up, from open to tried to done. So two notebooks that write at once need only take turns, and a task that
was right once stays done. Nothing is sent anywhere.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import pandas as pd
import platformdirs

from tinylab import whole_file
from tinylab.classroom.exercises import exercises
from tinylab.course import LESSONS, Lesson, leading_to
from tinylab.errors import DataError

STATES = DONE, TRIED, OPEN = "done", "tried", "open"
PLACE, OFF = "TINYLAB_PROGRESS", "off"  # the environment variable; what it says where nothing is to be kept
FORMAT = "tinylab progress"
MOST_BYTES = 100_000  # with every task done, the file has less than a fortieth of that
LOCK_SECONDS = 5.0  # a turn takes a few milliseconds, on a machine that is very busy a second

States = dict[str, dict[str, str]]  # of an exercise, of a task


class _Damaged(Exception):
    """The file is cut short, or was never written by `keep`."""


@dataclass(frozen=True)
class Progress:
    """What is known of the learner's work.

    Attributes:
        states: DONE, TRIED or OPEN, of every task of every exercise, in the order of the course.
        note: where the record is kept, or why nothing is; and what was lost, if anything.
    """

    states: States
    note: str

    @property
    def table(self) -> pd.DataFrame:
        """A row an exercise: how many tasks it has, how many are in each state, and the first not done."""
        rows = {
            exercise: {
                "tasks": len(states),
                **{state: list(states.values()).count(state) for state in STATES},
                "next task": _first_not_done(states),
            }
            for exercise, states in self.states.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("exercise")

    @property
    def next(self) -> str:
        """What comes next, in a sentence: an exercise begun goes before one that is untouched."""
        unfinished = {name: states for name, states in self.states.items() if _first_not_done(states)}
        if not unfinished:
            return f"Every task is done. Next: {_named(LESSONS[-1])}."
        begun = (name for name, states in unfinished.items() if set(states.values()) != {OPEN})
        exercise = next(begun, next(iter(unfinished)))
        task, place = _first_not_done(unfinished[exercise]), f"exercises/{exercise}.ipynb"
        if set(unfinished[exercise].values()) == {OPEN}:
            lessons = ", ".join(_named(lesson) for lesson in leading_to(exercise))
            return f"Next: {lessons}; then the exercise {place}, which begins with {task}."
        tried = " (tried, not right yet)" if unfinished[exercise][task] == TRIED else ""
        return f"Next: {task}{tried} in {place}."


def _first_not_done(states: dict[str, str]) -> str:
    return next((task for task, state in states.items() if state != DONE), "")


def _named(lesson: Lesson) -> str:
    return f"lesson {lesson.name[:2]} · {lesson.title}"


def place() -> Path:
    """The file of the record: what TINYLAB_PROGRESS names, or one in the user's folder for such data.

    Raises:
        DataError: TINYLAB_PROGRESS is "off", or no full path; or this user has no home folder.
    """
    named = os.environ.get(PLACE)
    if named == OFF:
        raise DataError(f"the environment variable {PLACE} is {OFF}.")
    path = Path(named or Path(platformdirs.user_data_dir("tinylab"), "progress.json"))
    if not path.is_absolute():  # without a home folder, it begins with "~"
        raise DataError(f"{path} is no full path: set the environment variable {PLACE} to that of a file.")
    return path


def keep(number: str, task: str, done: bool) -> None:
    """Keep that a task of exercise `number` ("05") was tried, and whether it was right. Never raises."""
    # a check shows its result whatever happens here; `read` says what is wrong
    with contextlib.suppress(Exception):
        path, state = place(), DONE if done else TRIED
        exercise = next(exercise for exercise in exercises().values() if exercise.name[:2] == number)
        with contextlib.suppress(_Damaged):
            if _load(path).get(exercise.name, {}).get(task) in (state, DONE):
                return
        if task in exercise.tasks:
            with _changing(path) as states:
                tasks = states.setdefault(exercise.name, {})
                if tasks.get(task) != DONE:  # asked again: another notebook may just have done it
                    tasks[task] = state


def read() -> Progress:
    """What is known of the learner's work, and whether what comes will be kept.

    Raises:
        DataError: this installation lacks the exercises.
    """
    states: States = {}
    try:
        path = place()
        with contextlib.suppress(_Damaged):
            states = _load(path)
        with _changing(path):
            pass  # written back as it is: nothing less shows that the next check can be kept
        note = _note(path)
    except Exception as error:
        reason = f"{error.filename}: {error.strerror}" if getattr(error, "strerror", None) else error
        note = f"Nothing is kept: {reason}"
    every = {
        name: {task: states.get(name, {}).get(task, OPEN) for task in exercise.tasks}
        for name, exercise in exercises().items()
    }
    return Progress(every, note)


def _note(path: Path) -> str:
    in_colab = "COLAB_RELEASE_TAG" in os.environ
    note = f"Kept only {'as long as this Colab session' if in_colab else 'on this machine'}: {path}"
    if _aside(path).exists():
        note += (
            f"\nAn earlier record was damaged, and is now {_aside(path)}: "
            "run your check cells again, then delete that file."
        )
    return note


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[States]:
    """The states as they are in the file, which is replaced when the block ends; one process at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{path}.lock", timeout=LOCK_SECONDS, poll_interval=0.01):
        try:
            states = _load(path)
        except _Damaged:
            path.replace(_aside(path))
            states = {}
        yield states
        whole_file.write(path, json.dumps({"format": FORMAT, "exercises": states}, indent=1).encode())


def _load(path: Path) -> States:
    """The states in a file; names and states that this version of the course lacks are left out.

    Raises:
        _Damaged: nothing that `keep` wrote.
        OSError: it cannot be read, or is no file.
    """
    if not path.exists():
        return {}
    if not path.is_file():
        raise DataError(f"{path} is no ordinary file: set the environment variable {PLACE} to another one.")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    try:
        written = json.loads(content)
        if len(content) > MOST_BYTES or written["format"] != FORMAT:
            raise _Damaged
        kept = written["exercises"]
        return {
            name: {task: kept[name][task] for task in known.tasks if kept[name].get(task) in (DONE, TRIED)}
            for name, known in exercises().items()
            if name in kept
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _Damaged from None
