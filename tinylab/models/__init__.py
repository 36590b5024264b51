"""The small networks of the lessons, and weights for them that were trained beforehand.

Every network is a tf_keras (Keras 2) model, because tensorflow-model-optimization takes no other.
"""

import json
from collections.abc import Callable
from importlib.resources import files

from tinylab._tensorflow import keras
from tinylab.errors import DataError
from tinylab.models import stored
from tinylab.models.backbone import mobilenet_v2
from tinylab.models.motion import motion_cnn

__all__ = [
    "TRAINED",
    "WEIGHTS",
    "card",
    "mobilenet_v2",
    "motion_cnn",
    "one_neuron",
    "small_cnn",
    "small_resnet",
    "trained",
]

WEIGHTS = files("tinylab.models") / "weights"


def one_neuron() -> keras.Sequential:
    """The smallest network: one weight, one bias. Input float32 (N, 1), output float32 (N, 1)."""
    return keras.Sequential([keras.layers.Dense(units=1, input_shape=[1])], name="one_neuron")


def small_cnn() -> keras.Sequential:
    """Two convolutions and two dense layers: 30,762 parameters.

    Input float32 (N, 28, 28, 1) with values 0 to 1, output float32 (N, 10), probabilities.
    """
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Conv2D(16, 3, activation="relu", input_shape=(28, 28, 1)),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        name="small_cnn",
    )


def small_resnet() -> keras.Model:
    """Depthwise-separable convolutions with residual connections: 8,282 parameters.

    Input float32 (N, 28, 28, 1) with values 0 to 1, output float32 (N, 10), probabilities.
    """
    layers = keras.layers

    def normalised(x: keras.layers.Layer, *convolution: keras.layers.Layer) -> keras.layers.Layer:
        for layer in convolution:
            x = layer(x)
        # 0.9, because a training this short is over before the usual 0.99 has forgotten its beginning
        return layers.BatchNormalization(momentum=0.9)(x)

    def separable(x: keras.layers.Layer, filters: int, strides: int = 1) -> keras.layers.Layer:
        x = normalised(x, layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False))
        return normalised(layers.ReLU()(x), layers.Conv2D(filters, 1, use_bias=False))

    images = layers.Input((28, 28, 1))
    x = normalised(images, layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False))
    x = layers.ReLU()(x)
    x = layers.ReLU()(layers.Add()([x, separable(x, 16)]))
    x = layers.ReLU()(separable(x, 32, strides=2))
    x = layers.ReLU()(layers.Add()([x, separable(x, 32)]))
    x = layers.AveragePooling2D(3, strides=2, padding="same")(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    return keras.Model(images, layers.Dense(10, activation="softmax")(x), name="small_resnet")


# Which networks have trained weights.
TRAINED: dict[str, Callable[[], keras.Model]] = {"small_cnn": small_cnn, "small_resnet": small_resnet}


def trained(name: str) -> keras.Model:
    """A network with the weights that come with the package (`tinylab.models.train` made them).

    Args:
        name: one of `TRAINED`, such as "small_cnn".

    Raises:
        DataError: no weights of that name, or a damaged installation.
    """
    if name not in TRAINED:
        raise DataError(f"no trained weights for {name!r}: there are {', '.join(sorted(TRAINED))}.")
    model = TRAINED[name]()
    stored.load(model, WEIGHTS, name)
    return model


def card(name: str) -> dict:
    """What was recorded when a network of `TRAINED` was trained: seed, epochs, test accuracy, versions."""
    return json.loads((WEIGHTS / f"{name}.json").read_text())
