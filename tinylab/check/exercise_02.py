"""Tasks of exercise 02: predict what a recipe does to a file, then measure.

Networks are given by the shapes of their weights, as `get_weights` lists them: (3, 3, 1, 16) and
(16,) for a convolution, (100, 10) and (10,) for a dense layer. What is right is measured on real
files, which the converter makes of such a network.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from operator import eq
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder

from tinylab import conversion, tflite_file
from tinylab._tensorflow import keras
from tinylab.check.networks import filled
from tinylab.check.task import Right, Task, near, whole_number
from tinylab.conversion import Recipe

MOST_OFF = 0.05  # of a predicted size
THRESHOLD = 1024  # for the mistakes only: what is right is measured
SCALE_AND_ZERO_POINT = 4 + 8  # bytes a channel, likewise

Shapes = list[tuple[int, ...]]


def _network(shapes: tuple, name: str) -> keras.Model:
    """Convolutions, if there are any, then dense layers, with weights of these shapes."""
    layers: list[Any] = []
    for number, kernel in enumerate(shapes[::2]):
        is_dense, units = len(kernel) == 2, kernel[-1]
        if is_dense and number and len(shapes[2 * number - 2]) == 4:
            layers.append(keras.layers.GlobalAveragePooling2D(name="average"))
        first = {} if number else {"input_shape": kernel[:1] if is_dense else (12, 12, kernel[2])}
        if is_dense:
            layers.append(keras.layers.Dense(units, "relu", name=f"layer_{number}", **first))
        else:
            layers.append(keras.layers.Conv2D(units, kernel[:2], name=f"layer_{number}", **first))
    return filled(keras.Sequential(layers, name=name), np.random.default_rng(0))


@functools.cache
def _file(shapes: tuple, recipe: str, name: str = "network") -> bytes:
    return conversion.convert(_network(shapes, name), Recipe(recipe))


def _shapes(channels: Sequence[int] = (), widths: Sequence[int] = ()) -> Shapes:
    """Of 3 by 3 convolutions with so many channels, one after the other, then dense layers so wide."""
    channels, widths = [int(n) for n in channels], [int(n) for n in widths]
    pairs = [((3, 3, a, b), (b,)) for a, b in itertools.pairwise(channels)]
    pairs += [((a, b), (b,)) for a, b in itertools.pairwise([*channels[-1:], *widths])]
    return [shape for pair in pairs for shape in pair]


def _bytes_of(shapes: Shapes, recipe: str, least: int = THRESHOLD, biases: bool = False) -> int:
    """Bytes by the lesson's rule: what mistakes are made of."""
    sizes = [(math.prod(shape), len(shape) > 1) for shape in shapes]
    if recipe == "dynamic_range":
        return sum(size if size >= least and (kernel or biases) else 4 * size for size, kernel in sizes)
    return sum(size for size, _ in sizes) * (2 if recipe == "float16" else 4)


def _shown(got: Any) -> str:
    return f"{type(got).__name__} {got!r:.100}"


# 1. Saved


def _cases_of_sizes(rng: np.random.Generator) -> list[tuple]:
    """A file that shrank, one that grew, one that stayed as it was."""
    before, tiny = int(rng.integers(50_000, 500_000)), int(rng.integers(1_000, 2_000))
    after = int(before * rng.uniform(0.25, 0.35))
    return [(before, after), (tiny, tiny + int(rng.integers(100, 400))), (tiny, tiny)]


def _saving(before: int, after: int) -> Right:
    return Right(
        100 * (1 - after / before),
        {
            "what is left, or what is saved?": 100 * after / before,
            "in per cent: times 100.": 1 - after / before,
            "in per cent of the size before.": 100 * (before - after) / after,
            "how many times smaller? Asked is the share that is saved.": before / after,
            "a file that grew saves less than nothing: below 0.": abs(100 * (1 - after / before)),
            "after - before? A file that shrank has saved something: above 0.": 100 * (after / before - 1),
        },
    )


saved_percent = Task(
    "saved_percent",
    _cases_of_sizes,
    _saving,
    near(1e-6),
    (
        "If 30 of 100 bytes are left, 70 per cent are saved.",
        "What is saved is before - after. It is a share of what there was before.",
        "return 100 * (before - after) / before",
    ),
)


# 2. Parameters


def _cases_of_shapes(rng: np.random.Generator) -> list[tuple]:
    """A usual network; one with a single number, whose shape is (); and none at all."""
    usual = _shapes((1, rng.integers(4, 20)), rng.integers(20, 90, 2))
    return [(usual,), ([(int(rng.integers(2, 9)), 3), ()],), ([],)]


