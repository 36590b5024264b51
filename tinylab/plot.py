"""Pictures: labelled, with units, and readable in light and dark themes and without colour vision.

Every figure has a white ground of its own, so that a dark page does not swallow its text, and takes
its colours from `palette`, which people without full colour vision can tell apart.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox

from tinylab.affine import AffineParams, dequantize, error_parts, largest_error, params_from_range, quantize
from tinylab.boards import Board
from tinylab.data.motion import RATE
from tinylab.debug import ROUNDING, LayerErrors
from tinylab.measure import Comparison
from tinylab.memory_plan import Plan
from tinylab.palette import BLUE, GREEN, HATCHES, ORANGE, PALETTE
from tinylab.search import pareto_front

MARKS = "os^vDPX*"


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_facecolor("white")


def _finished(figure: Figure) -> Figure:
    figure.tight_layout()
    plt.close(figure)  # the caller shows it: otherwise a notebook shows it twice
    return figure


def images(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> Figure:
    """Pictures, grey (height, width, 1) or in colour (height, width, 3), with captions, up to eight a row."""
    rows = -(-len(pictures) // 8)
    columns = -(-len(pictures) // rows)
    size = (1.3 * columns, 1.7 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, facecolor="white", squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (picture, caption) in zip(grid.flat, zip(pictures, captions, strict=True), strict=False):
        axes.imshow(picture.squeeze(), cmap="gray_r")
        axes.set_title(caption, fontsize=9)
    return _finished(figure)


def windows(x: np.ndarray, captions: Sequence[str]) -> Figure:
    """Windows of a motion sensor side by side: acceleration above, rotation below, each along x, y and z.

    Args:
        x: (N, time, 6) in g and rad/s, as `data.arrays("motion", ...)` gives them.
        captions: one a window.
    """
    shared = {"sharex": True, "sharey": "row", "squeeze": False}
    figure, grid = plt.subplots(2, len(x), figsize=(1 + 1.3 * len(x), 3.6), facecolor="white", **shared)
    seconds = np.arange(x.shape[1]) / RATE
    for column, (window, caption) in enumerate(zip(x, captions, strict=True)):
        for axes, signal in zip(grid[:, column], (window[:, :3], window[:, 3:]), strict=True):
            lines = zip("xyz", signal.T, PALETTE, ("-", "--", ":"), strict=False)
            for axis, values, colour, style in lines:
                axes.plot(seconds, values, style, color=colour, label=axis)
            _tidy(axes)
        grid[0, column].set_title(caption, fontsize=9)
        grid[1, column].set_xlabel("time in s")
    grid[0, 0].set_ylabel("acceleration in g")
    grid[1, 0].set_ylabel("rotation in rad/s")
    grid[0, -1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return _finished(figure)


def training(history: dict[str, list[float]]) -> Figure:
    """Accuracy by epoch, from the history of a tf_keras fit with validation data."""
    figure, axes = plt.subplots(figsize=(6, 3.2), facecolor="white")
    epochs = np.arange(1, len(history["accuracy"]) + 1)
    axes.plot(epochs, history["accuracy"], "o-", color=BLUE, label="training images, with dropout")
    axes.plot(epochs, history["val_accuracy"], "s--", color=ORANGE, label="validation images")
    axes.set(xlabel="epoch", ylabel="accuracy (share of images)")
    axes.legend(frameon=False)
    _tidy(axes)
    return _finished(figure)


def comparison(compared: Comparison) -> Figure:
    """Size, accuracy and latency of the models of a comparison, side by side."""
    table = compared.table[::-1]  # the first model at the top
    figure, panels = plt.subplots(1, 3, figsize=(10, 1.1 + 0.4 * len(table)), sharey=True, facecolor="white")
    bars = (
        ("bytes", 1e-3, "size (kB)", "{:.1f}"),
        ("accuracy", 1, "accuracy", "{:.4f}"),
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
        if values.max() > 20 * values.min() > 0:
            axes.set(xscale="log", xlabel=f"{label}, log scale")
            axes.set_xlim(values.min() / 2, ends.max() * 10)
        _tidy(axes)
    spread = np.abs(table[["low", "high"]].to_numpy() - table[["latency"]].to_numpy()).T
    panels[2].errorbar(table["latency"], table.index, xerr=spread, fmt="none", ecolor="black", capsize=3)
    figure.supxlabel(
        f"latency: {compared.conditions}; whiskers: 5th to 95th percentile of the turns", fontsize=8
    )
    return _finished(figure)


def number_line(params: AffineParams, value: float | None = None) -> Figure:
    """The codes of an integer type as marks on the line of real numbers.

    Args:
        params: per-tensor scale and zero point.
        value: a real number to show beside the code that it gets and the number that comes back.
    """
    low, high = params.limits
    codes = np.arange(params.lowest, params.highest + 1)
    figure, axes = plt.subplots(figsize=(8, 2.2), facecolor="white")
    axes.hlines(0, low, high, color="black", lw=1)
    if len(codes) <= 600:  # more marks than that would only be a black bar
        axes.vlines(dequantize(codes, params), -0.12, 0.12, color=BLUE, lw=0.7)
    for code in dict.fromkeys((params.lowest, params.zero_point, params.highest)):
        place = float(dequantize(np.array(code), params))
        axes.vlines(place, -0.35, 0.35, color="black", lw=1.2)
        axes.text(place, -0.42, f"code {code}\n{place:.4g}", ha="center", va="top", fontsize=9)
    if value is not None:
        code = quantize(np.array(value), params)
        axes.plot(float(dequantize(code, params)), 0, "s", color=ORANGE, ms=9, label="what comes back")
        axes.plot(value, 0.3, "v", color=GREEN, ms=9, label="the value")
        axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.3), fontsize=9)
    margin = 0.06 * (high - low)
    ends = [low, high] if value is None else [low, high, value]
    axes.set(xlim=(min(ends) - margin, max(ends) + margin), ylim=(-1.1, 0.7), yticks=[], xlabel="real number")
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.set_facecolor("white")
    return _finished(figure)


def before_and_after(x: np.ndarray, params: AffineParams, unit: str = "value") -> Figure:
    """Histograms of real numbers before quantization and of what comes back after it.

    Args:
        x: real numbers, any shape.
        params: scale and zero point, per-tensor or per-channel.
        unit: what the numbers are, for the axis.
    """
    back = dequantize(quantize(x, params), params)
    figure, rows = plt.subplots(2, 1, figsize=(8, 3.6), sharex=True, facecolor="white")
    edges = np.linspace(min(x.min(), back.min()), max(x.max(), back.max()), 240)
    panels = ((x, BLUE, "float32"), (back, ORANGE, f"{params.dtype} and back"))
    for axes, (values, colour, name) in zip(rows, panels, strict=True):
        axes.hist(values.ravel(), edges, color=colour)
        different = len(np.unique(values))
        axes.set_title(f"{name}: {different:,} different numbers", fontsize=10, loc="left")
        axes.set_ylabel("how many")
        _tidy(axes)
    rows[1].set_xlabel(unit)
    return _finished(figure)


def errors(x: np.ndarray, params: AffineParams) -> Figure:
    """What quantizing does to each of some numbers, (N,) ascending, with the bound of half a step."""
    figure, axes = plt.subplots(figsize=(8, 2.6), facecolor="white")
    axes.plot(x, dequantize(quantize(x, params), params) - x, color=BLUE, lw=1)
    for sign in (-1, 1):
        label = "half a step, scale / 2" if sign > 0 else None
        axes.axhline(sign * largest_error(params), color=ORANGE, ls="--", lw=1.5, label=label)
    axes.set(xlabel="real number", ylabel="error")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 1.2), fontsize=9)
    _tidy(axes)
    return _finished(figure)


def range_trade_off(x: np.ndarray, bound: float, bits: int) -> Figure:
    """Where should a range end? The numbers, a symmetric range around them, and the error by its end.

    Args:
        x: real numbers, any shape.
        bound: the range goes from -bound to bound.
        bits: width of the codes.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), facecolor="white")
    left.hist(x.ravel(), 120, color=BLUE, log=True)
    for sign in (-1, 1):
        left.axvline(
            sign * bound, color=ORANGE, ls="--", lw=2, label="ends of the range" if sign > 0 else None
        )
    left.set(xlabel="value", ylabel="how many (log scale)")
    bounds = np.abs(x).max() * np.linspace(0.05, 1, 24)
    parts = [error_parts(x, params_from_range(-b, b, f"int{bits}", symmetric=True)) for b in bounds]
    right.plot(bounds, [part.rmse for part in parts], color=BLUE, label="all")
    right.plot(bounds, [part.rounding for part in parts], color=GREEN, ls=":", label="rounding")
    right.plot(bounds, [part.clipping for part in parts], color=ORANGE, ls="--", label="clipping")
    right.axvline(bound, color="black", lw=1, label="your range")
    right.set(xlabel="end of the range", ylabel="RMSE", ylim=(0, None))
    left.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1))
    right.legend(frameon=False, fontsize=9)
    _tidy(left)
    _tidy(right)
    return _finished(figure)


