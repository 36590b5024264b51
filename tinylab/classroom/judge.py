"""Outside the wall: makes the cases of an exercise, and compares answers with the references.

In a process of its own, because what it compares was made by strangers: an answer that crashes LiteRT, or
takes for ever, costs this process and nothing else. And behind a wall of its own, for the same reason.
"""

import contextlib
import importlib
import os
import pickle
import shutil
import subprocess
import sys
import threading
from typing import IO, Any

from tinylab.check import exchange
from tinylab.check.task import Answers, Outcome, Result, Task
from tinylab.classroom import confinement, sandbox, view
from tinylab.classroom.exercises import Exercise
from tinylab.classroom.report import TaskReport
from tinylab.errors import DataError, TinylabError

SECONDS = 300  # to compare the answers of one task, or to make the cases of all
MEMORY = 8 << 30  # bytes
MOST_DISK = 1 << 30  # bytes


class Judge:
    """The process that knows what is right, for one exercise and one seed. Close it when done."""

    def __init__(self, exercise: Exercise, seed: int):
        self._exercise, self._seed = exercise, seed
        self._process: subprocess.Popen | None = None
        self._scratch = sandbox.new_folder()

    def cases(self) -> dict[str, bytes]:
        """Pickled (cases, call) of each task, by its name.

        Raises:
            TinylabError: they cannot be made: no fault of a notebook's.
        """
        cases = self._ask("cases")
        if not isinstance(cases, dict):
            raise TinylabError(f"the cases of exercise {self._exercise.name} cannot be made.")
        return cases

    def judge(self, task: str, answers: bytes) -> TaskReport:
        """Compare what a learner's process sent with what is right."""
        judged = self._ask("judge", task, answers)
        if isinstance(judged, TaskReport):
            return judged
        return TaskReport(task, Outcome.WRONG, "the check could not get to the end with this answer")

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _ask(self, *request: Any) -> Any:
        """An answer; None if a process died of the question twice, or did not answer in time."""
        answer = self._ask_once(request)
        return self._ask_once(request) if answer is None else answer  # it may have been killed meanwhile

    def _ask_once(self, request: tuple) -> Any:
        if self._process and self._process.poll() is not None:  # it ends with the thread that started it
            self._process = None
        process = self._process = self._process or self._started()
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        try:
            pickle.dump(request, process.stdin)
            process.stdin.flush()
            return pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            self.close()
            return None
        finally:
            timer.cancel()

    def _started(self) -> subprocess.Popen:
        package, scratch = str(view.PACKAGE), str(self._scratch)
        self._scratch.mkdir(exist_ok=True)
        wall = sandbox.wall([*sandbox.python_folders(), package], [], scratch, MOST_DISK)
        command = [sys.executable, "-m", "tinylab.classroom.judge", self._exercise.check, str(self._seed)]
        return subprocess.Popen(
            [*wall, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=confinement.environment(scratch, str(view.PACKAGE.parent), sandbox.ENVIRONMENT),
            cwd=scratch,
        )


def main() -> None:
    """Answer requests from standard input on standard output, until there are no more."""
    check, seed = sys.argv[1], int(sys.argv[2])
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    confinement.die_with_parent()
    confinement.limit(MEMORY)
    module = importlib.import_module(f"tinylab.check.{check}")
    tasks = {task.name: task for task in vars(module).values() if isinstance(task, Task)}
    expected: dict[str, Any] = {}
    with contextlib.suppress(EOFError):
        while True:
            _answer(pickle.load(requests), answers, tasks, expected, seed)


def _answer(
    request: tuple, answers: IO[bytes], tasks: dict[str, Task], expected: dict[str, Any], seed: int
) -> None:
    if request[0] == "cases":
        expected |= {name: task.expected(seed) for name, task in tasks.items()}
        found: Any = {
            name: pickle.dumps(([arguments for arguments, _ in expected[name]], task.call))
            for name, task in tasks.items()
        }
    else:
        _, name, content = request
        result = _judged(tasks[name], content, expected.get(name) or tasks[name].expected(seed))
        found = TaskReport(name, result.outcome, result.message, result.hints)
    pickle.dump(found, answers)
    answers.flush()


def _judged(task: Task, content: bytes, expected: Any) -> Result:
    try:
        given = exchange.load(content)
    except DataError as error:
        given = Answers([], str(error))
    return task.judge_against(given, expected)


if __name__ == "__main__":
    main()
