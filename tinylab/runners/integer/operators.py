"""Which operators the engine knows: for each its kernel, its types, and what it reads from the file.

A kernel takes the operator's inputs in the file's order (None for one that is left out), and then
what else it needs: scales, strides, an activation. The functions here read that from the file.

A signature such as "int16 int8 int64? -> int16" says which types an operator takes and gives:
"int64?" may be left out, "int8*" stands for any number of tensors.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinylab.errors import ModelFileError
from tinylab.runners.integer import kernels
from tinylab.runners.integer.graph import Node

Kernel = Callable[..., np.ndarray]


class Entry(NamedTuple):
    """An operator of the engine.

    Attributes:
        kernel: computes the output: `kernel(*inputs, *arguments(node))`.
        signatures: the types that it takes and gives.
        arguments: what the kernel needs besides its inputs.
        options: name of the operator's options in the schema; None if it needs none.
    """

    kernel: Kernel
    signatures: tuple[str, ...]
    arguments: Callable[[Node], tuple]
    options: str | None = None


def check(node: Node) -> Node:
    """Refuse an operator that the engine lacks, or lacks for these types.

    Returns:
        The node, with None for each input, and the schema's defaults for options, that the file leaves out.

    Raises:
        ModelFileError: which names operator and tensor.
    """
    output = f"output {node.outputs[0].name}" if node.outputs else "no output"
    if node.name not in OPERATORS:
        raise ModelFileError(f"{node} ({output}): the integer engine does not know this operator.")
    entry = OPERATORS[node.name]
    inputs = next(filter(None, (_fitted(signature, node) for signature in entry.signatures)), None)
    if inputs is None:
        given = " ".join(t.dtype if t else "nothing" for t in node.inputs)
        made = " ".join(t.dtype for t in node.outputs)
        expected = ", or ".join(entry.signatures)
        raise ModelFileError(f"{node} ({output}): {given} -> {made}; the integer engine takes {expected}.")
    options = node.options
    if entry.options and options is None:
        options = getattr(schema, f"{entry.options}T")()
    if entry.options and type(options).__name__ != f"{entry.options}T":
        raise ModelFileError(f"{node} ({output}): its options are no {entry.options}.")
    return replace(node, inputs=inputs, options=options)


def _fitted(signature: str, node: Node) -> tuple | None:
    """A node's inputs, as many as in the signature, if its types are those of the signature."""
    expected, made = (side.split() for side in signature.split(" -> "))
    if made != [t.dtype for t in node.outputs]:
        return None
    if expected[0].endswith("*"):
        return node.inputs if {t and t.dtype for t in node.inputs} == {expected[0][:-1]} else None
    inputs = (*node.inputs, *[None] * (len(expected) - len(node.inputs)))
    allowed = [(dtype.rstrip("?"), None if dtype.endswith("?") else dtype) for dtype in expected]
    fits = len(inputs) == len(expected) and all(
        (t and t.dtype) in dtypes for t, dtypes in zip(inputs, allowed, strict=True)
    )
    return inputs if fits else None


def each(template: str, *choices: tuple[str, ...]) -> tuple[str, ...]:
    """Signatures with every choice of types for T and U.

    >>> each("T U -> T", ("int8",), ("int32", "int64"))
    ('int8 int32 -> int8', 'int8 int64 -> int8')
    """
    signatures = [template]
    for letter, types in zip("TU", choices, strict=False):
        signatures = [s.replace(letter, t) for s in signatures for t in types]
    return tuple(signatures)


def nothing(node: Node) -> tuple:
    """For a kernel that needs its inputs only."""
    return ()


def scales(node: Node) -> tuple:
    """Scales and zero points of inputs and output."""
    return node.params


def scales_and_activation(node: Node) -> tuple:
    """Scales and zero points of inputs and output, and the fused activation."""
    return *node.params, node.activation


def layer(weights: int, axis: int) -> Callable[[Node], tuple]:
    """Scales of a layer whose input number `weights` may have a scale for each channel, along axis."""

    def arguments(node: Node) -> tuple:
        tensor = node.inputs[weights]
        channels = tensor.shape[axis] if len(tensor.shape) > axis else 0
        if tensor.per_channel and (tensor.axis, tensor.scale.size) != (axis, channels):
            raise ModelFileError(
                f"weights {tensor.name}: {tensor.scale.size} scales for {channels} channels."
            )
        if tensor.zero_point.any() and (tensor.per_channel or node.name != "FULLY_CONNECTED"):
            raise ModelFileError(f"weights {tensor.name}: a zero point other than 0.")
        _check_bias(node, channels)
        return node.params_with_weights(tensor)

    return arguments


