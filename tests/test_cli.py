"""The command line: what each command prints and writes, and errors in one line."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tinylab import cli, measure, one_operator, runners, tflite_file
from tinylab.byte_account import account

RECIPES = ("float32", "int8")


@pytest.fixture
def tinylab(monkeypatch, capsys):
    """Run a command in this process: exit code, standard output, standard error."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main replaces it
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def fails(tinylab):
    """Run a command that has to fail: one line on stderr, which is returned."""

    def run(*arguments):
        code, out, err = tinylab(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith("tinylab: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err

    return run


@pytest.fixture
def work(dense_files, tmp_path, monkeypatch):
    """A folder with two models, inputs and labels, and in it."""
    for recipe in RECIPES:
        (tmp_path / f"{recipe}.tflite").write_bytes(dense_files[recipe])
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "data.npz", x=x, labels=np.arange(50) % 2)
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "text.txt").write_text("no numbers\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    from tinylab._tensorflow import keras, tf
    from tinylab.quiet import quiet

    directory = tmp_path_factory.mktemp("saved") / "model"
    with quiet():
        tf.saved_model.save(keras.Sequential([keras.layers.Dense(2, input_shape=(3,))]), str(directory))
    return directory


@pytest.fixture(scope="module")
def unrelated_file():
    """An int8 file that has nothing in common with those in the folder: one ADD."""
    values = one_operator.Values(np.zeros((1, 3), np.int8), 0.1)
    return one_operator.tflite("ADD", schema.AddOptionsT(), [values, values], values)


# inspect


def test_inspect_prints_operators_tensors_and_bytes(tinylab, work):
    code, out, err = tinylab("inspect", "int8.tflite")
    assert (code, err) == (0, "")
    file = tflite_file.parse(work / "int8.tflite")
    for expected in ("FULLY_CONNECTED", f"{file.size:,} bytes", "zero point"):
        assert expected in out
    assert "quantization: all integer: weights int8, activations int8\n" in out
    for tensor in file.tensors:
        assert tensor.name in out


def test_inspect_accounts_for_every_byte(tinylab, work):
    _, out, _ = tinylab("inspect", "int8.tflite")
    accounted = account(work / "int8.tflite")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    printed = {row[0]: row[1:] for row in rows if len(row) == 3 and row[2].endswith("%")}
    assert printed.pop("the whole file") == [f"{accounted.size:,}", "100.0 %"]
    assert list(printed) == list(accounted.bytes_by_kind)
    assert [int(size.replace(",", "")) for size, _ in printed.values()] == [*accounted.bytes_by_kind.values()]
    assert sum(float(share.rstrip(" %")) for _, share in printed.values()) == pytest.approx(100, abs=0.5)


def test_inspect_says_which_tensors_stayed_float32_and_why(tinylab, work, dense_files):
    (work / "dynamic_range.tflite").write_bytes(dense_files["dynamic_range"])
    _, out, _ = tinylab("inspect", "dynamic_range.tflite")
    assert "quantization: float32, although dynamic range quantization was asked for\n" in out
    assert "  float32: weights 1 2: dynamic range leaves weights with fewer than 1,024 elements" in out
    assert "  float32: input 0, activation 3, output 4: dynamic range quantizes no activations" in out


def test_inspect_prints_names_as_they_are(tinylab, work):
    content = (work / "int8.tflite").read_bytes()
    name = tflite_file.parse(content).tensors[0].name.encode()
    odd = b"[red]with [/] brackets"
    (work / "odd.tflite").write_bytes(content.replace(name, odd.ljust(len(name), b"]")))
    code, out, err = tinylab("inspect", "odd.tflite")
    assert (code, err) == (0, "")
    assert odd.decode() in out


def test_inspect_as_json_holds_the_same(tinylab, work):
    code, out, err = tinylab("inspect", "int8.tflite", "--json")
    file, printed = tflite_file.parse(work / "int8.tflite"), json.loads(out)
    assert (code, err) == (0, "")
    assert printed["size"] == file.size
    assert printed["bytes_by_dtype"] == file.bytes_by_dtype
    assert printed["bytes_by_kind"] == account(work / "int8.tflite").bytes_by_kind
    assert [tensor["role"] for tensor in printed["tensors"]] == list(file.roles)
    assert (printed["verdict"], printed["float32"]) == ("all integer: weights int8, activations int8", [])
    _, out, _ = tinylab("inspect", "float32.tflite", "--json")
    reason = "nothing was quantized: the converter's optimizations were not set"
    assert json.loads(out)["float32"][0] == {"subgraph": 0, "index": 0, "role": "input", "reason": reason}
    assert [operator["name"] for operator in printed["operators"]] == [o.name for o in file.operators]
    assert [tensor["scale"] for tensor in printed["tensors"]] == [t.scale.tolist() for t in file.tensors]


def test_inspect_of_what_is_no_model_fails_in_one_line(fails, work):
    (work / "cut.tflite").write_bytes((work / "int8.tflite").read_bytes()[:500])
    assert "damaged or cut short" in fails("inspect", "cut.tflite")
    assert "not a .tflite" in fails("inspect", "text.txt")
    assert "No such file" in fails("inspect", "missing.tflite")
    assert "Is a directory" in fails("inspect", ".")


# convert


@pytest.mark.parametrize("recipe", RECIPES)
def test_convert_writes_a_file_that_runs(tinylab, work, saved_model, recipe):
    options = ["--recipe", recipe, "--representative-data", "x.npy", "-o", "out.tflite"]
    code, out, err = tinylab("convert", saved_model, *options)
    assert (code, err) == (0, "")
    size = (work / "out.tflite").stat().st_size
    assert out == f"out.tflite: {size:,} bytes, answers checked against the model's\n"
    assert str(runners.load(work / "out.tflite").inputs[0].dtype) == recipe


def test_a_warning_is_one_line_too(tinylab, work, saved_model):
    np.save("large.npy", np.load("x.npy") * 1000)
    options = ["--recipe", "int8", "--representative-data", "large.npy", "-o", "out.tflite"]
    code, _, err = tinylab("convert", saved_model, *options)
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith("tinylab: warning: representative data: values up to")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "int8"], "needs representative_data"),
        (["--recipe", "int8", "--representative-data", "missing.npy"], "No such file"),
        (["--recipe", "int8", "--representative-data", "text.txt"], "not an .npy or .npz file"),
        (
            ["--recipe", "int8", "--representative-data", "pickled.npy"],
            "not an .npy or .npz file of plain numbers",
        ),
        (["--recipe", "int8", "--representative-data", "data.npz"], "expected one array"),
        (["--recipe", "int8", "--representative-data", "wide.npy"], r"shape (5, 4) given"),
    ],
)
def test_convert_with_unusable_data_fails_and_writes_nothing(fails, work, saved_model, options, message):
    np.save("wide.npy", np.zeros((5, 4), np.float32))
    assert message in fails("convert", saved_model, *options, "-o", "out.tflite")
    assert not (work / "out.tflite").exists()


