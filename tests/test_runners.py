"""Batches, the way in and out of the integers, intermediate tensors, and what is refused."""

import numpy as np
import pytest

from tinylab import runners
from tinylab._tensorflow import keras, tf
from tinylab.affine import dequantize, quantize
from tinylab.conversion import Recipe
from tinylab.errors import DataError, ModelFileError, TinylabError
from tinylab.quiet import quiet

rng = np.random.default_rng(0)
POINTS = rng.normal(size=(1000, 3)).astype(np.float32)


def converted(function, *shapes, dtype=tf.float32):
    """A file of a TensorFlow function, without tinylab's check."""
    concrete = tf.function(function).get_concrete_function(*(tf.TensorSpec(shape, dtype) for shape in shapes))
    with quiet():
        return tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert()


@pytest.mark.parametrize("kernels", runners.KERNELS)
@pytest.mark.parametrize("recipe", [recipe.value for recipe in Recipe])
def test_every_recipe_runs_on_every_set_of_kernels(cnn, cnn_files, fashion, kernels, recipe):
    images = fashion[0][:20]
    answers = runners.load(cnn_files[recipe], kernels=kernels).predict(images)
    assert (answers.shape, answers.dtype) == ((20, 10), np.float32)
    assert np.abs(answers - np.asarray(cnn(images))).max() < 0.1


def test_specifications_of_inputs_and_outputs(dense_files):
    runner = runners.load(dense_files["int8"])
    spec = runner.inputs[0]
    assert (spec.shape, spec.dtype) == ((1, 3), np.int8)
    assert spec.scale == pytest.approx(runner.file.tensors[runner.file.inputs[0]].scale[0])
    assert isinstance(spec.zero_point, int)
    floating = runners.load(dense_files["float32"]).outputs[0]
    assert (floating.dtype, floating.scale, floating.zero_point, floating.params) == (
        np.float32,
        None,
        None,
        None,
    )


def test_a_path_and_bytes_run_the_same(dense_files, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(dense_files["float32"])
    expected = runners.load(dense_files["float32"]).predict(POINTS)
    assert np.array_equal(runners.load(path).predict(POINTS), expected)


# Batches


def one_by_one(runner, x):
    return np.concatenate([runner.predict(x[i : i + 1]) for i in range(len(x))])


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 1000])
@pytest.mark.parametrize("kernels", runners.KERNELS)
def test_a_batch_gives_what_its_samples_give_one_by_one(dense_files, count, kernels):
    x = POINTS[:count]
    for recipe, tolerance in (("float32", 1e-5), ("int8", 0)):
        batches, singles = (runners.load(dense_files[recipe], kernels=kernels) for _ in range(2))
        assert np.abs(batches.predict(x) - one_by_one(singles, x)).max() <= tolerance


@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_images_in_a_batch_give_what_they_give_one_by_one(cnn_files, fashion, recipe):
    images = fashion[0][:300]
    runner = runners.load(cnn_files[recipe])
    tolerance = 1e-5 if recipe == "float32" else 0
    assert np.abs(runner.predict(images) - one_by_one(runner, images)).max() <= tolerance


@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_no_samples_give_no_answers(dense_files, recipe):
    answers = runners.load(dense_files[recipe]).predict(POINTS[:0])
    assert (answers.shape, answers.dtype) == ((0, 2), np.float32)


def test_batches_of_changing_sizes_through_one_runner(dense_files):
    runner = runners.load(dense_files["int8"])
    expected = runner.predict(POINTS)
    for count in (5, 300, 1, 0, 256, 7):
        assert np.array_equal(runner.predict(POINTS[:count]), expected[:count])


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_a_file_with_a_fixed_batch_takes_any_number_of_samples(batch, count):
    runner = runners.load(converted(lambda x: x * 2 + 1, (batch, 3)))
    answers = runner.predict(POINTS[:count])
    assert answers.shape == (count, 3)
    np.testing.assert_allclose(answers, POINTS[:count] * 2 + 1, rtol=1e-6)


# A free batch outside, and inside a shape that fits one sample only
FIXED_INSIDE = {
    "reshape": lambda x: tf.reshape(tf.reshape(x, [3]) * 2, [1, 3]),
    "sum over all": lambda x: tf.reshape(tf.reduce_sum(x * 2), [1, 1]) * [[1.0, 1.0, 1.0]],
}


