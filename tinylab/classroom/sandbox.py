"""Where a learner's notebook runs: in a process of its own, behind the best wall that this system has.

Three kinds of wall. With Linux' namespaces, which need no other program, a process that has imported
TensorFlow already is copied for each notebook, and the copy goes behind the wall. Where the system keeps
these for chosen programs, bubblewrap builds the same wall, and each notebook imports TensorFlow anew. Where
there is neither, there are limits and a scratch folder, but the notebook can read what its teacher can.

Memory, number of processes, output and time are watched from outside, whatever the wall.
"""

import contextlib
import functools
import json
import os
import pickle
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tinylab.classroom import confinement, view
from tinylab.classroom.exercises import Exercise
from tinylab.errors import TinylabError

FOLDER = "tinylab-grading-"  # and the process it belongs to
START_SECONDS = 120  # for Python and TensorFlow to be imported, on a slow machine
GRACE_SECONDS = 3  # between being asked to stop and being stopped
WATCH_SECONDS = 0.1
LOOK_SECONDS = 1  # to count memory: it is slow where processes multiply, and their number ends them then
THREADS = 2  # of a notebook: several may run at once, on a machine of any size
ENVIRONMENT = {
    **dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"),
        str(THREADS),
    ),
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PIP_NO_INDEX": "1",  # there is no network: pip should not wait for one
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TINYLAB_PROGRESS": "off",
    "TQDM_DISABLE": "1",
}


@dataclass(frozen=True)
class Limits:
    """What a notebook may take.

    Attributes:
        seconds: for a cell, and for all cases of a task.
        times: how many times as long for the whole notebook.
        memory: bytes, of all its processes together.
        disk: bytes of its scratch folder, and of a file.
        processes: how many at once.
        threads: of all processes together.
        output: bytes of all outputs and answers together.
    """

    seconds: int = 120
    times: int = 6
    memory: int = 4 << 30
    disk: int = 512 << 20
    processes: int = 24
    threads: int = 300
    output: int = 512 << 20


@dataclass(frozen=True)
class Isolation:
    """The wall that this system has.

    Attributes:
        name: "namespaces", "bubblewrap" or "none".
        lacks: what a learner's code could do in spite of it, a sentence each.
    """

    name: str
    lacks: tuple[str, ...] = ()


@dataclass
class Run:
    """What came of a notebook's run.

    Attributes:
        outputs: of each cell, by its number, as nbformat has them.
        answers: what `exchange.dump` made of each task's answers; from a hostile process.
        step: where it was last: "cell 3", a task's name, or "end".
        stopped: why it ended before the end; "" if it did not.
    """

    outputs: dict[int, list[dict]] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    step: str = "start"
    stopped: str = ""


