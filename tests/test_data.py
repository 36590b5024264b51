"""The embedded data set, and a cache that survives whatever happens to it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tinylab import data
from tinylab.data import cache
from tinylab.data.fashion_mnist import make
from tinylab.errors import DataError

from .conftest import long, slow

NAME = "tinylab_fashion_mnist"
LOAD = f"""
import tinylab.data, tensorflow_datasets as tfds
train, test = tfds.load("{NAME}", split=["train", "test"], batch_size=-1)
print(len(train["label"]), len(test["label"]), int(train["image"].numpy().sum()))
"""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A cache that holds the data set; tests copy it, and none writes to it."""
    root = tmp_path_factory.mktemp("prepared")
    tfds.builder(NAME, data_dir=root).download_and_prepare()
    return root


@pytest.fixture
def cached(prepared, tmp_path):
    """A copy of that cache, to be damaged."""
    return shutil.copytree(prepared, tmp_path / "cache")


def folder(root):
    return root / NAME / "1.0.0"


def load(root, split="test"):
    """One split in full, as arrays."""
    images, labels = tfds.load(NAME, split=split, data_dir=root, as_supervised=True, batch_size=-1)
    return images.numpy(), labels.numpy()


def is_right(root):
    return all(
        np.array_equal(a, b) for a, b in zip(load(root), data.arrays("fashion_mnist", "test"), strict=True)
    )


def expected_output():
    images, labels = data.arrays("fashion_mnist", "train")
    return f"{len(labels)} 2000 {images.sum()}".split()


# What is in it


@pytest.mark.parametrize(("split", "count"), [("train", 10_000), ("test", 2_000)])
def test_arrays_have_their_shapes_and_types(split, count):
    images, labels = data.arrays("fashion_mnist", split)
    assert (images.shape, images.dtype) == ((count, 28, 28, 1), np.uint8)
    assert (labels.shape, labels.dtype) == ((count,), np.int64)
    assert (images.min(), images.max()) == (0, 255)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_ten_images_hold_each_class_once(split):
    _, labels = data.arrays("fashion_mnist", split)
    assert (np.sort(labels.reshape(-1, 10), axis=1) == np.arange(10)).all()


def test_no_test_image_is_a_training_image():
    train, test = (
        {image.tobytes() for image in data.arrays("fashion_mnist", s)[0]} for s in ("train", "test")
    )
    assert not train & test


@pytest.mark.parametrize(("dataset", "split"), [("mnist", "train"), ("fashion_mnist", "validation")])
def test_unknown_data_are_refused(dataset, split):
    with pytest.raises(DataError, match="there is 'fashion_mnist'"):
        data.arrays(dataset, split)


