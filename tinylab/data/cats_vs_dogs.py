"""TFDS's cats_vs_dogs: whether it is here, and how to get it without leaving half of it behind."""

import os
import shutil
import threading
from pathlib import Path

import filelock
import requests
from tensorflow_datasets.image_classification import cats_vs_dogs as original

from tinylab.data.cache import tfds
from tinylab.errors import DataError
from tinylab.quiet import quiet

NAME = "cats_vs_dogs"
VERSION = str(original.CatsVsDogs.VERSION)
# The archive, 0.8 GB, and twice the 0.7 GB made of it: TFDS writes them once to shuffle, once for good
ROOM = 2_500_000_000
ANSWER_SECONDS = 15
RECORD_OVERHEAD = 16  # bytes that the TFRecord format adds to a record: its length and two checksums


def data_root() -> Path:
    """The folder that TFDS keeps its data sets in."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def is_prepared() -> bool:
    """Whether TFDS has the data set here, with no file missing or cut short. Asks no network."""
    folder = data_root() / NAME / VERSION
    if not (folder / "dataset_info.json").is_file():
        return False
    try:
        with quiet():
            split = tfds.builder_from_directory(folder).info.splits["train"]
        written = sum(os.path.getsize(file) for file in split.filepaths)
    except Exception:  # whatever a damaged description makes TFDS and its JSON and protobuf parsers raise
        return False
    return split.num_examples > 0 and written == split.num_bytes + RECORD_OVERHEAD * split.num_examples


def prepare() -> Path:
    """Download the data set and write it as TFDS wants it, unless it is here; returns TFDS's folder.

    The work is done in a folder beside it, which is removed whatever happens; the result is moved to its
    place in one step.

    Raises:
        DataError: no network, a dead link, too little room, or another process that is at it.
    """
    root = data_root()
    if is_prepared():
        return root
    _reach(original._URL)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(root).free < ROOM:
            raise DataError(
                f"cats_vs_dogs needs {ROOM / 1e9:.1f} GB free in {root} while it is prepared: make room, set "
                "TFDS_DATA_DIR to another folder, or use the embedded pictures, load('photographs')."
            )
        with filelock.FileLock(root / f"{NAME}.lock", timeout=0):
            _download(root)
    except filelock.Timeout:
        raise DataError(
            f"another process is downloading cats_vs_dogs to {root}: wait for it, or restart its kernel."
        ) from None
    except DataError:
        raise
    except Exception as error:  # of TFDS, requests, zipfile, TensorFlow, the system: it did not work
        raise _failed(error) from None
    return root


def _download(root: Path) -> None:
    workshop, target = root / f"{NAME}.download", root / NAME / VERSION
    shutil.rmtree(workshop, ignore_errors=True)  # left behind by a process that was killed
    try:
        tfds.builder(NAME, data_dir=workshop).download_and_prepare(download_dir=workshop / "downloads")
        shutil.rmtree(target, ignore_errors=True)  # if it is there, it is damaged
        target.parent.mkdir(exist_ok=True)
        os.replace(workshop / NAME / VERSION, target)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _failed(error: Exception) -> DataError:
    lines = str(error).strip().splitlines() or [""]
    return DataError(
        f"cats_vs_dogs could not be prepared in {data_root()} ({type(error).__name__}: {lines[0][:200]}). "
        "Nothing of it was kept. Try again, or use the embedded pictures, load('photographs')."
    )


def _reach(url: str) -> None:
    """Ask a server for a file without fetching it, in a thread, as looking up its name can hang too."""
    answers = []

    def ask() -> None:
        try:
            with requests.get(url, stream=True, timeout=ANSWER_SECONDS) as response:
                answers.append("" if response.ok else f"it answers {response.status_code} {response.reason}")
        except requests.RequestException as error:
            answers.append(type(error).__name__)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    problem = answers[0] if answers else f"no answer within {ANSWER_SECONDS} s"
    if problem:
        raise DataError(
            f"cats_vs_dogs has to be downloaded, and {url} cannot be reached ({problem}). Go online and try "
            "again, or use the embedded pictures, load('photographs'), or a folder of your own."
        )
