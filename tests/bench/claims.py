"""The claims of the course's seed notes, in our words, each with what came out here, and a verdict.

The course began with a page of notes on TensorFlow Lite, as one writes them while reading. What they claim
is what most texts claim. A claim's function takes what was measured and returns the figures, in words, and
the verdict.
"""

from collections.abc import Callable, Mapping
from itertools import product

import pandas as pd

from tinylab import boards
from tinylab.runners import KERNELS

from . import files, stored
from .verdicts import CLAIMS, NOT_MEASURED, SMALL, claim, listed, verdict, yes

__all__ = ["CLAIMS"]


def saved(m: dict, recipe: str) -> dict[str, float]:
    """Share of the float32 file that a recipe saves, by network."""
    networks = m["quality"]["shipped"].items()
    return {name: 1 - made[recipe]["bytes"] / made["float32"]["bytes"] for name, made in networks}


def lost(m: dict, recipe: str) -> dict[str, float]:
    """Accuracy that a recipe costs, by network."""
    networks = m["quality"]["recipes"].items()
    return {name: made["float32"]["accuracy"] - made[recipe]["accuracy"] for name, made in networks}


def faster(m: dict, recipe: str) -> dict[tuple[str, str], float]:
    """How many times as fast as float32 a recipe is, by network and kernels."""
    times = m["kernels"]
    return {
        (name, kernels): times[name][kernels]["float32"] / times[name][kernels][recipe]
        for name, kernels in product(files.NETWORKS, KERNELS)
    }


def spread(ratios: Mapping[object, float]) -> str:
    """The least and the greatest of them, and whose they are."""
    least, most = min(ratios, key=ratios.get), max(ratios, key=ratios.get)
    return f"{ratios[least]:.2f} ({' on '.join(least)}) to {ratios[most]:.2f} times ({' on '.join(most)})"


def where(ratios: Mapping[tuple[str, str], float], enough: Callable[[float], bool]) -> dict[str, bool]:
    """For each network the kernels that are enough, and those that are not."""
    cases = {}
    for name in files.NETWORKS:
        held = {kernels: enough(ratios[name, kernels]) for kernels in KERNELS}
        for answer in set(held.values()):
            those = [kernels for kernels in KERNELS if held[kernels] == answer]
            named = "any" if len(those) == len(KERNELS) else " or ".join(those)
            cases[f"{name} runs on {named} kernels"] = answer
    return cases


WHY = "Why models are made smaller"
CONVERT = "Saving, converting, running"
FLAGS = "Optimization flags"
PTQ = "Quantization after training, with representative data"
QAT = "Quantization-aware training"
GAINS = "What 8 bits bring"
REASONS = "How and why it works"
FEED = "Preparing data and training"


@claim(WHY, "A network as it was trained is often too large for a small device.", "09", "Will it fit?")
def _(m):
    made, most = m["quality"]["shipped"], len(boards.BOARDS)
    runs = {name: by_recipe["float32"]["boards"] for name, by_recipe in made.items()}
    cases = {f"it is {name}": count <= most / 2 for name, count in runs.items()}
    return f"of {most} boards, run it in float32: {listed(runs)}", verdict(cases)


@claim(WHY, "Quantized, complex networks run on devices with little memory.", "09", "Will it fit?")
def _(m):
    made = m["quality"]["shipped"]
    runs = {name: (by["float32"]["boards"], by["int8"]["boards"]) for name, by in made.items()}
    figures = listed({name: f"{before} and {after}" for name, (before, after) in runs.items()})
    cases = {f"it is {name}": after > before for name, (before, after) in runs.items()}
    return f"boards that run it in float32 and in int8: {figures}", verdict(cases)


@claim(CONVERT, "A model is saved with `tf.saved_model.save` and converted from that folder.", "01", "A trap")
def _(m):
    made = m["facts"]["saving"]
    figures = (
        f"Keras 2: {made['parameters']:,} bytes of parameters, file {made['file']:,}; Keras 3: "
        f"{made['Keras 3, parameters']:,}, file {made['Keras 3, file']:,} (by `model.export` "
        f"{made['Keras 3, exported']:,})"
    )
    cases = {
        "the model is of Keras 2": made["file"] > made["parameters"] and made["answers agree"],
        "it is of Keras 3": made["Keras 3, file"] > made["Keras 3, parameters"],
    }
    return figures, verdict(cases)


