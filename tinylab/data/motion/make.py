"""Makes motion.npz, the course's recordings of a watch, from the package seglearn.

    pip install --no-deps --target FOLDER seglearn==1.2.5
    python -m tinylab.data.motion.make FOLDER/seglearn/data/watch_dataset.npy

The package has the values as float64 with six decimals. This script rounds them to the int16 steps
of `tinylab.data.motion.STEPS`, and keeps everything else: all recordings, whole, in their order.
"""

import argparse
from pathlib import Path

import numpy as np

from tinylab.data.motion import STEPS


def main() -> None:
    """Write motion.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="watch_dataset.npy")
    # A pickled dictionary: only from a source that one trusts.
    watch = np.load(parser.parse_args().source, allow_pickle=True).item()
    target = Path(__file__).with_name("motion.npz")
    np.savez_compressed(
        target,
        signals=np.round(np.concatenate(watch["X"]) / STEPS).astype(np.int16),
        lengths=np.array([len(recording) for recording in watch["X"]]),
        labels=watch["y"].astype(np.uint8),
        subjects=watch["subject"].astype(np.uint8),
        right=watch["side"].astype(bool),
    )
    print(f"{target.name}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
