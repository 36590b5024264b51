"""The row of buttons that asks for a prediction."""

import pytest

from tinylab.errors import TinylabError
from tinylab.widgets import Prediction


def click(prediction, description):
    """Click a button by what stands on it; returns what is said then."""
    row, verdict = prediction.children
    button = next(b for b in row.children if b.description == description)
    button.click()
    return verdict.value


def test_the_right_number_is_the_nearest():
    prediction = Prediction([1000, 4000], lambda: 3800, unit="bytes")
    assert click(prediction, "4,000 bytes") == "<b>Yes</b>: 3,800 bytes here."


def test_a_wrong_number_is_told_the_right_one():
    prediction = Prediction([1.5, 4.0], lambda: 3.8, unit="x")
    assert click(prediction, "1.5 x") == "<b>No, 4 x is right</b>: 3.8 x here."


def test_words_are_right_or_wrong():
    prediction = Prediction(["larger", "smaller"], lambda: "smaller")
    assert click(prediction, "smaller") == "<b>Yes</b>."
    assert click(prediction, "larger") == "<b>No, smaller is right</b>."


def test_a_word_that_is_no_option_is_a_mistake_of_the_lesson():
    prediction = Prediction(["larger", "smaller"], lambda: "equal")
    with pytest.raises(TinylabError, match="none of the options"):
        prediction._judge("larger")


def test_without_the_cells_above_a_click_asks_to_run_them():
    prediction = Prediction([1, 2], lambda: not_yet_defined)  # noqa: F821
    assert "Run the cells above first" in click(prediction, "1")


def test_the_answer_is_computed_at_the_click_and_not_before():
    calls = []
    prediction = Prediction([1, 2], lambda: calls.append(1) or 2)
    assert not calls
    click(prediction, "2")
    assert len(calls) == 1


def test_only_the_chosen_button_is_marked():
    prediction = Prediction([1, 2, 3], lambda: 2)
    click(prediction, "3")
    click(prediction, "1")
    row, _ = prediction.children
    assert [button.button_style for button in row.children] == ["info", "", ""]


def test_text_is_escaped():
    prediction = Prediction(["a < b", "a > b"], lambda: "a > b")
    assert click(prediction, "a < b") == "<b>No, a &gt; b is right</b>."


def test_without_widgets_the_options_are_shown_as_text():
    assert repr(Prediction([1000, 2], lambda: 1, unit="kB")) == "Your prediction: 1,000 kB  |  2 kB"