def byte_accounts(accounts: Mapping[str, Mapping[str, int]]) -> Figure:
    """Where the bytes of files went: a bar a file, cut into kinds.

    Args:
        accounts: bytes by kind, by the file's name.
    """
    kilobytes = {
        name: {kind: size / 1000 for kind, size in account.items()}
        for name, account in _largest_kinds(accounts).items()
    }
    return parts(kilobytes, "size (kB)")


def parts(wholes: Mapping[str, Mapping[str, float]], label: str) -> Figure:
    """What wholes are made of: a bar a whole, cut into its parts, the first at the top.

    Args:
        wholes: sizes of parts by their names, by the name of the whole; as many parts as colours.
        label: what is measured, with its unit.
    """
    kinds = list(dict.fromkeys(kind for whole in wholes.values() for kind in whole))
    names = list(wholes)[::-1]
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.45 * len(names)), facecolor="white")
    start = np.zeros(len(names))
    for number, kind in enumerate(kinds):
        sizes = np.array([wholes[name].get(kind, 0) for name in names])
        look = {"color": PALETTE[number], "hatch": HATCHES[number], "ec": "black", "lw": 0.6}
        axes.barh(names, sizes, left=start, label=kind, **look)
        start += sizes
    axes.set_xlabel(label)
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    _tidy(axes)
    return _finished(figure)


