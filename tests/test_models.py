"""The networks of the lessons, and the weights that come with them."""

import numpy as np
import pytest

from tinylab import models
from tinylab.errors import DataError


def test_the_trained_network_is_as_accurate_as_its_card_says(cnn, fashion):
    images, labels = fashion
    accuracy = np.mean(cnn.predict(images, verbose=0).argmax(axis=1) == labels)
    assert accuracy >= 0.85
    assert accuracy == pytest.approx(models.card("small_cnn")["test_accuracy"], abs=0.002)


def test_the_card_counts_the_parameters(cnn):
    assert cnn.count_params() == models.card("small_cnn")["parameters"] == 30_762


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [("one_neuron", (None, 1), (None, 1)), ("small_cnn", (None, 28, 28, 1), (None, 10))],
)
def test_shapes(name, inputs, outputs):
    model = getattr(models, name)()
    assert (model.input_shape, model.output_shape) == (inputs, outputs)


def test_probabilities_sum_to_one(cnn, fashion):
    assert np.asarray(cnn(fashion[0][:10])).sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("name", models.TRAINED)
def test_every_trained_network_has_weights_and_a_card(name):
    assert models.trained(name).count_params() == models.card(name)["parameters"]


def test_an_unknown_name_is_refused():
    with pytest.raises(DataError, match="there are small_cnn"):
        models.trained("large_cnn")


def cut_short(path):
    path.write_bytes(path.read_bytes()[:1000])


def no_zip(path):
    path.write_bytes(b"no weights")


def empty(path):
    path.write_bytes(b"")


def of_another_network(path):
    np.savez(path, *models.one_neuron().get_weights())


def a_changed_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, no_zip, empty, of_another_network, a_changed_byte])
def test_damaged_weights_are_refused(damage, monkeypatch, tmp_path):
    path = tmp_path / "small_cnn.npz"
    path.write_bytes((models.WEIGHTS / path.name).read_bytes())
    damage(path)
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    with pytest.raises(DataError, match="install tinylab again"):
        models.trained("small_cnn")


def test_missing_weights_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    with pytest.raises(DataError, match="install tinylab again"):
        models.trained("small_cnn")
