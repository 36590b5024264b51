"""Which lessons the longest tests take today: a few, other ones tomorrow; with TINYLAB_EVERY set, all."""

import os
from datetime import date


def todays(values, count, day=None):
    """`count` of the values, going round from day to day so that each has its turn.

    >>> todays("abcde", 2, day=0), todays("abcde", 2, day=1), todays("abcde", 2, day=2)
    (['a', 'b'], ['c', 'd'], ['e', 'a'])
    """
    values = list(values)
    if os.environ.get("TINYLAB_EVERY"):
        return values
    first = (date.today().toordinal() if day is None else day) * count
    return [values[(first + step) % len(values)] for step in range(count)]
