"""Exercises out: a folder and a zip to hand out, or a whole course for nbgrader.

A release is made beside its folder, and takes its place when it is complete. It holds a list of its files
with their hashes, so that making it again replaces what was made, and never what somebody has written.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinylab import course
from tinylab.classroom.exercises import CHECK_CELL, Exercise, exercises, folder
from tinylab.errors import DataError, TinylabError

ZIP = "tinylab-exercises.zip"
LIST = ".tinylab-release.json"
BEGIN = "### BEGIN SOLUTION"
DEFINED = re.compile(r"def (\w+)\(")
TITLE = re.compile(r"# Exercise \d\d · (.*)")

README = """\
# Exercises

Notebooks of a course on how a neural network is made to run in 8 bits. In each you write some functions, and
a check below each function says at once whether it is right. Read the lesson first.

| hand in | what it is | functions | lessons |
|---|---|---|---|
{rows}

1. **Open a notebook.** In Colab (https://colab.research.google.com): *File > Upload notebook*; its first cell
   installs the course. On your own machine, with Python 3.11, 3.12 or 3.13 and git:

   ```
   python -m pip install "{distribution}"
   jupyter lab
   ```

2. **Write the functions.** Replace `raise NotImplementedError  # your code here`, then run the cell and the
   check below it. A check shows the first case that differs, and gives hints. Try as often as you like. You
   may add cells; leave the functions' names and the checks as they are.
3. **Before you hand in,** restart the kernel, run all cells from top to bottom (*Run > Restart Kernel and Run
   All Cells*; in Colab *Runtime > Restart session and run all*), and save.
4. **Hand in** the notebook itself, the `.ipynb` file that the table names (in Colab *File > Download >
   Download .ipynb*). Each function counts by itself, so hand in an exercise that is not complete, too.

Your functions will be called with other cases than those that the checks show.
"""

CONFIG = '''\
"""nbgrader's settings for this course. nbgrader reads them when it is called in this folder."""

import os

c = get_config()  # noqa: F821

os.environ["TINYLAB_PROGRESS"] = "off"  # what learners have solved is not your own progress

c.CourseDirectory.course_id = "tinylab"

# A cell that takes longer is stopped, and counts 0. Some checks train a network.
c.Execute.timeout = 180

# Every submission runs in this kernel, whatever kernel it names. Its Python must have tinylab-course:
# if it lacks a package, all get 0, and nothing says why.
c.Execute.kernel_name = "python3"

c.ClearSolutions.code_stub = {{"python": "{stub}"}}

# Cells that explain an answer stay in source/, and are not released.
c.GenerateAssignment.preprocessors.prepend(["nbconvert.preprocessors.TagRemovePreprocessor"])
c.TagRemovePreprocessor.enabled = True
c.TagRemovePreprocessor.remove_cell_tags = {{"solution"}}
'''


def choose(names: Sequence[str]) -> list[Exercise]:
    """Exercises by number ("5", "05") or name, in the order of the course; no names: all.

    >>> [exercise.name for exercise in choose(["05", "02_optimization_flags"])]
    ['02_optimization_flags', '05_quantization_arithmetic']

    Raises:
        DataError: there is no such exercise.
    """
    known = {
        key: exercise
        for name, exercise in exercises().items()
        for key in (name, name[:2], name[:2].lstrip("0"))
    }
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(f"no exercise {', '.join(unknown)}; there are {', '.join(exercises())} (05 will do).")
    chosen = {known[name].name for name in names}
    return [exercise for name, exercise in exercises().items() if not names or name in chosen]


def release(place: str | os.PathLike, chosen: Sequence[Exercise]) -> list[Path]:
    """Write what learners get: notebooks, README.md, and a zip of them for a learning management system.

    The zip is the same, byte for byte, whenever it is made.

    Args:
        place: the folder to write: a new one, or one that holds an earlier release.
        chosen: exercises, from `choose`.

    Returns:
        Paths of the files.

    Raises:
        TinylabError: the folder holds something else; no space, or no permission to write.
    """
    files = {exercise.path.name: _dump(_handed_out(exercise.path)) for exercise in chosen}
    files["README.md"] = _readme(chosen)
    with _new_folder(Path(place)) as new:
        for name, text in files.items():
            _write(new / name, text)
        with zipfile.ZipFile(new / ZIP, "w") as archive:  # stored: compressed bytes vary with the library
            for name, text in sorted(files.items()):
                entry = zipfile.ZipInfo(f"{Path(ZIP).stem}/{name}", date_time=(2000, 1, 1, 0, 0, 0))
                entry.create_system, entry.external_attr = 3, 0o100644 << 16
                archive.writestr(entry, text)
    return [Path(place) / name for name in (*files, ZIP)]


def nbgrader_course(place: str | os.PathLike, chosen: Sequence[Exercise]) -> list[Path]:
    """Write a course directory for nbgrader: settings, source/, release/ and the gradebook.

    Each check cell is worth one point; cells to write, and checks, have metadata of schema 3. release/ and
    gradebook.db are made by nbgrader.

    Args:
        place: the folder to write: a new one, or a course of ours that nobody has used.
        chosen: exercises, from `choose`.

    Returns:
        Paths of the released notebooks.

    Raises:
        TinylabError: nbgrader is not installed, or fails; the folder holds something else; no space, or no
            permission to write.
    """
    if importlib.util.find_spec("nbgrader") is None:
        raise TinylabError('nbgrader is not installed: pip install "tinylab-course[nbgrader]".')
    from tinylab.authoring import STUB

    with _new_folder(Path(place)) as new:
        _write(new / "nbgrader_config.py", CONFIG.format(stub=STUB))
        for exercise in chosen:
            source = new / "source" / exercise.name / exercise.path.name
            source.parent.mkdir(parents=True)
            _write(source, _dump(_nbgrader_source(exercise)))
        _generate_assignments(new)
    return [Path(place) / "release" / exercise.name / exercise.path.name for exercise in chosen]


def _handed_out(path: Path) -> dict:
    """A notebook without outputs; links that need the whole course point to the course on the web."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        else:
            linked = "".join(cell["source"]).replace("](../", f"]({course.REPOSITORY}/blob/main/")
            cell["source"] = linked.splitlines(keepends=True)
    return notebook


def _readme(chosen: Sequence[Exercise]) -> str:
    rows = []
    for exercise in chosen:
        first = "".join(json.loads(exercise.path.read_text(encoding="utf-8"))["cells"][0]["source"])
        title = TITLE.match(first)[1]
        read = ", ".join(
            f"[{lesson.title}]({course.REPOSITORY}/blob/main/notebooks/{lesson.name}.ipynb)"
            for lesson in course.leading_to(exercise.name)
        )
        rows.append(f"| `{exercise.path.name}` | {title} | {len(exercise.tasks)} | {read} |")
    return README.format(rows="\n".join(rows), distribution=f"tinylab-course[lab] @ git+{course.REPOSITORY}")


def _nbgrader_source(exercise: Exercise) -> dict:
    """The solution, its cells marked as nbgrader wants it.

    Without its badge: what Colab opens there is another notebook, whose cells are not marked.
    """
    notebook = _handed_out(folder("solutions") / exercise.path.name)
    for cell in notebook["cells"]:
        cell["source"] = [line for line in cell["source"] if not line.startswith("[![Open in Colab]")]
        text, kind = "".join(cell["source"]), None
        if cell["cell_type"] == "code" and BEGIN in text:
            kind = {"grade_id": DEFINED.match(text)[1] + "_answer", "solution": True}
        elif cell["cell_type"] == "code" and (check := CHECK_CELL.fullmatch(text)):
            kind = {"grade_id": check[1], "grade": True, "locked": True, "points": 1}
        if kind:
            blank = {"schema_version": 3, "grade": False, "solution": False, "locked": False, "task": False}
            cell["metadata"]["nbgrader"] = blank | kind
    return notebook


def _generate_assignments(place: Path) -> None:
    """Have nbgrader make release/ and gradebook.db, with this course's settings and nobody else's."""
    with tempfile.TemporaryDirectory() as no_settings:
        tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # it calls alembic
        ran = subprocess.run(
            [sys.executable, "-m", "nbgrader", "generate_assignment", "--assignment=*"],
            cwd=place,
            env={**os.environ, "PATH": tools, "JUPYTER_CONFIG_DIR": no_settings},
            capture_output=True,
            text=True,
        )
    if ran.returncode:
        said = [line for line in ran.stderr.splitlines() if line.strip()] or ["nothing"]
        raise TinylabError(f"nbgrader generate_assignment failed; it said: {said[-1]}")


def _dump(notebook: dict) -> str:
    """As nbformat writes it."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


@contextlib.contextmanager
def _new_folder(place: Path) -> Iterator[Path]:
    """A folder to write into, which takes its place when all is written."""
    place = place.resolve()
    new, old = (place.parent / f".{place.name}.{state}" for state in ("unfinished", "replaced"))
    try:
        _refuse_foreign(place)
        for left in (new, old):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            yield new
            files = sorted(path for path in new.rglob("*") if path.is_file())
            hashes = {path.relative_to(new).as_posix(): _hash(path) for path in files}
            _write(new / LIST, json.dumps(hashes, indent=1) + "\n")
            if place.exists():
                place.replace(old)
            new.replace(place)
        finally:
            for left in (new, old):
                shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise TinylabError(f"cannot write {place}: {error.strerror or error}.") from error


def _refuse_foreign(place: Path) -> None:
    if Path.cwd().is_relative_to(place):
        raise TinylabError(f"{place}: you are in this folder, and it would be replaced; name another one.")
    if not place.exists():
        return
    if not place.is_dir():
        raise TinylabError(f"{place}: is no folder; name another one.")
    listed = _listed(place)
    known = {*listed, LIST, *(parent.as_posix() for name in listed for parent in Path(name).parents)}
    for path in place.rglob("*"):
        name = path.relative_to(place).as_posix()
        if name not in known or (name in listed and listed[name] != _hash(path)):
            raise TinylabError(
                f"{path}: not written by `tinylab classroom release`, or changed since; name a new folder."
            )


def _listed(place: Path) -> dict[str, str]:
    """Hashes of the files of a release, by their names in it."""
    try:
        listed = json.loads((place / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return listed if isinstance(listed, dict) else {}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
