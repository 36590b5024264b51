"""In which numbers does a file compute, which tensors stayed float32, and why?

A file can be quantized less than its maker believes: a converter that cannot quantize something
leaves it in float32 and says nothing. What is said here is read from the file alone: from its
tensors and operators, and from the converter's own note of what it was asked for (the metadata
CONVERSION_METADATA). The rules were measured with TensorFlow 2.21; tests repeat the measurements.
"""

import contextlib
import struct
from collections import Counter
from dataclasses import dataclass
from os import PathLike

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.table import Table

from tinylab.tflite_file import PARSE_ERRORS, UNPACKING, Operator, Tensor, TFLiteFile, read, subgraphs

INTEGER, FLOAT16, DYNAMIC_RANGE, FLOAT32 = "integer", "float16", "dynamic range", "float32"
# The converter's numbers for what it was asked for; 1004 is int8 weights with int16 activations.
ASKED_FOR = {1001: FLOAT16, 1002: DYNAMIC_RANGE, 1003: INTEGER, 1004: INTEGER}

# Dynamic range quantizes the weights of these operators, if they have DYNAMIC_RANGE_LEAST elements or more.
DYNAMIC_RANGE_OPERATORS = (
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "TRANSPOSE_CONV",
    "FULLY_CONNECTED",
    "BATCH_MATMUL",
    "GATHER",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
)
DYNAMIC_RANGE_LEAST = 1024

NOTHING_ASKED = "nothing was quantized: the converter's optimizations were not set"
NOTHING_QUANTIZED = "nothing in this file is quantized"
NO_RANGES = "dynamic range quantizes no activations: without representative data their ranges are unknown"
BIASES = "dynamic range leaves biases in float32"
FEW_WEIGHTS = f"dynamic range leaves weights with fewer than {DYNAMIC_RANGE_LEAST:,} elements in float32"
OTHER_WEIGHTS = (
    f"dynamic range quantizes all weights of {{}} or none: some have fewer than {DYNAMIC_RANGE_LEAST:,}"
)
OTHER_OPERATOR = "dynamic range leaves the constants of {} in float32"
UNPACKED = "stored as {}; {} turns it into float32 before it is used"
COMPUTED_AFTER_FLOAT16 = "in a float16 file only constants are float16; operators compute in float32"
ENDS = {
    "input": "QUANTIZE turns it into integers: inference_input_type was left at float32",
    "output": "DEQUANTIZE makes it from integers: inference_output_type was left at float32",
}
ISLAND = "{} computes in float32: the converter had no integer version of it, or was told to leave it"
UNUSED = "no operator reads or writes it"
NOT_SHOWN = "the file does not show why"


@dataclass(frozen=True)
class Leftover:
    """A tensor that stayed float32: where it is, what it is there for, and why.

    Attributes:
        subgraph: 0 is the main one; others are the bodies of loops and branches.
        tensor: as in `TFLiteFile.tensors`.
        role: as in `TFLiteFile.roles`.
        reason: a clause in plain words.
    """

    subgraph: int
    tensor: Tensor
    role: str
    reason: str


@dataclass(frozen=True)
class Precision:
    """What a file computes in.

    Attributes:
        verdict: one line, such as "all integer: weights int8, activations int8".
        leftovers: every float32 tensor, in order of subgraph and index.
    """

    verdict: str
    leftovers: tuple[Leftover, ...]

    @property
    def by_reason(self) -> dict[str, list[Leftover]]:
        """The leftovers of each reason, the reason of most tensors first."""
        groups: dict[str, list[Leftover]] = {}
        for leftover in self.leftovers:
            groups.setdefault(leftover.reason, []).append(leftover)
        return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def precision(model: bytes | str | PathLike) -> Precision:
    """Tell what numbers a .tflite file computes in, and which tensors stayed float32, and why.

    Args:
        model: the file's bytes, or its path.

    Raises:
        ModelFileError: not a .tflite, cut short, or inconsistent.
    """
    content, _ = read(model)
    graphs = subgraphs(content)
    found, asked = _found(graphs), _asked_for(content)
    rules = found if found != FLOAT32 or not asked else asked
    leftovers, islands = [], Counter()
    for number, graph in enumerate(graphs):
        flow = _Flow(graph)
        for tensor, role in zip(graph.tensors, graph.roles, strict=True):
            if tensor.dtype != "float32":
                continue
            if role == "unused":
                reason = UNUSED
            elif rules == INTEGER:
                island = flow.island(tensor.index)
                reason = ISLAND.format(island) if island else ENDS.get(role, NOT_SHOWN)
                islands.update([island] if island else [])
            elif flow.unpacked(tensor.index):
                writer = flow.writer[tensor.index]
                reason = UNPACKED.format(graph.tensors[writer.inputs[0]].dtype, writer.name)
            elif rules == DYNAMIC_RANGE:
                reason = _dynamic_range_reason(flow, tensor, role)
            elif rules == FLOAT16:
                reason = NOT_SHOWN if tensor.nbytes else COMPUTED_AFTER_FLOAT16
            else:
                reason = NOTHING_QUANTIZED if asked is None else NOTHING_ASKED
            leftovers.append(Leftover(number, tensor, role, reason))
    computing = [leftover for leftover in leftovers if leftover.role != "unused"]
    return Precision(_verdict(graphs, found, asked, computing, list(islands)), tuple(leftovers))


