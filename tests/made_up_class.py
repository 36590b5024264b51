"""A made-up class: what students hand in, good, partial, blank, forged and hostile, and the grade of each.

Each function below makes one submission, out of an exercise and its solution. The first line of its kind
says what it is; the points are a digit a task. `python -m tests.made_up_class FOLDER` writes them all.

Nothing here does harm where the grader's walls are missing: what deletes, kills or multiplies looks first
whether it is behind them, or stops at a number that a machine bears.

A submission that gets at something it must not see, or reach, prints "leak" in capital letters.
"""

import argparse
import functools
import io
import json
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tinylab
from tinylab.classroom.exercises import Exercise, exercises, folder

ROOT = Path(tinylab.__file__).resolve().parents[1]
STUB = "raise NotImplementedError  # your code here"
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
        self.content = _read(exercise.path)
        self.tasks = exercise.tasks
        self.place = place
        self.path = exercise.path.name
        for task in self.tasks[:solved]:
            self.define(task, _solutions(exercise)[task])

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
        "id": f"{abs(hash_of(source)):08x}",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": source.strip(),
    }


def hash_of(text: str) -> int:
    """The same in every run, which `hash` is not."""
    return functools.reduce(lambda so_far, letter: (31 * so_far + ord(letter)) % 2**31, text, 7)


def _read(path: Path) -> dict:
    content = json.loads(path.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        cell["source"] = "".join(cell["source"])
    return content


@functools.cache
def _solutions(exercise: Exercise) -> dict[str, str]:
    """What a learner would have written for each task."""
    found = {}
    for cell in _read(folder("solutions") / exercise.path.name)["cells"]:
        if "### BEGIN SOLUTION" in cell["source"]:
            lines = cell["source"].splitlines()
            task = re.search(r"def (\w+)\(", cell["source"])[1]
            found[task] = "\n".join(line for line in lines if "SOLUTION" not in line)
    return {task: found[task] for task in exercise.tasks}


# The list of what was handed in: filled by the functions below, in their order.

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


def _whole_course() -> None:
    """Each exercise as it was handed out, and solved."""
    for name in exercises():
        number = name[:2]

        def as_it_is(notebook: Notebook) -> None: ...

        as_it_is.__name__ = f"solution_{number}"
        good(number, f"the solution of exercise {number}")(as_it_is)
        as_it_is.__name__ = f"untouched_{number}"
        blank(number, f"exercise {number} as it was handed out")(as_it_is)


_whole_course()


# Good: other ways to be right


@good("02", "everything in one cell")
def in_one_cell(notebook):
    notebook.cells = [code_cell("\n\n".join(cell["source"] for cell in notebook.code()))]


@good("02", "functions that are no `def`: a lambda, a partial, an object with __call__")
def other_callables(notebook):
    notebook.define("saved_percent", "saved_percent = lambda before, after: 100 * (before - after) / before")
    notebook.define(
        "float32_bytes",
        """
import functools

def bytes_of(shapes, each):
    return each * sum(math.prod(shape) for shape in shapes)

float32_bytes = functools.partial(bytes_of, each=4)
""",
    )
    notebook.define(
        "stays_float32",
        """
class Staying:
    def __init__(self, least):
        self.least = least

    def __call__(self, shapes):
        return [shape for shape in shapes if len(shape) == 1 or math.prod(shape) < self.least]

stays_float32 = Staying(1024)
""",
    )


@good("05", "check cells deleted")
def without_checks(notebook):
    checks = notebook.checks()
    notebook.cells = [cell for cell in notebook.cells if cell not in checks]


@good("02", "all text deleted")
def without_text(notebook):
    notebook.cells = notebook.code()


@good("05", "cells in another order that still works: later tasks first")
def other_order(notebook):
    code = notebook.code()
    notebook.cells = code[:2] + code[:1:-1]


@good("05", "an older minor format: no cell ids, sources as lists")
def older_format(notebook):
    notebook.content["nbformat_minor"] = 2
    for cell in notebook.cells:
        del cell["id"]
        cell["source"] = cell["source"].splitlines(keepends=True)


@good("02", "the format of before 2015, nbformat 3")
def format_3(notebook):
    cells = [
        {"cell_type": "code", "input": cell["source"], "language": "python", "outputs": [], "metadata": {}}
        for cell in notebook.code()
    ]
    sheet = {"metadata": {}, "cells": cells}
    notebook.content = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [sheet]}


@good("02", "cells of odd shapes between the others")
def odd_cells(notebook):
    notebook.cells[3:3] = [
        {"cell_type": "code", "source": "x = 1"},
        {"cell_type": "markdown", "metadata": {}, "source": ["one ", "two"], "attachments": {}},
        {"cell_type": "raw", "metadata": {}, "source": ""},
        {"cell_type": "code", "metadata": {"tags": 7}, "outputs": [{"output_type": "odd"}], "source": ""},
    ]


@good("02", "the same file as somebody else's", remark="byte for byte")
def copied(notebook): ...


@good("02", "as Colab saves it")
def from_colab(notebook):
    notebook.content["metadata"] = {
        "accelerator": "GPU",
        "colab": {"provenance": [], "gpuType": "T4", "toc_visible": True},
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python"},
    }
    notebook.content["nbformat_minor"] = 0
    for number, cell in enumerate(notebook.cells):
        del cell["id"]
        cell["metadata"] = {"id": f"x{number:011d}"}
    for cell in notebook.code():
        cell["metadata"] |= {"cellView": "form", "outputId": "1d0c", "executionInfo": {"status": "ok"}}


