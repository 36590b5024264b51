"""The integer engine on architectures that people use, and on the course's own network."""

import pytest

from tinylab import runners
from tinylab.affine import quantize

from .architectures import ARCHITECTURES, int8_file
from .conftest import long
from .networks import compare, inputs_for

pytestmark = pytest.mark.slow
SLOW_ONES = ("mobilenet_v1", "mobilenet_v2")


def both(content: bytes) -> tuple[runners.Runner, runners.Runner]:
    return runners.load(content, engine="integer"), runners.load(content, kernels="reference")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_agree_with_litert_in_every_tensor(name, record_property):
    engine, reference = both(int8_file(name))
    found = compare(engine, reference, inputs_for(reference, 32, seed=1))
    record_property("tensors", found.tensors)
    record_property("values", found.values)
    print(name, found)
    assert found.wrong == 0, found.first
    assert found.tensors > 10
    assert found.values > 50_000


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("count", [1, *long(1000)])
def test_architectures_agree_with_litert_in_batches(name, count):
    engine, reference = both(int8_file(name))
    (q,) = inputs_for(reference, min(count, 200) if name in SLOW_ONES else count, seed=2)
    expected = reference.predict_integers(q)
    assert (engine.predict_integers(q) == expected).all()
    assert count == 1 or len(set(expected.ravel().tolist())) > 20


@pytest.mark.parametrize("recipe", ["int8", "int8_uint8_io", "int16x8"])
def test_the_courses_network_agrees_with_litert(cnn_files, fashion, recipe):
    engine, reference = both(cnn_files[recipe])
    q = quantize(fashion[0], reference.inputs[0].params)
    assert len(q) == 2000
    assert (engine.predict_integers(q) == reference.predict_integers(q)).all()
    found = compare(engine, reference, [q[:64]]) + compare(
        engine, reference, inputs_for(reference, 60, seed=0)
    )
    assert found.wrong == 0, found.first
    assert found.tensors > 16
