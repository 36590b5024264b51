"""Where everything stands in a .tflite file: a walk through a FlatBuffer, byte by byte.

A FlatBuffer is a file that is read without being unpacked: whoever wants one number jumps to it.
It is made of a few things, one beside the other:

- The header: where the root table stands (4 bytes), and the identifier "TFL3" (4 bytes).
- Tables, the records: a model, a tensor, an operator. A table's first 4 bytes say how far before it
  its vtable stands; then come its fields. Numbers stand in the table itself. Of everything else an
  offset stands there: how many bytes further on, counted from the offset, the thing begins.
- Vtables, the tables' tables of contents. In numbers of 2 bytes: the vtable's own size, the table's
  size, and for each field (slot 0, slot 1, ...) its distance from the table's beginning; 0 stands
  for "not stored: take the default". Tables with the same contents share one vtable.
- Vectors: the number of elements (4 bytes), and the elements: numbers, or offsets of tables.
- Strings: the number of bytes (4 bytes), the text in UTF-8, and a zero byte.
- Alignment: a number of n bytes stands at a multiple of n, so that a processor can read it as it is.
  Zero bytes fill the gaps.

Which tables there are, and what their slots hold, a schema says. LiteRT's is
https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs; the part of
it that says where offsets lead is TABLES, below.
"""

import struct
from typing import NamedTuple

from ai_edge_litert import schema_py_generated as schema

HEADER_SIZE = 8
# Sharing lets a few bytes be read again and again, until a tiny file fills the memory. Files that a
# converter writes have nothing but vtables to share, and are read less than twice.
MOST_READS = 10
# Gaps between numbers have 7 bytes at most; between values behind the FlatBuffer the converter leaves
# up to 40. More zeros in a row than that are no alignment, but something that nothing leads to.
LONGEST_GAP = 63


class Outside:
    """Two numbers of 8 bytes, in this slot and the next: where in the file bytes stand, and how many.

    Files of more than 2 GB keep values that way, behind the FlatBuffer, where its offsets of 4 bytes
    do not reach.
    """


def names_of(enumeration: type) -> dict[int, str]:
    """An enumeration of the schema: names by number.

    >>> names_of(schema.QuantizationDetails)[1]
    'CustomQuantization'
    """
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


INDICES = names_of(schema.SparseIndexVector)

