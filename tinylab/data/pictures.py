"""Labelled pictures for transfer learning: three sources, one function.

Whatever the source is, `load` gives the same thing: three tf.data datasets of (image, label). It downloads
nothing unless it is asked for "cats_vs_dogs" by name.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from tinylab._tensorflow import tf
from tinylab.data import cats_vs_dogs, folder
from tinylab.data.cache import tfds
from tinylab.errors import DataError
from tinylab.quiet import quiet

CATS_VS_DOGS_NOTE = (
    "Cats and dogs, photographed by many people: an accuracy tells how often the network tells one from the "
    "other in such pictures. Guessing gets 0.5."
)
PHOTOGRAPHS_NOTE = (
    "Tiles of ten photographs: an accuracy tells how often the network recognises which of these ten a small "
    "piece is from, having seen other pieces of it. It says nothing about cats and dogs, or about any other "
    "photograph. Guessing gets 0.1."
)
FOLDER_NOTE = (
    "Pictures in a folder: an accuracy tells how well the network tells its classes apart in pictures like "
    "these. Always naming the largest class gets {largest:.2f}."
)
SLICES = {"train": "train[:80%]", "validation": "train[80%:90%]", "test": "train[90%:]"}


@dataclass(frozen=True)
class Pictures:
    """Pictures in three splits, about 80, 10 and 10 % of them; none is in two.

    Attributes:
        train, validation, test: tf.data.Dataset of (image, label): image uint8 (height, width, 3), where
            height and width may differ from one to the next; label int64, the place in `classes`.
        classes: their names.
        counts: samples by split: "train", "validation", "test".
        source: "cats_vs_dogs", "photographs" or the folder.
        note: what an accuracy on these pictures means, and what was left out.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    classes: tuple[str, ...]
    counts: dict[str, int]
    source: str
    note: str


def load(source: str | Path | None = None, limit: int | None = None) -> Pictures:
    """Pictures to train, validate and test with. The same call gives the same pictures in the same order.

    Args:
        source: "cats_vs_dogs", which downloads 0.8 GB unless TFDS has it prepared on this machine;
            "photographs", embedded; or a folder with a sub-folder of .jpg or .png files for each class.
            None is cats_vs_dogs if it is prepared already, otherwise the photographs.
        limit: the most samples in a split, at least one for each class. None means all.

    Raises:
        DataError: no such folder, or one that cannot be used; no network, no room or a dead link where
            cats_vs_dogs has to be downloaded; a wrong limit.

    >>> found = load("photographs", limit=100)
    >>> found.counts
    {'train': 100, 'validation': 100, 'test': 100}
    >>> image, label = next(iter(found.test))
    >>> image.shape, image.dtype.name, found.classes[label]
    (TensorShape([40, 40, 3]), 'uint8', 'raccoon')
    """
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise DataError(f"limit is {limit!r}; expected a whole number of samples, or None for all of them.")
    if source is None:
        source = "cats_vs_dogs" if cats_vs_dogs.is_prepared() else "photographs"
    if source == "photographs":
        return _with_tfds("tinylab_photographs", source, limit, PHOTOGRAPHS_NOTE)
    if source == "cats_vs_dogs":
        root = cats_vs_dogs.prepare()
        return _with_tfds("cats_vs_dogs", source, limit, CATS_VS_DOGS_NOTE, data_dir=root)
    if not isinstance(source, str | Path):
        raise DataError(
            f"source is {source!r}; expected 'cats_vs_dogs', 'photographs', a folder, or None to choose."
        )
    return _from_folder(Path(os.path.expanduser(source)), limit)


def _with_tfds(name: str, source: str, limit: int | None, note: str, **where) -> Pictures:
    with quiet():
        splits, info = tfds.load(
            name, split=list(SLICES.values()), with_info=True, as_supervised=True, **where
        )
    classes = tuple(info.features["label"].names)
    folder.check_limit(limit, classes)
    sizes = [info.splits[piece].num_examples for piece in SLICES.values()]
    counts = {split: min(size, limit or size) for split, size in zip(SLICES, sizes, strict=True)}
    splits = [split.take(count) for split, count in zip(splits, counts.values(), strict=True)]
    return Pictures(*splits, classes, counts, source, _note(note, counts["test"]))


def _from_folder(root: Path, limit: int | None) -> Pictures:
    found = folder.find(root, limit)
    counts = {split: len(entries) for split, entries in found.splits.items()}
    labels = [label for _, label in found.splits["test"]]
    largest = max(map(labels.count, labels)) / len(labels)
    note = _note(FOLDER_NOTE.format(largest=largest), counts["test"], found.summary())
    return Pictures(*map(folder.dataset, found.splits.values()), found.classes, counts, str(root), note)


def _note(meaning: str, tested: int, left_out: str = "") -> str:
    one = f"{tested} pictures in the test, so one of them changes the accuracy by {1 / tested:.4f}."
    return " ".join(filter(None, (meaning, one, left_out)))
