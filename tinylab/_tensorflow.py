"""TensorFlow and Keras 2 (tf_keras), imported once and without their start-up messages.

Every module that needs them takes `tf` and `keras` from here.
"""

import os
from importlib.metadata import version

from tinylab.errors import TinylabError
from tinylab.quiet import quiet

OLDEST = (2, 18)

if tuple(map(int, version("tensorflow").split(".")[:2])) < OLDEST:
    raise TinylabError(
        f"TensorFlow {version('tensorflow')} is too old: tinylab needs {OLDEST[0]}.{OLDEST[1]} or newer; "
        "run `pip install --upgrade tensorflow tf_keras`."
    )

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

with quiet():
    import tensorflow as tf
    import tf_keras as keras

    tf.config.list_physical_devices()  # looking for a GPU is announced too: do it here

__all__ = ["keras", "tf"]
