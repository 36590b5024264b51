"""Errors layer by layer: each number is computed a second time here, from traces and in NumPy."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinylab import debug, runners, tflite_file
from tinylab.affine import AffineParams, dequantize, params_from_range, quantize, sqnr
from tinylab.debug import LayerErrors, cosine, layer_errors, short_name
from tinylab.errors import DataError, ModelFileError, TinylabError

from .graphs import File, options

RNG = np.random.default_rng(0)
FULLY_CONNECTED, CONCATENATION, ADD = (options(name) for name in ("FullyConnected", "Concatenation", "Add"))
CONCATENATION.axis = 1


@pytest.fixture(autouse=True)
def same_numbers():
    """Random numbers that do not depend on which tests ran before."""
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


# The measures

NUMBERS = st.floats(-1e6, 1e6, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6)
PAIRS = st.integers(1, 30).flatmap(lambda n: st.tuples(*[arrays(np.float32, n, elements=NUMBERS)] * 2))


@settings(deadline=None)
@given(PAIRS)
def test_sqnr_and_cosine_are_their_formulas(pair):
    r, v = np.float64(pair)
    noise, signal = np.sum((r - v) ** 2), np.sum(r**2)
    with np.errstate(divide="ignore"):
        expected = 10 * np.log10(signal / noise) if noise else math.inf
    assert sqnr(r, v) == pytest.approx(expected, abs=1e-9)
    assert sqnr(2 * r, 2 * v) == pytest.approx(expected, abs=1e-9)
    if signal and np.any(v):
        expected = np.dot(r / np.linalg.norm(r), v / np.linalg.norm(v))
        assert cosine(r, v) == pytest.approx(expected, abs=1e-9)
        assert cosine(r, 5 * v) == pytest.approx(expected, abs=1e-9)


def test_sqnr_and_cosine_at_their_ends():
    zero, one = np.zeros(3), np.ones(3)
    assert (sqnr(one, one), sqnr(zero, zero), sqnr(zero, one)) == (math.inf, math.inf, -math.inf)
    assert sqnr(one, zero) == 0
    assert (cosine(zero, zero), cosine(zero, one), cosine(one, zero)) == (1, 0, 0)
    assert cosine(one, -2 * one) == pytest.approx(-1)


def test_a_bit_more_is_6_dB_more():
    x = np.random.default_rng(0).uniform(-1, 1, 100_000)
    ratios = []
    for bits in range(4, 9):
        params = params_from_range(-1.0, 1.0, f"int{bits}")
        ratios.append(sqnr(x, dequantize(quantize(x, params), params)))
    assert np.diff(ratios) == pytest.approx(6.02, abs=0.5)


@pytest.mark.parametrize("measure", [sqnr, cosine])
@pytest.mark.parametrize(
    ("reference", "values", "message"),
    [
        ([1.0, 2.0], [1.0], r"shapes \(2,\) and \(1,\)"),
        ([], [], "number"),
        ([1.0, np.nan], [1.0, 1.0], "NaN or infinity"),
        ([1.0, 1.0], [1.0, -np.inf], "NaN or infinity"),
    ],
)
def test_measures_refuse_what_has_no_answer(measure, reference, values, message):
    with pytest.raises(DataError, match=message):
        measure(reference, values)


# Pairs of files made by hand


class Pair:
    """A network in float32 and its int8 version, in the making; tensors have the same name in both."""

    def __init__(self, batch=1, free=True):
        self.files, self.places = (File(), File()), ({}, {})
        self.batch, self.free = batch, free

    def tensor(self, name, shape, params=None, quantized=np.int8):
        """A tensor that is computed or fed; in the quantized file of another type, with params."""
        dtypes = (np.float32, quantized if params else np.float32)
        for number, (file, places, dtype) in enumerate(zip(self.files, self.places, dtypes, strict=True)):
            array = np.zeros((self.batch, *shape), dtype)
            places[name] = file.tensor(array, params if number else None, free=self.free, name=name)

    def input(self, name, *args, **options):
        self.tensor(name, *args, **options)
        for file, places in zip(self.files, self.places, strict=True):
            file.graph.inputs.append(places[name])

    def constant(self, name, array, params=None):
        """Real numbers, or with params quantized ones in the second file."""
        second = quantize(array, params) if params else array
        for file, places, values, p in zip(
            self.files, self.places, (array, second), (None, params), strict=True
        ):
            places[name] = file.tensor(values, p, constant=True, name=name)

    def operator(self, kind, how, inputs, output, which=(0, 1)):
        for number in which:
            places = self.places[number]
            outputs = [places[name] for name in ([output] if isinstance(output, str) else output)]
            self.files[number].operator(kind, how, [places[i] for i in inputs], outputs)

    def convert(self, kind, taken, name, shape, params=None, dtype=np.int8):
        """QUANTIZE or DEQUANTIZE, in the quantized file only; a tensor of its own."""
        file, places = self.files[1], self.places[1]
        array = np.zeros((self.batch, *shape), dtype if params else np.float32)
        places[name] = file.tensor(array, params, free=self.free, name=name)
        self.operator(kind, options(kind.capitalize()), [taken], name, which=[1])

    def bytes(self, *outputs):
        for file, places in zip(self.files, self.places, strict=True):
            file.graph.outputs = [places[name] for name in outputs]
        return [file.bytes() for file in self.files]


IN, MIDDLE, OUT = AffineParams(0.02, 3), AffineParams(0.03, -5), AffineParams(0.05, 7)


def dense_pair(weights=None, middle=MIDDLE, output=OUT, input_params=IN, **batch):
    """Two FULLY_CONNECTED layers, 4 to 4 to 4 numbers: their files, and the weights."""
    weights = RNG.normal(size=(2, 4, 4)).astype(np.float32) / 2 if weights is None else weights
    pair = Pair(**batch)
    pair.input("x", (4,), input_params)
    for number, (taken, made, params) in enumerate((("x", "y", middle), ("y", "z", output))):
        w = params_from_range(-np.abs(weights[number]).max(), np.abs(weights[number]).max(), symmetric=True)
        pair.constant(f"w{number}", weights[number], w)
        pair.tensor(made, (4,), params)
        pair.operator("FULLY_CONNECTED", FULLY_CONNECTED, [taken, f"w{number}"], made)
    return pair.bytes("z"), weights


def reals(content, x):
    """Every tensor that a file computes of x, as real numbers, by name."""
    runner = runners.load(content, kernels="reference")
    arrays = x if isinstance(x, list) else [x]
    fed = [
        quantize(a, s.params) if s.params else np.float32(a)
        for a, s in zip(arrays, runner.inputs, strict=True)
    ]
    traced = runner.trace(fed if len(fed) > 1 else fed[0]).tensors
    params = {tensor.name: tensor.params for tensor in runner.file.tensors}
    return {name: dequantize(t, params[name]) if params[name] else t for name, t in traced.items()}, traced


def agrees(row, alone, so_far, real, codes, params):
    """A row of the table is what NumPy makes of the same numbers."""
    alone, so_far, real = (np.float64(a) for a in (alone, so_far, real))
    error = alone - real
    low, high = params.limits
    beyond = np.maximum(low - alone, alone - high) > params.scale / 2
    expected = {
        "scale": params.scale,
        "rmse": np.sqrt(np.mean(error**2)),
        "steps": np.sqrt(np.mean(error**2)) / params.scale,
        "sqnr": sqnr(alone, real),
        "saturated": beyond.mean(),
        "clipping": np.sum(error[beyond] ** 2) / np.sum(error**2),
        "unused": 1 - len(set(codes.ravel().tolist())) / (params.highest - params.lowest + 1),
        "sqnr_so_far": sqnr(so_far, real),
        "cosine": cosine(so_far, real),
    }
    assert row[list(expected)].to_dict() == pytest.approx(expected, rel=1e-4)


def test_alone_is_the_float_operator_on_the_quantized_models_inputs():
    (float_file, int8_file), (first, second) = dense_pair()
    x = RNG.normal(size=(50, 4)) * 1.2  # some beyond the range of 2.5
    found = layer_errors(float_file, int8_file, x)
    real, codes = reals(int8_file, x)
    assert found.table["operator"].tolist() == ["FULLY_CONNECTED"] * 2
    assert found.table["layer"].tolist() == ["y", "z"]
    # the first one gets the input as it was given, the second what the first one's integers stand for
    agrees(found.table.loc[0], x @ first.T, x @ first.T, real["y"], codes["y"], MIDDLE)
    agrees(found.table.loc[1], real["y"] @ second.T, x @ first.T @ second.T, real["z"], codes["z"], OUT)
    low, high = IN.limits
    assert 0 < found.saturated_input == np.mean((x < low - 0.01) | (x > high + 0.01))
    assert (found.samples, found.kernels) == (50, "reference")


@pytest.mark.parametrize(("steps", "saturated"), [(0.4, 0), (0.6, 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_rounding_brings_back_is_not_saturated(sign, steps, saturated):
    pair, params = Pair(), AffineParams(0.5, 0)
    pair.input("x", (4,), params)
    pair.constant("shape", np.int32([-1, 4]))
    pair.tensor("y", (4,), params)
    pair.operator("RESHAPE", options("Reshape"), ["x", "shape"], "y")
    end = params.limits[sign > 0] + sign * steps * params.scale
    found = layer_errors(*pair.bytes("y"), np.full((3, 4), end))
    assert found.worst.saturated == found.worst.clipping == found.saturated_input == saturated


def test_a_scale_of_0_gives_no_steps():
    """Converters have written one for what is always 0."""
    pair = Pair()
    pair.input("x", (4,), IN)
    pair.constant("shape", np.int32([-1, 4]))
    pair.tensor("y", (4,), AffineParams(0.0, 0))
    pair.operator("RESHAPE", options("Reshape"), ["x", "shape"], "y")
    found = layer_errors(*pair.bytes("y"), np.ones((3, 4)))
    assert found.worst.rmse == found.worst.saturated == 1
    assert math.isnan(found.worst.steps)
    assert "lie beyond its range" in found.verdict


def test_the_result_does_not_depend_on_how_many_samples_are_run_at_a_time(monkeypatch):
    (float_file, int8_file), _ = dense_pair()
    x = RNG.normal(size=(50, 4))
    whole = layer_errors(float_file, int8_file, x)
    monkeypatch.setattr(debug, "CHUNK", 7)
    pd.testing.assert_frame_equal(layer_errors(float_file, int8_file, x).table, whole.table)


def test_a_fixed_batch_is_filled_or_refused():
    weights = RNG.normal(size=(2, 4, 4)).astype(np.float32) / 2
    free, fixed = dense_pair(weights)[0], dense_pair(weights, batch=3, free=False)[0]
    x = RNG.normal(size=(66, 4))
    pd.testing.assert_frame_equal(layer_errors(*fixed, x).table, layer_errors(*free, x).table)
    with pytest.raises(TinylabError, match="multiple of 3 samples"):
        layer_errors(*fixed, x[:40])


def test_a_batch_fixed_inside_is_run_sample_by_sample():
    pair = Pair()
    pair.input("x", (4,), IN)
    pair.constant("shape", np.int32([1, 2, 2]))
    pair.tensor("r", (2, 2), IN)
    pair.tensor("y", (2, 2), MIDDLE)
    pair.operator("RESHAPE", options("Reshape"), ["x", "shape"], "r")
    pair.operator("ADD", ADD, ["r", "r"], "y")
    float_file, int8_file = pair.bytes("y")
    x = RNG.normal(size=(40, 4))
    table = layer_errors(float_file, int8_file, x).table
    real, codes = reals(int8_file, x)
    assert table.loc[0, "rmse"] == pytest.approx(np.sqrt(np.mean((x - real["r"].reshape(x.shape)) ** 2)))
    shaped = x.reshape(-1, 2, 2)
    agrees(table.loc[1], 2 * real["r"], 2 * shaped, real["y"], codes["y"], MIDDLE)


def branches():
    """Two inputs and two outputs: s = a + b, m = 2 s left in float32, c = s and m side by side."""
    pair = Pair()
    for name in ("a", "b"):
        pair.input(name, (4,), IN)
    pair.tensor("s", (4,), MIDDLE)
    pair.operator("ADD", ADD, ["a", "b"], "s")
    pair.convert("DEQUANTIZE", "s", "s float", (4,))
    pair.places[0]["s float"] = pair.places[0]["s"]
    pair.constant("two", np.float32([2.0]))
    pair.tensor("m", (4,))
    pair.operator("MUL", options("Mul"), ["s float", "two"], "m")
    pair.tensor("c", (8,), OUT)
    for name, taken in (("s again", "s"), ("m int8", "m")):
        pair.convert("QUANTIZE", taken, name, (4,), OUT)
        pair.places[0][name] = pair.places[0][taken]
    pair.operator("CONCATENATION", CONCATENATION, ["s again", "m int8"], "c")
    return pair.bytes("m", "c")


def test_branches_several_inputs_and_outputs_and_what_was_left_in_float32():
    files = branches()
    a, b = x = list(RNG.normal(size=(2, 60, 4)).astype(np.float32) * [[[1.5]], [[0.5]]])
    found = layer_errors(*files, x)
    real, codes = reals(files[1], x)
    table = found.table
    assert table.index.tolist() == [0, 2, 5]  # numbers in the quantized file, QUANTIZE included
    assert table["operator"].tolist() == ["ADD", "MUL", "CONCATENATION"]
    assert table["dtype"].tolist() == ["int8", "float32", "int8"]
    agrees(table.loc[0], a + b, a + b, real["s"], codes["s"], MIDDLE)
    assert (table.loc[2, "rmse"], table.loc[2, "sqnr"]) == (0, math.inf)
    assert table.loc[2, ["scale", "steps", "saturated", "clipping", "unused"]].isna().all()
    assert table.loc[2, "sqnr_so_far"] == pytest.approx(sqnr(2 * (a + b), real["m"]), rel=1e-4)
    low, high = IN.limits
    assert 0 < found.saturated_input == np.mean((a < low - 0.01) | (a > high + 0.01))
    # the QUANTIZE before it is a part of CONCATENATION
    alone, so_far = np.hstack([real["s"], real["m"]]), np.hstack([a + b, 2 * (a + b)])
    agrees(table.loc[5], alone, so_far, real["c"], codes["c"], OUT)


def test_inputs_in_another_order_are_told_by_their_names():
    def made(order, names):
        pair = Pair()
        for name in order:
            pair.input(name, (4,), IN)
        for name, taken in (("d", "ab"), ("e", "dc")):
            pair.tensor(name, (4,), MIDDLE)
            pair.operator("SUB", options("Sub"), taken, name)
        for file, places in zip(pair.files, pair.places, strict=True):
            for name, new in names.items():
                file.graph.tensors[places[name]].name = new
        return pair.bytes("e")

    x = list(RNG.normal(size=(3, 30, 4)))
    float_file, same = made("abc", {name: f"serving_default_{name}:0" for name in "abc"})
    expected = layer_errors(float_file, same, x).table
    assert expected["sqnr_so_far"].min() > 10
    pd.testing.assert_frame_equal(layer_errors(float_file, made("bca", {})[1], x).table, expected)
    renamed = made("abc", {"a": "c", "b": "q"})[1]  # names that tell nothing
    pd.testing.assert_frame_equal(layer_errors(float_file, renamed, x).table, expected)


@pytest.mark.parametrize(
    ("free", "shape", "signature"),
    [
        (True, [4, 1], [4, -1]),  # the batch behind
        (False, [4, 1], None),
        (True, [1, 1], [-1, -1]),  # another axis of any size, which stands in the file as 1
    ],
)
def test_a_tensor_that_cannot_be_fed_sample_by_sample_stays_connected(free, shape, signature):
    pair = Pair(free=free)
    pair.input("x", (4,), IN)
    pair.constant("order", np.int32([1, 0]))
    for name in ("y", "z"):
        pair.tensor(name, (4,), MIDDLE)
    pair.tensor("t", (), MIDDLE)
    for file, places in zip(pair.files, pair.places, strict=True):
        turned = file.graph.tensors[places["t"]]
        turned.shape, turned.shapeSignature = shape, signature
    pair.operator("ADD", ADD, ["x", "x"], "y")
    pair.operator("TRANSPOSE", options("Transpose"), ["y", "order"], "t")
    pair.operator("TRANSPOSE", options("Transpose"), ["t", "order"], "z")
    table = layer_errors(*pair.bytes("z"), RNG.normal(size=(20, 4))).table
    assert table.loc[[1, 2], "rmse"].tolist() == [0, 0]
    assert table.loc[0, "rmse"] > 0


def test_an_operator_with_several_outputs_has_a_row_for_each():
    pair = Pair()
    pair.input("x", (4,), IN)
    pair.constant("axis", np.int32([1])[0])
    pair.tensor("net/sum/add", (4,), MIDDLE)
    pair.operator("ADD", ADD, ["x", "x"], "net/sum/add")
    halves = ["net/split/split", "net/split/split1"]
    for half in halves:
        pair.tensor(half, (2,), MIDDLE)
    pair.operator("SPLIT", options("Split", numSplits=2), ["axis", "net/sum/add"], halves)
    pair.tensor("net/last/add", (2,), OUT)
    pair.operator("ADD", ADD, halves, "net/last/add")
    found = layer_errors(*pair.bytes("net/last/add"), RNG.normal(size=(20, 4)))
    assert found.table.index.tolist() == [0, 1, 1, 2]
    assert found.table["layer"].tolist() == ["sum", "split (1)", "split (2)", "last"]
    assert found.table.loc[1, "rmse"].tolist() == [0, 0]
    assert found.worst["sqnr"] == found.table["sqnr"].min()


def test_weights_of_4_bits():
    weights = RNG.normal(size=(4, 4)).astype(np.float32)
    pair, params = Pair(), params_from_range(-3.0, 3.0, "int4", symmetric=True)
    pair.input("x", (4,), IN)
    pair.constant("w", weights, params)
    pair.tensor("y", (4,), OUT)
    pair.operator("FULLY_CONNECTED", FULLY_CONNECTED, ["x", "w"], "y")
    tensor = pair.files[1].graph.tensors[pair.places[1]["w"]]
    low, high = quantize(weights, params).reshape(-1, 2).T & 15
    tensor.type = schema.TensorType.INT4
    pair.files[1].model.buffers[tensor.buffer].data = np.uint8(low | high << 4)
    float_file, int4_file = pair.bytes("y")
    x = RNG.uniform(-2, 2, size=(20, 4))
    table = layer_errors(float_file, int4_file, x).table
    coarse = x @ dequantize(quantize(weights, params), params).T
    real, codes = reals(int4_file, x)
    assert np.abs(real["y"] - np.clip(coarse, *OUT.limits)).max() < OUT.scale
    agrees(table.loc[0], x @ weights.T, x @ weights.T, real["y"], codes["y"], OUT)


def test_what_makes_no_real_numbers_has_no_row():
    def made(first):
        pair = Pair()
        pair.input("x", (4,), IN)
        pair.constant("axis", np.int32([1]))
        pair.tensor("y", (4,), MIDDLE)
        pair.tensor("chosen", ())
        for file, places in zip(pair.files, pair.places, strict=True):
            file.graph.tensors[places["chosen"]].type = schema.TensorType.INT32
        if first == "y":
            pair.operator("ADD", ADD, ["x", "x"], "y")
        how = options("ArgMax", outputType=schema.TensorType.INT32)
        pair.operator("ARG_MAX", how, [first, "axis"], "chosen")
        return pair.bytes("chosen")

    assert layer_errors(*made("y"), np.eye(4)).table["operator"].tolist() == ["ADD"]
    with pytest.raises(ModelFileError, match="no operator in it computes real numbers"):
        layer_errors(*made("x"), np.eye(4))


def test_the_file_that_is_run_layer_by_layer_is_a_whole_one(dense_files):
    """It has the inputs that were added, and no signature that lacks them."""
    _, *computed = tflite_file.parse(dense_files["float32"]).computed
    content, given = debug._cut(dense_files["float32"], computed)
    interpreter = runners.interpreter(content)
    assert interpreter.get_signature_list() == {}
    assert len(interpreter.get_input_details()) == 1 + len(given) == 3


def test_a_relu_that_the_converter_dropped_belongs_to_the_operator_behind_it():
    pair = Pair()
    pair.input("x", (4,), IN)
    for name in ("y", "r", "z"):
        pair.tensor(name, (4,), MIDDLE)
    pair.operator("ADD", ADD, ["x", "x"], "y")
    pair.operator("RELU", None, ["y"], "r", which=[0])
    pair.places[1]["r"] = pair.places[1]["y"]
    pair.operator("ADD", ADD, ["r", "r"], "z")
    float_file, int8_file = pair.bytes("z")
    x = RNG.normal(size=(30, 4))
    table = layer_errors(float_file, int8_file, x).table
    real, codes = reals(int8_file, x)
    assert table["layer"].tolist() == ["y", "z"]
    so_far = 4 * np.maximum(x, 0)
    agrees(table.loc[1], 2 * np.maximum(real["y"], 0), so_far, real["z"], codes["z"], MIDDLE)


@pytest.mark.parametrize("kernels", ["reference", "optimized"])
@pytest.mark.parametrize("recipe", ["int8", "int8_uint8_io", "int16x8", "float16"])
def test_what_the_converter_makes_is_paired(dense_files, recipe, kernels):
    x = np.random.default_rng(1).normal(size=(100, 3))
    table = layer_errors(dense_files["float32"], dense_files[recipe], x, kernels).table
    assert table["operator"].tolist() == ["FULLY_CONNECTED"] * 2
    assert table["layer"].tolist() == ["dense", "output"]
    expected = {"int8": "int8", "int8_uint8_io": "int8", "int16x8": "int16"}.get(recipe, "float32")
    assert set(table["dtype"]) == {expected}
    assert (table["scale"].isna() == (expected == "float32")).all()
    assert table["sqnr"].between(25, 120).all()
    assert table["cosine"].between(0.999, 1.0001).all()


# What is refused


def test_two_files_that_do_not_belong_together_are_refused(dense_files):
    x = RNG.normal(size=(5, 3))
    float_file, int8_file = dense_files["float32"], dense_files["int8"]
    other, _ = dense_pair()
    for pair, message in (
        ((int8_file, float_file), "is quantized itself; the float32 file comes first"),
        ((int8_file, int8_file), "is quantized itself"),
        ((float_file, float_file), "nothing in it is quantized"),
        ((float_file, dense_files["dynamic_range"]), "nothing in it is quantized"),  # too few weights
        ((float_file, other[1]), r"operator 1, FULLY_CONNECTED \[\(1, 4\)\], has no partner"),
        ((float_file[:600], int8_file), "damaged or cut short"),
        ((float_file, int8_file[:600]), "damaged or cut short"),
        ((float_file, b""), "empty"),
        ((float_file, "missing.tflite"), "cannot read missing.tflite"),
    ):
        with pytest.raises(ModelFileError, match=message):
            layer_errors(*pair, x)


def test_files_with_other_inputs_are_refused():
    def mean_of(count):
        pair = Pair()
        pair.input("x", (count,), IN)
        pair.constant("axis", np.int32([1]))
        pair.tensor("y", (), IN)
        pair.operator("MEAN", options("Reducer"), ["x", "axis"], "y")
        return pair.bytes("y")

    assert len(layer_errors(*mean_of(5), np.zeros((2, 5))).table) == 1
    with pytest.raises(ModelFileError, match=r"takes inputs \[\(1, 5\)\], .* \[\(1, 6\)\]; two files made"):
        layer_errors(mean_of(5)[0], mean_of(6)[1], np.zeros((2, 5)))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 3)), "no samples"),
        (np.zeros((5, 4)), r"shape \(5, 4\) given, \(N, 3\) expected"),
        (np.zeros(3), "one sample needs a batch axis"),
        (np.full((5, 3), np.nan), "NaN or infinity"),
        (np.full((5, 3), np.inf), "NaN or infinity"),
        (np.full((5, 3), "a"), "numbers expected"),
    ],
)
def test_data_that_do_not_fit_are_refused(dense_files, x, message):
    with pytest.raises(DataError, match=message):
        layer_errors(dense_files["float32"], dense_files["int8"], x)


def test_kernels_that_keep_no_tensors_are_refused(dense_files):
    with pytest.raises(TinylabError, match="trace needs kernels='reference' or 'optimized'"):
        layer_errors(dense_files["float32"], dense_files["int8"], np.zeros((5, 3)), kernels="default")


def test_inputs_of_different_lengths_are_refused():
    with pytest.raises(DataError, match=r"inputs of different lengths: \[5, 6\]"):
        layer_errors(*branches(), [np.zeros((5, 4)), np.zeros((6, 4))])


def test_nan_inside_of_the_float_model_is_named():
    pair = Pair()
    pair.input("x", (4,), IN)
    pair.tensor("y", (4,), MIDDLE)
    pair.operator("RSQRT", None, ["x"], "y")
    files = pair.bytes("y")
    x = np.full((2, 4), 1.5)
    assert layer_errors(*files, x).table.loc[0, "sqnr"] > 20
    x[1, 2] = 0
    with pytest.raises(ModelFileError, match="operator 0, RSQRT: its float version makes NaN or infinity"):
        layer_errors(*files, x)


# Who is to blame


def test_saturation_coarse_weights_and_a_wide_range_are_told_apart():
    weights = RNG.normal(size=(2, 4, 4)).astype(np.float32) / 2
    x = RNG.uniform(-2, 2, size=(200, 4))
    healthy = layer_errors(*dense_pair(weights)[0], x)

    narrow = layer_errors(*dense_pair(weights, middle=AffineParams(0.004, 0))[0], x)
    assert (narrow.worst.layer, narrow.worst.name) == ("y", 0)
    assert "of its values lie beyond its range, and have" in narrow.verdict
    assert f"{narrow.table.loc[0, 'saturated']:.2%}" in narrow.verdict

    wide = layer_errors(*dense_pair(weights, output=AffineParams(1.0, 0))[0], x)
    assert wide.worst.layer == "z"
    assert wide.worst.steps == pytest.approx(0.29, abs=0.03)
    assert "as rounding its output does" in wide.verdict

    coarse = weights.copy()
    coarse[0, 3], coarse[1, :, 3] = 0, 60  # so large a weight, of what is always 0, makes all others coarse
    coarse = layer_errors(*dense_pair(coarse)[0], x)
    assert coarse.worst.layer == "z"
    assert coarse.worst.saturated == 0
    assert "more than rounding its output does (0.29): compare the sizes of its weights" in coarse.verdict

    assert healthy.worst.sqnr > max(found.worst.sqnr for found in (narrow, wide, coarse)) + 10


ROW = {
    "operator": "ADD",
    "layer": "add",
    "tensor": "net/add/add",
    "dtype": "int8",
    "scale": 0.5,
    "rmse": 0.1,
    "steps": 0.2,
    "sqnr": 30.0,
    "saturated": 0.25,
    "clipping": 0.1,
    "unused": 0.5,
    "sqnr_so_far": 20.0,
    "cosine": 0.99,
}


def errors_of(*changes, saturated_input=0.0):
    return LayerErrors(
        pd.DataFrame([ROW | change for change in changes], index=range(3, 3 + len(changes))),
        saturated_input,
        1000,
        "reference",
    )


def test_the_worst_has_the_lowest_sqnr_alone():
    found = errors_of({}, {"sqnr": 29.0, "rmse": 0.0001}, {"sqnr": 50.0, "sqnr_so_far": 1.0, "rmse": 9.0})
    assert found.worst.name == 4
    assert found.verdict.startswith("worst layer: add (operator 4), SQNR 29.0 dB alone: ")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"clipping": 0.6}, "25.00% of its values lie beyond its range, and have 60% of the squared error"),
        ({"clipping": 0.6, "steps": 8.0}, "calibration data"),
        ({"steps": 0.5}, "RMSE 0.50 steps, as rounding its output does"),
        ({"steps": 0.51}, "RMSE 0.51 steps, more than rounding its output does (0.29): compare the sizes"),
        (
            {"scale": math.nan, "clipping": math.nan, "steps": math.nan},
            "on weights, or an input, that were quantized",
        ),
        ({"sqnr": math.inf}, "no layer adds an error."),
    ],
)
def test_the_verdict_says_what_the_numbers_mean(change, cause):
    verdict = errors_of(change).verdict
    assert cause in verdict
    assert "\n" not in verdict
    assert "of the input" not in verdict


def test_the_verdict_tells_of_an_input_beyond_its_range():
    assert errors_of({}, saturated_input=0.125).verdict.endswith(
        " 12.50% of the input lies beyond the input's range."
    )


def test_the_table_is_printed_with_units_and_without_full_names():
    found = errors_of({}, dict.fromkeys(("scale", "steps", "saturated", "unused"), math.nan) | {"sqnr": 1.0})
    for text in (str(found), found._repr_html_()):
        for expected in ("SQNR (dB)", "RMSE / scale", "25.00%", "50.0%", "1,000 samples, reference kernels"):
            assert expected in text
        assert "net/add/add" not in text
        assert "nan" not in text.lower()
    lines = str(found).splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= 130
    assert found.shown.loc[4, "scale"] == ""


# Names


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        ("net/a/Relu;net/a/BiasAdd;net/a/Conv2D;net/a/BiasAdd/ReadVariableOp1", "a"),
        ("net/re_lu/Relu;net/bn/FusedBatchNormV3;net/depthwise_conv2d/depthwise1", "depthwise_conv2d"),
        ("net/dense/MatMul;net/bn/batchnorm/mul_1;net/tf.nn.relu/Relu;net/bn/batchnorm/add_1", "dense"),
        ("net/re_lu_1/Relu;net/add/add", "add"),
        ("net/block/conv/Conv2D1", "block/conv"),
        ("net/conv1d/Conv1D/ExpandDims", "conv1d"),
        ("net/bn/batchnorm/mul_1", "bn"),
        ("net/max_pooling2d/MaxPool", "max_pooling2d"),
        ("StatefulPartitionedCall:0", "output"),
        ("PartitionedCall:1", "output"),
        ("arith.constant", "arith.constant"),
        ("a/b", "a"),
        ("", ""),
    ],
)
def test_short_names_are_those_of_layers(tensor, expected):
    assert short_name(tensor) == expected


@settings(deadline=None)
@given(st.text("ab/;1A", max_size=30))
def test_a_short_name_of_anything_is_a_part_of_it(name):
    assert short_name(name) in name


def test_names_in_the_table_are_unique():
    pair = Pair()
    pair.input("x", (4,), IN)
    for name in ("net/add/one", "net/add/two", "net/sum/three"):
        pair.tensor(name, (4,), MIDDLE)
        pair.operator("ADD", ADD, ["x", "x"], name)
    pair.files[1].graph.tensors[pair.places[1]["net/add/one"]].name = "another"
    table = layer_errors(*pair.bytes("net/sum/three"), np.zeros((2, 4))).table
    assert table["layer"].tolist() == ["add (1)", "add (2)", "sum"]
    assert table["tensor"].tolist() == ["net/add/one", "net/add/two", "net/sum/three"]


# Trained networks


@pytest.fixture(scope="module")
def resnet():
    from tinylab import models

    return models.trained("small_resnet")


def calibration():
    from tinylab import data

    return data.arrays("fashion_mnist", "train")[0][:100].astype(np.float32) / 255


def debugger(model, images, **options):
    from tinylab._tensorflow import tf
    from tinylab.quiet import quiet

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
    with quiet():
        return tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=converter.representative_dataset,
            debug_options=tf.lite.experimental.QuantizationDebugOptions(fully_quantize=True, **options),
        )


def statistics(run, kernels):
    """RMSE by layer as the debugger has it, on kernels of our choice."""
    from tinylab._tensorflow import tf
    from tinylab.quiet import quiet

    kinds = tf.lite.experimental.OpResolverType
    kind = {"reference": kinds.BUILTIN_REF, "optimized": kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES}
    with quiet():
        run._quant_interpreter = tf.lite.Interpreter(
            model_content=run.quant_model, experimental_op_resolver_type=kind.get(kernels, kinds.AUTO)
        )
        run._numeric_verify_tensor_details = None
        run._initialize_stats()
        run.run()
    return np.sqrt([metrics["mean_squared_error"] for metrics in run.layer_statistics.values()])


@pytest.mark.slow
@pytest.mark.parametrize("network", ["cnn", "resnet"])
def test_tensorflows_debugger_measures_the_same(network, request):
    from tinylab.conversion import Recipe, convert

    model, images = request.getfixturevalue(network), calibration()
    float_file, int8_file = convert(model, Recipe.FLOAT32), convert(model, Recipe.INT8, images)
    run = debugger(model, images)
    ours, theirs = map(tflite_file.parse, (int8_file, run.get_nondebug_quantized_model()))
    for a, b in zip(ours.tensors, theirs.tensors, strict=True):  # both converted the same
        assert (a.name, a.scale.tolist(), a.zero_point.tolist()) == (
            b.name,
            b.scale.tolist(),
            b.zero_point.tolist(),
        )
    for kernels, within in (("reference", 1e-4), ("optimized", 1e-4), ("default", 0.1)):
        measured = statistics(run, kernels)
        table = layer_errors(float_file, int8_file, images, kernels.replace("default", "reference")).table
        assert len(table) == len(measured)
        # the debugger compares an average with itself
        told = (table["operator"] != "AVERAGE_POOL_2D").to_numpy()
        assert table["rmse"][told].tolist() == pytest.approx(measured[told], rel=within, abs=1e-6)
        assert (measured[~told] < 1e-6).all()
        assert (table["steps"][~told] > 0.2).all()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["int8", "int8_uint8_io", "int16x8"])
def test_operators_of_a_trained_network_recomputed(resnet, fashion, recipe):
    from tinylab.conversion import Recipe, convert

    x = fashion[0][:40]
    files = convert(resnet, Recipe.FLOAT32), convert(resnet, Recipe(recipe), calibration())
    table = layer_errors(*files, x).table
    (real, _), (float_real, _) = reals(files[1], x), reals(files[0], x)
    stem, depthwise, pointwise, add, *_ = table["tensor"]

    # a convolution of 1 x 1 is a product with its weights
    convolutions = [layer for layer in resnet.layers if layer.name.startswith("conv2d")]
    normalization = [layer for layer in resnet.layers if "batch_norm" in layer.name][2]
    gamma, beta, mean, variance = normalization.get_weights()
    factor = gamma / np.sqrt(variance + normalization.epsilon)
    kernel = convolutions[1].get_weights()[0][0, 0] * factor
    expected = {2: (pointwise, real[depthwise] @ kernel + beta - mean * factor)}
    expected[3] = add, np.maximum(real[stem] + real[pointwise], 0)
    for position, (tensor, alone) in expected.items():
        row = table.iloc[position]
        assert row["sqnr"] == pytest.approx(sqnr(alone, real[tensor]), abs=0.01)
        assert row["sqnr_so_far"] == pytest.approx(sqnr(float_real[tensor], real[tensor]), abs=0.01)
    assert table["operator"].tolist()[2:4] == ["CONV_2D", "ADD"]
    assert table.loc[table["operator"] == "RESHAPE", "sqnr"].tolist() == [math.inf]


@pytest.mark.slow
def test_layers_left_in_float32_add_nothing(resnet, fashion):
    from tinylab.conversion import Recipe, convert

    images = calibration()
    float_file, int8_file = convert(resnet, Recipe.FLOAT32), convert(resnet, Recipe.INT8, images)
    whole = layer_errors(float_file, int8_file, fashion[0][:100]).table
    left = whole["tensor"].iloc[[2, 8]].tolist()
    partly = debugger(resnet, images, denylisted_nodes=left).get_nondebug_quantized_model()
    table = layer_errors(float_file, partly, fashion[0][:100]).table
    assert table["tensor"].tolist() == whole["tensor"].tolist()
    in_float = table["tensor"].isin(left)
    assert table.loc[in_float, "dtype"].tolist() == ["float32"] * 2
    assert table.loc[in_float, "sqnr"].tolist() == [math.inf] * 2
    assert table.loc[~in_float, "dtype"].unique().tolist() == ["int8"]
    assert table["sqnr_so_far"].iloc[2] > whole["sqnr_so_far"].iloc[2]


@pytest.mark.slow
def test_weights_only_and_per_tensor_files(cnn, cnn_files, fashion):
    from .odd_models import tflite

    x = fashion[0][:50]
    for recipe in ("dynamic_range", "float16"):
        found = layer_errors(cnn_files["float32"], cnn_files[recipe], x)
        assert found.table["dtype"].unique().tolist() == ["float32"]
        assert 30 < found.worst.sqnr < 80
        assert "on weights, or an input, that were quantized" in found.verdict
    options = {"optimize": True, "samples": 10, "integer_io": True}
    ratios = []
    for per_tensor in (False, True):
        content = tflite(cnn, (28, 28, 1), **options, _experimental_disable_per_channel=per_tensor)
        ratios.append(layer_errors(cnn_files["float32"], content, x).table["sqnr"].iloc[2])
    assert ratios[0] > ratios[1]


@pytest.mark.slow
def test_a_file_from_quantization_aware_training_is_paired(cnn, fashion):
    import tensorflow_model_optimization as tfmot

    from tinylab.conversion import Recipe, convert

    from .odd_models import tflite

    aware = tfmot.quantization.keras.quantize_model(cnn)
    content = tflite(aware, (28, 28, 1), optimize=True)
    table = layer_errors(convert(cnn, Recipe.FLOAT32), content, fashion[0][:50]).table
    assert table["dtype"].unique().tolist() == ["int8"]
    assert table["layer"].tolist()[-1] == "output"
    # nothing was trained: the ranges are those that tfmot starts with, -6 to 6
    assert table["scale"].iloc[0] == pytest.approx(12 / 255, rel=0.01)
    assert table["unused"].iloc[0] > 0.8


@pytest.mark.slow
def test_channels_of_very_different_sizes_show_in_the_convolution_that_reads_them(fashion):
    from tinylab import models
    from tinylab.conversion import Recipe, convert

    model, rng = models.trained("small_resnet"), np.random.default_rng(0)
    healthy = convert(model, Recipe.FLOAT32)
    normalizations = [layer for layer in model.layers if "batch_norm" in layer.name]
    convolutions = [layer for layer in model.layers if layer.name.startswith("conv2d")]
    for number in (1, 2, 3):
        normalization, convolution = normalizations[2 * number - 1], convolutions[number]
        gamma, beta, *statistics = normalization.get_weights()
        factor = 2.0 ** rng.integers(-4, 5, gamma.size)
        normalization.set_weights([gamma * factor, beta * factor, *statistics])
        convolution.set_weights([convolution.get_weights()[0] / factor[:, np.newaxis]])
    float_file = convert(model, Recipe.FLOAT32)
    x = fashion[0][:100]
    assert np.array_equal(runners.load(float_file).predict(x), runners.load(healthy).predict(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it resembles its model very little, which is meant
        int8_file = convert(model, Recipe.INT8, calibration())
    found = layer_errors(float_file, int8_file, x)
    three_worst = found.table.nsmallest(3, "sqnr")
    assert set(three_worst["layer"]) == {layer.name for layer in convolutions[1:]}
    assert three_worst["sqnr"].max() < 20 < found.table["sqnr"].nlargest(len(found.table) - 3).min()
    assert "more than rounding its output does" in found.verdict
    assert found.table["sqnr_so_far"].iloc[-1] < 15
