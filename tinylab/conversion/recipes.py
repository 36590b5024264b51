"""The six recipes, and `convert`, which follows them."""

import contextlib
import enum
import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tinylab._tensorflow import tf
from tinylab.conversion.agreement import MISSING_WEIGHTS, NAMES_LOST, check
from tinylab.conversion.representative import samples_of
from tinylab.conversion.source import Arrays, Source, first_line, source_of
from tinylab.errors import ConversionError, DataError
from tinylab.quiet import quiet


class Recipe(enum.Enum):
    """How a model is converted."""

    FLOAT32 = "float32"  #: as it is
    DYNAMIC_RANGE = "dynamic_range"  #: large weights in int8, computing in float32 and int8
    FLOAT16 = "float16"  #: weights in float16, computing in float32
    INT8 = "int8"  #: everything in int8, input and output too
    INT8_UINT8_IO = "int8_uint8_io"  #: everything in int8, input and output in uint8
    INT16X8 = "int16x8"  #: weights in int8, activations in int16

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
        FloatInsideWarning: an integer recipe whose file still computes something in float32.
    """
    if not isinstance(recipe, Recipe):
        raise ConversionError(f"expected a Recipe such as Recipe.INT8, not {recipe!r}.")
    source = source_of(model)
    samples = None if representative_data is None else samples_of(representative_data, source)
    if samples is None and recipe.needs_representative_data:
        raise DataError(
            f"recipe {recipe.value} needs representative_data: about 100 inputs, prepared as for training."
        )
    content = _run_converter(source, recipe, samples)
    check(content, source, recipe.value, samples)
    return content


def _run_converter(source: Source, recipe: Recipe, samples: list[Arrays] | None) -> bytes:
    with quiet() as held_back, contextlib.redirect_stdout(io.StringIO()), _unchanged(source.parts):
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


@contextlib.contextmanager
def _unchanged(parts: Iterable[Any]) -> Iterator[None]:
    """See to it that a conversion that fails, or is interrupted, leaves the model as it was.

    While it saves a model, Keras 2 exchanges methods of its layers, and puts them back only if all goes well.
    """
    before = [(part, dict(vars(part))) for part in parts]
    try:
        yield
    except BaseException:
        for part, attributes in before:
            vars(part).clear()
            vars(part).update(attributes)
        raise


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
    advice = ""
    if "Exception encountered when calling layer" in str(error):
        advice = " If saving or converting this model was interrupted before, build the model again."
    return f"the converter failed: {first_line(error)}{advice}"
