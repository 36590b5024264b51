"""Small networks for the cases of checks: random weights, made from the case's own generator."""

import numpy as np

from tinylab._tensorflow import keras


def filled(model: keras.Model, rng: np.random.Generator) -> keras.Model:
    """The model with random weights: those that Keras draws would depend on what ran before."""
    model.set_weights([rng.normal(0, 0.5, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def image_network(rng: np.random.Generator, activation: str = "relu", use_bias: bool = True) -> keras.Model:
    """A small network for images (N, 28, 28, 1), of random size; its outputs are (N, 10)."""
    channels = int(rng.integers(8, 13))
    # named, because the names that Keras would count up are part of a converted file
    layers = [
        keras.layers.Conv2D(
            channels, 5, strides=3, activation=activation, input_shape=(28, 28, 1), name="convolution"
        ),
        keras.layers.MaxPooling2D(name="pool"),
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(10, use_bias=use_bias, name="scores"),
    ]
    return filled(keras.Sequential(layers, name=f"cnn_{channels}"), rng)
