"""What LiteRT itself answers: a file with one operator, made of given numbers, on kernels of your choice.

A converter chooses scales and rounds weights; here every number of an operator can be chosen, such
as sums that fall on an exact half.

>>> q, weights = Values(np.int8([[3]]), scale=1.0), Values(np.int8([[1]]), scale=1.0)
>>> dense(q, weights, np.int32([0]), Values(np.int8([[0]]), scale=6.0), relu=False)  # 3 / 6 = 0.5
array([[1]], dtype=int8)
"""

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinylab import runners
from tinylab.tflite_file import IDENTIFIER


@dataclass(frozen=True)
class Values:
    """A tensor of the file: its values (for the output, any of the right shape and type), and its map."""

    array: np.ndarray
    scale: float | np.ndarray | None = None
    zero_point: int = 0


def quantized(x: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """QUANTIZE: float32 of any shape to int8."""
    output = Values(np.zeros(x.shape, np.int8), scale, zero_point)
    return run("QUANTIZE", schema.QuantizeOptionsT(), [Values(x)], output)


def dequantized(q: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """DEQUANTIZE: int8 of any shape to float32."""
    output = Values(np.zeros(q.shape, np.float32))
    return run("DEQUANTIZE", schema.DequantizeOptionsT(), [Values(q, scale, zero_point)], output)


def dense(q: Values, weights: Values, bias: np.ndarray, output: Values, relu: bool) -> np.ndarray:
    """FULLY_CONNECTED: int8 (N, inputs), weights int8 (outputs, inputs), bias int32 (outputs,)."""
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = int(relu)
    return run("FULLY_CONNECTED", options, [q, weights, _bias(bias, q, weights)], output)


def convolution(
    q: Values, weights: Values, bias: np.ndarray, output: Values, kernels: str = "reference"
) -> np.ndarray:
    """CONV_2D: int8 (N, H, W, inputs), weights int8 (outputs, h, w, inputs); no padding, stride 1."""
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    return run("CONV_2D", options, [q, weights, _bias(bias, q, weights)], output, kernels)


def _bias(bias: np.ndarray, q: Values, weights: Values) -> Values:
    return Values(bias, np.float32(q.scale) * np.asarray(weights.scale, np.float32))


def run(
    operator: str, options: Any, inputs: list[Values], output: Values, kernels: str = "reference"
) -> np.ndarray:
    """Run any operator, such as "ADD", on its first input; the others are constants of the file."""
    content = tflite(operator, options, inputs, output)
    return runners.load(content, kernels=kernels).predict_integers(inputs[0].array)


def tflite(operator: str, options: Any, inputs: list[Values], output: Values) -> bytes:
    """A file of one operator.

    Args:
        operator: its name in the schema, such as "ADD".
        options: an object of the schema such as `schema.AddOptionsT()`; None for an operator without.
        inputs: the first is the file's input, the others are constants in the file.
    """
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor(values, n, constant=0 < n < len(inputs)) for n, values in enumerate([*inputs, output])
    ]
    graph.inputs, graph.outputs = [0], [len(inputs)]
    step = schema.OperatorT()
    step.inputs, step.outputs = list(range(len(inputs))), [len(inputs)]
    if options is not None:
        step.builtinOptions = options
        step.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    graph.operators = [step]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, operator)
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT() for _ in range(len(inputs))]  # the first one stays empty
    for buffer, values in zip(model.buffers[1:], inputs[1:], strict=True):
        buffer.data = np.frombuffer(values.array.tobytes(), np.uint8)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _tensor(values: Values, number: int, constant: bool) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape = f"tensor {number}", list(values.array.shape)
    tensor.type = getattr(schema.TensorType, values.array.dtype.name.upper())
    tensor.buffer = number if constant else 0
    if values.scale is not None:
        scale = np.atleast_1d(np.float32(values.scale))
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = scale
        tensor.quantization.zeroPoint = np.full(scale.size, values.zero_point, np.int64)
    return tensor
