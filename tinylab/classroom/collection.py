"""What was handed in: every file, whose it is, and which exercise it answers.

The submissions are read, and nothing else: no file is unpacked to disk, written, changed or locked, no
link followed, no pipe opened. Whoever handed in something that cannot be graded is on the list as well,
with the reason.
"""

import contextlib
import functools
import io
import itertools
import json
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

from tinylab.classroom.exercises import exercises
from tinylab.classroom.owners import Owner, clean, common_top, is_receipt, managed, owners, students_part
from tinylab.errors import DataError

# Not through a link, and without waiting for a pipe's other end; Windows has neither of the two.
READ_ONLY = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))

MB = 2**20
MOST_BYTES = 20 * MB  # of a file
MOST_BYTES_OF_A_STUDENT = 200 * MB
MOST_FILES_OF_A_STUDENT = 2_000
MOST_FOLDERS = 20  # one in the other
MOST_CELLS = 1_000
MOST_LETTERS_OF_A_PATH = 500

LEFT_BEHIND = ("__macosx", "thumbs.db", "desktop.ini", "timestamp.txt")  # the last by nbgrader, on collecting

# What reading a damaged zip file raises: RuntimeError for versions and methods that zipfile does not know.
DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
)

NOT_A_NOTEBOOK = "Not a notebook: hand in the file whose name ends in .ipynb."
NO_NOTEBOOK = "Nothing was handed in here: a file whose name ends in .ipynb is expected."
EMPTY = "The file is empty: save the notebook, and hand it in again."
TOO_LARGE = f"Larger than {MOST_BYTES // MB} MB: clear the notebook's outputs, and hand it in alone."
TOO_MUCH = f"More than {MOST_BYTES_OF_A_STUDENT // MB} MB of one student's: hand in the notebooks alone."
TOO_MANY = f"More than {MOST_FILES_OF_A_STUDENT:,} files: others were left out. Hand in notebooks alone."
TOO_DEEP = f"More than {MOST_FOLDERS} folders deep: it was not looked into. Hand in the notebooks alone."
LINK = "A symbolic link, and links are not followed: hand in the notebook itself."
SPECIAL = "Not a file but a pipe, a socket or a device, and not opened: hand in the notebook itself."
UNSAFE = "Its name in the zip file leads out of it, so it was not unpacked: pack the notebook's folder again."
ENCRYPTED = "Packed with a password: pack it without one."
METHOD = "Packed by a method other than the usual one (deflate): make an ordinary zip file."
DAMAGED = "The zip file is damaged ({}): pack it again."
ZIP_IN_ZIP = "A zip file in a zip file of a student's: hand in the notebook itself."
DOWNLOAD = "A download with several students' names in it: grade it by itself, as SUBMISSIONS."


@dataclass(frozen=True)
class Submission:
    """One file that was handed in.

    Attributes:
        student: name, as the folder, the file or the learning management system tells it.
        id: the number that a learning management system gave the student; "" if none.
        file: its path inside the submissions, for people to find it; no two are the same.
        content: of the file; b"" if there is a problem.
        problem: why it cannot be graded, for teacher and learner; "" if it may be a notebook.
    """

    student: str
    id: str
    file: str
    content: bytes
    problem: str


def collect(place: str | PathLike) -> list[Submission]:
    """Everything that was handed in, sorted by student and file.

    A folder in it is a student, whatever lies below; a file or zip file in it is of the student whom its
    name tells (see `owners`). The same in a zip file, where one folder around everything does not count,
    and in folders with the name of an exercise. Hidden files, and those that macOS, Windows and
    nbgrader leave behind, are not handed in. A student with nothing else gets one submission, with a problem.

    Args:
        place: of the submissions, a folder or a zip file.

    Raises:
        DataError: there is neither at that place, or it holds nothing.
    """
    place = Path(place)
    try:
        if place.is_dir():
            archive, entries = None, list(_in_folder(place))
        elif place.is_file():
            archive = zipfile.ZipFile(place)
            entries = _in_zip(archive)
        else:
            raise _unusable(place, "is neither")
    except DAMAGED_ZIP as error:
        raise _unusable(place, f"cannot be read as either ({error})") from None
    with archive or contextlib.nullcontext():
        safe = (entry.path for entry in entries if entry.problem != UNSAFE)
        submissions = _collected(entries, common_top(safe) if archive else 0)
    if not submissions:
        raise _unusable(place, "holds nothing that was handed in")
    return submissions