def _largest_kinds(accounts: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """As many kinds as there are colours, largest first; the others become one."""
    largest: dict[str, int] = {}
    for account in accounts.values():
        for kind, size in account.items():
            largest[kind] = max(size, largest.get(kind, 0))
    shown = sorted(largest, key=largest.get, reverse=True)[: len(PALETTE) - 1]
    merged = {}
    for name, account in accounts.items():
        merged[name] = {kind: account.get(kind, 0) for kind in shown}
        if len(largest) > len(shown):
            merged[name]["all other kinds"] = sum(account.values()) - sum(merged[name].values())
    return merged


def calibration_curve(counts: Sequence[int], accuracies: np.ndarray, float_accuracy: float) -> Figure:
    """Accuracy after calibration by number of samples: a dot a draw, a line through the medians.

    Args:
        counts: numbers of samples, (C,).
        accuracies: of the quantized models, (draws, C).
        float_accuracy: of the model before.
    """
    figure, axes = plt.subplots(figsize=(7, 3.2), facecolor="white")
    for draw in accuracies:
        axes.plot(counts, draw, "o", color=ORANGE, ms=5, alpha=0.7)
    axes.plot([], [], "o", color=ORANGE, label="int8, one draw of images")
    axes.plot(counts, np.median(accuracies, axis=0), color=BLUE, label="median of the draws")
    axes.axhline(float_accuracy, color="black", ls="--", lw=1, label="float32")
    axes.set(xscale="log", xlabel="representative images", ylabel="accuracy (share of images)")
    axes.set_xticks(counts, map(str, counts))
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9)
    _tidy(axes)
    return _finished(figure)


