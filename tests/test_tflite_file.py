"""What is read from a .tflite file, and what is refused as none."""

import contextlib
import os
import random
from dataclasses import replace

import numpy as np
import pytest

from tinylab import runners
from tinylab.errors import ModelFileError
from tinylab.tflite_file import Tensor, parse

# Weights of small_cnn: 3*3*1*16 + 3*3*16*32 + 800*32 + 32*10; biases: 16 + 32 + 32 + 10.
WEIGHTS, BIASES = 144 + 4608 + 25600 + 320, 90


def parameter_bytes(file):
    """Bytes of constants, without the shapes that RESHAPE reads."""
    shapes = {operator.inputs[1] for operator in file.operators if operator.name == "RESHAPE"}
    totals = file.bytes_by_dtype
    for index in shapes:
        totals[file.tensors[index].dtype] -= file.tensors[index].nbytes
    return {dtype: size for dtype, size in totals.items() if size}


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("float32", {"float32": 4 * (WEIGHTS + BIASES)}),
        ("float16", {"float16": 2 * (WEIGHTS + BIASES)}),
        ("int8", {"int8": WEIGHTS, "int32": 4 * BIASES}),
        ("int16x8", {"int8": WEIGHTS, "int64": 8 * BIASES}),
    ],
)
def test_bytes_by_dtype_are_those_of_the_parameters(cnn_files, recipe, expected):
    assert parameter_bytes(parse(cnn_files[recipe])) == expected


def test_dtypes_are_listed_largest_first(cnn_files):
    sizes = list(parse(cnn_files["dynamic_range"]).bytes_by_dtype.values())
    assert sizes == sorted(sizes, reverse=True)


def test_a_layer_that_is_used_twice_is_stored_once():
    from tinylab._tensorflow import keras
    from tinylab.conversion import Recipe, convert

    shared = keras.layers.Dense(8, use_bias=False)
    inputs = [keras.layers.Input((8,)) for _ in range(2)]
    model = keras.Model(inputs, [shared(tensor) for tensor in inputs])
    assert parse(convert(model, Recipe.FLOAT32)).bytes_by_dtype["float32"] == 8 * 8 * 4


def test_a_buffer_that_tensors_share_counts_once(dense_files):
    file = parse(dense_files["float32"])
    sharing = tuple(replace(tensor, index=100 + tensor.index) for tensor in file.tensors)
    assert replace(file, tensors=file.tensors + sharing).bytes_by_dtype == file.bytes_by_dtype


def test_operators_stand_in_the_order_in_which_they_run(cnn_files):
    file = parse(cnn_files["float32"])
    assert [operator.name for operator in file.operators] == [
        *["CONV_2D", "MAX_POOL_2D"] * 2,
        "RESHAPE",
        *["FULLY_CONNECTED"] * 2,
        "SOFTMAX",
    ]
    written = set(file.inputs)
    for operator in file.operators:
        read = {i for i in operator.inputs if i >= 0 and not file.tensors[i].nbytes}
        assert read <= written
        written |= set(operator.outputs)
    assert set(file.outputs) <= written


def test_weights_of_a_convolution_have_a_scale_for_each_channel(cnn_files):
    file = parse(cnn_files["int8"])
    convolution = file.operators[0]
    weights = file.tensors[convolution.inputs[1]]
    assert (weights.per_channel, weights.scale.shape, weights.axis) == (True, (16,), 0)
    assert (weights.zero_point == 0).all()
    assert (weights.params.dtype, weights.params.axis) == ("int8", 0)
    assert np.array_equal(weights.params.scale, weights.scale)
    image = file.tensors[convolution.inputs[0]]
    assert not image.per_channel
    assert (image.params.dtype, image.params.axis) == ("int8", None)
    assert image.params.scale == pytest.approx(1 / 255, rel=0.01)


def test_a_float_tensor_has_no_scale(cnn_files):
    tensor = parse(cnn_files["float32"]).tensors[0]
    assert (tensor.scale.size, tensor.per_channel, tensor.params) == (0, False, None)


def test_everything_computed_is_listed_inputs_first(cnn_files):
    file = parse(cnn_files["int8"])
    assert file.computed[0] == file.inputs[0]
    assert file.computed[-1] == file.outputs[0]
    assert len(file.computed) == 1 + len(file.operators)


def test_a_path_and_bytes_give_the_same(cnn_files, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(cnn_files["float32"])
    for given in (path, str(path)):
        file = parse(given)
        assert (file.name, file.size) == (str(path), len(cnn_files["float32"]))
        assert file.bytes_by_dtype == parse(cnn_files["float32"]).bytes_by_dtype


# What is refused, by parse and by load

READERS = [parse, runners.load]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"# some text\n", "not a .tflite"), (b"\x1c\0\0\0TFL2" + bytes(100), "not a .tflite")],
    ids=["empty", "text", "another identifier"],
)
def test_what_is_no_tflite_is_refused(reader, content, message, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    for given in (content, path):
        with pytest.raises(ModelFileError, match=message):
            reader(given)


@pytest.mark.parametrize("reader", READERS)
def test_what_cannot_be_read_is_refused(reader, tmp_path):
    for given in (tmp_path / "missing.tflite", tmp_path):
        with pytest.raises(ModelFileError, match="cannot read"):
            reader(given)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("given", [None, 3, ["model.tflite"]])
def test_what_is_neither_bytes_nor_a_path_is_refused(reader, given):
    with pytest.raises(ModelFileError, match="bytes or a path"):
        reader(given)


def lengths(content):
    """Sixty places to cut a file at: the first bytes, all over it, the last bytes."""
    size = len(content)
    return sorted(
        {*range(0, 20), *np.linspace(20, size - 20, 25).astype(int).tolist(), *range(size - 15, size)}
    )


@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_a_file_cut_short_is_refused(dense_files, cnn_files, recipe):
    for content in (dense_files[recipe], cnn_files[recipe]):
        for length in lengths(content):
            for reader in READERS:
                with pytest.raises(ModelFileError):
                    reader(content[:length])


def mutated(content, generator):
    """A file with a few bytes changed, most of them where its structure is."""
    changed = bytearray(content)
    for _ in range(generator.randint(1, 8)):
        changed[generator.randrange(8, len(changed))] = generator.choice([0, 1, 127, 128, 255])
    return bytes(changed)


@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_a_file_with_changed_bytes_is_parsed_or_refused(dense_files, recipe):
    generator = random.Random(0)
    for _ in range(400):
        with contextlib.suppress(ModelFileError):
            parse(mutated(dense_files[recipe], generator))


def test_random_bytes_after_the_identifier_are_refused():
    generator = random.Random(0)
    for _ in range(100):
        with pytest.raises(ModelFileError):
            parse(generator.randbytes(4) + b"TFL3" + generator.randbytes(200))


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(cnn_files, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(cnn_files["float32"])
    path.chmod(0)
    with pytest.raises(ModelFileError, match="Permission denied"):
        parse(path)


def test_int4_has_parameters_like_any_other_type():
    tensor = Tensor(0, "w", (2,), False, "int4", np.float32([0.5]), np.array([0]), axis=0, nbytes=1, buffer=1)
    assert (tensor.params.scale, tensor.params.dtype) == (0.5, "int4")
