"""What a learner's code can do behind each kind of wall, and that whatever it does ends it alone."""

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from tinylab.classroom import sandbox as sandboxes
from tinylab.classroom.exercises import exercises, folder
from tinylab.classroom.sandbox import Isolation, Limits, Sandbox

pytestmark = pytest.mark.long  # `make class`

LIMITS = Limits(seconds=4, memory=2 << 30, disk=64 << 20, output=20 << 20)
WALLS = ["namespaces", "bubblewrap", "none"]
BUILT = [wall for wall in WALLS if wall != "none"]
ENDED = "ended its process"


def is_there(wall):
    if wall == "namespaces":
        return sandboxes.isolation().name == "namespaces"
    return wall == "none" or shutil.which("bwrap")


@pytest.fixture(scope="module", params=WALLS)
def wall(request):
    if not is_there(request.param):
        pytest.skip(f"{request.param}: not on this machine")
    return request.param


@pytest.fixture(scope="module")
def run(wall):
    """Run cells, each a source, behind a wall."""
    kept, sandboxes.isolation = sandboxes.isolation, lambda: Isolation(wall)
    box = Sandbox(exercises()["05_quantization_arithmetic"], LIMITS)
    box.run({}, {}, 60)  # what is imported beforehand is imported now

    def run(*cells, seconds=30):
        return box.run(dict(enumerate(cells, 1)), {}, seconds)

    run.folder = box._folder
    yield run
    box.close()
    sandboxes.isolation = kept
    assert not run.folder.exists()


def text(run, cell=1):
    """All that a cell showed."""
    return json.dumps(run.outputs.get(cell, []))


def seen(found, cell=1):
    """What a cell printed."""
    return "".join(output.get("text", "") for output in found.outputs[cell])


# What a notebook shows


def test_outputs_are_those_of_a_notebook(run):
    found = run(
        "print('a')\nprint('b')", "1 + 1", "1 / 0", "x = 3;", "from IPython.display import HTML; HTML('<b>')"
    )
    assert found.outputs[1] == [{"output_type": "stream", "name": "stdout", "text": "a\nb\n"}]
    (result,) = found.outputs[2]
    assert (result["output_type"], result["data"], result["execution_count"]) == (
        "execute_result",
        {"text/plain": "2"},
        2,
    )
    assert found.outputs[3][0]["ename"] == "ZeroDivisionError"
    assert found.outputs[4] == []
    assert found.outputs[5][0]["data"]["text/html"] == "<b>"
    assert (found.step, found.stopped) == ("end", "")


def test_a_plot_is_a_picture(run):
    (figure,) = run("%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);").outputs[1]
    assert figure["data"]["image/png"]


def test_commands_magics_and_questions_do_not_stop_a_notebook(run):
    found = run("!echo from the shell", "%%time\n1", "input('your name? ')", "print('further')")
    assert "from the shell" in seen(found)
    assert found.outputs[3][-1]["ename"] == "EOFError"
    assert seen(found, 4) == "further\n"


def test_outputs_are_cut(run):
    found = run(
        "print('x' * 10**8)", "for _ in range(1000):\n    display(1)", "'y' * 10**8", "print('further')"
    )
    assert all(len(text(found, cell)) < 300_000 for cell in (1, 2, 3))
    assert seen(found, 4) == "further\n"


def test_a_cell_cannot_spoil_the_streams_of_the_next(run):
    spoil = "import sys\nsys.stdout = sys.stderr = sys.stdin = None\ndel sys.stdout"
    assert seen(run(spoil, "print('further')"), 2) == "further\n"


# What it can see


def test_its_files_and_environment_are_its_own(run):
    os.environ["A_TEACHERS_SECRET"] = "secret"
    try:
        found = run(
            "import os, tempfile; print(os.environ, os.getcwd(), tempfile.gettempdir(), os.listdir('.'))"
        )
    finally:
        del os.environ["A_TEACHERS_SECRET"]
    assert "secret" not in seen(found)
    assert os.environ.get("HOME", "-") not in seen(found).replace(str(run.folder), "")


def test_the_references_are_not_there(run):
    found = run(
        "from tinylab.check import exercise_05; print(hasattr(exercise_05.dense, 'reference'))",
        "from tinylab import fixed_point",
        "from tinylab.check import exercise_06",
    )
    assert "False" in seen(found)
    assert [found.outputs[cell][0]["ename"] for cell in (2, 3)] == ["ImportError", "ImportError"]


