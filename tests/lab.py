"""A JupyterLab of its own for a test, and the browser to look at it with."""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def settings(folder):
    """An environment in which JupyterLab keeps nothing from, and leaves nothing in, the user's home."""
    places = (
        "JUPYTER_CONFIG_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
        "JUPYTER_RUNTIME_DIR",
    )
    return {**os.environ, **{place: str(folder / place.lower()) for place in places}}


class Lab:
    """A JupyterLab on a port of its own."""

    def __init__(self, command, folder, environment):
        self.port = free_port()
        flags = (
            f"--no-browser --port={self.port} --IdentityProvider.token= --LabApp.expose_app_in_browser=True"
        )
        self.log = Path(environment["JUPYTER_RUNTIME_DIR"] + ".log")
        arguments = [*command, f"LAB_FLAGS={flags}"] if command[0] == "make" else [*command, *flags.split()]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                arguments, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self.address = f"http://127.0.0.1:{self.port}/lab"

    def wait(self):
        for _ in range(240):
            try:
                return urllib.request.urlopen(self.address, timeout=2).read().decode()
            except OSError:
                assert self.process.poll() is None, self.log.read_text()[-3000:]
                time.sleep(0.5)
        raise AssertionError("JupyterLab did not answer on its port within two minutes")

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)
