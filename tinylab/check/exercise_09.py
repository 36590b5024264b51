"""Tasks of exercise 09: plan an arena, choose a board, read a C array, and make a network fit a budget.

Networks are given as .tflite files. Planned is by the rules of TensorFlow Lite Micro, as
`tinylab.memory_plan` has them; no task needs the interpreter itself.
"""

import functools
import math
import re
import tempfile
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np

from tinylab import boards, c_array, conversion, data, measure, memory_plan, models, runners, tflite_file
from tinylab._tensorflow import keras
from tinylab.check.given_09 import BOARDS, ROOMY, TIGHT
from tinylab.check.networks import filled
from tinylab.check.task import Right, Task, whole_number
from tinylab.conversion import Recipe
from tinylab.memory_plan import ALIGNMENT
from tinylab.precision import precision
from tinylab.tflite_file import TFLiteFile

L = keras.layers

MOVED = {"flash": 1000, "arena": 400}  # how far budgets are moved, at most

BEFORE = -1  # the first operator of an input: it is there before operator 0

Block = tuple[int, int, int]  # bytes, first and last operator
Placed = tuple[int, int, int, int]  # the same, and the offset


@functools.cache
def _file(
    kind: str, width: int, recipe: str = "float32", lengths: tuple[int, int] = (1, 0), seed: int = 0
) -> bytes:
    """A small network as a file.

    Args:
        kind: "chain", "residual", "two inputs" or "two outputs".
        width: channels of the input.
        recipe: of the conversion.
        lengths: of all but a chain: how many convolutions are bypassed, and how many follow.
        seed: of the weights.
    """
    entrance = L.Input((10, 10, width), name="entrance")
    more = [entrance]

    def convolution(x: Any, filters: int) -> Any:
        return L.Conv2D(filters, 3, padding="same")(x)

    def means(x: Any) -> Any:  # of a kind whose kernel asks for no memory of its own
        return L.Flatten()(L.AveragePooling2D(10)(x))

    if kind == "chain":
        # Behind the input, each tensor is larger than the one before: largest first leaves a gap.
        x = entrance
        for filters in (width - 4, width - 2, width - 1):
            x = convolution(x, filters)
        outputs = [L.Dense(3)(means(x))]
    else:
        x = early = convolution(entrance, width)
        for filters in (*lengths[0] * [4], width):
            x = convolution(x, filters)
        if kind == "two inputs":
            more.append(L.Input((10, 10, width), name="late"))
        x = L.Add()([x, more[-1] if kind == "two inputs" else early])
        for _ in range(lengths[1]):
            x = convolution(x, width)
        outputs = [means(x)]
        if kind == "two outputs":
            outputs.append(means(early))
            outputs.append(early)
    model = filled(keras.Model(more, outputs, name=kind.replace(" ", "_")), np.random.default_rng(seed))
    inputs = np.random.default_rng(0).normal(size=(20, 10, 10, width)).astype(np.float32)
    return conversion.convert(model, Recipe(recipe), inputs if recipe == "int8" else None)


def _bytes(file: TFLiteFile, index: int) -> int:
    tensor = file.tensors[index]
    return math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize


# 1. Lifetimes


def _cases_of_networks(rng: np.random.Generator) -> list[tuple]:
    """A tensor that is read again later; an input that is read late; an output that others read."""
    kinds = ("residual", "two inputs", "two outputs")
    return [(_file(kind, int(rng.integers(5, 10)), lengths=_lengths(rng)),) for kind in kinds]


def _lengths(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(1, 5)), int(rng.integers(0, 4))


