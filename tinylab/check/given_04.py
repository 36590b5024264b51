"""What exercise 04 gives to learners, and does with an answer where the learner's function runs."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinylab import models, qat
from tinylab._tensorflow import keras
from tinylab.equalization import rescale_channels
from tinylab.errors import TinylabError

OCTAVES = 0.8  # how far the channels of the uneven network are apart from what they were
UNEVEN_SEED = 4  # other factors cost other accuracies in 4 bits, from 1 point to 6


def uneven_network() -> keras.Model:
    """The trained network "small_cnn", whose channels are no longer alike: the same answers.

    Each channel between two layers is multiplied by a factor, and the weights that read it are
    divided by the same factor (`tinylab.equalization`). Float32 does not mind, and 8 bits hardly do;
    in 4 bits there are too few codes for large and small ones together.
    """
    model, rng = models.trained("small_cnn"), np.random.default_rng(UNEVEN_SEED)
    with_weights = [layer for layer in model.layers if layer.count_params()]
    for first, second in itertools.pairwise(with_weights):
        factors = 2 ** rng.uniform(-OCTAVES, OCTAVES, first.output_shape[-1])
        model = rescale_channels(model, first.name, second.name, factors)
    return model


def converted(function: Callable, model: keras.Model, images: np.ndarray, labels: np.ndarray) -> Any:
    """The file of the model that a learner's function returns.

    Returns:
        A dict of "file" and, for a hint, whether the model has the "same weights" as the given one; of
        "refused", what our tools say against it; or the answer itself if it is no model.
    """
    samples, kernels = images[:100].copy(), [w for w in model.get_weights() if w.ndim > 1]
    answer = function(model, images, labels)
    if not isinstance(answer, keras.Model):
        return answer
    try:
        content = qat.convert(answer, samples)
    except TinylabError as error:
        return {"refused": str(error)}
    held = {weights.tobytes() for weights in answer.get_weights()}
    return {"file": content, "same weights": all(kernel.tobytes() in held for kernel in kernels)}
