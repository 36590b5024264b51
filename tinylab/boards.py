"""Boards with a microcontroller: what they have, whether a model fits, and how long it may take.

A model takes flash (its file, and the interpreter's code) and RAM (the arena). Everything else that a
program does, such as reading a sensor or speaking by radio, comes on top: what is left is what it may take.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

import pandas as pd

from tinylab import arena, memory_plan, tflite_file
from tinylab.errors import ModelFileError
from tinylab.runners import micro
from tinylab.workload import MAC_OPERATORS, workload

Model = bytes | str | PathLike
KB, MB = 1024, 1024**2

# "The core runtime fits in 16KB on a Cortex M3, and with enough operators to run a speech keyword detection
# model, takes up a total of 22KB": README of TensorFlow Lite for Microcontrollers when it was new (2019,
# tensorflow/lite/experimental/micro). More kinds of operators, optimized kernels and a C library take more.
INTERPRETER_FLASH = 22 * KB


@dataclass(frozen=True)
class Board:
    """A board that one can buy.

    Attributes:
        name: as it is sold.
        chip: the microcontroller on it.
        processor: its core; one of them, if there are two.
        clock_mhz: the highest clock that the maker gives.
        flash, ram: bytes; the whole of it, of which a boot loader or radio software may take a share.
        source: address of the page or data sheet that says so.
    """

    name: str
    chip: str
    processor: str
    clock_mhz: int
    flash: int
    ram: int
    source: str


_BOARDS = (
    Board(
        "Arduino UNO R3",
        "ATmega328P",
        "8-bit AVR",
        16,
        32 * KB,
        2 * KB,
        "https://docs.arduino.cc/resources/datasheets/A000066-datasheet.pdf",
    ),
    Board(
        "micro:bit v2",
        "nRF52833",
        "Cortex-M4",
        64,
        512 * KB,
        128 * KB,
        "https://tech.microbit.org/hardware/",
    ),
    Board(
        "Arduino Nano 33 BLE Sense",
        "nRF52840",
        "Cortex-M4",
        64,
        1 * MB,
        256 * KB,
        "https://docs.arduino.cc/resources/datasheets/ABX00031-datasheet.pdf",
    ),
    Board(
        "Raspberry Pi Pico",
        "RP2040",
        "Cortex-M0+",
        133,
        2 * MB,
        264 * KB,
        "https://datasheets.raspberrypi.com/pico/pico-datasheet.pdf",
    ),
    Board(
        "STM32F746G-DISCO",
        "STM32F746NG",
        "Cortex-M7",
        216,
        1 * MB,
        320 * KB,  # of 340: 16 are for instructions, 4 for backup
        "https://www.st.com/en/evaluation-tools/32f746gdiscovery.html",
    ),
    Board(
        "ESP32-S3-DevKitC-1-N8",
        "ESP32-S3",
        "Xtensa LX7",
        240,
        8 * MB,
        512 * KB,
        "https://www.espressif.com/sites/default/files/documentation/esp32-s3-wroom-1_wroom-1u_datasheet_en.pdf",
    ),
    Board(
        "Raspberry Pi Pico 2",
        "RP2350",
        "Cortex-M33",
        150,
        4 * MB,
        520 * KB,
        "https://datasheets.raspberrypi.com/pico/pico-2-datasheet.pdf",
    ),
    Board(
        "ESP32-DevKitC V4",
        "ESP32",
        "Xtensa LX6",
        240,
        4 * MB,
        520 * KB,
        "https://www.espressif.com/sites/default/files/documentation/esp32-wroom-32e_esp32-wroom-32ue_datasheet_en.pdf",
    ),
    Board(
        "NUCLEO-L4R5ZI",
        "STM32L4R5ZI",
        "Cortex-M4",
        120,
        2 * MB,
        640 * KB,
        "https://www.st.com/en/evaluation-tools/nucleo-l4r5zi.html",
    ),
    Board(
        "Teensy 4.1",
        "i.MX RT1062",
        "Cortex-M7",
        600,
        7936 * KB,
        1 * MB,
        "https://www.pjrc.com/store/teensy41.html",
    ),
)
BOARDS = {board.name: board for board in _BOARDS}


@dataclass(frozen=True)
class Measurement:
    """How long a network in int8 took, as its makers measured.

    Attributes:
        milliseconds: of one inference.
        clock_mhz: of the processor.
        macs: multiply-accumulates of one inference.
        what: network, kernels and chip.
        source: address of the page or paper that says so.
    """

    milliseconds: float
    clock_mhz: int
    macs: int
    what: str
    source: str

    @property
    def cycles_per_mac(self) -> float:
        """Clock cycles for a multiply-accumulate, with its share of everything else in the network."""
        return self.milliseconds * 1000 * self.clock_mhz / self.macs


# By processor. ResNet-8 is MLPerf Tiny's network for images (Banbury and others, 2021, arXiv:2106.07597).
_MLPERF = "https://github.com/mlcommons/tiny_results_v1.0/tree/main/closed/OctoML/results/microtvm_cmsis_nn"
_ESPRESSIF = "https://github.com/espressif/esp-tflite-micro#performance-comparison"
MEASURED = {
    "Cortex-M4": Measurement(
        389.55, 120, 12_501_632, "ResNet-8, CMSIS-NN kernels, STM32L4R5ZI", f"{_MLPERF}/NUCLEO_L4R5ZI/ic"
    ),
    "Cortex-M33": Measurement(
        316.2, 128, 12_501_632, "ResNet-8, CMSIS-NN kernels, nRF5340", f"{_MLPERF}/NRF5340-DK/ic"
    ),
    "Cortex-M7": Measurement(
        99.1,
        216,
        12_298_240,
        "a CIFAR-10 network, CMSIS-NN kernels, STM32F746ZG (Lai and others, 2018)",
        "https://arxiv.org/abs/1801.06601",
    ),
    "Xtensa LX7": Measurement(
        54, 240, 7_157_888, "person detection (MobileNet 0.25, 96x96), ESP-NN kernels, ESP32-S3", _ESPRESSIF
    ),
    "Xtensa LX6": Measurement(
        380, 240, 7_157_888, "person detection (MobileNet 0.25, 96x96), ESP-NN kernels, ESP32", _ESPRESSIF
    ),
}


@dataclass(frozen=True)
class Fit:
    """What a model leaves of a board, in bytes; less than 0 is what is missing."""

    flash_left: int
    ram_left: int

    @property
    def fits(self) -> bool:
        """Whether both are enough."""
        return self.flash_left >= 0 and self.ram_left >= 0


def arena_needed(model: Model) -> int:
    """RAM for a model's arena, in bytes: measured, or the plan of its tensors where nothing can measure.

    Without the package tflite-micro it is `memory_plan.plan(model).size`, a lower bound: bookkeeping of some
    kilobytes comes on top.

    Raises:
        ModelFileError: not a .tflite, damaged, or one that TensorFlow Lite Micro refuses.
    """
    return arena.measure(model).total if micro.available() else memory_plan.plan(model).size


def fits(model: Model, board: Board, arena_bytes: int | None = None) -> Fit:
    """Whether a model fits on a board, and with what to spare.

    Flash holds the file and INTERPRETER_FLASH, RAM the arena.

    Args:
        model: a .tflite file's bytes, or its path.
        board: such as BOARDS["Raspberry Pi Pico"].
        arena_bytes: `arena_needed(model)` if not given.

    Raises:
        ModelFileError: not a .tflite, damaged, or one that TensorFlow Lite Micro refuses.
    """
    needed = arena_needed(model) if arena_bytes is None else arena_bytes
    return Fit(board.flash - INTERPRETER_FLASH - len(tflite_file.read(model)[0]), board.ram - needed)


def estimated_ms(model: Model, board: Board) -> float:
    """About how long one inference takes, in milliseconds: an order of magnitude, for int8 models.

    Multiply-accumulates times the cycles that each took in a published measurement on such a processor
    (MEASURED), divided by the clock. Those were good kernels, made for the processor; with the portable
    ones that are measured in this course, TensorFlow Lite Micro took 704 ms, not 390, for ResNet-8 on the
    NUCLEO-L4R5ZI (MLPerf Tiny v0.5, closed/reference). Small networks take longer than the
    estimate, as the share of all other work is larger in them. Memory that is slow, such as flash behind a
    cache, is not accounted for.

    Returns:
        NaN for a processor that MEASURED does not have, or layers that do not compute in int8.

    Raises:
        ModelFileError: not a .tflite, or damaged.
    """
    file = tflite_file.parse(model)
    layers = [operator for operator in file.operators if operator.name in MAC_OPERATORS]
    in_int8 = all(file.tensors[operator.outputs[0]].dtype == "int8" for operator in layers)
    if board.processor not in MEASURED or not in_int8:
        return math.nan
    macs = sum(work.macs for work in workload(model))
    return macs * MEASURED[board.processor].cycles_per_mac / (board.clock_mhz * 1000)


def table(models: Mapping[str, Model], boards: Mapping[str, Board] = BOARDS) -> pd.DataFrame:
    """Which model fits where: a row a model and board.

    Returns:
        Columns: file and arena, bytes that the model takes; fits, whether it does; obstacle, why not
        ("flash", "RAM", "flash and RAM", or "refused" by TensorFlow Lite Micro); flash left and RAM left, in
        bytes; estimated ms. NaN where a refused model has no arena. `["fits"].unstack()` makes a grid.

    Raises:
        ModelFileError: not a .tflite, or damaged.
    """
    rows = {}
    for name, model in models.items():
        size = len(tflite_file.read(model)[0])
        try:
            needed = arena_needed(model)
        except ModelFileError:
            tflite_file.parse(model)  # damaged
            needed = math.nan
        for board in boards.values():
            fit = fits(model, board, needed)
            short = [what for what, left in (("flash", fit.flash_left), ("RAM", fit.ram_left)) if left < 0]
            rows[name, board.name] = {
                "file": size,
                "arena": needed,
                "fits": fit.fits,
                "obstacle": "refused" if math.isnan(needed) else " and ".join(short),
                "flash left": fit.flash_left,
                "RAM left": fit.ram_left,
                "estimated ms": estimated_ms(model, board),
            }
    made = pd.DataFrame.from_dict(rows, orient="index")
    made.index = pd.MultiIndex.from_tuples(rows, names=["model", "board"])
    return made
