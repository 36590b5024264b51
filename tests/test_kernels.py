"""Operators of the integer engine, one at a time, against LiteRT's reference kernels: every number.

Curves have tests of their own: `test_kernels_curves`. What both take has to be the same to the bit. What
only LiteRT takes, the engine may refuse; it must not give another answer.
"""

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from tinylab import runners
from tinylab.affine import AffineParams
from tinylab.errors import DataError, ModelFileError
from tinylab.fixed_point import multiply_double, multiply_fixed_point, multiply_reduced, quantize_multiplier
from tinylab.runners.integer.kernels import products, rescaling

from .cases import CODES, MAKERS, codes, constant, like
from .conftest import slow
from .graphs import Case, File, Values, fed, options, to_tflite

CASES_IN_A_FILE = 30
OPERATORS = [(name, dtype) for name, (_, dtypes) in MAKERS.items() for dtype in dtypes]


def p(scale: float = 1.0, zero_point: int = 0, dtype: str = "int8") -> AffineParams:
    return AffineParams(float(np.float32(scale)), zero_point, dtype)


def traced(content: bytes, x: list[np.ndarray], **choice: str) -> list[np.ndarray]:
    """Every tensor that a run computes."""
    return list(runners.load(content, **choice).trace(x).tensors.values())


def shaped(case: Case, output: np.ndarray) -> Case:
    """With the output's shape in the file. LiteRT finds it out by itself; the engine may rely on it."""
    return replace(case, output=replace(case.output, array=output))


def compare(cases: list[Case], batch: int) -> Counter:
    """Run both on a file of cases: how many of what was compared."""
    x, found = fed(cases), Counter()
    theirs = traced(to_tflite(cases), x, kernels="reference")
    assert len(theirs) == len(x) + len(cases)
    cases = [shaped(*pair) for pair in zip(cases, theirs[len(x) :], strict=True)]
    ours = traced(to_tflite(cases), x, engine="integer")
    for case, a, b in zip(cases, ours[len(x) :], theirs[len(x) :], strict=True):
        same = (a.shape, a.dtype) == (b.shape, b.dtype) and np.array_equal(a, b)
        found.update(cases=1, values=b.size, different=not same, varied=len(np.unique(b)) > 1)
        if not same:
            print(f"batch {batch}: {case}\nours {a}\ntheirs {b}")
    return found


@pytest.mark.parametrize("files", [1, *slow(5)])
@pytest.mark.parametrize(("operator", "dtype"), OPERATORS)
def test_random_cases_are_computed_as_litert_does(operator, dtype, files, record_property):
    make, found = MAKERS[operator][0], Counter()
    for seed in range(files):
        rng = np.random.default_rng([seed, files])
        batch = 12 if operator == "BATCH_TO_SPACE_ND" else int(rng.integers(1, 5))
        found += compare([make(rng, batch, dtype) for _ in range(CASES_IN_A_FILE)], batch)
    for name, count in found.items():
        record_property(name, count)
    print(operator, dtype, dict(found))
    assert found["different"] == 0
    assert found["cases"] == files * CASES_IN_A_FILE
    # and a kernel that answers the same everywhere would be found out
    assert found["varied"] > found["cases"] / 2


# Ends, beyond what the random cases reach


def answers(case: Case) -> tuple[np.ndarray, np.ndarray]:
    x = fed([case])
    theirs = traced(to_tflite([case]), x, kernels="reference")[-1]
    return traced(to_tflite([shaped(case, theirs)]), x, engine="integer")[-1], theirs


def agree(case: Case) -> bool:
    ours, theirs = answers(case)
    return (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype) and np.array_equal(ours, theirs)


def all_codes(params: AffineParams) -> Values:
    low, high = params.lowest, params.highest
    return Values(np.arange(low, high + 1).astype(params.dtype)[np.newaxis], params)