def _float32_bytes(shapes: Shapes) -> Right:
    elements = sum(math.prod(shape) for shape in shapes)
    return Right(
        4 * elements,
        {
            "a float32 number has 4 bytes.": elements,
            "4 bytes, or 32 bits?": 32 * elements,
            "the sizes of a shape are multiplied, not added.": 4 * sum(sum(shape) for shape in shapes),
            "the shape () has one element: a single number.": 4 * sum(math.prod(s) for s in shapes if s),
        },
    )


float32_bytes = Task(
    "float32_bytes",
    _cases_of_shapes,
    _float32_bytes,
    whole_number,
    (
        "How many elements does an array of shape (3, 3, 1, 16) have? And how many bytes has each?",
        "math.prod(shape) multiplies the numbers of a tuple, and gives 1 for the empty one.",
        "return 4 * sum(math.prod(shape) for shape in shapes)",
    ),
)


# 3. What stays float32


def _cases_of_mixed_shapes(rng: np.random.Generator) -> list[tuple]:
    """Kernels of 1,023, 1,024 and 1,089 elements; convolutions on both sides; a bias of more than 1,024."""
    dense = _shapes(widths=(33, 31, 33, 33, 32, 32, rng.integers(2, 9), rng.integers(1030, 1500)))
    few, many = rng.integers(3, 14), rng.integers(15, 30)
    return [(dense,), (_shapes((8, many, few, 16), [rng.integers(60, 70)]),)]


def _left_alone(shapes: Shapes) -> Right:
    """In the order of a file's operators, as the network has its layers in a chain."""
    file = tflite_file.parse(_file(tuple(shapes), "dynamic_range"))
    with_weights = [o for o in file.operators if o.name in ("CONV_2D", "FULLY_CONNECTED")]
    tensors = [file.tensors[i] for operator in with_weights for i in operator.inputs[1:3]]
    stayed = [shape for shape, t in zip(shapes, tensors, strict=True) if t.dtype == "float32"]

    def by_rule(stays: Any) -> Shapes:
        return [shape for shape in shapes if stays(math.prod(shape), len(shape) > 1)]

    return Right(
        stayed,
        {
            "what becomes int8, or what stays float32?": [shape for shape in shapes if shape not in stayed],
            "is exactly 1,024 enough?": by_rule(lambda size, kernel: not kernel or size <= THRESHOLD),
            "a bias stays float32 however long it is.": by_rule(lambda size, kernel: size < THRESHOLD),
            "biases stay float32, too.": by_rule(lambda size, kernel: kernel and size < THRESHOLD),
            "the threshold is 1,024 elements, not bytes.": by_rule(
                lambda size, kernel: not kernel or 4 * size < THRESHOLD
            ),
        },
    )


def _same_shapes(expected: Right, got: Any) -> str:
    try:
        shapes = [tuple(int(size) for size in shape) for shape in got]
    except (TypeError, ValueError):
        return f"expected  a list of shapes\ngot       {type(got).__name__}"
    if shapes == expected.answer:
        return ""
    text = f"expected  {', '.join(map(str, expected.answer))}\ngot       {', '.join(map(str, shapes))}"
    return text + expected.recognized(shapes, eq)


stays_float32 = Task(
    "stays_float32",
    _cases_of_mixed_shapes,
    _left_alone,
    _same_shapes,
    (
        "Two rules: one for the biases, one for small weights.",
        "A bias has a shape with one number in it: len(shape) == 1. Weights are small below 1,024 elements.",
        "return [shape for shape in shapes if len(shape) == 1 or math.prod(shape) < 1024]",
    ),
)


# 4. Constants, by recipe


def _cases_of_recipes(rng: np.random.Generator) -> list[tuple]:
    """Every recipe for a network whose weights lie on both sides of the threshold; and a long bias."""
    cases = [(_shapes(widths=(5, 204, 2, rng.integers(1100, 1300))), "dynamic_range")]
    for recipe in ("dynamic_range", "float16", "float32"):
        cases.append((_shapes((1, rng.integers(6, 14), 40), (rng.integers(120, 200), 5)), recipe))
    return cases


