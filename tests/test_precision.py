"""What is said about float32 leftovers is what the converter does: each rule is measured."""

import numpy as np
import pytest

from tinylab import precision as p
from tinylab.precision import precision
from tinylab.tflite_file import parse

from .odd_models import random_weights, sequential, tflite


def reasons(content, role):
    return {leftover.reason for leftover in precision(content).leftovers if leftover.role == role}


def weight_types(content):
    """The dtype of the weights, by shape."""
    file = parse(content)
    roles = zip(file.tensors, file.roles, strict=True)
    return {tensor.shape: tensor.dtype for tensor, role in roles if role == "weights" and tensor.nbytes}


# The course's files


VERDICTS = {
    "float32": "float32",
    "float16": "float16 weights, computing in float32",
    "dynamic_range": (
        "dynamic range: weights int8, activations float32 (2 of 4 weight tensors stayed float32)"
    ),
    "int8": "all integer: weights int8, activations int8",
    "int8_uint8_io": "all integer: weights int8, activations int8 and uint8",
    "int16x8": "all integer: weights int8, activations int16",
}


@pytest.mark.parametrize("recipe", VERDICTS)
def test_a_verdict_for_each_recipe(cnn_files, recipe):
    assert precision(cnn_files[recipe]).verdict == VERDICTS[recipe]


@pytest.mark.parametrize("recipe", VERDICTS)
def test_every_float32_tensor_is_listed_with_a_known_reason(cnn_files, dense_files, recipe):
    for content in (cnn_files[recipe], dense_files[recipe]):
        leftovers = precision(content).leftovers
        expected = [tensor.index for tensor in parse(content).tensors if tensor.dtype == "float32"]
        assert [leftover.tensor.index for leftover in leftovers] == expected
        assert p.NOT_SHOWN not in {leftover.reason for leftover in leftovers}


def test_the_reasons_of_each_recipe(cnn_files):
    assert set(precision(cnn_files["float32"]).by_reason) == {p.NOTHING_ASKED}
    assert reasons(cnn_files["float16"], "weights") == {
        "stored as float16; DEQUANTIZE turns it into float32 before it is used"
    }
    assert reasons(cnn_files["float16"], "activation") == {p.COMPUTED_AFTER_FLOAT16}
    assert reasons(cnn_files["dynamic_range"], "weights") == {p.FEW_WEIGHTS}
    assert reasons(cnn_files["dynamic_range"], "bias") == {p.BIASES}
    assert reasons(cnn_files["dynamic_range"], "activation") == {p.NO_RANGES}


def test_a_dynamic_range_file_of_small_layers_is_float32(dense_files):
    assert precision(dense_files["dynamic_range"]).verdict == (
        "float32, although dynamic range quantization was asked for"
    )


def test_leftovers_are_grouped_by_reason(cnn_files):
    found = precision(cnn_files["dynamic_range"])
    sizes = [len(group) for group in found.by_reason.values()]
    assert (sum(sizes), sizes) == (len(found.leftovers), sorted(sizes, reverse=True))


# Dynamic range: which weights stay


@pytest.fixture(scope="module")
def around_the_limit():
    """Two layers a kind, with 1,023 and 1,024 weights, and biases; converted with dynamic range."""
    from tinylab._tensorflow import keras

    layers, inputs, outputs = keras.layers, [], []
    for size in (1023, 1024):
        inputs.append(layers.Input((2, 2, size), batch_size=1))
        for layer in (layers.Conv2D(1, 1), layers.DepthwiseConv2D(1), layers.Conv2DTranspose(1, 1)):
            outputs.append(layer(inputs[-1]))
        outputs.append(layers.Dense(1)(layers.GlobalMaxPooling2D()(inputs[-1])))
    return tflite(random_weights(keras.Model(inputs, outputs)), (), optimize=True)


def test_weights_of_1024_elements_are_quantized_and_of_1023_are_not(around_the_limit):
    file = parse(around_the_limit)
    found = {}
    for operator in file.operators:
        for i in operator.inputs:
            if file.roles[i] == "weights":
                found[operator.name, int(np.prod(file.tensors[i].shape))] = file.tensors[i].dtype
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
    assert found == {(k, 1023): "float32" for k in kinds} | {(k, 1024): "int8" for k in kinds}
    assert set(kinds) < set(p.DYNAMIC_RANGE_OPERATORS)
    assert reasons(around_the_limit, "weights") == {p.FEW_WEIGHTS}
    assert "fewer than 1,024 elements" in p.FEW_WEIGHTS
    assert reasons(around_the_limit, "bias") == {p.BIASES}  # those of DEPTHWISE_CONV_2D have 1,024 elements
    assert precision(around_the_limit).verdict.endswith("(4 of 8 weight tensors stayed float32)")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "layer", "operator"),
    [
        ((4, 4, 4, 64), lambda layers: layers.Conv3D(8, 3), "CONV_3D"),
        ((2, 2, 2, 64), lambda layers: layers.Conv3DTranspose(8, 2), "CONV_3D_TRANSPOSE"),
        ((2048,), lambda layers: layers.PReLU(), "PRELU"),
        ((2048,), lambda layers: layers.BatchNormalization(), "MUL"),
    ],
    ids=["CONV_3D", "CONV_3D_TRANSPOSE", "PRELU", "MUL"],
)
def test_constants_of_other_operators_stay_however_large(shape, layer, operator):
    from tinylab._tensorflow import keras

    content = tflite(sequential(shape, layer(keras.layers)), shape, optimize=True)
    assert operator not in p.DYNAMIC_RANGE_OPERATORS
    assert p.OTHER_OPERATOR.format(operator) in precision(content).by_reason
    assert precision(content).verdict == "float32, although dynamic range quantization was asked for"


