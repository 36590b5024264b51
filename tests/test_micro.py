"""TensorFlow Lite Micro in a process of its own: what it answers, what it refuses, how the process ends."""

import functools
import gc
import importlib.util
import os
import platform
import signal
import sys
import time

import numpy as np
import psutil
import pytest

from tests.architectures import int8_file
from tinylab import arena, one_operator, runners
from tinylab.affine import AffineParams, quantize
from tinylab.errors import DataError, ModelFileError, TinylabError
from tinylab.fixed_point import (
    multiply_double,
    multiply_fixed_point,
    multiply_reduced,
    quantize_multiplier,
    real_multiplier,
)
from tinylab.one_operator import Values
from tinylab.quiet import quiet
from tinylab.runners import micro
from tinylab.runners.integer.kernels.rescaling import finished

POINTS = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)


@pytest.fixture
def load():
    """`runners.load` for the engine, where there is a package for it."""
    pytest.importorskip("tflite_micro", reason="no tflite-micro for this machine")
    return functools.partial(runners.load, engine="micro")


@pytest.fixture
def small(load, dense_files):
    """A runner with a process of its own for each test."""
    return load(dense_files["int8"])


def process_of(runner) -> psutil.Process:
    return psutil.Process(runner._child._process.pid)


def converted(function, *shapes):
    """A file of a TensorFlow function, without tinylab's check."""
    from tinylab._tensorflow import tf

    concrete = tf.function(function).get_concrete_function(*(tf.TensorSpec(shape) for shape in shapes))
    with quiet():
        return tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert()


# What it answers


def dense_in_fixed_point(x, weights, bias, x_params, w_params, params, activation, keep_dims):
    """FULLY_CONNECTED as a microcontroller computes it, for the integer engine."""
    sums = (x.reshape(-1, weights.shape[1]).astype(np.int64) - x_params.zero_point) @ weights.T
    sums = sums if bias is None else sums + bias
    real = real_multiplier(x_params.scale, w_params.scale, params.scale)
    multiply = multiply_reduced if params.dtype == "int16" else multiply_fixed_point
    return finished(multiply(sums, *quantize_multiplier(real)), params, activation)


def without_last_layers(model, count):
    """A trained network's layers up to there; with count=0, all of it but the softmax."""
    from tinylab._tensorflow import keras

    if count:
        return keras.Model(model.inputs, model.layers[-1 - count].output)
    last = keras.layers.Dense(10)
    cut = keras.Model(model.inputs, last(model.layers[-2].output))
    last.set_weights(model.layers[-1].get_weights())
    return cut


@pytest.fixture(scope="module", params=["small_cnn", "small_resnet"])
def trained(request):
    from tinylab import models

    return models.trained(request.param)


@pytest.fixture(scope="module")
def representative():
    from tinylab import data

    return data.arrays("fashion_mnist", "train")[0][:500].astype(np.float32) / 255


def answers_of_three(load, model, representative, images, recipe="int8"):
    """A file's answers: micro, LiteRT's reference kernels, and ours with dense_in_fixed_point."""
    from tinylab.conversion import Recipe, convert

    content = convert(model, Recipe(recipe), representative)
    ours = runners.load(content, engine="integer", kernels={"FULLY_CONNECTED": dense_in_fixed_point})
    reference = runners.load(content, kernels="reference")
    codes = quantize(images, reference.inputs[0].params)
    return [runner.predict_integers(codes) for runner in (load(content), reference, ours)]


@pytest.mark.slow
def test_a_network_differs_from_the_reference_kernels_in_the_rounding_of_dense_layers_only(
    load, trained, representative, fashion
):
    answers, reference, ours = answers_of_three(load, trained, representative, fashion[0])
    assert np.array_equal(answers, ours)
    assert 0 < np.count_nonzero(answers != reference) < 100  # of 20,000
    assert np.array_equal(answers.argmax(axis=1), reference.argmax(axis=1))


@pytest.mark.slow
def test_before_the_softmax_the_difference_is_one_code(load, trained, representative, fashion):
    logits = without_last_layers(trained, 0)
    answers, reference, ours = answers_of_three(load, logits, representative, fashion[0])
    assert np.array_equal(answers, ours)
    differences = answers.astype(int) - reference
    assert 0 < np.count_nonzero(differences) < 100
    assert np.abs(differences).max() == 1