def test_convert_of_what_is_no_saved_model_fails(fails, work):
    assert "no SavedModel there" in fails("convert", "missing", "-o", "out.tflite")
    assert not (work / "out.tflite").exists()


def test_convert_into_a_folder_that_is_not_there_fails(fails, work, saved_model):
    assert "no/out.tflite: No such file" in fails("convert", saved_model, "-o", "no/out.tflite")


# run


@pytest.mark.parametrize("kernels", cli.KERNELS)
def test_run_writes_what_predict_answers(tinylab, work, kernels):
    arguments = ["--kernels", kernels, "--input", "x.npy", "--output", "y.npy"]
    code, out, err = tinylab("run", "int8.tflite", *arguments)
    assert (code, out, err) == (0, "y.npy: float32 (50, 2)\n", "")
    expected = runners.load(work / "int8.tflite", kernels=kernels).predict(np.load("x.npy"))
    assert np.array_equal(np.load("y.npy"), expected)


def test_run_on_the_integer_engine_answers_as_the_reference_kernels(tinylab, work, fails):
    arguments = ["--engine", "integer", "--input", "x.npy", "--output", "y.npy"]
    assert tinylab("run", "int8.tflite", *arguments)[0] == 0
    expected = runners.load(work / "int8.tflite", kernels="reference").predict(np.load("x.npy"))
    assert np.array_equal(np.load("y.npy"), expected)
    assert "belongs to engine='litert'" in fails("run", "int8.tflite", *arguments, "--kernels", "reference")
    assert "float32.tflite: operator 0" in fails("run", "float32.tflite", *arguments)


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("text.txt", "x.npy", "not a .tflite"),
        ("int8.tflite", "missing.npy", "No such file"),
        ("int8.tflite", "pickled.npy", "not an .npy or .npz file of plain numbers"),
        ("int8.tflite", "data.npz", "expected one array (.npy), found x, labels"),
        ("int8.tflite", "wide.npy", "shape (5, 4) given, (N, 3) expected"),
        ("int8.tflite", "nan.npy", "NaN"),
    ],
)
def test_run_on_what_does_not_fit_fails_and_writes_nothing(fails, work, model, given, message):
    np.save("wide.npy", np.zeros((5, 4)))
    np.save("nan.npy", np.full((5, 3), np.nan))
    assert message in fails("run", model, "--input", given, "--output", "y.npy")
    assert not (work / "y.npy").exists()