def _lifetimes(tflite_model: bytes) -> tuple[Right, TFLiteFile]:
    file = tflite_file.parse(tflite_model)
    last = len(file.operators) - 1
    made = dict.fromkeys(file.inputs, BEFORE)
    made |= {i: number for number, operator in enumerate(file.operators) for i in operator.outputs}
    readers = {i: [n for n, operator in enumerate(file.operators) if i in operator.inputs] for i in made}
    used = {i: max([made[i], *readers[i]]) for i in made}
    right = {i: (made[i], last if i in file.outputs else used[i]) for i in made}
    constants = {i for operator in file.operators for i in operator.inputs if i >= 0} - set(made)
    mistakes = {
        "constants are in flash, not in the arena: only the tensors of file.computed.": right
        | dict.fromkeys(constants, (0, last)),
        "the inputs are in the arena, too.": {i: right[i] for i in right if i not in file.inputs},
        "an output has to be there when the last operator has run.": {i: (made[i], used[i]) for i in made},
        "the last of the operators that read it, not the first.": right
        | {i: (made[i], min(readers[i])) for i in made if readers[i] and i not in file.outputs},
        "an input is there before operator 0 runs: its first is -1.": right
        | {i: (0, right[i][1]) for i in file.inputs},
        "an input is there before operator 0 runs, whoever reads it first.": right
        | {i: (min(readers[i]), right[i][1]) for i in file.inputs},
        "it is there from the operator that makes it, not from the first that reads it.": right
        | {i: (min(readers[i]), right[i][1]) for i in made if readers[i] and i not in file.inputs},
        "operators are numbered from 0.": {i: (a + 1, b + 1) for i, (a, b) in right.items()},
    }
    return Right(right, mistakes), file


def _same_lifetimes(expected: tuple[Right, TFLiteFile], got: Any) -> str:
    right, file = expected
    try:
        lives = {int(i): (int(first), int(last)) for i, (first, last) in dict(got).items()}
    except (TypeError, ValueError):
        return (
            "expected  a dict of (first, last) by the tensor's index\n"
            f"got       {type(got).__name__} {got!r:.100}"
        )
    if lives == right.answer:
        return ""
    index = next(i for i in sorted({*lives, *right.answer}) if lives.get(i) != right.answer.get(i))
    tensor = f"tensor {index}" + (f", {file.tensors[index].name}" if 0 <= index < len(file.tensors) else "")
    text = f"{tensor}\nexpected  {_life(right.answer.get(index))}\ngot       {_life(lives.get(index))}"
    return text + right.recognized(lives, eq)


def _life(life: tuple[int, int] | None) -> str:
    return f"({life[0]}, {life[1]})" if life else "nothing"


lifetimes = Task(
    "lifetimes",
    _cases_of_networks,
    _lifetimes,
    _same_lifetimes,
    (
        "Inputs are there from -1 on, any other tensor from the operator that has it in its outputs.",
        "Go through enumerate(file.operators): for each tensor in operator.inputs that is computed, the last "
        "operator so far is this one. At the end, set the last one of file.outputs.",
        "first = dict.fromkeys(file.inputs, -1); for n, operator in enumerate(file.operators): "
        "first |= dict.fromkeys(operator.outputs, n). The same for last, with inputs and outputs, where "
        "i in first; then last |= dict.fromkeys(file.outputs, n).",
    ),
)


# 2. Bytes alive


def _cases_of_blocks(rng: np.random.Generator) -> list[tuple]:
    """Two networks' worth of blocks; in each, one that lives across an operator that does not use it."""
    cases = []
    for operators in rng.integers(4, 8, 2).tolist():
        lives = [(0, 0), (0, operators - 1), *((n, min(n + 1, operators - 1)) for n in range(operators))]
        sizes = rng.integers(10, 2000, len(lives)).tolist()
        order = rng.permutation(len(lives))
        cases.append(([(sizes[i], *lives[i]) for i in order], operators))
    return cases


def _alive(blocks: list[Block], operators: int) -> Right:
    def total(lives: Any) -> np.ndarray:
        return np.array(
            [sum(size for size, first, last in blocks if lives(first, n, last)) for n in range(operators)]
        )

    return Right(
        total(lambda first, n, last: first <= n <= last),
        {
            "at its last operator a block is still read.": total(lambda first, n, last: first <= n < last),
            "at its first operator a block is already written.": total(
                lambda first, n, last: first < n <= last
            ),
            "a block that an operator does not use, but a later one will, is alive, too.": total(
                lambda first, n, last: n in (first, last)
            ),
            "what is no longer needed does not count.": total(lambda first, n, last: first <= n),
            "bytes, or the number of blocks?": np.array(
                [sum(first <= n <= last for _, first, last in blocks) for n in range(operators)]
            ),
        },
    )