def _constants_of_the_file(shapes: Shapes, recipe: str) -> Right:
    found = tflite_file.parse(_file(tuple(shapes), recipe)).bytes_by_dtype
    parameters = sum(math.prod(shape) for shape in shapes)
    return Right(
        sum(found.get(dtype, 0) for dtype in ("float32", "float16", "int8")),
        {
            "4 bytes each? Not in this recipe.": 4 * parameters,
            "1 byte each? Some stay float32.": parameters,
            "float16 is for all constants, small ones and biases too.": sum(
                math.prod(shape) * (2 if len(shape) > 1 else 4) for shape in shapes
            ),
            "small weights stay float32.": _bytes_of(shapes, recipe, least=0),
            "biases stay float32, long ones too.": _bytes_of(shapes, recipe, biases=True),
            "all biases stay float32.": _bytes_of(shapes, recipe, least=0, biases=True),
            "scales and zero points are not asked for here.": _bytes_of(shapes, recipe)
            + _bytes_of_scales(shapes, recipe),
        },
    )


def _bytes_of_scales(shapes: Shapes, recipe: str) -> int:
    if recipe != "dynamic_range":
        return 0
    kernels = [shape for shape in shapes if len(shape) > 1 and math.prod(shape) >= THRESHOLD]
    return sum(SCALE_AND_ZERO_POINT * kernel[-1] for kernel in kernels)


constant_bytes = Task(
    "constant_bytes",
    _cases_of_recipes,
    _constants_of_the_file,
    whole_number,
    (
        "float32: 4 bytes an element. float16: 2, for every constant. dynamic_range: 4 or 1.",
        "In dynamic_range, those of stays_float32(shapes) have 4 bytes an element, the others 1.",
        "total = float32_bytes(shapes); stay = float32_bytes(stays_float32(shapes)); for dynamic_range: "
        "return stay + (total - stay) // 4",
    ),
)


# 5. Constants, in a file


def _cases_of_files(rng: np.random.Generator) -> list[tuple]:
    """A usual file; one with a layer that is used twice; one with two tensors in one buffer."""
    usual = tuple(_shapes((1, rng.integers(6, 16), 9), [rng.integers(120, 160)]))
    width = int(rng.integers(33, 48))
    return [(_file(usual, "dynamic_range"),), (_layer_used_twice(width),), (_one_buffer(width),)]


@functools.cache
def _layer_used_twice(width: int) -> bytes:
    layer, entrance = keras.layers.Dense(width, name="twice"), keras.layers.Input((width,), name="entrance")
    model = keras.Model(entrance, layer(layer(entrance)), name="network")
    return conversion.convert(filled(model, np.random.default_rng(0)), Recipe.DYNAMIC_RANGE)


@functools.cache
def _one_buffer(width: int) -> bytes:
    """Two layers whose weights lie in one buffer, as some converters store equal values."""
    model = schema.ModelT.InitFromPackedBuf(_file(tuple(_shapes(widths=(width, width, width))), "float32"), 0)
    square = [t for t in model.subgraphs[0].tensors if list(t.shape) == [width, width]]
    square[1].buffer, spare = square[0].buffer, square[1].buffer
    model.buffers[spare].data = None
    builder = Builder()
    builder.Finish(model.Pack(builder), tflite_file.IDENTIFIER)
    return bytes(builder.Output())


def _constants_by_buffer(tflite_model: bytes) -> Right:
    file = tflite_file.parse(tflite_model)
    read = [file.tensors[i] for operator in file.operators for i in operator.inputs if i >= 0]
    elements = sum(math.prod(tensor.shape) for tensor in file.tensors if tensor.nbytes)
    return Right(
        sum(file.bytes_by_dtype.values()),
        {
            "two tensors with the same buffer share their bytes: count a buffer once.": sum(
                tensor.nbytes for tensor in file.tensors
            ),
            "two operators may read the same tensor.": sum(tensor.nbytes for tensor in read),
            "the whole file? Only the values of constants.": file.size,
            "elements, or bytes?": elements,
            "4 bytes each? An int8 number has 1.": 4 * elements,
            "without the integers? All constants count.": file.bytes_by_dtype.get("float32", 0),
        },
    )


constants_in_file = Task(
    "constants_in_file",
    _cases_of_files,
    _constants_by_buffer,
    whole_number,
    (
        "tensor.nbytes is 0 for what is computed, so all tensors of the file may be added up. Almost.",
        "Two tensors with the same tensor.buffer have the same bytes in the file. Count each buffer once.",
        "buffers = {tensor.buffer: tensor.nbytes for tensor in file.tensors}; return sum(buffers.values())",
    ),
)


# 6. What stayed float32, in a file