@claim(CONVERT, "Conversion by itself makes a model smaller.", "01", "Convert it")
def _(m):
    made = m["facts"]["saving"]
    folder = made["folder, times the file"]
    figures = f"parameters {made['parameters']:,} bytes, file {made['file']:,}, folder {folder} times as much"
    cases = {
        "compared with the whole folder": folder > 1,
        "compared with its parameters": made["file"] < made["parameters"],
    }
    return figures, verdict(cases)


@claim(CONVERT, "The converted bytes, written to a file, are the model.", "01", "Prove it")
def _(m):
    agrees = m["facts"]["saving"]["answers agree"]
    return f"answers of the file are Keras's, to 0.00001: {yes(agrees)}", verdict(agrees)


@claim(
    CONVERT,
    "`tf.lite.Interpreter` runs a file: allocate, set the input, invoke, get the output.",
    "01",
    "Run it, step by step",
)
def _(m):
    seen = m["facts"]["interpreter"]
    figures = (
        f"input {seen['input']}; answers as LiteRT's own: {yes(seen['same answer'])}; warns that it is "
        f"deprecated: {yes(seen['deprecated'])}; an image without the batch axis is "
        f"{seen['without the batch axis']}"
    )
    return figures, verdict(seen["same answer"])


@claim(FLAGS, "`Optimize.DEFAULT` makes the file smaller.", "02", "What stayed float32, and why")
def _(m):
    sizes = {name: m["facts"]["flags"][name] for name in ("small_cnn", "tiny")}
    figures = listed({name: f"{made['none']:,} to {made['DEFAULT']:,} bytes" for name, made in sizes.items()})
    cases = {f"it is {name}": made["DEFAULT"] < made["none"] for name, made in sizes.items()}
    return f"{figures} (tiny: no layer has 1,024 weights)", verdict(cases)


@claim(FLAGS, "`Optimize.DEFAULT` makes it faster.", "02", "Is it faster?")
def _(m):
    ratios = faster(m, "dynamic_range")
    return spread(ratios), verdict(where(ratios, lambda ratio: ratio > 1))


@claim(FLAGS, "`OPTIMIZE_FOR_SIZE` makes the smallest file.", "02", "Three flags")
def _(m):
    sizes = m["facts"]["flags"]["small_cnn"]
    figures = f"{sizes['FOR_SIZE']:,} bytes; `DEFAULT` {sizes['DEFAULT']:,}: one file under three names"
    return figures, verdict(sizes["FOR_SIZE"] < sizes["DEFAULT"])


@claim(FLAGS, "`OPTIMIZE_FOR_LATENCY` makes the fastest one.", "02", "Three flags")
def _(m):
    different = m["facts"]["flags"]["different files"]
    return f"different files that the three flags give, byte for byte: {different}", verdict(different > 1)


@claim(FLAGS, "With `DEFAULT` alone, the weights are int8.", "02", "What stayed float32, and why")
def _(m):
    found = {name: m["facts"]["flags"][f"{name}, int8 weights"] for name in ("small_cnn", "tiny")}
    figures = listed({name: f"{int8} of {all_} weight tensors" for name, (int8, all_) in found.items()})
    cases = {
        "they have 1,024 elements or more, each": found["small_cnn"][0] > 0,
        "they have fewer": found["tiny"][0] > 0,
    }
    return figures, verdict(cases)


@claim(FLAGS, "A model of 9 MB becomes one of 2.3 MB.", "08", "What int8 owes to this network")
def _(m):
    rows = stored.table("08", "MB", "accuracy")
    sizes = {name: f"{row['MB']} MB" for name, row in rows.items()}
    cases = {
        f"the recipe is {name} (accuracy {row['accuracy']})": float(row["MB"]) < 2.35
        for name, row in rows.items()
    }
    return listed(sizes), verdict(cases)


@claim(FLAGS, "It becomes two to three times faster.", "08", "Two to three times faster?")
def _(m):
    ratios = faster(m, "dynamic_range")
    int8 = faster(m, "int8")
    figures = f"dynamic range {spread(ratios)}; int8 {spread(int8)}"
    cases = {f"{case} in int8": held for case, held in where(int8, lambda ratio: ratio >= 2).items()}
    cases |= {f"{case} in dynamic range": held for case, held in where(ratios, lambda r: r >= 2).items()}
    return figures, verdict(cases)


@claim(FLAGS, "It loses a little accuracy at most.", "08", "How often are they right?")
def _(m):
    rows = stored.table("08", "MB", "accuracy")
    before, after = (rows[recipe]["accuracy"] for recipe in ("float32", "dynamic_range"))
    figures, held = judged(lost(m, "dynamic_range"))
    return f"{figures}; MobileNetV2 {before} before, {after} after", held


