"""What each operator computes, in integers: a function an operator, arrays in, arrays out.

They answer what LiteRT's reference kernels answer (ai-edge-litert 2.3.0), to the bit.
"""

from tinylab.affine import dequantize
from tinylab.runners.integer.kernels.curves import hard_swish, leaky_relu, logistic, softmax, tanh
from tinylab.runners.integer.kernels.elementwise import add, multiply, relu, relu6, subtract, to_codes
from tinylab.runners.integer.kernels.pooling import average_pool, max_pool, mean
from tinylab.runners.integer.kernels.products import (
    convolution,
    dense,
    depthwise_convolution,
    transposed_convolution,
)
from tinylab.runners.integer.kernels.shapes import (
    batch_to_space,
    concatenate,
    expand_dims,
    gather,
    maximum,
    minimum,
    pack,
    pad,
    pad_with,
    product,
    reduce_max,
    reshape,
    resize_nearest,
    shape,
    space_to_batch,
    squeeze,
    strided_slice,
    transpose,
)

__all__ = [
    "add",
    "average_pool",
    "batch_to_space",
    "concatenate",
    "convolution",
    "dense",
    "depthwise_convolution",
    "dequantize",
    "expand_dims",
    "gather",
    "hard_swish",
    "leaky_relu",
    "logistic",
    "max_pool",
    "maximum",
    "mean",
    "minimum",
    "multiply",
    "pack",
    "pad",
    "pad_with",
    "product",
    "reduce_max",
    "relu",
    "relu6",
    "reshape",
    "resize_nearest",
    "shape",
    "softmax",
    "space_to_batch",
    "squeeze",
    "strided_slice",
    "subtract",
    "tanh",
    "to_codes",
    "transpose",
    "transposed_convolution",
]
