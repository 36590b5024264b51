"""What is in a .tflite file: tensors, operators, quantization parameters, bytes.

The file is a FlatBuffer; ai-edge-litert ships the classes that read one, generated from
LiteRT's schema (`schema_py_generated`).
"""

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

import ml_dtypes  # noqa: F401  (NumPy learns "int4" and "bfloat16" from it)
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinylab.affine import AffineParams
from tinylab.errors import ModelFileError
from tinylab.flatbuffer import names_of, pieces

IDENTIFIER = b"TFL3"
# Everything that a reader of FlatBuffers raises on bytes that are none, or are cut short.
PARSE_ERRORS = (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)


OPERATOR_NAMES = names_of(schema.BuiltinOperator)
TYPE_NAMES = {value: name.lower() for value, name in names_of(schema.TensorType).items()}

# Which inputs of an operator are weights, and which are biases.
PARAMETERS = {
    "CONV_2D": ((1,), (2,)),
    "DEPTHWISE_CONV_2D": ((1,), (2,)),
    "FULLY_CONNECTED": ((1,), (2,)),
    "CONV_3D": ((1,), (2,)),
    "TRANSPOSE_CONV": ((1,), (3,)),  # 0 is the output's shape, 2 the activations
    "CONV_3D_TRANSPOSE": ((1,), (3,)),
    "BATCH_MATMUL": ((0, 1), ()),
    "GATHER": ((0,), ()),  # an embedding
    "EMBEDDING_LOOKUP": ((1,), ()),
    "PRELU": ((1,), ()),
    "SVDF": ((1, 2), (3,)),
    "RNN": ((1, 2), (3,)),
    "UNIDIRECTIONAL_SEQUENCE_RNN": ((1, 2), (3,)),
    "LSTM": ((*range(1, 12), 16, *range(20, 24)), (*range(12, 16), 17)),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": ((*range(1, 12), 16, *range(20, 24)), (*range(12, 16), 17)),
}
# These hand on the values of a constant in another form, for the operator that computes with them.
UNPACKING = ("DEQUANTIZE", "DENSIFY")


