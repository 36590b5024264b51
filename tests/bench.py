"""How fast is the integer engine? A batch of 1,000 on each architecture, as ratios within one run.

make bench
"""

import time

from tinylab import measure, runners

from .architectures import ARCHITECTURES, int8_file
from .networks import inputs_for

SAMPLES = 1000
ROUNDS = 3  # the engines take turns, and each counts with its best
ENGINES = {"integer": {"engine": "integer"}, "reference": {"kernels": "reference"}, "default": {}}


def seconds(content: bytes) -> dict[str, float]:
    """Time of a batch on each engine, in seconds."""
    ready = {name: runners.load(content, **how) for name, how in ENGINES.items()}
    inputs = inputs_for(ready["integer"], SAMPLES, seed=0)
    times = dict.fromkeys(ready, float("inf"))
    for runner in ready.values():
        runner.predict_integers([q[:300] for q in inputs])  # warm up
    for _ in range(ROUNDS):
        for name, runner in ready.items():
            started = time.perf_counter()
            runner.predict_integers(inputs)
            times[name] = min(times[name], time.perf_counter() - started)
    return times


def main() -> None:
    """Print a line an architecture."""
    conditions = measure.conditions("integer engine, reference and default")
    print(f"{SAMPLES} inferences, best of {ROUNDS}; {conditions}")
    print(f"{'':14}{'integer engine':>16}{'reference / integer':>22}{'default / integer':>20}")
    for name in ARCHITECTURES:
        times = seconds(int8_file(name))
        ratios = [times[kernels] / times["integer"] for kernels in ("reference", "default")]
        print(f"{name:14}{times['integer']:14.2f} s{ratios[0]:21.2f}x{ratios[1]:19.2f}x")


if __name__ == "__main__":
    main()
