"""What is in a .tflite file: tensors, operators, quantization parameters, bytes.

The file is a FlatBuffer; ai-edge-litert ships the classes that read one, generated from
LiteRT's schema (`schema_py_generated`).
"""

import struct
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

import ml_dtypes  # noqa: F401  (NumPy learns "int4" and "bfloat16" from it)
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinylab.affine import AffineParams
from tinylab.errors import ModelFileError

IDENTIFIER = b"TFL3"
# Everything that a reader of FlatBuffers raises on bytes that are none, or are cut short.
PARSE_ERRORS = (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


OPERATOR_NAMES = _names(schema.BuiltinOperator)
TYPE_NAMES = {value: name.lower() for value, name in _names(schema.TensorType).items()}


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
    """A parsed model: its main subgraph, operators in the order in which they run.

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
    try:
        return _parse(content, name)
    except PARSE_ERRORS as error:
        raise ModelFileError(
            f"{name}: damaged or cut short ({len(content):,} bytes); make or download it again."
        ) from error


def _parse(content: bytes, name: str) -> TFLiteFile:
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    tensors = tuple(_tensor(model, graph.Tensors(i), i) for i in range(graph.TensorsLength()))
    operators = tuple(_operator(model, graph.Operators(i)) for i in range(graph.OperatorsLength()))
    inputs = _integers(graph.InputsAsNumpy())
    outputs = _integers(graph.OutputsAsNumpy())
    used = [*inputs, *outputs, *(i for operator in operators for i in operator.inputs + operator.outputs)]
    if not operators or not inputs or not outputs or min(used) < -1 or max(used) >= len(tensors):
        raise ValueError("no operators, or an operator names a tensor that does not exist")
    return TFLiteFile(name, len(content), tensors, operators, inputs, outputs)


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
    data = model.Buffers(tensor.Buffer()).DataAsNumpy()
    return Tensor(
        index=index,
        name=(tensor.Name() or b"").decode(errors="replace"),
        shape=_integers(tensor.ShapeAsNumpy()),
        free_batch=bool(signature) and signature[0] == -1,
        dtype=TYPE_NAMES.get(tensor.Type(), f"type {tensor.Type()}"),
        scale=scale,
        zero_point=zero_point,
        axis=axis,
        nbytes=data.nbytes if isinstance(data, np.ndarray) else 0,
        buffer=tensor.Buffer(),
    )


def _operator(model: schema.Model, operator: schema.Operator) -> Operator:
    code = model.OperatorCodes(operator.OpcodeIndex())
    # Old files have the code in the deprecated 8-bit field only.
    builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = OPERATOR_NAMES.get(builtin, f"operator {builtin}")
    if name == "CUSTOM":
        name = (code.CustomCode() or b"CUSTOM").decode(errors="replace")
    return Operator(name, _integers(operator.InputsAsNumpy()), _integers(operator.OutputsAsNumpy()))
