"""What one inference of a model has to do: multiplications, and bytes to and from memory.

Both follow from the shapes in the file, so that no clock is needed. A multiplication with the
addition that follows it is a MAC, a multiply-accumulate.
"""

import math
from dataclasses import dataclass
from os import PathLike

import numpy as np

from tinylab import tflite_file
from tinylab.tflite_file import Operator, Tensor, TFLiteFile

# Types of tensors whose bytes do not follow from the shape.
UNSIZED = ("string", "resource", "variant")
# Operators whose multiply-accumulates are counted.
MAC_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


@dataclass(frozen=True)
class Work:
    """What one operator does in one inference of the file's own batch.

    Attributes:
        operator: its name, such as "CONV_2D".
        output: name of the tensor that it computes.
        macs: multiply-accumulates of layers that have weights; 0 for other operators.
        constant_bytes: weights, biases and other constants that it reads.
        read_bytes, written_bytes: activations that it reads and writes.
    """

    operator: str
    output: str
    macs: int
    constant_bytes: int
    read_bytes: int
    written_bytes: int

    @property
    def bytes_moved(self) -> int:
        """All bytes that the operator reads and writes, each once."""
        return self.constant_bytes + self.read_bytes + self.written_bytes


def workload(model: bytes | str | PathLike) -> tuple[Work, ...]:
    """The work of each operator of the main subgraph, in the order in which they run.

    Every value counts once for each operator that reads or writes it. A real chip may move fewer
    bytes, where a value stays in a cache or register, or more, where one is fetched again.

    Raises:
        ModelFileError: not a .tflite, cut short, or inconsistent.
    """
    content, name = tflite_file.read(model)
    file = tflite_file.parse(model)
    with tflite_file.damage_reported(content, name):
        return tuple(_work(operator, file) for operator in file.operators)


def _work(operator: Operator, file: TFLiteFile) -> Work:
    inputs = [file.tensors[i] for i in operator.inputs if i >= 0]
    outputs = [file.tensors[i] for i in operator.outputs]
    return Work(
        operator.name,
        outputs[0].name if outputs else "",
        _macs(operator, file),
        sum(tensor.nbytes for tensor in inputs),
        sum(_bytes(tensor) for tensor in inputs if not tensor.nbytes),
        sum(_bytes(tensor) for tensor in outputs),
    )


def _macs(operator: Operator, file: TFLiteFile) -> int:
    """Each weight is used once at each position: of the output, or of a transposed convolution's input."""
    if operator.name not in MAC_OPERATORS:
        return 0
    swept = operator.inputs[2] if operator.name == "TRANSPOSE_CONV" else operator.outputs[0]
    weights, positions = file.tensors[operator.inputs[1]].shape, file.tensors[swept].shape[:-1]
    return math.prod(weights) * math.prod(positions)


def _bytes(tensor: Tensor) -> int:
    if tensor.dtype in UNSIZED:
        return 0
    return math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