def _same_bytes(expected: Right, got: Any) -> str:
    try:
        numbers = np.asarray(got, np.float64)
    except (TypeError, ValueError):
        return f"expected  a list of numbers\ngot       {type(got).__name__} {got!r:.100}"
    if numbers.shape != expected.answer.shape:
        return (
            f"expected  {len(expected.answer)} numbers, one for each operator\ngot       {_counted(numbers)}"
        )
    if np.array_equal(numbers, expected.answer):
        return ""
    text = f"expected  {expected.answer.tolist()}\ngot       {np.asarray(got).tolist()}"
    return text + expected.recognized(numbers)


def _counted(numbers: np.ndarray) -> str:
    return "a single number" if numbers.ndim == 0 else f"shape {numbers.shape}"


alive = Task(
    "alive",
    _cases_of_blocks,
    _alive,
    _same_bytes,
    (
        "A block is alive at operator n if it was made there or before, and is needed there or later.",
        "For each n in range(operators), add up the bytes of the blocks with first <= n <= last.",
        "return [sum(size for size, first, last in blocks if first <= n <= last) for n in range(operators)]",
    ),
)


# 3. Place one block


def _cases_of_places(rng: np.random.Generator) -> list[tuple]:
    """A gap that is large enough behind one that is not; a block of another time in the way; no gap."""
    a, b, c, d = (16 * int(n) for n in rng.integers(3, 20, 4))
    odd, uneven = (int(n) for n in rng.integers(1, 15, 2))
    # From 0: a block, a gap of `small`, a block, a gap of `large`, a block.
    small, large = 32, 160
    second, third = a + small, a + small + b + large
    gaps = [(c, 2, 5, third), (b - uneven, 1, 4, second), (a - odd, 0, 3, 0)]
    size = int(rng.integers(small + 1, large))
    return [
        ((size, 2, 3), gaps),
        ((size, 2, 2), [*gaps[:2], (d + 160, 0, 1, 0)]),
        ((large + int(rng.integers(1, 50)), 2, 3), gaps),
        ((large, 3, 3), [(a - odd, 0, 3, 0), (b, 3, 6, a + large)]),
        ((size, 0, 0), []),
    ]


def _place(block: Block, placed: list[Placed]) -> Right:
    size, first, last = block
    by_offset = sorted(placed, key=lambda p: p[3])

    def lowest(neighbours: list[Placed], size: int = size, step: int = ALIGNMENT, gaps: bool = True) -> int:
        offset = 0
        for other, _, _, start in neighbours:
            if gaps and offset + size <= start:
                break
            offset = max(offset, _up(start + other, step))
        return offset

    def alive_too(blocks: list[Placed]) -> list[Placed]:
        return [p for p in blocks if p[1] <= last and first <= p[2]]

    together = alive_too(by_offset)
    strictly = [p for p in by_offset if p[1] < last and first < p[2]]
    return Right(
        lowest(together),
        {
            "blocks that are not alive at the same time may overlap.": lowest(by_offset),
            "does it fit in that gap?": lowest(together, size=1),
            "a gap of exactly its size is large enough.": lowest(together, size=size + 1),
            "is there a gap between two blocks that is large enough?": lowest(together, gaps=False),
            f"an offset is a multiple of {ALIGNMENT}.": lowest(together, step=1),
            "both are alive at the operator where one ends and the other begins.": lowest(strictly),
            "the placed ones do not come in the order of their offsets.": lowest(alive_too(placed)),
            "the next multiple, not the one below: that place is taken.": lowest(together, step=1)
            // ALIGNMENT
            * ALIGNMENT,
        },
    )


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


place = Task(
    "place",
    _cases_of_places,
    _place,
    whole_number,
    (
        "Which of the placed blocks matter? Those alive at the same time: first <= their last, and their "
        "first <= last.",
        "Sort these by offset and walk along: if the block fits below the next one's offset, stay; else go "
        "to that one's end, rounded up to a multiple of 16, unless you are beyond it already.",
        "offset = 0; for s, f, l, o in sorted(placed, key=lambda p: p[3]): if f <= last and first <= l: "
        "if offset + size <= o: break; offset = max(offset, -(-(o + s) // 16) * 16)",
    ),
)


