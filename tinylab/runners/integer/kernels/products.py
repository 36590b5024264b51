"""Layers that multiply and add: convolutions and dense layers.

All of them compute, for each output channel c,

    sum_c = bias_c + sum of (q - zero_point) * weights_c
    q_out = zero_point_out + round(M_c * sum_c),   M_c = scale * weight_scale_c / scale_out

Weights are symmetric: their zero point is 0 (a dense layer may have another one).

The sums are computed in floating point, and are exact. BLAS, the library behind NumPy's fast matrix
product, knows floats only; but a float32 holds every integer up to 2**24, a float64 up to 2**53. As
long as no sum of products, in whatever order, can leave that range, nothing is ever rounded.
`exact_type` bounds the sums from the weights at hand, and chooses.
"""

import math

import numpy as np

from tinylab.affine import AffineParams
from tinylab.errors import DataError
from tinylab.fixed_point import real_multiplier
from tinylab.runners.integer.kernels.rescaling import finished, rescale, rescale_double, rescale_wide
from tinylab.runners.integer.kernels.sizes import LARGEST, checked
from tinylab.runners.integer.kernels.windows import margins, padded, positions, windows


def largest_step(params: AffineParams) -> int:
    """The largest `|q - zero_point|` that a type allows.

    >>> largest_step(AffineParams(0.1, -100))
    227
    """
    return max(params.zero_point - params.lowest, params.highest - params.zero_point)


def exact_type(params: AffineParams, weights: np.ndarray) -> type:
    """The float type in which every sum of (q - zero_point) * weights is exact.

    No sum, however far it has come, exceeds largest `|q - zero_point|` * sum of `|weights|`.

    Args:
        params: of the activations.
        weights: integers (..., C), all that one output adds up along the first axes.

    >>> exact_type(AffineParams(0.1, -128), np.full((64, 1), 127))
    <class 'numpy.float32'>
    >>> exact_type(AffineParams(0.1, -128), np.full((640, 1), 127))
    <class 'numpy.float64'>
    """
    magnitudes = np.abs(weights, dtype=np.int64).reshape(-1, weights.shape[-1])
    largest = largest_step(params) * int(magnitudes.sum(axis=0).max(initial=0))
    return np.float32 if largest <= 2**24 else np.float64


def codes_of(
    products: np.ndarray,
    bias: np.ndarray | None,
    real: np.ndarray,
    params: AffineParams,
    activation: str,
) -> np.ndarray:
    """Exact float sums to codes: add the bias, multiply by M, add the zero point, saturate."""
    # 16-bit activations come with 64-bit sums, unless the bias says otherwise.
    wide = params.dtype == "int16" and (bias is None or bias.dtype == np.int64)
    # 32 bits hold what float32 does, and are faster.
    sums = products.astype(np.int64 if wide or products.dtype == np.float64 else np.int32)
    if bias is not None:
        sums += bias
    return finished((rescale_wide if wide else rescale)(sums, real), params, activation)


def _steps(x: np.ndarray, params: AffineParams, exact: type, *window: object) -> np.ndarray:
    """q - zero_point in an exact type, margins included: what lies outside of the image counts as 0."""
    steps = padded(x, *window, value=params.zero_point).astype(exact)
    steps -= exact(params.zero_point)
    return steps


