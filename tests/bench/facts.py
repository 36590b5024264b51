"""What is said about quantization, put to the test: small experiments that come out the same every time.

Each returns plain numbers, words and lists, by name.
"""

import contextlib
import tempfile
import warnings
from pathlib import Path

import keras as keras_3
import numpy as np
import tensorflow_datasets as tfds
import tensorflow_model_optimization as tfmot

from tinylab import affine, measure, models, qat, runners, tflite_file
from tinylab._tensorflow import keras, tf
from tinylab.byte_account import account
from tinylab.conversion import Recipe, convert
from tinylab.errors import ModelFileError
from tinylab.precision import precision
from tinylab.quiet import quiet
from tinylab.runners import micro

from . import files

FLAGS = {"none": (), "DEFAULT": ("DEFAULT",), "FOR_SIZE": ("OPTIMIZE_FOR_SIZE",)}
FLAGS |= {"FOR_LATENCY": ("OPTIMIZE_FOR_LATENCY",)}
DRAWS = range(5)


def tiny() -> keras.Sequential:
    """Lesson 02's tiny network, with the names that its layers have there."""
    files.network("small_cnn")
    layers = [keras.layers.Dense(16, "relu", input_shape=(8,)), keras.layers.Dense(4)]
    return with_random_weights(keras.Sequential(layers))


def with_random_weights(model: keras.Model) -> keras.Model:
    """The model itself."""
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=weights.shape) for weights in model.get_weights()])
    return model


def with_flags(model: keras.Model, names: tuple[str, ...]) -> bytes:
    """A file made as the usual examples do, without representative data."""
    with quiet():
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [getattr(tf.lite.Optimize, name) for name in names]
        return converter.convert()


def saving() -> dict:
    """A model saved as a folder and converted from there, of either Keras."""
    model = files.network("small_cnn")
    layers = [keras_3.layers.Flatten(name="flat"), keras_3.layers.Dense(10, name="scores")]
    modern = keras_3.Sequential([keras_3.Input((28, 28, 1), name="images"), *layers], name="modern")
    with tempfile.TemporaryDirectory() as folder, quiet():
        saved, lost, cured = (Path(folder) / name for name in ("keras2", "keras3", "exported"))
        tf.saved_model.save(model, str(saved))
        tf.saved_model.save(modern, str(lost))
        modern.export(str(cured), verbose=False)
        made = [
            tf.lite.TFLiteConverter.from_saved_model(str(path)).convert() for path in (saved, lost, cured)
        ]
        written = Path(folder) / "model.tflite"
        written.write_bytes(made[0])
        x = files.fashion("test")[0][:100]
        gap = np.abs(runners.load(written).predict(x) - model(x).numpy()).max()
        size = sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())
        return {
            "folder, times the file": round(size / len(made[0]), 1),  # its size differs a little each time
            "parameters": 4 * model.count_params(),
            "file": len(made[0]),
            "answers agree": bool(gap < 1e-5),
            "Keras 3, parameters": 4 * modern.count_params(),
            "Keras 3, file": len(made[1]),
            "Keras 3, exported": len(made[2]),
        }


def flags() -> dict:
    """Sizes by optimization flag, and how many different files the three flags give."""
    by_flag = {name: with_flags(files.network("small_cnn"), chosen) for name, chosen in FLAGS.items()}
    tiny_files = {name: with_flags(tiny(), FLAGS[name]) for name in ("none", "DEFAULT")}
    return {
        "small_cnn": {name: len(content) for name, content in by_flag.items()},
        "tiny": {name: len(content) for name, content in tiny_files.items()},
        "different files": len({by_flag[name] for name in FLAGS if name != "none"}),
        "small_cnn, int8 weights": _int8_weights(by_flag["DEFAULT"]),
        "tiny, int8 weights": _int8_weights(tiny_files["DEFAULT"]),
    }


def _int8_weights(content: bytes) -> list[int]:
    """How many weight tensors are int8, and how many there are."""
    weights = [tensor.dtype for tensor in account(content).tensors if tensor.role == "weights"]
    return [weights.count("int8"), len(weights)]


