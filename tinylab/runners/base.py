"""What every runner has in common: specifications, and the way in and out of the integers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinylab.affine import AffineParams, dequantize, quantize
from tinylab.errors import DataError, ModelFileError, TinylabError
from tinylab.tflite_file import Tensor, TFLiteFile

# One array where a model has one input (or output), a sequence of arrays where it has several.
Arrays = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True)
class TensorSpec:
    """What goes into or comes out of a model.

    Attributes:
        name: the tensor's name in the file.
        shape: as in the file, the batch first.
        dtype: NumPy type of the file's own values.
        scale, zero_point: real = scale * (q - zero_point); None where the tensor is not quantized.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float | None
    zero_point: int | None

    @classmethod
    def of(cls, tensor: Tensor) -> "TensorSpec":
        """The specification of a tensor of a file."""
        try:
            dtype = np.dtype(tensor.dtype)
        except TypeError:
            raise ModelFileError(
                f"tensor {tensor.name}: values of type {tensor.dtype} cannot go in or out."
            ) from None
        params = None if tensor.per_channel or dtype.kind not in "iu" else tensor.params
        return cls(
            tensor.name,
            tensor.shape,
            dtype,
            params.scale if params else None,
            params.zero_point if params else None,
        )

    @property
    def params(self) -> AffineParams | None:
        """The two numbers and the dtype, as `tinylab.affine` takes them; None if not quantized."""
        return None if self.scale is None else AffineParams(self.scale, self.zero_point, self.dtype.name)


@dataclass(frozen=True)
class Trace:
    """A run with everything it computed.

    Attributes:
        outputs: what `predict_integers` returns.
        tensors: every tensor that the run computed, inputs and outputs included, by name, in the
            order in which they were computed; the file's own dtypes.
    """

    outputs: Arrays
    tensors: dict[str, np.ndarray]