def _unusable(place: Path, why: str) -> DataError:
    return DataError(
        f"{place} {why}: a folder of submissions, or the zip file that a learning management system "
        "gives, expected."
    )


# Files, in folders and in zip files


class _Refused(Exception):
    """A file that is not read; says why."""


@dataclass(frozen=True)
class _Entry:
    """A file as it was found; a folder if its path ends with an empty name.

    `read` gives its first bytes, up to as many as asked for.
    """

    path: tuple[str, ...]
    problem: str
    read: Callable[[int], bytes]


def _in_folder(place: Path) -> Iterator[_Entry]:
    """All files and folders, those least deep first."""
    waiting: deque[tuple[str, ...]] = deque([()])
    found: Counter[tuple[str, ...]] = Counter()
    while waiting:
        above = waiting.popleft()
        try:
            with os.scandir(place.joinpath(*above)) as children:
                there = sorted(children, key=lambda child: child.name)
        except OSError as error:
            if not above:
                raise
            yield _Entry((*above, ""), _unreadable(error), _nothing)
            continue
        for child in there:
            path = (*above, child.name)
            owner = students_part(path)
            if _left_behind(child.name) or found[owner] > MOST_FILES_OF_A_STUDENT:
                continue
            found[owner] += 1
            problem, is_folder = _kind(child)
            if found[owner] > MOST_FILES_OF_A_STUDENT:
                problem = TOO_MANY
            elif is_folder and len(path) >= MOST_FOLDERS:
                problem = TOO_DEEP
            elif is_folder:
                waiting.append(path)
            whole = (*path, "") if is_folder else path
            yield _Entry(whole, problem, functools.partial(_read_file, child.path))


def _kind(child: os.DirEntry) -> tuple[str, bool]:
    """What stands against looking into it, if anything; and whether it is a folder."""
    try:
        mode = child.stat(follow_symlinks=False).st_mode
    except OSError as error:
        return _unreadable(error), False
    if stat.S_ISDIR(mode):
        return "", True
    return LINK if stat.S_ISLNK(mode) else "" if stat.S_ISREG(mode) else SPECIAL, False


def _in_zip(archive: zipfile.ZipFile) -> list[_Entry]:
    """All members, those least deep first."""
    entries = []
    for info in archive.infolist():
        name = _member_name(info)
        parts = tuple(part for part in re.split(r"[/\\]", name) if part not in ("", ".", ".."))
        problem = _member_problem(info, name)
        if problem != UNSAFE and (not parts or any(map(_left_behind, parts))):
            continue
        if name.endswith("/") and problem != UNSAFE:
            parts = (*parts, "")
        read = functools.partial(_read_member, archive, info)
        entries.append(_Entry(parts or ("(no name)",), problem, read))
    return sorted(entries, key=lambda entry: (len(entry.path), entry.path))


def _member_name(info: zipfile.ZipInfo) -> str:
    """A member's name: in UTF-8 also where the zip file does not say so, as macOS packs; else in cp437."""
    name = info.orig_filename  # not `filename`, in which Windows turns "\\" into "/"
    if info.flag_bits & 0x800:
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _member_problem(info: zipfile.ZipInfo, name: str) -> str:
    mode = info.external_attr >> 16
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/") or name[1:2] == ":":
        return UNSAFE
    if stat.S_ISLNK(mode):
        return LINK
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return SPECIAL
    if name.count("/") > MOST_FOLDERS:
        return TOO_DEEP
    if info.flag_bits & 0x41:
        return ENCRYPTED
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return METHOD  # others are unpacked without a limit to what comes out
    return ""


def _left_behind(name: str) -> bool:
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def _nothing(most: int) -> bytes:
    return b""