@pytest.mark.parametrize("function", FIXED_INSIDE.values(), ids=FIXED_INSIDE)
@pytest.mark.parametrize("kernels", runners.KERNELS)
def test_a_free_batch_with_a_fixed_one_inside_runs_one_by_one(function, kernels):
    runner = runners.load(converted(function, (None, 3)), kernels=kernels)
    expected = np.concatenate([function(x[np.newaxis]) for x in POINTS[:9]])
    for _ in range(2):
        np.testing.assert_allclose(runner.predict(POINTS[:9]), expected, rtol=1e-5)


def test_two_inputs_and_two_outputs():
    runner = runners.load(converted(lambda a, b: (a + b, a * b), (None, 3), (None, 3)))
    a, b = POINTS[:300], POINTS[300:600]
    total, product = sorted(runner.predict([a, b]), key=lambda y: np.abs(y - a - b).max())
    np.testing.assert_allclose(total, a + b, rtol=1e-6)
    np.testing.assert_allclose(product, a * b, rtol=1e-6)
    assert [array.dtype for array in runner.in_own_types([a.astype(np.float64), b])] == [np.float32] * 2


# In and out of the integers


@pytest.mark.parametrize("recipe", ["int8", "int8_uint8_io", "int16x8"])
def test_predict_rounds_saturates_and_goes_back_to_real_numbers(dense_files, recipe):
    runner = runners.load(dense_files[recipe], kernels="reference")
    x = np.concatenate([POINTS, POINTS * 100])
    codes = quantize(x, runner.inputs[0].params)
    assert np.array_equal(runner.in_own_types(x), [codes])
    answers = runner.predict_integers(codes)
    assert answers.dtype == runner.outputs[0].dtype
    assert np.array_equal(runner.predict(x), dequantize(answers, runner.outputs[0].params))


def test_numbers_just_below_a_code_are_rounded_up_to_it(dense_files):
    runner = runners.load(dense_files["int8"])
    spec = runner.inputs[0]
    codes = np.array([[10, 20, 30]], np.int8)
    x = dequantize(codes, spec.params)
    for shift in (-0.4, 0.4):
        assert np.array_equal(runner.predict(x + shift * spec.scale), runner.predict(x))


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint8", "int64"])
def test_predict_integers_takes_the_files_own_dtype_only(dense_files, dtype):
    runner = runners.load(dense_files["int8"])
    with pytest.raises(DataError, match=f"{dtype} given, the file takes int8"):
        runner.predict_integers(np.zeros((2, 3), dtype))


def test_predict_takes_any_kind_of_numbers(dense_files):
    runner = runners.load(dense_files["float32"])
    expected = runner.predict(np.ones((2, 3), np.float32))
    for x in (np.ones((2, 3), np.uint8), np.ones((2, 3)), np.ones((2, 3), bool), [[1, 1, 1], [1, 1, 1]]):
        assert np.array_equal(runner.predict(x), expected)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (POINTS[:, :2], r"shape \(1000, 2\) given, \(N, 3\) expected"),
        (POINTS[0], "one sample needs a batch axis"),
        (np.float32(1), r"shape \(\) given"),
        (np.full((2, 3), np.nan), "NaN"),
        (np.full((2, 3), np.inf), "infinity"),
        (np.full((2, 3), "1"), "numbers expected"),
        (np.full((2, 3), None), "numbers expected"),
        ([POINTS, POINTS], r"shape \(2, 1000, 3\) given"),
    ],
)
@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_unusable_inputs_are_refused(dense_files, recipe, x, message):
    with pytest.raises(DataError, match=message):
        runners.load(dense_files[recipe]).predict(x)


def test_a_missing_channel_axis_is_pointed_out(cnn_files, fashion):
    with pytest.raises(DataError, match=r"x\[\.\.\., np\.newaxis\]"):
        runners.load(cnn_files["float32"]).predict(fashion[0][..., 0])


def test_a_wrong_number_of_inputs_or_different_lengths_are_refused():
    runner = runners.load(converted(lambda a, b: a + b, (None, 3), (None, 3)))
    with pytest.raises(DataError, match="3 inputs given, 2 expected"):
        runner.predict([POINTS, POINTS, POINTS])
    with pytest.raises(DataError, match="different lengths"):
        runner.predict([POINTS, POINTS[:5]])


def test_integers_beyond_an_unquantized_integer_input_are_refused():
    runner = runners.load(converted(lambda x: x + 1, (None, 3), dtype=tf.int32))
    assert runner.predict(np.array([[1.0, 2, 3]])).tolist() == [[2, 3, 4]]
    for x in ([[0.5, 1, 1]], [[2**40, 1, 1]]):
        with pytest.raises(DataError, match="do not fit"):
            runner.predict(np.array(x))


# Intermediate tensors


