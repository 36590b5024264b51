"""Which layer of a quantized model hurts?

Two files made from one model, one in float32 and one quantized, run side by side on the same data, and
their tensors are compared operator by operator. There are two questions, and they have two answers:

- How far is the quantized model from the float one so far? Errors of all operators up to here add up.
- What does this operator add by itself? Its float version is run on the inputs that the quantized one
  has, dequantized, and what the two make of them is compared.

An operator that hands on the error of its input looks bad in the first and good in the second, so the
second tells whom to blame. QUANTIZE and DEQUANTIZE count as a part of the operator that reads their
output. So the first operator's float version gets the input as it was given, and rounding that is part
of the operator's error.

TensorFlow's QuantizationDebugger measures the second, too, and gets the same numbers on the same kernels
(a test compares them), but for operators whose output has the scale of their input: there it compares the
integers with themselves, and finds no error in an average. It has to convert the model for that; here any
two files will do.
"""

import copy
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike

import flatbuffers
import numpy as np
import pandas as pd
from ai_edge_litert import schema_py_generated as schema

from tinylab import runners, tflite_file
from tinylab.affine import AffineParams, decibels, dequantize
from tinylab.errors import DataError, ModelFileError
from tinylab.flatbuffer import pieces
from tinylab.runners.base import Arrays, Runner
from tinylab.tflite_file import IDENTIFIER, Operator, Tensor, TFLiteFile

Model = bytes | str | PathLike

CONVERTING = ("QUANTIZE", "DEQUANTIZE")
ROUNDING = 1 / math.sqrt(12)  # RMSE in steps of an error that is nothing but rounding
CHUNK = 32  # samples whose tensors are in memory at a time


def cosine(reference: np.ndarray, values: np.ndarray) -> float:
    """Cosine of the angle between two lots of numbers: sum r v / sqrt(sum r² sum v²), -1 to 1.

    It does not see a factor between the two. Nothing but zeros has no direction: of two such the
    cosine is taken to be 1, of one such and another 0.

    Args:
        reference, values: of the same shape, any; finite.

    Raises:
        DataError: different shapes, no numbers, NaN or infinity.

    >>> cosine([3.0, 4.0], [6.0, 8.0]), cosine([3.0, 4.0], [4.0, 3.0])
    (1.0, 0.96)
    """
    reference, values = np.asarray(reference, np.float64), np.asarray(values, np.float64)
    if reference.shape != values.shape or not reference.size:
        raise DataError(f"shapes {reference.shape} and {values.shape}: the same expected, and some numbers.")
    if not (np.isfinite(reference).all() and np.isfinite(values).all()):
        raise DataError("NaN or infinity: finite numbers expected.")
    sums = _Sums()
    sums.add(reference, values)
    return sums.cosine


@dataclass
class _Sums:
    """What rmse, sqnr and cosine are made of; grows with every lot of numbers that is added."""

    count: int = 0
    reference: float = 0.0  # sum of squares
    values: float = 0.0
    products: float = 0.0
    errors: float = 0.0

    def add(self, reference: np.ndarray, values: np.ndarray) -> None:
        # no dot products: their library's threads wait for each other where the processor is busy
        r, v = np.asarray(reference, np.float64), np.asarray(values, np.float64)
        self.count += r.size
        self.reference += float((r**2).sum())
        self.values += float((v**2).sum())
        self.products += float((r * v).sum())
        self.errors += float(((r - v) ** 2).sum())

    @property
    def rmse(self) -> float:
        return math.sqrt(self.errors / self.count)

    @property
    def sqnr(self) -> float:
        return decibels(self.reference, self.errors)

    @property
    def cosine(self) -> float:
        if not (self.reference and self.values):
            return float(self.reference == self.values)
        return self.products / (math.sqrt(self.reference) * math.sqrt(self.values))