def rounding_gradients(x: np.ndarray, rounded: np.ndarray, gradients: Mapping[str, np.ndarray]) -> Figure:
    """What rounding does to numbers, and what becomes of a gradient on its way back through it.

    Args:
        x: ascending real numbers, (N,).
        rounded: what they become, (N,).
        gradients: d rounded / d x as one or the other computes it, (N,), by name.
    """
    figure, (forward, backward) = plt.subplots(1, 2, figsize=(9, 3.2), facecolor="white")
    forward.plot(x, x, color="black", ls=":", lw=1, label="not rounded")
    forward.plot(x, rounded, color=BLUE, label="rounded")
    forward.set(xlabel="weight", ylabel="what the network computes with")
    for (name, gradient), colour, style in zip(gradients.items(), PALETTE, ("-", "--", ":"), strict=False):
        backward.plot(x, gradient, color=colour, ls=style, label=name)
    backward.set(xlabel="weight", ylabel="gradient that comes through", ylim=(-0.1, 1.4))
    for axes in (forward, backward):
        axes.legend(frameon=False, fontsize=9, loc="upper left")
        _tidy(axes)
    return _finished(figure)


def by_seed(accuracies: pd.DataFrame, standard_error: float, of: str = "images") -> Figure:
    """Accuracies of the same methods with several seeds: a dot a seed, a line at their mean.

    Args:
        accuracies: a row a seed, a column a method.
        standard_error: of one accuracy, for the number of test samples; drawn around the first method.
        of: what the samples are.
    """
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.45 * accuracies.shape[1]), facecolor="white")
    middle = accuracies.iloc[:, 0].mean()
    ends = middle - standard_error, middle + standard_error
    axes.axvspan(*ends, color="#dddddd", lw=0, label="one standard error")
    for place, method in enumerate(accuracies.columns[::-1]):
        values = accuracies[method]
        axes.plot(values, [place] * len(values), "o", color=ORANGE, ms=7, alpha=0.8)
        axes.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=BLUE, lw=2)
    axes.plot([], [], "o", color=ORANGE, label="one seed")
    axes.plot([], [], color=BLUE, lw=2, label="mean")
    axes.set_yticks(range(accuracies.shape[1]), accuracies.columns[::-1])
    axes.set_xlabel(f"accuracy (share of {of})")
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    _tidy(axes)
    return _finished(figure)


def by_bits(accuracies: Mapping[str, pd.DataFrame], float_accuracy: float) -> Figure:
    """Accuracy by width of the weights: a mark a seed, a line through the means.

    Args:
        accuracies: by method; a row a seed, a column a number of bits.
        float_accuracy: of the float32 network.
    """
    figure, axes = plt.subplots(figsize=(7, 3.4), facecolor="white")
    axes.axhline(float_accuracy, color="black", ls="--", lw=1, label="float32")
    for number, (method, table) in enumerate(accuracies.items()):
        colour, mark = PALETTE[number], "osv"[number]
        places = np.arange(table.shape[1]) + 0.06 * number  # side by side where they are equal
        for values in table.to_numpy():
            axes.plot(places, values, mark, color=colour, ms=5, alpha=0.6)
        axes.plot(places, table.mean(), mark + "-", color=colour, ms=1, label=method)
    axes.set_xticks(range(table.shape[1]), map(str, table.columns))
    axes.set(xlabel="bits a weight", ylabel="accuracy (share of images)", ylim=(0, 1))
    axes.legend(frameon=False, fontsize=9, loc="lower left", markerscale=5)
    _tidy(axes)
    return _finished(figure)


