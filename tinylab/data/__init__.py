"""The course's data sets: TFDS builders over files that come with the package.

After `import tinylab.data`, `tfds.load("tinylab_fashion_mnist", ...)` works without a network. The
first call prepares the data set in a cache, in seconds; `arrays` skips TFDS altogether.
"""

from importlib.resources import files

import numpy as np

from tinylab.data import motion
from tinylab.data.fashion_mnist import TinylabFashionMnist
from tinylab.data.photographs import TinylabPhotographs
from tinylab.errors import DAMAGED_NUMPY_FILE, DataError

__all__ = ["TinylabFashionMnist", "TinylabPhotographs", "arrays", "motion"]


def arrays(dataset: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """One split of an embedded data set, in the order of its file.

    Args:
        dataset: "fashion_mnist" or "motion".
        split: "train" or "test"; of "motion" also "validation".

    Returns:
        "fashion_mnist": images, uint8 (N, 28, 28, 1) with values 0 to 255, and labels, int64 (N,).
        "motion": windows, float32 (N, 100, 6) in g and rad/s, and labels, int64 (N,); see `motion.split`.

    Raises:
        DataError: no such data set or split, or a damaged installation.

    >>> images, labels = arrays("fashion_mnist", "test")
    >>> images.shape, images.dtype, labels[:10].tolist()
    ((2000, 28, 28, 1), dtype('uint8'), [5, 0, 6, 2, 3, 4, 7, 9, 8, 1])
    """
    if dataset == "motion" and split in motion.SUBJECTS:
        return motion.split(split)
    if dataset != "fashion_mnist" or split not in ("train", "test"):
        raise DataError(
            f"no embedded data {dataset!r}, {split!r}: there is 'fashion_mnist', 'train' or 'test', and "
            "'motion', 'train', 'validation' or 'test'."
        )
    try:
        with np.load(files("tinylab.data") / dataset / f"{dataset}.npz") as stored:
            images, labels = stored[f"{split}_images"], stored[f"{split}_labels"]
    except (OSError, *DAMAGED_NUMPY_FILE) as error:
        raise DataError(
            f"the embedded file {dataset}.npz is damaged ({error}): install tinylab again."
        ) from error
    return images[..., np.newaxis], labels.astype(np.int64)
