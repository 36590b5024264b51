"""Curves of the integer engine: code by code against LiteRT's reference kernels, and against real numbers."""

import itertools

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinylab.affine import AffineParams, dequantize
from tinylab.errors import DataError, ModelFileError
from tinylab.one_operator import Values, run
from tinylab.runners.integer.kernels import curves

from .conftest import slow

CODES = {
    "int8": np.arange(-128, 128).astype(np.int8),
    "int16": np.arange(-(2**15), 2**15).astype(np.int16),
}
SCALES = [1e-6, 1e-3, 0.05, 1, 30, 1000]
ZERO_POINTS = [-128, 0, 127]
SHARES = {"int8": (1 / 256, -128), "int16": (2**-15, 0)}  # the outputs that LiteRT fixes


def params(scale: float, zero_point: int = 0, dtype: str = "int8") -> AffineParams:
    """With the scale rounded to float32, as a file keeps it."""
    return AffineParams(float(np.float32(scale)), int(zero_point), dtype)


def litert(operator: str, x: np.ndarray, x_params: AffineParams, out: AffineParams, **options) -> np.ndarray:
    """What LiteRT answers."""
    chosen = None
    if operator in ("SOFTMAX", "HARD_SWISH", "LEAKY_RELU"):
        name = {"SOFTMAX": "Softmax", "HARD_SWISH": "HardSwish", "LEAKY_RELU": "LeakyRelu"}[operator]
        chosen = getattr(schema, f"{name}OptionsT")()
        for option, value in options.items():
            setattr(chosen, option, value)
    output = Values(np.zeros(x.shape, out.storage), out.scale, out.zero_point)
    return run(operator, chosen, [Values(x, x_params.scale, x_params.zero_point)], output)


