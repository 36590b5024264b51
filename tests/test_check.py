"""Checks: four outcomes kept apart, what a learner is shown, and the six tasks of exercise 01.

The other exercises have test files of their own.
"""

import functools
import html.parser
import os
import warnings

import numpy as np
import pytest

from tinylab import conversion, runners
from tinylab._tensorflow import keras, tf
from tinylab.check import (
    exchange,
    exercise_02,
    exercise_03,
    exercise_04,
    exercise_05,
    exercise_06,
    exercise_07,
    exercise_09,
)
from tinylab.check import exercise_01 as check
from tinylab.check.answers import LONGEST_MESSAGE, Answers
from tinylab.check.task import Outcome, Right, Task, collect, exactly, identical, within
from tinylab.errors import DataError

from .conftest import long, slow
from .solved import checked

SEEDS = (*slow(1, 2), *long(3))
HINTS = ("Look at the sign.", "Is a < b, or b & c?", "return 2 * x")


def arrays(rng):
    return [(rng.normal(size=(2, 3)),) for _ in range(3)]


double = Task("double", arrays, lambda x: 2 * x, within(1e-9), HINTS)


def raises(error):
    def function(*_):
        raise error

    return function


def not_written(x):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize(
    ("function", "outcome"),
    [
        pytest.param(not_written, Outcome.NOT_ATTEMPTED, id="not written"),
        pytest.param(raises(ZeroDivisionError("no")), Outcome.ERROR, id="an error"),
        pytest.param(raises(SystemExit(3)), Outcome.ERROR, id="SystemExit"),
        pytest.param(lambda: 3, Outcome.ERROR, id="too few parameters"),
        pytest.param("double", Outcome.ERROR, id="not callable"),
        pytest.param(lambda x: 3 * x, Outcome.WRONG, id="a wrong answer"),
        pytest.param(lambda x: None, Outcome.WRONG, id="None"),
        pytest.param(lambda x: "2x", Outcome.WRONG, id="a string"),
        pytest.param(lambda x: [2 * x, 1], Outcome.WRONG, id="a ragged list"),
        pytest.param(lambda x: 2 * x[:1], Outcome.WRONG, id="another shape"),
        pytest.param(lambda x: x * np.nan, Outcome.WRONG, id="NaN"),
        pytest.param(lambda x: 2 * x, Outcome.RIGHT, id="right"),
        pytest.param(lambda x: (2 * x).tolist(), Outcome.RIGHT, id="right, as lists"),
    ],
)
def test_outcomes_are_kept_apart(function, outcome):
    result = double(function)
    assert result.outcome is outcome
    assert repr(result) == str(result.score) == ("1" if outcome is Outcome.RIGHT else "0")


def test_an_error_is_quoted():
    assert double(raises(ValueError("wrong axis"))).message == "ValueError: wrong axis"


def test_a_missing_return_is_named():
    assert "is there a return" in double(lambda x: None).message


def test_a_wrong_answer_before_an_error_is_the_one_that_is_shown():
    calls = []

    def wrong_then_error(x):
        calls.append(x)
        return 1 / 0 if len(calls) == 2 else x

    assert double(wrong_then_error).outcome is Outcome.WRONG


def test_too_few_answers_are_not_right():
    answers = double.collect(lambda x: 2 * x, 1)
    answers.values.pop()
    assert double.judge(answers, 1).outcome is Outcome.WRONG


def test_a_learner_who_stops_the_kernel_stops_it():
    with pytest.raises(KeyboardInterrupt):
        double(raises(KeyboardInterrupt()))


def test_a_blank_inside_a_recursion_or_a_call_of_the_tasks_own_is_the_blank_itself():
    def through(function, x):
        return function(x)

    asked = Task("double", arrays, lambda x: 2 * x, within(1e-9), HINTS, call=through)
    assert asked(not_written).outcome is Outcome.NOT_ATTEMPTED
    assert asked(lambda x: 2 * x).outcome is Outcome.RIGHT
    assert asked(functools.partial(not_written)).outcome is Outcome.ERROR  # no code of its own


def test_of_an_answer_what_the_task_takes_of_it_is_judged():
    first = Task("first", arrays, lambda x: 2 * x[0], within(1e-9), HINTS, call=lambda f, x: next(f(x)))
    assert first(lambda x: iter(2 * x)).outcome is Outcome.RIGHT
    assert first(lambda x: iter([])).outcome is Outcome.ERROR


def test_what_is_expected_serves_for_many_answers():
    expected = double.expected(3)
    for function, score in ((lambda x: 2 * x, 1), (lambda x: x, 0), (lambda x: 2 * x, 1)):
        assert double.judge_against(double.collect(function, 3), expected).score == score


