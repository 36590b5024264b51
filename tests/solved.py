"""What the tests of exercises 02, 03 and 05 share: solutions from their notebooks, and tables of mistakes.

A table says, for each task, what wrong answers there are: what is wrong, the function, and words that the
message must hold.
"""

from types import SimpleNamespace

import pytest

from tinylab import authoring
from tinylab.check.task import Task


def solved(name):
    """The functions of solutions/NAME.ipynb, with what its import cell imports."""
    cells = authoring.read(authoring.ROOT / "solutions" / f"{name}.ipynb").cells
    namespace = {}
    for source in (cell.source for cell in cells if cell.cell_type == "code"):
        if source.startswith("import ") or "### BEGIN SOLUTION" in source:
            exec(source, namespace)
    return SimpleNamespace(**namespace)


def tasks(module):
    """The names of a module's tasks, in their order."""
    return [task.name for task in vars(module).values() if isinstance(task, Task)]


def checked(task, function, seed=1):
    """A check with cases from this seed."""
    return task.judge(task.collect(function, seed), seed)


def mistakes(table, slow=(), quick=2):
    """Parameters (task, function, words), one a mistake; of a slow task, `make check` tries `quick` ones."""
    return [
        pytest.param(
            name,
            function,
            words,
            marks=[pytest.mark.slow] if name in slow and number >= quick else [],
            id=f"{name}: {what}",
        )
        for name, wrong in table.items()
        for number, (what, (function, words)) in enumerate(wrong.items())
    ]
