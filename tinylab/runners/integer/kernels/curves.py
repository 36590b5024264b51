"""The curves of a network: softmax, logistic, tanh, hard swish and leaky ReLU, on integers.

A curve is more than multiplying and adding. LiteRT's reference kernels (measured with ai-edge-litert
2.3.0; the tests compare code by code) compute them in three ways:

- logistic and tanh in 8 bits: a table of all 256 answers, made in floating point before the network runs;
- logistic, tanh and softmax in 16 bits: a coarse table, and straight lines between its entries;
- softmax and hard swish in 8 bits, and leaky ReLU: arithmetic on fixed-point numbers.

Fixed-point numbers are integers with an agreed place for the binary point. Qm.n has a sign, m bits before
the point and n behind it: the integer k stands for k / 2**n. Q0.31 reaches from -1 to 1, Q5.26 from -32
to 32.

Sources: LiteRT, https://github.com/google-ai-edge/LiteRT/blob/main/tflite/kernels/activations.cc, and the
library gemmlowp, https://github.com/google/gemmlowp/blob/master/fixedpoint/fixedpoint.h.
"""

import functools
import math
from collections.abc import Callable

import numpy as np

from tinylab.affine import AffineParams, integer_limits, round_half_away
from tinylab.errors import DataError
from tinylab.fixed_point import quantize_multiplier, rounding_doubling_high_multiply, rounding_shift_right
from tinylab.runners.integer.kernels.rescaling import finished, rescale

ONE = 2**31 - 1  # the largest number of Q0.31, which has no 1


def softmax(x: np.ndarray, beta: float, x_params: AffineParams, params: AffineParams) -> np.ndarray:
    """Shares of 1, along the last axis: exp(beta * x_i) / sum over j of exp(beta * x_j).

    Computed as exp(beta * scale * (q_i - largest q)), so that no exponential exceeds 1. In 8 bits, that
    leaves 256 differences, and one exponential for each, in Q0.31. They are added up in Q12.19, and each is
    multiplied by the sum's reciprocal: all in integers. 16 bits have a way of their own, `_softmax_16`.

    Source: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/kernels/internal/reference/softmax.h.

    Args:
        x: int8 or int16, (..., C).
        beta: the factor of the exponents, a float32 number of the file; almost always 1.
        x_params: scale of x; its zero point cancels out.
        params: of the answer, whose scale and zero point LiteRT fixes: 1/256 and -128 for int8, 1/32768
            and 0 for int16. (Where x is int8 and the answer int16, it is in steps of 1/65536 from -32768,
            whatever they say.)

    Returns:
        Codes of params.storage, the shape of x.

    Raises:
        DataError: what makes LiteRT end the whole process, in 8 bits: beta * scale not above 2**-26, or
            exponentials that add up to 512 or more (a row of at least 512 numbers).

    >>> x = np.array([[10, 20, 30]], np.int8)
    >>> softmax(x, 1.0, AffineParams(0.1, 0), AffineParams(1 / 256, -128))  # shares 0.09, 0.245, 0.665
    array([[-105,  -65,   42]], dtype=int8)
    """
    distances = x.max(axis=-1, keepdims=True).astype(np.int64) - x
    if x_params.dtype == "int16":
        return finished(_softmax_16(distances, beta, x_params), params)
    exponentials = _exponentials(beta * x_params.scale)[distances]
    sums = rounding_shift_right(exponentials, 12).sum(axis=-1, keepdims=True)  # from Q0.31 to Q12.19
    reciprocals, halvings = _reciprocals(sums)
    if params.dtype == "int8" and (halvings > 8).any():
        raise DataError("a softmax whose exponentials add up to 512 or more: LiteRT would end the process.")
    shares = rounding_doubling_high_multiply(exponentials, reciprocals)
    bits = 8 * params.storage.itemsize
    steps = rounding_shift_right(shares, 31 - bits + halvings)  # from Q0.31 to 1/256, or 1/65536
    return np.minimum(steps + params.lowest, params.highest).astype(params.storage)