@pytest.mark.slow
def test_an_embedding_is_quantized_and_its_rows_are_no_integer_activations():
    from tinylab._tensorflow import keras

    content = tflite(sequential((4,), keras.layers.Embedding(1024, 1)), (4,), optimize=True)
    assert weight_types(content) == {(1024, 1): "int8"}
    assert precision(content).verdict == "dynamic range: weights int8, activations float32"
    content = tflite(sequential((4,), keras.layers.Embedding(1023, 1)), (4,), optimize=True)
    assert weight_types(content) == {(1023, 1): "float32"}


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "dtype"), [(341, "float32"), (342, "int8")])  # 1,023 and 1,026 elements
def test_a_matrix_product_with_a_constant_is_quantized(depth, dtype):
    from tinylab._tensorflow import keras, tf

    constant = np.random.default_rng(0).normal(size=(3, depth, 1)).astype(np.float32)
    product = keras.layers.Lambda(lambda x: tf.matmul(x, constant))
    content = tflite(sequential((3, 2, depth), product), (3, 2, depth), optimize=True)
    assert [operator.name for operator in parse(content).operators] == ["BATCH_MATMUL"]
    assert list(weight_types(content).values()) == [dtype]


@pytest.mark.slow
def test_the_weights_of_an_lstm_are_quantized_together_or_not_at_all():
    from tinylab._tensorflow import keras

    def lstm(units, inputs):
        layer = keras.layers.LSTM(units)
        return tflite(sequential((5, inputs), layer), (5, inputs), optimize=True)

    assert set(weight_types(lstm(32, 32)).values()) == {"int8"}
    mixed = lstm(8, 200)
    assert weight_types(mixed) == {(8, 200): "float32", (8, 8): "float32"}
    assert reasons(mixed, "weights") == {
        p.FEW_WEIGHTS,
        p.OTHER_WEIGHTS.format("UNIDIRECTIONAL_SEQUENCE_LSTM"),
    }


# Integer files


@pytest.fixture(scope="module")
def with_elu():
    from tinylab._tensorflow import keras

    layers = keras.layers
    return sequential((8,), layers.Dense(8), layers.ELU(), layers.Dense(4))


def test_an_operator_without_integer_version_is_an_island(with_elu):
    content = tflite(with_elu, (8,), optimize=True, samples=3)
    found = precision(content)
    assert found.verdict == "integer with float32 islands (ELU): weights int8, activations int8"
    assert {role: reasons(content, role) for role in ("input", "activation", "output")} == {
        "input": {p.ENDS["input"]},
        "activation": {p.ISLAND.format("ELU")},
        "output": {p.ENDS["output"]},
    }
    assert len(found.leftovers) == 4


def test_float32_ends_are_told_from_islands(cnn):
    content = tflite(cnn, (28, 28, 1), optimize=True, samples=3)
    found = precision(content)
    assert found.verdict == "integer inside, float32 at its ends: weights int8, activations int8"
    assert {leftover.reason for leftover in found.leftovers} == set(p.ENDS.values())


def test_representative_data_without_optimizations_quantize_nothing(with_elu):
    content = tflite(with_elu, (8,), samples=3)
    assert precision(content).verdict == "float32"
    assert set(precision(content).by_reason) == {p.NOTHING_ASKED}


@pytest.mark.slow
@pytest.mark.parametrize("function", ["SIN", "COS", "SQUARE", "FLOOR", "ROUND", "CEIL", "SIGN"])
def test_other_islands(function):
    from tinylab._tensorflow import keras, tf

    call = getattr(tf.math, function.lower())
    layers = keras.layers
    model = sequential((8,), layers.Dense(8), layers.Lambda(call), layers.Dense(4))
    content = tflite(model, (8,), optimize=True, samples=3, integer_io=True)
    assert (
        precision(content).verdict
        == f"integer with float32 islands ({function}): weights int8, activations int8"
    )
    assert set(precision(content).by_reason) == {p.ISLAND.format(function)}


@pytest.mark.slow
def test_a_model_of_islands_only_is_float32_although_integers_were_asked_for():
    from tinylab._tensorflow import keras

    model = sequential((4, 4, 4, 2), keras.layers.Conv3D(2, 2, use_bias=False))
    content = tflite(model, (4, 4, 4, 2), optimize=True, samples=3)
    assert precision(content).verdict == "float32, although integer quantization was asked for (CONV_3D)"
    assert set(precision(content).by_reason) == {p.ISLAND.format("CONV_3D")}


@pytest.mark.slow
def test_tensors_that_only_carry_ranges_do_not_make_an_lstm_float32():
    from tinylab._tensorflow import keras

    content = tflite(
        sequential((5, 8), keras.layers.LSTM(4)), (5, 8), optimize=True, samples=3, integer_io=True
    )
    assert precision(content).verdict == "all integer: weights int8, activations int8"
    assert set(precision(content).by_reason) <= {p.UNUSED}
