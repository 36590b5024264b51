"""Random cases of each operator that the integer engine has, curves excepted: see `test_kernels_curves`.

Each function makes one case, for a batch of n samples in the given type of activations. Shapes, options,
scales and zero points are what LiteRT takes, and stranger than what a converter writes.
"""

from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinylab.affine import AffineParams, integer_limits

from .graphs import Case, Values, options
from .layers import ACTIVATIONS, Numbers, random_numbers

Rng = np.random.Generator
PADDINGS = ("SAME", "VALID")
CODES = ("int8", "int16")
ANY_CODES = ("int8", "uint8", "int16")
ANY = (*ANY_CODES, "int32", "int64", "float32", "bool")


def chance(rng: Rng, probability: float) -> bool:
    return bool(rng.random() < probability)


def pick(rng: Rng, *choices):
    return choices[rng.integers(len(choices))]


def activation(rng: Rng) -> str:
    return str(rng.choice(ACTIVATIONS, p=[0.4, 0.3, 0.2, 0.1]))


def sizes(rng: Rng, low: int, high: int, count: int = 2) -> list[int]:
    return rng.integers(low, high + 1, count).tolist()


def zero_point(rng: Rng, dtype: str) -> int:
    """Often one of the ends; int16 has 0 only."""
    low, high = integer_limits(dtype)
    return 0 if dtype == "int16" else pick(rng, low, high, *sizes(rng, low, high, 4))


def params(rng: Rng, dtype: str, scale: float | None = None) -> AffineParams:
    scale = 10 ** rng.uniform(-3, 1) if scale is None else scale
    if chance(rng, 0.2):
        scale = 2.0 ** round(np.log2(scale))  # which makes ties
    return AffineParams(float(np.float32(scale)), zero_point(rng, dtype), dtype)


def codes(rng: Rng, shape, p: AffineParams) -> Values:
    """Any codes, or some near the zero point."""
    low, high = integer_limits(p.dtype)
    q = rng.integers(low, high + 1, shape)
    if chance(rng, 0.3):
        q = np.clip(p.zero_point + (q >> int(rng.integers(1, 8))), low, high)
    return Values(q.astype(p.dtype), p)


def like(dtype: str, p: AffineParams | None = None) -> Values:
    """An output; what it is shaped like, LiteRT finds out by itself."""
    return Values(np.zeros(1, dtype), p)


def constant(numbers, dtype: str = "int32") -> Values:
    return Values(np.array(numbers, dtype))


# Layers


def layer_inputs(n: Numbers) -> list[Values | None]:
    """Activations, weights and a bias."""
    return [Values(n.x, n.input), Values(n.weights, n.weight), Values(n.bias, n.bias_params)]


def narrow_bias(case: Case, place: int, rng: Rng) -> Case:
    """16-bit activations, sometimes with a bias and sums of 32 bits; an option of the layer says so."""
    bias = case.inputs[place]
    if bias.array.dtype != np.int64 or chance(rng, 0.7):
        return case
    case.options.quantizedBiasType = schema.TensorType.INT32
    narrow = np.clip(bias.array, -(2**31), 2**31 - 1).astype(np.int32)
    inputs = list(case.inputs)
    inputs[place] = Values(narrow, replace(bias.params, dtype="int32"))
    return replace(case, inputs=inputs)


def overflowing(n: Numbers, rng: Rng) -> Numbers:
    """Biases and M of any size: sums, or what they are shifted to, exceed 32 bits."""
    bias = rng.integers(-(2**31), 2**31, n.bias.shape).astype(np.int32)
    weights = rng.choice(np.int8([-128, 127]), n.weights.shape)
    # Powers of two: LiteRT wants the bias's scale to be just the product of the others.
    scale, weight_scale = 2.0 ** rng.integers(2, 9), 2.0 ** rng.integers(2, 9, np.shape(n.weight.scale))
    output_scale = float(np.float32(scale * np.max(weight_scale) / 2 ** rng.uniform(-1, 29)))
    weight_scale = float(weight_scale) if n.weight.axis is None else np.float32(weight_scale)
    return replace(
        n,
        bias=bias,
        weights=weights,
        input=replace(n.input, scale=scale),
        weight=replace(n.weight, scale=weight_scale),
        output=replace(n.output, scale=output_scale),
    )