# compare

FILES = [f"{recipe}.tflite" for recipe in RECIPES]


def test_compare_as_json_holds_sizes_accuracies_and_latencies(tinylab, work):
    code, out, err = tinylab("compare", *FILES, "--data", "data.npz", "--json")
    printed = json.loads(out)
    assert (code, err, list(printed["models"])) == (0, "", FILES)
    assert printed["conditions"] == measure.conditions()
    with np.load("data.npz") as data:
        for file, row in printed["models"].items():
            assert row["bytes"] == (work / file).stat().st_size
            assert row["accuracy"] == measure.accuracy(work / file, data["x"], data["labels"])
            assert row["low"] <= row["latency"] <= row["high"]


def test_compare_prints_a_table_with_its_conditions(tinylab, work):
    shutil.copy(work / FILES[0], work / "one[b].tflite")  # no mark-up
    files = [*FILES, "one[b].tflite"]
    code, out, err = tinylab("compare", *files, "--data", "data.npz", "--kernels", "reference")
    assert (code, err) == (0, "")
    for expected in (*files, "accuracy", "latency", "reference kernels"):
        assert expected in out


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("x.npy", "expected an .npz file with the arrays x and labels"),
        ("other.npz", "expected an .npz file with the arrays x and labels"),
        ("uneven.npz", "50 samples and 49 labels"),
        ("cut.npz", "not an .npy or .npz file"),
        ("text.txt", "not an .npy or .npz file"),
        ("missing.npz", "No such file"),
    ],
)
def test_compare_on_unusable_data_fails(fails, work, data, message):
    x = np.load("x.npy")
    np.savez("other.npz", images=x)
    np.savez("uneven.npz", x=x, labels=np.zeros(49))
    (work / "cut.npz").write_bytes((work / "data.npz").read_bytes()[:400])
    assert message in fails("compare", *FILES, "--data", data)


# debug

PAIR = ["float32.tflite", "int8.tflite"]


@pytest.mark.parametrize("data", ["x.npy", "data.npz"])
@pytest.mark.parametrize("kernels", cli.TRACING_KERNELS)
def test_debug_as_json_holds_the_table(tinylab, work, data, kernels):
    from tinylab.debug import layer_errors

    code, out, err = tinylab("debug", *PAIR, "--data", data, "--kernels", kernels, "--json")
    found = layer_errors(*map(work.__truediv__, PAIR), np.load("x.npy"), kernels)
    printed = json.loads(out)
    assert (code, err) == (0, "")
    assert (printed["samples"], printed["kernels"], printed["verdict"]) == (50, kernels, found.verdict)
    assert printed["saturated_input"] == found.saturated_input
    assert [layer.pop("number") for layer in printed["layers"]] == found.table.index.tolist()
    assert printed["layers"] == found.table.to_dict(orient="records")


def test_debug_as_json_has_null_for_what_json_cannot_say(tinylab, work, dense_files):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    (work / "float16.tflite").write_bytes(dense_files["float16"])
    _, out, _ = tinylab("debug", "float32.tflite", "float16.tflite", "--data", "x.npy", "--json")
    for layer in json.loads(out, parse_constant=refuse)["layers"]:
        assert (layer["dtype"], layer["scale"], layer["saturated"]) == ("float32", None, None)
        assert layer["sqnr"] > 0
    np.save("zeros.npy", np.zeros((5, 3)))  # of which the network makes zeros, without any error
    _, out, _ = tinylab("debug", *PAIR, "--data", "zeros.npy", "--json")
    assert [layer["sqnr"] for layer in json.loads(out, parse_constant=refuse)["layers"]] == [None, None]