def _check_bias(node: Node, channels: int) -> None:
    """Layers of 16-bit activations add up in 64 bits, or in 32 if an option and the bias say so."""
    bias = node.inputs[-1]
    short = getattr(node.options, "quantizedBiasType", None) == schema.TensorType.INT32
    if node.outputs[0].dtype == "int16" and short != (bias is not None and bias.dtype == "int32"):
        raise ModelFileError("a bias of another width than its options say.")
    if bias is not None and bias.shape != (channels,):
        raise ModelFileError(f"bias {bias.name}: shape {bias.shape} for {channels} channels.")


def convolution(axis: int) -> Callable[[Node], tuple]:
    """Scales, strides, dilations, padding and activation of a convolution."""

    def arguments(node: Node) -> tuple:
        o = node.options
        steps = (o.strideH, o.strideW), (o.dilationHFactor, o.dilationWFactor)
        return *layer(1, axis)(node), *steps, node.padding, node.activation

    return arguments


def sum_of_two(node: Node) -> tuple:
    """Scales and activation of an addition or subtraction."""
    powers = all(math.frexp(params.scale)[0] == 0.5 for params in node.params)
    if node.outputs[0].dtype == "int16" and node.options.potScaleInt16 and powers:
        raise ModelFileError("16-bit scales that are powers of 2, for which there is an older rule.")
    return scales_and_activation(node)


def dense(node: Node) -> tuple:
    """Scales and activation of a dense layer, and whether it keeps the shape of its input."""
    if node.options.weightsFormat:
        raise ModelFileError("weights that are not stored row by row.")
    return *layer(1, 0)(node), node.activation, node.options.keepNumDims


def transposed_convolution(node: Node) -> tuple:
    """Scales, strides, padding and activation of a transposed convolution."""
    o = node.options
    return *layer(1, 0)(node), (o.strideH, o.strideW), node.padding, node.activation


def pooling(node: Node) -> tuple:
    """The output's scale, window, strides, padding and activation; the input's is not looked at."""
    o = node.options
    _, params = node.params
    window, strides = (o.filterHeight, o.filterWidth), (o.strideH, o.strideW)
    return params, window, strides, node.padding, node.activation


def concatenation(node: Node) -> tuple:
    """The axis; all tensors have the same scale, or none, so that values can be moved as they are."""
    if len(set(node.params)) > 1:
        raise ModelFileError("it joins tensors of different scales.")
    return (node.options.axis,)


def length_type(node: Node) -> tuple:
    """The type of the lengths of a shape."""
    dtype = node.outputs[0].dtype
    if node.options is not None and node.options.outType != getattr(schema.TensorType, dtype.upper()):
        raise ModelFileError(f"lengths of another type than {dtype}.")
    return (dtype,)


def masks(node: Node) -> tuple:
    """The masks of a strided slice."""
    o = node.options
    if o.ellipsisMask or o.newAxisMask or o.offset:
        raise ModelFileError("an ellipsis, a new axis or an offset.")
    return o.beginMask, o.endMask, o.shrinkAxisMask


CODES = ("int8", "int16")
ANY_CODES = ("int8", "uint8", "int16")
ANY = (*ANY_CODES, "int32", "int64", "float32", "bool")
INDICES = ("int32", "int64")
# Activations, weights and bias.
LAYER = ("int8 int8 int32? -> int8", "int16 int8 int64? -> int16", "int16 int8 int32 -> int16")
STAMPS = tuple("int32 int8 " + s.replace(" int8", "", 1) for s in LAYER)