@dataclass(frozen=True)
class Tensor:
    """One tensor of a model.

    Attributes:
        index: its number in the file.
        name: its name; not always unique.
        shape: as in the file; a free batch stands there as 1.
        free_batch: whether the first dimension may be any number.
        dtype: "float32", "int8", ...
        scale: float32 (C,), one for each channel, (1,) if per-tensor, (0,) if not quantized.
        zero_point: int64, the shape of scale.
        axis: the dimension that scale runs along, if per-channel.
        nbytes: bytes of constant values in the file; 0 for what is computed.
        buffer: the number of the buffer that holds those values; tensors may share one.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    free_batch: bool
    dtype: str
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    nbytes: int
    buffer: int

    @property
    def per_channel(self) -> bool:
        """Whether each channel has its own scale."""
        return self.scale.size > 1

    @property
    def is_real(self) -> bool:
        """Whether its numbers stand for real ones: floating point, or quantized."""
        return "float" in self.dtype or self.scale.size > 0

    @property
    def params(self) -> AffineParams | None:
        """Scale and zero point of a quantized tensor, one or one a channel; None if not quantized."""
        if not self.scale.size:
            return None
        if self.per_channel:
            return AffineParams(self.scale, self.zero_point, self.dtype, self.axis)
        return AffineParams(float(self.scale[0]), int(self.zero_point[0]), self.dtype)


@dataclass(frozen=True)
class Operator:
    """One operator: its name ("CONV_2D"), and the indices of its input and output tensors.

    An optional input that is left out has the index -1.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class TFLiteFile:
    """A parsed subgraph of a model: its operators in the order in which they run.

    Attributes:
        name: the file's path, or "the given bytes".
        size: of the whole file, in bytes.
        inputs, outputs: indices of the tensors that go in and come out.
    """

    name: str
    size: int
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def computed(self) -> tuple[int, ...]:
        """Indices of the tensors that a run produces: the inputs, then each operator's outputs."""
        return self.inputs + tuple(i for operator in self.operators for i in operator.outputs)

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """What each tensor is there for.

        "weights" and "bias": constants that an operator computes with as such, also where an operator
        DEQUANTIZE stands between them. "constant": any other, such as the shape that RESHAPE reads.
        "input" and "output" of the subgraph; "activation": what an operator hands on to another.
        "state": what is read without being stored or computed, such as an LSTM's memory. "unused":
        what no operator reads or writes.
        """
        constants = {tensor.index for tensor in self.tensors if tensor.nbytes}
        unpacked = []  # (constant, its values in another form)
        for operator in self.operators:
            if operator.name in UNPACKING and operator.inputs and constants.issuperset(operator.inputs):
                unpacked += zip(operator.inputs, operator.outputs, strict=False)
                constants.update(operator.outputs)
        roles = dict.fromkeys(range(len(self.tensors)), "unused")
        roles |= dict.fromkeys((i for operator in self.operators for i in operator.inputs), "state")
        roles |= dict.fromkeys((i for operator in self.operators for i in operator.outputs), "activation")
        roles |= dict.fromkeys(self.outputs, "output") | dict.fromkeys(self.inputs, "input")
        roles |= dict.fromkeys(constants, "constant")
        for operator in self.operators:
            for role, places in zip(("weights", "bias"), PARAMETERS.get(operator.name, ()), strict=False):
                read = (operator.inputs[place] for place in places if place < len(operator.inputs))
                roles |= dict.fromkeys((i for i in read if i in constants and self.tensors[i].is_real), role)
        for constant, unpacked_constant in reversed(unpacked):
            roles[constant] = roles[unpacked_constant]
        return tuple(roles[index] for index in range(len(self.tensors)))

    @property
    def bytes_by_dtype(self) -> dict[str, int]:
        """Bytes of constant values by dtype, largest first; a buffer that tensors share counts once."""
        buffers = {tensor.buffer: tensor for tensor in self.tensors if tensor.nbytes}
        totals: dict[str, int] = {}
        for tensor in buffers.values():
            totals[tensor.dtype] = totals.get(tensor.dtype, 0) + tensor.nbytes
        return dict(sorted(totals.items(), key=lambda item: -item[1]))


def read(model: bytes | str | PathLike) -> tuple[bytes, str]:
    """The bytes of a model, and a name for it in messages.

    Raises:
        ModelFileError: no such file, an empty one, or one without a .tflite's identifier.
    """
    if isinstance(model, (bytes, bytearray, memoryview)):
        content, name = bytes(model), "the given bytes"
    elif isinstance(model, (str, PathLike)):
        name = str(model)
        try:
            content = Path(model).read_bytes()
        except OSError as error:
            raise ModelFileError(f"cannot read {name}: {error.strerror or error}.") from error
    else:
        raise ModelFileError(f"expected a .tflite model as bytes or a path, not {type(model).__name__}.")
    if not content:
        raise ModelFileError(f"{name}: empty; a .tflite model was expected.")
    if content[4:8] != IDENTIFIER:
        raise ModelFileError(
            f"{name}: not a .tflite model (bytes 4 to 7 should be TFL3); is it the right file?"
        )
    return content, name


def parse(model: bytes | str | PathLike) -> TFLiteFile:
    """Read what a model consists of.

    Args:
        model: the file's bytes, or its path.

    Raises:
        ModelFileError: not a .tflite, cut short, or inconsistent.
    """
    content, name = read(model)
    with damage_reported(content, name):
        root = schema.Model.GetRootAs(content, 0)
        main = _parse(root, 0, _operator_names(root), name, len(content))
        if not main.operators or not main.inputs or not main.outputs:
            raise ValueError("nothing to compute")
        return main


