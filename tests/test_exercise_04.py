"""Exercise 04: its solutions on further cases, typical mistakes, and how far the rescue is from failing."""

import itertools

import keras as keras_3
import numpy as np
import pytest

from tinylab import measure, models, qat
from tinylab._tensorflow import keras, tf
from tinylab.check import exercise_04 as check
from tinylab.quiet import quiet

from .conftest import long, slow
from .solved import Mistakes, checked, solved, tasks

SOLVED = solved("04_quantization_aware_training")
TASKS = tasks(check)
SLOW = ("repair", "rescue")  # seconds a check


@pytest.mark.parametrize("seed", [*slow(1), *long(2, 3)])
@pytest.mark.parametrize("name", TASKS)
def test_a_solution_is_right(name, seed):
    result = checked(getattr(check, name), getattr(SOLVED, name), seed)
    assert result.score == 1, result


def highest(bits):
    return 2 ** (bits - 1) - 1


def codes(x, scale, bits):
    return np.clip(np.round(x / scale), -highest(bits), highest(bits))


def clipping(lowest, largest, rounded=np.round):
    """The solution with other codes, or rounded in another way."""
    return lambda x, scale, bits: scale * np.clip(rounded(x / scale), lowest(bits), largest(bits))


def passing(where):
    """A gradient that passes where steps are like this; `last` is the last code."""
    return lambda x, scale, bits, upstream: upstream * where(x / scale, highest(bits))


def trained(forward=SOLVED.fake_quantize, gradient=SOLVED.straight_through_gradient, kept=lambda w, *_: w):
    """The solution with something else in one of its places."""

    def train_rounded(x, y, w, scale, bits, rate, steps):
        for _ in range(steps):
            upstream = 2 * x.T @ (x @ forward(w, scale, bits) - y) / len(y)
            w = kept(w - rate * gradient(w, scale, bits, upstream), scale, bits)
        return w

    return train_rounded


def faster(factor, by_samples=False):
    """The solution with its rate multiplied."""

    def train_rounded(x, y, w, scale, bits, rate, steps):
        times = factor * (len(y) if by_samples else 1)
        return SOLVED.train_rounded(x, y, w, scale, bits, rate * times, steps)

    return train_rounded


def normalizing(numbers):
    """A depthwise convolution with another factor and offset."""

    def as_convolution(layer):
        factor, offset = numbers(*layer.get_weights(), layer.epsilon)
        return keras.layers.DepthwiseConv2D(1, weights=[factor.reshape(1, 1, -1, 1), offset])

    return as_convolution


def folded(gamma, beta, mean, variance, epsilon):
    factor = gamma / np.sqrt(variance + epsilon)
    return factor, beta - mean * factor


def as_diagonal(layer):
    """A right answer of another kind: a full convolution, whose channels do not meet."""
    factor, offset = folded(*layer.get_weights(), layer.epsilon)
    diagonal = np.diag(factor)[np.newaxis, np.newaxis]
    return keras.layers.Conv2D(len(factor), 1, weights=[diagonal, offset])


def as_matrix(layer):
    factor, offset = folded(*layer.get_weights(), layer.epsilon)
    return keras.layers.Dense(len(factor), weights=[np.diag(factor), offset])


def of_keras_3(layer):
    return keras_3.layers.DepthwiseConv2D(1)


def repaired(normalization=SOLVED.as_convolution, rescaling=None, nested=None):
    """The solution with something else in one of its places; None leaves the layer out."""

    def repair(model):
        layers = []
        for layer in model.layers:
            if isinstance(layer, keras.Model):
                layers += nested(layer) if nested else repair(layer).layers
            elif isinstance(layer, keras.layers.BatchNormalization):
                layers += [normalization(layer)] if normalization else []
            elif isinstance(layer, keras.layers.Rescaling):
                layers += [rescaling(layer)] if rescaling else []
            else:
                layers.append(layer)
        return keras.Sequential([keras.Input(model.input_shape[1:]), *layers])

    return repair


