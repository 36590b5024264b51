"""Does a file answer as the model does that it was made from?"""

import warnings

import numpy as np

from tinylab import runners, tflite_file
from tinylab.affine import sqnr
from tinylab.conversion.source import Arrays, Source
from tinylab.errors import AgreementWarning, ConversionError, FloatInsideWarning
from tinylab.precision import precision

CHECK_SAMPLES = 8
# Largest difference from the model, relative to its largest output (at least 1).
TOLERANCE = {"float32": 1e-3, "float16": 5e-2}
ALL_INTEGER = ("int8", "int8_uint8_io", "int16x8")
# Below this, an integer file no longer resembles its model: the error is half the signal.
WARN_BELOW_DB = 6.0

MISSING_WEIGHTS = (
    "the converted file has no weights in it: it reads variables that nothing ever sets. The converter "
    "loses them from a Keras 3 model that was saved with tf.saved_model.save. Save it with "
    "model.export(directory), or give the model itself to convert."
)

NAMES_LOST = (
    "the converter has lost the names of inputs and outputs, and tells several apart by nothing else: "
    "name the first and last layers in letters a to z, digits and underscores, starting with a letter."
)


def check(content: bytes, source: Source, recipe: str, samples: list[Arrays] | None) -> None:
    """Run the file beside its model on a few inputs; raise or warn where they part."""
    if any(operator.name == "READ_VARIABLE" for operator in tflite_file.parse(content).operators):
        raise ConversionError(MISSING_WEIGHTS)
    if recipe in ALL_INTEGER:
        _look_for_float(content, recipe)
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


def agreement_of(content: bytes, source: Source, samples: list[Arrays]) -> float:
    """Signal to error (dB) of the file's answers against the model's; of several outputs, the worst."""
    inputs = _joined(samples)
    expected = source.answer(inputs)
    answers = _answers_of_file(content, inputs, list(expected))
    return min(sqnr(reference, answers[name]) for name, reference in expected.items())


def _look_for_float(content: bytes, recipe: str) -> None:
    """Warn of operators without an integer version, which the converter leaves in float32 in silence."""
    computed = precision(content)
    if any(leftover.role != "unused" for leftover in computed.leftovers):
        warnings.warn(
            f"the {recipe} file still computes in float32: {computed.verdict}. A microcontroller may refuse "
            "it; replace those operators, ELU by ReLU for instance.",
            FloatInsideWarning,
            stacklevel=4,
        )


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


def _check_inputs(source: Source, samples: list[Arrays] | None) -> Arrays:
    if samples is not None:
        return _joined(samples[:CHECK_SAMPLES])
    rng = np.random.default_rng(0)
    inputs = {}
    for name, shape, dtype in source.inputs:
        size = (CHECK_SAMPLES, *shape[1:])
        inputs[name] = (rng.random(size) if dtype.kind == "f" else rng.integers(0, 2, size)).astype(dtype)
    return inputs


def _joined(samples: list[Arrays]) -> Arrays:
    return {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}


def _compare(answer: np.ndarray, reference: np.ndarray, recipe: str) -> None:
    if not np.isfinite(reference).all():
        raise ConversionError(
            "the model itself answers NaN or infinity; train it again before converting it."
        )
    if not np.isfinite(answer).all():
        raise ConversionError("the converted file answers NaN or infinity where the model does not.")
    difference = np.abs(answer - reference).max(initial=0)
    tolerance = TOLERANCE.get(recipe)
    if tolerance is not None:
        if difference > tolerance * max(1.0, np.abs(reference).max(initial=0)):
            raise ConversionError(
                f"the converted file's answers differ from the model's by up to {difference:.3g}."
            )
        return
    agreement = sqnr(reference, answer)
    if agreement < WARN_BELOW_DB:
        warnings.warn(
            f"the {recipe} file resembles its model very little (signal to error {agreement:.1f} dB). "
            "Are the representative data prepared exactly as the training data?",
            AgreementWarning,
            stacklevel=4,
        )
