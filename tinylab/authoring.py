"""What authors run: exercises from solutions; badges, set-up cells and what sections need; outputs.

    python -m tinylab.authoring exercises | badges | outputs [NOTEBOOK ...]

Solutions are the source. In a solution's code, what stands between "### BEGIN SOLUTION" and
"### END SOLUTION" (nbgrader's own markers) is the learner's to write; a Markdown cell tagged
"solution" explains the answer and is left out of the exercise.
"""

import argparse
import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tinylab.course import LESSONS, REPOSITORY
from tinylab.sections import HEADING, Section, sections

ROOT = Path(__file__).parent.parent
FOLDERS = ("notebooks", "exercises", "solutions")
STUB = "raise NotImplementedError  # your code here"
MARKED = re.compile(r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION", re.DOTALL | re.MULTILINE)
# Kept out of committed notebooks: what differs from machine to machine.
STRIPPED = "metadata.widgets cell.metadata.execution metadata.language_info.version"
# Warnings and progress would differ from run to run; an author's own tasks are not done by running solutions.
QUIET = {"TQDM_DISABLE": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "TINYLAB_PROGRESS": "off"}

SETUP = f"""\
# Set-up: in Colab this installs the course; elsewhere it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install -q "tinylab-course @ git+{REPOSITORY}"

import tinylab.data  # the course's data, and TensorFlow without its start-up messages"""

AFTER_A_RESTART = """\
**After a restart**, or where a cell says `NameError`, choose *Run → Run All Above Selected Cell* (in Colab \
*Runtime → Run before*). A section that uses results of others says so under its heading."""
MOST_NAMED = 3  # a longer list of sections helps nobody


def badge(notebook: Path) -> str:
    """The Open-in-Colab badge of a notebook, in Markdown."""
    place = REPOSITORY.removeprefix("https://github.com/")
    address = (
        f"https://colab.research.google.com/github/{place}/blob/main/{notebook.parent.name}/{notebook.name}"
    )
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address})"


def notebooks(*folders: str) -> list[Path]:
    """The course's notebooks, in order."""
    return [path for folder in folders or FOLDERS for path in sorted((ROOT / folder).glob("*.ipynb"))]


def solutions_of_exercises() -> list[Path]:
    """The solutions that exercises are made from: not the capstone's, whose lesson is the exercise."""
    exercises = {lesson.name for lesson in LESSONS if lesson.has_exercise}
    return [path for path in notebooks("solutions") if path.stem in exercises]


def with_badge_and_setup(notebook: NotebookNode, path: Path) -> NotebookNode:
    """The notebook with its badge and set-up cell as they should be."""
    notebook = copy.deepcopy(notebook)
    first = notebook.cells[0]
    first.source = re.sub(r"\[!\[Open in Colab\].*", lambda _: badge(path), first.source)
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    setup.source = SETUP
    return notebook


def with_needs(lesson: NotebookNode) -> NotebookNode:
    """The lesson with what to do after a restart, and under each heading what the section builds on."""
    lesson = copy.deepcopy(lesson)
    first = lesson.cells[0]
    first.source = re.sub(r"\n+\*\*After a restart\*\*.*", "", first.source) + f"\n\n{AFTER_A_RESTART}"
    needs = {section.heading: _needs(section) for section in sections(lesson)}
    for cell in lesson.cells:
        if cell.cell_type == "markdown":
            without = re.sub(r"\n+\*Builds on .*\*$", "", cell.source, flags=re.MULTILINE)
            cell.source = HEADING.sub(lambda match: match[0] + needs[match[1]], without)
    return lesson


def _needs(section: Section) -> str:
    names = [f'"{other.heading}"' for other in section.builds_on]
    if not names:
        return ""
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f"\n\n*Builds on {listed if len(names) <= MOST_NAMED else 'what is above'}.*"


def exercise_from(solution: NotebookNode, path: Path) -> NotebookNode:
    """The exercise that belongs to a solution: blanks for answers, no outputs."""
    exercise = copy.deepcopy(solution)
    exercise.cells = [cell for cell in exercise.cells if "solution" not in cell.metadata.get("tags", [])]
    for cell in exercise.cells:
        if cell.cell_type == "code":
            cell.source = MARKED.sub(lambda match: match.group(1) + STUB, cell.source)
            cell.outputs, cell.execution_count = [], None
    return with_badge_and_setup(exercise, path)


def sources(notebook: NotebookNode) -> list[tuple]:
    """What a notebook says, without outputs: kind, identity, tags and text of each cell."""
    return [(cell.cell_type, cell.id, cell.metadata.get("tags", []), cell.source) for cell in notebook.cells]


def read(path: Path) -> NotebookNode:
    """Read a notebook."""
    return nbformat.read(path, as_version=4)


def write_exercises() -> None:
    """Write every exercise whose solution has changed."""
    for solution in solutions_of_exercises():
        path = ROOT / "exercises" / solution.name
        made = exercise_from(read(solution), path)
        if not path.exists() or sources(read(path)) != sources(made):
            nbformat.write(made, path)
            print(f"{path.relative_to(ROOT)}: written; run `make outputs` to execute it")


def write_badges() -> None:
    """Write the repository's address and the set-up cell into every notebook, and needs into lessons."""
    for path in notebooks():
        old = read(path)
        new = with_badge_and_setup(old, path)
        if path.parent.name == "notebooks":
            new = with_needs(new)
        if sources(old) != sources(new):
            nbformat.write(new, path)
            print(f"{path.relative_to(ROOT)}: badge, set-up cell and needs written")


def execute(path: Path) -> None:
    """Run a notebook from top to bottom and store its outputs, without what differs by machine."""
    run = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace"]
    run += ["--ExecutePreprocessor.record_timing=False", "--ExecutePreprocessor.timeout=180"]
    subprocess.run([*run, "--log-level=WARN", str(path)], check=True, env={**os.environ, **QUIET})
    strip = [sys.executable, "-m", "nbstripout", "--keep-output", "--keep-count", "--keep-id"]
    subprocess.run([*strip, "--extra-keys", STRIPPED, str(path)], check=True)


def main() -> None:
    """Do what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("exercises", "badges", "outputs"))
    parser.add_argument("notebooks", nargs="*", type=Path, help="for outputs: only these")
    chosen = parser.parse_args()
    if chosen.what == "exercises":
        write_exercises()
    elif chosen.what == "badges":
        write_badges()
    else:
        for path in chosen.notebooks or notebooks():
            print(f"running {path}", flush=True)
            execute(path)


if __name__ == "__main__":
    main()
