"""nbval would notice a lesson whose stored output is no longer what its code prints."""

import subprocess
import sys

import nbformat
import pytest

from tinylab.authoring import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("stored", "passes"), [("parameters: 2", True), ("parameters: 3", False)])
def test_a_wrong_stored_output_fails(tmp_path, stored, passes):
    notebook = nbformat.read(ROOT / "notebooks" / "00_start_here.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    end = next(i for i, cell in enumerate(cells) if "parameters:" in cell.source) + 1
    notebook.cells = cells[:end]
    notebook.cells[-1].outputs[0].text = stored + "\n"
    nbformat.write(notebook, tmp_path / "lesson.ipynb")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--nbval-lax",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
    ]
    ran = subprocess.run(
        [*command, "--rootdir", str(tmp_path), "lesson.ipynb"], cwd=tmp_path, capture_output=True
    )
    assert (ran.returncode == 0) is passes, ran.stdout.decode()[-2000:]
