"""A class is graded in as many sittings as it takes: nothing is lost, done twice, or written elsewhere."""

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import filelock
import psutil
import pytest

import tinylab
from tests.dask_cluster import Cluster, until
from tinylab.check.task import Outcome
from tinylab.classroom import feedback, gradebook, grading
from tinylab.classroom.gradebook import grade
from tinylab.classroom.sandbox import Isolation, Limits
from tinylab.errors import DataError, TinylabError


def notebook(exercise="05", text=""):
    """A notebook that is recognized; `grader` gives a point for each "right" in it."""
    source = f"from tinylab.check import exercise_{exercise} as check\n{text}"
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4})


def grader(note=None, seconds=0.0, deadly="deadly"):
    """Work as that of the real grader, but by counting words; its pickle holds all that it needs.

    Notebooks with "deadly" kill the process; those with "broken" raise what our machinery may raise.
    """

    def grade_notebook(content, exercise, seed, limits):
        import os
        import signal
        import time

        from tinylab.check.task import Outcome
        from tinylab.classroom.exercises import exercises
        from tinylab.classroom.report import Report, TaskReport
        from tinylab.errors import TinylabError

        if note:
            note(content, exercise)
        time.sleep(seconds)
        if deadly.encode() in content:
            os.kill(os.getpid(), signal.SIGKILL)
        if b"broken" in content:
            raise TinylabError("no process")
        right, blank = content.count(b"right"), b"blank" in content
        other = Outcome.NOT_ATTEMPTED if blank else Outcome.WRONG
        names = exercises()[exercise].tasks
        tasks = [
            TaskReport(name, Outcome.RIGHT if number < right else other, f"seed {seed}")
            for number, name in enumerate(names)
        ]
        return Report(exercise, tuple(tasks), (f"{limits.seconds} s",), content.decode())

    return grade_notebook


@pytest.fixture
def asked(monkeypatch):
    """What a grader in this process was asked: a list of (text, exercise). Without pages to read."""
    notes = []

    def note(content, exercise):
        source = json.loads(content)["cells"][0]["source"]
        notes.append((source.split("\n", 1)[1], exercise[:2]))

    monkeypatch.setattr(grading, "grade_notebook", grader(note))
    monkeypatch.setattr(feedback, "write", lambda graded, grades: None)
    return notes


