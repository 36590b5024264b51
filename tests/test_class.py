"""A made-up class, graded by the real command in one go: every grade is what it should be, nothing leaks.

`make class` prints the table of expected and given grades.
"""

import csv
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import tinylab
from tinylab.classroom.exercises import exercises
from tinylab.classroom.sandbox import isolation

from . import made_up_class

pytestmark = pytest.mark.long  # `make class`

SECONDS = 90  # that a cell, or a task, may take: what never ends costs as much
SECRET = "TEACHERS_SECRET"
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h: processes that lose their parent become this one's children
RUN = f"""
import ctypes, json, subprocess, sys, time

import psutil

if sys.platform == "linux":
    ctypes.CDLL(None).prctl({PR_SET_CHILD_SUBREAPER}, 1, 0, 0, 0)
code = subprocess.run(sys.argv[1:]).returncode
time.sleep(1)
left = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
print(json.dumps({{"code": code, "left": [" ".join(one.cmdline())[:200] for one in left]}}))
for one in left:
    one.kill()
"""
SUBSET = frozenset(
    ["solution_02", "copied", "zipped", "exits", "untouched_05", "first_three", "prints_scores", "truncated"]
)


def command(submissions, grades, jobs=2):
    arguments = ["grade", submissions, "-o", grades, "--jobs", jobs, "--seconds", SECONDS]
    return [sys.executable, "-m", "tinylab.cli", *map(str, arguments)]