@good("02", "as VS Code saves it")
def from_vs_code(notebook):
    notebook.content["metadata"] = {
        "kernelspec": {"display_name": ".venv (3.12.3)", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "version": "3.12.3"},
    }
    for cell in notebook.cells:
        cell["metadata"] = {"vscode": {"languageId": "python"}}


@good("05", "the kernel's name is that of a conda environment")
def conda_kernel(notebook):
    notebook.content["metadata"]["kernelspec"] = {
        "display_name": "Python [conda env:tinyml-gpu]",
        "language": "python",
        "name": "conda-env-tinyml-gpu-py",
    }


@good("05", "renamed file")
def renamed(notebook):
    notebook.path = "Untitled17 (2) FINAL really.ipynb"


@good("02", "functions under other names, given the right ones at the end")
def aliased(notebook):
    for task in notebook.tasks:
        source = notebook.definition(task)["source"]
        notebook.define(task, re.sub(rf"\b{task}\b", f"my_{task}", source) + f"\n\n{task} = my_{task}")


@good("02", "magics, shell commands, help and await")
def magics(notebook):
    notebook.after_imports("%matplotlib inline\n%config InlineBackend.figure_format = 'retina'")
    notebook.after_imports("!ls -la\nfiles = !ls\nprint(len(files))")
    notebook.after_imports("%%time\ntotal = sum(range(1000))")
    notebook.after_imports("%%capture\nprint('not shown')")
    notebook.after_imports("import asyncio\nawait asyncio.sleep(0.01)")
    notebook.after_imports("math.prod?")


@good("05", "asks with input(), where nobody answers")
def asks(notebook):
    notebook.after_imports("name = input('Your name? ')\nprint('Hello', name)")


@good("05", "draws and displays")
def draws(notebook):
    notebook.after_imports(
        """
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, Markdown, display

plt.plot(np.arange(9), round_half_away(np.arange(9) / 2) if 'round_half_away' in globals() else np.arange(9))
plt.show()
display(Markdown("**A table**"), HTML("<b>bold</b>"), pd.DataFrame({"x": [1, 2]}))
"""
    )


@good("05", "a cell that stops with an error, and has nothing to do with the tasks")
def unrelated_error(notebook):
    notebook.before("dequantize", "print(np.round([2.5]) / nothing)")


@good("02", "from Windows: a byte order mark, and line ends of two characters")
def from_windows(notebook):
    for cell in notebook.cells:
        cell["source"] = cell["source"].replace("\n", "\r\n")
    return b"\xef\xbb\xbf" + notebook.to_bytes().replace(b"\n", b"\r\n")


@good("05", "functions that change their arguments in place")
def in_place(notebook):
    others_call(notebook, "round_half_away", "rounded")  # with numbers that they need again
    notebook.define(
        "round_half_away",
        """
def round_half_away(x):
    x = np.asarray(x)
    whole = np.trunc(x)
    answer = whole + np.sign(x) * (np.abs(x - whole) >= 0.5)
    if x.ndim:
        x[...] = 7
        x.shape = (-1,)
    return answer
""",
    )


@good("02", "two definitions of a function: the last one counts, and is right")
def mended_at_last(notebook):
    right = notebook.definition("float32_bytes")["source"]
    notebook.define("float32_bytes", "def float32_bytes(shapes):\n    return 0")
    notebook.at_end(right)


@good("02", "in a zip file, with what a Mac adds")
def zipped(notebook):
    return {
        "work.zip": zip_of(
            {
                f"my work/{notebook.path}": notebook.to_bytes(),
                f"__MACOSX/my work/._{notebook.path}": b"\0\5\26\7\0\2\0\0Mac OS X",
                "my work/.DS_Store": b"\0\0\0\1Bud1",
            }
        )
    }


@good("02", "with a copy that Jupyter keeps, and with notes")
def with_company(notebook):
    untouched = Notebook(exercises()["02_optimization_flags"], 0, notebook.place)
    return {
        f"exercises/{notebook.path}": notebook.to_bytes(),
        f"exercises/.ipynb_checkpoints/{notebook.path[:-6]}-checkpoint.ipynb": untouched.to_bytes(),
    }


