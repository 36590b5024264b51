"""Sizes and accuracies of the trained networks' files, the work of an inference, and where it fits."""

from collections.abc import Iterable

from tinylab import boards, measure, models
from tinylab.conversion import Recipe
from tinylab.workload import workload

from . import files


def recipes() -> dict:
    """Bytes of every recipe's file, and the share of 2,000 test images that it gets right."""
    return {
        name: {
            recipe: {"bytes": len(content), "accuracy": measure.accuracy(content, *files.fashion("test"))}
            for recipe, content in files.files(name, Recipe).items()
        }
        for name in models.TRAINED
    }


def traffic() -> dict:
    """Bytes that one inference moves."""
    return {
        name: {
            recipe: sum(work.bytes_moved for work in workload(content))
            for recipe, content in files.files(name, (Recipe.FLOAT32, Recipe.INT8)).items()
        }
        for name in models.TRAINED
    }


def shipped(names: Iterable[str] = tuple(files.NETWORKS)) -> dict:
    """Bytes of each network's file by recipe, and on how many of the boards it runs."""
    return {
        name: {
            recipe: {"bytes": len(content), "boards": int(boards.table({name: content})["fits"].sum())}
            for recipe, content in files.files(name).items()
        }
        for name in names
    }


QUALITY = (recipes, traffic, shipped)
