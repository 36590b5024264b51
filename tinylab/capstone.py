"""The capstone's task: which exercise is it? A design is trained, converted and measured.

    float_file, file = deliver(Design(filters=8, kernel=7, epochs=5))
    work(filters=8, kernel=7, epochs=5)   # the same, measured on the people of the validation split

`work` is made for `tinylab.search`: its settings are those of a Design, and a worker elsewhere needs
nothing but this package.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylab import boards, data, measure, models, runners
from tinylab._tensorflow import keras
from tinylab.conversion import Recipe, convert
from tinylab.data import motion
from tinylab.data.motion import augment
from tinylab.errors import ModelFileError, TinylabError
from tinylab.runners import micro
from tinylab.scorecard import Budget
from tinylab.workload import workload

# The board has such a sensor on it. Most of its memory belongs to the radio and to the application: this
# is what they leave to the network. 25 ms for one window a second are a fortieth of the processor's time.
BUDGET = Budget(
    board="Arduino Nano 33 BLE Sense", flash=20 * 1024, ram=10 * 1024, accuracy=0.80, milliseconds=25
)
BATCH_SIZE = 64
CALIBRATION = 200  # windows of the people to train on


@dataclass(frozen=True)
class Design:
    """Everything that a learner chooses.

    Attributes:
        filters, blocks, kernel, separable, pooling: the network, see `models.motion_cnn`.
        epochs: how often the training sees every window.
        learning_rate: at the beginning; it falls to 0 along a cosine.
        turn: standard deviation in degrees by which windows are turned, anew in each epoch.
        recipe: the value of a `conversion.Recipe`, such as "int8".
        seed: of first weights, order and turns.
    """

    filters: int = 16
    blocks: int = 3
    kernel: int = 5
    separable: bool = False
    pooling: str = "average"
    epochs: int = 10
    learning_rate: float = 3e-3
    turn: float = 0.0
    recipe: str = "int8"
    seed: int = 0


def prepared(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Windows of a split as the network takes them, float32 (N, 100, 1, 6), and labels, int64 (N,)."""
    x, labels = data.arrays("motion", split)
    return motion.prepare(x), labels


def train(design: Design, x: np.ndarray | None = None, labels: np.ndarray | None = None) -> keras.Model:
    """Train a network.

    Args:
        design: network, training and seed.
        x: windows in g and rad/s, (N, 100, 6); those of the training split if not given.
        labels: integers (N,), with x.

    Raises:
        TinylabError: an architecture that is none.
    """
    if x is None:
        x, labels = data.arrays("motion", "train")
    keras.utils.set_random_seed(design.seed)
    rng = np.random.default_rng(design.seed)
    network = models.motion_cnn(
        design.filters, design.blocks, design.kernel, design.separable, design.pooling
    )
    steps = -(-len(x) // BATCH_SIZE) * design.epochs
    falling_rate = keras.optimizers.schedules.CosineDecay(design.learning_rate, steps)
    network.compile(keras.optimizers.Adam(falling_rate), "sparse_categorical_crossentropy")
    for _ in range(design.epochs):
        seen = augment.turned(x, design.turn, rng) if design.turn else x
        network.fit(motion.prepare(seen), labels, batch_size=BATCH_SIZE, verbose=0)
    return network


def deliver(design: Design) -> tuple[bytes, bytes]:
    """Train a network, and convert it: its float32 file, and the file by the design's recipe.

    Raises:
        TinylabError: an architecture that is none, or no such recipe.
        ConversionError: the converter cannot do it.
    """
    recipes = [recipe.value for recipe in Recipe]
    if design.recipe not in recipes:
        raise TinylabError(f"no recipe {design.recipe!r}: there are {', '.join(recipes)}.")
    network = train(design)
    x, _ = prepared("train")
    representative = x[:: len(x) // CALIBRATION][:CALIBRATION]
    return convert(network, Recipe.FLOAT32), convert(network, Recipe(design.recipe), representative)


def work(**settings: Any) -> dict[str, Any]:
    """Train, convert and measure one candidate; nobody of the test split is asked.

    Args:
        settings: of a Design.

    Returns:
        What was measured, by name.

        - accuracy: of the file on the people of the validation split, 0 to 1.
        - flash: bytes of the file.
        - arena: bytes of RAM; None for a file that TensorFlow Lite Micro refuses. arena_from, "TFLM" or
          "plan", says whether it took them, or they were planned from the file alone, which is a lower bound
          (see `boards.arena_needed`).
        - macs: multiply-accumulates of one inference.
        - agreement: share of those windows for which file and float32 file name the same exercise, 0 to 1.
        - ms: `boards.estimated_ms` on the budget's board; None for a file that is not int8.

    Raises:
        TypeError: no such setting.
        TinylabError, ConversionError: as `deliver`.
    """
    float_file, file = deliver(Design(**settings))
    x, labels = prepared("validation")
    before, after = (
        measure.chosen(runners.load(f, kernels="reference").predict(x)) for f in (float_file, file)
    )
    estimate = boards.estimated_ms(file, BUDGET.board)
    return {
        "accuracy": measure.share(labels, after),
        "flash": measure.size(file),
        "arena": _arena(file),
        "arena_from": "TFLM" if micro.available() else "plan",
        "macs": sum(part.macs for part in workload(file)),
        "agreement": measure.share(before, after),
        "ms": None if np.isnan(estimate) else estimate,
    }


def _arena(file: bytes) -> int | None:
    try:
        return boards.arena_needed(file)
    except ModelFileError:
        return None