def convolution(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None,
    x_params: AffineParams,
    w_params: AffineParams,
    params: AffineParams,
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    padding: str = "VALID",
    activation: str = "NONE",
) -> np.ndarray:
    """CONV_2D: each window of the image times each filter, as one matrix product.

    Args:
        x: int8 or int16 (N, H, W, I).
        weights: int8 (O, h, w, I / groups); the input's channels are split into so many groups, and
            each group has its own share of the filters.
        bias: int32, or int64 for int16 activations, (O,), or None.
        x_params, w_params, params: scales and zero points of x, weights (one, or one for each
            output channel) and output.

    Returns:
        The output's type, (N, height, width, O).

    >>> x, weights = np.int8([[[[10], [20], [30]]]]), np.int8([[[[1], [2]]]])  # 10 + 40, 20 + 60
    >>> one = AffineParams(1.0, 0)
    >>> convolution(x, weights, None, one, one, AffineParams(2.0, -5)).ravel()
    array([20, 35], dtype=int8)
    """
    outputs, height, width, depth = weights.shape
    groups = x.shape[3] // depth if depth else 0
    if not groups or x.shape[3] % depth or outputs % groups:
        raise DataError(f"weights {weights.shape} do not fit an input {x.shape}.")
    if len(x) > 1 and math.prod(x.shape) * height * width > LARGEST:  # what all windows see at once
        rest = (weights, bias, x_params, w_params, params, strides, dilations, padding, activation)
        return np.concatenate([convolution(part, *rest) for part in np.array_split(x, 2)])
    matrix = weights.reshape(outputs, -1).T
    exact = exact_type(x_params, matrix)
    steps = _steps(x, x_params, exact, (height, width), strides, dilations, padding)
    real = real_multiplier(x_params.scale, w_params.scale, params.scale)
    seen = windows(steps, (height, width), strides, dilations)
    shape = checked(seen.shape)[:3]
    checked((*shape, outputs))
    products = [
        seen[..., group * depth : (group + 1) * depth].reshape(-1, len(matrix)) @ part.astype(exact)
        for group, part in enumerate(np.split(matrix, groups, axis=1))
    ]
    joined = products[0] if groups == 1 else np.concatenate(products, axis=1)
    return codes_of(joined.reshape(*shape, outputs), bias, real, params, activation)


