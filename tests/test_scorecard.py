"""A scorecard passes what is ready for a board, grades what is not, and cannot be had by a trick."""

import warnings

import numpy as np
import pytest

from tinylab import arena, boards, measure, memory_plan, runners
from tinylab.errors import DataError, ModelFileError
from tinylab.runners import micro
from tinylab.scorecard import AGREEMENT, POINTS, Budget, scorecard

from .conftest import slow

needs_micro = pytest.mark.skipif(not micro.available(), reason="needs the package tflite-micro")

SAMPLES, CLASSES, FEATURES = 120, 3, 4


@pytest.fixture(scope="module")
def task():
    """Samples of three classes, apart from each other, and their labels: 60, 30 and 30."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [60, 30, 30])
    x = np.eye(FEATURES)[labels] * 2 + rng.normal(0, 0.5, (SAMPLES, FEATURES))
    return x.astype(np.float32), labels


def network(weights, bias=0.0):
    from tinylab._tensorflow import keras

    layer = keras.layers.Dense(CLASSES, name="scores", input_shape=(FEATURES,))
    model = keras.Sequential([layer, keras.layers.Softmax(name="probabilities")])
    layer.set_weights([np.asarray(weights, float), np.zeros(CLASSES) + bias])
    return model


def files(model, x, recipe="int8"):
    from tinylab.conversion import Recipe, convert

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert(model, Recipe.FLOAT32), convert(model, Recipe(recipe), x)


@pytest.fixture(scope="module")
def good(task):
    """A network that is right nearly always: float32 file, int8 file."""
    return files(network(3 * np.eye(FEATURES, CLASSES)), task[0])


@pytest.fixture(scope="module")
def constant(task):
    return files(network(np.zeros((FEATURES, CLASSES)), [1.0, 0.0, 0.0]), task[0])


GENEROUS = {"board": "NUCLEO-L4R5ZI", "accuracy": 0.9, "milliseconds": 100}


def row(card, name):
    return card.table.loc[name]


@needs_micro
def test_what_does_everything_is_deployable_and_has_all_points(good, task):
    card = scorecard(*good, *task, Budget(**GENEROUS))
    assert (card.points, card.passed, card.verdict) == (100, True, "deployable")
    assert list(card.table.index) == list(POINTS)
    assert card.table["of"].to_dict() == POINTS
    assert (card.table["passed"] == "yes").all()


@needs_micro
def test_the_card_says_what_the_other_tools_measure(good, task):
    card = scorecard(*good, *task, Budget(**GENEROUS))
    reference = runners.load(good[1], kernels="reference")
    accuracy = measure.accuracy(reference, *task)
    assert row(card, "accuracy")["measured"] == f"{accuracy:.4f}"
    assert row(card, "flash")["measured"] == f"{len(good[1]):,} bytes"
    assert row(card, "arena")["measured"] == f"{arena.measure(good[1]).total:,} bytes"
    same = measure.share(
        *(measure.chosen(runners.load(f, kernels="reference").predict(task[0])) for f in good)
    )
    assert row(card, "agreement with float32")["measured"].startswith(f"{same:.4f} (SQNR ")
    estimate = boards.estimated_ms(good[1], boards.BOARDS[GENEROUS["board"]])
    assert row(card, "latency, estimated")["measured"] == f"{estimate:.3g} ms"


@needs_micro
@pytest.mark.parametrize("name", ["flash", *slow("arena", "latency, estimated")])
@pytest.mark.parametrize(("excess", "part"), [(1.0, 1.0), (1.25, 0.75), (2.5, 0.0)])
def test_points_fall_to_none_at_twice_the_limit(good, task, name, excess, part):
    estimate = boards.estimated_ms(good[1], boards.BOARDS[GENEROUS["board"]])
    limits = {
        "flash": ("flash", len(good[1]) / excess),
        "arena": ("ram", arena.measure(good[1]).total / excess),
        "latency, estimated": ("milliseconds", estimate / excess),
    }
    card = scorecard(*good, *task, Budget(**GENEROUS | dict([limits[name]])))
    assert row(card, name)["points"] == pytest.approx(part * POINTS[name])
    assert row(card, name)["passed"] == ("yes" if excess == 1 else "no")
    assert card.passed == (excess == 1)
    assert card.points == pytest.approx(100 - (1 - part) * POINTS[name], abs=0.1)


def test_accuracy_counts_from_the_commonest_class_to_what_is_required(good, task):
    x, labels = task
    wrong = labels.copy()
    wrong[60:75] = 0  # the commonest class has 75 of 120 now, and the network 45 of the other 45
    card = scorecard(*good, x, wrong, Budget(accuracy=0.99))
    accuracy = measure.accuracy(runners.load(good[1], kernels="reference"), x, wrong)
    part = (accuracy - 0.625) / (0.99 - 0.625)
    assert 0 < part < 1
    accuracy_row = row(card, "accuracy")
    assert accuracy_row["points"] == pytest.approx(part * accuracy_row["of"])
    others = card.table.drop("accuracy")
    tried = others[others["passed"] == "yes"]
    assert tried["points"].tolist() == pytest.approx((part * tried["of"]).tolist())
    assert card.verdict == "not deployable"


@pytest.mark.parametrize(
    "budget",
    [
        {},
        {"accuracy": 0.8},
        {"flash": 10_000},
        {"ram": 10_000, "accuracy": 0.8},
        {"board": "Raspberry Pi Pico"},
        {"board": "micro:bit v2", "milliseconds": 5},
    ],
    ids=str,
)
def test_there_are_always_100_points_in_all(good, task, budget):
    table = scorecard(*good, *task, Budget(**budget)).table
    assert table["of"].sum() == pytest.approx(100)
    asked = table[table["passed"].isin(["yes", "no"])]
    weights = [POINTS[name] for name in asked.index]
    assert asked["of"].tolist() == pytest.approx([100 * w / sum(weights) for w in weights])


# No trick


@pytest.mark.parametrize("budget", [{}, {"accuracy": 0.6}, {"board": "micro:bit v2", "milliseconds": 5}])
def test_an_answer_that_is_always_the_same_gets_no_points(constant, task, budget):
    card = scorecard(*constant, *task, Budget(**budget))
    assert (card.points, card.verdict) == (0, "not deployable")
    assert row(card, "accuracy")["measured"] == "0.5000"
    assert row(card, "agreement with float32")["passed"] == "no"


@pytest.fixture(scope="module")
def nan_file():
    """A file of float32 that answers with NaN in the place of the right class."""
    from tinylab._tensorflow import tf

    def answer(x):
        right = x[:, :CLASSES] >= tf.reduce_max(x[:, :CLASSES], axis=1, keepdims=True)
        return tf.where(right, np.nan * tf.ones_like(x[:, :CLASSES]), x[:, :CLASSES])

    function = tf.function(answer, input_signature=[tf.TensorSpec((1, FEATURES), tf.float32)])
    concrete = [function.get_concrete_function()]
    return tf.lite.TFLiteConverter.from_concrete_functions(concrete, function).convert()


def test_outputs_that_are_no_numbers_are_wrong(good, nan_file, task):
    card = scorecard(good[0], nan_file, *task, Budget(accuracy=0.9))
    assert row(card, "accuracy")["measured"] == "0.0000"
    assert row(card, "agreement with float32")["measured"] == "0.0000"
    assert (card.points, card.verdict) == (0, "not deployable")


@needs_micro
def test_what_the_microcontroller_refuses_is_not_deployable_and_the_reason_is_given(cnn_files, fashion):
    x, labels = fashion[0][:100], fashion[1][:100]
    card = scorecard(cnn_files["float32"], cnn_files["dynamic_range"], x, labels, Budget(accuracy=0.5))
    assert row(card, "runs on TFLM")["passed"] == row(card, "integers throughout")["passed"] == "no"
    assert row(card, "arena")["measured"] == "none"
    assert "Hybrid models are not supported" in row(card, "runs on TFLM")["remark"]
    for shown in (repr(card), card._repr_html_()):
        assert "Hybrid models" in " ".join(shown.split())
    assert card.verdict == "not deployable"


def test_a_float_model_is_not_deployable_however_large_the_board(good, task):
    card = scorecard(good[0], good[0], *task, Budget(board="Teensy 4.1", milliseconds=1000))
    assert row(card, "integers throughout")[["passed", "remark"]].tolist() == ["no", "float32"]
    assert row(card, "latency, estimated")["passed"] == "no"
    assert card.verdict == "not deployable"


def test_a_file_that_does_not_choose_as_the_float_model_does_is_not_deployable(good, task):
    """Classes 1 and 2 are exchanged in the float model."""
    other, _ = files(network(3 * np.eye(FEATURES, CLASSES)[:, [0, 2, 1]]), task[0])
    card = scorecard(other, good[1], *task, Budget(accuracy=0.9))
    agreement = row(card, "agreement with float32")
    assert float(agreement["measured"].split()[0]) < 0.6 < AGREEMENT
    assert agreement["passed"] == "no"
    assert agreement["points"] < 0.3 * agreement["of"]
    assert card.verdict == "not deployable"


def test_outputs_of_other_shapes_are_refused(good, task):
    from tinylab._tensorflow import keras

    layers = [
        keras.layers.Dense(CLASSES + 1, name="scores", input_shape=(FEATURES,)),
        keras.layers.Dense(FEATURES, name="other_scores"),
    ]
    wider, _ = files(keras.Sequential(layers), task[0])
    with pytest.raises(DataError, match="two files of the same model"):
        scorecard(wider, good[1], *task, Budget())


# Without the interpreter


def test_without_the_package_nothing_is_claimed(good, task, monkeypatch):
    monkeypatch.setattr(micro, "available", lambda: False)
    card = scorecard(*good, *task, Budget(**GENEROUS))
    assert (card.points, card.passed, card.verdict) == (100, False, "unproven")
    assert row(card, "runs on TFLM")[["measured", "passed"]].tolist() == ["not tried here", "not tried"]
    size = memory_plan.plan(good[1]).size
    assert row(card, "arena")["measured"] == f"more than {size:,} bytes"
    assert row(card, "arena")["passed"] == "not tried"
    assert "planned from the file" in repr(card)


def test_a_plan_that_is_too_large_fails_without_the_package(good, task, monkeypatch):
    monkeypatch.setattr(micro, "available", lambda: False)
    card = scorecard(*good, *task, Budget(ram=memory_plan.plan(good[1]).size - 1))
    assert row(card, "arena")["passed"] == "no"
    assert card.verdict == "not deployable"


# What is refused


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"board": "Arduino"}, "no board 'Arduino': there are .*Raspberry Pi Pico"),
        ({"accuracy": 85}, "accuracy=85: a number above 0 up to 1"),
        ({"accuracy": 0}, "accuracy=0"),
        ({"flash": -1}, "flash=-1"),
        ({"ram": float("nan")}, "ram=nan"),
        ({"flash": 0, "board": "micro:bit v2"}, "flash=0"),
        ({"flash": "16 kB"}, "flash='16 kB'"),
        ({"milliseconds": 5}, "board=None given"),
        ({"milliseconds": 5, "board": "Raspberry Pi Pico"}, "board='Raspberry Pi Pico' given"),
    ],
)
def test_a_budget_that_is_none_is_refused(budget, said):
    with pytest.raises(DataError, match=said):
        Budget(**budget)


def test_a_board_lends_its_memory_to_the_budget():
    board = boards.BOARDS["micro:bit v2"]
    for named in (board, board.name):
        budget = Budget(board=named, ram=1000)
        assert (budget.board, budget.ram) == (board, 1000)
        assert budget.flash == board.flash - boards.INTERPRETER_FLASH


def test_labels_and_accuracies_that_prove_nothing_are_refused(good, task):
    x, labels = task
    with pytest.raises(DataError, match="all of the same class"):
        scorecard(*good, x, np.zeros(SAMPLES), Budget())
    with pytest.raises(DataError, match=r"always the same reaches 0\.5000"):
        scorecard(*good, *task, Budget(accuracy=0.5))
    with pytest.raises(DataError, match="as many of each"):
        scorecard(*good, x, labels[:-1], Budget())
    with pytest.raises(DataError, match="expected"):
        scorecard(*good, x[:, :2], labels, Budget())


def test_swapped_and_damaged_files_are_refused(good, task):
    with pytest.raises(DataError, match=r"float_file: float32 expected, .*integer.* given"):
        scorecard(good[1], good[0], *task, Budget())
    with pytest.raises(ModelFileError):
        scorecard(good[0], good[1][:300], *task, Budget())


# How it is shown


def test_signs_have_words_beside_them_and_colours_are_left_to_the_page(good, task):
    card = scorecard(*good, *task, Budget(board="micro:bit v2", flash=100))
    html = card._repr_html_()
    for shown in (repr(card), html):
        assert "✗ no" in shown
        assert "✓ yes" in shown
        assert "reference kernels of LiteRT" in " ".join(shown.split())
        assert f"{card.points:.1f} of 100 points: not deployable" in shown
    assert "color" not in html
    assert "background" not in html