@pytest.mark.parametrize(
    "real", [2.0**-40, 2.0**-33, 2.0**-32, 2.0**-31, 0.3, 1.0, 2.0**10, 2.0**25, 2.0**29]
)
@pytest.mark.parametrize("dtype", CODES)
def test_codes_are_rescaled_by_any_multiplier(real, dtype):
    """Far beyond where everything is 0, or saturated, or wraps around."""
    x, out = all_codes(p(1, 0, dtype)), p(1 / real, 0, dtype)
    assert agree(Case("RELU", [x], like(dtype, out)))
    assert agree(Case("QUANTIZE", [x], like(dtype, out), options("Quantize")))
    assert agree(Case("MUL", [x, Values(x.array[:, ::-1], x.params)], like(dtype, out), options("Mul")))


@pytest.mark.parametrize("operator", ["RELU", "RELU6", "QUANTIZE", "MUL"])
def test_all_16_bit_codes_are_rescaled_with_the_same_precision(operator):
    """A multiplier in float32 differs from one in double precision in one code of some hundreds."""
    rng = np.random.default_rng(0)
    x = rng.permutation(all_codes(p(1, 0, "int16")).array[0])[np.newaxis]
    chosen = {"QUANTIZE": options("Quantize"), "MUL": options("Mul")}
    for _ in range(10):
        first = Values(x, p(10 ** rng.uniform(-3, 1), 0, "int16"))
        out = p(first.params.scale * rng.uniform(1, 1.5), 0, "int16")
        inputs = [first]
        if operator == "MUL":
            second = Values(x[:, ::-1], p(10 ** rng.uniform(-3, 1), 0, "int16"))
            inputs.append(second)
            out = p(out.scale * second.params.scale * 2**14, 0, "int16")
        assert agree(Case(operator, inputs, like("int16", out), chosen.get(operator)))


@pytest.mark.parametrize("operator", ["ADD", "SUB"])
@pytest.mark.parametrize(
    "scales",
    [(1, 1, 2.0**-14), (1, 2.0**-40, 1), (1, 1e-38, 1), (1e-20, 1, 1), (1, 1, 1e20), (1e30, 1e29, 1e30)],
)
@pytest.mark.parametrize("dtype", CODES)
def test_sums_of_any_scales(operator, scales, dtype):
    """Up to where LiteRT ends the process: an output finer than the sum, a factor of 2**20 (15 for int16)."""
    if dtype == "int16":
        scales = (*scales[:2], max(scales[2], 2.0**-13))
    a, b, out = (p(scale, 0, dtype) for scale in scales)
    first = all_codes(a)
    o = options(operator.capitalize())
    o.potScaleInt16 = False
    second = Values(first.array[:, ::-1], b)
    assert agree(Case(operator, [first, second], like(dtype, out), o))


@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257, 2**16, 2**16 + 1])
@pytest.mark.parametrize("dtype", CODES)
def test_means_of_any_count(count, dtype):
    x = np.random.default_rng(count).integers(-100, 127, (3, count)).astype(dtype)
    inputs = [Values(x, p(0.3, 0 if dtype == "int16" else -128, dtype)), constant([1])]
    assert agree(Case("MEAN", inputs, like(dtype, p(0.0002 * 3, 0, dtype)), options("Reducer")))


@pytest.mark.parametrize("axes", [[0], [0, 1], [2, -1], [1, -2], [], 1])
@pytest.mark.parametrize("keep", [False, True])
def test_means_over_axes_named_twice_or_not_at_all(axes, keep):
    x = codes(np.random.default_rng(0), (2, 3, 4), p(0.1, 5))
    case = Case("MEAN", [x, constant(axes)], like("int8", p(0.2, -7)), options("Reducer", keepDims=keep))
    assert agree(case)


