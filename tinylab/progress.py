"""A bar for work that takes a while."""

import os
from collections.abc import Iterable

from tqdm.auto import tqdm


def progress(steps: Iterable, what: str, total: int | None = None) -> Iterable:
    """The steps, with a bar that appears after a second and goes when they are done.

    Args:
        steps: to be taken.
        what: is being done; in front of the bar.
        total: how many steps there are, if they cannot be counted before.
    """
    # tqdm's bar for notebooks does not ask for TQDM_DISABLE itself, as its other bars do
    disable = "TQDM_DISABLE" in os.environ
    return tqdm(steps, desc=what, total=total, delay=1, leave=False, disable=disable)
