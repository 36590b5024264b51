"""Engine "litert": Google's own interpreter, with a choice of kernels.

The same operator has several implementations, and they do not always agree to the last bit:
"default" is what an application gets (XNNPACK where it can), "optimized" is the built-in code
without XNNPACK, "reference" is the plain code that the others are measured against.
"""

import time
from os import PathLike

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tinylab import tflite_file
from tinylab.errors import DataError, ModelFileError, TinylabError
from tinylab.quiet import quiet
from tinylab.runners.base import Arrays, FixedInside, Runner
from tinylab.tflite_file import TFLiteFile

KERNELS = {
    "default": OpResolverType.AUTO,
    "optimized": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
THREADS = 1  # so that latencies can be compared


def interpreter(model: bytes | str | PathLike, kernels: str = "default") -> Interpreter:
    """LiteRT's interpreter itself, one thread, its tensors allocated (again does no harm).

    Args:
        model: a .tflite file's bytes, or its path.
        kernels: "default", "optimized" or "reference".

    Raises:
        ModelFileError: not a .tflite, damaged, or with an operator that LiteRT lacks.
        TinylabError: no such kernels.
    """
    return _interpreter(tflite_file.parse(model), tflite_file.read(model)[0], kernels)


def _interpreter(
    file: TFLiteFile, content: bytes, kernels: str, keep_all_tensors: bool = False
) -> Interpreter:
    if kernels not in KERNELS:
        raise TinylabError(f"no kernels {kernels!r}: there are {', '.join(KERNELS)}.")
    with quiet() as held_back:
        try:
            made = Interpreter(
                model_content=content,
                num_threads=THREADS,
                experimental_op_resolver_type=KERNELS[kernels],
                experimental_preserve_all_tensors=keep_all_tensors,
            )
            made.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelFileError(f"{file.name}: LiteRT refuses it: {_reason(error, held_back())}") from error
    return made


def _reason(error: Exception, chatter: str) -> str:
    """The one line of LiteRT's complaint that says why."""
    lines = [line.strip() for line in f"{error}\n{chatter}".splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    if "XNNPACK" in reason:
        reason += " The default kernels do not take it; kernels='reference' may. Is a range far too wide?"
    return reason


class LiteRTRunner(Runner):
    """A model on LiteRT's interpreter, one thread, in batches where the file allows."""

    engine = "litert"
    _chunk = 256

    def __init__(self, model: bytes | str | PathLike, kernels: str):
        self._content, _ = tflite_file.read(model)
        super().__init__(tflite_file.parse(model))
        self.kernels = kernels
        self._interpreter = _interpreter(self.file, self._content, kernels)
        self._keeping: Interpreter | None = None  # made when a trace is asked for

    def seconds(self, q: Arrays, invocations: int) -> float:
        """Wall time of one inference of one sample, a mean over so many in a row, in seconds."""
        inputs = self._checked(q)
        if not self._free_batch and self.inputs[0].shape[0] != len(inputs[0]):
            raise DataError(
                f"{self.file.name} takes batches of {self.inputs[0].shape[0]}: only a file whose batch is "
                "free, or 1, can be timed on one sample."
            )
        self._run_on(self._interpreter, inputs)
        started = time.perf_counter()
        for _ in range(invocations):
            self._interpreter.invoke()
        return (time.perf_counter() - started) / invocations

    def _restart(self) -> None:
        # anew, because this one stays at the batch that failed
        self._interpreter = _interpreter(self.file, self._content, self.kernels)
        self._keeping = None

    def _invoke(self, part: list[np.ndarray]) -> list[np.ndarray]:
        self._run_on(self._interpreter, part)
        return [self._interpreter.get_tensor(i) for i in self.file.outputs]

    def _run_traced(self, inputs: list[np.ndarray]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        if self.kernels == "default":
            raise TinylabError(
                "trace needs kernels='reference' or 'optimized': XNNPACK, in the default ones, merges "
                "operators and keeps no intermediate tensors."
            )
        return super()._run_traced(inputs)

    def _invoke_traced(self, part: list[np.ndarray]) -> dict[int, np.ndarray]:
        if self._keeping is None:
            self._keeping = _interpreter(self.file, self._content, self.kernels, keep_all_tensors=True)
        self._run_on(self._keeping, part)
        return {i: self._keeping.get_tensor(i) for i in dict.fromkeys(self.file.computed)}

    def _run_on(self, target: Interpreter, part: list[np.ndarray]) -> None:
        try:
            if self._free_batch and len(target.tensor(self.file.inputs[0])()) != len(part[0]):
                for index, array in zip(self.file.inputs, part, strict=True):
                    target.resize_tensor_input(index, array.shape)
                with quiet():
                    target.allocate_tensors()
            for index, array in zip(self.file.inputs, part, strict=True):
                target.set_tensor(index, array)
            target.invoke()
        except RuntimeError as error:
            if self._free_batch and len(part[0]) > 1:
                raise FixedInside from error
            raise ModelFileError(f"{self.file.name}: LiteRT stopped: {_reason(error, '')}") from error
        except KeyboardInterrupt:
            self._restart()  # between resizing and allocating, this one could not be used any more
            raise