class Comparison:
    """Counts the codes compared, and those that differ."""

    def __init__(self):
        self.sets = self.codes = self.differing = 0
        self.different_answers = set()

    def add(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        self.sets += 1
        self.codes += ours.size
        self.differing += int((ours != theirs).sum())
        self.different_answers.add(theirs.tobytes())

    def check(self, sets: int) -> None:
        print(f"{self.codes} codes of {self.sets} parameter sets, {self.differing} differ")
        assert self.differing == 0
        assert self.sets == sets
        assert len(self.different_answers) > sets / 3  # a kernel that ignores its parameters would not do


def input_params(count: int, rng: np.random.Generator, dtype: str) -> list[AffineParams]:
    """Extreme scales and zero points, all combined, and so many random ones."""
    zero_points = ZERO_POINTS if dtype == "int8" else [0]
    fixed = [params(s, z, dtype) for s, z in itertools.product(SCALES, zero_points)]
    scales = 10 ** np.where(rng.random(count) < 0.5, rng.uniform(-6, 3, count), rng.uniform(-3, 0, count))
    if dtype == "int16":
        scales = scales / 256
    return fixed + [params(s, rng.integers(-128, 128) if dtype == "int8" else 0, dtype) for s in scales]


# Element by element: all codes


@pytest.mark.parametrize("count", [150, *slow(5000)])
def test_logistic_in_8_bits_is_litert_s(count):
    found, out = Comparison(), params(1 / 256, -128)
    inputs = input_params(count, np.random.default_rng(count), "int8")
    for x_params in inputs:
        x = CODES["int8"]
        found.add(curves.logistic(x, x_params, out), litert("LOGISTIC", x, x_params, out))
    found.check(len(inputs))


@pytest.mark.parametrize("count", [150, *slow(5000)])
def test_tanh_in_8_bits_is_litert_s(count):
    rng, found, doubtful = np.random.default_rng(count), Comparison(), 0
    inputs = input_params(count, rng, "int8")
    for n, x_params in enumerate(inputs):
        # a converter writes 1/128 and 0; LiteRT takes any
        out = params(10 ** rng.uniform(-6, 0), rng.integers(-128, 128)) if n % 2 else params(1 / 128)
        x = CODES["int8"]
        ours, theirs = curves.tanh(x, x_params, out), litert("TANH", x, x_params, out)
        # The last bit of C's tanhf, which not every machine has right, decides what lies beside a half.
        steps = np.tanh(dequantize(x, x_params).astype(np.float64)) / out.scale
        beside_half = np.abs(np.abs(steps) % 1 - 0.5) < 2.0**-22 * np.abs(steps)
        beside_half &= np.abs(ours.astype(int) - theirs) == 1
        doubtful += int(beside_half.sum())
        found.add(np.where(beside_half, theirs, ours), theirs)
    found.check(len(inputs))
    assert doubtful <= 1 + found.codes * 1e-6


# Scales on both sides of where LiteRT stops taking them for a power of two
NEAR_POWERS = [2.0**-k * (1 + d) for k in (13, 12, 11, 10) for d in (0, 6.6e-4, -6.6e-4, 7.2e-4, -7.2e-4)]


@pytest.mark.parametrize("operator", ["LOGISTIC", "TANH"])
@pytest.mark.parametrize("count", [20, *slow(400)])
def test_logistic_and_tanh_in_16_bits_are_litert_s(operator, count):
    kernel = {"LOGISTIC": curves.logistic, "TANH": curves.tanh}[operator]
    rng, found, out = np.random.default_rng(count), Comparison(), params(2**-15, 0, "int16")
    inputs = input_params(count, rng, "int16") + [params(s, 0, "int16") for s in NEAR_POWERS]
    inputs += [params(10**e, 0, "int16") for e in rng.uniform(-4.5, -3, count)]
    inputs += [params(s, 0, "int16") for s in (1e-8, 1e-9, 1e-10)]  # the longest shifts to the right
    for x_params in inputs:
        x = CODES["int16"]
        found.add(kernel(x, x_params, out), litert(operator, x, x_params, out))
    found.check(len(inputs))


@pytest.mark.parametrize("count", [500, *slow(5000)])
def test_hard_swish_is_litert_s(count):
    rng, found = np.random.default_rng(count), Comparison()
    inputs = input_params(count, rng, "int8")
    for n, x_params in enumerate(inputs):
        widening = 10 ** rng.uniform(-0.5, 0.5) if n % 2 else 10 ** rng.uniform(-2, 3)
        out = params(x_params.scale * widening, rng.integers(-128, 128))
        x = CODES["int8"]
        found.add(curves.hard_swish(x, x_params, out), litert("HARD_SWISH", x, x_params, out))
    found.check(len(inputs))


@pytest.mark.parametrize(
    ("scale", "zero_point", "out_scale"),
    [
        # a multiplier just below a power of two, rounded up to 2**15, which becomes 2**15 - 1
        (0.015538137406110764, -54, 0.015538305044174194),
        (0.008074616082012653, 127, 0.004037325736135244),
        (0.0036780156660825014, 86, 0.0018390101613476872),
        # another multiplier if computed in double precision
        (0.028852811083197594, 110, 0.0016612937906756997),
        (0.015332364477217197, -35, 0.008932226337492466),
        (0.21479374170303345, -7, 0.5416311621665955),
    ],
)
def test_scales_at_which_the_last_bits_of_hard_swish_decide(scale, zero_point, out_scale):
    x, x_params, out = CODES["int8"], params(scale, zero_point), params(out_scale)
    assert np.array_equal(curves.hard_swish(x, x_params, out), litert("HARD_SWISH", x, x_params, out))


@pytest.mark.parametrize(
    ("scale", "zero_point"),
    [
        # another answer if scale * (q - zero_point) is computed in double precision
        (0.009239745326340199, 38),
        (0.02494610659778118, -22),
        (0.04647252336144447, 8),
        # or the exponential by NumPy's own float32 function
        (0.035776011645793915, -62),
        (0.013985348865389824, 75),
        (0.033883236348629, -2),
    ],
)
def test_scales_at_which_the_last_bit_of_float32_decides(scale, zero_point):
    x, x_params, out = CODES["int8"], params(scale, zero_point), params(1 / 256, -128)
    assert np.array_equal(curves.logistic(x, x_params, out), litert("LOGISTIC", x, x_params, out))


def test_hard_swish_takes_scales_just_until_litert_refuses_them():
    x, x_params = CODES["int8"], params(0.1)
    edge = np.float32(x_params.scale) / np.float32(128)
    for scale in (np.nextafter(edge, np.float32(1)), edge):
        out = params(scale)
        if scale == edge:
            with pytest.raises(ModelFileError):
                litert("HARD_SWISH", x, x_params, out)
            with pytest.raises(DataError, match="LiteRT refuses"):
                curves.hard_swish(x, x_params, out)
        else:
            assert np.array_equal(curves.hard_swish(x, x_params, out), litert("HARD_SWISH", x, x_params, out))


ALPHAS = [0.1, 0.2, 0.3, 0.01, 1.5, 0.0, -0.3]


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("count", [60, *slow(1000)])
def test_leaky_relu_is_litert_s(dtype, count):
    rng, found = np.random.default_rng(count), Comparison()
    inputs = input_params(count, rng, dtype)
    for n, x_params in enumerate(inputs):
        alpha = float(np.float32(ALPHAS[n % len(ALPHAS)] if n % 3 else rng.normal()))
        widening = [1, 10 ** rng.uniform(-1, 1), 10 ** rng.uniform(-6, 5)][n % 3]
        zero_point = rng.integers(-128, 128) if dtype == "int8" else 0
        out = params(x_params.scale * widening, zero_point, dtype)
        x = CODES[dtype]
        theirs = litert("LEAKY_RELU", x, x_params, out, alpha=alpha)
        found.add(curves.leaky_relu(x, alpha, x_params, out), theirs)
    found.check(len(inputs))


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("alpha", [0.5, -0.5, 0.25, -0.25, 0.75, -0.75])
def test_exact_halves_of_leaky_relu(dtype, alpha):
    x, same = CODES[dtype], params(0.1, 0, dtype)
    theirs = litert("LEAKY_RELU", x, same, same, alpha=alpha)
    assert np.array_equal(curves.leaky_relu(x, alpha, same, same), theirs)


@pytest.mark.parametrize("halves", [0.5, 1.5, 2.5, 3.5, 100.5])
def test_exact_halves_of_tanh(halves):
    """For large x, tanh is 1, or -1, in steps of 1 / 2.5."""
    x, x_params, out = CODES["int8"], params(30.0), params(1 / halves)
    assert np.array_equal(curves.tanh(x, x_params, out), litert("TANH", x, x_params, out))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("hard_swish", "int8"),
        *((n, t) for n in ("logistic", "tanh", "leaky_relu") for t in ("int8", "int16")),
    ],
)
def test_any_shape_and_any_order(name, dtype):
    x_params, out = params(0.03 if dtype == "int8" else 2e-4, 0, dtype), params(1 / 128, 0, dtype)
    more = (0.1,) if name == "leaky_relu" else ()
    whole = getattr(curves, name)(CODES[dtype], *more, x_params, out)
    rng = np.random.default_rng(0)
    for shape in [(3, 2, 4), (255,), (256,), (300, 250), (0, 5)]:  # below and above the size of a table
        at = rng.integers(0, len(whole), shape)
        found = getattr(curves, name)(CODES[dtype][at], *more, x_params, out)
        assert np.array_equal(found, whole[at])
        assert found.dtype == out.storage


