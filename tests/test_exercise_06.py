"""Exercise 06: its solutions on further cases, typical mistakes, and networks that run on both."""

import numpy as np
import pytest

from tinylab import fixed_point, runners
from tinylab.affine import round_half_away
from tinylab.check import exercise_06 as check
from tinylab.check import given_06
from tinylab.check.task import Outcome
from tinylab.runners.integer import kernels
from tinylab.runners.integer.kernels.windows import padded, positions

from .conftest import slow
from .solved import Mistakes, checked, solved, tasks

SOLVED = solved("06_integer_only_inference")
TASKS = tasks(check)
SEEDS = (1, *slow(2, 3, 4, 5, 6, 7, 8))
KERNELS = SOLVED.my_kernels()


@pytest.mark.parametrize("seed", slow(*range(1, 9)))
@pytest.mark.parametrize("name", TASKS)
def test_a_solution_is_right(name, seed):
    result = checked(getattr(check, name), getattr(SOLVED, name), seed)
    assert result.score == 1, result


def wide(q):
    return q.astype(np.int64)


def fixed(sums, real):
    return fixed_point.multiply_fixed_point(sums, *fixed_point.quantize_multiplier(real))


def once(sums, real):
    return wide(round_half_away(sums * real))


def finish(plus=lambda z: z, lowest=lambda z, relu: z if relu else -128, highest=127, dtype=np.int8):
    """The end of a kernel with one of its parts exchanged."""

    def finish(steps, params, activation):
        codes = steps + plus(params.zero_point)
        return np.clip(codes, lowest(params.zero_point, activation == "RELU"), highest).astype(dtype)

    return finish


right = finish()
ENDS = {
    "no output zero point": (finish(plus=lambda z: 0), "output's zero point"),
    "no ReLU": (finish(lowest=lambda z, relu: -128), "ReLU in it"),
    "ReLU at code 0": (finish(lowest=lambda z, relu: 0 if relu else -128), "ReLU cuts"),
    "wrapped": (lambda steps, params, _: wide(steps + params.zero_point).astype(np.int8), "not clipped"),
    "uint8": (finish(dtype=np.uint8), "uint8"),
    "floats": (finish(dtype=np.float32), "float32"),
}


def windows(x, value=0, dtype=np.int64):
    """Sums over windows, and how many values each has: the same for a pool with a part exchanged."""

    def of(window, strides, padding):
        ones = np.ones((1, *x.shape[1:3], 1), np.int64)
        return (
            sum(s for *_, s in positions(padded(a, window, strides, (1, 1), padding, v), window, strides))
            for a, v in ((x.astype(dtype), value), (ones, 0))
        )

    return of


def away(total, count, zero_point):
    return round_half_away(total / count)


def average_pool(
    mean=away,
    count_of=lambda count, window: count,
    value=lambda z: 0,
    dtype=np.int64,
    lowest=lambda z, relu: z if relu else -128,
):
    """An average pool with one of its parts exchanged."""

    def average_pool(x, params, window, strides, padding, activation):
        total, count = windows(x, value(params.zero_point), dtype)(window, strides, padding)
        code = mean(total, count_of(count, window), params.zero_point)
        return np.clip(code, lowest(params.zero_point, activation == "RELU"), 127).astype(np.int8)

    return average_pool


def every(count, window):
    return window[0] * window[1]


def common(a, b, bits=20, unit=2, minus=(1, 1), dtype=np.int64, rescale=fixed):
    """Two inputs of an addition in their common unit, with a part exchanged."""
    (a, a_params), (b, b_params) = a, b
    unit *= max(a_params.scale, b_params.scale)
    steps = [
        wide(q.astype(dtype) - dtype(factor * p.zero_point)) << bits
        for q, p, factor in ((a, a_params, minus[0]), (b, b_params, minus[1]))
    ]
    parts = [rescale(s, p.scale / unit) for s, p in zip(steps, (a_params, b_params), strict=True)]
    return parts, unit / 2**bits


def add(end=right, last=fixed, join=lambda parts: parts[0] + parts[1], **changed):
    """An addition with one of its parts exchanged."""

    def add(a, b, a_params, b_params, params, activation):
        parts, unit = common((a, a_params), (b, b_params), **changed)
        return end(last(join(parts), unit / params.scale), params, activation)

    return add


