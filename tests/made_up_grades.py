"""A class's grades, made up: reports as the grader writes them, without running anything."""

import functools
import json

import numpy as np

from tinylab.check.task import Outcome
from tinylab.classroom.exercises import exercises, folder
from tinylab.classroom.report import Graded, Report, TaskReport

NAMES = ("Ana", "Björn", "Chiến", "Dana", "Εύα", "Farid", "Grace", "Hana", "Иван", "Jun 俊", "Keisha", "Liam")
SURNAMES = ("Abe", "Brown", "Çelik", "Diaz", "Ek", "Fox", "Gómez", "Haddad", "O'Neil", "van der Berg-Smith")
MESSAGES = {
    Outcome.WRONG: (
        "given     array([0.5])\nexpected  [1.]\ngot       [0.]\nperhaps   exact halves to the even number?",
        "given     array float32 (4, 6)\nexpected  shape (4, 6)\ngot       shape (6, 4)",
        "given     -1.5, 2.0\nexpected  int8\ngot       float64",
        "given     -1.5, 2.0\ngot       None: is there a return at the end of the function?",
    ),
    Outcome.ERROR: (
        "ValueError: operands could not be broadcast together with shapes ({},) (4,)",
        "NameError: name 'npp' is not defined",
        "the function took longer than 60 s",
    ),
}
HINTS = ("Look at the sign.", "Is a < b, or b & c?", "return 2 * x")


@functools.cache
def notebook(name: str) -> str:
    """A solution as executed, on its way through the author's hands."""
    return (folder("solutions") / f"{name}.ipynb").read_text(encoding="utf-8")


def changed(name: str, student: str) -> str:
    """The same, with an answer of the student's own in every cell that asks for one."""
    read = json.loads(notebook(name))
    for number, cell in enumerate(read["cells"]):
        if cell["cell_type"] == "code" and "def " in "".join(cell["source"]):
            cell["source"] = f"# {student}, {number}\n" + "".join(cell["source"])
    return json.dumps(read)


def report(name: str, rng: np.random.Generator, skill: float, executed: str) -> Report:
    tasks = []
    for place, task in enumerate(exercises()[name].tasks):
        outcome = Outcome.RIGHT
        if rng.random() > skill - 0.05 * place:
            outcome = list(Outcome)[rng.integers(3)]
        messages = MESSAGES.get(outcome, ("",))
        message = messages[rng.integers(len(messages))].format(rng.integers(9))
        tasks.append(TaskReport(task, outcome, message, HINTS))
    remarks = ["cell 3 ended the process, and was left out"] * (rng.random() < 0.03)
    remarks += ["imports tinylab.fixed_point, which the exercise does not"] * (rng.random() < 0.02)
    return Report(name, tuple(tasks), tuple(remarks), executed)


def a_class(students: int, names: tuple[str, ...], own: bool = False) -> list[Graded]:
    """Everything that a class handed in, most of it good.

    Args:
        students: how many.
        names: of the exercises.
        own: whether each notebook differs from the others.
    """
    rng, graded = np.random.default_rng(0), []
    for number in range(students):
        student = f"{NAMES[number % 12]} {SURNAMES[number // 12 % 10]}" + " II" * (number // 120)
        skill = rng.uniform(0.5, 1.1)
        for name in names:
            file = f"{student}/{name}.ipynb"
            if rng.random() < 0.05:
                continue
            if rng.random() < 0.03:
                problem = "It is no notebook: Expecting value, line 1, column 1."
                graded.append(Graded(student, str(1000 + number), file, problem=problem))
                continue
            executed = changed(name, student) if own else notebook(name)
            graded.append(Graded(student, str(1000 + number), file, name, report(name, rng, skill, executed)))
    return graded
