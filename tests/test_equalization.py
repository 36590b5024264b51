"""Rescaled channels: the float answers stay, to the bit; int8 breaks and is mended; the rest is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylab import data, measure, models
from tinylab._tensorflow import keras, tf
from tinylab.check.networks import filled
from tinylab.conversion import Recipe, convert
from tinylab.equalization import equalizing_factors, rescale_channels
from tinylab.errors import ConversionError, DataError
from tinylab.quiet import quiet

from .conftest import long, slow

layers = keras.layers


def network(*inside, shape=(6, 6, 2), seed=0):
    """A network of these layers with random weights; its layers are named 0, 1, 2, ..."""
    renamed = []
    for number, layer in enumerate(inside):
        renamed.append(type(layer).from_config({**layer.get_config(), "name": str(number)}))
    model = keras.Sequential([layers.Input(shape), *renamed])
    return positive_variances(filled(model, np.random.default_rng(seed)))


def positive_variances(model):
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            *others, variance = layer.get_weights()
            layer.set_weights([*others, np.abs(variance) + 0.1])
    return model


def functional(build, shape=(6, 6, 2)):
    """A network whose layers `build` joins, from the input to the answer."""
    entrance = layers.Input(shape)
    return filled(keras.Model(entrance, build(entrance)), np.random.default_rng(0))


def images(seed=0, count=5, shape=(6, 6, 2)):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def powers(count, seed=0, spread=8):
    return 2.0 ** np.random.default_rng(seed).integers(-spread, spread + 1, count)


def pair(first, second, between=()):
    """Producer, what lies between, consumer; and the names of the two."""
    return network(first, *between, second), "0", str(len(between) + 1)


def named(model, *names):
    return [model.get_layer(name) for name in names]


# The float answers stay


PRODUCERS = {
    "convolution": lambda: layers.Conv2D(3, 3),
    "convolution with relu": lambda: layers.Conv2D(3, 3, activation="relu"),
    "convolution without bias": lambda: layers.Conv2D(3, 3, use_bias=False),
    "convolution in groups": lambda: layers.Conv2D(4, 3, groups=2),
    "depthwise": lambda: layers.DepthwiseConv2D(2, depth_multiplier=3),
    "batch normalization": lambda: layers.BatchNormalization(),
    "dense on the last axis": lambda: layers.Dense(4),
}
CONSUMERS = {
    "convolution": lambda: (layers.Conv2D(3, 2, activation="tanh"),),
    "depthwise": lambda: (layers.DepthwiseConv2D(2, depth_multiplier=2),),
    "dense": lambda: (layers.Dense(3, "sigmoid"),),
    "flattened dense": lambda: (layers.Flatten(), layers.Dense(3)),
}
BETWEEN = {
    "nothing": lambda: (),
    "relu": lambda: (layers.ReLU(),),
    "leaky relu": lambda: (layers.ReLU(negative_slope=0.25),),
    "activations": lambda: (layers.Activation("linear"), layers.Activation("relu")),
    "max pooling": lambda: (layers.MaxPooling2D(),),
    "average pooling": lambda: (layers.AveragePooling2D(3, 1, padding="same"),),
    "padding": lambda: (layers.ZeroPadding2D(), layers.Dropout(0.5)),
    "a chain": lambda: (layers.Dropout(0.5), layers.ReLU(), layers.ZeroPadding2D(), layers.MaxPooling2D()),
}


def check_bits(producer, between, consumer, seed, exponents):
    inside = [PRODUCERS[producer](), *BETWEEN[between](), *CONSUMERS[consumer]()]
    model, x = network(*inside, seed=seed), images(seed)
    channels = model.layers[0].output_shape[-1]
    answers = model(x).numpy()
    rescaled = rescale_channels(model, "0", str(len(inside) - 1), 2.0 ** np.array(exponents[:channels]))
    np.testing.assert_array_equal(rescaled(x).numpy(), answers)


@given(
    producer=st.sampled_from(list(PRODUCERS)),
    between=st.sampled_from(list(BETWEEN)),
    consumer=st.sampled_from(list(CONSUMERS)),
    seed=st.integers(0, 2**32 - 1),
    exponents=st.lists(st.integers(-20, 20), min_size=6, max_size=6),
)
@settings(max_examples=8, deadline=None)
def test_powers_of_two_leave_every_bit_of_the_answers(producer, between, consumer, seed, exponents):
    check_bits(producer, between, consumer, seed, exponents)


@pytest.mark.slow
@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("producer", PRODUCERS)
def test_powers_of_two_leave_every_bit_between_any_two_layers(producer, consumer):
    for between in BETWEEN:
        check_bits(producer, between, consumer, 1, [5, -7, 3, -2, 20, -20])


@pytest.mark.parametrize("pool", [layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D])
def test_global_pooling_hands_factors_on(pool):
    model, *names = pair(layers.Conv2D(4, 3), layers.Dense(2), [pool()])
    rescaled = rescale_channels(model, *names, powers(4))
    np.testing.assert_array_equal(rescaled(images()).numpy(), model(images()).numpy())


def test_the_relu_of_tensorflow_is_a_relu():
    model = keras.Sequential(
        [layers.Conv2D(4, 3, activation=tf.nn.relu, input_shape=(6, 6, 2)), layers.Conv2D(3, 2)]
    )
    rescaled = rescale_channels(model, *(layer.name for layer in model.layers), powers(4))
    np.testing.assert_array_equal(rescaled(images()).numpy(), model(images()).numpy())


def test_other_factors_leave_the_answers_but_for_rounding():
    model, *names = pair(layers.Conv2D(4, 3, activation="relu"), layers.Conv2D(3, 2))
    rescaled = rescale_channels(model, *names, [0.3, 1, 7.7, 100])
    np.testing.assert_allclose(rescaled(images()), model(images()), rtol=1e-4, atol=1e-4)


# What is multiplied, what is divided


@pytest.mark.parametrize("producer", PRODUCERS)
def test_the_channels_are_multiplied_by_the_factors(producer):
    model = network(PRODUCERS[producer](), layers.Conv2D(3, 2))
    channels = model.layers[0].output_shape[-1]
    factors, x = powers(channels), images()
    before, after = (
        keras.Model(m.inputs, m.layers[0].output)(x).numpy()
        for m in (model, rescale_channels(model, "0", "1", factors))
    )
    np.testing.assert_array_equal(after, before * factors.astype(np.float32))
    assert before.any(axis=(0, 1, 2)).all()


def test_everything_else_is_as_it_was():
    inside = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Conv2D(3, 2), layers.Flatten()]
    model = network(*inside, layers.Dense(2))
    rescaled = rescale_channels(model, "1", "2", powers(4))
    assert [layer.name for layer in rescaled.layers] == [layer.name for layer in model.layers]
    assert rescaled.name == model.name
    changed = [
        (layer.name, number)
        for layer, other in zip(model.layers, rescaled.layers, strict=True)
        for number, weights in enumerate(layer.get_weights())
        if not np.array_equal(weights, other.get_weights()[number])
    ]
    assert changed == [("1", 0), ("1", 1), ("2", 0)]  # gamma and beta, the kernel behind them


def test_the_given_model_is_left_as_it_was():
    model, *names = pair(layers.Conv2D(4, 3), layers.Conv2D(3, 2))
    before, answers = model.get_weights(), model(images()).numpy()
    rescale_channels(model, *names, powers(4))
    equalizing_factors(model, *names, images())
    for weights, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, old)
    np.testing.assert_array_equal(model(images()).numpy(), answers)
    assert [len(layer.outbound_nodes) for layer in model.layers] == [1, 0]


def resnet():
    """The residual network, and the places in it where nothing else reads what is between."""
    model = models.trained("small_resnet")
    normalizations = [layer.name for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    convolutions = [layer.name for layer in model.layers if type(layer) is layers.Conv2D]
    return model, list(zip(normalizations[1::2], convolutions[1:], strict=True))


def fashion(split):
    pixels, labels = data.arrays("fashion_mnist", split)
    return pixels.astype(np.float32) / 255, labels


def int8_accuracy(model, x, labels):
    with quiet():
        content = convert(model, Recipe.INT8, fashion("train")[0][:100])
    return measure.accuracy(content, x, labels)


@pytest.mark.parametrize("seed", [*slow(0), *long(1, 2)])
def test_a_trained_network_breaks_and_is_mended(seed):
    """Its channels multiplied by 1/16 to 16 at random: float32 does not notice, int8 does."""
    model, pairs = resnet()
    x, labels = fashion("test")
    broken, rng = model, np.random.default_rng(seed)
    for producer, consumer in pairs:
        channels = model.get_layer(producer).output_shape[-1]
        broken = rescale_channels(broken, producer, consumer, 2.0 ** rng.integers(-4, 5, channels))
    mended = broken
    for producer, consumer in pairs:
        factors = equalizing_factors(mended, producer, consumer, fashion("train")[0][:100])
        mended = rescale_channels(mended, producer, consumer, factors)
    for network_ in (broken, mended):
        np.testing.assert_array_equal(network_(x[:200]).numpy(), model(x[:200]).numpy())
    healthy = int8_accuracy(model, x, labels)
    assert int8_accuracy(broken, x, labels) < healthy - 0.05
    assert int8_accuracy(mended, x, labels) > healthy - 0.01


# Factors that equalize


@pytest.mark.slow
@given(
    channels=st.integers(2, 6),
    seed=st.integers(0, 2**32 - 1),
    consumer=st.sampled_from(list(CONSUMERS)),
)
@settings(max_examples=5, deadline=None)
def test_equalizing_forgets_how_uneven_the_channels_were(channels, seed, consumer):
    """Whatever powers of two broke a network: what comes out is the same, but for one common factor."""
    model = network(layers.Conv2D(channels, 3, activation="relu"), *CONSUMERS[consumer](), seed=seed)
    names, x = ("0", model.layers[-1].name), images(seed)
    kernels = []
    for network_ in (model, rescale_channels(model, *names, powers(channels, seed))):
        factors = equalizing_factors(network_, *names, x)
        assert (np.log2(factors) % 1 == 0).all()
        kernels.append(rescale_channels(network_, *names, factors).layers[0].get_weights()[0])
    common = np.unique(kernels[1] / kernels[0])
    assert len(common) == 1
    assert np.log2(common[0]) % 1 == 0


def ranges(model, producer, consumer, x):
    """The largest activation of each channel, and the largest weight that reads it."""
    reading = model.get_layer(consumer)
    channels = model.get_layer(producer).output_shape[-1]
    read = np.abs(keras.Model(model.inputs, reading.input)(x)).reshape(-1, channels).max(axis=0)
    return read, np.abs(reading.get_weights()[0]).max(axis=-1).reshape(-1, channels).max(axis=0)


@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("producer", ["convolution with relu", *slow("batch normalization", "depthwise")])
def test_afterwards_activations_and_weights_are_alike(producer, consumer):
    """Of every channel the activation is as many times as large as the weight, but for rounded factors."""
    model = network(PRODUCERS[producer](), *CONSUMERS[consumer]())
    names, x = ("0", model.layers[-1].name), images(count=50)
    channels = model.layers[0].output_shape[-1]
    uneven = rescale_channels(model, *names, np.resize([1 / 64, 64], channels))
    factors = equalizing_factors(uneven, *names, x)
    assert (factors == 2.0 ** np.round(np.log2(factors))).all()
    assert factors.shape == (channels,)
    activations, weights = ranges(rescale_channels(uneven, *names, factors), *names, x)
    times = np.log2(activations / weights)
    assert np.ptp(times) <= 2  # a factor is rounded by half a power of two, and counts twice
    assert np.ptp(np.log2(np.divide(*ranges(uneven, *names, x)))) > 6


def test_the_middle_channel_stays_about_as_large():
    model, *names = pair(layers.Conv2D(5, 3), layers.Conv2D(3, 2))
    uneven = rescale_channels(model, *names, [1 / 64, 64, 1 / 64, 64, 1])
    assert np.median(equalizing_factors(uneven, *names, images())) == 1


def with_dead_channels():
    """Channel 0 is never above 0, nothing reads channel 1, and both at once are true of channel 2."""
    model, *names = pair(layers.Conv2D(6, 3, activation="relu"), layers.Conv2D(3, 2))
    first, second = named(model, *names)
    kernel, bias = first.get_weights()
    bias[[0, 2]] = -1000
    first.set_weights([kernel, bias])
    kernel, bias = second.get_weights()
    kernel[:, :, [1, 2]] = 0
    kernel[:, :, 0] *= 2.0**12
    second.set_weights([kernel, bias])
    return model, *names


def test_a_channel_that_is_always_0_no_longer_stretches_the_scale_of_the_weights():
    model, *names = with_dead_channels()
    factors = equalizing_factors(model, *names, images())
    assert np.isfinite(factors).all()
    _, before = ranges(model, *names, images())
    activations, after = ranges(rescale_channels(model, *names, factors), *names, images())
    assert before[0] > 1000 * before[3:].max()
    assert after[0] < 4 * after[3:].max()
    assert activations[1] < 4 * activations[3:].max()


def test_nothing_but_dead_channels():
    model, *names = with_dead_channels()
    first = model.get_layer(names[0])
    first.set_weights([first.get_weights()[0], np.full(6, -1000.0)])
    kernel = model.get_layer(names[1]).get_weights()[0] * 0
    model.get_layer(names[1]).set_weights([kernel, np.zeros(3)])
    np.testing.assert_array_equal(equalizing_factors(model, *names, images()), 1)


def unevenness(model, x):
    """How far the factors are apart, in powers of two."""
    return np.ptp(np.log2(equalizing_factors(model, "0", model.layers[-1].name, np.float32(x))))


def test_representative_data_decide_and_not_the_producers_weights():
    """A channel with large weights whose input is small needs no help."""
    model = network(layers.Dense(2, use_bias=False), layers.Dense(1), shape=(2,))
    model.set_weights([np.float32([[1, 0], [0, 64]]), np.float32([[1], [1]]), np.zeros(1)])
    assert unevenness(model, [[1, 1]]) == 3
    assert unevenness(model, [[1, 1 / 64]]) == 0


def test_signs_do_not_count_unless_a_relu_cuts_them_off():
    linear = network(layers.Dense(2), layers.Dense(2), shape=(1,))
    linear.set_weights([np.float32([[1, -64]]), np.zeros(2), np.ones((2, 2)), np.zeros(2)])
    assert unevenness(linear, [[1]]) == 3
    linear.set_weights([np.ones((1, 2)), np.zeros(2), np.float32([[1, 1], [1, -64]]), np.zeros(2)])
    assert unevenness(linear, [[1]]) == 3
    cut = network(layers.Dense(2), layers.ReLU(), layers.Dense(1), shape=(1,))
    cut.set_weights([np.float32([[1, -1]]), np.zeros(2), np.float32([[1], [1]]), np.zeros(1)])
    assert unevenness(cut, [[4], [-1 / 16]]) == 3


def test_a_model_with_two_inputs():
    a, b = (layers.Input((3,), name=name) for name in "ab")
    first, last = layers.Dense(4, "relu", name="first"), layers.Dense(2, name="last")
    model = keras.Model([a, b], last(first(layers.Add()([a, b]))))
    filled(model, np.random.default_rng(0))
    x = [{"a": row, "b": 2 * row} for row in np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)]
    assert equalizing_factors(model, "first", "last", x).shape == (4,)


# What is refused


def branch(x):
    first = layers.Conv2D(4, 3, padding="same", name="first")(x)
    second = layers.Conv2D(4, 3, padding="same", name="second")(first)
    return layers.Flatten()(layers.Add(name="add")([first, second]))


def answer_in_between(x):
    first = layers.Conv2D(4, 3, name="first")(x)
    return [layers.Conv2D(4, 3, name="second")(first), first]


def used_twice(x):
    first = layers.Conv2D(2, 3, padding="same", name="first")
    return layers.Conv2D(4, 3, name="second")(first(first(x)))


def consumer_used_twice(x):
    first, second = (layers.Conv2D(2, 3, padding="same", name=name) for name in ("first", "second"))
    return second(second(first(x)))


def product(x):
    first = layers.Conv2D(2, 3, name="first")(x)
    return layers.Conv2D(2, 3, name="second")(first * first)


def inner_model(x):
    inner = keras.Sequential([layers.Input((6, 6, 2)), layers.Conv2D(2, 3)], name="inner")
    return layers.Conv2D(2, 3, name="second")(inner(layers.Conv2D(2, 3, padding="same", name="first")(x)))


def parallel(x):
    one, other = layers.Conv2D(2, 3, name="first")(x), layers.Conv2D(2, 3, name="second")(x)
    return layers.Concatenate(name="join")([one, other])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (branch, "layer first (Conv2D) is read by more than one: second, add"),
        (answer_in_between, "layer first (Conv2D) is read by more than one: second, the answer"),
        (used_twice, "layer first (Conv2D) is used more than once"),
        (consumer_used_twice, "layer second (Conv2D) is used more than once"),
        (product, "is read by more than one"),
        (inner_model, "layer inner (Sequential) does more"),
        (parallel, "layer join (Concatenate) does more"),
    ],
)
def test_graphs_that_keep_factors_from_passing(build, words):
    with pytest.raises(ConversionError) as caught:
        rescale_channels(functional(build), "first", "second", np.ones(4))
    assert words in str(caught.value)


def relu(**options):
    return [layers.ReLU(**options)]


@pytest.mark.parametrize(
    ("first", "between", "second", "words"),
    [
        (
            layers.Conv2D(4, 3, activation="tanh"),
            [],
            layers.Conv2D(3, 2),
            "layer 0 (Conv2D) has an activation",
        ),
        (
            layers.Conv2D(4, 3, activation="relu6"),
            [],
            layers.Conv2D(3, 2),
            "layer 0 (Conv2D) has an activation",
        ),
        (layers.Conv2D(4, 3), relu(max_value=6), layers.Conv2D(3, 2), "layer 1 (ReLU) has an activation"),
        (layers.Conv2D(4, 3), relu(threshold=1), layers.Conv2D(3, 2), "layer 1 (ReLU) has an activation"),
        (layers.Conv2D(4, 3), [layers.Activation("elu")], layers.Conv2D(3, 2), "layer 1 (Activation) has an"),
        (layers.Conv2D(4, 3), [layers.Softmax()], layers.Conv2D(3, 2), "layer 1 (Softmax) does more"),
        (layers.Conv2D(4, 3), [layers.Rescaling(2, 1)], layers.Conv2D(3, 2), "layer 1 (Rescaling) does more"),
        (layers.Conv2D(4, 3), [layers.Conv2D(4, 1)], layers.Conv2D(3, 2), "layer 1 (Conv2D) does more"),
        (layers.Conv2D(4, 3), [layers.BatchNormalization()], layers.Conv2D(3, 2), "make it the producer"),
        (
            layers.Conv2D(4, 3),
            [layers.Reshape((8, 8, 1))],
            layers.Conv2D(3, 2),
            "layer 1 (Reshape) does more",
        ),
        (
            layers.Conv2D(4, 3),
            [layers.GaussianDropout(0.5)],
            layers.Conv2D(3, 2),
            "(GaussianDropout) does more",
        ),
        (layers.Conv2D(4, 3), [], layers.Conv2D(4, 2, groups=2), "layer 1 (Conv2D) has groups"),
        (
            layers.Conv2D(4, 3),
            [],
            layers.Conv2DTranspose(3, 2),
            "layer 1 (Conv2DTranspose) is none of Conv2D",
        ),
        (layers.Conv2D(4, 3), [], layers.BatchNormalization(), "layer 1 (BatchNormalization) is none of"),
        (layers.SeparableConv2D(4, 3), [], layers.Conv2D(3, 2), "layer 0 (SeparableConv2D) is none of"),
        (layers.ReLU(), [], layers.Conv2D(3, 2), "layer 0 (ReLU) is none of Conv2D"),
        (layers.BatchNormalization(scale=False), [], layers.Conv2D(3, 2), "has no gamma or no beta"),
        (layers.BatchNormalization(center=False), [], layers.Conv2D(3, 2), "has no gamma or no beta"),
        (layers.BatchNormalization(axis=1), [], layers.Conv2D(3, 2), "does not have its channels last"),
        (
            layers.Conv2D(2, 1, data_format="channels_first"),
            [],
            layers.Conv2D(3, 2),
            "(Conv2D) does not have its",
        ),
        (
            layers.Conv2D(4, 3),
            [layers.MaxPooling2D(2, data_format="channels_first")],
            layers.Conv2D(3, 2),
            "layer 1 (MaxPooling2D) does not have its channels last",
        ),
        (
            layers.Conv2D(4, 3),
            [],
            layers.Conv2D(3, 2, data_format="channels_first"),
            "layer 1 (Conv2D) does not have its channels last",
        ),
    ],
)
def test_layers_that_keep_factors_from_passing(first, between, second, words):
    model, *names = pair(first, second, between)
    with pytest.raises(ConversionError) as caught:
        rescale_channels(model, *names, np.ones(4))
    assert words in str(caught.value)


def test_what_cannot_be_rescaled_has_no_factors_either():
    model, *names = pair(layers.Conv2D(4, 3, activation="tanh"), layers.Conv2D(3, 2))
    with pytest.raises(ConversionError, match=r"layer 0 \(Conv2D\) has an activation"):
        equalizing_factors(model, *names, images())


def test_a_subclass_may_do_anything():
    class Shifting(layers.ReLU):
        def call(self, inputs):
            return super().call(inputs) + 1

    model, *names = pair(layers.Conv2D(4, 3), layers.Conv2D(3, 2), [Shifting()])
    with pytest.raises(ConversionError, match=r"layer 1 \(Shifting\) does more"):
        rescale_channels(model, *names, np.ones(4))


def test_the_wrong_way_round():
    model, first, second = pair(layers.Conv2D(4, 3), layers.Conv2D(3, 2))
    with pytest.raises(ConversionError, match=r"layer 1 \(Conv2D\) comes last, and 0 not behind it"):
        rescale_channels(model, second, first, np.ones(3))
    with pytest.raises(ConversionError, match=r"layer 1 \(Conv2D\) cannot be both"):
        rescale_channels(model, second, second, np.ones(3))


def test_unknown_layers_and_models():
    model, first, second = pair(layers.Conv2D(4, 3), layers.Conv2D(3, 2))
    with pytest.raises(ConversionError, match=r"no layer 'conv' in model '\w+': there are 0, 1"):
        rescale_channels(model, "conv", second, np.ones(4))
    with pytest.raises(ConversionError, match="a tf_keras model expected, not bytes"):
        rescale_channels(b"TFL3", first, second, np.ones(4))
    with pytest.raises(ConversionError, match="input_shape"):
        rescale_channels(keras.Sequential([layers.Dense(3), layers.Dense(2)]), first, second, np.ones(4))


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ([1, 2, 3], "(3,) given, 4 numbers expected"),
        ([[1, 2, 3, 4]], "(1, 4) given, 4 numbers expected"),
        (2.0, "() given, 4 numbers expected"),
        (["1", "2", "3", "4"], "4 numbers expected"),
        ([1, 2, 0, 4], "above 0"),
        ([1, 2, -1, 4], "above 0"),
        ([1, 2, np.nan, 4], "above 0"),
        ([1, 2, np.inf, 4], "above 0"),
        ([1, 2, 1e-60, 4], "float32"),
        ([1, 2, 1e60, 4], "float32"),
        ([1, 2, 3e38, 4], "overflow"),
        ([1, 2, 1e-40, 4], "overflow"),
    ],
)
def test_factors_that_are_refused(factors, words):
    model, *names = pair(layers.Conv2D(4, 3, kernel_initializer="ones"), layers.Conv2D(3, 2))
    model.set_weights([10 * np.ones_like(weights) for weights in model.get_weights()])
    with pytest.raises(DataError) as caught:
        rescale_channels(model, *names, factors)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((0, 6, 6, 2), np.float32),
        images(shape=(6, 6, 3)),
        images().astype(np.int32),
        np.full((1, 6, 6, 2), np.nan, np.float32),
    ],
    ids=["none", "shape", "integers", "NaN"],
)
def test_data_that_are_refused(x):
    model, *names = pair(layers.Conv2D(4, 3), layers.Conv2D(3, 2))
    with pytest.raises(DataError):
        equalizing_factors(model, *names, x)


def test_a_model_that_makes_infinity_is_refused():
    model, *names = pair(layers.Conv2D(4, 3), layers.Conv2D(3, 2))
    model.set_weights([3e38 * np.ones_like(weights) for weights in model.get_weights()])
    with pytest.raises(ConversionError, match="NaN or infinity"):
        equalizing_factors(model, *names, 10 + images())
