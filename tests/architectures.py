"""Well-known small architectures in full int8, with random weights: written from their papers' descriptions.

No weights are trained. Batch normalization is given the statistics of random inputs, so that activations
neither die out nor explode, as in a trained network.
"""

import functools
from collections.abc import Callable

import numpy as np

from tinylab._tensorflow import keras, tf
from tinylab.conversion import Recipe, convert

L = keras.layers


def normalized(x, activation=None):
    x = L.BatchNormalization()(x)
    return activation(x) if activation else x


def conv(x, filters: int, kernel=3, strides=1, activation=tf.nn.relu):
    x = L.Conv2D(filters, kernel, strides, "same", use_bias=False)(x)
    return normalized(x, activation)


def depthwise(x, strides=1, activation=tf.nn.relu):
    x = L.DepthwiseConv2D(3, strides, "same", use_bias=False)(x)
    return normalized(x, activation)


def classified(x, classes: int):
    wide = keras.initializers.VarianceScaling(10.0)  # or all probabilities would be about the same
    return L.Dense(classes, "softmax", kernel_initializer=wide)(L.GlobalAveragePooling2D()(x))


def resnet8(x):
    """He and others, 2015, in the size of MLPerf Tiny: three residual blocks."""
    x = conv(x, 16)
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = conv(conv(x, filters, strides=strides), filters, activation=None)
        if strides > 1:
            x = L.Conv2D(filters, 1, strides, "same")(x)
        x = L.ReLU()(L.Add()([x, y]))
    return classified(x, 10)


def ds_cnn(x):
    """Zhang and others, 2017, keyword spotting: one convolution, then four depthwise separable ones."""
    x = conv(x, 64, (10, 4), 2)
    for _ in range(4):
        x = conv(depthwise(x), 64, 1)
    return classified(L.Dropout(0.2)(x), 12)


def mobilenet_v1(x):
    """Howard and others, 2017, alpha 0.25: thirteen depthwise separable convolutions."""
    x = conv(x, 8, strides=2, activation=tf.nn.relu6)
    blocks = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *5 * [(128, 1)], (256, 2), (256, 1)]
    for filters, strides in blocks:
        x = conv(depthwise(x, strides, tf.nn.relu6), filters, 1, activation=tf.nn.relu6)
    return classified(x, 2)


def mobilenet_v2(x):
    """Sandler and others, 2018, alpha 0.35: inverted residuals with linear bottlenecks."""
    x = conv(x, 16, strides=2, activation=tf.nn.relu6)
    stages = [(1, 8, 1, 1), (6, 8, 2, 2), (6, 16, 3, 2), (6, 24, 4, 2), (6, 32, 3, 1), (6, 56, 3, 2)]
    for expansion, filters, count, first_strides in [*stages, (6, 112, 1, 1)]:
        for strides in (first_strides, *(count - 1) * [1]):
            wide = conv(x, expansion * x.shape[-1], 1, activation=tf.nn.relu6) if expansion > 1 else x
            narrow = conv(depthwise(wide, strides, tf.nn.relu6), filters, 1, activation=None)
            x = L.Add()([x, narrow]) if strides == 1 and x.shape[-1] == filters else narrow
    return classified(conv(x, 1280, 1, activation=tf.nn.relu6), 2)


def autoencoder(x):
    """The anomaly detection of MLPerf Tiny: dense layers down to 8 values and up again."""
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = normalized(L.Dense(units)(x), tf.nn.relu)
    return L.Dense(640)(x)


def motion_cnn(x):
    """Convolutions along time, for six channels of an accelerometer and a gyroscope."""
    for filters in (16, 32, 64):
        x = normalized(L.Conv1D(filters, 5, padding="same")(x), tf.nn.relu)
        x = L.MaxPooling1D(2)(x)
    x = L.Dense(32, "relu")(L.Flatten()(x))
    return L.Dense(6, "softmax")(x)


# The body of each, and the shape of one input.
ARCHITECTURES: dict[str, tuple[Callable, tuple[int, ...]]] = {
    "resnet8": (resnet8, (32, 32, 3)),
    "ds_cnn": (ds_cnn, (49, 10, 1)),
    "mobilenet_v1": (mobilenet_v1, (96, 96, 3)),
    "mobilenet_v2": (mobilenet_v2, (96, 96, 3)),
    "autoencoder": (autoencoder, (640,)),
    "motion_cnn": (motion_cnn, (128, 6)),
}


def samples(name: str) -> np.ndarray:
    """Random inputs of an architecture."""
    return np.random.default_rng(0).normal(size=(32, *ARCHITECTURES[name][1])).astype(np.float32)


def network(name: str) -> keras.Model:
    """An architecture with random weights."""
    body, shape = ARCHITECTURES[name]
    keras.backend.reset_uids()
    keras.utils.set_random_seed(0)
    inputs = L.Input(shape)
    model = keras.Model(inputs, body(inputs))
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.momentum = 0.0  # one batch in training mode, and its statistics are the layer's own
    model(samples(name), training=True)
    return model


@functools.cache
def int8_file(name: str) -> bytes:
    """The .tflite file of an architecture."""
    return convert(network(name), Recipe.INT8, samples(name))
