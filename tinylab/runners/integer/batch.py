"""Many samples at once through a file that was made for one.

Older files, and files for microcontrollers, have a batch of 1 in all their shapes. LiteRT runs them
sample by sample. Where every operator treats each sample by itself, the axis of the batch may as well
be longer; here stands which operators do.
"""

from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinylab.runners.integer.graph import Node
from tinylab.tflite_file import TFLiteFile


def for_any_batch(
    file: TFLiteFile, nodes: tuple[Node, ...], constants: dict[int, np.ndarray]
) -> tuple[Node, ...] | None:
    """The operators of a file for one sample, changed so that they run any number of samples at once.

    Returns:
        None if some operator may mix samples, or count them.
    """
    if not all(file.tensors[i].shape[:1] == (1,) for i in file.computed):
        return None
    changed = tuple(_for_any_batch(node, constants) for node in nodes)
    return None if None in changed else changed


def _for_any_batch(node: Node, constants: dict[int, np.ndarray]) -> Node | None:
    """The same for one operator; every tensor that is computed has a first axis of length 1."""
    stored = [None if tensor is None else constants.get(tensor.index) for tensor in node.inputs]
    if stored[0] is not None:
        return None
    if node.name == "RESHAPE":  # whatever the file says: the first axis is the batch
        target = schema.ReshapeOptionsT()
        target.newShape = np.array([-1, *node.outputs[0].shape[1:]])
        return replace(node, inputs=(node.inputs[0], None), options=target)
    return node if node.name in APART and APART[node.name](node, stored) else None


def _alone(node: Node, stored: list) -> bool:
    """Nothing that is computed comes in beside the first input."""
    return all(t is None or c is not None for t, c in zip(node.inputs[1:], stored[1:], strict=True))


def _dense(node: Node, stored: list) -> bool:
    """One row of weighted sums for each sample."""
    return _alone(node, stored) and (len(node.outputs[0].shape) == 2 or node.options.keepNumDims)


def _aligned(node: Node, stored: list) -> bool:
    """The batch is the first axis of all that is computed, and no constant has an axis there."""
    rank = len(node.outputs[0].shape)
    pairs = zip(node.inputs, stored, strict=True)
    return all(len(t.shape) == rank if c is None else c.ndim < rank or c.shape[0] == 1 for t, c in pairs)


def _joined(node: Node, stored: list) -> bool:
    return all(c is None for c in stored) and not _is_batch(node.options.axis, node)


def _reduced(node: Node, stored: list) -> bool:
    return stored[1] is not None and not any(_is_batch(axis, node) for axis in stored[1].ravel())


def _is_batch(axis: int, node: Node) -> bool:
    """Whether an axis of the first input is that of the batch."""
    return axis in (0, -len(node.inputs[0].shape))


# The operators that can treat each sample by itself, and whether a given one does: (node, the values of
# its inputs, None for those that are computed).
APART = {
    **dict.fromkeys(
        (
            *("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "SOFTMAX", "LOGISTIC"),
            *("TANH", "RELU", "RELU6", "LEAKY_RELU", "HARD_SWISH", "QUANTIZE", "DEQUANTIZE"),
        ),
        _alone,
    ),
    **dict.fromkeys(("ADD", "SUB", "MUL"), _aligned),
    "FULLY_CONNECTED": _dense,
    "CONCATENATION": _joined,
    "MEAN": _reduced,
    "PAD": lambda node, stored: stored[1] is not None and not stored[1][:1].any(),
    "TRANSPOSE": lambda node, stored: stored[1] is not None and stored[1][:1].tolist() == [0],
}