@pytest.mark.slow
def test_with_activations_of_16_bits_dense_layers_round_with_a_multiplier_of_16_bits(
    load, trained, representative, fashion
):
    logits = without_last_layers(trained, 0)
    answers, reference, ours = answers_of_three(load, logits, representative, fashion[0][:500], "int16x8")
    assert np.array_equal(answers, ours)
    differences = answers.astype(int) - reference
    assert 100 < np.count_nonzero(differences) < 2500  # of 5,000
    assert np.abs(differences).max() <= 2


@pytest.fixture(scope="module", params=["average", "max", "separable"])
def motion_network(request):
    """Lesson 10's network, trained for a moment."""
    from tinylab import capstone

    choice = {"separable": True} if request.param == "separable" else {"pooling": request.param}
    return capstone.train(capstone.Design(epochs=1, **choice))


@pytest.mark.slow
def test_motion_networks_differ_in_the_rounding_of_dense_layers_only(load, motion_network):
    from tinylab import capstone

    representative, windows = (capstone.prepared(split)[0] for split in ("train", "test"))
    answers, reference, ours = answers_of_three(load, motion_network, representative[:200], windows)
    assert np.array_equal(answers, ours)
    assert np.count_nonzero(answers != reference) < 10  # of 3,409
    assert np.array_equal(answers.argmax(axis=1), reference.argmax(axis=1))


@pytest.mark.long
def test_a_large_network_differs_in_the_rounding_of_dense_layers_only(load):
    from tinylab import data, models
    from tinylab._tensorflow import keras

    keras.utils.set_random_seed(0)
    network = keras.Sequential([models.mobilenet_v2(), keras.layers.Dense(10, "softmax")])
    pictures = np.repeat(data.arrays("fashion_mnist", "test")[0][:24], 3, axis=-1)
    pictures = pictures.repeat(8, axis=1).repeat(8, axis=2).astype(np.float32) / 127.5 - 1
    answers, reference, ours = answers_of_three(load, network, pictures[:4], pictures)
    assert np.array_equal(answers, ours)
    assert np.count_nonzero(answers != reference) < 10  # of 240


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet8", "ds_cnn", "autoencoder", "motion_cnn"])
def test_well_known_architectures_differ_in_the_rounding_of_dense_layers_only(load, name):
    content = int8_file(name)
    ours = runners.load(content, engine="integer", kernels={"FULLY_CONNECTED": dense_in_fixed_point})
    shape = (8, *ours.inputs[0].shape[1:])
    codes = np.random.default_rng(0).integers(-128, 128, shape, dtype=np.int8)
    assert np.array_equal(load(content).predict_integers(codes), ours.predict_integers(codes))


@pytest.mark.slow
def test_without_dense_layers_there_is_no_difference(load, trained, representative, fashion):
    from tinylab._tensorflow import keras

    dense = sum(isinstance(layer, keras.layers.Dense) for layer in trained.layers)
    convolutions = without_last_layers(trained, dense + 2)  # without Flatten and Dropout, too
    answers, reference, _ = answers_of_three(load, convolutions, representative, fashion[0][:500])
    assert answers.ndim == 4
    assert np.array_equal(answers, reference)


def test_a_dense_layer_rounds_twice_where_the_reference_kernel_rounds_once(load):
    sums = np.arange(-128, 128, dtype=np.int8)
    x, weights = Values(sums[:1, np.newaxis], 0.3), Values(np.int8([[1]]), 1.0)
    output = Values(np.zeros((1, 1), np.int8), 1.0)
    bias = Values(np.int32([0]), 0.3)
    options = one_operator.schema.FullyConnectedOptionsT()
    content = one_operator.tflite("FULLY_CONNECTED", options, [x, weights, bias], output)
    real = real_multiplier(np.float32(0.3), np.float32(1), np.float32(1))
    twice, once = multiply_fixed_point(sums, *quantize_multiplier(real)), multiply_double(sums, real)
    assert (twice[sums == 8], once[sums == 8]) == (3, 2)  # 8 * 0.3 = 2.4
    column = sums[:, np.newaxis]
    assert np.array_equal(load(content).predict_integers(column)[:, 0], twice)
    assert np.array_equal(runners.load(content, kernels="reference").predict_integers(column)[:, 0], once)


