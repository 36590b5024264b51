"""Exercise 09: its solutions on further cases, typical mistakes, and other ways to make a network fit."""

import functools
import math
import re

import numpy as np
import pytest

from tinylab import conversion, memory_plan, models, tflite_file
from tinylab._tensorflow import keras
from tinylab.check import exercise_09 as check
from tinylab.conversion import Recipe

from .conftest import long, slow
from .solved import Mistakes, checked, solved, tasks

SOLVED = solved("09_microcontroller")
TASKS = tasks(check)
L = keras.layers


@pytest.mark.parametrize("seed", [*slow(1, 2), *long(3, 4)])
@pytest.mark.parametrize("name", [name for name in TASKS if name != "make_it_fit"])
def test_a_solution_is_right(name, seed):
    result = checked(getattr(check, name), getattr(SOLVED, name), seed)
    assert result.score == 1, result


@pytest.mark.parametrize("seed", [*slow(1), *long(2)])
def test_a_network_that_fits_is_right(seed):
    result = checked(check.make_it_fit, SOLVED.make_it_fit, seed)
    assert result.score == 1, result


# 1. to 4.


def lives(change):
    """The solution's lifetimes, changed, given the file, too."""

    def lifetimes(tflite_model):
        return change(SOLVED.lifetimes(tflite_model), tflite_file.parse(tflite_model))

    return lifetimes


def readers(file, index):
    return [n for n, operator in enumerate(file.operators) if index in operator.inputs]


def with_constants(life, file):
    everything = {i for operator in file.operators for i in operator.inputs if i >= 0}
    return dict.fromkeys(everything, (0, len(file.operators) - 1)) | life


def outputs_end_early(life, file):
    return {i: (first, max([first, *readers(file, i)])) for i, (first, last) in life.items()}


def first_reader(life, file):
    return {
        i: (first, last if i in file.outputs else min(readers(file, i), default=last))
        for i, (first, last) in life.items()
    }


def inputs_at_0(life, file):
    return life | {i: (0, life[i][1]) for i in file.inputs}


def inputs_come_late(life, file):
    return {i: (min(readers(file, i)) if i in file.inputs else a, b) for i, (a, b) in life.items()}


def from_first_reader(life, file):
    return {
        i: (min(readers(file, i), default=a) if i not in file.inputs else a, b) for i, (a, b) in life.items()
    }


def sums(lives_at):
    return lambda blocks, operators: [
        sum(block[0] for block in blocks if lives_at(block[1], n, block[2])) for n in range(operators)
    ]


def placing(together=lambda a, b, c, d: a <= d and c <= b, fits=lambda end, start: end <= start, up=None):
    """The solution with another part: who is in the way, when a gap is large enough, where one begins."""
    up = up or (lambda offset: math.ceil(offset / 16) * 16)

    def place(block, placed):
        size, first, last = block
        offset = 0
        for other, other_first, other_last, start in sorted(placed, key=lambda p: p[3]):
            if together(first, last, other_first, other_last):
                if fits(offset + size, start):
                    break
                offset = max(offset, up(start + other))
        return offset

    return place


def in_given_order(block, placed):
    size, first, last = block
    offset = 0
    for other, other_first, other_last, start in placed:
        if other_first <= last and first <= other_last:
            if offset + size <= start:
                break
            offset = max(offset, math.ceil((start + other) / 16) * 16)
    return offset


def without_max(block, placed):
    size, first, last = block
    offset = 0
    for other, other_first, other_last, start in sorted(placed, key=lambda p: p[3]):
        if other_first <= last and first <= other_last:
            if offset + size <= start:
                break
            offset = math.ceil((start + other) / 16) * 16
    return offset


def planned(tflite_model, key=lambda block: -block[0], itemsize=None, end=None, place=None):
    """The solution's plan with blocks in another order, of other sizes, placed otherwise."""
    file = tflite_file.parse(tflite_model)
    blocks = []
    for index, life in SOLVED.lifetimes(tflite_model).items():
        tensor = file.tensors[index]
        blocks.append((math.prod(tensor.shape) * (itemsize or np.dtype(tensor.dtype).itemsize), *life))
    placed = []
    for block in sorted(blocks, key=key):
        placed.append((*block, (place or SOLVED.place)(block, placed)))
    if end:
        return end(blocks, placed, len(file.operators))
    return max(math.ceil((offset + size) / 16) * 16 for size, _, _, offset in placed)


