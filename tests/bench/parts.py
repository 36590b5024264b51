"""The parts of the benchmark, in the order in which they run."""

import os
import platform
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from typing import Any

from tinylab.machine import processor

from . import facts, grading, lessons, quality, speed

PACKAGES = ("tensorflow", "ai-edge-litert", "numpy")

PARTS: dict[str, Callable[[], dict]] = {
    "lessons": lessons.lessons,
    "grading": grading.grading,
    "imports": speed.imports,
    "batches": speed.batches,
    "pipeline": speed.pipeline,
    "engine": speed.engine,
    "kernels": speed.kernels,
    "quality": lambda: {made.__name__: made() for made in quality.QUALITY},
    "facts": lambda: {fact.__name__: fact() for fact in facts.FACTS},
}


def conditions() -> dict:
    """What has to stand beside everything that was measured."""
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
    }


def plain(measured: Any) -> Any:
    """The same with numbers short enough to be read.

    >>> plain({"seconds": [0.123456789, 1], "fine": True})
    {'seconds': [0.123457, 1], 'fine': True}
    """
    if isinstance(measured, dict):
        return {name: plain(value) for name, value in measured.items()}
    if isinstance(measured, list):
        return [plain(value) for value in measured]
    return float(f"{measured:.6g}") if isinstance(measured, float) else measured