@pytest.mark.parametrize("columns", [66, 200])
def test_debug_prints_a_table_and_the_worst_layer(tinylab, work, monkeypatch, columns):
    from tinylab.debug import layer_errors

    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, err = tinylab("debug", *PAIR, "--data", "x.npy")
    found = layer_errors(*map(work.__truediv__, PAIR), np.load("x.npy"))
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == found.verdict
    for heading in ("scale", "SQNR (dB)", "saturated", "unused", "SQNR so far (dB)"):
        for number in found.shown[heading]:
            assert number in out
    table = out.splitlines()[:-1]
    assert max(map(len, table)) <= columns
    assert "reference kernels" in " ".join(out.split())


@pytest.mark.parametrize(
    ("files", "data", "message"),
    [
        (PAIR[::-1], "x.npy", "int8.tflite: is quantized itself; the float32 file comes first"),
        (["float32.tflite", "float32.tflite"], "x.npy", "float32.tflite: nothing in it is quantized"),
        (["float32.tflite", "other.tflite"], "x.npy", "two files made from one model are expected"),
        (["float32.tflite", "cut.tflite"], "x.npy", "cut.tflite: damaged or cut short"),
        (["cut.tflite", "int8.tflite"], "x.npy", "cut.tflite: damaged or cut short"),
        (["missing.tflite", "int8.tflite"], "x.npy", "No such file"),
        (PAIR, "other.npz", "expected an .npz file with the array x"),
        (PAIR, "wide.npy", "shape (5, 4) given, (N, 3) expected"),
        (PAIR, "nan.npy", "NaN"),
        (PAIR, "empty.npy", "no samples"),
        (PAIR, "number.npy", "shape () given"),
        (PAIR, "text.txt", "not an .npy or .npz file"),
        (PAIR, "missing.npz", "No such file"),
    ],
)
def test_debug_of_what_does_not_fit_fails(fails, work, unrelated_file, files, data, message):
    (work / "other.tflite").write_bytes(unrelated_file)
    (work / "cut.tflite").write_bytes((work / "int8.tflite").read_bytes()[:700])
    np.savez("other.npz", images=np.zeros((5, 3)))
    for name, array in (("wide", np.zeros((5, 4))), ("nan", np.full((5, 3), np.nan))):
        np.save(f"{name}.npy", array)
    np.save("empty.npy", np.zeros((0, 3)))
    np.save("number.npy", np.float32(1))
    assert message in fails("debug", *files, "--data", data)


def test_debug_with_kernels_that_keep_nothing_is_a_wrong_command_line(capsys):
    with pytest.raises(SystemExit):
        cli.main(["debug", *PAIR, "--data", "x.npy", "--kernels", "default"])
    assert "invalid choice: 'default'" in capsys.readouterr().err


# arena and c-array


@pytest.mark.slow
def test_arena_prints_parts_total_plan_and_smallest(tinylab, work):
    pytest.importorskip("tflite_micro", reason="no tflite-micro for this machine")
    from tinylab import arena, memory_plan

    found, plan = arena.measure("int8.tflite"), memory_plan.plan("int8.tflite")
    code, out, err = tinylab("arena", "int8.tflite", "--smallest")
    assert (code, err) == (0, "")
    for name, size in (*found.parts.items(), ("the whole arena", found.total)):
        assert any(name in line and f"{size:,}" in line for line in out.splitlines())
    assert f"{plan.size:,} bytes planned, {plan.peak:,} needed at the same time" in out
    smallest = int(out.splitlines()[-1].split()[-2].replace(",", ""))
    code, out, _ = tinylab("arena", "int8.tflite", "--json")
    assert json.loads(out) == {
        "total": found.total,
        "tensors": found.tensors,
        "persistent": found.persistent,
        "parts": found.parts,
        "smallest": None,
        "plan": {"size": plan.size, "peak": plan.peak},
    }
    assert smallest > found.persistent


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("cut.tflite", "damaged or cut short"),
        ("missing.tflite", "No such file"),
        ("text.txt", "not a .tflite"),
    ],
)
@pytest.mark.parametrize("arguments", [["arena"], ["c-array", "-o", "made"]])
def test_arena_and_c_array_of_what_is_no_model_fail(fails, work, arguments, file, message):
    (work / "cut.tflite").write_bytes((work / "int8.tflite").read_bytes()[:700])
    assert message in fails(*arguments, file)
    assert not (work / "made").exists()