def zip_of(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    return content.getvalue()


# Partial: some tasks right, others not


@partly("05", "the first three tasks solved", solved=3)
def first_three(notebook): ...


@partly("05", "one task solved, in the middle", solved=0, points="0001000000")
def only_the_fourth(notebook):
    notebook.define("dequantize", _solutions(exercises()["05_quantization_arithmetic"])["dequantize"])


@partly("02", "all but the last task", solved=6)
def all_but_one(notebook): ...


@partly("05", "one task wrong: int8 overflows", points="1110111111")
def one_wrong(notebook):
    notebook.define(
        "dequantize",
        "def dequantize(q, scale, zero_point):\n    return np.float32(scale) * (q - np.int8(zero_point))",
    )


@partly("05", "wrong for exact halves only", points="1101111111")
def halves_to_even(notebook):
    notebook.define(
        "quantize",
        """
def quantize(x, scale, zero_point):
    return np.clip(np.round(x / scale) + zero_point, -128, 127).astype(np.int8)
""",
    )


@partly("05", "wrong for the number just below 0.5 only", points="0111111111")
def adds_a_half(notebook):
    others_call(notebook, "round_half_away", "rounded")
    notebook.define(
        "round_half_away", "def round_half_away(x):\n    return np.sign(x) * np.floor(np.abs(x) + 0.5)"
    )


@partly("05", "right values of other dtypes", points="1100111111")
def other_dtypes(notebook):
    for task in ("quantize", "dequantize"):
        source = notebook.definition(task)["source"].replace(f"def {task}", f"def my_{task}")
        notebook.define(
            task, f"{source}\n\ndef {task}(x, s, z):\n    return my_{task}(x, s, z).astype(float)"
        )


@partly("02", "answers written down for the cases that the notebook's own check uses", points="0011111")
def by_heart(notebook):
    from tinylab.check import exercise_02

    others_call(notebook, "float32_bytes", "bytes_of")
    for task in ("saved_percent", "float32_bytes"):
        check = getattr(exercise_02, task)
        known = {repr(case): check.reference(*case).answer for case in check.cases(np.random.default_rng(1))}
        notebook.define(
            task,
            f"ANSWERS_{task} = {known!r}\n\ndef {task}(*case):\n    return ANSWERS_{task}.get(repr(case), 0)",
        )


@partly("05", "one function raises, one returns nothing, one cell is no Python", points="1001011111")
def three_faults(notebook):
    notebook.define("scale_and_zero_point", "def scale_and_zero_point(low, high):\n    return 1 / 0, 0")
    notebook.define("quantize", "def quantize(x, scale, zero_point):\n    codes = x / scale")
    notebook.define("quantize_weights", "def quantize_weights(w)\n    return w")


@partly("02", "two definitions of a function: the last one counts, and is wrong", points="1011111")
def spoiled_at_last(notebook):
    others_call(notebook, "float32_bytes", "bytes_of")
    notebook.at_end("def float32_bytes(shapes):\n    return 0")


# Blank


@blank("05", "a notebook with nothing but a title", problem="no exercise was recognized")
def only_a_title(notebook):
    notebook.cells = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# My answers"}]


@blank("05", "all code deleted", problem="no exercise was recognized")
def no_code(notebook):
    notebook.cells = [cell for cell in notebook.cells if cell["cell_type"] == "markdown"]


@blank("05", "a lesson handed in, not the exercise", problem="no exercise was recognized")
def a_lesson(notebook):
    return (ROOT / "notebooks" / "05_quantization_arithmetic.ipynb").read_bytes()


# Forged: two points are honest, and not one more must come out


@forged("05", "check cells print 1, and stored outputs say 1")
def prints_scores(notebook):
    for cell in notebook.checks():
        cell["source"] = "print(1)\n1"
        data = {"text/plain": "1", "text/html": "<p>✅ <b>right</b></p>"}
        result = {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": data}
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "1\n"}, result]


@forged("05", "an object in place of `check` that says 1")
def generous_check(notebook):
    notebook.after_imports(
        """
class Generous:
    def __getattr__(self, name):
        return lambda function: 1

check = Generous()
"""
    )


@forged("05", "tinylab's own judge, outcomes and results exchanged", remark="imports tinylab.check")
def patched_tinylab(notebook):
    notebook.after_imports(
        """
from tinylab.check import exchange, task

right = task.Outcome.RIGHT
task.Task.judge = lambda self, *rest: task.Result(self.name, right, "", ())
task.Task.__call__ = task.Task.judge
task.Result.score = property(lambda self: 1)
task.Result.__repr__ = lambda self: "1"
for outcome in task.Outcome:
    outcome._value_ = right.value
    task.Outcome._member_map_[outcome.name] = right
    type.__setattr__(task.Outcome, outcome.name, right)
task.identical = task.within = lambda *rest: lambda expected, got: ""
task.exactly = lambda expected, got: ""
for module in (task, exchange):
    module.Right = lambda *rest: True
"""
    )


@forged("05", "NumPy and built-in functions exchanged for ones that say yes")
def patched_numpy(notebook):
    notebook.after_imports(
        """
import builtins, math, operator

for name in ("array_equal", "allclose", "array_equiv", "isclose"):
    setattr(np, name, lambda *rest, **more: True)
np.argwhere = lambda *rest: np.zeros((0, 1), int)
np.shape = lambda *rest: ()
np.testing.assert_array_equal = lambda *rest, **more: None
math.isclose = operator.eq = lambda *rest, **more: True
"""
    )
    notebook.define_all("lambda *case: np.int8(0)", 2)


@forged("05", "answers that are equal to everything, of a type that lies about shape, dtype and values")
def agreeable_answers(notebook):
    notebook.after_imports(
        """
class Agreeable(np.ndarray):
    shape = property(lambda self: Agreeable.asked)
    dtype = property(lambda self: Agreeable())
    asked = ()

    def __eq__(self, other): return True
    def __ne__(self, other): return np.zeros(np.shape(other), bool)
    def __hash__(self): return 0
    def __array_ufunc__(self, ufunc, method, *inputs, **more): return np.zeros(3, bool)
    def __array_function__(self, function, *rest): return True
    def __getattr__(self, name): return self

class Yes(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __sub__(self, other): return Yes(0)
    __rsub__ = __abs__ = __sub__
    def __float__(self): return 0.0
    def __hash__(self): return 0
    __class__ = np.ndarray

agreeable = np.zeros(3, np.int8).view(Agreeable)
"""
    )
    notebook.define_all("lambda *case: agreeable", 2)
    for task in ("multiplier_and_shift", "quantize_weights"):
        notebook.define(task, f"def {task}(real):\n    return Yes(1), Yes(1)")


