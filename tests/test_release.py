"""Exercises handed out: what a release holds, that it replaces nothing else, that it is whole or absent."""

import argparse
import errno
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

from tinylab import authoring, course
from tinylab.classroom import release
from tinylab.classroom.exercises import exercises
from tinylab.errors import DataError, TinylabError

NAMES = list(exercises())
TWO = release.choose(["02", "05"])


def content(folder):
    """Bytes of all files in a folder, by their names in it."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release") / "all"
    release.release(folder, release.choose([]))
    return folder


# what is handed out


def test_a_release_holds_the_notebooks_a_readme_and_a_zip_of_the_same(everything):
    expected = {f"{name}.ipynb" for name in NAMES} | {"README.md"}
    assert set(content(everything)) == expected | {release.ZIP, release.LIST}
    with zipfile.ZipFile(everything / release.ZIP) as archive:
        assert archive.testzip() is None
        assert {entry.date_time for entry in archive.infolist()} == {(2000, 1, 1, 0, 0, 0)}
        zipped = {name: archive.read(name) for name in archive.namelist()}
    assert zipped == {f"tinylab-exercises/{name}": (everything / name).read_bytes() for name in expected}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_the_exercise_without_outputs(everything, name):
    given, original = authoring.read(everything / f"{name}.ipynb"), authoring.read(exercises()[name].path)
    nbformat.validate(given)
    assert [cell.id for cell in given.cells] == [cell.id for cell in original.cells]
    code = [cell for cell in given.cells if cell.cell_type == "code"]
    assert [cell.source for cell in code] == [c.source for c in original.cells if c.cell_type == "code"]
    assert code[0].source == authoring.SETUP
    assert not [cell for cell in code if cell.outputs or cell.execution_count]
    assert "SOLUTION" not in (everything / f"{name}.ipynb").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_no_link_needs_a_file_that_is_not_handed_out(everything, name):
    cells = authoring.read(everything / f"{name}.ipynb").cells
    links = [link for cell in cells for link in re.findall(r"\]\(([^)]+)\)", cell.source)]
    here = f"{course.REPOSITORY}/blob/main/"
    assert all(link.startswith("https://") for link in links)
    files = [link.removeprefix(here) for link in links if link.startswith(here)]
    assert files
    assert [file for file in files if not (authoring.ROOT / file).exists()] == []


def test_the_readme_names_each_file_with_its_tasks_and_a_command_that_pip_understands(everything):
    readme = (everything / "README.md").read_text()
    for name, exercise in exercises().items():
        assert re.search(rf"^\| `{name}\.ipynb` \| .* \| {len(exercise.tasks)} \| ", readme, re.MULTILINE)
    wanted = Requirement(re.search(r'pip install "(.*)"', readme)[1])
    assert (wanted.name, wanted.extras, wanted.url) == (
        "tinylab-course",
        {"lab"},
        f"git+{course.REPOSITORY}",
    )
    assert max(len(line) for line in readme.splitlines() if "|" not in line) <= 120


def test_making_a_release_again_gives_the_same_bytes(everything, tmp_path):
    release.release(tmp_path / "again", release.choose([]))
    assert content(tmp_path / "again") == content(everything)


# which exercises


@pytest.mark.parametrize("name", ["5", "05", "05_quantization_arithmetic"])
def test_an_exercise_is_chosen_by_number_or_name(name):
    assert [exercise.name for exercise in release.choose([name])] == ["05_quantization_arithmetic"]


def test_exercises_come_in_the_order_of_the_course_and_once():
    chosen = release.choose(["9", "02", "9", "09_microcontroller"])
    assert [exercise.name for exercise in chosen] == ["02_optimization_flags", "09_microcontroller"]
    assert [exercise.name for exercise in release.choose([])] == NAMES


@pytest.mark.parametrize("name", ["12", "08", "0", "", "arithmetic", "../05_quantization_arithmetic", "٥"])
def test_an_exercise_that_is_not_there_is_an_error_that_names_those_that_are(name):
    with pytest.raises(DataError, match=rf"^no exercise {name}; there are {', '.join(NAMES)}"):
        release.choose(["05", name])


# where to


def test_a_release_is_replaced_by_another(tmp_path):
    release.release(tmp_path / "new" / "out", TWO)
    written = release.release(tmp_path / "new" / "out", release.choose(["05"]))
    assert {path.name for path in written} == {"05_quantization_arithmetic.ipynb", "README.md", release.ZIP}
    assert set(content(tmp_path / "new" / "out")) == {path.name for path in written} | {release.LIST}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    release.release(tmp_path / "out", TWO)
    assert (tmp_path / "out" / release.ZIP).exists()


def refused(folder, match):
    before = content(folder.parent)
    with pytest.raises(TinylabError, match=match):
        release.release(folder, TWO)
    assert content(folder.parent) == before


@pytest.mark.parametrize("name", ["thesis.txt", "README.md", release.ZIP, "sub/05.ipynb"])
def test_a_folder_with_something_else_is_left_as_it_is(tmp_path, name):
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text("mine")
    refused(tmp_path / "out", "not written by `tinylab classroom release`")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda out: (out / "README.md").write_text("Hand in by Friday."), id="README edited"),
        pytest.param(lambda out: (out / "notes.txt").write_text("mine"), id="a file of one's own"),
        pytest.param(lambda out: (out / "submitted").mkdir(), id="a folder of one's own"),
        pytest.param(lambda out: (out / release.LIST).write_text("{"), id="list damaged"),
        pytest.param(lambda out: (out / release.LIST).write_text("[]"), id="list of another kind"),
        pytest.param(lambda out: (out / "link").symlink_to(out.parent), id="symbolic link"),
        pytest.param(lambda out: os.mkfifo(out / "pipe"), id="pipe"),
    ],
)
def test_a_release_that_somebody_changed_is_left_as_it_is(tmp_path, change):
    release.release(tmp_path / "out", TWO)
    change(tmp_path / "out")
    refused(tmp_path / "out", "or changed since; name a new folder")


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "out").write_text("mine")
    refused(tmp_path / "out", "is no folder")
    with pytest.raises(TinylabError, match=r"cannot write .*: Not a directory"):
        release.release(tmp_path / "out" / "deeper", TWO)


def test_the_folder_that_one_is_in_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "out" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "out" / "deeper")
    for here in (".", "..", "/"):
        with pytest.raises(TinylabError, match="you are in this folder"):
            release.release(here, TWO)
    release.release("next", TWO)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(TinylabError, match=r"cannot write .*: Permission denied"):
        release.release(tmp_path / "out", TWO)


# whole, or not there


def test_a_full_disk_leaves_the_earlier_release_whole(everything, tmp_path, monkeypatch):
    release.release(tmp_path / "out", TWO)
    before = content(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(TinylabError, match=r"cannot write .*out: No space left on device"):
        release.release(tmp_path / "out", release.choose([]))
    assert content(tmp_path) == before
    with pytest.raises(TinylabError, match="No space left on device"):
        release.release(tmp_path / "new", release.choose([]))
    assert content(tmp_path) == before


def test_a_file_that_really_cannot_grow_is_an_error(tmp_path):
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, allowed[1]))
    try:
        with pytest.raises(TinylabError, match=r"cannot write .*out: File too large"):
            release.release(tmp_path / "out", release.choose([]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


# Says when it begins to write, and writes slowly.
SLOWLY = """
import sys, time
from tinylab.classroom import release

