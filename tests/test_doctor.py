"""What `tinylab doctor` looks at, and what it advises."""

import socket
import threading
import time
from importlib.metadata import PackageNotFoundError, version

import pytest

from tinylab import doctor

from .conftest import slow


@pytest.fixture(scope="module")
def findings():
    return {finding.what: finding for finding in doctor.examine()}


def test_everything_the_course_depends_on_is_looked_at(findings):
    assert list(findings) == [
        "Python",
        *doctor.tested_versions(),
        "processor",
        "free memory",
        "free disk",
        "LiteRT kernels",
        "TensorFlow Lite Micro",
        "network",
    ]


def test_every_finding_says_something_and_what_is_not_fine_says_what_to_do(findings):
    for finding in findings.values():
        assert finding.found
        assert finding.fine or finding.advice


def test_the_watched_packages_are_pinned_and_found(findings):
    assert set(doctor.tested_versions()) == set(doctor.WATCHED)
    for package in doctor.WATCHED:
        assert findings[package].found == version(package)


def test_a_missing_network_is_no_failure(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network here")

    monkeypatch.setattr(socket, "create_connection", refuse)
    finding = doctor._network()
    assert (finding.fine, "cannot be reached" in finding.found) == (True, True)
    assert "works without it" in finding.advice


def test_a_name_that_is_looked_up_for_ever_is_not_waited_for(monkeypatch):
    ended = threading.Event()

    def look_up(*_, **__):
        ended.wait(60)
        raise OSError("no network here")

    monkeypatch.setattr(doctor, "NETWORK_SECONDS", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    begin = time.monotonic()
    assert "cannot be reached" in doctor._network().found
    assert time.monotonic() - begin < 30
    ended.set()


def with_versions(monkeypatch, here):
    monkeypatch.setattr(doctor, "tested_versions", lambda: {"numpy": "2.0.0"})
    monkeypatch.setattr(doctor, "version", here)
    return doctor._versions()


def test_a_missing_package_is_a_failure_with_the_command_that_mends_it(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    [finding] = with_versions(monkeypatch, missing)
    assert (finding.fine, finding.advice) == (False, "pip install numpy==2.0.0")


def test_another_version_is_fine_with_advice(monkeypatch):
    [finding] = with_versions(monkeypatch, lambda _: "1.0.0")
    assert (finding.fine, finding.found, "tested with 2.0.0" in finding.advice) == (True, "1.0.0", True)


def test_the_tested_version_needs_no_advice(monkeypatch):
    [finding] = with_versions(monkeypatch, lambda _: "2.0.0")
    assert (finding.fine, finding.advice) == (True, "")


def test_an_untested_python_is_a_failure(monkeypatch):
    monkeypatch.setattr(doctor, "TESTED_PYTHONS", ((2, 7),))
    assert not doctor._python().fine


def test_too_little_memory_is_a_failure_with_advice():
    finding = doctor._enough("free memory", 1.5, 4.0, "close other programs.")
    assert (finding.fine, finding.found) == (False, "1.5 GB")
    assert finding.advice == "less than 4 GB: close other programs."
    assert doctor._enough("free memory", 4.0, 4.0, "").fine


@pytest.mark.parametrize("package", ["tensorflow", *slow("ai_edge_litert", "tf_keras")])
def test_without_a_package_the_table_is_still_printed(run_python, package):
    lines = (
        "import sys",
        f"sys.modules[{package!r}] = None",
        "from tinylab import cli",
        "print('exit code', cli.main(['doctor', '--json']))",
    )
    printed = run_python("\n".join(lines))
    assert "cannot run a model" in printed
    assert "exit code 1" in printed
