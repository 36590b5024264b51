"""The lessons: their order, and where the course is published."""

from dataclasses import dataclass
from importlib.metadata import metadata

import pandas as pd

# pyproject.toml names the repository once; an installed package carries that along.
REPOSITORY = next(
    entry.split(", ", 1)[1]
    for entry in metadata("tinylab-course").get_all("Project-URL")
    if entry.startswith("Repository")
)


@dataclass(frozen=True)
class Lesson:
    """One notebook.

    Attributes:
        name: of its file, without .ipynb; sorts in the order of the course.
        title: as in its first line.
        minutes: to read and run it, for someone new to it.
        can: what the learner can do afterwards.
        has_exercise: whether an exercise goes with it.
    """

    name: str
    title: str
    minutes: int
    can: str
    has_exercise: bool


LESSONS = (
    Lesson("00_start_here", "Start here", 10, "see that the set-up works", False),
    Lesson(
        "01_conversion",
        "From Keras to .tflite",
        40,
        "convert a model and prove that the file is right",
        True,
    ),
    Lesson(
        "02_optimization_flags",
        "Optimization flags",
        40,
        "predict a file's size from its tensors",
        True,
    ),
    Lesson(
        "03_int8_representative_data",
        "Representative data",
        50,
        "write a representative data set; smell a bad one",
        True,
    ),
    Lesson(
        "04_quantization_aware_training",
        "Quantization-aware training",
        50,
        "say when it is worth its cost",
        True,
    ),
    Lesson(
        "05_quantization_arithmetic",
        "Quantization arithmetic",
        60,
        "compute a quantized layer by hand, to the bit",
        True,
    ),
    Lesson(
        "06_integer_only_inference",
        "Integer-only inference",
        60,
        "explain what the chip computes",
        True,
    ),
    Lesson("07_debugging", "Debugging a quantized model", 50, "find and mend the guilty layer", True),
    Lesson("08_transfer_learning", "Transfer learning", 40, "repeat it all on pictures of your own", False),
    Lesson("09_microcontroller", "On a microcontroller", 50, "say on which board a model runs", True),
    Lesson("10_capstone", "Capstone: motion", 90, "deliver a model under a budget", False),
)


def road_map() -> pd.DataFrame:
    """The lessons as a table: minutes, and what one can do afterwards."""
    rows = [(lesson.name, lesson.minutes, lesson.can) for lesson in LESSONS]
    return pd.DataFrame(rows, columns=["lesson", "minutes", "afterwards you can"]).set_index("lesson")


def leading_to(exercise: str) -> tuple[Lesson, ...]:
    """The lessons to read before an exercise: its own, and those right before it that have no exercise.

    >>> [lesson.name for lesson in leading_to("09_microcontroller")]
    ['08_transfer_learning', '09_microcontroller']
    """
    own = first = [lesson.name for lesson in LESSONS].index(exercise)
    while first > 1 and not LESSONS[first - 1].has_exercise:  # whoever asks has seen lesson 00
        first -= 1
    return LESSONS[first : own + 1]