# 4. The whole plan


def _cases_of_plans(rng: np.random.Generator) -> list[tuple]:
    """Tensors that leave a gap; a residual connection, in bytes of four; two outputs, in int8."""
    return [
        (_file("chain", int(rng.integers(8, 20)), "int8"),),
        (_file("residual", int(rng.integers(5, 16)), lengths=_lengths(rng)),),
        (_file("two outputs", int(rng.integers(5, 16)), "int8", _lengths(rng)),),
    ]


def _arena_size(tflite_model: bytes) -> Right:
    file = tflite_file.parse(tflite_model)
    lives = _lifetimes(tflite_model)[0].answer
    blocks = [(_bytes(file, i), first, last) for i, (first, last) in lives.items()]
    elements = [(math.prod(file.tensors[i].shape), first, last) for i, (first, last) in lives.items()]

    def ends(chosen: list[Block]) -> list[int]:
        placed: list[Placed] = []
        for block in chosen:
            placed.append((*block, _place(block, placed).answer))
        return [size + offset for size, _, _, offset in placed]

    def largest_first(chosen: list[Block]) -> list[Block]:
        return sorted(chosen, key=lambda block: -block[0])

    def rounded(every: list[int]) -> int:
        return _up(max(every), ALIGNMENT)

    plan = memory_plan.plan(tflite_model)
    return Right(
        plan.size,
        {
            "most bytes alive at once? A plan can have gaps, and be larger.": max(
                _alive(blocks, len(file.operators)).answer.tolist()
            ),
            "all tensors side by side? Those of different times share a place.": sum(b[0] for b in blocks),
            "the whole file? Constants are in flash.": file.size,
            "the largest block is placed first.": rounded(ends(blocks)),
            "bytes: a float32 number has 4.": rounded(ends(largest_first(elements))),
            "its end, rounded up to a multiple of 16.": max(ends(largest_first(blocks))),
        },
    )


arena_size = Task(
    "arena_size",
    _cases_of_plans,
    _arena_size,
    whole_number,
    (
        "Blocks (bytes, first, last) from your lifetimes; place each; the arena ends where the highest ends.",
        "Sort the blocks by bytes, the largest first. A tensor has math.prod(tensor.shape) numbers of "
        "np.dtype(tensor.dtype).itemsize bytes.",
        "placed = []; for block in blocks: placed.append((*block, place(block, placed))). Return the largest "
        "offset + bytes, rounded up to a multiple of 16.",
    ),
)


# 5. Boards