# How the columns of the table are printed: heading, format.
_SHOWN = {
    "operator": ("operator", "{}"),
    "layer": ("layer", "{}"),
    "scale": ("scale", "{:.4g}"),
    "steps": ("RMSE / scale", "{:.3f}"),
    "sqnr": ("SQNR (dB)", "{:.1f}"),
    "saturated": ("saturated", "{:.2%}"),
    "unused": ("unused", "{:.1%}"),
    "sqnr_so_far": ("SQNR so far (dB)", "{:.1f}"),
}


@dataclass(frozen=True)
class LayerErrors:
    """The errors of a quantized model, operator by operator.

    Attributes:
        table: a row an operator, in the order in which they run, with the operator's number in the
            quantized file as index (an operator with several outputs, such as SPLIT, has a row for
            each). r is a value of the float operator, q the quantized one's, as real numbers:

            - operator: such as "CONV_2D".
            - layer: a short name for it, mostly that of the Keras layer; unique.
            - tensor: the full name of its output in the float file, as converters take it
              (`denylisted_nodes`); not printed.
            - dtype, scale: of the quantized operator's output; no scale where it stayed float32.
            - rmse: sqrt(mean (r - q)²), alone.
            - steps: rmse / scale, alone; 1 / sqrt(12) = 0.289 if rounding is all there is
              (`affine.expected_rmse`).
            - sqnr: of the operator alone, in dB (`affine.sqnr`).
            - saturated: share of the values r, alone, that lie beyond the range of the type by more
              than half a step, 0 to 1.
            - clipping: share of the squared error, alone, that those values have; not printed.
            - unused: share of the type's codes that no value takes, 0 to 1.
            - sqnr_so_far: the same ratio against the float model's own tensor, in dB.
            - cosine: of these two (`cosine`).
        saturated_input: share of the model's input that lies beyond the range of the input's type.
        samples: how many were run.
        kernels: LiteRT's, that ran both files.
    """

    table: pd.DataFrame
    saturated_input: float
    samples: int
    kernels: str

    @property
    def worst(self) -> pd.Series:
        """The row of the operator that hurts most: the lowest SQNR alone.

        Not the lowest so far, because that falls behind a bad operator, too; and not the largest RMSE,
        because operators have different units.
        """
        return self.table.iloc[int(self.table["sqnr"].argmin())]

    @property
    def verdict(self) -> str:
        """Which operator hurts most, and what its numbers say about the cause, as one line."""
        worst = self.worst
        if worst.sqnr == math.inf:
            return "no layer adds an error."
        text = f"worst layer: {worst.layer} (operator {worst.name}), SQNR {worst.sqnr:.1f} dB alone: "
        if math.isnan(worst.scale):
            text += "it computes in float32, on weights, or an input, that were quantized."
        elif worst.clipping > 0.5:
            text += (
                f"{worst.saturated:.2%} of its values lie beyond its range, and have {worst.clipping:.0%} of "
                "the squared error: the calibration data did not reach as far; take more like these."
            )
        elif worst.steps <= 0.5:  # rounding can move no value by more
            text += (
                f"RMSE {worst.steps:.2f} steps, as rounding its output does, but a step is large for most "
                "of its values: compare the ranges of its channels."
            )
        else:
            text += (
                f"RMSE {worst.steps:.2f} steps, more than rounding its output does ({ROUNDING:.2f}): compare "
                "the sizes of its weights, and, if it is the first layer, the input with its range."
            )
        if self.saturated_input:
            text += f" {self.saturated_input:.2%} of the input lies beyond the input's range."
        return text

    @property
    def shown(self) -> pd.DataFrame:
        """The table as text, with headings, rounded; an empty text where there is no number."""
        columns = {
            heading: ["" if pd.isna(value) else form.format(value) for value in self.table[column]]
            for column, (heading, form) in _SHOWN.items()
        }
        return pd.DataFrame(columns, index=self.table.index)

    def __str__(self) -> str:
        return f"{self.shown.to_string()}\n{self.note}"

    def _repr_html_(self) -> str:
        return f"{self.shown.to_html()}<p>{self.note}</p>"

    @property
    def note(self) -> str:
        """What the table was measured on, and what its columns stand for."""
        return (
            "each operator alone, so far: with the errors of all before it; "
            f"{self.samples:,} samples, {self.kernels} kernels"
        )