def judged(losses: Mapping[str, float]) -> tuple[str, str]:
    """Whether each loss is small."""
    figures = listed({name: 100 * loss for name, loss in losses.items()}, "{:+.2f}")
    cases = {f"it is {name}": loss < SMALL for name, loss in losses.items()}
    return f"points lost: {figures}", verdict(cases)


@claim(
    PTQ,
    "Weights and activations become int8, all of the network, if `TFLITE_BUILTINS_INT8` is asked for.",
    "03",
    "An operator without integers",
)
def _(m):
    found = m["facts"]["integers"]
    cases = {
        "every operator has an int8 kernel (small_cnn)": found["small_cnn"] == 0,
        "there is an ELU": found["with ELU"] == 0,
    }
    return f"float32 tensors: small_cnn {found['small_cnn']}, with ELU {found['with ELU']}", verdict(cases)


@claim(PTQ, "Input and output can be uint8.", "03", "Feed it: round, do not truncate")
def _(m):
    found = m["facts"]["integers"]
    figures = f"input {found['input']}; its codes are the pixels: {yes(found['pixels are codes'])}"
    return figures, verdict(found["input"] == "uint8")


@claim(PTQ, "Representative data are crucial: ranges are calibrated with them.", "03", "Bad data, five ways")
def _(m):
    found = m["facts"]["representative"]
    worst = min(found["sets"].values())
    figures = f"accuracy: float32 {found['float32']:.4f}; int8, {listed(found['sets'], '{:.4f}')}"
    return figures, verdict(found["sets"]["real"] - worst > SMALL)


@claim(PTQ, "Data that do not resemble what the model will see do harm.", "03", "Bad data, five ways")
def _(m):
    found = m["facts"]["representative"]["sets"]
    losses = {name: 100 * (found["real"] - share) for name, share in found.items() if name != "real"}
    cases = {f"they are {name}": loss > 100 * SMALL for name, loss in losses.items()}
    return f"points lost against real images: {listed(losses, '{:.2f}')}", verdict(cases)


@claim(PTQ, "A hundred samples are enough.", "03", "How many images?")
def _(m):
    found = m["facts"]["representative"]
    figures = f"float32 {found['float32']:.4f}; worst of five draws: " + listed(
        {count + " image" + "s" * (count != "1"): share for count, share in found["worst draw"].items()},
        "{:.4f}",
    )
    return figures, verdict(found["float32"] - found["worst draw"]["100"] < SMALL)


@claim(PTQ, "Calibrated with real data, it loses very little accuracy.", "03", "What it costs, what it saves")
def _(m):
    figures, held = judged(lost(m, "int8"))
    return f"{figures}; MobileNetV2, 100 pictures: {stored.line('08', 'by chance alone')}", held


@claim(PTQ, "The loss has to be measured for each application.", "07", "A patient")
def _(m):
    rows = stored.table("07", "uneven channels", "outlier")
    losses = {
        kind: float(rows["float32"][kind]) - float(rows["int8"][kind])
        for kind in ("uneven channels", "outlier")
    }
    figures = listed({name: 100 * loss for name, loss in losses.items()}, "{:.2f}")
    return f"points lost, with good data and no error: {figures}", verdict(max(losses.values()) > SMALL)


@claim(
    PTQ,
    "`Optimize.DEFAULT`, and nothing else, prepares a model for phones and microcontrollers.",
    "09",
    "What it takes and what it refuses",
)
def _(m):
    taken = m["facts"]["on_a_chip"]
    figures = listed({name: "taken" if fits else "refused" for name, fits in taken.items()})
    right = m["quality"]["recipes"]["small_cnn"]["dynamic_range"]["accuracy"]
    cases = {
        "LiteRT runs it": right > 0.5,
        "TensorFlow Lite Micro runs it": taken.get("dynamic_range", False),
    }
    return f"accuracy on LiteRT {right:.4f}; TensorFlow Lite Micro: {figures}", verdict(cases)


def bits() -> dict[int, tuple[float, float]]:
    """Accuracy by bits, rounded after training and trained through it: lesson 04's means of three seeds."""
    found = stored.recap("04")
    return {n: tuple(stored.numbers(found[f"{n} bits: PTQ to QAT"])) for n in (8, 4, 3, 2)}