@forged("05", "answers that run code where they are unpickled, copied, printed or made an array")
def answers_that_act(notebook):
    target = notebook.place.class_folder / "written_by_an_answer"
    notebook.after_imports(
        f"""
class Acting:
    def __reduce__(self): return exec, ("open({str(target)!r}, 'w').write('1')",)
    def act(self, *rest, **more): exec(self.__reduce__()[1][0])
    __repr__ = __str__ = __array__ = __len__ = __iter__ = __float__ = __index__ = __deepcopy__ = act
    __array_interface__ = property(act)
"""
    )
    notebook.define_all("lambda *case: Acting()", 2)
    notebook.define("quantize", "def quantize(*case):\n    return np.array([Acting()], dtype=object)")


@forged("05", "looks for the right answer in the frames that call it, and in all objects of the process")
def looks_up_frames(notebook):
    notebook.after_imports(
        """
import gc, sys

def everything():
    frame = sys._getframe()
    while frame:
        yield from frame.f_locals.items()
        yield from frame.f_globals.items()
        frame = frame.f_back
    for thing in gc.get_objects():
        if hasattr(type(thing), "reference") or hasattr(thing, "answer"):
            yield "reference", getattr(thing, "reference", None)
            yield "answer", thing

def found(*case):
    for name, value in list(everything()):
        if name in ("expected", "right", "answer") and hasattr(value, "answer"):
            return value.answer
        if name == "reference" and callable(value):
            try:
                return value(*case).answer
            except Exception:
                pass
    return 0
"""
    )
    notebook.define_all("found", 2)


IMPORTS_A_REFERENCE = """
import glob, importlib.machinery, importlib.util, os, sys

def modules():
    import tinylab.check.exercise_05 as module
    yield module
    tail = "tinylab/check/**/exercise_05*.py*"
    for folder in (ROOT, *sys.path, os.getcwd(), "/"):
        for path in glob.glob(os.path.join(folder, tail), recursive=True):
            try:
                loader = (
                    importlib.machinery.SourcelessFileLoader("borrowed", path)
                    if path.endswith(".pyc")
                    else importlib.machinery.SourceFileLoader("borrowed", path)
                )
                spec = importlib.util.spec_from_loader("borrowed", loader)
                module = importlib.util.module_from_spec(spec)
                loader.exec_module(module)
                yield module
            except Exception as error:
                print(path, error)

def borrowed(name):
    for module in modules():
        reference = getattr(getattr(module, name, None), "reference", None)
        if reference:
            print("leak".upper(), module)
            return lambda *case: reference(*case).answer
"""


@forged("05", "imports tinylab's reference, or its file, or its compiled file", needs_walls=True)
def imports_the_reference(notebook):
    notebook.after_imports(f"ROOT = {str(ROOT)!r}\n{IMPORTS_A_REFERENCE.strip()}")
    for task in notebook.tasks[2:]:
        notebook.define(task, f"def {task}(): ...\n{task} = borrowed({task!r}) or {task}")


FINDS_A_SOLUTION = """
import glob, json, os, subprocess, sys

NAME = "05_quantization_arithmetic.ipynb"

def notebooks():
    for folder in (CLASS, ROOT, os.path.dirname(CLASS), os.path.expanduser("~"), *sys.path):
        for path in glob.glob(os.path.join(folder, "**", "*.ipynb"), recursive=True):
            yield path, open(path, errors="replace").read()
    for place in ("HEAD", "main", "origin/main"):
        command = ["git", "-C", ROOT, "show", f"{place}:solutions/{NAME}"]
        yield command, subprocess.run(command, capture_output=True, text=True).stdout

def borrow():
    for place, text in notebooks():
        if "def multiply(" in text and "raise NotImplementedError" not in text:
            print("leak".upper(), place)
            for cell in json.loads(text)["cells"]:
                source = "".join(cell["source"])
                if cell["cell_type"] == "code" and source.startswith("def "):
                    exec(source, globals())
            return
"""


@forged("05", "looks for a solution: other submissions, the course's folder, its history", needs_walls=True)
def finds_a_solution(notebook):
    places = f"CLASS, ROOT = {str(notebook.place.class_folder)!r}, {str(ROOT)!r}"
    notebook.after_imports(f"{places}\n{FINDS_A_SOLUTION.strip()}")
    notebook.at_end("borrow()")


LOOKS_FOR_GRADES = """
import os

def visible(folder):
    for path, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield os.path.join(path, name)

for folder in (CLASS, os.path.dirname(CLASS)):
    for path in visible(folder):
        if os.path.isfile(path) and not path.startswith(os.getcwd()):
            print("leak".upper(), path)
            if os.path.basename(path) == "grades.csv":
                print(open(path).read())
"""


@forged("05", "looks for grades and for other submissions, and reads them", needs_walls=True)
def looks_for_grades(notebook):
    notebook.after_imports(f"CLASS = {str(notebook.place.class_folder)!r}\n{LOOKS_FOR_GRADES.strip()}")


WRITES_EVERYWHERE = """
import json, os

RIGHT = [{"task": task, "outcome": "RIGHT", "points": 1, "score": 1, "attempted": True} for task in TASKS]
LINES = [
    json.dumps({"exercise": "05_quantization_arithmetic", "tasks": RIGHT, "remarks": [], "notebook": ""}),
    *(json.dumps({"task": entry["task"], "bytes": 0, **entry}) for entry in RIGHT),
    json.dumps({"begins": "end", "bytes": 0}),
    "1",
]

def write_everywhere(*case):
    for descriptor in range(64):
        try:
            os.set_blocking(descriptor, False)
            os.write(descriptor, ("\\n".join(LINES) + "\\n").encode())
        except OSError:
            pass
    return 1
"""


