"""What was handed in: every file is found, its owner told from its path, its exercise from its code."""

import contextlib
import io
import json
import os
import random
import re
import socket
import stat
import tempfile
import time
import tracemalloc
import unicodedata
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tinylab.authoring import ROOT, notebooks
from tinylab.classroom import collection
from tinylab.classroom.collection import MB, MOST_BYTES, collect, exercise_of
from tinylab.classroom.exercises import exercises
from tinylab.classroom.owners import HIDDEN, clean
from tinylab.errors import DataError

from .conftest import slow

NAME = "05_quantization_arithmetic"
NOTEBOOK = exercises()[NAME].path.read_bytes()
WINDOWS = os.name == "nt"


def tree(place: Path, files: dict[str, bytes]) -> Path:
    """A folder with files; a path that ends with "/" is an empty folder."""
    for path, content in files.items():
        target = place / path
        if path.endswith("/"):
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return place


def packed(files: dict[str | zipfile.ZipInfo, bytes], method=zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def zipped(place: Path, files: dict[str, bytes]) -> Path:
    place.mkdir(exist_ok=True)
    (place / "download.zip").write_bytes(packed(files))
    return place / "download.zip"


def either(kind: str, place: Path, files: dict[str, bytes]) -> Path:
    return {"folder": tree, "zip": zipped}[kind](place / "class", files)


def table(place: Path) -> dict[str, tuple[str, str]]:
    """Student and problem of each file."""
    submissions = collect(place)
    assert [(s.student, s.file) for s in submissions] == sorted((s.student, s.file) for s in submissions)
    assert all(bool(s.content) != bool(s.problem) for s in submissions)
    files = {s.file: (s.student, s.problem) for s in submissions}
    assert len(files) == len(submissions)
    return files


def students(place: Path) -> dict[str, str]:
    """The student of each file; none may have a problem."""
    found = table(place)
    assert {problem for _, problem in found.values()} == {""}
    return {file: student for file, (student, _) in found.items()}


def the_problem(place: Path, file: str) -> str:
    return table(place)[file][1]


both = pytest.mark.parametrize("kind", ["folder", "zip"])

# Whose a file is


@both
def test_a_folder_is_a_student_whatever_lies_below(kind, tmp_path):
    place = either(
        kind,
        tmp_path,
        {f"ada/{NAME}.ipynb": NOTEBOOK, f"bob/{NAME}/{NAME}.ipynb": NOTEBOOK, "Bob/a/b/c.ipynb": NOTEBOOK},
    )
    assert students(place) == {
        f"ada/{NAME}.ipynb": "ada",
        f"bob/{NAME}/{NAME}.ipynb": "bob",
        "Bob/a/b/c.ipynb": "Bob",
    }


@both
@pytest.mark.parametrize(
    ("file", "student"),
    [
        (f"ada_{NAME}.ipynb", "ada"),
        (f"{NAME}-ada (1).ipynb", "ada"),
        (f"ada-{NAME}-1.ipynb", "ada"),
        (f"Copy of {NAME} ada.ipynb", "ada"),
        (f"ada_{NAME}-Copy1.ipynb", "ada"),
        (f"ada {NAME.replace('_', ' ').upper()} (2).ipynb", "ada"),
        (f"ada_{NAME}_lovelace.ipynb", "ada lovelace"),
        (f"{NAME}_20260017.ipynb", "20260017"),
        (f"{NAME}-1.ipynb", f"{NAME}-1"),
        (f"{NAME}.ipynb", NAME),
        ("Ada Lovelace.ipynb", "Ada Lovelace"),
        ("student-1.ipynb", "student-1"),  # a number of a student's, not of a copy
        ("student (1).ipynb", "student (1)"),
        ("ada_2026_11_02_exercise.ipynb", "ada_2026_11_02_exercise"),  # no numbers of Canvas
    ],
)
def test_a_file_bears_the_students_name_beside_the_exercises(kind, file, student, tmp_path):
    assert students(either(kind, tmp_path, {file: NOTEBOOK})) == {file: student}


@both
@pytest.mark.parametrize(
    ("file", "student", "number"),
    [
        (f"Ada Lovelace_123456_assignsubmission_file/{NAME}.ipynb", "Ada Lovelace", "123456"),
        (f"Ada Lovelace_123456_assignsubmission_file_/deep/{NAME}.ipynb", "Ada Lovelace", "123456"),
        (f"Ada Lovelace_123456_assignsubmission_file_{NAME}.ipynb", "Ada Lovelace", "123456"),
        (f"Default group_assignsubmission_file/{NAME}.ipynb", "Default group", ""),
        (f"lovelaceada_12345_678901_{NAME}.ipynb", "lovelaceada", "12345"),
        (f"lovelaceada_LATE_12345_678901_{NAME}-1.ipynb", "lovelaceada", "12345"),
        (f"anon_aB3dE_678901_{NAME}.ipynb", "anon_aB3dE", "anon_aB3dE"),
        (f"Gradebook_ada_attempt_2026-11-02-10-00-00_{NAME}.ipynb", "ada", ""),
        (f"{'x' * 90}_1_assignsubmission_file_{NAME}.ipynb", "x" * 90, "1"),
    ],
)
def test_learning_management_systems_name_the_student(kind, file, student, number, tmp_path):
    (submission,) = collect(either(kind, tmp_path, {file: NOTEBOOK}))
    assert (submission.student, submission.id, submission.file) == (student, number, file)
    assert submission.content == NOTEBOOK


def test_a_title_of_blackboards_may_have_underscores_and_so_may_users(tmp_path):
    times = "attempt_2026-11-02-10-00-00"
    files = [f"Week_5_{user}_{times}_x.ipynb" for user in ("john_smith", "mary_smith", "bob")]
    found = students(tree(tmp_path, dict.fromkeys(files, NOTEBOOK)))
    assert list(found.values()) == ["bob", "john_smith", "mary_smith"]


def test_a_receipt_of_blackboards_is_no_work_unless_it_is_all_there_is(tmp_path):
    receipt = "Week 5_{}_attempt_2026-11-02-10-00-00.txt"
    work = "Week 5_ada_attempt_2026-11-02-10-00-00_x.ipynb"
    files = {receipt.format("ada"): b"Name: Ada", receipt.format("bob"): b"Name: Bob", work: NOTEBOOK}
    found = table(tree(tmp_path, files))
    assert found == {work: ("ada", ""), receipt.format("bob"): ("bob", collection.NO_NOTEBOOK)}


def test_two_of_one_name_are_told_apart_by_their_numbers(tmp_path):
    files = [f"Participant_{number}_assignsubmission_file/x.ipynb" for number in (7, 8)]
    found = students(tree(tmp_path, dict.fromkeys(files, NOTEBOOK)))
    assert list(found.values()) == ["Participant 7", "Participant 8"]


def test_one_student_with_a_number_in_each_assignment_stays_one(tmp_path):
    files = [
        f"{NAME}/Ada_7_assignsubmission_file/x.ipynb",
        "01_conversion/Ada_8_assignsubmission_file/x.ipynb",
    ]
    found = collect(tree(tmp_path, dict.fromkeys(files, NOTEBOOK)))
    assert [(s.student, s.id) for s in found] == [("Ada", "8"), ("Ada", "7")]


@both
def test_a_folder_with_the_name_of_an_exercise_is_no_student(kind, tmp_path):
    files = [f"{NAME}/ada.ipynb", f"{NAME}/bob/x.ipynb"]
    place = either(kind, tmp_path, dict.fromkeys(files, NOTEBOOK))
    assert list(students(place).values()) == ["ada", "bob"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["class/ada/x.ipynb", "class/bob/x.ipynb"], ["ada", "bob"]),
        (["class/ada/x.ipynb"], ["ada"]),
        ([f"class/ada_{NAME}.ipynb", f"class/bob_{NAME}.ipynb"], ["ada", "bob"]),
        (["class/Ada_1_assignsubmission_file/x.ipynb"], ["Ada"]),
        (["class/ada_1_234_x.ipynb"], ["ada"]),
        ([f"class/{NAME}/ada.ipynb", f"class/{NAME}/bob.ipynb"], ["ada", "bob"]),
        ([f"ada/{NAME}.ipynb"], ["ada"]),
        ([f"ada/{NAME}/{NAME}.ipynb", "ada/01_conversion/x.ipynb"], ["ada", "ada"]),
        ([f"Ada_1_assignsubmission_file/a/{NAME}.ipynb"], ["Ada"]),
        (["ada/x.ipynb", "bob/x.ipynb"], ["ada", "bob"]),
    ],
)
def test_one_folder_around_everything_in_a_zip_file_is_no_student(files, expected, tmp_path):
    found = students(zipped(tmp_path, dict.fromkeys(files, NOTEBOOK)))
    assert [found[file] for file in files] == expected


