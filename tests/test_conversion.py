"""Every recipe, from every kind of model; and nothing wrong gets past the check."""

import logging
import sys
import warnings

import keras as keras_3
import numpy as np
import pytest

from tinylab import runners
from tinylab._tensorflow import keras, tf
from tinylab.conversion import Recipe, convert, recipes
from tinylab.conversion.agreement import CHECK_SAMPLES, agreement_of
from tinylab.conversion.representative import samples_of
from tinylab.conversion.source import source_of
from tinylab.errors import (
    AgreementWarning,
    ConversionError,
    DataError,
    FloatInsideWarning,
    RepresentativeDataWarning,
)
from tinylab.quiet import quiet

from .conftest import slow

INTEGER_RECIPES = [recipe for recipe in Recipe if recipe.needs_representative_data]
TYPES = {
    Recipe.FLOAT32: "float32",
    Recipe.DYNAMIC_RANGE: "float32",
    Recipe.FLOAT16: "float32",
    Recipe.INT8: "int8",
    Recipe.INT8_UINT8_IO: "uint8",
    Recipe.INT16X8: "int16",
}
KERAS = {"tf_keras": keras, "keras_3": keras_3}
FORMS = ["tf_keras", "keras_3", *slow("tf_keras_directory", "keras_3_directory")]
# One of integers and one of floats always, the others in `make test`.
FEW_RECIPES = [Recipe.FLOAT32, Recipe.INT8, *slow(*(r for r in Recipe if r.value not in ("float32", "int8")))]

rng = np.random.default_rng(0)
POINTS = rng.normal(size=(100, 3)).astype(np.float32)


def dense(library=keras):
    layers = [
        library.layers.Input((3,)),
        library.layers.Dense(4, activation="relu"),
        library.layers.Dense(2),
    ]
    return library.Sequential(layers)


def several(library):
    """Three inputs and two outputs, whose names sort differently from their order."""
    layers = library.layers
    inputs = [layers.Input((4,), name=name) for name in ("zeta", "alpha", "mid")]
    weighted = [
        layers.Rescaling(factor)(tensor) for factor, tensor in zip((1.0, 3.0, -2.0), inputs, strict=True)
    ]
    hidden = layers.Dense(4)(layers.Add()(weighted))
    return library.Model(
        inputs, [layers.Dense(2, name="y_out")(hidden), layers.Dense(2, name="b_out")(hidden)]
    )


def saved(model, directory):
    with quiet():
        if isinstance(model, keras.Model):
            tf.saved_model.save(model, str(directory))
        else:
            model.export(str(directory), verbose=False)
    return directory


def made(form, model_of, directory):
    """A model in one of the four forms that convert takes, and the model itself."""
    model = model_of(KERAS[form.removesuffix("_directory")])
    return (saved(model, directory) if form.endswith("_directory") else model), model


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("recipe", FEW_RECIPES)
def test_every_recipe_takes_every_kind_of_model(form, recipe, tmp_path):
    given, model = made(form, dense, tmp_path / "model")
    runner = runners.load(convert(given, recipe, POINTS))
    assert str(runner.inputs[0].dtype) == str(runner.outputs[0].dtype) == TYPES[recipe]
    answers = np.asarray(model(POINTS))
    assert np.abs(runner.predict(POINTS) - answers).max() < 0.1 * np.abs(answers).max()


@pytest.mark.parametrize("recipe", Recipe)
def test_the_trained_network_converts_by_every_recipe(cnn_files, recipe):
    runner = runners.load(cnn_files[recipe.value])
    assert str(runner.inputs[0].dtype) == str(runner.outputs[0].dtype) == TYPES[recipe]


def test_the_float32_file_agrees_with_keras_on_every_test_image(cnn, cnn_files, fashion):
    images, _ = fashion
    answers = cnn.predict(images, verbose=0)
    assert np.abs(runners.load(cnn_files["float32"]).predict(images) - answers).max() < 1e-5


@pytest.mark.slow
def test_converting_twice_gives_the_same_bytes(cnn, cnn_files, fashion):
    assert convert(cnn, Recipe.INT8, fashion[0][:100]) == cnn_files["int8"]


# What a file is checked for


def by_name(model, content, inputs):
    """A file's answers in the order of the model's outputs, found by the names in its signature."""
    run = runners.interpreter(content).get_signature_runner()
    answers = run(**{name: array[:1] for name, array in inputs.items()})
    names = model.output_names if isinstance(model, keras.Model) else ["output_0", "output_1"]
    return [answers[name] for name in names]


