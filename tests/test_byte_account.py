"""Every byte of a file is accounted for, once, under what it is; what is no file is refused."""

import contextlib
import inspect
import itertools
import random
import re
import struct
import tracemalloc

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tinylab.byte_account import account
from tinylab.errors import ModelFileError
from tinylab.flatbuffer import TABLES, Outside, pieces
from tinylab.precision import precision
from tinylab.tflite_file import parse, subgraphs

from .odd_models import random_weights, sequential, tflite
from .test_tflite_file import BIASES, WEIGHTS

# Dynamic range leaves the two small ones of small_cnn's weights in float32.
SMALL_WEIGHTS = 3 * 3 * 1 * 16 + 32 * 10
PARAMETERS = {
    "float32": {"weights float32": 4 * WEIGHTS, "biases float32": 4 * BIASES},
    "float16": {"weights float16": 2 * WEIGHTS, "biases float16": 2 * BIASES},
    "dynamic_range": {
        "weights int8": WEIGHTS - SMALL_WEIGHTS,
        "weights float32": 4 * SMALL_WEIGHTS,
        "biases float32": 4 * BIASES,
    },
    "int8": {"weights int8": WEIGHTS, "biases int32": 4 * BIASES},
    "int8_uint8_io": {"weights int8": WEIGHTS, "biases int32": 4 * BIASES},
    "int16x8": {"weights int8": WEIGHTS, "biases int64": 8 * BIASES},
}


def checked(content):
    """The account of a file, after the checks that every account has to pass."""
    accounted, parts = account(content), pieces(content)
    end = 0
    for part in parts:
        assert (part.start, part.size > 0) == (end, True)
        end += part.size
        if part.what == "alignment":
            assert not any(content[part.start : end])
    assert end == accounted.size == len(content) == sum(accounted.bytes_by_kind.values())
    assert list(accounted.bytes_by_kind.values()) == sorted(accounted.bytes_by_kind.values(), reverse=True)
    return accounted


def of_converter(content):
    """The same, of a file as a converter writes it: little alignment, nothing unknown."""
    accounted = checked(content)
    assert "unknown" not in accounted.bytes_by_kind
    assert all(part.size < 8 for part in pieces(content) if part.what == "alignment")
    return accounted


