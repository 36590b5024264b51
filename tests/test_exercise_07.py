"""Exercise 07: its solutions on further cases, typical mistakes, other cures, and the networks to mend."""

import numpy as np
import pytest

from tinylab import conversion, models, runners
from tinylab._tensorflow import keras
from tinylab.affine import dequantize, quantize
from tinylab.check import exercise_07 as check
from tinylab.conversion import Recipe
from tinylab.debug import layer_errors
from tinylab.equalization import equalizing_factors, rescale_channels
from tinylab.quiet import quiet

from .conftest import long, slow
from .solved import Mistakes, checked, solved, tasks

SOLVED = solved("07_debugging")
TASKS = tasks(check)
CONVERTING = ("guilty_layer", "mend_channels", "mend_outliers", "mend_switched_off")  # seconds a check
OPERATORS = {2: 2, 6: 5, 7: 6}  # in an int8 file, by the layer's number
SOFTMAX = 7


def parameters(seeds):
    """Every task with these seeds; those that convert in `make test`, with further seeds in `make long`."""

    def marks(name, seed):
        if name in CONVERTING:
            return [pytest.mark.long if seed > 1 else pytest.mark.slow]
        return [pytest.mark.slow] if seed > 1 else []

    return [pytest.param(name, seed, marks=marks(name, seed)) for name in TASKS for seed in seeds]


@pytest.mark.parametrize(("name", "seed"), parameters((1, 2, 3)))
def test_a_solution_is_right(name, seed):
    result = checked(getattr(check, name), getattr(SOLVED, name), seed)
    assert result.score == 1, result


# 1. and 2.


def squares(reference, values):
    return (reference**2).sum(), ((reference - values) ** 2).sum()


def decibels(of):
    return lambda reference, values: 10 * np.log10(of(reference, values))


def in_steps(values=None, end=lambda error, scale: np.sqrt((error**2).mean()) / scale):
    """The solution with other real numbers, or with another end."""

    def rmse_in_steps(real, codes, scale, zero_point):
        q = codes.astype(int)
        v = scale * (q - zero_point) if values is None else values(codes, scale, zero_point)
        return end(real - v, scale)

    return rmse_in_steps


# 3.


def by_table(choose):
    return lambda *arguments: choose(layer_errors(*arguments).table)


def by_hand(float_file, int8_file, images):
    """Without layer_errors: tensors found by their names, the output by its place."""
    exact = runners.load(float_file, kernels="reference")
    rounded = runners.load(int8_file, kernels="reference")
    reals = list(exact.trace(images).tensors.items())
    codes = rounded.trace(quantize(images, rounded.inputs[0].params)).tensors
    falls, last = {}, None
    for number, operator in enumerate(rounded.file.operators):
        tensor = rounded.file.tensors[operator.outputs[0]]
        real = dict(reals).get(tensor.name)
        if operator.name == "SOFTMAX":
            _, real = reals[-1]
        if operator.name == "QUANTIZE" or real is None:
            continue
        name = tensor.name if tensor.name in codes else f"{tensor.name}#{tensor.index}"
        now = SOLVED.sqnr(real.astype(float), dequantize(codes[name], tensor.params))
        falls[number] = 0 if last is None else last - now
        last = now
    return max(falls, key=falls.get)


# 4. to 6.


def reach(model, place, images):
    """How far each channel goes, and how large the weights are that read it."""
    first, second = place
    channels = model.layers[first].output_shape[-1]
    weights = np.abs(model.layers[second].get_weights()[0]).max(axis=-1)
    read = SOLVED.read_by(model, second, images)
    return read.reshape(-1, channels).max(axis=0), weights.reshape(-1, channels).max(axis=0)


def rescaled(factors, places=check.PLACES):
    """Channels multiplied by what `factors` makes of the two ranges."""

    def mend_channels(model, images):
        for place in places:
            names = [model.layers[number].name for number in place]
            model = rescale_channels(model, *names, factors(*reach(model, place, images)))
        return model

    return mend_channels


def even(r1, r2):
    alive = (r1 > 0) & (r2 > 0)
    return np.sqrt(np.where(alive, r2, 1) / np.where(alive, r1, 1))


def tool(model, images, change=lambda factors: factors):
    for place in check.PLACES:
        names = [model.layers[number].name for number in place]
        model = rescale_channels(model, *names, change(equalizing_factors(model, *names, images)))
    return model


def kernels(change, numbers=(2, 6, 7)):
    """Kernels changed, given also how far their inputs go."""

    def mend_outliers(model, images):
        mended = SOLVED.copy_of(model)
        for number in numbers:
            kernel, bias = mended.layers[number].get_weights()
            read = SOLVED.read_by(mended, number, images)
            read = read.reshape(-1, read.shape[-1]).max(axis=0)
            mended.layers[number].set_weights([change(kernel, read), bias])
        return mended

    return mend_outliers