@pytest.mark.parametrize("form", FORMS)
def test_several_inputs_and_outputs_are_matched_by_name(form, tmp_path):
    given, model = made(form, several, tmp_path / "model")
    inputs = {name: rng.normal(size=(8, 4)).astype(np.float32) for name in ("zeta", "alpha", "mid")}
    answers = by_name(model, convert(given, Recipe.FLOAT32), inputs)
    for answer, expected in zip(answers, model(list(inputs.values())), strict=True):
        np.testing.assert_allclose(answer, expected[:1], atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_ranges_of_several_inputs_are_observed_by_name(form, tmp_path):
    given, _ = made(form, several, tmp_path / "model")
    largest = {"zeta": 1.0, "alpha": 4.0, "mid": 12.0}
    data = {name: rng.uniform(-top, top, (100, 4)).astype(np.float32) for name, top in largest.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = convert(given, Recipe.INT8, tf.data.Dataset.from_tensor_slices(data).batch(10))
    details = runners.interpreter(content).get_signature_runner().get_input_details()
    for name, top in largest.items():
        assert details[name]["quantization"][0] == pytest.approx(2 * top / 255, rel=0.02)


@pytest.mark.parametrize("library", KERAS.values(), ids=KERAS)
def test_an_output_that_is_given_twice_and_an_input_that_is_not_used(library):
    a, b = (library.layers.Input((3,), name=name) for name in "ab")
    output = library.layers.Dense(2)(b)
    assert convert(library.Model([a, b], [output, output]), Recipe.FLOAT32)


@pytest.mark.parametrize("library", KERAS.values(), ids=KERAS)
def test_outputs_in_a_dictionary(library):
    a, b = (library.layers.Input((3,), name=name) for name in "ab")
    outputs = {"z": library.layers.Dense(2, name="q")(a), "a": library.layers.Dense(2, name="c")(b)}
    assert convert(library.Model([a, b], outputs), Recipe.FLOAT32)


@pytest.mark.parametrize("library", KERAS.values(), ids=KERAS)
@pytest.mark.parametrize("recipe", [Recipe.FLOAT32, Recipe.INT8])
def test_names_that_the_converter_loses_are_asked_to_be_changed(library, recipe):
    a, b = (library.layers.Input((3,), name=name) for name in ("a b", "c d"))
    model = library.Model([a, b], library.layers.Add()([a, b]))
    with pytest.raises(ConversionError, match="name the first and last layers"):
        convert(model, recipe, [(POINTS, POINTS)])


@pytest.mark.parametrize("recipe", FEW_RECIPES)
def test_the_keras_3_trap_is_refused(recipe, tmp_path):
    with quiet():
        tf.saved_model.save(dense(keras_3), str(tmp_path))
    with pytest.raises(ConversionError, match=r"model\.export"):
        convert(tmp_path, recipe, POINTS)


@pytest.mark.filterwarnings("ignore::tinylab.errors.FloatInsideWarning")  # NaN cannot be quantized
@pytest.mark.parametrize("recipe", FEW_RECIPES)
def test_a_model_that_answers_nan_is_refused(recipe):
    model = dense()
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    with pytest.raises(ConversionError):
        convert(model, recipe, POINTS)


@pytest.mark.parametrize("recipe", [Recipe.FLOAT32, Recipe.FLOAT16])
def test_a_file_with_other_weights_is_refused(recipe, monkeypatch):
    other = convert(dense(), recipe)
    monkeypatch.setattr(recipes, "_run_converter", lambda *_: other)
    with pytest.raises(ConversionError, match="differ from the model's"):
        convert(dense(), recipe)


def test_a_file_that_answers_in_another_shape_is_refused(monkeypatch):
    other = convert(keras.Sequential([keras.layers.Dense(5, input_shape=(3,))]), Recipe.FLOAT32)
    monkeypatch.setattr(recipes, "_run_converter", lambda *_: other)
    with pytest.raises(ConversionError, match="shapes"):
        convert(dense(), Recipe.FLOAT32)


def test_a_file_that_answers_nan_is_refused(monkeypatch):
    broken = dense()
    broken.set_weights([np.full_like(w, np.nan) for w in broken.get_weights()])
    with quiet():
        content = tf.lite.TFLiteConverter.from_keras_model(broken).convert()
    monkeypatch.setattr(recipes, "_run_converter", lambda *_: content)
    with pytest.raises(ConversionError, match="file answers NaN"):
        convert(dense(), Recipe.FLOAT32)


@pytest.mark.parametrize("recipe", [Recipe.INT8, *slow(Recipe.INT8_UINT8_IO, Recipe.INT16X8)])
def test_a_quantized_file_of_another_model_is_warned_of(recipe, monkeypatch):
    model, opposite = dense(), dense()
    *hidden, kernel, bias = model.get_weights()
    opposite.set_weights([*hidden, -kernel, -bias])
    content = convert(opposite, recipe, POINTS)
    monkeypatch.setattr(recipes, "_run_converter", lambda *_: content)
    with pytest.warns(AgreementWarning, match="very little"):
        convert(model, recipe, POINTS)


def agreement(model, content, data):
    source = source_of(model)
    return agreement_of(content, source, samples_of(data, source))


@pytest.mark.parametrize("library", KERAS.values(), ids=KERAS)
def test_the_agreement_is_that_of_the_worst_output_on_all_samples(library):
    """Errors of a tenth of the model's answers: 20 dB; of a hundredth: 40 dB."""
    model, other = several(library), several(library)
    content = convert(model, Recipe.FLOAT32)
    data = [{name: rng.normal(size=(40, 4)).astype(np.float32) for name in ("zeta", "alpha", "mid")}]
    assert agreement(model, content, data) > 100
    tenth, hundredth = 10 / 9, 100 / 99  # what the other model answers, for 1 of the file
    for factors, expected in (
        ((tenth, 1), 20),
        ((1, tenth), 20),
        ((hundredth, tenth), 20),
        ((hundredth, 1), 40),
    ):
        other.set_weights(model.get_weights())
        for name, factor in zip(("y_out", "b_out"), factors, strict=True):
            kernel, bias = other.get_layer(name).get_weights()
            other.get_layer(name).set_weights([kernel * np.float32(factor), bias])
        assert agreement(other, content, data) == pytest.approx(expected, abs=0.01)


def test_an_error_behind_the_first_samples_is_seen():
    model, other = (keras.Sequential([keras.layers.Dense(2, input_shape=(3,))]) for _ in range(2))
    other.set_weights([model.get_weights()[0] * np.float32([[1], [1], [2]]), np.zeros(2)])
    data = POINTS.copy()
    data[:CHECK_SAMPLES, 2] = 0
    content = convert(model, Recipe.FLOAT32)
    assert agreement(other, content, data[:CHECK_SAMPLES]) > 100
    assert agreement(other, content, data) < 20


# Representative data


@pytest.mark.parametrize("recipe", [Recipe.INT8, *slow(Recipe.INT8_UINT8_IO)])
def test_a_file_with_a_float_island_is_warned_of_where_convert_is_called(recipe):
    layers = [keras.layers.Dense(4, "elu", input_shape=(3,)), keras.layers.Dense(2)]
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    with pytest.warns(FloatInsideWarning, match=r"float32 islands \(ELU\)") as caught:
        convert(keras.Sequential(layers), recipe, x)
    assert caught[0].filename == __file__


def test_a_file_of_integers_only_is_not_warned_of(recwarn):
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    convert(dense(), Recipe.INT8, x)
    convert(dense(), Recipe.DYNAMIC_RANGE, x)
    assert not [warning for warning in recwarn if warning.category is FloatInsideWarning]


@pytest.mark.filterwarnings("ignore::tinylab.errors.RepresentativeDataWarning")
def test_data_of_a_much_too_wide_range_are_warned_of_where_convert_is_called():
    keras.utils.set_random_seed(0)  # XNNPACK refuses some of the files that other weights make
    data = np.concatenate([POINTS[:50] / 1000, np.full((1, 3), 1000, np.float32)])
    with pytest.warns(AgreementWarning) as caught:
        convert(dense(), Recipe.INT8, data)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("recipe", INTEGER_RECIPES)
def test_integer_recipes_need_representative_data(recipe):
    with pytest.raises(DataError, match="needs representative_data"):
        convert(dense(), recipe)


def image_model():
    layers = [keras.layers.Flatten(input_shape=(4, 4, 1)), keras.layers.Dense(2)]
    return keras.Sequential(layers)


IMAGES = rng.random((20, 4, 4, 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(IMAGES[:0], "empty", id="an empty array"),
        pytest.param([], "empty", id="an empty list"),
        pytest.param(lambda: iter(()), "empty", id="a function that yields nothing"),
        pytest.param(
            IMAGES[:, :3], r"shape \(20, 3, 4, 1\) given, \(N, 4, 4, 1\) expected", id="wrong shape"
        ),
        pytest.param(IMAGES[..., 0], "add the channel axis", id="no channel axis"),
        pytest.param((IMAGES * 255).astype(np.uint8), "uint8 given, float32 expected", id="uint8"),
        pytest.param(np.full_like(IMAGES, np.nan), "NaN", id="NaN"),
        pytest.param(np.full_like(IMAGES, np.inf), "infinity", id="infinity"),
        pytest.param(5, "expected, not 5", id="a number"),
        pytest.param("images", "expected", id="a string"),
        pytest.param([{"other": IMAGES}], "0 arrays given, 1 expected", id="another name"),
    ],
)
def test_unusable_data_are_refused(data, message):
    with pytest.raises(DataError, match=message):
        convert(image_model(), Recipe.INT8, data)


def test_a_dataset_without_end_is_refused():
    endless = tf.data.Dataset.from_tensor_slices(IMAGES).repeat()
    with pytest.raises(DataError, match=r"dataset\.take"):
        convert(image_model(), Recipe.INT8, endless)


def test_inputs_of_different_lengths_are_refused():
    a, b = (keras.layers.Input((3,), name=name) for name in "ab")
    model = keras.Model([a, b], keras.layers.Add()([a, b]))
    with pytest.raises(DataError, match=r"different lengths: \[100, 50\]"):
        convert(model, Recipe.INT8, [(POINTS, POINTS[:50])])


def as_tensorflow_does():
    for image in IMAGES:
        yield [image[np.newaxis]]


LABELS = np.zeros(len(IMAGES), np.int64)
Dataset = tf.data.Dataset
DATA_FORMS = {
    "array": IMAGES,
    "tensor": tf.constant(IMAGES),
    "list of samples": list(IMAGES),
    "function as TensorFlow's": as_tensorflow_does,
    "generator": as_tensorflow_does(),
    "Dataset of samples": Dataset.from_tensor_slices(IMAGES),
    "Dataset of samples with labels": Dataset.from_tensor_slices((IMAGES, LABELS)),
    "Dataset of batches": Dataset.from_tensor_slices(IMAGES).batch(7),
    "Dataset of batches with labels": Dataset.from_tensor_slices((IMAGES, LABELS)).batch(7),
}


@pytest.mark.slow
def test_all_forms_of_the_same_data_give_the_same_file():
    model = image_model()
    first, *others = [convert(model, Recipe.INT8, data) for data in DATA_FORMS.values()]
    assert [name for name, file in zip(list(DATA_FORMS)[1:], others, strict=True) if file != first] == []


@pytest.mark.parametrize(
    "dataset",
    [
        pytest.param(Dataset.from_tensor_slices((POINTS, POINTS)), id="pairs"),
        pytest.param(Dataset.from_tensor_slices(((POINTS, POINTS), POINTS[:, 0])), id="pairs with labels"),
        pytest.param(Dataset.from_tensor_slices({"b": POINTS, "a": POINTS}), id="by name"),
        pytest.param(
            Dataset.from_tensor_slices(({"b": POINTS, "a": POINTS}, POINTS[:, 0])), id="by name with labels"
        ),
    ],
)
def test_datasets_for_two_inputs(dataset):
    a, b = (keras.layers.Input((3,), name=name) for name in "ab")
    model = keras.Model([a, b], keras.layers.Add()([a, b]))
    assert convert(model, Recipe.INT8, dataset.batch(10))


def test_integer_inputs_are_taken_as_they_are():
    layers = [keras.layers.Embedding(10, 3, input_length=5), keras.layers.Flatten(), keras.layers.Dense(2)]
    words = rng.integers(0, 10, (50, 5)).astype(np.int32)
    model = keras.Sequential([keras.layers.Input((5,), dtype="int32"), *layers])
    assert convert(model, Recipe.INT8, words)


def test_pixels_that_were_not_scaled_are_warned_of_where_convert_is_called():
    with pytest.warns(RepresentativeDataWarning, match="up to 255") as caught:
        convert(image_model(), Recipe.INT8, np.full_like(IMAGES, 255))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("library", KERAS.values(), ids=KERAS)
def test_a_model_that_scales_its_input_takes_pixels_as_they_are(library):
    layers = [library.layers.Input((4, 4, 1)), library.layers.Rescaling(1 / 255), library.layers.Flatten()]
    model = library.Sequential([*layers, library.layers.Dense(2)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(model, Recipe.INT8, IMAGES * 255)


# What cannot be converted


class Subclass(keras_3.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras_3.layers.Dense(2)

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(lambda: keras.Sequential([keras.layers.Dense(2)]), "no input shape", id="unbuilt"),
        pytest.param(lambda: keras_3.Sequential([keras_3.layers.Dense(2)]), "no input shape", id="unbuilt 3"),
        pytest.param(Subclass, r"model\.export", id="a subclass"),
        pytest.param(lambda: keras.layers.Dense(2), "expected a Keras model", id="a layer"),
        pytest.param(lambda: None, "expected a Keras model", id="None"),
        pytest.param(lambda: "no/such/folder", "no SavedModel there", id="missing directory"),
        pytest.param(
            lambda: keras.Sequential([keras.layers.Dense(2, input_shape=(None, 3))]),
            "only the batch may be free",
            id="free dimensions",
        ),
    ],
)
def test_what_is_no_complete_model_is_refused(model, message):
    with pytest.raises(ConversionError, match=message):
        convert(model(), Recipe.FLOAT32)


def test_a_recipe_is_one_of_the_enumeration():
    with pytest.raises(ConversionError, match=r"Recipe\.INT8"):
        convert(dense(), "int8")


@pytest.mark.slow
def test_a_subclass_converts_by_way_of_export(tmp_path):
    model = Subclass()
    model(POINTS)
    assert convert(saved(model, tmp_path / "model"), Recipe.INT8, POINTS)


def test_a_saved_model_without_a_signature_is_refused(tmp_path):
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x)
    tf.saved_model.save(module, str(tmp_path))
    with pytest.raises(ConversionError, match="no signature serving_default"):
        convert(tmp_path, Recipe.FLOAT32)


def test_of_several_signatures_serving_default_is_converted(tmp_path):
    module, spec = tf.Module(), tf.TensorSpec([None, 3], tf.float32)
    functions = {"serving_default": tf.function(lambda x: 3 * x), "a_first": tf.function(lambda x: 2 * x)}
    signatures = {name: f.get_concrete_function(spec) for name, f in functions.items()}
    module.functions = functions
    tf.saved_model.save(module, str(tmp_path), signatures=signatures)
    content = convert(tmp_path, Recipe.FLOAT32)
    assert runners.load(content).predict(np.ones((1, 3))).tolist() == [[3, 3, 3]]


def test_a_damaged_saved_model_is_refused(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"no SavedModel")
    with pytest.raises(ConversionError, match="damaged SavedModel"):
        convert(tmp_path, Recipe.FLOAT32)


@pytest.mark.parametrize("library", KERAS.values(), ids=KERAS)
@pytest.mark.parametrize("recipe", [Recipe.FLOAT32, Recipe.INT8])
def test_an_operation_without_an_operator_is_named(library, recipe):
    model = library.Sequential([library.layers.Input((3,)), library.layers.Lambda(tf.math.erfinv)])
    with pytest.raises(ConversionError, match=r"no operator for tf\.Erfinv"):
        convert(model, recipe, POINTS / 10)


# What convert leaves alone


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_written_while_converting(form, tmp_path, capfd):
    given, _ = made(form, dense, tmp_path / "model")
    capfd.readouterr()
    convert(given, Recipe.INT8, POINTS)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_written_when_converting_fails(capfd):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(tf.math.erfinv)])
    capfd.readouterr()
    with pytest.raises(ConversionError):
        convert(model, Recipe.FLOAT32)
    assert capfd.readouterr() == ("", "")


def test_logging_and_warnings_are_as_before(monkeypatch):
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    for logger in loggers:
        monkeypatch.setattr(logger, "level", logging.DEBUG)
    filters, output = list(warnings.filters), sys.stdout
    convert(dense(), Recipe.FLOAT32)
    assert [logger.level for logger in loggers] == [logging.DEBUG] * 2
    assert list(warnings.filters) == filters
    assert sys.stdout is output
