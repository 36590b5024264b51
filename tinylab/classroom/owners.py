"""Whose a file is, by its path: names as learning management systems, and people, write them.

Moodle, a folder a student or all files in one (mod/assign/classes/downloader.php in its source); the
number is the participant's, and another one in each assignment:

    Ada Lovelace_123456_assignsubmission_file/05_quantization_arithmetic.ipynb
    Ada Lovelace_123456_assignsubmission_file_05_quantization_arithmetic.ipynb

Canvas, all files in one folder (lib/content_zipper.rb in its source); the numbers are the user's and
the file's, and without names it is `anon_` and a code:

    lovelaceada_LATE_12345_678901_05_quantization_arithmetic-1.ipynb

Blackboard, all files in one folder (the source is not public: as tools that sort its gradebook downloads
read them); the user's name stands behind the title of the column, and each attempt has a receipt in .txt:

    Exercise 5_ada_attempt_2026-11-02-10-00-00_05_quantization_arithmetic.ipynb
    Exercise 5_ada_attempt_2026-11-02-10-00-00.txt

Elsewhere a folder is a student, as in nbgrader's "submitted", and a file bears the student's name beside
that of the exercise.
"""

import functools
import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tinylab.classroom.exercises import exercises

MOST_LETTERS = 100  # of a student's name
LONGEST_NAME = 255  # of a file, on any usual disk; in a zip file it may be 65,535
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories of characters that do not show

MOODLE = re.compile(r"(?P<student>.+?)(?:_(?P<id>\d+))?_assignsubmission_[a-z]+(?:_.*)?")
# The file's number has three digits at least, or dates would look like it: ada_2026_11_02.
CANVAS = re.compile(r"(?:(?P<student>\w+?)_)?(?:LATE_)?(?P<id>[1-9]\d*|anon_[0-9A-Za-z]+)_[1-9]\d{2,}_.+")
BLACKBOARD = re.compile(r"(?P<title_and_user>.+_.+)_attempt_\d{4}(?:-\d\d){5}(?P<receipt>\.txt)?(?:_.+)?")
COPY = re.compile(r"^(?:copy of )+|[ _-]+copy[ _-]?\d*(?: \(\d+\))?$", re.IGNORECASE)

Path = tuple[str, ...]  # names of folders, and last that of the file; for a folder, an empty one


@dataclass(frozen=True)
class Owner:
    """A student, and the number that a learning management system gave, "" if none."""

    student: str
    id: str = ""


def owners(paths: Iterable[Path], common: int = 0) -> dict[Path, Owner]:
    """The owner of each path. Folders that are above all students have none, and are left out.

    Two people of one name are told apart by their numbers, if they have any: those are put behind it.

    Args:
        paths: all that was handed in, because it takes several to see what is the title of a column.
        common: how many folders at the top of each path are not to be read as a student.

    >>> path = ("ada_05_quantization_arithmetic-1.ipynb",)
    >>> owners([path])[path]
    Owner(student='ada', id='')
    """
    places = {path: students_part(path, common) for path in paths}
    places = {path: place for path, place in places.items() if place[-1]}
    users = _blackboard_users(places.values())
    read = {
        place: Owner(clean(users[place])) if place in users else _read(place[-1], is_file=place == path)
        for path, place in places.items()
    }
    numbers = defaultdict(set)
    for place, owner in read.items():
        numbers[place[:-1], owner.student].add(owner.id)
    shared = {student for (_, student), ids in numbers.items() if len(ids) > 1}
    for place, owner in read.items():
        if owner.student in shared and owner.id:
            read[place] = Owner(f"{owner.student} {owner.id}", owner.id)
    return {path: read[place] for path, place in places.items()}


