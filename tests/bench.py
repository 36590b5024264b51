"""How fast is the integer engine, and how fast the grader? As ratios within one run.

The engine runs a batch of 1,000 on each architecture; the grader grades the same class as nbgrader does.

make bench
"""

import os
import tempfile
import time
from pathlib import Path

from tinylab import measure, runners
from tinylab.classroom import release
from tinylab.machine import processor

from . import with_nbgrader
from .architectures import ARCHITECTURES, int8_file
from .networks import inputs_for

SAMPLES = 1000
ROUNDS = 3  # the engines take turns, and each counts with its best
ENGINES = {"integer": {"engine": "integer"}, "reference": {"kernels": "reference"}, "default": {}}
GRADERS = {
    "nbgrader autograde": ["nbgrader", "autograde", with_nbgrader.EXERCISE],
    "tinylab grade --jobs 2": ["tinylab.cli", "grade", "submitted", "-o", "grades", "--jobs", "2"],
}
SOLVED = range(11)  # of exercise 05's tasks, by each student of a class


def seconds(content: bytes) -> dict[str, float]:
    """Time of a batch on each engine, in seconds."""
    ready = {name: runners.load(content, **how) for name, how in ENGINES.items()}
    inputs = inputs_for(ready["integer"], SAMPLES, seed=0)
    times = dict.fromkeys(ready, float("inf"))
    for runner in ready.values():
        runner.predict_integers([q[:300] for q in inputs])  # warm up
    for _ in range(ROUNDS):
        for name, runner in ready.items():
            started = time.perf_counter()
            runner.predict_integers(inputs)
            times[name] = min(times[name], time.perf_counter() - started)
    return times


def grading() -> dict[str, float]:
    """Time to grade a class with either, in seconds, from the command line to the grades."""
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


def main() -> None:
    """Print a line an architecture, then the times of the graders."""
    conditions = measure.conditions("integer engine, reference and default")
    print(f"{SAMPLES} inferences, best of {ROUNDS}; {conditions}")
    print(f"{'':14}{'integer engine':>16}{'reference / integer':>22}{'default / integer':>20}")
    for name in ARCHITECTURES:
        times = seconds(int8_file(name))
        ratios = [times[kernels] / times["integer"] for kernels in ("reference", "default")]
        print(f"{name:14}{times['integer']:14.2f} s{ratios[0]:21.2f}x{ratios[1]:19.2f}x")
    times = grading()
    print(f"\n{len(SOLVED)} notebooks of exercise 05; {processor()}, {os.cpu_count()} cores")
    for name, taken in times.items():
        print(f"{name:24}{taken:8.1f} s{times['nbgrader autograde'] / taken:8.1f}x")


if __name__ == "__main__":
    main()
