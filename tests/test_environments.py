"""The version files agree with what pyproject.toml requires, before anybody has installed them."""

import re
import tomllib

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tinylab.authoring import notebooks

from .environments import HERE, KINDS, REPLACED, ROOT, find_python, hidden_error

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIRED = {r.name: r for r in map(Requirement, PROJECT["dependencies"])}


def pinned(kind):
    """The versions of a file, by name."""
    lines = (HERE / f"{kind}.txt").read_text().splitlines()
    pins = [line.split(" ;")[0].split("==") for line in lines if line and not line.startswith("#")]
    return dict(pins)


@pytest.mark.parametrize("kind", ["colab", "oldest"])
def test_the_versions_are_admitted(kind):
    versions = pinned(kind)
    replaced = REPLACED if kind == "colab" else set()
    refused = {
        name
        for name, requirement in REQUIRED.items()
        if name in versions and not requirement.specifier.contains(versions[name], prereleases=True)
    }
    assert refused == replaced
    assert KINDS[kind].python in SpecifierSet(PROJECT["requires-python"])


def test_the_oldest_versions_are_the_floors():
    """`make constraints` was forgotten where this fails. (A floor of 2.0 may be met by 2.0.2 first.)"""
    versions = pinned("oldest")
    for name, requirement in REQUIRED.items():
        floor = next(part.version for part in requirement.specifier if part.operator == ">=")
        assert versions[name].split(".")[: floor.count(".") + 1] == floor.split("."), name


@pytest.mark.parametrize("notebook", notebooks(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_cell_assigns_from_an_exclamation_mark(notebook):
    """Colab's IPython 7.34 does not understand it on its Python 3.13; %sx does the same."""
    code = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    assert not [source for source in code if re.search(r"^\s*\w+ *= *!", source, re.MULTILINE)]


def test_a_python_is_found_or_not():
    here = KINDS["tested"].python
    assert find_python(here)
    assert find_python("2.6") is None


def test_errors_that_stop_no_notebook_are_seen(tmp_path):
    setup = nbformat.v4.new_code_cell("%pip install course")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Lesson"), setup])
    path = tmp_path / "ran.ipynb"

    nbformat.write(notebook, path)
    assert hidden_error(path) == ""

    oops = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    state = {"1": {"model_name": "OutputModel", "state": {"outputs": [oops]}}}
    notebook.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {"state": state}}
    nbformat.write(notebook, path)
    assert hidden_error(path) == "in a widget: ValueError: no"

    setup.outputs = [nbformat.v4.new_output("stream", text="Collecting\nERROR: No matching distribution\n")]
    nbformat.write(notebook, path)
    assert hidden_error(path) == "the set-up cell: ERROR: No matching distribution"