def clip(limit):
    def change(kernel, read):
        largest = limit(np.abs(kernel), read)
        return np.clip(kernel, -largest, largest)

    return kernels(change)


def without_largest(kernel, read):
    return np.where(np.abs(kernel) == np.abs(kernel).max(), 0, kernel)


def zero_outputs(kernel, read):
    return np.where(np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))) > 10, 0, kernel)


def in_place(mend):
    """The given model itself, with the weights of what a solution returned."""

    def mended(model, images):
        model.set_weights(mend(model, images).get_weights())
        return model

    return mended


def bias(value, weights=False):
    """The unwanted class with this bias, and with or without weights."""

    def mend_switched_off(model, images):
        mended = SOLVED.copy_of(model)
        kernel, biases = mended.layers[7].get_weights()
        logits = SOLVED.read_by(mended, 7, images) @ kernel + biases
        number = biases.argmin()
        added = (logits[:, number] - biases[number]).max()
        lowest = np.delete(logits, number, axis=1).min()
        biases[number] = value(biases, lowest, added)
        if not weights:
            kernel[:, number] = 0
        mended.layers[7].set_weights([kernel, biases])
        return mended

    return mend_switched_off


def nothing(model, images):
    return SOLVED.copy_of(model)


def converted(model, images):
    return conversion.convert(model, Recipe.INT8, images[:100])


def cut_off(model, images):
    return keras.Model(model.inputs, model.layers[6].output)


def not_a_number(model, images):
    mended = SOLVED.copy_of(model)
    mended.set_weights([np.nan * weights for weights in model.get_weights()])
    return mended