def strings(content):
    """Bytes of all strings of a model, found by LiteRT's own classes: length, text, zero byte."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    found = [model.description, *(metadata.name for metadata in model.metadata)]
    for graph in model.subgraphs:
        found += [graph.name, *(tensor.name for tensor in graph.tensors)]
    for signature in model.signatureDefs or []:
        found += [signature.signatureKey, *(m.name for m in signature.inputs + signature.outputs)]
    return sum(4 + len(text) + 1 for text in found if text is not None)


# Real files


@pytest.mark.parametrize("recipe", PARAMETERS)
def test_values_are_those_of_the_parameters(cnn_files, recipe):
    kinds = of_converter(cnn_files[recipe]).bytes_by_kind
    values = {kind: size for kind, size in kinds.items() if kind.startswith(("weights", "biases"))}
    assert values == PARAMETERS[recipe]
    assert kinds["other constants int32"] == 2 * 4  # the shape that RESHAPE reads
    assert not any(kind.startswith("values of no tensor") for kind in kinds)


@pytest.mark.parametrize("recipe", PARAMETERS)
def test_the_other_kinds_agree_with_what_litert_reads(cnn_files, dense_files, recipe):
    for content in (cnn_files[recipe], dense_files[recipe]):
        kinds, file = of_converter(content).bytes_by_kind, parse(content)
        scales = sum(tensor.scale.size for tensor in file.tensors)
        assert kinds.get("scales and zero points", 0) == scales * (4 + 8)
        assert kinds["names"] == strings(content)
        parts = [
            part for part in pieces(content) if part.what.startswith("Operator") or "Options" in part.what
        ]
        assert kinds["operators"] == sum(part.size for part in parts)
        model = schema.Model.GetRootAs(content, 0)
        notes = sum(
            model.Buffers(model.Metadata(i).Buffer()).DataLength() for i in range(model.MetadataLength())
        )
        assert 0 < kinds["metadata"] - notes < 20 * model.MetadataLength()


def test_tensors_have_their_own_bytes(cnn_files):
    accounted, file = account(cnn_files["int8"]), parse(cnn_files["int8"])
    for row, tensor, role in zip(accounted.tensors, file.tensors, file.roles, strict=True):
        assert (row.subgraph, row.index, row.name, row.shape) == (0, tensor.index, tensor.name, tensor.shape)
        assert (row.role, row.dtype, row.values) == (role, tensor.dtype, tensor.nbytes)
        assert row.scales == 12 * tensor.scale.size
        assert row.description > 4 * len(tensor.shape) + len(tensor.name)
    kinds = accounted.bytes_by_kind
    assert sum(row.scales for row in accounted.tensors) == kinds["scales and zero points"]
    assert sum(row.description for row in accounted.tensors) < kinds["tensors"] + kinds["names"]
    first = next(row for row in accounted.tensors if row.shape == (16, 3, 3, 1))
    assert (first.role, first.values, first.scales) == ("weights", 144, 16 * 12)


def test_values_that_tensors_share_are_weights_if_an_operator_computes_with_them(dense_files):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(dense_files["float32"], 0))
    weights = model.subgraphs[0].operators[0].inputs[1]
    model.subgraphs[0].tensors += [model.subgraphs[0].tensors[weights]]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    accounted = of_converter(bytes(builder.Output()))
    assert accounted.tensors[-1].role == "constant"
    assert accounted.tensors[-1].values == accounted.tensors[weights].values == 4 * 3 * 4
    assert accounted.bytes_by_kind["weights float32"] == 4 * (3 * 4 + 4 * 2)


def test_a_path_gives_the_same_as_bytes(dense_files, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(dense_files["int8"])
    assert account(path) == account(dense_files["int8"])


@pytest.fixture(scope="module")
def branches():
    """A depthwise and a transposed convolution, both with a bias, and their sum."""
    from tinylab._tensorflow import keras

    layers = keras.layers
    inputs = layers.Input((6, 6, 2), batch_size=1)
    left = layers.DepthwiseConv2D(3, padding="same")(inputs)
    right = layers.Conv2DTranspose(2, 5, padding="same")(inputs)
    return random_weights(keras.Model(inputs, layers.Add()([left, right])))


@pytest.mark.parametrize(
    ("options", "weights", "biases"),
    [
        ({}, "weights float32", "biases float32"),
        ({"optimize": True, "samples": 3, "integer_io": True}, "weights int8", "biases int32"),
    ],
    ids=["float32", "int8"],
)
def test_weights_and_biases_are_known_by_the_operator_that_reads_them(branches, options, weights, biases):
    content = tflite(branches, (6, 6, 2), **options)
    kinds, file = of_converter(content).bytes_by_kind, parse(content)
    assert {"DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "ADD"} <= {operator.name for operator in file.operators}
    width = 1 if "int8" in weights else 4
    assert (kinds[weights], kinds[biases]) == (width * (3 * 3 * 2 + 5 * 5 * 2 * 2), 4 * (2 + 2))
    transposed = next(operator for operator in file.operators if operator.name == "TRANSPOSE_CONV")
    roles = [file.roles[i] for i in transposed.inputs]
    assert roles[0] in ("constant", "activation")  # the output's shape
    assert (roles[1], roles[2:]) == ("weights", ["input", "bias"])


@pytest.mark.slow
@pytest.mark.parametrize("optimize", [False, True])
def test_bodies_of_loops_are_accounted_for(optimize):
    from tinylab._tensorflow import keras

    content = tflite(sequential((5, 32), keras.layers.GRU(32)), (5, 32), optimize=optimize)
    graphs, kinds = subgraphs(content), of_converter(content).bytes_by_kind
    assert len(graphs) == 3
    assert any(operator.name == "WHILE" for operator in graphs[0].operators)
    assert (
        kinds["weights int8" if optimize else "weights float32"] == (1 if optimize else 4) * 2 * 3 * 32 * 32
    )
    assert kinds["names"] == strings(content)


@pytest.mark.slow
def test_an_lstm_with_its_state_and_an_embedding():
    from tinylab._tensorflow import keras

    content = tflite(sequential((5, 8), keras.layers.LSTM(4)), (5, 8))
    kinds = of_converter(content).bytes_by_kind
    assert (kinds["weights float32"], kinds["biases float32"]) == (4 * 4 * (8 + 4) * 4, 4 * 4 * 4)
    assert "state" in parse(content).roles
    content = tflite(sequential((4,), keras.layers.Embedding(50, 3)), (4,))
    assert of_converter(content).bytes_by_kind["weights float32"] == 50 * 3 * 4


@pytest.mark.slow
def test_values_behind_the_flatbuffer_are_found(cnn):
    content = tflite(cnn, (28, 28, 1), _experimental_use_buffer_offset=True)
    accounted = checked(content)
    assert "unknown" not in accounted.bytes_by_kind
    assert accounted.bytes_by_kind["weights float32"] == 4 * WEIGHTS
    assert sum(row.values for row in accounted.tensors) == 4 * (WEIGHTS + BIASES) + 8


@pytest.mark.slow
def test_a_file_of_two_signatures(tmp_path):
    from tinylab._tensorflow import tf
    from tinylab.quiet import quiet

    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 3))])
        def double(self, x):
            return {"doubled": x * 2}

        @tf.function(input_signature=[tf.TensorSpec((1,), tf.int32)])
        def word(self, number):
            return {"text": tf.gather(["one", "zwölf"], number)}

    two = Two()
    with quiet():
        tf.saved_model.save(two, str(tmp_path), signatures={"double": two.double, "word": two.word})
        content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path)).convert()
    kinds = of_converter(content).bytes_by_kind
    assert len(subgraphs(content)) == 2
    assert kinds["names"] == strings(content)
    assert kinds["other constants string"] > 0


# The schema


def fields_with_offsets(source):
    """Slot and target of each field that leads elsewhere, from the source of one of LiteRT's classes."""
    found = {}
    for name, body in re.findall(r"    def (\w+)\(self.*?\):\n((?:        .*\n|\n)+)", source):
        slot = re.search(r"self\._tab\.Offset\((\d+)\)", body)
        if slot is None or name.endswith(("IsNone", "Length")):
            continue
        slot, a_table = (int(slot[1]) - 4) // 2, re.search(r"obj = (\w+)\(\)", body)
        if "_tab.String(" in body:
            found[slot] = str
        elif "_tab.Union(" in body:
            found[slot] = dict
        elif "GetVectorAsNumpy" in body:
            found[slot] = getattr(
                flatbuffers.number_types, re.search(r"\.(\w+Flags), o\)", body)[1]
            ).bytewidth
        elif a_table:
            found[slot] = [a_table[1]] if "_tab.Vector(" in body else a_table[1]
    return found


