"""What is converted: a Keras model or a SavedModel, seen in one way."""

import sys
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinylab._tensorflow import keras, tf
from tinylab.errors import ConversionError
from tinylab.quiet import quiet

# Inputs, or outputs, by name: of several, the converter puts either into an order of its own.
Arrays = dict[str, np.ndarray]


class Input(NamedTuple):
    """An input of a model; shape[0] is the batch and None, the rest are sizes."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype


class Source:
    """A model to convert: its converter, inputs, own answers, whether it scales its input, its layers."""

    def __init__(
        self,
        make_converter: Callable[[], Any],
        answer: Callable[[Arrays], Arrays],
        inputs: list[Input],
        scales_its_input: bool,
        parts: Iterable[Any] = (),
    ):
        self.make_converter = make_converter
        self.answer = answer
        self.inputs = inputs
        self.scales_its_input = scales_its_input
        self.parts = tuple(parts)
        for name, shape, _ in inputs:
            if None in shape[1:]:
                raise ConversionError(
                    f"input {name} has free dimensions {shape}: only the batch may be free."
                )


def source_of(model: Any) -> Source:
    """Look at a tf_keras or Keras 3 model, or at the path of a SavedModel directory."""
    if isinstance(model, (str, PathLike)):
        return _saved_model(Path(model))
    keras_3 = sys.modules.get("keras")
    if isinstance(model, keras.Model) or (keras_3 and isinstance(model, keras_3.Model)):
        return _keras_model(model)
    raise ConversionError(
        f"expected a Keras model or the path of a SavedModel directory, not {type(model).__name__}."
    )


def _keras_model(model: Any) -> Source:
    try:
        tensors = list(model.inputs or [])
    except (AttributeError, ValueError):
        tensors = []
    if not tensors:
        raise ConversionError(
            f"model {model.name!r} has no input shape: give its first layer an input_shape, or call it on a "
            "batch of data once; a subclass of Model, save with model.export(directory) and convert that."
        )
    inputs = [Input(t.name, tuple(t.shape), np.dtype(getattr(t.dtype, "name", t.dtype))) for t in tensors]
    rescaling = {"Rescaling", "Normalization"}

    def answer(inputs: Arrays) -> Arrays:
        arrays = list(inputs.values())
        outputs = model(arrays[0] if len(arrays) == 1 else arrays, training=False)
        flat = [np.asarray(output) for output in tf.nest.flatten(outputs)]
        # the names that a file's signature has: Keras 2 names outputs by layer, Keras 3 numbers them
        if isinstance(model, keras.Model):
            return dict(zip(model.output_names, flat, strict=True))
        names = sorted(outputs) if isinstance(outputs, dict) else [f"output_{i}" for i in range(len(flat))]
        return dict(zip(names, flat, strict=True))

    return Source(
        lambda: tf.lite.TFLiteConverter.from_keras_model(model),
        answer,
        inputs,
        any(type(layer).__name__ in rescaling for layer in model.layers),
        [model, *model.submodules] if isinstance(model, keras.Model) else (),
    )


def _saved_model(directory: Path) -> Source:
    if not (directory / "saved_model.pb").is_file():
        raise ConversionError(f"{directory}: no SavedModel there (saved_model.pb is missing).")
    with quiet():
        try:
            loaded = tf.saved_model.load(str(directory))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ConversionError(f"{directory}: damaged SavedModel: {first_line(error)}") from error
    if "serving_default" not in loaded.signatures:
        raise ConversionError(
            f"{directory}: no signature serving_default (there are: {sorted(loaded.signatures) or 'none'}); "
            "save the model with model.export(directory)."
        )
    signature = loaded.signatures["serving_default"]
    specs = sorted(signature.structured_input_signature[1].items())
    inputs = [Input(name, tuple(spec.shape), np.dtype(spec.dtype.as_numpy_dtype)) for name, spec in specs]

    def answer(inputs: Arrays) -> Arrays:
        outputs = signature(**{name: tf.constant(array) for name, array in inputs.items()})
        return {name: output.numpy() for name, output in outputs.items()}

    return Source(
        lambda: tf.lite.TFLiteConverter.from_saved_model(str(directory), signature_keys=["serving_default"]),
        answer,
        inputs,
        scales_its_input=False,
    )


def first_line(error: Exception) -> str:
    """The first line of an error's text that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
