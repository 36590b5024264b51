"""Trying many settings: on this machine or on a cluster, in as many sittings as it takes.

A candidate is a dict of settings. `search` calls a function with each, one after the other or on the
workers of a Dask cluster, and writes each result to a file as soon as it is there: the store. Asked
again with the same store, it computes only what is missing. So a search may be stopped at any time, by
Ctrl-C, a killed kernel or a power cut, and loses no more than the candidates that were running.

`pareto_front` finds the candidates to choose from: those that no other one beats.
"""

import contextlib
import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pandas as pd

from tinylab import cluster
from tinylab.errors import DataError
from tinylab.progress import progress

LOCK_SECONDS = 30
HEADER = "tinylab_search"  # key in the store's first line; its value names the function

Work = Callable[..., Mapping[str, Any]]
Settings = dict[str, Any]


def search(
    work: Work, candidates: Iterable[Settings], store: str | PathLike, scheduler: str | None = None
) -> pd.DataFrame:
    """Call a function with each candidate's settings, and keep what it measures.

    What is in the store already is not computed again, except for candidates that failed: those are
    tried once more. Other candidates in it stay there, and are not shown. The store knows the function
    by its name only: after a change of what it does, take a new one.

    With a scheduler, the workers of a Dask cluster do the work, several candidates at a time:
    `tinylab.cluster` says how to start one. One thread a worker, because TensorFlow trains one model at a
    time in a process.

    Args:
        work: takes the settings as keywords, returns a dict of what it measured: finite numbers, texts,
            or None for what there is not. A function with a name, also one that a notebook defines.
        candidates: settings that JSON can hold (numbers, texts, lists, ...); all different.
        store: path of the file, in JSON lines; it is made if need be. Two searches at once may share it.
        scheduler: address of a Dask scheduler, such as "tcp://127.0.0.1:8786".

    Returns:
        A row a candidate, in their order: settings, what was measured, and `error`, a text, "" if there
        was none. Where `work` raised, or measured NaN, the row has no numbers (NaN) and says why.

    Raises:
        DataError: candidates that are none, doubled, or not what `work` takes; `work` returns something
            else; a store that holds something else, or cannot be written.
        TinylabError: no package distributed; no scheduler there, no workers, or of other versions.
    """
    asked = _by_key(candidates, work)
    kept = _Store(Path(store), _name(work))
    known = kept.read()
    missing = {key: settings for key, settings in asked.items() if "result" not in known.get(key, {})}
    if missing:
        # closed also when interrupted: without its client, a cluster stops working
        with contextlib.closing(_found(work, missing, scheduler)) as found:
            for key, result, error in found:
                known[key] = {"error": error} if error else _checked(result, asked[key])
                kept.append({"settings": asked[key], **known[key]})
    return _table(list(asked.values()), [known[key] for key in asked])


def pareto_front(
    table: pd.DataFrame,
    larger: Sequence[str] = ("accuracy",),
    smaller: Sequence[str] = ("flash", "arena"),
) -> pd.Series:
    """Which rows no other row beats: as good in everything, and better in something.

    Whoever wants more of one thing has to give up another, once on the front. Rows that are equal are
    all on it, or none is. A row without one of the numbers, or that failed, neither is nor beats one.

    Args:
        table: as from `search`.
        larger: columns of numbers where more is better.
        smaller: columns of numbers where less is better.

    Raises:
        DataError: no such column, or one without numbers.

    >>> tried = pd.DataFrame({"accuracy": [0.9, 0.8, 0.8], "flash": [40, 20, 30]})
    >>> pareto_front(tried, smaller=["flash"]).tolist()
    [True, True, False]
    """
    signs = {**dict.fromkeys(larger, 1), **dict.fromkeys(smaller, -1)}
    lacking = [name for name in signs if name not in table]
    if lacking or not signs:
        raise DataError(f"columns {lacking or 'to compare'}: among {', '.join(map(str, table))} expected.")
    try:
        values = np.column_stack([sign * pd.to_numeric(table[name]) for name, sign in signs.items()])
    except (TypeError, ValueError) as error:
        raise DataError(f"only numbers can be compared: {error}.") from None
    values = values.astype(np.float64)
    usable = ~np.isnan(values).any(axis=1)
    if "error" in table:
        usable &= table["error"].isna() | (table["error"] == "")
    rivals = values[usable]
    front = [
        bool(good and not ((rivals >= row).all(axis=1) & (rivals > row).any(axis=1)).any())
        for row, good in zip(values, usable, strict=True)
    ]
    return pd.Series(front, index=table.index, dtype=bool)


# Settings and results


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} given")


def _json(value: Any, **options: Any) -> str:
    return json.dumps(value, allow_nan=False, default=_plain, **options)


def _key(settings: Settings) -> str:
    """A text that is the same for the same settings."""
    return _json(settings, sort_keys=True)


def _name(work: Work) -> str:
    """What the store calls a function."""
    name = getattr(work, "__qualname__", "<lambda>")
    if not callable(work) or name.endswith("<lambda>"):
        raise DataError(f"work: a function with a name (def ...) expected, {work!r} given.")
    return f"{work.__module__}.{name}"


