"""Files built by hand: operators side by side, with any numbers and options, also ones no converter writes.

The converter would take seconds for each. Built directly with the schema's classes, and many operators in
one file, thousands run in seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinylab.affine import AffineParams
from tinylab.tflite_file import IDENTIFIER

# The first versions of operators with int8 and a scale for each channel.
VERSIONS = {"FULLY_CONNECTED": 12, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3}


@dataclass(frozen=True)
class Values:
    """A tensor of a file: its numbers, and what they stand for."""

    array: np.ndarray
    params: AffineParams | None = None


@dataclass(frozen=True)
class Case:
    """One operator, and what it computes on.

    Attributes:
        operator: such as "ADD".
        inputs: None for one that is left out.
        output: of the right type; LiteRT finds out the shape by itself.
        options: an object of the schema, None for an operator without.
        fed: which of the inputs are the file's inputs; the others are constants.
    """

    operator: str
    inputs: Sequence[Values | None]
    output: Values
    options: Any = None
    fed: tuple[int, ...] = (0,)


class File:
    """A .tflite file in the making."""

    def __init__(self):
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []
        self.model = schema.ModelT()
        self.model.version, self.model.subgraphs, self.model.operatorCodes = 3, [self.graph], []
        self.model.buffers = [schema.BufferT()]

    def tensor(
        self,
        array: np.ndarray,
        params: AffineParams | None = None,
        constant: bool = False,
        free: bool = False,
        name: str | None = None,
    ) -> int:
        """Add a tensor like an array, or a constant of its numbers; free: its batch may be any number."""
        tensor = schema.TensorT()
        tensor.name = name or f"t{len(self.graph.tensors)}"
        tensor.shape, tensor.buffer = list(array.shape), self.buffer(array) if constant else 0
        tensor.type = getattr(schema.TensorType, array.dtype.name.upper())
        if free:
            tensor.shapeSignature = [-1, *array.shape[1:]]
        if params is not None:
            tensor.quantization = quantization(params)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def buffer(self, array: np.ndarray) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def operator(self, name: str, options: Any, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        code = getattr(schema.BuiltinOperator, name)
        codes = [c.builtinCode for c in self.model.operatorCodes]
        if code not in codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode = code, min(code, 127)
            entry.version = VERSIONS.get(name, 1)
            self.model.operatorCodes.append(entry)
            codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = codes.index(code), [*inputs], [*outputs]
        if options is not None:
            operator.builtinOptions = options
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        self.graph.operators.append(operator)

    def add(self, case: Case, free: bool = False) -> None:
        """Add an operator with tensors of its own."""
        inputs = []
        for number, values in enumerate(case.inputs):
            fed = number in case.fed
            inputs.append(
                -1 if values is None else self.tensor(values.array, values.params, not fed, free and fed)
            )
        self.graph.inputs += [inputs[number] for number in case.fed]
        output = self.tensor(case.output.array, case.output.params, free=free)
        batch = case.inputs[case.fed[0]].array.shape[0]
        if batch == 1 or case.output.array.shape[:1] == (batch,):
            self.graph.outputs.append(output)
        self.operator(case.operator, case.options, inputs, [output])

    def bytes(self) -> bytes:
        builder = flatbuffers.Builder()
        builder.Finish(self.model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())


def quantization(params: AffineParams) -> schema.QuantizationParametersT:
    made = schema.QuantizationParametersT()
    made.scale = np.atleast_1d(np.float32(params.scale))
    made.zeroPoint = np.array(np.broadcast_to(np.int64(params.zero_point), made.scale.shape))
    made.quantizedDimension = params.axis or 0
    return made


def options(name: str, **values: Any) -> Any:
    """Options of the schema, such as options("Conv2D", strideH=2); names of what is an enumeration."""
    made = getattr(schema, f"{name}OptionsT")()
    for attribute, value in values.items():
        assert hasattr(made, attribute), attribute
        if isinstance(value, str):
            enumeration = "Padding" if attribute == "padding" else "ActivationFunctionType"
            value = getattr(getattr(schema, enumeration), value)
        setattr(made, attribute, value)
    return made


def to_tflite(cases: Sequence[Case], free: bool = False) -> bytes:
    """A file in which the operators stand side by side, each with inputs and an output of its own.

    Its outputs are those that have the axis of the batch; if none has, what went in.
    """
    file = File()
    for case in cases:
        file.add(case, free)
    file.graph.outputs = file.graph.outputs or file.graph.inputs[:1]
    return file.bytes()


def fed(cases: Sequence[Case]) -> list[np.ndarray]:
    """What goes into the file of `to_tflite`; everything has to have the same number of samples."""
    return [case.inputs[number].array for case in cases for number in case.fed]
