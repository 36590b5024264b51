"""What several test files use. TensorFlow is imported by the fixtures that need it, not by this file."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest


def slow(*values):
    """Values of a parameter for `make test` only."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def long(*values):
    """Values of a parameter for `make long` only."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]


@pytest.fixture(autouse=True)
def _the_same_first_weights():
    """Keras draws them: what fails once, fails again."""
    if "tf_keras" in sys.modules:
        sys.modules["tf_keras"].utils.set_random_seed(0)


@pytest.fixture(scope="session")
def cnn():
    from tinylab import models

    return models.trained("small_cnn")


@pytest.fixture(scope="session")
def fashion():
    """The 2,000 test images as the network takes them, and their labels."""
    from tinylab import data

    images, labels = data.arrays("fashion_mnist", "test")
    return images.astype(np.float32) / 255, labels


@pytest.fixture(scope="session")
def cnn_files(cnn, fashion):
    """The trained network, converted by every recipe: bytes by the recipe's name."""
    from tinylab.conversion import Recipe, convert

    return {recipe.value: convert(cnn, recipe, fashion[0][:100]) for recipe in Recipe}


@pytest.fixture(scope="session")
def dense_files():
    """A small network with 3 inputs and 2 outputs, converted by every recipe: bytes by the recipe's name."""
    from tinylab._tensorflow import keras
    from tinylab.conversion import Recipe, convert

    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(4, "relu", input_shape=(3,), name="dense"),
        keras.layers.Dense(2, name="dense_1"),
    ]
    x = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    return {recipe.value: convert(keras.Sequential(layers), recipe, x) for recipe in Recipe}


def _hears_ctrl_c():
    """A shell's background jobs, which tests may be, are deaf to it, and so would be all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def run_python(tmp_path):
    """Run a piece of Python in a process of its own, with a home and a temporary folder of its own."""

    def run(code: str, prefix=(), wait=True, **environment):
        home, temporary = tmp_path / "home", tmp_path / "temporary"
        home.mkdir(exist_ok=True)
        temporary.mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if k not in ("TFDS_DATA_DIR", "XDG_CACHE_HOME")}
        own = {"HOME": str(home), "TMPDIR": str(temporary), **{k: str(v) for k, v in environment.items()}}
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", code],
            env=kept | own,
            preexec_fn=_hears_ctrl_c,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not wait:
            return process
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out

    return run


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A Dask scheduler and two workers; workers that are killed come back."""
    pytest.importorskip("distributed")
    from tests.dask_cluster import Cluster

    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.add_workers(2)
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def browser():
    """A real one, headless."""
    from .lab import CHROMIUM

    if not CHROMIUM:
        if os.environ.get("CI"):
            pytest.fail("CI has to install Chromium")
        pytest.skip("no Chromium on this machine: nothing was tried in a browser")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()
