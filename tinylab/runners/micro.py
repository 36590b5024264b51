"""Engine "micro": TensorFlow Lite Micro's own interpreter, the one that runs on a microcontroller.

The package tflite-micro has it for Linux on x86-64 with Python 3.10 to 3.12: the same C++ that is
compiled for a board, with the portable kernels. It allocates nothing while it runs. All it needs,
tensors and bookkeeping, lies in one block of memory that it is given beforehand, the arena.

Its int8 kernels answer what LiteRT's reference kernels answer, to the bit, with these exceptions
(measured with tflite-micro 0.dev20261023182759, on random networks and the course's own):

- FULLY_CONNECTED rescales its sums by `fixed_point.multiply_fixed_point`, the reference kernel by
  `fixed_point.multiply_double`. A few sums in ten thousand become the neighbouring code.
- RELU6 that is an operator of its own, not fused to a layer, limits codes and never rescales them:
  wrong wherever its output has another scale than its input.
- LOGISTIC and TANH answer one or two input codes differently where the input's scale is 2 or more,
  which is far too coarse for them anyway.

Too small an arena can end the process with a segmentation fault, and so can a damaged file.
Therefore the interpreter runs in a process of its own, `micro_child`: one for each runner, which ends
with it.
"""

import contextlib
import importlib.util
import math
import multiprocessing
import platform
import re
import signal
import subprocess
import sys
import tempfile
import weakref
from multiprocessing.connection import Connection
from os import PathLike
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from tinylab import tflite_file
from tinylab.errors import ModelFileError, TinylabError
from tinylab.runners.base import Runner

CHILD = Path(__file__).with_name("micro_child.py")
SECONDS = 60  # without an answer to one run, before the process is given up
# Memory that is not touched costs nothing, so an arena may be generous.
SMALLEST_ARENA = 2**20
LARGEST_ARENA = 2**30
# What the interpreter writes when the arena was too small, in several sentences that end like this.
TOO_SMALL = re.compile(r"Requested: \d+, available \d+, missing: \d+")
NODE = re.compile(r"Node (\S+) \(number (\d+)\) failed")


