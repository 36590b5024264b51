"""A real Dask cluster on this machine."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


class Cluster:
    """A scheduler and workers, each a process of its own, that speak TCP on 127.0.0.1."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.address = f"tcp://127.0.0.1:{free_port()}"
        # what kills two workers has failed; Dask's own limit is four
        self._environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
        port = self.address.rsplit(":", 1)[1]
        self.scheduler = self.start("dask_scheduler", "--host", "127.0.0.1", "--port", port)

    def start(self, program, *arguments):
        log = (self.folder / f"{program}{len(self.processes)}.log").open("w")
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--no-dashboard", *arguments]
        with log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def add_workers(self, count):
        for _ in range(count):
            self.start("dask_worker", self.address, "--nthreads", "1", "--local-directory", str(self.folder))

    def end(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the worker below its nanny
            process.wait()
