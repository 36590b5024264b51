"""Runners: three engines for .tflite models behind one interface.

    runner = load(model)                     # bytes or a path
    probabilities = runner.predict(images)   # real numbers in, real numbers out

This release has the engine "litert" (Google's interpreter, with a choice of kernels).
"""

from os import PathLike

from tinylab.errors import TinylabError
from tinylab.runners.base import Runner, TensorSpec, Trace
from tinylab.runners.litert import KERNELS, LiteRTRunner, interpreter

__all__ = ["ENGINES", "KERNELS", "Runner", "TensorSpec", "Trace", "interpreter", "load"]

ENGINES = ("litert",)


def load(model: bytes | str | PathLike, engine: str = "litert", kernels: str = "default") -> Runner:
    """Make a runner for a model.

    Args:
        model: a .tflite file's bytes, or its path.
        engine: "litert".
        kernels: which of LiteRT's implementations of the operators to use: "default" (XNNPACK
            where it can), "optimized" (built-in, no XNNPACK), "reference" (plain, the yardstick).

    Raises:
        ModelFileError: not a .tflite, damaged, or with an operator that the engine lacks.
        TinylabError: no such engine or kernels.
    """
    if engine not in ENGINES:
        raise TinylabError(f"no engine {engine!r} in this release: there is {', '.join(ENGINES)}.")
    return LiteRTRunner(model, kernels)
