"""Many samples through files of one batch: what comes out is what LiteRT says to each alone."""

import tracemalloc

import numpy as np
import pytest

from tinylab import runners
from tinylab.affine import AffineParams
from tinylab.errors import ModelFileError

from .graphs import Case, File, Values, options, to_tflite

P = AffineParams(0.05, 3)
SYMMETRIC = AffineParams(0.05, 0)
PROBABILITIES = AffineParams(1 / 256, -128)
X = np.random.default_rng(0).integers(-128, 128, (5, 8)).astype(np.int8)


def chain(x: np.ndarray, *steps) -> bytes:
    """A file of operators one behind the other, on int8; a step: name, options, constants, output, scale."""
    file = File()
    last = first = file.tensor(x, P)
    for name, chosen, constants, shape, params in steps:
        fixed = [
            file.tensor(np.asarray(c), P if c.dtype == np.int8 else None, constant=True) for c in constants
        ]
        output = file.tensor(np.zeros(shape, np.int8), params)
        file.operator(name, chosen, [last, *fixed], [output])
        last = output
    file.graph.inputs, file.graph.outputs = [first], [last]
    return file.bytes()


def alone(content: bytes, samples: np.ndarray) -> np.ndarray:
    """What LiteRT's own interpreter answers to each sample, stacked."""
    interpreter = runners.interpreter(content, "reference")
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for sample in samples:
        interpreter.set_tensor(given["index"], sample[np.newaxis])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(made["index"]).copy())
    return np.stack(answers)


SQUEEZED = ("SQUEEZE", options("Squeeze", squeezeDims=[0]), [], (8,), P)
CHAINS = {
    "an output without the batch": [SQUEEZED],
    "a number": [
        ("MEAN", options("Reducer", keepDims=False), [np.int32([0, 1])], (), P),
    ],
    "a softmax over what is left": [
        SQUEEZED,
        ("SOFTMAX", options("Softmax", beta=1.0), [], (8,), PROBABILITIES),
    ],
    "a shape that the file does not tell": [
        ("RESHAPE", None, [np.int32([2, 4])], (1, 8), P),
        ("SOFTMAX", options("Softmax", beta=1.0), [], (1, 8), PROBABILITIES),
        ("RESHAPE", None, [np.int32([1, 8])], (1, 8), PROBABILITIES),
    ],
    "another shape than the file tells": [
        ("RESHAPE", None, [np.int32([1, 2, 4])], (1, 8), P),
        ("SOFTMAX", options("Softmax", beta=1.0), [], (1, 8), PROBABILITIES),
        ("RESHAPE", None, [np.int32([1, 8])], (1, 8), PROBABILITIES),
    ],
    "a mean over the batch, counted from the end": [
        ("MEAN", options("Reducer", keepDims=True), [np.int32([-2])], (1, 8), P)
    ],
    "a mean over the batch": [("MEAN", options("Reducer", keepDims=True), [np.int32([0])], (1, 8), P)],
    "a constant before each sample": [
        ("ADD", options("Add"), [np.int8([[1, 2, 3, 4, 5, 6, 7, 8]])], (1, 8), P),
        ("RESHAPE", None, [np.int32([1, 2, 4])], (1, 2, 4), P),
        ("TRANSPOSE", None, [np.int32([0, 2, 1])], (1, 4, 2), P),
        ("PAD", None, [np.int32([[0, 0], [1, 0], [0, 2]])], (1, 5, 4), P),
    ],
    "the batch turned round": [("TRANSPOSE", None, [np.int32([1, 0])], (8, 1), P)],
    "margins around the batch": [("PAD", None, [np.int32([[1, 0], [0, 0]])], (2, 8), P)],
}


@pytest.mark.parametrize(
    "engine", [{"kernels": "reference"}, {"engine": "integer"}], ids=["litert", "integer"]
)
@pytest.mark.parametrize("steps", CHAINS.values(), ids=CHAINS)
def test_each_sample_gets_the_answer_that_it_gets_alone(steps, engine):
    content = chain(X[:1], *steps)
    expected = alone(content, X)
    got = runners.load(content, **engine).predict_integers(X)
    assert got.size == expected.size
    assert np.array_equal(got.reshape(expected.shape), expected)


