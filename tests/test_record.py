"""The learner's record: what is kept, what comes next, and that nothing about it spoils a check."""

import json
import os
import tempfile
from pathlib import Path

import filelock
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinylab import authoring, course, record
from tinylab.check import exercise_02 as check
from tinylab.check.task import Outcome, Task, exactly
from tinylab.classroom.exercises import exercises
from tinylab.record import DONE, OPEN, TRIED

ARITHMETIC = "05_quantization_arithmetic"
NAMES = [(name, task) for name, exercise in exercises().items() for task in exercise.tasks]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where this test's record is; nothing is there yet."""
    monkeypatch.setenv(record.PLACE, str(tmp_path / "new" / "progress.json"))
    return record.place()


def keep_all(names=NAMES, done=True):
    for name, task in names:
        record.keep(name[:2], task, done)


def state_of(name, task):
    return record.read().states[name][task]


def blank(*_):
    raise NotImplementedError


def right(original, small):
    return 100 * (original - small) / original


# What is kept


def test_at_first_everything_is_open(place):
    states = record.read().states
    assert [(name, task) for name in states for task in states[name]] == NAMES
    assert {state for tasks in states.values() for state in tasks.values()} == {OPEN}


def test_the_exercises_are_those_of_the_course(place):
    assert list(record.read().states) == [lesson.name for lesson in course.LESSONS if lesson.has_exercise]


@pytest.mark.parametrize(
    ("function", "state"),
    [(blank, OPEN), (lambda *_: 1 / 0, TRIED), (lambda *_: -1.0, TRIED), (right, DONE)],
    ids=["blank", "an error", "wrong", "right"],
)
def test_a_check_keeps_what_came_of_it(place, function, state):
    result = check.saved_percent(function)
    assert (result.outcome is Outcome.RIGHT) == (state == DONE)
    assert state_of("02_optimization_flags", "saved_percent") == state


def test_a_task_that_was_once_right_stays_done(place):
    for function in (right, lambda *_: -1.0, blank):
        check.saved_percent(function)
        assert state_of("02_optimization_flags", "saved_percent") == DONE


def test_what_is_no_task_of_the_course_is_not_kept(place):
    Task("saved_percent", lambda _: [()], lambda: 1, exactly, ())(lambda: 1)
    for number, task in (("05", "saved_percent"), ("08", "quantize"), ("", "quantize"), ("05", "x" * 10**6)):
        record.keep(number, task, True)
    assert not place.exists()


def test_a_check_that_changes_nothing_writes_nothing(place):
    record.keep("05", "quantize", True)
    before = place.stat().st_mtime_ns
    for done in (True, False):
        record.keep("05", "quantize", done)
    assert place.stat().st_mtime_ns == before


def test_the_whole_record_is_far_below_the_size_that_is_read(place):
    keep_all()
    assert 40 * place.stat().st_size < record.MOST_BYTES


def test_a_record_of_another_version_of_the_course_loses_only_what_is_not_known_here(place):
    record.keep("05", "quantize", True)
    written = json.loads(place.read_text())
    written["exercises"]["99_later"] = {"task": DONE}
    written["exercises"][ARITHMETIC] |= {"later": DONE, "dense": "half done", "multiply": ["a list"]}
    place.write_text(json.dumps(written))
    record.keep("05", "convolution", False)
    assert json.loads(place.read_text())["exercises"] == {
        ARITHMETIC: {"quantize": DONE, "convolution": TRIED}
    }


# What comes next


def test_at_first_lesson_01_and_its_exercise_come_next(place):
    task = exercises()["01_conversion"].tasks[0]
    expected = "Next: lesson 01 · From Keras to .tflite; then the exercise exercises/01_conversion.ipynb, "
    assert record.read().next == f"{expected}which begins with {task}."


def test_an_exercise_begun_comes_before_one_that_is_untouched(place):
    first, second = exercises()[ARITHMETIC].tasks[:2]
    record.keep("05", second, True)
    assert record.read().next == f"Next: {first} in exercises/{ARITHMETIC}.ipynb."
    record.keep("05", first, False)
    assert record.read().next == f"Next: {first} (tried, not right yet) in exercises/{ARITHMETIC}.ipynb."


def test_a_lesson_without_exercise_is_not_passed_over(place):
    keep_all([(name, task) for name, task in NAMES if name[:2] != "09"])
    expected = "Next: lesson 08 · Transfer learning, lesson 09 · On a microcontroller; then the exercise"
    assert record.read().next.startswith(expected)