@forged("05", "a function that writes a made-up report to every open file", points="??00000000")
def writes_everywhere(notebook):
    notebook.after_imports(f"TASKS = {notebook.tasks!r}\n{WRITES_EVERYWHERE.strip()}")
    notebook.define_all("write_everywhere", 2)


@forged("05", "a cell that writes a made-up report to every open file", points="??00000000")
def writes_at_once(notebook):
    notebook.after_imports(f"TASKS = {notebook.tasks!r}\n{WRITES_EVERYWHERE.strip()}")
    notebook.at_end("write_everywhere()")


@forged(
    "05", "a made-up report is printed, and the process ended before it can be asked", points="??00000000"
)
def report_and_exit(notebook):
    notebook.after_imports(f"TASKS = {notebook.tasks!r}\n{WRITES_EVERYWHERE.strip()}")
    notebook.define(
        "quantize",
        """
def quantize(*case):
    write_everywhere()
    os._exit(0)
""",
    )


@forged(
    "05",
    "a made-up report is written at the process's end, and again and again by a thread",
    points="??00000000",
)
def report_at_exit(notebook):
    notebook.after_imports(f"TASKS = {notebook.tasks!r}\n{WRITES_EVERYWHERE.strip()}")
    notebook.at_end(
        """
import atexit, threading, time

atexit.register(write_everywhere)

def go_on():
    for _ in range(20):
        time.sleep(0.05)
        write_everywhere()

threading.Thread(target=go_on, daemon=True).start()
"""
    )


@forged(
    "05",
    "what writes data is exchanged: json, pickle, struct, np.save, tinylab's exchange",
    remark="imports tinylab.check",
)
def patched_writers(notebook):
    notebook.after_imports(
        """
import json, pickle, struct, sys

from tinylab.check import exchange, task

answer = json.dumps({"outcome": "RIGHT", "score": 1, "points": 1})
pickle.dumps = lambda *rest, **more: answer.encode()
np.save = np.savez = lambda file, *rest, **more: file.write(answer.encode())
exchange.dump = lambda *rest: answer.encode()
json.JSONEncoder.encode = lambda self, value: answer
task.collect = lambda *rest: task.Answers([1])
"""
    )
    # nothing that this process writes is sound any more, and so its honest part is lost, too


@forged("05", "metadata say that all points were given, and what program to start")
def altered_metadata(notebook):
    command = [sys.executable, "-c", "print('started by a kernelspec')"]
    notebook.content["metadata"] |= {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python", "argv": command},
        "tinylab": {"results": dict.fromkeys(notebook.tasks, 1), "points": 10, "seed": 1},
        "celltoolbar": "Create Assignment",
    }
    for number, cell in enumerate(notebook.code()):
        grader = {"grade": True, "grade_id": f"cell-{number}", "points": 100, "score": 100}
        cell["metadata"] = {"nbgrader": {**grader, "locked": False, "schema_version": 3, "solution": True}}


@forged("05", "check cells four times over")
def repeated_checks(notebook):
    notebook.cells += 3 * notebook.checks()


@forged(
    "05",
    "random numbers made to be those of the notebook's check, whose answers are known",
    remark="imports tinylab.check",
)
def patched_random_numbers(notebook):
    from tinylab.check import exercise_05

    check = exercise_05.multiplier_and_shift
    known = {case[0]: check.reference(*case).answer for case in check.cases(np.random.default_rng(1))}
    notebook.after_imports(
        """
import random

from tinylab.check import task

generator = np.random.default_rng
np.random.default_rng = lambda *seed: generator(1)
random.seed(1)
task.NOTEBOOK_SEED = 1
"""
    )
    notebook.define(
        "multiplier_and_shift", f"def multiplier_and_shift(real):\n    return {known!r}.get(real, (2**30, 0))"
    )


@forged(
    "05",
    "no cases at all: what calls the functions is exchanged, in every module that has it",
    points="0000000000",
    remark="imports tinylab.check",
)
def no_cases(notebook):
    notebook.after_imports(
        """
import sys

from tinylab.check import task

def nothing_to_do(*rest, **more):
    return task.Answers([])

task.Task.collect = nothing_to_do
for module in list(sys.modules.values()):
    for name in ("collect", "cases", "call"):
        if (getattr(module, "__name__", "") or "").startswith("tinylab") and hasattr(module, name):
            setattr(module, name, nothing_to_do)
"""
    )


READS_THE_PARENT = """
import os, re

def looked_at(path, most=1 << 22):
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError as error:
        return b""

def memory(process):
    for line in looked_at(f"/proc/{process}/maps").decode().splitlines():
        if "[heap]" in line:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            try:
                with open(f"/proc/{process}/mem", "rb") as file:
                    file.seek(start)
                    return file.read(min(end - start, 1 << 24))
            except OSError:
                pass
    return b""

mine, parents = os.getpid(), os.getppid()
if b"TEACHERS_SECRET" in looked_at("/proc/self/environ") or "TEACHERS_SECRET" in os.environ:
    print("leak".upper(), "the teacher's environment")
if b"TEACHERS_SECRET" in looked_at(f"/proc/{parents}/environ") or b"TEACHERS_SECRET" in memory(parents):
    print("leak".upper(), "the environment of the parent")
if re.search(rb"round_half_away_by|_rounded_by_litert", memory(parents)):
    print("leak".upper(), "the parent's memory")
if re.search(rb"seed", looked_at(f"/proc/{parents}/cmdline")):
    print("leak".upper(), "the parent's command line")
"""


@forged("05", "reads the environment, command line and memory of the process above it", needs_walls=True)
def reads_the_parent(notebook):
    notebook.after_imports(READS_THE_PARENT)


