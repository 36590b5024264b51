"""TensorFlow and Keras 2 (tf_keras), imported once and without their start-up messages.

Every module that needs them takes `tf` and `keras` from here.
"""

import os

from tinylab.errors import TinylabError
from tinylab.quiet import quiet

OLDEST = (2, 18)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

with quiet():
    import tensorflow as tf

    if tuple(map(int, tf.__version__.split(".")[:2])) < OLDEST:
        raise TinylabError(
            f"TensorFlow {tf.__version__} is too old: tinylab needs {OLDEST[0]}.{OLDEST[1]} or newer; "
            "run `pip install --upgrade tensorflow tf_keras`."
        )

    import tf_keras as keras

    tf.config.list_physical_devices()  # looking for a GPU is announced too: do it here

__all__ = ["keras", "tf"]