@pytest.mark.parametrize("output_scale", [0.05, 0.06])
def test_a_relu6_of_its_own_limits_codes_and_does_not_rescale_them(load, output_scale):
    codes = np.arange(-128, 128, dtype=np.int8)[:, np.newaxis]
    params = AffineParams(0.05, -10)
    output = Values(np.zeros((1, 1), np.int8), output_scale, -10)
    content = one_operator.tflite("RELU6", None, [Values(codes[:1], 0.05, -10)], output)
    limited = np.clip(codes, *quantize(np.array([0.0, 6.0]), params))
    assert np.array_equal(load(content).predict_integers(codes), limited)
    reference = runners.load(content, kernels="reference").predict_integers(codes)
    assert np.array_equal(reference, limited) == (output_scale == params.scale)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["float32", "int8_uint8_io", "int16x8"])
def test_other_recipes_answer_nearly_as_the_reference_kernels(load, cnn_files, fashion, recipe):
    images = fashion[0][:50]
    answers = load(cnn_files[recipe]).predict(images)
    assert (answers.shape, answers.dtype) == ((50, 10), np.float32)
    reference = runners.load(cnn_files[recipe], kernels="reference").predict(images)
    assert np.abs(answers - reference).max() < (1e-6 if recipe == "float32" else 0.05)


@pytest.mark.slow
def test_a_thousand_images_are_answered_by_one_process(load, cnn_files, fashion):
    runner = load(cnn_files["int8"])
    runner.predict(fashion[0][:1])
    process = process_of(runner)
    runner.predict(fashion[0][:1000])
    assert process_of(runner) == process


# Batches


@pytest.mark.parametrize("count", [0, 1, 2, 256, 257])
def test_a_batch_gives_what_its_samples_give_one_by_one(small, count):
    singles = [small.predict(POINTS[i : i + 1]) for i in range(count)]
    expected = np.concatenate([np.empty((0, 2), np.float32), *singles])
    answers = small.predict(POINTS[:count])
    assert answers.dtype == np.float32
    assert np.array_equal(answers, expected)


@pytest.mark.parametrize("count", [0, 1, 4, 9])
def test_a_file_with_a_fixed_batch_takes_any_number_of_samples(load, count):
    answers = load(converted(lambda x: x * 2 + 1, (4, 3))).predict(POINTS[:count])
    np.testing.assert_allclose(answers, POINTS[:count] * 2 + 1, rtol=1e-6)


@pytest.mark.slow
def test_two_inputs_and_two_outputs(load):
    content = converted(lambda a, b: (a + b, a * b), (None, 3), (None, 3))
    inputs = [POINTS[:150], POINTS[150:]]
    reference = runners.load(content, kernels="reference").predict(inputs)
    for answers, expected in zip(load(content).predict(inputs), reference, strict=True):
        np.testing.assert_allclose(answers, expected, rtol=1e-6)


def test_the_layout_of_an_array_in_memory_does_not_matter(load, cnn_files, fashion):
    runner, images = load(cnn_files["float32"]), fashion[0][:3]
    expected = runner.predict(images)
    assert np.array_equal(runner.predict(np.asfortranarray(images)), expected)
    assert np.array_equal(runner.predict(images[::-1])[::-1], expected)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3), np.float32), "float32 given, the file takes int8"),
        (np.zeros((2, 3), np.uint8), "uint8 given, the file takes int8"),
        (np.zeros((2, 2), np.int8), r"shape \(2, 2\) given, \(N, 3\) expected"),
        (np.zeros(3, np.int8), "one sample needs a batch axis"),
    ],
)
def test_unusable_inputs_are_refused(small, x, message):
    with pytest.raises(DataError, match=message):
        small.predict_integers(x)


# What it refuses


def test_trace_explains_why_not(small):
    with pytest.raises(TinylabError, match="reuses its memory and keeps no intermediate tensors"):
        small.trace(np.zeros((1, 3), np.int8))