def test_a_member_that_leads_out_does_not_change_whose_the_others_are(tmp_path):
    place = zipped(tmp_path, {"class/ada/x.ipynb": NOTEBOOK, member("../x.ipynb"): NOTEBOOK})
    assert table(place)["class/ada/x.ipynb"] == ("ada", "")


@both
def test_a_students_own_zip_file_is_opened(kind, tmp_path):
    work = packed({"inner/x.ipynb": NOTEBOOK, "y.ipynb": NOTEBOOK, "inner/": b""})
    place = either(
        kind,
        tmp_path,
        {"ada/work.zip": work, "bob.zip": work, "Carl_3_assignsubmission_file_w.ZIP": work},
    )
    assert students(place) == {
        "ada/work.zip/inner/x.ipynb": "ada",
        "ada/work.zip/y.ipynb": "ada",
        "bob.zip/inner/x.ipynb": "bob",
        "bob.zip/y.ipynb": "bob",
        "Carl_3_assignsubmission_file_w.ZIP/inner/x.ipynb": "Carl",
        "Carl_3_assignsubmission_file_w.ZIP/y.ipynb": "Carl",
    }


def test_nobody_hands_in_for_someone_else(tmp_path):
    forged = {"Bob_2_assignsubmission_file/x.ipynb": NOTEBOOK, "../bob/x.ipynb": NOTEBOOK}
    place = tree(tmp_path, {"ada/Bob_2_assignsubmission_file/x.ipynb": NOTEBOOK, "ada/w.zip": packed(forged)})
    assert {student for student, _ in table(place).values()} == {"ada"}


