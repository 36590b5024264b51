"""One notebook's grade: right for what is right, and for nothing else."""

import json

import nbformat
import pytest

from tinylab.check.task import Outcome
from tinylab.classroom import grading
from tinylab.classroom.exercises import exercises, folder
from tinylab.classroom.sandbox import Limits

pytestmark = pytest.mark.long  # `make class`

NAME = "05_quantization_arithmetic"
TASKS = exercises()[NAME].tasks
LIMITS = Limits(seconds=5)
ENDLESS = "while True:\n    try:\n        for i in range(10**9): i + 1\n    except BaseException: pass"


@pytest.fixture(scope="module", autouse=True)
def _ended():
    yield
    grading.close()


def notebook(kind="solutions"):
    return nbformat.read(folder(kind) / f"{NAME}.ipynb", as_version=4)


def with_cell(source, place=3):
    """The solution with a cell more."""
    changed = notebook()
    changed.cells.insert(place, nbformat.v4.new_code_cell(source))
    return changed


def with_function(name, source):
    """The solution, in which a function is another one."""
    changed = notebook()
    (cell,) = [c for c in changed.cells if c.cell_type == "code" and f"def {name}(" in c.source]
    cell.source = source
    return changed


def graded(content, seed=1234):
    content = content if isinstance(content, bytes) else nbformat.writes(content).encode()
    return grading.grade_notebook(content, NAME, seed, LIMITS)


def outcomes(report):
    return {task.task: task.outcome for task in report.tasks}


def test_a_solution_gets_every_point_on_any_cases():
    for seed in range(3):
        report = graded(notebook(), seed)
        assert [task.task for task in report.tasks] == list(TASKS)
        assert (report.points, report.remarks) == (len(TASKS), ())


def test_an_untouched_exercise_gets_none():
    report = graded(notebook("exercises"))
    assert set(outcomes(report).values()) == {Outcome.NOT_ATTEMPTED}
    assert all(task.hints for task in report.tasks)


def test_a_mistake_costs_its_task_and_is_named():
    report = graded(
        with_function("quantize_bias", "def quantize_bias(b, input_scale, weight_scales): return b")
    )
    assert outcomes(report)["quantize_bias"] is Outcome.WRONG
    assert report.points == len(TASKS) - 1
    assert "expected" in report.tasks[5].message


def test_an_error_costs_its_task():
    report = graded(with_function("dequantize", "def dequantize(*arguments): return 1 / 0"))
    assert (report.tasks[3].outcome, report.points) == (Outcome.ERROR, len(TASKS) - 1)
    assert "ZeroDivisionError" in report.tasks[3].message


def test_a_function_that_is_not_there_was_not_attempted():
    assert outcomes(graded(with_function("dense", "x = 1")))["dense"] is Outcome.NOT_ATTEMPTED


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os; os._exit(0)", "cell 3 ended its process, and was left out"),
        (ENDLESS, "did not end within 5 s"),
        ("import os\nwhile True: os.fork()", "processes, and was left out"),
    ],
)
def test_a_cell_that_ends_the_process_is_left_out_and_the_rest_counts(source, words):
    report = graded(with_cell(source, 4))
    assert report.points == len(TASKS)
    (remark,) = report.remarks
    assert words in remark
    cells = [cell for cell in json.loads(report.notebook)["cells"] if cell["cell_type"] == "code"]
    assert "was left out" in cells[2]["outputs"][0]["text"]
    assert cells[3]["execution_count"] == 4


@pytest.mark.parametrize(
    "body", ["import os; os._exit(0)", "import time; time.sleep(100)", "x = [0] * 10**11"]
)
def test_a_function_that_ends_the_process_costs_its_task_only(body):
    report = graded(with_function("dequantize", f"def dequantize(*arguments): {body}"))
    assert (report.tasks[3].outcome, report.points) == (Outcome.ERROR, len(TASKS) - 1)


