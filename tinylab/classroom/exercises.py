"""The exercises as a teacher hands them out: where they are, and what each asks for."""

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

import tinylab
from tinylab.errors import DataError

CHECK_CELL = re.compile(r"^check\.(\w+)\((\w+)\)$", re.MULTILINE)


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        name: as its file is called, "05_quantization_arithmetic".
        path: of the notebook as handed out.
        tasks: names of the functions to write, in their order.
        sources: of its code cells.
    """

    name: str
    path: Path
    tasks: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def check(self) -> str:
        """The name of the module of its checks."""
        return f"exercise_{self.name[:2]}"


def folder(kind: str) -> Path:
    """Where notebooks are: "exercises" or "solutions".

    Raises:
        DataError: the installation lacks them.
    """
    package = Path(tinylab.__file__).parent
    for place in (package / "classroom" / kind, package.parent / kind):  # installed; a clone
        if place.is_dir():
            return place
    raise DataError(f"this installation of tinylab lacks its {kind}: install it again.")


@functools.cache
def exercises() -> dict[str, Exercise]:
    """All exercises, by their names, in the order of the course.

    >>> exercises()["05_quantization_arithmetic"].tasks[:3]
    ('round_half_away', 'scale_and_zero_point', 'quantize')
    """
    return {path.stem: _read(path) for path in sorted(folder("exercises").glob("*.ipynb"))}


def _read(path: Path) -> Exercise:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = tuple("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    checked = [match for source in sources for match in CHECK_CELL.finditer(source)]
    return Exercise(path.stem, path, tuple(match[1] for match in checked), sources)
