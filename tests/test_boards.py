"""Boards: facts with sources, what fits, and how long it may take."""

import importlib.util
import math

import pytest

from tests.architectures import int8_file
from tinylab import arena, boards, memory_plan, workload
from tinylab.boards import BOARDS, INTERPRETER_FLASH, KB, MEASURED, Board, Fit
from tinylab.errors import ModelFileError

SMALL = Board("small", "a chip", "Cortex-M4", 64, 80 * KB, 20 * KB, "https://example.org")


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_a_board_is_named_and_cited(board):
    assert BOARDS[board.name] is board
    assert board.source.startswith("https://")
    assert 16 <= board.clock_mhz <= 600
    assert 2 * KB <= board.ram < board.flash


def test_boards_are_many_and_of_many_kinds():
    assert 8 <= len(BOARDS) <= 12
    assert len({board.processor for board in BOARDS.values()}) >= 6
    assert [board.ram for board in BOARDS.values()] == sorted(board.ram for board in BOARDS.values())


@pytest.mark.parametrize("arena_bytes", [0, 20 * KB, 20 * KB + 1])
def test_what_is_left_is_what_the_model_does_not_take(cnn_files, arena_bytes):
    fit = boards.fits(cnn_files["int8"], SMALL, arena_bytes)
    assert fit.flash_left == SMALL.flash - INTERPRETER_FLASH - len(cnn_files["int8"])
    assert fit.ram_left == SMALL.ram - arena_bytes
    assert fit.fits == (arena_bytes <= SMALL.ram)


@pytest.mark.parametrize(("fit", "fits"), [(Fit(0, 0), True), (Fit(-1, 0), False), (Fit(0, -1), False)])
def test_it_fits_if_nothing_is_missing(fit, fits):
    assert fit.fits == fits


def test_without_an_arena_given_it_is_measured(cnn_files):
    pytest.importorskip("tflite_micro", reason="no tflite-micro for this machine")
    expected = SMALL.ram - arena.measure(cnn_files["int8"]).total
    assert boards.fits(cnn_files["int8"], SMALL).ram_left == expected


def test_where_nothing_can_measure_it_is_planned(cnn_files, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    expected = SMALL.ram - memory_plan.plan(cnn_files["int8"]).size
    assert boards.fits(cnn_files["int8"], SMALL).ram_left == expected


def test_nothing_of_the_course_fits_on_an_uno(cnn_files):
    assert not any(
        boards.fits(content, BOARDS["Arduino UNO R3"], 2000).fits for content in cnn_files.values()
    )


# Milliseconds


@pytest.mark.parametrize(
    ("processor", "cycles"),
    [
        ("Cortex-M4", 3.74),
        ("Cortex-M33", 3.24),
        ("Cortex-M7", 1.74),
        ("Xtensa LX7", 1.81),
        ("Xtensa LX6", 12.7),
    ],
)
def test_cycles_for_a_mac_follow_from_what_was_measured(processor, cycles):
    assert MEASURED[processor].cycles_per_mac == pytest.approx(cycles, rel=0.005)
    assert MEASURED[processor].source.startswith("https://")


@pytest.mark.slow
@pytest.mark.parametrize(("processor", "board"), [("Cortex-M4", "NUCLEO-L4R5ZI")])
def test_the_network_that_was_measured_is_estimated_as_measured(processor, board):
    """Our ResNet-8 has as many multiply-accumulates as MLPerf Tiny's."""
    measured = MEASURED[processor]
    assert sum(work.macs for work in workload.workload(int8_file("resnet8"))) == measured.macs
    assert boards.estimated_ms(int8_file("resnet8"), BOARDS[board]) == pytest.approx(measured.milliseconds)


def test_twice_the_clock_takes_half_the_time(cnn_files):
    slow_board, fast = BOARDS["STM32F746G-DISCO"], BOARDS["Teensy 4.1"]
    times = [boards.estimated_ms(cnn_files["int8"], board) for board in (slow_board, fast)]
    assert times[0] / times[1] == pytest.approx(fast.clock_mhz / slow_board.clock_mhz)
    assert 0.1 < times[1] < times[0] < 100


@pytest.mark.parametrize(
    ("recipe", "board"),
    [("int8", "Raspberry Pi Pico"), ("float32", "Teensy 4.1"), ("int16x8", "Teensy 4.1")],
)
def test_there_is_no_estimate_without_a_measurement_of_its_kind(cnn_files, recipe, board):
    assert math.isnan(boards.estimated_ms(cnn_files[recipe], BOARDS[board]))


# The table


def test_the_table_has_a_row_for_each_model_and_board(cnn_files):
    models = {recipe: cnn_files[recipe] for recipe in ("float32", "int8")}
    table = boards.table(models)
    assert list(table.index) == [(model, board) for model in models for board in BOARDS]
    for (model, board), row in table.iterrows():
        fit = boards.fits(models[model], BOARDS[board], row["arena"])
        assert (row["file"], row["fits"]) == (len(models[model]), fit.fits)
        assert (row["flash left"], row["RAM left"]) == (fit.flash_left, fit.ram_left)
        assert (row["obstacle"] == "") == fit.fits
    assert table.loc[("int8", "Arduino UNO R3"), "obstacle"] == "flash and RAM"
    assert table["fits"].unstack().shape == (2, len(BOARDS))


def test_a_model_that_the_interpreter_refuses_fits_nowhere(cnn_files):
    pytest.importorskip("tflite_micro", reason="no tflite-micro for this machine")
    table = boards.table({"dynamic range": cnn_files["dynamic_range"]})
    assert set(table["obstacle"]) == {"refused"}
    assert not table["fits"].any()
    assert table["arena"].isna().all()


@pytest.mark.parametrize("content", [b"", b"no model", b"\x1c\0\0\0TFL3" + b"\xff" * 100])
def test_what_is_no_model_is_refused(content):
    for ask in (
        lambda: boards.fits(content, SMALL),
        lambda: boards.estimated_ms(content, SMALL),
        lambda: boards.table({"none": content}),
    ):
        with pytest.raises(ModelFileError):
            ask()