def test_too_many_deadly_cells_end_the_patience():
    report = graded(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import os; os._exit(0)")] * 20)
    )
    assert (report.points, len(report.remarks)) == (0, grading.MOST_LEFT_OUT)


FORGED = {
    "a check that always says 1": "class check:\n    dense = staticmethod(lambda f: 1)\ncheck.dense(1)",
    "a patched judge": "from tinylab.check import task\ntask.Task.judge = task.Task.__call__ = lambda *a: 1",
    "patched comparisons": "import numpy as np\nnp.argwhere = np.array_equal = lambda *a, **k: np.zeros(0)",
    "a reply written to every open file": (
        "import os\nfor f in range(3, 100):\n"
        '    try: os.write(f, b\'{"begins": "end", "bytes": 0}\\n\')\n    except OSError: pass'
    ),
    "a printed score": "print('score: 10/10')\n10",
}


@pytest.mark.parametrize("kind", FORGED)
def test_nothing_in_a_notebook_makes_points(kind):
    blank = notebook("exercises")
    blank.cells.insert(4, nbformat.v4.new_code_cell(FORGED[kind]))
    for cell in blank.cells:
        cell.metadata["nbgrader"] = {"grade": True, "points": 100, "grade_id": "dense", "schema_version": 3}
    assert graded(blank).points == 0


def test_answers_that_lie_about_themselves_are_wrong():
    class_of_lies = (
        "class Liar(np.ndarray):\n"
        "    __eq__ = lambda s, o: np.ones(s.shape, bool)\n"
        "    __ne__ = lambda s, o: np.zeros(s.shape, bool)\n"
        "    def __reduce__(self): return (print, ('ran',))\n"
        "def quantize(x, scale, zero_point): return np.zeros(x.shape, np.int8).view(Liar)"
    )
    assert outcomes(graded(with_function("quantize", class_of_lies)))["quantize"] is Outcome.WRONG


def test_answers_known_by_heart_are_wrong_on_other_cases():
    """Those of the notebook's own check: right there, and nowhere else."""
    from tinylab.check import exercise_05
    from tinylab.check.task import NOTEBOOK_SEED

    known = [right.answer.tolist() for _, right in exercise_05.quantize.expected(NOTEBOOK_SEED)]
    source = (
        f"known = {known!r}\n"
        "def quantize(x, scale, zero_point):\n"
        "    return next(a for a in (np.int8(k) for k in known) if a.shape == x.shape)"
    )
    report = graded(with_function("quantize", source))
    assert outcomes(report)["quantize"] in (Outcome.WRONG, Outcome.ERROR)
    assert report.points == len(TASKS) - 1


def test_modules_that_the_exercise_does_not_use_are_remarked():
    (remark,) = graded(
        with_cell("try:\n    from tinylab import fixed_point\nexcept ImportError: pass")
    ).remarks
    assert remark == "imports tinylab.fixed_point, which the exercise does not"


def test_cells_are_shown_as_they_were_executed():
    cells = json.loads(graded(with_cell("print('seen by the teacher')")).notebook)["cells"]
    shown = [output for cell in cells for output in cell.get("outputs", [])]
    assert "seen by the teacher\n" in [output.get("text") for output in shown]


def test_a_process_that_does_not_even_begin_is_no_fault_of_the_notebook(monkeypatch):
    from tinylab.classroom.sandbox import Run, Sandbox
    from tinylab.errors import TinylabError

    monkeypatch.setattr(Sandbox, "run", lambda *_: Run(stopped="ended its process"))
    with pytest.raises(TinylabError, match="the process that notebooks are run in ended"):
        graded(notebook())


def test_the_judge_survives_what_it_is_given():
    from tinylab.classroom.judge import Judge

    judge = Judge(exercises()[NAME], 1)
    assert list(judge.cases()) == list(TASKS)
    for content in (b"", b"noise", b"\x80\x04N." * 1000):
        assert judge.judge("dense", content).points == 0
    judge._process.kill()
    assert judge.judge("dense", b"").points == 0
    assert list(judge.cases()) == list(TASKS)
    judge.close()
