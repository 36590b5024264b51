"""What goes wrong on learners' machines, made to go wrong: one sentence, nothing half done, and on it goes.

Where a module has its own faults, its own tests have them too: test_data (the cache), test_pictures
(downloads), test_record, test_micro, test_search, test_gradebook, test_release, test_bootstrap, test_doctor.
"""

import contextlib
import json
import logging
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nbformat
import numpy as np
import pytest

from tinylab import authoring, cli, whole_file
from tinylab.errors import TinylabError
from tinylab.quiet import quiet
from tinylab.sections import sections

from .conftest import long, slow

ROOT = authoring.ROOT
TIMEOUT = 240  # seconds for a process, on a machine that is very busy


def able(*command):
    """Whether the system lets this user run a command."""
    return bool(shutil.which(command[0])) and not subprocess.run(command, capture_output=True).returncode


def python(code, folder, *prefix, path=None, **environment):
    """Output and errors of a piece of Python in a process with a home and a temporary folder of its own."""
    for name in ("home", "temporary"):
        (folder / name).mkdir(exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if k not in ("TFDS_DATA_DIR", "XDG_CACHE_HOME")}
    own = {"HOME": folder / "home", "TMPDIR": folder / "temporary", **environment}
    return subprocess.run(
        [*prefix, sys.executable, "-c", code],
        env=kept | {name: str(value) for name, value in own.items()},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def is_one_sentence(err):
    return err.startswith("tinylab: ") and err.count("\n") == 1 and err.endswith(".\n")


# No network

# The kernel counts what it could send nowhere: names that were looked up, connections that were asked for,
# by this process, its children, and the C++ in them.
OFFLINE = """
import json, sys
from pathlib import Path

def asked():
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines()[:2])
    return int(values[names.index("OutNoRoutes")])

before = asked()
import numpy as np, tensorflow_datasets as tfds
from tinylab import arena, boards, cli, data, models, qat, runners
from tinylab.conversion import Recipe, convert
from tinylab.data import pictures

for name in ("tinylab_fashion_mnist", "tinylab_photographs"):
    tfds.load(name, split="train")
pictures.load()
data.arrays("motion", "train")
images = data.arrays("fashion_mnist", "test")[0][:50].astype(np.float32) / 255
model = models.trained("small_cnn")
content = convert(model, Recipe.INT8, images)
models.mobilenet_v2()
Path("int8.tflite").write_bytes(content)
np.save("x.npy", images)
np.savez("data.npz", x=images, labels=np.zeros(50, int))
qat.train(qat.quantization_aware(model, images), images, np.zeros(50, int), epochs=1)
engines = ["litert", "integer"]
if runners.micro.available():
    engines.append("micro")
    arena.measure(content)
codes = [
    cli.main(command.split())
    for command in (
        "inspect int8.tflite", "compare int8.tflite --data data.npz", "c-array int8.tflite -o c", "progress",
        "classroom release 05 -o out",
        *(f"run int8.tflite --engine {engine} --input x.npy --output y.npy" for engine in engines),
    )
]
offline = asked() - before
cli.main(["doctor"])
print(json.dumps([codes, offline, asked() - before]), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(not able("unshare", "-rn", "true"), reason="no process can leave the network here")
def test_nothing_asks_for_a_network_but_the_doctor(tmp_path):
    ran = python(OFFLINE, tmp_path, "unshare", "-rn", COLUMNS=200)
    codes, offline, with_doctor = json.loads(ran.stderr.splitlines()[-1])
    assert set(codes) == {0}
    assert offline == 0
    assert with_doctor > 0
    assert "cannot be reached" in ran.stdout


# A full disk, and a home that can only be read

# Small disks of their own, in a mount namespace of their own.
SMALL_DISKS = """
mount -t tmpfs -o size=16m none "$DISK" && mount -t tmpfs none "$HOME" && mount -o remount,ro none "$HOME" &&
mount -t tmpfs none "$WEIGHTS" && cp "$KEPT"/* "$WEIGHTS" && mount -o remount,size=300k none "$WEIGHTS" &&
exec "$@"
"""
FULL = """
import contextlib, io, json, os, sys, tempfile
from pathlib import Path

from tinylab import cli, record

disk, work = Path(os.environ["DISK"]), Path(os.environ["WORK"])
found = {}

def free(folder):
    return os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize

def fill(room, folder=disk):
    (folder / "ballast").unlink(missing_ok=True)
    with open(folder / "ballast", "wb", buffering=0) as file:
        while free(folder) > room:
            file.write(bytes(min(free(folder) - room, 2**20)))

def content(folder=disk):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path), hash(path.read_bytes())) for path in files if not path.name.endswith(".lock")]

def attempt(name, call, folder=disk):
    before, room, err = content(folder), free(folder), io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        try:
            answer = call()
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
    lost = room - free(folder)
    found[name] = {"answer": answer, "err": err.getvalue(), "intact": content(folder) == before, "lost": lost}

def command(text):
    return lambda: cli.main([word.format(disk=disk, work=work) for word in text.split()])

(disk / "old.npy").write_text("old")
(disk / "old.tflite").write_text("old")
os.environ["TINYLAB_PROGRESS"] = str(disk / "progress.json")
record.keep("05", "quantize", True)
fill(8192)
attempt("convert", command("convert {work}/saved -o {disk}/old.tflite"))
attempt("run", command("run {work}/int8.tflite --input {work}/x.npy --output {disk}/old.npy"))
attempt("c-array", command("c-array {work}/int8.tflite -o {disk}"))
attempt("release", command("classroom release 05 -o {disk}/out"))
attempt("grade", command("grade {work}/handed_in -o {disk}/grades"))
fill(0)
attempt("grade with no room at all", command("grade {work}/handed_in -o {disk}/new_grades"))
attempt("record", lambda: [record.keep("05", "dense", True), record.read().note][1])
known = record.read().states["05_quantization_arithmetic"]
found["record"]["kept"] = [task for task, state in known.items() if state == "done"]

import tensorflow_datasets as tfds
import tinylab.data
from tinylab import models
from tinylab.models import train

for room in (0, 1, 4):
    fill(room * 2**20)
    attempt(f"cache, {room} MB", lambda: tfds.load("tinylab_fashion_mnist", data_dir=disk / "cache"))
(disk / "ballast").unlink()
found["cache after making room"] = len(tfds.load("tinylab_fashion_mnist", data_dir=disk / "cache"))

weights = Path(models.__file__).parent / "weights"
train.train = lambda name: (models.trained(name), 0.9)  # as if trained: what is tried here is the writing
sys.argv = ["train", "small_cnn"]
fill(0, weights)
attempt("models.train", train.main, weights)

os.environ.pop("TINYLAB_PROGRESS")
attempt("record, read-only home", lambda: record.read().note)
tfds.load("tinylab_fashion_mnist")
found["cache, read-only home"] = [path.name for path in Path(tempfile.gettempdir()).glob("tinylab-*")]
print(json.dumps(found), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def small_disks(tmp_path_factory, cnn, cnn_files, fashion):
    """What came of everything that writes files, on disks that were full, or could only be read."""
    if not able("unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"):
        pytest.skip("no process can have disks of its own here")
    folder = tmp_path_factory.mktemp("small_disks")
    for name in ("disk", "home", "work/handed_in", "kept"):
        (folder / name).mkdir(parents=True)
    work, weights = folder / "work", ROOT / "tinylab" / "models" / "weights"
    cnn.export(work / "saved")
    (work / "int8.tflite").write_bytes(cnn_files["int8"])
    np.save(work / "x.npy", fashion[0])
    shutil.copy(ROOT / "exercises" / "05_quantization_arithmetic.ipynb", work / "handed_in")
    shutil.copytree(weights, folder / "kept", dirs_exist_ok=True)
    places = {"DISK": folder / "disk", "WORK": work, "WEIGHTS": weights, "KEPT": folder / "kept"}
    places["MPLCONFIGDIR"] = folder / "kept"  # Matplotlib says something where it finds no place for its own
    ran = python(FULL, folder, "unshare", "-rm", "sh", "-c", SMALL_DISKS, "sh", **places)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stderr.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("command", ["convert", "run", "c-array", "release"])
def test_on_a_full_disk_a_command_fails_in_one_sentence_and_leaves_everything_as_it_was(small_disks, command):
    found = small_disks[command]
    assert found["answer"] == 1
    assert is_one_sentence(found["err"])
    assert "No space left on device" in found["err"]
    assert (found["intact"], found["lost"]) == (True, 0)


@pytest.mark.slow
def test_grading_on_a_full_disk_says_so_and_keeps_whole_files_only(small_disks):
    for name in ("grade", "grade with no room at all"):
        found = small_disks[name]
        assert found["answer"] == 1
        last = found["err"].splitlines(keepends=True)[-1]
        assert is_one_sentence(last)
        assert "No space left on device" in last
    assert small_disks["grade with no room at all"]["intact"]


@pytest.mark.slow
def test_on_a_full_disk_the_record_keeps_what_it_has_and_says_that_nothing_more_is_kept(small_disks):
    found = small_disks["record"]
    assert found["answer"].startswith("Nothing is kept: ")
    assert "No space left on device" in found["answer"]
    assert (found["kept"], found["intact"], found["err"]) == (["quantize"], True, "")


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 1, 4])
def test_a_cache_that_does_not_fit_is_explained_and_removed(small_disks, room):
    found = small_disks[f"cache, {room} MB"]
    assert found["answer"].startswith("DataError: could not prepare tinylab_fashion_mnist in ")
    assert "make room there" in found["answer"]
    assert (found["intact"], found["lost"]) == (True, 0)
    assert small_disks["cache after making room"] == 2


@pytest.mark.slow
def test_weights_that_do_not_fit_leave_the_earlier_ones(small_disks):
    found = small_disks["models.train"]
    assert found["answer"].startswith("TinylabError: cannot write ")
    assert "No space left on device" in found["answer"]
    assert found["intact"]


@pytest.mark.slow
def test_a_home_that_can_only_be_read_is_no_hindrance(small_disks):
    note = small_disks["record, read-only home"]["answer"]
    assert note.startswith("Nothing is kept: ")
    assert "Read-only file system" in note
    assert len(small_disks["cache, read-only home"]) == 1


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(file)
    whole_file.write(link, b"first")
    assert (file.read_bytes(), link.is_symlink()) == (b"first", True)

    def interrupted(file):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            whole_file.write(file, b"second")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
    assert file.read_bytes() == b"first"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    whole_file.write(pipe, b"through the pipe")
    assert reader.communicate(timeout=30)[0] == b"through the pipe"
    assert pipe.is_fifo()


def test_a_folder_or_what_lies_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(TinylabError, match=f"cannot write {place}: "):
            whole_file.write(place, b"")


def test_without_a_folder_for_temporary_files_it_is_said_what_to_do(tmp_path):
    code = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/proc']; import tinylab._tensorflow"
    ran = python(code, tmp_path)
    assert "TinylabError: no temporary file can be made" in ran.stderr
    assert "set TMPDIR" in ran.stderr


# A cache that was damaged, at random

LOAD = """
import os
import tensorflow_datasets as tfds, tinylab.data
if os.environ.get("USER_ID"):
    os.seteuid(int(os.environ["USER_ID"]))
try:
    print(len(tfds.load("tinylab_fashion_mnist", split="test")))
except tinylab.errors.DataError as error:
    print("DataError:", error)
"""


def cut_short(file, rng):
    os.truncate(file, rng.randrange(file.stat().st_size))


def garbage(file, rng):
    file.write_bytes(rng.randbytes(rng.randrange(1, 2 * file.stat().st_size)))


def a_few_bytes(file, rng):
    content = bytearray(file.read_bytes())
    for place in rng.choices(range(len(content)), k=3):
        content[place] ^= rng.randrange(1, 256)
    file.write_bytes(content)


def a_folder_for_a_file(file, rng):
    file.unlink()
    file.mkdir()


DAMAGES = [cut_short, garbage, a_few_bytes, a_folder_for_a_file]


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory):
    """A cache with the data set in it."""
    import tensorflow_datasets as tfds

    import tinylab.data  # noqa: F401

    root = tmp_path_factory.mktemp("cache")
    tfds.builder("tinylab_fashion_mnist", data_dir=root).download_and_prepare()
    return root


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("seed", [*slow(0), *long(1, 2, 3, 4, 5)])
def test_damage_at_a_random_place_is_noticed_and_mended(cache_folder, tmp_path, damage, seed):
    import tensorflow_datasets as tfds

    from tinylab.data import cache

    root = shutil.copytree(cache_folder, tmp_path / "cache")
    rng = random.Random(f"{damage.__name__} {seed}")
    folder = root / "tinylab_fashion_mnist" / "1.0.0"
    damage(rng.choice(sorted(folder.iterdir())), rng)
    assert not cache.is_intact(folder)
    assert len(tfds.load("tinylab_fashion_mnist", split="test", data_dir=root)) == 2000
    assert cache.is_intact(folder)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["not read", "read only"])
def test_a_cache_of_somebody_else_that_is_of_no_use_is_explained(cache_folder, mode):
    """Whoever is not root is somebody else already if nothing is allowed to them, either."""
    with tempfile.TemporaryDirectory() as place:  # one that other users may enter, too
        root = shutil.copytree(cache_folder, Path(place, "cache"))
        theirs = root / "tinylab_fashion_mnist"
        (theirs / "1.0.0" / "features.json").write_text("{")
        (Path(place) / "temporary").mkdir()
        for folder in (Path(place), Path(place) / "temporary", root):
            folder.chmod(0o777)
        (root / "tinylab_fashion_mnist.lock").chmod(0o666)
        am_root = os.geteuid() == 0
        for folder in (theirs / "1.0.0", theirs):
            folder.chmod(mode if am_root else mode & 0o055)
        ran = python(LOAD, Path(place), TFDS_DATA_DIR=root, USER_ID=65534 if am_root else "")
        theirs.chmod(0o755), (theirs / "1.0.0").chmod(0o755)
    assert ran.stdout.startswith("DataError: "), ran.stderr
    assert f"tinylab_fashion_mnist in {root}" in ran.stdout
    assert "set TFDS_DATA_DIR to another folder" in ran.stdout


# Interrupted cells

BEGIN = '''
import logging, os, tempfile, warnings
import numpy as np, psutil, tensorflow_datasets as tfds, tf_keras as keras, threadpoolctl
import tinylab.data
from tinylab import data, models, qat, runners
from tinylab.conversion import Recipe, convert
from tinylab.runners import micro

images, labels = data.arrays("fashion_mnist", "test")
images = images.astype(np.float32) / 255
model = models.trained("small_cnn")
content = convert(model, Recipe.INT8, images[:100])
engine = runners.load(content, engine="integer")
default = runners.load(content)
chip = runners.load(content, engine="micro") if micro.available() else engine
expected = [runner.predict(images[:20]) for runner in (engine, default, chip)]

def ordinary(name):
    """A temporary file that TensorFlow or TFDS leaves behind whenever it is used."""
    return name.startswith("__autograph_generated_file") or name.endswith("tfds")

def state():
    """Of what a function may change for a while: file descriptor 2, loggers, warnings, threads, ..."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    return {
        "stderr": os.fstat(2).st_ino,
        "loggers": [(logger.level, logger.disabled) for logger in loggers],
        "warnings": warnings.filters[:],
        "threads": [pool["num_threads"] for pool in threadpoolctl.threadpool_info()],
        "children": len(psutil.Process().children()),
        "files": [name for name in os.listdir(tempfile.gettempdir()) if not ordinary(name)],
    }

before = state()
'''
# What is interrupted while it goes on, and what has to hold afterwards.
INTERRUPTED = {
    "training": (
        "network.fit(images, labels, epochs=100, verbose=0)",
        "network.predict(images[:1], verbose=0).shape == (1, 10)",
    ),
    "conversion": (
        "convert(model, Recipe.FLOAT32)",
        "convert(model, Recipe.INT8, images[:100]) == content",
    ),
    "calibration": (
        "convert(model, Recipe.INT8, images)",
        "convert(model, Recipe.INT8, images[:100]) == content",
    ),
    "quantization-aware training": (
        "qat.train(qat.quantization_aware(model, images[:100], weight_bits=4), images, labels)",
        "len(qat.convert(qat.quantization_aware(model, images[:100]), images[:100])) > 30_000",
    ),
    "integer engine": ("engine.predict(images)", "np.array_equal(engine.predict(images[:20]), expected[0])"),
    "LiteRT": (
        "default.predict(images[:1]); default.predict(images[:2])",
        "np.array_equal(default.predict(images[:20]), expected[1])",
    ),
    "microcontroller's process": (
        "chip.predict(images)",
        "np.array_equal(chip.predict(images[:20]), expected[2])",
    ),
    "preparing the cache": (
        "shutil.rmtree('cache', ignore_errors=True); tfds.load('tinylab_fashion_mnist', data_dir='cache')",
        "len(tfds.load('tinylab_fashion_mnist', data_dir='cache')) == 2"
        " and os.listdir('cache/tinylab_fashion_mnist') == ['1.0.0']",
    ),
}


class Kernel:
    """A kernel as a notebook has it, in a folder of its own."""

    def __init__(self, folder):
        from jupyter_client import KernelManager

        self.manager = KernelManager(kernel_name="python3")
        (folder / "temporary").mkdir()
        own = {"TMPDIR": str(folder / "temporary"), "TQDM_DISABLE": "1"}
        self.manager.start_kernel(cwd=str(folder), env={**os.environ, **own})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIMEOUT)

    def run(self, code, interrupt_after=None):
        """What a cell wrote, by stream; the text of its value; the name of its error.

        Interrupted so many seconds after its first output, and again as long as that is not heeded, which
        Python does not do in a callback of the garbage collector.
        """
        cell, told, at = self.client.execute(code), {"stdout": "", "stderr": ""}, None
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            if at is not None and time.monotonic() >= at:
                self.manager.interrupt_kernel()
                at = time.monotonic() + 10
            try:
                message = self.client.get_iopub_msg(timeout=0.05)
            except queue.Empty:
                continue
            content = message["content"]
            if message["parent_header"].get("msg_id") != cell:
                continue
            if message["msg_type"] == "stream":
                told[content["name"]] += content["text"]
                if interrupt_after is not None and at is None:
                    at = time.monotonic() + interrupt_after
            elif message["msg_type"] == "execute_result":
                told["value"] = content["data"]["text/plain"]
            elif message["msg_type"] == "error":
                told["error"] = content["ename"]
            elif content.get("execution_state") == "idle":
                return told
        raise TimeoutError(code)

    def end(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A kernel in which everything is ready to be interrupted."""
    made = Kernel(tmp_path_factory.mktemp("kernel"))
    try:
        assert "error" not in made.run("import shutil\n" + BEGIN)
        yield made
    finally:
        made.end()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, *long(1.2)])
@pytest.mark.parametrize("what", INTERRUPTED)
def test_after_an_interrupted_cell_the_next_ones_are_right(kernel, what, seconds):
    goes_on, holds = INTERRUPTED[what]
    if what == "training":
        kernel.run("network = models.small_cnn(); network.compile('adam', 'sparse_categorical_crossentropy')")
    told = kernel.run(f"print('begin', flush=True)\nwhile True: {goes_on}", interrupt_after=seconds)
    assert "error" in told or "KeyboardInterrupt" in told["stderr"]  # or what a library makes of it
    assert kernel.run(holds).get("value") == "True"
    changed = kernel.run("[name for name, value in state().items() if value != before[name]]")
    assert changed["value"] == "[]"


def interrupted(function, position):
    """Call a function, interrupted before one of its instructions: the error, or None if it has fewer."""
    traced = (quiet.__wrapped__.__code__.co_filename, contextlib.__file__, warnings.__file__, __file__)
    left = position

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename not in traced:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 wants it of some frame before it traces any
    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt as error:
        return error  # which keeps everything alive that it came through, as IPython's last error does
    finally:
        sys.settrace(before)
    return None


@pytest.fixture
def interruptible():
    """As a kernel is; what a shell starts in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_wherever_an_interruption_comes_what_was_muted_is_so_no_longer(interruptible):
    def muted():
        with quiet(), quiet(), warnings.catch_warnings():
            pass

    def state():
        found = [(logger.level, logger.disabled) for logger in map(logging.getLogger, ("tensorflow", "absl"))]
        return found, os.fstat(2).st_ino, warnings.filters[:], signal.getsignal(signal.SIGINT)

    before, position = state(), 0
    while last := interrupted(muted, position):
        assert state() == before, f"interrupted at instruction {position}"
        position += 1
        del last
        assert state() == before, f"interrupted at instruction {position - 1}, once the error is forgotten"
    assert position > 300


# A restarted kernel, and a section in the middle

SAMPLE = [
    ("05_quantization_arithmetic", "M without a float"),
    pytest.param("03_int8_representative_data", "Per-tensor and per-channel", marks=pytest.mark.long),
    pytest.param("06_integer_only_inference", "What 8 bits save: energy", marks=pytest.mark.long),
    pytest.param("09_microcontroller", "And how long does it take?", marks=pytest.mark.long),
]


@pytest.mark.slow
@pytest.mark.parametrize(("lesson", "heading"), SAMPLE)
def test_what_a_section_says_that_it_builds_on_is_enough_to_run_it(tmp_path, lesson, heading):
    from nbclient import NotebookClient

    found = sections(authoring.read(ROOT / "notebooks" / f"{lesson}.ipynb"))
    wanted = [next(section for section in found if section.heading == heading)]
    for section in wanted:  # grows while it is gone through
        wanted += [needed for needed in section.builds_on if needed not in wanted]
    assert len(wanted) + 1 < len(found) - 1, "take a section that does not build on everything"
    cells = [
        nbformat.v4.new_code_cell(section.code)
        for section in found
        if section in wanted or not section.heading
    ]
    NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=TIMEOUT).execute(cwd=str(tmp_path))


# Old, foreign and missing packages

OLD = """
import tensorflow
tensorflow.__version__ = "2.15.1"
from tinylab import cli
codes = [cli.main(["convert", "saved", "-o", "x.tflite"]), cli.main(["doctor", "--json"])]
assert codes == [1, 1]
"""


@pytest.mark.slow
def test_an_old_tensorflow_is_told_by_the_command_line_and_by_the_doctor(tmp_path):
    ran = python(OLD, tmp_path)
    assert ran.returncode == 0, ran.stderr
    last = ran.stderr.splitlines(keepends=True)[-1]
    assert is_one_sentence(last)
    assert "TensorFlow 2.15.1 is too old: tinylab needs 2.18 or newer" in last
    [kernels] = [found for found in json.loads(ran.stdout) if found["what"] == "LiteRT kernels"]
    assert "TensorFlow 2.15.1 is too old" in kernels["advice"]


MISSING = """
import sys
sys.modules["{package}"] = None
from tinylab import cli
sys.exit(cli.main("{command}".split()))
"""


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("tensorflow", "convert saved -o x.tflite"),
        pytest.param("tf_keras", "convert saved -o x.tflite", marks=pytest.mark.slow),
        pytest.param("ai_edge_litert", "run x.tflite --input x.npy --output y.npy", marks=pytest.mark.slow),
    ],
)
def test_a_missing_package_is_one_sentence_on_the_command_line(tmp_path, package, command):
    ran = python(MISSING.format(package=package, command=command), tmp_path)
    last = ran.stderr.splitlines(keepends=True)[-1]
    assert (ran.returncode, is_one_sentence(last)) == (1, True), ran.stderr
    assert package in last
    assert "`tinylab doctor` says what to install" in last


# Whichever Keras was there first, and whatever TensorFlow was told to call its own.
FOREIGN = """
import keras as keras_3
import tensorflow as tf
_ = tf.keras.layers.Dense
import numpy as np
from tinylab import errors, models, qat
from tinylab.conversion import Recipe, convert

images = np.random.default_rng(0).random((50, 28, 28, 1), np.float32)
network = models.trained("small_cnn")
modern = keras_3.Sequential([keras_3.Input((28, 28, 1)), keras_3.layers.Flatten(), keras_3.layers.Dense(4)])
theirs = tf.keras.Sequential([tf.keras.layers.InputLayer((3,)), tf.keras.layers.Dense(2)])
for model, recipe in ((network, Recipe.INT8), (modern, Recipe.INT8), (theirs, Recipe.FLOAT32)):
    convert(model, recipe, images if recipe is Recipe.INT8 else None)
print(type(theirs).__module__, type(qat.quantization_aware(network, images)).__module__)
try:
    qat.quantization_aware(modern, images)
except errors.TinylabError as error:
    print(error)
"""


@pytest.mark.parametrize("legacy", [*slow(""), *long("1")])
def test_any_keras_may_have_been_imported_first(tmp_path, legacy):
    ran = python(FOREIGN, tmp_path, TF_USE_LEGACY_KERAS=legacy)
    assert ran.returncode == 0, ran.stderr
    modules, message = ran.stdout.splitlines()[-2:]
    theirs, ours = modules.split()
    assert theirs.startswith("tf_keras." if legacy else "keras.")
    assert ours.startswith("tf_keras.")
    assert message.startswith("a tf_keras (Keras 2) model expected, not keras.")
    assert "import tf_keras as keras" in message


# Neither TensorFlow Lite Micro nor a compiler


@pytest.mark.long
def test_lesson_09_runs_without_a_compiler_and_without_tensorflow_lite_micro(tmp_path):
    from nbclient import NotebookClient

    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['tflite_micro'] = None\n")
    lesson = authoring.read(ROOT / "notebooks" / "09_microcontroller.ipynb")
    client = NotebookClient(lesson, timeout=TIMEOUT)
    environment = {**os.environ, "PATH": "", "PYTHONPATH": str(tmp_path), "TQDM_DISABLE": "1"}
    client.execute(cwd=str(tmp_path), env=environment)
    printed = "".join(
        output.text
        for cell in lesson.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream"
    )
    assert "not here: the cells that ask it stay empty" in printed
    assert "There is no C++ compiler on this machine" in printed


def test_without_tensorflow_lite_micro_the_commands_say_so(monkeypatch, dense_files, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    (tmp_path / "int8.tflite").write_bytes(dense_files["int8"])
    np.save(tmp_path / "x.npy", np.zeros((1, 3), np.float32))
    monkeypatch.chdir(tmp_path)
    for command in ("arena int8.tflite", "run int8.tflite --engine micro --input x.npy --output y.npy"):
        assert cli.main(command.split()) == 1
        err = capsys.readouterr().err
        assert is_one_sentence(err)
        assert "tflite-micro" in err
    assert not Path("y.npy").exists()
