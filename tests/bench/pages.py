"""The pages that are made from docs/results.json: its tables, the claims, and a part of README."""

import json
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from tinylab import authoring, models
from tinylab.runners import KERNELS

from . import files, speed, stored
from .claims import CLAIMS
from .verdicts import NOT_MEASURED, SOMETIMES

DOCS = authoring.ROOT / "docs"
RESULTS = DOCS / "results.json"
README = authoring.ROOT / "README.md"
BEGIN, END = "<!-- results -->\n", "<!-- /results -->\n"
MADE = "<!-- Made from results.json by tests/bench: change that, and run `make results`. -->"


def table(header: Iterable[str], rows: Iterable[Iterable]) -> str:
    """A table in Markdown: the first column to the left, all others to the right."""
    header = list(header)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def conditions(m: dict) -> str:
    """Where and when it was measured."""
    versions = ", ".join(f"{package} {version}" for package, version in m["versions"].items())
    return (
        f"{m['date']}, {m['processor']}, {m['cores']} cores, {m['system']}, Python {m['python']}, {versions}"
    )


def recipes(m: dict, name: str) -> str:
    """Bytes and accuracy of a network's files."""
    made = m["quality"]["recipes"][name]
    rows = [
        (recipe, f"{f['bytes']:,}", f"{made['float32']['bytes'] / f['bytes']:.2f}", f"{f['accuracy']:.4f}")
        for recipe, f in made.items()
    ]
    return table([f"`{name}`", "bytes", "times smaller", "accuracy"], rows)


def ratios(values: Iterable[float]) -> str:
    """From the least to the greatest."""
    values = list(values)
    return f"{min(values):.2f} to {max(values):.2f} times as fast"


def int8_gains(m: dict, kernels: str) -> list[float]:
    """How many times as fast as float32 int8 is, for each network."""
    return [times[kernels]["float32"] / times[kernels]["int8"] for times in m["kernels"].values()]


def engine_gains(m: dict, kernels: str) -> list[float]:
    """How many times as fast as LiteRT's kernels the integer engine is, for each architecture."""
    return [times[kernels] / times["integer"] for times in m["engine"].values()]


def batch_gains(m: dict) -> list[float]:
    """How many times as fast as the usual loop `predict` is."""
    return [times["one by one"] / times["in batches"] for times in m["batches"].values()]


def telling(m: dict) -> str:
    """The ratios that tell most, a line each."""
    seconds = [lesson["seconds"] for lesson in m["lessons"].values()]
    memory = max(lesson["MB"] for lesson in m["lessons"].values()) / 1000
    own, theirs = m["imports"]["tinylab"]["seconds"], m["imports"]["TensorFlow"]["seconds"]
    nbgrader, grade = m["grading"].values()
    graders = f"{nbgrader / grade:.1f} times as fast"
    lesson = f"{statistics.median(seconds):.0f} s (median); {max(seconds):.0f} s and {memory:.1f} GB at most"
    lines = {
        "a lesson, from top to bottom": lesson,
        "`import tinylab`, a new Python": f"{own:.2f} s; `import tensorflow` {theirs:.1f} s",
        "2,000 images by `predict`, against the usual loop; same answers": ratios(batch_gains(m)),
    }
    for kernels in KERNELS:
        lines[f"int8 against float32, {kernels} kernels, by network"] = ratios(int8_gains(m, kernels))
    lines |= {
        "the integer engine against LiteRT's reference kernels; same codes": ratios(
            engine_gains(m, "reference")
        ),
        "`tinylab grade` against nbgrader, a class of eleven; same grades": graders,
    }
    return table(["on one machine, named below", ""], lines.items())


def readme_section(m: dict) -> str:
    """What README says of the results."""
    parameters = models.card("small_cnn")["parameters"]
    return f"""\
Deterministic, and measured again by `make test`: {parameters:,} parameters, 2,000 test images.

{recipes(m, "small_cnn")}

Times, by `make bench`, each ratio within one run; the interpreters have one thread:

{telling(m)}

{conditions(m)}. [All results](docs/results.md); and
[the claims that the course began from](docs/claims.md), each with its figures and a verdict.
"""


