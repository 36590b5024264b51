"""What exercise 06 gives to learners, and how it runs networks on their kernels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylab import runners
from tinylab.affine import AffineParams
from tinylab.runners.integer.operators import OPERATORS

OWN = ("AVERAGE_POOL_2D", "ADD", "DEPTHWISE_CONV_2D")  # what the learner writes


class Params(AffineParams):
    """The same, in a few words where a message says what was given."""

    def __repr__(self) -> str:
        scale = f"{self.scale:.9g}" if np.ndim(self.scale) == 0 else f"{len(self.scale)} scales"
        return f"({scale}, {self.zero_point})"


@dataclass(frozen=True)
class Faulty:
    """The engine's kernel of an operator, with a fault: some codes are one too small."""

    operator: str

    def __call__(self, *arguments: Any) -> np.ndarray:
        """Compute what the kernel computes, and spoil every code that can be divided by 5."""
        codes = OPERATORS[self.operator].kernel(*arguments)
        return np.where(codes % 5 == 0, codes - 1, codes)


def traced(content: bytes, codes: np.ndarray, kernels: Mapping[str, Callable]) -> dict[str, np.ndarray]:
    """The tensors of a network on our engine, with these kernels in place of its own, by name."""
    return runners.load(content, engine="integer", kernels=kernels).trace(codes).tensors


def tensors_on_own_kernels(function: Callable, content: bytes, codes: np.ndarray) -> Any:
    """The tensors of a network that runs on a learner's kernels, by name; or why it cannot, as text."""
    kernels = function()
    return _unusable(kernels) or traced(content, codes, kernels)


def _unusable(kernels: Any) -> str | None:
    """Why these are no kernels of the learner's own; None if they are."""
    expected = f"expected  a dictionary of your functions for {', '.join(OWN)}\ngot       "
    if kernels is None:
        return f"{expected}None: is there a return at the end of the function?"
    if not isinstance(kernels, Mapping):
        return f"{expected}{type(kernels).__name__}"
    for name in OWN:
        if name not in kernels:
            return f"{expected}none for {name}"
        if not callable(kernels[name]):
            return f"{expected}{type(kernels[name]).__name__} for {name}: the function itself, without ()"
        if kernels[name] is OPERATORS[name].kernel:
            return f"{expected}the engine's own kernel for {name}"
    if len({id(kernels[name]) for name in OWN}) < len(OWN):
        return f"{expected}one function for two of them"
    return None
