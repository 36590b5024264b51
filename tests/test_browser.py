"""The lessons in a real JupyterLab and a real browser: run, and moved by mouse and by key."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.lab import ROOT, Lab, settings
from tinylab import course
from tinylab.widgets import AffineExplorer

pytestmark = pytest.mark.slow


def test_make_lab_opens_the_first_lesson(browser, tmp_path):
    lab = Lab(["make", "lab"], ROOT, settings(tmp_path))
    try:
        lab.wait()
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"http://127.0.0.1:{lab.port}")
        page.get_by_role("heading", name="00 · Start here").wait_for(timeout=60_000)
        page.screenshot(path=str(tmp_path / "lab.png"))
    finally:
        lab.stop()


@pytest.fixture(scope="module")
def lab_on_a_copy(tmp_path_factory):
    """JupyterLab on a copy of the notebooks, because it saves what it runs."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("notebooks", "exercises", "solutions"):
        shutil.copytree(ROOT / name, folder / name)
    command = [str(Path(sys.executable).parent / "jupyter"), "lab", "--allow-root"]
    environment = settings(folder)
    # All cells stay in the page, also those that are not in sight, so that a test can find them.
    tracker = Path(environment["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab", "notebook-extension")
    tracker.mkdir(parents=True)
    (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    lab = Lab(command, folder, environment)
    lab.wait()
    yield lab
    lab.stop()


class Lesson:
    """A lesson's page, the errors that it raised, and what it showed before anything was run."""

    def __init__(self, page, address, name):
        self.page, self.errors = page, []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(f"{address}/tree/notebooks/{name}.ipynb?reset")
        page.get_by_role("heading", name=re.compile(name[:2] + " ·")).wait_for(timeout=60_000)
        page.wait_for_function(
            "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
        )
        self.cells_before = page.locator(".jp-CodeCell").all()
        self.pictures_before = [cell.locator(".jp-RenderedImage img").count() for cell in self.cells_before]

    def run(self):
        self.page.evaluate(
            "() => { window.ran = undefined; window.jupyterapp.commands.execute("
            "'notebook:run-all-cells').then(done => { window.ran = done; }); }"
        )
        # a lesson alone takes less than three minutes; here it shares the processor with other tests
        self.page.wait_for_function("window.ran !== undefined", timeout=480_000)

    @property
    def outputs(self):
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells.flatMap("
            "cell => cell.outputs || [])"
        )

    def output_of(self, code):
        """The output of the first cell whose code contains a text."""
        return (
            self.page.locator(".jp-CodeCell")
            .filter(has=self.page.get_by_text(code).first)
            .first.locator(".jp-Cell-outputWrapper")
        )


@pytest.fixture(scope="module")
def lesson(browser, lab_on_a_copy, request):
    """A lesson, run from top to bottom in the browser."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    opened = Lesson(page, lab_on_a_copy.address, request.param)
    opened.run()
    yield opened
    # Eleven kernels, with a gigabyte or two each, are too many to keep.
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


LESSONS = [lesson.name for lesson in course.LESSONS]
ARITHMETIC = "05_quantization_arithmetic"


@pytest.mark.parametrize("lesson", LESSONS, indirect=True)
def test_a_lesson_runs_in_the_browser_without_an_error(lesson):
    outputs = lesson.outputs
    assert [
        output for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    ]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert not lesson.errors


@pytest.mark.parametrize("lesson", LESSONS, indirect=True)
def test_every_prediction_answers_to_mouse_or_key(lesson):
    rows = lesson.page.locator(".jp-OutputArea-output:has(.widget-button)")
    assert rows.count() >= 2
    for place in range(rows.count()):
        row = rows.nth(place)
        row.scroll_into_view_if_needed()
        button = row.locator("button").first
        if place % 2:
            button.focus()
            lesson.page.keyboard.press("Enter")
        else:
            button.click()
        row.get_by_text(re.compile("^(Yes|No, )")).wait_for(timeout=60_000)


def drag(page, slider, pixels):
    """Take a slider's handle with the mouse and move it sideways."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + pixels, y, steps=5)
    page.mouse.up()


def read_when_changed(output, before):
    """What stands below a picture, once it differs from before and rests; the picture says it too."""
    seen = []
    for _ in range(100):
        seen.append(output.locator("p").last.inner_text())
        if seen[-1] != before and seen[-8:] == [seen[-1]] * 8:
            assert seen[-1] in output.locator("img").last.get_attribute("alt")
            return seen[-1]
        output.page.wait_for_timeout(100)
    raise AssertionError(f"nothing changed, or never came to rest: {seen[-1]}")


@pytest.mark.parametrize("lesson", [ARITHMETIC], indirect=True)
def test_the_affine_explorer_answers_to_mouse_and_keys(lesson):
    page, output = lesson.page, lesson.output_of("AffineExplorer()")
    low, high, bits, value = (output.locator(".noUi-handle").nth(i) for i in range(4))
    first = str(AffineExplorer())
    assert "scale 0.0352941, zero_point -43, codes -128 to 127" in first
    assert read_when_changed(output, "") == first

    value.focus()
    page.keyboard.press("ArrowRight")
    text = read_when_changed(output, first)
    assert text == str(explored(value=1.01))

    for handle, key, state in ((bits, "ArrowLeft", {"bits": 7}), (low, "ArrowLeft", {"low": -3.1})):
        handle.focus()
        page.keyboard.press(key)
        before, text = text, read_when_changed(output, text)
        assert text != before
        assert text == str(explored(value=1.01, **({"bits": 7} | state)))

    drag(page, high, 60)
    dragged = read_when_changed(output, text)
    assert scale_in(dragged) > scale_in(text)
    drag(page, value, 400)
    assert "clipped" in read_when_changed(output, dragged)

    checkbox = output.locator("input[type=checkbox]")
    text = output.locator("p").last.inner_text()
    checkbox.focus()
    page.keyboard.press("Space")
    assert "zero_point 0" in read_when_changed(output, text)
    checkbox.click()
    assert "zero_point 0" not in read_when_changed(output, output.locator("p").last.inner_text())


def explored(**state):
    """An explorer of our own, in the state that the page's should be in."""
    explorer = AffineExplorer()
    for name, value in state.items():
        explorer.controls[name].value = value
    return explorer


def scale_in(reading):
    return float(re.search(r"scale (\d[\d.]*\d)", reading).group(1))


@pytest.mark.parametrize("lesson", [ARITHMETIC], indirect=True)
def test_the_range_explorer_answers_to_mouse_and_keys(lesson):
    page, output = lesson.page, lesson.output_of("RangeExplorer(dense_weights)")
    share, bits = (output.locator(".noUi-handle").nth(i) for i in range(2))
    first = read_when_changed(output, "")
    assert "0.0% of the values clipped" in first
    drag(page, share, -100)
    narrowed = read_when_changed(output, first)
    assert scale_in(narrowed) < scale_in(first)
    assert "0.0% of the values clipped" not in narrowed
    bits.focus()
    page.keyboard.press("ArrowRight")
    assert read_when_changed(output, narrowed).startswith("5 bits")


@pytest.mark.parametrize("lesson", [ARITHMETIC], indirect=True)
def test_before_anything_is_run_explorers_are_pictures(lesson):
    for cell, pictures in zip(lesson.cells_before, lesson.pictures_before, strict=True):
        if "Explorer(" in cell.locator(".jp-InputArea").inner_text():
            assert pictures == 1
