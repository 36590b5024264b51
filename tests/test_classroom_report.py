"""What all parts of the classroom share: what an exercise asks for, and what came of a notebook."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinylab
from tinylab import authoring
from tinylab.check.task import Outcome
from tinylab.classroom import exercises as module
from tinylab.classroom.exercises import exercises, folder
from tinylab.classroom.report import Report, TaskReport
from tinylab.course import LESSONS
from tinylab.errors import DataError

BLANK = "raise NotImplementedError  # your code here"

TASKS = st.builds(
    TaskReport, st.text(), st.sampled_from(Outcome), st.text(), st.lists(st.text(), max_size=3).map(tuple)
)
REPORTS = st.builds(
    Report,
    st.text(),
    st.lists(TASKS, max_size=4).map(tuple),
    st.lists(st.text(), max_size=3).map(tuple),
    st.text(),
)


def test_the_exercises_are_those_that_the_lessons_announce():
    announced = [lesson.name for lesson in LESSONS if lesson.has_exercise]
    assert list(exercises()) == announced
    assert all((folder("solutions") / f"{name}.ipynb").is_file() for name in exercises())


@pytest.mark.parametrize("exercise", exercises().values(), ids=lambda exercise: exercise.name)
def test_the_tasks_of_an_exercise_are_its_blanks_in_their_order(exercise):
    blanks = [
        re.search(r"^def (\w+)", source, re.MULTILINE)[1] for source in exercise.sources if BLANK in source
    ]
    assert list(exercise.tasks) == blanks
    assert len(set(exercise.tasks)) == len(exercise.tasks) > 0


@pytest.mark.parametrize("exercise", exercises().values(), ids=lambda exercise: exercise.name)
def test_an_exercise_imports_the_checks_that_bear_its_number(exercise):
    imported = re.findall(
        r"^from tinylab\.check import (\w+) as check$", "\n".join(exercise.sources), re.MULTILINE
    )
    assert imported == [exercise.check]


@pytest.mark.parametrize("exercise", exercises().values(), ids=lambda exercise: exercise.name)
def test_the_sources_of_an_exercise_are_its_code_and_no_text(exercise):
    cells = authoring.read(exercise.path).cells
    assert list(exercise.sources) == [cell.source for cell in cells if cell.cell_type == "code"]


def test_no_two_exercises_share_a_task():
    tasks = [task for exercise in exercises().values() for task in exercise.tasks]
    assert len(set(tasks)) == len(tasks)


def test_an_installation_without_exercises_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(tinylab, "__file__", str(tmp_path / "tinylab" / "__init__.py"))
    with pytest.raises(DataError, match=r"lacks its exercises: install it again"):
        folder("exercises")


@pytest.mark.parametrize("where", ["tinylab/classroom/exercises", "exercises"])
def test_exercises_are_found_in_a_clone_and_where_they_are_installed(where, tmp_path, monkeypatch):
    (tmp_path / where).mkdir(parents=True)
    monkeypatch.setattr(module.tinylab, "__file__", str(tmp_path / "tinylab" / "__init__.py"))
    assert folder("exercises") == tmp_path / where


@given(REPORTS)
def test_a_report_comes_back_from_text_as_it_was(report):
    assert Report.from_json(report.to_json()) == report


def test_only_right_answers_have_points():
    report = Report("05", tuple(TaskReport(outcome.name, outcome) for outcome in Outcome))
    assert [task.points for task in report.tasks] == [int(task.task == "RIGHT") for task in report.tasks]
    assert report.points == 1
    assert Report("05", ()).points == 0


GOOD = json.loads(Report("05", (TaskReport("f", Outcome.WRONG, "m", ("h",)),), ("r",), "{}").to_json())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "3",
        "null",
        *(json.dumps({key: value for key, value in GOOD.items() if key != left_out}) for left_out in GOOD),
        json.dumps(GOOD | {"tasks": [GOOD["tasks"][0] | {"outcome": "PERFECT"}]}),
        json.dumps(GOOD | {"tasks": [GOOD["tasks"][0] | {"outcome": []}]}),
        json.dumps(GOOD | {"tasks": ["f"]}),
        json.dumps(GOOD | {"remarks": 3}),
    ],
)
def test_what_is_no_report_raises_one_of_three_errors(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        Report.from_json(text)


def test_reading_exercises_needs_no_tensorflow(run_python):
    code = "import sys; from tinylab.classroom.exercises import exercises; exercises(); print(*sys.modules)"
    assert not {"tensorflow", "tf_keras", "numpy"} & set(run_python(code).split())
