"""Damaged files, run in a process of their own: what they do to it ends with it.

    python -m tests.hostile model.tflite FIRST LAST [compare]

damages the file in ways FIRST to LAST - 1, loads and runs each, and prints a line for each: its number and
"refused", "runs" or what went wrong; with compare also whether LiteRT's answer is the same. Whoever started
it sees which case ended or hung it.
"""

import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinylab import runners
from tinylab.errors import TinylabError
from tinylab.flatbuffer import pieces

MEMORY = 4 * 2**30
SECONDS = 20
WORDS = [0, 1, 2, 2**31 - 1, 2**32 - 1, 2**31, 2**16, 2**28]
BYTES = [0, 1, 2, 127, 128, 255]
SMALL = 64  # bytes of a constant that is rather a shape than weights


def structure(content: bytes) -> np.ndarray:
    """Positions of everything but weights."""
    places = [p for p in pieces(content) if p.what != "Buffer.data" or p.size <= SMALL]
    return np.concatenate([np.arange(p.start, p.start + p.size) for p in places])


def damaged(content: bytes, places: np.ndarray, seed: int) -> bytes:
    """A file with one to four changes, most of them where its structure is."""
    rng = np.random.default_rng(seed)
    changed = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        place = int(rng.choice(places)) if rng.random() < 0.9 else int(rng.integers(len(changed)))
        word = place // 4 * 4
        kind = rng.integers(12)
        if kind < 4:
            changed[place] = rng.choice(BYTES) if rng.random() < 0.7 else rng.integers(256)
        elif kind < 6:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind < 10:
            number = int(rng.choice(WORDS)) if rng.random() < 0.7 else int(rng.integers(2**32))
            changed[word : word + 4] = number.to_bytes(4, "little")[: len(changed) - word]
        elif kind == 10:  # bytes from elsewhere in the file
            source, size = int(rng.choice(places)), int(rng.integers(1, 65))
            size = min(size, len(changed) - source, len(changed) - place)
            changed[place : place + size] = content[source : source + size]
        elif rng.random() < 0.3:
            return bytes(changed[: rng.integers(len(changed))])
    return bytes(changed)


def inputs(runner: runners.Runner, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = []
    for spec in runner.inputs:
        shape = (2, *spec.shape[1:])
        if spec.dtype.kind in "iu":
            limits = np.iinfo(spec.dtype)
            arrays.append(rng.integers(limits.min, limits.max, shape, spec.dtype, endpoint=True))
        else:
            arrays.append(rng.normal(size=shape).astype(spec.dtype))
    return arrays


def answer(content: bytes, seed: int, **choice: str) -> list[np.ndarray] | str:
    """What a runner answers, or "refused"; any other error ends the process."""
    try:
        runner = runners.load(content, **choice)
        outputs = runner.predict_integers(inputs(runner, seed))
    except TinylabError:
        return "refused"
    return outputs if isinstance(outputs, list) else [outputs]


def in_a_fork(function: Callable[[], object]) -> object:
    """What a function returns; None if it ends its process."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        with os.fdopen(write, "wb") as pipe:
            pickle.dump(function(), pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    return pickle.loads(content) if status == 0 else None


def verdict(content: bytes, seed: int, compare: bool) -> str:
    ours = answer(content, seed, engine="integer")
    if ours == "refused" or not compare:
        return "refused" if ours == "refused" else "runs"
    theirs = in_a_fork(lambda: answer(content, seed, kernels="reference"))
    if theirs is None:
        return "runs; LiteRT ends the process"
    if theirs == "refused":
        return "runs; LiteRT refuses"
    same = len(ours) == len(theirs) and all(
        (a.shape, a.dtype) == (b.shape, b.dtype) and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(ours, theirs, strict=True)
    )
    return "runs; the same" if same else "runs; DIFFERENT"


def main(path: str, first: str, last: str, compare: str = "") -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    content = Path(path).read_bytes()
    places = structure(content)
    for seed in range(int(first), int(last)):
        print(seed, end=" ", flush=True)
        signal.alarm(SECONDS)  # ends the process, wherever it hangs
        try:
            print(verdict(damaged(content, places, seed), seed, bool(compare)), flush=True)
        except Exception as error:
            print(f"ERROR {error!r}", flush=True)
        signal.alarm(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