def test_cases_alone_are_enough_to_collect():
    cases = double.cases(np.random.default_rng(1))
    assert double.judge(collect(lambda x: 2 * x, cases, "double"), 1).score == 1


def cyclic():
    nested = [1]
    nested.append(nested)
    return nested


class Loud:
    """A learner's class of which every question raises."""

    def __repr__(self):
        raise RecursionError

    def __eq__(self, other):
        raise MemoryError

    __hash__ = None


STRANGE = {
    "a million numbers": list(range(10**6)),
    "ten million characters": "x" * 10**7,
    "a huge number": 10**10_000,
    "deep": functools.reduce(lambda inside, _: [inside], range(500), 0),
    "itself inside": cyclic(),
    "an object": Loud(),
    "a wrong dict": {"a": Loud()},
    "infinity": float("inf"),
    "a type": Loud,
}


@pytest.fixture(scope="module")
def first_cases():
    """Tasks of every kind of comparison, and the right answer to the first case of each."""
    several = (
        *(double, check.largest_difference, check.accuracy, check.my_file),
        *(exercise_02.saved_percent, exercise_02.float32_bytes),
        *(exercise_03.representative_data, exercise_03.to_integers, exercise_03.quantize_images),
        *(exercise_05.multiplier_and_shift, exercise_05.dense),
        *(exercise_04.fake_quantize, exercise_04.as_convolution, exercise_04.repair),
        *(exercise_06.finish, exercise_07.sqnr, exercise_07.mend_switched_off),
        *(exercise_09.alive, exercise_09.place, exercise_09.fits_on),
    )
    return [(task, task.expected(1)[:1]) for task in several]


