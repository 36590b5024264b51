"""The integer engine on random networks: every tensor as LiteRT's reference kernels compute it.

`make test` tries 80 networks, `make long` 300, `make networks` as many as TINYLAB_NETWORKS says.
"""

import functools
import os

import pytest

from tinylab import runners

from .conftest import long, slow
from .networks import Comparison, compare, inputs_for, random_network

NETWORKS = int(os.environ.get("TINYLAB_NETWORKS", "300"))
# Seeds of networks that are tried together.
QUICK = range(5)
GROUPS = [range(first, min(first + 25, NETWORKS)) for first in range(len(QUICK), NETWORKS, 25)]

# What the converter makes of the layers in `networks`, for free and fixed batches. It makes no SQUEEZE: it
# writes a RESHAPE. That operator is tested on files that no converter wrote.
IN_BOTH = """
    CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED TRANSPOSE_CONV ADD SUB MUL AVERAGE_POOL_2D MAX_POOL_2D MEAN
    RESHAPE EXPAND_DIMS TRANSPOSE PAD CONCATENATION STRIDED_SLICE PACK RELU RELU6 LEAKY_RELU LOGISTIC TANH
    SOFTMAX QUANTIZE
"""
EXPECTED = {
    *(f"{name} {dtype} -> {dtype}" for name in IN_BOTH.split() for dtype in ("int8", "int16")),
    *("HARD_SWISH int8 -> int8", "QUANTIZE int8 -> uint8", "QUANTIZE uint8 -> int8"),
    *("QUANTIZE float32 -> int8", "QUANTIZE float32 -> int16"),
    *("DEQUANTIZE int8 -> float32", "DEQUANTIZE int16 -> float32"),
    *("SHAPE int8 -> int32", "SHAPE int16 -> int32", "STRIDED_SLICE int32 -> int32", "PACK int32 -> int32"),
}


@functools.cache
def compared(seeds: range) -> Comparison:
    """A network for each seed, every third in 16x8, on a batch of 7 or 8 and on one of 1 or 2."""
    total = Comparison()
    for seed in seeds:
        content = random_network(seed, "int16x8" if seed % 3 == 2 else "int8")
        reference = runners.load(content, kernels="reference")
        engine = runners.load(content, engine="integer")
        for size in (7, 1):
            found = compare(engine, reference, inputs_for(reference, size, seed))
            assert not found.wrong, f"seed {seed}, {size} samples: {found.first}"
            total += found
    return total


@pytest.mark.parametrize(
    "seeds", [QUICK, *slow(*GROUPS[:3]), *long(*GROUPS[3:])], ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}"
)
def test_random_networks_agree_with_litert_in_every_tensor(seeds, record_property):
    found = compared(seeds)
    for name in ("tensors", "values", "saturated"):
        record_property(name, getattr(found, name))
    print(found)
    assert found.wrong == 0
    assert found.networks == 2 * len(seeds)
    assert found.tensors > 20 * len(seeds)
    assert found.values > 5000 * len(seeds)
    assert found.saturated < found.values / 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2486, 2586])
def test_where_litert_overwrites_what_it_still_needs_the_engine_answers_as_its_trace(seed):
    assert compared(range(seed, seed + 1)).wrong == 0


@pytest.mark.long
def test_random_networks_meet_every_operator_that_the_converter_makes():
    met = sum((compared(seeds) for seeds in GROUPS), Comparison()).operators
    assert set(met) >= EXPECTED, sorted(EXPECTED - set(met))


def test_a_difference_is_found_and_described():
    content = random_network(0)
    engine, reference = (runners.load(content, kernels=kernels) for kernels in ("optimized", "reference"))
    found = sum(
        (compare(engine, reference, inputs_for(reference, 6, seed)) for seed in range(3)), Comparison()
    )
    print(found)
    assert found.wrong > 0