def layer_errors(found: LayerErrors) -> Figure:
    """The errors of a model's operators in the order in which they run, the first at the top.

    Left, what each adds, in steps of its output, beside what rounding alone would; right, the SQNR of
    each alone and of all up to it. An operator without any error has no bar, nor has one in float32 a
    step.
    """
    table, worst = found.table[::-1].replace([np.inf, -np.inf], np.nan), found.worst
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 1.4 + 0.24 * len(table)), sharey=True, facecolor="white"
    )
    left.barh(table["layer"], table["steps"], color=BLUE)
    left.axvline(ROUNDING, color=ORANGE, ls="--", lw=2, label=f"rounding alone: 1/√12 = {ROUNDING:.3f}")
    left.set_xlabel("RMSE / scale, alone (steps)")
    if table["steps"].max() > 20 * ROUNDING:
        left.set(xscale="log", xlabel="RMSE / scale, alone (steps), log scale")
        left.set_xlim(left=min(0.1, table["steps"][table["steps"] > 0].min()))
    right.barh(table["layer"], table["sqnr"], color=BLUE, label="alone")
    lowest = {"color": ORANGE, "hatch": HATCHES[1], "edgecolor": "white", "label": "alone, the lowest"}
    right.barh(worst["layer"], worst["sqnr"] if np.isfinite(worst["sqnr"]) else 0, **lowest)
    right.plot(table["sqnr_so_far"], table["layer"], "o-", color="black", ms=4, lw=1, label="so far")
    right.set_xlabel("SQNR (dB)")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        axes.margins(y=0.01)
        _tidy(axes)
    return _finished(figure)


def channel_codes(codes: Mapping[str, np.ndarray], most: int) -> Figure:
    """How many codes each channel of a tensor can use, a panel a network, on a log scale.

    Args:
        codes: (C,) by the network's name: the largest value of each channel, in steps of the scale.
        most: how many there are above the zero point.
    """
    figure, panels = plt.subplots(
        1, len(codes), figsize=(9, 3), sharey=True, facecolor="white", squeeze=False
    )
    for axes, (name, used) in zip(panels[0], codes.items(), strict=True):
        axes.bar(np.arange(len(used)), np.maximum(used, 0.1), color=BLUE)
        axes.axhline(most, color="black", ls="--", lw=1, label=f"all {most}")
        axes.axhline(1, color=ORANGE, lw=1.5, label="a single one")
        axes.set(title=name, xlabel="channel", yscale="log", ylim=(0.1, 4 * most))
        _tidy(axes)
    panels[0][0].set_ylabel("codes in its reach, log scale")
    panels[0][-1].legend(frameon=False, fontsize=9, ncols=2, loc="upper right")
    return _finished(figure)


# Names of columns on axes, and the unit there
_QUANTITIES = {
    "flash": ("flash (kB)", 1000),
    "arena": ("arena (kB)", 1000),
    "accuracy": ("accuracy (share of samples)", 1),
    "macs": ("multiply-accumulates (thousands)", 1000),
    "ms": ("latency, estimated (ms)", 1),
}


