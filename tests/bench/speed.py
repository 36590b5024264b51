"""How long things take: what is compared takes turns, and counts with its best, or its median."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from tinylab import measure, runners
from tinylab._tensorflow import tf
from tinylab.conversion import Recipe

from ..architectures import ARCHITECTURES, int8_file
from ..networks import inputs_for
from . import files

ROUNDS = 3
EPOCHS = 8  # of each way to feed a training: they differ less than two epochs of the same do
SAMPLES = 100  # an engine's batch
ENGINES = {"integer": {"engine": "integer"}, "reference": {"kernels": "reference"}, "default": {}}
IMPORTS = {"Python alone": "pass", "tinylab": "import tinylab", "TensorFlow": "import tensorflow"}


def in_turns(actions: Mapping[str, Callable], rounds: int) -> dict[str, list[float]]:
    """The time of each action in each round, in seconds; they take turns."""
    times = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            times[name].append(time.perf_counter() - started)
    return times


def best(actions: Mapping[str, Callable]) -> dict[str, float]:
    """The shortest time of each action, in seconds."""
    return {name: min(times) for name, times in in_turns(actions, ROUNDS).items()}


def imports() -> dict:
    """A new Python that imports, and ends: seconds, and the memory that it then holds, in MB."""

    def run(code: str) -> str:
        return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    seconds = best({name: partial(run, code) for name, code in IMPORTS.items()})
    held = "; import psutil; print(psutil.Process().memory_info().rss / 2**20)"
    return {name: {"seconds": seconds[name], "MB": float(run(IMPORTS[name] + held))} for name in IMPORTS}


def one_by_one(content: bytes, images: np.ndarray) -> np.ndarray:
    """The loop of most tutorials; but that it rounds, where they cut off."""
    interpreter = runners.interpreter(content)
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    (scale, zero_point), (unit, zero) = given["quantization"], answer["quantization"]
    answers = []
    for image in images:
        sample = image[np.newaxis]
        if scale:
            sample = np.clip(np.rint(sample / scale) + zero_point, -128, 127).astype(given["dtype"])
        interpreter.set_tensor(given["index"], sample)
        interpreter.invoke()
        out = interpreter.get_tensor(answer["index"])[0]
        answers.append(unit * (out.astype(np.float32) - zero) if unit else out)
    return np.array(answers)


def batches() -> dict:
    """2,000 test images, one by one and in `predict`'s batches, to the same answers."""
    images, _ = files.fashion("test")
    found = {}
    for name in ("small_cnn", "small_resnet"):
        for recipe in (Recipe.FLOAT32, Recipe.INT8):
            content = files.file(name, recipe)
            ways = {
                "one by one": partial(one_by_one, content, images),
                "in batches": partial(runners.load(content).predict, images),
            }
            assert np.abs(ways["one by one"]() - ways["in batches"]()).max() < 1e-5
            found[f"{name}, {recipe.value}"] = best(ways)
    return found


def kernels() -> dict:
    """Microseconds of one inference on one thread, by network, kernels and recipe."""
    found = {}
    for name in files.NETWORKS:
        contents, sample = files.files(name), files.NETWORKS[name][1]()[:1]
        for which in runners.KERNELS:
            times = measure.latency(contents, sample, which)
            found.setdefault(name, {})[which] = {recipe: time.median for recipe, time in times.items()}
    return found


def engine() -> dict:
    """Seconds for a batch of well-known architectures in int8: our engine and LiteRT's kernels."""
    found = {}
    for name in ARCHITECTURES:
        ready = {engine: runners.load(int8_file(name), **how) for engine, how in ENGINES.items()}
        inputs = inputs_for(ready["integer"], SAMPLES, seed=0)
        batch = {which: partial(runner.predict_integers, inputs) for which, runner in ready.items()}
        assert np.array_equal(batch["integer"](), batch["reference"]())
        found[name] = best(batch)
    return found


def pipeline() -> dict:
    """Seconds of epochs of small_cnn on 8,000 images, by how they are fed to it."""
    images, labels = (values[:8000] for values in files.fashion("train"))

    def epoch(batch: int, ahead: int | None) -> Callable:
        pixels = tf.data.Dataset.from_tensor_slices((255 * images, labels))
        batches = pixels.map(lambda image, label: (image / 255, label)).batch(batch)
        fed = batches.prefetch(ahead) if ahead else batches
        model = files.network("small_cnn")
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(fed.take(1), verbose=0)  # makes the graph
        return partial(model.fit, fed, verbose=0)

    ways = {"batches of 32, prefetch(1)": (32, 1), "batches of 32": (32, None)}
    ways |= {"batches of 4, prefetch(1)": (4, 1)}
    return in_turns({name: epoch(*how) for name, how in ways.items()}, EPOCHS)