def _read_file(path: str, most: int) -> bytes:
    """A file's first bytes; it may have become something else since it was found."""
    try:
        with open(os.open(path, READ_ONLY), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _Refused(SPECIAL)
            return file.read(min(most, status.st_size + 1))
    except OSError as error:
        raise _Refused(_unreadable(error)) from None


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    try:
        with archive.open(info) as member:
            return member.read(most)
    except DAMAGED_ZIP as error:
        raise _Refused(DAMAGED.format(error)) from None


def _unreadable(error: OSError) -> str:
    return f"It cannot be read ({error.strerror}): see to its permissions, or have it handed in again."


# Submissions


def _collected(entries: Sequence[_Entry], common: int = 0) -> list[Submission]:
    whose = owners((entry.path for entry in entries), common)
    pile = _Pile()
    for entry in entries:
        owner = whose.get(entry.path)
        if owner is None:
            if entry.problem:
                pile.add(Owner(clean(entry.path[-2])), entry.path, entry.problem)  # a folder of an exercise
        elif not entry.problem and (entry.path[-1] == "" or is_receipt(entry.path[-1])):
            pile.only_seen.setdefault(owner, entry.path)
        else:
            pile.take(owner, entry)
    return pile.sorted()


class _Pile:
    """Submissions so far, and how much of it is whose."""

    def __init__(self):
        self.submissions: list[Submission] = []
        self.only_seen: dict[Owner, tuple[str, ...]] = {}
        self._files: Counter[Owner] = Counter()
        self._bytes: Counter[Owner] = Counter()
        self._shown: set[str] = set()

    def add(self, owner: Owner, path: tuple[str, ...], problem: str = "", content: bytes = b"") -> None:
        shown = file = _as_text(path)
        numbers = itertools.count(2)
        while file in self._shown:
            file = f"{shown} #{next(numbers)}"
        self._shown.add(file)
        self.submissions.append(Submission(owner.student, owner.id, file, content, problem))

    def take(self, owner: Owner, entry: _Entry, in_zip: bool = False) -> None:
        """Read a file; if it is a zip file, what is in it."""
        self._files[owner] += 1
        if self._files[owner] == MOST_FILES_OF_A_STUDENT + 1:
            self.add(owner, entry.path, TOO_MANY)
        if self._files[owner] > MOST_FILES_OF_A_STUDENT:
            return
        kind = PurePosixPath(entry.path[-1]).suffix.lower()
        problem = entry.problem
        if not problem and kind == ".zip" and in_zip:
            problem = ZIP_IN_ZIP
        if not problem and kind not in (".zip", ".ipynb"):
            problem = NOT_A_NOTEBOOK
        if not problem:
            try:
                content = self._read(owner, entry)
                if kind == ".ipynb":
                    self.add(owner, entry.path, content=content)
                else:
                    self._unpack(owner, entry, content)
                return
            except _Refused as refused:
                problem = str(refused)
        self.add(owner, entry.path, problem)

    def sorted(self) -> list[Submission]:
        """All of them, and one for each student of whom there is nothing else."""
        there = {submission.student for submission in self.submissions}
        for owner, path in self.only_seen.items():
            if owner.student not in there:
                there.add(owner.student)
                self.add(owner, path, NO_NOTEBOOK)
        return sorted(self.submissions, key=lambda submission: (submission.student, submission.file))

    def _read(self, owner: Owner, entry: _Entry) -> bytes:
        if self._bytes[owner] > MOST_BYTES_OF_A_STUDENT:
            raise _Refused(TOO_MUCH)
        try:
            content = entry.read(MOST_BYTES + 1)
        except _Refused:
            self._bytes[owner] += MOST_BYTES  # so much may have been unpacked in vain
            raise
        self._bytes[owner] += len(content)
        if len(content) > MOST_BYTES:
            raise _Refused(TOO_LARGE)
        if not content:
            raise _Refused(EMPTY)
        return content

    def _unpack(self, owner: Owner, entry: _Entry, content: bytes) -> None:
        # each member has such a signature in the table of contents, which zipfile reads without a limit
        if content.count(b"PK\x01\x02") > MOST_FILES_OF_A_STUDENT:
            raise _Refused(TOO_MANY)
        try:
            archive = zipfile.ZipFile(io.BytesIO(content))
            members = _in_zip(archive)
        except DAMAGED_ZIP as error:
            raise _Refused(DAMAGED.format(error)) from None
        if len({managed(member.path[0]) for member in members} - {None}) > 1:
            raise _Refused(DOWNLOAD)
        files = [member for member in members if member.problem or member.path[-1]]
        if not files:
            raise _Refused(NO_NOTEBOOK)
        for member in files:
            self.take(owner, replace(member, path=entry.path + member.path), in_zip=True)


def _as_text(path: Iterable[str]) -> str:
    """A path as text, with a mark for what does not print."""
    text = "/".join(itertools.islice(path, MOST_FOLDERS + 5))[:MOST_LETTERS_OF_A_PATH]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


# Which exercise a notebook answers

DEFINED = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+(\w+)", re.MULTILINE)
CHECKED = re.compile(r"\b(?:check|exercise_\d\d)\.(\w+)[ \t]*\(")
IMPORTED = re.compile(r"^[ \t]*(?:from|import)\b.*\b(exercise_\d\d)\b", re.MULTILINE)
WEIGHT_OF_IMPORT = 3  # against 1 of a function that is defined, or checked
LEAST_WEIGHT = 2  # a lesson defines one function of an exercise's by chance


def exercise_of(content: bytes) -> str:
    """The name of the exercise that a notebook answers, by what is in its code, however it is called.

    Functions that are defined, checks that are called and the module of checks that is imported are
    compared with those of each exercise; the most in common decides. The code is searched, not parsed: so
    magics and syntax errors do no harm, and code that would bring down Python's parser does none, either.

    A lesson's notebook is none: it imports no checks, and shares one function with an exercise at most.

    Args:
        content: of the file, nbformat 3 or 4, in UTF-8.

    Raises:
        DataError: no notebook, or one for another language; nothing of any exercise in it, or as much
            of one as of another.
    """
    signs = _signs(source for kind, source in cells(content) if kind == "code")
    weights = {
        name: sum(WEIGHT_OF_IMPORT if sign.startswith("exercise_") else 1 for sign in signs & known)
        for name, known in _known_signs().items()
    }
    most = max(weights.values())
    best = [name for name, weight in weights.items() if weight == most]
    if most < LEAST_WEIGHT:
        raise DataError(
            "no exercise was recognized: functions to write, their checks, or a line such as `from "
            f"tinylab.check import exercise_05 as check` expected, of one of {', '.join(weights)}."
        )
    if len(best) > 1:
        raise DataError(
            f"the notebook has as much of {' as of '.join(best)}: the functions and checks of one exercise "
            "expected. Hand in a notebook for each."
        )
    return best[0]


@functools.cache
def _known_signs() -> dict[str, set[str]]:
    return {name: _signs(exercise.sources) for name, exercise in exercises().items()}


def _signs(sources: Iterable[str]) -> set[str]:
    text = "\n".join(sources)
    defined = {f"def {name}" for name in DEFINED.findall(text)}
    return defined | {f"check.{name}" for name in CHECKED.findall(text)} | set(IMPORTED.findall(text))


def cells(content: bytes) -> list[tuple[str, str]]:
    """The kind ("code", "markdown", ...) and the source of each cell of a notebook, however odd it is.

    Raises:
        DataError: no notebook, or one for another language.
    """
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"no notebook: JSON in UTF-8 expected ({error}). Save it in Jupyter again.") from None
    found = _cells(notebook)
    if len(found) > MOST_CELLS:
        raise DataError(f"{len(found):,} cells: a notebook of {MOST_CELLS:,} at most expected.")
    language = _language(notebook)
    if language and not language.lower().startswith(("python", "ipython")):
        raise DataError(f"a notebook for {language[:40]}: one for Python expected. Choose its kernel anew.")
    return [(str(cell.get("cell_type")), _source(cell)) for cell in found if isinstance(cell, dict)]


def _cells(notebook: Any) -> list:
    """Its cells: nbformat 4 has them at the top, nbformat 3 in worksheets."""
    if isinstance(notebook, dict):
        sheets = notebook.get("worksheets")
        parts = [notebook, *sheets] if isinstance(sheets, list) else [notebook]
        cells = [part["cells"] for part in parts if isinstance(part, dict) and "cells" in part]
        if cells and all(isinstance(each, list) for each in cells):
            return list(itertools.chain.from_iterable(cells))
    raise DataError("no notebook: no list of cells in its JSON, as expected. Save it in Jupyter again.")


def _language(notebook: dict) -> str:
    """What a notebook says that its kernel speaks; "" if nothing."""
    metadata = notebook.get("metadata")
    for where, key in (("kernelspec", "language"), ("language_info", "name")):
        said = metadata.get(where) if isinstance(metadata, dict) else None
        language = said.get(key) if isinstance(said, dict) else None
        if isinstance(language, str) and language:
            return language
    return ""


def _source(cell: dict) -> str:
    source = cell.get("source", cell.get("input"))  # nbformat 3 calls it input
    lines = source if isinstance(source, list) else [source]
    return "".join(line for line in lines if isinstance(line, str))
