"""Layers and models of Keras 2 as plain data, and back: Keras' own layers, and nothing of anybody else's.

Keras' own `from_config` imports and calls what a configuration names. So what comes from a learner is
reduced to classes and settings that are on a list here before Keras sees it.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinylab._tensorflow import keras, tf
from tinylab.check.answers import error_in_short, shortened
from tinylab.errors import DataError

LAYERS = {
    name: getattr(keras.layers, name)
    for name in (
        *("InputLayer", "Dense", "Conv1D", "Conv2D", "DepthwiseConv1D", "DepthwiseConv2D"),
        *("SeparableConv1D", "SeparableConv2D", "BatchNormalization", "LayerNormalization", "Rescaling"),
        *("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D"),
        *("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D"),
        *("Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "ThresholdedReLU", "Softmax"),
        *("Flatten", "Reshape", "Permute", "ZeroPadding1D", "ZeroPadding2D", "Cropping1D", "Cropping2D"),
        *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"),
        *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "ActivityRegularization"),
    )
}
MODELS = {"Sequential": keras.Sequential, "Functional": keras.Model, "Model": keras.Model}
ACTIVATIONS = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "sigmoid", "hard_sigmoid", "tanh"),
    *("softmax", "log_softmax", "softplus", "softsign", "swish", "silu", "mish", "exponential"),
)
DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int32")
# Only training needs them; and some are made by functions of a learner's own.
LEFT_OUT = ("initializer", "regularizer", "constraint", "module", "registered_name", "build_config", "dtype")
SIZES = ("filters", "units", "kernel_size", "depth_multiplier")  # factors of a kernel's size

MOST_LAYERS = 500
MOST_DRAWN = 1000  # weights that a layer may draw by itself, for each channel that it is going to read
MOST_ELEMENTS = 200_000  # that a layer may compute for one input
UNKNOWN = "a model of Keras' own layers expected, built: one that knows the shape of its input"


def parts(value: Any) -> tuple[str, dict, list[np.ndarray]] | None:
    """What `rebuilt` needs: class, configuration, weights; None if this is no such layer or model.

    Weights of a layer that has not been built are those that it was given (`weights=[...]`).
    """
    try:
        config = value.get_config()
    except Exception:  # Keras', or a learner's own
        return None
    if not isinstance(value, keras.Model):
        weights = value.get_weights() if value.built else getattr(value, "_initial_weights", None) or []
        return type(value).__name__, config, [np.asarray(w) for w in weights]
    if not (value.built and getattr(value, "_is_graph_network", False)):
        return None
    kind = "Sequential" if isinstance(value, keras.Sequential) else "Functional"
    return kind, config, [np.asarray(w) for w in value.get_weights()]


def rebuilt(kind: str, config: Any, weights: list) -> Any:
    """A layer, not built yet, or a model, with these weights.

    Raises:
        DataError: anything else than Keras' own layers, or weights and sizes that do not belong together.
    """
    try:
        layer = _entry({"class_name": kind, "config": config})
        if _count(layer) > MOST_LAYERS:
            raise DataError(f"{MOST_LAYERS} layers at most expected, {_count(layer):,} given")
        if not all(isinstance(w, np.ndarray) and w.dtype.kind in "iuf" for w in weights):
            raise DataError("arrays of numbers expected as weights")
        return _model(layer, weights) if kind in MODELS else _layer(layer, weights)
    except DataError:
        raise
    except Exception as error:  # Keras raises what it comes upon
        text = shortened(error_in_short(error), 150)
        raise DataError(f"a model expected that Keras can make again, but: {text}") from None


def _model(entry: dict, weights: list[np.ndarray]) -> keras.Model:
    def made() -> keras.Model:
        return MODELS[entry["class_name"]].from_config(entry["config"])

    with tf.Graph().as_default():  # where weights have a shape, and take no memory
        model = made()
        shapes = [tuple(w.shape) for w in model.weights]
        sizes = [math.prod(shape[1:]) for layer in flat(model) for shape in _shapes(layer.output_shape)]
    if shapes != [w.shape for w in weights]:
        raise DataError(f"{len(shapes)} arrays of weights expected, as its layers have them")
    if max(sizes, default=0) > MOST_ELEMENTS:
        raise DataError(f"a layer of {MOST_ELEMENTS:,} numbers at most expected, {max(sizes):,} given")
    model = made()
    model.set_weights(weights)
    return model


def _layer(entry: dict, weights: list[np.ndarray]) -> keras.layers.Layer:
    config = entry["config"]
    kernel = math.prod(math.prod(_sizes(config[name])) for name in SIZES if name in config)
    given = sum(w.size for w in weights)
    if kernel > max(given, MOST_DRAWN):
        raise DataError(f"{kernel:,} weights or more expected, {given:,} given")
    return LAYERS[entry["class_name"]](**config, **({"weights": weights} if weights else {}))


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def flat(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model, and of the models inside it."""
    layers: list[keras.layers.Layer] = []
    for layer in model.layers:
        layers += flat(layer) if isinstance(layer, keras.Model) else [layer]
    return layers


def _count(entry: dict) -> int:
    return 1 + sum(map(_count, entry["config"].get("layers", [])))


def _shapes(shape: Any) -> list[tuple]:
    """The shapes of one output or of several."""
    several = isinstance(shape, list)
    return [tuple(size or 1 for size in one) for one in (shape if several else [shape])]


def _entry(entry: Any) -> dict:
    """A layer or a model, as `get_config` describes it, reduced to what is on a list."""
    if not (isinstance(entry, Mapping) and isinstance(entry.get("class_name"), str)):
        raise DataError("a layer's class and configuration expected")
    kind, config = entry["class_name"], entry.get("config")
    if not (kind in LAYERS or kind in MODELS) or not isinstance(config, Mapping):
        raise DataError(f"a model of Keras' own layers expected, {shortened(kind, 100)} given")
    settings = {name: _setting(name, value) for name, value in config.items() if _is_kept(name, value)}
    if kind in MODELS:
        settings["layers"] = [_entry(layer) for layer in config["layers"]]
    rest = {name: _plain(entry[name]) for name in ("name", "inbound_nodes") if name in entry}
    return {"class_name": kind, "config": settings, **rest}


def _is_kept(name: Any, value: Any) -> bool:
    if not isinstance(name, str):
        raise DataError("settings with names expected")
    return name != "layers" and (value in DTYPES if name == "dtype" else not name.endswith(LEFT_OUT))


def _setting(name: str, value: Any) -> Any:
    if name != "activation" or value is None:
        return _plain(value)
    if isinstance(value, str) and value in ACTIVATIONS:
        return value
    if isinstance(value, Mapping) and value.get("class_name") in LAYERS:
        return _entry(value)  # a layer may be the activation of another
    raise DataError("activations of Keras' own layers expected, another function given")


def _plain(value: Any) -> Any:
    """Settings: numbers, text, lists of these, and what a layer is called with."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if isinstance(value, Mapping) and all(
        name in ("training", "mask") and (inside is None or isinstance(inside, bool))
        for name, inside in value.items()
    ):
        return dict(value)
    raise DataError(f"settings of Keras' own layers expected, {type(value).__name__} given")
