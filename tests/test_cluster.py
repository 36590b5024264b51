"""Work on a real Dask cluster: what cannot go on says why, and a call that kills workers fails alone."""

import gc
import threading
import time

import pytest

from tests.dask_cluster import Cluster, free_port, until
from tinylab import cluster as on_cluster
from tinylab.errors import TinylabError

pytestmark = pytest.mark.slow


def computed(address, work, numbers):
    """What comes of each number, as {number: (result, error)}."""
    with on_cluster.connected(address) as client:
        todo = {number: {"a": number} for number in numbers}
        return {key: outcome for key, *outcome in on_cluster.results(client, work, todo, "testing")}


def test_every_call_comes_back_by_its_key_with_a_result_or_an_error(cluster):
    def work(a):
        return 12 / a

    assert computed(cluster.address, work, (4, 0, 3)) == {
        4: [3.0, ""],
        3: [4.0, ""],
        0: [None, "ZeroDivisionError: division by zero"],
    }


def test_work_that_raises_what_a_lost_scheduler_raises_is_not_taken_for_one(cluster):
    def work(a):
        raise (OSError if a else ConnectionError)("no disk")

    outcomes = computed(cluster.address, work, (0, 1))
    assert outcomes == {0: [None, "ConnectionError: no disk"], 1: [None, "OSError: no disk"]}


def test_nothing_waits_in_line_behind_a_call_that_might_kill_the_worker(cluster):
    def work(a):
        import distributed

        return max(map(len, distributed.get_client().processing().values()))

    assert computed(cluster.address, work, range(8)) == {a: [1, ""] for a in range(8)}


def test_a_killed_worker_costs_nothing_and_a_deadly_call_fails_alone(cluster, tmp_path):
    died = tmp_path / "died"

    def work(a):
        import os
        import signal

        if a == 2 or (a == 1 and not died.exists()):
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * a

    assert computed(cluster.address, work, (0, 1, 3, 4)) == {a: [2 * a, ""] for a in (0, 1, 3, 4)}
    assert died.exists()
    outcomes = computed(cluster.address, work, (2, 3, 5))
    assert outcomes.pop(2)[1].startswith("KilledWorker")
    assert outcomes == {a: [2 * a, ""] for a in (3, 5)}


def test_a_worker_with_another_version_is_refused(cluster, monkeypatch):
    import distributed

    real = distributed.Client.get_versions

    def other(self, **options):
        versions = real(self, **options)
        next(iter(versions["workers"].values()))["packages"]["tinylab-course"] = None
        return versions

    monkeypatch.setattr(distributed.Client, "get_versions", other)
    with pytest.raises(TinylabError, match="tinylab-course not installed; the same as here expected"):
        computed(cluster.address, abs, [1])


@pytest.mark.parametrize("address", ["", "127.0.0.1:8786", "nonsense://x"])
def test_what_is_no_address_is_refused(address):
    pytest.importorskip("distributed")
    with pytest.raises(TinylabError, match=r"an address such as|no Dask scheduler answers"):
        computed(address, abs, [1])


def test_a_client_that_did_not_connect_is_closed_at_once():
    """Closed later, while the next one starts, it would stop that one for good."""
    distributed = pytest.importorskip("distributed")
    with pytest.raises(TinylabError) as refused:
        computed("nonsense://x", abs, [1])
    assert "no Dask scheduler answers there" in str(refused.value)
    clients = [made for made in gc.get_objects() if issubclass(type(made), distributed.Client)]
    assert {client.status for client in clients} <= {"closed"}


def test_no_scheduler_no_workers_and_a_scheduler_that_dies_are_told_apart(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(on_cluster, "WORKER_SECONDS", 1)
    done = [tmp_path / "0", tmp_path / "1"]

    def work(a):
        import time

        time.sleep(0.3 if a < 2 else 60)
        done[a].touch()

    started = time.monotonic()
    with pytest.raises(TinylabError, match="no Dask scheduler answers there"):
        computed(f"tcp://127.0.0.1:{free_port()}", work, range(4))
    assert time.monotonic() - started < 2 * on_cluster.CONNECT_SECONDS
    cluster = Cluster(tmp_path)
    try:
        with pytest.raises(TinylabError, match=r"has no workers.*dask worker tcp"):
            computed(cluster.address, work, range(4))
        cluster.add_workers(1)
        monkeypatch.setattr(on_cluster, "WORKER_SECONDS", 20)
        watcher = threading.Thread(
            target=lambda: (until(lambda: all(path.exists() for path in done)), cluster.scheduler.kill())
        )
        watcher.start()
        with pytest.raises(TinylabError, match="the scheduler is gone"):
            computed(cluster.address, work, range(4))
        watcher.join()
    finally:
        cluster.end()
