"""Grading a class: `tinylab grade` against nbgrader, from the command line to the same grades."""

import tempfile
import time
from pathlib import Path

from tinylab.classroom import release

from .. import with_nbgrader

GRADERS = {
    "nbgrader autograde": ["nbgrader", "autograde", with_nbgrader.EXERCISE],
    "tinylab grade --jobs 2": ["tinylab.cli", "grade", "submitted", "-o", "grades", "--jobs", "2"],
}
SOLVED = range(11)  # of exercise 05's tasks, by each student of a class


def grading() -> dict:
    """Seconds to grade a class of eleven with either."""
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        course = Path(folder) / "course"
        release.nbgrader_course(course, release.choose(["05"]))
        for solved in SOLVED:
            with_nbgrader.hand_in(course, f"student{solved}", with_nbgrader.answered(course, solved))
        for name, command in GRADERS.items():
            started = time.perf_counter()
            with_nbgrader.call(course, *command)
            times[name] = time.perf_counter() - started
        with_nbgrader.call(course, "nbgrader", "export")
        for table, column in (("grades.csv", "score"), ("grades/grades.csv", with_nbgrader.EXERCISE)):
            rows = with_nbgrader.grades(course / table)
            assert {student: float(row[column]) for student, row in rows.items()} == {
                f"student{solved}": solved for solved in SOLVED
            }
    return times