@pytest.fixture
def places(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in", tmp_path / "grades"


def hand_in(folder, files):
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(content)


THREE = {
    "Ben/c.ipynb": notebook("05", "right right"),
    "Ana/b.ipynb": notebook("05", "right"),
    "Ana/a.ipynb": notebook("07", "right"),
}


def tree(folder):
    """Everything in a folder: path, bytes, time of change."""
    return sorted(
        (path, path.is_file() and path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*")
    )


def results(grades):
    return sorted(path for path in (grades / "results").iterdir() if path.suffix != ".unfinished")


def points(graded):
    return {one.file: one.report and one.report.points for one in graded}


# What comes out


def test_everybody_gets_their_points_by_student_and_exercise_and_nothing_handed_in_is_changed(places, asked):
    hand_in(places[0], THREE)
    before = tree(places[0])
    graded = grade(*places)
    assert [(one.student, one.exercise[:2], one.report.points) for one in graded] == [
        ("Ana", "05", 1),
        ("Ana", "07", 1),
        ("Ben", "05", 2),
    ]
    assert all(one.counts and not one.problem for one in graded)
    assert tree(places[0]) == before


def test_grades_and_feedback_are_written_and_a_second_run_writes_the_same(places, monkeypatch):
    monkeypatch.setattr(grading, "grade_notebook", grader())
    hand_in(places[0], THREE)
    grade(*places)
    lines = (places[1] / "grades.csv").read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in lines] == ["Student", "Ana", "Ben"]
    assert len(list(places[1].glob("feedback/*/*.html"))) == 3
    written = [(path, content) for path, content, _ in tree(places[1])]
    grade(*places)
    assert [(path, content) for path, content, _ in tree(places[1])] == written


def test_one_exercise_is_graded_after_the_other(places, asked):
    mixed = [n * " " + notebook(exercise) for n, exercise in enumerate(("05", "07", "02") * 3)]
    hand_in(places[0], {f"{n}/a.ipynb": content for n, content in enumerate(mixed)})
    grade(*places)
    order = [exercise for _, exercise in asked]
    assert order == sorted(order)
    assert len(order) == 9


def test_the_same_file_of_several_is_graded_once_and_each_is_told_whose_it_is(places, asked):
    same = {f"{name}/x.ipynb": notebook("05", "right") for name in ("Ana", "Ben", "Eva")}
    again, other = {"Ana/again.ipynb": notebook("05", "right")}, {"Kim/x.ipynb": notebook("05", "other")}
    hand_in(places[0], {**same, **again, **other})
    remarks = {one.file: one.report.remarks[1:] for one in grade(*places)}
    words = "the same file, byte for byte, as that of"
    assert remarks == {
        "Ana/x.ipynb": (f"{words} Ben, Eva",),
        "Ana/again.ipynb": (f"{words} Ben, Eva",),
        "Ben/x.ipynb": (f"{words} Ana, Eva",),
        "Eva/x.ipynb": (f"{words} Ana, Ben",),
        "Kim/x.ipynb": (),
    }
    assert len(asked) == 2


def test_the_exercise_as_handed_out_makes_nobody_suspect(places, asked):
    hand_in(places[0], {f"{name}/x.ipynb": notebook("05", "blank") for name in ("Ana", "Ben")})
    for one in grade(*places):
        assert {task.outcome for task in one.report.tasks} == {Outcome.NOT_ATTEMPTED}
        assert len(one.report.remarks) == 1


def test_of_several_attempts_the_best_counts_and_the_first_of_those(places, asked):
    attempts = {
        "Ana/1.ipynb": notebook("05", "right"),
        "Ana/2.ipynb": notebook("05", "right right"),
        "Ana/3.ipynb": notebook("05", "right  right"),
        "Ana/4.ipynb": notebook("05", "broken"),
        "Ana/5.ipynb": notebook("07", ""),
        "Ben/1.ipynb": notebook("05", ""),
        "Eva/1.ipynb": notebook("05", "broken"),
    }
    hand_in(places[0], attempts)
    counting = [one.file for one in grade(*places) if one.counts]
    assert counting == ["Ana/2.ipynb", "Ana/5.ipynb", "Ben/1.ipynb", "Eva/1.ipynb"]


def test_what_is_no_exercise_has_a_problem_and_everybody_else_is_graded(places, asked):
    wrong = {"Eva/a.ipynb": "{", "Eva/essay.docx": "PK", "Kim/a.ipynb": notebook("99"), "Max/a.ipynb": ""}
    hand_in(places[0], {**THREE, **wrong})
    graded = grade(*places)
    assert len(asked) == 3
    assert {one.file for one in graded if one.problem} == set(wrong)
    assert all(one.counts for one in graded)
    assert all((one.report is None) == bool(one.problem) for one in graded)


def test_jobs_work_at_the_same_time(places, monkeypatch):
    together = threading.Barrier(3, timeout=20)
    monkeypatch.setattr(grading, "grade_notebook", grader(lambda *_: together.wait()))
    hand_in(places[0], {f"{n}/a.ipynb": notebook("05", str(n)) for n in range(6)})
    assert not any(one.problem for one in grade(*places, jobs=3))


def test_before_it_starts_it_says_what_is_to_do_and_what_the_wall_lacks(places, asked, monkeypatch, capsys):
    hand_in(places[0], THREE)
    wall = Isolation("none", ("read your files", "use the network"))
    monkeypatch.setattr(gradebook, "isolation", lambda: wall)
    grade(*places)
    first, second = capsys.readouterr().err.splitlines()
    assert "3 files handed in, 3 different notebooks among them: 0 graded already, 3 to grade." in first
    assert second.endswith("none; code in a notebook can read your files; use the network.")
    hand_in(places[0], {"Eva/a.ipynb": notebook("05", "new")})
    monkeypatch.setattr(gradebook, "isolation", lambda: Isolation("namespaces"))
    grade(*places)
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("3 graded already, 1 to grade.")
    assert second.endswith("namespaces; nothing is lacking.")


# The store


def test_a_second_run_grades_only_what_changed(places, asked):
    hand_in(places[0], THREE)
    first = grade(*places)
    asked.clear()
    assert grade(*places) == first
    assert asked == []
    hand_in(places[0], {"Ana/b.ipynb": notebook("05", "right right right")})
    shutil.move(places[0] / "Ben", places[0] / "Benjamin")
    assert points(grade(*places)) == {"Ana/a.ipynb": 1, "Ana/b.ipynb": 3, "Benjamin/c.ipynb": 2}
    assert asked == [("right right right", "05")]


def test_what_was_taken_back_is_not_shown_and_not_graded_again_when_it_returns(places, asked):
    hand_in(places[0], THREE)
    grade(*places)
    shutil.rmtree(places[0] / "Ben")
    assert {one.student for one in grade(*places)} == {"Ana"}
    hand_in(places[0], THREE)
    assert {one.student for one in grade(*places)} == {"Ana", "Ben"}
    assert len(asked) == 3


def test_whatever_else_decides_a_result_makes_it_graded_again(places, asked, monkeypatch, tmp_path):
    hand_in(places[0], THREE)

    def again(**options):
        asked.clear()
        grade(*places, **options)
        return sorted(exercise for _, exercise in asked)

    assert again() == ["05", "05", "07"]
    assert again(limits=Limits(seconds=7)) == ["05", "05", "07"]
    checks = shutil.copytree(gradebook.CHECKS, tmp_path / "check")
    monkeypatch.setattr(gradebook, "CHECKS", checks)
    assert again() == []
    for name, regraded in (("exercise_05", ["05", "05"]), ("given_07", ["07"]), ("exercise_02", [])):
        with (checks / f"{name}.py").open("a") as file:
            file.write("# changed\n")
        assert again() == regraded
    with (checks / "task.py").open("a") as file:
        file.write("# changed\n")
    assert again() == ["05", "05", "07"]
    monkeypatch.setattr(tinylab, "__version__", "99")
    assert again() == ["05", "05", "07"]
    assert again() == []


def test_each_class_has_random_cases_of_its_own_and_keeps_them(places, asked, tmp_path):
    hand_in(places[0], THREE)
    seeds = [
        {task.message for one in grade(places[0], tmp_path / folder) for task in one.report.tasks}
        for folder in ("one", "one", "other")
    ]
    assert seeds[0] == seeds[1] != seeds[2]
    assert {len(seed) for seed in seeds} == {1}


def test_what_failed_by_no_fault_of_the_notebook_is_said_and_tried_again(places, asked, monkeypatch):
    hand_in(places[0], {**THREE, "Eva/a.ipynb": notebook("05", "broken")})
    [lost] = [one for one in grade(*places) if one.problem]
    assert (lost.file, lost.exercise, lost.report) == ("Eva/a.ipynb", "05_quantization_arithmetic", None)
    assert "TinylabError: no process" in lost.problem
    assert len(results(places[1])) == 3
    asked.clear()
    grade(*places)
    assert asked == [("broken", "05")]


def test_a_damaged_result_counts_as_not_there_and_is_replaced(places, asked):
    hand_in(places[0], THREE)
    first = grade(*places)
    one, other, _ = results(places[1])
    whole = one.read_bytes()
    whole_other = other.read_bytes()
    flipped = whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]
    cut = [whole[:end] for end in (0, 1, 64, 65, 66, len(whole) // 2, len(whole) - 1)]
    for damaged in (*cut, flipped, whole + b" ", b"notes of mine\n", b"\xff\xfe\n{}", whole_other):
        one.write_bytes(damaged)
        asked.clear()
        assert grade(*places) == first
        assert len(asked) == 1
        assert one.read_bytes() == whole
    assert other.read_bytes() == whole_other


def test_what_killed_runs_left_unfinished_goes_and_other_files_stay(places, asked):
    hand_in(places[0], THREE)
    grade(*places)
    unfinished = places[1] / "results" / ".0123.unfinished"
    note = places[1] / "note.txt"
    for path in (unfinished, note):
        path.write_text("half a")
    grade(*places)
    assert not unfinished.exists()
    assert note.read_text() == "half a"


def test_a_run_that_was_killed_before_it_had_a_seed_is_begun_again(places, asked):
    hand_in(places[0], THREE)
    places[1].mkdir()
    for name in ("grading.lock", ".grading.json.unfinished"):
        (places[1] / name).write_text("")
    assert len(grade(*places)) == 3
    assert not list(places[1].rglob("*.unfinished"))


# What is refused


def untouched(places, message):
    """That grading fails, and leaves the grades as they are."""
    before = tree(places[1])
    with pytest.raises(DataError, match=message):
        grade(*places)
    assert tree(places[1]) == before


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "7", "{}", '{"tinylab_grading": 1}', '{"seed": 7}', '{"tinylab_grading": 2, "seed": 7}']
    + [f'{{"tinylab_grading": 1, "seed": {seed}}}' for seed in ("null", "true", "-7", '"7"', "7.5")],
)
def test_a_seed_that_is_damaged_or_of_another_format_is_not_drawn_anew_in_silence(places, asked, content):
    hand_in(places[0], THREE)
    grade(*places)
    (places[1] / "grading.json").write_text(content)
    asked.clear()
    untouched(places, r"grading\.json: damaged, or of another version.*Put a copy of it back, or name")
    assert not asked


