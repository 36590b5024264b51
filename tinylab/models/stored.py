"""Weights that come with the package, as files of NumPy."""

from importlib.resources.abc import Traversable

import numpy as np

from tinylab._tensorflow import keras
from tinylab.errors import DAMAGED_NUMPY_FILE, DataError


def load(model: keras.Model, folder: Traversable, name: str) -> None:
    """Give a model the weights in `folder`/`name`.npz: arr_0, arr_1 and so on, in the order of its own.

    Raises:
        DataError: a damaged installation.
    """
    try:
        with np.load(folder / f"{name}.npz") as stored:
            model.set_weights([stored[f"arr_{i}"] for i in range(len(stored.files))])
    except (OSError, *DAMAGED_NUMPY_FILE) as error:
        raise DataError(f"the weights of {name} are damaged ({error}): install tinylab again.") from error