def numbers(x_shape, w_shape, axis, rng: Rng, dtype: str) -> Numbers:
    made = random_numbers(tuple(x_shape), tuple(w_shape), axis, rng, dtype)
    if made.weight.axis is not None and chance(rng, 0.1):  # of channels whose weights are all 0
        scale = made.weight.scale * (rng.random(made.weight.scale.shape) < 0.7)
        return replace(made, weight=replace(made.weight, scale=np.float32(scale)))
    return overflowing(made, rng) if dtype == "int8" and chance(rng, 0.15) else made


def window(rng: Rng, n: int, dilated: bool = True) -> tuple[list[int], list[int], dict]:
    """Image size, kernel, and options: with SAME padding a kernel may be larger than the image."""
    image, kernel, stride = sizes(rng, 1, 9), sizes(rng, 1, 5), sizes(rng, 1, 3)
    dilation = sizes(rng, 1, 3) if dilated and chance(rng, 0.4) else [1, 1]
    padding = pick(rng, *PADDINGS)
    if padding == "VALID":
        image = [max(i, (k - 1) * d + 1) for i, k, d in zip(image, kernel, dilation, strict=True)]
    chosen = {"padding": padding, "strideH": stride[0], "strideW": stride[1]}
    if dilated:
        chosen |= {"dilationHFactor": dilation[0], "dilationWFactor": dilation[1]}
    return image, kernel, chosen | {"fusedActivationFunction": activation(rng)}


def convolution(rng: Rng, n: int, dtype: str) -> Case:
    image, kernel, chosen = window(rng, n)
    depth, groups = int(rng.integers(1, 6)), pick(rng, 1, 1, 1, 2, 3)
    outputs = groups * int(rng.integers(1, 6))
    made = numbers([n, *image, groups * depth], [outputs, *kernel, depth], 0, rng, dtype)
    case = Case("CONV_2D", layer_inputs(made), like(dtype, made.output), options("Conv2D", **chosen))
    return narrow_bias(case, 2, rng)


def depthwise_convolution(rng: Rng, n: int, dtype: str) -> Case:
    image, kernel, chosen = window(rng, n)
    channels, multiplier = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    made = numbers([n, *image, channels], [1, *kernel, channels * multiplier], 3, rng, dtype)
    o = options("DepthwiseConv2D", depthMultiplier=multiplier, **chosen)
    return Case("DEPTHWISE_CONV_2D", layer_inputs(made), like(dtype, made.output), o)


def dense(rng: Rng, n: int, dtype: str) -> Case:
    inputs, outputs = sizes(rng, 1, 40)
    lead = sizes(rng, 1, 3, int(rng.integers(0, 3)))
    keep = chance(rng, 0.5)
    x_shape = [n, *lead, inputs]
    if not keep and chance(rng, 0.3):  # rows that are not those of the input
        x_shape = [n, inputs, *lead, 1]
    made = numbers(x_shape, [outputs, inputs], 0, rng, dtype)
    if made.weight.axis is None and chance(rng, 0.3):
        made = replace(made, weight=replace(made.weight, zero_point=int(rng.integers(-128, 128))))
    o = options("FullyConnected", keepNumDims=keep, fusedActivationFunction=activation(rng))
    inputs = layer_inputs(made)
    if chance(rng, 0.25):
        inputs[2] = None
        return Case("FULLY_CONNECTED", inputs, like(dtype, made.output), o)
    return narrow_bias(Case("FULLY_CONNECTED", inputs, like(dtype, made.output), o), 2, rng)


def transposed_convolution(rng: Rng, n: int, dtype: str) -> Case:
    """Onto any output from which a convolution would lead back to the input."""
    image, kernel, stride = sizes(rng, 1, 5), sizes(rng, 1, 4), sizes(rng, 1, 3)
    depth, outputs = sizes(rng, 1, 5)
    padding = pick(rng, *PADDINGS)
    least = [
        (i - 1) * s + (k if padding == "VALID" else 1) for i, s, k in zip(image, stride, kernel, strict=True)
    ]
    size = [int(low + rng.integers(s)) for low, s in zip(least, stride, strict=True)]
    made = numbers([n, *image, depth], [outputs, *kernel, depth], 0, rng, dtype)
    x, weights, bias = layer_inputs(made)
    o = options(
        "TransposeConv",
        padding=padding,
        strideH=stride[0],
        strideW=stride[1],
        fusedActivationFunction=activation(rng),
    )
    inputs = [constant([n, *size, outputs]), weights, x]
    if chance(rng, 0.25):
        return Case("TRANSPOSE_CONV", inputs, like(dtype, made.output), o, fed=(2,))
    return narrow_bias(Case("TRANSPOSE_CONV", [*inputs, bias], like(dtype, made.output), o, (2,)), 3, rng)