def plan(**change):
    return functools.partial(planned, **change)


# 5. and 6.


def boards_where(rule):
    def fits_on(model_bytes, arena_bytes, program_flash, program_ram, boards):
        needed = model_bytes, arena_bytes, program_flash, program_ram
        return [board.name for board in boards if rule(board, *needed)]

    return fits_on


def content(source):
    return SOLVED.read_c_array(source)


def everywhere(source):
    return bytes(int(number, 16) for number in re.findall("0x([0-9a-f]{2})", source))


# 7.


def network(*layers):
    return keras.Sequential([L.InputLayer((28, 28, 1)), *layers, L.Dense(10, "softmax")])


def small(first=None, batch_norm=False, pool=False):
    """The solution's network, or one like it."""

    def convolution(filters, strides):
        if not batch_norm:
            return [L.Conv2D(filters, 3, strides=strides, activation="relu")]
        convolved = L.Conv2D(filters, 3, strides=strides, use_bias=False)
        return [convolved, L.BatchNormalization(momentum=0.9), L.ReLU()]

    second = [L.MaxPooling2D(), *convolution(32, 1)] if pool else convolution(24, 2)
    return network(*([first] if first else []), *convolution(16, 2), *second, L.Flatten())


def trained(model, images, labels, epochs=8, targets=None, seed=0):
    keras.utils.set_random_seed(seed)
    model = model()
    falling = keras.optimizers.schedules.CosineDecay(4e-3, epochs * math.ceil(len(images) / 64))
    loss = "sparse_categorical_crossentropy" if targets is None else "categorical_crossentropy"
    model.compile(keras.optimizers.Adam(falling), loss)
    model.fit(images, labels if targets is None else targets, batch_size=64, epochs=epochs, verbose=0)
    return model


def int8(model, images):
    return conversion.convert(model, Recipe.INT8, images[:100])


def only(recipe):
    return lambda model, images, *rest: conversion.convert(model, Recipe(recipe), images[:100])


def otherwise(make):
    """The given network where it fits, else the file of the model that `make` gives."""

    def make_it_fit(model, images, labels, flash, arena, accuracy):
        as_it_is = int8(model, images)
        if len(as_it_is) <= flash and memory_plan.plan(as_it_is).size <= arena:
            return as_it_is
        return int8(make(model, images, labels), images)

    return make_it_fit


def untrained(*layers):
    return otherwise(lambda *given: network(*layers))


def constant(model, images, *rest):
    """A network whose answer does not depend on the image."""
    same = network(L.Flatten())
    same.set_weights([0 * weights for weights in same.get_weights()])
    return int8(same, images)


def of_smaller_images(model, images, *rest):
    other = keras.Sequential([L.Flatten(input_shape=(14, 14, 1)), L.Dense(10, "softmax")])
    return conversion.convert(other, Recipe.INT8, images[:100, ::2, ::2])


def of_two_classes(model, images, *rest):
    other = keras.Sequential([L.Flatten(input_shape=(28, 28, 1)), L.Dense(2, "softmax")])
    return int8(other, images)


def resnet(model, images, labels, flash, *rest):
    return int8(models.trained("small_resnet" if flash < 30_000 else "small_cnn"), images)


