"""Ten photographs in the public domain, cut into tiles: see README.md beside this file for their sources."""

from pathlib import Path

import numpy as np
from PIL import Image

from tinylab.data.cache import EmbeddedBuilder, tfds

CLASSES = [
    "astronaut",
    "brick",
    "camera",
    "cat",
    "coffee",
    "dandelions",
    "grass",
    "gravel",
    "raccoon",
    "stairs",
]
TILE = 40  # pixels; a photograph is 10 x 10 tiles
SEED = 8


class TinylabPhotographs(EmbeddedBuilder):
    """`tfds.load("tinylab_photographs")`: one split, train, of 1,000 tiles; which photograph is each from?

    Features: image, uint8 (40, 40, 3); label, int64 of 10 classes. No tiles overlap, so no pixel is in
    two of them. Every ten consecutive tiles hold each class once, in random order, so a slice such as
    "train[:80%]" is balanced.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Tiles of ten public-domain photographs that come with the tinylab course.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(TILE, TILE, 3)),
                    "label": tfds.features.ClassLabel(names=CLASSES),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,  # the order below is balanced and shuffled already
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        rng = np.random.default_rng(SEED)
        rounds = zip(*(rng.permutation(tiles(photograph(name))) for name in CLASSES), strict=True)
        index = 0
        for one_of_each in rounds:
            for label in rng.permutation(len(CLASSES)):
                yield index, {"image": one_of_each[label], "label": label}
                index += 1


def photograph(name: str) -> np.ndarray:
    """One of the ten, by the name of its class: uint8 (400, 400, 3); a grey one has equal channels."""
    with Image.open(Path(__file__).with_name(f"{name}.jpg")) as picture:
        return np.asarray(picture.convert("RGB"))


def tiles(picture: np.ndarray) -> np.ndarray:
    """A picture cut up, row by row: uint8 (height, width, 3) to (N, 40, 40, 3).

    >>> tiles(photograph("cat")).shape
    (100, 40, 40, 3)
    """
    rows, columns = picture.shape[0] // TILE, picture.shape[1] // TILE
    cut = picture.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2)
    return cut.reshape(-1, TILE, TILE, 3)
