"""The plan of a model's tensors, made by hand: to the byte the one that TensorFlow Lite Micro makes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.architectures import int8_file
from tests.conftest import long, slow
from tests.networks import random_network
from tinylab import arena, memory_plan, one_operator, tflite_file
from tinylab.errors import ModelFileError, TinylabError
from tinylab.memory_plan import ALIGNMENT, Plan, Want, place
from tinylab.one_operator import Values, schema

LIFETIMES = st.tuples(st.integers(-1, 10), st.integers(0, 5)).map(lambda pair: (pair[0], sum(pair)))
WANTS = st.lists(
    st.builds(lambda size, life: Want("", ALIGNMENT * size, *life), st.integers(1, 50), LIFETIMES),
    min_size=1,
    max_size=30,
)


@pytest.fixture
def measured():
    """Bytes that the interpreter's own plan has."""
    pytest.importorskip("tflite_micro", reason="no tflite-micro for this machine")
    return lambda model: arena.measure(model).tensors


# The greedy method


@given(WANTS)
def test_what_is_needed_at_the_same_time_lies_apart(wanted):
    blocks = place(wanted)
    assert [Want(b.name, b.bytes, b.first, b.last) for b in blocks] == wanted
    for i, a in enumerate(blocks):
        assert a.offset % ALIGNMENT == 0
        for b in blocks[:i]:
            apart_in_time = a.last < b.first or b.last < a.first
            assert apart_in_time or a.end <= b.offset or b.end <= a.offset


@given(WANTS)
def test_a_plan_takes_no_less_than_the_peak_and_no_more_than_all_blocks(wanted):
    plan = Plan(tuple(place(wanted)))
    assert plan.peak <= plan.size <= sum(want.bytes for want in wanted)
    needed = [sum(w.bytes for w in wanted if w.first <= n <= w.last) for n in range(-1, 100)]
    assert plan.peak == max(needed)
    assert plan.alive == needed[1 : len(plan.alive) + 1]


def test_an_input_that_no_operator_reads_and_nothing_at_all_have_a_plan():
    unread = Plan(tuple(place([Want("", 16, -1, -1)])))
    assert (unread.size, unread.peak, unread.alive) == (16, 16, [])
    assert (Plan(()).size, Plan(()).peak, Plan(()).alive) == (0, 0, [])


@given(WANTS)
def test_the_largest_lies_at_the_start(wanted):
    blocks = place(wanted)
    assert max(blocks, key=lambda block: block.bytes).bytes in {b.bytes for b in blocks if b.offset == 0}


def test_of_equal_ones_the_last_is_placed_first():
    assert [block.offset for block in place([Want("", 16, 0, 1), Want("", 16, 1, 2)])] == [16, 0]


def test_greedy_is_not_always_the_best():
    """48 bytes would do, with the offsets 0, 32, 0 and 16."""
    sizes, lifetimes = (32, 16, 16, 32), ((-1, 0), (0, 1), (1, 2), (2, 3))
    plan = Plan(tuple(place([Want("", n, *life) for n, life in zip(sizes, lifetimes, strict=True)])))
    assert [block.offset for block in plan.blocks] == [0, 48, 32, 0]
    assert (plan.peak, plan.size) == (48, 64)


def test_a_gap_is_used_if_it_is_just_large_enough():
    blocks = place(
        [Want("low", 64, 0, 9), Want("gap", 48, 0, 4), Want("top", 32, 0, 9), Want("late", 48, 5, 9)]
    )
    assert [block.offset for block in blocks] == [0, 64, 112, 64]


# Lifetimes


def test_lifetimes_in_a_file_with_a_branch(dense_files):
    blocks = {b.name.split(";")[0]: b for b in memory_plan.plan(dense_files["int8"]).blocks}
    file = tflite_file.parse(dense_files["int8"])
    assert [operator.name for operator in file.operators] == ["FULLY_CONNECTED", "FULLY_CONNECTED"]
    names = [file.tensors[i].name.split(";")[0] for i in (*file.inputs, *file.computed[1:])]
    assert [(blocks[name].first, blocks[name].last) for name in names] == [(-1, 0), (0, 1), (1, 1)]
    assert [blocks[name].bytes for name in names] == [16, 16, 16]  # of 3, 4 and 2 values