@forged("05", "scripts in outputs, errors and texts, for whoever opens the page of feedback")
def scripts_for_the_teacher(notebook):
    notebook.after_imports(
        """
from IPython.display import HTML, Javascript, display

SCRIPT = "<script>document.title = 'taken' + 'over'</script><img src=x onerror=document.title='taken'>"
display(HTML(SCRIPT), Javascript("document.title = 'taken' + 'over'"))
print(SCRIPT)
"""
    )
    notebook.define("quantize", "def quantize(*case):\n    raise ValueError(SCRIPT)")
    notebook.define("dequantize", "def dequantize(*case):\n    return SCRIPT")
    notebook.cells.append({"cell_type": "markdown", "id": "script", "metadata": {}, "source": SCRIPT})


SCRIPT = "<script>document.title = 'taken' + 'over'</script> [click](javascript:document.title='taken')"


# Hostile: everything is solved, and a cell, a function or an answer does harm


@hostile("05", "an endless loop in a cell")
def endless_cell(notebook):
    notebook.before("dequantize", "while True:\n    pass")


@hostile("05", "a cell that sleeps for days and takes no interrupt", remark="did not end within")
def endless_sleep(notebook):
    notebook.before(
        "dequantize",
        """
import signal, time

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
    signal.signal(number, signal.SIG_IGN)
while True:
    try:
        time.sleep(10**6)
    except BaseException:
        print("no")
""",
    )


@hostile("05", "an endless loop in one task's function", points="1101111111")
def endless_function(notebook):
    notebook.define("quantize", "def quantize(x, scale, zero_point):\n    while True:\n        pass")


@hostile("05", "a cell that takes more memory than there is")
def memory_in_a_cell(notebook):
    notebook.before("dequantize", "hoard = [np.ones(10**7) for _ in range(100)]  # 8 GB, if it gets them")


@hostile("05", "one task's function takes more memory than there is", points="1101111111")
def memory_in_a_function(notebook):
    notebook.define(
        "quantize",
        """
def quantize(x, scale, zero_point):
    hoard = [np.ones(10**7) for _ in range(100)]
    return np.clip(round_half_away(x / scale) + zero_point + 0 * len(hoard), -128, 127).astype(np.int8)
""",
    )


@hostile("05", "a fork bomb", remark="left out")
def fork_bomb(notebook):
    notebook.before(
        "dequantize",
        """
import os, time

me = os.getpid()
for _ in range(10):  # 1,024 processes, if it gets them
    try:
        os.fork()
    except OSError:
        break
if os.getpid() != me:
    time.sleep(60)
    os._exit(0)
""",
    )


@hostile("05", "a fork, after which both go on")
def forks_and_goes_on(notebook):
    notebook.before("dequantize", "import os\nos.fork()")


@hostile("05", "a bomb of threads")
def thread_bomb(notebook):
    notebook.before(
        "dequantize",
        """
import threading, time

for _ in range(2000):
    threading.Thread(target=time.sleep, args=(600,)).start()
""",
    )


@hostile("05", "os._exit in a cell", remark="ended its process")
def exits(notebook):
    notebook.before("dequantize", "import os\nos._exit(0)")


@hostile("05", "two deadly cells", remark="ended its process")
def exits_twice(notebook):
    notebook.before("quantize", "import os\nos._exit(0)")
    notebook.before("multiply", "import os\nos.abort()")


@hostile(
    "05",
    "a cell kills its own process; the definition in the same cell is lost",
    points="1110111111",
    remark="ended its process",
)
def kills_itself(notebook):
    source = notebook.definition("dequantize")["source"]
    notebook.define("dequantize", f"import os\nos.kill(os.getpid(), 9)\n{source}")


@hostile("05", "kills the process above it, its group, and every process there is")
def kills_others(notebook):
    spaces = _link("/proc/self/ns/pid")
    notebook.before("quantize", "import os\nos.kill(os.getppid(), 9)")
    notebook.before("dequantize", "import os\nos.killpg(0, 9)")
    notebook.before(
        "multiply",
        f"""
import os

if os.readlink("/proc/self/ns/pid") != {spaces!r}:  # never without a wall
    os.kill(-1, 9)
""",
    )


def _link(path: str) -> str:
    return os.readlink(path) if os.path.islink(path) else ""


@hostile(
    "05",
    "a segmentation fault in one task's function",
    points="1101111111",
    remark="quantize ended its process",
)
def segmentation_fault(notebook):
    notebook.define(
        "quantize",
        "import ctypes\n\ndef quantize(x, scale, zero_point):\n    return ctypes.string_at(0)",
    )


@hostile(
    "05",
    "functions that end the process, each in its own way",
    points="1100001111",
    remark="quantize ended its process",
)
def deadly_functions(notebook):
    notebook.define("quantize", "import os\n\ndef quantize(*case):\n    os._exit(1)")
    notebook.define("dequantize", "def dequantize(*case):\n    os.kill(os.getpid(), 9)")
    notebook.define("quantize_weights", "def quantize_weights(w):\n    raise SystemExit('that was it')")
    notebook.define("quantize_bias", "def quantize_bias(*case):\n    os.abort()")


@hostile("05", "cells that raise SystemExit, KeyboardInterrupt and an exception of their own")
def raises_oddly(notebook):
    notebook.before("quantize", "import sys\nsys.exit(3)")
    notebook.before("dequantize", "raise KeyboardInterrupt")
    notebook.before("multiply", "class Odd(BaseException):\n    pass\n\nraise Odd('caught by nobody')")
    notebook.before("multiply", "class Mute(Exception):\n    def __str__(self): raise self\n\nraise Mute")
    notebook.at_end("quit()")