OPERATORS: dict[str, Entry] = {
    # multiply and add
    "CONV_2D": Entry(kernels.convolution, LAYER, convolution(axis=0), "Conv2DOptions"),
    "DEPTHWISE_CONV_2D": Entry(
        kernels.depthwise_convolution, LAYER, convolution(axis=3), "DepthwiseConv2DOptions"
    ),
    "FULLY_CONNECTED": Entry(kernels.dense, LAYER, dense, "FullyConnectedOptions"),
    "TRANSPOSE_CONV": Entry(
        kernels.transposed_convolution, STAMPS, transposed_convolution, "TransposeConvOptions"
    ),
    # each value by itself
    "ADD": Entry(kernels.add, each("T T -> T", CODES), sum_of_two, "AddOptions"),
    "SUB": Entry(kernels.subtract, each("T T -> T", CODES), sum_of_two, "SubOptions"),
    "MUL": Entry(kernels.multiply, each("T T -> T", CODES), scales_and_activation, "MulOptions"),
    "RELU": Entry(kernels.relu, each("T -> T", ANY_CODES), scales),
    "RELU6": Entry(kernels.relu6, each("T -> T", ANY_CODES), scales),
    "LEAKY_RELU": Entry(
        kernels.leaky_relu,
        each("T -> T", CODES),
        lambda node: (node.options.alpha, *node.params),
        "LeakyReluOptions",
    ),
    "HARD_SWISH": Entry(kernels.hard_swish, ("int8 -> int8",), scales),
    "LOGISTIC": Entry(kernels.logistic, each("T -> T", CODES), scales),
    "TANH": Entry(kernels.tanh, each("T -> T", CODES), scales),
    "SOFTMAX": Entry(
        kernels.softmax,
        each("T -> T", CODES),
        lambda node: (node.options.beta, *node.params),
        "SoftmaxOptions",
    ),
    "QUANTIZE": Entry(kernels.to_codes, each("T -> U", ("float32", *ANY_CODES), ANY_CODES), scales),
    "DEQUANTIZE": Entry(kernels.dequantize, each("T -> float32", ANY_CODES), scales),
    # one value of many
    "AVERAGE_POOL_2D": Entry(kernels.average_pool, each("T -> T", CODES), pooling, "Pool2DOptions"),
    "MAX_POOL_2D": Entry(kernels.max_pool, each("T -> T", CODES), pooling, "Pool2DOptions"),
    "MEAN": Entry(
        kernels.mean,
        each("T int32 -> T", CODES),
        lambda node: (*node.params, node.options.keepDims),
        "ReducerOptions",
    ),
    # move values
    "RESHAPE": Entry(
        kernels.reshape, each("T int32? -> T", ANY), lambda node: (getattr(node.options, "newShape", None),)
    ),
    "SQUEEZE": Entry(
        kernels.squeeze, each("T -> T", ANY), lambda node: (node.options.squeezeDims,), "SqueezeOptions"
    ),
    "EXPAND_DIMS": Entry(kernels.expand_dims, each("T U -> T", ANY, INDICES), nothing),
    "TRANSPOSE": Entry(kernels.transpose, each("T int32 -> T", ANY), nothing),
    "PAD": Entry(kernels.pad, each("T U -> T", ANY_CODES, INDICES), scales),
    "PADV2": Entry(kernels.pad_with, each("T U T -> T", CODES, INDICES), nothing),
    "RESIZE_NEAREST_NEIGHBOR": Entry(
        kernels.resize_nearest,
        each("T int32 -> T", CODES),
        lambda node: (node.options.alignCorners, node.options.halfPixelCenters),
        "ResizeNearestNeighborOptions",
    ),
    "REDUCE_MAX": Entry(
        kernels.reduce_max,
        each("T int32 -> T", CODES),
        lambda node: (node.options.keepDims,),
        "ReducerOptions",
    ),
    "MAXIMUM": Entry(kernels.maximum, each("T T -> T", CODES), nothing),
    "MINIMUM": Entry(kernels.minimum, each("T T -> T", CODES), nothing),
    "CONCATENATION": Entry(kernels.concatenate, each("T* -> T", ANY), concatenation, "ConcatenationOptions"),
    "STRIDED_SLICE": Entry(
        kernels.strided_slice, each("T int32 int32 int32 -> T", ANY), masks, "StridedSliceOptions"
    ),
    "SPACE_TO_BATCH_ND": Entry(kernels.space_to_batch, each("T int32 int32 -> T", CODES), scales),
    "BATCH_TO_SPACE_ND": Entry(kernels.batch_to_space, each("T int32 int32 -> T", CODES), nothing),
    "GATHER": Entry(
        kernels.gather,
        each("T U -> T", ("int32", "int64"), INDICES),
        lambda node: (node.options.axis, node.options.batchDims),
        "GatherOptions",
    ),
    "REDUCE_PROD": Entry(
        kernels.product,
        each("T int32 -> T", INDICES),
        lambda node: (node.options.keepDims,),
        "ReducerOptions",
    ),
    "SHAPE": Entry(kernels.shape, each("T -> U", ANY, INDICES), length_type),
    "PACK": Entry(kernels.pack, each("T* -> T", ANY), lambda node: (node.options.axis,), "PackOptions"),
}
VARIADIC = {name for name, entry in OPERATORS.items() if "*" in entry.signatures[0]}
