"""Imports point down only: what lies below knows nothing of what stands on it."""

import ast
from pathlib import Path

import pytest

import tinylab

FLOORS = (
    (
        "errors",
        "quiet",
        "whole_file",
        "machine",
        "progress",
        "flatbuffer",
        "affine",
        "fixed_point",
        "palette",
    ),
    (
        "tflite_file",
        "byte_account",
        "precision",
        "workload",
        "runners",
        "one_operator",
        "memory_plan",
        "arena",
        "c_array",
        "cluster",
    ),
    ("_tensorflow", "data", "models", "conversion", "qat", "equalization"),
    ("measure", "debug", "boards", "search", "scorecard", "capstone"),
    ("plot", "widgets"),
    ("course", "record", "doctor", "check", "classroom", "cli", "sections", "authoring"),
)
FLOOR = {module: number for number, floor in enumerate(FLOORS) for module in floor}
PACKAGE = Path(tinylab.__file__).parent
FILES = sorted(file.relative_to(PACKAGE) for file in PACKAGE.rglob("*.py"))


def top_module(file: Path) -> str:
    return file.with_suffix("").parts[0]


def imported_modules(source: str) -> set[str]:
    """The modules directly below tinylab that a source imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "tinylab":
            names = [f"tinylab.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they point"
            names = [node.module]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("tinylab.")}
    return found - {"__version__"}


def test_every_module_has_a_floor():
    assert {top_module(file) for file in FILES} - {"__init__"} == set(FLOOR)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_module_imports_from_its_own_floor_or_lower(file):
    imported = imported_modules((PACKAGE / file).read_text())
    own = FLOOR.get(top_module(file), -1)
    assert {module for module in imported if FLOOR[module] > own} == set()


def test_importing_tinylab_imports_neither_tensorflow_nor_litert(run_python):
    loaded = run_python("import sys, tinylab; print(*sys.modules)").split()
    assert "tinylab" in loaded
    assert not {"tensorflow", "tf_keras", "keras", "ai_edge_litert", "numpy"} & set(loaded)


@pytest.mark.parametrize("module", ["cli", "tflite_file", "affine", "errors", "quiet", "course", "record"])
def test_what_needs_no_tensorflow_does_not_import_it(run_python, module):
    loaded = run_python(f"import sys, tinylab.{module}; print(*sys.modules)").split()
    assert not {"tensorflow", "tf_keras", "keras"} & set(loaded)