def _cases_of_boards(rng: np.random.Generator) -> list[tuple]:
    """Models that fill a RAM to the last byte, a flash, or half of both; and one too large for any board."""
    every = list(BOARDS.values())
    chosen = [every[i] for i in rng.permutation(len(every))]
    program = (int(rng.integers(40_000, 90_000)), int(rng.integers(4_000, 9_000)))
    by_ram, by_flash = (sorted(chosen, key=lambda b: getattr(b, memory)) for memory in ("ram", "flash"))
    cases = []
    # the first two fill those in the middle, where the next larger board tells mistakes apart
    for middle in (True, False, False, False):
        number = len(every) // 2 if middle else int(rng.integers(2, len(every) - 2))
        full_ram, full_flash = by_ram[number], by_flash[number]
        flash, ram = int(rng.integers(10_000, 60_000)), int(rng.integers(5_000, 20_000))
        cases += [
            (flash, full_ram.ram - program[1], *program, chosen),
            (full_flash.flash - program[0], ram, *program, chosen),
        ]
        if not middle:
            half = by_flash[rng.integers(2, len(every) - 2)].flash // 2
            cases.append((half, full_ram.ram // 2, *program, chosen))
    return [*cases, (flash, by_ram[-1].ram - program[1] + 1, *program, chosen)]


def _fitting(
    model_bytes: int, arena_bytes: int, program_flash: int, program_ram: int, chosen: list[boards.Board]
) -> Right:
    flash, ram = model_bytes + program_flash, arena_bytes + program_ram

    def names(fits: Any) -> list[str]:
        return [board.name for board in chosen if fits(board)]

    return Right(
        names(lambda b: flash <= b.flash and ram <= b.ram),
        {
            "exactly full is not too full.": names(lambda b: flash < b.flash and ram < b.ram),
            "and the RAM?": names(lambda b: flash <= b.flash),
            "and the flash?": names(lambda b: ram <= b.ram),
            "flash and RAM both have to suffice.": names(lambda b: flash <= b.flash or ram <= b.ram),
            "the program needs flash, and RAM, too.": names(
                lambda b: model_bytes <= b.flash and arena_bytes <= b.ram
            ),
            "the model stays in flash; RAM is for the arena and the program's variables.": names(
                lambda b: flash <= b.flash and ram + model_bytes <= b.ram
            ),
            "those where it fits, or those where it does not?": names(
                lambda b: flash > b.flash or ram > b.ram
            ),
        },
    )


def _same_names(expected: Right, got: Any) -> str:
    names = [str(name) for name in got] if isinstance(got, (list, tuple, set)) else None
    if names is None:
        return f"expected  a list of names\ngot       {type(got).__name__} {got!r:.100}"
    if sorted(names) == sorted(expected.answer):
        return ""
    text = f"expected  {', '.join(expected.answer) or 'none'}\ngot       {', '.join(names)[:400] or 'none'}"
    return text + expected.recognized(names, lambda got, mistake: got and sorted(got) == sorted(mistake))


fits_on = Task(
    "fits_on",
    _cases_of_boards,
    _fitting,
    _same_names,
    (
        "Two sums, one for the flash and one for the RAM, and both have to fit.",
        "Flash holds the model and the program, RAM the arena and the program's own variables and stack.",
        "return [board.name for board in boards if model_bytes + program_flash <= board.flash and "
        "arena_bytes + program_ram <= board.ram]",
    ),
)


# 6. The C array


def _cases_of_sources(rng: np.random.Generator) -> list[tuple]:
    """Lines that are full, a last one that is not, and a name with a number in it."""
    cases = []
    for name, width in (("model_data", 3), ("model_0x1f", 4)):
        content = _file("residual", int(rng.integers(5, 10)) + width, seed=int(rng.integers(2**31)))
        cases.append((_source(content, name),))
    return cases


@functools.cache
def _source(content: bytes, name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        _, source = c_array.write(content, folder, name)
        return Path(source).read_text()


def _array_of(source: str) -> Right:
    inside = source[source.index("{") + 1 : source.rindex("}")]
    content = bytes(int(number, 16) for number in re.findall(r"0x([0-9a-fA-F]{2})\b", inside))
    everywhere = bytes(int(number, 16) for number in re.findall(r"0x([0-9a-fA-F]{2})", source))
    return Right(
        content,
        {
            "only what stands between the braces.": everywhere,
            "is the first byte in it?": content[1:],
            "is the last byte in it?": content[:-1],
            "is the last line in it? It may be shorter.": content[: len(content) // 12 * 12],
        },
    )


def _same_content(expected: Right, got: Any) -> str:
    if not isinstance(got, (bytes, bytearray)):
        return f"expected  bytes\ngot       {type(got).__name__}"
    if got == expected.answer:
        return ""
    if len(got) != len(expected.answer):
        text = f"expected  {len(expected.answer):,} bytes\ngot       {len(got):,}"
    else:
        place = next(i for i, pair in enumerate(zip(got, expected.answer, strict=True)) if pair[0] != pair[1])
        text = f"byte {place}\nexpected  {expected.answer[place]}\ngot       {got[place]}"
    return text + expected.recognized(got, eq)


read_c_array = Task(
    "read_c_array",
    _cases_of_sources,
    _array_of,
    _same_content,
    (
        "The numbers stand between { and }, divided by commas, in base 16.",
        'int("0x1c", 16) is 28, and bytes([28, 0]) makes bytes of a list. Behind the last comma there is no '
        "number: number.strip() is empty there.",
        'inside = source.split("{")[1].split("}")[0]; return bytes(int(number, 16) for number in '
        'inside.split(",") if number.strip())',
    ),
)


# 7. Make it fit


def _cases_of_budgets(rng: np.random.Generator) -> list[tuple]:
    """A budget in which the network fits as it is, in int8, and one for which it has to become another."""
    images, labels = _training()
    cases = []
    for budget in (ROOMY, TIGHT):
        moved = {what: budget[what] + int(rng.integers(-most, most + 1)) for what, most in MOVED.items()}
        given = models.trained("small_cnn"), images.copy(), labels.copy()
        cases.append((*given, *moved.values(), budget["accuracy"]))
    return cases


@functools.cache
def _training() -> tuple[np.ndarray, np.ndarray]:
    images, labels = data.arrays("fashion_mnist", "train")
    return images.astype(np.float32) / 255, labels


def _budget(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, flash: int, arena: int, accuracy: float
) -> tuple[int, int, float]:
    return flash, arena, accuracy


def _is_within(budget: tuple[int, int, float], got: Any) -> str:
    """A file for the same images and classes, which TFLM takes, within the budget, and accurate enough."""
    flash, arena, required = budget
    if not isinstance(got, (bytes, bytearray)):
        return f"expected  the file's bytes\ngot       {type(got).__name__}"
    content = bytes(got)
    runner = runners.load(content)
    shapes = [tuple(spec.shape) for spec in (*runner.inputs, *runner.outputs)]
    if shapes != [(1, 28, 28, 1), (1, 10)]:
        return f"expected  from (1, 28, 28, 1) to (1, 10)\ngot       {', '.join(map(str, shapes))}"
    found = precision(content).verdict
    if found.startswith(("dynamic range", "float16")):
        return f"got       {found}\nTensorFlow Lite Micro refuses that: all in int8, or all in float32."
    plan = memory_plan.plan(content)
    images, labels = data.arrays("fashion_mnist", "test")
    right = measure.accuracy(runner, images.astype(np.float32) / 255, labels)
    too_large, too_wide, too_low = len(content) > flash, plan.size > arena, right < required
    if not (too_large or too_wide or too_low):
        return ""
    return (
        f"flash     {len(content):,} of {flash:,} bytes{_over(len(content) - flash)}\n"
        f"arena     {plan.size:,} of {arena:,} bytes{_over(plan.size - arena)}\n"
        f"accuracy  {right:.4f}, at least {required:.4f} is required{': too low' if too_low else ''}\n"
        f"perhaps   {_advice(found, plan, too_large, too_wide)}"
    )


def _over(excess: int) -> str:
    return f": {excess:,} too many" if excess > 0 else ""


def _advice(found: str, plan: memory_plan.Plan, too_large: bool, too_wide: bool) -> str:
    """What may help first."""
    if (too_large or too_wide) and "float32" in found:
        return f"int8? This file: {found}."
    if too_wide:
        largest = max(plan.blocks, key=lambda block: block.bytes)
        return (
            f"the largest tensor, {largest.bytes:,} bytes, is alive from operator {largest.first} to "
            f"{largest.last}: fewer channels, a larger stride, or a smaller image make it smaller."
        )
    if too_large:
        return "fewer weights: which layer has most of them?"
    return (
        "is the given network, converted, within this budget already? If not: a longer training, or more of "
        "the bytes that are left."
    )


make_it_fit = Task(
    "make_it_fit",
    _cases_of_budgets,
    _budget,
    _is_within,
    (
        "First convert the given network to int8, and measure. In one of the two budgets it fits as it is.",
        "In the other, most of the arena are the outputs of the first layers, and most of the flash the "
        "weights of the first dense layer. A first convolution with a stride of 2 makes both smaller.",
        "Train keras.Sequential([Conv2D(16, 3, strides=2), Conv2D(24, 3, strides=2), Flatten(), Dense(10)]) "
        "with activations, for eight epochs of batch_size=64, at a learning rate that falls: "
        "Adam(keras.optimizers.schedules.CosineDecay(4e-3, steps)). Convert that.",
    ),
)
