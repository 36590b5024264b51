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
        ready: whether it is in this release.
    """

    name: str
    title: str
    minutes: int
    can: str
    has_exercise: bool
    ready: bool = False


LESSONS = (
    Lesson("00_start_here", "Start here", 10, "see that the set-up works", False, True),
    Lesson(
        "01_conversion",
        "From Keras to .tflite",
        40,
        "convert a model and prove that the file is right",
        True,
        True,
    ),
    Lesson(
        "02_optimization_flags",
        "Optimization flags",
        40,
        "predict a file's size from its tensors",
        True,
        True,
    ),
    Lesson(
        "03_int8_representative_data",
        "Representative data",
        50,
        "write a representative data set; smell a bad one",
        True,
        True,
    ),
    Lesson(
        "04_quantization_aware_training",
        "Quantization-aware training",
        50,
        "say when it is worth its cost",
        True,
        True,
    ),
    Lesson(
        "05_quantization_arithmetic",
        "Quantization arithmetic",
        60,
        "compute a quantized layer by hand, to the bit",
        True,
        True,
    ),
    Lesson(
        "06_integer_only_inference",
        "Integer-only inference",
        60,
        "explain what the chip computes",
        True,
        True,
    ),
    Lesson("07_debugging", "Debugging a quantized model", 50, "find and mend the guilty layer", True, True),
    Lesson("08_transfer_learning", "Transfer learning", 40, "repeat it all on pictures of your own", False, True),
    Lesson("09_microcontroller", "On a microcontroller", 50, "say on which board a model runs", True, True),
    Lesson("10_capstone", "Capstone: motion", 90, "deliver a model under a budget", False, True),
)


def road_map() -> pd.DataFrame:
    """The lessons as a table: minutes, what one can do afterwards, and whether they are out."""
    rows = [
        (lesson.name, lesson.minutes, lesson.can, "yes" if lesson.ready else "to come") for lesson in LESSONS
    ]
    return pd.DataFrame(
        rows, columns=["lesson", "minutes", "afterwards you can", "in this release"]
    ).set_index("lesson")