# name, wrong answer, what the message says about it
MISTAKES = {
    "lifetimes": {
        "constants": (lives(with_constants), "constants are in flash"),
        "no inputs": (
            lives(lambda life, file: {i: span for i, span in life.items() if i not in file.inputs}),
            "the inputs are in the arena",
        ),
        "outputs end early": (lives(outputs_end_early), "when the last operator has run"),
        "the first reader": (lives(first_reader), "the last of the operators"),
        "inputs at 0": (lives(inputs_at_0), "its first is -1"),
        "inputs come late": (lives(inputs_come_late), "before operator 0"),
        "from the first reader": (lives(from_first_reader), "the operator that makes it"),
        "from 1": (
            lives(lambda life, file: {i: (a + 1, b + 1) for i, (a, b) in life.items()}),
            "numbered from 0",
        ),
        "by name": (
            lives(lambda life, file: {file.tensors[i].name: span for i, span in life.items()}),
            "by the tensor's index",
        ),
        "a list": (lives(lambda life, file: list(life.values())), "expected"),
        "one number each": (lives(lambda life, file: {i: b for i, (a, b) in life.items()}), "(first, last)"),
    },
    "alive": {
        "without the last": (sums(lambda first, n, last: first <= n < last), "still read"),
        "without the first": (sums(lambda first, n, last: first < n <= last), "already written"),
        "used only": (sums(lambda first, n, last: n in (first, last)), "a later one will"),
        "never freed": (sums(lambda first, n, last: first <= n), "no longer needed"),
        "how many": (
            lambda blocks, operators: [
                sum(first <= n <= last for _, first, last in blocks) for n in range(operators)
            ],
            "bytes, or the number",
        ),
        "the peak": (lambda *given: max(SOLVED.alive(*given)), "one for each operator"),
        "one too many": (lambda blocks, operators: SOLVED.alive(blocks, operators + 1), "one for each"),
        "text": (lambda *given: "many", "a list of numbers"),
    },
    "place": {
        "behind all": (placing(fits=lambda end, start: False), "a gap between two blocks"),
        "all in the way": (placing(together=lambda *_: True), "may overlap"),
        "not aligned": (placing(up=lambda offset: offset), "a multiple of 16"),
        "rounded down": (placing(up=lambda offset: offset // 16 * 16), "expected"),
        "less than a gap": (placing(fits=lambda end, start: end < start), "exactly its size"),
        "any gap": (lambda block, placed: SOLVED.place((1, *block[1:]), placed), "does it fit"),
        "ends do not touch": (placing(together=lambda a, b, c, d: a < d and c < b), "one ends and the other"),
        "not sorted": (in_given_order, "order of their offsets"),
        "a float": (lambda *given: float(SOLVED.place(*given)), "as an int"),
        "always 0": (lambda *given: 0, "expected"),
    },
    "arena_size": {
        "the peak": (
            plan(end=lambda blocks, placed, n: max(SOLVED.alive(blocks, n))),
            "most bytes alive at once",
        ),
        "side by side": (plan(end=lambda blocks, *_: sum(b[0] for b in blocks)), "all tensors side by side"),
        "in order": (plan(key=lambda block: block[1]), "largest block is placed first"),
        "the smallest first": (plan(key=lambda block: block[0]), "expected"),
        "numbers": (plan(itemsize=1), "expected"),
        "4 bytes each": (plan(itemsize=4), "expected"),
        "the file": (len, "Constants are in flash"),
        "not rounded": (
            plan(end=lambda blocks, placed, n: max(size + offset for size, _, _, offset in placed)),
            "expected",
        ),
        "the largest tensor": (plan(end=lambda blocks, *_: max(b[0] for b in blocks)), "expected"),
    },
    "fits_on": {
        "not full": (boards_where(lambda b, m, a, f, r: m + f < b.flash and a + r < b.ram), "exactly full"),
        "flash only": (boards_where(lambda b, m, a, f, r: m + f <= b.flash), "and the RAM"),
        "RAM only": (boards_where(lambda b, m, a, f, r: a + r <= b.ram), "expected"),
        "either": (boards_where(lambda b, m, a, f, r: m + f <= b.flash or a + r <= b.ram), "and the RAM?"),
        "no program": (boards_where(lambda b, m, a, f, r: m <= b.flash and a <= b.ram), "expected"),
        "the model in RAM": (
            boards_where(lambda b, m, a, f, r: m + f <= b.flash and m + a + r <= b.ram),
            "stays in flash",
        ),
        "kilobytes": (
            boards_where(lambda b, m, a, f, r: m + f <= b.flash / 1000 and a + r <= b.ram / 1000),
            "expected",
        ),
        "those too small": (boards_where(lambda b, m, a, f, r: m + f > b.flash or a + r > b.ram), "or those"),
        "how many": (lambda *given: len(SOLVED.fits_on(*given)), "a list of names"),
        "none": (lambda *given: [], "expected"),
    },
    "read_c_array": {
        "the whole text": (everywhere, "between the braces"),
        "without the last byte": (lambda source: content(source)[:-1], "last byte"),
        "without the first byte": (lambda source: content(source)[1:], "first byte"),
        "base 10": (lambda source: bytes(int(n[2:] or "0") % 256 for n in ["0x10"]), "expected"),
        "the text": (lambda source: source.split("{")[1].split("}")[0].encode(), "expected"),
        "a list": (lambda source: list(content(source)), "expected  bytes"),
        "backwards": (lambda source: content(source)[::-1], "byte "),
    },
    "make_it_fit": {
        "float32": (only("float32"), "int8?"),
        "dynamic range": (only("dynamic_range"), "refuses"),
        "float16": (only("float16"), "refuses"),
        "int8 alone": (only("int8"), "alive from operator 0 to 1"),
        "the other network": (resnet, "too many"),
        "16x8": (only("int16x8"), "too many"),
        "a constant": (constant, "is required: too low"),
        "untrained": (untrained(L.Flatten()), "is required: too low"),
        "many weights": (untrained(L.Flatten(), L.Dense(64)), "fewer weights"),
        "a large first layer": (untrained(L.Conv2D(16, 3), L.MaxPooling2D(), L.Flatten()), "larger stride"),
        "smaller images": (of_smaller_images, "(1, 14, 14, 1)"),
        "two classes": (of_two_classes, "(1, 2)"),
        "a Keras model": (lambda model, *rest: model, "the file's bytes"),
        "no file": (lambda *given: b"TFL3", "not a .tflite"),
    },
}


class TestMistakes(Mistakes):
    check, table, seeds = check, MISTAKES, (2,)
    slow_tasks = ("make_it_fit", "lifetimes", "arena_size", "read_c_array")


OTHER_WAYS = {
    "batch normalization": lambda *given: trained(lambda: small(batch_norm=True), *given[1:]),
    "a pool between": lambda *given: trained(lambda: small(batch_norm=True, pool=True), *given[1:]),
    "the teacher's probabilities": lambda model, x, y: trained(
        small, x, y, targets=model.predict(x, verbose=0, batch_size=500)
    ),
    "a smaller image": lambda *given: trained(
        lambda: network(
            L.AveragePooling2D(),
            *(L.Conv2D(16, 3, use_bias=False), L.BatchNormalization(momentum=0.9), L.ReLU()),
            *(L.Conv2D(24, 3, strides=2, use_bias=False), L.BatchNormalization(momentum=0.9), L.ReLU()),
            L.Flatten(),
        ),
        *given[1:],
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("make", OTHER_WAYS.values(), ids=OTHER_WAYS)
def test_other_ways_to_make_it_fit_are_right(make):
    result = checked(check.make_it_fit, otherwise(make), seed=5)
    assert result.score == 1, result


# The cases


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, *slow(2, 3)])
def test_the_first_network_of_a_plan_leaves_a_gap(seed):
    (chain,), *_ = check.arena_size.cases(np.random.default_rng(seed))
    found = memory_plan.plan(chain)
    assert found.size > found.peak + 16


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_boards_are_told_apart(seed):
    for case in check.fits_on.cases(np.random.default_rng(seed))[:11]:
        assert 0 < len(SOLVED.fits_on(*case)) < len(case[-1])


@pytest.mark.slow
@pytest.mark.parametrize("budget", [check.ROOMY, check.TIGHT])
def test_a_budget_is_one_that_some_files_keep_and_others_break(budget):
    """The network in int8 keeps the roomy one, wherever that is moved to, and breaks the tight one."""
    images = check._training()[0]
    fitting = int8(models.trained("small_cnn"), images)
    most = {"flash": len(fitting), "arena": memory_plan.plan(fitting).size}
    keeps = [most[what] <= budget[what] - check.MOVED[what] for what in most]
    assert keeps == [budget is check.ROOMY] * 2
