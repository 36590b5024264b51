"""Exercise 02: its solutions on further cases, typical mistakes, and the rule behind the mistakes' names."""

import math

import numpy as np
import pytest

from tinylab import tflite_file
from tinylab.check import exercise_02 as check

from .conftest import slow
from .solved import Mistakes, checked, solved, tasks

SOLVED = solved("02_optimization_flags")
TASKS = tasks(check)


@pytest.mark.parametrize("seed", slow(1, 2, 3, 4))
@pytest.mark.parametrize("name", TASKS)
def test_a_solution_is_right(name, seed):
    result = checked(getattr(check, name), getattr(SOLVED, name), seed)
    assert result.score == 1, result


def staying(rule):
    """Those that stay float32 by a rule of their number of elements, and of whether they are a bias."""
    return lambda shapes: [shape for shape in shapes if rule(math.prod(shape), len(shape) == 1)]


def by_size(dynamic_range=None, float16=None):
    """Bytes of each constant by another rule of its elements, and of whether it is a bias."""
    rules = {"dynamic_range": dynamic_range, "float16": float16}

    def constant_bytes(shapes, recipe):
        rule = rules.get(recipe)
        if rule is None:
            return SOLVED.constant_bytes(shapes, recipe)
        return sum(math.prod(shape) * rule(math.prod(shape), len(shape) == 1) for shape in shapes)

    return constant_bytes


def scales(shapes, recipe, each=12):
    """Bytes of the scales and zero points."""
    kept = SOLVED.stays_float32(shapes)
    return sum(each * shape[-1] for shape in shapes if shape not in kept) * (recipe == "dynamic_range")


def description(float32_size, shapes):
    return float32_size - SOLVED.float32_bytes(shapes)


def tensors(tflite_model):
    return tflite_file.parse(tflite_model).tensors


def read_by_operators(tflite_model):
    file = tflite_file.parse(tflite_model)
    return [file.tensors[i] for operator in file.operators for i in operator.inputs if i >= 0]


def named(rule):
    return lambda tflite_model: [tensor.name for tensor in tensors(tflite_model) if rule(tensor)]