# Slot: what the offset there leads to. A number: a vector of elements of so many bytes. str: a string.
# "Tensor": such a table. ["Tensor"]: a vector of such tables. A dictionary: a table of the kind whose
# number stands in the slot before. Slots, and whole tables, that hold numbers only are left out.
TABLES: dict[str, dict[int, tuple[str, object]]] = {
    "Model": {
        1: ("operator_codes", ["OperatorCode"]),
        2: ("subgraphs", ["SubGraph"]),
        3: ("description", str),
        4: ("buffers", ["Buffer"]),
        5: ("metadata_buffer", 4),
        6: ("metadata", ["Metadata"]),
        7: ("signature_defs", ["SignatureDef"]),
        8: ("external_buffer_groups", ["ExternalBufferGroup"]),
        9: ("external_buffers", ["ExternalBuffer"]),
    },
    "OperatorCode": {1: ("custom_code", str)},
    "SubGraph": {
        0: ("tensors", ["Tensor"]),
        1: ("inputs", 4),
        2: ("outputs", 4),
        3: ("operators", ["Operator"]),
        4: ("name", str),
    },
    "Buffer": {0: ("data", 1), 1: ("data", Outside)},
    "Metadata": {0: ("name", str)},
    "SignatureDef": {0: ("inputs", ["TensorMap"]), 1: ("outputs", ["TensorMap"]), 2: ("signature_key", str)},
    "TensorMap": {0: ("name", str)},
    "ExternalBufferGroup": {0: ("name", str)},
    "ExternalBuffer": {4: ("packing", str)},
    # tensors
    "Tensor": {
        0: ("shape", 4),
        3: ("name", str),
        4: ("quantization", "QuantizationParameters"),
        6: ("sparsity", "SparsityParameters"),
        7: ("shape_signature", 4),
        9: ("variant_tensors", ["VariantSubType"]),
    },
    "VariantSubType": {0: ("shape", 4)},
    "QuantizationParameters": {
        0: ("min", 4),
        1: ("max", 4),
        2: ("scale", 4),
        3: ("zero_point", 8),
        5: ("details", names_of(schema.QuantizationDetails)),
    },
    "CustomQuantization": {0: ("custom", 1)},
    "BlockwiseQuantization": {3: ("block_shape", 4)},
    "MultiAxisQuantization": {3: ("quantized_dimensions", 4)},
    "SparsityParameters": {
        0: ("traversal_order", 4),
        1: ("block_map", 4),
        2: ("dim_metadata", ["DimensionMetadata"]),
    },
    "DimensionMetadata": {3: ("array_segments", INDICES), 5: ("array_indices", INDICES)},
    "Int32Vector": {0: ("values", 4)},
    "Uint16Vector": {0: ("values", 2)},
    "Uint8Vector": {0: ("values", 1)},
    # operators
    "Operator": {
        1: ("inputs", 4),
        2: ("outputs", 4),
        4: ("builtin_options", names_of(schema.BuiltinOptions)),
        5: ("custom_options", 1),
        7: ("mutating_variable_inputs", 1),
        8: ("intermediates", 4),
        9: ("large_custom_options", Outside),
        12: ("builtin_options_2", names_of(schema.BuiltinOptions2)),
    },
    "BucketizeOptions": {0: ("boundaries", 4)},
    "ConcatEmbeddingsOptions": {1: ("num_columns_per_channel", 4), 2: ("embedding_dim_per_channel", 4)},
    "FullyConnectedOptions": {5: ("quant_spec", 1)},
    "ReshapeOptions": {0: ("new_shape", 4)},
    "SqueezeOptions": {0: ("squeeze_dims", 4)},
    "VarHandleOptions": {0: ("container", str), 1: ("shared_name", str)},
    "StableHLOCompositeOptions": {0: ("name", str), 2: ("composite_attributes", 1)},
    "StablehloBroadcastInDimOptions": {0: ("broadcast_dimensions", 8)},
    "StablehloCaseOptions": {0: ("branch_subgraph_indices", 4)},
    "StablehloConvolutionOptions": {
        0: ("window_strides", 8),
        1: ("padding", 8),
        2: ("lhs_dilation", 8),
        3: ("rhs_dilation", 8),
        4: ("window_reversal", 1),
        7: ("input_spatial_dimensions", 8),
        10: ("kernel_spatial_dimensions", 8),
        13: ("output_spatial_dimensions", 8),
        16: ("precision_config", 4),
    },
    "StablehloCustomCallOptions": {
        0: ("call_target_name", str),
        2: ("backend_config", str),
        4: ("called_computations", 4),
        5: ("custom_attributes", 1),
    },
    "StablehloDotGeneralOptions": {
        0: ("lhs_batching_dimensions", 8),
        1: ("rhs_batching_dimensions", 8),
        2: ("lhs_contracting_dimensions", 8),
        3: ("rhs_contracting_dimensions", 8),
        4: ("precision_config", 4),
    },
    "StablehloDynamicSliceOptions": {0: ("slice_sizes", 8)},
    "StablehloGatherOptions": {
        0: ("offset_dims", 8),
        1: ("collapsed_slice_dims", 8),
        2: ("start_index_map", 8),
        4: ("slice_sizes", 8),
    },
    "StablehloPadOptions": {
        0: ("edge_padding_low", 8),
        1: ("edge_padding_high", 8),
        2: ("interior_padding", 8),
    },
    "StablehloReduceOptions": {0: ("dimensions", 8)},
    "StablehloReduceWindowOptions": {
        0: ("window_dimensions", 8),
        1: ("window_strides", 8),
        2: ("base_dilations", 8),
        3: ("window_dilations", 8),
        4: ("padding", 8),
    },
    "StablehloScatterOptions": {
        1: ("update_window_dims", 8),
        2: ("inserted_window_dims", 8),
        3: ("scatter_dims_to_operand_dims", 8),
    },
    "StablehloSliceOptions": {0: ("start_indices", 8), 1: ("limit_indices", 8), 2: ("strides", 8)},
    "StablehloTransposeOptions": {0: ("permutation", 8)},
}

# Where in the schema a table belongs: ("SubGraph", 0, "Tensor", 3) is tensor 3 of subgraph 0.
Path = tuple[str | int, ...]


class Piece(NamedTuple):
    """Neighbouring bytes of a file that are one thing.

    Attributes:
        start: position of the first byte.
        size: number of bytes, > 0.
        what: "header"; "vtable"; "string", with its length and zero byte; "Tensor": such a table, or
            the length of a vector that belongs to it; "Tensor.shape": the elements of that vector;
            "alignment": a gap of zero bytes, shorter than 64; "unknown": bytes that no offset of the
            schema leads to and that are no alignment.
        path: where it was found first.
    """

    start: int
    size: int
    what: str
    path: Path


def pieces(content: bytes) -> list[Piece]:
    """Take a .tflite file apart: every byte is in one piece, in order of position.

    Things that are referred to twice are in the list once. Two that overlap are refused.

    Raises:
        ValueError, struct.error: what an offset leads to lies outside the file, overlaps with
            something else, or unfolds into far more than the file.

    >>> empty_model = (
    ...     struct.pack("<I4s", 12, b"TFL3")  # the header: the root stands at position 12
    ...     + struct.pack("<HH", 4, 4)  # a vtable of 4 bytes, without fields, for a table of 4 bytes
    ...     + struct.pack("<i", 4)  # the root, a Model: its vtable stands 4 bytes before it
    ... )
    >>> [(piece.start, piece.size, piece.what) for piece in pieces(empty_model)]
    [(0, 8, 'header'), (8, 4, 'vtable'), (12, 4, 'Model')]
    """
    walk = _Walk(content)
    walk.claim(0, HEADER_SIZE, "header", ())
    walk.table(walk.target_of(0), "Model", ())
    return _with_gaps(content, sorted(walk.claimed.values()), walk.last_fields)


