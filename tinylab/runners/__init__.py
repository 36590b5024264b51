"""Runners: three engines for .tflite models behind one interface.

    runner = load(model)                     # bytes or a path
    probabilities = runner.predict(images)   # real numbers in, real numbers out

Engine "litert" is Google's interpreter, with a choice of kernels; engine "integer" is our own,
in NumPy, to be read: it answers to the bit what LiteRT's reference kernels answer. Engine "micro" is
the interpreter that runs on microcontrollers, where its package exists.
"""

from collections.abc import Mapping
from os import PathLike

from tinylab.errors import TinylabError
from tinylab.runners.base import Runner, TensorSpec, Trace
from tinylab.runners.integer import IntegerRunner
from tinylab.runners.integer.operators import Kernel
from tinylab.runners.litert import KERNELS, LiteRTRunner, interpreter
from tinylab.runners.micro import MicroRunner

__all__ = ["ENGINES", "KERNELS", "Runner", "TensorSpec", "Trace", "interpreter", "load"]

ENGINES = ("litert", "integer", "micro")


def load(
    model: bytes | str | PathLike,
    engine: str = "litert",
    kernels: str | Mapping[str, Kernel] = "default",
) -> Runner:
    """Make a runner for a model.

    Args:
        model: a .tflite file's bytes, or its path.
        engine: "litert", "integer" or "micro".
        kernels: for "litert", which of LiteRT's implementations of the operators to use: "default" (XNNPACK
            where it can), "optimized" (built-in, no XNNPACK), "reference" (plain, the yardstick).
            For "integer", your own functions in place of `tinylab.runners.integer.kernels`, by the
            operator's name, such as {"ADD": my_add}.

    Raises:
        ModelFileError: not a .tflite, damaged, or with an operator that the engine lacks.
        TinylabError: no such engine or kernels; engine="micro" where there is no package for it.
    """
    if engine not in ENGINES:
        raise TinylabError(f"no engine {engine!r} in this release: there are {', '.join(ENGINES)}.")
    if engine == "integer":
        if isinstance(kernels, str) and kernels != "default":
            raise TinylabError(f"kernels={kernels!r} belongs to engine='litert'.")
        return IntegerRunner(model, {} if isinstance(kernels, str) else kernels)
    if engine == "micro":
        if kernels != "default":
            raise TinylabError("engine='micro' has kernels of its own: leave out kernels.")
        return MicroRunner(model)
    if not isinstance(kernels, str):
        raise TinylabError("kernels of your own need engine='integer'.")
    return LiteRTRunner(model, kernels)
