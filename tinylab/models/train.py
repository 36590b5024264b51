"""Trains the networks of `tinylab.models.TRAINED` and writes their weights and cards.

python -m tinylab.models.train small_cnn
"""

import argparse
import io
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tinylab import data, models, whole_file
from tinylab._tensorflow import keras
from tinylab.errors import TinylabError

EPOCHS = 15
BATCH_SIZE = 32
SEED = 1


def normalised(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images of a split as float32 (N, 28, 28, 1), 0 to 1, and labels."""
    images, labels = data.arrays("fashion_mnist", split)
    return images.astype(np.float32) / 255, labels


def train(name: str) -> tuple[keras.Model, float]:
    """Train one network on "train[:80%]" and return it with its accuracy on the test split."""
    images, labels = normalised("train")
    images, labels = images[:8000], labels[:8000]
    keras.utils.set_random_seed(SEED)
    model = models.TRAINED[name]()
    falling_rate = keras.optimizers.schedules.CosineDecay(3e-3, len(images) // BATCH_SIZE * EPOCHS)
    model.compile(keras.optimizers.Adam(falling_rate), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(images, labels, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=2)
    _, accuracy = model.evaluate(*normalised("test"), verbose=0)
    return model, accuracy


def main() -> None:
    """Train what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", default=sorted(models.TRAINED), help="networks; all of them if none is named"
    )
    for name in parser.parse_args().names:
        model, accuracy = train(name)
        weights = io.BytesIO()
        np.savez_compressed(weights, *model.get_weights())
        versions = {package: version(package) for package in ("tensorflow", "tf_keras")}
        facts = {
            "data": "tinylab_fashion_mnist 1.0.0, train[:80%]",
            "seed": SEED,
            "epochs": EPOCHS,
            "batch_size": BATCH_SIZE,
            "parameters": model.count_params(),
            "test_accuracy": round(accuracy, 4),
            "versions": versions,
        }
        target = Path(models.__file__).parent / "weights" / name
        whole_file.write(target.with_suffix(".npz"), weights.getvalue())
        whole_file.write(target.with_suffix(".json"), (json.dumps(facts, indent=2) + "\n").encode())
        print(f"{name}: accuracy {accuracy:.4f} on the test images")


if __name__ == "__main__":
    try:
        main()
    except TinylabError as error:
        sys.exit(f"tinylab: {error}")
