"""Behind the wall: run a notebook's cells, then call the learner's functions on cases.

What runs here, runs in one process with the learner's code, which may change anything of it. So nothing
that this process says is believed but for what it is: answers, to be compared elsewhere.

It reads a job from one file descriptor and writes frames to another: a line of JSON, and bytes.
"""

import contextlib
import importlib
import io
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import psutil

from tinylab.check import exchange, task  # before a notebook can change where imports come from
from tinylab.classroom import confinement

MOST_TEXT = 100_000  # characters of a cell's outputs that are kept, each stream and each display
MOST_OUTPUTS = 200  # of a cell
FEW = 8  # fewer processes and threads than are too many, as seen from here: some are not seen
NICE = 15  # who watches goes first


@dataclass(frozen=True)
class Job:
    """What to do.

    Attributes:
        cells: sources of the code cells to run, by their numbers in the notebook.
        tasks: pickles of (cases, call), by the task's name.
        seconds: that a cell, or all the cases of a task, may take.
        memory: bytes that a process may take for itself.
        file: bytes that a file may have.
        processes: how many there may be.
        threads: of all processes together.
    """

    cells: dict[int, str]
    tasks: dict[str, bytes]
    seconds: int
    memory: int
    file: int
    processes: int
    threads: int


class Handed:
    """What a task is here: a name. Nothing in this process knows what is right."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, function: Any) -> "Handed":
        """What a check cell calls."""
        return self

    def __repr__(self) -> str:
        return f"{self.name}: checked outside of this notebook, see above"


class TookTooLong(KeyboardInterrupt):
    """Raised in a learner's code whose time is over; no `except Exception` catches it."""


def work(job: Job, frames: io.RawIOBase) -> None:
    """Do a job, and tell what comes of it, step by step."""
    signal.signal(signal.SIGALRM, _too_long)
    outputs: list[dict] = []
    shell, own = _shell(outputs), os.getpid()
    for number, source in job.cells.items():
        _send(frames, {"begins": f"cell {number}"})
        with _time_limit(job.seconds), _captured(outputs):
            shell.run_cell(source, store_history=True)
        if os.getpid() != own:
            os._exit(0)  # a copy of this process, made by the cell
        _send(frames, {"cell": number}, _as_json(outputs, number))
        outputs.clear()
        _let_see(job)
    for name, pickled in job.tasks.items():
        _send(frames, {"begins": name})
        _send(frames, {"task": name}, _answers(name, shell.user_ns.get(name), pickled, job.seconds))
    _send(frames, {"begins": "end"})


def _let_see(job: Job) -> None:
    """Stay with a cell that left many processes or threads, until they are gone, or seen from outside."""
    over, own = time.monotonic() + job.seconds, psutil.Process()
    while time.monotonic() < over and (
        len(own.children(recursive=True)) > job.processes - FEW or own.num_threads() > job.threads - FEW
    ):
        time.sleep(0.1)


def _answers(name: str, function: Any, pickled: bytes, seconds: int) -> bytes:
    if function is None:
        return exchange.dump(task.Answers([], attempted=False))
    cases, call = pickle.loads(pickled)
    try:
        with _time_limit(seconds), _captured([]):
            return exchange.dump(task.collect(function, cases, name, call))
    except MemoryError:
        return exchange.dump(task.Answers([], "MemoryError: it needs more memory than there is for it"))
    except KeyboardInterrupt:
        return exchange.dump(task.Answers([], f"not done after {seconds} seconds"))


def _too_long(number: int, frame: Any) -> None:
    raise TookTooLong("not done in the time there is for a cell")


@contextlib.contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    """Interrupt what does not end; that can be ignored, and then somebody outside ends the process."""
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


# What a cell shows


class _Stream(io.TextIOBase):
    """Standard output or error: joins what is written into one output."""

    def __init__(self, name: str, outputs: list[dict]):
        self._name, self._outputs, self._room = name, outputs, MOST_TEXT

    def write(self, text: str) -> int:
        kept = str(text)[: self._room]
        self._room -= len(kept)
        last = self._outputs[-1] if self._outputs else {}
        if last.get("name") == self._name:
            last["text"] += kept
        elif kept and len(self._outputs) < MOST_OUTPUTS:
            self._outputs.append({"output_type": "stream", "name": self._name, "text": kept})
        return len(text)

    def writable(self) -> bool:
        return True


