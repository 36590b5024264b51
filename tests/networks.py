"""Random small networks, converted by the real converter, and the comparison of two runners on them.

A network grows layer by layer. Each takes an earlier tensor, mostly a recent one, so that there are depth
and branches; what no layer takes becomes an output. One conversion so exercises a dozen layers.
"""

import contextlib
import io
import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinylab import runners, tflite_file
from tinylab._tensorflow import keras, tf
from tinylab.affine import AffineParams
from tinylab.errors import ModelFileError
from tinylab.quiet import quiet
from tinylab.runners import Runner
from tinylab.runners.integer import graph
from tinylab.tflite_file import Operator, TFLiteFile

L = keras.layers
RELU6 = schema.ActivationFunctionType.RELU6
LARGEST = 12  # height, width and channels stay below, or nearly so
OPS = tf.lite.OpsSet
TAKE_FLOAT = ("QUANTIZE", "DEQUANTIZE", "SHAPE")
# Methods of Grower for a tensor of so many dimensions, the batch included; the likelier, the more often.
OFTEN = "activation activation activation elementwise elementwise constant batch_norm slice "
LAYERS = {
    2: OFTEN + "dense dense dense image stack",
    3: OFTEN + "conv_1d conv_1d conv_1d pool_1d dense mean concatenate permute flatten stack",
    4: OFTEN + "conv conv conv conv depthwise depthwise depthwise transposed transposed separable pool pool "
    "mean mean squeeze_and_excite concatenate elementwise dense padding cropping permute reshape squeeze "
    "flatten",
}


def random_network(seed: int, recipe: str = "int8") -> bytes:
    """The .tflite file of a random network.

    Args:
        seed: the same one gives the same network.
        recipe: "int8", in every way in which the converter makes such files, or "int16x8".
    """
    for attempt in range(20):
        rng = np.random.default_rng([seed, attempt])
        batch = [None, None, 1, 2][rng.integers(4)]
        model = Grower(rng, recipe, batch).model()
        random_weights(model, rng)
        try:
            content = converted(model, rng, recipe, batch)
        except Exception:  # whatever the converter raises, on about one in a hundred
            continue
        if usable(content):
            return content
    raise AssertionError(f"no usable network in {attempt + 1} attempts.")