def test_c_array_writes_two_files_and_says_where(tinylab, work):
    code, out, err = tinylab("c-array", "int8.tflite", "-o", "made", "--name", "motion")
    assert (code, err) == (0, "")
    assert sorted(path.name for path in (work / "made").iterdir()) == ["motion.cc", "motion.h"]
    assert out == "made/motion.h\nmade/motion.cc: motion[] and motion_len\n"


def test_c_array_under_a_name_that_is_none_fails(fails, work):
    assert "C and C++ want a letter" in fails("c-array", "int8.tflite", "-o", "made", "--name", "my-model")


# classroom release


def test_release_writes_the_chosen_exercises_and_says_what_to_upload(tinylab, work):
    code, out, err = tinylab("classroom", "release", "-o", "made", "05", "02_optimization_flags")
    names = ["02_optimization_flags", "05_quantization_arithmetic"]
    assert (code, err) == (0, "")
    assert out.splitlines() == [*names, "made: tinylab-exercises.zip holds all of it, to upload"]
    assert sorted(path.stem for path in (work / "made").glob("*.ipynb")) == names


@pytest.mark.slow
def test_release_for_nbgrader_makes_its_course_directory(tinylab, work):
    pytest.importorskip("nbgrader", reason="nbgrader is not installed")
    code, out, err = tinylab("classroom", "release", "--nbgrader", "-o", "made", "5")
    assert (code, err) == (0, "")
    assert "call nbgrader in this folder" in out
    assert (work / "made" / "release" / "05_quantization_arithmetic").is_dir()
    assert (work / "made" / "nbgrader_config.py").exists()


def test_release_of_what_is_not_there_or_over_something_else_fails(fails, work):
    assert "no exercise 12; there are 01_conversion, " in fails("classroom", "release", "-o", "made", "12")
    assert not (work / "made").exists()
    (work / "taken").mkdir()
    (work / "taken" / "thesis.txt").write_text("mine")
    assert "thesis.txt: not written by" in fails("classroom", "release", "-o", "taken")


# grade


@pytest.fixture
def handed_in(tmp_path, monkeypatch):
    """A folder with a class of two, and beside it; a point for each "right" in a notebook."""
    from tests.test_gradebook import grader, hand_in, notebook
    from tinylab.classroom import grading

    files = {"Ana/a.ipynb": notebook("05", "right"), "Ben/b.ipynb": notebook("05", "right right")}
    hand_in(tmp_path / "in", {**files, "Ben/old.ipynb": notebook("05"), "Ben/notes.txt": "mine"})
    monkeypatch.setattr(grading, "grade_notebook", grader())
    monkeypatch.chdir(tmp_path)


def test_grade_prints_a_row_an_exercise_and_where_to_look(tinylab, handed_in):
    code, out, err = tinylab("grade", "in", "-o", "grades", "--jobs", "2")
    assert code == 0
    assert "4 files handed in" in err
    [row] = [line.split() for line in out.splitlines() if "05_quantization_arithmetic" in line]
    assert row == ["05_quantization_arithmetic", "2", "1.5", "10"]
    assert "1 of 4 files could not be graded" in out
    assert out.splitlines()[-1] == "where to look: grades/index.html"
    assert Path("grades/index.html").exists()


def test_seconds_are_those_of_the_limits(tinylab, handed_in):
    tinylab("grade", "in", "-o", "grades", "--seconds", "7")
    assert "7 s" in Path("grades/feedback/Ana/05_quantization_arithmetic.html").read_text()


def test_grade_of_what_is_not_there_fails_in_one_line(fails, handed_in):
    assert "nowhere" in fails("grade", "nowhere", "-o", "grades")
    assert "neither in the other" in fails("grade", "in", "-o", "in/grades")
    assert not Path("grades").exists()


@pytest.mark.parametrize(
    "options",
    ["--jobs 0", "--jobs -1", "--jobs two", "--jobs 1.5", "--seconds 0", "--scheduler tcp://x:1 --jobs 2"],
)
def test_wrong_options_of_grade_are_explained(handed_in, capsys, options):
    with pytest.raises(SystemExit) as caught:
        cli.main(["grade", "in", "-o", "grades", *options.split()])
    assert caught.value.code == 2
    assert "usage: tinylab grade" in capsys.readouterr().err
    assert not Path("grades").exists()