def sparing(model):
    """A right answer of another kind: the normalizations that the tool takes stay."""
    layers = []
    for layer in check._flat(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            fine = layers[-1].activation is keras.activations.linear
            layers.append(layer if fine else SOLVED.as_convolution(layer))
        elif not isinstance(layer, keras.layers.Rescaling):
            layers.append(layer)
    return keras.Sequential([keras.Input(model.input_shape[1:]), *layers])


def afterwards(change):
    """The solution, and then something done to the model."""
    return lambda model: change(SOLVED.repair(model))


def as_lambda(layer):
    return keras.layers.Lambda(lambda x: layer(x, training=False))


def scaling_convolution(layer):
    """The Rescaling as a convolution of one channel: it is still there."""
    return keras.layers.DepthwiseConv2D(
        1, weights=[np.full((1, 1, 1, 1), layer.scale), np.full(1, layer.offset)]
    )


def with_activations_last(model):
    """Normalization and activation exchanged, where the tool wants them: another network."""
    layers = []
    for layer in SOLVED.repair(model).layers:
        if layers and isinstance(layer, keras.layers.DepthwiseConv2D):
            layers[-1].activation = keras.activations.linear
            layers += [layer, keras.layers.ReLU()]
        else:
            layers.append(layer)
    return keras.Sequential([keras.Input(model.input_shape[1:]), *layers])


def folded_into_what_follows(model):
    """Normalizations in the next convolution: right if only it did not pad with 0."""
    layers = SOLVED.repair(model).layers
    for layer, following in itertools.pairwise(layers):
        if isinstance(layer, keras.layers.DepthwiseConv2D) and isinstance(following, keras.layers.Conv2D):
            factor, offset = (weights.ravel() for weights in layer.get_weights())
            kernel, *bias = following.get_weights()
            moved = np.einsum("hwio,i->o", kernel, offset)
            following.set_weights([kernel * factor[:, np.newaxis], *(b + moved for b in bias)])
            layer.set_weights([np.ones_like(layer.get_weights()[0]), np.zeros_like(offset)])
    return keras.Sequential([keras.Input(model.input_shape[1:]), *layers])


def cut_short(model):
    return keras.Sequential([keras.Input(model.input_shape[1:]), *model.layers[:-1]])


def untrained(model):
    return keras.models.clone_model(SOLVED.repair(model))


def quantized(model):
    with quiet():
        return check.tfmot.quantization.keras.quantize_model(model)


def functional(model):
    images = keras.Input(model.input_shape[1:])
    x = images
    for layer in model.layers:
        x = layer(x)
    return keras.Model(images, x)


def in_float(model):
    """The whole model as one Lambda layer, beside one that can be quantized."""
    shape = model.input_shape[1:]
    return keras.Sequential(
        [keras.Input(shape), keras.layers.ReLU(), keras.layers.Lambda(lambda x: model(x, training=False))]
    )


def rescued(bits=4, **training):
    """The solution in other widths, or trained in another way."""

    def rescue(model, images, labels):
        network = qat.quantization_aware(model, images[:200], weight_bits=bits)
        qat.train(network, images, labels, **training)
        return network

    return rescue


def not_trained(model, images, labels):
    return qat.quantization_aware(model, images[:200], weight_bits=4)


def trained_before(model, images, labels):
    qat.train(model, images, labels)
    return not_trained(model, images, labels)


def with_other_labels(model, images, labels):
    return SOLVED.rescue(model, images, np.random.default_rng(0).permutation(labels))


def another_network(model, images, labels):
    small = keras.Sequential([keras.layers.Flatten(input_shape=(28, 28, 1)), keras.layers.Dense(10)])
    return not_trained(small, images, labels)


def for_others(model, images, labels):
    return keras.Sequential([keras.layers.Dense(3, input_shape=(2,))])


MISTAKES = {
    "fake_quantize": {
        "codes": (codes, "times the scale"),
        "not clipped": (clipping(lambda b: -np.inf, lambda b: np.inf), "not clipped"),
        "lowest code": (clipping(lambda b: -highest(b) - 1, highest), "leaves out its lowest code"),
        "2 ** (b - 1)": (clipping(lambda b: -highest(b) - 1, lambda b: highest(b) + 1), "highest code is"),
        "unsigned": (clipping(lambda b: 0, lambda b: 2**b - 1), "as many codes below 0"),
        "cut off": (clipping(lambda b: -highest(b), highest, np.trunc), "cut off"),
        "downwards": (clipping(lambda b: -highest(b), highest, np.floor), "expected"),
        "clipped only": (clipping(lambda b: -highest(b), highest, np.asarray), "not rounded"),
        "always 4 bits": (lambda x, scale, bits: SOLVED.fake_quantize(x, scale, 4), "expected"),
        "clipped before": (
            lambda x, scale, bits: scale * np.round(np.clip(x, -highest(bits), highest(bits)) / scale),
            "not clipped",
        ),
        "flat": (lambda x, scale, bits: SOLVED.fake_quantize(x, scale, bits).ravel(), "shape (4, 5)"),
        "NaN": (lambda x, scale, bits: x * np.nan, "nan"),
        "text": (lambda x, scale, bits: "codes", "got       str"),
    },
    "straight_through_gradient": {
        "everywhere": (passing(lambda steps, last: 1), "outside of the range"),
        "nowhere": (passing(lambda steps, last: 0), "pretends that it is 1"),
        "no upstream": (lambda x, scale, bits, _: np.abs(x) <= scale * highest(bits), "times upstream"),
        "turned round": (passing(lambda steps, last: np.abs(steps) > last), "the other way round"),
        "by codes": (passing(lambda steps, last: np.abs(np.round(steps)) <= last), "beyond the last code"),
        "one side": (passing(lambda steps, last: steps <= last), "on both sides"),
        "clipped upstream": (
            lambda x, scale, bits, up: np.clip(up, -scale * highest(bits), scale * highest(bits)),
            "it is x that decides",
        ),
        "times scale": (
            lambda x, scale, bits, up: scale * SOLVED.straight_through_gradient(x, scale, bits, up),
            "not times the scale",
        ),
        "divided": (
            lambda x, scale, bits, up: SOLVED.straight_through_gradient(x, scale, bits, up) / scale,
            "not divided",
        ),
        "-8, too": (passing(lambda steps, last: (steps <= last) & (steps >= -last - 1)), "expected"),
        "ends without scale": (passing(lambda steps, last: np.abs(steps) <= last * 0.05), "expected"),
        "a number": (lambda x, scale, bits, up: 1.0, "shape ()"),
    },
    "train_rounded": {
        "rounded in the end": (
            lambda x, y, w, scale, bits, rate, steps: SOLVED.fake_quantize(
                SOLVED.train_rounded(x, y, w, scale, bits, rate, steps), scale, bits
            ),
            "in full precision",
        ),
        "rounded for good": (trained(kept=SOLVED.fake_quantize), "small steps are lost"),
        "not rounded": (trained(forward=lambda w, *_: w), "feel the rounding"),
        "in float": (trained(lambda w, *_: w, lambda w, scale, bits, up: up), "feel the rounding"),
        "no clipping": (trained(gradient=lambda w, scale, bits, up: up), "outside of the range"),
        "uphill": (faster(-1), "uphill"),
        "the sum": (faster(1, by_samples=True), "the mean over the samples"),
        "no 2": (faster(0.5), "has a 2"),
        "one step": (
            lambda x, y, w, scale, bits, rate, steps: SOLVED.train_rounded(x, y, w, scale, bits, rate, 1),
            "a single step",
        ),
        "one step more": (
            lambda x, y, w, scale, bits, rate, steps: SOLVED.train_rounded(
                x, y, w, scale, bits, rate, steps + 1
            ),
            "expected",
        ),
        "not trained": (lambda x, y, w, *_: w, "not trained"),
        "the loss": (lambda x, y, w, *_: np.mean((x @ w - y) ** 2), "shape ()"),
    },
    "as_convolution": {
        "no epsilon": (normalizing(lambda g, b, m, v, e: folded(g, b, m, v, 0)), "without epsilon"),
        "epsilon outside": (
            normalizing(lambda g, b, m, v, e: folded(g, b, m, (np.sqrt(v) + e) ** 2, 0)),
            "before the root",
        ),
        "usual epsilon": (normalizing(lambda g, b, m, v, e: folded(g, b, m, v, 1e-3)), "expected"),
        "no root": (normalizing(lambda g, b, m, v, e: folded(g, b, m, (v + e) ** 2, 0)), "by the root"),
        "mean as it is": (
            normalizing(lambda g, b, m, v, e: (folded(g, b, m, v, e)[0], b - m)),
            "the mean is divided",
        ),
        "no mean": (normalizing(lambda g, b, m, v, e: folded(g, b, 0, v, e)), "mean in the bias"),
        "mean added": (normalizing(lambda g, b, m, v, e: folded(g, b, -m, v, e)), "taken away"),
        "no gamma": (normalizing(lambda g, b, m, v, e: folded(g / g, b, m, v, e)), "is gamma in it"),
        "no beta": (normalizing(lambda g, b, m, v, e: folded(g, 0, m, v, e)), "is beta in"),
        "swapped": (normalizing(lambda g, b, m, v, e: folded(b, g, m, v, e)), "expected"),
        "does nothing": (normalizing(lambda g, b, m, v, e: (g / g, 0 * b)), "does nothing yet"),
        "new weights": (lambda layer: keras.layers.DepthwiseConv2D(1), "expected"),
        "another size": (
            lambda layer: keras.layers.DepthwiseConv2D(1, weights=[np.ones((1, 1, 2, 1)), np.ones(2)]),
            "ValueError",
        ),
        "padded away": (lambda layer: keras.layers.DepthwiseConv2D(3), "shape"),
        "itself": (lambda layer: layer, "tf_keras.BatchNormalization"),
        "dense": (as_matrix, "tf_keras.Dense"),
        "Keras 3": (of_keras_3, "keras.DepthwiseConv2D"),
        "numbers": (lambda layer: folded(*layer.get_weights(), layer.epsilon), "tuple"),
    },
    "repair": {
        "Rescaling stays": (repaired(rescaling=lambda layer: layer), "Rescaling"),
        "itself": (lambda model: model, "is not supported"),
        "Rescaling folded": (repaired(rescaling=scaling_convolution), "scaled already"),
        "Rescaling as Lambda": (repaired(rescaling=as_lambda), "Lambda given"),
        "no normalization": (repaired(normalization=None), "the answers as before"),
        "normalization stays": (repaired(normalization=lambda layer: layer), "BatchNormalization"),
        "normalization as Lambda": (repaired(normalization=as_lambda), "Lambda given"),
        "no epsilon": (
            repaired(normalizing(lambda g, b, m, v, e: folded(g, b, m, v, 0))),
            "the answers as before",
        ),
        "activation last": (with_activations_last, "the answers as before"),
        "folded into what follows": (folded_into_what_follows, "the answers as before"),
        "nested stays": (repaired(nested=lambda model: [model]), "inside another"),
        "one level deep": (repaired(nested=lambda model: model.layers), "is not supported"),
        "new weights": (untrained, "the answers as before"),
        "quantized already": (afterwards(quantized), "wrapped already"),
        "one Lambda": (afterwards(in_float), "Lambda given"),
        "cut short": (afterwards(cut_short), "to (10,)"),
        "Keras 3": (lambda model: keras_3.Sequential([keras_3.Input((28, 28, 1))]), "keras.Sequential"),
        "layers": (lambda model: SOLVED.repair(model).layers, "got       list"),
        "no shape": (lambda model: keras.Sequential([keras.layers.Dense(10)]), "built"),
    },
    "rescue": {
        "losses": (lambda *_: [0.5, 0.4], "got       list"),
        "float": (lambda model, images, labels: model, "weights in 4 bits"),
        "not trained": (not_trained, "perhaps   not trained"),
        "trained before": (trained_before, "an accuracy of"),
        "8 bits": (lambda model, images, _: qat.quantization_aware(model, images[:200]), "weights in 4 bits"),
        "tfmot's own": (lambda model, *_: quantized(model), "weights in 4 bits"),
        "2 bits": (rescued(2), "an accuracy of"),
        "wrong labels": (with_other_labels, "an accuracy of"),
        "too fast": (rescued(learning_rate=0.1), "an accuracy of"),
        "another network": (another_network, "weights in 4 bits"),
        "other inputs": (for_others, "shape"),
        "Keras 3": (lambda *_: keras_3.Sequential([keras_3.Input((28, 28, 1))]), "keras.Sequential"),
    },
}


class TestMistakes(Mistakes):
    check, table, seeds = check, MISTAKES, (2,)
    slow_tasks = SLOW
    some = 2


def plain(*arguments):
    """The same training with the gradient that TensorFlow computes, of its own fake quantization."""
    x, y, w, scale, bits, rate, steps = arguments
    w = tf.Variable(w, dtype=tf.float32)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            end = np.float32(scale * highest(bits))
            rounded = tf.quantization.fake_quant_with_min_max_vars(w, -end, end, bits, narrow_range=True)
            loss = tf.reduce_mean((tf.linalg.matvec(np.float32(x), rounded) - np.float32(y)) ** 2)
        w.assign_sub(rate * tape.gradient(loss, w))
    return w.numpy()


@pytest.mark.parametrize("seed", [1, *slow(*range(2, 12))])
def test_training_with_the_gradient_of_tensorflow_is_right_too(seed):
    assert checked(check.train_rounded, plain, seed).score == 1


@pytest.mark.parametrize("seed", range(1, 6))
def test_every_case_has_numbers_inside_outside_and_beside_the_last_code(seed):
    for x, scale, bits in check.fake_quantize.cases(np.random.default_rng(seed)):
        for steps in (x / scale, -x / scale):
            assert (steps < highest(bits) - 0.1).any()
            assert (steps > highest(bits) + 1.6).any()
            beside = (highest(bits) + 0.01 < steps) & (steps < highest(bits) + 0.4)
            assert beside.any(), "rounded to the last code, and outside"
            assert np.abs(steps - highest(bits)).min() > 0.01, "no exact end"
            assert np.abs(steps % 1 - 0.5).min() > 0.01, "no exact half"


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_weight_outside_of_the_range_is_among_those_to_train(seed):
    *_, (_, _, w, scale, bits, _, _) = check.train_rounded.cases(np.random.default_rng(seed))
    assert (np.abs(w) > scale * highest(bits)).sum() == 1


def test_tensors_and_other_convolutions_are_answers_too():
    assert check.fake_quantize(lambda *case: tf.constant(SOLVED.fake_quantize(*case))).score == 1
    assert check.as_convolution(as_diagonal).score == 1


@pytest.mark.slow
@pytest.mark.parametrize("repair", [sparing, afterwards(functional), repaired(as_diagonal)])
def test_a_model_may_be_repaired_in_another_way(repair):
    assert check.repair(repair).score == 1


def keras_accuracy(model):
    x, labels = check._held_out()
    return float(np.mean(model.predict(x, verbose=0).argmax(axis=1) == labels))


@pytest.mark.slow
def test_the_uneven_network_needs_its_rescue():
    """Float32 and 8 bits are as good as ever, 4 bits are far from good enough."""
    network, images = check.uneven_network(), check._images()[0][:200]
    right = keras_accuracy(models.trained("small_cnn"))
    assert check._float32_accuracy() == pytest.approx(right, abs=0.001)
    assert keras_accuracy(qat.quantization_aware(network, images)) > right - 0.01
    assert keras_accuracy(qat.quantization_aware(network, images, weight_bits=4)) < right - 0.04


FURTHER = [*((seed, {}) for seed in (5, 6, 7)), (8, {"learning_rate": 2e-3}), (9, {"epochs": 3, "seed": 5})]


@pytest.mark.parametrize(
    ("seed", "training"),
    [
        pytest.param(4, {}, marks=pytest.mark.slow),
        *(pytest.param(*values, marks=pytest.mark.long) for values in FURTHER),
    ],
)
def test_the_rescue_does_not_depend_on_luck(seed, training):
    """Right trainings keep some distance to the tolerance."""
    network, images, labels = check.rescue.cases(np.random.default_rng(seed))[0]
    file = qat.convert(rescued(**training)(network, images, labels), images[:100])
    loss = check._float32_accuracy() - measure.accuracy(file, *check._held_out())
    assert loss < 0.75 * check.LARGEST_LOSS


def test_what_is_held_out_is_not_among_what_is_given():
    held_out, _ = check._held_out()
    given = {
        image.tobytes() for *_, images, _ in check.rescue.cases(np.random.default_rng(1)) for image in images
    }
    assert not given & {image.tobytes() for image in held_out}