@pytest.mark.parametrize("value", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("there", [True, False], ids=["arrived", "before it left"])
def test_strange_answers_are_wrong_in_few_words_whatever_the_task(first_cases, value, there):
    answers = Answers([value])
    answers = exchange.load(exchange.dump(answers)) if there else answers
    for task, expected in first_cases:
        result = task.judge_against(answers, expected)
        assert result.outcome is Outcome.WRONG, task.name
        assert 0 < len(result.message) <= LONGEST_MESSAGE


def test_a_comparison_that_breaks_down_says_so():
    task = Task("name", lambda rng: [()], lambda: 1, raises(ZeroDivisionError("by 0")), ())
    result = task(lambda: "mine")
    assert result.outcome is Outcome.WRONG
    assert result.message.splitlines()[1:] == [
        "got       'mine', which cannot be compared",
        "ZeroDivisionError: by 0",
    ]


def test_an_error_without_end_is_cut_short():
    assert len(double(raises(ValueError("no " * 10**6))).message) == LONGEST_MESSAGE


# Cases


def test_the_same_seed_gives_the_same_cases_and_another_seed_others():
    seen = {}
    for seed in (1, 2, 3):
        for turn in ("first", "again"):
            given = []
            double.collect(given.append, seed)
            seen[seed, turn] = np.array(given).tobytes()
    assert all(seen[seed, "first"] == seen[seed, "again"] for seed in (1, 2, 3))
    assert len(set(seen.values())) == 3


MADE_BY_CHANCE = [
    *(check.to_tflite, check.run_one, check.largest_difference, check.accuracy),
    *(exercise_02.saved_percent, exercise_02.stays_float32, exercise_02.constants_in_file),
    *(exercise_03.representative_data, exercise_03.to_integers, exercise_03.quantize_images),
    *(task for task in vars(exercise_05).values() if isinstance(task, Task)),
]


@pytest.mark.slow
@pytest.mark.parametrize("task", MADE_BY_CHANCE, ids=lambda task: task.name)
def test_the_tasks_have_the_same_cases_for_the_same_seed(task):
    def as_bytes(value):
        weights = value.get_weights() if isinstance(value, keras.Model) else [value]
        return b"".join(w.tobytes() if isinstance(w, np.ndarray) else repr(w).encode() for w in weights)

    def cases(seed):
        given = task.cases(np.random.default_rng(seed))
        return [as_bytes(argument) for arguments in given for argument in arguments]

    first, again, other = cases(1), cases(1), cases(2)
    assert first == again
    assert first != other


def test_answers_to_one_seed_are_wrong_for_another():
    answers = double.collect(lambda x: 2 * x, 1)
    assert double.judge(answers, 1).score == 1
    assert double.judge(answers, 2).score == 0


def test_changing_the_arguments_does_not_help():
    def zero_everything(x):
        x[:] = 0
        return x

    assert double(zero_everything).outcome is Outcome.WRONG


def test_changing_the_arguments_does_not_hurt():
    def double_in_place(x):
        x *= 2
        return x.copy()

    assert double(double_in_place).outcome is Outcome.RIGHT


# What is shown


class Details(html.parser.HTMLParser):
    """How deep the details of a page are nested, and the text in each."""

    def __init__(self, page):
        super().__init__()
        self.depth, self.text = 0, {}
        self.feed(page)

    def handle_starttag(self, tag, _):
        self.depth += tag == "details"

    def handle_endtag(self, tag):
        self.depth -= tag == "details"

    def handle_data(self, text):
        self.text[self.depth] = self.text.get(self.depth, "") + text


def test_a_hint_is_shown_only_inside_the_one_before_it():
    details = Details(double(lambda x: x)._repr_html_())
    assert details.depth == 0
    assert [hint in details.text[depth] for depth, hint in enumerate(HINTS, 1)] == [True] * 3
    assert not any(hint in details.text[0] for hint in HINTS)


def test_what_is_right_shows_no_hints():
    assert "<details>" not in double(lambda x: 2 * x)._repr_html_()


def test_text_is_escaped():
    page = double(raises(ValueError("<script>")))._repr_html_()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "a &lt; b, or b &amp; c" in page


def test_a_wrong_answer_shows_what_was_given_expected_and_got():
    task = Task("add_one", lambda rng: [(41,)], lambda x: x + 1, exactly, ())
    assert str(task(lambda x: x)) == "add_one: not right yet\ngiven     41\nexpected  42\ngot       41"


def test_long_values_are_shown_in_a_few_words():
    assert len(max(double(lambda x: "x" * 10_000).message.splitlines(), key=len)) < 150


@pytest.mark.parametrize(
    ("expected", "got", "right"),
    [(True, True, True), (True, 1, False), (1, True, False), (True, np.True_, True), (2, np.int64(2), True)],
)
def test_exactly_tells_true_from_one(expected, got, right):
    assert (exactly(expected, got) == "") is right


@pytest.mark.parametrize(
    ("got", "words"),
    [
        ([1, 2, 3], "a NumPy array"),
        (np.int8([1, 2]), "shape (3,)"),
        (np.float32([1, 2, 3]), "float32"),
        (np.array([True, True, True]), "bool"),
        (np.array(["1", "2", "3"]), "<U1"),
        (np.int8([1, 2, 4]), "got       [1 2 4]"),
        (np.int8([-1, -2, -3]), "perhaps   the sign?"),
    ],
    ids=str,
)
def test_identical_says_what_differs(got, words):
    right = Right(np.int8([1, 2, 3]), {"the sign?": np.int8([-1, -2, -3])})
    assert identical()(right, np.int8([1, 2, 3])) == ""
    assert words in identical()(right, got)


def test_identical_takes_other_dtypes_if_it_is_told_so():
    right = Right(np.int8([1, 2, 3]))
    assert identical("iu")(right, np.int64([1, 2, 3])) == ""
    assert "an integer dtype" in identical("iu")(right, np.float32([1, 2, 3]))
    assert identical("iuf")(right, np.float32([1, 2, 3])) == ""
    assert "nan" in identical("iuf")(right, np.float32([1, 2, np.nan]))


def test_of_a_long_array_the_first_difference_is_shown():
    got = np.zeros((10, 10), np.int8)
    got[3, 4:6] = 7
    message = identical()(Right(np.zeros((10, 10), np.int8)), got)
    assert message == "at [3, 4], and 2 of 100 differ:\nexpected  0\ngot       7"


def test_a_refusal_by_our_own_tools_says_why_the_answer_is_wrong():
    def compare(expected, got):
        raise DataError("no such class")

    result = Task("name", lambda rng: [()], lambda: 1, compare, ())(lambda: 2)
    assert (result.outcome, "no such class" in result.message) == (Outcome.WRONG, True)


# Exercise 01


def to_tflite(model):
    return tf.lite.TFLiteConverter.from_keras_model(model).convert()


def run_one(tflite_model, sample):
    interpreter = runners.interpreter(tflite_model)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def largest_difference(a, b):
    return np.abs(a - b).max()


def accuracy(outputs, labels):
    return np.mean(outputs.argmax(axis=1) == labels)


def answers(model, tflite_model, x):
    return model(x).numpy(), runners.load(tflite_model).predict(x)


def is_faithful(model, tflite_model, x, tolerance):
    return bool(largest_difference(*answers(model, tflite_model, x)) <= tolerance)


@pytest.fixture(scope="module")
def small_file():
    """A small network, trained for a moment: some 8,000 parameters."""
    from tinylab import data

    images, labels = data.arrays("fashion_mnist", "train")
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(input_shape=(28, 28, 1)), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images.astype(np.float32) / 255, labels, epochs=2, verbose=0)
    return conversion.convert(model, conversion.Recipe.FLOAT32)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "function", [to_tflite, run_one, largest_difference, accuracy, is_faithful], ids=lambda f: f.__name__
)
def test_a_correct_solution_is_right(function, seed):
    result = checked(getattr(check, function.__name__), function, seed)
    assert result.score == 1, result