class _Flow:
    """Which operator writes a tensor, and which read it."""

    def __init__(self, graph: TFLiteFile):
        self.graph = graph
        self.writer = {i: operator for operator in graph.operators for i in operator.outputs}
        self.readers: dict[int, list[Operator]] = {}
        self.with_few_weights: set[int] = set()  # operators, by id
        for operator in graph.operators:
            for i in operator.inputs:
                self.readers.setdefault(i, []).append(operator)
                if i >= 0 and graph.roles[i] == "weights" and _is_small(graph.tensors[i]):
                    self.with_few_weights.add(id(operator))

    def unpacked(self, index: int) -> bool:
        """Whether a tensor is a constant that is stored in another type."""
        writer = self.writer.get(index)
        return bool(writer and writer.name in UNPACKING and writer.inputs) and (
            self.graph.roles[writer.inputs[0]] in ("weights", "bias", "constant")
        )

    def island(self, index: int) -> str | None:
        """The operator that computes with a tensor in float32; None if it is converted only."""
        around = [self.writer[index]] if index in self.writer else []
        around += self.readers.get(index, [])
        return next((o.name for o in around if o.name not in ("QUANTIZE", "DEQUANTIZE")), None)


def _found(graphs: tuple[TFLiteFile, ...]) -> str:
    """How a file is quantized, judged by its tensors."""
    constants = [tensor for graph in graphs for tensor in graph.tensors if tensor.nbytes]
    if any(_integer_activations(graph) for graph in graphs):
        return INTEGER
    if any(tensor.dtype == "float16" for tensor in constants):
        return FLOAT16
    return DYNAMIC_RANGE if any(_is_quantized(tensor) for tensor in constants) else FLOAT32


def _is_quantized(tensor: Tensor) -> bool:
    return tensor.scale.size > 0 and "int" in tensor.dtype


def _integer_activations(graph: TFLiteFile) -> list[Tensor]:
    """Quantized tensors that are computed from something other than constants."""

    def computed(index: int) -> bool:
        return index >= 0 and not graph.tensors[index].nbytes and _is_quantized(graph.tensors[index])

    found = [graph.tensors[i] for i in graph.inputs if computed(i)]
    for operator in graph.operators:
        # GATHER looks up int8 rows of an embedding in a dynamic range file, too.
        if operator.name == "QUANTIZE" or any(map(computed, operator.inputs)):
            found += [graph.tensors[i] for i in operator.outputs if computed(i)]
    return found


def _asked_for(content: bytes) -> str | None:
    """What the converter notes that it was asked for; None if there is no note, or one of something else."""
    model = schema.Model.GetRootAs(content, 0)
    with contextlib.suppress(*PARSE_ERRORS):
        for i in range(model.MetadataLength()):
            if model.Metadata(i).Name() == b"CONVERSION_METADATA":
                note = model.Buffers(model.Metadata(i).Buffer()).DataAsNumpy().tobytes()
                numbers = _optimization_modes(note)
                if not numbers:
                    return FLOAT32
                return next((ASKED_FOR[number] for number in numbers if number in ASKED_FOR), None)
    return None


def _optimization_modes(note: bytes) -> list[int]:
    """The field options.model_optimization_modes of a note, which is a FlatBuffer of its own."""
    root = Table(note, struct.unpack_from("<I", note)[0])
    field = root.Offset(6)  # the second one
    options = Table(note, root.Indirect(root.Pos + field))
    field = options.Offset(4)  # the first one
    modes = np.frombuffer(note, "<i4", options.VectorLen(field), options.Vector(field)) if field else []
    return [int(mode) for mode in modes]


def _dynamic_range_reason(flow: _Flow, tensor: Tensor, role: str) -> str:
    if role == "bias":
        return BIASES
    if not tensor.nbytes:
        return NO_RANGES
    readers = flow.readers.get(tensor.index, [])
    others = [operator.name for operator in readers if operator.name not in DYNAMIC_RANGE_OPERATORS]
    if others:
        return OTHER_OPERATOR.format(others[0])
    if role != "weights":
        return NOT_SHOWN
    if _is_small(tensor):
        return FEW_WEIGHTS
    together = [operator.name for operator in readers if id(operator) in flow.with_few_weights]
    return OTHER_WEIGHTS.format(together[0]) if together else NOT_SHOWN


def _is_small(weights: Tensor) -> bool:
    """Whether dynamic range leaves such weights alone: float32 values of 4 bytes, too few of them."""
    return weights.dtype == "float32" and weights.nbytes < 4 * DYNAMIC_RANGE_LEAST


def _verdict(
    graphs: tuple[TFLiteFile, ...],
    found: str,
    asked: str | None,
    computing: list[Leftover],
    islands: list[str],
) -> str:
    operators = ", ".join(islands)
    weights = Counter(
        tensor.dtype
        for graph in graphs
        for tensor, role in zip(graph.tensors, graph.roles, strict=True)
        if role == "weights" and tensor.nbytes
    )
    if found == DYNAMIC_RANGE:
        kept = f" ({weights['float32']} of {weights.total()} weight tensors stayed float32)"
        small = " and ".join(sorted(dtype for dtype in weights if dtype != "float32"))
        return f"dynamic range: weights {small}, activations float32{kept if weights['float32'] else ''}"
    if found == FLOAT16:
        return "float16 weights, computing in float32"
    if found == FLOAT32 and not computing:
        return "no float32, and nothing quantized"
    if found == FLOAT32:
        although = f", although {asked} quantization was asked for" if asked not in (None, FLOAT32) else ""
        return f"float32{although}{f' ({operators})' if islands else ''}"
    activations = Counter(tensor.dtype for graph in graphs for tensor in _integer_activations(graph))
    types = f"activations {' and '.join(sorted(activations))}"
    if weights:
        types = f"weights {' and '.join(sorted(weights))}, {types}"
    if islands:
        return f"integer with float32 islands ({operators}): {types}"
    if computing:
        return f"integer inside, float32 at its ends: {types}"
    return f"all integer: {types}"