def common_top(paths: Iterable[Path]) -> int:
    """1 if all paths lie in one folder that is no student's, but holds the whole class; else 0.

    It is if it holds folders, other than of exercises, or notebooks with several people's names.

    >>> common_top([("class", "ada", "x.ipynb")]), common_top([("ada", "x.ipynb")])
    (1, 0)
    """
    paths = [path for path in paths if path[1:] != ("",)]
    if len({path[0] for path in paths}) != 1 or len(paths[0]) == 1 or managed(paths[0][0]):
        return 0
    named = set()
    for path in paths:
        place = students_part(path, 1)
        if len(place) < len(path) or managed(place[-1]):
            return 1
        if place[-1].lower().endswith((".ipynb", ".zip")):
            named.add(_person_in(place[-1]))
    return int(len(named - {""}) > 1)


def students_part(path: Path, common: int = 0) -> Path:
    """A path down to the name that tells the student: the first that is no folder of an exercise."""
    place = min(common, len(path) - 1)
    while place + 1 < len(path) and _exercise_name().fullmatch(path[place]):
        place += 1
    return path[: place + 1]


def managed(name: str) -> Owner | None:
    """The owner, if a learning management system wrote the name; Blackboard's with the column's title."""
    name = _text(name)
    if found := BLACKBOARD.fullmatch(name):
        return Owner(found["title_and_user"])
    if found := MOODLE.fullmatch(name) or CANVAS.fullmatch(name):
        return Owner(found["student"] or found["id"], found["id"] or "")
    return None


def is_receipt(name: str) -> bool:
    """Whether Blackboard, and no student, wrote the file."""
    found = BLACKBOARD.fullmatch(_text(name))
    return bool(found and found["receipt"])


def clean(name: str) -> str:
    """A name as one text, however it was stored: composed, trimmed, of limited length, never empty.

    macOS writes "é" as two characters. Characters that do not show are taken away; a name that is cut
    gets a checksum, so that no two become one.
    """
    return _short(_text(name).lstrip(" ."), MOST_LETTERS) or "(no name)"


def _text(name: str) -> str:
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")  # what no encoding could read
    name = _short(name, LONGEST_NAME)
    shown = "".join(c for c in name if c.isspace() or unicodedata.category(c) not in HIDDEN)
    return " ".join(unicodedata.normalize("NFC", shown).split())


def _short(name: str, most: int) -> str:
    if len(name) <= most:
        return name
    return f"{name[: most - 9].rstrip()} {hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _read(name: str, is_file: bool) -> Owner:
    if owner := managed(name):
        return Owner(clean(owner.student), owner.id)
    if is_file:
        return Owner(clean(_person_in(name) or _stem(name)))
    return Owner(clean(name))


def _stem(file: str) -> str:
    return _text(file).rpartition(".")[0] or _text(file)


def _person_in(file: str) -> str:
    """What a file's name says beside the exercise's name and marks of copies; "" if nothing."""
    rest = COPY.sub("", _stem(file))
    if found := _exercise_name().search(rest):
        parts = (part.strip(" _-.") for part in (rest[: found.start()], rest[found.end() :]))
        rest = re.sub(r" *\(\d+\)$", "", " ".join(part for part in parts if part))
    return rest.strip(" _-.")


@functools.cache
def _exercise_name() -> re.Pattern:
    """Any exercise's name; behind it "-1" or " (2)", as browsers and systems tell copies apart."""
    names = "|".join(name.replace("_", "[ _-]") for name in exercises())
    return re.compile(rf"(?:{names})(?: ?\(\d+\)|-\d\d?(?!\w))?", re.IGNORECASE)


def _blackboard_users(places: Iterable[Path]) -> dict[Path, str]:
    """Whom Blackboard names, behind the column's title.

    Both may have "_" in them: what most names in a folder begin with is the title.
    """
    found = {place: BLACKBOARD.fullmatch(_text(place[-1])) for place in places}
    names = {place: match["title_and_user"] for place, match in found.items() if match}
    distinct = {(place[:-1], name) for place, name in names.items()}
    shared = Counter((folder, title) for folder, name in distinct for title in _titles(name))

    def user(folder: Path, name: str) -> str:
        title = max(_titles(name), key=lambda title: (shared[folder, title], len(title)))
        return name[len(title) + 1 :]

    return {place: user(place[:-1], name) for place, name in names.items()}


def _titles(name: str) -> list[str]:
    return [name[:i] for i in range(1, len(name) - 1) if name[i] == "_"]
