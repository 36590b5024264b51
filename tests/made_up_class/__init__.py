"""A made-up class: what students hand in, good, partial, blank, forged and hostile, and the grade of each.

In `honest`, `forged`, `hostile` and `no_notebooks` each function makes one submission, out of an exercise and
its solution. Above it stands what it is, in words, and the grade that it must get, where that does not follow
from the number of tasks that are solved. `python -m tests.made_up_class FOLDER` writes them all.

A submission that gets at something it must not see, or reach, prints "leak" in capital letters.
"""

import importlib
from pathlib import Path

from .handing_in import HANDED_IN, Expected, Place

for name in ("honest", "forged", "hostile", "no_notebooks"):  # each adds its own to the list
    importlib.import_module(f"{__name__}.{name}")

FLAT = ("conda_kernel", "truncated", "prints_scores")  # these are no folders, but files beside the folders


def write(class_folder: Path, port: int = 9, only: frozenset[str] = frozenset()) -> list[Expected]:
    """Write all submissions, or only those of these students, into a folder; and say what each must get.

    Args:
        class_folder: where to; made if need be.
        port: of a listener on 127.0.0.1, to which one of them tries to connect.
        only: names of students; all if empty.
    """
    place = Place(class_folder.resolve(), port)
    chosen = [(expected, files) for expected, files in HANDED_IN if not only or expected.student in only]
    for expected, files in chosen:
        for path, content in files(place).items():
            name = f"{expected.student}_{path}" if expected.student in FLAT else f"{expected.student}/{path}"
            target = class_folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    table = [expected for expected, _ in chosen]
    if not only:
        table.append(_symbolic_link(class_folder))
    return table


def _symbolic_link(class_folder: Path) -> Expected:
    """To another one's right solution."""
    link = class_folder / "symbolic_link" / "05_quantization_arithmetic.ipynb"
    link.parent.mkdir()
    link.symlink_to(class_folder.resolve() / "solution_05" / "05_quantization_arithmetic.ipynb")
    kind = "a symbolic link to another's solution"
    return Expected("symbolic_link", "no notebook", kind, "", "", "symbolic link")


def as_text(rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(f"{value:{width}}" for value, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
