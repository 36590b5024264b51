"""The lessons in a real JupyterLab and a real browser: run, looked at, and moved by mouse and by key.

Lesson 05, which has the explorers, is always run, of the others one a day; `make browser` runs them all.
Where TINYLAB_SCREENSHOTS names a folder, pictures of every page are left in it, in a light and a dark theme.
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.lab import IDLE, ROOT, THEMES, WIDTH, Lab, Notebook, made_by, settings, shows_a_widget
from tests.rotation import todays
from tinylab import authoring, course
from tinylab.widgets import AffineExplorer

pytestmark = pytest.mark.slow

ARITHMETIC = "05_quantization_arithmetic"
OTHERS = [lesson.name for lesson in course.LESSONS if lesson.name != ARITHMETIC]
TODAY = sorted([ARITHMETIC, *todays(OTHERS, 1)])

# Answers for the first tasks of exercise 05: right, wrong, one that stops; the others are left as they are.
ANSWERS = {
    "round_half_away": "return np.trunc(x) + np.sign(x) * (np.abs(x - np.trunc(x)) >= 0.5)",
    "scale_and_zero_point": "return (high - low) / 255, 0",
    "quantize": "return x / nothing",
}


def test_make_lab_opens_the_first_lesson(browser, tmp_path):
    lab = Lab(["make", "lab"], ROOT, settings(tmp_path))
    try:
        lab.wait()
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto(f"http://127.0.0.1:{lab.port}")
        page.get_by_role("heading", name="00 · Start here").wait_for(timeout=60_000)
    finally:
        lab.stop()


@pytest.fixture(scope="module")
def lab_on_a_copy(tmp_path_factory):
    """JupyterLab on a copy of the notebooks, because it saves what it runs."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("notebooks", "exercises", "solutions"):
        shutil.copytree(ROOT / name, folder / name)
    answer(folder / "exercises" / f"{ARITHMETIC}.ipynb")
    command = [str(Path(sys.executable).parent / "jupyter"), "lab", "--allow-root"]
    # as a learner has it, with bars, and a record of what is done
    environment = settings(folder) | {"TINYLAB_PROGRESS": str(folder / "progress.json")}
    environment.pop("TQDM_DISABLE", None)
    # All cells stay in the page, also those that are not in sight, so that a test can find them.
    tracker = Path(environment["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab", "notebook-extension")
    tracker.mkdir(parents=True)
    (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    lab = Lab(command, folder, environment)
    lab.wait()
    yield lab
    lab.stop()


def answer(path):
    """Write some answers into an exercise."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for name, line in ANSWERS.items():
        (cell,) = [cell for cell in notebook["cells"] if f"def {name}(" in "".join(cell["source"])]
        cell["source"] = "".join(cell["source"]).replace("raise NotImplementedError", line)
    path.write_text(json.dumps(notebook), encoding="utf-8")


@pytest.fixture(scope="module")
def lesson(browser, lab_on_a_copy, request):
    """A lesson, run from top to bottom in the browser."""
    opened = Notebook(browser, lab_on_a_copy.address, f"notebooks/{request.param}.ipynb")
    opened.pictures_before = [
        cell.locator(".jp-RenderedImage img").count() for cell in opened.page.locator(".jp-CodeCell").all()
    ]
    opened.run()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def exercise(browser, lab_on_a_copy):
    """Exercise 05, begun: an answer right, one wrong, one that stops with an error, all others missing."""
    opened = Notebook(browser, lab_on_a_copy.address, f"exercises/{ARITHMETIC}.ipynb")
    opened.run()
    yield opened
    opened.close()


def is_clean(notebook):
    outputs = notebook.outputs
    assert outputs
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert not notebook.errors


def fits(notebook):
    assert not notebook.too_wide()
    assert not notebook.shrunk()


def can_be_read(notebook, theme, name):
    notebook.change_theme(theme)
    if folder := os.environ.get("TINYLAB_SCREENSHOTS"):
        notebook.photograph(folder, f"{name}_{theme.split()[-1].lower()}")
    assert not notebook.obstacles()


each_of_today = pytest.mark.parametrize("lesson", TODAY, indirect=True)


@each_of_today
def test_a_lesson_runs_in_the_browser_without_an_error(lesson):
    is_clean(lesson)


@each_of_today
def test_a_lesson_fits_a_window_of_1280_pixels(lesson):
    fits(lesson)


@each_of_today
@pytest.mark.parametrize("theme", THEMES)
def test_a_lesson_can_be_read_in_light_and_in_dark(lesson, theme, request):
    can_be_read(lesson, theme, request.node.callspec.params["lesson"])


@each_of_today
def test_every_widget_answers_to_mouse_and_keys(lesson):
    assert len(lesson.widgets) >= 2
    for name, output in lesson.widgets:
        MOVED_BY[name](lesson.page, output)
    assert not lesson.errors


def test_every_kind_of_widget_that_a_notebook_shows_is_moved_here():
    cells = [cell for path in authoring.notebooks() for cell in authoring.read(path).cells]
    shown = {made_by(cell) for cell in cells if cell.cell_type == "code" and shows_a_widget(cell)}
    assert shown == set(MOVED_BY)


def answer_a_prediction(page, output):
    """The first option, by mouse, and the last, by key, get the same answer to what is right."""
    buttons, verdict = output.locator("button"), output.locator(".widget-html-content")
    heard = []
    for button, take in ((buttons.first, click), (buttons.last, press("Enter"))):
        take(button)
        output.locator("button.mod-info", has_text=button.inner_text()).wait_for()
        verdict.get_by_text(re.compile("^(Yes|No, )")).wait_for(timeout=240_000)
        assert output.locator("button.mod-info").count() == 1
        said = verdict.inner_text()
        right = re.search("^No, (.*) is right", said)
        heard.append(right.group(1) if right else button.inner_text())
    assert heard[0] == heard[1] in buttons.all_inner_texts()


def click(part):
    part.scroll_into_view_if_needed()
    part.click()


def press(key):
    def pressed(part):
        part.focus()
        part.page.keyboard.press(key)

    return pressed


def drag(pixels):
    """Take a slider's handle with the mouse and move it sideways."""

    def dragged(handle):
        handle.scroll_into_view_if_needed()
        box, mouse = handle.bounding_box(), handle.page.mouse
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        mouse.move(x, y)
        mouse.down()
        mouse.move(x + pixels, y, steps=5)
        mouse.up()

    return dragged


def read_when_changed(output, before):
    """What stands below a picture, once it differs from before and rests; the picture says it too."""
    seen = []
    for _ in range(300):
        seen.append((output.locator("p").last.inner_text(), output.page.evaluate(IDLE)))
        reading, idle = seen[-1]
        if idle and reading != before and seen[-8:] == [seen[-1]] * 8:
            assert reading in output.locator("img").last.get_attribute("alt")
            return reading
        output.page.wait_for_timeout(100)
    raise AssertionError(f"nothing changed, or never came to rest: {reading}")


def move_the_affine_explorer(page, output):
    """After each move, the page says what an explorer of our own says in the state that the page shows."""
    twin = AffineExplorer()
    reading = read_when_changed(output, "")
    assert reading == str(twin)
    assert "scale 0.0352941, zero_point -43, codes -128 to 127" in reading
    for place, name in enumerate(["low", "high", "bits", "value"]):
        slider, field = output.locator(".noUi-handle").nth(place), output.get_by_role("spinbutton").nth(place)
        for move, part in ((press("ArrowLeft"), slider), (drag(-20), slider), (press("ArrowDown"), field)):
            before = twin.controls[name].value
            move(part)
            reading = read_when_changed(output, reading)
            twin.controls[name].value = float(field.input_value())
            assert twin.controls[name].value < before
            assert reading == str(twin)
    checkbox = output.get_by_role("checkbox")
    for symmetric, move in ((True, press("Space")), (False, click)):
        move(checkbox)
        reading = read_when_changed(output, reading)
        twin.controls["symmetric"].value = symmetric
        assert reading == str(twin)


def move_the_range_explorer(page, output):
    """One slider moves the ends of the range, the other one the number of bits: smaller steps, either way."""
    share, bits = (output.locator(".noUi-handle").nth(i) for i in range(2))
    state = state_in(read_when_changed(output, ""))
    for moved, handle, moves in (
        ("end", share, (press("ArrowLeft"), drag(-40))),
        ("bits", bits, (press("ArrowRight"), drag(40))),
    ):
        for move in moves:
            before, reading = state, output.locator("p").last.inner_text()
            move(handle)
            state = state_in(read_when_changed(output, reading))
            assert state["scale"] < before["scale"]
            assert {name for name in ("end", "bits") if state[name] != before[name]} == {moved}


def state_in(reading):
    """Numbers of the range explorer's reading."""
    found = re.match(r"(?P<bits>\d+) bits from \S+ to (?P<end>\S+): scale (?P<scale>\S+)\. ", reading)
    return {name: float(number) for name, number in found.groupdict().items()}


MOVED_BY = {
    "Prediction": answer_a_prediction,
    "AffineExplorer": move_the_affine_explorer,
    "RangeExplorer": move_the_range_explorer,
}


@pytest.mark.parametrize("lesson", [ARITHMETIC], indirect=True)
def test_before_anything_is_run_explorers_are_pictures(lesson):
    for cell, pictures in zip(lesson.cells, lesson.pictures_before, strict=True):
        if "Explorer(" in cell["source"]:
            assert pictures == 1


def test_an_exercise_runs_in_the_browser_without_an_error_and_fits(exercise):
    is_clean(exercise)
    fits(exercise)


def test_hints_open_one_after_the_other_by_key_and_by_mouse(exercise):
    output = exercise.page.locator(".jp-OutputArea-output", has_text="scale_and_zero_point: not right yet")
    for place, open_it in enumerate((press("Enter"), click)):
        summary = output.locator("summary").nth(place)
        assert not output.locator("details").nth(place).locator("> p").is_visible()
        open_it(summary)
        assert output.locator("details").nth(place).locator("> p").is_visible()


@pytest.mark.parametrize("theme", THEMES)
def test_what_checks_say_can_be_read_in_light_and_in_dark(exercise, theme):
    for outcome in ("right", "not right yet", "stopped with an error", "not attempted yet"):
        assert exercise.page.locator(".jp-OutputArea-output b", has_text=re.compile(f"^{outcome}$")).count()
    can_be_read(exercise, theme, "exercise")