def _cases_of_leftovers(rng: np.random.Generator) -> list[tuple]:
    """Of dynamic range, where some constants stayed; of float16, where none did; of float32.

    Their networks have names, which the converter puts in front of those of the constants.
    """
    cases = []
    for recipe in ("dynamic_range", "float16", "float32"):
        shapes = _shapes((1, rng.integers(6, 14), 20), (rng.integers(60, 99), 4))
        cases.append((_file(tuple(shapes), recipe, f"network_{rng.integers(100_000)}"),))
    return cases


def _names_of_leftovers(tflite_model: bytes) -> Right:
    tensors = tflite_file.parse(tflite_model).tensors
    constants = [tensor for tensor in tensors if tensor.nbytes]

    def names(chosen: Any) -> set[str]:
        return {tensor.name for tensor in chosen}

    return Right(
        names(t for t in constants if t.dtype == "float32"),
        {
            "without what is computed: those tensors have no bytes in the file.": names(
                t for t in tensors if t.dtype == "float32"
            ),
            "those that are float32, or those that are not?": names(
                t for t in constants if t.dtype != "float32"
            ),
            "all constants?": names(constants),
            "float16 is another dtype.": names(t for t in constants if "float" in t.dtype),
        },
    )


def _same_names(expected: Right, got: Any) -> str:
    """The same names, in any order."""
    if not isinstance(got, (list, tuple, set)) or not all(isinstance(name, str) for name in got):
        return f"expected  a list of names\ngot       {_shown(got)}"
    names = set(got)
    if names == expected.answer and len(got) == len(names):
        return ""
    parts = [f"expected  {len(expected.answer)} names, each once\ngot       {len(got)}"]
    for verb, difference in (("missing", expected.answer - names), ("too many", names - expected.answer)):
        parts += [f"{verb:9} {sorted(difference)[0]}"] if difference else []
    remark = expected.recognized(names, lambda got, mistake: got == mistake != expected.answer)
    return "\n".join(parts) + remark


left_in_float32 = Task(
    "left_in_float32",
    _cases_of_leftovers,
    _names_of_leftovers,
    _same_names,
    (
        "Go through tflite_file.parse(tflite_model).tensors, and look at the dtype of each.",
        "Only constants: what is computed is float32 in all of these files, and has nbytes 0.",
        "return [t.name for t in file.tensors if t.nbytes and t.dtype == 'float32']",
    ),
)


# 7. Predict a file


def _cases_of_predictions(rng: np.random.Generator) -> list[tuple]:
    """Wide layers, whose scales count; a tiny network, that does not shrink; float16; convolutions."""
    chosen = (
        (_shapes(widths=(rng.integers(12, 40), rng.integers(200, 600), 10)), "dynamic_range"),
        (_shapes(widths=rng.integers(4, 9, 3)), "dynamic_range"),
        (_shapes(widths=(rng.integers(100, 400), rng.integers(100, 300), 10)), "float16"),
        (_shapes((3, *rng.integers(20, 60, 2)), [10]), "dynamic_range"),
    )
    return [(len(_file(tuple(shapes), "float32")), shapes, recipe) for shapes, recipe in chosen]


def _size_of_the_file(float32_size: int, shapes: Shapes, recipe: str) -> Right:
    constants, scales = _bytes_of(shapes, recipe), _bytes_of_scales(shapes, recipe)
    description = float32_size - _bytes_of(shapes, "float32")
    return Right(
        len(_file(tuple(shapes), recipe)),
        {
            "constants alone? The file also describes them.": constants,
            "constants and scales alone? The file also describes them.": constants + scales,
            "are the scales and zero points in it? 12 bytes a channel.": description + constants,
            "a quarter of everything? Neither small weights nor the description shrink.": float32_size / 4,
            "half of everything?": float32_size / 2,
            "float32's size? This recipe makes it smaller.": float32_size,
        },
    )


def _near_enough(expected: Right, got: Any) -> str:
    try:
        off = float(got) / expected.answer - 1
    except (TypeError, ValueError):
        return f"expected  a number of bytes\ngot       {_shown(got)}"
    if abs(off) <= MOST_OFF:
        return ""
    text = f"the file  {expected.answer:,} bytes\ngot       {float(got):,.0f}, which is {100 * off:+.1f} %"
    return text + expected.recognized(float(got), lambda size, mistake: abs(size - mistake) < 1)


predict_size = Task(
    "predict_size",
    _cases_of_predictions,
    _size_of_the_file,
    _near_enough,
    (
        "Constants change with the recipe, the rest of the file hardly does. How large is that rest?",
        "description = float32_size - float32_bytes(shapes). Add constant_bytes(shapes, recipe).",
        "And for dynamic_range 12 * shape[-1] for every shape that is not in stays_float32(shapes).",
    ),
)
