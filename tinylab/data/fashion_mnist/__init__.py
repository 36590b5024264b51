"""Fashion-MNIST, 10,000 + 2,000 images, balanced: see README.md beside this file for its source."""

from pathlib import Path

import numpy as np

from tinylab.data.cache import EmbeddedBuilder, tfds

CLASSES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]


class TinylabFashionMnist(EmbeddedBuilder):
    """`tfds.load("tinylab_fashion_mnist")`: splits train (10,000) and test (2,000).

    Features: image, uint8 (28, 28, 1); label, int64 of 10 classes. Every ten consecutive images
    hold each class once, so a slice such as "train[:80%]" is balanced.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="A balanced subset of Fashion-MNIST that comes with the tinylab course.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1)),
                    "label": tfds.features.ClassLabel(names=CLASSES),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://github.com/zalandoresearch/fashion-mnist",
            citation="Xiao, Rasul, Vollgraf (2017), Fashion-MNIST, arXiv:1708.07747",
            disable_shuffling=True,  # the order of the file is balanced and shuffled already
        )

    def _split_generators(self, dl_manager):
        with np.load(Path(__file__).with_name("fashion_mnist.npz")) as stored:
            return {
                split: self._generate_examples(stored[f"{split}_images"], stored[f"{split}_labels"])
                for split in ("train", "test")
            }

    def _generate_examples(self, images, labels):
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": image[..., np.newaxis], "label": label}