def test_a_download_among_the_submissions_is_no_student_of_many_notebooks(tmp_path):
    names = [f"{name}_{n}_assignsubmission_file/x.ipynb" for n, name in enumerate(("Ada", "Bob"))]
    place = tree(tmp_path, {"exercise 5.zip": packed(dict.fromkeys(names, NOTEBOOK))})
    assert the_problem(place, "exercise 5.zip") == collection.DOWNLOAD


@both
def test_a_student_without_a_notebook_is_not_lost(kind, tmp_path):
    place = either(
        kind,
        tmp_path,
        {
            "ada/": b"",
            "bob/deep/.ipynb_checkpoints/x.ipynb": NOTEBOOK,
            "carl/report.pdf": b"%PDF",
            "dora.zip": packed({}),
        },
    )
    found = table(place)
    if kind == "zip":  # which has no entry for bob's folder
        found["bob/"] = ("bob", collection.NO_NOTEBOOK)
    assert found == {
        "ada/": ("ada", collection.NO_NOTEBOOK),
        "bob/": ("bob", collection.NO_NOTEBOOK),
        "carl/report.pdf": ("carl", collection.NOT_A_NOTEBOOK),
        "dora.zip": ("dora", collection.NO_NOTEBOOK),
    }


@both
@pytest.mark.parametrize(
    "file",
    [
        "ada/.ipynb_checkpoints/x-checkpoint.ipynb",
        "ada/.DS_Store",
        "ada/Thumbs.db",
        "__MACOSX/ada/._x.ipynb",
        "__MACOSX/x.ipynb",
        ".git/x.ipynb",
        "desktop.ini",
        f"ada/{NAME}/timestamp.txt",
    ],
)
def test_what_editors_and_systems_leave_behind_was_not_handed_in(kind, file, tmp_path):
    place = either(kind, tmp_path, {"ada/x.ipynb": NOTEBOOK, file: NOTEBOOK})
    assert students(place) == {"ada/x.ipynb": "ada"}


# Names


def test_a_name_is_one_however_its_accents_are_stored(tmp_path):
    names = [unicodedata.normalize(form, "José Núñez") for form in ("NFC", "NFD")]
    files = {f"{name}/{n}.ipynb": NOTEBOOK for n, name in enumerate(names)}
    assert set(students(zipped(tmp_path, files)).values()) == {"José Núñez"}


def test_zip_files_with_utf_8_names_that_do_not_say_so_are_read(tmp_path):
    content = packed({"José/x.ipynb": NOTEBOOK, "bob/x.ipynb": NOTEBOOK})
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # takes the flag away
        content = re.sub(
            re.escape(signature) + b".{%d}" % (at - 4) + rb"\x00\x08",
            lambda match: match[0][:-2] + b"\0\0",
            content,
            flags=re.DOTALL,
        )
    (tmp_path / "a.zip").write_bytes(content)
    assert set(students(tmp_path / "a.zip").values()) == {"José", "bob"}


def test_zip_files_with_old_names_are_read(tmp_path):
    content = packed({"Jos#/x.ipynb": NOTEBOOK, "bob/x.ipynb": NOTEBOOK}).replace(b"Jos#", b"Jos\x82")
    (tmp_path / "a.zip").write_bytes(content)
    assert set(students(tmp_path / "a.zip").values()) == {"José", "bob"}


@pytest.mark.skipif(WINDOWS, reason="names are Unicode there")
def test_names_that_are_no_text_stay_apart(tmp_path):
    for name in (b"M\xfcller", b"M\xf6ller"):
        folder = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(folder)
        Path(os.fsdecode(folder), "x.ipynb").write_bytes(NOTEBOOK)
    names = [(s.student.encode(), s.file.encode()) for s in collect(tmp_path)]
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("  Ada \t Lovelace\n", "Ada Lovelace"),
        ("a\0d\x1ba\u202e", "ada"),
        ("\u200b..", "(no name)"),
        ("..", "(no name)"),
        ("\x07", "(no name)"),
        ("李雷", "李雷"),
    ],
)
def test_names_are_trimmed_and_shown_whole(given_name, expected):
    assert clean(given_name) == expected


@pytest.mark.parametrize("length", [100, 255, 60_000])
def test_long_names_are_cut_and_stay_apart(length):
    one, other = clean("x" * length + "1"), clean("x" * length + "2")
    assert len(one) == len(other) == 100
    assert one != other