def test_after_every_task_comes_the_capstone(place):
    keep_all()
    assert record.read().next == "Every task is done. Next: lesson 10 · Capstone: motion."
    assert set(record.read().table["next task"]) == {""}


def test_the_table_counts_the_tasks_of_every_exercise(place):
    first, second, third = exercises()[ARITHMETIC].tasks[:3]
    record.keep("05", first, True)
    record.keep("05", third, False)
    table = record.read().table
    assert list(table.index) == list(exercises())
    assert (table["tasks"] == table["done"] + table["tried"] + table["open"]).all()
    count = len(exercises()[ARITHMETIC].tasks)
    assert table.loc[ARITHMETIC].tolist() == [count, 1, 1, count - 2, second]


def test_lesson_00_shows_the_table_of_an_empty_record(place):
    cells = authoring.read(authoring.ROOT / "notebooks" / "00_start_here.ipynb").cells
    cell = next(cell for cell in cells if "record.read()" in cell.source and cell.cell_type == "code")
    assert "nbval-check-output" in cell.metadata["tags"]
    [table, printed] = cell.outputs
    assert printed.text == record.read().next + "\n"
    assert table.data["text/html"].split() == record.read().table._repr_html_().split()


# Damaged and foreign files

HEAD = b'{"format": "tinylab progress", "exercises": '
DAMAGED = {
    "empty": b"",
    "cut short": HEAD + b'{"05_quant',
    "somebody else's": b'{"name": "tinylab", "version": 1}',
    "somebody else's with exercises": b'{"format": "theirs", "exercises": {}}',
    "a list": b"[1, 2]",
    "a number": b"7",
    "not UTF-8": b"\xff\xfe\x00",
    "nested deeply": b"[" * 50_000,
    "no exercises": b'{"format": "tinylab progress"}',
    "exercises of no sort": HEAD + b"3}",
    "an exercise of no sort": HEAD + b'{"05_quantization_arithmetic": []}}',
    "endless": HEAD + b"{}}" + b" " * record.MOST_BYTES,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_record_is_put_aside_by_the_next_check_and_told(place, content):
    place.parent.mkdir()
    place.write_bytes(content)
    record.keep("05", "quantize", False)
    known = record.read()
    assert known.states[ARITHMETIC]["quantize"] == TRIED
    aside = place.with_name("progress.json.damaged")
    assert aside.read_bytes() == content
    assert f"was damaged, and is now {aside}" in known.note
    aside.unlink()
    assert "was damaged" not in record.read().note


def test_reading_a_damaged_record_tells_it_at_once(place):
    place.parent.mkdir()
    place.write_text("{")
    assert "was damaged" in record.read().note


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from([DONE, TRIED, "quantize", ARITHMETIC]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([ARITHMETIC, "quantize", ""]), inner)
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    st.binary() | json_values.map(lambda v: json.dumps({"format": record.FORMAT, "exercises": v}).encode())
)
def test_whatever_stands_in_the_file_a_check_is_kept(place, content):
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)
    record.keep("05", "quantize", True)
    assert state_of(ARITHMETIC, "quantize") == DONE


# Places where nothing can be kept


def a_file_for_a_folder(folder):
    (folder / "file").write_text("")
    return folder / "file" / "progress.json"


def a_folder_for_a_file(folder):
    (folder / "progress.json").mkdir()
    return folder / "progress.json"


def a_link_to_a_device(folder):
    (folder / "progress.json").symlink_to(os.devnull)  # not the device itself: should this fail, it stays
    return folder / "progress.json"


PLACES = {
    "switched off": (lambda _: "off", "TINYLAB_PROGRESS is off"),
    "no full path": (lambda _: "progress.json", "progress.json is no full path"),
    "no home folder": (lambda _: "~/.local/share/tinylab/progress.json", "is no full path"),
    "below a file": (a_file_for_a_folder, "file: "),
    "a folder": (a_folder_for_a_file, "is no ordinary file"),
    "a device": (a_link_to_a_device, "is no ordinary file"),
    "no such disk": (lambda _: "/proc/tinylab/progress.json", "/proc/tinylab: "),
}


