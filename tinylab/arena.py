"""How much memory does a model need on a microcontroller? The interpreter itself is asked.

TensorFlow Lite Micro takes all its memory from one block, the arena. Tensors that come and go share
one end of it, by a plan that is made once (`tinylab.memory_plan`). At the other end lies what stays:
descriptions of tensors and operators, and what kernels prepare, such as a multiplier a channel.

What stays is measured here on a 64-bit machine, where a pointer has 8 bytes; on a 32-bit chip it has
4, so that much of it is smaller there. A TfLiteEvalTensor, two pointers and a type, has 24 bytes here
and 12 there (tensorflow/lite/c/common.h). The interpreter that is measured also keeps an account of its
arena, in the arena. So `persistent`, and with it `total`, are upper estimates for a chip; `tensors` is the
same everywhere with these kernels, the portable ones. Optimized kernels may want buffers of their own, as
CMSIS-NN's convolutions do, which come on top.
"""

import bisect
import re
from dataclasses import dataclass
from os import PathLike

from tinylab.runners.micro import MicroRunner

HEAD = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
PART = re.compile(r"'(.+)' used (\d+) bytes")
# Names for what has none in the interpreter's account.
TENSORS, OTHER = "tensors that share memory", "allocator, planner and lists"


@dataclass(frozen=True)
class Arena:
    """What a model takes of its arena, in bytes.

    Attributes:
        total: all of it.
        tensors: the part that tensors share, also called non-persistent, or head.
        parts: bytes by name, `tensors` first, in the interpreter's own words; together they are `total`.
    """

    total: int
    tensors: int
    parts: dict[str, int]

    @property
    def persistent(self) -> int:
        """What stays as long as the interpreter, also called tail."""
        return self.total - self.tensors


def measure(model: bytes | str | PathLike) -> Arena:
    """Let TensorFlow Lite Micro take a model, and read what it says of its arena.

    Args:
        model: a .tflite file's bytes, or its path.

    Raises:
        ModelFileError: not a .tflite, damaged, or one that the interpreter refuses.
        TinylabError: no package tflite-micro here; `memory_plan.plan(model).size`, which needs none, is a
            lower bound.
    """
    return _parsed(MicroRunner(model).account())


def _parsed(account: str) -> Arena:
    sizes = {name: int(size) for name, size in HEAD.findall(account)}
    parts = {TENSORS: sizes["head"]} | {name: int(size) for name, size in PART.findall(account)}
    parts[OTHER] = sizes["total"] - sum(parts.values())
    return Arena(sizes["total"], sizes["head"], parts)


def smallest(model: bytes | str | PathLike) -> int:
    """The smallest arena, in bytes, in which a model still answers, and as in a large one; by trying.

    Mostly `measure(model).total`, or a few bytes less, which alignment had cost. A model with many small
    tensors can need more than it keeps, because the plan is made in the arena, too. Every attempt is a
    process of its own; a dozen of them take about two seconds.

    Raises:
        ModelFileError, TinylabError: as `measure`.
    """
    runner = MicroRunner(model)
    found = _parsed(runner.account())
    enough = found.total
    while not runner.answers_in(enough):
        enough *= 2
    return bisect.bisect_left(range(enough), True, lo=found.tensors, key=runner.answers_in)