@pytest.mark.parametrize("part", ["-", "_1", "anon_", "copy of ", "\u0301\u0316", "_attempt_", " ", "\\"])
def test_names_made_to_take_time_take_none(part, tmp_path):
    name = part * (60_000 // len(part.encode()))
    content = packed({f"{n}{name}.ipynb": NOTEBOOK for n in range(20)})
    start = time.perf_counter()
    collect(tree(tmp_path, {"ada.zip": content}))
    (tmp_path / "ada.zip").rename(tmp_path / "class.zip")
    collect(tmp_path / "class.zip")
    assert time.perf_counter() - start < 60  # a bound against growth with the square, not a speed


@given(st.text() | st.text(st.sampled_from(" .\t\x08e\u0301\u200b"), max_size=300))
def test_a_clean_name_stays_as_it_is_and_is_no_folder_above(name):
    cleaned = clean(name)
    assert cleaned == clean(cleaned)
    assert 0 < len(cleaned) <= 100
    assert not {unicodedata.category(character) for character in cleaned} & set(HIDDEN)
    assert not cleaned.startswith(".")


# Files that cannot be graded


@both
def test_files_that_are_no_notebooks_say_so(kind, tmp_path):
    place = either(
        kind,
        tmp_path,
        {"ada/x.py": b"1", "ada/x.ipynb.txt": NOTEBOOK, "ada/x.ipynb": b"", "bob/y.ipynb": NOTEBOOK},
    )
    assert table(place) == {
        "ada/x.py": ("ada", collection.NOT_A_NOTEBOOK),
        "ada/x.ipynb.txt": ("ada", collection.NOT_A_NOTEBOOK),
        "ada/x.ipynb": ("ada", collection.EMPTY),
        "bob/y.ipynb": ("bob", ""),
    }


@both
def test_a_file_may_have_as_many_bytes_as_allowed_and_not_one_more(kind, tmp_path):
    place = either(kind, tmp_path, {"ada/x.ipynb": bytes(MOST_BYTES), "bob/x.ipynb": bytes(MOST_BYTES + 1)})
    assert table(place) == {"ada/x.ipynb": ("ada", ""), "bob/x.ipynb": ("bob", collection.TOO_LARGE)}


def test_the_bytes_of_a_student_are_limited_and_nobody_elses(tmp_path, monkeypatch):
    monkeypatch.setattr(collection, "MOST_BYTES_OF_A_STUDENT", 10)
    work = packed({f"{n}.ipynb": b"1234567" for n in range(4)})
    place = tree(tmp_path, {"ada/1.ipynb": b"1234567", "ada/2.zip": work, "bob.ipynb": b"1234567"})
    found = table(place)
    assert found.pop("bob.ipynb") == ("bob", "")
    assert found.pop("ada/1.ipynb") == ("ada", "")
    assert set(found.values()) == {("ada", collection.TOO_MUCH)}


@pytest.mark.skipif(WINDOWS, reason="links need rights there")
def test_links_are_not_followed(tmp_path):
    outside = tree(tmp_path / "outside", {"secret.ipynb": NOTEBOOK})
    place = tree(tmp_path / "class", {"ada/x.ipynb": NOTEBOOK, "bob/": b"", "dora/": b""})
    (place / "bob" / "x.ipynb").symlink_to("/etc/passwd")
    (place / "carl").symlink_to(outside)
    (place / "dora" / "deep").symlink_to(outside)
    (place / "dora" / "loop").symlink_to(place)
    (place / "emil_x.ipynb").symlink_to("nowhere")
    assert table(place) == {
        "ada/x.ipynb": ("ada", ""),
        "bob/x.ipynb": ("bob", collection.LINK),
        "carl": ("carl", collection.LINK),
        "dora/deep": ("dora", collection.LINK),
        "dora/loop": ("dora", collection.LINK),
        "emil_x.ipynb": ("emil_x", collection.LINK),
    }


@pytest.mark.skipif(WINDOWS, reason="no such files there")
def test_pipes_sockets_and_devices_are_not_opened(tmp_path):
    place = tree(tmp_path, {"ada/x.ipynb": NOTEBOOK})
    os.mkfifo(place / "ada" / "pipe.ipynb")
    with contextlib.chdir(place / "ada"), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.ipynb")
    found = table(place)
    assert found.pop("ada/x.ipynb") == ("ada", "")
    assert found == dict.fromkeys(["ada/pipe.ipynb", "ada/socket.ipynb"], ("ada", collection.SPECIAL))


@pytest.mark.skipif(WINDOWS, reason="no such files there")
@pytest.mark.parametrize(
    ("become", "problem"),
    [("link", "cannot be read"), ("pipe", collection.SPECIAL), ("nothing", "cannot be read")],
)
def test_a_file_that_becomes_something_else_meanwhile_is_not_read(become, problem, tmp_path, monkeypatch):
    place = tree(tmp_path, {"ada/x.ipynb": NOTEBOOK})
    collected = collection._collected

    def changed(*arguments):
        (place / "ada/x.ipynb").unlink()
        if become == "link":
            (place / "ada/x.ipynb").symlink_to("/etc/passwd")
        elif become == "pipe":
            os.mkfifo(place / "ada/x.ipynb")
        return collected(*arguments)

    monkeypatch.setattr(collection, "_collected", changed)
    assert problem in the_problem(place, "ada/x.ipynb")


@contextlib.contextmanager
def ordinary_user():
    """Root reads everything; somebody else does not."""
    if os.geteuid():
        yield
    else:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)