@contextlib.contextmanager
def _captured(outputs: list[dict]) -> Iterator[None]:
    """Streams as they are for each step anew, whatever the last one did to them."""
    sys.stdin = io.StringIO()
    with (
        contextlib.redirect_stdout(_Stream("stdout", outputs)),
        contextlib.redirect_stderr(_Stream("stderr", outputs)),
    ):
        yield


def _shell(outputs: list[dict]) -> Any:
    """IPython, as in a notebook, whose displays are added to a list."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    def keep(kind: str, data: dict, metadata: dict | None) -> None:
        size = sum(len(str(value)) for value in data.values())
        if len(outputs) >= MOST_OUTPUTS or size > 20 * MOST_TEXT:
            data = {"text/plain": f"({size:,} characters, not shown)"}
        if len(outputs) <= MOST_OUTPUTS:
            outputs.append({"output_type": kind, "data": data, "metadata": metadata or {}})

    class Publisher(DisplayPublisher):
        def publish(self, data: dict, metadata: dict | None = None, **_: Any) -> None:
            keep("display_data", data, metadata)

    class Hook(DisplayHook):
        def write_output_prompt(self) -> None: ...

        def write_format_data(self, format_dict: dict, md_dict: dict | None = None) -> None:
            keep("execute_result", format_dict, md_dict)

    class Shell(InteractiveShell):
        def enable_gui(self, gui: Any = None) -> None: ...

        def system(self, cmd: str) -> None:
            """A line that begins with "!"; IPython's own way needs a terminal."""
            done = subprocess.run(
                self.var_expand(cmd, depth=1),
                shell=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            print(done.stdout.decode(errors="replace"), end="")

        def _showtraceback(self, kind: type, value: BaseException, lines: list[str]) -> None:
            text = "\n".join(lines)[-MOST_TEXT:]
            said = {"ename": kind.__name__, "evalue": str(value)[:MOST_TEXT], "traceback": text.split("\n")}
            outputs.append({"output_type": "error", **said})

    config = Config({"HistoryManager": {"enabled": False}})
    shell = Shell.instance(
        config=config, display_pub_class=Publisher, displayhook_class=Hook, colors="NoColor", xmode="Plain"
    )
    with contextlib.suppress(Exception):
        shell.run_line_magic("matplotlib", "inline")
    return shell


def _as_json(outputs: list[dict], number: int) -> bytes:
    for output in outputs:
        if output["output_type"] == "execute_result":
            output["execution_count"] = number
    return json.dumps(outputs, default=repr).encode(errors="replace")


def _send(frames: io.RawIOBase, header: dict, payload: bytes = b"") -> None:
    line = json.dumps({**header, "bytes": len(payload)}).encode() + b"\n"
    frames.write(line + payload)
    frames.flush()


# Being started


def begin(job_file: int, frame_file: int, wall: Callable[[], None]) -> NoReturn:
    """Read a job, go behind the wall, and do it: the rest of this process's life."""
    try:
        with open(job_file, "rb") as file:
            job = Job(**pickle.load(file))
        wall()
        os.nice(NICE)
        confinement.limit(job.memory, job.file)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        with open(frame_file, "wb") as frames:
            work(job, frames)
    finally:
        os._exit(0)


def serve(modules: list[str], **wall: Any) -> None:
    """Import what notebooks import, once; then do each job in a copy of this process.

    File descriptor 0 is a socket: each message brings two file descriptors, of the job and for its
    frames; the answer is the copy's process number.
    """
    for name in modules:
        with contextlib.suppress(Exception):  # a notebook that needs it will say why it cannot be imported
            importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended copies leave nothing
    line = socket.socket(fileno=os.dup(0))
    while True:
        message, files, _, _ = socket.recv_fds(line, 1, 2)
        if not message:
            return
        copy = os.fork()
        if copy == 0:
            line.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            confinement.die_with_parent()
            begin(*files, lambda: confinement.confine(**wall))
        for file in files:
            os.close(file)
        line.sendall(copy.to_bytes(8, "little"))


def main() -> None:
    """What the command line names: serve, or one job from standard input, frames to standard output."""
    if sys.argv[1:]:
        serve(**json.loads(sys.argv[1]))
    else:
        begin(os.dup(0), os.dup(1), confinement.die_with_parent)


if __name__ == "__main__":
    main()
