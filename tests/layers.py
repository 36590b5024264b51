"""Random quantized layers, stranger than what a converter would write, and computed by hand in integers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinylab import runners
from tinylab.affine import AffineParams, quantize
from tinylab.fixed_point import multiply_double, multiply_fixed_point, quantize_multiplier, real_multiplier

from .graphs import Case, Values, fed, options, to_tflite

RULES = {
    "fixed_point": lambda sums, real: multiply_fixed_point(sums, *quantize_multiplier(real)),
    "double": multiply_double,
}
# What the reference kernels do.
RULE_OF = {"CONV_2D": "fixed_point", "DEPTHWISE_CONV_2D": "fixed_point", "FULLY_CONNECTED": "double"}
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


@dataclass(frozen=True)
class Numbers:
    """What a layer computes on, and what its numbers stand for.

    Attributes:
        x: a batch of inputs, int8 or int16, (N, height, width, C) or (N, C).
        weights: int8, as in a file: (O, kernel height, kernel width, C), (1, kernel height, kernel
            width, C * multiplier) or (O, C).
        bias: int32, or int64 with x in int16, (O,).
        input, weight, output: scales and zero points. The weights' axis is None if per-tensor.
    """

    x: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    input: AffineParams
    weight: AffineParams
    output: AffineParams

    @property
    def bias_params(self) -> AffineParams:
        """Of the bias: its scale is that of the sums."""
        scale = np.float32(self.input.scale) * np.float32(self.weight.scale)
        return AffineParams(scale, 0, self.bias.dtype.name, 0)


@dataclass(frozen=True)
class Layer(Numbers):
    """One layer in int8, without padding.

    Attributes:
        operator: "CONV_2D", "DEPTHWISE_CONV_2D" or "FULLY_CONNECTED".
        strides: of the height and the width.
        activation: what is fused to the layer, one of ACTIVATIONS.
    """

    operator: str
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

    def case(self) -> Case:
        """The layer as an operator of a file."""
        if self.operator == "FULLY_CONNECTED":
            chosen = options("FullyConnected", fusedActivationFunction=self.activation)
        else:
            chosen = options(
                {"CONV_2D": "Conv2D", "DEPTHWISE_CONV_2D": "DepthwiseConv2D"}[self.operator],
                fusedActivationFunction=self.activation,
                padding="VALID",
                strideH=self.strides[0],
                strideW=self.strides[1],
            )
        if self.operator == "DEPTHWISE_CONV_2D":
            chosen.depthMultiplier = self.weights.shape[-1] // self.x.shape[-1]
        inputs = [
            Values(self.x, self.input),
            Values(self.weights, self.weight),
            Values(self.bias, self.bias_params),
        ]
        return Case(self.operator, inputs, Values(np.zeros(self.sums().shape, np.int8), self.output), chosen)


def random_numbers(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    axis: int,
    rng: np.random.Generator,
    dtype: str = "int8",
) -> Numbers:
    """Nothing usual about them, except that most of the layer's outputs are not saturated.

    M lies between 2**-34, where nothing is left, and 2**6. A quarter of the layers have whole-number
    scales, which make many exact ties.

    Args:
        axis: of the weights, along which the outputs are.
        dtype: of the activations; with int16, biases are of 64 bits.
    """
    outputs = w_shape[axis]
    size = math.prod(w_shape) // outputs
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    scales = outputs if rng.random() < 0.5 else None  # one for each channel, or one
    if rng.random() < 0.25:
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
    reach = 1.2 * high / real  # the sums that the codes stand for
    largest = int(rng.integers(1, 128))
    spread = max(1, min(high - low, int(min(reach.max(), 2**40) / largest / math.sqrt(size))))
    zero_points = [0, 0]
    if dtype == "int8":
        zero_points = rng.choice([low, high, 0, *rng.integers(low, high + 1, 3)], 2).tolist()
    x = zero_points[0] + rng.integers(-spread, spread + 1, x_shape)
    # 32 bits have to hold the sums of int8, also after a shift to the left; 48 bits those of int16
    bound = 2.0**47
    if dtype == "int8":
        bound = 2.0 ** (31 - np.maximum(np.frexp(real)[1], 0)) - size * 255 * 127
    bias = np.clip(rng.uniform(-1, 1, outputs) * reach, -bound, bound)
    per_tensor = scales is None
    return Numbers(
        np.clip(x, low, high).astype(dtype),
        rng.integers(-largest, largest + 1, w_shape).astype(np.int8),
        bias.astype(np.int32 if dtype == "int8" else np.int64),
        AffineParams(input_scale, zero_points[0], dtype),
        AffineParams(float(weight_scale), 0) if per_tensor else AffineParams(weight_scale, 0, "int8", axis),
        AffineParams(output_scale, zero_points[1], dtype),
    )


def random_layer(operator: str, rng: np.random.Generator, batch: int) -> Layer:
    """A layer without padding, on `random_numbers`."""
    channels, outputs = rng.integers(1, 9, 2).tolist()
    if operator == "FULLY_CONNECTED":
        channels, outputs = rng.integers(1, 41, 2).tolist()
        x_shape, w_shape, axis = (batch, channels), (outputs, channels), 0
    else:
        kernel, image = rng.integers(1, 4, 2).tolist(), rng.integers(3, 7, 2).tolist()
        x_shape, w_shape, axis = (batch, *image, channels), (outputs, *kernel, channels), 0
        if operator == "DEPTHWISE_CONV_2D":
            w_shape, axis = (1, *kernel, channels * int(rng.integers(1, 4))), 3
    return Layer(
        **vars(random_numbers(x_shape, w_shape, axis, rng)),
        operator=operator,
        strides=tuple(rng.integers(1, 3, 2).tolist()),
        activation=str(rng.choice(ACTIVATIONS, p=[0.4, 0.3, 0.2, 0.1])),
    )


def run(layers: Sequence[Layer], kernels: str = "reference") -> list[np.ndarray]:
    """What LiteRT makes of each layer's inputs."""
    cases = [layer.case() for layer in layers]
    return runners.load(to_tflite(cases), kernels=kernels).predict_integers(fed(cases))