@pytest.mark.parametrize("content", [None, b"", b"no zip", "cut short"], ids=str)
def test_a_damaged_embedded_file_is_refused(content, monkeypatch, tmp_path):
    file = tmp_path / "fashion_mnist" / "fashion_mnist.npz"
    file.parent.mkdir()
    if content is not None:
        original = (Path(data.__file__).parent / "fashion_mnist" / file.name).read_bytes()
        file.write_bytes(original[: len(original) // 2] if content == "cut short" else content)
    monkeypatch.setattr(data, "files", lambda _: tmp_path)
    with pytest.raises(DataError, match="install tinylab again"):
        data.arrays("fashion_mnist", "test")


def test_tfds_gives_three_balanced_slices_equal_to_the_arrays(prepared):
    slices = ["train[:80%]", "train[80%:90%]", "train[90%:]"]
    loaded, info = tfds.load(NAME, split=slices, with_info=True, as_supervised=True, data_dir=prepared)
    images, labels = data.arrays("fashion_mnist", "train")
    begin = 0
    for dataset, count in zip(loaded, (8000, 1000, 1000), strict=True):
        pictures, classes = next(iter(dataset.batch(10_000).as_numpy_iterator()))
        assert (pictures.shape, pictures.dtype) == ((count, 28, 28, 1), np.uint8)
        assert np.bincount(classes).tolist() == [count // 10] * 10
        assert np.array_equal(pictures, images[begin : begin + count])
        assert np.array_equal(classes, labels[begin : begin + count])
        begin += count
    assert {name: split.num_examples for name, split in info.splits.items()} == {
        "train": 10_000,
        "test": 2_000,
    }
    assert info.features["label"].names[9] == "Ankle boot"


@pytest.mark.skipif(not make.SOURCE.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_the_embedded_file_is_made_from_the_original_again(monkeypatch, tmp_path):
    monkeypatch.setattr(make, "__file__", str(tmp_path / "make.py"))
    monkeypatch.setattr(sys, "argv", ["make"])
    make.main()
    with np.load(tmp_path / "fashion_mnist.npz") as again:
        for split in ("train", "test"):
            images, labels = data.arrays("fashion_mnist", split)
            assert np.array_equal(again[f"{split}_images"], images[..., 0])
            assert np.array_equal(again[f"{split}_labels"], labels)


# The cache


def test_a_second_load_reuses_what_the_first_prepared(cached):
    before = {file: file.stat().st_mtime_ns for file in folder(cached).iterdir()}
    assert is_right(cached)
    assert {file: file.stat().st_mtime_ns for file in folder(cached).iterdir()} == before


@pytest.mark.slow
def test_loading_needs_no_network(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert is_right(tmp_path)


def no_files(root):
    for file in folder(root).iterdir():
        file.unlink()


def record(root):
    return next(folder(root).glob("*test.tfrecord*"))


def truncated_record(root):
    os.truncate(record(root), record(root).stat().st_size // 2)


def missing_record(root):
    record(root).unlink()


def flipped_byte(root):
    content = bytearray(record(root).read_bytes())
    content[len(content) // 2] ^= 1
    record(root).write_bytes(content)


def corrupted_description(root):
    (folder(root) / "dataset_info.json").write_text("{")


def empty_description(root):
    (folder(root) / "dataset_info.json").write_text("")


def no_checksums(root):
    (folder(root) / cache.CHECKSUMS).unlink()


def leftover_of_a_killed_process(root):
    folder(root).rename(root / NAME / "incomplete.ABC123_1.0.0")  # as TFDS 4.9.10 calls it


DAMAGES = [flipped_byte]
MORE_DAMAGES = [
    truncated_record,
    corrupted_description,
    no_files,
    missing_record,
    empty_description,
    no_checksums,
    leftover_of_a_killed_process,
]


@pytest.mark.parametrize("damage", [*DAMAGES, *slow(*MORE_DAMAGES)])
def test_a_damaged_cache_is_repaired(cached, damage):
    damage(cached)
    assert is_right(cached)
    assert cache.is_intact(folder(cached))
    assert [path.name for path in (cached / NAME).iterdir()] == ["1.0.0"]


@pytest.mark.slow
def test_a_builder_that_was_made_before_the_damage_repairs_it_too(cached):
    builder = tfds.builder(NAME, data_dir=cached)
    flipped_byte(cached)
    builder.download_and_prepare()
    assert cache.is_intact(folder(cached))
    assert len(builder.as_dataset(split="test", batch_size=-1)["label"]) == 2000


def test_an_intact_cache_that_cannot_be_written_to_is_used(cached, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("nothing is to be prepared here")

    monkeypatch.setenv("TFDS_DATA_DIR", str(cached))
    monkeypatch.setattr(cache, "is_writable", lambda _: False)
    monkeypatch.setattr(cache.EmbeddedBuilder, "_prepare", refuse)
    assert is_right(None)


@pytest.fixture
def nowhere(tmp_path):
    """A path that not even root can make a folder at: below a file."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "below"


def places(monkeypatch, named, home, temporary):
    monkeypatch.setenv("TFDS_DATA_DIR", str(named))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))


@pytest.mark.slow
def test_a_home_that_cannot_be_written_to_gives_way_to_the_temporary_folder(monkeypatch, nowhere, tmp_path):
    places(monkeypatch, nowhere, nowhere, tmp_path)
    assert is_right(None)
    assert [cache.is_intact(folder(root)) for root in tmp_path.glob("tinylab-*")] == [True]


def test_the_named_folder_comes_before_the_home(monkeypatch, tmp_path):
    places(monkeypatch, tmp_path / "named", tmp_path / "home", tmp_path)
    first, second, third = cache.cache_roots()
    assert (first, second.is_relative_to(tmp_path / "home")) == (tmp_path / "named", True)
    assert third.parent == tmp_path


def test_when_nothing_can_be_written_to_the_folders_are_named(monkeypatch, nowhere):
    places(monkeypatch, nowhere, nowhere, nowhere)
    with pytest.raises(DataError, match="TFDS_DATA_DIR") as caught:
        load(None)
    assert all(str(root) in str(caught.value) for root in cache.cache_roots())


@pytest.mark.slow
def test_a_full_disk_is_explained_and_leaves_nothing_that_counts_as_intact(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(data.TinylabFashionMnist, "_generate_examples", full)
        with pytest.raises(DataError, match="make room"):
            load(tmp_path)
    assert is_right(tmp_path)


def test_a_process_that_waits_too_long_for_another_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "LOCK_SECONDS", 0.1)
    with data.TinylabFashionMnist._locked(tmp_path), pytest.raises(DataError, match="another process"):
        load(tmp_path)


# Whole processes


@pytest.mark.parametrize("damage", [*slow(None), *long(flipped_byte, leftover_of_a_killed_process)])
def test_processes_that_load_at_once_all_get_the_data(run_python, cached, damage, tmp_path):
    root = cached if damage else tmp_path / "empty"
    if damage:
        damage(root)
    processes = [run_python(LOAD, wait=False, TFDS_DATA_DIR=root) for _ in range(4)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (out.split(), process.returncode) == (expected_output(), 0), err
    assert cache.is_intact(folder(root))


@pytest.mark.long
def test_what_a_killed_process_leaves_behind_is_repaired(run_python, tmp_path):
    """Killed in the middle: from the first file in the cache on, a little later each time."""
    for delay in (0, 0.1, 0.3, 0.6, 1.0, 1.5):
        process = run_python(LOAD, wait=False, TFDS_DATA_DIR=tmp_path)
        while process.poll() is None and not (tmp_path / NAME).exists():
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert is_right(tmp_path)
        assert cache.is_intact(folder(tmp_path))
        shutil.rmtree(tmp_path / NAME)


@pytest.mark.slow
def test_a_fresh_home_gets_a_cache_of_its_own(run_python, tmp_path):
    for _ in range(2):
        assert run_python(LOAD).split() == expected_output()
    checksums = list((tmp_path / "home").rglob(cache.CHECKSUMS))
    assert len(checksums) == 1
    assert set(json.loads(checksums[0].read_text())) >= {"dataset_info.json", "features.json"}


def can_leave_the_network():
    try:
        return subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(
    not can_leave_the_network(), reason="this machine does not let a process leave the network"
)
def test_a_process_without_a_network_loads_the_data(run_python):
    assert run_python(LOAD, prefix=["unshare", "-rn"]).split() == expected_output()