@pytest.mark.parametrize("kernels", ["reference", "optimized"])
@pytest.mark.parametrize("recipe", ["float32", "int8", "int8_uint8_io", "int16x8"])
def test_trace_gives_the_answer_and_every_computed_tensor(cnn_files, fashion, recipe, kernels):
    runner = runners.load(cnn_files[recipe], kernels=kernels)
    images, spec = fashion[0][:5], runner.inputs[0]
    x = quantize(images, spec.params) if spec.params else images
    trace = runner.trace(x)
    assert np.array_equal(trace.outputs, runner.predict_integers(x))
    assert list(trace.tensors) == [runner.file.tensors[i].name for i in runner.file.computed]
    for index, tensor in zip(runner.file.computed, trace.tensors.values(), strict=True):
        assert tensor.shape[1:] == runner.file.tensors[index].shape[1:]
        assert str(tensor.dtype) == runner.file.tensors[index].dtype
    first, *_, last = trace.tensors.values()
    assert np.array_equal(first, x)
    assert np.array_equal(last, trace.outputs)


def test_a_traced_layer_is_what_keras_computes(cnn, cnn_files, fashion):
    images = fashion[0][:5]
    trace = runners.load(cnn_files["float32"], kernels="reference").trace(images)
    half = keras.Model(cnn.inputs, cnn.layers[3].output)(images)
    traced = [tensor for tensor in trace.tensors.values() if tensor.shape == half.shape]
    np.testing.assert_allclose(traced[0], half, atol=1e-5)


def test_trace_on_the_default_kernels_explains_why_not(dense_files):
    with pytest.raises(TinylabError, match="kernels='reference' or 'optimized'"):
        runners.load(dense_files["float32"]).trace(POINTS)


def test_trace_of_a_file_with_a_fixed_batch():
    runner = runners.load(converted(lambda x: tf.nn.relu(x * 2) + 1, (4, 3)), kernels="reference")
    trace = runner.trace(POINTS[:8])
    assert np.array_equal(trace.outputs, runner.predict(POINTS[:8]))
    assert {tensor.shape for tensor in trace.tensors.values()} == {(8, 3)}
    with pytest.raises(TinylabError, match="multiple of 4"):
        runner.trace(POINTS[:6])


@pytest.mark.parametrize("function", FIXED_INSIDE.values(), ids=FIXED_INSIDE)
def test_trace_of_a_free_batch_with_a_fixed_one_inside(function):
    runner = runners.load(converted(function, (None, 3)), kernels="reference")
    trace = runner.trace(POINTS[:4])
    assert np.array_equal(trace.outputs, runner.predict(POINTS[:4]))


# What cannot be loaded


def test_unknown_engines_and_kernels_are_refused(dense_files):
    with pytest.raises(TinylabError, match="no engine 'tpu'"):
        runners.load(dense_files["float32"], engine="tpu")
    with pytest.raises(TinylabError, match="no kernels 'fast'"):
        runners.load(dense_files["float32"], kernels="fast")


def test_an_operator_that_litert_lacks_is_refused_by_name():
    concrete = tf.function(tf.math.erfinv).get_concrete_function(tf.TensorSpec((None, 3)))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
    converter.allow_custom_ops = True
    with quiet():
        content = converter.convert()
    with pytest.raises(ModelFileError, match="Erfinv"):
        runners.load(content)


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(ModelFileError, match="string"):
        runners.load(converted(lambda x: tf.reshape(x, [-1]), (2, 3), dtype=tf.string))


def test_nothing_is_written_while_running(cnn_files, fashion, capfd):
    for kernels in runners.KERNELS:
        runners.load(cnn_files["int8"], kernels=kernels).predict(fashion[0][:300])
    assert capfd.readouterr() == ("", "")


def test_a_name_that_is_no_text_does_not_stop_a_file_from_running(dense_files):
    content = dense_files["float32"]
    renamed = content.replace(b"serving_default_", b"serving\xffdefault_")  # of the input tensor
    assert renamed != content
    assert np.array_equal(runners.load(renamed).predict(POINTS), runners.load(content).predict(POINTS))


def test_the_factory_of_interpreters_knows_the_kernels_too(dense_files):
    with pytest.raises(TinylabError, match="no kernels 'fast'"):
        runners.interpreter(dense_files["float32"], "fast")


def test_a_batch_may_be_nested_lists(dense_files):
    runner = runners.load(dense_files["float32"])
    one = [[0.5, -0.5, 1.0]]
    assert np.array_equal(runner.predict(one), runner.predict(np.array(one)))