def test_an_output_stays_to_the_end(measured):
    from tests.test_micro import converted
    from tinylab._tensorflow import tf

    content = converted(lambda x: (tf.nn.relu(x), tf.tanh(tf.exp(tf.abs(x)))), (1, 30))
    plan, operators = memory_plan.plan(content), len(tflite_file.parse(content).operators)
    assert sum(block.last == operators - 1 for block in plan.blocks) == 3  # both, and what the last one reads
    assert plan.size == measured(content)


def test_constants_have_no_place(cnn_files):
    file = tflite_file.parse(cnn_files["int8"])
    assert len(memory_plan.plan(cnn_files["int8"]).blocks) == 1 + len(file.operators)


# Against the interpreter


@pytest.mark.parametrize("recipe", ["float32", "int8", "int8_uint8_io", "int16x8"])
def test_a_network_is_planned_as_the_interpreter_plans_it(measured, cnn_files, recipe):
    plan = memory_plan.plan(cnn_files[recipe])
    assert plan.size == measured(cnn_files[recipe])
    assert plan.size == plan.peak


@pytest.mark.parametrize(
    "name", [*slow("resnet8", "ds_cnn", "autoencoder", "motion_cnn"), *long("mobilenet_v1")]
)
def test_well_known_architectures_are_planned_as_the_interpreter_plans_them(measured, name):
    plan = memory_plan.plan(int8_file(name))
    assert plan.size == measured(int8_file(name))
    assert (plan.size > plan.peak) == (name == "mobilenet_v1")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("recipe", ["int8", "int16x8"])
def test_random_networks_are_planned_as_the_interpreter_plans_them(measured, seed, recipe):
    content = random_network(seed, recipe)
    try:
        expected = measured(content)
    except ModelFileError as error:
        pytest.skip(str(error))
    assert memory_plan.plan(content).size == expected


@pytest.mark.parametrize("dtype", [np.int8, *slow(np.int16, np.float32)])
@pytest.mark.parametrize("operator", ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"])
@pytest.mark.parametrize("axes", [(1,), (1, 2), (3,)])
def test_buffers_of_reductions(measured, operator, dtype, axes):
    x = np.zeros((1, 7, 9, 40), dtype)
    scale = {} if dtype == np.float32 else {"scale": 0.1}
    inputs = [Values(x, **scale), Values(np.int32(axes))]
    output = Values(x.max(axis=axes), **scale)
    content = one_operator.tflite(operator, schema.ReducerOptionsT(), inputs, output)
    assert memory_plan.plan(content).size == measured(content)


@pytest.mark.slow
def test_weights_in_int4_are_unpacked_into_a_buffer(measured):
    from tinylab import qat
    from tinylab._tensorflow import keras

    x = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    model = keras.Sequential([keras.layers.Dense(30, input_shape=(40,), name="dense")])
    content = qat.convert(qat.quantization_aware(model, x, weight_bits=4), x)
    buffers = [block.bytes for block in memory_plan.plan(content).blocks if block.name.startswith("scratch")]
    assert buffers == [40 * 30]
    assert memory_plan.plan(content).size == measured(content)


# Refusals


def test_loops_are_refused():
    from tests.test_micro import converted
    from tinylab._tensorflow import tf

    def loop(x):
        return tf.while_loop(lambda y: tf.reduce_sum(y) > 0, lambda y: (y - 1,), (x,))[0]

    with pytest.raises(TinylabError, match="without loops and branches"):
        memory_plan.plan(converted(loop, (1, 3)))


@pytest.mark.parametrize("content", [b"", b"no model", b"\x1c\0\0\0TFL3" + b"\xff" * 100])
def test_what_is_no_model_is_refused(content):
    with pytest.raises(ModelFileError):
        memory_plan.plan(content)


def test_a_corrupted_file_gives_a_plan_or_an_error(dense_files):
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        content = np.frombuffer(dense_files["int8"], np.uint8).copy()
        content[rng.integers(8, len(content), 2)] = rng.integers(0, 256, 2)
        try:
            plan = memory_plan.plan(content.tobytes())
            assert plan.peak <= plan.size
        except TinylabError:
            refused += 1
    assert 0 < refused < 200
