"""bootstrap.py: what the two commands of the README do before anything is installed."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def bootstrap(monkeypatch, tmp_path):
    """The module, at work in a folder of its own."""
    for name in ("bootstrap.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    spec = importlib.util.spec_from_file_location("bootstrap", tmp_path / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "lab"])
    return module


def pretend_to_install(bootstrap, monkeypatch, installed):
    """Instead of installing, note what would be, and leave a file where the interpreter would be."""
    folder = bootstrap.venv_python().parent
    monkeypatch.setattr(bootstrap, "make_venv", lambda: folder.mkdir(parents=True, exist_ok=True))
    monkeypatch.setattr(
        bootstrap, "pip_install", lambda extras: installed.append(extras) or bootstrap.venv_python().touch()
    )


def sentence(function):
    """The one line with which a function ends the program."""
    with pytest.raises(SystemExit) as stopped:
        function()
    text = str(stopped.value)
    assert text.startswith("tinylab: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 14, 1)])
def test_an_unsupported_python_is_named_with_those_that_are(bootstrap, monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "needs Python 3.11, 3.12 or 3.13" in sentence(bootstrap.find_python)


def test_another_python_of_the_machine_is_found(bootstrap, monkeypatch):
    here = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    monkeypatch.setattr(shutil, "which", lambda name: sys.executable if name == here else None)
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    assert bootstrap.find_python() == sys.executable


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="these tests run outside any environment")
def test_an_activated_environment_is_looked_through(bootstrap):
    assert Path(sys.prefix) not in Path(bootstrap.find_python()).parents


def test_a_full_disk_is_noticed_before_the_download(bootstrap, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100e9, 99e9, 1e9))
    assert "1.0 GB are free" in sentence(bootstrap.check_machine)


def test_a_python_without_venv_says_what_to_install(bootstrap, monkeypatch):
    failed = subprocess.CompletedProcess(
        [], 1, b"The virtual environment was not created: ensurepip is not available"
    )
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda c, **k: failed if "venv" in c else real(c, **k))
    assert "python3-venv" in sentence(bootstrap.make_venv)
    assert not bootstrap.VENV.exists()


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "the disk filled up",
        ),
        (
            "WARNING: Retrying after 'NewConnectionError(...)'\nERROR: No matching distribution found for x",
            "the network",
        ),
        (
            "ERROR: No matching distribution found for tensorflow==2.21.0",
            "tensorflow==2.21.0 is not built for",
        ),
        ("Collecting x\nERROR: something else", "ERROR: something else"),
        ("", "pip failed"),
    ],
)
def test_a_failure_of_pip_becomes_one_sentence(bootstrap, output, expected):
    assert expected in bootstrap.explain(output)
    assert "\n" not in bootstrap.explain(output)


def test_what_is_installed_is_not_installed_again(bootstrap, monkeypatch):
    installed = []
    pretend_to_install(bootstrap, monkeypatch, installed)
    bootstrap.main()
    bootstrap.main()
    assert installed == [bootstrap.EXTRAS["lab"]]


@pytest.mark.parametrize("change", ["constraints.txt", "pyproject.toml"])
def test_changed_requirements_are_installed(bootstrap, monkeypatch, change):
    installed = []
    pretend_to_install(bootstrap, monkeypatch, installed)
    bootstrap.main()
    with open(bootstrap.ROOT / change, "a") as file:
        file.write("# changed\n")
    bootstrap.main()
    assert len(installed) == 2


def test_a_clone_that_was_moved_gets_a_new_environment(bootstrap, monkeypatch):
    installed = []
    pretend_to_install(bootstrap, monkeypatch, installed)
    bootstrap.main()
    stamp = json.loads(bootstrap.STAMP.read_text())
    bootstrap.STAMP.write_text(json.dumps({**stamp, "at": "/somewhere/else"}))
    (bootstrap.VENV / "of the old place").touch()
    bootstrap.main()
    assert len(installed) == 2
    assert not (bootstrap.VENV / "of the old place").exists()


def test_the_tests_want_more_than_the_lab(bootstrap, monkeypatch):
    installed = []
    pretend_to_install(bootstrap, monkeypatch, installed)
    bootstrap.main()
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "test"])
    bootstrap.main()
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "lab"])
    bootstrap.main()
    assert set(bootstrap.EXTRAS["lab"]) < set(bootstrap.EXTRAS["test"])
    assert installed == [bootstrap.EXTRAS["lab"], bootstrap.EXTRAS["test"]]
    assert json.loads(bootstrap.STAMP.read_text())["extras"] == bootstrap.EXTRAS["test"]


@pytest.mark.slow
def test_without_a_network_one_sentence_and_no_traceback(bootstrap):
    nowhere = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_NO_CACHE_DIR": "1",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    ran = subprocess.run(
        [sys.executable, str(bootstrap.ROOT / "bootstrap.py")],
        env={**kept, **nowhere},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "connect to the network" in ran.stderr
    assert "Traceback" not in ran.stderr + ran.stdout
