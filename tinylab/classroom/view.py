"""The tinylab that a learner's notebook gets to see while it is graded: what its exercise imports, no more.

Above all not the checks' references. In the place of `tinylab.check.exercise_05` there is a module of the
same names, whose tasks know nothing (`child.Handed`).
"""

import ast
import shutil
from collections.abc import Iterable
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

import tinylab
from tinylab.classroom.exercises import Exercise

PACKAGE = Path(tinylab.__file__).parent
HIDDEN = "tinylab.check.exercise_"
ALWAYS = ("tinylab.classroom.child", "tinylab.check.task", "tinylab.check.exchange")


def make(exercise: Exercise, folder: Path) -> list[str]:
    """Copy what there is to see into folder/tinylab.

    Returns:
        The modules that the exercise imports, TensorFlow and the like among them: worth importing early.
    """
    given = f"tinylab.check.given_{exercise.name[:2]}"
    given = given if _file(given) else ""
    imported = imported_modules(exercise.sources)
    for file in sorted(_closure([*imported, *ALWAYS, *filter(None, [given])])):
        _copy(file, folder / "tinylab")
    stub = [f'"""The tasks of exercise {exercise.name}, by their names."""', ""]
    stub += ["from tinylab.classroom.child import Handed"]
    stub += [f"from {given} import *"] if given else []
    stub += [f'{name} = Handed("{name}")' for name in exercise.tasks]
    (folder / "tinylab" / "check" / f"{exercise.check}.py").write_text("\n".join(stub) + "\n")
    return imported


def imported_modules(sources: Iterable[str]) -> list[str]:
    """The modules that an exercise's cells import: parts of tinylab by their full names.

    >>> imported_modules(["from tinylab import data, runners", "%pip list\\nimport numpy as np"])
    ['numpy', 'tinylab.data', 'tinylab.runners']
    """
    plain = TransformerManager().transform_cell  # without magics and shell commands
    return sorted(set().union(*(_imports(ast.parse(plain(source))) for source in sources)))


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inside if _file(name)}
            found |= modules | ({node.module} if modules != inside or not modules else set())
    return {name for name in found if not name.startswith(HIDDEN)}


def _file(module: str) -> Path | None:
    """Where a module of tinylab's is; None for others."""
    first, *parts = module.split(".")
    if first != "tinylab":
        return None
    path = PACKAGE.joinpath(*parts)
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def _closure(modules: Iterable[str]) -> set[Path]:
    """The files of modules of tinylab's, and of all that they import, or that is above them."""
    files: set[Path] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if file and file not in files:
            files.add(file)
            waiting += _imports(ast.parse(file.read_text(encoding="utf-8")))
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return files


def _copy(file: Path, package: Path) -> None:
    """A module, and with a package what it holds besides modules: data, weights, licences."""
    inside = package / file.relative_to(PACKAGE)
    inside.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, inside)
    if file.name != "__init__.py" or file.parent == PACKAGE:
        return
    for other in file.parent.iterdir():
        if other.is_dir() and not (other / "__init__.py").exists() and other.name != "__pycache__":
            shutil.copytree(other, inside.parent / other.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif other.is_file() and other.suffix != ".py":
            shutil.copyfile(other, inside.parent / other.name)