@functools.cache
def isolation() -> Isolation:
    """The best wall that this system has, found by trying.

    Raises:
        TinylabError: notebooks cannot be graded on this system.
    """
    if sys.platform == "win32":
        raise TinylabError("notebooks are graded on Linux or macOS; on Windows, do it in WSL.")
    if sys.platform == "linux":
        with tempfile.TemporaryDirectory() as folder:
            for name, build in (("namespaces", _namespaces), ("bubblewrap", _bubblewrap)):
                if _succeeds([*build([], [], folder, 1 << 20), "true"]):
                    return Isolation(name)
    lacks = [
        "read and write whatever you can, this class's grades and other submissions among it",
        "use the network",
        "start processes that outlive the grading",
    ]
    if sys.platform != "linux":
        lacks.append("take as much memory as there is, until it is noticed")
    return Isolation("none", tuple(lacks))


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class Sandbox:
    """Runs notebooks of one exercise; several threads may use it at once. Close it when done."""

    def __init__(self, exercise: Exercise, limits: Limits):
        self.limits = limits
        self._folder = new_folder()
        self._view, self._scratch = self._folder / "view", self._folder / "scratch"
        self._scratch.mkdir()
        self._modules = view.make(exercise, self._view)
        self._shown, self._hidden = [*python_folders(), str(self._view)], other_copies()
        self._lock = threading.Lock()
        self._server = self._serve() if isolation().name == "namespaces" else None

    def run(self, cells: dict[int, str], tasks: dict[str, bytes], seconds: float) -> Run:
        """Run cells, then call the functions of tasks, in a new process.

        Args:
            cells: sources by their numbers.
            tasks: pickled (cases, call) by name.
            seconds: for all of it.

        Raises:
            TinylabError: no process could be started: no fault of the notebook's.
        """
        job = {
            "cells": cells,
            "tasks": tasks,
            "seconds": self.limits.seconds,
            "memory": self.limits.memory,
            "file": self.limits.disk,
            "processes": self.limits.processes,
            "threads": self.limits.threads,
        }
        with tempfile.TemporaryFile() as file:
            pickle.dump(job, file)
            file.flush()
            file.seek(0)
            begin = self._copied if isolation().name == "namespaces" else self._started
            with begin(file.fileno()) as (process, frames):
                return _watched(process, frames, self.limits, seconds)

    def close(self) -> None:
        """End what was started, and remove what was written."""
        with self._lock:
            if self._server:
                process, line = self._server
                line.close()
                process.kill()
                process.wait()
                self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def _copied(self, job: int) -> Iterator[tuple[psutil.Process | None, int]]:
        """A copy of the process that has imported everything."""
        reading, writing = os.pipe()
        try:
            with self._lock:
                process = self._ask_server([job, writing])
        finally:
            os.close(writing)
        try:
            yield process, reading
        finally:
            if process:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()  # the kernel ends all that is behind the wall
            while os.read(reading, 1 << 20):  # until there is nobody left to write
                pass
            os.close(reading)

    def _ask_server(self, files: list[int]) -> psutil.Process | None:
        for _ in range(2):  # it may have been killed for want of memory
            process, line = self._server
            with contextlib.suppress(OSError):
                socket.send_fds(line, [b"!"], files)
                number = int.from_bytes(line.recv(8), "little")  # waits until everything is imported
                if number:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        return psutil.Process(number)
                    return None
            line.close()
            process.kill()
            process.wait()
            self._server = self._serve()
        raise TinylabError("no process for a notebook could be started; is there memory left?")

    def _serve(self) -> tuple[subprocess.Popen, socket.socket]:
        """Start a process that imports everything, without waiting for it."""
        ours, theirs = socket.socketpair()
        asked = {
            "modules": [*self._modules, "IPython", "matplotlib.pyplot", "matplotlib_inline.backend_inline"],
            "shown": self._shown,
            "hidden": self._hidden,
            "scratch": str(self._scratch),
            "scratch_bytes": self.limits.disk,
        }
        environment = confinement.environment(str(self._scratch), str(self._view), ENVIRONMENT)
        process = subprocess.Popen(
            [*_CHILD, json.dumps(asked)], stdin=theirs, env=environment, **_quietly(self._scratch)
        )
        theirs.close()
        ours.settimeout(START_SECONDS)
        return process, ours

    @contextlib.contextmanager
    def _started(self, job: int) -> Iterator[tuple[psutil.Process | None, int]]:
        """A process from the beginning, behind bubblewrap's wall or none."""
        scratch = Path(tempfile.mkdtemp(dir=self._folder))
        command = [*wall(self._shown, self._hidden, str(scratch), self.limits.disk), *_CHILD]
        environment = confinement.environment(str(scratch), str(self._view), ENVIRONMENT)
        process = subprocess.Popen(
            command, stdin=job, env=environment, **{**_quietly(scratch), "stdout": subprocess.PIPE}
        )
        try:
            found = None
            with contextlib.suppress(psutil.NoSuchProcess):
                found = psutil.Process(process.pid)
            yield found, process.stdout.fileno()
        finally:
            _kill(found)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
            shutil.rmtree(scratch, ignore_errors=True)


def new_folder() -> Path:
    """An empty folder; those of graders that were killed are removed on the way."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*-*"):
        owner = folder.name.removeprefix(FOLDER).partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-")).resolve()


_CHILD = [sys.executable, "-m", "tinylab.classroom.child"]


def _quietly(folder: Path) -> dict[str, Any]:
    return {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": folder,
        "start_new_session": True,
    }


def python_folders() -> list[str]:
    """Where this Python and its packages are; not the folder of a clone, that tinylab may be in."""
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    return list(dict.fromkeys([sys.prefix, sys.base_prefix, *packages]))


def other_copies() -> list[str]:
    """Folders of tinylab itself among Python's packages: they hold references, and solutions."""
    places = [Path(path) / "tinylab" for path in python_folders()]
    return [str(place) for place in places if place.is_dir()]


def wall(shown: list[str], hidden: list[str], scratch: str, scratch_bytes: int) -> list[str]:
    """What to write before a command to run it behind the wall, see `confinement.confine`."""
    build = {"namespaces": _namespaces, "bubblewrap": _bubblewrap}.get(isolation().name)
    return build(shown, hidden, scratch, scratch_bytes) if build else []


def _namespaces(shown: list[str], hidden: list[str], scratch: str, scratch_bytes: int) -> list[str]:
    asked = {"shown": shown, "hidden": hidden, "scratch": scratch, "scratch_bytes": scratch_bytes}
    return [sys.executable, "-I", confinement.__file__, json.dumps(asked)]