def usable(content: bytes) -> bool:
    """Whether LiteRT's reference kernels have an answer for a file, and that in integers.

    The converter writes files on which those kernels read what nothing computes, or end the process,
    or shift by a negative number of bits.
    """
    file = tflite_file.parse(content)
    known = {t.index for t in file.tensors if t.nbytes} | set(file.inputs)
    for operator in file.operators:
        tensors = [file.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
        if not known.issuperset(i for i in operator.inputs if i >= 0):
            return False
        known |= set(operator.outputs)
        if operator.name not in TAKE_FLOAT and any(t.dtype == "float32" for t in tensors):
            return False  # left in float32, in silence
        scales = [float(t.scale[0]) for t in tensors if t.scale.size]
        if any(0 < scale < np.finfo(np.float32).tiny or scale > 2**30 for scale in scales):
            return False  # the shift then has more than 31 bits; what is always 0 gets so small a scale
        if operator.name == "HARD_SWISH" and scales[0] >= 127 * scales[-1]:
            return False  # an output so much finer than the input is refused
        if operator.name == "SOFTMAX" and "int8" in (t.dtype for t in tensors):
            # the process ends: sums of 512 and more do not fit, nor a factor of 1 or less
            large, tiny = tensors[0].shape[-1] >= 512, scales[0] * 2**26 <= 1
            if large or tiny:
                return False
        if operator.name in ("ADD", "SUB"):
            # the process ends at a scale of 0; an output far finer than the inputs shifts the wrong way
            bits = 15 if tensors[0].dtype == "int16" else 20
            if min(scales) == 0 or 2 * max(scales[:-1]) >= 2**bits * scales[-1]:
                return False
    try:
        runners.load(content, kernels="reference")
    except ModelFileError:  # a multiplier of 2**30 or more
        return False
    relu6 = [
        node
        for node in graph.read(content).nodes
        if getattr(node.options, "fusedActivationFunction", 0) == RELU6
    ]
    return all(6 / node.outputs[0].scale[0] < 2**31 for node in relu6)  # 6 has no code of 32 bits otherwise


class Grower:
    """Grows Keras models from layers that have integer versions."""

    def __init__(self, rng: np.random.Generator, recipe: str, batch: int | None):
        self.rng = rng
        self.wide = recipe == "int16x8"
        self.batch = batch

    def model(self) -> keras.Model:
        """A model with one or two inputs, 6 to 14 layers, and one or several outputs."""
        keras.backend.reset_uids()
        image, series, vector = [self.size(3), self.size(3), self.size()], [self.size(6), self.size()], [24]
        shapes = self.pick(*[[image]] * 5, [series], [series], [vector], [image, image], [image, vector])
        inputs = [L.Input(shape) for shape in shapes]
        tensors = list(inputs)
        for step in range(self.rng.integers(6, 15)):
            # mostly one of the newest, or there would be no depth
            back = min(self.rng.geometric(0.6), len(tensors))
            x = inputs[step] if step < len(inputs) else tensors[-back]
            self.others = [t for t in tensors if t is not x]
            y = getattr(self, self.pick(*LAYERS[len(x.shape)].split()))(x)
            if y is not x:
                tensors.append(y)
        outputs = [t for t in tensors if not t.node.layer.outbound_nodes]
        return keras.Model(inputs, outputs)

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def size(self, lowest: int = 1) -> int:
        return int(self.rng.integers(lowest, LARGEST))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    # Layers with weights. Where a layer does not fit, they return the tensor as it is.

    def dense(self, x):
        if len(x.shape) > 2 and not self.batch:  # the converter then needs GATHER and REDUCE_PROD
            return x
        return self.activation(L.Dense(self.size(), use_bias=self.chance(0.8))(x), linear=0.5)

    def conv(self, x):
        options = self.window(x.shape[1:3], largest=5)
        groups = self.pick(1, 1, *(g for g in range(2, x.shape[3] + 1) if x.shape[3] % g == 0))
        filters = groups * max(1, self.size() // groups)
        return self.activation(L.Conv2D(filters, groups=groups, **options)(x), linear=0.4)

    def depthwise(self, x):
        options = self.window(x.shape[1:3], largest=5, equal_strides=True)
        multiplier = self.pick(1, 1, 2, 3) if x.shape[3] < LARGEST else 1
        return self.activation(L.DepthwiseConv2D(depth_multiplier=multiplier, **options)(x), linear=0.4)

    def separable(self, x):
        options = self.window(x.shape[1:3], largest=3, equal_strides=True)
        return self.activation(L.SeparableConv2D(self.size(), **options)(x), linear=0.4)

    def conv_1d(self, x):
        options = self.window(x.shape[1:2], largest=5)
        return self.activation(L.Conv1D(self.size(), **options)(x), linear=0.4)

    def transposed(self, x):
        if max(x.shape[1:3]) > LARGEST // 2:
            return x
        kernel, strides = [self.pick(1, 2, 3, 4) for _ in range(2)], [self.pick(1, 2, 2, 3) for _ in range(2)]
        layer = L.Conv2DTranspose(
            self.size(), kernel, strides, self.pick("same", "valid"), use_bias=self.chance(0.8)
        )
        return self.activation(layer(x), linear=0.6)

    def window(self, sizes, largest: int, equal_strides: bool = False) -> dict:
        """Options of a convolution over so large an image; a window that is too large for it is padded."""
        kernel = [self.pick(*range(1, largest + 1)) for _ in sizes]
        strides = [self.pick(1, 1, 2, 3) for _ in sizes]
        dilation = [1 for _ in sizes]
        if equal_strides:
            strides = strides[:1] * len(sizes)
        if self.batch and self.chance(0.3):  # with a free batch the converter needs SPACE_TO_BATCH_ND
            strides, dilation = [1 for _ in sizes], [2 for _ in sizes]
        fits = all((k - 1) * d < s for k, d, s in zip(kernel, dilation, sizes, strict=True))
        return {
            "kernel_size": kernel,
            "strides": strides,
            "dilation_rate": dilation,
            "padding": self.pick("same", "valid") if fits else "same",
            "use_bias": self.chance(0.8),
        }

    def batch_norm(self, x):
        return L.BatchNormalization()(x)

    # Layers without weights

    def activation(self, x, linear: float = 0.0):
        """One of the functions; the linear one with the given probability."""
        if self.chance(linear):
            return x
        functions = {
            "relu": L.ReLU(),
            "relu6": L.ReLU(6.0),
            "leaky_relu": L.LeakyReLU(self.pick(0.01, 0.1, 0.3, 0.9)),
            "sigmoid": L.Activation("sigmoid"),
            "tanh": L.Activation("tanh"),
            "softmax": L.Softmax(),
            "swish": tf.nn.silu,
            "hard_swish": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
        }
        if self.wide:
            del functions["hard_swish"]  # the converter refuses it
        name = self.pick("relu", "relu", "relu6", *functions)
        return functions[name](x)

    def elementwise(self, x):
        """Two tensors: another one of the same shape, or a small layer of this one, or this one twice."""
        same = [t for t in self.others if t.shape == x.shape]
        other = self.pick(*same) if same else self.conv_or_dense(x, x.shape[-1])
        if self.chance(0.05):
            other = x
        pair = self.pick([x, other], [other, x])
        y = self.pick(L.Add(), L.Add(), L.Subtract(), L.Multiply())(pair)
        return self.activation(y, linear=0.7)

    def conv_or_dense(self, x, channels: int):
        layer = {2: L.Dense, 3: lambda n: L.Conv1D(n, 1), 4: lambda n: L.Conv2D(n, 1)}[len(x.shape)]
        return layer(channels)(x)

    def constant(self, x):
        """A constant: a number, one for each channel, one for each value and what is between."""
        shape = [d if self.chance(0.5) else 1 for d in x.shape[1:]]
        shape = shape[self.rng.integers(len(shape) + 1) :]
        c = np.float32(self.rng.normal(size=shape) * 10 ** self.rng.uniform(-2, 1))
        return self.pick(lambda: x + c, lambda: x * c, lambda: x - c, lambda: c - x)()

    def squeeze_and_excite(self, x):
        y = L.GlobalAveragePooling2D(keepdims=True)(x)
        y = L.Conv2D(self.size(), 1, activation="relu")(y)
        y = L.Conv2D(x.shape[3], 1, activation="sigmoid")(y)
        return L.Multiply()(self.pick([x, y], [y, x]))

    def concatenate(self, x):
        """Along an axis, of tensors whose ranges differ."""
        axis = int(self.rng.integers(1, len(x.shape)))
        if x.shape[axis] > LARGEST:
            return x
        fitting = [t for t in self.others if len(t.shape) == len(x.shape)]
        fitting = [t for t in fitting if without(axis, t.shape) == without(axis, x.shape)]
        parts = [x, *fitting[: self.rng.integers(1, 4)]]
        if len(parts) == 1:
            parts.append(self.activation(x))
        return L.Concatenate(axis)(parts)

    def pool(self, x):
        layer = self.pick(L.MaxPooling2D, L.AveragePooling2D, L.AveragePooling2D)
        return layer(**self.pooling(x.shape[1:3]))(x)

    def pool_1d(self, x):
        options = self.pooling(x.shape[1:2])
        return self.pick(L.MaxPooling1D, L.AveragePooling1D)(
            options["pool_size"][0], options["strides"][0], options["padding"]
        )(x)

    def pooling(self, sizes) -> dict:
        window, strides = [self.pick(1, 2, 3, 4) for _ in sizes], [self.pick(1, 2, 3) for _ in sizes]
        fits = all(w <= s for w, s in zip(window, sizes, strict=True))
        return {
            "pool_size": window,
            "strides": strides,
            "padding": self.pick("same", "valid") if fits else "same",
        }

    def mean(self, x):
        axes = (
            self.pick([1], [2]) if len(x.shape) == 3 else self.pick([1, 2], [1, 2], [1, 2], [3], [2, 3], [1])
        )
        return tf.reduce_mean(x, axes, keepdims=self.chance(0.5))

    def padding(self, x):
        if max(x.shape[1:3]) > LARGEST - 2:
            return x
        return L.ZeroPadding2D(self.rng.integers(0, 3, (2, 2)).tolist())(x)

    def cropping(self, x):
        crops = [sorted(self.rng.integers(0, size, 2).tolist()) for size in x.shape[1:3]]
        return L.Cropping2D([(a, size - 1 - b) for (a, b), size in zip(crops, x.shape[1:3], strict=True)])(x)

    def slice(self, x):
        """In steps, from the end backwards, or one place."""
        axis = int(self.rng.integers(1, len(x.shape)))
        start, step = int(self.rng.integers(x.shape[axis])), self.pick(1, 2, 3)
        places = [slice(start, None, step), slice(None, start + 1, step), slice(start, None, -step)]
        if len(x.shape) > 2:
            places.append(start)
        return x[(slice(None),) * axis + (self.pick(*places),)]

    def stack(self, x):
        fitting = [t for t in self.others if t.shape == x.shape]
        return tf.stack([x, *fitting[:2]], int(self.rng.integers(1, len(x.shape) + 1)))

    def permute(self, x):
        return L.Permute((self.rng.permutation(len(x.shape) - 1) + 1).tolist())(x)

    def reshape(self, x):
        height, width, channels = x.shape[1:]
        shape = self.pick([width, height, channels], [height * width, channels], [height, width * channels])
        return L.Reshape(shape)(x)

    def squeeze(self, x):
        """An axis of one place goes, or comes from a mean."""
        if x.shape[1] == 1:
            return tf.squeeze(x, 1)
        return tf.expand_dims(tf.reduce_mean(x, 1), self.pick(1, 2, 3))

    def flatten(self, x):
        return L.Dropout(0.5)(L.Flatten()(x))

    def image(self, x):
        """A vector as an image."""
        height, width, channels = self.rng.integers(1, 5, 3).tolist()
        return L.Reshape((height, width, channels))(L.Dense(height * width * channels)(x))


def without(axis: int, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def random_weights(model: keras.Model, rng: np.random.Generator) -> None:
    """Usual weights in most layers; none, tiny, huge, equal ones, or channels of very different sizes."""
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            shape, name = weight.shape, weight.name.split("/")[-1].split(":")[0]
            drawn = rng.normal(size=shape)
            if "kernel" in name:
                drawn *= strange(shape, rng) / math.sqrt(max(1, math.prod(shape[:-1])))
            elif name == "moving_variance":
                drawn = 10 ** rng.uniform(-2, 1, shape)
            elif name == "gamma":
                drawn = 1 + drawn
            else:  # beta, moving_mean, bias
                drawn *= rng.choice([0, 0.3, 1, 30], p=[0.15, 0.5, 0.3, 0.05])
            values.append(drawn)
        if values:
            layer.set_weights(values)


def strange(shape: tuple[int, ...], rng: np.random.Generator) -> float | np.ndarray:
    """A factor for a kernel, or one for each of the channels on one of its last two axes."""
    axis = rng.integers(1, 3)
    channels = (shape[-axis], *[1] * (axis - 1))
    kinds = {
        "usual": (0.6, rng.uniform(0.5, 2)),
        "mixed": (0.15, 10 ** rng.uniform(-4, 1, channels)),
        "some": (0.1, rng.integers(0, 2, channels)),
        "none": (0.03, 0.0),
        "tiny": (0.06, 1e-4),
        "huge": (0.06, 1e3),
    }
    chances = [chance for chance, _ in kinds.values()]
    return [factor for _, factor in kinds.values()][rng.choice(len(kinds), p=chances)]


def converted(model: keras.Model, rng: np.random.Generator, recipe: str, batch: int | None) -> bytes:
    """Convert with options at random; a batch of None is a free one."""
    shapes = [tensor.shape[1:] for tensor in model.inputs]
    function = tf.function(lambda *x: model(x[0] if len(x) == 1 else list(x), training=False))
    concrete = function.get_concrete_function(*(tf.TensorSpec((batch, *shape)) for shape in shapes))
    variables = tf.Module()  # with the model itself in its place, saving takes a second
    variables.all = model.variables
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], variables)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    data = [[representative((batch or 4, *shape), rng) for shape in shapes] for _ in range(4)]
    converter.representative_dataset = lambda: iter(data)
    converter.experimental_lower_to_saved_model = bool(rng.random() < 0.1)  # the usual way is a slow one
    ends = [tf.int16, tf.int16, tf.float32]
    if recipe == "int8":
        ends = [tf.int8, tf.int8, tf.uint8, tf.float32]
        converter._experimental_disable_per_channel = bool(rng.random() < 0.3)
        converter.experimental_new_quantizer = bool(rng.random() < 0.8)
    only = OPS.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    converter.target_spec.supported_ops = [only if recipe == "int16x8" else OPS.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = ends[rng.integers(len(ends))]
    converter.inference_output_type = ends[rng.integers(len(ends))]
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
        return converter.convert()


def representative(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Inputs that observe a range.

    With rare large values most are small, and inputs that are not will saturate the layers within.
    """
    x = rng.normal(size=shape)
    kind = rng.integers(4)
    if kind == 1:
        x = rng.random(shape)
    elif kind == 2:
        x *= np.where(rng.random(shape) < 0.02, 10, 0.1)
    return np.float32(x * 3)


# Running a network, and comparing


def inputs_for(runner: Runner, count: int, seed: int) -> list[np.ndarray]:
    """Random inputs of the file's own types, `count` samples or a few more to fill a fixed batch.

    In turn any codes, sparse ones, codes near the zero point, the lowest, the highest, zero points.
    """
    rng = np.random.default_rng(seed)
    count += -count % max(spec.shape[0] for spec in runner.inputs)
    arrays = []
    for index, spec in zip(runner.file.inputs, runner.inputs, strict=True):
        params = spec.params or first_params(runner, index)
        ends, zero = np.iinfo(params.dtype), params.zero_point
        shape = (count, *spec.shape[1:])
        codes = rng.integers(ends.min, ends.max + 1, shape)
        for i in range(count):
            kind = i % 6
            if kind == 1:
                codes[i] = np.where(rng.random(shape[1:]) < 0.1, codes[i], zero)
            elif kind == 2:
                codes[i] = np.clip(zero + codes[i] // 32, ends.min, ends.max)
            elif kind > 2:
                codes[i] = (ends.min, ends.max, zero)[kind - 3]
        if spec.dtype == np.float32:  # also beside and between the codes, and outside of the range
            arrays.append(params.scale * (codes - zero + rng.choice([0, 0.5, -0.5, 0.3, 9], shape)))
        else:
            arrays.append(codes)
    return [a.astype(spec.dtype) for a, spec in zip(arrays, runner.inputs, strict=True)]


def first_params(runner: Runner, index: int) -> AffineParams:
    """What the operator QUANTIZE makes of an input in float32, if the network uses it at all."""
    made = [o.outputs[0] for o in runner.file.operators if o.inputs == (index,) and o.name == "QUANTIZE"]
    return runner.file.tensors[made[0]].params if made else AffineParams(0.1, 0)


@dataclass
class Comparison:
    """What was compared of two runs, tensor by tensor, and where they differ; can be added up.

    Attributes:
        operators: how many there were of each, with the types of what they take and give.
        values: how many numbers were compared.
        saturated: how many of those were at an end of their type.
        wrong: how many were different.
        first: the first tensor that was different, or "".
    """

    networks: int = 0
    operators: Counter = field(default_factory=Counter)
    tensors: int = 0
    values: int = 0
    saturated: int = 0
    wrong: int = 0
    largest: float = 0.0
    first: str = ""

    def __add__(self, other: "Comparison") -> "Comparison":
        return Comparison(
            self.networks + other.networks,
            self.operators + other.operators,
            self.tensors + other.tensors,
            self.values + other.values,
            self.saturated + other.saturated,
            self.wrong + other.wrong,
            max(self.largest, other.largest),
            self.first or other.first,
        )

    def see(self, what: str, found: np.ndarray | None, expected: np.ndarray) -> None:
        """Compare one tensor."""
        self.tensors += 1
        self.values += expected.size
        if expected.dtype.kind == "i":
            ends = np.iinfo(expected.dtype)
            self.saturated += int(((expected == ends.min) | (expected == ends.max)).sum())
        if found is None or (found.shape, found.dtype) != (expected.shape, expected.dtype):
            self.wrong += expected.size
            given = "nothing" if found is None else f"{found.dtype} {found.shape}"
            self.first = self.first or f"{what}: {given}, {expected.dtype} {expected.shape} expected"
            return
        wrong = found != expected
        if wrong.any():
            difference = np.abs(found.astype(float) - expected).max()
            self.wrong += int(wrong.sum())
            self.largest = max(self.largest, float(difference))
            where = tuple(np.argwhere(wrong)[0].tolist())
            self.first = self.first or (
                f"{what}: {wrong.sum()} of {wrong.size} differ, by up to {difference:g}; "
                f"at {where} {found[where]}, {expected[where]} expected"
            )


def compare(runner: Runner, reference: Runner, q: list[np.ndarray]) -> Comparison:
    """Run both on the same inputs and compare every tensor that the reference computes, then the outputs.

    Its outputs, too, are taken from the trace. An interpreter that keeps no tensors may contradict that: two
    of 4,000 networks do (LiteRT 2.3.0). A RESHAPE has the memory of its input there, what reads it writes its
    output there, too, and the RESHAPE's input is read once more.
    """
    file, found = reference.file, Comparison(networks=1)
    made_by = {i: operator for operator in file.operators for i in operator.outputs}
    found.operators.update(signature(file, operator) for operator in file.operators)
    ours, theirs = runner.trace(q), reference.trace(q)
    expected = dict(zip(dict.fromkeys(file.computed), theirs.tensors.items(), strict=True))
    for index, (name, values) in expected.items():
        what = signature(file, made_by[index]) if index in made_by else "input"
        found.see(f"{what}, tensor {index} {name}", ours.tensors.get(name), values)
    answers = runner.predict_integers(q)
    for i, answer in zip(file.outputs, answers if isinstance(answers, list) else [answers], strict=True):
        found.see(f"output {i} of predict_integers", answer, expected[i][1])
    return found


def signature(file: TFLiteFile, operator: Operator) -> str:
    """An operator with the types of its activations: "CONV_2D int8 -> int8"."""
    taken = operator.inputs[2 if operator.name == "TRANSPOSE_CONV" else 0]
    return f"{operator.name} {file.tensors[taken].dtype} -> {file.tensors[operator.outputs[0]].dtype}"
