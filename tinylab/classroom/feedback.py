"""What teachers and learners read: grades as a table, a page a notebook, and one of the whole class."""

import base64
import csv
import functools
import hashlib
import importlib.util
import io
import itertools
import json
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import tinylab
from tinylab import whole_file
from tinylab.check.task import Outcome
from tinylab.classroom import executed, summary
from tinylab.classroom.report import SAME_FILE, Graded
from tinylab.errors import TinylabError

MARKS = {Outcome.RIGHT: "✓", Outcome.WRONG: "✗", Outcome.ERROR: "!", Outcome.NOT_ATTEMPTED: "–"}
TEMPLATES = Path(__file__).parent / "templates"
OURS = "made by tinylab grade"  # stands in the second line of each page, with a digest of what is in it
LONGEST_NAME = 60  # letters; with the folders above it, a path has to stay below 260 on Windows
LONGEST_MESSAGE = 5_000
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)  # Windows'
FORMULA = re.compile(r"((?:^|[,;])[\s\"]*)(?=[=+\-@＝＋－＠])")


@dataclass
class Page:
    """A page of feedback: of a notebook, or of a file that could not be graded.

    Attributes:
        student: whose it is.
        name: of the exercise, or of the file.
        graded: the file that counts.
        others: of the same student and exercise, which do not.
        address: from the summary, "feedback/Ana/05_quantization_arithmetic.html".
    """

    student: str
    name: str
    graded: Graded
    others: list[Graded] = field(default_factory=list)
    address: str = ""

    @property
    def remarks(self) -> list[str]:
        """What is to be said about all of them."""
        others = [f"{one.file}: {remark}" for one in self.others for remark in one.report.remarks]
        return [*(self.graded.report.remarks if self.graded.report else ()), *others]

    @property
    def remarks_for_the_learner(self) -> list[str]:
        """Those that name nobody else."""
        return [remark for remark in self.remarks if SAME_FILE not in remark]


@dataclass
class Student:
    """All that is known of a student.

    Attributes:
        name, id: as in `Graded`.
        pages: of notebooks that count, by exercise.
        problems: pages of files that could not be graded.
    """

    name: str
    id: str
    pages: dict[str, Page]
    problems: list[Page]

    @property
    def points(self) -> int:
        """Of all exercises."""
        return sum(page.graded.report.points for page in self.pages.values())

    @property
    def all_pages(self) -> list[Page]:
        """Of notebooks, then of the other files."""
        return [*self.pages.values(), *self.problems]

    @property
    def remarks(self) -> list[str]:
        """What a teacher should know, each with the exercise or file that it is about."""
        problems = [f"{page.name}: {page.graded.problem}" for page in self.problems]
        return problems + [
            f"{page.name}: {remark}" for page in self.pages.values() for remark in page.remarks
        ]


def write(graded: Sequence[Graded], folder: str | os.PathLike) -> None:
    """Write grades.csv, index.html and feedback/STUDENT/EXERCISE.html.

    The same grades give the same grades.csv, byte for byte. A page that is there, and made of the same, is
    left as it is; one that an earlier run made, and that belongs to nothing any more, is removed.

    In grades.csv a row is a student. Its columns: Student, ID, Section (empty), the points of each exercise
    that anybody handed in (empty if this student did not), Total, Possible, Remarks, and a column a task
    with 0 or 1. In front of Total is what gradebooks take:

    - Canvas wants the first three by these names; its zip files carry the ID that it wants. It takes any
      other column for an assignment, and asks: leave out what stands behind the exercises.
    - Moodle (Import, CSV file) asks which column says who a student is, and which is which grade. The number
      in the names of its zip files is none that it knows here: add the column of its own export.
    - Blackboard wants the column with its user names called Username.

    Args:
        graded: every file that was handed in.
        folder: made if it is not there.

    Raises:
        TinylabError: nbconvert is missing.
        OSError: the folder cannot be written to.
    """
    check_packages()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    students = _students(graded)
    pages = [page for student in students for page in student.all_pages]
    summaries = summary.summarize([page.graded.report for page in pages if page.graded.report])
    _put(folder, "grades.csv", _grades(students, summaries))
    for page in pages:
        _put_page(folder, page)
    _put(folder, "index.html", _index(students, summaries, len(graded)))
    _sweep(folder, [page.address for page in pages])


