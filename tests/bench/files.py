"""The files that are measured: networks of the course, by recipe."""

import functools
from collections.abc import Callable

import numpy as np

from tinylab import data, models
from tinylab._tensorflow import keras
from tinylab.conversion import Recipe, convert
from tinylab.data import motion

from .. import architectures

V1 = "mobilenet_v1"
SHIPPED = (Recipe.FLOAT32, Recipe.DYNAMIC_RANGE, Recipe.INT8)


@functools.cache
def fashion(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images of a split as the networks take them, and their labels."""
    images, labels = data.arrays("fashion_mnist", split)
    return images.astype(np.float32) / 255, labels


def _motion_cnn() -> keras.Model:
    keras.utils.set_random_seed(0)
    return models.motion_cnn()


def _mobilenet_v2() -> keras.Model:
    """Lesson 08's network, with a head that nobody trained."""
    keras.utils.set_random_seed(0)
    backbone = models.mobilenet_v2()
    head = keras.layers.Dense(10, "softmax", name="classes")
    return keras.Model(backbone.input, head(backbone.output), name="pictures_to_classes")


def _noise() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (8, 224, 224, 3)).astype(np.float32)


# How each is made, and inputs to calibrate it with; the first of them is the one that is timed.
NETWORKS: dict[str, tuple[Callable[[], keras.Model], Callable[[], np.ndarray]]] = {
    "small_cnn": (lambda: models.trained("small_cnn"), lambda: fashion("train")[0][:100]),
    "small_resnet": (lambda: models.trained("small_resnet"), lambda: fashion("train")[0][:100]),
    V1: (lambda: architectures.network(V1), lambda: architectures.samples(V1)),
    "motion_cnn": (_motion_cnn, lambda: motion.prepare(motion.split("train")[0][:100])),
    "mobilenet_v2": (_mobilenet_v2, _noise),
}


def network(name: str) -> keras.Model:
    """One of NETWORKS, with the same names of layers each time, because a file holds them."""
    keras.backend.reset_uids()
    return NETWORKS[name][0]()


@functools.cache
def file(name: str, recipe: Recipe) -> bytes:
    """A network's .tflite file."""
    return convert(network(name), recipe, NETWORKS[name][1]())


def files(name: str, recipes=SHIPPED) -> dict[str, bytes]:
    """A network's files by the name of their recipe."""
    return {recipe.value: file(name, recipe) for recipe in recipes}