NO_CURE = {
    "nothing": (nothing, "int8 to choose as float32 did"),
    "a file": (converted, "expected  a Keras model\ngot       bytes"),
    "without the last layer": (cut_off, "(None, 32)"),
    "NaN": (not_a_number, "1000 of 1,000 answers moved"),
}
# name, wrong answer, what the message says about it
MISTAKES = {
    "sqnr": {
        "upside down": (decibels(lambda r, v: np.divide(*squares(r, v)[::-1])), "which of the two"),
        "20 log10": (lambda r, v: 2 * SOLVED.sqnr(r, v), "20 log10"),
        "half": (lambda r, v: 5 * np.log10(np.divide(*squares(r, v))), "expected"),
        "absolute values": (decibels(lambda r, v: np.abs(r).sum() / np.abs(r - v).sum()), "squares on both"),
        "natural logarithm": (lambda r, v: 10 * np.log(np.divide(*squares(r, v))), "decimal"),
        "a ratio": (lambda r, v: np.divide(*squares(r, v)), "not yet in dB"),
        "of the values": (decibels(lambda r, v: (v**2).sum() / squares(r, v)[1]), "signal is the reference"),
        "variances": (decibels(lambda r, v: r.var() / (r - v).var()), "no variance"),
        "a mean of ratios": (decibels(lambda r, v: (r**2 / (r - v) ** 2).mean()), "mean of ratios"),
        "the largest value": (decibels(lambda r, v: r.size * r.max() ** 2 / squares(r, v)[1]), "expected"),
        "one a row": (lambda r, v: (r**2).sum(axis=0) / ((r - v) ** 2).sum(axis=0), "a number"),
        "without sign": (lambda r, v: abs(SOLVED.sqnr(r, v)), "expected  -"),
        "NaN": (lambda r, v: np.nan, "nan"),
    },
    "rmse_in_steps": {
        "in units": (in_steps(end=lambda e, s: np.sqrt((e**2).mean())), "in steps"),
        "times the scale": (in_steps(end=lambda e, s: np.sqrt((e**2).mean()) * s), "do not multiply"),
        "no root": (in_steps(end=lambda e, s: ((e / s) ** 2).mean()), "root is missing"),
        "no root, and the scale": (in_steps(end=lambda e, s: (e**2).mean() / s), "scale squared"),
        "overflow": (in_steps(lambda q, s, z: s * (q - np.int8(z))), "int8 overflows"),
        "no zero point": (in_steps(lambda q, s, z: s * q.astype(int)), "is the zero point in it"),
        "zero point added": (in_steps(lambda q, s, z: s * (q.astype(int) + z)), "not added"),
        "codes": (in_steps(lambda q, s, z: q.astype(int)), "real numbers first"),
        "absolute values": (in_steps(end=lambda e, s: np.abs(e).mean() / s), "not of absolute values"),
        "the largest": (in_steps(end=lambda e, s: np.abs(e).max() / s), "not the largest"),
        "0.289": (lambda *arguments: 1 / np.sqrt(12), "expected"),
        "one each": (in_steps(end=lambda e, s: np.abs(e) / s), "a number"),
    },
    "guilty_layer": {
        "lowest alone": (by_table(lambda t: int(t.sqnr.idxmin())), "adds by itself"),
        "lowest so far": (by_table(lambda t: int(t.sqnr_so_far.idxmin())), "the lowest of all"),
        "its place": (by_table(lambda t: int(np.nanargmin(t.sqnr_so_far.diff()))), "its place in the table"),
        "the one before": (lambda *files: SOLVED.guilty_layer(*files) - 1, "output is still good"),
        "most steps": (by_table(lambda t: int(t.steps.idxmax())), "expected"),
        "the largest RMSE": (by_table(lambda t: int(t.rmse.idxmax())), "expected"),
        "the greatest rise": (by_table(lambda t: int(t.sqnr_so_far.diff().idxmax())), "expected"),
        "the last": (by_table(lambda t: int(t.index[-1])), "expected"),
        "always 2": (lambda *files: 2, "so far"),
        "its name": (by_table(lambda t: t.operator[t.sqnr_so_far.diff().idxmin()]), "expected"),
        "a float": (lambda *files: float(SOLVED.guilty_layer(*files)), "expected"),
    },
    "mend_channels": {
        **NO_CURE,
        "the first place": (rescaled(even, check.PLACES[:1]), "perhaps   operator"),
        "the last place": (rescaled(even, check.PLACES[2:]), "perhaps   operator"),
        "half of it": (lambda m, x: tool(m, x, np.sqrt), "int8 to choose"),
        "the wrong way": (lambda m, x: tool(m, x, lambda factors: 1 / factors), "LiteRT refuses"),
        "clipped": (clip(lambda size, read: np.percentile(size, 99)), "answers moved"),
        "another network": (lambda m, x: models.small_cnn(), "answers moved"),
    },
    "mend_outliers": {
        **NO_CURE,
        "the largest one": (kernels(without_largest), "expected"),
        "the first place": (kernels(lambda k, read: np.where(read[:, None] > 0, k, 0), (2,)), "expected"),
        "a tenth": (clip(lambda size, read: size.max() / 10), "answers moved"),
        "a hundredth": (clip(lambda size, read: size.max() / 400), "answers moved"),
        "a percentile": (clip(lambda size, read: np.percentile(size, 99.9)), "expected"),
        "the median": (clip(lambda size, read: np.median(size)), "answers moved"),
        "whole outputs": (kernels(zero_outputs), "answers moved"),
    },
    "mend_switched_off": {
        **NO_CURE,
        "switched on": (bias(lambda b, lowest, added: 0, weights=True), "is back?"),
        "the lowest bias": (bias(lambda b, *_: np.sort(b)[1], weights=True), "is back?"),
        "the lowest logit": (bias(lambda b, lowest, added: lowest, weights=True), "answers moved"),
        "-10": (bias(lambda *_: -10, weights=True), "is back?"),
        "0, without weights": (bias(lambda *_: 0), "answers moved"),
        "-500": (bias(lambda *_: -500, weights=True), "operator 7, SOFTMAX"),
        "a tenth of it": (bias(lambda b, *_: b.min() / 4), "operator 7, SOFTMAX"),
    },
}


class TestMistakes(Mistakes):
    check, table, seeds = check, MISTAKES, (2,)
    slow_tasks = CONVERTING
    some = 1


ALSO_RIGHT = {
    "guilty_layer": {
        "the first below 20 dB": by_table(lambda t: int((t.sqnr_so_far < 20).idxmax())),
        "NumPy's integer": by_table(lambda t: np.int64(t.sqnr_so_far.diff().idxmin())),
        "by hand": by_hand,
    },
    "mend_channels": {
        "in place": in_place(SOLVED.mend_channels),
        "no powers of two": rescaled(even),
        "activations alone": rescaled(lambda r1, r2: 1 / np.where(r1 > 0, r1, 1)),
        "weights alone": rescaled(lambda r1, r2: r2),
    },
    "mend_outliers": {
        "in place": in_place(SOLVED.mend_outliers),
        "clipped to the living": clip(lambda size, read: size[..., read > 0, :].max()),
        "clipped to ten medians": clip(lambda size, read: 10 * np.median(size)),
        "all large ones": kernels(lambda k, _: np.where(np.abs(k) > 20 * np.median(np.abs(k)), 0, k)),
        "equalized": tool,
    },
    "mend_switched_off": {
        "in place": in_place(SOLVED.mend_switched_off),
        "the lowest logit, less what weights add": bias(
            lambda b, lowest, added: lowest - added, weights=True
        ),
        "-50": bias(lambda *_: -50, weights=True),
        "-60, without weights": bias(lambda *_: -60),
    },
}