def check_packages() -> None:
    """Raise a TinylabError where nbconvert is missing, which comes with an extra."""
    if importlib.util.find_spec("nbconvert") is None:
        raise TinylabError('no nbconvert here, for the feedback: pip install "tinylab-course[classroom]"')


def _students(graded: Iterable[Graded]) -> list[Student]:
    """All students, by name, with the addresses of their pages."""
    by_student = defaultdict(list)
    for one in sorted(graded, key=lambda one: (one.exercise, one.file)):
        by_student[one.student, one.id].append(one)
    found = []
    for name, number in sorted(by_student, key=lambda key: (key[0].casefold(), key)):
        pages: dict[str, Page] = {}
        problems = []
        # the one that counts comes first
        for one in sorted(by_student[name, number], key=lambda one: not one.counts):
            if one.report is None:
                problems.append(Page(name, PurePosixPath(one.file).name or one.file, one))
            elif one.exercise in pages:
                pages[one.exercise].others.append(one)
            else:
                pages[one.exercise] = Page(name, one.exercise, one)
        found.append(Student(name, number, dict(sorted(pages.items())), problems))
    places = _different(f"{student.name} {student.id}".strip() for student in found)
    for student, place in zip(found, places, strict=True):
        names = _different(page.name for page in student.all_pages)
        for page, name in zip(student.all_pages, names, strict=True):
            page.address = f"feedback/{place}/{name}.html"
    return found


def _different(names: Iterable[str]) -> list[str]:
    """A name for a file for each name; no two are the same where "ana" is "Ana".

    >>> _different(["Ana", "ana", "a/../b", "CON", "..."])
    ['Ana', 'ana (2)', 'a_.._b', '_CON', '_']
    """
    found: dict[str, str] = {}
    for name in map(_plain, names):
        numbered = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
        chosen = next(one for one in numbered if _key(one) not in found)
        found[_key(chosen)] = chosen
    return list(found.values())