@hostile("05", "functions that raise oddly", points="1100001111")
def odd_errors(notebook):
    notebook.define(
        "quantize",
        "class Odd(BaseException):\n    pass\n\ndef quantize(*case):\n    raise Odd('caught by nobody')",
    )
    notebook.define("dequantize", "def dequantize(*case):\n    return dequantize(*case)")
    notebook.define("quantize_weights", "def quantize_weights(w):\n    raise KeyboardInterrupt")
    notebook.define(
        "quantize_bias",
        """
class Mute(Exception):
    def __str__(self):
        raise self

def quantize_bias(*case):
    raise Mute
""",
    )


DELETES = """
import os, shutil, tempfile

import tinylab

def known(place):
    try:
        state = os.stat(place)
    except OSError:
        return True
    return (state.st_dev, state.st_ino) in KEEP

for place in (".", tempfile.gettempdir(), os.path.expanduser("~"), os.path.dirname(tinylab.__file__)):
    if not known(place):  # never the real ones
        shutil.rmtree(place, ignore_errors=True)
shutil.rmtree(CLASS, ignore_errors=True)
"""


@hostile("05", "deletes its folder, the home and temporary folders, tinylab, and all submissions")
def deletes_folders(notebook):
    """All but the last only where they are not this machine's own."""
    here = (
        Path("/"),
        Path.home(),
        Path(tempfile.gettempdir()),
        Path("/tmp"),
        ROOT,
        ROOT / "tinylab",
        Path.cwd(),
    )
    keep = {(place.stat().st_dev, place.stat().st_ino) for place in here if place.exists()}
    names = f"CLASS, KEEP = {str(notebook.place.class_folder)!r}, {sorted(keep)!r}"
    notebook.before("dequantize", f"{names}\n{DELETES.strip()}")


@hostile("05", "gigabytes of output, in every way")
def endless_output(notebook):
    notebook.before(
        "dequantize",
        """
import os, sys

from IPython.display import HTML, display

for _ in range(1000):
    print("x" * 1_000_000)
    sys.stderr.write("y" * 1_000_000)
""",
    )
    notebook.before("multiply", "for _ in range(500):\n    display(HTML('z' * 200_000))")
    notebook.before("multiply", "for _ in range(200):\n    os.write(1, bytes(1_000_000))")
    notebook.before("multiply", "'w' * 100_000_000")
    notebook.before("multiply", "!head -c 300000000 /dev/zero")


@hostile("05", "a file of 10 GB, and many of 100 MB")
def large_files(notebook):
    notebook.before(
        "dequantize",
        """
with open("large", "wb") as file:
    for _ in range(1000):
        file.write(bytes(10_000_000))
""",
    )
    notebook.before(
        "multiply",
        """
import tempfile

for number in range(30):
    with open(f"{tempfile.gettempdir()}/part_{number}", "wb") as file:
        file.write(bytes(100_000_000))
""",
    )


DAEMON = """
import os, time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for _ in range(60):
            time.sleep(1)
            try:
                open(f"{CLASS}/written_by_a_daemon", "w").write("still there")
            except OSError:
                pass
    os._exit(0)
"""


@hostile("05", "a process in the background that survives, and writes later")
def daemon(notebook):
    notebook.before("dequantize", f"CLASS = {str(notebook.place.class_folder)!r}\n{DAEMON.strip()}")


@hostile("05", "connects to the network")
def network(notebook):
    notebook.before(
        "dequantize",
        f"""
import socket

with socket.create_connection(("127.0.0.1", {notebook.place.port}), timeout=2) as connection:
    connection.sendall(b"a secret")
    print("leak".upper(), "connected")
""",
    )


@hostile("05", "writes to its own submission, to another's, and to tinylab's files")
def writes_to_files(notebook):
    """It changes nothing in tinylab: it writes the byte that is there, and the file's time tells."""
    notebook.before(
        "dequantize",
        f"""
import glob

import tinylab

for path in glob.glob({str(notebook.place.class_folder)!r} + "/**/*.ipynb", recursive=True):
    try:
        open(path, "a").write(" ")
    except OSError:
        pass
for path in ({tinylab.__file__!r}, tinylab.__file__):
    with open(path, "r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(first)
""",
    )


@hostile("05", "changes the environment, the working directory, standard output, the path of imports")
def changes_its_process(notebook):
    notebook.before(
        "quantize",
        """
import os, sys

os.environ.clear()
os.environ["PATH"] = os.environ["PYTHONPATH"] = os.environ["HOME"] = "/nowhere"
os.makedirs("below", exist_ok=True)
os.chdir("below")
os.rmdir("../below")
sys.stdout = sys.stderr = open(os.devnull, "w")
sys.path.clear()
sys.argv[:] = ["grade", "everything"]
""",
    )
    notebook.before(
        "dequantize",
        """
import resource, signal

for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
sys.excepthook = sys.unraisablehook = lambda *rest: os._exit(1)
sys.settrace(None)
resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
""",
    )


@hostile("05", "closes the files that its process has open", remark="ended its process")
def closes_files(notebook):
    notebook.before(
        "dequantize",
        "import os\n\nos.closerange(0, 64)",
    )


