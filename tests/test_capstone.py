"""The capstone: one candidate trained and measured, and what the lesson and its solution come to."""

import json
import math
import pickle

import numpy as np
import pytest

from tinylab import authoring, capstone, data, memory_plan, runners, search
from tinylab.capstone import BUDGET, Design, deliver, work
from tinylab.errors import TinylabError
from tinylab.runners import micro
from tinylab.scorecard import scorecard

SMALL = {"filters": 4, "blocks": 1, "epochs": 1}
needs_micro = pytest.mark.skipif(not micro.available(), reason="needs the package tflite-micro")


@pytest.fixture(scope="module")
def delivered():
    return deliver(Design(**SMALL))


@pytest.fixture
def already(monkeypatch, delivered):
    """`work` gets files that are there already, and trains nothing."""
    monkeypatch.setattr(capstone, "deliver", lambda _: delivered)


@pytest.mark.slow
def test_a_small_training_finds_more_than_the_commonest_exercise():
    x, labels = data.arrays("motion", "train")
    network = capstone.train(Design(**SMALL | {"epochs": 3}), x, labels)
    x, labels = capstone.prepared("test")
    found = network.predict(x, verbose=0).argmax(axis=1)
    assert np.mean(found == labels) > np.bincount(labels).max() / len(labels) + 0.1


@pytest.mark.long
def test_the_same_seed_gives_the_same_answers_and_another_seed_others(delivered):
    x, _ = capstone.prepared("validation")
    again, other = deliver(Design(**SMALL)), deliver(Design(**SMALL, seed=1))
    for file, same, different in zip(delivered, again, other, strict=True):
        answers, repeated, others = (runners.load(f).predict(x) for f in (file, same, different))
        assert np.array_equal(answers, repeated)
        assert not np.array_equal(answers, others)


@pytest.mark.slow
@pytest.mark.usefixtures("already")
def test_what_is_measured_is_what_the_scorecard_finds(delivered):
    measured = work(**SMALL)
    card = scorecard(*delivered, *capstone.prepared("validation"), BUDGET).table.measured
    assert card["accuracy"] == f"{measured['accuracy']:.4f}"
    assert card["flash"] == f"{measured['flash']:,} bytes"
    assert card["agreement with float32"].startswith(f"{measured['agreement']:.4f}")
    assert card["latency, estimated"] == f"{measured['ms']:.3g} ms"
    if micro.available():
        assert card["arena"] == f"{measured['arena']:,} bytes"


@pytest.mark.slow
@pytest.mark.usefixtures("already")
def test_what_is_measured_can_be_stored_and_the_function_sent_to_a_worker():
    assert json.loads(json.dumps(work(**SMALL), allow_nan=False)) == work(**SMALL)
    assert pickle.loads(pickle.dumps(work)) is work


@pytest.mark.usefixtures("already")
def test_without_tflm_the_plan_stands_in_and_says_so(monkeypatch, delivered):
    monkeypatch.setattr(micro, "available", lambda: False)
    measured = work(**SMALL)
    assert (measured["arena_from"], measured["arena"]) == ("plan", memory_plan.plan(delivered[1]).size)


@pytest.mark.slow
@needs_micro
def test_a_file_that_tflm_refuses_has_no_arena_and_no_estimate(monkeypatch):
    # weights of fewer than 1,024 elements would stay in float32
    files = deliver(Design(filters=48, blocks=1, epochs=0, recipe="dynamic_range"))
    monkeypatch.setattr(capstone, "deliver", lambda _: files)
    assert (work()["arena"], work()["ms"]) == (None, None)


@pytest.mark.slow
def test_the_people_of_the_test_split_are_not_asked(monkeypatch):
    asked = []
    arrays = data.arrays
    monkeypatch.setattr(data, "arrays", lambda name, split: asked.append(split) or arrays(name, split))
    work(**SMALL)
    assert set(asked) == {"train", "validation"}


@pytest.mark.slow
def test_training_turns_windows_when_asked(monkeypatch):
    given = []
    turned = capstone.augment.turned
    monkeypatch.setattr(
        capstone.augment, "turned", lambda x, degrees, rng: given.append(degrees) or turned(x, degrees, rng)
    )
    x, labels = data.arrays("motion", "validation")
    for turn in (0.0, 12.0):
        capstone.train(Design(**SMALL, turn=turn), x, labels)
    assert given == [12.0]


def test_a_design_that_is_none_is_refused():
    with pytest.raises(TinylabError, match="dynamic_range"):
        work(recipe="int4")
    with pytest.raises(TypeError, match="filter"):
        work(filter=8)


@pytest.mark.slow
def test_a_search_measures_each_candidate_and_says_which_failed(tmp_path):
    candidates = [SMALL, {**SMALL, "blocks": 9}]
    found = search.search(work, candidates, tmp_path / "store.jsonl")
    assert 0 < found.accuracy[0] < 1
    assert "blocks=9" in found.error[1]
    assert math.isnan(found.accuracy[1])


# The notebooks. nbval runs the tagged cells again and compares, so what is stored is what today's code does.


def final(folder):
    """What the last tagged cell of a capstone printed, and the whole notebook's text of scorecards."""
    cells = authoring.read(authoring.ROOT / folder / "10_capstone.ipynb").cells
    tagged = [cell for cell in cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    return "".join(output.get("text", "") for output in tagged[-1].outputs)


def test_the_untouched_capstone_is_not_deployable_and_scores_low():
    assert final("notebooks") == "deployable: no, and fewer than 70 of 100 points\n"


def test_the_worked_solution_fails_nothing_with_any_seed():
    assert final("solutions") == "criteria failed with any seed: none\n"
