"""What a submission is made with: a notebook to change, and a list of all that was handed in."""

import functools
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tinylab
from tinylab.classroom.exercises import Exercise, exercises, folder

ROOT = Path(tinylab.__file__).resolve().parents[1]
ALL = 99


@dataclass(frozen=True)
class Expected:
    """What the grader must say about a submission.

    Attributes:
        student: who handed it in: the name of the function that makes it.
        group: "good", "partial", "blank", "forged", "hostile" or "no notebook".
        kind: what it is, in words.
        exercise: its name; "" if it cannot be graded.
        points: a digit a task, "1100000000"; "" if it cannot be graded. A "?" is an honest point that the
            forger's own doing may cost, or not.
        problem: words that the problem must contain; "" if it can be graded.
        remark: words that a remark must contain; "" if none is due.
        needs_walls: whether its points are only sure where the operating system can hide files.
    """

    student: str
    group: str
    kind: str
    exercise: str
    points: str
    problem: str = ""
    remark: str = ""
    needs_walls: bool = False


@dataclass(frozen=True)
class Place:
    """What submissions know about the machine that grades them.

    Attributes:
        class_folder: where all submissions are.
        port: of a listener on 127.0.0.1.
    """

    class_folder: Path
    port: int


class Notebook:
    """A notebook to be changed, as JSON holds it; every source is one string.

    Attributes:
        content: the whole file.
        tasks: of its exercise.
        place: see `Place`.
        path: of the file inside the student's folder.
    """

    def __init__(self, exercise: Exercise, solved: int, place: Place):
        self.content = read_notebook(exercise.path)
        self.tasks = exercise.tasks
        self.place = place
        self.path = exercise.path.name
        for task in self.tasks[:solved]:
            self.define(task, solutions(exercise)[task])

    @property
    def cells(self) -> list[dict]:
        return self.content["cells"]

    @cells.setter
    def cells(self, cells: list[dict]) -> None:
        self.content["cells"] = cells

    def code(self) -> list[dict]:
        return [cell for cell in self.cells if cell["cell_type"] == "code"]

    def checks(self) -> list[dict]:
        return [cell for cell in self.code() if re.fullmatch(r"check\.(\w+)\(\1\)", cell["source"])]

    def definition(self, task: str) -> dict:
        return next(cell for cell in self.code() if f"def {task}(" in cell["source"])

    def define(self, task: str, source: str) -> None:
        """Write the learner's function of a task."""
        self.definition(task)["source"] = source.strip()

    def define_all(self, value: str, first: int = 0) -> None:
        """Let the functions of all tasks, from a first on, be the value of an expression."""
        for task in self.tasks[first:]:
            self.define(task, f"def {task}(): ...\n{task} = {value}")

    def after_imports(self, source: str) -> None:
        """A new cell before the first task."""
        self.cells.insert(self.cells.index(self.code()[1]) + 1, code_cell(source))

    def before(self, task: str, source: str) -> None:
        """A new cell before a task's own."""
        self.cells.insert(self.cells.index(self.definition(task)), code_cell(source))

    def at_end(self, source: str) -> None:
        self.cells.append(code_cell(source))

    def to_bytes(self) -> bytes:
        return json.dumps(self.content, indent=1, ensure_ascii=False).encode()


def others_call(notebook: Notebook, task: str, name: str) -> None:
    """Let the other tasks call a right copy of a task's function, whatever becomes of that one itself."""
    right = notebook.definition(task)["source"]
    for other in set(notebook.tasks) - {task}:
        source = notebook.definition(other)["source"]
        notebook.define(other, re.sub(rf"\b{task}\(", f"{name}(", source))
    notebook.after_imports(re.sub(rf"\b{task}\(", f"{name}(", right))


def code_cell(source: str) -> dict:
    return {
        "cell_type": "code",
        "id": f"{zlib.crc32(source.encode()):08x}",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": source.strip(),
    }


def read_notebook(path: Path) -> dict:
    content = json.loads(path.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        cell["source"] = "".join(cell["source"])
    return content


@functools.cache
def solutions(exercise: Exercise) -> dict[str, str]:
    """What a learner would have written for each task."""
    found = {}
    for cell in read_notebook(folder("solutions") / exercise.path.name)["cells"]:
        if "### BEGIN SOLUTION" in cell["source"]:
            lines = cell["source"].splitlines()
            task = re.search(r"def (\w+)\(", cell["source"])[1]
            found[task] = "\n".join(line for line in lines if "SOLUTION" not in line)
    return {task: found[task] for task in exercise.tasks}


# The list of what was handed in: filled by the modules beside this one, in their order.

HANDED_IN: list[tuple[Expected, Callable[[Place], dict[str, bytes]]]] = []


def hands_in(
    group: str,
    exercise: str,
    kind: str,
    solved: int = ALL,
    points: str = "",
    problem: str = "",
    remark: str = "",
    needs_walls: bool = False,
) -> Callable:
    """Register a function that changes a notebook in which the first tasks are solved.

    It may return the files to hand in, by their paths in the student's folder, or one file's bytes, in
    place of the notebook.
    """
    name = next(name for name in exercises() if name.startswith(exercise))
    count = len(exercises()[name].tasks)
    honest = min(solved, count)
    points = points or "1" * honest + "0" * (count - honest)

    def register(change: Callable) -> Callable:
        def files(place: Place) -> dict[str, bytes]:
            notebook = Notebook(exercises()[name], solved, place)
            made = change(notebook)
            return made if isinstance(made, dict) else {notebook.path: made or notebook.to_bytes()}

        grade = ("", "", problem) if problem else (name, points, "")
        expected = Expected(change.__name__, group, kind, *grade, remark, needs_walls)
        HANDED_IN.append((expected, files))
        return change

    return register


good = functools.partial(hands_in, "good")
partly = functools.partial(hands_in, "partial")
blank = functools.partial(hands_in, "blank", solved=0)
forged = functools.partial(hands_in, "forged", solved=2)  # two honest points, which must not be lost either
hostile = functools.partial(hands_in, "hostile")


def no_notebook(kind: str, name: str, problem: str) -> Callable:
    """Register a function that gives the bytes of a file that cannot be graded."""

    def register(content: Callable[[], bytes]) -> Callable:
        expected = Expected(content.__name__, "no notebook", kind, "", "", problem)
        HANDED_IN.append((expected, lambda place: {name: content()}))
        return content

    return register


def zip_of(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    return content.getvalue()