class MicroRunner(Runner):
    """A model on TensorFlow Lite Micro, in the batch that the file has: mostly one sample at a time.

    Args:
        model: a .tflite file's bytes, or its path.

    Raises:
        ModelFileError: damaged, or with an operator or types that the interpreter does not take.
        TinylabError: no package tflite-micro here.
    """

    engine = "micro"
    _chunk = 256  # samples in one message to the child

    def __init__(self, model: bytes | str | PathLike):
        _require_package()
        self._content, _ = tflite_file.read(model)
        super().__init__(tflite_file.parse(model))
        # The file's own batch runs, whatever the file promises. If that is one sample, then any
        # number of them can go over in one message.
        self._free_batch = self.inputs[0].shape[:1] == (1,)
        self._child: _Child | None = self._started()

    def _started(self) -> "_Child":
        """A child that has taken the model, in an arena that is large enough."""
        values = sum(math.prod(self.file.tensors[i].shape) for i in self.file.computed)
        arena = min(SMALLEST_ARENA + 8 * values, LARGEST_ARENA)  # no type has more than 8 bytes
        while True:
            child = _Child(self._content, len(self.file.outputs), arena)
            try:
                child.receive()
                return child
            except _Stopped as error:
                said = child.said()
                child.end()
                if arena >= LARGEST_ARENA or not TOO_SMALL.search(said):
                    self._fail("refuses it", error, said, arena)
            arena = min(8 * arena, LARGEST_ARENA)

    def _fail(self, what: str, error: "_Stopped", said: str, arena: int) -> NoReturn:
        reason = f"{what}: {_reason(error, said)}"
        if error.gone:
            reason = (
                f"{error}: its arena of {arena:,} bytes may be too small for this model, or the model is one "
                f"that it does not support.{' It said: ' + _reason(error, said) if said.strip() else ''}"
            )
        raise ModelFileError(f"{self.file.name}: TensorFlow Lite Micro {reason}") from error

    def _invoke(self, part: list[np.ndarray]) -> list[np.ndarray]:
        batch = self.inputs[0].shape[0]
        runs = [[array[i : i + batch] for array in part] for i in range(0, len(part[0]), batch)]
        child = self._child = self._child or self._started()
        try:
            child.send(runs)
            answers = [child.receive() for _ in runs]
        except BaseException as error:
            # Also when interrupted: the answers still to come would be taken for those to other questions.
            said, self._child = child.said(), None
            child.end()
            if isinstance(error, _Stopped):
                self._fail("stopped", error, said, child.arena)
            raise
        return [np.concatenate(outputs) for outputs in zip(*answers, strict=True)]

    def _run_traced(self, inputs: list[np.ndarray]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        raise TinylabError(
            "trace: the microcontroller's interpreter reuses its memory and keeps no intermediate tensors; "
            "engine='integer', or 'litert' with kernels='reference', keeps them."
        )

    def _invoke_traced(self, part: list[np.ndarray]) -> dict[int, np.ndarray]:
        raise NotImplementedError  # trace does not come so far


class _Stopped(Exception):
    """The interpreter complained, or its process is gone or silent (gone=True)."""

    def __init__(self, why: str, gone: bool):
        super().__init__(why)
        self.gone = gone


class _Child:
    """The process, with one interpreter in it that was given an arena of so many bytes.

    It has a session of its own, so that Ctrl-C in a terminal does not reach it.
    """

    def __init__(self, content: bytes, outputs: int, arena: int):
        self.arena = arena
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process; has no name)
        self._connection, other_end = multiprocessing.Pipe()
        with other_end:
            handle = other_end.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(CHILD), str(handle)],
                pass_fds=[handle],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
        self.end = weakref.finalize(self, _end, self._process, self._connection, self._log)
        self.send((content, arena, outputs))

    def send(self, message: Any) -> None:
        """Send a message; if the process is gone, the answer will say so."""
        with contextlib.suppress(ConnectionError):
            self._connection.send(message)

    def receive(self) -> list[np.ndarray]:
        """The next answer.

        Raises:
            _Stopped: there is none.
        """
        try:
            if not self._connection.poll(SECONDS):
                raise _Stopped(f"gave no answer within {SECONDS} seconds", gone=True)
            answer = self._connection.recv()
        except (EOFError, ConnectionError):
            raise _Stopped(f"ended with {_ending(self._process.wait())}", gone=True) from None
        if isinstance(answer, str):
            raise _Stopped(answer, gone=False)
        return answer

    def said(self) -> str:
        """What the interpreter has written so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")


def _end(process: subprocess.Popen, connection: Connection, log: IO[bytes]) -> None:
    process.kill()
    process.wait()
    connection.close()
    log.close()


def _ending(code: int) -> str:
    """An exit code in words.

    >>> _ending(-11), _ending(1)
    ('the signal SIGSEGV', 'exit code 1')
    """
    return f"the signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _reason(error: Exception, said: str) -> str:
    """The one line of the interpreter's complaint that says why, and the operator it is about.

    >>> _reason(RuntimeError(), "micro/conv.cc:42 No hybrids.\\nNode CONV_2D (number 2) failed to prepare")
    'No hybrids (CONV_2D, operator 2).'
    """
    lines = [line.strip() for line in said.splitlines() if line.strip() and not NODE.search(line)]
    reason = re.sub(r"^\S+\.(cc|h)(:\d+)? ", "", (lines or [str(error)])[0]).rstrip(".")
    node = NODE.search(said)
    return f"{reason} ({node[1]}, operator {node[2]})." if node else f"{reason}."


def _require_package() -> None:
    if importlib.util.find_spec("tflite_micro"):
        return
    here = (platform.system(), platform.machine())
    if here == ("Linux", "x86_64") and sys.version_info < (3, 13):
        raise TinylabError("engine='micro' needs a package: pip install --pre tflite-micro.")
    raise TinylabError(
        f"engine='micro' needs the package tflite-micro, and there is none for {' '.join(here)} with Python "
        f"{platform.python_version()}: it is built for Linux on x86-64 with Python 3.10 to 3.12. The lessons "
        "have its results stored, and engine='litert' with kernels='reference' comes closest to it."
    )
