"""Exercise 03: its solutions on further cases, typical mistakes, and the files that it asks about."""

from collections import Counter

import numpy as np
import pytest

from tinylab import conversion, runners, tflite_file
from tinylab._tensorflow import tf
from tinylab.check import exercise_03 as check
from tinylab.check.networks import image_network
from tinylab.check.task import Outcome
from tinylab.conversion import Recipe

from .conftest import slow
from .solved import Mistakes, checked, solved, tasks

SOLVED = solved("03_int8_representative_data")
TASKS = tasks(check)
CONVERTING = ("to_integers", "diagnose")  # seconds a check


@pytest.mark.parametrize("seed", slow(1, 2, 3))
@pytest.mark.parametrize("name", TASKS)
def test_a_solution_is_right(name, seed):
    result = checked(getattr(check, name), getattr(SOLVED, name), seed)
    assert result.score == 1, result


def scaled(images):
    return images.astype(np.float32) / 255


def items(item):
    """A generator of these items, one an image."""
    return lambda images: (item(image) for image in images)


def forever(images):
    while True:
        yield [scaled(images[:1])]


def stops_with_an_error(images):
    yield [scaled(images[:1])]
    raise ValueError("no more")


def converted(calibration=None, **options):
    """The solution with other options of the converter, or with data of another kind."""

    def to_integers(model, images):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        samples = scaled(images) if calibration is None else calibration(images)
        converter.representative_dataset = lambda: ([sample[np.newaxis]] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
        for name, value in options.items():
            setattr(converter, name, value)
        return converter.convert()

    return to_integers


def by_recipe(recipe):
    return lambda model, images: conversion.convert(model, recipe, scaled(images))


def of_another_network(activation):
    other = image_network(np.random.default_rng(99), activation)
    return lambda model, images: converted()(other, images)


def clip(codes, dtype):
    return np.clip(codes, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def of_input(function):
    """From the input's specification, its smallest and its largest code."""

    def input_range(tflite_model):
        spec = runners.load(tflite_model).inputs[0]
        return function(spec, np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max)

    return input_range


def real(spec, low, high):
    return spec.scale * (low - spec.zero_point), spec.scale * (high - spec.zero_point)


def tensors(tflite_model):
    return tflite_file.parse(tflite_model).tensors


def operators(tflite_model):
    return tflite_file.parse(tflite_model).operators


def used_by(tflite_model, but=("QUANTIZE", "DEQUANTIZE"), least=0):
    """The dtypes of the tensors that operators read and write."""
    indices = [i for o in operators(tflite_model) if o.name not in but for i in (*o.inputs, *o.outputs)]
    return {tensors(tflite_model)[i].dtype for i in indices if i >= least}


def by_ends(inside, far, near):
    """A diagnosis from three questions: integers inside? reaching too far? not far enough?"""

    def diagnose(tflite_model, images):
        if not inside(tflite_model):
            return "float inside"
        low, high = SOLVED.input_range(tflite_model)
        return "not scaled" if far(low, high, images) else "dimmed" if near(low, high, images) else "fine"

    return diagnose


def too_far(low, high, images):
    return high > 10 * images.max()


def too_near(low, high, images):
    return high < 0.75 * images.max()


def in_other_words(words):
    def diagnose(tflite_model, images):
        answer = SOLVED.diagnose(tflite_model, images)
        return words.get(answer, answer)

    return diagnose


MISTAKES = {
    "representative_data": {
        "not scaled": (items(lambda x: [x[np.newaxis].astype(np.float32)]), "divided by 255"),
        "by 256": (items(lambda x: [x[np.newaxis].astype(np.float32) / 256]), "256"),
        "-1 to 1": (items(lambda x: [2 * scaled(x[np.newaxis]) - 1]), "from -1 to 1"),
        "uint8": (items(lambda x: [x[np.newaxis]]), "uint8"),
        "float64": (items(lambda x: [x[np.newaxis] / 255]), "float64"),
        "no batch axis": (items(lambda x: [scaled(x)]), "(28, 28, 1)"),
        "no list": (items(lambda x: scaled(x[np.newaxis])), "in place of a list"),
        "a list of two": (items(lambda x: [scaled(x[np.newaxis]), 0]), "a list of ndarray, int"),
        "lists of lists": (items(lambda x: [[1, [2, 3]]]), "a list of list"),
        "nothing": (items(lambda x: None), "NoneType"),
        "NaN": (items(lambda x: [scaled(x[np.newaxis]) * np.float32(np.nan)]), "nan"),
        "one batch": (lambda images: iter([[scaled(images)]]), "float32"),
        "all but the last": (lambda images: SOLVED.representative_data(images[:-1]), "one for each image"),
        "none": (lambda images: iter([]), "one for each image"),
        "turned round": (lambda images: SOLVED.representative_data(images[::-1]), "in their order"),
        "endless": (forever, "more than"),
        "an array": (scaled, "in place of a list"),
        "a function": (lambda images: lambda: SOLVED.representative_data(images), "got       function"),
    },
    "to_integers": {
        "no optimizations": (by_recipe(Recipe.FLOAT32), "float32, float32"),
        "not scaled": (converted(lambda images: images.astype(np.float32)), "0 to 255"),
        "the first image": (converted(lambda images: scaled(images[:1])), "not all of the images"),
        "dimmed": (converted(lambda images: 0.1 * scaled(images)), "0 to 0.1"),
        "noise": (
            converted(lambda images: np.random.default_rng(0).random(images.shape, np.float32)),
            "expected  an input from 0 to 1",
        ),
        "float32 in": (converted(inference_input_type=tf.float32), "float32, uint8"),
        "float32 out": (converted(inference_output_type=tf.float32), "uint8, float32"),
        "int8": (by_recipe(Recipe.INT8), "int8, int8"),
        "int16x8": (by_recipe(Recipe.INT16X8), "int16, int16"),
        "dynamic range": (by_recipe(Recipe.DYNAMIC_RANGE), "dynamic range"),
        "float16": (by_recipe(Recipe.FLOAT16), "float16"),
        "another network": (of_another_network("relu"), "the model's answers"),
        "a float island": (of_another_network("elu"), "ELU"),
        "the converter": (lambda model, _: tf.lite.TFLiteConverter.from_keras_model(model), "bytes"),
        "no file": (lambda model, images: b"", "empty"),
        "cut short": (lambda model, images: converted()(model, images)[:-200], "cut short"),
    },
    "quantize_images": {
        "cut off": (lambda x, s, z, d: clip(x / s + z, d), "astype does that"),
        "cut off early": (lambda x, s, z, d: clip(np.trunc(x / s) + z, d), "cut off"),
        "upwards": (lambda x, s, z, d: clip(np.ceil(x / s) + z, d), "expected"),
        "wrapped": (lambda x, s, z, d: (np.round(x / s) + z).astype(np.int64).astype(d), "not clipped"),
        "no zero point": (lambda x, s, z, d: clip(np.round(x / s), d), "zero point"),
        "other sign": (lambda x, s, z, d: clip(np.round(x / s) - z, d), "added"),
        "multiplied": (lambda x, s, z, d: clip(np.round(x * s) + z, d), "multiplied"),
        "times 255": (lambda x, s, z, d: clip(np.round(x * 255) + z, d), "expected"),
        "clipped at 0": (lambda x, s, z, d: np.maximum(clip(np.round(x / s) + z, d), 0), "expected"),
        "always uint8": (lambda x, s, z, d: clip(np.round(x / s) + z, "uint8"), "uint8"),
        "floats": (lambda x, s, z, d: clip(np.round(x / s) + z, d).astype(np.float32), "float32"),
    },
    "input_range": {
        "no zero point": (of_input(lambda s, low, high: (s.scale * low, s.scale * high)), "zero point"),
        "other sign": (
            of_input(lambda s, low, high: (s.scale * (low + s.zero_point), s.scale * (high + s.zero_point))),
            "not added",
        ),
        "always int8": (of_input(lambda s, low, high: real(s, -128, 127)), "uint8 goes"),
        "always uint8": (of_input(lambda s, low, high: real(s, 0, 255)), "int8 from"),
        "from -127 on": (of_input(lambda s, low, high: real(s, -127, 127)), "-128 belongs"),
        "256 steps": (of_input(lambda s, low, high: real(s, low, high + 1)), "255 steps"),
        "codes": (of_input(lambda s, low, high: (low, high)), "expected"),
        "from 0 on": (of_input(lambda s, low, high: (0.0, real(s, low, high)[1])), "expected"),
        "turned round": (of_input(lambda s, low, high: real(s, low, high)[::-1]), "expected"),
        "one number": (of_input(lambda s, low, high: real(s, low, high)[1]), "two numbers"),
        "NaN": (lambda tflite_model: (np.nan, np.nan), "nan"),
    },
    "computes_in_integers": {
        "always": (lambda tflite_model: True, "expected  False"),
        "never": (lambda tflite_model: False, "expected  True"),
        "by the input": (lambda t: runners.load(t).inputs[0].dtype != np.float32, "expected"),
        "by any tensor": (lambda t: "float32" not in {x.dtype for x in tensors(t)}, "at its ends"),
        "by any operator": (lambda t: "float32" not in used_by(t, but=()), "at its ends"),
        "by DEQUANTIZE": (lambda t: "DEQUANTIZE" not in {o.name for o in operators(t)}, "expected"),
        "by the weights": (lambda t: any(x.nbytes and x.dtype == "int8" for x in tensors(t)), "expected"),
        "by constants": (
            lambda t: not any(x.nbytes and "float" in x.dtype for x in tensors(t)),
            "islands (ELU)",
        ),
        "with index -1": (lambda t: "float32" not in used_by(t, least=-1), "at its ends"),
        "1 and 0": (lambda t: int(SOLVED.computes_in_integers(t)), "expected"),
        "a string": (lambda t: str(SOLVED.computes_in_integers(t)), "expected"),
    },
    "diagnose": {
        "fine": (lambda tflite_model, images: "fine", "expected"),
        "ends at 1": (
            by_ends(
                SOLVED.computes_in_integers, lambda low, high, x: high > 100, lambda low, high, x: high < 0.75
            ),
            "expected  'dimmed'",
        ),
        "ends at 0.99": (
            by_ends(SOLVED.computes_in_integers, too_far, lambda low, high, x: high < 0.99),
            "expected  'dimmed'",
        ),
        "by width": (
            by_ends(SOLVED.computes_in_integers, too_far, lambda low, high, x: high - low < 0.9),
            "expected  'dimmed'",
        ),
        "no look inside": (
            by_ends(lambda t: runners.load(t).inputs[0].scale is not None, too_far, too_near),
            "ELU",
        ),
        "never dimmed": (in_other_words({"dimmed": "fine"}), "expected  'dimmed'"),
        "never not scaled": (in_other_words({"not scaled": "fine"}), "expected  'not scaled'"),
        "swapped": (in_other_words({"not scaled": "dimmed", "dimmed": "not scaled"}), "expected"),
        "capitals": (lambda t, images: SOLVED.diagnose(t, images).capitalize(), "expected"),
        "True": (lambda t, images: True, "expected"),
    },
}


class TestMistakes(Mistakes):
    check, table, seeds = check, MISTAKES, (2, 3)
    slow_tasks = CONVERTING
    some = 3


def test_an_error_of_a_generator_is_an_error():
    result = check.representative_data(stops_with_an_error)
    assert (result.outcome, result.message) == (Outcome.ERROR, "ValueError: no more")


def test_tensors_of_tensorflow_are_representative_data_too():
    assert check.representative_data(items(lambda x: [tf.constant(scaled(x[np.newaxis]))])).score == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_complaint_is_made_for_two_files(seed):
    patients = check.diagnose.cases(np.random.default_rng(seed))
    answers = Counter(check.diagnose.reference(*patient)[0] for patient in patients)
    assert answers == {"fine": 2, "not scaled": 2, "dimmed": 2, "float inside": 2}


@pytest.mark.parametrize("seed", [1, *slow(2, 3)])
def test_two_of_five_files_compute_in_integers(seed):
    files = check.computes_in_integers.cases(np.random.default_rng(seed))
    assert len(files) == 11
    each_once = dict.fromkeys(files)
    answers = [check.computes_in_integers.reference(*file)[0] for file in each_once]
    assert Counter(answers) == {True: 2, False: 3}
