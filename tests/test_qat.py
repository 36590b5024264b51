"""Quantization-aware models compute what tinylab.affine says, start right, learn, and become such files."""

import importlib
import warnings

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot

from tinylab import models, qat, runners, tflite_file
from tinylab._tensorflow import keras, tf
from tinylab.affine import dequantize, params_from_data, params_from_range, quantize, sqnr
from tinylab.errors import AgreementWarning, ConversionError, DataError, ModelFileError
from tinylab.precision import precision
from tinylab.progress import progress
from tinylab.quiet import quiet

from .conftest import slow

L = keras.layers
Input = L.Input  # tf_keras; an error in a test would otherwise be one of Keras 3
rng = np.random.default_rng(0)
POINTS = rng.normal(size=(64, 6)).astype(np.float32)
IMAGES = rng.random((64, 8, 8, 2)).astype(np.float32)
CLASSES = (POINTS[:, 0] > 0).astype(int) + (POINTS[:, 1] > 0)


@pytest.fixture(autouse=True)
def same_weights(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    keras.utils.set_random_seed(0)


def dense(end=None, middle="relu"):
    return keras.Sequential([Input((6,)), L.Dense(8, middle), L.Dense(3, end)])


def chain(*layers):
    """Convolutional layers for IMAGES, and a dense one behind them."""
    return keras.Sequential([Input((8, 8, 2)), *layers, L.Flatten(), L.Dense(3)])


def with_statistics(model):
    """The model with batch normalizations that have something to fold: scales from 0.2 to 3."""
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            size = layer.gamma.shape
            layer.set_weights([rng.uniform(*span, size) for span in ((0.2, 3), (-1, 1), (-1, 1), (0.3, 3))])
    return model


def branches():
    """Add, Concatenate, GlobalAveragePooling2D, sigmoid in the middle, softmax at the end; two inputs."""
    a, b = Input((8, 8, 2), name="a"), Input((6,), name="b")
    x = L.Conv2D(4, 3, padding="same", activation="relu", name="conv")(a)
    x = L.Add(name="add")([x, L.DepthwiseConv2D(3, padding="same", name="depthwise")(x)])
    x = L.Concatenate(name="concatenate")([x, L.Conv2D(2, 1, activation="tanh", name="tanh")(x)])
    x = L.Dense(4, name="linear")(L.GlobalAveragePooling2D(name="mean")(x))
    y = L.Dense(5, "sigmoid", name="sigmoid")(b)
    x = L.Concatenate(name="both")([x, y])
    return keras.Model([a, b], L.Dense(3, "softmax", name="softmax")(x))


BRANCHES = [IMAGES - 0.25, 40 * POINTS / 16]  # of very different ranges


def pairs(data):
    return [{"a": data[0], "b": data[1]}]


def ranges(quantized):
    """The ranges of activations by layer and quantizer: "quant_conv/post_activation": (low, high)."""
    found = {v.name.split(":")[0]: v.numpy() for v in quantized.weights}
    ends = {n.removesuffix("_max"): (found[n[:-3] + "min"], found[n]) for n in found if n.endswith("_max")}
    return {name: ends[name] for name in ends if not name.endswith("kernel")}


KERNEL_OF = {L.DepthwiseConv2D: "depthwise_kernel"}


def rounded_weights(quantized, layer):
    """A kernel as the quantized model computes with it."""
    inputs = [np.zeros((1, *x.shape[1:]), np.float32) for x in quantized.inputs]
    quantized(inputs if len(inputs) > 1 else inputs[0])
    float_layer = quantized.get_layer(f"quant_{layer}").layer
    return np.asarray(getattr(float_layer, KERNEL_OF.get(type(float_layer), "kernel")))


def answers_of(model, x):
    answers = model.predict(x, verbose=0)
    return answers if isinstance(answers, list) else [answers]


def agreement(model, quantized, x):
    return min(sqnr(*pair) for pair in zip(answers_of(model, x), answers_of(quantized, x), strict=True))


def same(weights, others):
    return all(np.array_equal(*pair) for pair in zip(weights, others, strict=True))


# The numbers: fake quantization is quantize and dequantize of tinylab.affine


def rounded(x, low, high, bits):
    params = params_from_range(low, high, f"int{bits}")
    return dequantize(quantize(x, params), params)


def full_range(shape):
    """A kernel that has every level of every width in every channel, channels of different ranges."""
    channels = 1 + 2 * np.arange(shape[-1])  # no kernel falls on a half of another channel's scale
    return (np.linspace(-1, 1, np.prod(shape[:-1]))[:, None] * channels).reshape(shape).astype(np.float32)


KERNELS = {
    "dense": (lambda: L.Dense(3, "relu", name="layer"), POINTS, False),
    "conv": (lambda: L.Conv2D(3, 3, activation="relu", name="layer"), IMAGES, True),
}


def check_numbers(kind, bits, per_channel, activation_bits):
    make, x, has_channels = KERNELS[kind]
    model = keras.Sequential([Input(x.shape[1:]), make()])
    kernel, bias = model.get_weights()
    kernel *= np.array([0.1, 1, 2], np.float32)  # channels of different ranges
    model.set_weights([kernel, bias + 0.1])
    quantized = qat.quantization_aware(model, x, bits, activation_bits, per_channel)
    high = model.predict(x, verbose=0).max()
    axis = kernel.ndim - 1 if has_channels and per_channel else None
    params = params_from_data(kernel, f"int{bits}", symmetric=True, axis=axis)
    model.set_weights([dequantize(quantize(kernel, params), params), bias + 0.1])
    inputs = rounded(x, min(x.min(), 0), x.max(), activation_bits)
    expected = rounded(model.predict(inputs, verbose=0), 0, high, activation_bits)
    step = high / (2**activation_bits - 1)
    difference = np.abs(quantized.predict(x, verbose=0) - expected)
    # where float32 falls on the other side of a half, one step; nowhere more, and hardly anywhere
    assert difference.max() < 1.01 * step
    assert (difference > 1e-3 * step).mean() < 2e-3


@pytest.mark.parametrize(("kind", "bits", "per_channel"), [("dense", 2, True), ("conv", 4, True)])
def test_a_layer_computes_with_rounded_weights_and_activations(kind, bits, per_channel):
    check_numbers(kind, bits, per_channel, 8)


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bits", qat.BITS)
@pytest.mark.parametrize("kind", KERNELS)
def test_every_width_computes_with_rounded_weights_and_activations(kind, bits, per_channel):
    check_numbers(kind, bits, per_channel, 8)
    check_numbers(kind, 8, per_channel, bits)


def before_a_concatenate(layer):
    x = Input((8, 8, 2))
    joined = L.Concatenate()([layer(x), L.Conv2D(2, 3)(x)])
    return keras.Model(x, L.Dense(3)(L.Flatten()(joined)))


def conv(**options):
    return L.Conv2D(2, 3, name="layer", **options)


# tfmot leaves weights in front of a ReLU in float32, and gives those in front of a Concatenate its own scheme
SURROUNDINGS = {
    "fused": lambda: chain(conv(activation="relu")),
    "ReLU": lambda: chain(conv(), L.ReLU()),
    "Activation": lambda: chain(conv(), L.Activation("relu")),
    "sigmoid, ReLU": lambda: chain(conv(activation="sigmoid"), L.ReLU()),
    "BatchNormalization": lambda: with_statistics(chain(conv(use_bias=False), L.BatchNormalization())),
    "BatchNormalization, ReLU": lambda: with_statistics(chain(conv(), L.BatchNormalization(), L.ReLU())),
    "Concatenate": lambda: before_a_concatenate(conv()),
}


@pytest.mark.parametrize("per_channel", [False, *slow(True)])
@pytest.mark.parametrize(
    "name", ["ReLU", "Concatenate", *slow(*(n for n in SURROUNDINGS if n not in ("ReLU", "Concatenate")))]
)
def test_weights_have_their_levels_whatever_stands_behind_them(name, per_channel):
    model = SURROUNDINGS[name]()
    kernel = full_range((3, 3, 2, 2))
    model.get_layer("layer").set_weights([kernel, *model.get_layer("layer").get_weights()[1:]])
    weights = rounded_weights(qat.quantization_aware(model, IMAGES, 4, 8, per_channel), "layer")
    axis = 3 if per_channel else None
    params = params_from_data(kernel, "int4", symmetric=True, axis=axis)
    np.testing.assert_allclose(weights, dequantize(quantize(kernel, params), params), rtol=1e-6)
    assert np.unique(weights[..., 1]).size == 15


@pytest.mark.parametrize("name", ["ReLU", *slow("Activation", "BatchNormalization, ReLU")])
def test_what_a_relu_is_fused_with_is_rounded_behind_it_only(name):
    found = ranges(qat.quantization_aware(SURROUNDINGS[name](), IMAGES))
    assert [found[quantizer][0] for quantizer in found if quantizer.endswith("/output")] == [0]
    assert not [quantizer for quantizer in found if quantizer.startswith("quant_layer/")]


@pytest.mark.slow
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_in_all_surroundings_8_bits_agree_with_the_float_model(name):
    model = SURROUNDINGS[name]()
    assert agreement(model, qat.quantization_aware(model, IMAGES), IMAGES) > 30


@pytest.mark.slow
@pytest.mark.parametrize("bits", qat.BITS)
def test_a_width_of_b_bits_has_two_to_the_b_less_one_levels(bits):
    model = keras.Sequential([Input((40,)), L.Dense(10, name="layer")])
    kernel = np.linspace(-1, 1, 400, dtype=np.float32).reshape(40, 10)
    model.set_weights([kernel, np.zeros(10)])
    x = np.random.default_rng(0).normal(size=(20, 40)).astype(np.float32)
    weights = rounded_weights(qat.quantization_aware(model, x, bits), "layer")
    assert np.unique(weights).size == 2**bits - 1
    assert (weights.min(), weights.max()) == (-1, 1)


ALWAYS_8_BITS = {
    "depthwise": lambda: L.DepthwiseConv2D(3, activation="relu", name="layer"),
    "depthwise, ReLU": lambda: L.DepthwiseConv2D(3, name="layer"),
    "depthwise, two a channel": lambda: L.DepthwiseConv2D(3, depth_multiplier=2, name="layer"),
    "transposed": lambda: L.Conv2DTranspose(2, 3, activation="relu", name="layer"),
}


@pytest.mark.parametrize("kind", ["depthwise", *slow(*list(ALWAYS_8_BITS)[1:])])
def test_kernels_of_other_convolutions_stay_in_8_bits(kind):
    model = chain(ALWAYS_8_BITS[kind](), L.ReLU())
    kernel = model.get_weights()[0]
    weights = rounded_weights(qat.quantization_aware(model, IMAGES, 2), "layer")
    params = params_from_data(kernel, symmetric=True, axis=3 if "two" in kind else None)
    np.testing.assert_allclose(weights, dequantize(quantize(kernel, params), params), rtol=1e-6)


@pytest.mark.parametrize("make", ALWAYS_8_BITS.values(), ids=ALWAYS_8_BITS)
@pytest.mark.slow
def test_files_with_such_convolutions_run_on_all_kernels(make):
    quantized = qat.quantization_aware(chain(make()), IMAGES, 4)
    content = qat.convert(quantized, IMAGES)
    for kernels in ("default", "optimized", "reference"):
        answers = runners.load(content, kernels=kernels).predict(IMAGES)
        assert sqnr(quantized.predict(IMAGES, verbose=0), answers) > 30


# Ranges


@pytest.fixture(scope="module")
def branched():
    """A float model and its quantization-aware one."""
    keras.utils.set_random_seed(0)
    model = branches()
    return model, qat.quantization_aware(model, pairs(BRANCHES))


def test_every_range_holds_what_the_float_model_puts_out(branched):
    model, quantized = branched
    found = ranges(quantized)
    names = (
        "conv",
        "depthwise",
        "add",
        "concatenate",
        "mean",
        "linear",
        "both",
        "tanh",
        "sigmoid",
        "softmax",
    )
    outputs = {name: model.get_layer(name).output for name in names}
    met = keras.Model(model.inputs, outputs).predict(BRANCHES, verbose=0)
    logits = np.log(met["softmax"].astype(float))
    kernel, bias = model.get_layer("softmax").get_weights()
    before = {
        "tanh": np.arctanh(met["tanh"].astype(float)),
        "sigmoid": -np.log(1 / met["sigmoid"].astype(float) - 1),
        "softmax": met["both"] @ kernel + bias,
    }
    np.testing.assert_allclose(np.diff(before["softmax"]), np.diff(logits), atol=1e-4)
    expected = {f"quant_{name}/pre_activation": values for name, values in before.items()}
    expected |= {f"quant_{name}/post_activation": met[name] for name in ("conv", "depthwise", "linear")}
    expected |= {f"quant_{name}/output": met[name] for name in ("add", "mean", "concatenate", "both")}
    inputs = {name for name in found if name.startswith("quantize_layer")}
    assert set(expected) == set(found) - inputs
    for name, values in expected.items():
        assert found[name] == pytest.approx((min(values.min(), 0), max(values.max(), 0)), rel=1e-3), name
    assert sorted(found[name] for name in inputs) == sorted((x.min(), x.max()) for x in BRANCHES)


def test_ranges_are_widened_to_hold_zero():
    found = ranges(qat.quantization_aware(keras.Sequential([Input((6,)), L.ReLU()]), np.abs(POINTS) + 1))
    assert {low for low, _ in found.values()} == {0}
    below = keras.Sequential([Input((6,)), L.Dense(2, bias_initializer=keras.initializers.Constant(-50))])
    assert 0 in {high for _, high in ranges(qat.quantization_aware(below, POINTS)).values()}


@pytest.mark.slow
@pytest.mark.parametrize("data", [np.zeros_like(POINTS), POINTS[:1]], ids=["zeros", "one sample"])
def test_ranges_of_hardly_any_data_give_numbers(data):
    assert np.isfinite(qat.quantization_aware(dense(), data).predict(POINTS, verbose=0)).all()


def test_a_layer_that_is_used_twice_has_a_range_for_both_uses():
    x, twice = Input((6,)), L.Dense(6, "relu", kernel_initializer=keras.initializers.RandomNormal(0, 2))
    model = keras.Model(x, L.Dense(3)(twice(twice(x))))
    assert agreement(model, qat.quantization_aware(model, POINTS), POINTS) > 30


@pytest.mark.parametrize("use", ["second", *slow("first")])
def test_layers_that_stand_in_another_model_too_are_observed_in_this_one(use):
    first = dense("sigmoid")
    second = keras.Sequential([Input((6,)), L.ReLU(), *first.layers, L.Dense(2)])
    model = {"first": first, "second": second}[use]
    assert agreement(model, qat.quantization_aware(model, 4 * POINTS), 4 * POINTS) > 30


@pytest.mark.slow
@pytest.mark.parametrize("end", ["gelu", "swish", "tanh", "sigmoid", "softmax", "relu", None])
def test_activations_of_all_kinds_agree(end):
    model = dense(end, middle=end)
    assert agreement(model, qat.quantization_aware(model, 4 * POINTS), 4 * POINTS) > 30


NAMES = ["pre_activation", "quantize_layer", "quant_other", "a/b.c", "kernel", "x_max", "dense_linear"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_names_of_layers_do_not_matter(name):
    expected = sorted(ranges(qat.quantization_aware(dense("softmax"), POINTS)).values())
    keras.utils.set_random_seed(0)
    layers = [L.Dense(8, "relu", name=name), L.Dense(3, "softmax", name="other")]
    model = keras.Sequential([Input((6,), name=f"{name}_in"), *layers])
    assert sorted(ranges(qat.quantization_aware(model, POINTS)).values()) == expected


FORMS = {
    "dataset": lambda: tf.data.Dataset.from_tensor_slices((POINTS, CLASSES)).batch(7),
    "function": lambda: lambda: ([point[np.newaxis]] for point in POINTS),
    "iterator": lambda: iter([point[np.newaxis] for point in POINTS]),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_data_in_any_form_give_the_same_ranges(form):
    model = dense()
    expected = ranges(qat.quantization_aware(model, POINTS))
    found = ranges(qat.quantization_aware(model, FORMS[form]()))
    assert list(found.values()) == list(expected.values())


# Whole networks


def two_outputs():
    x = Input((6,))
    hidden = L.Dense(8, "relu")(x)
    return keras.Model(x, [L.Dense(3)(hidden), L.Dense(2, "softmax")(hidden)])


def test_8_bits_untrained_agree_with_the_float_model(branched):
    assert agreement(*branched, BRANCHES) > 35


@pytest.mark.slow
def test_8_bits_untrained_agree_on_each_of_two_outputs():
    model = two_outputs()
    assert agreement(model, qat.quantization_aware(model, POINTS), POINTS) > 35


def accuracy(model, fashion):
    images, labels = fashion
    return (model.predict(images, verbose=0).argmax(axis=1) == labels).mean()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least_db"), [("small_cnn", 35), ("small_resnet", 30)])
def test_8_bits_start_where_the_float_network_is_unlike_tfmot(name, least_db, fashion):
    model = models.trained(name)
    quantized = qat.quantization_aware(model, fashion[0][:100])
    assert agreement(model, quantized, fashion[0]) > least_db
    assert accuracy(quantized, fashion) > accuracy(model, fashion) - 0.01
    with quiet():
        from_tfmot = tfmot.quantization.keras.quantize_model(model)
    assert accuracy(from_tfmot, fashion) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("which", ["weight_bits", "activation_bits"])
def test_fewer_bits_agree_less(which):
    model = dense()
    found = [agreement(model, qat.quantization_aware(model, POINTS, **{which: b}), POINTS) for b in (2, 4, 8)]
    assert sorted(found) == found


def test_the_original_is_left_as_it_was():
    model = two_outputs()
    weights, config = model.get_weights(), str(model.get_config())
    nodes = [len(layer.outbound_nodes) for layer in model.layers]
    quantized = qat.quantization_aware(model, POINTS, 4)
    quantized.set_weights([weight + 1 for weight in quantized.get_weights()])
    assert same(model.get_weights(), weights)
    assert str(model.get_config()) == config
    assert [len(layer.outbound_nodes) for layer in model.layers] == nodes


# What is refused


def nested():
    return keras.Sequential([Input((6,)), dense(), L.Dense(2)])


class Subclass(keras.Model):
    def call(self, x):
        return 2 * x


def keras_3():
    import keras as keras_3

    return keras_3.Sequential([keras_3.layers.Input((6,)), keras_3.layers.Dense(2)])


def from_tfmot(function):
    with quiet():
        return function(dense())


def alone(*layers, shape=(6,), **options):
    return lambda: keras.Sequential([Input(shape, **options), *(layer() for layer in layers), L.Dense(3)])


def not_a_number():
    model = dense()
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    return model


BATCH = L.BatchNormalization
IMAGE = (8, 8, 2)
REFUSED = {
    "Keras 3": (keras_3, "import tf_keras as keras"),
    "no model": (lambda: "model.keras", "builtins.str"),
    "subclass": (Subclass, "no input shape"),
    "unbuilt": (lambda: keras.Sequential([L.Dense(3)]), "no input shape"),
    "nested": (nested, r"\*inner.layers"),
    "already": (lambda: qat.quantization_aware(dense(), POINTS), "already"),
    "already, by tfmot": (lambda: from_tfmot(tfmot.quantization.keras.quantize_model), "already"),
    "annotated": (lambda: from_tfmot(tfmot.quantization.keras.quantize_annotate_model), "already"),
    "Rescaling": (alone(lambda: L.Rescaling(1 / 255)), "scale the images before"),
    "Normalization": (alone(lambda: L.Normalization(mean=0.0, variance=1.0)), "normalize the data before"),
    "BatchNormalization in front": (alone(BATCH), "right behind a Conv2D"),
    "BatchNormalization behind an activation": (alone(lambda: L.Dense(4, "relu"), BATCH), "right behind"),
    "BatchNormalization behind pooling": (
        alone(lambda: L.Conv2D(4, 3), L.MaxPooling2D, BATCH, L.Flatten, shape=IMAGE),
        "right behind a Conv2D",
    ),
    "ELU": (alone(L.ELU), "replace it"),
    "elu": (alone(lambda: L.Dense(4, "elu")), "replace it"),
    "Conv1D": (alone(lambda: L.Conv1D(4, 3), L.Flatten, shape=(8, 2)), "replace it"),
    "LSTM": (alone(lambda: L.LSTM(4), shape=(8, 2)), "replace it"),
    "Lambda": (alone(lambda: L.Lambda(lambda x: 2 * x)), "write it as layers"),
    "SeparableConv1D": (
        alone(lambda: L.SeparableConv1D(4, 3), L.Flatten, shape=(8, 2)),
        r"inputs \(N, length, 1, channels\)",
    ),
    "SeparableConv2D": (
        alone(lambda: L.SeparableConv2D(4, 3), L.Flatten, shape=IMAGE),
        r"DepthwiseConv2D\(..., use_bias=False\), Conv2D\(filters, 1\)",
    ),
    "integers": (alone(lambda: L.Embedding(9, 2), L.Flatten, dtype="int32"), "takes or computes int32"),
    "float16": (alone(lambda: L.Dense(4, dtype="mixed_float16")), "takes or computes float16"),
    "float64": (alone(lambda: L.Dense(4, dtype="float64")), "takes or computes float64"),
    "nothing to round": (lambda: keras.Model(x := Input((6,)), x), "no layers to quantize"),
    "NaN": (not_a_number, "NaN or infinity"),
}


@pytest.mark.parametrize("kind", [*(kind for kind in REFUSED if kind != "LSTM"), *slow("LSTM")])
def test_models_that_cannot_be_taken_are_refused_with_the_cure(kind):
    make, cure = REFUSED[kind]
    model = make()
    shape = getattr(model, "input_shape", (None, 6)) if kind not in ("subclass", "unbuilt") else (None, 6)
    data = np.ones((4, *shape[1:]), np.int32 if kind == "integers" else np.float32)
    with pytest.raises(ConversionError, match=cure):
        qat.quantization_aware(model, data)


@pytest.mark.slow
def test_the_cures_for_separable_and_nested_models_cure():
    separable = alone(lambda: L.SeparableConv2D(4, 3, activation="relu"), L.Flatten, shape=IMAGE)()
    layers = (lambda: L.DepthwiseConv2D(3, use_bias=False), lambda: L.Conv2D(4, 1, activation="relu"))
    model = alone(*layers, L.Flatten, shape=IMAGE)()
    model.set_weights(separable.get_weights())
    assert agreement(separable, qat.quantization_aware(model, IMAGES), IMAGES) > 30
    outer = nested()
    model = keras.Sequential([Input((6,)), *outer.layers[0].layers, *outer.layers[1:]])
    assert agreement(outer, qat.quantization_aware(model, POINTS), POINTS) > 30


@pytest.mark.parametrize("bits", [1, 9, "4", 2.5, None, True])
@pytest.mark.parametrize("which", ["weight_bits", "activation_bits"])
def test_other_widths_are_refused(which, bits):
    with pytest.raises(DataError, match="2 to 8 expected"):
        qat.quantization_aware(dense(), POINTS, **{which: bits})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "expected, not None"),
        (POINTS[:0], "empty"),
        (POINTS[:, :3], r"shape \(64, 3\) given, \(N, 6\) expected"),
        (POINTS.astype(np.uint8), "uint8 given, float32 expected"),
        (np.full_like(POINTS, np.nan), "NaN"),
    ],
    ids=["none", "empty", "shape", "dtype", "NaN"],
)
def test_unusable_data_are_refused(data, message):
    with pytest.raises(DataError, match=message):
        qat.quantization_aware(dense(), data)
    with pytest.raises(DataError, match=message):
        qat.convert(dense(), data)


