"""Widgets of the lessons, made of core ipywidgets only, so that versions 7.7 (Colab) and 8 both work."""

import html
from collections.abc import Callable, Sequence

import ipywidgets

from tinylab.errors import TinylabError

Option = str | int | float


class Prediction(ipywidgets.VBox):
    """A row of buttons: what do you expect? A click computes the answer and says whether it agrees.

    The answer is a function, called at the click, so that no number is written down beforehand and
    the cell does not give it away. Nothing waits for a click.
    """

    def __init__(self, options: Sequence[Option], answer: Callable[[], Option], unit: str = ""):
        """Make the row.

        Args:
            options: what can be expected: numbers or words.
            answer: computes the outcome: a number, of which the nearest option is right, or one of
                the words.
            unit: of the numbers.
        """
        self._options, self._answer, self._unit = list(options), answer, unit
        self._buttons = [
            ipywidgets.Button(
                description=self._text(option),
                tooltip=f"I expect {self._text(option)}",
                layout=ipywidgets.Layout(width="auto"),
            )
            for option in options
        ]
        for button, option in zip(self._buttons, options, strict=True):
            button.on_click(lambda _, chosen=option: self._judge(chosen))
        self._verdict = ipywidgets.HTML()
        super().__init__([ipywidgets.HBox(self._buttons), self._verdict])

    def __repr__(self) -> str:  # what a page shows that cannot run widgets
        return "Your prediction: " + "  |  ".join(self._text(option) for option in self._options)

    def _text(self, value: Option) -> str:
        if isinstance(value, str):
            return value
        number = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
        return f"{number} {self._unit}".strip()

    def _judge(self, chosen: Option) -> None:
        for button, option in zip(self._buttons, self._options, strict=True):
            button.button_style = "info" if option == chosen else ""
        try:
            outcome = self._answer()
        except NameError as error:
            self._say(f"Run the cells above first: {error}.")
            return
        right = self._right_option(outcome)
        verdict = "Yes" if chosen == right else f"No, {self._text(right)} is right"
        measured = "" if isinstance(outcome, str) else f": {self._text(outcome)} here"
        self._say(f"<b>{html.escape(verdict)}</b>{html.escape(measured)}.")

    def _right_option(self, outcome: Option) -> Option:
        if isinstance(outcome, str):
            if outcome not in self._options:
                raise TinylabError(f"the answer {outcome!r} is none of the options {self._options}.")
            return outcome
        return min(self._options, key=lambda option: abs(option - outcome))

    def _say(self, text: str) -> None:
        self._verdict.value = text
