"""The arena of a model: what the interpreter says of it, and the smallest one in which it answers."""

import importlib.util

import pytest

from tinylab import arena, memory_plan
from tinylab.errors import ModelFileError, TinylabError
from tinylab.runners import micro


@pytest.fixture(autouse=True)
def package():
    pytest.importorskip("tflite_micro", reason="no tflite-micro for this machine")


def test_the_parts_make_up_the_whole(cnn_files):
    found = arena.measure(cnn_files["int8"])
    assert sum(found.parts.values()) == found.total == found.tensors + found.persistent
    assert min(found.parts.values()) > 0
    assert next(iter(found.parts)) == arena.TENSORS
    assert found.parts[arena.TENSORS] == found.tensors == memory_plan.plan(cnn_files["int8"]).size


def test_structures_have_the_sizes_of_a_64_bit_machine(cnn_files):
    """18 tensors and 8 operators: two pointers and a type; a description of an operator."""
    parts = arena.measure(cnn_files["int8"]).parts
    assert parts["TfLiteEvalTensor data"] == 18 * 24
    assert parts["NodeAndRegistration struct"] == 8 * 64


def test_tensors_of_four_bytes_take_four_times_the_memory(cnn_files):
    in_int8, in_float32 = (arena.measure(cnn_files[recipe]).tensors for recipe in ("int8", "float32"))
    assert in_float32 == 4 * in_int8


def test_the_same_model_measures_the_same_from_bytes_and_from_a_path(dense_files, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(dense_files["int8"])
    assert arena.measure(path) == arena.measure(dense_files["int8"])


@pytest.mark.slow
def test_the_smallest_arena_works_and_one_byte_less_does_not(cnn_files):
    content = cnn_files["int8"]
    smallest = arena.smallest(content)
    assert 0 <= arena.measure(content).total - smallest < memory_plan.ALIGNMENT
    runner = micro.MicroRunner(content)
    assert runner.answers_in(smallest)
    assert not runner.answers_in(smallest - 1)


@pytest.mark.slow
def test_making_the_plan_can_take_more_than_is_kept(dense_files):
    """Three tensors of 16 bytes leave no room in which to list them, their sizes and their lifetimes."""
    smallest = arena.smallest(dense_files["int8"])
    assert smallest > arena.measure(dense_files["int8"]).total + 100
    assert not micro.MicroRunner(dense_files["int8"]).answers_in(smallest - 1)


@pytest.mark.parametrize("ask", [arena.measure, arena.smallest])
def test_what_the_interpreter_refuses_has_no_arena(cnn_files, ask):
    with pytest.raises(ModelFileError, match="Hybrid models are not supported"):
        ask(cnn_files["dynamic_range"])
    with pytest.raises(ModelFileError, match="empty"):
        ask(b"")


@pytest.mark.parametrize("ask", [arena.measure, arena.smallest])
def test_where_the_package_is_missing_the_error_says_so(cnn_files, monkeypatch, ask):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TinylabError, match=r"needs .*package"):
        ask(cnn_files["int8"])
    assert memory_plan.plan(cnn_files["int8"]).size > 0