def results_page(m: dict) -> str:
    """All tables."""
    lessons = [
        (f"[{name[:2]}](../notebooks/{name}.ipynb)", f"{found['seconds']:.0f}", f"{found['MB']:,.0f}")
        for name, found in m["lessons"].items()
    ]
    imports = [(name, f"{i['seconds']:.3f}", f"{i['MB']:.0f}") for name, i in m["imports"].items()]
    batches = [
        (name, *(f"{t:.3f}" for t in times.values()), f"{gain:.2f}")
        for (name, times), gain in zip(m["batches"].items(), batch_gains(m), strict=True)
    ]
    latencies = [
        (
            f"{name}, {kernels}",
            *(f"{by[kernels][recipe.value]:,.1f}" for recipe in files.SHIPPED),
            *(f"{by[kernels]['float32'] / by[kernels][recipe.value]:.2f}" for recipe in files.SHIPPED[1:]),
        )
        for name, by in m["kernels"].items()
        for kernels in KERNELS
    ]
    engine = [
        (
            name,
            *(f"{1000 * times[which]:,.1f}" for which in speed.ENGINES),
            *(f"{times[which] / times['integer']:.2f}" for which in ("reference", "default")),
        )
        for name, times in m["engine"].items()
    ]
    pipeline = [
        (way, *(f"{of(seconds):.2f}" for of in (min, statistics.median, max)))
        for way, seconds in m["pipeline"].items()
    ]
    grading = [
        (name, f"{seconds:.1f}", f"{m['grading']['nbgrader autograde'] / seconds:.1f}")
        for name, seconds in m["grading"].items()
    ]
    shipped = [
        (f"{name}, {recipe}", f"{found['bytes']:,}", found["boards"])
        for name, made in m["quality"]["shipped"].items()
        for recipe, found in made.items()
    ]
    names = [recipe.value.replace("_", " ") for recipe in files.SHIPPED]
    return f"""\
{MADE}

# What the course measured

{conditions(m)}.

`make bench` measures all of it, part after part. What is compared takes turns within one run, so that what
else the machine does is fair to all. Sizes and accuracies come out the same everywhere, or nearly, and are
tested; times are only reported, and what counts are their ratios.

## Sizes and accuracies

The share of 2,000 test images that each file gets right, on LiteRT's default kernels.

{chr(10).join(recipes(m, name) + chr(10) for name in models.TRAINED)}
Networks of the course, and MobileNetV1 as microcontrollers have it (a quarter as wide, for 96 by 96 pixels);
and how many of the ten boards in `tinylab.boards` run them. The last three were not trained for a task; sizes
do not depend on that.

{table(["file", "bytes", "boards"], shipped)}

## Lessons

Each alone, in an empty folder. Memory is what its kernel and all processes below hold at their peak.

{table(["lesson", "seconds", "MB"], lessons)}

## Importing

A new process, from its start to its end, best of {speed.ROUNDS}; and the memory that it holds at its end.

{table(["imported", "seconds", "MB"], imports)}

## One by one, or in batches

2,000 test images through LiteRT's interpreter, one at a time in a loop as in most tutorials, and by
`runner.predict`; seconds, best of {speed.ROUNDS}. The answers are the same.

{table(["file", "one by one", "in batches", "times as fast"], batches)}

## Int8 against float32

Microseconds of one inference (median), one thread, by kernels; and how many times as fast as float32. A
number below 1 is a loss.

{table(["network, kernels", *names, *(f"{name}, times as fast" for name in names[1:])], latencies)}

## The integer engine against LiteRT

Milliseconds for {speed.SAMPLES} inferences in int8; best of {speed.ROUNDS}. The engine's codes are those of
the reference kernels, all of them.

{table(["architecture", *speed.ENGINES, "reference / integer", "default / integer"], engine)}

## Feeding a training

Seconds of an epoch of `small_cnn` on 8,000 images, of {speed.EPOCHS} epochs each.

{table(["fed in", "least", "median", "most"], pipeline)}

## Grading

Eleven notebooks of exercise 05, from the command line to the grades, which are the same.

{table(["grader", "seconds", "times as fast"], grading)}
"""


def claims_page(m: dict) -> str:
    """Every claim with its figures and verdict."""
    found = [(claim, *claim.judge(m)) for claim in CLAIMS]
    topics = dict.fromkeys(claim.topic for claim in CLAIMS)
    counts = Counter(SOMETIMES if verdict.startswith(SOMETIMES) else verdict for *_, verdict in found)
    parts = []
    for topic in topics:
        rows = [
            (
                claim.says,
                figures,
                f"[{claim.lesson}](../notebooks/{stored.NAMES[claim.lesson]}.ipynb), *{claim.section}*",
                re.sub(rf"^({SOMETIMES}|.+)", r"**\1**", verdict),
            )
            for claim, figures, verdict in found
            if claim.topic == topic
        ]
        lines = table(["it is said", "measured here", "shown in", "verdict"], rows).splitlines()
        lines[1] = "| --- | --- | --- | --- |"
        parts.append(f"## {topic}\n\n" + "\n".join(lines) + "\n")
    return f"""\
{MADE}

# What is said, and what came out

The course began from a page of notes on TensorFlow Lite, the course's seed notes. What they claim is what
most texts claim. Here is all of it, in our words: the figures that the course has for it, the section that
shows it, and a verdict, which a program draws from the figures. Of {len(found)} claims {counts["holds"]}
hold, {counts[SOMETIMES]} hold under conditions, {counts["fails"]} fail, and {counts[NOT_MEASURED]} cannot be
judged on one computer.

"Holds when" names the cases that were tried and held; in the others it did not. A difference of accuracy
counts from one percentage point on. Definitions, steps and advice are no claims, and are left out. What a
lesson measured is read from its stored outputs; all else was measured by `make bench`:
{conditions(m)}.

{chr(10).join(parts)}"""


PAGES: dict[Path, Callable[[dict], str]] = {
    DOCS / "results.md": results_page,
    DOCS / "claims.md": claims_page,
    README: lambda m: with_section(README.read_text(), readme_section(m)),
}


def with_section(text: str, section: str) -> str:
    """A text with what stands between BEGIN and END exchanged."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}{section}{END}{rest.split(END)[1]}"


def measured() -> dict:
    """What docs/results.json holds."""
    return json.loads(RESULTS.read_text())


def write() -> None:
    """Make all pages."""
    for path, page in PAGES.items():
        path.write_text(page(measured()))
