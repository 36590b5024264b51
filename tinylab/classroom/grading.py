"""One notebook's grade: its cells run and its functions called behind the wall, its answers judged outside.

Whatever ends or blocks the process, a cell or a function, is left out, and the rest is run again in a new
one: a learner loses the points of that task only.
"""

import atexit
import json
import threading
import time

import nbformat
from nbformat import NotebookNode

from tinylab.check import exchange
from tinylab.check.task import Answers
from tinylab.classroom import view
from tinylab.classroom.exercises import Exercise, exercises
from tinylab.classroom.judge import Judge
from tinylab.classroom.report import Report
from tinylab.classroom.sandbox import Limits, Run, Sandbox

MOST_LEFT_OUT = 10  # cells and functions; then the rest of the notebook is not tried any more


def grade_notebook(content: bytes, exercise: str, seed: int, limits: Limits) -> Report:
    """Grade a notebook that was handed in.

    A thread keeps what it needs for an exercise until it is given another one: grade all notebooks of an
    exercise in a row, and call `close` when done.

    Args:
        content: of the file; `collection.exercise_of` must have found the exercise in it.
        exercise: its name, "05_quantization_arithmetic".
        seed: of the cases.
        limits: what the notebook may take.

    Raises:
        TinylabError: our own processes cannot be started. Whatever the notebook does raises nothing.
    """
    asked, desk = exercises()[exercise], _desk(exercise, seed, limits)
    read = nbformat.reader.reads(content.decode("utf-8-sig", errors="replace"))
    notebook = nbformat.convert(read, 4)  # unlike nbformat.reads, without a word about what is not valid
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    sources = {number: str(cell.source) for number, cell in enumerate(code, 1)}
    answers, outputs, remarks = _answers(desk, sources, limits)
    remarks = [*_foreign_imports(asked, sources), *remarks]
    tasks = tuple(desk.judge.judge(task, answers[task]) for task in asked.tasks)
    return Report(exercise, tasks, tuple(remarks), _executed(notebook, outputs))


def close() -> None:
    """End all processes that `grade_notebook` has left waiting for the next notebook."""
    with _lock:
        for desk in _desks.values():
            desk.close()
        _desks.clear()
        for sandbox in _sandboxes.values():
            sandbox.close()
        _sandboxes.clear()


# What a thread works with


class _Desk:
    """A judge of a thread's own, and the sandbox that it shares with the others."""

    def __init__(self, exercise: str, seed: int, limits: Limits, sandbox: Sandbox):
        self.key = exercise, seed, limits
        self.judge, self.sandbox = Judge(exercises()[exercise], seed), sandbox

    def close(self) -> None:
        self.judge.close()


_lock = threading.Lock()
_desks: dict[int, _Desk] = {}  # by thread
_sandboxes: dict[tuple[str, Limits], Sandbox] = {}
atexit.register(close)


def _desk(exercise: str, seed: int, limits: Limits) -> _Desk:
    thread = threading.get_ident()
    with _lock:
        desk = _desks.get(thread)
        if desk and desk.key == (exercise, seed, limits):
            return desk
        if desk:
            desk.close()
        sandbox = _sandboxes.get((exercise, limits))
        sandbox = sandbox or Sandbox(exercises()[exercise], limits)
        _sandboxes[exercise, limits] = sandbox
        _desks[thread] = _Desk(exercise, seed, limits, sandbox)
        used = {id(one.sandbox) for one in _desks.values()}
        for key in [key for key, one in _sandboxes.items() if id(one) not in used]:
            _sandboxes.pop(key).close()
        return _desks[thread]


# Running


def _answers(
    desk: _Desk, sources: dict[int, str], limits: Limits
) -> tuple[dict[str, bytes], dict[int, list[dict]], list[str]]:
    """What each task's function answered, what each cell showed, and what had to be left out."""
    cells, tasks = dict(sources), dict(desk.judge.cases())
    answers: dict[str, bytes] = {}
    outputs: dict[int, list[dict]] = {}
    remarks: list[str] = []
    over = time.monotonic() + limits.seconds * limits.times
    why = "not called: too much had to be left out of this notebook"
    while len(remarks) < MOST_LEFT_OUT:
        run = desk.sandbox.run(cells, tasks, over - time.monotonic())
        outputs |= run.outputs
        answers |= {name: run.answers[name] for name in tasks.keys() & run.answers.keys()}
        tasks = {name: cases for name, cases in tasks.items() if name not in answers}
        if not run.stopped or not tasks:
            break
        culprit = _culprit(run, cells, tasks)
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
            cells.pop(number)
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
    imported = set(view.imported_modules(sources.values())) - set(view.imported_modules(exercise.sources))
    found = [name for name in sorted(imported) if name.split(".")[0] == "tinylab" and name != "tinylab"]
    return [f"imports {', '.join(found)}, which the exercise does not"] if found else []


# The notebook as executed


def _said(text: str) -> dict:
    return {"output_type": "stream", "name": "stderr", "text": text}


def _executed(notebook: NotebookNode, outputs: dict[int, list[dict]]) -> str:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        cell["outputs"] = outputs.get(number, [_said("This cell was not run.")])
        cell["execution_count"] = number if number in outputs else None
    return json.dumps(notebook)
