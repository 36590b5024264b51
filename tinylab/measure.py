"""Judging models: size, accuracy, latency, and several of them side by side.

A latency means something only with its conditions, so they are kept beside it: kernels, threads
and processor.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

import numpy as np
import pandas as pd

from tinylab import runners, tflite_file
from tinylab.errors import DataError
from tinylab.machine import processor
from tinylab.progress import progress
from tinylab.runners.litert import THREADS, LiteRTRunner

Model = bytes | str | PathLike

ROUNDS = 30  # each model is timed once a round, so a noisy moment strikes all of them
SLICE_SECONDS = 0.003  # how long a model is timed in a round
NO_CLASS = -1  # what a model has chosen whose outputs are no numbers


def size(model: Model) -> int:
    """Size of a .tflite file in bytes.

    Raises:
        ModelFileError: not a .tflite.
    """
    return len(tflite_file.read(model)[0])


def accuracy(model: Model | runners.Runner, x: np.ndarray, labels: np.ndarray) -> float:
    """Share of samples whose most probable class is the right one, 0 to 1.

    Args:
        model: a .tflite file's bytes or path, or a runner.
        x: real numbers (N, ...).
        labels: integers (N,), compared with `chosen` of the model's outputs.

    Raises:
        DataError: no samples, another number of labels than of samples, or labels of another kind.
        ModelFileError: not a .tflite, or one that LiteRT cannot run.
    """
    labels = checked_labels(x, labels)
    runner = model if isinstance(model, runners.Runner) else runners.load(model)
    return share(labels, chosen(runner.predict(x)))


def checked_labels(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels as an array (N,), as many as there are samples in x.

    Raises:
        DataError: no samples, another number of labels than of samples, or labels of another kind.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iubf":
        raise DataError(
            f"labels: {labels.dtype} {labels.shape} given, whole numbers (N,) expected; labels.reshape(-1) "
            "drops an axis of 1, one_hot.argmax(axis=1) undoes one-hot labels."
        )
    if len(x) != len(labels) or not len(x):
        raise DataError(
            f"{len(x)} samples and {len(labels)} labels given: as many of each expected, and some."
        )
    return labels


def chosen(outputs: np.ndarray) -> np.ndarray:
    """The class that a classifier chooses for each sample: the most probable one.

    Of a single output, 1 where it is > 0.5. NO_CLASS where there is NaN or infinity among the outputs.

    Args:
        outputs: real numbers (N, classes).

    Returns:
        int64 (N,).

    Raises:
        DataError: several outputs, or of another shape.

    >>> chosen(np.array([[0.1, 0.9], [0.8, 0.2], [np.nan, 0.2]]))
    array([ 1,  0, -1])
    """
    if isinstance(outputs, list) or outputs.ndim != 2 or not outputs.shape[1]:
        raise DataError("accuracy needs a classifier: one output, (N, classes).")
    classes = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0.5
    return np.where(np.isfinite(outputs).all(axis=1), classes, NO_CLASS)


def share(classes: np.ndarray, others: np.ndarray) -> float:
    """Share of samples for which two lots of classes, (N,), are the same, and not NO_CLASS; 0 to 1."""
    return float(np.mean((classes == others) & (others != NO_CLASS)))


@dataclass(frozen=True)
class Latency:
    """Time of one inference of one sample, in microseconds.

    Median, 5th and 95th percentile of ROUNDS turns; each turn is a mean over SLICE_SECONDS of runs.
    """

    median: float
    low: float
    high: float


def latency(models: Mapping[str, Model], sample: np.ndarray, kernels: str = "default") -> dict[str, Latency]:
    """Time several models on one sample, taking turns so that a noisy machine is fair to all.

    Args:
        models: .tflite files by name.
        sample: one sample with its batch axis, (1, ...), real numbers.
        kernels: "default", "optimized" or "reference"; one thread always.

    Raises:
        DataError: more or less than one sample, or a file that takes larger batches only.
        ModelFileError: not a .tflite, or one that LiteRT cannot run.
    """
    if len(sample) != 1:
        raise DataError(f"latency is that of one sample, shape (1, ...): shape {np.shape(sample)} given.")
    ready = {name: runners.load(model, kernels=kernels) for name, model in models.items()}
    inputs = {name: runner.in_own_types(sample) for name, runner in ready.items()}
    repeats = {name: _repeats(runner, inputs[name]) for name, runner in ready.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in progress(range(ROUNDS), "timing"):
        for name, runner in ready.items():
            times[name].append(runner.seconds(inputs[name], repeats[name]) * 1e6)
    return {name: Latency(*np.percentile(t, [50, 5, 95]).tolist()) for name, t in times.items()}


def _repeats(runner: LiteRTRunner, sample: list[np.ndarray]) -> int:
    runner.seconds(sample, 3)  # warm up
    return max(1, round(SLICE_SECONDS / runner.seconds(sample, 3)))


def conditions(kernels: str = "default") -> str:
    """What has to stand beside a latency measured here."""
    return f"{kernels} kernels, {THREADS} thread, {processor()} ({platform.machine()})"


@dataclass(frozen=True)
class Comparison:
    """Several models side by side.

    Attributes:
        table: a row a model: bytes, smaller (how many times, against the first), accuracy (0 to
            1), and the latency's median, 5th and 95th percentile in microseconds.
        conditions: kernels, threads and processor of the latencies.
    """

    table: pd.DataFrame
    conditions: str

    def __str__(self) -> str:
        return f"{self.table.to_string(**_FORMATS)}\n{self._latency_note()}"

    def _latency_note(self) -> str:
        return f"latency in µs: median, 5th and 95th percentile of {ROUNDS} turns; {self.conditions}"

    def _repr_html_(self) -> str:
        return f"{self.table.to_html(**_FORMATS)}<p>{self._latency_note()}</p>"


_FORMATS = {
    "formatters": {"bytes": "{:,}".format, "smaller": "{:.2f}x".format, "accuracy": "{:.4f}".format},
    "float_format": "{:.1f}".format,
}


def compare(
    models: Mapping[str, Model], x: np.ndarray, labels: np.ndarray, kernels: str = "default"
) -> Comparison:
    """Size, accuracy and latency of several models on the same data.

    Args:
        models: .tflite files (bytes or paths) by name; the first is what the others are measured against.
        x: real numbers (N, ...). The first sample is the one that is timed.
        labels: integers (N,).
        kernels: "default", "optimized" or "reference".

    Raises:
        DataError: no models, or data that do not fit them.
    """
    if not models:
        raise DataError("no models to compare.")
    sizes = {name: size(model) for name, model in models.items()}
    first = next(iter(sizes.values()))
    accuracies = {
        name: accuracy(runners.load(model, kernels=kernels), x, labels)
        for name, model in progress(models.items(), "accuracy")
    }
    times = latency(models, x[:1], kernels)
    rows = {
        name: {
            "bytes": sizes[name],
            "smaller": first / sizes[name],
            "accuracy": accuracies[name],
            "latency": times[name].median,
            "low": times[name].low,
            "high": times[name].high,
        }
        for name in models
    }
    return Comparison(pd.DataFrame.from_dict(rows, orient="index"), conditions(kernels))
