"""The structure of the notebooks: what every lesson, exercise and solution looks like."""

import re
import statistics
from itertools import pairwise
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tinylab import authoring, course, sections
from tinylab.check import (
    exercise_01,
    exercise_02,
    exercise_03,
    exercise_04,
    exercise_05,
    exercise_06,
    exercise_07,
    exercise_09,
)
from tinylab.check.task import Task

ROOT = authoring.ROOT
EXERCISES = {
    "01_conversion": exercise_01,
    "02_optimization_flags": exercise_02,
    "03_int8_representative_data": exercise_03,
    "04_quantization_aware_training": exercise_04,
    "05_quantization_arithmetic": exercise_05,
    "06_integer_only_inference": exercise_06,
    "07_debugging": exercise_07,
    "09_microcontroller": exercise_09,
}
EVERY = authoring.notebooks()


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parent.name}/{path.stem}")


def code_cells(path):
    return [cell for cell in authoring.read(path).cells if cell.cell_type == "code"]


def text_of(path):
    return "\n\n".join(cell.source for cell in authoring.read(path).cells if cell.cell_type == "markdown")


def outputs(path):
    return [output for cell in code_cells(path) for output in cell.outputs]


def test_the_lessons_are_there_and_no_others():
    names = [lesson.name for lesson in course.LESSONS]
    assert [path.stem for path in authoring.notebooks("notebooks")] == names


def test_exercises_and_solutions_are_those_that_the_lessons_announce():
    announced = [lesson.name for lesson in course.LESSONS if lesson.has_exercise]
    assert [path.stem for path in authoring.notebooks("exercises")] == announced
    assert [path.stem for path in authoring.notebooks("solutions")] == [*announced, "10_capstone"]
    assert list(EXERCISES) == announced


def test_the_capstone_is_an_exercise_itself_and_none_is_made_from_its_solution():
    assert "10_capstone" not in [path.stem for path in authoring.solutions_of_exercises()]
    assert [path.stem for path in authoring.solutions_of_exercises()] == list(EXERCISES)


@pytest.mark.parametrize("lesson", course.LESSONS, ids=lambda lesson: lesson.name)
def test_a_lesson_opens_with_number_title_minutes_and_what_it_needs(lesson):
    first = authoring.read(ROOT / "notebooks" / f"{lesson.name}.ipynb").cells[0].source
    assert first.startswith(f"# {lesson.name[:2]} · {lesson.title}\n")
    assert f"**{lesson.minutes} minutes" in first
    assert "you can" in first or "you will know" in first
    assert "**It needs**" in first


@pytest.mark.parametrize("lesson", course.LESSONS, ids=lambda lesson: lesson.name)
def test_a_lesson_closes_with_a_recap_and_the_way_on(lesson):
    path = ROOT / "notebooks" / f"{lesson.name}.ipynb"
    assert "## Recap" in text_of(path)
    assert "**Next:**" in authoring.read(path).cells[-1].source


@named(EVERY)
def test_badge_and_setup_cell_are_up_to_date(path):
    notebook = authoring.read(path)
    assert authoring.badge(path) in notebook.cells[0].source
    assert authoring.sources(authoring.with_badge_and_setup(notebook, path)) == authoring.sources(notebook)


def test_an_out_of_date_badge_is_noticed():
    path = EVERY[0]
    notebook = authoring.read(path)
    notebook.cells[0].source = notebook.cells[0].source.replace("/blob/main/", "/blob/old/")
    assert authoring.sources(authoring.with_badge_and_setup(notebook, path)) != authoring.sources(notebook)


@named(authoring.notebooks("notebooks"))
def test_every_section_says_what_it_builds_on(path):
    """And the first cell, what to do after a restart. Headings name sections, so they differ."""
    lesson = authoring.read(path)
    headings = [section.heading for section in sections.sections(lesson)]
    assert len(set(headings)) == len(headings)
    assert authoring.sources(authoring.with_needs(lesson)) == authoring.sources(lesson), "run `make badges`"


