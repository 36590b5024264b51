"""Many samples at once through a file that was made for one.

Older files, and files for microcontrollers, have a batch of 1 in all their shapes. LiteRT runs them
sample by sample. Where every operator treats each sample by itself, the axis of the batch may as well
be longer; here stands which operators do.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinylab.runners.integer.graph import Node

Shapes = dict[int, tuple[int, ...]]


def for_any_batch(
    nodes: tuple[Node, ...], constants: dict[int, np.ndarray], shapes: Shapes
) -> tuple[Node, ...] | None:
    """The operators of a file for one sample, changed so that they run any number of samples at once.

    Args:
        constants: values by the number of their tensor.
        shapes: of every tensor that a run on one sample computed, its inputs included. They count, not
            those in the file, which LiteRT does not look at.

    Returns:
        None if some operator may mix samples, or count them.
    """
    if any(shape[:1] != (1,) for shape in shapes.values()):
        return None
    changed = tuple(_for_any_batch(node, constants, shapes) for node in nodes)
    return None if None in changed else changed


def _for_any_batch(node: Node, constants: dict[int, np.ndarray], shapes: Shapes) -> Node | None:
    """The same for one operator; every tensor that is computed has a first axis of length 1."""
    stored = [None if tensor is None else constants.get(tensor.index) for tensor in node.inputs]
    if stored[0] is not None:
        return None
    if node.name == "RESHAPE":  # whatever the file says: the first axis is the batch
        target = schema.ReshapeOptionsT()
        target.newShape = np.array([-1, *shapes[node.outputs[0].index][1:]])
        return replace(node, inputs=(node.inputs[0], None), options=target)
    operands = [
        Operand(values, shapes[tensor.index] if values is None else values.shape)
        for tensor, values in zip(node.inputs, stored, strict=True)
        if tensor is not None
    ]
    apart = node.name in APART and APART[node.name](node, operands, len(shapes[node.outputs[0].index]))
    return node if apart else None


class Operand(NamedTuple):
    """An input of an operator: its values if they are constant, or None; and its shape."""

    values: np.ndarray | None
    shape: tuple[int, ...]


def _alone(node: Node, operands: list[Operand], rank: int) -> bool:
    """Nothing that is computed comes in beside the first input."""
    return all(operand.values is not None for operand in operands[1:])


def _aligned(node: Node, operands: list[Operand], rank: int) -> bool:
    """The batch is the first axis of all that is computed, and no constant has an axis there."""
    return all(
        len(shape) == rank if values is None else len(shape) < rank or shape[0] == 1
        for values, shape in operands
    )


def _joined(node: Node, operands: list[Operand], rank: int) -> bool:
    computed = all(operand.values is None for operand in operands)
    return computed and node.options.axis not in (0, -rank)


def _reduced(node: Node, operands: list[Operand], rank: int) -> bool:
    x, axes = operands
    return axes.values is not None and not {0, -len(x.shape)} & set(axes.values.ravel().tolist())


def _softmax(node: Node, operands: list[Operand], rank: int) -> bool:
    return rank > 1  # or the batch would be what the probabilities are spread over


def _padded(node: Node, operands: list[Operand], rank: int) -> bool:
    margins = operands[1].values
    return margins is not None and not margins[:1].any()


def _transposed(node: Node, operands: list[Operand], rank: int) -> bool:
    order = operands[1].values
    return order is not None and order[:1].tolist() == [0]


# The operators that can treat each sample by itself, and whether a given one does: (node, its inputs, the
# number of its output's axes).
APART = {
    **dict.fromkeys(
        (
            "CONV_2D",
            "DEPTHWISE_CONV_2D",
            "FULLY_CONNECTED",
            "AVERAGE_POOL_2D",
            "MAX_POOL_2D",
            "LOGISTIC",
            "TANH",
            "RELU",
            "RELU6",
            "LEAKY_RELU",
            "HARD_SWISH",
            "QUANTIZE",
            "DEQUANTIZE",
            "RESIZE_NEAREST_NEIGHBOR",
        ),
        _alone,
    ),
    **dict.fromkeys(("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"), _aligned),
    "SOFTMAX": _softmax,
    "CONCATENATION": _joined,
    **dict.fromkeys(("MEAN", "REDUCE_MAX"), _reduced),
    **dict.fromkeys(("PAD", "PADV2"), _padded),
    "TRANSPOSE": _transposed,
}
