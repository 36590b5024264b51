"""The wheel in an empty environment, a lesson alone in an empty folder, the lab in a real browser."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
IN_CI = bool(os.environ.get("CI"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# Kernels talk to their clients over the loopback interface, which a new network namespace has down:
# set IFF_UP on "lo" (ioctl SIOCSIFFLAGS), then become the command.
LOOPBACK_ONLY = """
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))
os.execvp(sys.argv[1], sys.argv[1:])
"""

pytestmark = pytest.mark.slow


def run(*command, **options):
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    assert ran.returncode == 0, f"{command}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    return ran.stdout


def offline():
    """A prefix that takes the network away, where the system can."""
    prefix = ["unshare", "--map-root-user", "--net", sys.executable, "-c", LOOPBACK_ONLY]
    able = shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    return prefix if able else []


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory):
    """Python of an environment that holds the wheel, what the wheel requires, and a kernel."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    wheel = next(folder.glob("*.whl"))
    install = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "-c",
        ROOT / "constraints.txt",
        wheel,
        "ipykernel",
        "nbconvert",
    ]
    ran = subprocess.run(list(map(str, install)), capture_output=True, text=True)
    if (
        ran.returncode
        and not IN_CI
        and re.search("NewConnectionError|NameResolutionError|timed out", ran.stderr)
    ):
        pytest.skip("no package index can be reached: the wheel was not tried in an empty environment")
    assert ran.returncode == 0, ran.stderr
    yield python
    shutil.rmtree(folder)


@pytest.mark.parametrize("lesson", ["00_start_here", "01_conversion"])
def test_a_lesson_alone_runs_from_the_wheel_without_a_network(empty_environment, tmp_path, lesson):
    shutil.copy(ROOT / "notebooks" / f"{lesson}.ipynb", tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XDG_CACHE_HOME", "TFDS_DATA_DIR")}
    execute = [
        empty_environment,
        "-m",
        "nbconvert",
        "--to",
        "notebook",
        "--execute",
        f"{lesson}.ipynb",
    ]
    run(*offline(), *execute, "--output", "out.ipynb", cwd=tmp_path, env={**kept, "HOME": str(home)})
    assert (tmp_path / "out.ipynb").exists()


def test_the_wheel_carries_data_weights_licences_and_tested_versions(empty_environment, tmp_path):
    code = (
        "from importlib.metadata import files; from tinylab import doctor;"
        "print(*[str(f) for f in files('tinylab-course')], *doctor.tested_versions())"
    )
    listed = run(empty_environment, "-I", "-c", code, cwd=tmp_path)
    for expected in (
        "fashion_mnist.npz",
        "small_cnn.npz",
        "fashion_mnist/LICENSE.txt",
        "licenses/NOTICE",
        "tensorflow ",
    ):
        assert expected in listed + " "


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def settings(folder):
    """An environment in which JupyterLab keeps nothing from, and leaves nothing in, the user's home."""
    places = (
        "JUPYTER_CONFIG_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
        "JUPYTER_RUNTIME_DIR",
    )
    return {**os.environ, **{place: str(folder / place.lower()) for place in places}}


class Lab:
    """A JupyterLab on a port of its own."""

    def __init__(self, command, folder, environment):
        self.port = free_port()
        flags = (
            f"--no-browser --port={self.port} --IdentityProvider.token= --LabApp.expose_app_in_browser=True"
        )
        self.log = Path(environment["JUPYTER_RUNTIME_DIR"] + ".log")
        arguments = [*command, f"LAB_FLAGS={flags}"] if command[0] == "make" else [*command, *flags.split()]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                arguments, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self.address = f"http://127.0.0.1:{self.port}/lab"

    def wait(self):
        for _ in range(240):
            try:
                return urllib.request.urlopen(self.address, timeout=2).read().decode()
            except OSError:
                assert self.process.poll() is None, self.log.read_text()[-3000:]
                time.sleep(0.5)
        raise AssertionError("JupyterLab did not answer on its port within two minutes")

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        if IN_CI:
            pytest.fail("CI has to install Chromium")
        pytest.skip("no Chromium on this machine: nothing was tried in a browser")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


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
    lab = Lab(command, folder, settings(folder))
    lab.wait()
    yield lab
    lab.stop()


@pytest.fixture(params=["00_start_here", "01_conversion"])
def lesson_page(browser, lab_on_a_copy, request):
    """A lesson, run from top to bottom in the browser, and the errors of its page."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{lab_on_a_copy.address}/tree/notebooks/{request.param}.ipynb?reset")
    page.get_by_role("heading", name=re.compile(request.param[:2] + " ·")).wait_for(timeout=60_000)
    page.wait_for_function(
        "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
    )
    page.evaluate(
        "() => { window.ran = undefined;"
        "window.jupyterapp.commands.execute('notebook:run-all-cells').then(done => { window.ran = done; }); }"
    )
    page.wait_for_function("window.ran !== undefined", timeout=180_000)
    yield page, errors
    page.close()


def test_a_lesson_runs_in_the_browser_and_its_predictions_answer_mouse_and_keys(lesson_page):
    page, errors = lesson_page
    outputs = page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells.flatMap("
        "cell => cell.outputs || [])"
    )
    assert not [
        output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"
    ]
    assert not errors
    widgets = [o for o in outputs if "application/vnd.jupyter.widget-view+json" in o.get("data", {})]
    assert widgets
    page.evaluate(
        "() => { for (const cell of document.querySelectorAll('.jp-Cell')) cell.scrollIntoView(); }"
    )
    rows = page.locator(".jp-OutputArea-output:has(.widget-button)")
    for place, press in enumerate(("mouse", "key")):
        row = rows.nth(place)
        row.scroll_into_view_if_needed()
        button = row.locator("button").first
        if press == "mouse":
            button.click()
        else:
            button.focus()
            page.keyboard.press("Enter")
        row.get_by_text(re.compile("^(Yes|No, )")).wait_for(timeout=30_000)