def test_what_a_section_builds_on_is_read_from_its_code():
    cells = [
        ("markdown", "# A lesson"),
        ("code", "import numpy as np"),
        ("markdown", "## Made\n\nText."),
        ("code", "x = np.ones(3)\nmodel, name = object(), 1"),
        ("markdown", "Some text first.\n\n## Changed"),
        ("code", "model.fit([name for name in range(3)])"),
        ("markdown", "## Used\n\n*Builds on what was there before.*\n\nText."),
        ("code", "listing = !ls {x}\ndef of(model):\n    return x + model"),
        ("code", "for name in of(2): print(name)"),
        ("markdown", "## Changed object used"),
        ("code", "answers = model.predict()"),
    ]
    make = {"markdown": new_markdown_cell, "code": new_code_cell}
    lesson = authoring.with_needs(new_notebook(cells=[make[kind](source) for kind, source in cells]))
    told = [cell.source for cell in lesson.cells if cell.cell_type == "markdown"]
    assert told == [
        f"# A lesson\n\n{authoring.AFTER_A_RESTART}",
        "## Made\n\nText.",
        'Some text first.\n\n## Changed\n\n*Builds on "Made".*',
        '## Used\n\n*Builds on "Made".*\n\nText.',
        '## Changed object used\n\n*Builds on "Made" and "Changed".*',
    ]


@named(authoring.notebooks("notebooks"))
def test_code_cells_are_short(path):
    lengths = [len(cell.source.strip().splitlines()) for cell in code_cells(path)[1:]]
    assert max(lengths) <= 15
    assert statistics.median(lengths) <= 6


@named(EVERY)
def test_no_line_of_code_is_cut_off_in_a_window_of_1280_pixels(path):
    lines = [line for cell in code_cells(path)[1:] for line in cell.source.splitlines()]
    assert max(map(len, lines)) <= 107  # tests/test_browser.py measures it


@named(authoring.notebooks("notebooks"))
def test_a_lesson_asks_for_predictions_and_compares_some_outputs(path):
    cells = code_cells(path)
    assert sum("Prediction(" in cell.source for cell in cells) >= 2
    assert any("nbval-check-output" in cell.metadata.get("tags", []) for cell in cells)


@named(EVERY)
def test_a_power_is_code_and_no_bold_type(path):
    prose = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$", "", text_of(path), flags=re.DOTALL)
    assert not re.findall(r"\d\*\*[\d(-].*", prose)


@named(EVERY)
def test_every_code_cell_was_run_in_order_without_error_or_noise(path):
    assert [cell.execution_count for cell in code_cells(path)] == list(range(1, len(code_cells(path)) + 1))
    assert outputs(path)
    assert not [output for output in outputs(path) if output.output_type == "error"]
    assert not [output.text for output in outputs(path) if output.get("name") == "stderr"]


@named(EVERY)
def test_nothing_of_the_machine_is_stored(path):
    notebook = authoring.read(path)
    assert "widgets" not in notebook.metadata
    assert not [cell for cell in notebook.cells if "execution" in cell.metadata]
    assert str(Path.home()) + "/" not in path.read_text()


@named(EVERY)
def test_relative_links_resolve(path):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", text_of(path)):
        assert (path.parent / target).exists(), target


def pictures(output):
    return [kind for kind in output.get("data", {}) if kind.startswith("image/")]


def is_a_reading(text):
    """Whether it says what is to be seen: a sentence or more, before the next heading or question."""
    said = re.split(r"^## |\*\*Predict\.\*\*", text, maxsplit=1, flags=re.MULTILINE)[0]
    return bool(re.search(r"(\S+\s+){6,}\S+[.:?!]", said))


def unread(notebook):
    """The code of cells that draw, where no words come with the picture and none stand right below."""
    for cell, below in pairwise([*notebook.cells, new_markdown_cell("")]):
        drawn = [output for output in cell.get("outputs", []) if pictures(output)]
        with_words = [output for output in drawn if is_a_reading(output.data.get("text/plain", ""))]
        if drawn != with_words and not (below.cell_type == "markdown" and is_a_reading(below.source)):
            yield cell.source


@named(EVERY)
def test_every_picture_is_read_in_words(path):
    assert list(unread(authoring.read(path))) == []


def test_a_picture_that_nobody_reads_is_noticed():
    def drawing(source, words="<Figure size 890x240 with 1 Axes>"):
        drawn = new_output("display_data", {"image/png": "", "text/plain": words})
        return new_code_cell(source, outputs=[drawn])

    reading = "Both curves rise, and flatten out after some ten epochs."
    cells = [
        drawing("its words come with it", "The value 1 gets the code -15, with an error of 0.012."),
        drawing("a cell of code below"),
        drawing("read below"),
        new_markdown_cell(f"{reading}\n\n## The next section"),
        drawing("a heading below"),
        new_markdown_cell(f"## The next section\n\n{reading}"),
        drawing("a question below"),
        new_markdown_cell(f"**Predict.** {reading}"),
        drawing("too few words below"),
        new_markdown_cell("See above."),
        drawing("nothing below"),
    ]
    assert list(unread(new_notebook(cells=cells))) == [
        "a cell of code below",
        "a heading below",
        "a question below",
        "too few words below",
        "nothing below",
    ]


