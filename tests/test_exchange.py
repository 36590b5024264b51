"""Answers that leave a learner's process: what arrives, what does not, and bytes that were made to hurt."""

import contextlib
import json
import math
import pickle
import sys
import tracemalloc

import hypothesis
import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import strategies as st

from tinylab.check import exchange
from tinylab.check.answers import LONGEST, LONGEST_MESSAGE, Answers, Foreign
from tinylab.errors import DataError

quickly = hypothesis.settings(max_examples=200, deadline=None)


def arrived(value):
    """The value behind the wall."""
    (there,) = exchange.load(exchange.dump(Answers([value]))).values
    return there


def same(a, b):
    """Equal, of the same type, and NaN where NaN was."""
    if isinstance(a, (np.ndarray, np.generic)):
        return (
            type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return type(b) is dict and same(list(a.items()), list(b.items()))
    if isinstance(a, float):
        return type(b) is float and (a == b or (math.isnan(a) and math.isnan(b)))
    return type(a) is type(b) and a == b


keys = st.one_of(st.booleans(), st.integers(), st.text(), st.binary(), st.tuples(st.integers(), st.text()))
numbers = st.one_of(
    arrays.integer_dtypes(),
    arrays.unsigned_integer_dtypes(),
    arrays.floating_dtypes(),
    arrays.boolean_dtypes(),
)
leaves = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    arrays.arrays(numbers, arrays.array_shapes(min_dims=0, min_side=0)),
    numbers.flatmap(arrays.from_dtype).filter(lambda scalar: isinstance(scalar, np.generic)),
)
values = st.recursive(
    leaves,
    lambda inside: st.one_of(
        st.lists(inside), st.lists(inside).map(tuple), st.dictionaries(keys, inside), st.sets(keys)
    ),
    max_leaves=20,
)


@pytest.mark.slow
@quickly
@hypothesis.given(values)
def test_plain_values_arrive_as_they_are(value):
    assert same(value, arrived(value))


