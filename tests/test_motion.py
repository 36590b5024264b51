"""The recordings of the watch, the windows cut from them, and the network that reads them."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tinylab import data, models, qat, runners, tflite_file
from tinylab.affine import quantize
from tinylab.conversion import Recipe, convert
from tinylab.data import motion
from tinylab.data.motion import augment, make
from tinylab.errors import DataError, TinylabError
from tinylab.runners import micro

# What the converter may write for this network: no EXPAND_DIMS and RESHAPE around each convolution.
OPERATORS = {
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "MAX_POOL_2D",
    "MEAN",
    "REDUCE_MAX",
    "RESHAPE",
    "FULLY_CONNECTED",
    "SOFTMAX",
}
ARCHITECTURES = [
    {},
    {"separable": True, "kernel": 9},
    {"pooling": "max", "blocks": 2},
    {"pooling": "flatten", "filters": 5},
]


@pytest.fixture(scope="module")
def prepared():
    return {split: motion.prepare(motion.split(split)[0]) for split in motion.SUBJECTS}


# Recordings and windows


def test_every_person_did_every_exercise_with_either_arm():
    done = [(r.subject, r.label, r.side) for r in motion.recordings()]
    assert sorted(done) == sorted(
        (person, label, side)
        for person in range(1, 11)
        for label in range(len(motion.CLASSES))
        for side in ("left", "right")
    )


def test_acceleration_is_in_g():
    lengths = np.concatenate([np.linalg.norm(r.signal[:, :3], axis=1) for r in motion.recordings()])
    assert 0.95 < np.median(lengths) < 1.15


def test_nothing_was_cut_off_by_the_range_of_int16():
    highest = np.concatenate([np.abs(r.signal) for r in motion.recordings()]).max(axis=0) / motion.STEPS
    assert highest.max() < 32767


@pytest.mark.parametrize(("split", "count"), [("train", 2669), ("validation", 527), ("test", 487)])
def test_windows_have_their_shapes_and_types(split, count):
    x, labels = data.arrays("motion", split)
    assert (x.shape, x.dtype) == ((count, motion.WINDOW, 6), np.float32)
    assert (labels.shape, labels.dtype) == ((count,), np.int64)
    assert set(labels) == set(range(len(motion.CLASSES)))
    assert np.isfinite(x).all()


def test_every_person_is_in_one_split():
    assert sorted(sum(motion.SUBJECTS.values(), ())) == list(range(1, 11))


def test_no_pair_that_exercised_together_is_divided():
    """Who is in a pair shows in how long the recordings are."""
    lengths = {person: np.zeros(len(motion.CLASSES)) for person in range(1, 11)}
    for recording in motion.recordings():
        lengths[recording.subject][recording.label] += len(recording.signal)
    split_of = {person: name for name, people in motion.SUBJECTS.items() for person in people}
    for person, own in lengths.items():
        others = set(lengths) - {person}
        nearest = min(others, key=lambda other: np.abs(lengths[other] / own - 1).mean())
        assert split_of[nearest] == split_of[person]


def test_a_window_is_a_piece_of_a_recording_of_its_person_and_exercise():
    x, labels, people = motion.windows((3, 8), step=70)
    position = 0
    for recording in motion.recordings():
        if recording.subject not in (3, 8):
            continue
        for begin in range(0, len(recording.signal) - motion.WINDOW + 1, 70):
            assert np.array_equal(x[position], recording.signal[begin : begin + motion.WINDOW])
            assert (labels[position], people[position]) == (recording.label, recording.subject)
            position += 1
    assert position == len(x)


def test_only_windows_to_train_on_overlap():
    for split, overlap in (("train", True), ("validation", False), ("test", False)):
        x, _ = data.arrays("motion", split)
        half = motion.WINDOW // 2
        shared = [np.array_equal(a[half:], b[:half]) for a, b in pairwise(x)]
        assert any(shared) is overlap


@pytest.mark.parametrize(("people", "step"), [((), 100), ((0,), 100), ((11,), 100), ((1,), 0)])
def test_windows_of_nobody_or_without_a_step_are_refused(people, step):
    with pytest.raises(DataError, match="expected"):
        motion.windows(people, step)


@pytest.mark.parametrize("split", ["tests", ""])
def test_an_unknown_split_is_refused(split):
    with pytest.raises(DataError, match="validation"):
        motion.split(split)
    with pytest.raises(DataError, match="validation"):
        data.arrays("motion", split)


@pytest.mark.parametrize("content", [None, b"", b"no zip", "cut short"], ids=str)
def test_a_damaged_embedded_file_is_refused(content, monkeypatch, tmp_path):
    file = tmp_path / "motion" / "motion.npz"
    file.parent.mkdir()
    if content is not None:
        original = (Path(motion.__file__).parent / file.name).read_bytes()
        file.write_bytes(original[: len(original) // 2] if content == "cut short" else content)
    monkeypatch.setattr(motion, "files", lambda _: tmp_path)
    with pytest.raises(DataError, match="install tinylab again"):
        data.arrays("motion", "test")


def test_the_embedded_file_is_made_from_the_original_within_half_a_step(monkeypatch, tmp_path):
    """From a small file like the original: the original itself is 18 MB in a package of its own."""
    rng = np.random.default_rng(0)
    signals = [rng.uniform(-7.9, 7.9, (length, 6)) for length in (120, 250)]
    source = {"X": signals, "y": np.array([3, 0]), "subject": np.array([1, 2]), "side": np.array([1.0, 0.0])}
    np.save(tmp_path / "watch.npy", source, allow_pickle=True)
    (tmp_path / "motion").mkdir()
    monkeypatch.setattr(make, "__file__", str(tmp_path / "motion" / "make.py"))
    monkeypatch.setattr(motion, "files", lambda _: tmp_path)
    monkeypatch.setattr(sys, "argv", ["make", str(tmp_path / "watch.npy")])
    make.main()
    again = motion.recordings()
    assert [(r.label, r.subject, r.side) for r in again] == [(3, 1, "right"), (0, 2, "left")]
    for recording, signal in zip(again, signals, strict=True):
        assert (np.abs(recording.signal - signal) <= motion.STEPS / 2 + 1e-6).all()


# Prepared windows


def test_prepared_axes_have_mean_0_and_deviation_1_over_the_people_to_train_on(prepared):
    assert prepared["train"].shape[1:] == (motion.WINDOW, 1, 6)
    assert prepared["train"].dtype == np.float32
    assert np.allclose(prepared["train"].mean(axis=(0, 1, 2)), 0, atol=0.02)
    assert np.allclose(prepared["train"].std(axis=(0, 1, 2)), 1, atol=0.02)


def test_the_people_held_out_have_no_say_in_the_preparation(prepared):
    """Their own deviations stay what they are."""
    assert (prepared["test"].std(axis=(0, 1, 2)) < 0.97).all()


@pytest.mark.parametrize("shape", [(100, 6), (3, 6, 100), (3, 100, 1, 6)])
def test_windows_of_another_shape_are_refused(shape):
    with pytest.raises(DataError, match="expected"):
        motion.prepare(np.zeros(shape, np.float32))


# Turned windows


def test_turning_keeps_lengths_and_angles_also_between_acceleration_and_rotation():
    x, _ = data.arrays("motion", "validation")
    turned = augment.turned(x, 20, np.random.default_rng(0))
    assert turned.dtype == np.float32
    assert not np.allclose(turned, x, atol=0.1)
    acceleration, rotation = slice(0, 3), slice(3, 6)
    for one, other in [(acceleration, acceleration), (rotation, rotation), (acceleration, rotation)]:
        before, after = (array[..., one] @ array[..., other].swapaxes(1, 2) for array in (x, turned))
        assert np.allclose(before, after, atol=1e-3)


def test_turning_by_nothing_changes_nothing():
    x, _ = data.arrays("motion", "validation")
    assert np.allclose(augment.turned(x, 0, np.random.default_rng(0)), x, atol=1e-6)


# The network


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_its_int8_file_has_plain_operators_and_three_engines_agree(architecture, prepared):
    """To the bit; the microcontroller's dense layer rounds a sum otherwise, once in a while."""
    file = convert(models.motion_cnn(**architecture), Recipe.INT8, prepared["train"][:100])
    assert {operator.name for operator in tflite_file.parse(file).operators} <= OPERATORS
    reference = runners.load(file, kernels="reference")
    codes = quantize(prepared["validation"], reference.inputs[0].params)
    expected = reference.predict_integers(codes)
    assert np.array_equal(runners.load(file, engine="integer").predict_integers(codes), expected)
    if micro.available():
        on_chip = runners.load(file, engine="micro").predict_integers(codes)
        assert np.mean(on_chip != expected) < 0.005


@pytest.mark.slow
def test_quantization_aware_training_takes_it(prepared):
    network = qat.quantization_aware(models.motion_cnn(separable=True), prepared["train"][:100])
    file = qat.convert(network, prepared["train"][:100])
    assert {operator.name for operator in tflite_file.parse(file).operators} <= OPERATORS


@pytest.mark.parametrize(
    "wrong", [{"blocks": 0}, {"blocks": 7}, {"filters": 0}, {"kernel": 0}, {"pooling": ""}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(TinylabError, match="expected"):
        models.motion_cnn(**wrong)
