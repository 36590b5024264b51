"""What the lessons themselves have measured: read from the outputs stored with them."""

import functools
import re
from collections.abc import Iterator

from bs4 import BeautifulSoup, Tag

from tinylab import authoring, course

NAMES = {lesson.name[:2]: lesson.name for lesson in course.LESSONS}


@functools.cache
def _notebook(lesson: str):
    return authoring.read(authoring.ROOT / "notebooks" / f"{NAMES[lesson]}.ipynb")


def headings(lesson: str) -> list[str]:
    """The sections of a lesson, "01" for instance."""
    text = "\n".join(cell.source for cell in _notebook(lesson).cells if cell.cell_type == "markdown")
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


def _outputs(lesson: str) -> Iterator[dict]:
    for cell in _notebook(lesson).cells:
        yield from cell.get("outputs", ())


def table(lesson: str, *names: str) -> dict[str, dict[str, str]]:
    """The last table of a lesson that has columns and rows of these names: what stands in each row."""
    for output in reversed(list(_outputs(lesson))):
        for found in BeautifulSoup(output.get("data", {}).get("text/html", ""), "html.parser")("table"):
            header = _cells(found.thead.tr)[1:]
            rows = {name: values for name, *values in map(_cells, found.tbody("tr"))}
            if {*names} <= {*header, *rows}:
                return {name: dict(zip(header, values, strict=True)) for name, values in rows.items()}
    raise LookupError(f"lesson {lesson} stores no table with {names}: mend tests/bench/claims.py.")


def line(lesson: str, words: str) -> str:
    """The first line with these words that a lesson has printed."""
    for output in _outputs(lesson):
        for printed in output.get("text", "").splitlines():
            if words in printed:
                return printed
    raise LookupError(f"lesson {lesson} prints nothing with {words!r}: mend tests/bench/claims.py.")


def _cells(row: Tag) -> list[str]:
    return [cell.get_text() for cell in row(["th", "td"])]


def numbers(text: str) -> list[float]:
    """The numbers in a text.

    >>> numbers("1,234 bytes, 8.5 %")
    [1234.0, 8.5]
    """
    return [float(found.replace(",", "")) for found in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text)]


def recap(lesson: str) -> dict[str, str]:
    """The lines of a lesson's recap."""
    return {name: row["measured here"] for name, row in table(lesson, "measured here").items()}
