"""Shoulder exercises, recorded by a watch: see README.md beside this file for their source.

Ten people did seven exercises, about twenty times each, with either arm. The watch measured 50 times a
second, along its own three axes, the acceleration (gravity included) and the speed of rotation. The
recordings are kept whole; windows of two seconds are cut when they are asked for.
"""

import functools
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from tinylab.errors import DAMAGED_NUMPY_FILE, DataError

CLASSES = [
    "pendulum",
    "abduction",
    "forward elevation",
    "internal rotation",
    "external rotation",
    "trapezius extension",
    "upright row",
]
AXES = ["acceleration x", "acceleration y", "acceleration z", "rotation x", "rotation y", "rotation z"]
UNITS = ["g"] * 3 + ["rad/s"] * 3
# What one step of the stored int16 means: ranges of ±8 g and ±32 rad/s.
STEPS = np.array([1 / 4096] * 3 + [1 / 1024] * 3, np.float32)
RATE = 50  # measurements in a second
WINDOW = 100  # measurements in a window: two seconds, about one repetition

# Which people are in which split. In pairs (1 and 2, 3 and 4, 5 and 6, 7 and 10, 8 and 9) their recordings
# are nearly as long as each other's, as if they had exercised together: a pair is never divided.
SUBJECTS = {"train": (1, 2, 3, 4, 5, 6), "validation": (7, 10), "test": (8, 9)}


@dataclass(frozen=True)
class Recording:
    """One person doing one exercise with one arm.

    Attributes:
        signal: float32 (time, 6), AXES in UNITS, RATE rows a second.
        label: index into CLASSES.
        subject: 1 to 10.
        side: the arm with the watch, "left" or "right".
    """

    signal: np.ndarray
    label: int
    subject: int
    side: str


def recordings() -> list[Recording]:
    """All 140 recordings: ten people, seven exercises, two arms.

    Raises:
        DataError: a damaged installation.
    """
    try:
        with np.load(files("tinylab.data") / "motion" / "motion.npz") as stored:
            signals = stored["signals"] * STEPS
            ends, labels = np.cumsum(stored["lengths"]), stored["labels"].tolist()
            subjects, right = stored["subjects"].tolist(), stored["right"].tolist()
    except (OSError, *DAMAGED_NUMPY_FILE) as error:
        raise DataError(
            f"the embedded file motion.npz is damaged ({error}): install tinylab again."
        ) from error
    return [
        Recording(signal, label, subject, "right" if is_right else "left")
        for signal, label, subject, is_right in zip(
            np.split(signals, ends[:-1]), labels, subjects, right, strict=True
        )
    ]


def windows(subjects: tuple[int, ...], step: int = WINDOW) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows of some people, each cut from one recording.

    Args:
        subjects: which people, 1 to 10.
        step: measurements from the beginning of a window to that of the next. A step of WINDOW divides
            a recording; with a smaller one windows overlap.

    Returns:
        Windows, float32 (N, WINDOW, 6) in UNITS; labels, int64 (N,); and subjects, int64 (N,).

    Raises:
        DataError: no such people, no such step, or a damaged installation.
    """
    if not subjects or set(subjects) - set(range(1, 11)):
        raise DataError(f"people {tuple(subjects)} given: some of 1 to 10 expected.")
    if step < 1:
        raise DataError(f"a step of {step} given: 1 or more expected.")
    chosen = [recording for recording in recordings() if recording.subject in subjects]
    cut = [_cut(recording.signal, step) for recording in chosen]
    counts = [len(part) for part in cut]
    labels, people = (
        np.repeat([getattr(recording, name) for recording in chosen], counts).astype(np.int64)
        for name in ("label", "subject")
    )
    return np.concatenate(cut), labels, people


def _cut(signal: np.ndarray, step: int) -> np.ndarray:
    every = np.lib.stride_tricks.sliding_window_view(signal, WINDOW, axis=0)
    return every[::step].transpose(0, 2, 1)


def split(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Windows and labels of the people of a split; in "train" each window shares half with the next.

    Raises:
        DataError: no such split, or a damaged installation.
    """
    if name not in SUBJECTS:
        raise DataError(f"no split {name!r}: there are {', '.join(SUBJECTS)}.")
    x, labels, _ = windows(SUBJECTS[name], WINDOW // 2 if name == "train" else WINDOW)
    return x, labels


def prepare(x: np.ndarray) -> np.ndarray:
    """Windows as the networks take them: each axis with mean 0 and deviation 1 over the people to train on.

    An int8 network has one scale for its whole input. In g and rad/s the fast rotations would set it, and
    leave a few codes to the acceleration. The program that reads the sensor does this in front of the
    network; it has to multiply by a scale there in any case.

    Args:
        x: windows (N, WINDOW, 6) in UNITS.

    Returns:
        float32 (N, WINDOW, 1, 6): to Keras a picture that is one pixel wide, because for two-dimensional
        convolutions there are kernels everywhere, and quantization-aware training.

    Raises:
        DataError: another shape, or a damaged installation.
    """
    x = np.asarray(x, np.float32)
    if x.ndim != 3 or x.shape[1:] != (WINDOW, 6):
        raise DataError(f"windows of shape {x.shape} given, (N, {WINDOW}, 6) expected.")
    mean, deviation = _mean_and_deviation()
    return ((x - mean) / deviation).astype(np.float32)[:, :, np.newaxis]


@functools.cache
def _mean_and_deviation() -> tuple[np.ndarray, np.ndarray]:
    """Of each axis, over the people to train on: float64 (6,)."""
    signals = np.concatenate([r.signal for r in recordings() if r.subject in SUBJECTS["train"]])
    return signals.mean(axis=0, dtype=np.float64), signals.std(axis=0, dtype=np.float64)
