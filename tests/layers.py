"""Random quantized layers: built as .tflite bytes, and computed by hand in integers.

The converter would take seconds for each. Built directly with the schema's classes, and many of them in one
file, thousands run in seconds; and they may be stranger than what a converter would ever write.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.lib.stride_tricks import sliding_window_view

from tinylab import runners
from tinylab.affine import AffineParams, quantize
from tinylab.fixed_point import multiply_double, multiply_fixed_point, quantize_multiplier, real_multiplier

RULES = {
    "fixed_point": lambda sums, real: multiply_fixed_point(sums, *quantize_multiplier(real)),
    "double": multiply_double,
}
# What the reference kernels do.
RULE_OF = {"CONV_2D": "fixed_point", "DEPTHWISE_CONV_2D": "fixed_point", "FULLY_CONNECTED": "double"}
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


@dataclass(frozen=True)
class Layer:
    """One layer in int8.

    Attributes:
        operator: "CONV_2D", "DEPTHWISE_CONV_2D" or "FULLY_CONNECTED".
        x: a batch of inputs, int8, (N, height, width, C) or (N, C).
        weights: int8, as in a file: (O, kernel height, kernel width, C), (1, kernel height, kernel
            width, C * multiplier) or (O, C).
        bias: int32, (O,).
        input, weight, output: scales and zero points. The weights' axis is None if per-tensor.
        strides: of the height and the width.
        activation: what is fused to the layer, one of ACTIVATIONS.
    """

    operator: str
    x: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    input: AffineParams
    weight: AffineParams
    output: AffineParams
    strides: tuple[int, int]
    activation: str

    @property
    def real_multiplier(self) -> np.ndarray:
        """M, one number or one for each output channel."""
        return real_multiplier(self.input.scale, self.weight.scale, self.output.scale)

    def sums(self) -> np.ndarray:
        """The accumulators, by hand. In float64, which is quick, and exact below 2**53."""
        steps = self.x.astype(np.float64) - self.input.zero_point
        weights = self.weights.astype(np.float64)
        if self.operator == "FULLY_CONNECTED":
            return (steps @ weights.T).astype(np.int64) + self.bias
        kernel = weights.shape[1:3]
        windows = sliding_window_view(steps, kernel, axis=(1, 2))[:, :: self.strides[0], :: self.strides[1]]
        if self.operator == "CONV_2D":
            sums = np.tensordot(windows, weights, axes=([4, 5, 3], [1, 2, 3]))
        else:
            weights = weights.reshape(*kernel, self.x.shape[-1], -1)
            sums = np.einsum("nhwcij,ijcm->nhwcm", windows, weights)
            sums = sums.reshape(*sums.shape[:3], -1)
        return sums.astype(np.int64) + self.bias

    def codes(self, sums: np.ndarray, rule: str) -> np.ndarray:
        """The outputs, by hand, from the accumulators."""
        codes = RULES[rule](sums, self.real_multiplier) + self.output.zero_point
        ends = {"NONE": (-np.inf, np.inf), "RELU": (0, np.inf), "RELU6": (0, 6), "RELU_N1_TO_1": (-1, 1)}
        lowest, highest = quantize(np.array(ends[self.activation]), self.output)
        return np.clip(codes, lowest, highest).astype(np.int8)


def random_layer(operator: str, rng: np.random.Generator, batch: int) -> Layer:
    """A layer with nothing usual about it, except that most of its outputs are not saturated.

    M lies between 2**-34, where nothing is left, and 2**6. A quarter of the layers have whole-number
    scales, which make many exact ties.
    """
    ties = rng.random() < 0.25
    channels, outputs = rng.integers(1, 9, 2)
    if operator == "FULLY_CONNECTED":
        channels, outputs = rng.integers(1, 41, 2)
        x_shape, w_shape, axis, size = (batch, channels), (outputs, channels), 0, channels
    else:
        kernel, image = rng.integers(1, 4, 2), rng.integers(3, 7, 2)
        x_shape, w_shape, axis = (batch, *image, channels), (outputs, *kernel, channels), 0
        if operator == "DEPTHWISE_CONV_2D":
            outputs = channels * rng.integers(1, 4)
            w_shape, axis = (1, *kernel, outputs), 3
        size = math.prod(w_shape) // outputs
    per_channel = rng.random() < 0.5
    scales = outputs if per_channel else None
    if ties:
        input_scale, weight_scale = 1.0, np.float32(2.0 ** -rng.integers(0, 3, scales))
        output_scale = float(2 * rng.integers(1, 41))
    else:
        input_scale = float(np.float32(10 ** rng.uniform(-3, 1)))
        weight_scale = np.float32(10 ** rng.uniform(-3, 1) * 2 ** rng.uniform(-2, 2, scales))
        exponent = rng.choice(
            [rng.uniform(-24, 0), rng.uniform(0, 6), rng.uniform(-34, -24)], p=[0.8, 0.1, 0.1]
        )
        output_scale = float(np.float32(input_scale * weight_scale.max() / 2**exponent))
    real = np.broadcast_to(real_multiplier(input_scale, weight_scale, output_scale), outputs)
    reach = 150 / real  # the sums that the codes stand for
    largest = int(rng.integers(1, 128))
    spread = max(1, min(255, int(reach.max() / largest / math.sqrt(size))))
    zero_points = rng.choice([-128, 127, 0, *rng.integers(-128, 128, 3)], 2).tolist()
    x = zero_points[0] + rng.integers(-spread, spread + 1, x_shape)
    # 32 bits have to hold the sums, also after a shift to the left
    bound = 2.0 ** (31 - np.maximum(np.frexp(real)[1], 0)) - size * 255 * 127
    bias = np.clip(rng.uniform(-1, 1, outputs) * reach, -bound, bound)
    params = AffineParams(weight_scale, np.zeros(outputs, int), "int8", axis)
    if not per_channel:
        params = AffineParams(float(weight_scale), 0)
    return Layer(
        operator,
        np.clip(x, -128, 127).astype(np.int8),
        rng.integers(-largest, largest + 1, w_shape).astype(np.int8),
        bias.astype(np.int32),
        AffineParams(input_scale, zero_points[0]),
        params,
        AffineParams(output_scale, zero_points[1]),
        tuple(rng.integers(1, 3, 2).tolist()),
        str(rng.choice(ACTIVATIONS, p=[0.4, 0.3, 0.2, 0.1])),
    )


def run(layers: Sequence[Layer], kernels: str = "reference") -> list[np.ndarray]:
    """What LiteRT makes of each layer's inputs."""
    return runners.load(to_tflite(layers), kernels=kernels).predict_integers([layer.x for layer in layers])