def depthwise_convolution(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None,
    x_params: AffineParams,
    w_params: AffineParams,
    params: AffineParams,
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    padding: str = "VALID",
    activation: str = "NONE",
) -> np.ndarray:
    """DEPTHWISE_CONV_2D: each channel has its own filters, and nothing is added up across channels.

    Args:
        x: int8 or int16 (N, H, W, C).
        weights: int8 (1, h, w, C * multiplier): the filters of channel 0, then those of channel 1, ...
        bias, x_params, w_params, params: as for `convolution`.

    Returns:
        The output's type, (N, height, width, C * multiplier).

    >>> x, weights = np.int8([[[[10, 1], [20, 2]]]]), np.int8([[[[1, 3], [2, 4]]]])  # 10 + 40, 3 + 8
    >>> one = AffineParams(1.0, 0)
    >>> depthwise_convolution(x, weights, None, one, one, one).ravel()
    array([50, 11], dtype=int8)
    """
    _, height, width, outputs = weights.shape
    channels = x.shape[3]
    if weights.shape[0] != 1 or not channels or outputs % channels:
        raise DataError(f"weights {weights.shape} do not fit an input {x.shape}.")
    if channels == 1:  # the same as a convolution, which BLAS computes
        filters = weights.transpose(3, 1, 2, 0)
        return convolution(
            x, filters, bias, x_params, w_params, params, strides, dilations, padding, activation
        )
    exact = exact_type(x_params, weights)
    steps = _steps(x, x_params, exact, (height, width), strides, dilations, padding)
    if outputs != channels:
        checked((*steps.shape[:3], outputs))
        steps = np.repeat(steps, outputs // channels, axis=3)
    taps = weights[0].astype(exact)
    products, product = None, None
    for i, j, seen in positions(steps, (height, width), strides, dilations):
        if products is None:
            products, product = seen * taps[i, j], np.empty(seen.shape, exact)
        else:
            products += np.multiply(seen, taps[i, j], out=product)
    real = real_multiplier(x_params.scale, w_params.scale, params.scale)
    return codes_of(products, bias, real, params, activation)


def dense(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None,
    x_params: AffineParams,
    w_params: AffineParams,
    params: AffineParams,
    activation: str = "NONE",
    keep_dims: bool = False,
) -> np.ndarray:
    """FULLY_CONNECTED: a matrix product, rescaled in double precision (see `fixed_point`).

    Args:
        x: int8 or int16, any shape of N * I values.
        weights: int8 (O, I), zero point w_params.zero_point.
        bias: int32, or int64 for int16 activations, (O,), or None.
        keep_dims: keep all axes of x but the last, instead of (N, O).

    Returns:
        The output's type, (N, O), or (..., O) with keep_dims.

    >>> one = AffineParams(1.0, 0)
    >>> dense(np.int8([[10, 20]]), np.int8([[1, 1], [1, -1]]), np.int32([0, 5]), one, one, one)
    array([[30, -5]], dtype=int8)
    """
    rows_fit = weights.ndim == 2 and weights.shape[1] and x.size % weights.shape[1] == 0
    if not rows_fit or (keep_dims and x.shape[-1] != weights.shape[1]):
        raise DataError(f"weights {weights.shape} do not fit an input {x.shape}.")
    matrix = (weights.astype(np.int64) - np.max(w_params.zero_point)).T
    exact = exact_type(x_params, matrix)
    checked((x.size // len(matrix), matrix.shape[1]))
    steps = x.reshape(-1, len(matrix)).astype(exact) - exact(x_params.zero_point)
    sums = (steps @ matrix.astype(exact)).astype(np.int64)
    if bias is not None:
        sums += bias
    real = real_multiplier(x_params.scale, w_params.scale, params.scale)
    # As in `codes_of`: sums of 64 bits, or else of 32, which wrap around.
    if x_params.dtype != "int16" or (bias is not None and bias.dtype == np.int32):
        sums = sums.astype(np.int32)
    codes = finished(rescale_double(sums, real), params, activation)
    return codes.reshape(*x.shape[:-1], -1) if keep_dims else codes


def transposed_convolution(
    shape: np.ndarray,
    weights: np.ndarray,
    x: np.ndarray,
    bias: np.ndarray | None,
    w_params: AffineParams,
    x_params: AffineParams,
    params: AffineParams,
    strides: tuple[int, int] = (1, 1),
    padding: str = "VALID",
    activation: str = "NONE",
) -> np.ndarray:
    """TRANSPOSE_CONV: each value of the input stamps its filter, times the value, onto the output.

    Input position (y, x) lands at (y, x) * stride; where stamps overlap they add up. SAME padding
    cuts off the margins that a convolution of the output would have added.

    Args:
        shape: of the output: N, height, width, O.
        weights: int8 (O, h, w, I).
        x: int8 or int16 (N, H, W, I).

    Returns:
        The output's type, of that shape.

    >>> x, weights = np.int8([[[[10], [20]]]]), np.int8([[[[1], [2]]]])
    >>> one = AffineParams(1.0, 0)
    >>> shape = np.int32([1, 1, 3, 1])
    >>> transposed_convolution(shape, weights, x, None, one, one, one).ravel()  # 10, 20 + 20, 40
    array([10, 40, 40], dtype=int8)
    """
    shape = checked(shape)
    outputs, *kernel, depth = weights.shape
    batch, *size = x.shape[:3]
    if depth != x.shape[3] or len(shape) != 4 or (shape[0], shape[3]) != (batch, outputs):
        raise DataError(f"weights {weights.shape} and output {shape} do not fit an input {x.shape}.")
    if min(*strides, *shape) < 1:
        raise DataError(f"strides {strides}, output {shape}: 1 at least expected.")
    checked((*x.shape[:3], outputs, *kernel))
    matrix = weights.reshape(-1, depth).T
    exact = exact_type(x_params, weights.reshape(outputs, -1).T)
    steps = x.astype(exact) - exact(x_params.zero_point)
    stamps = (steps.reshape(-1, depth) @ matrix.astype(exact)).reshape(*x.shape[:3], outputs, *kernel)
    reach = [(n - 1) * s + k for n, s, k in zip(size, strides, kernel, strict=True)]
    cut = [margins(n, k, s, padding)[0] for n, k, s in zip(shape[1:3], kernel, strides, strict=True)]
    canvas_size = np.maximum(reach, np.add(cut, shape[1:3]))
    canvas = np.zeros(checked((batch, *canvas_size, outputs)), exact)
    for i, j, place in positions(canvas[:, : reach[0], : reach[1]], tuple(kernel), strides):
        place += stamps[..., i, j]
    products = canvas[:, cut[0] : cut[0] + shape[1], cut[1] : cut[1] + shape[2]]
    real = real_multiplier(x_params.scale, w_params.scale, params.scale)
    return codes_of(products, bias, real, params, activation)