def test_every_offset_of_the_schema_is_described():
    classes = re.split(r"^class (\w+)\(object\):\n", inspect.getsource(schema), flags=re.M)[1:]
    tables = {
        n: source for n, source in zip(classes[::2], classes[1::2], strict=True) if "GetRootAs" in source
    }
    assert len(tables) > 150
    for name, source in tables.items():
        described = {
            slot: dict if isinstance(target, dict) else target
            for slot, (_, target) in TABLES.get(name, {}).items()
            if target is not Outside
        }
        assert described == fields_with_offsets(source), name
    assert set(TABLES) <= set(tables)


# Files made by hand


def by_hand(tensors=1, shape=(1, 4), name="x", share=False):
    """A model with an operator RELU, and tensors whose shapes and names are stored once, or each.

    A tensor without a name takes its shape for one.
    """
    builder = flatbuffers.Builder(0)

    def text():
        return builder.CreateString(name)

    def numbers(values):
        return builder.CreateNumpyVector(np.array(values, np.int32))

    def tables(offsets):
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    made, its_name = [], None
    for _ in range(tensors):
        if its_name is None or not share:
            its_shape = numbers(shape)
            its_name = its_shape if name is None else text()
        schema.TensorStart(builder)
        schema.TensorAddShape(builder, its_shape)
        schema.TensorAddName(builder, its_name)
        made.append(schema.TensorEnd(builder))
    made, ends = tables(made), numbers([0])
    schema.OperatorStart(builder)
    schema.OperatorAddInputs(builder, ends)
    schema.OperatorAddOutputs(builder, ends)
    operators = tables([schema.OperatorEnd(builder)])
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, made)
    schema.SubGraphAddInputs(builder, ends)
    schema.SubGraphAddOutputs(builder, ends)
    schema.SubGraphAddOperators(builder, operators)
    graphs = tables([schema.SubGraphEnd(builder)])
    schema.OperatorCodeStart(builder)
    schema.OperatorCodeAddBuiltinCode(builder, schema.BuiltinOperator.RELU)
    codes = tables([schema.OperatorCodeEnd(builder)])
    schema.BufferStart(builder)
    buffers = tables([schema.BufferEnd(builder)])
    schema.ModelStart(builder)
    schema.ModelAddOperatorCodes(builder, codes)
    schema.ModelAddSubgraphs(builder, graphs)
    schema.ModelAddBuffers(builder, buffers)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def test_what_tensors_share_counts_once():
    kinds = checked(by_hand(tensors=3, name="long name", share=True)).bytes_by_kind
    assert kinds["names"] == 4 + len("long name") + 1
    assert checked(by_hand(tensors=3, name="long name")).bytes_by_kind["names"] == 3 * (4 + 9 + 1)