def to_tflite(layers: Sequence[Layer]) -> bytes:
    """A file in which the layers stand side by side, each with an input and an output of its own."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs = 3, [graph]
    model.operatorCodes = [_operator_code(name) for name in RULE_OF]
    model.buffers, graph.tensors, graph.operators = [schema.BufferT()], [], []
    for layer in layers:
        first = len(graph.tensors)
        bias = AffineParams(np.float32(layer.input.scale) * np.float32(layer.weight.scale), 0, "int32", 0)
        graph.tensors += [
            _tensor(f"x{first}", layer.x.shape, layer.input),
            _tensor(f"w{first}", layer.weights.shape, layer.weight, _buffer(model, layer.weights)),
            _tensor(f"b{first}", layer.bias.shape, bias, _buffer(model, layer.bias)),
            _tensor(f"y{first}", layer.sums().shape, layer.output),
        ]
        graph.operators.append(_operator(layer, first))
    graph.inputs = list(range(0, len(graph.tensors), 4))
    graph.outputs = list(range(3, len(graph.tensors), 4))
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _operator_code(name: str) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = 12 if name == "FULLY_CONNECTED" else 3  # the first with int8, a scale for each channel
    return code


def _buffer(model: schema.ModelT, values: np.ndarray) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _tensor(name: str, shape: tuple[int, ...], params: AffineParams, buffer: int = 0) -> schema.TensorT:
    tensor, quantization = schema.TensorT(), schema.QuantizationParametersT()
    tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
    tensor.type = getattr(schema.TensorType, params.dtype.upper())
    quantization.scale = np.atleast_1d(np.float32(params.scale))
    quantization.zeroPoint = np.broadcast_to(np.int64(params.zero_point), quantization.scale.shape)
    quantization.quantizedDimension = params.axis or 0
    tensor.quantization = quantization
    return tensor


def _operator(layer: Layer, first: int) -> schema.OperatorT:
    names = {"CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions"}
    name = names.get(layer.operator, "FullyConnectedOptions")
    options = getattr(schema, f"{name}T")()
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, layer.activation)
    if layer.operator in names:
        options.padding = schema.Padding.VALID
        options.strideH, options.strideW = layer.strides
    if layer.operator == "DEPTHWISE_CONV_2D":
        options.depthMultiplier = layer.weights.shape[-1] // layer.x.shape[-1]
    operator = schema.OperatorT()
    operator.opcodeIndex = list(RULE_OF).index(layer.operator)
    operator.inputs, operator.outputs = [first, first + 1, first + 2], [first + 3]
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    operator.builtinOptions = options
    return operator