@named(EVERY)
def test_pictures_in_the_text_have_alternative_texts(path):
    texts = re.findall(r"!\[(.*?)\]\(", text_of(path))
    assert texts
    assert all(len(text.split()) > 2 for text in texts)
    assert not re.findall(r"<img(?![^>]*\balt=\"[^\"]+\")[^>]*>", path.read_text().replace(r"\"", '"'))


@named(EVERY)
def test_every_table_has_a_row_of_headings(path):
    for output in outputs(path):
        for table in re.findall(r"<table.*?</table>", output.get("data", {}).get("text/html", ""), re.DOTALL):
            assert re.search(r"<thead>.*?<th\b.*?</thead>", table, re.DOTALL), table


@named(authoring.solutions_of_exercises())
def test_the_exercise_is_the_one_made_from_its_solution(path):
    exercise = ROOT / "exercises" / path.name
    made = authoring.exercise_from(authoring.read(path), exercise)
    assert authoring.sources(made) == authoring.sources(authoring.read(exercise)), "run `make exercises`"


def test_a_changed_solution_is_noticed():
    path = authoring.notebooks("solutions")[0]
    exercise, solution = ROOT / "exercises" / path.name, authoring.read(path)
    solution.cells[0].source += " A new sentence."
    assert authoring.sources(authoring.exercise_from(solution, exercise)) != authoring.sources(
        authoring.read(exercise)
    )


def check_calls(path):
    """Name of the task and stored score, of every cell that is a check."""
    for cell in code_cells(path):
        found = re.fullmatch(r"check\.(\w+)\(\1\)", cell.source)
        if found:
            assert "nbval-check-output" in cell.metadata.get("tags", [])
            yield found.group(1), cell.outputs[-1].data["text/plain"]


@pytest.mark.parametrize("name", EXERCISES)
def test_every_task_is_checked_once_and_in_its_order(name):
    tasks = [task.name for task in vars(EXERCISES[name]).values() if isinstance(task, Task)]
    assert len(tasks) >= 5
    for folder in ("exercises", "solutions"):
        assert [task for task, _ in check_calls(ROOT / folder / f"{name}.ipynb")] == tasks


# nbval runs these cells again and compares, so the stored scores are those of today's code.
@pytest.mark.parametrize("name", EXERCISES)
def test_an_untouched_exercise_passes_no_task_and_a_solution_all(name):
    assert {score for _, score in check_calls(ROOT / "exercises" / f"{name}.ipynb")} == {"0"}
    assert {score for _, score in check_calls(ROOT / "solutions" / f"{name}.ipynb")} == {"1"}


@named(authoring.notebooks("exercises"))
def test_no_answer_is_left_in_an_exercise(path):
    assert "SOLUTION" not in path.read_text()
    assert sum(authoring.STUB in cell.source for cell in code_cells(path)) == len(list(check_calls(path)))


def test_readme_and_road_map_agree():
    readme = (ROOT / "README.md").read_text()
    for lesson in course.LESSONS:
        link = rf"\[{lesson.title}\]\(notebooks/{lesson.name}\.ipynb\)"
        row = rf"^\| {lesson.name[:2]} \| {link}.* \| {lesson.minutes} \| {lesson.can} \|$"
        assert re.search(row, readme, re.MULTILINE), lesson.name


def test_lesson_00_shows_the_road_map():
    shown = [o.data["text/plain"] for o in outputs(ROOT / "notebooks" / "00_start_here.ipynb") if "data" in o]
    table = next(text for text in shown if "10_capstone" in text)
    for lesson in course.LESSONS:
        assert re.search(rf"^{lesson.name} +{lesson.minutes}\b", table, re.MULTILINE), lesson.name
        assert re.search(rf"^{lesson.name} .*\b{lesson.can}\b", table, re.MULTILINE), lesson.name


def test_what_lesson_01_measured_is_what_it_promises():
    """Its live training reaches 0.85, and the file agrees with Keras to 1e-5 on all test images."""
    recap = outputs(ROOT / "notebooks" / "01_conversion.ipynb")[-1].data["text/plain"]
    measured = dict(
        re.findall(r"(accuracy of Keras|accuracy of the file|largest difference) +([\d.e-]+)", recap)
    )
    assert float(measured["accuracy of Keras"]) >= 0.85
    assert float(measured["accuracy of the file"]) >= 0.85
    assert float(measured["largest difference"]) <= 1e-5