def test_a_softmax_over_the_batch_itself():
    """Of a single number, each sample is all that there is: its probability is 1."""
    content = chain(X[:1, 0], ("SOFTMAX", options("Softmax", beta=1.0), [], (1,), PROBABILITIES))
    assert (runners.load(content, engine="integer").predict_integers(X[:, 0]) == 127).all()


def test_a_sum_of_tensors_whose_batches_do_not_stand_at_the_same_axis():
    file = File()
    x = file.tensor(X[:1], P)
    higher = file.tensor(np.zeros((1, 1, 8), np.int8), P)
    file.operator("RESHAPE", None, [x, file.tensor(np.int32([1, 1, 8]), constant=True)], [higher])
    total = file.tensor(np.zeros((1, 1, 8), np.int8), P)
    file.operator("ADD", options("Add"), [higher, x], [total])
    file.graph.inputs, file.graph.outputs = [x], [total]
    expected = alone(file.bytes(), X)
    got = runners.load(file.bytes(), engine="integer").predict_integers(X)
    assert np.array_equal(got.reshape(-1), expected.reshape(-1))


def test_a_batch_of_two_needs_outputs_with_a_batch():
    content = chain(X[:2], ("RESHAPE", None, [np.int32([16])], (16,), P))
    for engine in ({"kernels": "reference"}, {"engine": "integer"}):
        with pytest.raises(ModelFileError, match="no axis for the batch of 2"):
            runners.load(content, **engine).predict_integers(X[:4])


def test_inputs_that_have_no_common_batch_are_refused():
    pair = [Values(np.zeros((n, 4), np.int8), P) for n in (1, 4)]
    content = to_tflite([Case("ADD", pair, Values(np.zeros((4, 4), np.int8), P), options("Add"), fed=(0, 1))])
    for engine in ({}, {"engine": "integer"}):
        with pytest.raises(ModelFileError, match="no common first axis"):
            runners.load(content, **engine)


def zeros(*shape: int, dtype: type = np.int8) -> Values:
    return Values(np.zeros(shape, dtype), SYMMETRIC)


WINDOW = {"padding": "SAME", "strideH": 1, "strideW": 1}
HUGE = {
    "outer sum": Case("ADD", [zeros(1, 20000, 1), zeros(1, 1, 20000)], zeros(1, 1, 1), options("Add")),
    "dilation": Case(
        "CONV_2D",
        [zeros(1, 9, 9, 1), zeros(1, 3, 3, 1), None],
        zeros(1, 9, 9, 1),
        options("Conv2D", dilationHFactor=45000, dilationWFactor=45000, **WINDOW),
    ),
    "windows": Case(
        "CONV_2D",
        [zeros(1, 999, 999, 1), zeros(1, 40, 40, 1), None],
        zeros(1, 9, 9, 1),
        options("Conv2D", **WINDOW),
    ),
    "filters": Case(
        "CONV_2D",
        [zeros(1, 999, 999, 1), zeros(999, 1, 1, 1), None],
        zeros(1, 9, 9, 1),
        options("Conv2D", **WINDOW),
    ),
    "filters of each channel": Case(
        "DEPTHWISE_CONV_2D",
        [zeros(1, 999, 999, 2), zeros(1, 1, 1, 998), None],
        zeros(1, 9, 9, 1),
        options("DepthwiseConv2D", depthMultiplier=499, **WINDOW),
    ),
    "stamps": Case(
        "TRANSPOSE_CONV",
        [Values(np.int32([1, 999, 999, 1])), zeros(1, 40, 40, 1), zeros(1, 999, 999, 1)],
        zeros(1, 9, 9, 1),
        options("TransposeConv", **WINDOW),
        fed=(2,),
    ),
    "units": Case(
        "FULLY_CONNECTED", [zeros(99999, 1), zeros(999, 1), None], zeros(1, 9), options("FullyConnected")
    ),
    "a pool": Case(
        "AVERAGE_POOL_2D",
        [zeros(1, 1, 1, 1)],
        zeros(1, 1, 1, 1),
        options("Pool2D", filterHeight=4096, filterWidth=2048, **WINDOW),
    ),
}


@pytest.mark.parametrize("case", HUGE.values(), ids=HUGE)
def test_a_small_file_does_not_fill_the_memory(case):
    content = to_tflite([case])
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="far too large"):
            runners.load(content, engine="integer")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200e6
