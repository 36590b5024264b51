"""Pictures: labelled, with units, and readable in light and dark themes and without colour vision.

Every figure has a white ground of its own, so that a dark page does not swallow its text, and takes
its colours from the palette of Okabe and Ito (https://jfly.uni-koeln.de/color/), which people
without full colour vision can tell apart.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinylab.measure import Comparison

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_facecolor("white")


def images(pictures: np.ndarray, captions: list[str]) -> Figure:
    """A row of grey pictures, (N, height, width, 1), each with a caption."""
    figure, row = plt.subplots(1, len(pictures), figsize=(1.3 * len(pictures), 1.7), facecolor="white")
    for axes, picture, caption in zip(np.atleast_1d(row), pictures, captions, strict=True):
        axes.imshow(picture[..., 0], cmap="gray_r")
        axes.set_title(caption, fontsize=9)
        axes.axis("off")
    figure.tight_layout()
    plt.close(figure)  # the caller shows it: otherwise a notebook shows it twice
    return figure


def training(history: dict[str, list[float]]) -> Figure:
    """Accuracy by epoch, from the history of a tf_keras fit with validation data."""
    figure, axes = plt.subplots(figsize=(6, 3.2), facecolor="white")
    epochs = np.arange(1, len(history["accuracy"]) + 1)
    axes.plot(epochs, history["accuracy"], "o-", color=BLUE, label="training images, with dropout")
    axes.plot(epochs, history["val_accuracy"], "s--", color=ORANGE, label="validation images")
    axes.set(xlabel="epoch", ylabel="accuracy (share of images)")
    axes.legend(frameon=False)
    _tidy(axes)
    figure.tight_layout()
    plt.close(figure)
    return figure


def comparison(compared: Comparison) -> Figure:
    """Size, accuracy and latency of the models of a comparison, side by side."""
    table = compared.table[::-1]  # the first model at the top
    figure, panels = plt.subplots(1, 3, figsize=(10, 1.1 + 0.4 * len(table)), sharey=True, facecolor="white")
    bars = (
        ("bytes", 1e-3, "size (kB)", "{:.1f}"),
        ("accuracy", 1, "accuracy", "{:.3f}"),
        ("latency", 1, "latency (µs)", "{:.1f}"),
    )
    for axes, (column, factor, label, text), colour in zip(panels, bars, (BLUE, GREEN, ORANGE), strict=True):
        values = table[column] * factor
        axes.barh(table.index, values, color=colour)
        ends = table["high"] if column == "latency" else values  # a label stands clear of the whisker
        for place, (end, value) in enumerate(zip(ends, values, strict=True)):
            axes.annotate(text.format(value), (end, place), (5, 0), textcoords="offset points", va="center")
        axes.set_xlabel(label)
        axes.margins(x=0.3)
        _tidy(axes)
    spread = np.abs(table[["low", "high"]].to_numpy() - table[["latency"]].to_numpy()).T
    panels[2].errorbar(table["latency"], table.index, xerr=spread, fmt="none", ecolor="black", capsize=3)
    figure.supxlabel(
        f"latency: {compared.conditions}; whiskers: 5th to 95th percentile of the turns", fontsize=8
    )
    figure.tight_layout()
    plt.close(figure)
    return figure