def logistic(x: np.ndarray, x_params: AffineParams, params: AffineParams) -> np.ndarray:
    """1 / (1 + exp(-x)), element by element.

    In 8 bits a table of all 256 answers, computed in float32: the only floats here are in making the table,
    before the network runs. In 16 bits, straight lines between entries of `_sigmoids`:
    logistic(-x) = 1 - logistic(x), so that the table needs x >= 0 only.

    Source of the second:
    https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/kernels/internal/reference/integer_ops/logistic.h

    Args:
        x: int8 or int16, any shape.
        x_params: scale and zero point of x; the zero point is 0 if int16.
        params: of the answer, which LiteRT fixes: 1/256 and -128 for int8, 1/32768 and 0 for int16.

    Returns:
        Codes of params.storage, the shape of x.

    >>> x = np.array([-128, 0, 20], np.int8)
    >>> logistic(x, AffineParams(0.05, 0), AffineParams(1 / 256, -128))  # 0.0017, 0.5, 0.731
    array([-128,    0,   59], dtype=int8)
    """
    if x_params.dtype != "int16":
        return _by_float_table(lambda real: 1 / (1 + _float32(np.exp, -real)), x, x_params, params)
    steps = _scaled_16(x, x_params.scale, shifts_of_powers=(0,))
    share = _sigmoid(np.abs(steps), bits=9, most=2**16 - 2)  # 0.25
    share = np.where(steps >= 0, share, 2**25 - 1 - share)
    return _shift_half_up(share, 10).astype(params.storage)  # to 1/32768


def tanh(x: np.ndarray, x_params: AffineParams, params: AffineParams) -> np.ndarray:
    """The hyperbolic tangent, element by element: (exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    In 8 bits a table of all 256 answers, computed in float32: the only floats here are in making the table,
    before the network runs. In 16 bits tanh(x) = 2 * logistic(2 * x) - 1, from the same table as logistic.

    Source of the second:
    https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/kernels/internal/reference/integer_ops/tanh.h

    Args:
        x: int8 or int16, any shape.
        x_params: scale and zero point of x; the zero point is 0 if int16.
        params: of the answer; LiteRT fixes 1/32768 and 0 for int16.

    Returns:
        Codes of params.storage, the shape of x.

    >>> tanh(np.array([-128, 0, 20], np.int8), AffineParams(0.05, 0), AffineParams(1 / 128, 0))  # 20: 0.76
    array([-128,    0,   97], dtype=int8)
    """
    if x_params.dtype != "int16":
        return _by_float_table(lambda real: _float32(np.tanh, real), x, x_params, params)
    steps = _scaled_16(x, x_params.scale, shifts_of_powers=(0, 1))
    half = _sigmoid(np.abs(steps), bits=8, most=2**16 - 1) - 2**23  # tanh / 2, in units of 1 / 2**24
    half = np.where(steps >= 0, half, -1 - half)
    return _shift_half_up(half, 8).astype(params.storage)  # to 1/32768


def hard_swish(x: np.ndarray, x_params: AffineParams, params: AffineParams) -> np.ndarray:
    """x * relu6(x + 3) / 6, element by element: swish, x * logistic(x), with straight lines in place of it.

    All in 16-bit integers. relu6(x + 3) / 6 is half of 1 + x / 3 limited to the range from -1 to 1, which
    is just the range of Q0.15: x / 3 saturates by itself. It is multiplied by x in output steps.

    Source: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/kernels/internal/reference/hard_swish.h.

    Args:
        x: int8, any shape.
        x_params, params: scale and zero point of x and of the answer.

    Returns:
        int8, the shape of x.

    Raises:
        DataError: an output scale below 1/128 of that of x, which LiteRT refuses.

    >>> params = AffineParams(0.05, 0)
    >>> hard_swish(np.array([-80, -40, 0, 40, 80], np.int8), params, params)  # -4, -2, 0, 2, 4
    array([ 0, -7,  0, 33, 80], dtype=int8)
    """
    fine_scale = np.float32(x_params.scale) / np.float32(128)
    multiplier, exponent = _multiplier_16(fine_scale / np.float32(params.scale))
    if exponent > 0:
        raise DataError("a hard swish whose output scale is below 1/128 of its input's: LiteRT refuses it.")

    def curve(q: np.ndarray) -> np.ndarray:
        fine = (q - x_params.zero_point) << 7  # 128 times as fine: the most that 16 bits hold
        in_output_steps = _high_multiply_16(fine, multiplier)  # to be halved -exponent times
        third = _times_16(fine, *_multiplier_16(fine_scale / (np.float32(3) / np.float32(2**15))))  # Q0.15
        share = (third + 2**15) >> 1
        product = _toward_zero(share * in_output_steps, 15)
        return finished(_rounding_shift_right_16(product, -exponent), params)

    return _by_table(curve, x)


