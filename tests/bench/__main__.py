"""python -m tests.bench [PART]: see the package."""

import argparse
import json
import time
from collections.abc import Iterable

from . import pages
from .parts import PARTS, conditions, plain


def measure(names: Iterable[str]) -> dict:
    """What some parts measure, and the conditions."""
    measured = conditions()
    for name in names:
        print(f"{name} ...", flush=True)
        started = time.perf_counter()
        measured[name] = plain(PARTS[name]())
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    return measured


def main() -> None:
    """Measure everything and write it, or one part and print it; "pages" makes the pages anew."""
    parser = argparse.ArgumentParser(prog="tests.bench", description="Measure, and write down what came out.")
    parser.add_argument("part", nargs="?", choices=("all", "pages", *PARTS), default="all")
    chosen = parser.parse_args().part
    if chosen in PARTS:
        print(json.dumps(measure([chosen]), indent=1))
        return
    if chosen == "all":
        pages.RESULTS.write_text(json.dumps(measure(PARTS), indent=1) + "\n")
    pages.write()


if __name__ == "__main__":
    main()