# Training


KINDS = {
    "float": lambda end: dense(end),
    "quantization-aware": lambda end: qat.quantization_aware(dense(end), POINTS, 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("end", ["softmax", None], ids=["probabilities", "logits"])
@pytest.mark.parametrize("kind", KINDS)
def test_training_learns_from_probabilities_and_from_logits(kind, end):
    model = KINDS[kind](end)
    losses = qat.train(model, POINTS, CLASSES, epochs=5, learning_rate=0.03)
    assert len(losses) == 5
    assert losses[-1] < 0.8 * losses[0]


def averaged():
    """Probabilities of which Keras does not remember the logits."""
    x = Input((6,))
    return keras.Model(x, L.Average()([L.Dense(3, "softmax")(x), L.Dense(3, "softmax")(x)]))


@pytest.mark.parametrize(
    ("make", "probabilities_of"),
    [(dense, lambda answers: np.asarray(tf.nn.softmax(answers))), (averaged, lambda answers: answers)],
    ids=["logits", "probabilities"],
)
def test_the_loss_is_the_cross_entropy(make, probabilities_of):
    model = make()
    probabilities = probabilities_of(model.predict(POINTS, verbose=0))
    expected = -np.log(probabilities[np.arange(len(CLASSES)), CLASSES]).mean()
    losses = qat.train(model, POINTS, CLASSES, epochs=1, learning_rate=0)
    assert losses == pytest.approx([expected], rel=1e-4)


def with_dropout():
    return keras.Sequential([Input((6,)), L.Dense(8, "relu"), L.Dropout(0.5), L.Dense(3, "softmax")])


@pytest.mark.slow
def test_the_seed_decides_what_training_gives():
    model = with_dropout()
    same_start = [qat.quantization_aware(model, POINTS) for _ in range(3)]
    before = model.get_weights()
    for quantized, seed in zip(same_start, (1, 1, 2), strict=True):
        qat.train(quantized, POINTS, CLASSES, epochs=1, seed=seed)
    first, second, other = (quantized.get_weights() for quantized in same_start)
    assert same(first, second)
    assert not same(first, other)
    assert same(model.get_weights(), before)


@pytest.mark.parametrize("kind", ["float", *slow("quantization-aware")])
def test_a_training_that_ends_in_nan_leaves_the_weights_as_they_were(kind):
    model = KINDS[kind]("softmax")
    before = model.get_weights()
    with pytest.raises(DataError, match="the loss became nan: scale the inputs, or lower the learning rate"):
        qat.train(model, POINTS, CLASSES, epochs=3, learning_rate=1e30)
    assert same(model.get_weights(), before)


@pytest.mark.slow
def test_the_rate_falls_along_half_a_cosine():
    model = dense()
    qat.train(model, POINTS[:60], CLASSES[:60], epochs=3, learning_rate=0.01)
    assert model.optimizer.iterations == 6  # 32 and 28 samples, three times
    assert float(model.optimizer.learning_rate) == pytest.approx(
        0.005 * (1 + np.cos(5 / 6 * np.pi)), rel=1e-4
    )


@pytest.mark.parametrize("bar", ["tqdm.std", "tqdm.notebook"])
def test_a_bar_is_shown_unless_tqdm_disable_is_set(bar, monkeypatch, capfd):
    monkeypatch.setattr("tinylab.progress.tqdm", importlib.import_module(bar).tqdm)
    assert progress(range(3), "working").disable
    monkeypatch.delenv("TQDM_DISABLE")
    steps = progress(range(3), "working")
    assert not steps.disable
    assert list(steps) == [0, 1, 2]
    assert (steps.desc.strip(": "), steps.leave, steps.delay) == ("working", False, 1)
    assert capfd.readouterr() == ("", "")  # done within a second


NOT_A_NUMBER = np.where(POINTS > 2, np.nan, POINTS)


@pytest.mark.parametrize(
    ("x", "labels", "message"),
    [
        pytest.param(POINTS[:, :3], CLASSES, r"\(N, 6\)", id="shape"),
        pytest.param(POINTS, CLASSES[:5], r"\(N,\) expected", id="fewer labels"),
        pytest.param(POINTS[:0], CLASSES[:0], "at least 1", id="empty"),
        pytest.param(POINTS, np.eye(3)[CLASSES], r"\(N,\) expected", id="one-hot"),
        pytest.param(POINTS, CLASSES + 1, "labels 1 to 3: .* classes 0 to 2 expected", id="too large"),
        pytest.param(POINTS, CLASSES - 1, "classes 0 to 2 expected", id="negative"),
        pytest.param(POINTS, CLASSES / 2, "labels float64 .* integers", id="fractions"),
        pytest.param(POINTS, CLASSES.astype(str), "labels <U21", id="text"),
        pytest.param(POINTS, None, "labels object", id="no labels"),
        pytest.param(NOT_A_NUMBER, CLASSES, "NaN", id="NaN"),
        pytest.param(POINTS.astype(str), CLASSES, "x <U32", id="text in x"),
        pytest.param(tf.data.Dataset.from_tensor_slices(POINTS), CLASSES, "x object", id="dataset"),
        pytest.param(3.0, 1, r"\(N, 6\)", id="scalars"),
    ],
)
def test_unusable_training_data_are_refused(x, labels, message):
    model = dense("softmax")
    before = model.get_weights()
    with pytest.raises(DataError, match=message):
        qat.train(model, x, labels)
    assert same(model.get_weights(), before)


def two_inputs():
    a, b = Input((6,)), Input((6,))
    return keras.Model([a, b], L.Dense(3)(L.Add()([a, b])))


NO_CLASSIFIERS = {
    "one column": (lambda: keras.Sequential([Input((6,)), L.Dense(1, "sigmoid")]), DataError, "classifier"),
    "two outputs": (two_outputs, DataError, "a classifier expected"),
    "two inputs": (two_inputs, DataError, "a classifier expected"),
    "an output for each step": (
        lambda: keras.Sequential([Input((6, 1)), L.Dense(3)]),
        DataError,
        "classifier",
    ),
    "unbuilt": (lambda: keras.Sequential([L.Dense(3)]), ConversionError, "no input shape"),
    "Keras 3": (keras_3, ConversionError, "import tf_keras as keras"),
    "no model": (lambda: None, ConversionError, "builtins.NoneType"),
}


@pytest.mark.parametrize("kind", NO_CLASSIFIERS)
def test_only_classifiers_are_trained(kind):
    make, error, message = NO_CLASSIFIERS[kind]
    with pytest.raises(error, match=message):
        qat.train(make(), POINTS, CLASSES)


# Files


def codes(content):
    """The constants that operators compute with, by type: their codes."""
    file, interpreter = tflite_file.parse(content), runners.interpreter(content)
    found = {}
    for tensor, role in zip(file.tensors, file.roles, strict=True):
        if role == "weights":
            found.setdefault(tensor.dtype, set()).update(
                interpreter.get_tensor(tensor.index).ravel().tolist()
            )
    return found


def converted(quantized, data):
    """The file, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        content = qat.convert(quantized, data)
    return content, [warning for warning in caught if warning.category is AgreementWarning]


LEVELS = {
    8: ("int8", set(range(-127, 128))),
    4: ("int4", set(range(-7, 8))),
    3: ("int4", {-7, -5, -2, 0, 2, 5, 7}),
    2: ("int4", {-7, 0, 7}),
}


@pytest.mark.slow
@pytest.mark.parametrize("bits", LEVELS)
def test_a_file_holds_the_codes_of_its_width_and_agrees_or_warns(bits):
    model = dense()
    for layer in model.layers:
        layer.kernel.assign(full_range(layer.kernel.shape))
    points = np.random.default_rng(1).normal(size=(100, 6)).astype(np.float32)
    quantized = qat.quantization_aware(model, points, bits)
    content, caught = converted(quantized, points)
    dtype, levels = LEVELS[bits]
    found = codes(content)
    assert list(found) == [dtype]
    assert found[dtype] <= levels
    assert {min(levels), max(levels)} <= found[dtype]
    assert found[dtype] == levels or bits > 3
    assert bool(caught) == (bits == 3)
    assert all("3 bits do not fit into int4" in str(w.message) and w.filename == __file__ for w in caught)
    if bits != 3:
        assert sqnr(quantized.predict(points, verbose=0), runners.load(content).predict(points)) > 30


@pytest.mark.parametrize("form", ["iterator", *slow("function", "dataset")])
def test_a_file_is_all_integers_and_its_data_may_come_once(form):
    quantized = qat.quantization_aware(dense("softmax"), POINTS, 4)
    content, caught = converted(quantized, FORMS[form]())
    assert precision(content).verdict == "all integer: weights int4, activations int8"
    runner = runners.load(content)
    assert {spec.dtype for spec in (*runner.inputs, *runner.outputs)} == {np.dtype("int8")}
    assert sqnr(quantized.predict(POINTS, verbose=0), runner.predict(POINTS)) > 30
    assert not caught
    file = tflite_file.parse(content)
    (low, high) = ranges(quantized)[next(name for name in ranges(quantized) if "quantize_layer" in name)]
    assert file.tensors[file.inputs[0]].scale[0] == pytest.approx((high - low) / 255, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SURROUNDINGS, "branches"])
def test_files_of_all_kinds_of_models_agree_and_have_no_batch_normalization_left(name):
    model, x = (branches(), pairs(BRANCHES)) if name == "branches" else (SURROUNDINGS[name](), IMAGES)
    quantized = qat.quantization_aware(model, x, 4)
    content, caught = converted(quantized, x)
    assert not caught
    assert precision(content).verdict.startswith("all integer: weights int4")
    operators = [operator.name for operator in tflite_file.parse(content).operators]
    assert "MUL" not in operators
    assert operators.count("ADD") == (name == "branches")


@pytest.mark.slow
def test_a_dense_layer_with_batch_normalization_agrees_though_its_weights_are_stored_in_8_bits():
    layers = [L.Dense(16, use_bias=False), L.BatchNormalization(), L.ReLU(), L.Dense(3)]
    model = with_statistics(keras.Sequential([Input((6,)), *layers]))
    content, caught = converted(qat.quantization_aware(model, POINTS, 4), POINTS)
    assert not caught
    assert set(codes(content)) == {"int4", "int8"}


@pytest.mark.slow
def test_files_of_4_bits_run_on_all_kernels_and_are_refused_by_the_integer_engine(cnn, fashion):
    images = fashion[0][:200]
    quantized = qat.quantization_aware(cnn, images, 4)
    content = qat.convert(quantized, images)
    expected = quantized.predict(images, verbose=0)
    for kernels in ("default", "optimized", "reference"):
        assert sqnr(expected, runners.load(content, kernels=kernels).predict(images)) > 30
    with pytest.raises(ModelFileError, match="no sparse or packed values"):
        runners.load(content, engine="integer")


@pytest.mark.slow
def test_the_micro_engine_runs_files_of_4_bits(cnn, fashion):
    pytest.importorskip("tflite_micro", reason="TensorFlow Lite Micro is not installed")
    images = fashion[0][:100]
    quantized = qat.quantization_aware(cnn, images, 4)
    answers = runners.load(qat.convert(quantized, images), engine="micro").predict(images)
    assert sqnr(quantized.predict(images, verbose=0), answers) > 30


@pytest.fixture(scope="module")
def training():
    from tinylab import data

    images, labels = data.arrays("fashion_mnist", "train")
    return images[:2000].astype(np.float32) / 255, labels[:2000]


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        pytest.param("small_cnn", True, marks=pytest.mark.slow),
        pytest.param("small_cnn", False, marks=pytest.mark.long),
        pytest.param("small_resnet", False, marks=pytest.mark.long),
        pytest.param("small_resnet", True, marks=pytest.mark.long),
    ],
)
def test_networks_of_8_4_and_2_bits_become_files_that_agree(name, trained, training, fashion):
    sizes, weights = {}, {}
    for bits in (8, 4, 2):
        quantized = qat.quantization_aware(models.trained(name), training[0][:200], bits)
        if trained:
            qat.train(quantized, *training, epochs=1)
        content, caught = converted(quantized, training[0][:100])
        assert not caught
        assert precision(content).verdict.startswith("all integer: weights int")
        operators = [operator.name for operator in tflite_file.parse(content).operators]
        assert "MUL" not in operators
        assert operators.count("ADD") == (2 if name == "small_resnet" else 0)
        answers = runners.load(content).predict(fashion[0])
        # of 2 bits a deep network's probabilities are nearly even, and hardly above the output's step
        least_db = 30 if bits > 2 else qat.WARN_BELOW_DB
        assert sqnr(quantized.predict(fashion[0], verbose=0), answers) >= least_db
        sizes[bits], weights[bits] = len(content), tflite_file.parse(content).bytes_by_dtype
    assert weights[4]["int4"] == (weights[8]["int8"] - weights[4].get("int8", 0)) / 2
    assert sizes[8] - sizes[4] == pytest.approx(weights[4]["int4"], rel=0.02)
    assert weights[2] == weights[4]


@pytest.mark.slow
def test_one_scale_a_layer_does_not_survive_the_folding_and_is_warned_of(training):
    quantized = qat.quantization_aware(
        models.trained("small_resnet"), training[0][:200], 4, per_channel=False
    )
    _, caught = converted(quantized, training[0][:100])
    assert ["folding" in str(warning.message) for warning in caught] == [True]
    assert caught[0].filename == __file__