def pareto(
    table: pd.DataFrame,
    x: str = "flash",
    y: str = "accuracy",
    front: pd.Series | None = None,
    kind: str | None = None,
    names: str | None = None,
    most: float | None = None,
    least: float | None = None,
) -> Figure:
    """What was tried, and what to choose from: a mark a candidate, with a ring and a number on the front.

    The line is the highest y that is to be had for so much of x. Where the front weighs other things, too,
    some of its points lie below the line.

    Args:
        table: a row a candidate, as from `search.search`; one without both numbers has no place.
        x: column where less is better.
        y: column where more is better.
        front: which rows are on the front; `search.pareto_front` of x and y if not given.
        kind: column that has a colour and a mark for each of its values, such as "recipe".
        names: column with names for the front's points; the index if not given.
        most, least: a budget: most of x, and least of y, in the units of the table.
    """
    (x_label, x_unit), (y_label, y_unit) = (_QUANTITIES.get(name, (name, 1)) for name in (x, y))
    there = table[[x, y]].notna().all(axis=1)
    placed = table[there].assign(**{x: table[x][there] / x_unit, y: table[y][there] / y_unit})
    best = placed[pareto_front(placed, (y,), (x,))].sort_values([x, y])
    chosen = best if front is None else placed[front[there]].sort_values([x, y])
    groups = list(placed.groupby(kind, sort=False)) if kind else [("tried", placed)]
    height = max(4, 1.5 + 0.2 * (len(groups) + len(chosen)))  # for the key
    figure, axes = plt.subplots(figsize=(9, height), facecolor="white")
    for number, (name, group) in enumerate(groups):
        look = {"color": PALETTE[number % len(PALETTE)], "marker": MARKS[number % len(MARKS)]}
        axes.plot(group[x], group[y], ls="", ms=6, label=name, **look)
    line = {"where": "post", "color": "black", "lw": 1, "zorder": 1}
    axes.step(best[x], best[y], label=f"highest {y} up to this {x}", **line)
    rings = {"marker": "o", "ms": 13, "mfc": "none", "mec": "black", "mew": 0.8}
    axes.plot(chosen[x], chosen[y], ls="", label="Pareto front", **rings)
    axes.set(xlabel=x_label, ylabel=y_label)
    if placed[x].max() > 20 * placed[x].min() > 0:
        axes.set(xscale="log", xlabel=f"{x_label}, log scale")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
    _budget(axes, most and most / x_unit, least and least / y_unit)
    numbers = [f"{number}" for number in range(1, len(chosen) + 1)]
    for number, name in zip(numbers, chosen[names] if names else chosen.index, strict=True):
        axes.plot([], [], ls="", label=f"{number}: {name}")
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1.02))
    _tidy(axes)
    figure.tight_layout()
    places: dict[tuple[float, float], str] = {}  # several at the same place share a text
    for number, place in zip(numbers, zip(chosen[x], chosen[y], strict=True), strict=True):
        places[place] = f"{places[place]}, {number}" if place in places else number
    _write_beside(axes, places, placed[[x, y]].to_numpy())
    plt.close(figure)
    return figure


def _budget(axes: Axes, most: float | None, least: float | None) -> None:
    """Shade what lies within a budget."""
    if most is None and least is None:
        return
    if most is not None:
        axes.axvline(most, color="black", ls="--", lw=1)
    if least is not None:
        axes.axhline(least, color="black", ls="--", lw=1)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    within = [left, right if most is None else most], bottom if least is None else least
    axes.fill_between(*within, top, color="#dfeaf2", lw=0, zorder=0, label="within the budget")
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _write_beside(axes: Axes, texts: dict[tuple[float, float], str], points: np.ndarray) -> None:
    """Write short texts beside points, where they cover neither each other nor a point."""
    scale = axes.figure.dpi / 72  # pixels a point of type
    taken = [Bbox.from_extents(*(p - 5 * scale), *(p + 5 * scale)) for p in axes.transData.transform(points)]
    angles = np.deg2rad([90, 45, 135, 0, 180, 270, 315, 225])
    offsets = [r * np.array([np.cos(a), np.sin(a)]) for r in (13, 20, 28, 38, 50) for a in angles]
    for place, text in texts.items():
        half = np.array([3 * len(text) + 1, 5]) * scale
        centres = [axes.transData.transform(place) + offset * scale for offset in offsets]
        boxes = [Bbox.from_extents(*(centre - half), *(centre + half)) for centre in centres]
        free = [
            i
            for i, box in enumerate(boxes)
            if not box.count_overlaps(taken)
            and axes.bbox.fully_contains(*box.min)
            and axes.bbox.fully_contains(*box.max)
        ]
        best = free[0] if free else 0
        taken.append(boxes[best])
        leader = {"arrowprops": {"arrowstyle": "-", "lw": 0.5, "shrinkB": 6}} if best >= len(angles) else {}
        axes.annotate(
            text,
            place,
            offsets[best],
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            **leader,
        )