@pytest.mark.parametrize(
    "value",
    [
        2**64,
        -(2**20_000),
        -0.0,
        math.inf,
        "\ud800",
        "\0",
        "long " * 1000,
        b"",
        np.array("text"),
        np.array([]),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_values_at_the_edge_arrive_as_they_are(value):
    assert same(value, arrived(value))


def test_what_is_said_beside_the_values_arrives():
    answers = Answers([1, None], "ValueError: no", attempted=True)
    assert exchange.load(exchange.dump(answers)) == answers
    assert exchange.load(exchange.dump(Answers([], attempted=False))) == Answers([], attempted=False)


@pytest.mark.parametrize(
    ("value", "there"),
    [
        (range(3), [0, 1, 2]),
        (iter([1, 2]), [1, 2]),
        ({"a": 1}.values(), [1]),
        ({"a": 1}.keys(), ["a"]),
        (frozenset([1]), {1}),
        (bytearray(b"ab"), b"ab"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_can_be_gone_through_arrives_as_a_list_or_as_the_like(value, there):
    assert same(arrived(value), there)


def test_series_and_tensors_arrive_as_arrays():
    from tinylab._tensorflow import tf

    assert same(arrived(tf.constant([[1.5]])), np.float32([[1.5]]))
    assert same(arrived(tf.Variable([1])), np.int32([1]))
    import pandas as pd

    assert same(arrived(pd.Series([1, 2])), np.array([1, 2]))


class Own:
    """Of a learner."""

    def __repr__(self):
        return "mine " * 1000


class Bomb:
    """Goes off when anybody looks at it."""

    def __repr__(self):
        raise SystemError

    __len__ = __iter__ = __array__ = __reduce__ = __repr__


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (print, "builtin_function_or_method"),
        (lambda: 1, "function"),
        (Own(), "Own"),
        (Bomb(), "Bomb"),
        (np.array([object()]), "ndarray"),
        (1j, "complex"),
        (sys, "module"),
    ],
    ids=["builtin", "function", "own", "bomb", "objects", "complex", "module"],
)
def test_of_anything_else_a_name_and_a_few_words_arrive(value, name):
    there = arrived([value])[0] if not isinstance(value, Bomb) else arrived(value)
    assert isinstance(there, Foreign)
    assert type(there).__name__ == name
    assert len(repr(there)) <= LONGEST


@pytest.mark.slow
def test_lists_that_hold_themselves_and_iterators_without_end_do_not_hang():
    cyclic = [1]
    cyclic += [cyclic, cyclic]

    def forever():
        while True:
            yield 1

    deep = []
    for _ in range(100_000):
        deep = [deep]
    laughing = ["ha"]
    for _ in range(50):
        laughing = [laughing] * 10
    for value in (cyclic, forever(), deep, laughing, list(range(10**6)), {i: i for i in range(10**6)}):
        there = arrived(value)
        assert isinstance(there, Foreign)
        assert there.remark == "too large to be compared"
        assert len(repr(there)) <= LONGEST


def test_an_answer_for_which_there_is_no_room_does_not_cost_the_others():
    answers = Answers([np.zeros(30_000_000, np.uint8), b"next", "x" * 30_000_000])
    content = exchange.dump(answers, most=20_000_000)
    assert len(content) < 20_000_000
    large, following, long = exchange.load(content, most=20_000_000).values
    assert following == b"next"
    assert large.remark == long.remark == "too large to be compared"
    with pytest.raises(DataError, match="are the most"):
        exchange.load(content, most=100)


def test_errors_are_cut_short():
    content = exchange.dump(Answers([], "E" * 10**7))
    assert len(exchange.load(content).error) == LONGEST_MESSAGE


# Hostile bytes


def written(tree, blobs=b""):
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return exchange.LENGTH.pack(len(text)) + text + blobs


def of(value, blobs=b""):
    return written({"values": [value], "error": "", "attempted": True}, blobs)


HOSTILE = {
    "nothing": b"",
    "a pickle": pickle.dumps([1]),
    "no JSON": written(b"{"),
    "no answers": written([]),
    "values that are none": written({"values": 3, "error": "", "attempted": True}),
    "an error that is none": written({"values": [], "error": [], "attempted": True}),
    "attempted: 1": written({"values": [], "error": "", "attempted": 1}),
    "deep": written(b"[" * 1_000_000),
    "deep, and closed": of(json.loads("[" * 200 + "]" * 200)),
    "longer than it is": exchange.LENGTH.pack(2**63) + b"{}",
    "a number without end": written(
        b'{"values": [' + b"9" * 1_000_000 + b'], "error": "", "attempted": true}'
    ),
    "an unknown kind": of({"pickle": 3}, b"abc"),
    "two kinds": of({"bytes": 1, "int": 1}, b"ab"),
    "more bytes than there are": of({"bytes": 4}, b"abc"),
    "fewer than none": of({"bytes": -1}, b"abc"),
    "a length that is True": of({"bytes": True}, b"abc"),
    "a huge shape": of({"array": ["<f4", [10**9, 10**9], 4]}, b"abcd"),
    "a shape below 0": of({"array": ["<f4", [-1], 4]}, b"abcd"),
    "objects": of({"array": ["|O", [1], 8]}, b"abcdefgh"),
    "a structure": of({"array": ["i4,i4", [1], 8]}, b"abcdefgh"),
    "a shape in a dtype": of({"array": ["(2,)i4", [1], 8]}, b"abcdefgh"),
    "no dtype": of({"array": ["tinylab", [1], 8]}, b"abcdefgh"),
    "no characters": of({"array": ["<U2", [1], 8]}, b"\xff" * 8),
    "a key that is a list": of({"dict": [[], 1]}),
    "a key without a value": of({"dict": [1]}),
    "a set of lists": of({"set": [[]]}),
    "keys that collide": of({"dict": [i * (2**61 - 1) for i in range(40_000)]}),
    "weights of a model that are no arrays": of({"keras": ["Dense", {"dict": []}, 3]}),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_bytes_that_are_no_answers_are_refused(content):
    with pytest.raises(DataError):
        exchange.load(content)


def loaded(content):
    with contextlib.suppress(DataError):
        assert isinstance(exchange.load(content), Answers)


@quickly
@hypothesis.given(st.binary(max_size=2000))
def test_any_bytes_are_refused_or_answers(content):
    loaded(content)
    loaded(written(content))


@pytest.mark.slow
@quickly
@hypothesis.given(st.lists(values, max_size=3), st.data())
def test_answers_that_somebody_changed_are_refused_or_answers(given, data):
    content = bytearray(exchange.dump(Answers(given)))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    loaded(bytes(content[: data.draw(st.integers(0, len(content)))]))


names = st.sampled_from(
    ["bytes", "int", "text", "array", "scalar", "tuple", "set", "dict", "foreign", "values", "__class__"]
)
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2**40), st.floats(), st.text(max_size=5)),
    lambda inside: st.one_of(st.lists(inside, max_size=4), st.dictionaries(names, inside, max_size=2)),
    max_leaves=20,
)


@quickly
@hypothesis.given(trees, st.binary(max_size=64))
def test_any_tree_is_refused_or_an_answer(tree, blobs):
    loaded(of(tree, blobs))


@pytest.mark.parametrize(
    "content",
    [*HOSTILE.values(), of([[]] * 50_000), of({"array": ["<f8", [0, 10**15], 0]})],
    ids=[*HOSTILE, "lists of nothing", "an array of nothing"],
)
def test_reading_takes_a_few_times_the_memory_of_what_is_read(content):
    tracemalloc.start()
    loaded(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000 + 25 * min(len(content), exchange.MOST_TEXT) + 4 * len(content)


def test_plain_answers_need_no_tensorflow(run_python):
    code = """
import sys
import numpy as np
from tinylab.check import exchange, task
exchange.load(exchange.dump(task.Answers([np.zeros(3), {"a": (1, 2.5)}, print])))
print(*sys.modules)
"""
    assert not {"tensorflow", "tf_keras", "keras"} & set(run_python(code).split())


# Layers and models


@pytest.fixture(scope="module")
def L():
    from tinylab._tensorflow import keras

    return keras.layers


def sequential(L):
    from tinylab._tensorflow import keras

    inner = keras.Sequential([keras.Input((13, 13, 4)), L.BatchNormalization(), L.LeakyReLU()], name="inner")
    first = L.Conv2D(4, 3, activation=L.ReLU(6.0), kernel_regularizer="l2", input_shape=(28, 28, 1))
    layers = [first, L.MaxPooling2D(), inner, L.Flatten(), L.Dropout(0.5), L.Dense(10, "softmax")]
    return keras.Sequential(layers)


def functional(L):
    from tinylab._tensorflow import keras

    images, twice = keras.Input((8, 8, 3)), L.SeparableConv2D(3, 3, padding="same", use_bias=False)
    x = L.Add()([twice(twice(images)), images])
    x = L.Dropout(0.1)(x, training=False)
    return keras.Model(images, [L.GlobalAveragePooling2D()(x), L.Concatenate()([x, images])])


@pytest.mark.parametrize("make", [sequential, functional])
def test_a_model_arrives_and_answers_as_before(L, make):
    from tinylab._tensorflow import tf

    rng = np.random.default_rng(0)
    model = make(L)
    model.set_weights([rng.uniform(0.1, 1, w.shape).astype(np.float32) for w in model.get_weights()])
    there = arrived(model)
    x = rng.normal(size=(3, *model.input_shape[1:])).astype(np.float32)
    for before, after in zip(tf.nest.flatten(model(x)), tf.nest.flatten(there(x)), strict=True):
        np.testing.assert_array_equal(before, after)
    assert there.input_shape == model.input_shape


@pytest.mark.parametrize("built", [False, True])
def test_a_layer_arrives_with_the_weights_that_it_was_given(L, built):
    x = np.ones((1, 2, 2, 3), np.float32)
    layer = L.DepthwiseConv2D(1, weights=[np.float32([1, 2, 3]).reshape(1, 1, 3, 1), np.float32([4, 5, 6])])
    if built:
        layer(x)
    assert arrived(layer)(x).numpy()[0, 0, 0].tolist() == [5, 7, 9]


def test_what_a_learner_wrote_into_a_model_does_not_arrive(L, tmp_path):
    """Functions, classes and layers of somebody's own, and Keras' own that hold functions."""
    from tinylab._tensorflow import keras, tf

    mark = tmp_path / "here"

    class Mine(L.Layer):
        def call(self, x):
            mark.touch()
            return x

    class Model(keras.Model):
        def call(self, x):
            return x

    def mine(x):
        return x

    images = keras.Input((4,))
    refused = {
        "Lambda given": keras.Sequential([keras.Input((4,)), L.Lambda(lambda x: x + 1)]),
        "own layers": keras.Sequential([keras.Input((4,)), L.Lambda(lambda x: mark.touch() or x)]),
        "TFOpLambda given": keras.Model(images, tf.nn.relu(images) + 1),
        "Mine given": keras.Sequential([keras.Input((4,)), Mine()]),
        "knows the shape": keras.Sequential([L.Dense(3)]),
        "built": Model(),
        "another function": keras.Sequential([L.Dense(3, activation=mine, input_shape=(4,))]),
    }
    mark.unlink()  # they have been called already, to be made
    for words, model in refused.items():
        there = arrived(model)
        assert isinstance(there, Foreign), words
        assert words in there.remark
    assert not mark.exists()


def sent(kind, config, *weights):
    writer = exchange._Writer(10**8)
    tree = {"keras": [kind, writer.value(config), [writer.value(w) for w in weights]]}
    return exchange.load(of(tree, b"".join(writer.blobs))).values[0]


def test_a_configuration_runs_nothing_of_what_it_names(L, tmp_path):
    """What Keras imports and calls when it is asked to: modules, functions, registered names."""
    mark = tmp_path / "here"
    calls = {"module": "os", "class_name": "system", "config": f"touch {mark}", "registered_name": "system"}
    call = {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}
    plain = {"name": "d", "units": 2}
    weights = np.zeros((3, 2), np.float32), np.zeros(2, np.float32)
    first = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 3]}}
    for config in (
        {"layers": [first, calls]},
        {"layers": [first, {"class_name": "Dense", "config": plain | {"activation": call}}]},
        {"layers": [first, {"class_name": "Dense", "config": plain | {"activation": "Lambda"}}]},
        {"layers": [first, {"class_name": "Dense", "config": plain | {"name": call}}]},
        {"layers": [first, {"class_name": "Dense", "config": plain | {"units": call}}]},
        {"layers": [first, {"class_name": "Lambda", "config": {"function": call}}]},
        {"layers": [first, {"class_name": "Dense", "config": plain, "inbound_nodes": [[["d", 0, 0, call]]]}]},
        {"layers": [first, [call]]},
        {"layers": call},
    ):
        there = sent("Sequential", {"name": "m", **config}, *weights)
        assert isinstance(there, Foreign), config
    initialized = plain | {"kernel_initializer": calls, "kernel_regularizer": call, "bias_constraint": call}
    layers = [first, {"class_name": "Dense", "config": initialized, "module": "os"}]
    there = sent("Sequential", {"name": "m", "layers": layers}, *weights)
    assert there(np.zeros((1, 3))).shape == (1, 2)  # those are left out: training alone needs them
    assert not mark.exists()


