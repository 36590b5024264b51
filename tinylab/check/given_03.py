"""What exercise 03 does with an answer where the learner's function runs."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def listed(function: Callable, images: np.ndarray) -> Any:
    """The items of a learner's generator, one more than there are images at most: it may never end."""
    answer = function(images)
    if not isinstance(answer, Iterable):
        return answer
    return list(itertools.islice(answer, len(images) + 1))
