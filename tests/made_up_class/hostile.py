"""Hostile submissions: everything is solved, and a cell, a function or an answer does harm.

Without a wall they do none, either: what deletes or kills looks first whether it is behind one, and what
multiplies stops at a number that a machine bears.
"""

import os
import tempfile
from pathlib import Path

import tinylab

from .handing_in import ROOT, hostile, others_call


@hostile("05", "an endless loop in a cell")
def endless_cell(notebook):
    notebook.before("dequantize", "while True:\n    pass")


@hostile("05", "a cell that sleeps for days and takes no interrupt", remark="did not end within")
def endless_sleep(notebook):
    notebook.before(
        "dequantize",
        """
import signal, time

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
    signal.signal(number, signal.SIG_IGN)
while True:
    try:
        time.sleep(10**6)
    except BaseException:
        print("no")
""",
    )


@hostile("05", "an endless loop in one task's function", points="1101111111")
def endless_function(notebook):
    notebook.define("quantize", "def quantize(x, scale, zero_point):\n    while True:\n        pass")


@hostile("05", "a cell that takes more memory than there is")
def memory_in_a_cell(notebook):
    notebook.before("dequantize", "hoard = [np.ones(10**7) for _ in range(100)]  # 8 GB, if it gets them")


@hostile("05", "one task's function takes more memory than there is", points="1101111111")
def memory_in_a_function(notebook):
    notebook.define(
        "quantize",
        """
def quantize(x, scale, zero_point):
    hoard = [np.ones(10**7) for _ in range(100)]
    return np.clip(round_half_away(x / scale) + zero_point + 0 * len(hoard), -128, 127).astype(np.int8)
""",
    )


@hostile("05", "a fork bomb", remark="left out")
def fork_bomb(notebook):
    notebook.before(
        "dequantize",
        """
import os, time

me = os.getpid()
for _ in range(10):  # 1,024 processes, if it gets them
    try:
        os.fork()
    except OSError:
        break
if os.getpid() != me:
    time.sleep(60)
    os._exit(0)
""",
    )


@hostile("05", "a fork, after which both go on")
def forks_and_goes_on(notebook):
    notebook.before("dequantize", "import os\nos.fork()")


@hostile("05", "a bomb of threads")
def thread_bomb(notebook):
    notebook.before(
        "dequantize",
        """
import threading, time

for _ in range(2000):
    threading.Thread(target=time.sleep, args=(600,)).start()
""",
    )


@hostile("05", "os._exit in a cell", remark="ended its process")
def exits(notebook):
    notebook.before("dequantize", "import os\nos._exit(0)")


@hostile("05", "two deadly cells", remark="ended its process")
def exits_twice(notebook):
    notebook.before("quantize", "import os\nos._exit(0)")
    notebook.before("multiply", "import os\nos.abort()")


@hostile(
    "05",
    "a cell kills its own process; the definition in the same cell is lost",
    points="1110111111",
    remark="ended its process",
)
def kills_itself(notebook):
    source = notebook.definition("dequantize")["source"]
    notebook.define("dequantize", f"import os\nos.kill(os.getpid(), 9)\n{source}")


@hostile("05", "kills the process above it, its group, and every process there is")
def kills_others(notebook):
    spaces = _link("/proc/self/ns/pid")
    notebook.before("quantize", "import os\nos.kill(os.getppid(), 9)")
    notebook.before("dequantize", "import os\nos.killpg(0, 9)")
    notebook.before(
        "multiply",
        f"""
import os

if os.readlink("/proc/self/ns/pid") != {spaces!r}:  # never without a wall
    os.kill(-1, 9)
""",
    )


def _link(path: str) -> str:
    return os.readlink(path) if os.path.islink(path) else ""


@hostile(
    "05",
    "a segmentation fault in one task's function",
    points="1101111111",
    remark="quantize ended its process",
)
def segmentation_fault(notebook):
    notebook.define(
        "quantize",
        "import ctypes\n\ndef quantize(x, scale, zero_point):\n    return ctypes.string_at(0)",
    )


@hostile(
    "05",
    "functions that end the process, each in its own way",
    points="1100001111",
    remark="quantize ended its process",
)
def deadly_functions(notebook):
    notebook.define("quantize", "import os\n\ndef quantize(*case):\n    os._exit(1)")
    notebook.define("dequantize", "def dequantize(*case):\n    os.kill(os.getpid(), 9)")
    notebook.define("quantize_weights", "def quantize_weights(w):\n    raise SystemExit('that was it')")
    notebook.define("quantize_bias", "def quantize_bias(*case):\n    os.abort()")


@hostile("05", "cells that raise SystemExit, KeyboardInterrupt and an exception of their own")
def raises_oddly(notebook):
    notebook.before("quantize", "import sys\nsys.exit(3)")
    notebook.before("dequantize", "raise KeyboardInterrupt")
    notebook.before("multiply", "class Odd(BaseException):\n    pass\n\nraise Odd('caught by nobody')")
    notebook.before("multiply", "class Mute(Exception):\n    def __str__(self): raise self\n\nraise Mute")
    notebook.at_end("quit()")


@hostile("05", "functions that raise oddly", points="1100001111")
def odd_errors(notebook):
    notebook.define(
        "quantize",
        "class Odd(BaseException):\n    pass\n\ndef quantize(*case):\n    raise Odd('caught by nobody')",
    )
    notebook.define("dequantize", "def dequantize(*case):\n    return dequantize(*case)")
    notebook.define("quantize_weights", "def quantize_weights(w):\n    raise KeyboardInterrupt")
    notebook.define(
        "quantize_bias",
        """
class Mute(Exception):
    def __str__(self):
        raise self

def quantize_bias(*case):
    raise Mute
""",
    )


