"""Every task of every exercise: asked in a process that knows no answers; and no constant is an answer."""

import functools
import importlib
import json
import pickle

import numpy as np
import pytest

from tinylab import authoring
from tinylab.check import exchange
from tinylab.check.answers import Answers
from tinylab.check.task import Outcome, Task

from .solved import expected, solved

EXERCISES = [path.stem for path in sorted((authoring.ROOT / "exercises").glob("*.ipynb"))]
# A product, which is judged by what it does: the right one for one seed is right for others, too.
DELIVERABLES = ("my_file", "rescue", "make_it_fit")
# Their cases, or the right answers to them, take a second or more.
SLOW = (
    *("run_one", "is_faithful", "stays_float32", "constant_bytes", "constants_in_file", "left_in_float32"),
    *("predict_size", "to_integers", "computes_in_integers", "diagnose", "repair", "quantize_bias"),
    *("differing_values", "my_kernels", "guilty_layer", "mend_channels", "mend_outliers"),
    *("mend_switched_off", "lifetimes", "arena_size", "read_c_array"),
)


@functools.cache
def solution_of(exercise):
    return solved(exercise)


def tasks_of(exercise):
    module = importlib.import_module(f"tinylab.check.exercise_{exercise[:2]}")
    return [task for task in vars(module).values() if isinstance(task, Task)]


def parameters(of=lambda task: True):
    return [
        pytest.param(exercise, task, id=task.name, marks=[pytest.mark.long] if task.name in SLOW else [])
        for exercise in EXERCISES
        for task in tasks_of(exercise)
        if of(task) and task.name not in DELIVERABLES
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("exercise", "task"), parameters())
def test_right_answers_to_one_seed_are_wrong_for_another(exercise, task):
    answers = task.collect(getattr(solution_of(exercise), task.name), 1)
    assert task.judge_against(answers, expected(task, 1)).score == 1
    assert task.judge_against(answers, expected(task, 2)).outcome is Outcome.WRONG


CONSTANTS = [True, False, "fine", "not scaled", "dimmed", "float inside", [], {}, *range(9)]
FEW_ANSWERS = ("is_faithful", "computes_in_integers", "diagnose", "guilty_layer", "fits_on", "place")


@pytest.mark.parametrize(("exercise", "task"), parameters(lambda task: task.name in FEW_ANSWERS))
def test_one_answer_to_all_cases_is_wrong(exercise, task):
    for seed in (1, 2):
        for constant in CONSTANTS:
            answers = Answers([constant] * len(expected(task, seed)))
            assert task.judge_against(answers, expected(task, seed)).outcome is Outcome.WRONG


@pytest.mark.slow
def test_whether_files_are_faithful_changes_with_the_seed():
    """Ten cases of two answers: nobody guesses them."""
    (task,) = (task for task in tasks_of(EXERCISES[0]) if task.name == "is_faithful")
    seen = {tuple(right for _, right in task.expected(seed)) for seed in (1, 2, 3)}
    assert len(seen) == 3
    assert all(len(answers) == 10 and set(answers) == {True, False} for answers in seen)


# In a process without references

COLLECT = """
import json, pickle, sys

class Hidden:
    "Finds no module that knows what is right, and none that makes cases."
    def find_spec(self, name, *_):
        if name.startswith(("tinylab.check.exercise_", "tinylab.check.networks")):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden())
from tinylab.check import exchange, task
for source in json.load(open({sources!r})):
    exec(source, globals())
given = pickle.load(open({cases!r}, "rb"))
answers = {{}}
for name, content, called in given:
    cases, call = pickle.loads(content)
    answers[name] = exchange.dump(task.collect(globals()[name], cases, name, call)) if called else b""
pickle.dump(answers, open({answers!r}, "wb"))
assert not any(module.startswith("tinylab.check.exercise_") for module in sys.modules)
"""


def sources(exercise):
    """What a solution imports and defines, without its checks."""
    cells = authoring.read(authoring.ROOT / "solutions" / f"{exercise}.ipynb").cells
    chosen = [
        cell.source
        for cell in cells
        if cell.cell_type == "code" and (cell.source.startswith("import ") or "BEGIN SOLUTION" in cell.source)
    ]
    lines = "\n".join(chosen).splitlines()
    return "\n".join(line for line in lines if not line.startswith("from tinylab.check import"))


def collected_elsewhere(run_python, folder, exercise, tasks, seed):
    files = {name: str(folder / name) for name in ("sources", "cases", "answers")}
    (folder / "sources").write_text(json.dumps([sources(exercise)]))
    given = [
        (task.name, pickle.dumps((task.cases(np.random.default_rng(seed)), task.call)), called)
        for task, called in ((task, task.name not in DELIVERABLES) for task in tasks)
    ]
    (folder / "cases").write_bytes(pickle.dumps(given))
    run_python(COLLECT.format(**files))
    return pickle.loads((folder / "answers").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize(
    "exercise", [pytest.param(e, marks=[] if e[:2] == "05" else [pytest.mark.long]) for e in EXERCISES]
)
def test_a_process_that_sees_no_references_can_answer(run_python, tmp_path, exercise):
    tasks = tasks_of(exercise)
    answers = collected_elsewhere(run_python, tmp_path, exercise, tasks, seed=5)
    for task in tasks:
        if task.name not in DELIVERABLES:  # they train: their cases are unpickled, no more
            result = task.judge(exchange.load(answers[task.name]), 5)
            assert result.score == 1, result
