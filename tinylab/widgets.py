"""Widgets of the lessons, made of core ipywidgets only, so that versions 7.7 (Colab) and 8 both work."""

import base64
import html
import io
from collections.abc import Callable, Sequence

import ipywidgets
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

from tinylab import plot
from tinylab.affine import dequantize, error_parts, largest_error, params_from_range, quantize
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
        self._say("Computing …")
        for button, option in zip(self._buttons, self._options, strict=True):
            button.button_style = "info" if option == chosen else ""
        try:
            outcome = self._answer()
        except Exception as error:  # a learner sees the page, not the kernel's log
            self._say(html.escape(f"Run the cells above first ({type(error).__name__}: {error})."))
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


class _Explorer:
    """Controls above a picture and a reading of it in words; each change of a control redraws both.

    Not a widget itself but something that shows one, together with a still picture for pages that
    cannot run widgets.
    """

    controls: dict[str, ipywidgets.Widget]

    def _start(self, rows: Sequence[Sequence[str]], alternative: str) -> None:
        """Lay the controls out in rows, and begin to listen to them.

        Args:
            rows: names of controls, row by row.
            alternative: what the picture shows, for those who cannot see it.
        """
        self._alternative = alternative
        self._picture, self._reading = ipywidgets.HTML(), ipywidgets.HTML()
        boxes = [ipywidgets.HBox([_with_slider(self.controls[name]) for name in row]) for row in rows]
        self.widget = ipywidgets.VBox([*boxes, self._picture, self._reading])
        for control in self.controls.values():
            control.observe(lambda _: self._redraw(), "value")
        self._redraw()

    def _redraw(self) -> None:
        try:
            figure, reading = self._state()
        except TinylabError as error:
            self._reading.value = html.escape(str(error))
            return
        self._png = _png(figure)
        encoded = base64.b64encode(self._png).decode()
        alternative = html.escape(f"{self._alternative} {reading}", quote=True)
        self._picture.value = (
            f'<img alt="{alternative}" style="max-width: 100%" src="data:image/png;base64,{encoded}">'
        )
        self._text = reading
        self._reading.value = f'<p style="max-width: 720px; line-height: 1.4">{html.escape(reading)}</p>'

    def _state(self) -> tuple[Figure, str]:
        """The picture that the controls ask for, and its reading."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self._text

    def _ipython_display_(self) -> None:
        # Of these, a page shows the first that it can: the widget, else the picture, else the words.
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        shown = {
            "application/vnd.jupyter.widget-view+json": view,
            "image/png": base64.b64encode(self._png).decode(),
            "text/plain": repr(self),
        }
        display(shown, raw=True)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def _number(kind: type, description: str, **options: float) -> ipywidgets.Widget:
    """A field for a number."""
    return kind(
        description=description,
        style={"description_width": "80px"},
        layout=ipywidgets.Layout(width="170px"),
        **options,
    )


_REAL, _WHOLE = ipywidgets.BoundedFloatText, ipywidgets.BoundedIntText
_SLIDERS = {_REAL: ipywidgets.FloatSlider, _WHOLE: ipywidgets.IntSlider}


def _with_slider(control: ipywidgets.Widget) -> ipywidgets.Widget:
    """A control, and behind a field for a number a slider that moves it.

    A slider of ipywidgets has no name that a screen reader could say; a field has.
    """
    if type(control) not in _SLIDERS:
        return control
    same = {name: getattr(control, name) for name in ("value", "min", "max", "step")}
    layout = ipywidgets.Layout(width="220px")
    slider = _SLIDERS[type(control)](**same, readout=False, layout=layout)
    ipywidgets.link((control, "value"), (slider, "value"))
    return ipywidgets.HBox([control, slider])


class AffineExplorer(_Explorer):
    """Move a range, a width and a value, and see scale, zero point, code and error follow.

    Fields and sliders answer to the mouse and to the arrow keys. The first state is the course's own
    example: -3.0 to 6.0 onto -128 to 127.
    """

    def __init__(self):
        self.controls = {
            "low": _number(_REAL, "range from", value=-3.0, min=-10, max=10, step=0.1),
            "high": _number(_REAL, "range to", value=6.0, min=-10, max=10, step=0.1),
            "bits": _number(_WHOLE, "bits", value=8, min=2, max=16),
            "value": _number(_REAL, "value", value=1.0, min=-12, max=12, step=0.01),
            "symmetric": ipywidgets.Checkbox(description="symmetric", value=False, indent=False),
        }
        rows = (("low", "high"), ("bits", "symmetric"), ("value",))
        self._start(rows, "A line of real numbers with a mark for each code.")

    def _state(self) -> tuple[Figure, str]:
        low, high, bits, value, symmetric = (
            self.controls[name].value for name in ("low", "high", "bits", "value", "symmetric")
        )
        params = params_from_range(low, high, f"int{bits}", symmetric)
        code = quantize(np.array(value), params)
        back = float(dequantize(code, params))
        first, last = params.limits
        widened = "" if low <= 0 <= high else " (widened to hold 0)"
        reading = (
            f"scale {params.scale:.6g}{widened}, zero_point {params.zero_point}, codes {params.lowest} to "
            f"{params.highest}. The value {value:g} gets the code {code}, which stands for {back:.6g}: "
            f"error {back - value:+.4g}"
        )
        reading += (
            ", clipped." if value < first or value > last else f" (at most {largest_error(params):.4g})."
        )
        return plot.number_line(params, value), reading


class RangeExplorer(_Explorer):
    """Move the end of a symmetric range over real data: rounding error inside, clipping error outside."""

    def __init__(self, x: np.ndarray, bits: int = 4):
        """Make the explorer.

        Args:
            x: real numbers to quantize, any shape, not all 0.
            bits: the width to begin with.
        """
        self._x = np.asarray(x)
        self.controls = {
            "share": _number(_WHOLE, "range, in %", value=100, min=5, max=100, step=5),
            "bits": _number(_WHOLE, "bits", value=bits, min=2, max=8),
        }
        self._start((("share", "bits"),), "A histogram with the ends of a range, and error by its end.")

    def _state(self) -> tuple[Figure, str]:
        share, bits = self.controls["share"].value, self.controls["bits"].value
        bound = float(np.abs(self._x).max()) * share / 100
        params = params_from_range(-bound, bound, f"int{bits}", symmetric=True)
        parts = error_parts(self._x, params)
        reading = (
            f"{bits} bits from {-bound:.3g} to {bound:.3g}: scale {params.scale:.3g}. Error (RMSE) "
            f"{parts.rmse:.3g}: rounding {parts.rounding:.3g}, clipping {parts.clipping:.3g}; "
            f"{parts.clipped:.1%} of the values clipped."
        )
        return plot.range_trade_off(self._x, bound, bits), reading