@pytest.mark.skipif(WINDOWS, reason="other rights there")
def test_what_may_not_be_read_says_so(monkeypatch):
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        place = tree(
            Path(place), {"ada/x.ipynb": NOTEBOOK, "bob/x.ipynb": NOTEBOOK, "carl/x.ipynb": NOTEBOOK}
        )
        (place / "bob/x.ipynb").chmod(0)
        (place / "carl").chmod(0)
        with ordinary_user():
            found = table(place)
            (place / "carl/").is_dir()
        (place / "carl").chmod(0o755)
        assert found["ada/x.ipynb"] == ("ada", "")
        assert "cannot be read (Permission denied)" in found["bob/x.ipynb"][1]
        assert "cannot be read (Permission denied)" in found["carl/"][1]
        place.chmod(0)
        with ordinary_user(), pytest.raises(DataError, match="Permission denied"):
            collect(place)
        place.chmod(0o755)


@both
def test_folders_too_deep_are_not_looked_into(kind, tmp_path):
    deep = "/".join(["d"] * 300)
    found = table(either(kind, tmp_path, {"ada/x.ipynb": NOTEBOOK, f"bob/{deep}/x.ipynb": NOTEBOOK}))
    assert found.pop("ada/x.ipynb") == ("ada", "")
    assert set(found.values()) == {("bob", collection.TOO_DEEP)}


@both
def test_5000_students_are_collected_in_seconds(kind, tmp_path):
    place = either(kind, tmp_path, {f"s{n}_{NAME}.ipynb": b"{}" for n in range(5_000)})
    start = time.perf_counter()
    assert len(set(students(place).values())) == 5_000
    assert time.perf_counter() - start < 60  # a bound against growth with the square, not a speed


@pytest.mark.parametrize("where", ["folder", *slow("zip", "zip in folder", "folders")])
def test_5000_files_of_one_student_leave_room_for_others(where, tmp_path):
    many = {f"f{n}.ipynb": b"{}" for n in range(5_000)}
    if where == "zip in folder":
        place = tree(tmp_path, {"ada/w.zip": packed(many), "bob/x.ipynb": NOTEBOOK})
    elif where == "folders":
        place = tree(tmp_path, {f"ada/d{n}/": b"" for n in range(5_000)} | {"bob/x.ipynb": NOTEBOOK})
    else:
        files = {f"ada/{name}": content for name, content in many.items()}
        place = either(where, tmp_path, files | {"bob/x.ipynb": NOTEBOOK})
    found = table(place)
    assert found.pop("bob/x.ipynb") == ("bob", "")
    assert len(found) <= collection.MOST_FILES_OF_A_STUDENT + 1
    assert [problem for _, problem in found.values() if problem] == [collection.TOO_MANY]


# Zip files that are not what they seem


def member(name: str, mode: int = 0, **fields) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename = name
    info.external_attr = mode << 16
    for field, value in fields.items():
        setattr(info, field, value)
    return info


@pytest.mark.parametrize("where", ["class", "student"])
@pytest.mark.parametrize(
    "name",
    ["../x.ipynb", "/etc/x.ipynb", "ada/../../x.ipynb", "C:/x.ipynb", "C:x.ipynb", "ada\\x.ipynb", ".."],
)
def test_members_that_lead_out_are_refused_and_no_others(where, name, tmp_path):
    content = packed({"bob/x.ipynb": NOTEBOOK, member(name): NOTEBOOK})
    (tmp_path / "z.zip").write_bytes(content)
    place = tmp_path / "z.zip" if where == "class" else tmp_path
    problems = sorted(problem for _, problem in table(place).values())
    assert problems == ["", collection.UNSAFE]
    assert [path.name for path in tmp_path.iterdir()] == ["z.zip"]


@pytest.mark.parametrize(
    ("mode", "problem"),
    [(stat.S_IFLNK, collection.LINK), (stat.S_IFIFO, collection.SPECIAL), (stat.S_IFREG, "")],
)
def test_links_and_pipes_in_zip_files_are_refused(mode, problem, tmp_path):
    place = zipped(tmp_path, {"bob/x.ipynb": NOTEBOOK, member("ada/x.ipynb", mode | 0o644): b"/etc/passwd"})
    assert table(place) == {"bob/x.ipynb": ("bob", ""), "ada/x.ipynb": ("ada", problem)}


def changed(content: bytes, *changes: tuple[bytes, bytes]) -> bytes:
    for old, new in changes:
        assert old in content
        content = content.replace(old, new)
    return content


@pytest.mark.parametrize("where", ["class", "student"])
def test_a_member_with_a_password_or_a_wrong_checksum_is_refused_alone(where, tmp_path):
    content = packed({"ada/x.ipynb": NOTEBOOK, "bob/x.ipynb": NOTEBOOK, "carl/x.ipynb": b"unpacked!" * 9}, 0)
    content = changed(content, (b"unpacked!unpacked!", b"unpacked!Unpacked!"))
    directory = content.index(b"PK\x01\x02", len(NOTEBOOK) * 2)
    content = content[: directory + 8] + b"\1" + content[directory + 9 :]
    (tmp_path / "z.zip").write_bytes(content)
    place = tmp_path / "z.zip" if where == "class" else tmp_path
    problems = sorted(problem for _, problem in table(place).values())
    assert problems[:2] == ["", collection.ENCRYPTED]
    assert "damaged (Bad CRC-32" in problems[2]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_limit_are_refused(method, tmp_path):
    place = tree(tmp_path, {"ada.zip": packed({"x.ipynb": NOTEBOOK}, method)})
    assert the_problem(place, "ada.zip/x.ipynb") == collection.METHOD