def test_a_folder_with_other_things_in_it_is_left_alone(places, asked):
    hand_in(places[0], THREE)
    hand_in(places[1], {"thesis.tex": "all my work", "index.html": "my page"})
    untouched(places, r"holds index\.html, but no grading\.json: name a new folder")
    shutil.rmtree(places[1])
    grade(*places)
    (places[1] / "grading.json").unlink()
    untouched(places, "but no grading.json")


@pytest.mark.parametrize(
    ("submissions", "grades"),
    [("in", "in"), ("in", "in/grades"), ("in", "."), ("in", "in/../in/grades"), ("in", "link/grades")],
)
def test_one_folder_inside_the_other_is_refused_before_anything_is_done(
    tmp_path, asked, monkeypatch, submissions, grades
):
    monkeypatch.chdir(tmp_path)
    hand_in(tmp_path / "in", THREE)
    Path("link").symlink_to("in")
    before = tree(tmp_path)
    with pytest.raises(DataError, match="neither in the other"):
        grade(submissions, grades)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["nowhere", "file", "empty"])
def test_submissions_that_are_none_make_no_folder_of_grades(places, asked, name):
    (places[0] / "file").write_text("")
    (places[0] / "empty").mkdir()
    with pytest.raises(DataError, match="a folder of submissions, or the zip file"):
        grade(places[0] / name, places[1])
    assert not places[1].exists()