def contents(folder):
    """Bytes and time of each file, without following links."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or path.is_file()]
    return {
        path: (path.lstat().st_mtime_ns, os.readlink(path) if path.is_symlink() else path.read_bytes())
        for path in files
    }


def points_given(grades):
    """For each student, a digit a task, and the remarks."""
    with open(grades / "grades.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    given = {}
    for row in rows:
        digits = {
            name: "".join(row.get(f"{name}: {task}", "") for task in exercise.tasks)
            for name, exercise in exercises().items()
        }
        given[row["Student"]] = "+".join(filter(None, digits.values())), row["Remarks"]
    return given


@dataclass
class Graded:
    """A class that was graded, and what it left behind."""

    place: Path
    expected: list
    given: dict
    seconds: float
    before: dict
    own_file: int  # time of one of tinylab's own files, before
    left_running: list
    connections: int

    @property
    def submissions(self):
        return self.place / "in" / "class"

    @property
    def grades(self):
        return self.place / "grades"

    def table(self):
        head = ("student", "group", "kind", "expected", "given")
        rows = []
        for one in self.expected:
            points, remarks = self.given.get(one.student, ("", "missing"))
            wanted = one.points or f"“{one.problem}”"
            rows.append((one.student, one.group, one.kind, wanted, points or remarks[:90]))
        return made_up_class.as_text([head, *rows])


@pytest.fixture(scope="module")
def klass(tmp_path_factory):
    place = tmp_path_factory.mktemp("classroom")
    submissions, home, temporary = place / "in" / "class", place / "home", place / "temporary"
    for folder in (submissions, home, temporary):
        folder.mkdir(parents=True)
    (home / "thesis.txt").write_text("years of work")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        expected = made_up_class.write(submissions, listener.getsockname()[1])
        before, own_file = contents(submissions), Path(tinylab.__file__).stat().st_mtime_ns
        environment = {"HOME": str(home), "TMPDIR": str(temporary), SECRET: "1", "TQDM_DISABLE": "1"}
        began = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-c", RUN, *command(submissions, place / "grades")],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        seconds = time.monotonic() - began
        listener.setblocking(False)
        connections = 0
        while True:
            try:
                listener.accept()[0].close()
                connections += 1
            except BlockingIOError:
                break
    said = json.loads(ended.stdout.splitlines()[-1])
    assert said["code"] == 0
    found = Graded(
        place,
        expected,
        points_given(place / "grades"),
        seconds,
        before,
        own_file,
        said["left"],
        connections,
    )
    print(f"\n{found.table()}\n\n{len(expected)} students, {seconds:.0f} s, behind {isolation().name}")
    return found


def is_as_expected(given, expected):
    """The same digits; "?" stands for either."""
    return bool(re.fullmatch(expected.replace("?", "[01]"), given))


def sure(expected):
    """Those whose grade does not depend on walls that this system lacks."""
    return [one for one in expected if not (one.needs_walls and isolation().lacks)]


def test_the_class_is_large_and_of_every_kind():
    groups = Counter(expected.group for expected, _ in made_up_class.HANDED_IN)
    assert set(groups) == {"good", "partial", "blank", "forged", "hostile", "no notebook"}
    assert sum(groups.values()) >= 48
    assert min(groups.values()) >= 8
    assert len({expected.student for expected, _ in made_up_class.HANDED_IN}) == sum(groups.values())


def test_the_same_class_is_written_each_time(tmp_path):
    for name in ("one", "other"):
        made_up_class.write(tmp_path / name / "class", only=SUBSET)
    one, other = (
        {
            path.relative_to(tmp_path / name): content
            for path, (_, content) in contents(tmp_path / name).items()
        }
        for name in ("one", "other")
    )
    assert one == other


def test_every_grade_is_what_it_should_be(klass):
    wrong = {
        one.student: f"expected {one.points or 'none'}, given {klass.given.get(one.student)}"
        for one in sure(klass.expected)
        if not is_as_expected(klass.given.get(one.student, ("missing", ""))[0], one.points)
    }
    assert wrong == {}


def test_who_could_not_be_graded_is_told_why_and_remarks_are_made_where_due(klass):
    wrong = {
        one.student: f"expected “{one.problem or one.remark}” in “{klass.given[one.student][1]}”"
        for one in klass.expected
        if (one.problem or one.remark).casefold() not in klass.given[one.student][1].casefold()
    }
    assert wrong == {}


def test_nobody_is_missing_and_nobody_was_added(klass):
    assert set(klass.given) == {one.student for one in klass.expected}


def test_the_submissions_are_as_they_were(klass):
    after = contents(klass.submissions)
    assert set(after) == set(klass.before)
    assert [path for path in after if after[path] != klass.before[path]] == []


def test_nothing_else_was_written_or_deleted(klass):
    assert (klass.place / "home" / "thesis.txt").read_text() == "years of work"
    assert list((klass.place / "temporary").iterdir()) == []
    assert list((klass.place / "in").rglob("escaped*")) == []
    assert not Path("/tmp/escaped.ipynb").exists()
    assert Path(tinylab.__file__).stat().st_mtime_ns == klass.own_file


def test_nothing_is_left_running(klass):
    assert klass.left_running == []


@pytest.mark.skipif(bool(isolation().lacks), reason="this system has no walls that hide files")
def test_nobody_saw_what_they_must_not_see_or_reached_the_network(klass):
    leaks = {
        path.parent.name: found
        for path in (klass.grades / "feedback").rglob("*.html")
        if (found := re.findall(r"LEAK [^\n<]*", path.read_text()))
    }
    assert leaks == {}
    assert klass.connections == 0


def test_pages_of_feedback_run_nobodys_scripts(klass):
    for path in (klass.grades / "feedback").rglob("*.html"):
        assert "<script>document" not in path.read_text().replace("&lt;", "&amp;lt;")
        assert "onerror=" not in re.sub(r"&[\w#]+;[^<]*", "", path.read_text())


def test_a_second_run_grades_nothing(klass):
    before = contents(klass.grades)
    again = subprocess.run(
        command(klass.submissions, klass.grades), capture_output=True, text=True, check=True
    )
    assert ", 0 to grade" in again.stderr
    after = contents(klass.grades)
    assert {path: content for path, (_, content) in after.items()} == {
        path: content for path, (_, content) in before.items()
    }


def test_ten_kills_change_no_byte_of_the_grades(tmp_path):
    """kill -9 at random moments, then a run to the end, against a run that was left alone."""
    submissions, whole, killed = tmp_path / "in" / "class", tmp_path / "whole", tmp_path / "killed"
    made_up_class.write(submissions, only=SUBSET)
    began = time.monotonic()
    subprocess.run(command(submissions, whole), check=True, capture_output=True)
    seconds = time.monotonic() - began
    killed.mkdir()
    shutil.copy(whole / "grading.json", killed)  # the same random cases
    moments, kept = random.Random(), []
    while len(kept) < 10:
        process = subprocess.Popen(
            command(submissions, killed), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        started = psutil.Process(process.pid)
        try:
            process.wait(moments.uniform(0.1, seconds))
            shutil.rmtree(killed / "results")  # it came to its end: once more
        except subprocess.TimeoutExpired:
            children = started.children(recursive=True)
            process.send_signal(signal.SIGKILL)
            process.wait()
            _, alive = psutil.wait_procs(children, timeout=20)
            assert alive == []
            kept.append(len(list((killed / "results").glob("*"))) if (killed / "results").exists() else 0)
    print(f"\nresults kept at each kill: {kept}; a run that is left alone takes {seconds:.0f} s")
    subprocess.run(command(submissions, killed), check=True, capture_output=True)
    assert (killed / "grades.csv").read_bytes() == (whole / "grades.csv").read_bytes()
