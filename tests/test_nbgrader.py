"""The course for nbgrader, tried with the real nbgrader: what it releases, and what grades it gives."""

import importlib.util
import os
import re

import pytest

from tinylab import authoring
from tinylab.classroom import release
from tinylab.classroom.exercises import exercises
from tinylab.errors import TinylabError

from .with_nbgrader import EXERCISE, answered, call, grades, hand_in, marked, notebook

pytestmark = [
    pytest.mark.long,  # `make class`
    pytest.mark.skipif(
        importlib.util.find_spec("nbgrader") is None and not os.environ.get("CI"),
        reason="nbgrader is not installed",
    ),
]

NAMES = list(exercises())


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The course with all exercises."""
    folder = tmp_path_factory.mktemp("nbgrader") / "course"
    release.nbgrader_course(folder, release.choose([]))
    return folder


# what is released


@pytest.mark.parametrize("name", NAMES)
def test_nbgrader_finds_its_metadata_valid(course, name):
    from nbgrader.nbgraderformat import MetadataValidator

    for step in ("source", "release"):
        MetadataValidator().validate_nb(notebook(course, step, name))


@pytest.mark.parametrize("name", NAMES)
def test_every_task_has_a_cell_to_write_and_a_check_worth_one_point(course, name):
    cells = [cell.metadata.nbgrader for cell in marked(notebook(course, "source", name).cells)]
    written, checks = cells[::2], cells[1::2]
    tasks = exercises()[name].tasks
    assert [cell.grade_id for cell in checks] == list(tasks)
    assert [cell.grade_id for cell in written] == [f"{task}_answer" for task in tasks]
    for cell in checks:
        assert (cell.grade, cell.locked, cell.solution, cell.points) == (True, True, False, 1)
    for cell in written:
        assert (cell.grade, cell.locked, cell.solution) == (False, False, True)


@pytest.mark.parametrize("name", NAMES)
def test_the_released_notebook_is_the_exercise_and_holds_no_answer(course, name):
    released, exercise = notebook(course, "release", name), authoring.read(exercises()[name].path)
    assert [cell.id for cell in released.cells] == [cell.id for cell in exercise.cells]
    for cell, original in zip(released.cells, exercise.cells, strict=True):
        if cell.cell_type == "code":
            assert (cell.source, cell.outputs) == (original.source, [])
    assert "SOLUTION" not in str(released)
    assert "colab.research.google.com/github" not in str(released)


def test_what_explains_an_answer_stays_in_the_source(course):
    def explained(step):
        every = [cell for name in NAMES for cell in notebook(course, step, name).cells]
        return [cell for cell in every if "solution" in cell.metadata.get("tags", [])]

    assert len(explained("source")) > 50
    assert explained("release") == []


def test_made_again_it_is_the_same_whatever_nbgrader_is_set_to_elsewhere(course, tmp_path, monkeypatch):
    (tmp_path / "settings").mkdir()
    elsewhere = f"c = get_config()\nc.CourseDirectory.root = {str(tmp_path / 'other')!r}\n"
    (tmp_path / "settings" / "nbgrader_config.py").write_text(elsewhere)
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "settings"))
    for _ in range(2):
        release.nbgrader_course(tmp_path / "again", release.choose(["05"]))
    again = {p.relative_to(tmp_path / "again"): p.read_bytes() for p in (tmp_path / "again").rglob("*.ipynb")}
    assert len(again) == 2
    assert again == {path: (course / path).read_bytes() for path in again}
    assert not (tmp_path / "other").exists()


# what grades it gives


def forged(course):
    """Nothing solved, and a cell that replaces the checks."""
    released = answered(course, 0)
    check = next(cell for cell in released.cells if "exercise_05 as check" in cell.source)
    check.source += "\ncheck.Task.__call__ = lambda *_: 1"
    return released


def misfit(course):
    """Solved but for one function, in a kernel that this machine lacks, and with a check changed."""
    released = answered(course, None)
    released.metadata.kernelspec = {"name": "colab", "display_name": "Colab", "language": "python"}
    cells = marked(released.cells)
    cells[1].source = "1 / 0"
    cells[2].source = "def scale_and_zero_point(low, high):\n    raise SystemExit"
    return released


STEPS = (f"autograde {EXERCISE}", f"generate_feedback {EXERCISE}", "export")
# For each student what is handed in, made from a course, and the points that it must get.
SUBMITTED = {
    "blank": (lambda course: answered(course, 0), 0),
    "partial": (lambda course: answered(course, 4), 4),
    "right": (lambda course: answered(course, None), 10),
    "misfit": (misfit, 9),
}
FORGED = {"forged": (forged, 10)}  # not what it must get, but what nbgrader gives


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A course in which some submissions were graded: the folder, and rows of its grades by student."""
    folder = tmp_path_factory.mktemp("graded") / "course"
    release.nbgrader_course(folder, release.choose(["05"]))
    for student, (made, _) in (SUBMITTED | FORGED).items():
        hand_in(folder, student, made(folder))
    for step in STEPS:
        call(folder, "nbgrader", *step.split())
    return folder, grades(folder / "grades.csv")


@pytest.mark.parametrize("student", SUBMITTED)
def test_a_submission_gets_its_points(graded, student):
    _, found = graded
    row = found[student]
    assert (float(row["score"]), float(row["max_score"])) == (SUBMITTED[student][1], 10)


@pytest.mark.parametrize("student", SUBMITTED)
def test_feedback_shows_each_task_with_its_points(graded, student):
    folder, _ = graded
    page = (folder / "feedback" / student / EXERCISE / f"{EXERCISE}.html").read_text()
    assert f"(Score: {SUBMITTED[student][1]:.1f} / 10.0)" in page
    for task in exercises()[EXERCISE].tasks:
        assert f">{task}<" in page


def test_nbgrader_believes_a_notebook_that_replaces_its_checks(graded):
    """What docs/teaching.md warns of; if nbgrader ever learns better, the page has to say so."""
    _, found = graded
    assert float(found["forged"]["score"]) == FORGED["forged"][1]


def test_a_course_in_use_is_not_replaced(graded):
    folder, _ = graded
    with pytest.raises(TinylabError, match="not written by `tinylab classroom release`, or changed since"):
        release.nbgrader_course(folder, release.choose(["06"]))
    assert (folder / "submitted" / "right" / EXERCISE / f"{EXERCISE}.ipynb").exists()
    assert not (folder / "source" / "06_integer_only_inference").exists()


def test_the_teachers_page_has_the_steps_that_were_tried():
    page = (authoring.ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    assert re.findall(r"^nbgrader (.+)$", page, re.MULTILINE) == list(STEPS)
