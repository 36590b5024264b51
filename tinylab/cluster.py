"""The same function called many times, on the workers of a Dask cluster.

It needs the package distributed (`pip install "tinylab-course[cluster]"`) and, on each machine, the same
versions of Python and tinylab. In a terminal each, on the machines of your choice:

    dask scheduler
    dask worker tcp://address-of-the-scheduler:8786 --nthreads 1 --nworkers 2
"""

import contextlib
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from tinylab.errors import TinylabError
from tinylab.progress import progress

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 5  # for a scheduler to answer
WORKER_SECONDS = 10  # for a first worker to be there
DISTRIBUTION = "tinylab-course"

Settings = Mapping[str, Any]


def attempt(work: Callable, settings: Settings) -> tuple[Any, str]:
    """What work returns, given the settings as keywords; or None, and the error that it raised, in words.

    >>> attempt(divmod, {}), attempt(int, {})
    ((None, 'TypeError: divmod expected 2 arguments, got 0'), (0, ''))
    """
    try:
        return work(**settings), ""
    except Exception as error:
        return None, _said(error)


@contextlib.contextmanager
def connected(address: str) -> Iterator["Client"]:
    """A client of a scheduler that has workers like this process.

    Args:
        address: such as "tcp://127.0.0.1:8786".

    Raises:
        TinylabError: no package distributed; no scheduler there, no workers, or of other versions.
    """
    try:
        import distributed
    except ImportError:
        raise TinylabError(
            'a scheduler needs the package distributed: pip install "tinylab-course[cluster]".'
        ) from None
    if "://" not in address:  # Dask would start a cluster of its own for an empty one
        raise TinylabError(f'scheduler {address!r}: an address such as "tcp://127.0.0.1:8786" expected.')

    class ClosingClient(distributed.Client):
        """Closed if it does not connect.

        Dask closes it when it is collected, and if the next one happens to start at that moment, both wait
        for each other.
        """

        def start(self, **options: Any) -> None:
            try:
                super().start(**options)
            except BaseException:
                self.close()
                raise

    try:
        client = ClosingClient(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except Exception as error:  # of any kind, if something else answers there
        raise TinylabError(
            f"{address}: no Dask scheduler answers there ({_said(error)}). In a terminal, `dask scheduler` "
            "starts one and shows its address."
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError:
            raise TinylabError(
                f"{address}: the scheduler has no workers. In a terminal, "
                f"`dask worker {address} --nthreads 1 --nworkers 2` starts two."
            ) from None
        _compare_versions(client.get_versions(packages=[DISTRIBUTION]))
        yield client


def results(
    client: "Client", work: Callable, todo: Mapping[Hashable, Settings], what: str
) -> Iterator[tuple[Hashable, Any, str]]:
    """Call work with each settings on the workers, one call a thread of theirs at a time.

    What a dying worker leaves behind, others do; after the fourth that dies on it, a call has failed.
    Ends early (Ctrl-C, closing): what has not begun is called off, what a worker is at, it finishes for
    nothing.

    Args:
        client: from `connected`.
        work: a function, also one that a notebook defines.
        todo: the settings to call it with, by what the caller knows them by.
        what: is being done; in front of the progress bar.

    Yields:
        Key, result, error: see `attempt`. As they come.

    Raises:
        TinylabError: the scheduler is gone.
    """
    from distributed import as_completed

    waiting = deque(todo)
    running: dict[Future, Hashable] = {}
    finished = as_completed(loop=client.loop)
    try:
        for _ in progress(todo, what):
            # No more than can run: those in line behind a deadly one would be blamed as well.
            while waiting and len(running) < max(1, sum(client.nthreads().values())):
                key = waiting.popleft()
                future = client.submit(attempt, work, todo[key], pure=False)
                running[future] = key
                finished.add(future)
            future = next(finished)
            yield running.pop(future), *_gathered(future)
    except (OSError, CancelledError) as error:  # the client cancels what nobody can tell it about
        raise TinylabError(
            "the scheduler is gone. Start it again, and do the same once more: it goes on from what was kept."
        ) from error


def _gathered(future: "Future") -> tuple[Any, str]:
    try:
        return future.result()
    except (OSError, CancelledError):
        raise  # the scheduler is gone
    except Exception as error:  # of Dask's own: workers died, or could not unpack work
        return None, _said(error)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _compare_versions(versions: dict[str, Any]) -> None:
    """Refuse workers that would not understand what they are sent, or would measure something else."""
    own = _versions(versions["client"])
    for address, worker in versions["workers"].items():
        if _versions(worker) != own:
            raise TinylabError(f"worker {address} has {_versions(worker)}; the same as here expected: {own}.")


def _versions(machine: dict[str, Any]) -> str:
    packages = machine["packages"]
    python = ".".join(packages["python"].split(".")[:2])
    tinylab = packages[DISTRIBUTION] or "not installed"
    return f"Python {python}, distributed {packages['distributed']}, {DISTRIBUTION} {tinylab}"
