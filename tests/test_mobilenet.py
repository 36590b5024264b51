"""The pretrained backbone: its weights are the source's, and it sees more than pixels."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import slow
from tests.test_models import a_changed_byte, cut_short, empty, no_zip, of_another_network
from tinylab import models, runners
from tinylab._tensorflow import keras, tf
from tinylab.affine import quantize
from tinylab.conversion import Recipe, convert
from tinylab.data import pictures
from tinylab.errors import DataError
from tinylab.models import backbone
from tinylab.models.backbone import make

# Where somebody has fetched the source (see make.py), the weights are compared with it.
SOURCE = os.environ.get("TINYLAB_BACKBONE_SOURCE")


@pytest.fixture(scope="module")
def network():
    return models.mobilenet_v2()


@pytest.fixture(scope="module")
def stored():
    with np.load(backbone.FOLDER / "mobilenet_v2.npz") as found:
        return [found[f"arr_{i}"] for i in range(len(found.files))]


def test_it_has_the_parameters_of_mobilenet_v2_with_folded_batch_normalization(network):
    # keras.applications: 2,257,984 with four numbers a channel of its 17,056; here each has one, its bias
    original = keras.applications.MobileNetV2(weights=None, include_top=False)
    normalized = sum(layer.gamma.shape[0] for layer in original.layers if hasattr(layer, "gamma"))
    assert network.count_params() == original.count_params() - 3 * normalized == 2_206_816
    assert not [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]


def test_its_shapes_are_those_it_promises(network):
    assert (network.input_shape, network.output_shape) == ((None, 224, 224, 3), (None, 1280))


def test_nothing_in_it_is_trained(network):
    assert network.trainable_weights == []
    assert len(network.weights) == 104


def test_the_weights_are_the_ones_on_the_card(stored):
    content = b"".join(array.tobytes() for array in stored)
    assert hashlib.sha256(content).hexdigest() == backbone.card()["weights_sha256"]
    assert sum(array.size for array in stored) == backbone.card()["parameters"]


def test_the_network_has_the_stored_float16_weights_exactly(network, stored):
    for weights, half in zip(network.get_weights(), stored, strict=True):
        assert half.dtype == np.float16
        assert weights.dtype == np.float32
        np.testing.assert_array_equal(weights, half.astype(np.float32))


def test_the_readme_names_the_source_that_make_asks_for():
    readme = (backbone.FOLDER / "README.md").read_text()
    assert make.SHA256 in readme
    assert backbone.card()["source_sha256"] == make.SHA256
    assert f"{backbone.card()['parameters']:,}" in readme


def test_another_source_is_refused(tmp_path):
    (tmp_path / "other.data").write_bytes(b"TFL3" * 1000)
    with pytest.raises(DataError, match="SHA-256 should be"):
        make.unpacked(tmp_path / "other.data")


def photographs(split, size, limit):
    """Tiles of the embedded photographs as the backbone takes them, (N, size, size, 3), and labels, (N,)."""
    samples = list(getattr(pictures.load("photographs", limit=limit), split))
    tiles = [tf.image.resize(image, (size, size), antialias=True) for image, _ in samples]
    return np.stack(tiles) / np.float32(127.5) - 1, np.array([label for _, label in samples])


def accuracy_of_least_squares(train, test):
    """Share of test samples whose class a linear map, fitted with a little ridge, puts first."""
    (x, labels), (x_test, labels_test) = train, test
    x, x_test = (np.insert(a.reshape(len(a), -1), 0, 1, axis=1).astype(np.float64) for a in (x, x_test))
    gram = x @ x.T
    weights = np.linalg.solve(gram + 0.01 * np.trace(gram) / len(x) * np.eye(len(x)), np.eye(10)[labels])
    return np.mean((x_test @ x.T @ weights).argmax(axis=1) == labels_test)


@pytest.mark.slow
def test_its_features_tell_photographs_apart_far_better_than_their_pixels_do(network):
    splits = {split: photographs(split, 224, 400) for split in ("train", "test")}
    features = {split: (network.predict(x, verbose=0), labels) for split, (x, labels) in splits.items()}
    pixels = {split: photographs(split, 32, 400) for split in splits}
    seen, unseen = (accuracy_of_least_squares(**samples) for samples in (features, pixels))
    assert seen > unseen + 0.2


@pytest.fixture(scope="module")
def with_head():
    """Makes the network of lesson 08 anew, with a head that is the same every time."""

    def make_it():
        network = models.mobilenet_v2()
        classes = keras.layers.Dense(
            10, "softmax", name="classes", kernel_initializer=keras.initializers.GlorotUniform(0)
        )
        return keras.Model(network.input, classes(network.output), name="pictures_to_classes")

    return make_it


@pytest.mark.long
def test_the_same_weights_give_the_same_file(with_head):
    assert convert(with_head(), Recipe.FLOAT32) == convert(with_head(), Recipe.FLOAT32)


@pytest.mark.slow
def test_in_int8_the_integer_engine_answers_as_the_reference_kernels_to_the_bit(with_head):
    x, _ = photographs("test", 224, 20)
    content = convert(with_head(), Recipe.INT8, x)
    q = quantize(x[:4], runners.load(content).inputs[0].params)
    ours, theirs = runners.load(content, engine="integer"), runners.load(content, kernels="reference")
    np.testing.assert_array_equal(ours.predict_integers(q), theirs.predict_integers(q))


@pytest.mark.skipif(not SOURCE, reason="TINYLAB_BACKBONE_SOURCE does not name the source file")
def test_weights_and_activations_are_the_sources(stored):
    names, detector = make.unpacked(Path(SOURCE))
    assert names == backbone.card()["detects"]
    weights = make.weights_of(detector)
    for ours, theirs in zip(stored, weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    at_its_size = backbone.architecture(make.DETECTOR_SIZE)
    at_its_size.set_weights(weights)
    assert make.largest_difference(at_its_size, detector) <= make.TOLERANCE


@pytest.mark.parametrize("damage", [cut_short, *slow(no_zip, empty, of_another_network, a_changed_byte)])
def test_damaged_weights_are_refused(damage, monkeypatch, tmp_path):
    path = tmp_path / "mobilenet_v2.npz"
    path.write_bytes((backbone.FOLDER / path.name).read_bytes())
    damage(path)
    monkeypatch.setattr(backbone, "FOLDER", tmp_path)
    with pytest.raises(DataError, match="install tinylab again"):
        models.mobilenet_v2()


def test_missing_weights_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(backbone, "FOLDER", tmp_path)
    with pytest.raises(DataError, match="install tinylab again"):
        models.mobilenet_v2()