# Each value by itself


def broadcast(rng: Rng, n: int) -> tuple[list[int], list[int], bool]:
    """Shapes of an input of n samples and of another tensor; whether that one is an input too."""
    shape = [n, *sizes(rng, 2, 5, int(rng.integers(1, 4)))]
    kind = rng.integers(5)
    if kind == 0:
        return shape, list(shape), True
    if kind == 1:  # the second has ones, or fewer axes
        other = [d if chance(rng, 0.5) else 1 for d in shape]
        return shape, other[int(rng.integers(len(shape) + 1)) :], False
    if kind == 2:  # the first has ones
        return [n, *(d if chance(rng, 0.5) else 1 for d in shape[1:])], list(shape), True
    if kind == 3:  # both have
        wide = sizes(rng, 1, 4, len(shape))
        a = [n] + [d if chance(rng, 0.6) else 1 for d in wide[1:]]
        return a, [1, *(d if chance(rng, 0.6) else 1 for d in wide[1:])], False
    return shape[:2], [2, *shape[:2]][-3:], False  # the first has fewer axes


def elementwise(operator: str, name: str):
    def make(rng: Rng, n: int, dtype: str) -> Case:
        a_shape, b_shape, both = broadcast(rng, n)
        a, b = params(rng, dtype), params(rng, dtype)
        if chance(rng, 0.2):
            b = replace(b, scale=a.scale)
        steps = 2 ** (7 if dtype == "int8" else 15)
        if operator == "MUL":
            reach = a.scale * b.scale * steps * 2 ** rng.uniform(-9, 3)
        else:
            reach = max(a.scale, b.scale) * 2 ** rng.uniform(-4, 6)
        out = params(rng, dtype, reach)
        inputs = [codes(rng, a_shape, a), codes(rng, b_shape, b)]
        swapped = chance(rng, 0.5) and not both
        o = options(name, fusedActivationFunction=activation(rng))
        if hasattr(o, "potScaleInt16"):
            o.potScaleInt16 = False
        fed = (0, 1) if both else (int(swapped),)
        return Case(operator, inputs[::-1] if swapped else inputs, like(dtype, out), o, fed)

    return make


def rectified(operator: str):
    def make(rng: Rng, n: int, dtype: str) -> Case:
        x, out = params(rng, dtype), params(rng, dtype)
        out = replace(out, scale=float(np.float32(x.scale * 2 ** rng.uniform(-6, 6))))
        return Case(operator, [codes(rng, [n, 30], x)], like(dtype, out))

    return make


def quantize(rng: Rng, n: int, dtype: str) -> Case:
    """Real numbers between, beside and far from codes and halves."""
    p = params(rng, dtype)
    low, high = integer_limits(dtype)
    whole = rng.integers(2 * low - p.zero_point * 2 - 9, 2 * high - 2 * p.zero_point + 9, (n, 30)) / 2
    x = np.float32(whole * p.scale)
    x = np.nextafter(
        x, rng.choice(np.float32([-np.inf, np.inf]), x.shape), where=rng.random(x.shape) < 0.3, out=x
    )
    x[:, :3] = rng.choice(np.float32([0, -0.0, 1e-40, 2e9 * p.scale, -2e9 * p.scale]), (n, 3))
    return Case("QUANTIZE", [Values(x)], like(dtype, p), options("Quantize"))


def requantize(rng: Rng, n: int, dtype: str) -> Case:
    """From any of the integer types."""
    kinds = ("int8", "uint8") if dtype == "uint8" else ANY_CODES  # LiteRT has no int16 to uint8
    x = params(rng, pick(rng, *kinds))
    finer = 256 if x.dtype == "int16" else 1
    out = params(rng, dtype, x.scale * finer * 2 ** rng.uniform(-9, 9))
    if chance(rng, 0.3):
        out = replace(out, scale=x.scale)
    return Case("QUANTIZE", [codes(rng, [n, 30], x)], like(dtype, out), options("Quantize"))


