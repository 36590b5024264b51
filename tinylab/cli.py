"""The command `tinylab`: inspect, convert, run, compare, debug; arena, c-array; progress, grade, doctor.

An error that a user can put right is one line on stderr and exit code 1, never a traceback.
"""

import argparse
import io
import json
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tinylab import __version__, whole_file
from tinylab.errors import DAMAGED_NUMPY_FILE, DataError, TinylabError

# The modules that need LiteRT or TensorFlow are imported by the commands that use them, so that
# `tinylab --help` answers at once.

RECIPES = ("float32", "dynamic_range", "float16", "int8", "int8_uint8_io", "int16x8")
KERNELS = ("default", "optimized", "reference")
TRACING_KERNELS = ("reference", "optimized")
ENGINES = ("litert", "integer", "micro")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    warnings.showwarning = lambda message, *_, **__: print(f"tinylab: warning: {message}", file=sys.stderr)
    try:
        return chosen.command(chosen) or 0
    except TinylabError as error:
        print(f"tinylab: {error}", file=sys.stderr)
    except OSError as error:
        print(f"tinylab: {error.filename or 'input or output'}: {error.strerror or error}", file=sys.stderr)
    except ImportError as error:
        print(f"tinylab: {error}: `tinylab doctor` says what to install.", file=sys.stderr)
    except KeyboardInterrupt:
        print("tinylab: interrupted", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tinylab", description="Look into .tflite models, convert, run, compare, debug and deploy them."
    )
    parser.add_argument("--version", action="version", version=f"tinylab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Callable, description: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=description, description=description)
        made.set_defaults(command=function)
        return made

    made = command("inspect", inspect, "tensors, operators and bytes of a .tflite file")
    made.add_argument("file", metavar="FILE")
    _add_json(made)

    made = command("convert", convert, "convert a SavedModel directory to a .tflite file")
    made.add_argument("saved_model", metavar="SAVED_MODEL")
    made.add_argument("--recipe", choices=RECIPES, default="float32")
    made.add_argument(
        "--representative-data", metavar="X.npy", help="inputs (N, ...), prepared as for training"
    )
    made.add_argument("-o", "--output", metavar="FILE", required=True)

    made = command("run", run, "run a .tflite file on a batch of inputs, real numbers in and out")
    made.add_argument("file", metavar="FILE")
    made.add_argument("--engine", choices=ENGINES, default="litert")
    made.add_argument("--kernels", choices=KERNELS, default="default")
    made.add_argument("--input", metavar="X.npy", required=True)
    made.add_argument("--output", metavar="Y.npy", required=True)

    made = command("compare", compare, "size, accuracy and latency of .tflite files side by side")
    made.add_argument("files", metavar="FILE", nargs="+")
    made.add_argument("--data", metavar="DATA.npz", required=True, help="holds x (N, ...) and labels (N,)")
    made.add_argument("--kernels", choices=KERNELS, default="default")
    _add_json(made)

    made = command("debug", debug, "which layer of a quantized .tflite file hurts")
    made.add_argument("float_file", metavar="FLOAT.tflite")
    made.add_argument("quantized_file", metavar="QUANTIZED.tflite")
    made.add_argument("--data", metavar="DATA", required=True, help=".npz with x (N, ...), or .npy")
    made.add_argument("--kernels", choices=TRACING_KERNELS, default="reference")
    _add_json(made)

    made = command("arena", arena, "how much memory a .tflite file needs on a microcontroller")
    made.add_argument("file", metavar="FILE")
    made.add_argument("--smallest", action="store_true", help="find the smallest arena that works, by trying")
    _add_json(made)

    made = command("c-array", c_array, "write a .tflite file as C source, NAME.h and NAME.cc")
    made.add_argument("file", metavar="FILE")
    made.add_argument("-o", "--output", metavar="DIR", required=True)
    made.add_argument("--name", default="model_data", help="of the array and the files; default model_data")

    made = command("progress", progress, "which tasks of the exercises are done, and what comes next")
    _add_json(made)

    classroom = commands.add_parser("classroom", help="for teachers: exercises to hand out")
    steps = classroom.add_subparsers(required=True, metavar="STEP")
    description = "write exercises as a folder and a zip to hand out, or as a course for nbgrader"
    made = steps.add_parser("release", help=description, description=description)
    made.set_defaults(command=release)
    made.add_argument("exercises", metavar="EXERCISE", nargs="*", help="number (05) or name; none: all")
    made.add_argument("-o", "--output", metavar="DIR", required=True, help="new, or an earlier release")
    made.add_argument("--nbgrader", action="store_true", help="write a course directory for nbgrader")

    made = command("grade", grade, "grade what a class handed in, and write grades and feedback")
    made.add_argument(
        "submissions", metavar="SUBMISSIONS", help="a folder, or the zip file that an LMS gives"
    )
    made.add_argument(
        "-o", "--output", metavar="GRADES", required=True, help="new, or an earlier run's to go on"
    )
    where = made.add_mutually_exclusive_group()
    where.add_argument(
        "--jobs", type=_positive, default=1, metavar="N", help="notebooks at a time; default 1"
    )
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, tcp://...:8786")
    made.add_argument(
        "--seconds", type=_positive, default=None, metavar="S", help="that a cell, or a task, may take"
    )

    made = command("doctor", doctor, "what is on this machine, and what to do about what is missing")
    _add_json(made)
    return parser


def _positive(text: str) -> int:
    """A number from the command line."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number, 1 or more, expected")
    return int(text)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def inspect(chosen: argparse.Namespace) -> None:
    """Print what a file consists of."""
    from tinylab import tflite_file
    from tinylab.byte_account import account
    from tinylab.precision import precision

    file = tflite_file.parse(chosen.file)
    bytes_of, computes = account(chosen.file), precision(chosen.file)
    if chosen.json:
        _print_json(_file_as_dict(file, bytes_of, computes))
        return
    console = _plain_console()
    operators = Table("", "operator", "inputs", "outputs", title=f"{file.name}: {file.size:,} bytes")
    for number, operator in enumerate(file.operators):
        operators.add_row(str(number), operator.name, _numbers(operator.inputs), _numbers(operator.outputs))
    name = Column("tensor", overflow="fold")  # names are long, and their ends tell them apart
    tensors = Table("", name, "role", "shape", "dtype", "scale", "zero point", "bytes")
    for tensor, role in zip(file.tensors, file.roles, strict=True):
        scale, zero_point = _span(tensor.scale), _span(tensor.zero_point)
        size = f"{tensor.nbytes:,}" if tensor.nbytes else ""
        tensors.add_row(
            str(tensor.index),
            tensor.name,
            role,
            "x".join(map(str, tensor.shape)),
            tensor.dtype,
            scale,
            zero_point,
            size,
        )
    console.print(operators, tensors)
    console.print(f"inputs: {_numbers(file.inputs)}; outputs: {_numbers(file.outputs)}")
    console.print(_bytes_table(bytes_of))
    console.print(f"quantization: {computes.verdict}", soft_wrap=True)
    for reason, leftovers in computes.by_reason.items():
        console.print(f"  float32: {_places(leftovers)}: {reason}", soft_wrap=True)


def _bytes_table(bytes_of: Any) -> Table:
    kinds = Table(
        Column("kind", "the whole file"),
        Column("bytes", f"{bytes_of.size:,}", justify="right"),
        Column("share", "100.0 %", justify="right"),
        show_footer=True,
    )
    for kind, size in bytes_of.bytes_by_kind.items():
        kinds.add_row(kind, f"{size:,}", f"{size / bytes_of.size:.1%}".replace("%", " %"))
    return kinds


def _places(leftovers: list) -> str:
    """Which tensors, by role: "weights 3 5, activation 7 8"."""
    places: dict[str, list[int]] = {}
    for leftover in leftovers:
        where = f" of subgraph {leftover.subgraph}" if leftover.subgraph else ""
        places.setdefault(leftover.role + where, []).append(leftover.tensor.index)
    return ", ".join(f"{role} {_ranges(indices)}" for role, indices in places.items())


def _ranges(indices: list[int]) -> str:
    """Ascending numbers, short.

    >>> _ranges([1, 2, 4, 5, 6, 9])
    '1 2 4-6 9'
    """
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else _numbers(run) for run in runs)


def _file_as_dict(file: Any, bytes_of: Any, computes: Any) -> dict:
    return {
        "file": file.name,
        "size": file.size,
        "inputs": file.inputs,
        "outputs": file.outputs,
        "bytes_by_dtype": file.bytes_by_dtype,
        "bytes_by_kind": bytes_of.bytes_by_kind,
        "verdict": computes.verdict,
        "float32": [
            {
                "subgraph": leftover.subgraph,
                "index": leftover.tensor.index,
                "role": leftover.role,
                "reason": leftover.reason,
            }
            for leftover in computes.leftovers
        ],
        "operators": [{"name": o.name, "inputs": o.inputs, "outputs": o.outputs} for o in file.operators],
        "tensors": [
            {
                "index": t.index,
                "name": t.name,
                "role": role,
                "shape": t.shape,
                "dtype": t.dtype,
                "scale": t.scale.tolist(),
                "zero_point": t.zero_point.tolist(),
                "bytes": t.nbytes,
            }
            for t, role in zip(file.tensors, file.roles, strict=True)
        ],
    }


def convert(chosen: argparse.Namespace) -> None:
    """Convert a SavedModel, and write the file only when it is right."""
    from tinylab import conversion

    data = _load_array(chosen.representative_data) if chosen.representative_data else None
    content = conversion.convert(Path(chosen.saved_model), conversion.Recipe(chosen.recipe), data)
    whole_file.write(chosen.output, content)
    print(f"{chosen.output}: {len(content):,} bytes, answers checked against the model's")


def run(chosen: argparse.Namespace) -> None:
    """Run a file on inputs from a .npy file."""
    from tinylab import runners

    runner = runners.load(chosen.file, engine=chosen.engine, kernels=chosen.kernels)
    outputs = runner.predict(_load_array(chosen.input))
    if isinstance(outputs, list):
        raise DataError(f"{chosen.file} has {len(outputs)} outputs; run writes one only.")
    file = io.BytesIO()
    np.save(file, outputs)
    whole_file.write(chosen.output, file.getvalue())
    print(f"{chosen.output}: {outputs.dtype} {outputs.shape}")


def compare(chosen: argparse.Namespace) -> None:
    """Print a table of several files."""
    from tinylab import measure

    data = _load(chosen.data)
    if isinstance(data, np.ndarray) or not {"x", "labels"} <= set(data):
        raise DataError(f"{chosen.data}: expected an .npz file with the arrays x and labels.")
    models = {str(Path(file)): Path(file) for file in chosen.files}
    compared = measure.compare(models, data["x"], data["labels"], kernels=chosen.kernels)
    if chosen.json:
        _print_json({"conditions": compared.conditions, "models": compared.table.to_dict(orient="index")})
        return
    table = Table(
        "file", "bytes", "smaller", "accuracy", "latency (µs)", "5 to 95 %", caption=compared.conditions
    )
    for name, row in compared.table.iterrows():
        spread = f"{row['low']:.1f} to {row['high']:.1f}"
        table.add_row(
            name,
            f"{row['bytes']:,.0f}",
            f"{row['smaller']:.2f}x",
            f"{row['accuracy']:.4f}",
            f"{row['latency']:.1f}",
            spread,
        )
    _plain_console().print(table)


def debug(chosen: argparse.Namespace) -> None:
    """Print the errors of a quantized file, operator by operator."""
    from tinylab.debug import layer_errors

    data = _load(chosen.data)
    if isinstance(data, dict):
        if "x" not in data:
            raise DataError(f"{chosen.data}: expected an .npz file with the array x.")
        data = data["x"]
    found = layer_errors(chosen.float_file, chosen.quantized_file, data, kernels=chosen.kernels)
    if chosen.json:
        finite = found.table.replace([np.inf, -np.inf], np.nan).astype(object)  # JSON has neither
        layers = finite.where(finite.notna(), None).rename_axis("number").reset_index()
        _print_json(
            {
                "layers": layers.to_dict(orient="records"),
                "saturated_input": found.saturated_input,
                "samples": found.samples,
                "kernels": found.kernels,
                "verdict": found.verdict,
            }
        )
        return
    console = _plain_console()
    shown = found.shown.reset_index(names="")
    names = [Column(heading, overflow="fold") for heading in ("operator", "layer")]
    # a narrow terminal breaks names, and no numbers
    numbers = [Column(textwrap.fill(h, 9), justify="right", no_wrap=True) for h in shown.columns[3:]]
    table = Table("", *names, *numbers, box=box.SIMPLE, padding=(0, 1, 0, 0), caption=found.note)
    for row in shown.itertuples(index=False):
        table.add_row(*map(str, row))
    console.print(table)
    console.print(found.verdict, soft_wrap=True)


def arena(chosen: argparse.Namespace) -> None:
    """Print what is in a model's arena, as measured, and as planned by hand."""
    from tinylab import arena, memory_plan

    plan, found = memory_plan.plan(chosen.file), arena.measure(chosen.file)
    smallest = arena.smallest(chosen.file) if chosen.smallest else None
    if chosen.json:
        _print_json(
            {
                "total": found.total,
                "tensors": found.tensors,
                "persistent": found.persistent,
                "parts": found.parts,
                "smallest": smallest,
                "plan": {"size": plan.size, "peak": plan.peak},
            }
        )
        return
    columns = Column("part", "the whole arena"), Column("bytes", f"{found.total:,}", justify="right")
    table = Table(*columns, title=chosen.file, show_footer=True)
    for name, size in found.parts.items():
        table.add_row(name, f"{size:,}")
    _plain_console().print(table)
    print(f"tensors by hand: {plan.size:,} bytes planned, {plan.peak:,} needed at the same time")
    if smallest:
        print(f"smallest arena that works: {smallest:,} bytes")


def c_array(chosen: argparse.Namespace) -> None:
    """Write a model as C source."""
    from tinylab import c_array

    header, source = c_array.write(chosen.file, chosen.output, chosen.name)
    print(f"{header}\n{source}: {chosen.name}[] and {chosen.name}_len")


def progress(chosen: argparse.Namespace) -> None:
    """Print the learner's own record."""
    from tinylab import record

    known = record.read()
    if chosen.json:
        _print_json({"exercises": known.states, "next": known.next, "note": known.note})
        return
    table = Table("exercise", Column("done", no_wrap=True), "tasks", box=box.SIMPLE)
    for exercise, states in known.states.items():
        names = {state: [t for t, s in states.items() if s == state] for state in record.STATES}
        done = len(names[record.DONE])
        tasks = "\n".join(f"{state}: {', '.join(tasks)}" for state, tasks in names.items() if tasks)
        mark = "[green]✓[/green]" if done == len(states) else " "
        table.add_row(exercise, f"{mark} {done} of {len(states)}", tasks)
    Console(highlight=False).print(table)
    print(known.next, known.note, sep="\n")


def release(chosen: argparse.Namespace) -> None:
    """Write exercises to hand out."""
    from tinylab.classroom import release

    exercises = release.choose(chosen.exercises)
    if chosen.nbgrader:
        release.nbgrader_course(chosen.output, exercises)
        written = "a course for nbgrader: hand out what is in release, and call nbgrader in this folder"
    else:
        *_, archive = release.release(chosen.output, exercises)
        written = f"{archive.name} holds all of it, to upload"
    print(*(exercise.name for exercise in exercises), f"{chosen.output}: {written}", sep="\n")


def grade(chosen: argparse.Namespace) -> None:
    """Grade a class, and say how it did, and where to look."""
    from tinylab.classroom import gradebook
    from tinylab.classroom.sandbox import Limits

    limits = Limits(seconds=chosen.seconds) if chosen.seconds else Limits()
    try:
        graded = gradebook.grade(chosen.submissions, chosen.output, chosen.jobs, chosen.scheduler, limits)
    except KeyboardInterrupt:
        raise TinylabError("interrupted. What is graded is kept: the same command goes on with it.") from None
    numbers = [Column(heading, justify="right") for heading in ("handed in", "mean points", "of")]
    table = Table("exercise", *numbers, box=box.SIMPLE)
    reports: dict[str, list] = {}
    for one in graded:
        if one.report and one.counts:
            reports.setdefault(one.exercise, []).append(one.report)
    for exercise, those in sorted(reports.items()):
        mean = np.mean([report.points for report in those])
        table.add_row(exercise, str(len(those)), f"{mean:.1f}", str(len(those[0].tasks)))
    _plain_console().print(table)
    if lost := sum(one.report is None for one in graded):
        print(f"{lost} of {len(graded)} files could not be graded")
    print(f"where to look: {Path(chosen.output) / 'index.html'}")


def doctor(chosen: argparse.Namespace) -> int:
    """Print what is on this machine; exit code 1 if something has to be done."""
    from tinylab import doctor as examination

    findings = examination.examine()
    if chosen.json:
        _print_json([vars(finding) for finding in findings])
    else:
        table = Table("", "what", "found", "what to do")
        for finding in findings:
            mark = Text("✓", "green") if finding.fine else Text("✗", "red")
            table.add_row(mark, finding.what, finding.found, finding.advice)
        _plain_console().print(table)
    return int(not all(finding.fine for finding in findings))


def _load(path: str) -> np.ndarray | dict[str, np.ndarray]:
    """An .npy file's array or an .npz file's arrays; pickled objects are refused."""
    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except DAMAGED_NUMPY_FILE as error:
        raise DataError(
            f"{path}: not an .npy or .npz file of plain numbers, or damaged; write it with np.save."
        ) from error


def _load_array(path: str) -> np.ndarray:
    loaded = _load(path)
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"{path}: expected one array (.npy), found {', '.join(loaded) or 'nothing'} (.npz).")
    return loaded


def _span(values: np.ndarray) -> str:
    """One value as it is, those of several channels as their number and range."""
    if not values.size:
        return ""
    low, high = f"{values.min():.6g}", f"{values.max():.6g}"
    return low if low == high else f"{values.size}: {values.min():.3g} to {values.max():.3g}"


def _numbers(indices: Sequence[int]) -> str:
    return " ".join(map(str, indices))


def _plain_console() -> Console:
    """One that prints text as it is: names and errors may hold square brackets."""
    return Console(markup=False, highlight=False)


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    sys.exit(main())
