"""Makes fashion_mnist.npz, the course's embedded subset, from Debian's package.

    apt-get install dataset-fashion-mnist
    python -m tinylab.data.fashion_mnist.make

Debian's package `dataset-fashion-mnist` carries the four files of the original data set
unchanged. This script takes from them, with a fixed seed, the same number of images of every
class, and puts them in rounds of ten: each block of ten images holds every class once, in random
order. So any slice of a split whose length is a multiple of ten is balanced, "train[:80%]" too.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np

SOURCE = Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10
PER_CLASS = {"train": 1000, "test": 200}
SEED = 2017


def read_idx(path: Path) -> np.ndarray:
    """Read one gzipped IDX file of uint8: images (N, 28, 28) or labels (N,)."""
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", count=dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def balanced_rounds(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Choose `per_class` indices of every class: int64 (CLASSES * per_class,), class by class in rounds."""
    chosen = [rng.choice(np.flatnonzero(labels == c), per_class, replace=False) for c in range(CLASSES)]
    return rng.permuted(np.stack(chosen, axis=1), axis=1).reshape(-1)


def main() -> None:
    """Write fashion_mnist.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=SOURCE, help="folder with the four .gz files")
    source = parser.parse_args().source
    rng = np.random.default_rng(SEED)
    arrays = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images = read_idx(source / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"{prefix}-labels-idx1-ubyte.gz")
        chosen = balanced_rounds(labels, PER_CLASS[split], rng)
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images[chosen], labels[chosen]
    target = Path(__file__).with_name("fashion_mnist.npz")
    np.savez_compressed(target, **arrays)
    print(f"{target.name}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
