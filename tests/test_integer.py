"""The integer engine's runner: it behaves as LiteRT's does, and refuses before it runs what it cannot run."""

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tinylab import runners
from tinylab.affine import AffineParams
from tinylab.errors import DataError, ModelFileError, TinylabError
from tinylab.runners.integer import kernels

from .graphs import File, options

rng = np.random.default_rng(0)


def p(scale=0.1, zero_point=3, dtype="int8"):
    return AffineParams(float(np.float32(scale)), zero_point, dtype)


USUAL = p()


def empty(*shape, dtype="int8"):
    return np.zeros(shape, dtype)


def small_network(free: bool = True) -> File:
    """Two inputs, two outputs; a sum that is an output and read by two others, and a constant output."""
    file = File()
    a, b = (file.tensor(empty(1, 4), p(), free=free, name=name) for name in ("first", "second"))
    total = file.tensor(empty(1, 4), p(0.2, 1), free=free, name="total")
    file.operator("ADD", options("Add"), [a, b], [total])
    weights = file.tensor(rng.integers(-127, 128, (3, 4)).astype(np.int8), p(0.01, 0), constant=True)
    shift = file.tensor(np.int32([100, -50, 7]), p(0.002, 0, "int32"), constant=True)
    answer = file.tensor(empty(1, 3), p(0.05, -7), free=free, name="again")
    file.operator("FULLY_CONNECTED", options("FullyConnected"), [total, weights, shift], [answer])
    squared = file.tensor(empty(1, 4), p(0.3, 0), free=free, name="again")  # a name that another one has
    file.operator("MUL", options("Mul"), [total, total], [squared])
    file.graph.inputs, file.graph.outputs = [a, b], [answer, total, squared]
    return file


def one_operator(
    name: str = "RELU",
    chosen=None,
    shape=(1, 4),
    out=USUAL,
    inputs=(),
    free=False,
    params=USUAL,
    dtype="int8",
) -> File:
    """A file of one operator on an input of a shape and on constants."""
    file = File()
    x = file.tensor(empty(*shape, dtype=dtype), params, free=free, name="the input")
    more = [-1 if a is None else file.tensor(a, q, constant=True) for a, q in inputs]
    y = file.tensor(empty(*shape, dtype=out.dtype if out else dtype), out, free=free, name="the output")
    file.operator(name, chosen, [x, *more], [y])
    file.graph.inputs, file.graph.outputs = [x], [y]
    return file


def both(content: bytes) -> tuple[runners.Runner, runners.Runner]:
    return runners.load(content, engine="integer"), runners.load(content, kernels="reference")


def samples(count: int) -> list[np.ndarray]:
    return [rng.integers(-128, 128, (count, 4)).astype(np.int8) for _ in range(2)]


# As LiteRT's runner