def dequantize(rng: Rng, n: int, dtype: str) -> Case:
    return Case(
        "DEQUANTIZE", [codes(rng, [n, 30], params(rng, dtype))], like("float32"), options("Dequantize")
    )


# One value of many


def pool(operator: str):
    def make(rng: Rng, n: int, dtype: str) -> Case:
        image, kernel, chosen = window(rng, n, dilated=False)
        p = params(rng, dtype)
        o = options("Pool2D", filterHeight=kernel[0], filterWidth=kernel[1], **chosen)
        return Case(operator, [codes(rng, [n, *image, int(rng.integers(1, 5))], p)], like(dtype, p), o)

    return make


def mean(rng: Rng, n: int, dtype: str) -> Case:
    rank = int(rng.integers(2, 6))
    shape = [n, *sizes(rng, 1, 6, rank - 1)]
    axes = rng.permutation(rank)[: rng.integers(1, rank)]
    if rank == 4 and chance(rng, 0.4):
        axes = np.array([1, 2])
    axes = np.where(rng.random(axes.shape) < 0.3, axes - rank, axes)
    x = params(rng, dtype)
    out = params(rng, dtype, x.scale * 2 ** rng.uniform(-4, 3))
    if chance(rng, 0.3):
        out = x
    o = options("Reducer", keepDims=chance(rng, 0.5))
    return Case("MEAN", [codes(rng, shape, x), constant(axes)], like(dtype, out), o)


# Moving values


def any_values(rng: Rng, shape, dtype: str) -> Values:
    """Of any type, quantized or not."""
    if dtype in ("int8", "uint8", "int16"):
        return codes(rng, shape, params(rng, dtype))
    if dtype == "bool":
        return Values(rng.random(shape) < 0.5)
    return Values(rng.integers(-1000, 1000, shape).astype(dtype))


def moved(rng: Rng, shape, dtype: str) -> tuple[Values, Values]:
    x = any_values(rng, shape, dtype)
    return x, like(dtype, x.params)