@claim(
    QAT,
    "It keeps more accuracy than quantization after training.",
    "04",
    "Fewer bits: where it earns its place",
)
def _(m):
    found = bits()
    figures = listed({f"{n} bits": f"{ptq:.4f} to {qat:.4f}" for n, (ptq, qat) in found.items()})
    cases = {f"weights have {n} bits": qat - ptq > SMALL for n, (ptq, qat) in found.items()}
    return f"PTQ to QAT: {figures}", verdict(cases)


def at_8_bits() -> dict[str, float]:
    """Lesson 04's mean accuracies over seeds, at 8 bits."""
    rows = stored.table("04", "float32", "QAT, .tflite").values()
    return pd.DataFrame(rows).astype(float).mean().to_dict()


@claim(QAT, "It can equal the float32 network.", "04", "Is it worth it at 8 bits?")
def _(m):
    found = at_8_bits()
    return f"at 8 bits: {listed(found, '{:.4f}')}", verdict(found["float32"] - found["QAT, .tflite"] < SMALL)


@claim(QAT, "It can be better than the float32 network.", "04", "Is it worth it at 8 bits?")
def _(m):
    gain = at_8_bits()["QAT, .tflite"] - at_8_bits()["float32"]
    return f"at 8 bits {100 * gain:+.2f} points, on average of three seeds", verdict(gain > SMALL)


@claim(QAT, "The network learns to be robust against its rounding.", "04", "Train through the stairs")
def _(m):
    ptq, qat = bits()[2]
    return f"2 bits: {ptq:.4f} untrained, {qat:.4f} trained", verdict(qat - ptq > SMALL)


@claim(QAT, "`quantize_model` wraps a model for it.", "04", "What the tool refuses")
def _(m):
    taken = m["facts"]["refused"]
    figures = listed({name: "taken" if ok else "refused" for name, ok in taken.items()})
    return figures, verdict({f"the model is: {name}": ok for name, ok in taken.items()})


@claim(QAT, "Wrapped, it has lost no accuracy.", "04", "The tool")
def _(m):
    found, before = m["facts"]["aware"], m["facts"]["representative"]["float32"]
    begins = found["accuracy as it begins"]
    figures = f"float32 {before:.4f}; wrapped and not trained {begins:.4f}, with the ranges of the data "
    ready = found["accuracy of the file"]
    cases = {
        "its ranges are set from data": before - ready < SMALL,
        "it is as it begins": before - begins < SMALL,
    }
    return f"{figures}{ready:.4f}", verdict(cases)


@claim(
    QAT,
    "Forward the network computes with rounded values, backward in float32.",
    "04",
    "The slope of rounding",
)
def _(m):
    slope, kinds = m["facts"]["gradient"], m["facts"]["aware"]["dtypes of its variables"]
    figures = (
        f"3 bits: {slope['values']} values forward; slope {slope['inside'][0]:g} inside the range, "
        f"{slope['outside'][1]:g} outside; trained variables {', '.join(kinds)}"
    )
    return figures, verdict(slope["values"] < 8 and slope["inside"] == [1, 1] and kinds == ["float32"])


@claim(QAT, "No representative data are needed after it.", "04", "The tool")
def _(m):
    found = m["facts"]["aware"]
    return f"converted without any: {found['converted']}", verdict(found["float32 only at the ends"])


@claim(QAT, "Converted, it keeps its accuracy.", "04", "Two accuracies: in Keras and in the file")
def _(m):
    rows = stored.table("04", "accuracy, file", "accuracy, Keras", "8 bits")
    pairs = {name: f"{row['accuracy, Keras']} and {row['accuracy, file']}" for name, row in rows.items()}
    changed = {name: float(row["other class"]) for name, row in rows.items()}
    cases = {
        f"weights have {name} ({count:.0f} images change their class)": count < 2000 * SMALL
        for name, count in changed.items()
    }
    return f"in Keras and in the file: {listed(pairs)}", verdict(cases)


@claim(QAT, "It takes more time to train.", "04", "Is it worth it at 8 bits?")
def _(m):
    (longer,) = stored.numbers(stored.recap("04")["training time, QAT against float32"])
    return f"a training of two epochs takes {longer} times as long, and it is one more", verdict(longer > 1)


@claim(QAT, "It is more complex than quantization after training.", "04", "What the tool refuses")
def _(m):
    taken = m["facts"]["refused"]
    refused = len(taken) - sum(taken.values())
    return f"of {len(taken)} usual models the toolkit refuses {refused}", verdict(refused > 0)


