"""Every lesson in Colab's versions, in the oldest, or in the newest: one line each.

make colab    make oldest    make newest    make colab LESSONS="05 06"
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tinylab.course import LESSONS

from . import FIRST, KINDS, REPLACED, Environment, find_python


def report(what: str, started: float, error: str) -> bool:
    """Print one line of the table; whether there was an error."""
    print(f"{what:42}{time.time() - started:5.0f} s  {error or 'ok'}", flush=True)
    return bool(error)


def main() -> None:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m tests.environments", description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("lessons", nargs="*", help="their numbers; all, if none is given")
    asked = parser.parse_args()
    python = KINDS[asked.kind].python
    if not find_python(python):
        sys.exit(f"tinylab: {asked.kind} needs Python {python}, which is not here: install it and try again.")
    names = [lesson.name for lesson in LESSONS]
    chosen = [name for name in names if not asked.lessons or name[:2] in asked.lessons]
    if not chosen:
        sys.exit(
            f"tinylab: there is no lesson {' or '.join(asked.lessons)}; they are {names[0]} to {names[-1]}."
        )

    with tempfile.TemporaryDirectory() as folder:
        started = time.time()
        environment = Environment(asked.kind, Path(folder))
        failed = report(f"{FIRST}, which installs the course", started, environment.error)
        for name, (before, after) in environment.changed.items():
            print(f"  {name} was {before}, is {after}{'' if name in REPLACED else ': it must not change'}")
        failed |= not set(environment.changed) <= REPLACED
        for name in chosen:
            started = time.time()
            failed |= report(name, started, environment.run(name))
    sys.exit(failed)


if __name__ == "__main__":
    main()
