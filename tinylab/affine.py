"""Affine quantization: real = scale * (q - zero_point), the map behind every 8-bit number.

Source: Jacob et al. (2018), "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", https://arxiv.org/abs/1712.05877, equation 1.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class AffineParams:
    """How one tensor's integers stand for real numbers.

    Attributes:
        scale: real distance between neighbouring integers, > 0 (unit: that of the real numbers).
        zero_point: the integer that stands for the real number 0.
        dtype: NumPy's integer type of the codes, such as int8.
    """

    scale: float
    zero_point: int
    dtype: np.dtype


def quantize(x: np.ndarray, params: AffineParams) -> np.ndarray:
    """Real numbers to integers: q = round(x / scale) + zero_point, saturated.

    Rounds to nearest, halves away from zero, with the division in float32: what the reference kernel
    of LiteRT's QUANTIZE does (other kernels may round an exact half the other way). What lies beyond
    the type's range becomes its smallest or largest integer.

    Args:
        x: real numbers, any shape; finite.
        params: scale, zero point and integer type.

    Returns:
        Integers of `params.dtype`, the shape of x.

    >>> params = AffineParams(scale=0.5, zero_point=-28, dtype=np.dtype("int8"))
    >>> quantize(np.array([0.0, 0.25, -0.25, 1.0, 1000.0]), params)
    array([-28, -27, -29, -26, 127], dtype=int8)
    """
    steps = (np.asarray(x, np.float32) / np.float32(params.scale)).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(steps) + 0.5), steps)
    limits = np.iinfo(params.dtype)
    return np.clip(rounded + params.zero_point, limits.min, limits.max).astype(params.dtype)


def dequantize(q: np.ndarray, params: AffineParams) -> np.ndarray:
    """Integers to real numbers: scale * (q - zero_point), as float32.

    >>> params = AffineParams(scale=0.5, zero_point=-28, dtype=np.dtype("int8"))
    >>> dequantize(np.array([-28, -27, 127], np.int8), params)
    array([ 0. ,  0.5, 77.5], dtype=float32)
    """
    return np.float32(params.scale) * (np.asarray(q, np.int64) - params.zero_point).astype(np.float32)
