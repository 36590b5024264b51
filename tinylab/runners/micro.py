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
- With 16-bit activations, FULLY_CONNECTED has a multiplier of 16 bits, `fixed_point.multiply_reduced`, so
  that every tenth code is another one. A SOFTMAX behind it differs in its last bit for one answer in a
  thousand.

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
from typing import IO, Any

import numpy as np

from tinylab import tflite_file
from tinylab.errors import ModelFileError, TinylabError
from tinylab.runners.base import Runner
from tinylab.tflite_file import TFLiteFile

CHILD = Path(__file__).with_name("micro_child.py")
START_SECONDS = 60  # until the process has taken the model, or is given up
# Memory that is not touched costs nothing, so an arena may be generous.
SMALLEST_ARENA = 2**20
LARGEST_ARENA = 2**30
# What the interpreter writes when the arena was too small, in several sentences that end like this.
TOO_SMALL = re.compile(r"Requested: \d+, available \d+, missing: \d+")
NODE = re.compile(r"Node (\S+) \(number (\d+)\) failed")


def available() -> bool:
    """Whether the package tflite-micro is here."""
    return importlib.util.find_spec("tflite_micro") is not None


class MicroRunner(Runner):
    """A model on TensorFlow Lite Micro, in the batch that the file has: mostly one sample at a time.

    Args:
        model: a .tflite file's bytes, or its path.
        arena: its size in bytes, exactly; None for one that is large enough.
        seconds: for one inference; a process that takes longer is ended.

    Raises:
        ModelFileError: damaged, or with an operator or types that the interpreter does not take.
        TinylabError: no package tflite-micro here; too small an arena; no size, or no time.
    """

    engine = "micro"
    _chunk = 256  # samples in one message to the child

    def __init__(self, model: bytes | str | PathLike, arena: int | None = None, seconds: float = 60):
        _require_package()
        if arena is not None and not 1 <= arena <= LARGEST_ARENA:
            raise TinylabError(f"arena={arena}: from 1 to {LARGEST_ARENA:,} bytes expected.")
        if not seconds > 0:
            raise TinylabError(f"seconds={seconds}: more than 0 expected.")
        self._content, _ = tflite_file.read(model)
        super().__init__(tflite_file.parse(model))
        self._arena, self._seconds = arena, seconds
        # The file's own batch runs, whatever the file promises. If that is one sample, then any
        # number of them can go over in one message.
        self._free_batch = self.inputs[0].shape[:1] == (1,)
        self._child: _Child | None = self._started()

    def account(self) -> str:
        """What the interpreter itself writes about its arena, in its own words.

        Raises:
            ModelFileError: the process stopped.
        """
        child = self._child = self._child or self._started()
        before = len(child.said())
        self._answers(child, None, 1)
        return child.said()[before:]

    def answers_in(self, arena: int) -> bool:
        """Whether the model runs in an arena of so many bytes, and answers zeros there as it does here."""
        zeros = [np.zeros(spec.shape, spec.dtype) for spec in self.inputs]
        expected = self._run(zeros)
        try:
            child = self._started_in(arena)
            child.send([zeros])
            answers = child.receive(self._seconds)
        except _Stopped:
            return False
        return all(map(np.array_equal, answers, expected))

    def _started(self) -> "_Child":
        """A child that has taken the model, in an arena of the size asked for, or one large enough."""
        if self._arena is None:
            return self._started_amply()
        try:
            return self._started_in(self._arena)
        except _Stopped as stopped:
            self._started_amply().end()  # raises, if the model is what is wrong, and not the arena
            raise TinylabError(
                f"{self.file.name}: an arena of {self._arena:,} bytes is too small for this model; TensorFlow"
                f" Lite Micro {stopped.why}. tinylab.arena.smallest finds what is enough."
            ) from stopped

    def _started_amply(self) -> "_Child":
        values = sum(math.prod(self.file.tensors[i].shape) for i in self.file.computed)
        arena = min(SMALLEST_ARENA + 8 * values, LARGEST_ARENA)  # no type has more than 8 bytes
        while True:
            try:
                return self._started_in(arena)
            except _Stopped as stopped:
                if arena >= LARGEST_ARENA or not TOO_SMALL.search(stopped.said):
                    raise self._refused(stopped, arena) from stopped
            arena = min(8 * arena, LARGEST_ARENA)

    def _started_in(self, arena: int) -> "_Child":
        child = _Child(self._content, len(self.file.outputs), arena)
        try:
            child.receive(START_SECONDS)
        except BaseException:
            child.end()
            raise
        return child

    def _refused(self, stopped: "_Stopped", arena: int) -> ModelFileError:
        advice = _advice(self.file, stopped.said)
        if stopped.gone:
            advice = f" The model is damaged or unsupported, or its arena of {arena:,} bytes is too small."
        return ModelFileError(f"{self.file.name}: TensorFlow Lite Micro {stopped.why}.{advice}")

    def _invoke(self, part: list[np.ndarray]) -> list[np.ndarray]:
        batch = self.inputs[0].shape[0]
        runs = [[array[i : i + batch] for array in part] for i in range(0, len(part[0]), batch)]
        child = self._child = self._child or self._started()
        answers = self._answers(child, runs, len(runs))
        return [np.concatenate(outputs) for outputs in zip(*answers, strict=True)]

    def _answers(self, child: "_Child", message: Any, count: int) -> list[list[np.ndarray]]:
        """What the child answers to a message; a child that fails is not asked again."""
        try:
            child.send(message)
            return [child.receive(self._seconds) for _ in range(count)]
        except BaseException as error:
            # Also when interrupted: the answers still to come would be taken for those to other questions.
            self._child = None
            child.end()
            if isinstance(error, _Stopped):
                raise ModelFileError(
                    f"{self.file.name}: TensorFlow Lite Micro {error.why}. The next call starts it anew."
                ) from error
            raise

    def _run_traced(self, inputs: list[np.ndarray]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        raise TinylabError(
            "trace: the microcontroller's interpreter reuses its memory and keeps no intermediate tensors; "
            "engine='integer', or 'litert' with kernels='reference', keeps them."
        )

    def _invoke_traced(self, part: list[np.ndarray]) -> dict[int, np.ndarray]:
        raise NotImplementedError  # trace does not come so far


class _Stopped(Exception):
    """The interpreter complained, or its process is gone or silent.

    Attributes:
        why: a clause whose subject is the interpreter.
        said: what it had written so far.
        gone: whether it is gone or silent, instead of complaining.
    """

    def __init__(self, why: str, said: str, gone: bool):
        super().__init__(why)
        self.why, self.said, self.gone = why, said, gone


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

    def receive(self, seconds: float) -> list[np.ndarray]:
        """The next answer.

        Raises:
            _Stopped: there is none.
        """
        try:
            if not self._connection.poll(seconds):
                raise _Stopped(f"gave no answer within {seconds:g} seconds", self.said(), gone=True)
            answer = self._connection.recv()
        except (EOFError, ConnectionError):
            ending = f"ended with {_ending(self._process.wait())}"
            said = self.said()
            quoted = f" and said: {_reason('', said)}" if said.strip() else ""
            raise _Stopped(ending + quoted, said, gone=True) from None
        if isinstance(answer, str):
            said = self.said()
            raise _Stopped(f"refuses it: {_reason(answer, said)}", said, gone=False)
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


def _reason(complaint: str, said: str) -> str:
    """The one line of what the interpreter wrote that says why, and the operator it is about.

    >>> _reason("failed", "micro/conv.cc:42 No hybrids.\\nNode CONV_2D (number 2) failed to prepare")
    'No hybrids (CONV_2D, operator 2)'
    """
    lines = [line.strip() for line in said.splitlines() if line.strip() and not NODE.search(line)]
    reason = re.sub(r"^\S+\.(cc|h)(:\d+)? ", "", (lines or [complaint])[0]).rstrip(".")
    node = NODE.search(said)
    return f"{reason} ({node[1]}, operator {node[2]})" if node else reason


def _advice(file: TFLiteFile, said: str) -> str:
    """What to do about the operator that was refused, if it mixes float32 with something else."""
    node = NODE.search(said)
    if not node or int(node[2]) >= len(file.operators):
        return ""
    operator = file.operators[int(node[2])]
    tensors = [file.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
    floats = [t for t in tensors if t.dtype == "float32"]
    others = [t for t in tensors if t.dtype in ("int8", "float16")]
    if not floats or not others:
        return ""
    return (
        f" This operator has float32 ({_short(floats[0].name)}) beside {others[0].dtype} "
        f"({_short(others[0].name)}); all of a file in int8 would do (Recipe.INT8), or all in float32."
    )


def _short(name: str) -> str:
    """The first of the names that the converter joined."""
    return name.split(";")[0]


def _require_package() -> None:
    if available():
        return
    here = (platform.system(), platform.machine())
    if here == ("Linux", "x86_64") and sys.version_info < (3, 13):
        raise TinylabError("engine='micro' needs a package: pip install --pre tflite-micro.")
    raise TinylabError(
        f"engine='micro' needs the package tflite-micro, and there is none for {' '.join(here)} with Python "
        f"{platform.python_version()}: it is built for Linux on x86-64 with Python 3.10 to 3.12. The lessons "
        "have its results stored, and engine='litert' with kernels='reference' comes closest to it."
    )
