"""Where each tensor lies in a microcontroller's arena: the plan that the interpreter makes, by hand.

A tensor needs memory from the operator that computes it to the last one that reads it; before and after,
others may lie in the same place. Which goes where is found by a greedy method, as TensorFlow Lite Micro's
planner has it (tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc): the largest first, each at
the lowest address at which it fits between those it shares time with.

>>> wants = [Want("a", 32, 0, 1), Want("b", 64, 1, 2), Want("c", 48, 2, 3)]
>>> [(block.name, block.offset) for block in place(wants)]
[('a', 64), ('b', 0), ('c', 64)]

Here c takes the place of a, which is not needed any more. All of it takes 112 bytes instead of 144.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from tinylab import tflite_file
from tinylab.errors import ModelFileError, TinylabError
from tinylab.tflite_file import Operator, Tensor, TFLiteFile
from tinylab.workload import UNSIZED

SUM_BYTES = {"int8": 4, "int16": 8}  # what products of such values are added up in
ALIGNMENT = 16  # bytes; every offset is a multiple, for processors that load several values at once


@dataclass(frozen=True)
class Want:
    """Memory that is wanted for some time.

    Attributes:
        name: of the tensor.
        bytes: its size, rounded up to a multiple of ALIGNMENT.
        first, last: numbers of the operators between which, both included, it is needed; an input of
            the model is there before the first one, from -1.
    """

    name: str
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Block(Want):
    """A want that has its place: it begins `offset` bytes behind the start of the arena."""

    offset: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.bytes


@dataclass(frozen=True)
class Plan:
    """Blocks in the order of their tensors' numbers."""

    blocks: tuple[Block, ...]

    @property
    def size(self) -> int:
        """Bytes from the start of the arena to the end of the last block."""
        return max((block.end for block in self.blocks), default=0)

    @property
    def peak(self) -> int:
        """The most bytes that are needed at the same time: no planner can do with less."""
        inputs = sum(block.bytes for block in self.blocks if block.first < 0)  # before the first operator
        return max([inputs, *self.alive])

    @property
    def alive(self) -> list[int]:
        """Bytes needed while each operator runs."""
        steps = range(max((block.last for block in self.blocks), default=-1) + 1)
        return [sum(b.bytes for b in self.blocks if b.first <= step <= b.last) for step in steps]


def plan(model: bytes | str | PathLike) -> Plan:
    """The plan of a model's tensors, from its file alone.

    Constants have no place in it: they stay in flash.

    Raises:
        ModelFileError: not a .tflite, cut short, or inconsistent; or strings in it.
        TinylabError: a model with loops or branches, whose bodies would have to be planned, too.
    """
    if len(tflite_file.subgraphs(model)) > 1:
        raise TinylabError("a plan is made for models without loops and branches; this one has some.")
    file = tflite_file.parse(model)
    with tflite_file.damage_reported(*tflite_file.read(model)):
        return Plan(tuple(place(wants(file))))


def wants(file: TFLiteFile) -> list[Want]:
    """What each tensor of a model needs, and when."""
    first = dict.fromkeys(file.inputs, -1)
    last = dict.fromkeys(file.inputs, -1)
    for number, operator in enumerate(file.operators):
        first |= dict.fromkeys(operator.outputs, number)
        last |= dict.fromkeys(operator.inputs + operator.outputs, number)
    last |= dict.fromkeys(file.outputs, len(file.operators) - 1)
    tensors = [
        Want(tensor.name, rounded_up(_bytes(tensor)), first[tensor.index], last[tensor.index])
        for tensor in file.tensors
        if tensor.index in first
    ]
    return tensors + [
        Want(f"scratch of {operator.name}", rounded_up(size), number, number)
        for number, operator in enumerate(file.operators)
        for size in scratch(operator, file)
    ]


def scratch(operator: Operator, file: TFLiteFile) -> list[int]:
    """Bytes that the portable kernel of an operator asks for itself, for as long as it runs.

    Sums of a MEAN or a transposed convolution are wider than what they become, counters of a REDUCE_MAX are
    no tensors, and weights in int4 are unpacked. Optimized kernels ask for other amounts.
    """
    inputs = [file.tensors[i] for i in operator.inputs if i >= 0]
    values = math.prod(file.tensors[operator.outputs[0]].shape)
    if operator.name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"):
        sums = operator.name in ("MEAN", "SUM") and inputs[0].dtype in SUM_BYTES
        return [4 * values] * sums + [4 * len(inputs[0].shape), 4 * math.prod(inputs[1].shape)]
    if operator.name == "TRANSPOSE_CONV":
        return [SUM_BYTES[inputs[2].dtype] * values] if inputs[2].dtype in SUM_BYTES else []
    return [math.prod(tensor.shape) for tensor in inputs[1:2] if tensor.dtype == "int4"]


def place(wanted: Sequence[Want]) -> list[Block]:
    """The greedy method: the largest first (of equals the last), each into the first gap that it fits into.

    Only what is needed at the same time as the new one, if but for a moment, is in its way.
    """
    order = sorted(range(len(wanted)), key=lambda i: (-wanted[i].bytes, -i))
    placed: dict[int, Block] = {}
    for i in order:
        want, offset = wanted[i], 0
        for block in sorted(placed.values(), key=lambda block: block.offset):
            if block.last < want.first or want.last < block.first:
                continue
            if block.offset - offset >= want.bytes:
                break
            offset = max(offset, block.end)
        placed[i] = Block(want.name, want.bytes, want.first, want.last, offset)
    return [placed[i] for i in range(len(wanted))]


def rounded_up(size: int) -> int:
    """The next multiple of ALIGNMENT.

    >>> rounded_up(10), rounded_up(16)
    (16, 16)
    """
    return -(-size // ALIGNMENT) * ALIGNMENT


def _bytes(tensor: Tensor) -> int:
    if tensor.dtype in UNSIZED:
        raise ModelFileError(
            f"tensor {tensor.name}: values of type {tensor.dtype} have no size to plan with."
        )
    return math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