def _bubblewrap(shown: list[str], hidden: list[str], scratch: str, scratch_bytes: int) -> list[str]:
    command = ["bwrap", "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
    command += ["--uid", str(confinement.LEARNER), "--gid", str(confinement.LEARNER), "--cap-drop", "ALL"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for folder in ("/tmp", "/dev/shm"):
        command += ["--size", str(scratch_bytes), "--tmpfs", folder]
    etc = [f"/etc/{name}" for name in confinement.SETTINGS]
    for path in [*confinement.SYSTEM, *etc, *shown]:
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            command += ["--ro-bind", path, path]
    for path in hidden:
        command += ["--tmpfs", path]
    return [*command, "--size", str(scratch_bytes), "--tmpfs", scratch, "--chdir", scratch]


# Watching


def _watched(process: psutil.Process | None, frames: int, limits: Limits, seconds: float) -> Run:
    """Read frames until their end, while the processes stay within the limits."""
    run, buffer = Run(), bytearray()
    received, header = 0, None
    now = time.monotonic()
    over, step_over, next_look = now + seconds, now + START_SECONDS + limits.seconds, now
    with selectors.DefaultSelector() as selector:
        selector.register(frames, selectors.EVENT_READ)
        while True:
            ready = selector.select(WATCH_SECONDS)
            now = time.monotonic()
            if ready:
                chunk = os.read(frames, 1 << 20)
                received += len(chunk)
                buffer += chunk
                if not chunk:
                    run.stopped = "" if run.step == "end" else "ended its process"
                    return run
                before = run.step
                header = _understand(buffer, header, run)
                if run.step == "end":
                    return run
                if run.step != before:
                    step_over = now + limits.seconds + GRACE_SECONDS
            if received > limits.output:
                run.stopped = f"wrote more than {limits.output >> 20} MB"
            elif now > step_over:
                run.stopped = f"did not end within {limits.seconds} s"
            elif now > over:
                run.stopped = "had no time left: the whole notebook took too long"
            elif process and now > next_look:
                run.stopped = _excess(process, limits)
                next_look = now + WATCH_SECONDS
            if run.stopped:
                return run


def _understand(buffer: bytearray, header: dict | None, run: Run) -> dict | None:
    """Take whole frames off a buffer; what makes no sense ends the run, as its process's fault."""
    while True:
        if header is None:
            line, found, _ = bytes(buffer[:4096]).partition(b"\n")
            if not found:
                if len(buffer) > 4096:
                    run.stopped = "wrote to files that are not its own"
                return None
            try:
                header = dict(json.loads(line))
                header["bytes"] = max(0, int(header.get("bytes", 0)))
            except (ValueError, TypeError, OverflowError, RecursionError):
                run.stopped = "wrote to files that are not its own"
                return None
            del buffer[: len(line) + 1]
        if len(buffer) < header["bytes"]:
            return header
        payload = bytes(buffer[: header["bytes"]])
        del buffer[: header["bytes"]]
        _keep(header, payload, run)
        header = None


def _keep(header: dict, payload: bytes, run: Run) -> None:
    if "begins" in header:
        run.step = str(header["begins"])
    elif "task" in header and header["task"] == run.step:
        run.answers[str(header["task"])] = payload
    elif "cell" in header and f"cell {header['cell']}" == run.step:
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            number = int(header["cell"])
            run.outputs[number] = [dict(output) for output in json.loads(payload)]


def _excess(process: psutil.Process, limits: Limits) -> str:
    """What the processes take too much of; "" if nothing."""
    try:
        every = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return ""
    if len(every) > limits.processes:
        return f"had more than {limits.processes} processes"
    threads, memory = 0, 0
    for one in every:
        with contextlib.suppress(psutil.Error):
            threads += one.num_threads()
            memory += one.memory_info().rss
    if threads > limits.threads:
        return f"had more than {limits.threads} threads"
    if memory > limits.memory:  # copies share memory, which is counted many times: look closer
        memory, until = 0, time.monotonic() + LOOK_SECONDS
        while every and time.monotonic() < until:
            memory += _own_memory(every.pop())
    return f"took more than {limits.memory / (1 << 30):.3g} GB of memory" if memory > limits.memory else ""


def _own_memory(process: psutil.Process) -> int:
    """Bytes; what copies of a process share is counted in part, where the system tells."""
    try:
        with open(f"/proc/{process.pid}/smaps_rollup") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10
    except (OSError, StopIteration):
        with contextlib.suppress(psutil.Error):
            return process.memory_info().rss
        return 0


def _kill(process: psutil.Process | None) -> None:
    """A process, and all that it started."""
    if process is None:
        return
    every = [process]
    with contextlib.suppress(psutil.NoSuchProcess):
        every += process.children(recursive=True)
    for one in every:  # behind a wall of namespaces, the first takes all others with it
        with contextlib.suppress(psutil.Error):
            one.kill()
