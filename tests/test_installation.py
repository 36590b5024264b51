"""The wheel in an empty environment, and each lesson alone in an empty folder."""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tinylab import course

ROOT = Path(__file__).parent.parent
IN_CI = bool(os.environ.get("CI"))

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


@pytest.mark.parametrize("lesson", [lesson.name for lesson in course.LESSONS])
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
        "mobilenet_v2.npz",
        "backbone/LICENSE.txt",
        "motion.npz",
        "motion/LICENSE.txt",
        "photographs/cat.jpg",
        "photographs/README.md",
        "licenses/NOTICE",
        "tensorflow ",
    ):
        assert expected in listed + " "
