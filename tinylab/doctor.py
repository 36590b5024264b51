"""`tinylab doctor`: what is on this machine, and what to do about what is missing."""

import contextlib
import importlib.util
import os
import platform
import shutil
import socket
import sys
import threading
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlparse

import psutil

from tinylab.course import REPOSITORY
from tinylab.errors import TinylabError
from tinylab.machine import processor

TESTED_PYTHONS = ((3, 11), (3, 12), (3, 13))
WATCHED = (
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "tensorflow-datasets",
    "ai-edge-litert",
    "numpy",
    "ipywidgets",
)
LEAST_MEMORY_GB = 4.0
LEAST_DISK_GB = 2.0
NETWORK_SECONDS = 3.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, whether that is fine, and what to do about it."""

    what: str
    found: str
    fine: bool = True
    advice: str = ""


def examine() -> list[Finding]:
    """Look at everything that the course depends on."""
    return [_python(), *_versions(), *_machine(), _kernels(), _micro(), _network()]


def _python() -> Finding:
    if sys.version_info[:2] in TESTED_PYTHONS:
        return Finding("Python", platform.python_version())
    advice = "tested with Python 3.11, 3.12 and 3.13: make an environment with one of them."
    return Finding("Python", platform.python_version(), False, advice)


def tested_versions() -> dict[str, str]:
    """The versions that constraints.txt pins, of the packages worth watching, for this Python."""
    from packaging.requirements import Requirement

    here = Path(__file__).parent
    file = next(f for f in (here / "constraints.txt", here.parent / "constraints.txt") if f.is_file())
    pinned = {}
    for line in file.read_text().splitlines():
        requirement = Requirement(line)
        if requirement.name in WATCHED and (requirement.marker is None or requirement.marker.evaluate()):
            pinned[requirement.name] = str(requirement.specifier).removeprefix("==")
    return pinned


def _versions() -> list[Finding]:
    findings = []
    for package, tested in tested_versions().items():
        try:
            here = version(package)
        except PackageNotFoundError:
            findings.append(Finding(package, "missing", False, f"pip install {package}=={tested}"))
            continue
        advice = "" if here == tested else f"tested with {tested}; if something fails, try that version."
        findings.append(Finding(package, here, True, advice))
    return findings


def _machine() -> list[Finding]:
    memory, disk = psutil.virtual_memory().available / 1e9, shutil.disk_usage(Path.cwd()).free / 1e9
    return [
        Finding("processor", f"{processor()} ({platform.machine()}), {os.cpu_count()} cores"),
        _enough("free memory", memory, LEAST_MEMORY_GB, "close other programs and shut down idle kernels."),
        _enough("free disk", disk, LEAST_DISK_GB, "make room for training and the data cache."),
    ]


def _enough(what: str, gigabytes: float, least: float, advice: str) -> Finding:
    if gigabytes >= least:
        return Finding(what, f"{gigabytes:.1f} GB")
    return Finding(what, f"{gigabytes:.1f} GB", False, f"less than {least:.0f} GB: {advice}")


def _kernels() -> Finding:
    """Whether the default kernels are XNNPACK's, seen on a one-neuron model converted here."""
    try:
        from tinylab.conversion import Recipe, convert
        from tinylab.models import one_neuron
        from tinylab.runners import interpreter

        made = interpreter(convert(one_neuron(), Recipe.FLOAT32))
    except (ImportError, TinylabError) as error:
        return Finding("LiteRT kernels", "cannot run a model", False, f"{error}: mend that first.")
    # an operator that a delegate took over shows under this name
    delegated = any(op["op_name"] == "DELEGATE" for op in made._get_ops_details())
    advice = "" if delegated else "latencies here compare with no others; every answer is still right."
    return Finding(
        "LiteRT kernels", "XNNPACK by default" if delegated else "built-in, no XNNPACK", True, advice
    )


def _micro() -> Finding:
    if importlib.util.find_spec("tflite_micro"):
        return Finding("TensorFlow Lite Micro", "available")
    return Finding(
        "TensorFlow Lite Micro",
        "not installed",
        True,
        "lessons 06 and 09 run it; built for Linux on x86-64 with Python 3.11 and 3.12: there, "
        "pip install --pre tflite-micro",
    )


def _network() -> Finding:
    host, reached = urlparse(REPOSITORY).hostname, threading.Event()

    def reach() -> None:
        with contextlib.suppress(OSError), socket.create_connection((host, 443), timeout=NETWORK_SECONDS):
            reached.set()

    thread = threading.Thread(target=reach, daemon=True)  # as looking up the name may hang, too
    thread.start()
    thread.join(NETWORK_SECONDS)
    if reached.is_set():
        return Finding("network", f"{host} can be reached")
    return Finding("network", f"{host} cannot be reached", True, "fine: every lesson works without it.")