@pytest.mark.parametrize("seed", [*slow(1), *long(2)])
@pytest.mark.parametrize(
    ("name", "function"),
    [
        pytest.param(name, function, id=f"{name}: {how}")
        for name, ways in ALSO_RIGHT.items()
        for how, function in ways.items()
    ],
)
def test_other_ways_are_right(name, function, seed):
    result = checked(getattr(check, name), function, seed)
    assert result.score == 1, result


# The networks


def float_answers(model):
    return model(check.split_images("test", 300), training=False).numpy()


def agreement(model, before):
    """Share of images to which int8 gives the class that these answers have."""
    content = conversion.convert(model, Recipe.INT8, check.split_images("train", 100))
    chosen = runners.load(content).predict(check.split_images("test", 300)).argmax(axis=1)
    return (chosen == before.argmax(axis=1)).mean()


def test_uneven_channels_and_outliers_on_dead_units_leave_the_answers():
    healthy = float_answers(models.trained("small_cnn"))
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(float_answers(check.uneven_channels(rng, *check.PLACES)), healthy)
    np.testing.assert_array_equal(float_answers(check.outlier_weights(rng, (6, 7))), healthy)


def test_a_class_that_is_switched_off_has_no_chance_and_the_others_keep_their_order():
    healthy = float_answers(models.trained("small_cnn"))
    answers = float_answers(check.switched_off(np.random.default_rng(1), 3))
    assert answers[:, 3].max() == 0
    others = np.delete(healthy, 3, axis=1)
    assert (np.delete(answers, 3, axis=1).argmax(axis=1) == others.argmax(axis=1)).all()


def test_a_huge_weight_in_every_output_reads_a_channel_that_is_0():
    model = check.outlier_weights(np.random.default_rng(1), (2, 6))
    read = SOLVED.read_by(model, 6, check.split_images("test", 300)).max(axis=0)
    sizes = np.abs(model.layers[6].get_weights()[0])
    huge = sizes > 50 * sizes[read > 0].max()
    assert (huge.sum(axis=0) == 1).all()
    assert read[huge.any(axis=1)].max() == 0


@pytest.mark.parametrize("place", check.PLACES)
@pytest.mark.parametrize("kind", [check.uneven_channels, check.outlier_weights])
@pytest.mark.parametrize("seed", [*slow(1), *long(2)])
def test_int8_goes_wrong_in_the_layer_that_reads(kind, place, seed):
    with quiet():
        model = kind(np.random.default_rng(seed), place)
        assert agreement(model, float_answers(model)) < 0.9
        assert fall(model) == OPERATORS[place[1]]


@pytest.mark.parametrize("number", [*slow(check.SURE), *long(*(set(range(10)) - {check.SURE}))])
def test_int8_goes_wrong_in_the_softmax_behind_a_class_that_is_switched_off(number):
    with quiet():
        model = check.switched_off(np.random.default_rng(number), number)
        assert agreement(model, float_answers(model)) < 0.95
        assert fall(model) == SOFTMAX


def fall(model):
    images = check.split_images("train", 100)
    files = [conversion.convert(model, recipe, images) for recipe in (Recipe.FLOAT32, Recipe.INT8)]
    return SOLVED.guilty_layer(*files, images)


@pytest.mark.slow
def test_other_seeds_break_other_places():
    def broken(seed):
        """The layers that differ from the trained network's, in each of the cases."""
        trained = models.trained("small_cnn")
        return tuple(
            tuple(
                number
                for number, layer in enumerate(trained.layers)
                for now, then in zip(model.layers[number].get_weights(), layer.get_weights(), strict=True)
                if not np.array_equal(now, then)
            )
            for model, _ in check.mend_channels.cases(np.random.default_rng(seed))
        )

    assert len({broken(seed) for seed in range(6)}) > 1


@pytest.mark.parametrize("seed", [1, *slow(2, 3)])
def test_a_class_that_the_network_is_sure_of_is_among_those_switched_off(seed):
    cases = check.mend_switched_off.cases(np.random.default_rng(seed))
    columns = models.trained("small_cnn").layers[7].get_weights()[0].T
    numbers = []
    for model, _ in cases:  # their classes come in another order
        kernel, bias = model.layers[7].get_weights()
        numbers.append(int(np.abs(columns - kernel[:, bias.argmin()]).max(axis=1).argmin()))
    assert check.SURE in numbers
    assert len(set(numbers)) == 2