@hostile("05", "answers that are huge, endless, deep, of NaN, or hold themselves", points="0000000011")
def odd_answers(notebook):
    answers = {
        "round_half_away": "'x' * 10**9",
        "scale_and_zero_point": "itertools.count(), itertools.count()",
        "quantize": "np.broadcast_to(np.int8(0), (10**9,))",
        "dequantize": "functools.reduce(lambda inner, _: [inner], range(10**5), 0)",
        "quantize_weights": "endless, endless",
        "quantize_bias": "np.full(b.shape, np.nan)",
        "dense": "np.empty((2, 3), object)",
        "multiplier_and_shift": "10**20000, -(10**20000)",
    }
    imports = "import functools, itertools\n\nendless = []\nendless.append(endless)"
    others_call(notebook, "round_half_away", "rounded")
    others_call(notebook, "multiplier_and_shift", "factors")
    notebook.after_imports(imports)
    for task, answer in answers.items():
        notebook.define(task, f"def {task}(b=None, *rest):\n    return {answer}")


# No notebooks


@no_notebook("an empty file", "05_quantization_arithmetic.ipynb", "file is empty")
def empty_file():
    return b""


@no_notebook("broken JSON", "05_quantization_arithmetic.ipynb", "JSON in UTF-8 expected")
def broken_json():
    return solution_bytes().replace(b'"cells": [', b'"cells": [[[', 1)


@no_notebook(
    "a notebook that breaks off in the middle", "05_quantization_arithmetic.ipynb", "JSON in UTF-8 expected"
)
def truncated():
    return solution_bytes()[:5000]


@no_notebook("JSON, but a list", "answers.ipynb", "list of cells")
def a_list():
    return b"[1, 2, 3]"


@no_notebook("JSON nested a hundred thousand deep", "answers.ipynb", "JSON in UTF-8 expected")
def deep_json():
    return b"[" * 100_000


@no_notebook("a notebook whose parts are of other types", "answers.ipynb", "list of cells")
def odd_parts():
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": [], "cells": {"source": 1}}).encode()


@no_notebook("a notebook in R", "05_quantization_arithmetic.ipynb", "notebook for R")
def in_r():
    notebook = Notebook(exercises()["05_quantization_arithmetic"], 0, Place(Path("/"), 0))
    notebook.content["metadata"] = {
        "kernelspec": {"display_name": "R", "language": "R", "name": "ir"},
        "language_info": {"name": "R"},
    }
    notebook.cells = [code_cell("x <- c(1, 2)\nround_half_away <- function(x) round(x)")]
    return notebook.to_bytes()


@no_notebook("a PDF, renamed", "05_quantization_arithmetic.ipynb", "no notebook")
def a_pdf():
    return b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"


@no_notebook("a Python file", "answers.py", ".ipynb")
def a_script():
    return b"import numpy as np\n\n\ndef round_half_away(x):\n    return np.round(x)\n"


@no_notebook("a file of 100 MB", "05_quantization_arithmetic.ipynb", "Larger than 20 MB")
def of_100_mb():
    return b" " * 100_000_000 + solution_bytes()


@no_notebook("a notebook that is no UTF-8", "05_quantization_arithmetic.ipynb", "UTF-8")
def not_utf_8():
    return solution_bytes().replace("·".encode(), b"\xb7\xff")


@no_notebook("a zip file that writes outside its folder", "work.zip", "leads out of it")
def zip_with_dots():
    return zip_of({"../../../escaped.ipynb": solution_bytes(), "/tmp/escaped.ipynb": solution_bytes()})


@no_notebook("a zip file that grows a thousandfold", "work.zip", "Larger than 20 MB")
def zip_bomb():
    return zip_of({"05_quantization_arithmetic.ipynb": bytes(300_000_000)})


@no_notebook("a zip file that is none", "work.zip", "damaged")
def no_zip():
    return b"PK\3\4 and then nothing"


def solution_bytes() -> bytes:
    """What nobody can grade in these is a right solution inside."""
    exercise = exercises()["05_quantization_arithmetic"]
    return Notebook(exercise, ALL, Place(Path("/"), 0)).to_bytes()


# Writing them

FLAT = ("conda_kernel", "truncated", "prints_scores")  # these are no folders, but files beside the folders


def write(class_folder: Path, port: int = 9, only: frozenset[str] = frozenset()) -> list[Expected]:
    """Write all submissions, or only those of these students, into a folder; and say what each must get.

    Args:
        class_folder: where to; made if need be.
        port: of a listener on 127.0.0.1, to which one of them tries to connect.
        only: names of students; all if empty.
    """
    place = Place(class_folder.resolve(), port)
    chosen = [(expected, files) for expected, files in HANDED_IN if not only or expected.student in only]
    for expected, files in chosen:
        for path, content in files(place).items():
            name = f"{expected.student}_{path}" if expected.student in FLAT else f"{expected.student}/{path}"
            target = class_folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    table = [expected for expected, _ in chosen]
    if not only:
        table.append(_symbolic_link(class_folder))
    return table


def _symbolic_link(class_folder: Path) -> Expected:
    """To another one's right solution."""
    link = class_folder / "symbolic_link" / "05_quantization_arithmetic.ipynb"
    link.parent.mkdir()
    link.symlink_to(class_folder.resolve() / "solution_05" / "05_quantization_arithmetic.ipynb")
    kind = "a symbolic link to another's solution"
    return Expected("symbolic_link", "no notebook", kind, "", "", "symbolic link")


def as_text(rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(f"{value:{width}}" for value, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the made-up class, and say what each must get.")
    parser.add_argument("folder", type=Path, help="new: the submissions are written into it")
    head = ("student", "group", "kind", "expected")
    table = write(parser.parse_args().folder)
    print(as_text([head, *((e.student, e.group, e.kind, e.points or e.problem) for e in table)]))