def test_a_place_that_cannot_be_written_is_named_before_any_work(places, asked, tmp_path):
    hand_in(places[0], THREE)
    (tmp_path / "file").write_text("")
    unwritable = [tmp_path / "file", tmp_path / "file" / "grades"]
    if sys.platform == "linux":
        unwritable.append(Path("/proc/grades"))
    for place in unwritable:
        with pytest.raises(DataError, match=f"{place} cannot be written"):
            grade(places[0], place)
    assert not asked


def test_a_full_disk_is_reported_and_what_was_graded_stays(places, asked, monkeypatch):
    hand_in(places[0], THREE)
    real, written = os.fsync, []

    def full(file):
        written.append(file)
        if len(written) > 3:  # the seed, and two results
            raise OSError(28, "No space left on device")
        real(file)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"results cannot be written.*No space left.*Make room"):
            grade(*places)
    assert len(asked) == 3
    assert len(grade(*places)) == 3
    assert len(asked) == 4


def test_a_full_disk_under_the_feedback_is_reported_as_well(places, asked, monkeypatch):
    hand_in(places[0], THREE)

    def full(graded, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feedback, "write", full)
    with pytest.raises(DataError, match=r"cannot be written.*No space left"):
        grade(*places)


def test_a_missing_package_is_named_before_any_work(places, asked, monkeypatch):
    hand_in(places[0], THREE)
    monkeypatch.setitem(sys.modules, "nbconvert", None)
    with pytest.raises(TinylabError, match=r"nbconvert.*pip install \"tinylab-course\[classroom\]\""):
        grade(*places)
    assert not asked
    assert not places[1].exists()