@claim(PTQ, "It is easy, and changes nothing about training.", "03", "Write one")
def _(m):
    losses = lost(m, "int8")
    figures = (
        f"100 unlabelled images, no step of training; small_cnn {100 * losses['small_cnn']:+.2f} points lost"
    )
    return figures, verdict(losses["small_cnn"] < SMALL)


@claim(GAINS, "The file becomes up to 75 % smaller.", "03", "What it costs, what it saves")
def _(m):
    found = saved(m, "int8")
    figures = listed({name: 100 * share for name, share in found.items()}, "{:.1f} %")
    cases = {
        "75 % is meant as a limit": max(found.values()) < 0.75,
        "it is what one gets": max(found.values()) > 0.745,
    }
    return f"int8 saves: {figures}", verdict(cases)


@claim(GAINS, "Int8 computes faster than float32.", "06", "What 8 bits save: arithmetic")
def _(m):
    ratios = faster(m, "int8")
    return spread(ratios), verdict(where(ratios, lambda ratio: ratio > 1))


@claim(GAINS, "It makes use of vector instructions (SIMD).", "06", "What 8 bits save: arithmetic")
def _(m):
    gains = {
        name: times["reference"]["int8"] / times["default"]["int8"] for name, times in m["kernels"].items()
    }
    figures = f"int8 on the default kernels, against plain reference code: {listed(gains, '{:.1f} times')}"
    return figures, verdict({f"it is {name}": gain > 1 for name, gain in gains.items()})


@claim(
    GAINS,
    "It needs less memory and bandwidth, which is good for caches.",
    "06",
    "What 8 bits save: memory traffic",
)
def _(m):
    ratios = {name: made["float32"] / made["int8"] for name, made in m["quality"]["traffic"].items()}
    figures = listed(ratios, "{:.2f}")
    return f"times fewer bytes moved in an inference: {figures}", verdict(min(ratios.values()) > 1)


@claim(GAINS, "It takes less energy, which batteries are glad of.", "06", "What 8 bits save: energy")
def _(m):
    less = next(said for name, said in stored.recap("06").items() if name.startswith("energy"))
    source = "[Horowitz, 2014](https://doi.org/10.1109/ISSCC.2014.6757323)"
    return f"an estimate from figures of {source}, for a chip of 45 nm: {less}", NOT_MEASURED


@claim(GAINS, "Many chips, DSPs and accelerators are made for int8.", "09", "And how long does it take?")
def _(m):
    taken = m["facts"]["on_a_chip"]
    fit = "takes" if taken.get("int8") else "was not there to take"
    return f"one processor and no accelerator here; TensorFlow Lite Micro {fit} the int8 file", NOT_MEASURED


@claim(GAINS, "The gain is largest where the hardware supports int8.", "06", "What 8 bits save: arithmetic")
def _(m):
    ratios = faster(m, "int8")
    best = {kernels: max(ratios[name, kernels] for name in files.NETWORKS) for kernels in KERNELS}
    return f"one processor here; by its kernels, at best: {listed(best, '{:.2f} times')}", NOT_MEASURED


@claim(
    REASONS, "Real numbers are mapped to codes along a straight line.", "05", "Real numbers onto 256 codes"
)
def _(m):
    error = m["facts"]["mapping"]["largest error, in steps"]
    return f"100,001 numbers there and back: off by {error:.4f} of a step at most", verdict(error < 0.501)


@claim(REASONS, "-3.0 to 6.0 are mapped to -128 to 127.", "05", "Real numbers onto 256 codes")
def _(m):
    found = m["facts"]["mapping"]
    low, high = found["codes of the ends"]
    figures = f"ends {low} and {high}; scale {found['scale']:.7f}, zero point {found['zero point']}"
    return figures, verdict((low, high) == (-128, 127))


@claim(REASONS, "Networks tolerate noise and imprecision.", "05", "Why it works at all")
def _(m):
    before, found = m["facts"]["representative"]["float32"], m["facts"]["noise"]
    cases = {f"it is as large as rounding to {n} bits": before - share < SMALL for n, share in found.items()}
    figures = listed({f"{n} bits": share for n, share in found.items()}, "{:.4f}")
    return f"accuracy with noise in the weights as large as the rounding to: {figures}", verdict(cases)