@pytest.mark.parametrize(("make", "reason"), PLACES.values(), ids=PLACES)
def test_where_nothing_can_be_kept_checks_work_as_ever_and_the_reason_is_told(
    tmp_path, monkeypatch, capfd, make, reason
):
    if os.name == "nt" and reason.startswith("/proc"):
        pytest.skip("Windows has no /proc")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(record.PLACE, str(make(tmp_path)))
    before = sorted(tmp_path.rglob("*"))
    results = [check.saved_percent(function).outcome for function in (right, lambda *_: -1.0)]
    assert results == [Outcome.RIGHT, Outcome.WRONG]
    known = record.read()
    assert known.note.startswith("Nothing is kept: ")
    assert reason in known.note
    assert (known.table["open"] == known.table["tasks"]).all()
    assert [path for path in sorted(tmp_path.rglob("*")) if path.suffix != ".lock"] == before
    assert capfd.readouterr() == ("", "")


def test_without_a_home_folder_nothing_is_written_into_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(record.PLACE)
    monkeypatch.setattr(record.platformdirs, "user_data_dir", lambda _: "~/.local/share/tinylab")
    record.keep("05", "quantize", True)
    assert "is no full path" in record.read().note
    assert list(tmp_path.iterdir()) == []


def test_a_lock_held_by_another_process_is_not_waited_for_long(place, monkeypatch, capfd):
    monkeypatch.setattr(record, "LOCK_SECONDS", 0.05)
    place.parent.mkdir()
    with filelock.FileLock(f"{place}.lock", is_singleton=False):
        assert check.saved_percent(right).outcome is Outcome.RIGHT
        assert "could not be acquired" in record.read().note
    assert not place.exists()
    assert capfd.readouterr() == ("", "")


FULL_DISK = """
import resource
from tinylab import record
record.keep("05", "quantize", True)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
record.keep("05", "dense", True)
print(record.read().states["05_quantization_arithmetic"]["quantize"], record.read().note)
"""
READ_ONLY = """
import os
from tinylab import record
record.keep("05", "quantize", True)
record.place().chmod(0o444)
record.place().parent.chmod(0o555)
if os.getuid() == 0:
    os.setuid(65534)
record.keep("05", "dense", True)
print(record.read().states["05_quantization_arithmetic"]["quantize"], record.read().note)
"""


@pytest.mark.skipif(os.name == "nt", reason="the limits and users are those of Unix")
@pytest.mark.parametrize(("code", "reason"), [(FULL_DISK, "File too large"), (READ_ONLY, "ermission denied")])
def test_what_was_kept_is_still_known_when_nothing_more_can_be(run_python, code, reason):
    with tempfile.TemporaryDirectory() as folder:  # one that other users may enter, too
        Path(folder).chmod(0o755)
        place = Path(folder, "new", "progress.json")
        printed = run_python(code, **{record.PLACE: str(place)})
        assert printed.startswith("done Nothing is kept: ")
        assert reason in printed
        assert list(json.loads(place.read_text())["exercises"][ARITHMETIC]) == ["quantize"]
        place.parent.chmod(0o755)


def test_the_note_says_that_a_colab_session_ends(place, monkeypatch):
    assert record.read().note == f"Kept only on this machine: {place}"
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab")
    assert record.read().note == f"Kept only as long as this Colab session: {place}"


def test_the_place_is_the_users_own_unless_another_is_named(monkeypatch):
    monkeypatch.setenv(record.PLACE, "")
    assert record.place() == Path(record.platformdirs.user_data_dir("tinylab"), "progress.json")


# Several notebooks at once

WRITER = """
import os, time
from tinylab import record
from tinylab.classroom.exercises import exercises
names = [(name[:2], task) for name, exercise in exercises().items() for task in exercise.tasks]
record.LOCK_SECONDS = 100  # however busy the machine
print("ready", flush=True)
while not os.path.exists({go!r}):
    time.sleep(0.001)
for number, task in names:
    record.keep(number, task, False)
for number, task in names[{share}::{writers}]:
    record.keep(number, task, True)
"""


@pytest.mark.slow
def test_notebooks_that_write_at_the_same_time_lose_nothing(run_python, place):
    writers, go = 4, place.parent.parent / "go"
    codes = [WRITER.format(share=share, writers=writers, go=str(go)) for share in range(writers)]
    processes = [run_python(code, wait=False, **{record.PLACE: str(place)}) for code in codes]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * writers
    go.touch()
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out, err) == (0, "", "")
    states = record.read().states
    assert {state for tasks in states.values() for state in tasks.values()} == {DONE}


def test_tests_and_notebooks_run_here_touch_no_record_of_the_authors():
    assert os.environ[record.PLACE] == record.OFF == authoring.QUIET[record.PLACE]