# Runs that end early, in processes of their own

COMMAND = """
import sys
from tests.test_gradebook import grader
from tinylab import cli
from tinylab.classroom import grading
{definitions}
grading.grade_notebook = {work}
sys.exit(cli.main(["grade", {submissions!r}, "-o", {grades!r}, *{options!r}]))
"""


def command(places, work, definitions="", options=()):
    submissions, grades = map(str, places)
    return COMMAND.format(
        definitions=definitions, work=work, submissions=submissions, grades=grades, options=options
    )


def test_a_second_run_at_the_same_time_is_refused(places, asked):
    hand_in(places[0], THREE)
    grade(*places)
    with filelock.FileLock(places[1] / "grading.lock"), pytest.raises(DataError, match="another run"):
        grade(*places)


@pytest.mark.slow
def test_ctrl_c_ends_what_runs_in_one_line_and_the_next_run_goes_on(places, run_python):
    """The first three notebooks start a process each that would sleep; the others would wait for them."""
    hand_in(places[0], {f"{n}/a.ipynb": notebook("05", "quick" if n < 2 else f"slow {n}") for n in range(9)})
    seconds = f"98765{os.getpid()}"  # no other process sleeps as long
    definitions = f"""
import subprocess
from tests.test_gradebook import grader as made
def sleeping(content, exercise, seed, limits):
    if b"slow" in content:
        subprocess.run(["sleep", "{seconds}"], start_new_session=True)
    return made()(content, exercise, seed, limits)
"""

    def sleepers():
        return [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", seconds]]

    process = run_python(command(places, "sleeping", definitions, ["--jobs", "2"]), wait=False)
    until(lambda: len(sleepers()) == 2 and results(places[1]))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    *_, last = err.splitlines()
    assert last == "tinylab: interrupted. What is graded is kept: the same command goes on with it."
    assert "Traceback" not in err
    assert sleepers() == []
    assert len(results(places[1])) == 1  # twice the same notebook
    out = run_python(command(places, "grader()"))
    assert "where to look" in out
    assert len(results(places[1])) == 8


KILLED = """
import os, random, shutil, signal, time
from pathlib import Path
import nbconvert  # once, here, and not in each of the children
from tests.test_gradebook import grader
from tinylab.classroom import gradebook, grading, sandbox

grading.grade_notebook = grader(seconds=0.05)
sandbox.isolation()
straight, killed = Path({straight!r}), Path({killed!r})
gradebook.grade({submissions!r}, straight)
killed.mkdir()
shutil.copy(straight / "grading.json", killed)

def count():
    return sum(path.suffix == "" for path in killed.glob("results/*"))

kept = []
while len(kept) < 10:
    enough = min(count() + random.randint(0, 2), 12)
    child = os.fork()
    if child == 0:
        gradebook.grade({submissions!r}, killed, jobs=random.choice((1, 2)))
        os._exit(0)
    while count() < enough:
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    if os.waitpid(child, 0)[1] == signal.SIGKILL:
        kept.append(count())
gradebook.grade({submissions!r}, killed)
print(*kept)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_ten_kills_at_random_moments_leave_the_same_files_as_none(places, run_python, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    texts = [f"{n} " + n * "right " for n in range(12)]
    hand_in(places[0], {f"{n}/a.ipynb": notebook(("05", "07")[n % 2], texts[n]) for n in range(12)})
    out = run_python(KILLED.format(submissions=str(places[0]), straight=str(straight), killed=str(killed)))
    kept = [int(number) for number in out.split()]
    assert len(kept) == 10
    assert kept == sorted(kept)
    assert any(0 < number < 12 for number in kept), kept
    ends = [{path.relative_to(f): content for path, content, _ in tree(f)} for f in (straight, killed)]
    assert ends[0] == ends[1]
    assert len(ends[0][Path("grades.csv")].splitlines()) == 13


# A cluster


@pytest.mark.slow
def test_a_cluster_gives_the_same_grades_as_this_machine(cluster, places, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(grading, "grade_notebook", grader())
    hand_in(
        places[0], {**THREE, "Eva/a.ipynb": notebook("05", "broken"), "Kim/a.ipynb": notebook("05", "right")}
    )
    here = grade(*places)
    there = tmp_path / "there"
    there.mkdir()
    shutil.copy(places[1] / "grading.json", there)
    assert grade(places[0], there, scheduler=cluster.address) == here
    assert [path.read_bytes() for path in results(there)] == [
        path.read_bytes() for path in results(places[1])
    ]
    assert (there / "grades.csv").read_bytes() == (places[1] / "grades.csv").read_bytes()
    said = capsys.readouterr().err.splitlines()
    assert said[1] == said[3]
    assert said[1].startswith("tinylab: Isolation of notebooks: ")


@pytest.mark.slow
def test_a_notebook_that_kills_workers_fails_alone_and_is_tried_again(cluster, places, monkeypatch):
    monkeypatch.setattr(grading, "grade_notebook", grader())
    hand_in(places[0], {**THREE, "Eva/a.ipynb": notebook("05", "deadly right")})
    graded = grade(*places, scheduler=cluster.address)
    assert points(graded) == {"Ana/a.ipynb": 1, "Ana/b.ipynb": 1, "Ben/c.ipynb": 2, "Eva/a.ipynb": None}
    assert "KilledWorker" in graded[-1].problem
    monkeypatch.setattr(grading, "grade_notebook", grader(deadly="nothing"))
    assert points(grade(*places, scheduler=cluster.address))["Eva/a.ipynb"] == 1


@pytest.mark.slow
def test_when_the_scheduler_dies_the_next_run_goes_on(places, monkeypatch, tmp_path):
    pytest.importorskip("distributed")
    monkeypatch.setattr(grading, "grade_notebook", grader(seconds=0.3))
    hand_in(places[0], {f"{n}/a.ipynb": notebook("05", str(n)) for n in range(30)})
    made = Cluster(tmp_path)
    try:
        made.add_workers(1)
        watcher = threading.Thread(
            target=lambda: (until(lambda: len(list(places[1].glob("results/*"))) > 2), made.scheduler.kill())
        )
        watcher.start()
        with pytest.raises(TinylabError, match=r"the scheduler is gone.*it goes on"):
            grade(*places, scheduler=made.address)
        watcher.join()
    finally:
        made.end()
    kept = len(results(places[1]))
    assert 2 < kept < 30
    notes = []
    monkeypatch.setattr(grading, "grade_notebook", grader(lambda *note: notes.append(note)))
    assert len(grade(*places)) == 30
    assert len(notes) == 30 - kept


@pytest.mark.slow
def test_workers_with_other_checks_are_refused(cluster, places, asked, monkeypatch, tmp_path):
    hand_in(places[0], THREE)
    checks = shutil.copytree(gradebook.CHECKS, tmp_path / "check")
    (checks / "exercise_05.py").write_text("# all is right\n")
    monkeypatch.setattr(gradebook, "CHECKS", checks)
    with pytest.raises(TinylabError, match="has other exercises or checks"):
        grade(*places, scheduler=cluster.address)
    assert not asked