@claim(REASONS, "Values stay within ranges that 8 bits suffice for.", "07", "Why these?")
def _(m):
    rows = stored.table("07", "uneven channels", "outlier")
    own = m["quality"]["recipes"]
    losses = {name: made["float32"]["accuracy"] - made["int8"]["accuracy"] for name, made in own.items()}
    for kind in ("uneven channels", "outlier"):
        losses[f"a network with {kind}"] = float(rows["float32"][kind]) - float(rows["int8"][kind])
    figures = listed({name: 100 * loss for name, loss in losses.items()}, "{:+.2f}")
    return f"points lost in int8: {figures}", verdict(
        {f"it is {name}": loss < SMALL for name, loss in losses.items()}
    )


@claim(
    FEED,
    "`tfds.load` opens well-known data sets, splits them and gives pairs.",
    "01",
    "Images that come with the course",
)
def _(m):
    found = m["facts"]["loading"]
    figures = f"the embedded set, split 80/10/10: {found['splits']}; pairs: {yes(found['pairs'])}"
    return f"{figures} (others need the internet)", verdict(found["splits"] == [8000, 1000, 1000])


@claim(FEED, "Dividing pixels by 255 brings them to where a network wants them.", "08", "Its scale, not ours")
def _(m):
    found = m["facts"]["scaling"]
    right, _, wrong = stored.numbers(stored.line("08", "wrong in use only"))
    figures = f"a network trained on 0 to 1, given pixels of {listed(found, '{:.4f}')}; lesson 08's backbone,"
    cases = {
        "it was trained so": found["0 to 1"] > max(found["-1 to 1"], found["0 to 255"]),
        "it was trained otherwise": wrong > right - SMALL,
    }
    return f"{figures} trained on -1 to 1: {right} if given these, {wrong} if given 0 to 1", verdict(cases)


@claim(
    FEED,
    "Shuffling keeps a network from learning the order of the data.",
    "01",
    "A pipeline that feeds the training",
)
def _(m):
    found = m["facts"]["shuffling"]
    figures = listed(found, "{:.4f}")
    return f"one epoch on sorted images: {figures}", verdict(
        found["shuffled"] - found["in order of class"] > SMALL
    )


def _ratios(m: dict, way: str) -> list[float]:
    """Epochs fed in this way against those in batches of 32 with prefetch, pair by pair."""
    usual = m["pipeline"]["batches of 32, prefetch(1)"]
    return [seconds / of_usual for seconds, of_usual in zip(m["pipeline"][way], usual, strict=True)]


def _slower(ratios: list[float]) -> bool:
    """Whether hardly a pair says otherwise: 7 of 8 or more come by chance alone in 3.5 % of all cases."""
    return sum(ratio > 1 for ratio in ratios) / len(ratios) > 0.85


@claim(FEED, "Batches of 32 or so make training efficient.", "01", "A pipeline that feeds the training")
def _(m):
    ratios = _ratios(m, "batches of 4, prefetch(1)")
    figures = f"an epoch in batches of 4 takes {min(ratios):.1f} to {max(ratios):.1f} times as long"
    return figures, verdict(_slower(ratios))


@claim(
    FEED,
    "`prefetch(1)` saves time: it loads the next batch while the network trains.",
    "01",
    "A pipeline that feeds the training",
)
def _(m):
    ratios = _ratios(m, "batches of 32")
    longer = f"{sum(ratio > 1 for ratio in ratios)} of {len(ratios)} pairs"
    figures = (
        f"without it an epoch takes {min(ratios):.2f} to {max(ratios):.2f} times as long; longer in {longer}"
    )
    return figures, verdict(_slower(ratios))


@claim(
    FEED,
    "How large a batch may be depends on the device that the model is for.",
    "01",
    "A pipeline that feeds the training",
)
def _(m):
    found = m["facts"]["batch_sizes"]
    figures = listed({f"batches of {n}": f"{size:,} bytes" for n, size in found.items()})
    return f"files after training in {figures}", verdict(len(set(found.values())) > 1)


@claim(FEED, "The smallest model is one dense neuron with one input.", "00", "A network of two numbers")
def _(m):
    found = m["facts"]["one_neuron"]
    return f"{found['parameters']} parameters, a file of {found['file']:,} bytes", verdict(
        found["parameters"] == 2
    )


@claim(
    FEED,
    "Labels that are whole numbers want `sparse_categorical_crossentropy`.",
    "01",
    "A small network, trained here and now",
)
def _(m):
    found = m["facts"]["labels"]
    same = abs(found["whole numbers"] - found["one-hot"]) < 1e-6
    return (
        f"loss {found['whole numbers']:.6f}, of one-hot labels by its sister {found['one-hot']:.6f}",
        verdict(same),
    )