def layer_errors(
    float_model: Model, quantized_model: Model, x: Arrays, kernels: str = "reference"
) -> LayerErrors:
    """Measure what each operator of a quantized model adds to its error.

    Operators of the two files are paired in order by name and shape; the float file may have some that
    the quantized one lacks (the converter drops a RELU behind what cannot be negative).

    Args:
        float_model: a .tflite file's bytes or path, computing in float32.
        quantized_model: the same model quantized, wholly or in part: int8, 16x8, int4 weights, from
            quantization-aware training, with float32 left in it. In dynamic range and float16 files,
            which compute in float32, the errors are those of the weights.
        x: real numbers (N, ...); a list of such arrays for several inputs. A hundred samples give most
            SQNRs to a few tenths of a dB; where rare values saturate, they may be several dB off.
        kernels: "reference" or "optimized", which keep intermediate tensors.

    Raises:
        DataError: no samples, or data that do not fit the models, or with NaN.
        ModelFileError: not a .tflite, two files that do not belong together or are swapped, nothing
            quantized, or NaN or infinity inside of the float model.
        TinylabError: kernels="default"; samples that do not fill the batches of a file with a fixed batch.
    """
    original = runners.load(float_model, kernels=kernels)
    quantized = runners.load(quantized_model, kernels=kernels)
    layers, order = _paired(original.file, quantized.file), _order(original, quantized)
    arrays = original.in_own_types(x)  # refuses whatever does not fit
    same_inputs = [arrays[i] for i in order]
    samples = len(arrays[0])
    if not samples:
        raise DataError("no samples: errors need at least one.")
    content, given = _cut(float_model, [layer.original.index for layer in layers])
    alone = runners.load(content, kernels=kernels)
    counterpart = {layer.original.index: layer.quantized for layer in layers}
    batch = original.inputs[0].shape[0]
    chunk = max(CHUNK // batch, 1) * batch
    for start in range(0, samples, chunk):
        part = slice(start, start + chunk)
        reals = [array[part] for array in arrays]
        codes = _trace(quantized, quantized.in_own_types([array[part] for array in same_inputs]))
        so_far = _trace(original, reals)
        by_itself = _trace(alone, reals + [_real(codes, counterpart[index]) for index in given])
        for layer in layers:
            index = layer.original.index
            layer.add(by_itself[index], so_far[index], codes[layer.quantized.index])
    table = pd.DataFrame([layer.row for layer in layers], index=[layer.number for layer in layers])
    table["layer"] = _unique(table["layer"])
    return LayerErrors(table, _saturated_input(same_inputs, quantized), samples, kernels)


# Pairing the operators of the two files


@dataclass
class _Layer:
    """An operator's output in both files, and what is added up about it."""

    number: int
    operator: str
    original: Tensor
    quantized: Tensor
    alone: _Sums = field(default_factory=_Sums)
    so_far: _Sums = field(default_factory=_Sums)
    beyond: int = 0
    clipping: float = 0.0
    codes: set[int] = field(default_factory=set)

    def add(self, alone: np.ndarray, so_far: np.ndarray, codes: np.ndarray) -> None:
        """Compare some samples: the float operator's values, the float model's, and the quantized ones."""
        if not (np.isfinite(alone).all() and np.isfinite(so_far).all()):
            raise ModelFileError(
                f"operator {self.number}, {self.operator}: its float version makes NaN or infinity of these "
                "data, which nothing can be compared with."
            )
        params = self.quantized.params
        real = dequantize(codes, params) if params else codes
        self.alone.add(alone, real)
        self.so_far.add(so_far, real)
        if params:
            beyond = _beyond(alone, params)
            self.beyond += int(beyond.sum())
            self.clipping += float(((alone[beyond].astype(np.float64) - real[beyond]) ** 2).sum())
            self.codes.update(np.unique(codes).tolist())

    @property
    def row(self) -> dict:
        """The row of the table."""
        params, alone = self.quantized.params, self.alone
        return {
            "operator": self.operator,
            "layer": short_name(self.original.name),
            "tensor": self.original.name,
            "dtype": self.quantized.dtype,
            "scale": params.scale if params else math.nan,
            "rmse": alone.rmse,
            "steps": alone.rmse / params.scale if params and params.scale else math.nan,
            "sqnr": alone.sqnr,
            "saturated": self.beyond / alone.count if params else math.nan,
            "clipping": self.clipping / (alone.errors or 1) if params else math.nan,
            "unused": 1 - len(self.codes) / (params.highest - params.lowest + 1) if params else math.nan,
            "sqnr_so_far": self.so_far.sqnr,
            "cosine": self.so_far.cosine,
        }


def _beyond(x: np.ndarray, params: AffineParams) -> np.ndarray:
    """Which numbers lie more than half a step beyond the range, and are moved by more than rounding."""
    low, high = params.limits
    return (x < low - params.scale / 2) | (x > high + params.scale / 2)


def _paired(original: TFLiteFile, quantized: TFLiteFile) -> list[_Layer]:
    """Pair the outputs of the operators that compute, in order."""
    if any(original.tensors[i].scale.size for _, operator in _computing(original) for i in operator.outputs):
        raise ModelFileError(
            f"{original.name}: is quantized itself; the float32 file comes first, then the quantized one."
        )
    if not any(tensor.scale.size or tensor.dtype == "float16" for tensor in quantized.tensors):
        raise ModelFileError(f"{quantized.name}: nothing in it is quantized; the quantized file is expected.")
    layers, candidates = [], _computing(original)
    for number, operator in _computing(quantized):
        looks = _looks(operator, quantized)
        partner = next((other for _, other in candidates if _looks(other, original) == looks), None)
        if partner is None:
            raise ModelFileError(
                f"{quantized.name}: operator {number}, {looks[0]} {looks[1]}, has no partner in "
                f"{original.name}; two files made from one model are expected."
            )
        for own, other in zip(operator.outputs, partner.outputs, strict=True):
            if original.tensors[other].dtype == "float32":  # and not a shape, or an index
                tensors = original.tensors[other], quantized.tensors[own]
                layers.append(_Layer(number, operator.name, *tensors))
    if not layers:
        raise ModelFileError(f"{quantized.name}: no operator in it computes real numbers.")
    return layers


def _order(original: Runner, quantized: Runner) -> list[int]:
    """Which of the float file's inputs each of the quantized file's is.

    Files that were converted in different ways may take the same inputs in different orders. Their names
    tell, but for what the converter adds to them; where names have changed, the order counts.
    """
    ours, theirs = (
        [re.sub(r"^serving_default_|:\d+$", "", spec.name) for spec in runner.inputs]
        for runner in (quantized, original)
    )
    same = set(ours) == set(theirs) and len(set(ours)) == len(ours) == len(theirs)
    order = [theirs.index(name) for name in ours] if same else list(range(len(theirs)))
    shapes = [original.inputs[i].shape for i in order], [spec.shape for spec in quantized.inputs]
    if shapes[0] != shapes[1]:
        raise ModelFileError(
            f"{original.file.name} takes inputs {shapes[0]}, {quantized.file.name} {shapes[1]}; two files "
            "made from one model are expected."
        )
    return order


def _computing(file: TFLiteFile) -> Iterator[tuple[int, Operator]]:
    return ((n, operator) for n, operator in enumerate(file.operators) if operator.name not in CONVERTING)


def _looks(operator: Operator, file: TFLiteFile) -> tuple[str, list[tuple[int, ...]]]:
    return operator.name, [file.tensors[i].shape for i in operator.outputs]


# Names


def short_name(tensor: str) -> str:
    """The Keras layer that a tensor of a .tflite file comes from, as well as its name tells.

    The converter joins the names of all that it fused with semicolons, each the path of an operation:
    model/layer/operation. The layer with the weights is taken, otherwise the last one. What the model
    puts out has lost its name.

    >>> short_name("net/re_lu_2/Relu;net/batch_normalization_1/FusedBatchNormV3;net/conv2d_1/Conv2D1")
    'conv2d_1'
    >>> short_name("StatefulPartitionedCall:0")
    'output'
    """
    if "PartitionedCall" in tensor:
        return "output"
    operations = tensor.split(";")
    with_weights = [name for name in operations if re.search(r"/(MatMul|[Cc]onv\w*|depthwise)\d*$", name)]
    path = (with_weights or operations)[-1].split("/")
    layer = path[1:-1] or path[:1]
    while len(layer) > 1 and (layer[-1] == "batchnorm" or layer[-1][:1].isupper()):
        layer.pop()  # parts of operations: BiasAdd/ReadVariableOp
    return "/".join(layer)


def _unique(layers: pd.Series) -> list[str]:
    """Names, with a number behind those that occur more than once."""
    repeated, numbers = layers.duplicated(keep=False), layers.groupby(layers.to_numpy()).cumcount() + 1
    return [
        f"{name} ({number})" if again else name
        for name, again, number in zip(layers, repeated, numbers, strict=True)
    ]


# Running


def _trace(runner: Runner, inputs: list[np.ndarray]) -> dict[int, np.ndarray]:
    """Every tensor that a run computes, by its number in the file."""
    tensors = runner.trace(inputs).tensors
    return dict(zip(dict.fromkeys(runner.file.computed), tensors.values(), strict=True))


def _real(tensors: dict[int, np.ndarray], tensor: Tensor) -> np.ndarray:
    values = tensors[tensor.index]
    return dequantize(values, tensor.params) if tensor.params else values


def _saturated_input(arrays: list[np.ndarray], runner: Runner) -> float:
    beyond = [
        _beyond(array, spec.params).mean()
        for array, spec in zip(arrays, runner.inputs, strict=True)
        if spec.params
    ]
    return float(max(beyond, default=0.0))


def _cut(model: Model, tensors: list[int]) -> tuple[bytes, list[int]]:
    """Rewrite a file so that its operators no longer read each other's outputs.

    Each of the given tensors gets a copy, which becomes an input of the file and is read in its place; the
    operators still compute the tensors themselves. Tensors without the axis of the batch cannot be fed
    sample by sample, and stay connected.

    Returns:
        The file's bytes, and which of the tensors became inputs, in the order of the new inputs, which
        follow the old ones.
    """
    content, name = tflite_file.read(model)
    with tflite_file.damage_reported(content, name):
        pieces(content)  # refuses what would unfold into far more than the file
        rewritten = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        graph = rewritten.subgraphs[0]
        batch = _axes(graph.tensors[graph.inputs[0]])[:1]
        copies: dict[int, int] = {}
        for index in tensors:
            axes = _axes(graph.tensors[index])
            if axes[:1] == batch and not any(free for _, free in axes[1:]):
                copies[index] = len(graph.tensors)
                graph.tensors.append(copy.copy(graph.tensors[index]))
        for operator in graph.operators:
            operator.inputs = [copies.get(index, index) for index in operator.inputs]
        graph.inputs = [*graph.inputs, *copies.values()]
        rewritten.signatureDefs = None  # they name the old inputs
        builder = flatbuffers.Builder()
        builder.Finish(rewritten.Pack(builder), IDENTIFIER)
        return bytes(builder.Output()), list(copies)


def _axes(tensor: schema.TensorT) -> list[tuple[int, bool]]:
    """Size of each axis in the file, and whether any other is possible, too."""
    shape = [] if tensor.shape is None else list(tensor.shape)
    signature = shape if tensor.shapeSignature is None else list(tensor.shapeSignature)
    return [(size, sign == -1) for size, sign in zip(shape, signature, strict=True)]