class Runner(ABC):
    """A model that is ready to run."""

    engine: str
    _chunk: int  # samples in one invocation: enough to be fast, few enough for memory
    file: TFLiteFile
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(self, file: TFLiteFile):
        self.file = file
        # Whether a batch of any size can run; the file's own size can always.
        self._free_batch = all(file.tensors[i].free_batch for i in file.inputs)
        self.inputs = tuple(TensorSpec.of(file.tensors[i]) for i in file.inputs)
        self.outputs = tuple(TensorSpec.of(file.tensors[i]) for i in file.outputs)
        if len({spec.shape[:1] for spec in self.inputs}) > 1 or not self.inputs[0].shape:
            raise ModelFileError(
                f"{file.name}: its inputs have no common first axis for a batch: {_described(self.inputs)}."
            )

    def predict(self, x: Arrays) -> Arrays:
        """Run a batch, real numbers in and out.

        A quantized input is rounded to nearest and saturated on the way in (`affine.quantize`),
        a quantized output becomes real numbers on the way out.

        Args:
            x: real numbers (N, ...); a sequence of such arrays for a model with several inputs.

        Returns:
            float32 (N, ...) (the file's dtype where it is not quantized); a list of arrays for a
            model with several outputs.

        Raises:
            DataError: a wrong number of inputs or shape, NaN or infinity, or no numbers at all.
            ModelFileError: the engine stopped while running it.
        """
        outputs = self._run(self.in_own_types(x))
        real = [
            dequantize(q, s.params) if s.params else q for q, s in zip(outputs, self.outputs, strict=True)
        ]
        return _single(real)

    def in_own_types(self, x: Arrays) -> list[np.ndarray]:
        """Real numbers as the file takes them: rounded to nearest and saturated where it takes codes.

        Args:
            x: as for `predict`.

        Returns:
            An array (N, ...) of the file's dtype for each input, which `predict_integers` and `trace` take.

        Raises:
            DataError: as `predict`.
        """
        return [_converted(a, spec) for a, spec in zip(self._as_list(x), self.inputs, strict=True)]

    def predict_integers(self, q: Arrays) -> Arrays:
        """Run a batch in the file's own types, in and out: nothing is converted.

        Args:
            q: (N, ...) of exactly the input's dtype; a sequence for several inputs.

        Raises:
            DataError: a wrong number of inputs, dtype or shape.
            ModelFileError: the engine stopped while running it.
        """
        return _single(self._run(self._checked(q)))

    def trace(self, q: Arrays) -> Trace:
        """Like `predict_integers`, and every intermediate tensor with it.

        Raises:
            TinylabError: LiteRT's default kernels keep no intermediate tensors.
        """
        outputs, tensors = self._run_traced(self._checked(q))
        return Trace(_single(outputs), tensors)

    @abstractmethod
    def _invoke(self, part: list[np.ndarray]) -> list[np.ndarray]:
        """Run one batch; FixedInside if its size is not possible after all."""

    @abstractmethod
    def _invoke_traced(self, part: list[np.ndarray]) -> dict[int, np.ndarray]:
        """The same; every tensor of `file.computed` by its number."""

    def _restart(self) -> None:  # noqa: B027  (most engines have nothing to forget)
        """Forget a batch that failed."""

    def _run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Run checked inputs, each (N, ...) in the file's dtype, in batches where the file allows."""
        if self._free_batch:
            try:
                return self._run_chunks(inputs, self._chunk)
            except FixedInside:
                self._free_batch = False
                self._restart()
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
        outputs = self._invoke(part)
        if self._free_batch and any(output.shape[:1] != (count,) for output in outputs):
            raise FixedInside
        return [self._with_batch(*pair)[:count] for pair in zip(outputs, self.outputs, strict=True)]

    def _with_batch(self, output: np.ndarray, spec: TensorSpec) -> np.ndarray:
        """An output with an axis for the batch in front; one for a single sample may come without."""
        batch = self.inputs[0].shape[0]
        if self._free_batch or output.shape[:1] == (batch,):
            return output
        if batch > 1:
            raise ModelFileError(
                f"{self.file.name}: output {spec.name} {output.shape} has no axis for the batch of {batch}."
            )
        return output[np.newaxis]

    def _run_traced(self, inputs: list[np.ndarray]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """As `_run`, with every computed tensor by name."""
        outputs = self._run(inputs)  # finds out, too, whether the batch is as free as the file says
        batch = max(len(inputs[0]), 1) if self._free_batch else self.inputs[0].shape[0]
        if len(inputs[0]) % batch or not len(inputs[0]):
            raise TinylabError(f"trace takes a multiple of {batch} samples for this file.")
        runs = [
            self._invoke_traced([array[start : start + batch] for array in inputs])
            for start in range(0, len(inputs[0]), batch)
        ]
        tensors = {i: _joined([run[i] for run in runs]) for i in runs[0]}
        return outputs, {self._unique_name(i): t for i, t in tensors.items()}

    def _unique_name(self, index: int) -> str:
        name = self.file.tensors[index].name
        repeated = sum(self.file.tensors[i].name == name for i in set(self.file.computed)) > 1
        return f"{name}#{index}" if repeated else name

    def _as_list(self, x: Arrays) -> list[np.ndarray]:
        arrays = [x] if len(self.inputs) == 1 and not _is_list_of_one(x) else list(x)
        if len(arrays) != len(self.inputs):
            raise DataError(
                f"{len(arrays)} inputs given, {len(self.inputs)} expected: {_described(self.inputs)}."
            )
        arrays = [np.asarray(array) for array in arrays]
        for array, spec in zip(arrays, self.inputs, strict=True):
            _check_shape(array, spec)
        if len({len(array) for array in arrays}) > 1:
            raise DataError(f"inputs of different lengths: {[len(array) for array in arrays]}.")
        return arrays

    def _checked(self, q: Arrays) -> list[np.ndarray]:
        arrays = self._as_list(q)
        for array, spec in zip(arrays, self.inputs, strict=True):
            if array.dtype != spec.dtype:
                raise DataError(
                    f"input {spec.name}: {array.dtype} given, the file takes {spec.dtype}; "
                    "convert it, or use predict, which takes real numbers."
                )
        return arrays


class FixedInside(Exception):
    """A file that promises a free batch, with a fixed one somewhere inside."""


def _converted(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    if array.dtype.kind not in "fiub":
        raise DataError(f"input {spec.name}: numbers expected, {array.dtype} given.")
    if not np.isfinite(array).all():
        raise DataError(
            f"input {spec.name}: holds NaN or infinity; remove such samples or mend their source."
        )
    if spec.params:
        return quantize(array, spec.params)
    converted = array.astype(spec.dtype)
    if spec.dtype.kind in "iub" and not np.array_equal(converted, array):
        raise DataError(
            f"input {spec.name}: takes {spec.dtype}, and the given {array.dtype} do not fit in it."
        )
    return converted


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate([np.atleast_1d(part) for part in parts])


def _single(arrays: list[np.ndarray]) -> Arrays:
    return arrays[0] if len(arrays) == 1 else arrays


def _is_list_of_one(x: Arrays) -> bool:
    return isinstance(x, (list, tuple)) and len(x) == 1 and isinstance(x[0], np.ndarray)


def _described(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in specs)


def _check_shape(array: np.ndarray, spec: TensorSpec) -> None:
    expected = ", ".join(["N", *map(str, spec.shape[1:])])
    if array.ndim == 0 or array.shape[1:] != spec.shape[1:]:
        advice = ""
        if array.shape == spec.shape[1:]:
            advice = "; one sample needs a batch axis: x[np.newaxis]"
        elif (*array.shape[1:], 1) == spec.shape[1:]:
            advice = "; add the channel axis: x[..., np.newaxis]"
        raise DataError(f"input {spec.name}: shape {array.shape} given, ({expected}) expected{advice}.")