def add_in_real_numbers(number):
    def add(a, b, a_params, b_params, params, activation):
        total = sum(
            number(p.scale) * (wide(q) - p.zero_point).astype(number)
            for q, p in ((a, a_params), (b, b_params))
        )
        return right(wide(round_half_away(total / number(params.scale))), params, activation)

    return add


def add_codes(a, b, a_params, b_params, params, activation):
    return right(wide(a) - a_params.zero_point + wide(b) - b_params.zero_point, params, activation)


def add_to_the_output(a, b, a_params, b_params, params, activation):
    steps = [fixed(wide(q) - p.zero_point, p.scale / params.scale) for q, p in ((a, a_params), (b, b_params))]
    return right(steps[0] + steps[1], params, activation)


def depthwise(
    end=right,
    multiply=fixed,
    minus=lambda z: z,
    margin=lambda z: 0,
    many=lambda x, n: np.repeat(x, n, axis=3),
    kernel=lambda weights: weights,
    bias_of=lambda bias: bias,
    scale_of=lambda scales: scales,
    real=fixed_point.real_multiplier,
    dtype=np.int64,
):
    """A depthwise convolution with one of its parts exchanged."""

    def depthwise(x, weights, bias, x_params, w_params, params, strides, dilations, padding, activation):
        window, weights = weights.shape[1:3], kernel(wide(weights))
        steps = x.astype(dtype) - dtype(minus(x_params.zero_point))
        steps = padded(wide(steps), window, strides, dilations, padding, margin(x_params.zero_point))
        steps = many(steps, weights.shape[3] // x.shape[3])
        seen = positions(steps, window, strides, dilations)
        sums = bias_of(bias) + sum(s * weights[0, i, j] for i, j, s in seen)
        factor = real(x_params.scale, scale_of(w_params.scale), params.scale)
        return end(multiply(sums, factor), params, activation)

    return depthwise


def in_float32(x_scale, w_scale, scale):
    return x_scale * w_scale / scale  # what NumPy makes of a float and a float32 array


def last_first(weights):
    return weights[:, ::-1, ::-1]


def counting(count, ours=lambda model, codes, given: runners.load(model, "integer", given)):
    """Counts of differing values with one part exchanged."""

    def differing_values(model, codes, given):
        expected = runners.load(model, kernels="reference").trace(codes).tensors
        got = ours(model, codes, given).trace(codes).tensors
        return {name: count(got[name], expected[name]) for name in expected}

    return differing_values


def differing(got, expected):
    return int((got != expected).sum())


def only(keep):
    def differing_values(*arguments):
        return keep(SOLVED.differing_values(*arguments))

    return differing_values


def with_kernels(**changed):
    return lambda: {**KERNELS, **changed}


# name, wrong answer, what the message says about it
MISTAKES = {
    "finish": {
        **ENDS,
        "ReLU always": (finish(lowest=lambda z, relu: z), "although the activation is NONE"),
        "clipped too early": (
            lambda steps, params, _: (np.clip(steps, -128, 127) + params.zero_point).astype(np.int8),
            "before the zero point",
        ),
        "other sign": (finish(plus=lambda z: -z), "expected"),
        "up to 255": (finish(highest=255), "expected"),
        "flat": (lambda *arguments: right(*arguments).ravel(), "shape"),
        "a list": (lambda *arguments: right(*arguments).tolist(), "list"),
        "64 bits": (finish(dtype=np.int64), "int64"),
        "NaN": (lambda steps, *_: steps * np.nan, "float64"),
    },
    "average_pool": {
        "//": (average_pool(lambda t, n, z: t // n), "// goes down"),
        "cut off": (average_pool(lambda t, n, z: np.trunc(t / n)), "cut off"),
        "to even": (average_pool(lambda t, n, z: np.round(t / n)), "np.round"),
        "halves up": (average_pool(lambda t, n, z: (2 * t + n) // (2 * n)), "negative halves go up"),
        "halves up, in floats": (average_pool(lambda t, n, z: np.floor(t / n + 0.5)), "negative halves"),
        "halves down": (average_pool(lambda t, n, z: np.ceil(t / n - 0.5)), "expected"),
        "away from the zero point": (
            average_pool(lambda t, n, z: round_half_away((t - n * z) / n) + z),
            "not from the zero point",
        ),
        "padding counted": (average_pool(count_of=every), "not counted"),
        "padding counted, as zero points": (
            average_pool(count_of=every, value=lambda z: z),
            "not even the code of 0",
        ),
        "zero points in the margins": (average_pool(value=lambda z: z), "expected"),
        "int8 overflow": (average_pool(dtype=np.int8), "overflows"),
        "no ReLU": (average_pool(lowest=lambda z, relu: -128), "ReLU in it"),
        "ReLU at code 0": (average_pool(lowest=lambda z, relu: 0 if relu else -128), "ReLU cuts"),
        "ReLU always": (average_pool(lowest=lambda z, relu: z), "expected"),
        "zero point added": (average_pool(lambda *a: away(*a) + a[2]), "the mean of codes is a code"),
        "largest value": (lambda *arguments: kernels.max_pool(*arguments), "expected"),
        "no SAME padding": (lambda x, p, w, s, _, a: SOLVED.average_pool(x, p, w, s, "VALID", a), "shape"),
        "strides not used": (lambda x, p, w, _, *rest: SOLVED.average_pool(x, p, w, (1, 1), *rest), "shape"),
        "floats": (lambda *arguments: SOLVED.average_pool(*arguments).astype(float), "float64"),
        "64 bits": (lambda *arguments: wide(SOLVED.average_pool(*arguments)), "int64"),
    },
    "add": {
        **{what: (add(end), words) for what, (end, words) in ENDS.items()},
        "codes as they are": (add_codes, "different scales"),
        "codes alone": (lambda a, b, *_: np.clip(wide(a) + b, -128, 127).astype(np.int8), "two codes"),
        "codes alone, wrapped": (lambda a, b, *_: a + b, "expected"),
        "real numbers": (add_in_real_numbers(np.float64), "real numbers"),
        "float32": (add_in_real_numbers(np.float32), "expected"),
        "to the output's scale": (add_to_the_output, "straight to the output's scale"),
        "no shift to the left": (add(bits=0), "20 bits"),
        "8 bits": (add(bits=8), "expected"),
        "the larger scale": (add(unit=1), "twice the larger"),
        "no first zero point": (add(minus=(0, 1)), "first input's zero point"),
        "no second zero point": (add(minus=(1, 0)), "second input's zero point"),
        "no zero points": (add(minus=(0, 0)), "inputs' zero points"),
        "zero points added": (add(minus=(-1, -1)), "expected"),
        "int8 overflow": (add(dtype=np.int8), "overflows"),
        "shifted in int8": (
            lambda a, b, _, __, params, activation: SOLVED.finish(0 * wide(a), params, activation),
            "no room",
        ),
        "cut off": (add(last=lambda sums, real: wide(np.trunc(sums * real))), "cut off"),
        "a difference": (add(join=lambda parts: parts[0] - parts[1]), "expected"),
        "turned round": (lambda *arguments: SOLVED.add(*arguments).T, "shape"),
    },
    "depthwise_convolution": {
        **{what: (depthwise(end), words) for what, (end, words) in ENDS.items()},
        "rounded once": (depthwise(multiply=once), "rounded once"),
        "cut off": (depthwise(multiply=lambda sums, real: wide(np.trunc(sums * real))), "cut off"),
        "no input zero point": (depthwise(minus=lambda z: 0), "input's zero point"),
        "padded with the code 0": (depthwise(margin=lambda z: -z), "padded with the code 0"),
        "padded with the zero point": (depthwise(margin=lambda z: z), "after it was taken away"),
        "channels in turn": (depthwise(many=lambda x, n: np.tile(x, (1, 1, 1, n))), "np.repeat"),
        "turned round": (depthwise(kernel=last_first), "not turned round"),
        "no bias": (depthwise(bias_of=lambda bias: 0), "bias"),
        "one scale": (depthwise(scale_of=lambda scales: scales[0]), "Each has its own"),
        "the mean scale": (depthwise(scale_of=lambda scales: scales.mean()), "expected"),
        "M in float32": (depthwise(real=in_float32), "float32"),
        "no output scale": (depthwise(real=lambda x, w, _: x * np.float64(w)), "expected"),
        "int8 overflow": (depthwise(dtype=np.int8), "overflows"),
        "no SAME padding": (lambda *a: SOLVED.depthwise_convolution(*a[:-2], "VALID", a[-1]), "shape"),
        "strides not used": (lambda *a: SOLVED.depthwise_convolution(*a[:6], (1, 1), *a[7:]), "shape"),
        "added up": (
            lambda *a: SOLVED.depthwise_convolution(*a).sum(axis=3, keepdims=True).astype(np.int8),
            "shape",
        ),
    },
    "differing_values": {
        "nothing differs": (only(lambda counts: dict.fromkeys(counts, 0)), "given the kernels"),
        "kernels not used": (
            counting(differing, lambda model, codes, _: runners.load(model, "integer")),
            "given the kernels",
        ),
        "LiteRT twice": (
            counting(differing, lambda model, *_: runners.load(model, kernels="reference")),
            "given the kernels",
        ),
        "how many agree": (counting(lambda a, b: int((a == b).sum())), "how many agree"),
        "whether any": (counting(lambda a, b: int((a != b).any())), "whether any"),
        "whether any, as bool": (counting(lambda a, b: bool((a != b).any())), "expected"),
        "by how much": (counting(lambda a, b: int(np.abs(wide(a) - wide(b)).sum())), "by how much"),
        "share": (counting(lambda a, b: (a != b).mean()), "share"),
        "arrays": (counting(lambda a, b: a != b), "one number for each"),
        "lists": (only(lambda counts: {k: [[n], [n, n]] for k, n in counts.items()}), "one number for each"),
        "the sum alone": (only(lambda counts: sum(counts.values())), "dictionary"),
        "a list": (only(lambda counts: list(counts.values())), "dictionary"),
        "only the output": (only(lambda counts: dict([*counts.items()][-1:])), "by their names"),
        "only what differs": (only(lambda counts: {k: n for k, n in counts.items() if n}), "by their names"),
        "other names": (only(lambda counts: {**counts, "sum": sum(counts.values())}), "also"),
        "floats": (only(lambda counts: {k: float(n) for k, n in counts.items()}), "expected"),
    },
    "my_kernels": {
        "a pool by //": (
            with_kernels(AVERAGE_POOL_2D=average_pool(lambda t, n, z: t // n)),
            "your AVERAGE_POOL_2D",
        ),
        "a pool that counts padding": (
            with_kernels(AVERAGE_POOL_2D=average_pool(count_of=every)),
            "your AVERAGE_POOL_2D",
        ),
        "a pool with halves to even": (
            with_kernels(AVERAGE_POOL_2D=average_pool(lambda t, n, z: np.round(t / n))),
            "your AVERAGE_POOL_2D",
        ),
        "a sum without shift": (with_kernels(ADD=add(bits=0)), "your ADD"),
        "a sum of codes": (with_kernels(ADD=add_codes), "your ADD"),
        "a sum straight to the output": (with_kernels(ADD=add_to_the_output), "your ADD"),
        "a sum without zero point": (with_kernels(ADD=add(minus=(1, 0))), "your ADD"),
        "margins of code 0": (
            with_kernels(DEPTHWISE_CONV_2D=depthwise(margin=lambda z: -z)),
            "your DEPTHWISE_CONV_2D",
        ),
        "one scale": (
            with_kernels(DEPTHWISE_CONV_2D=depthwise(scale_of=lambda scales: scales[0])),
            "your DEPTHWISE_CONV_2D",
        ),
        "channels in turn": (
            with_kernels(DEPTHWISE_CONV_2D=depthwise(many=lambda x, n: np.tile(x, (1, 1, 1, n)))),
            "your DEPTHWISE_CONV_2D",
        ),
        "the engine's own": (with_kernels(ADD=kernels.add), "the engine's own kernel for ADD"),
        "one left out": (
            lambda: {name: KERNELS[name] for name in ("ADD", "AVERAGE_POOL_2D")},
            "none for DEPTH",
        ),
        "no names": (lambda: list(KERNELS.values()), "list"),
        "not a function": (with_kernels(ADD=3), "without ()"),
        "one for two": (with_kernels(ADD=KERNELS["AVERAGE_POOL_2D"]), "one function for two"),
        "nothing": (lambda: None, "is there a return"),
    },
}


class TestMistakes(Mistakes):
    check, table, seeds = check, MISTAKES, (2, 3, 4)
    slow_tasks = ("my_kernels", "differing_values")
    some = 7


def blank(*_):
    raise NotImplementedError  # your code here


def stops(*_):
    raise ZeroDivisionError("by 0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "outcome", "words"),
    [
        pytest.param(blank, Outcome.NOT_ATTEMPTED, "", id="not written"),
        pytest.param(stops, Outcome.ERROR, "ZeroDivisionError: by 0", id="an error"),
        pytest.param("my_kernels", Outcome.ERROR, "expected the function", id="not a function"),
        pytest.param(with_kernels(ADD=blank), Outcome.ERROR, "still blank", id="a blank kernel"),
        pytest.param(with_kernels(ADD=stops), Outcome.ERROR, "ADD", id="a kernel with an error"),
        pytest.param(with_kernels(ADD=lambda a: a), Outcome.ERROR, "ADD", id="too few parameters"),
        pytest.param(
            with_kernels(CONV_3D=blank), Outcome.ERROR, "no operator CONV_3D", id="no such operator"
        ),
        pytest.param(with_kernels(), Outcome.RIGHT, "", id="right"),
    ],
)
def test_kernels_that_do_not_run_are_told_from_those_that_are_wrong(function, outcome, words):
    result = check.my_kernels(function)
    assert result.outcome is outcome, result
    assert words in result.message


@pytest.mark.slow
def test_two_networks_are_tried_and_the_trained_one_is_among_them():
    (random, codes), (trained, images) = check._networks(np.random.default_rng(1))
    assert (len(codes), len(images)) == (3, 8)
    for file in (random, trained):
        names = [operator.name for operator in runners.load(file, "integer").file.operators]
        assert set(given_06.OWN) <= set(names)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_engine_answers_what_the_exercise_asks_for(seed):
    """Answers come from LiteRT; the engine's kernels give the same, and take the same arguments."""
    for name in ("average_pool", "add", "depthwise_convolution"):
        result = checked(getattr(check, name), getattr(kernels, name), seed)
        assert result.score == 1, result


def test_a_shape_and_a_dtype_are_told_before_values():
    message = check.average_pool(lambda *arguments: SOLVED.average_pool(*arguments)[0]).message
    assert "expected  shape (2, 4, 4, 2)\ngot       shape (4, 4, 2)" in message
    message = check.add(lambda *arguments: SOLVED.add(*arguments).astype(np.int32)).message
    assert "expected  int8\ngot       int32" in message


def pool_by_loops(x, params, window, strides, padding, activation):
    """Windows cut at the edge, one at a time, and real numbers rounded as in exercise 05."""
    height, width = (len(range(0, n, s)) for n, s in zip(x.shape[1:3], strides, strict=True))
    if padding == "VALID":
        height, width = ((n - k) // s + 1 for n, k, s in zip(x.shape[1:3], window, strides, strict=True))
    over = [
        max((n - 1) * s + k - size, 0) // 2 if padding == "SAME" else 0
        for n, s, k, size in zip((height, width), strides, window, x.shape[1:3], strict=True)
    ]
    codes = np.zeros((len(x), height, width, x.shape[3]), np.int8)
    for n, i, j, c in np.ndindex(codes.shape):
        top, left = i * strides[0] - over[0], j * strides[1] - over[1]
        seen = x[n, max(top, 0) : top + window[0], max(left, 0) : left + window[1], c]
        lowest = params.zero_point if activation == "RELU" else -128
        codes[n, i, j, c] = max(round_half_away(seen.astype(float).mean()), lowest)
    return codes


def depthwise_padded_with_codes(
    x, weights, bias, x_params, w_params, params, strides, dilations, padding, activation
):
    """Padding before the zero point is taken away, M by hand, and one filter after the other."""
    window, filters = weights.shape[1:3], weights.shape[3] // x.shape[3]
    x = padded(x, window, strides, dilations, padding, x_params.zero_point).astype(int) - x_params.zero_point
    columns = []
    for k in range(weights.shape[3]):
        places = positions(x[..., [k // filters]], window, strides)
        total = bias[k] + sum(seen * int(weights[0, i, j, k]) for i, j, seen in places)
        columns.append(fixed(total, x_params.scale * float(w_params.scale[k]) / params.scale))
    return right(np.concatenate(columns, axis=3), params, activation)


@pytest.mark.parametrize("seed", SEEDS)
def test_other_ways_to_the_right_answer_are_right(seed):
    assert checked(check.average_pool, pool_by_loops, seed).score == 1
    assert checked(check.depthwise_convolution, depthwise_padded_with_codes, seed).score == 1
    own = {"AVERAGE_POOL_2D": pool_by_loops, "DEPTHWISE_CONV_2D": depthwise_padded_with_codes}
    assert checked(check.my_kernels, with_kernels(**own), seed).score == 1