@pytest.mark.parametrize("claim", [0, 5, MB, 2**32 - 2])
def test_a_zip_bomb_is_measured_by_what_comes_out_whatever_it_claims(claim, tmp_path, monkeypatch):
    monkeypatch.setattr(collection, "MOST_BYTES", MB)
    size = 100 * MB
    content = packed({"x.ipynb": bytes(size), "y.ipynb": NOTEBOOK})
    content = changed(content, (size.to_bytes(4, "little"), claim.to_bytes(4, "little")))
    place = tree(tmp_path, {"ada.zip": content})
    tracemalloc.start()
    found = table(place)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["ada.zip/x.ipynb"][1]
    assert found["ada.zip/y.ipynb"] == ("ada", "")
    assert peak < 8 * MB


@pytest.mark.parametrize("damage", [b"", b"x"], ids=["whole", "wrong checksum"])
def test_many_bombs_in_one_zip_file_are_limited_together(damage, tmp_path, monkeypatch):
    monkeypatch.setattr(collection, "MOST_BYTES", MB)
    monkeypatch.setattr(collection, "MOST_BYTES_OF_A_STUDENT", 10 * MB)
    size = MB if damage else 2 * MB
    checksum = zlib.crc32(bytes(size)).to_bytes(4, "little")
    bombs = packed({f"{n:03}.ipynb": bytes(size) for n in range(30)})
    bombs = bombs.replace(checksum, damage + checksum[len(damage) :])
    found = table(tree(tmp_path, {"ada.zip": bombs, "bob.ipynb": NOTEBOOK}))
    assert found.pop("bob.ipynb") == ("bob", "")
    problems = [problem for _, problem in found.values()]
    assert problems.count(collection.TOO_MUCH) >= 19
    assert all(
        "Bad CRC" in problem if damage else problem == collection.TOO_LARGE for problem in problems[:10]
    )


def test_a_zip_file_in_a_students_zip_file_is_not_opened(tmp_path):
    inner = packed({"x.ipynb": NOTEBOOK})
    place = tree(tmp_path, {"ada.zip": packed({"inner.zip": inner, "y.ipynb": NOTEBOOK})})
    assert table(place) == {
        "ada.zip/inner.zip": ("ada", collection.ZIP_IN_ZIP),
        "ada.zip/y.ipynb": ("ada", ""),
    }


@pytest.mark.parametrize("content", [b"PK", b"no zip", packed({"x.ipynb": NOTEBOOK})[:-30]])
def test_a_damaged_zip_file_of_a_students_harms_nobody_else(content, tmp_path):
    found = table(tree(tmp_path, {"ada/w.zip": content, "bob/x.ipynb": NOTEBOOK}))
    assert found["bob/x.ipynb"] == ("bob", "")
    assert "damaged" in found["ada/w.zip"][1]


def test_a_member_without_a_name_is_no_file(tmp_path):
    content = packed({"bob.ipynb": NOTEBOOK, "x": b"1"})
    at = content.rindex(b"PK\x01\x02") + 28  # the length of the name, and that of what follows it
    content = content[:at] + b"\0\0\1\0" + content[at + 4 :]
    (tmp_path / "z.zip").write_bytes(content)
    assert table(tmp_path / "z.zip") == {"bob.ipynb": ("bob", "")}


def test_two_members_of_one_name_are_two_submissions(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        content = packed({member("x.ipynb"): b"1", member("x.ipynb"): b"2"})
    submissions = collect(tree(tmp_path, {"ada.zip": content}))
    assert [(s.file, s.content) for s in submissions] == [
        ("ada.zip/x.ipynb", b"1"),
        ("ada.zip/x.ipynb #2", b"2"),
    ]


# The place


@pytest.mark.parametrize(
    ("name", "content"),
    [("nowhere", None), ("x.ipynb", NOTEBOOK), ("x.zip", b""), ("x.zip", packed({})), ("a\0b", None)],
)
def test_a_place_without_submissions_is_an_error_that_says_what_is_expected(name, content, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"a folder of submissions, or the zip file .* expected"):
        collect(tmp_path / name)


@pytest.mark.parametrize("files", [{}, {".hidden/x.ipynb": NOTEBOOK}, {f"{NAME}/": b""}])
def test_an_empty_place_is_an_error(files, tmp_path):
    with pytest.raises(DataError, match="holds nothing"):
        collect(tree(tmp_path, files))


@pytest.mark.skipif(WINDOWS, reason="no such files there")
def test_a_pipe_as_a_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(DataError, match="neither"):
        collect(tmp_path / "pipe.zip")


def test_collecting_leaves_everything_as_it_is(tmp_path):
    inner = packed({"x.ipynb": NOTEBOOK, "../y.ipynb": NOTEBOOK})
    place = tree(tmp_path / "class", {"ada/x.ipynb": NOTEBOOK, "bob.zip": inner, "carl/": b""})
    for path in sorted(place.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)

    def state():
        paths = sorted(tmp_path.rglob("*"))
        return [
            (path, path.stat().st_mtime_ns, path.stat().st_ctime_ns, path.stat().st_size) for path in paths
        ]

    before = state()
    assert collect(place) == collect(place)
    assert state() == before
    for path in place.rglob("*"):
        path.chmod(0o755)


def test_nothing_of_tensorflow_is_needed(run_python):
    loaded = run_python("import sys, tinylab.classroom.collection; print(*sys.modules)").split()
    assert not {"tensorflow", "tf_keras", "ai_edge_litert"} & set(loaded)


# Which exercise it is

ANSWERS = [path for path in notebooks("exercises", "solutions") if path.stem in exercises()]
LESSONS = [*notebooks("notebooks"), ROOT / "solutions" / "10_capstone.ipynb"]


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parent.name}/{path.stem}")


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def written(notebook) -> bytes:
    return json.dumps(notebook).encode()