write = release._write

def slowly(path, text):
    print(path.name, flush=True)
    time.sleep(0.1)
    write(path, text)

release._write = slowly
release.release("out", release.choose(["02", "05"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("earlier", [False, True], ids=["new", "in the place of an earlier one"])
@pytest.mark.parametrize("files", [1, 2, 3, 4])
def test_a_killed_run_leaves_nothing_that_looks_complete_and_is_no_hindrance(tmp_path, files, earlier):
    place = tmp_path / "out"
    if earlier:
        release.release(place, release.choose(["01"]))
    before = content(place)
    process = subprocess.Popen([sys.executable, "-c", SLOWLY], cwd=tmp_path, stdout=subprocess.PIPE)
    for _ in range(files):
        process.stdout.readline()
    time.sleep(0.05)
    process.kill()
    process.wait()
    assert place.exists() == earlier
    assert content(place) == before
    release.release(place, TWO)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert set(content(place)) == {f"{e.name}.ipynb" for e in TWO} | {
        "README.md",
        release.ZIP,
        release.LIST,
    }


# without what it needs


def test_a_course_for_nbgrader_without_nbgrader_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbgrader", None)
    with pytest.raises(TinylabError, match=re.escape('pip install "tinylab-course[nbgrader]"')):
        release.nbgrader_course(tmp_path / "course", TWO)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=authoring.ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_carries_exercises_and_solutions_and_releases_the_same(wheel, everything, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".ipynb")]
        archive.extractall(tmp_path / "installed")
    expected = [f"tinylab/classroom/exercises/{name}.ipynb" for name in NAMES]
    expected += [f"tinylab/classroom/solutions/{name}.ipynb" for name in [*NAMES, "10_capstone"]]
    assert sorted(names) == sorted(expected)
    code = (
        "import tinylab; from tinylab.classroom import release;"
        "release.release('out', release.choose([])); print(tinylab.__file__)"
    )
    run = [sys.executable, "-c", code]
    found = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    ran = subprocess.run(run, cwd=tmp_path, env=found, capture_output=True, text=True, check=True)
    assert Path(ran.stdout.strip()).is_relative_to(tmp_path)
    assert content(tmp_path / "out") == content(everything)


@pytest.mark.parametrize("kind", ["exercises", "solutions"])
def test_an_installation_without_notebooks_says_so(tmp_path, monkeypatch, kind):
    import tinylab
    from tinylab.classroom.exercises import folder

    monkeypatch.setattr(tinylab, "__file__", str(tmp_path / "tinylab" / "__init__.py"))
    with pytest.raises(DataError, match=f"lacks its {kind}"):
        folder(kind)


# the teacher's page

PAGE = (authoring.ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(tinylab .+)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_teachers_page_is_one(command):
    from tinylab import cli

    chosen = cli._parser().parse_args(shlex.split(command)[1:])
    assert callable(chosen.command)


def test_a_command_that_is_none_would_be_noticed():
    from tinylab import cli

    with pytest.raises(SystemExit):
        cli._parser().parse_args(["grade", "submissions.zip", "-o", "grades", "--twice"])


def test_the_teachers_page_shows_how_to_release_grade_and_use_a_cluster():
    for beginning in ("classroom release -o", "classroom release --nbgrader", "grade submissions.zip -o"):
        assert any(command.startswith(f"tinylab {beginning}") for command in COMMANDS)


def test_what_the_teachers_page_mentions_in_its_text_exists():
    """Commands and options of tinylab in `code`; those of nbgrader are tried in test_nbgrader."""
    from tinylab import cli

    def every(parser):
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for below in action.choices.values():
                    yield from every(below)

    parsers = list(every(cli._parser()))
    options = {option for parser in parsers for option in parser._option_string_actions}
    mentioned = re.findall(r"`((?:tinylab|--)[^`]*)`", PAGE)
    assert len(mentioned) > 5
    for code in mentioned:
        first, *rest = code.split()
        if first.startswith("--"):
            assert first in options, code
        elif first == "tinylab" and rest:
            assert f"tinylab {' '.join(rest)}" in {parser.prog for parser in parsers}, code


def test_the_limits_that_the_teachers_page_names_are_those_of_the_grader():
    from tinylab.classroom.sandbox import Limits

    assert f"A cell may take {Limits().seconds}\nseconds" in PAGE
    assert f"up to {Limits().memory >> 30} GB of memory" in PAGE


def test_links_of_the_teachers_page_resolve():
    headings = {re.sub(r"\W+", "-", h.lower()) for h in re.findall(r"^## (.+)$", PAGE, re.MULTILINE)}
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (
            link.startswith("https://")
            or link.removeprefix("#") in headings
            or (authoring.ROOT / "docs" / link).exists()
        ), link


def test_the_teachers_page_quotes_what_the_grader_says_of_a_complete_wall():
    from tinylab.classroom import gradebook
    from tinylab.classroom.sandbox import Isolation

    assert f"`{gradebook._described({Isolation('namespaces')})}`" in PAGE
