"""Size, accuracy, latency, and the table that puts them side by side. No time is asserted."""

import numpy as np
import pytest

from tinylab import measure, runners
from tinylab.errors import DataError, ModelFileError


def file_of(model, recipe="float32"):
    from tinylab.conversion import Recipe, convert

    return convert(model, Recipe(recipe))


@pytest.fixture(scope="module")
def sigmoid_file():
    """A classifier with one output: sigmoid(x)."""
    from tinylab._tensorflow import keras

    model = keras.Sequential([keras.layers.Dense(1, "sigmoid", input_shape=(1,))])
    model.set_weights([np.ones((1, 1)), np.zeros(1)])
    return file_of(model)


def test_size_is_that_of_the_file(dense_files, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(dense_files["int8"])
    assert measure.size(dense_files["int8"]) == measure.size(path) == path.stat().st_size


def test_accuracy_is_the_share_of_right_classes(cnn, cnn_files, fashion):
    images, labels = fashion
    expected = np.mean(cnn.predict(images, verbose=0).argmax(axis=1) == labels)
    assert measure.accuracy(cnn_files["float32"], images, labels) == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_quantizing_costs_little_accuracy(cnn_files, fashion):
    accuracies = [measure.accuracy(content, *fashion) for content in cnn_files.values()]
    assert max(accuracies) - min(accuracies) < 0.02


def test_accuracy_takes_a_runner(cnn_files, fashion):
    images, labels = fashion[0][:50], fashion[1][:50]
    runner = runners.load(cnn_files["int8"])
    assert measure.accuracy(runner, images, labels) == measure.accuracy(cnn_files["int8"], images, labels)


def test_accuracy_of_a_single_output_is_judged_at_one_half(sigmoid_file):
    x = np.array([[-2.0], [-1], [1], [2]])
    for labels, expected in (([0, 0, 1, 1], 1), ([1, 1, 0, 0], 0), ([0, 1, 1, 1], 0.75)):
        assert measure.accuracy(sigmoid_file, x, labels) == expected


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_no_numbers_choose_no_class_and_are_never_right(lost):
    for outputs in ([[0.1, lost], [0.1, 0.9]], [[lost], [0.9]]):
        classes = measure.chosen(np.array(outputs))
        assert classes.tolist() == [measure.NO_CLASS, 1]
        assert measure.share(classes, classes) == 0.5


@pytest.mark.parametrize(("samples", "labels"), [(5, 4), (4, 5), (0, 0)])
def test_accuracy_needs_as_many_labels_as_samples_and_some(sigmoid_file, samples, labels):
    with pytest.raises(DataError, match=f"{samples} samples and {labels} labels"):
        measure.accuracy(sigmoid_file, np.zeros((samples, 1)), np.zeros(labels))


def test_accuracy_of_what_is_no_classifier_is_refused():
    from tinylab._tensorflow import keras

    picture_to_picture = file_of(keras.Sequential([keras.layers.ReLU(input_shape=(4, 4, 1))]))
    with pytest.raises(DataError, match="classifier"):
        measure.accuracy(picture_to_picture, np.zeros((3, 4, 4, 1)), np.zeros(3))


@pytest.mark.slow
@pytest.mark.parametrize("kernels", runners.KERNELS)
def test_latency_is_given_for_every_model_with_its_range(dense_files, kernels):
    sample = np.zeros((1, 3), np.float32)
    times = measure.latency(dense_files, sample, kernels)
    assert list(times) == list(dense_files)
    for time in times.values():
        assert 0 < time.low <= time.median <= time.high


def test_latency_of_several_samples_at_once_is_no_latency_of_one(dense_files):
    with pytest.raises(DataError, match="one sample"):
        measure.latency(dense_files, np.zeros((2, 3), np.float32))


@pytest.mark.slow
def test_compare_puts_everything_in_one_table(cnn_files, fashion):
    images, labels = fashion[0][:300], fashion[1][:300]
    compared = measure.compare(cnn_files, images, labels)
    table = compared.table
    assert list(table.index) == list(cnn_files)
    assert list(table.columns) == ["bytes", "smaller", "accuracy", "latency", "low", "high"]
    for name, content in cnn_files.items():
        row = table.loc[name]
        assert row["bytes"] == len(content)
        assert row["smaller"] == pytest.approx(len(cnn_files["float32"]) / len(content))
        assert row["accuracy"] == measure.accuracy(content, images, labels)
        assert 0 < row["low"] <= row["latency"] <= row["high"]


def test_a_comparison_shows_its_conditions(dense_files):
    compared = measure.compare(dense_files, np.zeros((4, 3)), np.zeros(4), kernels="reference")
    assert compared.conditions == measure.conditions("reference")
    assert "reference kernels, 1 thread" in compared.conditions
    for shown in (str(compared), compared._repr_html_()):
        assert compared.conditions in shown
        assert f"{len(dense_files['int8']):,}" in shown


def test_comparing_nothing_is_refused():
    with pytest.raises(DataError, match="no models"):
        measure.compare({}, np.zeros((4, 3)), np.zeros(4))


def test_comparing_a_damaged_file_is_refused(dense_files):
    files = {"good": dense_files["float32"], "cut": dense_files["int8"][:500]}
    with pytest.raises(ModelFileError, match="damaged"):
        measure.compare(files, np.zeros((4, 3)), np.zeros(4))


def test_comparing_on_data_that_do_not_fit_is_refused(dense_files):
    with pytest.raises(DataError, match="expected"):
        measure.compare(dense_files, np.zeros((4, 5)), np.zeros(4))


@pytest.mark.parametrize(
    "labels",
    [np.zeros((2, 1), int), np.eye(2), np.array(["a", "b"])],
    ids=["an axis too many", "one-hot", "names"],
)
def test_labels_that_are_no_whole_numbers_in_a_row_are_refused(sigmoid_file, labels):
    with pytest.raises(DataError, match=r"whole numbers \(N,\) expected"):
        measure.accuracy(sigmoid_file, np.zeros((2, 1), np.float32), labels)


def test_a_file_of_fixed_larger_batches_cannot_be_timed_on_one_sample():
    from tinylab._tensorflow import tf

    function = tf.function(lambda x: x * 2, input_signature=[tf.TensorSpec((4, 3), tf.float32)])
    concrete = [function.get_concrete_function()]
    content = tf.lite.TFLiteConverter.from_concrete_functions(concrete, function).convert()
    with pytest.raises(DataError, match="takes batches of 4"):
        measure.latency({"four": content}, np.zeros((1, 3), np.float32))