def without(cells: list[dict], *patterns: str) -> list[dict]:
    """Cells without lines that match."""
    kept = []
    for cell in cells:
        lines = "".join(cell["source"]).split("\n")
        kept.append(cell | {"source": [ln for ln in lines if not any(re.search(p, ln) for p in patterns)]})
    return kept


IMPORT, CHECK = r"exercise_\d\d", r"^check\."


@named(ANSWERS)
def test_every_exercise_and_solution_is_recognized(path):
    assert exercise_of(path.read_bytes()) == path.stem


@named(ANSWERS)
@pytest.mark.parametrize("lost", [(IMPORT,), (CHECK,), (IMPORT, CHECK), (IMPORT, r"^def ")], ids=str)
def test_an_exercise_is_recognized_without_some_of_its_lines(path, lost):
    notebook = read(path)
    notebook["cells"] = [
        cell | {"source": "\n".join(cell["source"])} for cell in without(notebook["cells"], *lost)
    ]
    assert exercise_of(written(notebook)) == path.stem


@named(ANSWERS)
def test_an_exercise_is_recognized_by_any_half_of_its_cells(path):
    notebook = read(path)
    cells = notebook["cells"]
    for seed in range(20):
        notebook["cells"] = random.Random(seed).sample(cells, len(cells) // 2)
        assert exercise_of(written(notebook)) == path.stem
    for half in (cells[::2], cells[1::2]):
        assert exercise_of(written(notebook | {"cells": half})) == path.stem


OTHER = dict(zip(exercises(), [*list(exercises())[1:], NAME], strict=True))


@named(ANSWERS)
def test_text_and_outputs_do_not_change_what_is_recognized(path):
    notebook = read(path)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = "\n".join(exercises()[OTHER[path.stem]].sources)
        else:
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "def to_tflite():"}]
    assert exercise_of(written(notebook)) == path.stem


@named(ANSWERS)
def test_the_import_of_another_exercises_checks_does_not_decide(path):
    other = "exercise_01" if path.stem != "01_conversion" else "exercise_05"
    content = re.sub(rb"exercise_\d\d", other.encode(), path.read_bytes())
    assert exercise_of(content) == path.stem


@named(ANSWERS)
def test_cells_that_do_not_parse_lose_nothing(path):
    notebook = read(path)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["source"] = ["%%time\n", *cell["source"], "\n!ls\ndef broken(:\n    'unfinished"]
    assert exercise_of(written(notebook)) == path.stem


@named(ANSWERS)
def test_older_and_other_forms_of_notebooks_are_read(path):
    notebook = read(path)
    cells = [
        {"cell_type": cell["cell_type"], "language": "python", "input": "".join(cell["source"])}
        for cell in notebook["cells"]
    ]
    half = len(cells) // 2
    old = {
        "nbformat": 3,
        "metadata": {"name": ""},
        "worksheets": [{"cells": cells[:half]}, {"cells": cells[half:]}],
    }
    assert exercise_of(written(old)) == path.stem
    assert exercise_of(b"\xef\xbb\xbf" + path.read_bytes()) == path.stem


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        None,
        {"kernelspec": {"name": "my-own-env", "display_name": "Mine"}},
        {"kernelspec": {"name": "venv", "language": "Python"}, "language_info": {"name": "python"}},
        {"kernelspec": [], "language_info": 5},
    ],
)
def test_a_kernel_of_another_name_is_fine(metadata):
    assert exercise_of(written(read(exercises()[NAME].path) | {"metadata": metadata})) == NAME


@pytest.mark.parametrize(
    "metadata",
    [{"kernelspec": {"name": "ir", "language": "R"}}, {"kernelspec": {}, "language_info": {"name": "julia"}}],
)
def test_a_kernel_of_another_language_is_refused(metadata):
    with pytest.raises(DataError, match="one for Python expected"):
        exercise_of(written(read(exercises()[NAME].path) | {"metadata": metadata}))


@named(LESSONS)
def test_a_lesson_is_not_taken_for_an_exercise(path):
    with pytest.raises(DataError, match=r"no exercise was recognized.*05_quantization_arithmetic"):
        exercise_of(path.read_bytes())