@pytest.mark.parametrize("kernels", ["reference", {"ADD": None}])
def test_it_has_kernels_of_its_own(load, dense_files, kernels):
    with pytest.raises(TinylabError, match="kernels of its own"):
        load(dense_files["int8"], kernels=kernels)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            "dynamic_range",
            r"Hybrid models are not supported on TFLite Micro \(CONV_2D, operator 2\)\. This operator has "
            # Keras numbers layers on, network by network
            r"float32 \(small_cnn/max_pooling2d\w*/MaxPool\) beside int8 \(small_cnn/conv2d\w*/Conv2D\); all",
        ),
        (
            "float16",
            r"was not true \(DEQUANTIZE, operator \d\)\. This operator has float32 .* beside float16 ",
        ),
    ],
)
def test_float_beside_integers_is_refused_and_named(load, cnn_files, tmp_path, recipe, message):
    path = tmp_path / "model.tflite"
    path.write_bytes(cnn_files[recipe])
    with pytest.raises(ModelFileError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: TensorFlow Lite Micro refuses it: ")
    assert "\n" not in str(caught.value)


def test_an_operator_that_it_lacks_is_refused_by_name(load):
    from tinylab._tensorflow import tf

    content = converted(lambda x: tf.tile(x, [1, 2]), (1, 3))
    runners.load(content)  # LiteRT has it
    with pytest.raises(ModelFileError, match=r"refuses it: .*'TILE'\.$"):
        load(content)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x1c\0\0\0TFL3" + b"\xff" * 100])
def test_what_is_no_model_is_refused(load, content):
    with pytest.raises(ModelFileError):
        load(content)


def test_a_file_cut_short_is_refused(load, dense_files):
    content = dense_files["int8"]
    with pytest.raises(ModelFileError, match="damaged or cut short"):
        load(content[: len(content) // 2])


@pytest.mark.slow
def test_a_corrupted_file_gives_answers_or_an_error(load, dense_files):
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        content = np.frombuffer(dense_files["int8"], np.uint8).copy()
        content[rng.integers(8, len(content), 12)] = rng.integers(0, 256, 12)
        try:
            runner = load(content.tobytes())
            runner.predict_integers(np.zeros((2, *runner.inputs[0].shape[1:]), runner.inputs[0].dtype))
        except TinylabError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    ("system", "version", "message"),
    [
        ("Linux", (3, 12), "pip install --pre tflite-micro"),
        ("Linux", (3, 13), "none for Linux x86_64 .* Linux on x86-64 with Python 3.10 to 3.12"),
        ("Darwin", (3, 12), "none for Darwin x86_64 .*engine='litert' with kernels='reference'"),
    ],
)
def test_where_the_package_is_missing_the_message_says_so(dense_files, monkeypatch, system, version, message):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(TinylabError, match=message):
        runners.load(dense_files["int8"], engine="micro")


# The arena


@pytest.mark.parametrize("first", [0, 500])  # bytes; without any the process ends
def test_an_arena_that_is_too_small_grows(load, dense_files, monkeypatch, first):
    expected = runners.load(dense_files["float32"], kernels="reference").predict(POINTS)
    monkeypatch.setattr(micro, "SMALLEST_ARENA", first)
    runner = load(dense_files["float32"])
    assert 1000 < runner._child.arena < 2**20
    np.testing.assert_allclose(runner.predict(POINTS), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("largest", "message"),
    [
        (
            100,
            r"the signal SIGSEGV and said: Failed to allocate .* its arena of 100 bytes is too small",
        ),
        (500, r"refuses it: Failed to .* missing: "),
    ],
)
def test_a_model_too_large_for_any_arena_is_refused(load, dense_files, monkeypatch, largest, message):
    monkeypatch.setattr(micro, "LARGEST_ARENA", largest)
    with pytest.raises(ModelFileError, match=message):
        load(dense_files["int8"])


@pytest.mark.slow
def test_an_arena_of_a_given_size_is_taken_as_it_is(load, small, dense_files):
    enough = arena.smallest(dense_files["int8"])
    exact = micro.MicroRunner(dense_files["int8"], enough)
    assert exact._child.arena == enough
    assert np.array_equal(exact.predict(POINTS), small.predict(POINTS))
    with pytest.raises(
        TinylabError, match=rf"an arena of {enough - 1:,} bytes is too small for this model"
    ) as caught:
        micro.MicroRunner(dense_files["int8"], enough - 1)
    assert "tinylab.arena.smallest finds what is enough" in str(caught.value)
    assert np.array_equal(exact.predict(POINTS), small.predict(POINTS))


def test_an_arena_so_small_that_the_process_dies_is_the_same_error(load, dense_files):
    with pytest.raises(
        TinylabError, match=r"an arena of 100 bytes is too small .* the signal SIGSEGV and said: "
    ):
        micro.MicroRunner(dense_files["int8"], arena=100)


def test_a_model_that_no_arena_helps_is_refused_for_its_own_reason(load, cnn_files):
    with pytest.raises(ModelFileError, match="Hybrid models are not supported"):
        micro.MicroRunner(cnn_files["dynamic_range"], arena=100)


@pytest.mark.parametrize("wrong", [{"arena": 0}, {"arena": 2**40}, {"seconds": 0}, {"seconds": float("nan")}])
def test_what_is_no_size_and_no_time_is_refused(load, dense_files, wrong):
    with pytest.raises(TinylabError, match=f"{next(iter(wrong))}=.* expected"):
        micro.MicroRunner(dense_files["int8"], **wrong)


# The process


def test_a_killed_process_is_an_error_and_the_next_call_has_a_new_one(small):
    expected = small.predict(POINTS)
    first = process_of(small)
    os.kill(first.pid, signal.SIGKILL)
    with pytest.raises(
        ModelFileError, match=r"Micro ended with the signal SIGKILL\. The next call starts it anew"
    ):
        small.predict(POINTS)
    assert np.array_equal(small.predict(POINTS), expected)
    assert not first.is_running()


def test_a_process_that_does_not_answer_is_given_up(load, dense_files):
    runner = micro.MicroRunner(dense_files["int8"], seconds=0.3)
    first = process_of(runner)
    os.kill(first.pid, signal.SIGSTOP)
    with pytest.raises(ModelFileError, match=r"Micro gave no answer within 0\.3 seconds"):
        runner.predict(POINTS)
    assert not first.is_running()


def test_an_inference_without_end_is_ended_and_the_next_one_works(load):
    from tinylab._tensorflow import tf

    def loop(x):
        return tf.while_loop(lambda y: tf.reduce_sum(y) > 0, lambda y: (y * 1,), (x,))[0]

    runner = micro.MicroRunner(converted(loop, (1, 3)), seconds=2)
    with pytest.raises(
        ModelFileError, match=r"gave no answer within 2 seconds\. The next call starts it anew"
    ):
        runner.predict(np.ones((1, 3)))
    assert np.array_equal(runner.predict(-np.ones((1, 3))), -np.ones((1, 3)))


def test_after_an_interruption_no_answer_is_taken_for_another(small, monkeypatch):
    expected = small.predict(POINTS)

    def interrupted(child, seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(micro._Child, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            small.predict(POINTS[::-1])
    assert np.array_equal(small.predict(POINTS), expected)


def test_several_runners_at_once(load, dense_files):
    several = [load(dense_files[recipe]) for recipe in ("float32", "int8", "float32")]
    assert len({process_of(runner).pid for runner in several}) == 3
    expected = [runner.predict(POINTS) for runner in several]
    for i in range(0, 300, 100):
        for runner, answers in zip(several, expected, strict=True):
            assert np.array_equal(runner.predict(POINTS[i : i + 100]), answers[i : i + 100])


def test_the_process_ends_with_its_runner(load, dense_files):
    runner = load(dense_files["int8"])
    process = process_of(runner)
    assert process.is_running()
    del runner
    gc.collect()
    assert not psutil.pid_exists(process.pid)  # not as a zombie, either


SCRIPT = """
import os, sys
from tinylab import runners
runner = runners.load({path!r}, engine="micro")
print(runner._child._process.pid, flush=True)
{then}
"""


@pytest.mark.slow
@pytest.mark.parametrize("then", ["pass", "sys.exit(3)", "raise ValueError", "os.kill(os.getpid(), 9)"])
def test_no_process_and_no_file_stay_when_python_ends(load, dense_files, run_python, tmp_path, then):
    path = tmp_path / "model.tflite"
    path.write_bytes(dense_files["int8"])
    parent = run_python(SCRIPT.format(path=str(path), then=then), wait=False)
    child = int(parent.communicate(timeout=120)[0])
    deadline = time.monotonic() + 60
    while psutil.pid_exists(child) and time.monotonic() < deadline:
        time.sleep(0.05)  # killed outright, the parent cannot wait for it
    assert not psutil.pid_exists(child)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_importing_the_runners_starts_nothing(run_python):
    code = "import sys, psutil, tinylab.runners; print(*sys.modules, len(psutil.Process().children()))"
    *loaded, children = run_python(code).split()
    assert "tinylab.runners.micro" in loaded
    assert not {"tflite_micro", "tinylab.runners.micro_child"} & set(loaded)
    assert children == "0"


def test_nothing_is_written(load, cnn_files, dense_files, capfd):
    load(dense_files["int8"]).predict(POINTS)
    with pytest.raises(ModelFileError):
        load(cnn_files["dynamic_range"])
    assert capfd.readouterr() == ("", "")
