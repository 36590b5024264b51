"""Good, partial and blank submissions: every way to be right, or to be wrong, in good faith."""

import re

import numpy as np

from tinylab.classroom.exercises import exercises

from .handing_in import ROOT, Notebook, blank, code_cell, good, others_call, partly, solutions, zip_of


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
        {"cell_type": "code"},
        {"source": "x = 2"},
        7,
        None,
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


# Partial: some tasks right, others not


@partly("05", "the first three tasks solved", solved=3)
def first_three(notebook): ...


@partly("05", "one task solved, in the middle", solved=0, points="0001000000")
def only_the_fourth(notebook):
    notebook.define("dequantize", solutions(exercises()["05_quantization_arithmetic"])["dequantize"])


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