def _with_gaps(content: bytes, claimed: list[Piece], last_fields: dict[int, int]) -> list[Piece]:
    """Fill what no piece claims; the sum of all sizes is then that of the file."""
    complete, end = [], 0
    for piece in [*claimed, Piece(len(content), 0, "end", ())]:
        if piece.start < end and last_fields.get(complete[-1].start, end) < piece.start:
            # The size of a table may count bytes behind its last field that belong to what follows:
            # of two tables that share a vtable, one may have needed alignment there.
            complete[-1] = complete[-1]._replace(size=piece.start - complete[-1].start)
            end = piece.start
        if piece.start < end:
            raise ValueError(f"two things at position {piece.start}")
        if piece.start > end:
            gap = content[end : piece.start]
            aligned = len(gap) <= LONGEST_GAP and not any(gap)
            complete.append(Piece(end, len(gap), "alignment" if aligned else "unknown", ()))
        complete.append(piece)
        end = piece.start + piece.size
    return complete[:-1]


class _Walk:
    """Follows every offset from the root on, and claims the bytes that it meets.

    It ends: the schema leads from a table to other kinds of tables, never back, and what is read, as
    often as it is, must not exceed MOST_READS times the file.
    """

    def __init__(self, content: bytes):
        self.content = content
        self.claimed: dict[int, Piece] = {}
        self.last_fields: dict[int, int] = {}  # where each table's last field begins
        self.read = 0

    def claim(self, start: int, size: int, what: str, path: Path) -> None:
        if start + size > len(self.content):
            raise ValueError(f"position {start} and {size} bytes: outside the file")
        self.read += size
        if self.read > MOST_READS * len(self.content):
            raise ValueError("the same bytes are referred to again and again")
        if size and self.claimed.setdefault(start, Piece(start, size, what, path)).size != size:
            raise ValueError(f"two things at position {start}")

    def number(self, position: int, layout: str) -> int:
        if position < 0:  # struct would count it from the end
            raise ValueError(f"position {position}: outside the file")
        return struct.unpack_from("<" + layout, self.content, position)[0]

    def target_of(self, position: int) -> int:
        return position + self.number(position, "I")

    def table(self, start: int, name: str, path: Path) -> None:
        vtable = start - self.number(start, "i")
        vtable_size, size = self.number(vtable, "H"), self.number(vtable + 2, "H")
        if vtable_size < 4 or size < 4:
            raise ValueError(f"position {start}: no table")
        self.claim(vtable, vtable_size, "vtable", ())
        self.claim(start, size, name, path)
        distances = [self.number(vtable + entry, "H") for entry in range(4, vtable_size - 1, 2)]
        self.last_fields[start] = start + max(distances, default=0)

        def field(slot: int, width: int) -> int | None:
            """Where a field of so many bytes stands; None if it is not stored."""
            entry = 4 + 2 * slot
            distance = self.number(vtable + entry, "H") if entry + 2 <= vtable_size else 0
            if not distance:
                return None
            if distance + width > size:
                raise ValueError(f"position {start}: a field outside its table")
            return start + distance

        for slot, (label, target) in TABLES.get(name, {}).items():
            position = field(slot, 8 if target is Outside else 4)
            if position is None:
                continue
            if target is Outside:
                size_field = field(slot + 1, 8)
                begin, length = self.number(position, "Q"), size_field and self.number(size_field, "Q")
                if begin > 1 and length:  # 1 marks a place to be filled in
                    self.claim(begin, length, f"{name}.{label}", path)
            elif isinstance(target, dict):
                kind = field(slot - 1, 1)
                table = target.get(self.number(kind, "B"), "NONE") if kind else "NONE"
                if table != "NONE":
                    self.table(self.target_of(position), table, path)
            elif isinstance(target, list):
                self.tables(self.target_of(position), name, target[0], path)
            elif isinstance(target, str):
                self.table(self.target_of(position), target, path)
            elif target is str:
                string = self.target_of(position)
                self.claim(string, 4 + self.number(string, "I") + 1, "string", path)
            else:
                vector = self.target_of(position)
                self.claim(vector, 4, name, path)
                self.claim(vector + 4, target * self.number(vector, "I"), f"{name}.{label}", path)

    def tables(self, vector: int, owner: str, name: str, path: Path) -> None:
        """A vector of offsets, and the tables that they lead to."""
        length = self.number(vector, "I")
        self.claim(vector, 4 + 4 * length, owner, path)
        for i in range(length):
            self.table(self.target_of(vector + 4 + 4 * i), name, (*path, name, i))
