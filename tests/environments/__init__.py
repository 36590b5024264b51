"""Environments in which the course must run: Colab's versions, the oldest and the newest that it admits.

Each is made as a learner in Colab meets it. Its packages are there before the course is, a kernel that has
`google.colab` runs lesson 00, and the lesson's own set-up cell installs the course, with the wheel in place
of the repository. Then each lesson can run alone: in an empty folder, with an empty home and no network.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat

from bootstrap import version_of
from tinylab.course import LESSONS, REPOSITORY

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
FIRST = LESSONS[0].name
# The one version that the set-up cell changes: Colab's does not work with Colab's own protobuf.
REPLACED = {"tensorflow-metadata"}


@dataclass(frozen=True)
class Versions:
    """A Python, what is installed before the course, and a file that holds pip's choice down, if any."""

    python: str
    before: tuple
    constraints: Path | None = None


KINDS = {
    "colab": Versions("3.13", ("-r", HERE / "colab.txt")),
    "oldest": Versions("3.11", ("-r", HERE / "oldest.txt")),
    "newest": Versions("3.13", ("ipykernel",)),
    "tested": Versions("{}.{}".format(*sys.version_info), ("ipykernel",), ROOT / "constraints.txt"),
}

COLOURS = re.compile(r"\x1b\[[\d;]*m")  # of a traceback in a terminal

# Kernels talk to their clients over the loopback interface, which a new network namespace has down:
# set IFF_UP on "lo" (ioctl SIOCSIFFLAGS), then become the command.
LOOPBACK_ONLY = """
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def find_python(version: str) -> str | None:
    """An interpreter of that version on this machine: this one, one on PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [sys.executable, shutil.which(f"python{version}")]
    found += sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    return next((str(p) for p in found if p and version_of(p) == tuple(map(int, version.split(".")))), None)


def without_network() -> list[str]:
    """A prefix that takes the network away from a command, where the system can."""
    prefix = ["unshare", "--map-root-user", "--net", sys.executable, "-c", LOOPBACK_ONLY]
    able = shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    return prefix if able else []


def call(*command, **options) -> str:
    """What a command prints; what it complains of is raised."""
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}")
    return ran.stdout


class Environment:
    """One of KINDS in a folder of its own, the course installed by lesson 00.

    Attributes:
        python: its interpreter.
        changed: which packages' versions the installation changed: (before, after) by name.
        error: the first one of lesson 00, which installed the course and went on in the same kernel; or "".
    """

    def __init__(self, kind: str, folder: Path):
        self.folder = folder
        call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
        self.wheel = next(folder.glob("*.whl"))
        call(find_python(KINDS[kind].python), "-m", "venv", folder / "env")
        self.python = folder / "env" / "bin" / "python"
        limits = {"PIP_CONSTRAINT": str(KINDS[kind].constraints)} if KINDS[kind].constraints else {}
        pip = [self.python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        call(*pip, *KINDS[kind].before, env=os.environ | limits)
        self._make_kernel(limits)
        before = self._freeze()
        self.error = self.run(FIRST, installing=True)
        after = self._freeze()
        self.changed = {
            name: (was, after.get(name)) for name, was in before.items() if after.get(name) != was
        }

    def _make_kernel(self, limits: dict[str, str]) -> None:
        """A kernel that looks like Colab's to the set-up cell: google.colab is loaded in it."""
        packages = call(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        colab = Path(packages, "google", "colab")
        colab.mkdir(parents=True)
        (colab / "__init__.py").touch()
        start = [self.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {
            "argv": [*map(str, start), "--IPKernelApp.exec_lines=import google.colab"],
            "display_name": "Colab",
            "language": "python",
            "env": {"PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}", **limits},
        }
        place = self.folder / "kernels" / "colab" / "kernel.json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(spec))

    def _freeze(self) -> dict[str, str]:
        listed = json.loads(call(self.python, "-m", "pip", "list", "--format=json"))
        return {package["name"].lower().replace("_", "-"): package["version"] for package in listed}

    def run(self, lesson: str, installing: bool = False) -> str:
        """Run a lesson alone, and answer its first error, or "".

        The lesson that installs the course does it as its reader would: with a network, and the reader's own
        settings of pip. To all others the network is closed and home is empty.
        """
        work = self.folder / ("installing" if installing else lesson)
        home = work / "home"
        home.mkdir(parents=True)
        notebook = ROOT / "notebooks" / f"{lesson}.ipynb"
        head, address, tail = notebook.read_text().partition(f"git+{REPOSITORY}")
        assert address, f"the set-up cell of {lesson} does not install from {REPOSITORY}"
        (work / "lesson.ipynb").write_text(head + self.wheel.as_uri() + tail)
        alien = ("PYTHONPATH", "XDG_CACHE_HOME", "TFDS_DATA_DIR")
        environment = {name: value for name, value in os.environ.items() if name not in alien}
        environment["JUPYTER_PATH"] = str(self.folder)
        if not installing:
            environment["HOME"] = str(home)
        execute = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "lesson.ipynb"]
        execute += ["--output=ran", "--ExecutePreprocessor.kernel_name=colab", "--log-level=ERROR"]
        execute += ["--ExecutePreprocessor.timeout=900"]  # of a cell: one of them may download TensorFlow
        closed = [] if installing else without_network()
        ran = subprocess.run([*closed, *execute], capture_output=True, text=True, cwd=work, env=environment)
        if ran.returncode:
            return COLOURS.sub("", ran.stderr).strip().splitlines()[-1]
        return hidden_error(work / "ran.ipynb")


def hidden_error(path: Path) -> str:
    """What stops no notebook: pip's failure in the set-up cell, and an exception inside a widget."""
    notebook = nbformat.read(path, as_version=4)
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    said = "".join(output.get("text", "") for output in setup.outputs)
    failure = re.search("^ERROR.*", said, re.MULTILINE)
    if failure:
        return f"the set-up cell: {failure.group()}"
    states = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    for widget in states.get("state", {}).values():
        for output in widget["state"].get("outputs", ()):
            if output["output_type"] == "error":
                return f"in a widget: {output['ename']}: {output['evalue']}"
    return ""