def leaky_relu(x: np.ndarray, alpha: float, x_params: AffineParams, params: AffineParams) -> np.ndarray:
    """x where x >= 0, alpha * x elsewhere.

    Two multipliers, scale / scale_out and scale * alpha / scale_out, both computed in float32 (a layer's
    are computed in double precision), and applied by gemmlowp's rule, as in `rescale`.

    Source: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/kernels/internal/reference/leaky_relu.h.

    Args:
        x: int8 or int16, any shape.
        alpha: a float32 number of the file, of any sign.
        x_params, params: scale and zero point of x and of the answer; the zero points are 0 if int16.

    Returns:
        Codes of params.storage, the shape of x.

    >>> params = AffineParams(0.05, 0)
    >>> leaky_relu(np.array([-100, -10, 0, 60], np.int8), 0.1, params, params)
    array([-10,  -1,   0,  60], dtype=int8)
    """
    scale, output_scale = np.float32(x_params.scale), np.float32(params.scale)
    slope = scale * np.float32(alpha) / output_scale

    def curve(q: np.ndarray) -> np.ndarray:
        steps = q - x_params.zero_point
        above = rescale(steps, scale / output_scale)
        # multipliers are positive
        below = np.sign(slope).astype(np.int64) * rescale(steps, np.abs(slope)) if slope else 0
        return finished(np.where(steps >= 0, above, below), params)

    return _by_table(curve, x)


# Tables


