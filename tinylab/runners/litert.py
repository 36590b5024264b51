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
from tinylab.runners.base import Runner
from tinylab.tflite_file import TFLiteFile

KERNELS = {
    "default": OpResolverType.AUTO,
    "optimized": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
THREADS = 1  # so that latencies can be compared
CHUNK = 256  # samples in one invocation: large enough to be fast, small enough for memory


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

    def __init__(self, model: bytes | str | PathLike, kernels: str):
        self._content, _ = tflite_file.read(model)
        super().__init__(tflite_file.parse(model))
        self.kernels = kernels
        self._interpreter = _interpreter(self.file, self._content, kernels)
        self._free_batch = all(self.file.tensors[i].free_batch for i in self.file.inputs)

    def seconds(self, q: np.ndarray, invocations: int) -> float:
        """Wall time of one inference of one sample, a mean over so many in a row, in seconds."""
        inputs = self._checked(q)
        if not self._free_batch and self.inputs[0].shape[0] != len(q):
            raise DataError(
                f"{self.file.name} takes batches of {self.inputs[0].shape[0]}: only a file whose batch is "
                "free, or 1, can be timed on one sample."
            )
        self._invoke(self._interpreter, inputs)
        started = time.perf_counter()
        for _ in range(invocations):
            self._interpreter.invoke()
        return (time.perf_counter() - started) / invocations

    def _run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        if self._free_batch:
            try:
                return self._run_chunks(inputs, CHUNK)
            except _FixedInside:
                self._free_batch = False
                # anew, because this one stays at the batch that failed
                self._interpreter = _interpreter(self.file, self._content, self.kernels)
        return self._run_chunks(inputs, self.inputs[0].shape[0])

    def _run_chunks(self, inputs: list[np.ndarray], chunk: int) -> list[np.ndarray]:
        results: list[list[np.ndarray]] = []
        for start in range(0, len(inputs[0]), chunk):
            part = [array[start : start + chunk] for array in inputs]
            results.append(self._run_chunk(part, chunk))
        if not results:
            return [np.empty((0, *spec.shape[1:]), spec.dtype) for spec in self.outputs]
        return [np.concatenate(parts) for parts in zip(*results, strict=True)]

    def _run_chunk(self, part: list[np.ndarray], chunk: int) -> list[np.ndarray]:
        count = len(part[0])
        if not self._free_batch and count < chunk:  # fill up what the file wants to have full
            part = [np.concatenate([array, np.repeat(array[-1:], chunk - count, axis=0)]) for array in part]
        self._invoke(self._interpreter, part)
        outputs = [self._interpreter.get_tensor(i) for i in self.file.outputs]
        if self._free_batch and any(output.shape[:1] != (count,) for output in outputs):
            raise _FixedInside
        return [output[:count] for output in outputs]

    def _invoke(self, target: Interpreter, part: list[np.ndarray]) -> None:
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
                raise _FixedInside from error
            raise ModelFileError(f"{self.file.name}: LiteRT stopped: {_reason(error, '')}") from error

    def _run_traced(self, inputs: list[np.ndarray]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        if self.kernels == "default":
            raise TinylabError(
                "trace needs kernels='reference' or 'optimized': XNNPACK, in the default ones, merges "
                "operators and keeps no intermediate tensors."
            )
        self._run(inputs)  # finds out whether the batch is as free as the file says
        keeping = _interpreter(self.file, self._content, self.kernels, keep_all_tensors=True)
        batch = max(len(inputs[0]), 1) if self._free_batch else self.inputs[0].shape[0]
        if len(inputs[0]) % batch or not len(inputs[0]):
            raise TinylabError(f"trace takes a multiple of {batch} samples for this file.")
        runs = []
        for start in range(0, len(inputs[0]), batch):
            self._invoke(keeping, [array[start : start + batch] for array in inputs])
            runs.append({i: keeping.get_tensor(i) for i in dict.fromkeys(self.file.computed)})
        tensors = {i: _joined([run[i] for run in runs]) for i in runs[0]}
        return [tensors[i] for i in self.file.outputs], {self._unique_name(i): t for i, t in tensors.items()}

    def _unique_name(self, index: int) -> str:
        name = self.file.tensors[index].name
        repeated = sum(self.file.tensors[i].name == name for i in set(self.file.computed)) > 1
        return f"{name}#{index}" if repeated else name


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate([np.atleast_1d(part) for part in parts])


class _FixedInside(Exception):
    """A file that promises a free batch, with a fixed one somewhere inside."""