def test_as_much_of_one_exercise_as_of_another_is_refused():
    both_of_them = [code(f"from tinylab.check import exercise_{number} as check") for number in ("01", "05")]
    with pytest.raises(DataError, match="as much of 01_conversion as of 05_quantization_arithmetic"):
        exercise_of(written({"cells": both_of_them}))


def code(source) -> dict:
    return {"cell_type": "code", "source": source}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"\xff\xfe\x00",
        b"%PDF-1.7",
        NOTEBOOK[:-100],
        NOTEBOOK.decode().encode("utf-16"),
        b"[]",
        b"17",
        b"null",
        b'"cells"',
        b"{}",
        b'{"cells": {}}',
        b'{"cells": null}',
        b'{"cells": []}',
        b'{"cells": [1, null, [], {"cell_type": []}, {"cell_type": "code", "source": {"a": 1}}]}',
        b'{"worksheets": [[], 3]}',
        b'{"worksheets": [{"cells": 3}]}',
        b'{"cells": [], "metadata": NaN}',
        b"[" * 1_000_000,
        b'{"cells":' * 100_000,
        b'{"cells": [], "x": ' + b"9" * 10_000 + b"}",
        written({"cells": [code("from tinylab.check import exercise_05 as check")] * 10_000}),
        b'{"cells": [{"cell_type": "code"}]}',
    ],
    ids=lambda content: content[:20],
)
def test_what_is_no_notebook_is_refused(content):
    with pytest.raises(DataError, match="expected"):
        exercise_of(content)


@pytest.mark.parametrize(
    "source", ["(" * 100_000, "-" * 100_000 + "1", "a" + ".b" * 100_000, " " * 10_000_000]
)
def test_code_that_breaks_pythons_parser_does_no_harm(source):
    notebook = read(exercises()[NAME].path)
    notebook["cells"].append(code(source))
    assert exercise_of(written(notebook)) == NAME


# Whatever bytes are handed in


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """A file with a few changes: bytes written over, a part taken out, put elsewhere or doubled."""
    places = st.integers(0, len(content) - 1)
    change = st.tuples(
        places, places, st.binary(max_size=8), st.sampled_from(["overwrite", "cut", "move", "end"])
    )

    def apply(changes) -> bytes:
        result = content
        for first, second, new, kind in changes:
            start, stop = sorted((first % (len(result) + 1), second % (len(result) + 1)))
            stop = min(stop, start + 1_000)
            if kind == "overwrite":
                result = result[:start] + new + result[start + len(new) :]
            elif kind == "cut":
                result = result[:start] + result[stop:]
            elif kind == "move":
                result = result[:start] + result[start:stop] * 2 + result[stop:]
            else:
                result = result[: max(start, 1)]
        return result

    return st.lists(change, min_size=1, max_size=4).map(apply)


SMALL = written(
    {"cells": [code(["from tinylab.check import exercise_05 as check\n", "def quantize(): pass"])]}
)
ZIP = packed(
    {"ada/x.ipynb": SMALL, "ada/": b"", "bob/y.ipynb": b"{}" * 99, "c.zip": packed({"z.ipynb": SMALL})}
)


@given(mutated(SMALL) | st.binary(max_size=200))
def test_a_mutated_notebook_is_recognized_or_refused(content):
    with contextlib.suppress(DataError):
        assert exercise_of(content) in exercises()


WORDS = ["cells", "worksheets", "cell_type", "source", "input", "metadata", "kernelspec", "language"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(WORDS),
            inner | st.just("code"),
            max_size=3,
        )
    ),
    max_leaves=20,
)


@given(JSON)
@example({"cells": [{"cell_type": "code", "source": [1, "def x"]}]})
def test_any_json_is_recognized_or_refused(value):
    with contextlib.suppress(DataError):
        assert exercise_of(written(value)) in exercises()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=5_000)
@given(mutated(ZIP) | st.binary(max_size=200))
def test_a_mutated_zip_file_is_collected_or_refused(tmp_path, content):
    (tmp_path / "place.zip").write_bytes(content)
    with contextlib.suppress(DataError):
        table(tmp_path / "place.zip")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=5_000)
@given(mutated(ZIP) | st.binary(min_size=1, max_size=200))
def test_a_students_mutated_zip_file_is_collected_or_has_a_problem(tmp_path, content):
    (tmp_path / "ada.zip").write_bytes(content)
    assert {student for student, _ in table(tmp_path).values()} == {"ada"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=5_000)
@given(
    st.lists(
        st.lists(
            st.sampled_from(
                ["ada", "bob", "..", ".", "", "C:", "a\\b", f"{NAME}", "x.ipynb", "é", "a_1_234_x"]
            )
        )
        .map("/".join)
        .filter(bool),
        min_size=1,
        max_size=6,
        unique=True,
    )
)
def test_any_paths_in_a_zip_file_have_an_owner(tmp_path, names):
    (tmp_path / "place.zip").write_bytes(packed({member(name): b"{}" for name in names}))
    with contextlib.suppress(DataError):
        assert all(student and student != ".." for student, _ in table(tmp_path / "place.zip").values())
