"""Tasks of exercise 01: convert a model, and prove that the file is right."""

import functools

import numpy as np

from tinylab import conversion, data, measure, runners
from tinylab._tensorflow import keras, tf
from tinylab.check.networks import filled
from tinylab.check.task import Task, exactly, within

# The last task's terms, for a network of the learner's own.
LEAST_ACCURACY = 0.75
MOST_BYTES = 60_000
TOLERANCE = 1e-5


def _model(rng: np.random.Generator) -> keras.Model:
    """A small network with random sizes and weights: input (N, 6 to 12), output (N, 3)."""
    inputs, hidden = int(rng.integers(6, 13)), int(rng.integers(4, 20))
    # named, because the names that Keras would count up are part of a converted file
    layers = [
        keras.layers.Dense(hidden, "relu", input_shape=(inputs,), name="hidden"),
        keras.layers.Dense(3, name="output"),
    ]
    model = keras.Sequential(layers, name=f"dense_{inputs}_{hidden}_3")
    return filled(model, rng)


def _samples(model: keras.Model, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 1, (count, *model.input_shape[1:])).astype(np.float32)


def _converted(model: keras.Model) -> bytes:
    return conversion.convert(model, conversion.Recipe.FLOAT32)


def _cases_of_models(rng: np.random.Generator) -> list[tuple]:
    return [(_model(rng),) for _ in range(2)]


def _probe(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and the model's answers to them."""
    x = _samples(model, 16, np.random.default_rng(0))
    return x, np.asarray(model(x, training=False))


def _same_answers(expected: tuple[np.ndarray, np.ndarray], got: bytes) -> str:
    if not isinstance(got, (bytes, bytearray)):
        return f"expected  the file's bytes\ngot       {type(got).__name__}"
    x, answers = expected
    return within(TOLERANCE)(answers, runners.load(bytes(got)).predict(x))


to_tflite = Task(
    "to_tflite",
    _cases_of_models,
    _probe,
    _same_answers,
    (
        "Two steps: make a converter from the model, then let it convert.",
        "The class is tf.lite.TFLiteConverter; its maker for Keras models is from_keras_model.",
        "return tf.lite.TFLiteConverter.from_keras_model(model).convert()",
    ),
)


def _cases_of_one_sample(rng: np.random.Generator) -> list[tuple]:
    models = [_model(rng) for _ in range(2)]
    return [(_converted(model), _samples(model, 1, rng)) for model in models]


run_one = Task(
    "run_one",
    _cases_of_one_sample,
    lambda tflite_model, sample: runners.load(tflite_model).predict(sample),
    within(TOLERANCE),
    (
        "After runners.interpreter(tflite_model), four steps: allocate, set input, invoke, get output.",
        "set_tensor and get_tensor want an index: get_input_details()[0]['index'], likewise for output.",
        "interpreter.set_tensor(i, sample); interpreter.invoke(); return interpreter.get_tensor(o): "
        "i and o are the two indices.",
    ),
)


def _cases_of_differences(rng: np.random.Generator) -> list[tuple]:
    a = rng.normal(0, 1, (4, 3)).astype(np.float32)
    small, large = rng.uniform(0.1, 0.4, 2), rng.uniform(0.5, 0.9, 2)
    # the largest difference is a negative one, then a positive one
    b, c = (a + np.float32([[0, *pair]]) for pair in ((small[0], -large[0]), (large[1], -small[1])))
    return [(a, b), (a, c), (a, a.copy())]


largest_difference = Task(
    "largest_difference",
    _cases_of_differences,
    lambda a, b: float(np.abs(a - b).max()),
    within(1e-6),
    (
        "A difference of -0.75 is larger than one of 0.25: the sign does not count.",
        "np.abs gives the distances, .max() the largest of them.",
    ),
)


def _cases_of_outputs(rng: np.random.Generator) -> list[tuple]:
    """Probabilities, and outputs that are none: negative ones too."""
    cases = []
    for lowest in (0, -2, 0):
        count = int(rng.integers(40, 90))
        cases.append((lowest + rng.random((count, 4)), rng.integers(0, 4, count)))
    return cases


accuracy = Task(
    "accuracy",
    _cases_of_outputs,
    lambda outputs, labels: float(np.mean(outputs.argmax(axis=1) == labels)),
    within(1e-6),
    (
        "The class with the largest output is the answer: one class for each row.",
        "outputs.argmax(axis=1) gives these classes; compare them with the labels.",
        "The mean of an array of True and False is the share of True.",
    ),
)


def _cases_of_evidence(rng: np.random.Generator) -> list[tuple]:
    """A right file, one whose weights were changed, and one that answers NaN, in any order.

    How much the changed file is off is tolerated in some cases, and not in others.
    """
    model = _model(rng)
    changed = keras.models.clone_model(model)
    changed.set_weights([w + np.float32(0.01) for w in model.get_weights()])
    broken = keras.models.clone_model(model)
    broken.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    right, off, nan = (_unchecked(file) for file in (model, changed, broken))
    kinds = [(right, 0), (off, 0.5), (off, 2), (nan, 0)]  # a file, and what is tolerated of its difference
    chosen = [*range(len(kinds)), *rng.integers(0, len(kinds), 6)]
    cases = []
    for number in rng.permutation(chosen):
        (file, share), x = kinds[number], _samples(model, 20, rng)
        cases.append((model, file, x, share * _difference(model, file, x) if share else 1e-4))
    return cases


def _unchecked(model: keras.Model) -> bytes:
    """Converted without tinylab's own check, which refuses a file that answers NaN."""
    return tf.lite.TFLiteConverter.from_keras_model(model).convert()


def _difference(model: keras.Model, tflite_model: bytes, x: np.ndarray) -> float:
    return float(np.abs(runners.load(tflite_model).predict(x) - np.asarray(model(x, training=False))).max())


def _agrees(model: keras.Model, tflite_model: bytes, x: np.ndarray, tolerance: float) -> bool:
    return _difference(model, tflite_model, x) <= tolerance


is_faithful = Task(
    "is_faithful",
    _cases_of_evidence,
    _agrees,
    exactly,
    (
        "Run both on the same x, and compare the largest difference with the tolerance.",
        "One of the cases answers NaN. What is np.nan > 0.1, and what is np.nan <= 0.1?",
        "Both are False. So ask whether the difference is small, not whether it is large; return bool(...).",
    ),
)


@functools.cache
def _test_images() -> tuple[np.ndarray, np.ndarray]:
    images, labels = data.arrays("fashion_mnist", "test")
    return images.astype(np.float32) / 255, labels


def _deliverable(expected: str, got: bytes) -> str:
    if not isinstance(got, (bytes, bytearray)):
        return f"expected  the file's bytes\ngot       {type(got).__name__}"
    reached, size = measure.accuracy(bytes(got), *_test_images()), len(got)
    if reached < LEAST_ACCURACY or size > MOST_BYTES:
        return f"expected  {expected}\ngot       accuracy {reached:.3f}, {size:,} bytes"
    return ""


my_file = Task(
    "my_file",
    lambda rng: [()],
    lambda: f"accuracy {LEAST_ACCURACY} or more, {MOST_BYTES:,} bytes or fewer",
    _deliverable,
    (
        "A float32 parameter takes 4 bytes, so 60,000 bytes leave room for some 14,000 of them.",
        "Most parameters of a small network sit in the first dense layer: pool more before it.",
        "Conv2D(8, 3, 'relu') and MaxPooling2D(), twice with 8 and 16 filters, then Flatten() and Dense(10, "
        "'softmax'): some 5,000 parameters. Three or four epochs are enough.",
    ),
)