def _by_key(candidates: Iterable[Settings], work: Work) -> dict[str, Settings]:
    asked: dict[str, Settings] = {}
    name, takes = _name(work), inspect.signature(work)
    for settings in candidates:
        if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
            raise DataError(f"a candidate: a dict of settings by their names expected, {settings!r} given.")
        try:
            key = _key(settings)
            takes.bind(**settings)
        except (ValueError, RecursionError) as error:
            raise DataError(f"candidate {settings}: {error}; finite numbers expected.") from None
        except TypeError as error:
            raise DataError(
                f"candidate {settings}: {error}; settings that {name} takes, and that JSON can hold "
                "(numbers, texts, lists of them), expected."
            ) from None
        if key in asked:
            raise DataError(f"candidate {settings} is there twice.")
        if "error" in settings:
            raise DataError('a setting called "error": the table has a column of its own of that name.')
        asked[key] = settings
    if not asked:
        raise DataError("no candidates given: a list of dicts of settings expected.")
    return asked


def _checked(result: Any, settings: Settings) -> dict[str, Any]:
    """What work returned, as the store keeps it: {"result": {...}} or {"error": "..."}."""
    if not isinstance(result, Mapping) or not result:
        raise DataError(f"work returned {result!r:.80}: a dict of numbers and texts by their names expected.")
    result = {name: v.item() if isinstance(v, np.generic) else v for name, v in result.items()}
    for name, value in result.items():
        if not isinstance(name, str) or not isinstance(value, bool | int | float | str | None):
            raise DataError(f"work returned {name!r}: {value!r:.80}: a number, a text or None expected.")
        if name in settings or name == "error":
            raise DataError(f"work returned {name!r}, which is a column of the table already.")
    lost = [f"{name} is {v}" for name, v in result.items() if isinstance(v, float) and not np.isfinite(v)]
    return {"error": f"{', '.join(lost)}: finite numbers expected"} if lost else {"result": result}


def _table(candidates: list[Settings], records: list[dict[str, Any]]) -> pd.DataFrame:
    results = [record.get("result", {}) for record in records]
    columns = dict.fromkeys(name for row in [*candidates, *results] for name in row)
    rows = [
        {**settings, **result, "error": record.get("error", "")}
        for settings, result, record in zip(candidates, results, records, strict=True)
    ]
    return pd.DataFrame(rows, columns=[*columns, "error"])


# The store


class _Store:
    """A file of JSON lines that only ever grows: first whose results it holds, then a line a result.

    A line counts once it has its end. Half a line at the end of the file is what an interrupted writer
    left, and the next writer takes it away.
    """

    def __init__(self, path: Path, work: str):
        self._path, self._work = path, work
        self._header = _json({HEADER: work}).encode() + b"\n"

    def read(self) -> dict[str, dict[str, Any]]:
        """The record of each candidate, by its key; of several the last, but a result before a failure."""
        with self._opened() as file:
            return self._records(file.read())

    def append(self, record: dict[str, Any]) -> None:
        """Add a record, and see to it that it survives a power cut."""
        with self._opened() as file:
            content = file.read()
            self._records(content)  # whatever else the file may have become is not written to
            whole = content.rfind(b"\n") + 1
            file.truncate(whole)
            file.write((b"" if whole else self._header) + _json(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with (
                filelock.FileLock(f"{self._path}.lock", timeout=LOCK_SECONDS),
                self._path.open("a+b") as file,
            ):
                file.seek(0)
                yield file
        except filelock.Timeout:
            raise DataError(f"{self._path}: another search has kept it for {LOCK_SECONDS} s.") from None
        except OSError as error:
            raise DataError(
                f"{self._path} cannot be written ({error}): name another place, or make room there."
            ) from error

    def _records(self, content: bytes) -> dict[str, dict[str, Any]]:
        *lines, half = content.split(b"\n")
        if not lines and not self._header.startswith(half):
            raise self._foreign("its first line is not of that kind")
        records: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(lines, 1):
            try:
                read = json.loads(line)
                if number == 1:
                    owner = read[HEADER]
                    continue
                key, kind = _key(read["settings"]), "result" if "result" in read else "error"
                outcome = {kind: read[kind]}
            except (ValueError, KeyError, TypeError):
                raise self._foreign(f"line {number} is not of that kind") from None
            if kind == "result" or "result" not in records.get(key, {}):
                records[key] = outcome
        if lines and owner != self._work:
            raise self._foreign(f"it holds those of {owner}")
        return records

    def _foreign(self, why: str) -> DataError:
        return DataError(
            f"{self._path} is no store of results of {self._work}: {why}. Name another file, or remove this "
            "one."
        )


# Doing the work


def _found(work: Work, missing: dict[str, Settings], scheduler: str | None) -> Iterator[tuple[str, Any, str]]:
    """Key, result, error of each candidate, as they come."""
    if scheduler is None:
        for key, settings in progress(missing.items(), "searching"):
            yield key, *cluster.attempt(work, settings)
    else:
        with cluster.connected(scheduler) as client:
            yield from cluster.results(client, work, missing, "searching")
