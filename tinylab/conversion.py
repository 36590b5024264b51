"""From a Keras model or a SavedModel to a .tflite file, by one of six recipes, checked.

A converter can write a file that does not answer as its model does, and say nothing. So nothing
leaves `convert` before it has been run beside the model it was made from.
"""

import contextlib
import enum
import io
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tinylab import runners, tflite_file
from tinylab._tensorflow import keras, tf
from tinylab.errors import AgreementWarning, ConversionError, DataError, RepresentativeDataWarning
from tinylab.quiet import quiet

CHECK_SAMPLES = 8
# Largest difference from the model, relative to its largest output (at least 1).
TOLERANCE = {"float32": 1e-3, "float16": 5e-2}
# Below this, an integer file no longer resembles its model: the error is half the signal.
WARN_BELOW_DB = 6.0
# Inputs scaled to 0..1, -1..1 or unit variance stay below this; pixels of 0 to 255 do not.
LARGEST_USUAL_INPUT = 16.0

MISSING_WEIGHTS = (
    "the converted file has no weights in it: it reads variables that nothing ever sets. This is what "
    "tf.saved_model.save leaves of a Keras 3 model. Save it with model.export(directory), or give the "
    "model itself to convert."
)

NAMES_LOST = (
    "the converter has lost the names of inputs and outputs, and tells several apart by nothing else: "
    "name the first and last layers in letters a to z, digits and underscores, starting with a letter."
)

# Inputs, or outputs, by name: of several, the converter puts either into an order of its own.
Arrays = dict[str, np.ndarray]


class Recipe(enum.Enum):
    """How a model is converted."""

    FLOAT32 = "float32"  # as it is
    DYNAMIC_RANGE = "dynamic_range"  # large weights in int8, computing in float32 and int8
    FLOAT16 = "float16"  # weights in float16, computing in float32
    INT8 = "int8"  # everything in int8, input and output too
    INT8_UINT8_IO = "int8_uint8_io"  # everything in int8, input and output in uint8
    INT16X8 = "int16x8"  # weights in int8, activations in int16

    @property
    def needs_representative_data(self) -> bool:
        """Whether the ranges of activations have to be observed."""
        return self in (Recipe.INT8, Recipe.INT8_UINT8_IO, Recipe.INT16X8)


def convert(
    model: Any,
    recipe: Recipe,
    representative_data: np.ndarray | Iterable | Callable[[], Iterable] | None = None,
) -> bytes:
    """Convert a model, and check the file against it before returning it.

    Args:
        model: a tf_keras or Keras 3 model, or the path of a SavedModel directory.
        recipe: what to convert to.
        representative_data: inputs as the model will meet them, for the recipes that observe
            ranges (the others only use them for the check). An array (N, ...), a tf.data.Dataset
            of batches or samples (labels are dropped), or a function like TensorFlow's own
            representative_dataset, which yields lists of arrays with a batch axis.

    Returns:
        The .tflite file's bytes.

    Raises:
        ConversionError: the model cannot be converted, or the file does not answer as the model.
        DataError: representative data missing, empty, of a wrong dtype or shape, or with NaN.

    Warns:
        RepresentativeDataWarning: values far larger than networks are usually trained on.
        AgreementWarning: a quantized file whose answers resemble the model's very little.
    """
    if not isinstance(recipe, Recipe):
        raise ConversionError(f"expected a Recipe such as Recipe.INT8, not {recipe!r}.")
    source = _source(model)
    samples = None if representative_data is None else _samples(representative_data, source)
    if samples is None and recipe.needs_representative_data:
        raise DataError(
            f"recipe {recipe.value} needs representative_data: about 100 inputs, prepared as for training."
        )
    content = _run_converter(source, recipe, samples)
    _check(content, source, recipe, samples)
    return content