def memory_plan(plan: Plan) -> Figure:
    """Where each tensor lies in the arena, and when: operators to the right, addresses upwards.

    A box is named where there is room for it, with its size in bytes.
    """
    last = max(block.last for block in plan.blocks)
    width = max(7, min(10, 0.8 * last))
    figure, axes = plt.subplots(figsize=(width, 4.2), facecolor="white")
    letters_a_step = 12 * width / (last + 2)
    for number, block in enumerate(plan.blocks):
        scratch = block.name.startswith("scratch")
        look = {"color": "#dddddd"} if scratch else {"color": PALETTE[number % 6], "alpha": 0.55}
        box = (block.first - 0.5, block.offset), block.last - block.first + 1, block.bytes
        axes.add_patch(plt.Rectangle(*box, **look, lw=0))
        axes.add_patch(plt.Rectangle(*box, fill=False, ec="white", lw=1.5))
        name = block.name.split(";")[0].split("/")[-2:][0]  # of the layer, where there is one
        letters = round(letters_a_step * (block.last - block.first + 1))
        lines = [name[:letters], f"{block.bytes:,}"] if block.bytes > plan.size / 10 else [f"{block.bytes:,}"]
        if block.bytes > plan.size / 25 and letters > len(lines[-1]):
            middle = (block.first + block.last) / 2, block.offset + block.bytes / 2
            axes.text(*middle, "\n".join(lines), ha="center", va="center", fontsize=8)
    axes.axhline(plan.size, color="black", lw=1, label=f"size of the plan: {plan.size:,}")
    axes.axhline(plan.peak, color="black", ls="--", lw=1.5, label=f"most needed at once: {plan.peak:,}")
    step = 1 if last < 30 else 5
    axes.set_xticks([-1, *range(0, last + 1, step)], ["in", *map(str, range(0, last + 1, step))])
    axes.set(xlim=(-1.5, last + 0.5), ylim=(0, 1.02 * plan.size))
    axes.set(xlabel="operator that runs", ylabel="address in the arena (bytes)")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False, fontsize=9, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    _tidy(axes)
    return _finished(figure)


def flash_and_ram(models: Mapping[str, tuple[float, float]], boards: Mapping[str, Board]) -> Figure:
    """The budgets of boards, and what models take: a model fits on a board below and left of its corner.

    Args:
        models: flash and RAM that each takes, in bytes, by its name.
        boards: by name, such as `boards.BOARDS`.
    """
    figure, axes = plt.subplots(figsize=(9, 4.6), facecolor="white")
    limits = sorted(boards.values(), key=lambda board: (board.flash, board.ram))
    for board in limits:
        ram, flash = board.ram / 1024, board.flash / 1024
        axes.plot([ram, ram, 1e-3], [1e-3, flash, flash], color="#999999", lw=0.7)
        axes.plot(ram, flash, "s", color="black", ms=5)
    for number, (name, (flash, ram)) in enumerate(models.items()):
        mark = "ovD^P*X<"[number % 8]
        axes.plot(
            ram / 1024,
            flash / 1024,
            mark,
            color=PALETTE[number % len(PALETTE)],
            mec="black",
            ms=9,
            label=name,
        )
    rams = [board.ram for board in limits] + [ram for _, ram in models.values()]
    flashes = [board.flash for board in limits] + [flash for flash, _ in models.values()]
    axes.set(xscale="log", yscale="log", xlabel="RAM (KB, log scale)", ylabel="flash (KB, log scale)")
    axes.set_xlim(min(rams) / 1024 / 1.5, max(rams) / 1024 * 1.5)
    axes.set_ylim(min(flashes) / 1024 / 1.5, max(flashes) / 1024 * 1.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.0f}")
    height = 1.0
    for board in reversed(limits):  # names beside their corners, or below the name above
        corner = board.ram / 1024, board.flash / 1024
        height = min(height - 0.065, axes.transAxes.inverted().transform(axes.transData.transform(corner))[1])
        line = {"arrowstyle": "-", "color": "#999999", "lw": 0.7, "relpos": (0, 0.5)}
        place = {"textcoords": "axes fraction", "va": "center", "fontsize": 9}
        axes.annotate(board.name, corner, (1.03, height), arrowprops=line, **place)
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    _tidy(axes)
    return _finished(figure)