def subgraphs(model: bytes | str | PathLike) -> tuple[TFLiteFile, ...]:
    """Read every subgraph of a model: the main one first, then the bodies of loops and branches.

    Raises:
        ModelFileError: not a .tflite, cut short, or inconsistent.
    """
    content, name = read(model)
    with damage_reported(content, name):
        pieces(content)  # refuses what would unfold into far more than the file
        root = schema.Model.GetRootAs(content, 0)
        codes = _operator_names(root)
        return tuple(_parse(root, i, codes, name, len(content)) for i in range(root.SubgraphsLength()))


@contextlib.contextmanager
def damage_reported(content: bytes, name: str) -> Iterator[None]:
    """Turn whatever a damaged file makes a reader raise into a ModelFileError."""
    try:
        yield
    except PARSE_ERRORS as error:
        raise ModelFileError(
            f"{name}: damaged or cut short ({len(content):,} bytes); make or download it again."
        ) from error


def _parse(model: schema.Model, number: int, codes: list[str], name: str, size: int) -> TFLiteFile:
    graph = model.Subgraphs(number)
    tensors = tuple(_tensor(model, graph.Tensors(i), i) for i in range(graph.TensorsLength()))
    operators = tuple(_operator(graph.Operators(i), codes) for i in range(graph.OperatorsLength()))
    inputs = _integers(graph.InputsAsNumpy())
    outputs = _integers(graph.OutputsAsNumpy())
    used = [*inputs, *outputs, *(i for operator in operators for i in operator.inputs + operator.outputs)]
    if min(used, default=0) < -1 or max(used, default=-1) >= len(tensors):
        raise ValueError("an operator names a tensor that does not exist")
    return TFLiteFile(name, size, tensors, operators, inputs, outputs)


def _integers(vector: np.ndarray | int) -> tuple[int, ...]:
    """A vector of the file as a tuple; an absent one reads as the integer 0."""
    return tuple(vector.tolist()) if isinstance(vector, np.ndarray) else ()


def _tensor(model: schema.Model, tensor: schema.Tensor, index: int) -> Tensor:
    quantization = tensor.Quantization()
    scale, zero_point, axis = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    if quantization is not None and quantization.ScaleLength():
        scale, axis = quantization.ScaleAsNumpy(), quantization.QuantizedDimension()
        zero_point = quantization.ZeroPointAsNumpy()
        if not isinstance(zero_point, np.ndarray) or zero_point.size != scale.size:
            zero_point = np.zeros(scale.size, np.int64)
    signature = _integers(tensor.ShapeSignatureAsNumpy())
    buffer = model.Buffers(tensor.Buffer())
    data = buffer.DataAsNumpy()
    nbytes = data.nbytes if isinstance(data, np.ndarray) else 0
    if buffer.Offset() > 1:  # files of more than 2 GB have values behind the FlatBuffer
        nbytes = buffer.Size()
    return Tensor(
        index=index,
        name=(tensor.Name() or b"").decode(errors="replace"),
        shape=_integers(tensor.ShapeAsNumpy()),
        free_batch=bool(signature) and signature[0] == -1,
        dtype=TYPE_NAMES.get(tensor.Type(), f"type {tensor.Type()}"),
        scale=scale,
        zero_point=zero_point,
        axis=axis,
        nbytes=nbytes,
        buffer=tensor.Buffer(),
    )


def _operator_names(model: schema.Model) -> list[str]:
    """What operators there are in a model; each operator of a subgraph names one by its number."""
    names = []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        # Old files have the code in the deprecated 8-bit field only.
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = OPERATOR_NAMES.get(builtin, f"operator {builtin}")
        names.append((code.CustomCode() or b"CUSTOM").decode(errors="replace") if name == "CUSTOM" else name)
    return names


def _operator(operator: schema.Operator, codes: list[str]) -> Operator:
    inputs, outputs = _integers(operator.InputsAsNumpy()), _integers(operator.OutputsAsNumpy())
    return Operator(codes[operator.OpcodeIndex()], inputs, outputs)
