"""Channels of very different size: making them alike, or unlike, in a network that answers as before.

Multiply a channel by a positive number, divide the weights that read it by the same number, and
nothing changes as long as only ReLU, pooling and the like lie between: relu(s x) = s relu(x). A
float network does not care. An int8 file does, because all channels of an activation share one
scale: beside a channel that reaches 100, one that reaches 0.4 has a single code.

Source: Nagel et al. (2019), "Data-Free Quantization Through Weight Equalization and Bias
Correction", https://arxiv.org/abs/1906.04721, section 4.1.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinylab._tensorflow import keras
from tinylab.conversion.representative import samples_of
from tinylab.conversion.source import source_of
from tinylab.errors import ConversionError, DataError
from tinylab.quiet import quiet

READING = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
WRITING = (*READING, keras.layers.BatchNormalization)
# What hands a channel's positive factor on to the same channel.
PASSING = (
    keras.layers.ReLU,
    keras.layers.Activation,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.ZeroPadding2D,
    keras.layers.Dropout,
    keras.layers.Flatten,
)
PASSING_ACTIVATIONS = (keras.activations.linear, keras.activations.relu)


def rescale_channels(
    model: keras.Model, producer: str, consumer: str, factors: Iterable[float]
) -> keras.Model:
    """A copy of a network with one layer's output channels multiplied, and the next one's weights divided.

    Channel c of what `producer` gives is multiplied by factors[c], the weights of `consumer` that
    read it are divided by it. The answers stay as they are; to the bit, if all factors are powers of
    two and no number leaves the range of float32.

    Args:
        model: a Sequential or functional tf_keras model. It is left as it is.
        producer: name of a Conv2D, DepthwiseConv2D, Dense or BatchNormalization layer, such as
            `model.layers[0].name`. With a BatchNormalization behind a convolution, it is the one.
        consumer: name of the Conv2D, DepthwiseConv2D or Dense that reads it. Between the two there may
            be ReLU, pooling, ZeroPadding2D, Dropout and Flatten, and no branch.
        factors: (C,), one for each channel that producer gives, above 0.

    Returns:
        A model with the same layers and names, not compiled.

    Raises:
        ConversionError: no such layers, or something between them that would change the answers.
        DataError: factors that are not C positive numbers, or so large that weights overflow.

    >>> layers = [keras.layers.Dense(2, "relu", input_shape=(1,)), keras.layers.Dense(1)]
    >>> model = keras.Sequential(layers)
    >>> model.set_weights([np.float32([[3, 5]]), np.zeros(2), np.float32([[1], [1]]), np.zeros(1)])
    >>> uneven = rescale_channels(model, layers[0].name, layers[1].name, [1, 128])
    >>> print(*uneven.get_weights()[0], *uneven.get_weights()[2].T)
    [  3. 640.] [1.        0.0078125]
    """
    copy = _copy(model)
    first, second = _pair(copy, producer, consumer)
    channels = first.output_shape[-1]
    factors = _checked(factors, channels)
    kernel_and_bias, statistics = first.get_weights()[:2], first.get_weights()[2:]
    kernel, *rest = second.get_weights()
    with np.errstate(over="ignore"):  # refused below
        kernel_and_bias = [(w.reshape(-1, channels) * factors).reshape(w.shape) for w in kernel_and_bias]
        kernel = kernel / np.tile(factors, kernel.shape[-2] // channels)[:, np.newaxis]  # after a Flatten
    if not all(np.isfinite(weights).all() for weights in (*kernel_and_bias, kernel)):
        raise DataError("factors: so large, or so small, that weights overflow; stay nearer to 1.")
    first.set_weights([*kernel_and_bias, *statistics])  # a BatchNormalization's gamma and beta come first
    second.set_weights([kernel, *rest])
    return copy


def equalizing_factors(model: keras.Model, producer: str, consumer: str, x: Any) -> np.ndarray:
    """Factors for `rescale_channels` that make the channels between two layers alike.

    With r1 the largest absolute value of a channel where `consumer` reads it, and r2 the largest
    absolute weight that reads it, a channel's factor is sqrt(r2 / r1): then both are sqrt(r1 r2). This
    is Nagel et al., equation 11, except for what r1 is. They take the producer's weights, which needs
    no data. But an int8 file gives the weights of each output channel a scale of their own: these need
    no help. What has to share a scale are the channels of an activation, and the weights of one of the
    consumer's outputs; and how far an activation reaches, only data tell.

    The factors are rounded to powers of two, so that the float answers stay equal to the bit, and
    leave the middle channel about as large as it was. A channel that is always 0, or that nothing
    reads, has one range only: it is brought to where the others' are. So weights that read a dead
    channel, which training may leave at any size, no longer stretch the scale of the others.

    Args:
        model, producer, consumer: as for `rescale_channels`.
        x: representative data, in any form that `tinylab.conversion.convert` takes.

    Returns:
        float64 (C,).

    Raises:
        ConversionError: as for `rescale_channels`.
        DataError: data that do not fit the model.

    >>> layers = [keras.layers.Dense(2, "relu", input_shape=(1,)), keras.layers.Dense(1)]
    >>> model = keras.Sequential(layers)
    >>> model.set_weights([np.float32([[1, 16]]), np.zeros(2), np.float32([[16], [1]]), np.zeros(1)])
    >>> equalizing_factors(model, layers[0].name, layers[1].name, np.float32([[1]]))  # to 4 and 4
    array([4.  , 0.25])
    """
    copy = _copy(model)
    first, second = _pair(copy, producer, consumer)
    channels = first.output_shape[-1]
    samples = samples_of(x, source_of(copy))
    inputs = [np.concatenate([sample[name] for sample in samples]) for name in samples[0]]
    with quiet():
        read = keras.Model(copy.inputs, second.input).predict(inputs, verbose=0)
    if not np.isfinite(read).all():
        raise ConversionError(f"model {model.name!r} makes NaN or infinity of these data; train it again.")
    activations = _largest(read, channels)
    weights = _largest(np.abs(second.get_weights()[0]).max(axis=-1), channels)
    alive = (activations > 0) & (weights > 0)
    typical = np.median((activations * weights)[alive]) if alive.any() else 1.0
    r1, r2 = _filled(activations, weights, typical), _filled(weights, activations, typical)
    exponents = np.round(np.log2(r2 / r1) / 2)
    return 2.0 ** (exponents - np.floor(np.median(exponents)))


def _largest(values: np.ndarray, channels: int) -> np.ndarray:
    """The largest absolute value of each channel, float64 (C,); the channels run fastest."""
    return np.abs(values).reshape(-1, channels).max(axis=0).astype(np.float64)


def _filled(ranges: np.ndarray, partners: np.ndarray, typical: float) -> np.ndarray:
    """Ranges, in which those of 0 make a product of typical size with their partners."""
    return np.where(ranges > 0, ranges, typical / np.where(partners > 0, partners, np.sqrt(typical)))


def _copy(model: keras.Model) -> keras.Model:
    if not isinstance(model, keras.Model):
        raise ConversionError(f"a tf_keras model expected, not {type(model).__name__}.")
    try:
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
    except ValueError as error:
        raise ConversionError(
            f"model {model.name!r} cannot be copied: a Sequential model with an input_shape, or a functional "
            "model, expected."
        ) from error
    return copy


def _checked(factors: Iterable[float], channels: int) -> np.ndarray:
    factors = np.asarray(factors)
    if factors.dtype.kind not in "iuf" or factors.shape != (channels,):
        raise DataError(f"factors: {factors.dtype} {factors.shape} given, {channels} numbers expected.")
    with np.errstate(over="ignore", under="ignore"):
        factors = factors.astype(np.float32)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise DataError("factors: each has to be above 0, and a number that float32 can hold.")
    return factors


def _pair(model: keras.Model, producer: str, consumer: str) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """The two layers, between which nothing keeps a factor from passing."""
    first, last = _layer(model, producer, WRITING), _layer(model, consumer, READING)
    _demand(last, last is not first, "cannot be both producer and consumer")
    _demand(last, getattr(last, "groups", 1) == 1, "has groups: not every output reads every channel")
    if isinstance(first, keras.layers.BatchNormalization):
        _demand(first, first.scale and first.center, "has no gamma or no beta to multiply")
        _demand(first, first.axis == [len(first.output_shape) - 1], "does not have its channels last")
    layer = first
    while True:
        channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
        _demand(layer, channels_last, "does not have its channels last")
        if layer is last:
            return first, last
        advice = "; make it the producer" if isinstance(layer, keras.layers.BatchNormalization) else ""
        passing = layer is first or type(layer) in PASSING
        _demand(layer, passing, f"does more to a channel than to hand it on{advice}")
        _demand(layer, _keeps_factors(layer), "has an activation that does not keep a factor a factor")
        readers = [node.layer for node in layer.outbound_nodes]
        names = [reader.name for reader in readers] + ["the answer"] * (layer.name in model.output_names)
        _demand(layer, names != ["the answer"], f"comes last, and {consumer} not behind it")
        _demand(layer, len(names) == 1, f"is read by more than one: {', '.join(names)}")
        layer = readers[0]


def _layer(model: keras.Model, name: str, kinds: tuple[type, ...]) -> keras.layers.Layer:
    found = next((layer for layer in model.layers if layer.name == name), None)
    if found is None:
        names = ", ".join(layer.name for layer in model.layers)
        raise ConversionError(f"no layer {name!r} in model {model.name!r}: there are {names}.")
    _demand(found, type(found) in kinds, f"is none of {', '.join(kind.__name__ for kind in kinds)}")
    _demand(found, len(found.inbound_nodes) == 1, "is used more than once")
    return found


def _keeps_factors(layer: keras.layers.Layer) -> bool:
    """Whether a layer's activation f has f(s x) = s f(x) for every s > 0."""
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.threshold
    return getattr(layer, "activation", keras.activations.linear) in PASSING_ACTIVATIONS


def _demand(layer: keras.layers.Layer, condition: bool, otherwise: str) -> None:
    if not condition:
        raise ConversionError(f"layer {layer.name} ({type(layer).__name__}) {otherwise}.")