def test_what_nothing_leads_to_is_unknown(dense_files):
    content = dense_files["int8"]
    for appended in (b"PK\3\4 an archive", b"\1", bytes(64)):
        assert checked(content + appended).bytes_by_kind["unknown"] == len(appended)
    assert "unknown" not in checked(content + bytes(8)).bytes_by_kind


def root_only(vtable, root_size=4):
    """A file of a header, a vtable of the given numbers, and a root table right behind it."""
    numbers = struct.pack(f"<{len(vtable)}H", *vtable)
    root = 8 + len(numbers)
    return (
        struct.pack("<I4s", root, b"TFL3") + numbers + struct.pack("<i", len(numbers)) + bytes(root_size - 4)
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (root_only([6, 4]), "two things at position 12"),  # a vtable that reaches into its table
        (root_only([4, 5]), "outside the file"),
        (root_only([4, 3]), "no table"),
        (root_only([3, 4]), "no table"),
        (root_only([8, 4, 0, 4], root_size=8), "a field outside its table"),
        (by_hand(name=None), "two things"),  # the same bytes, once a string and once a vector
        (struct.pack("<I4si", 8, b"TFL3", 20), "position -12: outside the file"),
        (struct.pack("<I4s", 12, b"TFL3"), "requires a buffer"),
    ],
)
def test_what_does_not_fit_together_is_refused(content, message):
    with pytest.raises((ValueError, struct.error), match=message):
        pieces(content)
    with pytest.raises(ModelFileError, match="damaged"):
        account(content)


def test_the_smallest_files_are_taken_apart():
    assert [piece.what for piece in pieces(root_only([4, 4]))] == ["header", "vtable", "Model"]
    assert checked(root_only([4, 4])).bytes_by_kind == {"bookkeeping": 16}
    assert precision(root_only([4, 4])).verdict == "no float32, and nothing quantized"


def test_a_table_whose_size_counts_bytes_of_what_follows(dense_files):
    """Older converters' files have such: two tables with one vtable, of which one needed alignment."""
    content = bytearray(dense_files["int8"])
    parts = pieces(content)
    for part, behind in itertools.pairwise(parts):
        if part.what == "Operator" and behind.what != "alignment":
            vtable = part.start - struct.unpack_from("<i", content, part.start)[0]
            (size,) = struct.unpack_from("<H", content, vtable + 2)
            if size == part.size:
                struct.pack_into("<H", content, vtable + 2, size + 2)
                break
    else:
        pytest.fail("no operator with something right behind it")
    content = bytes(content)
    assert content != dense_files["int8"]
    assert checked(content).bytes_by_kind == checked(dense_files["int8"]).bytes_by_kind
    assert pieces(content) == parts


@pytest.mark.parametrize("what", ["shape", "name"])
def test_a_small_file_does_not_unfold_into_a_large_one(what):
    large = {"shape": {"shape": range(10_000)}, "name": {"name": "x" * 40_000}}[what]
    content = by_hand(tensors=2_000, share=True, **large)
    assert len(content) < 120_000  # and would be 80 MB
    for reader in (account, precision, subgraphs):
        tracemalloc.start()
        with pytest.raises(ModelFileError):
            reader(content)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
        tracemalloc.stop()


def test_a_file_cut_short_is_refused(dense_files):
    content = dense_files["int8"]
    for length in range(0, len(content), 7):
        with pytest.raises(ModelFileError):
            account(content[:length])


def damaged(content, generator):
    """A file with changed bytes, most of them in its structure, or cut short, or both."""
    changed = bytearray(content)
    for _ in range(generator.randint(0, 6)):
        changed[generator.randrange(len(changed))] = generator.choice([0, 1, 4, 8, 127, 128, 255])
    return bytes(changed[: generator.choice([len(changed)] * 4 + [generator.randrange(len(changed))])])


@pytest.mark.parametrize("recipe", ["float32", "float16", "dynamic_range", "int8"])
def test_a_damaged_file_is_accounted_for_or_refused(dense_files, recipe):
    generator = random.Random(0)
    accounted = 0
    for _ in range(500):
        content = damaged(dense_files[recipe], generator)
        try:
            checked(content)
            accounted += 1
        except ModelFileError:
            pass
        with contextlib.suppress(ModelFileError):
            assert precision(content).verdict
    assert 50 < accounted < 450  # the damage is neither too small nor too large to tell anything