def test_what_else_the_user_runs_does_not_count(run):
    """A desktop has more threads than a notebook may have."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NPROC)
    assert seen(run("import resource\nprint(resource.getrlimit(resource.RLIMIT_NPROC))")) == f"{limits}\n"


def test_each_run_begins_with_an_empty_folder(run):
    run("open('left', 'w').write('something')")
    assert "left" not in seen(run("import os; print(os.listdir('.'))"))


class TestBehindAWall:
    @pytest.fixture(autouse=True)
    def _built(self, wall):
        if wall not in BUILT:
            pytest.skip("there is no wall")

    def test_no_files_of_the_teacher_can_be_seen(self, run):
        home = Path.home() / "of_the_teacher.csv"
        places = [
            str(folder("solutions")),
            str(folder("exercises")),
            __file__,
            "/etc/shadow",
            "/var",
            "/home",
        ]
        with tempfile.NamedTemporaryFile(dir=Path.cwd()) as grades:
            places += [grades.name, str(home), f"/proc/{os.getpid()}"]
            found = run(f"import os\nprint([p for p in {places!r} if os.path.exists(p)])")
        assert seen(found) == "[]\n"

    def test_tinylab_among_pythons_packages_is_empty(self, run):
        """It holds the references, and the solutions."""
        places = sandboxes.other_copies()
        assert (
            seen(run(f"import os\nprint([os.listdir(p) for p in {places!r}])")) == f"{[[] for _ in places]}\n"
        )

    def test_the_package_cannot_be_changed(self, run):
        change = "import tinylab\nopen(tinylab.__file__, 'a').write('1 / 0')"
        found = run(change, "import numpy, os\nos.remove(numpy.__file__)")
        assert [found.outputs[cell][0]["ename"] for cell in (1, 2)] == ["OSError", "OSError"]

    def test_no_network_not_even_this_machines(self, run):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(0.5)
            address = server.getsockname()
            found = run(f"import socket\nsocket.create_connection({address!r}, 2)")
            assert found.outputs[1][0]["output_type"] == "error"
            with pytest.raises(TimeoutError):
                server.accept()

    def test_no_processes_but_its_own(self, run):
        found = run("import os\nprint(sum(name.isdigit() for name in os.listdir('/proc')))\nos.kill(-1, 9)")
        assert found.stopped in ("", ENDED)
        assert int(seen(run("import os\nprint(sum(n.isdigit() for n in os.listdir('/proc')))"))) <= 4

    def test_no_rights_to_build_a_way_out(self, run):
        found = run("import os\nprint(open('/proc/self/status').read())")
        assert "CapEff:\t0000000000000000" in seen(found)
        assert "NoNewPrivs:\t1" in seen(found)


# What ends it

EVERYWHERE = ("os._exit", "a loop that catches everything", "a fork bomb", "too much memory", "sys.exit")


def behind(kinds):
    """Every kind behind the first wall, and some behind each: what watches is the same for all."""
    return [(wall, kind) for wall in WALLS for kind in kinds if wall == WALLS[0] or kind in EVERYWHERE]


HOSTILE = {
    "os._exit": ("import os; os._exit(0)", ENDED),
    "a signal": ("import os; os.kill(os.getpid(), 9)", ENDED),
    "a segmentation fault": ("import ctypes; ctypes.string_at(0)", ENDED),
    "its files closed": ("import os; os.closerange(0, 200)", ENDED),
    "a loop that catches everything": (
        "while True:\n    try:\n        for i in range(10**9): i + 1\n    except BaseException: pass",
        "did not end within 4 s",
    ),
    "its alarm switched off": (
        "import signal, time; signal.alarm(0); time.sleep(1000)",
        "did not end within 4 s",
    ),
    "a fork bomb": ("import os\nwhile True: os.fork()", "processes"),
    "memory of many processes": (
        "import os, time\nfor i in range(5):\n    if os.fork() == 0: x = b'1' * (1 << 29); time.sleep(60)\n"
        "time.sleep(60)",
        "took more than 2 GB of memory",
    ),
    "noise in its frames": (
        "import os\nfor f in range(3, 60):\n    try: os.write(f, b'noise' * 10000)\n    except OSError: pass",
        "wrote to files that are not its own",
    ),
    "frames of no length": (
        "import os\nfor f in range(3, 60):\n"
        '    try: os.write(f, b\'{"bytes": -5}\\n{"bytes": Infinity}\\n\')\n    except OSError: pass',
        "wrote to files that are not its own",
    ),
    "frames without end": (
        "import os\nwhile True:\n  for f in range(3, 60):\n"
        "    try: os.write(f, b'{\"bytes\": 1000000}\\n' + b'x' * 1000000)\n    except OSError: pass",
        "wrote more than 20 MB",
    ),
}


@pytest.mark.parametrize(("wall", "kind"), behind(HOSTILE), indirect=["wall"])
def test_what_a_cell_does_ends_that_run_only(run, kind):
    source, words = HOSTILE[kind]
    found = run("print('before')", source)
    assert (found.step, seen(found)) == ("cell 2", "before\n")
    assert words in found.stopped
    assert seen(run("print('next')")) == "next\n"


MILD = {
    "an endless loop": ("while True: pass", "TookTooLong"),
    "a long sleep": ("import time; time.sleep(1000)", "TookTooLong"),
    "too much memory": ("x = [bytearray(1 << 28) for _ in range(50)]", "MemoryError"),
    "a file too large": ("with open('f', 'wb') as f:\n    while True: f.write(b'x' * (1 << 20))", "OSError"),
    "sys.exit": ("import sys; sys.exit(3)", "SystemExit"),
    "a BaseException": ("raise BaseException", "BaseException"),
    "an endless recursion": ("def f(): f()\nf()", "RecursionError"),
}


@pytest.mark.parametrize(("wall", "kind"), behind(MILD), indirect=["wall"])
def test_the_next_cell_runs_after(run, kind, wall):
    if sys.platform != "linux" and kind == "too much memory":
        pytest.skip("limited on Linux only")
    source, error = MILD[kind]
    found = run(source, "print('further')")
    assert error in [output.get("ename") for output in found.outputs[1]]
    assert seen(found, 2) == "further\n"


def test_the_whole_notebook_has_its_time(run):
    found = run(*["import time; time.sleep(3)"] * 5, seconds=5)
    assert "the whole notebook took too long" in found.stopped


def test_a_process_that_would_stay_does_not(run):
    daemon = "import time, os; os.setsid(); time.sleep(1234)"
    run(
        f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {daemon!r}])\ntime.sleep(0.5)"
    )
    time.sleep(0.5)
    assert not [p for p in psutil.process_iter(["cmdline"]) if daemon in (p.info["cmdline"] or [])]


def test_several_at_once_do_not_meet(run):
    found = {}

    def one(number):
        found[number] = run(
            f"import time; open('mine', 'w').write('{number}'); time.sleep(1)\nprint(open('mine').read())"
        )

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: seen(one) for number, one in found.items()} == {n: f"{n}\n" for n in range(4)}


def test_a_dead_server_is_started_again():
    if not is_there("namespaces"):
        pytest.skip("no namespaces here")
    box = Sandbox(exercises()["05_quantization_arithmetic"], LIMITS)
    box.run({}, {}, 60)
    box._server[0].kill()
    assert seen(box.run({1: "print(1)"}, {}, 60)) == "1\n"
    server = box._server[0]
    box.close()
    assert server.poll() is not None


def test_what_killed_graders_left_is_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, own = tmp_path / f"{sandboxes.FOLDER}999999999-x", tmp_path / f"{sandboxes.FOLDER}{os.getpid()}-x"
    dead.mkdir(), own.mkdir()
    box = Sandbox(exercises()["05_quantization_arithmetic"], LIMITS)
    box.close()
    assert [dead.exists(), own.exists()] == [False, True]
    assert list(tmp_path.iterdir()) == [own]


@pytest.mark.parametrize("name", exercises())
def test_no_exercise_shows_its_references(name, tmp_path):
    """In the view of each exercise: no case, no reference, no comparison, and every task by its name."""
    from tinylab.classroom import view

    view.make(exercises()[name], tmp_path)
    modules = {file.stem for file in (tmp_path / "tinylab" / "check").glob("*.py")}
    assert {m for m in modules if m.startswith("exercise_")} == {exercises()[name].check}
    stub = (tmp_path / "tinylab" / "check" / f"{exercises()[name].check}.py").read_text()
    assert all(f"{task} = Handed(" in stub for task in exercises()[name].tasks)
    assert not any(word in stub for word in ("cases", "reference", "compare", "hints"))