class _Source:
    """A model to convert: its converter, its inputs, its own answers."""

    def __init__(
        self,
        make_converter: Callable[[], Any],
        answer: Callable[[Arrays], Arrays],
        inputs: list[tuple[str, tuple[int | None, ...], np.dtype]],
        scales_its_input: bool,
    ):
        self.make_converter = make_converter
        self.answer = answer
        self.inputs = inputs
        self.scales_its_input = scales_its_input
        for name, shape, _ in inputs:
            if None in shape[1:]:
                raise ConversionError(
                    f"input {name} has free dimensions {shape}: only the batch may be free."
                )


def _source(model: Any) -> _Source:
    if isinstance(model, (str, PathLike)):
        return _saved_model(Path(model))
    keras_3 = sys.modules.get("keras")
    if isinstance(model, keras.Model) or (keras_3 and isinstance(model, keras_3.Model)):
        return _keras_model(model)
    raise ConversionError(
        f"expected a Keras model or the path of a SavedModel directory, not {type(model).__name__}."
    )


def _keras_model(model: Any) -> _Source:
    try:
        tensors = list(model.inputs or [])
    except (AttributeError, ValueError):
        tensors = []
    if not tensors:
        raise ConversionError(
            f"model {model.name!r} has no input shape: give its first layer an input_shape, or call it on a "
            "batch of data once; a subclass of Model, save with model.export(directory) and convert that."
        )
    inputs = [(t.name, tuple(t.shape), np.dtype(getattr(t.dtype, "name", t.dtype))) for t in tensors]
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

    return _Source(
        lambda: tf.lite.TFLiteConverter.from_keras_model(model),
        answer,
        inputs,
        any(type(layer).__name__ in rescaling for layer in model.layers),
    )


def _saved_model(directory: Path) -> _Source:
    if not (directory / "saved_model.pb").is_file():
        raise ConversionError(f"{directory}: no SavedModel there (saved_model.pb is missing).")
    with quiet():
        try:
            loaded = tf.saved_model.load(str(directory))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ConversionError(f"{directory}: damaged SavedModel: {_first_line(error)}") from error
    if "serving_default" not in loaded.signatures:
        raise ConversionError(
            f"{directory}: no signature serving_default (there are: {sorted(loaded.signatures) or 'none'}); "
            "save the model with model.export(directory)."
        )
    signature = loaded.signatures["serving_default"]
    specs = sorted(signature.structured_input_signature[1].items())
    inputs = [(name, tuple(spec.shape), np.dtype(spec.dtype.as_numpy_dtype)) for name, spec in specs]

    def answer(inputs: Arrays) -> Arrays:
        outputs = signature(**{name: tf.constant(array) for name, array in inputs.items()})
        return {name: output.numpy() for name, output in outputs.items()}

    return _Source(
        lambda: tf.lite.TFLiteConverter.from_saved_model(str(directory), signature_keys=["serving_default"]),
        answer,
        inputs,
        scales_its_input=False,
    )


def _run_converter(source: _Source, recipe: Recipe, samples: list[Arrays] | None) -> bytes:
    with quiet() as held_back, contextlib.redirect_stdout(io.StringIO()):
        try:
            converter = source.make_converter()
            _configure(converter, recipe, samples)
            return converter.convert()
        except Exception as error:  # the converter raises whatever it meets: every kind has a cause
            if "READ_VARIABLE" in str(error):
                raise ConversionError(MISSING_WEIGHTS) from error
            if "SignatureDef" in str(error):
                raise ConversionError(NAMES_LOST) from error
            raise ConversionError(_explain(error, held_back())) from error


