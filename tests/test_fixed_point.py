"""Both ways to requantize: against exact arithmetic, and against LiteRT's reference kernels on layers."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylab.affine import round_half_away
from tinylab.errors import DataError
from tinylab.fixed_point import (
    multiply_double,
    multiply_fixed_point,
    quantize_multiplier,
    real_multiplier,
    rounding_doubling_high_multiply,
    rounding_shift_right,
)
from tinylab.one_operator import Values, dense

from .conftest import slow
from .layers import RULE_OF, RULES, random_layer, run

LOWEST, HIGHEST = -(2**31), 2**31 - 1
EXTREMES = [0, 1, -1, 2, -2, 2**30, -(2**30), 2**30 - 1, HIGHEST, HIGHEST - 1, LOWEST, LOWEST + 1]
int32 = st.sampled_from(EXTREMES) | st.integers(LOWEST, HIGHEST) | st.integers(-1000, 1000)
multipliers = st.floats(2.0**-31, 2.0**29) | st.integers(1, 400).map(lambda n: 1 / n)


def half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def half_away(x: Fraction) -> int:
    return half_up(x) if x >= 0 else -half_up(-x)


# A real number as an integer and a shift


@given(multipliers)
def test_a_multiplier_is_normalised_and_at_most_half_a_unit_wrong(real):
    multiplier, shift = map(int, quantize_multiplier(real))
    assert 2**30 <= multiplier < 2**31
    assert abs(Fraction(multiplier) * Fraction(2) ** (shift - 31) - Fraction(real)) <= Fraction(real) / 2**31


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.5, (2**30, 0)),
        (1.0, (2**30, 1)),
        (0.75, (3 * 2**29, 0)),
        (1 - 2.0**-40, (2**30, 1)),  # rounded up to 2**31, which 31 bits do not hold
        (0.5 + 2.0**-32, (2**30 + 1, 0)),  # an exact half, rounded away from zero
        (2.0**-32, (2**30, -31)),
        (2.0**-32 * (1 - 2.0**-40), (2**30, -31)),
        (2.0**-32 * (1 - 2.0**-20), (0, 0)),
        (2.0**-200, (0, 0)),
        (2.0**29, (2**30, 30)),
        (2.0**30 * (1 - 2.0**-31), (2**31 - 1, 30)),
        (math.nextafter(2**30, 0), (2**30, 31)),
    ],
)
def test_multipliers_at_the_edges(real, expected):
    assert tuple(map(int, quantize_multiplier(real))) == expected


@pytest.mark.parametrize("real", [0.0, -0.5, 2.0**30, np.inf, -np.inf, np.nan, [0.5, 0.0], [[np.nan, 1.0]]])
def test_what_is_no_multiplier_is_refused(real):
    with pytest.raises(DataError, match="above 0 and below"):
        quantize_multiplier(real)


def test_multipliers_keep_their_shape():
    multiplier, shift = quantize_multiplier(np.array([[0.3, 2.0**-40], [1.0, 5.0]]))
    assert (multiplier.shape, shift.shape) == ((2, 2), (2, 2))
    assert (multiplier.dtype, shift.dtype) == (np.int64, np.int64)
    assert shift.tolist() == [[-1, 0], [1, 3]]


def test_a_real_multiplier_is_computed_in_double_precision():
    scales = np.float32([0.1, 0.7])
    exact = [
        Fraction(float(np.float32(0.3))) * Fraction(float(s)) / Fraction(float(np.float32(0.9)))
        for s in scales
    ]
    found = real_multiplier(float(np.float32(0.3)), scales, float(np.float32(0.9)))
    assert found.dtype == np.float64
    assert all(
        abs(Fraction(float(m)) / e - 1) < Fraction(1, 2**51) for m, e in zip(found, exact, strict=True)
    )


# The two roundings


@given(int32, int32)
def test_the_high_multiplication_rounds_exactly_halves_up(a, b):
    if not a == b == LOWEST:
        assert int(rounding_doubling_high_multiply(a, b)) == half_up(Fraction(a * b, 2**31))


@given(int32, st.integers(0, 31))
def test_the_shift_rounds_exactly_halves_away_from_zero(x, bits):
    assert int(rounding_shift_right(x, bits)) == half_away(Fraction(x, 2**bits))


@given(st.integers(-1000, 1000), st.integers(1, 20))
def test_both_roundings_of_an_exact_half(whole, bits):
    half = (2 * whole + 1) << (bits - 1)  # over 2**bits
    assert int(rounding_shift_right(half, bits)) == half_away(Fraction(2 * whole + 1, 2))
    assert int(rounding_doubling_high_multiply(2 * whole + 1, 2**30)) == whole + 1


def test_each_channel_has_its_own_shift():
    shifted = rounding_shift_right(np.array([[5, 5, 5], [-5, -5, -5]]), np.array([0, 1, 2]))
    assert shifted.tolist() == [[5, 3, 1], [-5, -3, -1]]


# The two rules


@given(int32, multipliers)
def test_in_integers_the_product_is_rounded_twice(accumulator, real):
    multiplier, shift = map(int, quantize_multiplier(real))
    shifted = accumulator << max(shift, 0)
    if not LOWEST <= shifted <= HIGHEST:
        with pytest.raises(DataError, match="32 bits"):
            multiply_fixed_point(accumulator, multiplier, shift)
        return
    expected = half_away(Fraction(half_up(Fraction(shifted * multiplier, 2**31)), 2 ** max(-shift, 0)))
    assert int(multiply_fixed_point(accumulator, multiplier, shift)) == expected


@given(int32, multipliers)
def test_in_double_precision_the_product_is_rounded_once(accumulator, real):
    expected = half_away(Fraction(accumulator * real))
    if LOWEST <= expected <= HIGHEST:
        assert int(multiply_double(accumulator, real)) == expected
    else:
        with pytest.raises(DataError, match="32 bits"):
            multiply_double(accumulator, real)


@given(st.integers(-(2**20), 2**20), st.floats(2.0**-31, 1))
def test_the_rules_differ_by_one_at_most(accumulator, real):
    fixed = int(multiply_fixed_point(accumulator, *quantize_multiplier(real)))
    assert abs(fixed - int(multiply_double(accumulator, real))) <= 1


def test_exact_halves_go_away_from_zero_except_in_the_first_of_two_roundings():
    sums = np.array([1, 3, 5, -1, -3, -5])
    assert multiply_double(sums, 0.5).tolist() == [1, 2, 3, -1, -2, -3]
    assert multiply_fixed_point(2 * sums, *quantize_multiplier(0.25)).tolist() == [1, 2, 3, -1, -2, -3]
    assert multiply_fixed_point(sums, *quantize_multiplier(0.5)).tolist() == [1, 2, 3, 0, -1, -2]


def test_the_rules_differ_for_8_times_0_3():
    assert int(multiply_fixed_point(8, *quantize_multiplier(0.3))) == 3
    assert int(multiply_double(8, 0.3)) == 2


def test_a_multiplier_that_vanished_gives_zero():
    assert multiply_fixed_point(np.array([HIGHEST, LOWEST]), *quantize_multiplier(2.0**-40)).tolist() == [
        0,
        0,
    ]


def test_each_channel_has_its_own_multiplier():
    real, sums = np.array([0.3, 1.0, 40.0]), np.array([[8, 8, 8], [-7, 100, -3]])
    expected = [[3, 8, 320], [-2, 100, -120]]
    assert multiply_fixed_point(sums, *quantize_multiplier(real)).tolist() == expected
    assert multiply_double(sums, real).tolist() == [[2, *expected[0][1:]], expected[1]]


@pytest.mark.parametrize("accumulator", [2**30, -(2**30) - 1, 2**40, -(2**40), 2**62])
def test_an_accumulator_that_overflows_is_refused(accumulator):
    for real in (1.0, 2.0**29):  # a shift by 30 moves 2**40 out of 64 bits, too
        with pytest.raises(DataError, match="32 bits"):
            multiply_fixed_point(np.array([0, accumulator]), *quantize_multiplier(real))
    with pytest.raises(DataError, match="32 bits"):
        multiply_double(np.array([0, accumulator]), 2.5)


@pytest.mark.parametrize("accumulator", [2**31, -(2**31) - 1])
def test_an_accumulator_of_more_than_32_bits_is_refused_even_if_the_result_is_small(accumulator):
    with pytest.raises(DataError, match="32 bits"):
        multiply_fixed_point(accumulator, *quantize_multiplier(0.001))
    with pytest.raises(DataError, match="32 bits"):
        multiply_double(accumulator, 0.001)


def test_the_largest_accumulators_fit():
    assert multiply_fixed_point([2**30 - 1, -(2**30)], *quantize_multiplier(1.0)).tolist() == [
        2**30 - 1,
        -(2**30),
    ]
    assert multiply_fixed_point([HIGHEST, LOWEST], *quantize_multiplier(0.5)).tolist() == [2**30, -(2**30)]
    assert multiply_double([HIGHEST, LOWEST], 1.0).tolist() == [HIGHEST, LOWEST]


def test_no_accumulators_give_no_numbers():
    empty = np.zeros((0, 3), np.int32)
    assert multiply_fixed_point(empty, *quantize_multiplier(np.ones(3))).shape == (0, 3)
    assert multiply_double(empty, np.ones(3)).shape == (0, 3)


# Agreement with LiteRT

BATCH, LAYERS_IN_A_FILE = 32, 50


def compare(operator: str, count: int, seed: int) -> Counter:
    """LiteRT's outputs of so many random layers against both rules: how many of what was compared."""
    rng, found = np.random.default_rng(seed), Counter()
    for _ in range(count // LAYERS_IN_A_FILE):
        layers = [random_layer(operator, rng, BATCH) for _ in range(LAYERS_IN_A_FILE)]
        for layer, codes in zip(layers, run(layers, "reference"), strict=True):
            sums, real = layer.sums(), layer.real_multiplier
            products = sums * real
            found += Counter(
                {
                    "layers": 1,
                    "per-channel": layer.weight.axis is not None,
                    "to the left": bool(real.max() >= 1),
                    "values": codes.size,
                    "inside": int((np.abs(products + layer.output.zero_point) < 128).sum()),
                    "ties": int((np.abs(products % 1 - 0.5) < 1e-9).sum()),
                    "large sums": int((np.abs(sums) > 2**28).sum()),
                    **{rule: int((layer.codes(sums, rule) != codes).sum()) for rule in RULES},
                }
            )
    return found


@pytest.mark.parametrize("operator", RULE_OF)
@pytest.mark.parametrize("count", [300, *slow(4000)])
def test_thousands_of_layers_agree_with_litert_to_the_bit(operator, count):
    found = compare(operator, count, seed=count)
    print(operator, dict(found))
    rule = RULE_OF[operator]
    (other,) = set(RULES) - {rule}
    assert found[rule] == 0
    # and the comparison is one that a mistake would not survive
    assert found[other] > count
    assert found["layers"] == count
    assert found["values"] > 200 * count
    assert found["inside"] > 0.5 * found["values"]
    assert found["ties"] > count
    assert found["large sums"] > 0.02 * found["values"]
    assert found["per-channel"] > 0.4 * count
    assert found["to the left"] > 0.03 * count


def test_fully_connected_computes_in_double_precision_and_not_in_float32():
    """Sums beside an exact half, too large for float32 to tell which side they are on."""
    output_scale = np.float32(300_001)
    halves = (np.arange(50, 120) + 0.5) * float(output_scale)
    sums = np.concatenate([np.floor(halves), np.ceil(halves)]).astype(np.int32)
    one = Values(np.ones((len(sums), 1), np.int8), scale=1.0)
    output = Values(np.zeros((1, len(sums)), np.int8), scale=output_scale)
    answers = dense(Values(np.zeros((1, 1), np.int8), scale=1.0), one, sums, output, relu=False)[0]
    real = real_multiplier(1.0, 1.0, output_scale)
    assert np.array_equal(multiply_double(sums, real), answers)
    assert (round_half_away(sums.astype(np.float32) * np.float32(real)) != answers).any()
