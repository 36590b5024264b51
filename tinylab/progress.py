"""A bar for work that takes a while."""

import os
from collections.abc import Iterable

from tqdm.auto import tqdm


def progress(steps: Iterable, what: str) -> Iterable:
    """The steps, with a bar that appears after a second and goes when they are done."""
    # tqdm's bar for notebooks does not ask for TQDM_DISABLE itself, as its other bars do
    return tqdm(steps, desc=what, delay=1, leave=False, disable="TQDM_DISABLE" in os.environ)