def _configure(converter: Any, recipe: Recipe, samples: list[Arrays] | None) -> None:
    """Set the converter's options: the whole difference between the recipes."""
    ops = tf.lite.OpsSet
    if recipe is Recipe.FLOAT32:
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if recipe is Recipe.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if recipe.needs_representative_data:
        # one input needs no name, and files made of oddly named layers have none
        one = len(samples[0]) == 1
        converter.representative_dataset = lambda: (list(s.values()) if one else s for s in samples)
        only = ops.TFLITE_BUILTINS_INT8
        if recipe is Recipe.INT16X8:
            only = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [only]
        io_type = {Recipe.INT8: tf.int8, Recipe.INT8_UINT8_IO: tf.uint8, Recipe.INT16X8: tf.int16}[recipe]
        converter.inference_input_type = converter.inference_output_type = io_type


def _explain(error: Exception, chatter: str) -> str:
    unsupported = sorted(set(re.findall(r"'(tf\.\w+)' op is neither", f"{error}\n{chatter}")))
    if unsupported:
        return (
            f"LiteRT has no operator for {', '.join(unsupported)}: "
            "replace that part of the model by supported layers."
        )
    return f"the converter failed: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _samples(data: Any, source: _Source) -> list[Arrays]:
    """Representative data as a list of samples, each with an array (1, ...) for every input."""
    if callable(data):
        data = data()
    if not isinstance(data, Iterable):
        raise DataError(f"representative data: an array, a Dataset or a function expected, not {data!r}.")
    if isinstance(data, tf.data.Dataset) and data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise DataError("representative data: this Dataset never ends; take some of it: dataset.take(100).")
    if isinstance(data, (np.ndarray, tf.Tensor)) or hasattr(data, "__array__"):
        batches: Iterator = iter([[np.asarray(data)]])
    else:
        batches = (_without_labels(item, source) for item in data)
    samples = [sample for batch in batches for sample in _split(batch, source)]
    if not samples:
        raise DataError(
            "representative data: empty; about 100 inputs, prepared as for training, are expected."
        )
    largest = max(
        (float(np.abs(a).max()) for sample in samples for a in sample.values() if a.dtype.kind == "f"),
        default=0.0,
    )
    if largest > LARGEST_USUAL_INPUT and not source.scales_its_input:
        warnings.warn(
            f"representative data: values up to {largest:g}. Were the training data not scaled, to 0..1 say? "
            "Prepare these exactly as those, or the ranges will be wrong.",
            RepresentativeDataWarning,
            stacklevel=3,
        )
    return samples


def _without_labels(item: Any, source: _Source) -> list[np.ndarray]:
    """One item of a data set as a list of arrays, one an input; what follows those are labels."""
    if isinstance(item, tuple) and item and isinstance(item[0], (dict, tuple)):
        item = item[0]
    if isinstance(item, dict):
        item = [item[name] for name, _, _ in source.inputs if name in item]
    elif not isinstance(item, (list, tuple)):
        item = [item]
    return [np.asarray(array) for array in item[: len(source.inputs)]]


def _split(batch: list[np.ndarray], source: _Source) -> Iterator[Arrays]:
    if len(batch) != len(source.inputs):
        names = ", ".join(name for name, _, _ in source.inputs)
        raise DataError(
            f"representative data: {len(batch)} arrays given, {len(source.inputs)} expected ({names})."
        )
    checked = {spec[0]: _checked(array, *spec) for array, spec in zip(batch, source.inputs, strict=True)}
    lengths = [len(array) for array in checked.values()]
    if len(set(lengths)) > 1:
        raise DataError(f"representative data: inputs of different lengths: {lengths}.")
    for i in range(lengths[0]):
        yield {name: array[i : i + 1] for name, array in checked.items()}


