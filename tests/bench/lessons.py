"""Each lesson alone, from top to bottom: how long it takes, and how much memory."""

import os
import tempfile
import threading
import time
from unittest import mock

import psutil
from nbclient import NotebookClient

from tinylab import authoring

SECONDS = 0.1  # between two looks at the memory


class Peak:
    """The most memory that the processes below this one hold together while a block runs, in MB."""

    def __enter__(self) -> "Peak":
        self.megabytes, self._over = 0.0, threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._over.wait(SECONDS):
            held = sum(map(_resident, psutil.Process().children(recursive=True)))
            self.megabytes = max(self.megabytes, held / 2**20)


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has just ended
        return 0


def lessons() -> dict:
    """Seconds and peak memory in MB of each lesson, in an empty folder."""
    found = {}
    for path in authoring.notebooks("notebooks"):
        print(f"  {path.stem}", flush=True)
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, authoring.QUIET):
            client = NotebookClient(authoring.read(path), resources={"metadata": {"path": folder}})
            started = time.perf_counter()
            with Peak() as peak:
                client.execute()
            found[path.stem] = {"seconds": time.perf_counter() - started, "MB": peak.megabytes}
    return found