def _by_table(curve: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """curve(x), computed once for each code that the type has, where x has more numbers than that.

    >>> _by_table(lambda q: q * q, np.int8([[-2, 3]]))
    array([[4, 9]])
    """
    lowest, highest = integer_limits(x.dtype.name)
    if x.size <= highest - lowest:
        return curve(x.astype(np.int64))
    return curve(np.arange(lowest, highest + 1))[x.astype(np.int64) - lowest]


def _by_float_table(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, x_params: AffineParams, params: AffineParams
) -> np.ndarray:
    """round(function(real x) / scale) + zero_point, for all codes in float32, looked up for those of x.

    Instead of dividing by the scale, LiteRT multiplies by its reciprocal in float32. Source: LUTPopulate in
    https://github.com/google-ai-edge/LiteRT/blob/main/tflite/kernels/internal/common.h.
    """

    def curve(q: np.ndarray) -> np.ndarray:
        real = np.float32(x_params.scale) * (q - x_params.zero_point).astype(np.float32)
        steps = round_half_away(function(real) * (np.float32(1) / np.float32(params.scale)))
        return finished(steps, params)

    return _by_table(curve, x)


def _float32(function: Callable[[np.ndarray], np.ndarray], real: np.ndarray) -> np.ndarray:
    """A function of float32 numbers, computed in float64 and rounded once: the best that float32 can hold.

    LiteRT calls expf and tanhf of the machine's C library, which may be off by float32's last bit. That is
    seen where the result falls on an exact half: one code of tanh in some millions, with glibc 2.36.
    """
    with np.errstate(over="ignore"):  # exp of much is infinite, as in C
        return function(real.astype(np.float64)).astype(np.float32)


# 8-bit softmax: exponentials and a reciprocal in fixed point


def _exponentials(real: float) -> np.ndarray:
    """exp(-real * d) for d = 0 to 255, in Q0.31.

    real * d is computed in Q5.26, and limited before the multiplier, which is 1/2 to 1, is applied. LiteRT
    leaves out what is limited. It comes to the same: below exp(-15), nothing is left of an exponential in
    the 19 bits of the sum, nor in the 16 bits of the finest answer.

    Args:
        real: beta * scale, in double precision.

    >>> (_exponentials(0.1)[:3] / 2**31).round(6)
    array([1.      , 0.904837, 0.818731])
    """
    if not real * 2**26 > 1:
        raise DataError(f"a softmax with beta * scale = {real}: LiteRT wants more than 2**-26.")
    multiplier, shift = quantize_multiplier(min(real, 15.0) * 2**26)
    exponents = np.maximum(-np.arange(256) << shift, -31 * 2**26)
    return _exp(rounding_doubling_high_multiply(exponents, multiplier))


def _exp(x: np.ndarray) -> np.ndarray:
    """exp(x) for x <= 0: Q5.26 in, Q0.31 out.

    x is split into -1/4 <= r < 0 and whole quarters: x = r - quarters / 4. exp(r) is a polynomial. For each
    bit that is set in the number of quarters (they are worth 1/4, 1/2, 1, ... 16), it is multiplied by
    exp(-1/4), exp(-1/2), exp(-1), ... exp(-16).

    Source: gemmlowp's fixedpoint.h, exp_on_negative_values.

    >>> (_exp(np.array([0, -(2**26), -(2**27)])) / 2**31).round(6)  # exp(0), exp(-1), exp(-2)
    array([1.      , 0.36788 , 0.135335])
    """
    quarter = 2**24
    r = (x & (quarter - 1)) - quarter
    quarters = (r - x) >> 24
    result = _exp_near_zero(r << 5)  # from Q5.26 to Q0.31
    for bit in range(7):
        factor = round(math.exp(-(2**bit) / 4) * 2**31)
        is_set = (quarters >> bit) & 1
        result = np.where(is_set, rounding_doubling_high_multiply(result, factor), result)
    return np.where(x == 0, ONE, result)


def _exp_near_zero(x: np.ndarray) -> np.ndarray:
    """exp(x) for -1/4 <= x < 0, Q0.31 in and out: a Taylor polynomial around -1/8.

    exp(-1/8 + t) ~ exp(-1/8) * (1 + t + t**2 / 2 + t**3 / 6 + t**4 / 24), where -1/8 <= t < 1/8; the last
    three terms are computed as ((t**4 / 4 + t**3) / 3 + t**2) / 2.

    >>> (_exp_near_zero(np.array([-(2**29), -(2**28)])) / 2**31).round(6)  # exp(-1/4), exp(-1/8)
    array([0.778801, 0.882497])
    """
    times = rounding_doubling_high_multiply
    middle, third = round(math.exp(-1 / 8) * 2**31), round(2**31 / 3)
    t = x + 2**28
    t2 = times(t, t)
    t3, t4 = times(t2, t), times(t2, t2)
    rest = rounding_shift_right(times(rounding_shift_right(t4, 2) + t3, third) + t2, 1)
    return middle + times(middle, t + rest)


def _reciprocals(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 / sum, as a number of Q0.31 and how many times it is still to be halved.

    A sum, at least 1, is halved until it is below 2; half of that is d, 1/2 <= d < 1. Its reciprocal y is
    found by Newton's method,

        y <- y + y * (1 - d * y),

    in three steps from the straight line 48/17 - 32/17 * d. y / 2 is the reciprocal of the halved sum.

    Source: GetReciprocal in LiteRT's common.h; gemmlowp's fixedpoint.h, one_over_one_plus_x_for_x_in_0_1.

    Args:
        sums: Q12.19.

    >>> reciprocals, halvings = _reciprocals(np.array([2**19, 3 * 2**19]))  # of 1 and of 3
    >>> (reciprocals / 2**31).round(6), halvings  # 2/3, to be halved once, is 1/3
    (array([1.      , 0.666667]), array([0, 1]))
    """
    times = rounding_doubling_high_multiply
    bits = np.frexp(sums)[1].astype(np.int64)  # 2**(bits - 1) <= sum < 2**bits
    d = sums << (31 - bits)  # Q0.31
    y = round(48 / 17 * 2**29) + times(d, round(-32 / 17 * 2**29))  # Q2.29
    for _ in range(3):
        y = y + (times(y, 2**29 - times(d, y)) << 2)  # a product of two numbers of Q2.29 is in Q4.27
    # The integer of y / 2 in Q0.31 is twice that of y in Q2.29.
    return np.minimum(y << 1, ONE), bits - 20


# 16 bits: coarse tables, and straight lines between their entries


def _softmax_16(distances: np.ndarray, beta: float, x_params: AffineParams) -> np.ndarray:
    """Softmax in steps of 1/32768: exponentials and a reciprocal from tables of 513 entries.

    The exponents, down to -10, are taken to 65,536 codes, and looked up. The sum of the exponentials is
    halved until it is 1 + f with 0 <= f < 1, and 1 / (1 + f) is looked up.

    Args:
        distances: by how much each code lies below the largest of its row, int64 (..., C).
        beta: a float32 number.
        x_params: scale of the codes.

    >>> _softmax_16(np.array([2000, 1000, 0]), 1.0, AffineParams(0.001, 0, "int16")) / 2**15
    array([0.09002686, 0.24472046, 0.66525269])
    """
    # the product in float32, the division in double precision
    real = np.float64(np.float32(x_params.scale) * np.float32(beta)) / (10 / 65535)
    exponents = np.clip(rescale(-distances, real) + 32767, -32768, 32767)  # these stand for -10 to 0
    exponentials = _between(exponents, _table_16(np.exp, -10.0, 0.0))  # Q0.15
    sums = exponentials.sum(axis=-1, keepdims=True)
    bits = np.frexp(sums)[1].astype(np.int64)  # 2**(bits - 1) <= sum < 2**bits
    fraction = _shift_half_up(sums << (31 - bits), 14) - 2**16  # f, 0 to 65536
    fraction = np.minimum(fraction - 32768, 32767)  # as a code of 16 bits
    reciprocals = _between(fraction, _table_16(_one_over_one_plus, 0.0, 1.0))
    return _shift_half_up(exponentials * reciprocals, bits - 1)


def _one_over_one_plus(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + x)


@functools.cache
def _table_16(function: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> np.ndarray:
    """function(x) in steps of 1/32768, at 513 places from low to high: ends of straight lines.

    Each entry but the last is moved by half the error that the line to the next one has in its middle, so
    that the error is spread to both sides. The only floats here: tables are made before the network runs.

    Source: LUTPopulateInt16 in LiteRT's common.h.

    >>> _table_16(np.exp, -10.0, 0.0)[[0, 256, 511, 512]]  # exp(-10), exp(-5), ...
    array([    2,   221, 32133, 32767])
    """
    step = (high - low) / 512
    exact = function(low + np.arange(513) * step) * 32768
    middle = round_half_away(function(low + np.arange(512) * step + step / 2) * 32768)
    rounded = round_half_away(exact)
    middle_of_line = round_half_away((rounded[:-1] + exact[1:]) / 2)
    rounded[:-1] -= round_half_away((middle_of_line - middle) / 2)
    return np.clip(rounded, -32768, 32767).astype(np.int64)


def _between(codes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Entries of a table of 513, linearly interpolated: the upper 9 of 16 bits choose, the lower 7 divide.

    Source: LUTLookup in LiteRT's common.h.

    >>> _between(np.array([-32768, -32768 + 64, 32767]), np.arange(513) * 10)
    array([   0,    5, 5120])
    """
    index, part = (codes >> 7) + 256, codes & 127
    return table[index] + _shift_half_up((table[index + 1] - table[index]) * part, 7)


def _shift_half_up(x: np.ndarray, bits: np.ndarray | int) -> np.ndarray:
    """round(x / 2**bits), exact halves up; bits >= 1.

    >>> _shift_half_up(np.array([5, -5, 4]), 1)  # 2.5, -2.5 and 2
    array([ 3, -2,  2])
    """
    return (x + (1 << (bits - 1))) >> bits


@functools.cache
def _sigmoids() -> np.ndarray:
    """logistic(i / 24) for i = 0 to 255, in steps of 1/65536: LiteRT's table, made anew.

    Lines between points of a curve that bends down lie below it. So each entry is raised by half of what
    the line to the next one misses in its middle. The last entry is the largest code.

    >>> _sigmoids()[[0, 24, 254, 255]]  # logistic(1) = 0.7310586
    array([32768, 47911, 65534, 65535])
    """

    def exact(i: np.ndarray) -> np.ndarray:
        return 2**16 / (1 + np.exp(-i / 24))

    i = np.arange(255)
    missing = exact(i + 0.5) - (exact(i) + exact(i + 1)) / 2
    return np.append(np.round(exact(i) + missing / 2), 2**16 - 1).astype(np.int64)


def _sigmoid(x: np.ndarray, bits: int, most: int) -> np.ndarray:
    """The logistic function of x >= 0, from `_sigmoids`, linearly interpolated.

    Args:
        x: integers that stand for x / 2**bits / 24.
        bits: how many of them lie between two entries.
        most: the answer, in steps of 1/65536, from the last entry on.

    Returns:
        int64 in steps of 1 / 2**(16 + bits).
    """
    index, part = np.minimum(x >> bits, 254), x & (2**bits - 1)
    left, right = _sigmoids()[index], _sigmoids()[index + 1]
    return np.where(x >> bits >= 255, most << bits, (left << bits) + part * (right - left))


def _scaled_16(x: np.ndarray, scale: float, shifts_of_powers: tuple[int, ...]) -> np.ndarray:
    """x * scale in steps of 1 / (3 * 4096), 512 of which are 1/24: by a multiplier, and a shift to the right.

    Scales of 2**-12 times a power of two do without a shift to the right; LiteRT also takes those for a power
    of two that are 0.07 % beside it. What overflows 32 bits wraps around.

    Args:
        x: int16, any shape.
        scale: of x.
        shifts_of_powers: which powers, relative to 2**-12.

    >>> _scaled_16(np.int16([4096]), 2**-12, (0,)), _scaled_16(np.int16([10000]), 1e-4, (0,))  # real 1.0
    (array([12288]), array([12288]))
    """
    log2 = np.float32(math.log(scale)) * (np.float32(1) / np.float32(math.log(2)))
    power = round(float(log2))
    if power + 12 in shifts_of_powers and abs(log2 - np.float32(power)) < np.float32(1e-3):
        multiplier, shift = 3 << (power + 12), 0
    else:
        multiplier, shift = scale * 3 * 4096, 0
        while multiplier <= 32767 / 2 and shift <= 30:
            multiplier, shift = multiplier * 2, shift + 1
    product = x.astype(np.int64) * int(multiplier)
    if shift:
        product += 1 << (shift - 1)
    return product.astype(np.int32).astype(np.int64) >> shift


# 16-bit arithmetic of hard swish


def _multiplier_16(real: np.float32) -> tuple[int, int]:
    """A real number as a 15-bit integer and an exponent: real ~ multiplier * 2**(exponent - 15).

    The 31-bit multiplier of a layer, rounded to its upper half, and saturated. (Source:
    DownScaleInt32ToInt16Multiplier in LiteRT's common.h.)

    >>> _multiplier_16(0.3)  # 19661 / 2**16
    (19661, -1)
    """
    multiplier, exponent = quantize_multiplier(real)
    return min(int(_shift_half_up(multiplier, 16)), 2**15 - 1), int(exponent)


def _high_multiply_16(a: np.ndarray, b: int) -> np.ndarray:
    """round(a * b / 2**15), exact halves up: the product of two numbers of Q0.15.

    >>> _high_multiply_16(np.array([3, -3]), 2**14)  # 1.5 and -1.5
    array([ 2, -1])
    """
    return _shift_half_up(a * b, 15)


def _times_16(x: np.ndarray, multiplier: int, exponent: int) -> np.ndarray:
    """x * real in 16 bits, saturated, for a real number as `_multiplier_16` gives it.

    Of a shift to the left, the last bit comes after the multiplication and its rounding. (LiteRT saturates
    before the multiplication, too; as that halves at most, what saturates there saturates at the end.)

    >>> _times_16(np.array([100, -100, 30000]), *_multiplier_16(2.5))
    array([  250,  -250, 32767])
    """
    if exponent <= 0:
        return _rounding_shift_right_16(_high_multiply_16(x, multiplier), -exponent)
    product = _high_multiply_16(x << (exponent - 1), multiplier) << 1
    return np.clip(product, -(2**15), 2**15 - 1)


def _toward_zero(x: np.ndarray, bits: int) -> np.ndarray:
    """x / 2**bits without its fraction."""
    return np.sign(x) * (np.abs(x) >> bits)


def _rounding_shift_right_16(x: np.ndarray, bits: int) -> np.ndarray:
    """round(x / 2**bits), exact halves away from zero, with a flaw of LiteRT's kept in.

    From 16 bits on, 0 would be right (-1 at most). But its mask of the bits shifted out is a 16-bit number
    too, overflows, and a 1 or a -1 comes out. It takes an output scale 256 times that of the input.

    >>> _rounding_shift_right_16(np.array([30000, -5]), 15), _rounding_shift_right_16(np.array([3, -3]), 16)
    (array([1, 0]), array([ 1, -1]))
    """
    return rounding_shift_right(x, bits) if bits < 16 else np.where(x >= 0, 1, -1)
