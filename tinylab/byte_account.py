"""Where every byte of a .tflite file went.

`flatbuffer.pieces` takes the file apart; here each piece is put under one kind, by what it is for:

- "weights int8", "biases int32", "other constants int32", ...: values of tensors, by what an operator
  does with them (`TFLiteFile.roles`) and their dtype. Shapes and axes are "other constants".
- "scales and zero points": 4 + 8 bytes a quantized tensor, or a channel of it.
- "tensors": what describes them: tables, shapes.
- "operators": which, with which options, reading and writing which tensors.
- "names": of tensors, signatures, subgraphs, metadata: strings, with their length and zero byte.
- "metadata": what the converter noted, such as the oldest runtime that can run the file.
- "sparsity": which weights are stored, where zeros are left out.
- "bookkeeping": tables of contents (vtables), lists of offsets, the lengths of buffers.
- "alignment": zero bytes in the gaps.
- "values of no tensor": buffers that nothing reads.
- "unknown": bytes that nothing in the file leads to, such as an archive appended to it.

The sum over the kinds is the size of the file: a byte is in one piece, and in one only.
"""

from collections import Counter
from dataclasses import dataclass
from os import PathLike

from ai_edge_litert import schema_py_generated as schema

from tinylab.flatbuffer import Piece, pieces
from tinylab.tflite_file import TFLiteFile, damage_reported, read, subgraphs

VALUES = "Buffer.data"
SCALES = {f"QuantizationParameters.{name}": "scales and zero points" for name in ("scale", "zero_point")}
TABLES = {
    "Tensor": "tensors",
    "QuantizationParameters": "tensors",
    "CustomQuantization": "tensors",
    "BlockwiseQuantization": "tensors",
    "MultiAxisQuantization": "tensors",
    "VariantSubType": "tensors",
    "SparsityParameters": "sparsity",
    "DimensionMetadata": "sparsity",
    "Int32Vector": "sparsity",
    "Uint16Vector": "sparsity",
    "Uint8Vector": "sparsity",
    "Operator": "operators",
    "OperatorCode": "operators",
    "Metadata": "metadata",
}
AS_THEY_ARE = {"string": "names", "alignment": "alignment", "unknown": "unknown"}
VALUE_KINDS = {"weights": "weights", "bias": "biases"}
UNREAD = "values of no tensor"


@dataclass(frozen=True)
class TensorBytes:
    """What one tensor takes up.

    Attributes:
        subgraph, index: its place in the file.
        name, role, dtype, shape: as in `TFLiteFile`.
        values: bytes of its values; tensors that share a buffer have the same ones.
        scales: bytes of its scales and zero points.
        description: bytes of its table, shape and name. What contents its table has (a vtable) is
            left out: tensors share it.
    """

    subgraph: int
    index: int
    name: str
    role: str
    dtype: str
    shape: tuple[int, ...]
    values: int
    scales: int
    description: int


@dataclass(frozen=True)
class Account:
    """Every byte of a file, by kind.

    Attributes:
        size: of the file; the sum of bytes_by_kind.
        bytes_by_kind: largest first.
        tensors: what each tensor takes up, subgraph by subgraph.
    """

    size: int
    bytes_by_kind: dict[str, int]
    tensors: tuple[TensorBytes, ...]


def account(model: bytes | str | PathLike) -> Account:
    """Account for every byte of a .tflite file.

    Args:
        model: the file's bytes, or its path.

    Raises:
        ModelFileError: not a .tflite, cut short, inconsistent, or parts of it overlap.
    """
    content, name = read(model)
    graphs = subgraphs(content)
    with damage_reported(content, name):
        parts = pieces(content)
        uses = _uses(schema.Model.GetRootAs(content, 0), graphs)
    sizes = Counter()
    for part in parts:
        sizes[_kind(part, uses)] += part.size
    return Account(len(content), dict(sizes.most_common()), _tensors(graphs, parts))


def _uses(model: schema.Model, graphs: tuple[TFLiteFile, ...]) -> dict[int, str]:
    """The kind of each buffer's values: those of weights are weights, whatever else reads them."""
    uses = {model.Metadata(i).Buffer(): "metadata" for i in range(model.MetadataLength())}
    stored = [
        (VALUE_KINDS.get(role, "other constants"), tensor)
        for graph in graphs
        for tensor, role in zip(graph.tensors, graph.roles, strict=True)
        if tensor.nbytes
    ]
    for kinds in (("other constants",), ("biases",), ("weights",)):
        uses |= {tensor.buffer: f"{kind} {tensor.dtype}" for kind, tensor in stored if kind in kinds}
    return uses


def _kind(piece: Piece, uses: dict[int, str]) -> str:
    if piece.what == VALUES:
        return uses.get(piece.path[1], UNREAD)
    table = piece.what.split(".")[0]
    known = SCALES.get(piece.what) or AS_THEY_ARE.get(table) or TABLES.get(table)
    return known or ("operators" if table.endswith("Options") else "bookkeeping")


def _tensors(graphs: tuple[TFLiteFile, ...], parts: list[Piece]) -> tuple[TensorBytes, ...]:
    values = Counter({part.path[1]: part.size for part in parts if part.what == VALUES})
    scales, descriptions = Counter(), Counter()
    for part in parts:
        if part.path[2:3] == ("Tensor",):
            of_which = scales if part.what in SCALES else descriptions
            of_which[part.path[1], part.path[3]] += part.size
    return tuple(
        TensorBytes(
            subgraph=number,
            index=tensor.index,
            name=tensor.name,
            role=role,
            dtype=tensor.dtype,
            shape=tensor.shape,
            values=values[tensor.buffer],
            scales=scales[number, tensor.index],
            description=descriptions[number, tensor.index],
        )
        for number, graph in enumerate(graphs)
        for tensor, role in zip(graph.tensors, graph.roles, strict=True)
    )
