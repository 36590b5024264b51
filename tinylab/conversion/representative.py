"""Representative data: what they may look like, and what must not be wrong with them."""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tinylab._tensorflow import tf
from tinylab.conversion.source import Arrays, Input, Source
from tinylab.errors import DataError, RepresentativeDataWarning

# Inputs scaled to 0..1, -1..1 or unit variance stay below this; pixels of 0 to 255 do not.
LARGEST_USUAL_INPUT = 16.0


def samples_of(data: Any, source: Source) -> list[Arrays]:
    """Representative data as a list of samples, each with an array (1, ...) for every input."""
    if callable(data):
        data = data()
    if not isinstance(data, Iterable):
        raise DataError(f"representative data: an array, a Dataset or a function expected, not {data!r}.")
    if isinstance(data, tf.data.Dataset) and data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise DataError("representative data: this Dataset never ends; take some of it: dataset.take(100).")
    if isinstance(data, (np.ndarray, tf.Tensor)) or hasattr(data, "__array__"):
        batches: Iterator = iter([[np.asarray(data)]])
    else:
        batches = (_without_labels(item, source) for item in data)
    samples = [sample for batch in batches for sample in _split(batch, source)]
    if not samples:
        raise DataError(
            "representative data: empty; about 100 inputs, prepared as for training, are expected."
        )
    largest = max(
        (float(np.abs(a).max()) for sample in samples for a in sample.values() if a.dtype.kind == "f"),
        default=0.0,
    )
    if largest > LARGEST_USUAL_INPUT and not source.scales_its_input:
        warnings.warn(
            f"representative data: values up to {largest:g}. Were the training data not scaled, to 0..1 say? "
            "Prepare these exactly as those, or the ranges will be wrong.",
            RepresentativeDataWarning,
            stacklevel=3,
        )
    return samples


def _without_labels(item: Any, source: Source) -> list[np.ndarray]:
    """One item of a data set as a list of arrays, one an input; what follows those are labels."""
    if isinstance(item, tuple) and item and isinstance(item[0], (dict, tuple)):
        item = item[0]
    if isinstance(item, dict):
        item = [item[name] for name, _, _ in source.inputs if name in item]
    elif not isinstance(item, (list, tuple)):
        item = [item]
    return [np.asarray(array) for array in item[: len(source.inputs)]]


def _split(batch: list[np.ndarray], source: Source) -> Iterator[Arrays]:
    if len(batch) != len(source.inputs):
        names = ", ".join(name for name, _, _ in source.inputs)
        raise DataError(
            f"representative data: {len(batch)} arrays given, {len(source.inputs)} expected ({names})."
        )
    checked = {spec.name: _checked(array, spec) for array, spec in zip(batch, source.inputs, strict=True)}
    lengths = [len(array) for array in checked.values()]
    if len(set(lengths)) > 1:
        raise DataError(f"representative data: inputs of different lengths: {lengths}.")
    for i in range(lengths[0]):
        yield {name: array[i : i + 1] for name, array in checked.items()}


def _checked(array: np.ndarray, expected_input: Input) -> np.ndarray:
    name, shape, dtype = expected_input
    given = array.shape
    if array.ndim == len(shape) - 1:
        array = array[np.newaxis]  # one sample, not a batch
    expected = ", ".join(["N", *map(str, shape[1:])])
    if array.ndim == 0 or array.shape[1:] != shape[1:]:
        advice = "; add the channel axis: x[..., np.newaxis]" if (*given[1:], 1) == shape[1:] else ""
        raise DataError(
            f"representative data for {name}: shape {given} given, ({expected}) expected{advice}."
        )
    if array.dtype.kind not in ("f" if dtype.kind == "f" else "iub"):
        advice = "; prepare them as for training, for instance images.astype('float32') / 255"
        raise DataError(
            f"representative data for {name}: {array.dtype} given, {dtype} expected"
            f"{advice if dtype.kind == 'f' else ''}."
        )
    if not np.isfinite(array).all():
        raise DataError(f"representative data for {name}: hold NaN or infinity; remove such samples.")
    return array.astype(dtype)
