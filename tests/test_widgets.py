"""The row of buttons that asks for a prediction, and the explorers."""

import base64

import numpy as np
import pytest

from tinylab.errors import TinylabError
from tinylab.widgets import AffineExplorer, Prediction, RangeExplorer


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


# The explorers (tests/test_browser.py moves them in a real page)


def set_to(explorer, **state):
    for name, value in state.items():
        explorer.controls[name].value = value
    return str(explorer)


def test_the_first_state_is_the_courses_example():
    assert str(AffineExplorer()) == (
        "scale 0.0352941, zero_point -43, codes -128 to 127. The value 1 gets the code -15, which stands for "
        "0.988235: error -0.01176 (at most 0.01765)."
    )


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"bits": 4}, "scale 0.6, zero_point -3, codes -8 to 7"),
        ({"symmetric": True}, "scale 0.0472441, zero_point 0"),
        ({"value": 7.5}, "stands for 6: error -1.5, clipped"),
        ({"value": -12}, "gets the code -128, which stands for -3: error +9, clipped"),
        ({"low": 2.0, "high": 6.0}, "scale 0.0235294 (widened to hold 0), zero_point -128"),
        ({"bits": 16}, "codes -32768 to 32767"),
    ],
)
def test_every_control_is_followed(state, expected):
    assert expected in set_to(AffineExplorer(), **state)


def test_a_range_that_ends_before_it_begins_is_explained_and_the_picture_stays():
    explorer = AffineExplorer()
    *_, picture, reading = explorer.widget.children
    before = picture.value
    set_to(explorer, low=7.0)
    assert "above its high end" in reading.value
    assert picture.value == before
    set_to(explorer, low=-1.0)
    assert "scale 0.027451" in reading.value


def test_a_narrower_range_rounds_less_and_clips_more():
    explorer = RangeExplorer(np.random.default_rng(0).normal(size=1000))
    assert "clipping 0; 0.0% of the values clipped" in str(explorer)
    assert "clipping 0;" not in set_to(explorer, share=40)
    assert set_to(explorer, bits=8).startswith("8 bits from")


@pytest.mark.parametrize("make", [AffineExplorer, lambda: RangeExplorer(np.arange(10.0))])
def test_an_explorer_is_also_a_picture_and_words(make, monkeypatch):
    shown = []
    monkeypatch.setattr("tinylab.widgets.display", lambda bundle, raw: shown.append(bundle))
    explorer = make()
    explorer._ipython_display_()
    (bundle,) = shown
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == explorer.widget.model_id
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/plain"] == str(explorer)
    *_, picture, reading = explorer.widget.children
    assert f'alt="{explorer._alternative} {explorer}"' in picture.value
    assert str(explorer) in reading.value


@pytest.mark.parametrize("make", [AffineExplorer, lambda: RangeExplorer(np.arange(10.0))])
def test_every_control_is_labelled_and_of_a_kind_that_ipywidgets_7_has(make):
    for control in make().controls.values():
        assert control.description
        assert type(control).__name__ in ("BoundedFloatText", "BoundedIntText", "Checkbox")


def test_a_number_has_a_field_and_a_slider_that_follow_each_other():
    explorer = AffineExplorer()
    field, slider = explorer.widget.children[0].children[0].children
    slider.value = -4.5
    assert field.value == -4.5
    assert "zero_point -19" in str(explorer)
    field.value = -3.3
    assert slider.value == -3.3
    assert (slider.min, slider.max, slider.step) == (field.min, field.max, field.step)
