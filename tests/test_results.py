"""The results that the course states: pages made from docs/results.json, and figures that are still true."""

import copy
import re

import pytest

from tinylab.runners import micro

from .bench import claims, facts, files, pages, quality, stored
from .bench.parts import PARTS, conditions, plain
from .conftest import long, slow

MEASURED = pages.measured()
ACCURACY = 0.002  # 4 of 2,000 images: another processor sums up in another order
TRAINED_HERE = {"shuffling": 0.1}  # an epoch of training goes another way on another processor


@pytest.mark.parametrize("path", pages.PAGES, ids=lambda path: path.name)
def test_a_page_says_what_was_measured(path):
    assert path.read_text() == pages.PAGES[path](MEASURED), "run `make results`"


@pytest.mark.parametrize("path", pages.PAGES, ids=lambda path: path.name)
def test_other_figures_make_another_page(path):
    other = copy.deepcopy(MEASURED)
    for by_recipe in (other["quality"]["recipes"]["small_cnn"], other["quality"]["shipped"]["small_cnn"]):
        by_recipe["int8"]["bytes"] += 1000
    assert path.read_text() != pages.PAGES[path](other)


def test_all_parts_were_measured_in_one_run():
    assert list(MEASURED) == [*conditions(), *PARTS]
    assert list(MEASURED["quality"]) == [measure.__name__ for measure in quality.QUALITY]
    assert list(MEASURED["facts"]) == [fact.__name__ for fact in facts.FACTS]


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.says)
def test_a_claim_has_figures_a_verdict_and_a_section_that_shows_it(claim):
    figures, verdict = claim.judge(MEASURED)
    assert re.search(r"\d", figures)
    assert re.fullmatch(r"holds|fails|not measured here|holds when .+", verdict)
    assert claim.section in stored.headings(claim.lesson)


def verdict_on(says, measured):
    (claim,) = (claim for claim in claims.CLAIMS if claim.says == says)
    return claim.judge(measured)[1]


def test_other_figures_get_another_verdict():
    assert verdict_on("Int8 computes faster than float32.", MEASURED) not in ("holds", "fails")
    for factor, verdict in ((1e-3, "holds"), (1e3, "fails")):
        other = copy.deepcopy(MEASURED)
        for by_kernels in other["kernels"].values():
            for times in by_kernels.values():
                times["int8"] *= factor
        assert verdict_on("Int8 computes faster than float32.", other) == verdict


def test_what_a_lesson_does_not_say_is_named():
    with pytest.raises(LookupError, match=r"lesson 04 stores no table with .*'moon'"):
        stored.table("04", "moon")
    with pytest.raises(LookupError, match="lesson 04 prints nothing with 'moon'"):
        stored.line("04", "moon")


def same(measured, before, tolerance=ACCURACY):
    """The same in whole numbers and words, and nearly in others."""
    if isinstance(before, dict):
        assert measured.keys() == before.keys()
        for name in before:
            same(measured[name], before[name], tolerance)
    elif isinstance(before, float):
        assert measured == pytest.approx(before, abs=tolerance)
    else:
        assert measured == before


def test_what_differs_is_noticed():
    for other in ({"bytes": 37225, "accuracy": 0.877}, {"bytes": 37224, "accuracy": 0.874}, {"bytes": 37224}):
        with pytest.raises(AssertionError):
            same(other, {"bytes": 37224, "accuracy": 0.877})


@pytest.mark.slow
@pytest.mark.parametrize("measure", [quality.recipes, quality.traffic], ids=lambda measure: measure.__name__)
def test_sizes_and_accuracies_are_still_true(measure):
    same(plain(measure()), MEASURED["quality"][measure.__name__])


LARGE = [name for name in files.NETWORKS if name.startswith("mobilenet")]


@pytest.mark.parametrize("name", [*slow(*(n for n in files.NETWORKS if n not in LARGE)), *long(*LARGE)])
def test_a_file_still_has_its_size_and_its_boards(name):
    assert quality.shipped([name]) == {name: MEASURED["quality"]["shipped"][name]}


@pytest.mark.slow
@pytest.mark.parametrize("fact", facts.FACTS, ids=lambda fact: fact.__name__)
def test_a_fact_is_still_true(fact):
    if fact is facts.on_a_chip and not micro.available():
        pytest.skip("TensorFlow Lite Micro is not here")
    name = fact.__name__
    same(plain(fact()), MEASURED["facts"][name], TRAINED_HERE.get(name, ACCURACY))