def test_a_small_and_good_file_is_right(small_file):
    assert checked(check.my_file, lambda: small_file).score == 1


def of_another_model(model):
    return to_tflite(keras.models.clone_model(model))


def a_string(model):
    return str(to_tflite(model))


def the_converter(model):
    return tf.lite.TFLiteConverter.from_keras_model(model)


def quantized(model):
    converter = the_converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def of_other_samples(tflite_model, sample):
    return run_one(tflite_model, sample * 0)


def without_the_batch(tflite_model, sample):
    return run_one(tflite_model, sample)[0]


def with_the_sign(a, b):
    return (a - b).max()


def of_the_mean(a, b):
    return np.abs(a - b).mean()


def smallest(a, b):
    return np.abs(a - b).min()


def counted(outputs, labels):
    return np.sum(outputs.argmax(axis=1) == labels)


def above_one_half(outputs, labels):
    return np.mean((outputs > 0.5).argmax(axis=1) == labels)


def of_absolute_values(outputs, labels):
    return np.mean(np.abs(outputs).argmax(axis=1) == labels)


def fooled_by_nan(model, tflite_model, x, tolerance):
    return not bool(largest_difference(*answers(model, tflite_model, x)) > tolerance)


def of_the_first_sample(model, tflite_model, x, tolerance):
    return is_faithful(model, tflite_model, x[:1] * 0, 1e9)


def always(model, tflite_model, x, tolerance):
    return True


def never(model, tflite_model, x, tolerance):
    return False


@pytest.mark.parametrize(
    ("name", "function"),
    [
        *[("largest_difference", f) for f in (with_the_sign, of_the_mean, smallest)],
        *[("accuracy", f) for f in (counted, above_one_half, of_absolute_values)],
        *(
            pytest.param(name, function, marks=pytest.mark.slow)
            for name, functions in {
                "to_tflite": (of_another_model, a_string, the_converter, quantized),
                "run_one": (of_other_samples, without_the_batch),
                "is_faithful": (fooled_by_nan, of_the_first_sample, always, never),
            }.items()
            for function in functions
        ),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_typical_mistake_is_wrong(name, function):
    assert checked(getattr(check, name), function).outcome is Outcome.WRONG


@pytest.mark.slow
def test_running_keras_where_there_is_only_a_file_is_an_error():
    assert check.run_one(lambda tflite_model, sample: tflite_model(sample)).outcome is Outcome.ERROR


@pytest.mark.slow
def test_a_file_that_is_too_large_or_knows_nothing_is_wrong(cnn_files):
    untrained = keras.Sequential(
        [keras.layers.Flatten(input_shape=(28, 28, 1)), keras.layers.Dense(10, "softmax")]
    )
    for content in (cnn_files["float32"], to_tflite(untrained)):
        result = check.my_file(lambda content=content: content)
        assert (result.outcome, "accuracy" in result.message) == (Outcome.WRONG, True)


@pytest.mark.parametrize("content", [b"", b"no model", None, "model.tflite"])
def test_what_is_no_file_is_wrong_and_not_an_error(content):
    assert check.my_file(lambda: content).outcome is Outcome.WRONG


def test_a_file_cut_short_is_wrong():
    assert check.to_tflite(lambda model: to_tflite(model)[:-100]).outcome is Outcome.WRONG


def test_a_file_of_a_network_of_another_shape_is_wrong():
    other = to_tflite(keras.Sequential([keras.layers.Dense(3, input_shape=(2,))]))
    assert check.to_tflite(lambda model: other).outcome is Outcome.WRONG


def test_a_file_of_a_network_with_another_output_shape_is_wrong():
    def with_four_outputs(model):
        inputs = model.input_shape[1:]
        return to_tflite(keras.Sequential([keras.layers.Dense(4, input_shape=inputs)]))

    result = check.to_tflite(with_four_outputs)
    assert result.outcome is Outcome.WRONG
    assert "shape" in result.message


def test_a_blank_that_the_function_calls_is_not_the_function_itself():
    result = double(lambda x: not_written(x) + x)
    assert result.outcome is Outcome.ERROR
    assert "still blank" in result.message


@pytest.mark.slow
def test_a_check_writes_nothing_to_stderr(capfd):
    def chatty(x):
        os.write(2, b"INFO: a delegate was created\n")
        warnings.warn("an old argument", stacklevel=1)
        return 2 * x

    def chatty_comparison(expected, got):
        return chatty(0) or ""

    capfd.readouterr()
    double(chatty)
    Task("double", arrays, chatty, chatty_comparison, ())(chatty)
    check.to_tflite(to_tflite)
    check.run_one(run_one)
    assert capfd.readouterr().err == ""