DELETES = """
import os, shutil, tempfile

import tinylab

def known(place):
    try:
        state = os.stat(place)
    except OSError:
        return True
    return (state.st_dev, state.st_ino) in KEEP

for place in (".", tempfile.gettempdir(), os.path.expanduser("~"), os.path.dirname(tinylab.__file__)):
    if not known(place):  # never the real ones
        shutil.rmtree(place, ignore_errors=True)
shutil.rmtree(CLASS, ignore_errors=True)
"""


@hostile("05", "deletes its folder, the home and temporary folders, tinylab, and all submissions")
def deletes_folders(notebook):
    """All but the last only where they are not this machine's own."""
    here = (
        Path("/"),
        Path.home(),
        Path(tempfile.gettempdir()),
        Path("/tmp"),
        ROOT,
        ROOT / "tinylab",
        Path.cwd(),
    )
    keep = {(place.stat().st_dev, place.stat().st_ino) for place in here if place.exists()}
    names = f"CLASS, KEEP = {str(notebook.place.class_folder)!r}, {sorted(keep)!r}"
    notebook.before("dequantize", f"{names}\n{DELETES.strip()}")


@hostile("05", "gigabytes of output, in every way")
def endless_output(notebook):
    notebook.before(
        "dequantize",
        """
import os, sys

from IPython.display import HTML, display

for _ in range(1000):
    print("x" * 1_000_000)
    sys.stderr.write("y" * 1_000_000)
""",
    )
    notebook.before("multiply", "for _ in range(500):\n    display(HTML('z' * 200_000))")
    notebook.before("multiply", "for _ in range(200):\n    os.write(1, bytes(1_000_000))")
    notebook.before("multiply", "'w' * 100_000_000")
    notebook.before("multiply", "!head -c 300000000 /dev/zero")


@hostile("05", "a file of 10 GB, and many of 100 MB")
def large_files(notebook):
    notebook.before(
        "dequantize",
        """
with open("large", "wb") as file:
    for _ in range(1000):
        file.write(bytes(10_000_000))
""",
    )
    notebook.before(
        "multiply",
        """
import tempfile

for number in range(30):
    with open(f"{tempfile.gettempdir()}/part_{number}", "wb") as file:
        file.write(bytes(100_000_000))
""",
    )


DAEMON = """
import os, time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for _ in range(60):
            time.sleep(1)
            try:
                open(f"{CLASS}/written_by_a_daemon", "w").write("still there")
            except OSError:
                pass
    os._exit(0)
"""


@hostile("05", "a process in the background that survives, and writes later")
def daemon(notebook):
    notebook.before("dequantize", f"CLASS = {str(notebook.place.class_folder)!r}\n{DAEMON.strip()}")


@hostile("05", "connects to the network")
def network(notebook):
    notebook.before(
        "dequantize",
        f"""
import socket

with socket.create_connection(("127.0.0.1", {notebook.place.port}), timeout=2) as connection:
    connection.sendall(b"a secret")
    print("leak".upper(), "connected")
""",
    )


@hostile("05", "writes to its own submission, to another's, and to tinylab's files")
def writes_to_files(notebook):
    """It changes nothing in tinylab: it writes the byte that is there, and the file's time tells."""
    notebook.before(
        "dequantize",
        f"""
import glob

import tinylab

for path in glob.glob({str(notebook.place.class_folder)!r} + "/**/*.ipynb", recursive=True):
    try:
        open(path, "a").write(" ")
    except OSError:
        pass
for path in ({tinylab.__file__!r}, tinylab.__file__):
    with open(path, "r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(first)
""",
    )


@hostile("05", "changes the environment, the working directory, standard output, the path of imports")
def changes_its_process(notebook):
    notebook.before(
        "quantize",
        """
import os, sys

os.environ.clear()
os.environ["PATH"] = os.environ["PYTHONPATH"] = os.environ["HOME"] = "/nowhere"
os.makedirs("below", exist_ok=True)
os.chdir("below")
os.rmdir("../below")
sys.stdout = sys.stderr = open(os.devnull, "w")
sys.path.clear()
sys.argv[:] = ["grade", "everything"]
""",
    )
    notebook.before(
        "dequantize",
        """
import resource, signal

for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
sys.excepthook = sys.unraisablehook = lambda *rest: os._exit(1)
sys.settrace(None)
resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
""",
    )


@hostile("05", "closes the files that its process has open", remark="ended its process")
def closes_files(notebook):
    notebook.before(
        "dequantize",
        "import os\n\nos.closerange(0, 64)",
    )


@hostile("05", "answers that are huge, endless, deep, of NaN, or hold themselves", points="0000000011")
def odd_answers(notebook):
    answers = {
        "round_half_away": "'x' * 10**9",
        "scale_and_zero_point": "itertools.count(), itertools.count()",
        "quantize": "np.broadcast_to(np.int8(0), (10**9,))",
        "dequantize": "functools.reduce(lambda inner, _: [inner], range(10**5), 0)",
        "quantize_weights": "endless, endless",
        "quantize_bias": "np.full(b.shape, np.nan)",
        "dense": "np.empty((2, 3), object)",
        "multiplier_and_shift": "10**20000, -(10**20000)",
    }
    imports = "import functools, itertools\n\nendless = []\nendless.append(endless)"
    others_call(notebook, "round_half_away", "rounded")
    others_call(notebook, "multiplier_and_shift", "factors")
    notebook.after_imports(imports)
    for task, answer in answers.items():
        notebook.define(task, f"def {task}(b=None, *rest):\n    return {answer}")
