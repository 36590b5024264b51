"""Files that cannot be graded."""

import json
from pathlib import Path

from tinylab.classroom.exercises import exercises

from .handing_in import ALL, Notebook, Place, code_cell, no_notebook, zip_of


@no_notebook("an empty file", "05_quantization_arithmetic.ipynb", "file is empty")
def empty_file():
    return b""


@no_notebook("broken JSON", "05_quantization_arithmetic.ipynb", "JSON in UTF-8 expected")
def broken_json():
    return solution_bytes().replace(b'"cells": [', b'"cells": [[[', 1)


@no_notebook(
    "a notebook that breaks off in the middle", "05_quantization_arithmetic.ipynb", "JSON in UTF-8 expected"
)
def truncated():
    return solution_bytes()[:5000]


@no_notebook("JSON, but a list", "answers.ipynb", "list of cells")
def a_list():
    return b"[1, 2, 3]"


@no_notebook("JSON nested a hundred thousand deep", "answers.ipynb", "JSON in UTF-8 expected")
def deep_json():
    return b"[" * 100_000


@no_notebook("a notebook whose parts are of other types", "answers.ipynb", "list of cells")
def odd_parts():
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": [], "cells": {"source": 1}}).encode()


@no_notebook("a notebook in R", "05_quantization_arithmetic.ipynb", "notebook for R")
def in_r():
    notebook = Notebook(exercises()["05_quantization_arithmetic"], 0, Place(Path("/"), 0))
    notebook.content["metadata"] = {
        "kernelspec": {"display_name": "R", "language": "R", "name": "ir"},
        "language_info": {"name": "R"},
    }
    notebook.cells = [code_cell("x <- c(1, 2)\nround_half_away <- function(x) round(x)")]
    return notebook.to_bytes()


@no_notebook("a PDF, renamed", "05_quantization_arithmetic.ipynb", "no notebook")
def a_pdf():
    return b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"


@no_notebook("a Python file", "answers.py", ".ipynb")
def a_script():
    return b"import numpy as np\n\n\ndef round_half_away(x):\n    return np.round(x)\n"


@no_notebook("a file of 100 MB", "05_quantization_arithmetic.ipynb", "Larger than 20 MB")
def of_100_mb():
    return b" " * 100_000_000 + solution_bytes()


@no_notebook("a notebook that is no UTF-8", "05_quantization_arithmetic.ipynb", "UTF-8")
def not_utf_8():
    return solution_bytes().replace("·".encode(), b"\xb7\xff")


@no_notebook("a zip file that writes outside its folder", "work.zip", "leads out of it")
def zip_with_dots():
    return zip_of({"../../../escaped.ipynb": solution_bytes(), "/tmp/escaped.ipynb": solution_bytes()})


@no_notebook("a zip file that grows a thousandfold", "work.zip", "Larger than 20 MB")
def zip_bomb():
    return zip_of({"05_quantization_arithmetic.ipynb": bytes(300_000_000)})


@no_notebook("a zip file that is none", "work.zip", "damaged")
def no_zip():
    return b"PK\3\4 and then nothing"


def solution_bytes() -> bytes:
    """What nobody can grade in these is a right solution inside."""
    exercise = exercises()["05_quantization_arithmetic"]
    return Notebook(exercise, ALL, Place(Path("/"), 0)).to_bytes()
