"""MobileNetV2, pretrained: the network under the head that lesson 08 trains.

The weights are those of a published object detector. `tinylab.models.backbone.make` took them out of
its file; README.md beside this one says where that comes from.
"""

import json
from importlib.resources import files

from tinylab._tensorflow import keras, tf
from tinylab.models import stored

FOLDER = files("tinylab.models.backbone")
# Expansion, output channels, how many blocks, stride of the first of them: table 2 of Sandler et al. (2018),
# "MobileNetV2: Inverted Residuals and Linear Bottlenecks", https://arxiv.org/abs/1801.04381
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2() -> keras.Model:
    """The pretrained backbone: 2,206,816 parameters, none of them to be trained.

    Its batch normalization is folded into the convolutions, which therefore have a bias.

    Input float32 (N, 224, 224, 3), red, green and blue of a pixel as value / 127.5 - 1, so -1 to 1.
    Output float32 (N, 1280), 0 to 6: the last convolution's channels, each averaged over the picture.

    Raises:
        DataError: a damaged installation.
    """
    model = architecture()
    stored.load(model, FOLDER, "mobilenet_v2")
    model.trainable = False
    return model


def card() -> dict:
    """What was recorded when the weights were made: their source, their checksum, how far both agree."""
    return json.loads((FOLDER / "mobilenet_v2.json").read_text())


def architecture(size: int = 224) -> keras.Model:
    """The network without its weights, for pictures (N, size, size, 3)."""
    layers = keras.layers
    pictures = layers.Input((size, size, 3), name="picture")
    x = layers.Conv2D(32, 3, 2, "same", name="first")(pictures)
    x = layers.ReLU(6, name="first_relu")(x)
    number = 0
    for expansion, channels, count, stride in BLOCKS:
        for place in range(count):
            x = _block(x, f"block_{number}", expansion, channels, stride if place == 0 else 1)
            number += 1
    x = layers.Conv2D(1280, 1, name="last")(x)
    x = layers.ReLU(6, name="last_relu")(x)
    return keras.Model(pictures, layers.GlobalAveragePooling2D(name="features")(x), name="mobilenet_v2")


def _block(x: tf.Tensor, name: str, expansion: int, channels: int, stride: int) -> tf.Tensor:
    """An inverted residual: 1x1 to many channels, 3x3 in each of them, 1x1 back to few, without ReLU."""
    layers, before = keras.layers, x
    if expansion > 1:
        x = layers.Conv2D(expansion * x.shape[-1], 1, name=f"{name}_expand")(x)
        x = layers.ReLU(6, name=f"{name}_expand_relu")(x)
    x = layers.DepthwiseConv2D(3, stride, "same", name=f"{name}_depthwise")(x)
    x = layers.ReLU(6, name=f"{name}_depthwise_relu")(x)
    x = layers.Conv2D(channels, 1, name=f"{name}_project")(x)
    if before.shape == x.shape:
        x = layers.Add(name=f"{name}_add")([before, x])
    return x
