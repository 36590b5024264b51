"""The wheel in an empty environment, Colab's where its Python is here, and some lessons in it, each alone."""

import os
import re
import shutil

import pytest

from bootstrap import NETWORK_SIGNS
from tinylab import course

from .environments import KINDS, REPLACED, Environment, call, find_python
from .rotation import todays

KIND = "colab" if find_python(KINDS["colab"].python) else "tested"

pytestmark = pytest.mark.long  # `make wheel`


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment in which lesson 00 has installed the course."""
    folder = tmp_path_factory.mktemp(KIND)
    try:
        yield Environment(KIND, folder)
    except RuntimeError as error:
        if os.environ.get("CI") or not re.search(NETWORK_SIGNS, str(error)):
            raise
        pytest.skip("no package index can be reached: the wheel was not tried in an empty environment")
    finally:
        shutil.rmtree(folder)


def test_the_first_lesson_installs_the_course_and_goes_on_without_a_restart(environment):
    assert environment.error == ""


def test_installing_changes_no_version_but_one(environment):
    assert set(environment.changed) == (REPLACED if KIND == "colab" else set())


@pytest.mark.parametrize("lesson", todays([lesson.name for lesson in course.LESSONS], 2))
def test_a_lesson_alone_runs_from_the_wheel_without_a_network(environment, lesson):
    assert environment.run(lesson) == ""


def test_the_wheel_carries_data_weights_licences_and_tested_versions(environment, tmp_path):
    code = (
        "from importlib.metadata import files; from tinylab import doctor;"
        "print(*[str(f) for f in files('tinylab-course')], *doctor.tested_versions())"
    )
    listed = call(environment.python, "-I", "-c", code, cwd=tmp_path)
    for expected in (
        "fashion_mnist.npz",
        "small_cnn.npz",
        "fashion_mnist/LICENSE.txt",
        "mobilenet_v2.npz",
        "backbone/LICENSE.txt",
        "motion.npz",
        "motion/LICENSE.txt",
        "photographs/cat.jpg",
        "photographs/README.md",
        "licenses/NOTICE",
        "tensorflow ",
    ):
        assert expected in listed + " "
