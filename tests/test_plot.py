"""Figures show what they were given, on axes that say what they are, to everyone who can see them."""

import itertools

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from tinylab import plot
from tinylab.affine import AffineParams, dequantize, params_from_data, params_from_range, quantize
from tinylab.boards import BOARDS
from tinylab.debug import LayerErrors
from tinylab.measure import Comparison
from tinylab.memory_plan import Plan, Want, place

X = np.random.default_rng(0).normal(size=5000)
ACCOUNTS = {"a": {"weights": 4000, "names": 50}, "b": {"weights": 1000, "scales": 200}}
SEEDS = pd.DataFrame([[0.8, 0.7], [0.82, 0.6]], index=[1, 2], columns=[4, 2])
TRIED = pd.DataFrame(
    {
        "flash": [1000, 2000, 3000, 3000, np.nan, 2500],
        "accuracy": [0.7, 0.9, 0.8, 0.95, np.nan, 0.9],
        "recipe": ["int8", "int8", "float16", "float16", "int8", "int8"],
        "error": ["", "", "", "", "no memory", ""],
    },
    index=list("abcdef"),
)
PLAN = Plan(
    tuple(place([Want("net/a/Relu;b", 32, -1, 1), Want("c", 64, 1, 2), Want("scratch of d", 16, 2, 2)]))
)
PER_CHANNEL = params_from_data(X.reshape(2, -1), "int4", symmetric=True, axis=0)


def compared(*latencies):
    rows = [
        {"bytes": 1000, "smaller": 1.0, "accuracy": 0.8, "latency": t, "low": t / 2, "high": 2 * t}
        for t in latencies
    ]
    return Comparison(pd.DataFrame(rows, index=[f"model {i}" for i in range(len(rows))]), "some kernels")


def layers(steps, sqnr):
    """Errors of layers a, b, ... whose SQNR so far falls from 40 dB by 1 dB each."""
    names = [chr(ord("a") + i) for i in range(len(steps))]
    so_far = 40.0 - np.arange(len(steps))
    rows = {"layer": names, "steps": steps, "sqnr": sqnr, "sqnr_so_far": so_far}
    return LayerErrors(pd.DataFrame(rows), saturated_input=0.0, samples=1, kernels="reference")


FIGURES = {
    "images": lambda: plot.images([np.zeros((4, 4, 1)), np.zeros((6, 4, 3), np.uint8)], ["grey", "colour"]),
    "windows": lambda: plot.windows(np.zeros((2, 5, 6)), ["one", "another"]),
    "training": lambda: plot.training({"accuracy": [0.5, 0.6], "val_accuracy": [0.4, 0.5]}),
    "comparison": lambda: plot.comparison(compared(10.0, 20.0)),
    "number_line": lambda: plot.number_line(params_from_range(-3.0, 6.0), 1.0),
    "before_and_after": lambda: plot.before_and_after(X.reshape(2, -1), PER_CHANNEL),
    "errors": lambda: plot.errors(np.linspace(-3, 6, 100), params_from_range(-3.0, 6.0, "int4")),
    "range_trade_off": lambda: plot.range_trade_off(X, 2.0, 4),
    "byte_accounts": lambda: plot.byte_accounts(ACCOUNTS),
    "parts": lambda: plot.parts(ACCOUNTS, "bytes"),
    "calibration_curve": lambda: plot.calibration_curve([1, 10], np.array([[0.7, 0.8], [0.6, 0.8]]), 0.85),
    "rounding_gradients": lambda: plot.rounding_gradients(X, np.round(X), {"none": 0 * X, "all": 0 * X + 1}),
    "channel_codes": lambda: plot.channel_codes({"a": np.array([1.0, 0.0]), "b": np.array([2.0])}, 255),
    "by_seed": lambda: plot.by_seed(SEEDS, 0.01),
    "layer_errors": lambda: plot.layer_errors(layers([0.2, 0.0], [40.0, np.inf])),
    "pareto": lambda: plot.pareto(TRIED, kind="recipe", most=2500, least=0.8),
    "by_bits": lambda: plot.by_bits({"one": SEEDS, "another": SEEDS / 2}, 0.9),
    "memory_plan": lambda: plot.memory_plan(PLAN),
    "flash_and_ram": lambda: plot.flash_and_ram({"a model": (40_000, 9000)}, BOARDS),
}


def test_every_figure_is_looked_at_here():
    public = {name for name, value in vars(plot).items() if getattr(value, "__module__", "") == plot.__name__}
    assert {name for name in public if not name.startswith("_")} == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_labels_and_a_white_ground_and_can_be_saved(name, tmp_path):
    figure = FIGURES[name]()
    assert matplotlib.colors.to_hex(figure.get_facecolor()) == "#ffffff"
    if name != "images":
        assert all(axes.get_xlabel() for axes in figure.axes if axes.get_xticklabels() and axes.axison)
    figure.savefig(tmp_path / "figure.png")
    assert not matplotlib.pyplot.get_fignums(), "an open figure would be shown twice in a notebook"