def _checked(array: np.ndarray, name: str, shape: tuple[int | None, ...], dtype: np.dtype) -> np.ndarray:
    given = array.shape
    if array.ndim == len(shape) - 1:
        array = array[np.newaxis]  # one sample, not a batch
    expected = ", ".join(["N", *map(str, shape[1:])])
    if array.ndim == 0 or array.shape[1:] != shape[1:]:
        advice = "; add the channel axis: x[..., np.newaxis]" if (*given[1:], 1) == shape[1:] else ""
        raise DataError(
            f"representative data for {name}: shape {given} given, ({expected}) expected{advice}."
        )
    if array.dtype.kind not in ("f" if dtype.kind == "f" else "iub"):
        advice = "; prepare them as for training, for instance images.astype('float32') / 255"
        raise DataError(
            f"representative data for {name}: {array.dtype} given, {dtype} expected"
            f"{advice if dtype.kind == 'f' else ''}."
        )
    if not np.isfinite(array).all():
        raise DataError(f"representative data for {name}: hold NaN or infinity; remove such samples.")
    return array.astype(dtype)


def _check(content: bytes, source: _Source, recipe: Recipe, samples: list[Arrays] | None) -> None:
    """Run the file beside its model on a few inputs; raise or warn where they part."""
    if any(operator.name == "READ_VARIABLE" for operator in tflite_file.parse(content).operators):
        raise ConversionError(MISSING_WEIGHTS)
    inputs = _check_inputs(source, samples)
    expected = source.answer(inputs)
    answers = _answers_of_file(content, inputs, list(expected))
    shapes, expected_shapes = [a.shape for a in answers.values()], [e.shape for e in expected.values()]
    if shapes != expected_shapes:
        raise ConversionError(
            f"the converted file answers in shapes {shapes}, the model in {expected_shapes}."
        )
    for name, reference in expected.items():
        _compare(answers[name], reference.astype(np.float64), recipe)


def _answers_of_file(content: bytes, inputs: Arrays, outputs: list[str]) -> Arrays:
    """The file's answers by the model's names, which the file's signature keeps."""
    runner = runners.load(content)
    if len(inputs) == len(runner.outputs) == len(outputs) == 1:
        return {outputs[0]: runner.predict(*inputs.values())}
    try:
        signature = runners.interpreter(content).get_signature_runner()
        names = {details["index"]: name for name, details in signature.get_input_details().items()}
        answers = runner.predict([inputs[names[i]] for i in runner.file.inputs])
        answers = answers if isinstance(answers, list) else [answers]
        by_index = dict(zip(runner.file.outputs, answers, strict=True))
        return {name: by_index[signature.get_output_details()[name]["index"]] for name in outputs}
    except (KeyError, ValueError) as error:
        raise ConversionError(NAMES_LOST) from error


def _check_inputs(source: _Source, samples: list[Arrays] | None) -> Arrays:
    if samples is not None:
        return {name: np.concatenate([s[name] for s in samples[:CHECK_SAMPLES]]) for name in samples[0]}
    rng = np.random.default_rng(0)
    inputs = {}
    for name, shape, dtype in source.inputs:
        inputs[name] = rng.random((CHECK_SAMPLES, *shape[1:])).astype(dtype)
    return inputs


def _compare(answer: np.ndarray, reference: np.ndarray, recipe: Recipe) -> None:
    if not np.isfinite(reference).all():
        raise ConversionError(
            "the model itself answers NaN or infinity; train it again before converting it."
        )
    if not np.isfinite(answer).all():
        raise ConversionError("the converted file answers NaN or infinity where the model does not.")
    difference = np.abs(answer - reference).max(initial=0)
    tolerance = TOLERANCE.get(recipe.value)
    if tolerance is not None:
        if difference > tolerance * max(1.0, np.abs(reference).max(initial=0)):
            raise ConversionError(
                f"the converted file's answers differ from the model's by up to {difference:.3g}."
            )
        return
    power, error = float((reference**2).sum()), float(((answer - reference) ** 2).sum())
    if not error:
        return
    agreement = 10 * math.log10(power / error) if power else -math.inf
    if agreement < WARN_BELOW_DB:
        warnings.warn(
            f"the {recipe.value} file resembles its model very little (signal to error {agreement:.1f} dB). "
            "Are the representative data prepared exactly as the training data?",
            AgreementWarning,
            stacklevel=4,
        )
