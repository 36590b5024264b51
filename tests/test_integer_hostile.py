"""Damaged files on the integer engine: refused, or run; never a crash, a hang, or a full memory."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tinylab import runners
from tinylab.errors import ModelFileError

from .hostile import damaged, structure
from .test_integer import small_network

ROOT = Path(__file__).parent.parent
VERDICT = re.compile(r"\d+ (refused|runs.*)")


def run_damaged(path: Path, first: int, last: int, compare: bool = False) -> Counter:
    """What becomes of the cases, each of which has to end well: how many of each verdict."""
    command = [sys.executable, "-m", "tests.hostile", str(path), str(first), str(last)]
    done = subprocess.run(
        command + ["compare"] * compare, cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    lines = done.stdout.splitlines()
    bad = [line for line in lines if not VERDICT.fullmatch(line)]
    assert not bad, f"{path.name}, damaged: {bad[:5]}, exit {done.returncode}, {done.stderr[-500:]}"
    assert done.returncode == 0, done.stderr[-500:]
    assert len(lines) == last - first
    return Counter(line.split(" ", 1)[1] for line in lines)


@pytest.fixture(scope="session")
def hand_made(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "hand_made.tflite"
    path.write_bytes(small_network().bytes())
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Every kind of layer of an image network, on images of 6 by 6."""
    from tinylab._tensorflow import keras
    from tinylab.conversion import Recipe, convert

    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = layers.Input((6, 6, 2))
    y = layers.Conv2D(3, 3, padding="same", activation="relu")(x)
    y = layers.Add()([y, layers.DepthwiseConv2D(3, padding="same")(y)])
    y = layers.Conv2DTranspose(2, 2, strides=2)(layers.MaxPooling2D(2)(y))
    y = layers.GlobalAveragePooling2D()(layers.Concatenate()([y, x]))
    model = keras.Model(x, layers.Softmax()(layers.Dense(4)(y)))
    images = np.random.default_rng(0).normal(size=(50, 6, 6, 2)).astype(np.float32)
    path = tmp_path_factory.mktemp("hostile") / "tiny.tflite"
    path.write_bytes(convert(model, Recipe.INT8, images))
    return path


@pytest.fixture(scope="session")
def resnet(tmp_path_factory, fashion):
    """A trained network as the course has it."""
    from tinylab import models
    from tinylab.conversion import Recipe, convert

    path = tmp_path_factory.mktemp("hostile") / "small_resnet.tflite"
    path.write_bytes(convert(models.trained("small_resnet"), Recipe.INT8, fashion[0][:50]))
    return path


def test_damage_is_repeatable(hand_made):
    content = hand_made.read_bytes()
    places = structure(content)
    files = [damaged(content, places, seed) for seed in range(100)]
    assert files == [damaged(content, places, seed) for seed in range(100)]
    assert len(set(files)) > 90


def test_a_hand_made_file_with_damage_is_refused_or_runs(hand_made):
    found = run_damaged(hand_made, 0, 500)
    assert found["refused"] > 150
    assert found["runs"] > 25


@pytest.mark.slow
@pytest.mark.parametrize("network", ["tiny", "resnet"])
def test_a_converted_file_with_damage_is_refused_or_runs(network, request):
    found = run_damaged(request.getfixturevalue(network), 0, 1500)
    print(network, dict(found))
    assert found["refused"] > 500
    assert found["runs"] > 50


@pytest.mark.slow
@pytest.mark.parametrize("network", ["hand_made", "tiny", "resnet"])
def test_what_runs_in_spite_of_damage_runs_as_in_litert(network, request):
    found = run_damaged(request.getfixturevalue(network), 5000, 5300, compare=True)
    print(network, dict(found))
    assert found["runs; the same"] > 20
    assert found["runs; DIFFERENT"] == 0


@pytest.mark.slow
def test_files_cut_short_anywhere_are_refused(tiny):
    content = tiny.read_bytes()
    for length in range(0, len(content), 7):
        with pytest.raises(ModelFileError):
            runners.load(content[:length], engine="integer")