def test_a_window_shows_acceleration_above_rotation_and_three_axes_of_each_over_seconds():
    window = np.arange(24.0).reshape(1, 4, 6)
    above, below = plot.windows(window, ["a window"]).axes
    for axes, signal in ((above, window[0, :, :3]), (below, window[0, :, 3:])):
        assert [line.get_label() for line in axes.lines] == ["x", "y", "z"]
        assert np.array_equal([line.get_ydata() for line in axes.lines], signal.T)
        assert np.allclose(axes.lines[0].get_xdata(), [0, 0.02, 0.04, 0.06])


# As many parts, models and kinds as have looks of their own; pictures, windows and operators as in lessons
FULL = {
    "parts": lambda: plot.parts({"a": {f"kind {i}": 1 for i in range(8)}}, "bytes"),
    "by_bits": lambda: plot.by_bits(dict.fromkeys(("one", "another", "a third"), SEEDS), 0.9),
    "flash_and_ram": lambda: plot.flash_and_ram({f"model {i}": (9e4, 9e3) for i in range(8)}, BOARDS),
    "pareto": lambda: plot.pareto(
        pd.DataFrame({"flash": range(8), "accuracy": range(8), "recipe": list("abcdefgh")}), kind="recipe"
    ),
    "rounding_gradients": lambda: plot.rounding_gradients(X, X, dict.fromkeys("abc", X)),
    "images": lambda: plot.images(np.zeros((10, 4, 4, 1)), ["a caption"] * 10),
    "windows": lambda: plot.windows(np.zeros((7, 5, 6)), ["a caption"] * 7),
    "memory_plan": lambda: plot.memory_plan(Plan(tuple(place([Want(f"{i}", 1, i, i) for i in range(40)])))),
}
EVERY = [pytest.param(figure, id=name) for table in (FIGURES, FULL) for name, figure in table.items()]


@pytest.mark.slow
@pytest.mark.parametrize("figure", EVERY)
def test_text_is_large_enough_in_a_page_of_1280_pixels(figure):
    """Which leaves a figure 8.5 inches: ten inches with text of 8 points are like 6.8 points there."""
    drawn = figure()
    assert drawn.get_figwidth() <= 10.4
    texts = [text for text in drawn.findobj(matplotlib.text.Text) if text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 8


# What becomes of linear RGB without one kind of cones: Machado, Oliveira and Fernandes (2009), "A
# physiologically-based model for simulation of color vision deficiency", with severity 1.
VISIONS = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
SRGB_TO_XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]
WHITE = np.array([0.95047, 1.0, 1.08883])  # D65
LEAST_DISTANCE = 20  # in CIELAB, where 2.3 are just noticeable side by side