def reshape(rng: Rng, n: int, dtype: str) -> Case:
    shape = sizes(rng, 1, 4, int(rng.integers(0, 4)))
    x, out = moved(rng, [n, *shape], dtype)
    target = [int(d) for d in rng.permutation([n, *shape])]
    kind = rng.integers(3)
    if kind == 1:
        target = [n, x.array.size // n]
    elif kind == 2:
        target = [1, x.array.size, 1]
    if chance(rng, 0.4):
        target[rng.integers(len(target))] = -1
    if chance(rng, 0.3):  # as older files have it
        return Case("RESHAPE", [x], out, options("Reshape", newShape=target))
    o = options("Reshape", newShape=[1, 2]) if chance(rng, 0.5) else None  # does not count
    return Case("RESHAPE", [x, constant(target)], out, o)


def squeeze(rng: Rng, n: int, dtype: str) -> Case:
    shape = [n, *rng.choice([1, 1, 3], int(rng.integers(1, 5))).tolist()]
    x, out = moved(rng, shape, dtype)
    ones = [axis for axis, d in enumerate(shape) if d == 1 and axis]
    axes = [a - len(shape) if chance(rng, 0.3) else a for a in ones if chance(rng, 0.6)]
    if not axes and not np.prod(shape) > 1:
        axes = ones  # or no axis would be left
    o = options("Squeeze", squeezeDims=np.int32(axes) if axes else None)
    return Case("SQUEEZE", [x], out, o)


def expand_dims(rng: Rng, n: int, dtype: str) -> Case:
    shape = [n, *sizes(rng, 1, 3, int(rng.integers(0, 4)))]
    x, out = moved(rng, shape, dtype)
    axis = int(rng.integers(-len(shape) - 1, len(shape) + 1))
    axis = np.array(axis if chance(rng, 0.5) else [axis], pick(rng, "int32", "int64"))
    return Case("EXPAND_DIMS", [x, Values(axis)], out, options("ExpandDims"))


def transpose(rng: Rng, n: int, dtype: str) -> Case:
    shape = [n, *sizes(rng, 1, 4, int(rng.integers(0, 5)))]
    x, out = moved(rng, shape, dtype)
    order = constant(rng.permutation(len(shape)))
    return Case("TRANSPOSE", [x, order], out, options("Transpose"))


def pad(rng: Rng, n: int, dtype: str) -> Case:
    shape = [n, *sizes(rng, 1, 4, int(rng.integers(0, 4)))]
    x, out = moved(rng, shape, dtype)
    margins = constant(rng.integers(0, 4, (len(shape), 2)), pick(rng, "int32", "int64"))
    if chance(rng, 0.3):  # codes move as they are, and the margins are the output's zero
        out = like(dtype, params(rng, dtype))
    return Case("PAD", [x, margins], out, options("Pad"))


def concatenate(rng: Rng, n: int, dtype: str) -> Case:
    shape = [n, *sizes(rng, 1, 4, int(rng.integers(1, 4)))]
    axis = int(rng.integers(1, len(shape)))
    first, out = moved(rng, shape, dtype)
    parts = [first]
    for _ in range(rng.integers(1, 5)):
        part = [*shape[:axis], int(rng.integers(1, 4)), *shape[axis + 1 :]]
        parts.append(replace(any_values(rng, part, dtype), params=first.params))
    o = options("Concatenation", axis=axis - len(shape) if chance(rng, 0.4) else axis)
    return Case("CONCATENATION", parts, out, o, tuple(range(len(parts))))


def gather(rng: Rng, n: int, dtype: str) -> Case:
    """Of vectors, as shapes are computed with."""
    shape = sizes(rng, 1, 5, int(rng.integers(1, 4)))
    axis = int(rng.integers(len(shape)))
    x = Values(rng.integers(-9, 9, [n, *shape]).astype(dtype))
    places = rng.integers(0, shape[axis], sizes(rng, 1, 3, int(rng.integers(0, 3))))
    chosen = Values(places.astype(pick(rng, "int32", "int64")))
    return Case("GATHER", [x, chosen], like(dtype), options("Gather", axis=axis + 1))


def product(rng: Rng, n: int, dtype: str) -> Case:
    """Products that overflow, too."""
    shape = [n, *sizes(rng, 1, 5, int(rng.integers(1, 4)))]
    axes = rng.permutation(len(shape))[: rng.integers(1, len(shape))]
    axes = np.where(rng.random(axes.shape) < 0.3, axes - len(shape), axes)
    x = Values(rng.integers(-99, 99, shape).astype(dtype))
    o = options("Reducer", keepDims=chance(rng, 0.5))
    return Case("REDUCE_PROD", [x, constant(axes)], like(dtype), o)


def space_to_batch(rng: Rng, n: int, dtype: str) -> Case:
    """What a dilated convolution is made of: every second row, or third, a sample of its own."""
    block, image, before = sizes(rng, 1, 3), sizes(rng, 1, 6), sizes(rng, 0, 2)
    after = [-(b + size) % step for b, size, step in zip(before, image, block, strict=True)]
    x, out = moved(rng, [n, *image, int(rng.integers(1, 4))], dtype)
    margins = constant(np.transpose([before, after]))
    return Case("SPACE_TO_BATCH_ND", [x, constant(block), margins], out, options("SpaceToBatchND"))


def batch_to_space(rng: Rng, n: int, dtype: str) -> Case:
    """And back, for an n that the block divides."""
    image = sizes(rng, 1, 4)
    block = pick(rng, *([a, b] for a in (1, 2, 3) for b in (1, 2, 3) if n % (a * b) == 0))
    whole = [size * step for size, step in zip(image, block, strict=True)]
    before = [int(rng.integers(size)) for size in whole]
    after = [int(rng.integers(size - b)) for size, b in zip(whole, before, strict=True)]
    x, out = moved(rng, [n, *image, int(rng.integers(1, 4))], dtype)
    crops = constant(np.transpose([before, after]))
    return Case("BATCH_TO_SPACE_ND", [x, constant(block), crops], out, options("BatchToSpaceND"))


def strided_slice(rng: Rng, n: int, dtype: str) -> Case:
    """From and to anywhere, also outside, in steps of both signs; not empty."""
    shape = [n, *sizes(rng, 1, 6, int(rng.integers(0, 4)))]
    x, out = moved(rng, shape, dtype)
    axes = len(shape)
    while True:
        begin, end, step = (
            sizes(rng, -8, 8, axes),
            sizes(rng, -8, 8, axes),
            rng.choice([1, 1, 2, 3, -1, -2], axes),
        )
        masks = [int(rng.integers(2**axes)) for _ in range(2)]
        shrink = int(rng.integers(2**axes)) & int(rng.integers(2**axes)) if chance(rng, 0.5) else 0
        shrink &= ~int(2 ** rng.integers(axes))  # one axis at least stays
        shrunk = [shrink >> axis & 1 for axis in range(axes)]
        begin = [
            int(rng.integers(-d, d)) if one else b for b, d, one in zip(begin, shape, shrunk, strict=True)
        ]
        # LiteRT takes the end as it is, and wants one place and a step forwards
        end = [b + 1 if one else e for b, e, one in zip(begin, end, shrunk, strict=True)]
        step = [1 if one else int(s) for s, one in zip(step, shrunk, strict=True)]
        masks = [mask & ~shrink for mask in masks]
        places = [
            [begin[a]]
            if shrunk[a]
            else range(d)[
                slice(None if masks[0] >> a & 1 else begin[a], None if masks[1] >> a & 1 else end[a], step[a])
            ]
            for a, d in enumerate(shape)
        ]
        if all(len(p) for p in places):
            break
    o = options("StridedSlice", beginMask=masks[0], endMask=masks[1], shrinkAxisMask=shrink)
    return Case("STRIDED_SLICE", [x, constant(begin), constant(end), constant(step)], out, o)


def shape(rng: Rng, n: int, dtype: str) -> Case:
    x, _ = moved(rng, [n, *sizes(rng, 1, 4, int(rng.integers(0, 5)))], dtype)
    kind = pick(rng, "int32", "int64")
    return Case("SHAPE", [x], like(kind), options("Shape", outType=getattr(schema.TensorType, kind.upper())))


def pack(rng: Rng, n: int, dtype: str) -> Case:
    shape = [n, *sizes(rng, 1, 4, int(rng.integers(0, 3)))]
    first, out = moved(rng, shape, dtype)
    parts = [
        first,
        *(replace(any_values(rng, shape, dtype), params=first.params) for _ in range(rng.integers(0, 4))),
    ]
    axis = int(rng.integers(-len(shape) - 1, len(shape) + 1))
    return Case(
        "PACK", parts, out, options("Pack", axis=axis, valuesCount=len(parts)), tuple(range(len(parts)))
    )


# What makes the cases of an operator, and for which types.
MAKERS = {
    "CONV_2D": (convolution, CODES),
    "DEPTHWISE_CONV_2D": (depthwise_convolution, CODES),
    "FULLY_CONNECTED": (dense, CODES),
    "TRANSPOSE_CONV": (transposed_convolution, CODES),
    "ADD": (elementwise("ADD", "Add"), CODES),
    "SUB": (elementwise("SUB", "Sub"), CODES),
    "MUL": (elementwise("MUL", "Mul"), CODES),
    "RELU": (rectified("RELU"), ANY_CODES),
    "RELU6": (rectified("RELU6"), ANY_CODES),
    "QUANTIZE": (quantize, ANY_CODES),
    "QUANTIZE of codes": (requantize, ANY_CODES),
    "DEQUANTIZE": (dequantize, ANY_CODES),
    "AVERAGE_POOL_2D": (pool("AVERAGE_POOL_2D"), CODES),
    "MAX_POOL_2D": (pool("MAX_POOL_2D"), CODES),
    "MEAN": (mean, CODES),
    "RESHAPE": (reshape, ANY),
    "SQUEEZE": (squeeze, ANY),
    "EXPAND_DIMS": (expand_dims, ANY),
    "TRANSPOSE": (transpose, ANY),
    "PAD": (pad, ANY_CODES),
    "CONCATENATION": (concatenate, ANY),
    "GATHER": (gather, ("int32", "int64")),
    "REDUCE_PROD": (product, ("int32", "int64")),
    "SPACE_TO_BATCH_ND": (space_to_batch, CODES),
    "BATCH_TO_SPACE_ND": (batch_to_space, CODES),
    "STRIDED_SLICE": (strided_slice, ANY),
    "SHAPE": (shape, ANY),
    "PACK": (pack, ANY[:-1]),
}
