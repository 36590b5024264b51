"""A class that hands in to nbgrader: what the tests of its course, and the benchmark, share."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import nbformat

from tinylab import authoring

EXERCISE = "05_quantization_arithmetic"  # the quickest to run


def notebook(course, step, name=EXERCISE):
    return authoring.read(course / step / name / f"{name}.ipynb")


def marked(cells):
    return [cell for cell in cells if "nbgrader" in cell.metadata]


def answered(course, how_many):
    """The released notebook, with the answers to its first tasks."""
    released, source = notebook(course, "release"), notebook(course, "source")
    answers = {cell.id: cell.source for cell in source.cells}
    written = [cell for cell in marked(released.cells) if cell.metadata.nbgrader.solution]
    for cell in written[:how_many]:
        cell.source = answers[cell.id]
    return released


def hand_in(course, student, submission):
    place = course / "submitted" / student / EXERCISE
    place.mkdir(parents=True)
    nbformat.write(submission, place / f"{EXERCISE}.ipynb")


def call(folder, *command):
    """Run a command of this Python's environment, with an empty home, and so with no settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))}
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # nbgrader calls alembic
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {**kept, "HOME": str(home), "PATH": tools}
    ran = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout[-1000:]}\n{ran.stderr[-3000:]}"


def grades(table):
    """Rows of a table of grades, by student."""
    with open(table, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    return {row.get("student_id") or row["Student"]: row for row in rows}