def integers() -> dict:
    """What computes in float32 when integers only are asked for, with uint8 at the ends."""
    keras.backend.reset_uids()
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(8, 3, activation="elu", input_shape=(28, 28, 1)), keras.layers.Conv2D(4, 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `convert` warns of the island
        island = convert(keras.Sequential(layers), Recipe.INT8_UINT8_IO, files.fashion("train")[0][:100])
    whole = files.file("small_cnn", Recipe.INT8_UINT8_IO)
    ends = runners.load(whole).inputs[0]
    return {
        "small_cnn": _float_tensors(whole),
        "with ELU": _float_tensors(island),
        "input": str(ends.dtype),
        "pixels are codes": bool(abs(ends.scale * 255 - 1) < 1e-6 and ends.zero_point == 0),
    }


def _float_tensors(content: bytes) -> int:
    return sum(tensor.dtype == "float32" for tensor in tflite_file.parse(content).tensors)


def representative() -> dict:
    """Accuracy of int8 files by what they were calibrated with: 100 images, good and bad; fewer good ones."""
    (images, labels), model = files.fashion("train"), files.network("small_cnn")
    sets = {
        "real": images[:100],
        "noise": np.random.default_rng(1).random((100, 28, 28, 1), dtype=np.float32),
        "dimmed": 0.1 * images[:100],
        "not scaled": 255 * images[:100],
        "inverted": 1 - images[:100],
        "one class": images[labels == 1][:100],
    }

    def accuracy(chosen: np.ndarray) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `convert` remarks on some of them
            return measure.accuracy(convert(model, Recipe.INT8, chosen), *files.fashion("test"))

    orders = [np.random.default_rng(draw).permutation(len(images)) for draw in DRAWS]
    return {
        "float32": measure.accuracy(files.file("small_cnn", Recipe.FLOAT32), *files.fashion("test")),
        "sets": {name: accuracy(chosen) for name, chosen in sets.items()},
        "worst draw": {
            str(count): min(accuracy(images[order[:count]]) for order in orders) for count in (1, 10, 100)
        },
    }


def noise() -> dict:
    """Accuracy when each weight is moved at random by half a step of so many bits at most."""
    rng, accuracies = np.random.default_rng(0), {}
    for bits in (8, 6, 4, 3, 2):
        model = files.network("small_cnn")
        moved = []
        for weights in model.get_weights():
            step = np.abs(weights).max() / (2 ** (bits - 1) - 1)
            moved.append(weights + step * rng.uniform(-0.5, 0.5, weights.shape))
        model.set_weights(moved)
        accuracies[str(bits)] = _accuracy_in_keras(model)
    return accuracies


def _accuracy_in_keras(model: keras.Model, factor: float = 1, shift: float = 0) -> float:
    x, labels = files.fashion("test")
    return measure.share(model(factor * x + shift).numpy().argmax(axis=1), labels)


def scaling() -> dict:
    """Accuracy of a network that was trained on pixels of 0 to 1, by the range of those that it is given."""
    model = files.network("small_cnn")
    given = {"0 to 1": (1, 0), "-1 to 1": (2, -1), "0 to 255": (255, 0)}
    return {name: _accuracy_in_keras(model, *how) for name, how in given.items()}


def shuffling() -> dict:
    """Accuracy after one epoch on 8,000 images that lie sorted by class: shuffled, or in that order."""
    images, labels = (values[:8000] for values in files.fashion("train"))
    order = np.argsort(labels, kind="stable")
    accuracies = {}
    for name, shuffled in {"shuffled": True, "in order of class": False}.items():
        keras.utils.set_random_seed(1)
        model = models.small_cnn()
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(images[order], labels[order], batch_size=32, shuffle=shuffled, verbose=0)
        accuracies[name] = _accuracy_in_keras(model)
    return accuracies


def batch_sizes() -> dict:
    """Bytes of the file after a little training, by the size of the batches."""
    (x, y), sizes = files.fashion("train"), {}
    for batch in (8, 32):
        model = files.network("small_cnn")
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(x[:320], y[:320], batch_size=batch, verbose=0)
        sizes[str(batch)] = len(with_flags(model, ()))
    return sizes


def loading() -> dict:
    """The embedded data set, as `tfds.load` opens it."""
    split = ["train[:80%]", "train[80%:90%]", "train[90%:]"]
    parts = tfds.load("tinylab_fashion_mnist", split=split, as_supervised=True)
    return {"splits": [len(part) for part in parts], "pairs": len(parts[0].element_spec) == 2}


def one_neuron() -> dict:
    """The smallest network."""
    keras.backend.reset_uids()
    model = with_random_weights(models.one_neuron())
    return {"parameters": model.count_params(), "file": len(with_flags(model, ()))}


def mapping() -> dict:
    """-3.0 to 6.0 in int8."""
    params = affine.params_from_range(-3.0, 6.0)
    inside = np.linspace(-3, 6, 100_001)
    back = affine.dequantize(affine.quantize(inside, params), params)
    return {
        "codes of the ends": affine.quantize([-3.0, 6.0], params).tolist(),
        "scale": params.scale,
        "zero point": params.zero_point,
        "code of 1": int(affine.quantize(1.0, params)),
        "largest error, in steps": float(np.abs(back - inside).max() / params.scale),
    }


def gradient() -> dict:
    """The slope that training sees through 3-bit rounding from -1 to 1: plain, and as the toolkit has it."""
    x = tf.linspace(-1.3, 1.3, 1001)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        plain = tf.round(x * 3) / 3
        straight = tf.quantization.fake_quant_with_min_max_args(x, -1, 1, num_bits=3, narrow_range=True)
    inside = np.abs(x) <= 1
    slope = tape.gradient(straight, x).numpy()
    return {
        "values": len(np.unique(straight)),
        "plain": float(tf.reduce_sum(tape.gradient(plain, x, unconnected_gradients="zero"))),
        "inside": [float(slope[inside].min()), float(slope[inside].max())],
        "outside": [float(slope[~inside].min()), float(slope[~inside].max())],
    }


def aware() -> dict:
    """A quantization-aware network: as the toolkit begins it, and as a file, without representative data."""
    model = files.network("small_cnn")
    with quiet():
        wrapped = tfmot.quantization.keras.quantize_model(model)
    started = qat.quantization_aware(model, files.fashion("train")[0][:200])
    content = with_flags(started, FLAGS["DEFAULT"])
    operators = [operator.name for operator in tflite_file.parse(content).operators]
    return {
        "wrapped layers": sum("QuantizeWrapper" in type(layer).__name__ for layer in wrapped.layers),
        "layers": len(model.layers),
        "dtypes of its variables": sorted({variable.dtype.name for variable in wrapped.trainable_variables}),
        "accuracy as it begins": _accuracy_in_keras(wrapped),
        "converted": precision(content).verdict,
        "float32 only at the ends": "DEQUANTIZE" not in operators[1:-1],
        "accuracy of the file": measure.accuracy(content, *files.fashion("test")),
    }


def refused() -> dict:
    """Which usual models the toolkit for quantization-aware training takes."""
    shape, layers = (28, 28, 1), keras.layers

    def behind(*first):
        return keras.Sequential([keras.Input(shape), *first, layers.Flatten(), layers.Dense(10)])

    given = {
        "convolutions and dense layers of Keras 2": files.network("small_cnn"),
        "normalization behind the activation": behind(
            layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization()
        ),
        "a layer that scales the input": behind(layers.Rescaling(1 / 255), layers.Conv2D(4, 3)),
        "a model in a model": behind(keras.Sequential([keras.Input(shape), layers.Conv2D(4, 3)])),
        "Keras 3": keras_3.Sequential([keras_3.Input((4,)), keras_3.layers.Dense(2)]),
    }
    taken = dict.fromkeys(given, False)
    for name, model in given.items():
        with contextlib.suppress(ValueError, RuntimeError), quiet():
            tfmot.quantization.keras.quantize_model(model)
            taken[name] = True
    return taken


def interpreter() -> dict:
    """TensorFlow's interpreter, step by step, against the course's runner."""
    x, content = files.fashion("test")[0][:1], files.file("small_cnn", Recipe.FLOAT32)
    with quiet(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        theirs = tf.lite.Interpreter(model_content=content, num_threads=1)
    theirs.allocate_tensors()
    (given,), (answer,) = theirs.get_input_details(), theirs.get_output_details()
    theirs.set_tensor(given["index"], x)
    theirs.invoke()
    same = np.abs(theirs.get_tensor(answer["index"]) - runners.load(content).predict(x)).max() < 1e-6
    try:
        theirs.set_tensor(given["index"], x[0])
        without_batch = "taken"
    except ValueError:
        without_batch = "refused"
    return {
        "same answer": bool(same),
        "input": [*map(int, given["shape"])],
        "without the batch axis": without_batch,
        "deprecated": any("deprecated" in str(warning.message) for warning in caught),
    }


def labels() -> dict:
    """The loss of whole-number labels against that of the same labels one-hot, over the test images."""
    x, y = files.fashion("test")
    answers = files.network("small_cnn")(x)
    whole = keras.losses.SparseCategoricalCrossentropy()(y, answers)
    one_hot = keras.losses.CategoricalCrossentropy()(keras.utils.to_categorical(y), answers)
    return {"whole numbers": float(whole), "one-hot": float(one_hot)}


def on_a_chip() -> dict:
    """Which files of small_cnn TensorFlow Lite Micro takes; nothing where it is not there."""
    taken = {}
    for recipe, content in files.files("small_cnn", Recipe).items() if micro.available() else ():
        try:
            micro.MicroRunner(content)
            taken[recipe] = True
        except ModelFileError:
            taken[recipe] = False
    return taken


FACTS = (
    saving,
    flags,
    integers,
    representative,
    noise,
    scaling,
    shuffling,
    batch_sizes,
    loading,
    one_neuron,
    mapping,
    gradient,
    aware,
    refused,
    interpreter,
    labels,
    on_a_chip,
)
