"""Makes .venv and installs the course in it: `python3 bootstrap.py lab` (or `test`).

Needs only Python's standard library, and is quick when nothing has changed since the last time.
The Makefile calls it; people without make call it themselves.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "installed.json"
LOG = VENV / "install.log"
SUPPORTED = [(3, 12), (3, 11), (3, 13)]  # best first: 3.13 has no TensorFlow Lite Micro yet
EXTRAS = {
    "lab": ["lab", "micro", "classroom"],
    "test": ["lab", "micro", "cluster", "classroom", "nbgrader", "site", "test"],
}
NEEDED_GB = {"environment": 4.0, "temporary": 2.0}  # measured: 3.2 GB installed, 0.7 GB downloaded

NETWORK_SIGNS = (
    "NewConnectionError|NameResolutionError|Temporary failure in name resolution|ConnectTimeoutError|"
    "Network is unreachable|Connection refused|ProxyError|Connection to .* timed out|ReadTimeoutError"
)


def stop(sentence):
    sys.exit(f"tinylab: {sentence}")


def say(sentence):
    print(f"tinylab: {sentence}", flush=True)


def version_of(python):
    """(major, minor) of an interpreter, or None where it does not run (pyenv leaves such shims)."""
    try:
        answer = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:2])"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(map(int, answer.split()))


def find_python():
    """This interpreter if it will do, else another one of this machine."""
    if sys.version_info[:2] in SUPPORTED:
        # the one below an activated environment: that may be the .venv which has just been removed
        return getattr(sys, "_base_executable", sys.executable)
    for major, minor in SUPPORTED:
        found = shutil.which(f"python{major}.{minor}")
        if found and version_of(found) == (major, minor):
            return found
    here = platform.python_version()
    stop(f"needs Python 3.11, 3.12 or 3.13, and this is {here}; install one of them and run this again.")


def check_machine():
    if platform.system() == "Darwin" and platform.machine() == "x86_64":
        stop("TensorFlow is not built for Macs with Intel processors any more; use Colab.")
    if sys.maxsize < 2**32:
        stop("TensorFlow needs a 64-bit Python, and this is a 32-bit one; install that and run this again.")
    for what, folder in (("environment", ROOT), ("temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(str(folder)).free / 1e9
        if free < NEEDED_GB[what]:
            needed = f"needs {NEEDED_GB[what]:.0f} GB of free disk in {folder}"
            stop(f"{needed}, where {free:.1f} GB are free: make room.")


def venv_python():
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_venv():
    if version_of(str(venv_python())) in SUPPORTED:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    python = find_python()
    say("making .venv with Python {}.{}".format(*version_of(python)))
    made = subprocess.run([python, "-m", "venv", str(VENV)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        if b"ensurepip" in made.stdout:
            stop("this Python cannot make environments; on Debian or Ubuntu: sudo apt install python3-venv")
        stop("could not make .venv: " + made.stdout.decode(errors="replace").strip().splitlines()[-1])


def explain(output):
    """One sentence for pip's failure; the whole of it is in the log."""
    if "No space left on device" in output:
        return "the disk filled up during the installation; make room and run this again."
    if re.search(NETWORK_SIGNS, output):
        return (
            "the package index cannot be reached; connect to the network (or set a proxy) and run this again."
        )
    missing = re.search(r"No matching distribution found for (\S+)", output)
    if missing:
        return f"{missing.group(1)} is not built for this machine ({platform.platform()})."
    errors = [line for line in output.splitlines() if line.startswith("ERROR")]
    return errors[-1] if errors else "pip failed."


def pip_install(extras):
    command = [str(venv_python()), "-m", "pip", "install", "--retries", "2", "--disable-pip-version-check"]
    command += [
        "--progress-bar",
        "off",
        "-c",
        str(ROOT / "constraints.txt"),
        "-e",
        f"{ROOT}[{','.join(extras)}]",
    ]
    lines = []
    with open(LOG, "w") as log:
        pip = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
        )
        for line in pip.stdout:
            lines.append(line)
            log.write(line)
            large = re.search(
                r"(?:Downloading|Using cached) (?:\S+/)?([A-Za-z0-9_.]+?)-\d\S* \((\d{2,}\.\d MB)\)", line
            )
            if large:
                say(f"  {large.group(1)} ({large.group(2)})")
            elif line.startswith("Installing collected packages"):
                say(f"  unpacking {line.count(',') + 1} packages")
    if pip.wait():
        stop(explain("".join(lines)) + f" (details: {LOG.relative_to(ROOT)})")


def settle_lab():
    """JupyterLab would ask at its first start whether to fetch news; the course works offline."""
    settings = VENV / "share" / "jupyter" / "lab" / "settings"
    settings.mkdir(parents=True, exist_ok=True)
    news = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
    (settings / "overrides.json").write_text(json.dumps(news))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("purpose", choices=sorted(EXTRAS), nargs="?", default="lab")
    extras = EXTRAS[parser.parse_args().purpose]

    described = b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
    wanted = hashlib.sha256(described).hexdigest()
    try:
        done = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        done = {}
    # the environment's commands name its folder: a clone that was moved needs a new one
    here = done.get("at") == str(ROOT) and venv_python().exists()
    if here and done["from"] == wanted and set(extras) <= set(done["extras"]):
        return

    check_machine()
    if done and not here:
        shutil.rmtree(str(VENV))
    make_venv()
    started = time.time()
    say("installing TensorFlow, JupyterLab and what they need: about 0.7 GB to download, 3 GB on disk")
    pip_install(extras)
    settle_lab()
    STAMP.write_text(json.dumps({"from": wanted, "at": str(ROOT), "extras": extras}))
    say(f"installed in {time.time() - started:.0f} s")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        stop(f"{error}. Make room, or see to the permissions of {ROOT}, and run this again.")
    except KeyboardInterrupt:
        stop("interrupted; run this again to go on.")
