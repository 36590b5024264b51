"""A model as an engine needs it: operators with their options, tensors, and constant values."""

import math
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinylab import tflite_file
from tinylab.affine import AffineParams
from tinylab.errors import ModelFileError
from tinylab.flatbuffer import names_of, pieces
from tinylab.tflite_file import Tensor, TFLiteFile

OPTION_NAMES = names_of(schema.BuiltinOptions)
ACTIVATION_NAMES = names_of(schema.ActivationFunctionType)
PADDING_NAMES = names_of(schema.Padding)


@dataclass(frozen=True)
class Node:
    """One operator of the graph.

    `str(node)` names it in messages.

    Attributes:
        number: its place in the order of execution, from 0.
        name: such as "CONV_2D".
        inputs: its tensors; None for an optional one that is left out.
        outputs: its tensors.
        options: the operator's options as the schema has them; None for an operator without.
    """

    number: int
    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Any

    @property
    def params(self) -> tuple[AffineParams, ...]:
        """Scale and zero point: of the inputs, without biases and shapes, then of the output."""
        return self.params_with_weights(None)

    def params_with_weights(self, weights: Tensor | None) -> tuple[AffineParams, ...]:
        """The same for a layer; its weights may have a scale for each channel, and a scale of 0."""
        tensors = [t for t in (*self.inputs, *self.outputs) if t is not None and t.dtype not in UNSCALED]
        return tuple(usable_params(tensor, tensor is weights) for tensor in tensors)

    @property
    def activation(self) -> str:
        """The fused activation, such as "RELU6"."""
        return ACTIVATION_NAMES.get(self.options.fusedActivationFunction, "unknown")

    @property
    def padding(self) -> str:
        """SAME or VALID."""
        if self.options.padding not in PADDING_NAMES:
            raise ModelFileError(f"no padding has the number {self.options.padding}.")
        return PADDING_NAMES[self.options.padding]

    def __str__(self) -> str:
        return f"operator {self.number}, {self.name}"


# Types whose tensors carry no scale of their own: biases take theirs from input and weights.
UNSCALED = ("int32", "int64", "float32", "bool")


def usable_params(tensor: Tensor, weights: bool) -> AffineParams:
    """Scale and zero point of a tensor.

    Raises:
        ModelFileError: none, or none that makes sense.
    """
    params = tensor.params
    if params is None:
        raise ModelFileError(f"tensor {tensor.name}: {tensor.dtype} without a scale.")
    scale, zero_point = np.asarray(params.scale), np.asarray(params.zero_point)
    if tensor.per_channel and not weights:
        raise ModelFileError(f"tensor {tensor.name}: {scale.size} scales, where one is expected.")
    # Weights that are all 0 may have the scale 0.
    if not (np.isfinite(scale) & ((scale > 0) | (weights & (scale == 0)))).all():
        raise ModelFileError(f"tensor {tensor.name}: a scale that is not above 0.")
    if params.dtype == "int16" and zero_point.any():
        raise ModelFileError(f"tensor {tensor.name}: int16 with a zero point, which has to be 0.")
    if not ((params.lowest <= zero_point) & (zero_point <= params.highest)).all():
        raise ModelFileError(f"tensor {tensor.name}: a zero point outside of {tensor.dtype}.")
    return params


@dataclass(frozen=True)
class Graph:
    """A model's operators in the order in which they run, and its constants by tensor number."""

    file: TFLiteFile
    nodes: tuple[Node, ...]
    constants: dict[int, np.ndarray]


def read(model: bytes | str | PathLike) -> Graph:
    """Read a model's main subgraph, from a file's bytes or its path.

    Raises:
        ModelFileError: damaged, or a constant whose bytes do not fit its shape.
    """
    content, name = tflite_file.read(model)
    file = tflite_file.parse(model)
    with tflite_file.damage_reported(content, name):
        pieces(content)  # every table and vector lies inside of the file
        model = schema.Model.GetRootAs(content, 0)
        subgraph = model.Subgraphs(0)
        nodes = tuple(
            Node(
                number,
                operator.name,
                tuple(None if i < 0 else file.tensors[i] for i in operator.inputs),
                tuple(file.tensors[i] for i in operator.outputs),
                _options(subgraph.Operators(number)),
            )
            for number, operator in enumerate(file.operators)
        )
        for tensor in file.tensors:
            if subgraph.Tensors(tensor.index).IsVariable():
                raise ModelFileError(f"{name}: tensor {tensor.name} keeps its values between runs.")
        read = {i for operator in file.operators for i in operator.inputs if i >= 0} | set(file.outputs)
        constants = {
            i: _values(model, file.tensors[i], name)
            for i in sorted(read)
            if file.tensors[i].nbytes or 0 in file.tensors[i].shape
        }
    return Graph(file, nodes, constants)


def _options(operator: schema.Operator) -> Any:
    """An operator's options, unpacked: attributes in place of a table."""
    kind = OPTION_NAMES.get(operator.BuiltinOptionsType(), "NONE")
    table = operator.BuiltinOptions()
    if kind == "NONE" or table is None:
        return None
    packed = getattr(schema, kind)()
    packed.Init(table.Bytes, table.Pos)
    return getattr(schema, f"{kind}T").InitFromObj(packed)


def _values(model: schema.Model, tensor: Tensor, name: str) -> np.ndarray:
    """The values of a constant, in its shape."""
    data = model.Buffers(tensor.buffer).DataAsNumpy()
    content = data.tobytes() if isinstance(data, np.ndarray) else b""
    if len(content) != math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize:
        raise ModelFileError(
            f"{name}: tensor {tensor.name}: {len(content)} bytes for {tensor.dtype} {tensor.shape}; the "
            "integer engine takes no sparse or packed values."
        )
    return np.frombuffer(content, tensor.dtype).reshape(tensor.shape)