def test_sizes_that_a_model_only_claims_take_no_memory(L):
    import resource

    def dense(units):
        first = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 1000]}}
        return {"name": "m", "layers": [first, {"class_name": "Dense", "config": {"units": units}}]}

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "arrays of weights" in sent("Sequential", dense(10**9)).remark
    weights = np.zeros((10, 10), np.float32)
    assert "arrays of weights" in sent("Sequential", dense(10**9), weights, weights[0]).remark
    assert (
        "weights or more" in sent("DepthwiseConv2D", {"kernel_size": 10**4, "depth_multiplier": 10**4}).remark
    )
    wide = {"class_name": "ZeroPadding2D", "config": {"padding": 10**6}}
    first = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 2, 2, 1]}}
    assert "at most" in sent("Sequential", {"name": "m", "layers": [first, wide]}).remark
    assert "at most" in sent("Sequential", {"name": "m", "layers": [first] * 1000}).remark
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 500_000


@quickly
@hypothesis.given(st.data())
def test_any_configuration_is_refused_or_makes_a_layer(data):
    tree = data.draw(trees)
    kind = data.draw(st.sampled_from(["Dense", "Conv2D", "Sequential", "Functional", "Lambda", "os.system"]))
    loaded(of({"keras": [kind, tree, []]}))
