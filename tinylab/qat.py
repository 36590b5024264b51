"""Quantization-aware training: a network that feels the rounding while it is trained.

Forward, every weight and activation is rounded to the codes that the file will hold (fake
quantization); backward, the gradient passes as if nothing had been rounded (Bengio et al., 2013,
"Estimating or Propagating Gradients Through Stochastic Neurons", https://arxiv.org/abs/1308.3432,
the straight-through estimator). tensorflow-model-optimization puts that into a Keras model. This
module adds what it lacks: ranges that are right from the first step on, and errors that say what to do.

    quantized = quantization_aware(model, images[:200], weight_bits=4)   # not trained: PTQ
    train(quantized, images, labels)                                     # trained: QAT
    tflite_model = convert(quantized, images[:200])
"""

import math
import warnings
from typing import Any

import numpy as np

from tinylab import conversion
from tinylab._tensorflow import keras
from tinylab.conversion.agreement import agreement_of
from tinylab.conversion.representative import samples_of
from tinylab.conversion.source import Arrays, Source, first_line, source_of
from tinylab.errors import AgreementWarning, ConversionError, DataError
from tinylab.progress import progress
from tinylab.quiet import quiet

with quiet():
    import tensorflow_model_optimization as tfmot
    from tensorflow_model_optimization.python.core.quantization.keras.experimental.default_n_bit import (
        default_n_bit_quantize_layout_transform as n_bit_layout,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.experimental.default_n_bit import (
        default_n_bit_quantize_registry as n_bit_registry,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.experimental.default_n_bit import (
        default_n_bit_quantize_scheme as n_bit_scheme,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.quantize_aware_activation import (
        NoOpActivation,
    )

BITS = range(2, 9)
BATCH_SIZE = 32
# Between the 20 dB of files whose weights moved far on the way and the 30 and more of those that agree.
# Convolutions with one scale a layer, whose BatchNormalization was folded, are on either side of it.
WARN_BELOW_DB = 26.0

WITH_KERNEL = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
ALWAYS_8_BITS = (keras.layers.DepthwiseConv2D, keras.layers.Conv2DTranspose)

# Layers that tfmot takes, and gets wrong without a word.
REFUSED = {
    "Lambda": "tfmot leaves it in float32: write it as layers",
    "SeparableConv2D": "tfmot splits it in two, with a range in between that nothing observes: write "
    "DepthwiseConv2D(..., use_bias=False), Conv2D(filters, 1), which take the same weights",
    "SeparableConv1D": "there is no quantized Conv1D: write DepthwiseConv2D(..., use_bias=False), "
    "Conv2D(filters, 1) for inputs (N, length, 1, channels)",
}
CURES = {
    "BatchNormalization": "it is taken right behind a Conv2D, DepthwiseConv2D or Dense without an activation "
    "of its own: Conv2D(..., use_bias=False), BatchNormalization(), ReLU()",
    "Rescaling": "scale the images before they go in, and leave the layer out",
    "Normalization": "normalize the data before they go in, and leave the layer out",
}
OTHER_CURE = "replace it, or annotate the other layers one by one with tfmot's quantize_annotate_layer"


class _Scheme(n_bit_scheme.DefaultNBitQuantizeScheme):
    """tfmot's scheme for any width, with what follows put right."""

    def get_layout_transformer(self) -> Any:
        return _Layout(self._num_bits_weight, self._num_bits_activation)

    def get_quantize_registry(self) -> Any:
        return _Registry(self._disable_per_axis, self._num_bits_weight, self._num_bits_activation)


class _Layout(n_bit_layout.DefaultNBitQuantizeLayoutTransform):
    """In front of a ReLU tfmot leaves weights in float32, in front of a Concatenate it forgets the scheme."""

    def apply(self, model: keras.Model, configs: dict[str, dict]) -> tuple[keras.Model, dict[str, dict]]:
        model, configs = super().apply(model, configs)
        for layer in model.layers:
            config = configs.get(layer.name, {}).get("quantize_config")
            if config and isinstance(layer, WITH_KERNEL):
                left_to_relu = not config.get_activations_and_quantizers(layer)
                if left_to_relu and layer.activation is keras.activations.linear:
                    layer.activation = NoOpActivation()  # what the ReLU hands on is rounded, and no more
                configs[layer.name]["quantize_config"] = None  # the registry is asked
        return model, configs


class _Registry(n_bit_registry.DefaultNBitQuantizeRegistry):
    """Depthwise and transposed kernels in 8 bits: not all of LiteRT's kernels compute them in fewer."""

    def get_quantize_config(self, layer: keras.layers.Layer) -> Any:
        config = super().get_quantize_config(layer)
        if isinstance(layer, ALWAYS_8_BITS):
            config = type(config)(config.weight_attrs, ["activation"], False, 8, self._num_bits_activation)
        return config


def quantization_aware(
    model: keras.Model,
    representative_data: Any,
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
) -> keras.Model:
    """A copy of a model that computes with rounded weights and activations, to be trained or not.

    Untrained it shows what quantization after training (PTQ) gives at these widths. tfmot alone would
    start nearly every activation at a range of -6 to 6, and move it by a thousandth a step towards what
    it meets; here the ranges are those that representative data reach.

    Weights are symmetric, -(2^(b-1) - 1) to 2^(b-1) - 1; kernels of depthwise and transposed
    convolutions stay in 8 bits.

    Args:
        model: a tf_keras model, Sequential or functional, of layers that tfmot knows.
        representative_data: inputs as `tinylab.conversion.convert` takes them; 100 to 200 will do.
        weight_bits, activation_bits: 2 to 8.
        per_channel: whether each channel of a convolution has its own scale; False: one a layer.

    Raises:
        ConversionError: a model that tfmot refuses or gets wrong, with the cure.
        DataError: bits out of range, or data that do not fit the model.
    """
    for bits in (weight_bits, activation_bits):
        if bits not in BITS:
            raise DataError(f"{bits} bits: {BITS[0]} to {BITS[-1]} expected.")
    _require_keras_2(model)
    source = source_of(model)
    _refuse(model, source)
    samples = samples_of(representative_data, source)
    scheme = _Scheme(not per_channel, weight_bits, activation_bits)
    with quiet():
        try:
            annotated = tfmot.quantization.keras.quantize_annotate_model(model)
            quantized = tfmot.quantization.keras.quantize_apply(annotated, scheme)
        except (ValueError, RuntimeError) as error:  # what tfmot raises on models that it does not take
            raise ConversionError(_with_cure(error)) from error
    inputs = {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}
    _set_ranges(quantized, model, inputs)
    return quantized


def _require_keras_2(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ConversionError(
            f"a tf_keras (Keras 2) model expected, not {type(model).__module__}.{type(model).__name__}: "
            "build it with `import tf_keras as keras`, then model.set_weights(keras_3_model.get_weights())."
        )


def _refuse(model: keras.Model, source: Source) -> None:
    """What tfmot refuses with a message that does not help, or does not refuse and should."""
    dtypes = {spec.dtype.name for spec in source.inputs} | {layer.compute_dtype for layer in model.layers}
    if dtypes != {"float32"}:
        raise ConversionError(
            f"the model takes or computes {' and '.join(sorted(dtypes - {'float32'}))}: float32 expected "
            "from the input on; build it without another dtype or policy."
        )
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            raise ConversionError(
                f"{layer.name!r} is a model inside the model: put its layers into one model, "
                "keras.Sequential([keras.layers.Input(shape), *inner.layers, ...])."
            )
        if type(layer).__module__.startswith("tensorflow_model_optimization"):
            raise ConversionError("the model is quantization-aware already: give the one it was made from.")
        if type(layer).__name__ in REFUSED:
            raise ConversionError(f"{layer.name!r}: {REFUSED[type(layer).__name__]}.")


def _with_cure(error: Exception) -> str:
    complaint = first_line(error).split(" You can quantize")[0].rstrip(".")
    cure = next((cure for kind, cure in CURES.items() if f".{kind}'>" in complaint), OTHER_CURE)
    return f"tfmot refuses the model: {complaint}; {cure}."


def _set_ranges(quantized: keras.Model, model: keras.Model, inputs: Arrays) -> None:
    """Give every quantizer the range of what it will round: of its weights, or of what was observed."""
    observed = _observed(quantized, model, inputs)
    for layer in quantized.layers:
        variables = _variables(layer)
        for name in _quantizers(layer):
            low, high = variables[f"{name}_min"], variables[f"{name}_max"]
            if name in variables:  # weights: symmetric, one range or one a channel
                reach = np.abs(variables[name].numpy())
                reach = reach.max(axis=tuple(range(reach.ndim - high.shape.rank)))
                low.assign(-reach), high.assign(reach)
            else:
                values = np.concatenate([array.ravel() for array in observed[f"{layer.name}/{name}"]])
                if not np.isfinite(values).all():
                    raise ConversionError(
                        f"{layer.name!r} would round NaN or infinity: train the model again first."
                    )
                low.assign(min(values.min(), 0)), high.assign(max(values.max(), 0))


def _observed(quantized: keras.Model, model: keras.Model, inputs: Arrays) -> dict[str, list[np.ndarray]]:
    """What each quantizer of activations would round in the float model, once for each use of its layer."""
    twin = keras.models.clone_model(model)  # the model's own layers may stand in other models, too
    twin.set_weights(model.get_weights())
    twin = keras.Model(twin.inputs, twin.outputs)  # a Sequential does not count its input among its layers
    met = {}
    for layer in quantized.layers:
        for name in _quantizers(layer) - _variables(layer).keys():
            original = twin.get_layer(_origin(layer))
            uses = range(len(original.inbound_nodes))
            met[f"{layer.name}/{name}"] = [original.get_output_at(i) for i in uses]
            if name == "pre_activation":
                changes = {"activation": "linear", "name": f"{original.name}_linear"}
                linear = type(original).from_config(original.get_config() | changes)
                met[f"{layer.name}/{name}"] = [linear(original.get_input_at(i)) for i in uses]
                linear.set_weights(original.get_weights())
    return keras.Model(twin.inputs, met).predict(list(inputs.values()), verbose=0)


def _variables(layer: keras.layers.Layer) -> dict[str, Any]:
    return {variable.name.split("/")[-1].split(":")[0]: variable for variable in layer.weights}


def _quantizers(layer: keras.layers.Layer) -> set[str]:
    """What a layer rounds: "kernel", "pre_activation", "output", ..."""
    return {name.removesuffix("_max") for name in _variables(layer) if name.endswith("_max")}


def _origin(layer: keras.layers.Layer) -> str:
    """The name of the layer of the float model that a layer of the quantized one was made from."""
    if isinstance(layer, keras.layers.Wrapper):
        return layer.layer.name
    return layer.inbound_nodes[0].inbound_layers.name  # rounds an input


def train(
    model: keras.Model,
    x: np.ndarray,
    labels: np.ndarray,
    epochs: int = 2,
    seed: int = 1,
    learning_rate: float = 1e-3,
) -> list[float]:
    """Train a classifier further, quantization-aware or not: Adam, batches of 32, the rate falling to 0.

    Args:
        model: a tf_keras model with outputs (N, classes), probabilities or logits; it is changed.
        x: inputs (N, ...), finite.
        labels: integers (N,).
        seed: of the order of the samples and of dropout.
        learning_rate: at the start; it falls along half a cosine.

    Returns:
        The mean loss of every epoch.

    Raises:
        ConversionError: no tf_keras model, or one that is not built.
        DataError: no classifier, data that do not fit, or a loss that became NaN (the weights are then as
            before).
    """
    _require_keras_2(model)
    shapes = [shape for _, shape, _ in source_of(model).inputs]
    if len(shapes) > 1 or len(model.outputs) > 1 or len(model.output_shape) != 2 or model.output_shape[1] < 2:
        raise DataError("a classifier expected: one input, and one output (N, classes), two classes or more.")
    x, labels = np.asarray(x), np.asarray(labels)
    if (
        x.shape[:1] != labels.shape
        or not labels.size
        or x.dtype.kind not in "fiub"
        or labels.dtype.kind not in "iub"
    ):
        raise DataError(
            f"x {x.dtype} {x.shape} and labels {labels.dtype} {labels.shape}: numbers (N, ...) and integers "
            "(N,) expected, N at least 1."
        )
    if not np.isfinite(x).all():
        raise DataError("x holds NaN or infinity; remove such samples or mend their source.")
    shape, classes = shapes[0][1:], model.output_shape[1]
    if x.shape[1:] != shape or not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(
            f"x {x.shape}, labels {labels.min()} to {labels.max()}: (N, {', '.join(map(str, shape))}) and "
            f"classes 0 to {classes - 1} expected."
        )
    keras.utils.set_random_seed(seed)
    before = model.get_weights()
    steps = math.ceil(len(x) / BATCH_SIZE) * epochs
    gives_probabilities = np.allclose(model(x[:BATCH_SIZE]).numpy().sum(axis=1), 1, atol=1e-3)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(float(learning_rate), steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=not gives_probabilities),
        ["accuracy"],
    )
    losses: list[float] = []
    for epoch in progress(range(epochs), "training"):
        history = model.fit(x, labels, BATCH_SIZE, epochs=epoch + 1, initial_epoch=epoch, verbose=0)
        losses += history.history["loss"]
    if not np.isfinite(losses).all():
        model.set_weights(before)
        raise DataError(f"the loss became {losses[-1]}: scale the inputs, or lower the learning rate.")
    return losses


def convert(model: keras.Model, representative_data: Any) -> bytes:
    """Convert a quantization-aware model to a file of integers, and see that both answer alike.

    The ranges are those of the training; representative data serve for the comparison, and where
    training has found no range. Weights of 4, 3 and 2 bits are stored as int4. LiteRT's type of
    4 bits has -7 to 7 for them: those of 4 bits (-7 to 7) and of 2 bits (-1, 0, 1 become -7, 0, 7)
    fit exactly, those of 3 bits (-3 to 3) do not, and answer a little otherwise.
    What the converter has to round anew, because a BatchNormalization was folded into it, becomes int8:
    Dense layers, and convolutions with one scale a layer.

    Args:
        model: from `quantization_aware`, trained or not.
        representative_data: inputs as `tinylab.conversion.convert` takes them; about 100.

    Returns:
        The .tflite file's bytes; input and output int8.

    Raises:
        ConversionError, DataError, ModelFileError: as `tinylab.conversion.convert`.

    Warns:
        AgreementWarning: the file answers otherwise than the model.
    """
    source = source_of(model)
    samples = samples_of(representative_data, source)
    content = conversion.convert(model, conversion.Recipe.INT8, samples)
    agreement = agreement_of(content, source, samples)
    if agreement < WARN_BELOW_DB:
        warnings.warn(
            f"the file does not answer as its model does (signal to error {agreement:.1f} dB, "
            f"{WARN_BELOW_DB:g} expected). Weights of 3 bits do not fit into int4, and one scale a layer "
            "may not survive the folding of a BatchNormalization.",
            AgreementWarning,
            stacklevel=2,
        )
    return content