MISTAKES = {
    "saved_percent": {
        "what is left": (lambda before, after: 100 * after / before, "what is left"),
        "a fraction": (lambda before, after: 1 - after / before, "times 100"),
        "of what is left": (lambda before, after: 100 * (before - after) / after, "size before"),
        "times": (lambda before, after: before / after, "how many times"),
        "no sign": (lambda before, after: abs(100 * (1 - after / before)), "below 0"),
        "other sign": (lambda before, after: 100 * (after / before - 1), "above 0"),
        "never below 0": (lambda before, after: max(0, 100 * (1 - after / before)), "expected"),
        "rounded": (lambda before, after: round(100 * (1 - after / before)), "expected"),
        "text": (lambda before, after: f"{100 * (1 - after / before)} %", "a number"),
        "NaN": (lambda before, after: math.nan, "nan"),
    },
    "float32_bytes": {
        "elements": (lambda shapes: sum(map(math.prod, shapes)), "4 bytes"),
        "bits": (lambda shapes: 32 * sum(map(math.prod, shapes)), "32 bits"),
        "added": (lambda shapes: 4 * sum(map(sum, shapes)), "multiplied"),
        "without ()": (lambda shapes: 4 * sum(math.prod(s) for s in shapes if s), "single number"),
        "a float": (lambda shapes: 4.0 * sum(map(math.prod, shapes)), "as an int"),
        "np.prod": (lambda shapes: 4 * sum(np.prod(shape) for shape in shapes), "as an int"),
        "no biases": (lambda shapes: 4 * sum(math.prod(s) for s in shapes if len(s) > 1), "expected"),
        "text": (lambda shapes: str(SOLVED.float32_bytes(shapes)), "str"),
    },
    "stays_float32": {
        "the others": (
            lambda shapes: [shape for shape in shapes if shape not in SOLVED.stays_float32(shapes)],
            "what becomes int8",
        ),
        "1,024 stays": (staying(lambda size, bias: bias or size <= 1024), "exactly 1,024"),
        "1,023 goes": (staying(lambda size, bias: bias or size < 1023), "expected"),
        "1,024 bytes": (staying(lambda size, bias: bias or 4 * size < 1024), "not bytes"),
        "long biases go": (staying(lambda size, bias: size < 1024), "however long"),
        "biases go": (staying(lambda size, bias: not bias and size < 1024), "biases stay"),
        "biases alone": (staying(lambda size, bias: bias), "expected"),
        "all": (lambda shapes: shapes, "expected"),
        "none": (lambda shapes: [], "expected"),
        "sorted": (lambda shapes: sorted(SOLVED.stays_float32(shapes)), "expected"),
        "each once": (lambda shapes: list(dict.fromkeys(SOLVED.stays_float32(shapes))), "expected"),
        "how many": (lambda shapes: len(SOLVED.stays_float32(shapes)), "a list of shapes"),
        "booleans": (lambda shapes: [True for _ in shapes], "a list of shapes"),
    },
    "constant_bytes": {
        "always 4": (lambda shapes, recipe: SOLVED.float32_bytes(shapes), "4 bytes each"),
        "always 1": (by_size(dynamic_range=lambda size, bias: 1), "1 byte each"),
        "small weights too": (by_size(dynamic_range=lambda size, bias: 4 if bias else 1), "small weights"),
        "long biases too": (
            by_size(dynamic_range=lambda size, bias: 4 if size < 1024 else 1),
            "biases stay",
        ),
        "float16 weights": (by_size(float16=lambda size, bias: 4 if bias else 2), "biases too"),
        "large float16": (by_size(float16=lambda size, bias: 4 if size < 1024 else 2), "expected"),
        "with scales": (
            lambda shapes, recipe: SOLVED.constant_bytes(shapes, recipe) + scales(shapes, recipe),
            "not asked for",
        ),
        "a float": (lambda shapes, recipe: float(SOLVED.constant_bytes(shapes, recipe)), "as an int"),
    },
    "constants_in_file": {
        "every tensor": (lambda t: sum(tensor.nbytes for tensor in tensors(t)), "same buffer"),
        "every operator": (lambda t: sum(tensor.nbytes for tensor in read_by_operators(t)), "same tensor"),
        "the whole file": (len, "whole file"),
        "elements": (lambda t: sum(math.prod(x.shape) for x in tensors(t) if x.nbytes), "elements"),
        "4 bytes each": (lambda t: 4 * sum(math.prod(x.shape) for x in tensors(t) if x.nbytes), "int8"),
        "float32": (lambda t: tflite_file.parse(t).bytes_by_dtype["float32"], "integers"),
        "no int32": (
            lambda t: sum(n for dtype, n in tflite_file.parse(t).bytes_by_dtype.items() if dtype != "int32"),
            "expected",
        ),
        "each size once": (lambda t: sum({tensor.nbytes for tensor in tensors(t)}), "expected"),
        "a float": (lambda t: float(SOLVED.constants_in_file(t)), "as an int"),
    },
    "left_in_float32": {
        "what is computed": (named(lambda x: x.dtype == "float32"), "without what is computed"),
        "the others": (named(lambda x: x.nbytes and x.dtype != "float32"), "those that are not"),
        "all constants": (named(lambda x: x.nbytes), "all constants"),
        "float16": (named(lambda x: x.nbytes and "float" in x.dtype), "another dtype"),
        "without a scale": (named(lambda x: x.nbytes and not x.scale.size), "too many"),
        "biases": (named(lambda x: x.nbytes and x.dtype == "float32" and len(x.shape) == 1), "missing"),
        "none": (lambda t: [], "missing"),
        "twice": (lambda t: 2 * SOLVED.left_in_float32(t), "each once"),
        "tensors": (lambda t: [x for x in tensors(t) if x.dtype == "float32"], "a list of names"),
        "one text": (lambda t: ", ".join(SOLVED.left_in_float32(t)), "a list of names"),
    },
    "predict_size": {
        "a quarter": (lambda size, shapes, recipe: size / (2 if recipe == "float16" else 4), "a quarter"),
        "half": (lambda size, shapes, recipe: size / 2, "half"),
        "the same": (lambda size, shapes, recipe: size, "makes it smaller"),
        "constants": (lambda size, shapes, recipe: SOLVED.constant_bytes(shapes, recipe), "constants alone"),
        "no description": (
            lambda size, shapes, recipe: SOLVED.constant_bytes(shapes, recipe) + scales(shapes, recipe),
            "constants and scales alone",
        ),
        "no scales": (
            lambda size, shapes, recipe: description(size, shapes) + SOLVED.constant_bytes(shapes, recipe),
            "scales and zero points",
        ),
        "4 bytes a channel": (
            lambda size, shapes, recipe: (
                description(size, shapes)
                + SOLVED.constant_bytes(shapes, recipe)
                + scales(shapes, recipe, each=4)
            ),
            "which is -",
        ),
        "scales of all": (
            lambda size, shapes, recipe: (
                SOLVED.predict_size(size, shapes, recipe) + sum(12 * shape[-1] for shape in shapes)
            ),
            "which is +",
        ),
        "float16 in int8": (
            lambda size, shapes, recipe: SOLVED.predict_size(size, shapes, "dynamic_range"),
            "which is -",
        ),
        "infinite": (lambda size, shapes, recipe: math.inf, "inf"),
        "NaN": (lambda size, shapes, recipe: math.nan, "nan"),
        "text": (lambda size, shapes, recipe: "much", "a number of bytes"),
    },
}


class TestMistakes(Mistakes):
    check, table, seeds = check, MISTAKES, (2, 3)
    slow_tasks = ("stays_float32", "constant_bytes", "left_in_float32", "predict_size")
    some = 99  # all


def test_two_tensors_of_the_third_file_share_a_buffer():
    *_, (shared,) = check.constants_in_file.cases(np.random.default_rng(1))
    buffers = [tensor.buffer for tensor in tensors(shared) if tensor.nbytes]
    assert len(buffers) - len(set(buffers)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, *slow(2, 3, 4)])
def test_a_tiny_network_does_not_shrink(seed):
    for float32_size, shapes, recipe in check.predict_size.cases(np.random.default_rng(seed)):
        if float32_size < 3000:
            assert check.predict_size.reference(float32_size, shapes, recipe).answer == float32_size
            break
    else:
        pytest.fail("no tiny network among the cases")