# Softmax: rows


def random_rows(dtype: str, count: int, depth: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of evenly spread codes, of codes close together, and of nothing but both ends."""
    limits = np.iinfo(dtype)
    spread = rng.integers(limits.min, limits.max + 1, (count, depth))
    close = np.round(
        rng.normal(0, 10 ** rng.uniform(0, np.log10(limits.max / 2), (count, 1)), (count, depth))
    )
    ends = np.where(rng.random((count, depth)) < 0.5, limits.min, limits.max)
    kind = rng.choice(3, (count, 1), p=[0.4, 0.5, 0.1])
    rows = np.select([kind == 0, kind == 1], [spread, close], ends)
    return np.clip(rows, limits.min, limits.max).astype(dtype)


SOFTMAX_SCALES = {
    "int8": [1e-6, 1e-3, 0.05, 0.1, 0.3, 1, 30, 1000],
    "int16": [1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 0.05, 1, 1000],
}
BETAS = [1, 1, 0.5, 10, 0.7]


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("rows", [300_000, *slow(3_000_000)])
def test_hundreds_of_thousands_of_softmax_rows_are_litert_s(dtype, rows):
    rng, found = np.random.default_rng(rows), Comparison()
    depths = {1: 1, 2: 40, 3: 30, 10: 240, 100: 20, 500: 4, 1000: 2, 3000: 1}  # how many sets of each
    depths = [depth for depth, times in depths.items() for _ in range(times)]
    compared = 0
    for depth in depths:
        count = max(rows // len(depths) * min(100, 10 * 100 // depth) // 100, 2)
        scale = SOFTMAX_SCALES[dtype][found.sets % 8] * rng.choice([1, rng.uniform(0.5, 2)])
        x_params = params(scale, rng.choice(ZERO_POINTS) if dtype == "int8" else 0, dtype)
        beta = float(np.float32(rng.choice(BETAS)))
        out = params(*SHARES[dtype], dtype)
        x = random_rows(dtype, count, depth, rng)
        if dtype == "int8" and depth > 500:  # fewer than 512 exponentials of 1, at which LiteRT ends
            x_params = params(0.05, x_params.zero_point)
            x[:, 0], x[:, 400:] = 127, np.minimum(x[:, 400:], 20)
        theirs = litert("SOFTMAX", x, x_params, out, beta=beta)
        found.add(curves.softmax(x, beta, x_params, out), theirs)
        compared += count
    assert compared > 0.8 * rows
    found.check(len(depths))


@pytest.mark.parametrize(("dtype", "largest"), [("int8", 1), ("int16", 1), ("int16", 8)])
def test_every_difference_of_two_numbers_is_litert_s(dtype, largest):
    """Rows of the largest code and another one: each entry of the tables.

    With 8 of the largest, some sums are just below 2**18 steps, where the 16-bit reciprocal saturates.
    """
    found, limits = Comparison(), np.iinfo(dtype)
    out = params(*SHARES[dtype], dtype)
    scales = [*SOFTMAX_SCALES[dtype], 2**-20, 0.249, 0.25, 0.251, 31 / 255, 32 / 255, 31.0, 31.9, 32.0]
    for scale in scales:
        x = np.full((len(CODES[dtype]), largest + 1), limits.max, dtype)
        x[:, -1] = CODES[dtype]
        x_params = params(scale, 0, dtype)
        found.add(curves.softmax(x, 1.0, x_params, out), litert("SOFTMAX", x, x_params, out, beta=1.0))
    found.check(len(scales))


@pytest.mark.parametrize("rows", [150_000, *slow(3_000_000)])
def test_softmax_from_8_bits_to_16_bits_is_litert_s(rows):
    """The same arithmetic, and 8 more bits of it to see: a last bit that is wrong anywhere shows here."""
    rng, found, out = np.random.default_rng(rows), Comparison(), params(2**-16, -(2**15), "int16")
    for n in range(30):
        depth, beta = int(rng.choice([2, 3, 4, 10])), float(np.float32(rng.uniform(0.1, 2)))
        x = random_rows("int8", rows // 30, depth, rng)
        x[:, 0] = 127
        x_params = params(10 ** rng.uniform(-2.5, -0.5) if n % 6 else SOFTMAX_SCALES["int8"][n % 8])
        theirs = litert("SOFTMAX", x, x_params, out, beta=beta)
        found.add(curves.softmax(x, beta, x_params, out), theirs)
    found.check(30)


def test_sums_of_exponentials_up_to_the_last_that_litert_takes():
    x_params, out, found = params(0.05), params(1 / 256, -128), Comparison()
    for depth in [*range(1, 34), 63, 64, 65, 127, 128, 129, 255, 256, 257, 510, 511]:
        x = np.zeros((1, depth), np.int8)
        found.add(curves.softmax(x, 1.0, x_params, out), litert("SOFTMAX", x, x_params, out, beta=1.0))
    assert found.differing == 0
    for depth in (512, 513, 1000, 5000):
        with pytest.raises(DataError, match="512 or more"):
            curves.softmax(np.zeros((1, depth), np.int8), 1.0, x_params, out)


def test_the_smallest_scale_of_a_softmax():
    out, x = params(1 / 256, -128), np.int8([[-128, 127]])
    for factor in (1 + 2.0**-23, 2.0):
        x_params = params(2.0**-26 * factor)
        theirs = litert("SOFTMAX", x, x_params, out, beta=1.0)
        assert np.array_equal(curves.softmax(x, 1.0, x_params, out), theirs)
    for scale, beta in ((2.0**-26, 1.0), (2.0**-20, 2.0**-7), (1.0, 0.0), (1.0, -1.0)):
        with pytest.raises(DataError, match=r"more than 2\*\*-26"):
            curves.softmax(x, beta, params(scale), out)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "scale"), [(512, 0.05), (10, 2.0**-26)])
def test_litert_ends_the_process_where_the_kernel_raises(run_python, depth, scale):
    code = f"""
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tinylab.one_operator import Values, run
options = schema.SoftmaxOptionsT()
options.beta = 1.0
x = np.zeros((1, {depth}), np.int8)
print("started", flush=True)
run("SOFTMAX", options, [Values(x, {scale})], Values(x, 1 / 256, -128))
print("survived")
"""
    process = run_python(code, wait=False)
    out, _ = process.communicate(timeout=120)
    assert out.split() == ["started"]
    assert process.returncode != 0


@pytest.mark.parametrize("shape", [(7,), (2, 7), (2, 3, 7), (2, 3, 1, 7)])
def test_softmax_is_along_the_last_axis(shape):
    x = random_rows("int8", np.prod(shape[:-1], dtype=int), shape[-1], np.random.default_rng(1)).reshape(
        shape
    )
    x_params, out = params(0.05), params(1 / 256, -128)
    found = curves.softmax(x, 1.0, x_params, out)
    assert np.array_equal(found, litert("SOFTMAX", x, x_params, out, beta=1.0))
    assert np.array_equal(found.reshape(-1, 7), curves.softmax(x.reshape(-1, 7), 1.0, x_params, out))


# Against real numbers

rows_of = {
    dtype: st.integers(1, 20).flatmap(lambda depth, dtype=dtype: arrays(dtype, depth)) for dtype in CODES
}
scales = st.floats(1e-4, 0.3)


@given(rows_of["int8"], scales)
def test_softmax_in_8_bits_is_a_code_beside_the_real_one_at_most(x, scale):
    x_params, out = params(scale), params(1 / 256, -128)
    exact = np.exp(dequantize(x, x_params).astype(np.float64))
    exact *= 256 / exact.sum()
    found = curves.softmax(x, 1.0, x_params, out).astype(int) + 128
    assert (np.abs(found - np.minimum(exact, 255)) < 0.51).all()


@given(rows_of["int16"], scales)
def test_softmax_in_16_bits_is_close_to_the_real_one(x, scale):
    x_params, out = params(scale / 256, 0, "int16"), params(2**-15, 0, "int16")
    exact = np.exp(dequantize(x, x_params).astype(np.float64) - dequantize(x, x_params).max())
    exact *= 2**15 / exact.sum()
    assert (
        np.abs(curves.softmax(x, 1.0, x_params, out) - exact) < 6 + 2 * len(x)
    ).all()  # exp(-10), 1.5 codes, is the least


@given(rows_of["int8"], st.integers(-255, 255), scales)
def test_softmax_sees_differences_only(x, moved, scale):
    moved = np.clip(moved, -128 - int(x.min()), 127 - int(x.max()))
    out = params(1 / 256, -128)
    found = curves.softmax(x, 1.0, params(scale), out)
    assert np.array_equal(found, curves.softmax((x + moved).astype(np.int8), 1.0, params(scale, 5), out))


@pytest.mark.parametrize("scale", [1e-5, 1e-4, 2**-12, 2**-11, 3e-4])
def test_curves_in_16_bits_are_close_to_the_real_ones_and_symmetric(scale):
    x, x_params, out = CODES["int16"], params(scale, 0, "int16"), params(2**-15, 0, "int16")
    real = x * x_params.scale
    share, tangent = curves.logistic(x, x_params, out), curves.tanh(x, x_params, out)
    assert np.abs(share - 2**15 / (1 + np.exp(-real))).max() < 11  # at most 10.7: the table ends there
    assert np.abs(tangent - 2**15 * np.tanh(real)).max() < 4
    positive = slice(2**15 + 1, None)
    # the scaled x is rounded half up, not symmetrically: it may be one step of 1/12288 beside -x
    assert (np.abs(share[positive].astype(int) + share[2**15 - 1 : 0 : -1] - 2**15) <= 2).all()
    assert (np.abs(tangent[positive].astype(int) + tangent[2**15 - 1 : 0 : -1]) <= 4).all()