@pytest.mark.parametrize("free", [True, False])
def test_specifications_are_the_same(free):
    ours, theirs = both(small_network(free).bytes())
    assert ours.engine == "integer"
    assert (ours.inputs, ours.outputs) == (theirs.inputs, theirs.outputs)
    assert ours.file == theirs.file


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("count", [0, 1, 3, 300])
def test_answers_are_the_same(free, count):
    ours, theirs = both(small_network(free).bytes())
    q = samples(count)
    real = [0.1 * (x.astype(np.float32) - 2.6) for x in q]
    for x, run in ((q, "predict_integers"), (real, "predict")):
        found, expected = getattr(ours, run)(x), getattr(theirs, run)(x)
        assert len(found) == 3
        for a, b in zip(found, expected, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            assert np.array_equal(a, b)


@pytest.mark.parametrize("free", [True, False])
def test_traces_are_the_same_repeated_names_included(free):
    ours, theirs = (runner.trace(samples_of_5) for runner in both(small_network(free).bytes()))
    assert list(ours.tensors) == list(theirs.tensors) == ["first", "second", "total", "again#5", "again#6"]
    for name, tensor in theirs.tensors.items():
        assert ours.tensors[name].dtype == tensor.dtype
        assert np.array_equal(ours.tensors[name], tensor)
    assert all(np.array_equal(a, b) for a, b in zip(ours.outputs, theirs.outputs, strict=True))


samples_of_5 = samples(5)


def test_running_changes_neither_inputs_nor_the_next_run():
    runner = runners.load(small_network().bytes(), engine="integer")
    q = samples(7)
    kept = [x.copy() for x in q]
    first = [y.copy() for y in runner.predict_integers(q)]
    runner.predict_integers(samples(9))
    assert all(np.array_equal(x, y) for x, y in zip(q, kept, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(runner.predict_integers(q), first, strict=True))


def test_a_batch_that_is_free_outside_and_fixed_inside():
    def fixed_inside():
        file = File()
        x = file.tensor(empty(1, 4), p(), free=True)
        flat = file.tensor(empty(4), p())
        file.operator("RESHAPE", None, [x, file.tensor(np.int32([4]), constant=True)], [flat])
        y = file.tensor(empty(1, 4), p(), free=True)
        file.operator("RESHAPE", None, [flat, file.tensor(np.int32([1, 4]), constant=True)], [y])
        file.graph.inputs, file.graph.outputs = [x], [y]
        return file.bytes()

    q = samples(6)[0]
    for runner in both(fixed_inside()):
        for _ in range(2):
            assert np.array_equal(runner.predict_integers(q), q)
    ours, theirs = (runner.trace(q).tensors for runner in both(fixed_inside()))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_an_input_that_is_an_output_and_an_output_that_is_a_constant():
    file = small_network(free=False)
    weights = 3
    file.graph.outputs += [0, weights]
    ours, theirs = both(file.bytes())
    q = samples(1)
    for a, b in zip(ours.predict_integers(q), theirs.predict_integers(q), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (samples(3)[:1], "1 inputs given, 2 expected: first int8"),
        ([samples(3)[0], samples(4)[0]], "different lengths"),
        ([x[:, :3] for x in samples(3)], r"first: shape \(3, 3\) given"),
        ([x.astype(np.int16) for x in samples(3)], "int16 given, the file takes int8"),
        ([x.astype(np.float32) for x in samples(3)], "float32 given, the file takes int8"),
    ],
)
def test_wrong_inputs_are_refused_in_the_same_words(x, message):
    for runner in both(small_network().bytes()):
        for run in (runner.predict_integers, runner.trace):
            with pytest.raises(DataError, match=message):
                run(x)


def test_numbers_that_are_none_are_refused():
    for runner in both(small_network().bytes()):
        with pytest.raises(DataError, match="NaN"):
            runner.predict([np.full((1, 4), np.nan), np.zeros((1, 4))])


def test_a_path_is_named_in_messages(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(small_network().bytes())
    assert runners.load(path, engine="integer").file.name == str(path)
    path.write_bytes(one_operator("COS").bytes())
    with pytest.raises(ModelFileError, match=str(path)):
        runners.load(path, engine="integer")


def test_nothing_is_written_while_running(capfd):
    runners.load(small_network().bytes(), engine="integer").predict_integers(samples(300))
    assert capfd.readouterr() == ("", "")


# Kernels of one's own


def test_a_kernel_of_ones_own_is_used_and_gets_what_the_engines_gets():
    calls = []

    def add(*arguments):
        calls.append(arguments)
        return kernels.add(*arguments)

    content, q = small_network().bytes(), samples(5)
    runner = runners.load(content, engine="integer", kernels={"ADD": add})
    expected = runners.load(content, engine="integer").predict_integers(q)
    assert all(np.array_equal(a, b) for a, b in zip(runner.predict_integers(q), expected, strict=True))
    a, b, *rest = calls[-1]
    assert np.array_equal(a, q[0])
    assert np.array_equal(b, q[1])
    assert rest == [p(), p(), p(0.2, 1), "NONE"]


def test_a_kernel_of_ones_own_decides_the_answer():
    wrong = runners.load(
        small_network().bytes(), engine="integer", kernels={"ADD": lambda a, b, *_: np.full_like(a, 5)}
    )
    assert (wrong.trace(samples(3)).tensors["total"] == 5).all()
    assert (wrong.predict_integers(samples(3))[1] == 5).all()


def test_kernels_that_no_engine_has_are_refused():
    content = small_network().bytes()
    with pytest.raises(TinylabError, match="no operator ADDD, SUBB; there are CONV_2D"):
        runners.load(content, engine="integer", kernels={"SUBB": np.add, "ADDD": np.add})
    with pytest.raises(TinylabError, match="belongs to engine='litert'"):
        runners.load(content, engine="integer", kernels="reference")
    with pytest.raises(TinylabError, match="need engine='integer'"):
        runners.load(content, kernels={"ADD": np.add})


def test_an_error_in_a_kernel_of_ones_own_names_the_operator():
    def add(*_):
        raise ValueError("not yet written")

    with pytest.raises(ModelFileError, match=r"operator 0, ADD \(output total\).*not yet written"):
        runners.load(small_network().bytes(), engine="integer", kernels={"ADD": add})


# What is refused when the file is loaded, before there are data


def index(*numbers, dtype="int32"):
    return np.array(numbers, dtype), None


def conv(weights=None, bias=None, shape=(1, 4, 4, 2), params=None, out=USUAL, **chosen) -> File:
    weights = np.ones((3, 2, 2, 2), np.int8) if weights is None else weights
    bias = np.zeros(3, np.int32) if bias is None else bias
    o = options("Conv2D", **{"padding": "SAME", "strideH": 1, "strideW": 1} | chosen)
    return one_operator("CONV_2D", o, shape, out, [(weights, params or p(0.1, 0)), (bias, None)])


def transposed(*shape) -> File:
    file = File()
    target = file.tensor(np.int32(shape), constant=True)
    weights = file.tensor(np.ones((2, 3, 3, 2), np.int8), p(0.1, 0), constant=True)
    x, y = file.tensor(empty(1, 2, 2, 2), p()), file.tensor(empty(1, 4, 4, 2), p(), name="the output")
    o = options("TransposeConv", padding="SAME", strideH=2, strideW=2)
    file.operator("TRANSPOSE_CONV", o, [target, weights, x], [y])
    file.graph.inputs, file.graph.outputs = [x], [y]
    return file


def pool(**chosen) -> File:
    o = {"padding": "VALID", "strideH": 1, "strideW": 1, "filterHeight": 2, "filterWidth": 2} | chosen
    return one_operator("AVERAGE_POOL_2D", options("Pool2D", **o), (1, 4, 4, 2))


def doubling(times: int) -> File:
    """Each step joins what there is with itself."""
    file = File()
    x = file.tensor(empty(1, 1024), p())
    file.graph.inputs = [x]
    for _ in range(times):
        y = file.tensor(empty(1, 1024), p(), name="doubled")
        file.operator("CONCATENATION", options("Concatenation", axis=1), [x, x], [y])
        x = y
    file.graph.outputs = [x]
    return file


def per_channel(axis: int, count: int) -> AffineParams:
    return AffineParams(np.full(count, 0.1, np.float32), np.zeros(count, int), "int8", axis)


def slice_of(begin, end, step, shape=(1, 4), **chosen) -> File:
    inputs = [index(*begin), index(*end), index(*step)]
    return one_operator("STRIDED_SLICE", options("StridedSlice", **chosen), shape, inputs=inputs)


# Each with what its message has to say, besides naming operator and tensor.
REFUSED: dict[str, tuple[Callable[[], File], str]] = {
    "an operator": (lambda: one_operator("COS"), "does not know this operator"),
    "a subgraph": (lambda: one_operator("CALL_ONCE", options("CallOnce")), "does not know this operator"),
    "a loop": (lambda: one_operator("WHILE", options("While")), "does not know this operator"),
    "a type": (
        lambda: one_operator(params=None, out=None, dtype="float32"),
        "float32 -> float32; the integer engine takes int8 -> int8, or",
    ),
    "types that differ": (lambda: one_operator(out=p(0.1, 0, "int16")), "int8 -> int16"),
    "too few inputs": (lambda: one_operator("ADD", options("Add")), "int8 -> int8"),
    "too many inputs": (lambda: one_operator(inputs=[(empty(1, 4), p())]), "int8 int8 -> int8"),
    "other options": (lambda: one_operator("SOFTMAX", options("Add")), "no SoftmaxOptions"),
    "no scale": (lambda: one_operator(params=None), "the input: int8 without a scale"),
    "no scale of the output": (lambda: one_operator(out=None), "the output: int8 without a scale"),
    "a scale of 0": (lambda: one_operator(params=p(0)), "the input: a scale that is not above 0"),
    "a negative scale": (lambda: one_operator(params=p(-0.1)), "a scale that is not above 0"),
    "a scale of NaN": (lambda: one_operator(params=p(np.nan)), "a scale that is not above 0"),
    "an infinite scale": (lambda: one_operator(params=p(np.inf)), "a scale that is not above 0"),
    "a zero point above": (lambda: one_operator(params=p(0.1, 128)), "a zero point outside of int8"),
    "a zero point below": (lambda: one_operator(out=p(0.1, -129)), "a zero point outside of int8"),
    "a zero point of int16": (
        lambda: one_operator(params=p(0.1, 1, "int16"), out=p(0.1, 0, "int16"), dtype="int16"),
        "int16 with a zero point",
    ),
    "a huge multiplier": (lambda: one_operator(params=p(1e20), out=p(1e-20)), "below 2\\*\\*30"),
    "a negative scale of weights": (lambda: conv(params=p(-1, 0)), "tensor t1: a scale that"),
    "a zero point of weights": (lambda: conv(params=p(0.1, 5)), "weights t1: a zero point other than 0"),
    "scales on the wrong axis": (lambda: conv(params=per_channel(3, 3)), "weights t1: 3 scales"),
    "too few scales": (lambda: conv(params=per_channel(0, 2)), "weights t1: 2 scales for 3 channels"),
    "weights of too many channels": (lambda: conv(np.ones((3, 2, 2, 5), np.int8)), "do not fit an input"),
    "weights of no channels": (lambda: conv(empty(3, 2, 2, 0)), "do not fit an input"),
    "weights of too few axes": (lambda: conv(empty(3, 2, 2)), "cannot run on inputs"),
    "an image of too few axes": (lambda: conv(shape=(1, 4, 4)), "cannot run on inputs"),
    "a bias too long": (lambda: conv(bias=np.zeros(4, np.int32)), "cannot run on inputs"),
    "a bias of another type": (lambda: conv(bias=np.zeros(3, np.int64)), "int8 int8 int64 -> int8"),
    "a stride of 0": (lambda: conv(strideW=0), "1 at least expected"),
    "a negative stride": (lambda: conv(strideH=-1), "1 at least expected"),
    "a dilation of 0": (lambda: conv(dilationHFactor=0), "1 at least expected"),
    "a kernel larger than the image": (
        lambda: conv(shape=(1, 1, 4, 2), padding="VALID"),
        "does not fit into",
    ),
    "a window of 0": (lambda: pool(filterHeight=0), "1 at least expected"),
    "a stride of a pool of 0": (lambda: pool(strideH=0), "1 at least expected"),
    "a window larger than the image": (lambda: pool(filterWidth=5), "does not fit into an image"),
    "a giant window": (lambda: pool(filterWidth=2**31 - 1), "a window of|does not fit"),
    "a giant output": (lambda: transposed(1, 2**20, 2**20, 2), "far too large"),
    "a negative output": (lambda: transposed(1, -4, 4, 2), "far too large"),
    "an output of no height": (lambda: transposed(1, 0, 4, 2), "1 at least expected"),
    "an output of another batch": (lambda: transposed(2, 4, 4, 2), "do not fit an input"),
    "an output of too few axes": (lambda: transposed(1, 4, 4), "do not fit an input"),
    "giant margins": (
        lambda: one_operator("PAD", options("Pad"), inputs=[index([0, 0], [2**31 - 1, 2**31 - 1])]),
        "far too large",
    ),
    "negative margins": (
        lambda: one_operator("PAD", options("Pad"), inputs=[index([0, 0], [-1, 0])]),
        "do not fit an input",
    ),
    "margins of too few axes": (
        lambda: one_operator("PAD", options("Pad"), inputs=[index([0, 0])]),
        "do not fit",
    ),
    "an axis that is not there": (
        lambda: one_operator("EXPAND_DIMS", options("ExpandDims"), inputs=[index(7)]),
        "axis 7 is out of bounds",
    ),
    "axes in the wrong order": (
        lambda: one_operator("TRANSPOSE", options("Transpose"), inputs=[index(0, 2)]),
        "out of bounds",
    ),
    "no order of axes": (
        lambda: one_operator("TRANSPOSE", options("Transpose"), inputs=[(None, None)]),
        "nothing",
    ),
    "no axes": (lambda: one_operator("MEAN", options("Reducer")), "int8 -> int8"),
    "an axis to drop that is long": (
        lambda: one_operator("SQUEEZE", options("Squeeze", squeezeDims=np.int32([1]))),
        "cannot run on inputs",
    ),
    "a shape that does not fit": (lambda: one_operator("RESHAPE", inputs=[index(3, -1)]), "cannot reshape"),
    "two lengths left open": (
        lambda: one_operator("RESHAPE", inputs=[index(-1, -1)]),
        "cannot run on inputs",
    ),
    "no shape": (lambda: one_operator("RESHAPE"), "no shape to give"),
    "a step of 0": (lambda: slice_of([0, 0], [1, 4], [1, 0]), "cannot run on inputs"),
    "a slice of too many axes": (lambda: slice_of([0] * 3, [1] * 3, [1] * 3), "of 3 axes for an input"),
    "a slice of axes that differ": (lambda: slice_of([0, 0], [1], [1]), "cannot run on inputs"),
    "one place outside": (lambda: slice_of([0, 9], [1, 10], [1, 1], shrinkAxisMask=2), "out of bounds"),
    "an ellipsis": (lambda: slice_of([0, 0], [1, 4], [1, 1], ellipsisMask=1), "an ellipsis"),
    "a new axis": (lambda: slice_of([0, 0], [1, 4], [1, 1], newAxisMask=1), "an ellipsis"),
    "shapes that do not broadcast": (
        lambda: one_operator("MUL", options("Mul"), inputs=[(empty(1, 3), p())]),
        "broadcast",
    ),
    "weights stored otherwise": (
        lambda: one_operator(
            "FULLY_CONNECTED", options("FullyConnected", weightsFormat=1), inputs=[(empty(3, 4), p(0.1, 0))]
        ),
        "not stored row by row",
    ),
    "weights of another length": (
        lambda: one_operator("FULLY_CONNECTED", options("FullyConnected"), inputs=[(empty(3, 5), p(0.1, 0))]),
        "do not fit an input",
    ),
}


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_run_is_refused_when_it_is_loaded(make, message, free):
    file = make()
    if free:
        for tensor in file.graph.inputs:
            file.graph.tensors[tensor].shapeSignature = [-1, *file.graph.tensors[tensor].shape[1:]]
    with pytest.raises(ModelFileError, match=message) as raised:
        runners.load(file.bytes(), engine="integer")
    output = file.graph.tensors[file.graph.operators[-1].outputs[0]].name
    assert "the given bytes: operator " in str(raised.value)
    assert f"output {output}" in str(raised.value)


# Operators of any number of inputs
JOINED: dict[str, Callable[[], File]] = {
    "a tensor that doubles": lambda: doubling(40),
    "different scales": lambda: one_operator(
        "CONCATENATION", options("Concatenation", axis=1), inputs=[(empty(1, 4), p(0.2))]
    ),
    "different shapes": lambda: one_operator(
        "CONCATENATION", options("Concatenation", axis=1), inputs=[(empty(2, 4), p())]
    ),
    "no such axis": lambda: one_operator("CONCATENATION", options("Concatenation", axis=2)),
    "different shapes of a pack": lambda: one_operator(
        "PACK", options("Pack", valuesCount=2), inputs=[(empty(1, 3), p())]
    ),
    "no such axis of a pack": lambda: one_operator("PACK", options("Pack", valuesCount=1, axis=3)),
}


@pytest.mark.parametrize("make", JOINED.values(), ids=JOINED)
def test_tensors_that_do_not_join_are_refused_when_they_are_loaded(make):
    with pytest.raises(
        ModelFileError, match=r"operator \d+, (CONCATENATION|PACK) \(output (the output|doubled)\)"
    ):
        runners.load(make().bytes(), engine="integer")


@pytest.mark.parametrize("axis", [2, -3])
def test_a_mean_over_an_axis_that_is_not_there_is_refused(axis):
    file = one_operator("MEAN", options("Reducer"), inputs=[index(axis)])
    with pytest.raises(ModelFileError, match=r"operator 0, MEAN \(output the output\)"):
        runners.load(file.bytes(), engine="integer")


@pytest.mark.parametrize("activation", ["TANH", "SIGN_BIT", 77])
def test_an_activation_that_is_no_limit_is_refused(activation):
    with pytest.raises(ModelFileError, match=r"operator 0, CONV_2D .*output the output"):
        runners.load(conv(fusedActivationFunction=activation).bytes(), engine="integer")


@pytest.mark.parametrize("shape", [(0, 4), (1, 0)])
def test_a_file_for_no_numbers_at_all_is_refused_or_runs(shape):
    with contextlib.suppress(ModelFileError):
        runner = runners.load(one_operator(shape=shape).bytes(), engine="integer")
        assert runner.predict_integers(empty(*shape)).shape == shape


@pytest.mark.parametrize("engine", ["litert", "integer"])
def test_an_output_without_axes_is_refused_or_runs(engine):
    file = one_operator("SQUEEZE", options("Squeeze"), shape=(1, 1))
    with contextlib.suppress(TinylabError):
        assert runners.load(file.bytes(), engine=engine).predict_integers(empty(1, 1)).size == 1


# Files that contradict themselves


def broken(change: Callable[[File], None]) -> bytes:
    file = small_network(free=False)
    change(file)
    return file.bytes()


def shorten(file: File) -> None:
    buffer = file.model.buffers[file.graph.tensors[3].buffer]
    buffer.data = buffer.data[:-1]


def swap(file: File) -> None:
    file.graph.operators.reverse()


def of_tensor(number: int, **values) -> Callable[[File], None]:
    def change(file: File) -> None:
        for name, value in values.items():
            setattr(file.graph.tensors[number], name, value)

    return change


def of_operator(number: int, **values) -> Callable[[File], None]:
    def change(file: File) -> None:
        for name, value in values.items():
            setattr(file.graph.operators[number], name, value)

    return change


def of_graph(**values) -> Callable[[File], None]:
    def change(file: File) -> None:
        for name, value in values.items():
            setattr(file.graph, name, value)

    return change


# Tensors: 0 and 1 the inputs, 2 their sum, 3 weights, 4 the bias, 5 and 6 the answers.
CONTRADICTIONS = {
    "a constant that is too short": (shorten, "tensor t3: 11 bytes"),
    "a constant that is too long": (of_tensor(3, shape=[3, 3]), "tensor t3: 12 bytes"),
    "a constant of a negative length": (of_tensor(3, shape=[-3, -4]), "damaged"),
    "a constant of another type": (of_tensor(3, type=schema.TensorType.INT16), "tensor t3: 12 bytes"),
    "a constant of text": (of_tensor(3, type=schema.TensorType.STRING), "damaged"),
    "a type that there is not": (of_tensor(2, type=120), "type 120"),
    "operators in the wrong order": (swap, "which nothing computes"),
    "an operator that reads its own output": (of_operator(0, inputs=[0, 2]), "total, which nothing computes"),
    "an output that nothing computes": (of_operator(1, outputs=[6]), "nothing computes again"),
    "an output that there is not": (of_graph(outputs=[7]), "damaged"),
    "an output left out": (of_graph(outputs=[-1]), "nothing computes"),
    "no inputs": (of_graph(inputs=[]), "damaged"),
    "no outputs": (of_graph(outputs=[]), "damaged"),
    "no operators": (of_graph(operators=[]), "damaged"),
    "a tensor that there is not": (of_operator(0, inputs=[0, 99]), "damaged"),
    "an operator that there is not": (of_operator(0, opcodeIndex=9), "damaged"),
    "an operator without an output": (of_operator(0, outputs=[]), "operator 0, ADD"),
    "an operator of two outputs": (of_operator(0, outputs=[2, 5]), "operator 0, ADD"),
    "an operator without inputs": (of_operator(0, inputs=[]), "operator 0, ADD"),
    "an input left out": (of_operator(0, inputs=[0, -1]), "operator 0, ADD"),
    "an input of 2**31 values": (of_tensor(0, shape=[1, 2**31 - 1]), "far too large"),
    "an input of a negative length": (of_tensor(0, shape=[1, -4]), "far too large"),
    "inputs of different batches": (of_tensor(0, shape=[3, 4]), "no common first axis"),
    "an input of text": (of_tensor(0, type=schema.TensorType.STRING), "string"),
}


@pytest.mark.parametrize(("change", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_file_that_contradicts_itself_is_refused_when_it_is_loaded(change, message):
    with pytest.raises(ModelFileError, match=message):
        runners.load(broken(change), engine="integer")


# An operator may write over what is there already: LiteRT lets it.
OVERWRITTEN = {"a constant": [3], "an input": [1], "an earlier output": [2]}


@pytest.mark.parametrize("outputs", OVERWRITTEN.values(), ids=OVERWRITTEN)
def test_an_operator_that_writes_over_what_is_there_is_refused_or_agrees(outputs):
    content = broken(of_operator(2, outputs=outputs))
    q = samples(1)
    try:
        ours = runners.load(content, engine="integer").predict_integers(q)
    except ModelFileError:
        return
    theirs = runners.load(content, kernels="reference").predict_integers(q)
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
