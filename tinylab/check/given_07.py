"""What exercise 07 gives to learners: images, and three networks to mend.

All three are the trained network "small_cnn" with something changed that hardly touches its float32
answers, if at all, and spoils those of int8.
"""

import functools

import numpy as np

from tinylab import data, models
from tinylab._tensorflow import keras
from tinylab.equalization import rescale_channels

# Two layers of small_cnn each, by number: the second reads the channels that the first gives.
PLACES = ((0, 2), (2, 6), (6, 7))
LAST = 7
UNEVEN = range(-8, 9)  # powers of two that channels are multiplied by
OUTLIERS = (100.0, 200.0)  # times the largest weight
SWITCHED_OFF = (-4000.0, -1000.0)  # the bias of a class that is not wanted
SURE = 1  # trousers: the weights add so much that no usual bias keeps this class from winning
NOT_WANTED = [number for number in range(10) if number != SURE]


@functools.cache
def split_images(split: str, count: int) -> np.ndarray:
    """The first images of a split, float32 (count, 28, 28, 1), 0 to 1."""
    return data.arrays("fashion_mnist", split)[0][:count].astype(np.float32) / 255


def some_images(rng: np.random.Generator, count: int) -> np.ndarray:
    """Real images, float32 (count, 28, 28, 1), 0 to 1."""
    images = split_images("train", 10_000)
    return images[rng.choice(len(images), count, replace=False)]


def uneven_channels(rng: np.random.Generator, *places: tuple[int, int]) -> keras.Model:
    """The network with the channels in these places multiplied by powers of two: the same answers."""
    model = models.trained("small_cnn")
    for place in places:
        reach = _reach(model, place)
        exponents = rng.permutation(np.resize(UNEVEN, len(reach))) * (reach > 0)
        first, second = (model.layers[number].name for number in place)
        model = rescale_channels(model, first, second, 2.0**exponents)
    return model


def outlier_weights(rng: np.random.Generator, place: tuple[int, int]) -> keras.Model:
    """The network with one huge weight for each output, on a channel that is always 0.

    One of the channels that do the least is kept at 0 for it.
    """
    model = models.trained("small_cnn")
    first, second = (model.layers[number] for number in place)
    dead = rng.choice(np.argsort(_reach(model, place))[:4])
    kernel, bias = first.get_weights()
    bias[dead] -= 100
    first.set_weights([kernel, bias])
    kernel, bias = second.get_weights()
    rows = kernel.reshape(-1, kernel.shape[-1])  # a view: one row for each input of an output
    reading = np.arange(dead, len(rows), first.output_shape[-1])
    outputs = np.arange(kernel.shape[-1])
    sizes = rng.choice([-1, 1], outputs.size) * rng.uniform(*OUTLIERS) * np.abs(kernel).max()
    rows[rng.choice(reading, outputs.size), outputs] = sizes
    second.set_weights([kernel, bias])
    return model


def switched_off(rng: np.random.Generator, number: int) -> keras.Model:
    """The network with one class switched off, by its bias."""
    model = models.trained("small_cnn")
    kernel, bias = model.layers[LAST].get_weights()
    bias[number] = rng.uniform(*SWITCHED_OFF)
    model.layers[LAST].set_weights([kernel, bias])
    return model


def _reach(model: keras.Model, place: tuple[int, int]) -> np.ndarray:
    """How far each channel between two layers goes on real images, (C,)."""
    read = keras.Model(model.inputs, model.layers[place[1]].input)(
        split_images("train", 1000), training=False
    )
    return read.numpy().reshape(-1, model.layers[place[0]].output_shape[-1]).max(axis=0)


def patients(seed: int) -> dict[str, keras.Model]:
    """One network of each kind."""
    rng = np.random.default_rng(seed)
    first, second, _ = rng.permutation(PLACES)
    return {
        "channels": uneven_channels(rng, tuple(first)),
        "outliers": outlier_weights(rng, tuple(second)),
        "switched off": switched_off(rng, rng.choice(NOT_WANTED)),
    }