def lab(colour, vision):
    """CIELAB of a colour as somebody with this vision sees it."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = SRGB_TO_XYZ @ np.clip(VISIONS[vision] @ linear, 0, 1) / WHITE
    f = [np.cbrt(t) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(colour, other):
    """How far apart two colours are for those to whom they are nearest."""
    return min(np.linalg.norm(lab(colour, vision) - lab(other, vision)) for vision in VISIONS)


def test_a_distance_is_that_of_the_vision_that_has_least():
    assert distance("white", "black") == pytest.approx(100, abs=0.1)
    assert np.allclose(lab("red", "all cones"), (53.2, 80.1, 67.2), atol=0.1)
    assert distance("#009E73", "#999999") < LEAST_DISTANCE < distance("#0072B2", "#E69F00")


def looks(axes):
    """What each entry of a key looks like, by its label: its form, and its colour."""
    found = {}
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
        if isinstance(handle, matplotlib.lines.Line2D):
            ring = handle.get_markerfacecolor() == "none"
            form, colour = (handle.get_marker(), handle.get_linestyle(), ring), handle.get_color()
        else:
            patch = handle[0] if isinstance(handle, matplotlib.container.BarContainer) else handle
            form, colour = ("area", patch.get_hatch()), patch.get_facecolor()
        if form[:2] != ("None", "None"):  # a line of text
            found[label] = form, colour
    return found


@pytest.mark.slow
@pytest.mark.parametrize("figure", EVERY)
def test_whatever_a_key_names_can_be_told_apart_without_colour_vision(figure):
    """Two entries differ in form, or their colours are far apart for everyone."""
    for axes in figure().axes:
        for one, other in itertools.combinations(looks(axes).items(), 2):
            (form, colour), (its_form, its_colour) = one[1], other[1]
            assert form != its_form or distance(colour, its_colour) >= LEAST_DISTANCE, (one, other)


def test_the_number_line_has_a_mark_for_each_code_and_shows_what_comes_back():
    params = params_from_range(-3.0, 6.0, "int4")
    axes = plot.number_line(params, 7.5).axes[0]
    marks = max((len(lines.get_segments()) for lines in axes.collections), default=0)
    assert marks == 16
    back = next(line for line in axes.lines if line.get_label() == "what comes back")
    assert back.get_xdata()[0] == dequantize(quantize(np.array(7.5), params), params)
    low, high = axes.get_xlim()
    assert low < -3
    assert high > 7.5


@pytest.mark.parametrize("dtype", ["uint2", "int16"])
def test_the_number_line_of_any_width_can_be_drawn(dtype):
    assert plot.number_line(params_from_range(-1.0, 1.0, dtype), 0.3)


def test_before_and_after_count_the_different_numbers():
    titles = [axes.get_title(loc="left") for axes in plot.before_and_after(X, AffineParams(1.0, 0)).axes]
    assert titles[0] == "float32: 5,000 different numbers"
    assert titles[1] == f"int8 and back: {len(np.unique(np.round(X)))} different numbers"


def test_errors_stay_between_their_bounds_in_the_figure():
    axes = plot.errors(np.linspace(-3, 6, 1000), params_from_range(-3.0, 6.0, "int4")).axes[0]
    saw, *bounds = axes.lines
    largest = max(bound.get_ydata()[0] for bound in bounds)
    assert np.abs(saw.get_ydata()).max() == pytest.approx(largest, rel=0.02)


def test_a_bar_is_as_long_as_its_file():
    axes = plot.byte_accounts(ACCOUNTS).axes[0]
    ends = {}
    for bar in axes.patches:
        ends[round(bar.get_y(), 3)] = max(ends.get(round(bar.get_y(), 3), 0), bar.get_x() + bar.get_width())
    assert sorted(ends.values()) == pytest.approx([1.2, 4.05])


def test_more_kinds_than_colours_are_merged_and_none_is_lost():
    many = {"file": {f"kind {i}": 100 + i for i in range(20)}}
    axes = plot.byte_accounts(many).axes[0]
    assert len(axes.get_legend().get_texts()) == len(plot.PALETTE)
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(sum(many["file"].values()) / 1000)


def test_latencies_far_apart_are_shown_on_a_logarithmic_scale():
    assert plot.comparison(compared(10.0, 20.0)).axes[2].get_xscale() == "linear"
    far = plot.comparison(compared(10.0, 900.0)).axes[2]
    assert far.get_xscale() == "log"
    assert "log scale" in far.get_xlabel()


def test_the_calibration_curve_goes_through_the_medians():
    accuracies = np.array([[0.5, 0.8], [0.7, 0.8], [0.6, 0.9]])
    axes = plot.calibration_curve([1, 10], accuracies, 0.85).axes[0]
    median = next(line for line in axes.lines if line.get_label() == "median of the draws")
    assert median.get_ydata().tolist() == [0.6, 0.8]


def test_the_trade_off_adds_up():
    axes = plot.range_trade_off(X, 2.0, 4).axes[1]
    whole, rounding, clipping = (line.get_ydata() for line in axes.lines[:3])
    assert np.allclose(np.square(whole), np.square(rounding) + np.square(clipping))


def test_layers_are_drawn_in_order_and_the_worst_one_stands_out():
    steps, sqnr = [0.2, np.nan, 0.3, 0.0], [40.0, 50.0, 30.0, np.inf]
    left, right = plot.layer_errors(layers(steps, sqnr)).axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["d", "c", "b", "a"]
    assert [bar.get_width() for bar in left.patches] == pytest.approx(steps[::-1], nan_ok=True)
    *alone, lowest = right.patches
    assert [bar.get_width() for bar in alone] == pytest.approx([np.nan, 30, 50, 40], nan_ok=True)
    assert (lowest.get_width(), lowest.get_y()) == (30, alone[1].get_y())
    assert right.lines[0].get_xdata().tolist() == [37, 38, 39, 40]
    assert left.lines[0].get_xdata()[0] == pytest.approx(1 / np.sqrt(12))
    assert left.get_xscale() == "linear"
    far = plot.layer_errors(layers([0.3, 9.0, 0.0], [40.0, 10.0, np.inf])).axes[0]
    assert far.get_xscale() == "log"
    assert "log scale" in far.get_xlabel()
    assert 0 < far.get_xlim()[0] <= 0.3


@pytest.mark.parametrize("sqnr", [[np.inf, np.inf], [-np.inf, 20.0]])
def test_layers_without_errors_or_without_signal_can_be_drawn(sqnr, tmp_path):
    figure = plot.layer_errors(layers([0.0, 0.0], sqnr))
    figure.savefig(tmp_path / "figure.png")
    assert figure.axes[1].patches[-1].get_width() == 0


def lines(axes):
    """Where the lines of a panel go, by their labels."""
    return {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axes.lines}


def test_candidates_and_front_are_where_the_table_has_them():
    axes = plot.pareto(TRIED, kind="recipe").axes[0]
    drawn = lines(axes)
    assert drawn["int8"] == [(1, 0.7), (2, 0.9), (2.5, 0.9)]
    assert drawn["float16"] == [(3, 0.8), (3, 0.95)]
    front = [(1, 0.7), (2, 0.9), (3, 0.95)]
    assert drawn["Pareto front"] == drawn["highest accuracy up to this flash"] == front
    step = next(line for line in axes.lines if line.get_label() == "highest accuracy up to this flash")
    assert step.get_drawstyle() == "steps-post"  # more accuracy only where there is a candidate with it
    assert [text.get_text() for text in axes.texts] == ["1", "2", "3"]
    key = [text.get_text() for text in axes.get_legend().get_texts()]
    assert key[-3:] == ["1: a", "2: b", "3: d"]
    assert len({(line.get_marker(), line.get_color()) for line in axes.lines[:2]}) == 2


def test_a_front_of_more_than_two_quantities_has_its_own_rings_and_names():
    chosen = TRIED.index.isin(["a", "c", "e"])
    axes = plot.pareto(TRIED, front=pd.Series(chosen, TRIED.index), names="recipe").axes[0]
    assert lines(axes)["Pareto front"] == [(1, 0.7), (3, 0.8)]
    assert [t.get_text() for t in axes.get_legend().get_texts()][-2:] == ["1: int8", "2: float16"]


def test_what_is_within_the_budget_is_shaded():
    axes = plot.pareto(TRIED, most=2500, least=0.8).axes[0]
    corners = axes.collections[0].get_paths()[0].get_extents()
    assert (corners.x1, corners.y0) == (2.5, 0.8)
    assert (corners.x0, corners.y1) == (axes.get_xlim()[0], axes.get_ylim()[1])
    assert not plot.pareto(TRIED).axes[0].collections


def test_flash_of_very_different_sizes_is_on_a_logarithmic_scale():
    far = TRIED.assign(flash=TRIED["flash"] ** 3)
    assert plot.pareto(TRIED).axes[0].get_xscale() == "linear"
    assert plot.pareto(far).axes[0].get_xlabel() == "flash (kB), log scale"


@pytest.mark.parametrize("seed", range(3))
def test_numbers_on_the_front_cover_neither_each_other_nor_a_candidate(seed):
    rng = np.random.default_rng(seed)
    flash = np.sort(rng.lognormal(9, 1, 12)).round()
    tried = pd.DataFrame({"flash": flash, "accuracy": np.sort(rng.normal(0.8, 0.05, 12))})
    tried = pd.concat([tried, tried.iloc[[3]]])  # two at one place
    figure = plot.pareto(tried)
    figure.canvas.draw()
    axes = figure.axes[0]
    texts = list(axes.texts)
    numbers = [number for text in texts for number in text.get_text().split(", ")]
    assert sorted(map(int, numbers)) == list(range(1, 14))
    boxes = [text.get_window_extent() for text in texts]
    assert all(box.count_overlaps(boxes) == 1 for box in boxes)
    places = axes.transData.transform(tried.to_numpy() / (1000, 1))
    assert not any(box.contains(*place) for box in boxes for place in places)
    assert all(axes.bbox.contains(*corner) for box in boxes for corner in (box.min, box.max))


def test_a_plan_has_a_box_for_each_block_where_and_when_it_lies():
    axes = plot.memory_plan(PLAN).axes[0]
    boxes = {(*box.get_xy(), box.get_width(), box.get_height()) for box in axes.patches}
    assert boxes == {(b.first - 0.5, b.offset, b.last - b.first + 1, b.bytes) for b in PLAN.blocks}
    assert [text.get_text() for text in axes.texts] == ["a\n32", "c\n64", "scratch of d\n16"]


def test_the_budget_has_a_corner_for_each_board_and_a_mark_for_each_model():
    axes = plot.flash_and_ram({"a model": (40 * 1024, 9 * 1024)}, BOARDS).axes[0]
    marks = {tuple(line.get_xydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1}
    assert marks == {(board.ram / 1024, board.flash / 1024) for board in BOARDS.values()} | {(9, 40)}
    assert {text.get_text() for text in axes.texts} == set(BOARDS)
    heights = sorted(text.xyann[1] for text in axes.texts)
    assert min(np.diff(heights)) > 0.06, "names lie over each other"