@pytest.mark.parametrize("operator", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pools_whose_window_is_far_larger_than_the_image(operator):
    x = codes(np.random.default_rng(0), (2, 4, 5, 3), p(0.1, 5))
    o = options("Pool2D", padding="SAME", strideH=2, strideW=1, filterHeight=300, filterWidth=200)
    assert agree(Case(operator, [x], like("int8", x.params), o))


def test_halves_of_an_average_go_away_from_zero():
    pairs = np.array([[-3, 0], [-1, 0], [0, 1], [0, 3], [-128, -127], [126, 127]], np.int8)
    x = Values(pairs.reshape(1, 6, 2, 1), p())
    o = options("Pool2D", padding="VALID", strideH=1, strideW=1, filterHeight=1, filterWidth=2)
    case = Case("AVERAGE_POOL_2D", [x], like("int8", p()), o)
    ours, theirs = answers(case)
    assert ours.ravel().tolist() == theirs.ravel().tolist() == [-2, -1, 1, 2, -128, 127]


def test_broadcasting_up_to_five_axes():
    rng = np.random.default_rng(0)
    shapes = [
        ((1, 2, 3, 4, 5), (5,)),
        ((1, 2, 1, 4, 5), (1, 2, 3, 1, 5)),
        ((1, 3), (2, 2, 2, 1)),
        ((2, 3), ()),
    ]
    for operator in ("ADD", "SUB", "MUL"):
        for a, b in shapes:
            inputs = [codes(rng, a, p(0.1, 3)), codes(rng, b, p(0.2, -5))]
            assert agree(Case(operator, inputs, like("int8", p(0.3, 1)), options(operator.capitalize())))


def test_a_product_that_32_bits_do_not_hold_is_the_lowest_number():
    rng = np.random.default_rng(0)
    inputs = [codes(rng, (4, 5), p()), Values(codes(rng, (6, 5), p()).array, p()), None]
    for scale in (1e-20, 2.0**-18, 2.0**-16, 2.0**-15):
        assert agree(Case("FULLY_CONNECTED", inputs, like("int8", p(scale, 3)), options("FullyConnected")))


def many_products(operator: str, weight: int) -> Case:
    """One sum of 70,000 products, which 32 bits do not hold."""
    flat = operator == "FULLY_CONNECTED"
    shape = (1, 70_000) if flat else (1, 1, 1, 70_000)
    x = Values(np.full(shape, -128, np.int8), p(1, 127))
    weights = Values(np.full(shape, weight, np.int8), p())
    shift = Values(np.int32([5]), p(1, 0, "int32"))
    if flat:
        return Case(operator, [x, weights, shift], like("int8", p(1e8)), options("FullyConnected"))
    window = {"padding": "VALID", "strideH": 1, "strideW": 1}
    if operator == "CONV_2D":
        return Case(operator, [x, weights, shift], like("int8", p(1e8)), options("Conv2D", **window))
    inputs = [constant([1, 1, 1, 1]), weights, x, shift]
    return Case(operator, inputs, like("int8", p(1e8)), options("TransposeConv", **window), fed=(2,))


@pytest.mark.parametrize("weight", [127, -127])
@pytest.mark.parametrize("operator", ["FULLY_CONNECTED", "CONV_2D", "TRANSPOSE_CONV"])
def test_sums_that_32_bits_do_not_hold_wrap_around(operator, weight):
    assert agree(many_products(operator, weight))


# Tensors without axes


def scalar_file() -> File:
    """A number for each sample, and no axis left in between."""
    file = File()
    x, alone = file.tensor(np.zeros(3, np.int8), p(0.1, 5)), file.tensor(np.zeros((), np.int8), p(0.1, 5))
    index = [file.tensor(np.int32([n]), constant=True) for n in (1, 2, 1)]
    o = options("StridedSlice", shrinkAxisMask=1)
    file.operator("STRIDED_SLICE", o, [x, *index], [alone])
    product = file.tensor(np.zeros(3, np.int8), p(0.2, 1))
    file.operator("MUL", options("Mul"), [x, alone], [product])
    total = file.tensor(np.zeros(3, np.int8), p(0.2, 1))
    file.operator("ADD", options("Add"), [alone, product], [total])
    file.graph.inputs, file.graph.outputs = [x], [total]
    return file


def test_a_tensor_without_axes():
    x = [np.int8([3, -70, 100])]
    ours, theirs = (
        traced(scalar_file().bytes(), x, **c) for c in ({"engine": "integer"}, {"kernels": "reference"})
    )
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


# Old files


def stripped(case: Case) -> Case:
    return replace(case, options=None)


def test_old_files_without_options_or_the_wider_field_for_operators():
    """Operators stood in a field of 8 bits, and an operator with its defaults had no options."""
    rng, file = np.random.default_rng(0), File()
    x = codes(rng, (2, 3, 4, 1), p(0.1, 5))
    one = replace(x, array=x.array[:, 0, :, 0])
    weights = Values(codes(rng, (5, 4), p(0.02)).array, p(0.02))
    cases = [
        Case("ADD", [x, codes(rng, x.array.shape, p(0.2, 3))], like("int8", p(0.3, 1)), fed=(0, 1)),
        Case("SUB", [x, codes(rng, (4, 1), p(0.2, 3))], like("int8", p(0.3, 1))),
        Case("MUL", [x, codes(rng, (), p(0.2, 3))], like("int8", p(0.3, 1))),
        Case("FULLY_CONNECTED", [one, weights, None], like("int8", p(0.1, 1))),
        Case("MEAN", [x, constant([1, 2])], like("int8", p(0.1, 1))),
        Case("SQUEEZE", [x], like("int8", x.params)),
        Case("RESHAPE", [x, constant([2, -1])], like("int8", x.params)),
        Case("CONCATENATION", [x, x], like("int8", x.params), fed=(0, 1)),
        Case("EXPAND_DIMS", [x, constant(1)], like("int8", x.params)),
        Case("TRANSPOSE", [x, constant([0, 2, 1, 3])], like("int8", x.params)),
        Case("QUANTIZE", [x], like("uint8", p(0.1, 100, "uint8"))),
        Case("DEQUANTIZE", [x], like("float32")),
        Case("RELU6", [x], like("int8", x.params)),
    ]
    for case in cases:
        file.add(case)
    file.graph.outputs = file.graph.inputs[:1]
    for code in file.model.operatorCodes:
        code.builtinCode = 0
    content = file.bytes()
    ours, theirs = (
        traced(content, fed(cases), **c) for c in ({"engine": "integer"}, {"kernels": "reference"})
    )
    assert len(ours) == len(theirs) == 15 + len(cases)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert np.array_equal(a, b)


# What the reference kernels answer by accident: the engine may refuse it, or answer the same


def layer(
    operator: str, dtype: str = "int8", bias: Values | None = None, weights: Values | None = None, **chosen
) -> Case:
    """Two samples through two outputs."""
    rng = np.random.default_rng(0)
    flat = operator == "FULLY_CONNECTED"
    x = Values(rng.integers(-99, 99, (2, 2) if flat else (2, 3, 3, 2)).astype(dtype), p(1, 0, dtype))
    weights = weights or Values(rng.integers(-99, 99, (2, 2) if flat else (2, 1, 1, 2)).astype(np.int8), p())
    inputs, place = [x, weights, bias], 0
    if operator == "TRANSPOSE_CONV":
        inputs, place = [constant([2, 3, 3, 2]), weights, x, *([] if bias is None else [bias])], 2
    name = {"CONV_2D": "Conv2D", "FULLY_CONNECTED": "FullyConnected"}.get(operator, "TransposeConv")
    o = options(name, **({} if flat else {"strideH": 1, "strideW": 1, "padding": "VALID"}) | chosen)
    return Case(
        operator, inputs, like(dtype, p(150.0 if dtype == "int8" else 7.0, 0, dtype)), o, fed=(place,)
    )


def bias(bits: int, *numbers) -> Values:
    return Values(np.array(numbers, f"int{bits}"), p(1, 0, f"int{bits}"))


def pool(operator: str, out: AffineParams, **chosen) -> Case:
    x = codes(np.random.default_rng(0), (1, 4, 4, 2), p(0.1, 0, out.dtype))
    window = {"padding": "VALID", "strideH": 1, "strideW": 1, "filterHeight": 2, "filterWidth": 2}
    return Case(operator, [x], like(out.dtype, out), options("Pool2D", **window | chosen))


def powers_of_two(operator: str) -> Case:
    rng = np.random.default_rng(0)
    a, b, out = (p(scale, 0, "int16") for scale in (2.0**-14, 2.0**-15, 2.0**-14))
    inputs = [codes(rng, (2, 50), a), codes(rng, (2, 50), b)]
    o = options(operator.capitalize(), potScaleInt16=True)
    return Case(operator, inputs, like("int16", out), o, (0, 1))


def one_place(begin: int, end: int, step: int, mask: int = 0) -> Case:
    x = Values(np.int8([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]), p())
    index = [constant(pair) for pair in ([0, begin], [2, end], [1, step])]
    o = options("StridedSlice", shrinkAxisMask=2, beginMask=mask)
    return Case("STRIDED_SLICE", [x, *index], like("int8", p()), o)


def mean_of(x: Values, scale: float) -> Case:
    out = p(scale, 0, x.params.dtype)
    return Case("MEAN", [x, constant([1])], like(out.dtype, out), options("Reducer"))


def rows(scales: list[float], zero_points: list[int], axis: int = 0) -> AffineParams:
    return AffineParams(np.float32(scales), np.array(zero_points), "int8", axis)


RGB = Values(np.int8([[10, 20, 30]]), rows([0.1, 0.2, 0.3], [0, 0, 0], axis=1))
BEYOND = Values(np.float32([[3e9, -3e9, 1e30, -1e30, 2.0**31]]))
TO_6 = {"fusedActivationFunction": "RELU6"}
TO_32_BITS = {"quantizedBiasType": schema.TensorType.INT32}
LINE = Values(np.int8([[1, 2, 3]]), p())
CUBE = Values(np.arange(24, dtype=np.int8).reshape(2, 3, 4), p())
# What LiteRT does in each stands beside it.
ACCIDENTS = {
    "ADD, powers of two": powers_of_two("ADD"),  # another rule, unless an option says no
    "SUB, powers of two": powers_of_two("SUB"),
    "CONV_2D, a short bias": layer("CONV_2D", "int16", bias(32, 100, 200)),  # reads it as 64-bit numbers
    "FULLY_CONNECTED, a short bias": layer("FULLY_CONNECTED", "int16", bias(32, 100, 200)),
    "TRANSPOSE_CONV, a short bias": layer("TRANSPOSE_CONV", "int16", bias(32, 100, 200)),
    "TRANSPOSE_CONV, short sums": layer("TRANSPOSE_CONV", "int16", **TO_32_BITS),  # rounds as with int8
    "CONV_2D, a multiplier of 2**15": replace(  # shifts by a negative number of bits
        layer("CONV_2D", "int16", bias(64, 1, 2)), output=like("int16", p(2.0**-15, 0, "int16"))
    ),
    "FULLY_CONNECTED, zero points of rows": layer(  # ignores them
        "FULLY_CONNECTED", weights=Values(np.int8([[1, 2], [3, 4]]), rows([1.0, 2.0], [3, 4]))
    ),
    "FULLY_CONNECTED, a bias of two axes": layer(
        "FULLY_CONNECTED", bias=bias(32, [99], [-99])
    ),  # flattens it
    "QUANTIZE beyond 32 bits": Case("QUANTIZE", [BEYOND], like("int8", p(1, -3)), options("Quantize")),
    "AVERAGE_POOL_2D to another scale": pool("AVERAGE_POOL_2D", p(0.05), **TO_6),  # 6 in the output's scale
    "MAX_POOL_2D to another zero point": pool("MAX_POOL_2D", p(0.1, 4), **TO_6),
    "MAX_POOL_2D to another scale": pool("MAX_POOL_2D", p(0.05, 0, "int16"), **TO_6),
    "MAX_POOL_2D without a padding": pool("MAX_POOL_2D", p(0.1), padding=2),  # gives nothing
    "RELU, a scale a channel": Case("RELU", [RGB], like("int8", p(0.1, 3))),  # takes 0 for the scale
    "QUANTIZE, a scale a channel": Case("QUANTIZE", [RGB], like("int8", p(0.1, 3)), options("Quantize")),
    "RELU6 finer than 32 bits": Case("RELU6", [all_codes(p(1e-9))], like("int8", p(1e-9))),  # 6 overflows
    "MEAN beyond 32 bits": mean_of(Values(np.full((1, 2**17), 32767, np.int16), p(1, 0, "int16")), 0.7),
    "MEAN, a multiplier of 2**29": mean_of(codes(np.random.default_rng(0), (9, 63), p(1, 100)), 2.0**-29),
    "TRANSPOSE, an order in 64 bits": Case(  # reads it as 32-bit numbers
        "TRANSPOSE", [CUBE, constant([2, 1, 0], "int64")], like("int8", p()), options("Transpose")
    ),
    "SHAPE, another type": Case(  # the option counts, and not the tensor's type
        "SHAPE", [CUBE], like("int32"), options("Shape", outType=schema.TensorType.INT64)
    ),
    "RESHAPE, another shape than the file says": Case(  # finds out the shape by itself
        "RESHAPE", [LINE, constant([1, 1, 3])], like("int8", LINE.params)
    ),
    "STRIDED_SLICE, one place and a mask": one_place(2, 3, 1, mask=2),  # the mask counts
    "STRIDED_SLICE, one place backwards": one_place(2, 1, -1),  # reads outside of the tensor
}


@pytest.mark.parametrize("case", ACCIDENTS.values(), ids=ACCIDENTS)
def test_where_litert_surprises_the_answer_is_the_same_or_none(case):
    content, x = to_tflite([case]), fed([case])
    theirs = traced(content, x, kernels="reference")[-1]
    try:
        ours = traced(content, x, engine="integer")[-1]
    except ModelFileError:
        return
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    assert np.array_equal(ours, theirs)


# Here LiteRT ends the process, or (SUB) shifts by a negative number of bits
TOO_FINE = [
    ("ADD", "int8", 2.0**-19),
    ("ADD", "int16", 2.0**-14),
    ("SUB", "int8", 2.0**-19),
    ("SUB", "int8", 2.0**-20),
    ("SUB", "int16", 2.0**-14),
    ("SUB", "int16", 2.0**-15),
]


@pytest.mark.parametrize(("operator", "dtype", "scale"), TOO_FINE)
def test_a_sum_for_a_far_too_fine_output_is_refused(operator, dtype, scale):
    x = all_codes(p(1, 0, dtype))
    o = options(operator.capitalize(), potScaleInt16=False)
    content = to_tflite([Case(operator, [x, x], like(dtype, p(scale, 0, dtype)), o)])
    with pytest.raises(ModelFileError, match=f"operator 0, {operator}"):
        runners.load(content, engine="integer")


# The parts that layers are made of

LOWEST, HIGHEST = -(2**31), 2**31 - 1
EDGES = [0, 1, -1, 2**30, -(2**30), 2**30 - 1, LOWEST, LOWEST + 1, HIGHEST, HIGHEST - 1]
int32 = st.sampled_from(EDGES) | st.integers(LOWEST, HIGHEST) | st.integers(-1000, 1000)
reals = st.floats(2.0**-40, 2.0**29) | st.integers(1, 400).map(lambda n: 1 / n) | st.floats(2.0**-12, 1)


def register(x: int) -> int:
    """What 32 bits keep of a number."""
    return (x + 2**31) % 2**32 - 2**31


@given(st.lists(int32, min_size=1), reals)
def test_rescaling_is_the_rule_of_fixed_point_wherever_that_has_an_answer(sums, real):
    found = rescaling.rescale(np.array([sums]), real)
    for accumulator, steps in zip(sums, found[0].tolist(), strict=True):
        multiplier, shift = map(int, quantize_multiplier(real))
        try:
            expected = int(multiply_fixed_point(accumulator, multiplier, shift))
        except DataError:  # in a register it wraps around
            expected = int(multiply_fixed_point(register(accumulator << shift), multiplier, 0))
        assert steps == expected


@given(st.lists(int32, min_size=1), st.integers(-(2**20), 2**20), reals)
def test_of_a_sum_the_lowest_32_bits_count(sums, above, real):
    expected = rescaling.rescale(np.array(sums), real)
    assert np.array_equal(rescaling.rescale(np.array(sums) + above * 2**32, real), expected)


@given(st.lists(st.tuples(int32, reals), min_size=1))
def test_each_channel_is_rescaled_by_its_own_multiplier(pairs):
    sums, real = np.array([[s for s, _ in pairs]] * 3), np.array([r for _, r in pairs])
    expected = [rescaling.rescale(sums[:1, [i]], r).item() for i, r in enumerate(real)]
    assert rescaling.rescale(sums, real).tolist() == [expected] * 3


@given(st.lists(int32, min_size=1), reals)
def test_rescaling_in_double_precision_is_the_rule_wherever_that_has_an_answer(sums, real):
    found = rescaling.rescale_double(np.array(sums), real)
    for accumulator, steps in zip(sums, found.tolist(), strict=True):
        try:
            expected = int(multiply_double(accumulator, real))
        except DataError:
            expected = LOWEST  # whichever side it left the register at
        assert steps == expected


@given(st.lists(st.integers(-(2**47), 2**47 - 1), min_size=1), st.floats(2.0**-40, 2.0**13))
def test_rescaling_sums_of_64_bits_rounds_once_halves_up(sums, real):
    multiplier, shift = map(int, quantize_multiplier(real))
    reduced = min((multiplier + 2**15) >> 16, 2**15 - 1)
    exact = [Fraction(s * reduced) / Fraction(2) ** (15 - shift) for s in sums]
    expected = [(x + Fraction(1, 2)).__floor__() for x in exact]
    assert rescaling.rescale_wide(np.array(sums), real).tolist() == expected
    assert multiply_reduced(np.array(sums), multiplier, shift).tolist() == expected


@pytest.mark.parametrize(("zero_point", "dtype"), [(-128, "int8"), (127, "int8"), (0, "int8"), (0, "int16")])
@pytest.mark.parametrize("excess", [0, 1, 5])
def test_sums_are_exact_up_to_the_largest_that_the_weights_allow(zero_point, dtype, excess):
    """At the bound of float32 and just beyond: the largest codes on weights of one sign and of both."""
    params = p(1, zero_point, dtype)
    largest = products.largest_step(params)
    total = 2**24 // largest + excess
    rng = np.random.default_rng(excess)
    weights = np.full(-(-total // 127), 127)
    weights[-1] -= weights.sum() - total  # their sum is just the bound
    matrix = np.stack([weights, -weights, weights * rng.choice([-1, 1], weights.size)], axis=1)
    exact = products.exact_type(params, matrix.astype(np.int8))
    assert exact == (np.float64 if excess else np.float32)
    ends = np.array([params.lowest, params.highest]) - zero_point
    steps = np.stack([np.full(weights.size, max(ends, key=abs)), rng.choice(ends, weights.size)])
    found = steps.astype(exact) @ matrix.astype(exact)
    assert np.array_equal(found.astype(np.int64), steps @ matrix)
    assert np.abs(found).max() == largest * total


def test_without_weights_nothing_is_added_up():
    assert products.exact_type(p(), np.zeros((0, 3), np.int8)) == np.float32


# Batches


@pytest.mark.parametrize(
    "operator",
    ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "AVERAGE_POOL_2D", "MAX_POOL_2D", "RELU", "QUANTIZE"],
)
@pytest.mark.parametrize("dtype", CODES)
def test_a_batch_gives_what_its_samples_give_one_by_one(operator, dtype):
    rng = np.random.default_rng(0)
    case = MAKERS[operator][0](rng, 1, dtype)
    x = case.inputs[0].array
    many = rng.permuted(np.repeat(x, 1000, axis=0), axis=0)
    one = answers(case)[0]
    content = to_tflite([shaped(case, one)], free=True)
    runner = runners.load(content, engine="integer")
    alone = [runner.predict_integers(many[i : i + 1]) for i in range(20)]
    together = runner.predict_integers(many)
    assert len(together) == 1000
    assert np.array_equal(together[:20], np.concatenate(alone))
    assert runner.predict_integers(many[:0]).shape == (0, *one.shape[1:])
    assert np.array_equal(together, runners.load(content, kernels="reference").predict_integers(many))


def many_samples_agree(case: Case) -> int:
    """Whether 5 samples through a file for one are the same on both engines: how many numbers were."""
    content = to_tflite([shaped(case, answers(case)[1])])
    many = [np.random.default_rng(0).permuted(np.repeat(x, 5, axis=0)) for x in fed([case])]
    ours, theirs = (
        runners.load(content, **choice).predict_integers(many)
        for choice in ({"engine": "integer"}, {"kernels": "reference"})
    )
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    assert np.array_equal(ours, theirs), case
    return ours.size


@pytest.mark.parametrize("count", [3, *slow(12)])
@pytest.mark.parametrize(("operator", "dtype"), OPERATORS)
def test_a_file_for_one_sample_runs_many_as_litert_does(operator, dtype, count):
    """The engine runs them at once where it can; LiteRT runs one after the other."""
    rng = np.random.default_rng(count)
    assert sum(many_samples_agree(MAKERS[operator][0](rng, 1, dtype)) for _ in range(count))


def mixing(*steps: tuple) -> bytes:
    """A file for one sample: steps (operator, options, second input, output's shape), and x added to it."""
    file = File()
    x = file.tensor(np.zeros((1, 3, 4), np.int8), p(0.1, 5))
    y = x
    for operator, chosen, second, shape in steps:
        inputs = [y] if second is None else [y, file.tensor(np.int32(second), constant=True)]
        y = file.tensor(np.zeros(shape, np.int8), p(1 / 256, -128) if operator == "SOFTMAX" else p(0.1, 5))
        file.operator(operator, chosen, inputs, [y])
    total = file.tensor(np.zeros((1, 3, 4), np.int8), p(0.3, 1))
    file.operator("ADD", options("Add"), [x, y], [total])
    file.graph.inputs, file.graph.outputs = [x], [total]
    return file.bytes()


MIXING = {
    "a mean": [("MEAN", options("Reducer", keepDims=True), [0], (1, 3, 4))],
    "a mean, counted from the end": [("MEAN", options("Reducer", keepDims=True), [-3], (1, 3, 4))],
    "another order of axes": [
        ("RESHAPE", None, [1, 1, 12], (1, 1, 12)),
        ("TRANSPOSE", None, [1, 2, 0], (1, 12, 1)),
        ("RESHAPE", None, [1, 3, 4], (1, 3, 4)),
    ],
    "a curve over all": [
        ("RESHAPE", None, [12], (12,)),
        ("SOFTMAX", options("Softmax", beta=1.0), None, (12,)),
        ("RESHAPE", None, [1, 3, 4], (1, 3, 4)),
    ],
}


@pytest.mark.parametrize("steps", MIXING.values(), ids=MIXING)
def test_what_would_mix_samples_is_run_sample_by_sample(steps):
    content = mixing(*steps)
    many = np.random.default_rng(0).integers(-128, 128, (5, 3, 4)).astype(np.int8)
    ours, theirs = (
        runners.load(content, **choice).predict_integers(many)
        for choice in ({"engine": "integer"}, {"kernels": "reference"})
    )
    assert ours.shape == theirs.shape == (5, 3, 4)
    assert np.array_equal(ours, theirs)