# doctor, and the command itself


def test_doctor_prints_what_it_found(tinylab):
    code, out, err = tinylab("doctor", "--json")
    printed = json.loads(out)
    assert err == ""
    assert code == int(not all(finding["fine"] for finding in printed))
    assert {"Python", "tensorflow", "network"} <= {finding["what"] for finding in printed}


def test_doctor_fails_when_something_has_to_be_done(tinylab, monkeypatch):
    from tinylab import doctor

    missing = doctor.Finding("chip", "missing", False, "pip install course[micro]")
    monkeypatch.setattr(doctor, "examine", lambda: [missing])
    code, out, _ = tinylab("doctor")
    assert (code, "pip install course[micro]" in out) == (1, True)


# progress


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A record in which one exercise is done and one is begun."""
    from tinylab import record
    from tinylab.classroom.exercises import exercises

    monkeypatch.setenv(record.PLACE, str(tmp_path / "progress.json"))
    for task in exercises()["01_conversion"].tasks:
        record.keep("01", task, True)
    record.keep("05", "quantize", True)
    record.keep("05", "round_half_away", False)
    return record


def test_progress_names_the_tasks_that_are_done_tried_and_open_and_what_comes_next(tinylab, kept):
    code, out, err = tinylab("progress")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert any(line.startswith("01_conversion ✓ 6 of 6 done: to_tflite, ") for line in lines)
    begun = lines.index("05_quantization_arithmetic 1 of 10 done: quantize")
    assert lines[begun + 1] == "tried: round_half_away"
    assert lines[begun + 2].startswith("open: scale_and_zero_point, dequantize, ")
    known = kept.read()
    assert lines[-2:] == [known.next, known.note]


def test_progress_as_json_holds_the_same(tinylab, kept):
    code, out, err = tinylab("progress", "--json")
    assert (code, err) == (0, "")
    known = kept.read()
    assert json.loads(out) == {"exercises": known.states, "next": known.next, "note": known.note}


def test_progress_tells_of_a_damaged_record_and_of_none(tinylab, kept, monkeypatch):
    kept.place().write_text("{")
    assert "An earlier record was damaged" in tinylab("progress")[1]
    monkeypatch.setenv(kept.PLACE, "off")
    assert "Nothing is kept: the environment variable TINYLAB_PROGRESS is off." in tinylab("progress")[1]


def test_progress_answers_without_tensorflow(run_python):
    out = run_python("import sys; from tinylab import cli; cli.main(['progress']); print(*sys.modules)")
    assert not {"tensorflow", "tf_keras", "ai_edge_litert"} & set(out.split())


@pytest.mark.parametrize(
    "arguments", [[], ["explode"], ["convert", "x", "-o", "y", "--recipe", "int4"], ["run"]]
)
def test_a_wrong_command_line_is_explained_with_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: tinylab" in capsys.readouterr().err


def test_the_recipes_and_kernels_are_those_of_the_package():
    from tinylab.conversion import Recipe

    assert tuple(recipe.value for recipe in Recipe) == cli.RECIPES
    assert tuple(runners.KERNELS) == cli.KERNELS
    assert runners.ENGINES == cli.ENGINES


def test_help_imports_no_tensorflow(run_python):
    out = run_python(
        "import atexit, sys; from tinylab import cli\n"
        "atexit.register(lambda: print(*sys.modules)); cli.main(['--help'])"
    )
    assert "usage: tinylab" in out
    assert not {"tensorflow", "tf_keras", "ai_edge_litert"} & set(out.split())


def test_as_a_process_an_error_is_one_line_and_exit_code_1(work):
    command = [
        sys.executable,
        "-m",
        "tinylab.cli",
        "run",
        "cut.tflite",
        "--input",
        "x.npy",
        "--output",
        "y.npy",
    ]
    (work / "cut.tflite").write_bytes((work / "int8.tflite").read_bytes()[:700])
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("tinylab: cut.tflite: damaged")


@pytest.mark.slow
def test_as_a_process_converting_writes_nothing_to_stderr(work, saved_model):
    command = [sys.executable, "-m", "tinylab.cli", "convert", str(saved_model), "-o", "out.tflite"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