def _key(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _plain(name: str) -> str:
    """A name that every file system takes: no control characters, none that stand for something."""
    name = unicodedata.normalize("NFC", name)
    name = "".join("_" if c in '/\\:*?"<>|' or unicodedata.category(c)[0] == "C" else c for c in name)
    name = name[:LONGEST_NAME].encode()[: 2 * LONGEST_NAME].decode(errors="ignore").strip(" .")
    return f"_{name}" if not name or RESERVED.fullmatch(name) else name


# The table


def _grades(students: Sequence[Student], summaries: Sequence[summary.ExerciseSummary]) -> bytes:
    tasks = [(one.name, task) for one in summaries for task in one.outcomes]
    possible = sum(one.possible for one in summaries)
    table = io.StringIO()
    rows = csv.writer(table)  # as RFC 4180 says
    rows.writerow(
        ["Student", "ID", "Section", *(one.name for one in summaries), "Total", "Possible", "Remarks"]
        + [f"{exercise}: {task}" for exercise, task in tasks]
    )
    for student in students:
        points = {name: page.graded.report.points for name, page in student.pages.items()}
        by_task = {
            (name, task.task): task.points
            for name, page in student.pages.items()
            for task in page.graded.report.tasks
        }
        rows.writerow(
            [_harmless(student.name), _harmless(student.id), ""]
            + [points.get(one.name, "") for one in summaries]
            + [student.points, possible, _harmless("; ".join(map(_short, student.remarks)))]
            + [by_task.get(key, "") for key in tasks]
        )
    # Excel reads UTF-8 only behind a byte order mark; Canvas and Moodle do not mind it.
    return table.getvalue().encode("utf-8-sig", "replace")


def _harmless(text: str) -> str:
    """A text in one line that no spreadsheet takes for a formula, also one that splits lines at semicolons.

    >>> _harmless("=HYPERLINK(A1)\\n+1;-2")
    "'=HYPERLINK(A1) +1;'-2"
    """
    return FORMULA.sub(r"\1'", " ".join(re.sub(r"[\x00-\x20\x7f-\x9f]", " ", text).split()))


# The pages


def _put_page(folder: Path, page: Page) -> None:
    made_of = [asdict(one) for one in (page.graded, *page.others)]
    everything = _templates_digest() + json.dumps(made_of, default=lambda outcome: outcome.name)
    digest = hashlib.sha256(everything.encode()).hexdigest()
    if _is_ours(folder / page.address, digest):
        return
    report = page.graded.report
    cells = executed.cells(report.notebook) if report else []
    shown = {"page": page, "report": report, "marks": MARKS, "cells": cells}
    notebook = _rendered("notebook.html", cells=cells)
    text = _rendered("page.html", mark=OURS, digest=digest, notebook=notebook, **shown)
    _put(folder, page.address, text.encode("utf-8", "replace"))


def _index(students: Sequence[Student], summaries: Sequence[summary.ExerciseSummary], files: int) -> bytes:
    pages = [page for student in students for page in student.all_pages]
    remarks = defaultdict(list)
    for page in pages:
        for remark in page.remarks:
            remarks[summary.generalized(remark)].append((page, remark))
    script = (TEMPLATES / "sort.js").read_text(encoding="utf-8")
    text = _rendered(
        "index.html",
        students=students,
        summaries=summaries,
        files=files,
        problems=[page for page in pages if page.graded.report is None],
        remarks=dict(sorted(remarks.items(), key=lambda entry: (-len(entry[1]), entry[0]))),
        drawings={one.name: base64.b64encode(one.drawing).decode() for one in summaries},
        outcomes=list(summary.LOOKS),
        possible=sum(one.possible for one in summaries),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return text.encode("utf-8", "replace")


def _rendered(template: str, **values: Any) -> str:
    return _templates().get_template(template).render(**values)


@functools.cache
def _templates() -> Any:
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    made.filters["short"] = _short
    made.filters["of"] = lambda number, what: f"{number} {what}" + ("" if number == 1 else "s")
    made.filters["as_attribute"] = lambda page: Markup(executed.as_attribute(page))
    return made


@functools.cache
def _templates_digest() -> str:
    """Of all that a page is made of, beside what is on it."""
    sources = [path.read_bytes() for path in sorted(TEMPLATES.iterdir())]
    return hashlib.sha256(b"".join([tinylab.__version__.encode(), *sources])).hexdigest()


def _short(text: str) -> str:
    if len(text) <= LONGEST_MESSAGE:
        return text
    return (
        f"{text[:LONGEST_MESSAGE]} ... (of {len(text):,} characters, the first {LONGEST_MESSAGE:,} are shown)"
    )


# Files


def _put(folder: Path, address: str, content: bytes) -> None:
    (folder / address).parent.mkdir(parents=True, exist_ok=True)
    whole_file.replace(folder / address, content)


def _is_ours(path: Path, digest: str = "") -> bool:
    """Whether a page is one that `write` made, of what the digest stands for."""
    try:
        with path.open("rb") as file:
            return f"<!-- {OURS} {digest}".encode() in file.read(200)
    except OSError:
        return False


def _sweep(folder: Path, addresses: Iterable[str]) -> None:
    """Remove the pages of earlier runs that belong to nothing any more, and what a killed one left."""
    kept = {_key(address) for address in addresses}
    for place, _, names in os.walk(folder / "feedback", topdown=False):
        for path in (Path(place, name) for name in names):
            stale = _key(path.relative_to(folder).as_posix()) not in kept
            if path.suffix == whole_file.UNFINISHED or (stale and path.suffix == ".html" and _is_ours(path)):
                path.unlink()
        if not os.listdir(place):
            os.rmdir(place)
