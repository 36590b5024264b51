"""A JupyterLab of its own for a test, and the page of a notebook in it."""

import ast
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe

ROOT = Path(__file__).parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


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


# Smaller than this, the smallest text of our figures, 11 pixels high, has less than 9.
LEAST_SHARE = 0.8
WIDTH = 1280
THEMES = ("JupyterLab Light", "JupyterLab Dark")
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"

TOO_WIDE = """() => [...document.querySelectorAll('.jp-Notebook, .jp-Notebook *')]
    .filter(part => /auto|scroll/.test(getComputedStyle(part).overflowX))
    .filter(part => part.clientWidth && part.scrollWidth > part.clientWidth + 1)
    .map(part => `${part.scrollWidth} > ${part.clientWidth}: ${part.innerText.slice(0, 80)}`)"""
SHRUNK = """least => [...document.querySelectorAll('.jp-Notebook img')]
    .filter(picture => picture.getBoundingClientRect().width < least * picture.naturalWidth)
    .map(picture => `${picture.naturalWidth}: ${picture.closest('.jp-Cell').innerText.slice(0, 80)}`)"""

IDLE = "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"


class Notebook:
    """A notebook's page, 1,280 pixels wide, with a kernel of its own; and everything that went wrong there.

    Nothing of it comes from elsewhere: Colab's badge, the only thing that would, is an empty picture.
    """

    def __init__(self, browser, address, path):
        self.page, self.errors = browser.new_page(viewport={"width": WIDTH, "height": 900}), []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        empty = '<svg xmlns="http://www.w3.org/2000/svg" width="117" height="20"/>'
        self.page.route(BADGE, lambda route: route.fulfill(body=empty, content_type="image/svg+xml"))
        self.page.goto(f"{address}/tree/{path}?reset")
        self.page.locator(".jp-RenderedMarkdown h1").first.wait_for(timeout=60_000)
        self.page.wait_for_function(IDLE)

    def run(self):
        """Run all cells, up to one that stops with an error."""
        self.page.evaluate(
            "() => { window.ran = undefined; window.jupyterapp.commands.execute("
            "'notebook:run-all-cells').then(done => { window.ran = done; }); }"
        )
        # a lesson alone takes less than three minutes; here it may share the processor with many tests
        self.page.wait_for_function("window.ran !== undefined", timeout=900_000)

    def close(self):
        """Close the page, and its kernel: some have a gigabyte or two."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.close()

    @property
    def cells(self):
        """The code cells, as dictionaries."""
        model = "window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON()"
        return [cell for cell in self.page.evaluate(model)["cells"] if cell["cell_type"] == "code"]

    @property
    def outputs(self):
        return [output for cell in self.cells for output in cell["outputs"]]

    @property
    def widgets(self):
        """What the last line of a cell calls, and the cell's output, of each cell that shows a widget.

        A progress bar that is done shows nothing.
        """
        outputs = self.page.locator(".jp-CodeCell").locator(".jp-Cell-outputWrapper").all()
        return [
            (made_by(cell), output)
            for cell, output in zip(self.cells, outputs, strict=True)
            if output.locator(".jupyter-widgets:visible").count()
        ]

    def too_wide(self):
        """Whatever has to be scrolled sideways."""
        return self.page.evaluate(TOO_WIDE)

    def shrunk(self):
        """Pictures too small to be read."""
        return self.page.evaluate(SHRUNK, LEAST_SHARE)

    def change_theme(self, theme):
        change = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
        self.page.evaluate(change, theme)
        self.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)

    def obstacles(self):
        """What keeps somebody from reading or using what cells show.

        But for figures, which have text beside them, and sliders, which have fields with the same number.
        """
        parts = [[".jp-OutputArea-output"], [".jp-RenderedMarkdown"]]
        context = {"include": parts, "exclude": [[".jp-RenderedImage img"], [".widget-slider"]]}
        return obstacles(self.page, context)

    def photograph(self, folder, name):
        """Leave pictures of the whole page in a folder, screen by screen."""
        self.page.set_viewport_size({"width": WIDTH, "height": 1600})
        scrolled = self.page.locator(".jp-WindowedPanel-outer")
        for number, top in enumerate(range(0, scrolled.evaluate("part => part.scrollHeight"), 1500)):
            scrolled.evaluate("(part, top) => part.scrollTo(0, top)", top)
            self.page.screenshot(path=Path(folder, f"{name}_{number:02}.png"))


def obstacles(page, context=None):
    """What axe-core finds on a page against the Web Content Accessibility Guidelines, one line each."""
    options = {"runOnly": WCAG, "resultTypes": ["violations"], "iframes": False}
    found = Axe().run(page, context, options).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


def shows_a_widget(cell):
    return any("application/vnd.jupyter.widget-view+json" in o.get("data", {}) for o in cell["outputs"])


def made_by(cell):
    """The name of what is called in a cell's last line."""
    return ast.parse("".join(cell["source"])).body[-1].value.func.id
