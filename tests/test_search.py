"""A search survives interruption, on this machine and on a real Dask cluster; the front is the front."""

import json
import os
import signal
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_series_equal

from tests.dask_cluster import Cluster, until
from tinylab.errors import DataError, TinylabError
from tinylab.search import pareto_front, search

CANDIDATES = [{"filters": n, "recipe": recipe} for n in (8, 4, 16) for recipe in ("int8", "float32")]


class Counted:
    """A function to search with that notes what it was asked."""

    def __init__(self):
        self.asked = []

        def work(filters, recipe="int8"):
            self.asked.append((filters, recipe))
            return {"accuracy": 1 - 1 / filters, "flash": np.int64(100 * filters), "note": f"{recipe} é"}

        self.work = work


@pytest.fixture
def counted():
    return Counted()


@pytest.fixture
def store(tmp_path):
    return tmp_path / "results.jsonl"


def returning(value):
    def work(a):
        return value

    return work


# The table


def test_a_row_a_candidate_in_the_order_given_with_settings_and_results(counted, store):
    table = search(counted.work, CANDIDATES, store)
    assert list(table) == ["filters", "recipe", "accuracy", "flash", "note", "error"]
    assert table[["filters", "recipe"]].to_dict("records") == CANDIDATES
    assert table["flash"].tolist() == [800, 800, 400, 400, 1600, 1600]
    assert table["accuracy"].tolist() == [1 - 1 / c["filters"] for c in CANDIDATES]
    assert (table["error"] == "").all()


def test_from_the_store_comes_the_same_table(counted, store):
    first = search(counted.work, CANDIDATES, store)
    again = search(counted.work, CANDIDATES, store)
    assert_frame_equal(first, again)
    assert len(counted.asked) == len(CANDIDATES)


def test_a_candidate_that_raises_is_in_the_table_with_its_error_and_stops_nobody(store):
    def work(a):
        if a == 1:
            raise ZeroDivisionError("nothing left")
        return {"accuracy": float("nan") if a == 2 else a}

    table = search(work, [{"a": a} for a in range(4)], store)
    assert table["accuracy"].isna().tolist() == [False, True, True, False]
    assert table["error"].tolist() == [
        "",
        "ZeroDivisionError: nothing left",
        "accuracy is nan: finite numbers expected",
        "",
    ]


def test_what_failed_is_tried_again_and_what_was_measured_is_not(store):
    asked = []

    def work(a):
        asked.append(a)
        if a == 1 and asked.count(1) == 1:
            raise MemoryError
        return {"accuracy": a}

    candidates = [{"a": a} for a in range(3)]
    assert search(work, candidates, store)["error"].tolist() == ["", "MemoryError: ", ""]
    assert search(work, candidates, store)["error"].tolist() == ["", "", ""]
    assert asked == [0, 1, 2, 1]


def test_settings_come_first_and_the_error_last_whoever_fails(store):
    def work(a, b=0):
        return {"c": 1 / a}

    table = search(work, [{"a": 0}, {"b": 2, "a": 1}], store)
    assert list(table) == ["a", "b", "c", "error"]


def test_numpy_numbers_are_numbers(store):
    def work(a, b):
        return {"total": np.float32(a + b)}

    table = search(work, [{"a": a, "b": 0.5} for a in np.arange(3)], store)
    assert table["total"].tolist() == [0.5, 1.5, 2.5]
    again = search(work, [{"a": 2, "b": 0.5}], store)
    assert_frame_equal(again, table[2:].reset_index(drop=True))


# The store


def test_only_what_is_missing_is_computed_and_other_lines_stay(counted, store):
    search(counted.work, CANDIDATES[:2], store)
    table = search(counted.work, CANDIDATES[1:4], store)
    assert counted.asked == [(8, "int8"), (8, "float32"), (4, "int8"), (4, "float32")]
    assert len(table) == 3
    assert len(store.read_text().splitlines()) == 1 + 4


def test_settings_in_another_order_are_the_same_candidate(counted, store):
    search(counted.work, [{"filters": 8, "recipe": "int8"}], store)
    search(counted.work, [{"recipe": "int8", "filters": 8}], store)
    assert counted.asked == [(8, "int8")]


def test_a_result_outlives_the_failure_of_another_search(counted, store):
    """Two at once may try the same candidate, and only one of them fail."""
    search(counted.work, CANDIDATES[:1], store)
    with store.open("a") as file:
        print(json.dumps({"settings": CANDIDATES[0], "error": "MemoryError: "}), file=file)
    assert search(counted.work, CANDIDATES[:1], store)["error"].tolist() == [""]
    assert len(counted.asked) == 1


def test_after_ctrl_c_the_rest_is_computed(counted, store):
    def work(filters, recipe):
        if len(counted.asked) == 2:
            raise KeyboardInterrupt
        return counted.work(filters, recipe)

    work.__qualname__ = counted.work.__qualname__
    with pytest.raises(KeyboardInterrupt):
        search(work, CANDIDATES, store)
    assert len(search(counted.work, CANDIDATES, store)) == len(CANDIDATES)
    assert sorted(counted.asked) == sorted((c["filters"], c["recipe"]) for c in CANDIDATES)


@pytest.mark.slow
def test_a_store_cut_anywhere_is_gone_on_with(counted, store):
    whole = search(counted.work, CANDIDATES[:3], store)
    content = store.read_bytes()
    for end in range(len(content)):
        store.write_bytes(content[:end])
        counted.asked.clear()
        assert_frame_equal(search(counted.work, CANDIDATES[:3], store), whole)
        lost = 3 - max(content[:end].count(b"\n") - 1, 0)
        assert len(counted.asked) == lost
        assert sorted(store.read_bytes().splitlines()) == sorted(content.splitlines())


@pytest.mark.parametrize(
    "content",
    [
        b"accuracy,flash\n0.9,100\n",
        b"notes of mine, without an end of line",
        b'{"a": 1}\n{"a": 2}\n',
        b"[1, 2]\n",
        b'{"tinylab_search": "elsewhere.work"}\n',
        b"\x1c\x00\x00\x00TFL3\n\xff\xfe",
        b"\n",
    ],
)
def test_a_file_of_something_else_is_refused_and_left_alone(counted, store, content):
    store.write_bytes(content)
    with pytest.raises(DataError, match="no store of results of"):
        search(counted.work, CANDIDATES, store)
    assert store.read_bytes() == content
    assert not counted.asked


@pytest.mark.parametrize(
    "line", ["", "{}", "7", "null", '{"settings": {"filters": 8}}', '{"result": 1}', "{"]
)
def test_a_damaged_line_among_others_is_named(counted, store, line):
    search(counted.work, CANDIDATES[:2], store)
    lines = store.read_text().splitlines()
    store.write_text("\n".join([*lines[:2], line, *lines[2:]]) + "\n")
    with pytest.raises(DataError, match="line 3 is not of that kind"):
        search(counted.work, CANDIDATES, store)


def test_results_of_another_function_are_not_taken_for_ones_own(counted, store):
    search(counted.work, CANDIDATES[:1], store)
    with pytest.raises(DataError, match=r"it holds those of .*Counted.__init__.<locals>.work"):
        search(returning({"b": 1}), [{"a": 1}], store)


def test_a_place_that_cannot_be_written_is_refused_before_any_work(counted, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "store", tmp_path):
        with pytest.raises(DataError, match="cannot be written"):
            search(counted.work, CANDIDATES, place)
    assert not counted.asked


def test_a_full_disk_is_reported_and_what_was_kept_stays(counted, store, monkeypatch):
    search(counted.work, CANDIDATES[:2], store)

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"No space left.*make room"):
            search(counted.work, CANDIDATES, store)
    assert len(search(counted.work, CANDIDATES, store)) == len(CANDIDATES)


def test_folders_are_made(counted, tmp_path):
    assert len(search(counted.work, CANDIDATES[:1], tmp_path / "a" / "b" / "store")) == 1


SCRIPT = """
import time
from tinylab.search import search

def work(a):
    time.sleep({seconds})
    return {{"b": 2 * a}}

table = search(work, [{{"a": a}} for a in {numbers}], {store!r}, {scheduler!r})
print(*table["b"])
"""


def lines_of(store):
    return store.read_bytes().count(b"\n") if store.exists() else 0


def script(store, seconds, numbers, scheduler=None):
    return SCRIPT.format(seconds=seconds, numbers=numbers, store=str(store), scheduler=scheduler)


@pytest.mark.slow
def test_a_killed_process_loses_no_more_than_the_running_candidate(run_python, store):
    code = script(store, 0.1, "range(6)")
    process = run_python(code, wait=False)
    until(lambda: lines_of(store) >= 3)
    process.kill()
    process.communicate()
    kept = store.read_bytes()
    assert run_python(code).split() == ["0", "2", "4", "6", "8", "10"]
    assert store.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    assert lines_of(store) == 1 + 6


@pytest.mark.slow
def test_two_searches_at_once_write_whole_lines_to_one_store(run_python, store, tmp_path):
    go = tmp_path / "go"
    begin = f"import os, tinylab.search\nwhile not os.path.exists({str(go)!r}): pass\n"
    processes = [
        run_python(begin + script(store, 0, numbers), wait=False)
        for numbers in ("range(200)", "range(100, 300)")
    ]
    time.sleep(2)  # until both have imported what they need
    go.touch()
    for process, first in zip(processes, (0, 100), strict=True):
        out, err = process.communicate(timeout=60)
        assert out.split() == [str(2 * a) for a in range(first, first + 200)], err
    header, *records = [json.loads(line) for line in store.read_text().splitlines()]
    assert header == {"tinylab_search": "__main__.work"}
    assert {record["settings"]["a"] for record in records} == set(range(300))


# What is refused


@pytest.mark.parametrize(
    ("candidates", "said"),
    [
        ([], "no candidates"),
        ([{"a": 1}, {"a": 1}], "twice"),
        ([{"a": {1, 2}}], "JSON can hold"),
        ([{"a": b"1"}], "JSON can hold"),
        ([{"a": float("nan")}], "finite"),
        ([{"a": np.float32("inf")}], "finite"),
        ([{"b": 1}], "settings that .*work takes"),
        ([{1: 2}], "by their names"),
        ([["a", 1]], "by their names"),
    ],
)
def test_candidates_that_are_none_are_refused(store, candidates, said):
    with pytest.raises(DataError, match=said):
        search(returning({"b": 1}), candidates, store)
    assert not store.exists()


@pytest.mark.parametrize(
    "result", [None, 0.9, {}, ["b"], {"b": [1]}, {"b": np.zeros(2)}, {1: 2}, {"a": 1}, {"error": "no"}]
)
def test_work_that_returns_something_else_is_refused(store, result):
    with pytest.raises(DataError, match="work returned"):
        search(returning(result), [{"a": 1}], store)


def test_a_setting_called_error_is_refused(store):
    def work(error):
        return {"b": 1}

    with pytest.raises(DataError, match="column of its own"):
        search(work, [{"error": 1}], store)


@pytest.mark.parametrize("work", [lambda a: {"b": a}, "work", None])
def test_work_without_a_name_is_refused(store, work):
    with pytest.raises(DataError, match="function with a name"):
        search(work, [{"a": 1}], store)


# The Pareto front

NUMBERS = st.integers(0, 4) | st.floats(0, 4) | st.just(float("nan"))
TABLES = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["", "", "", "failed"])), min_size=1)


def tables(rows):
    return pd.DataFrame(rows, columns=["accuracy", "flash", "arena", "error"])


def beats(one, other):
    pairs = [
        (one.accuracy, other.accuracy),
        (other.flash, one.flash),
        (other.arena, one.arena),
    ]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


@given(TABLES)
def test_nobody_beats_the_front_and_somebody_on_it_beats_everybody_else(rows):
    table = tables(rows)
    front = pareto_front(table)
    measured = table.notna().all(axis=1) & (table["error"] == "")
    assert not (front & ~measured).any()
    best = list(table[front].itertuples())
    for row in table[measured].itertuples():
        assert front[row.Index] != any(beats(other, row) for other in best)
    assert front.any() == measured.any()


@given(TABLES, st.randoms(use_true_random=False))
def test_the_front_does_not_depend_on_order_scale_or_failures(rows, random):
    table = tables(rows)
    front = pareto_front(table)
    order = random.sample(range(len(table)), len(table))
    assert_series_equal(pareto_front(table.iloc[order]), front.iloc[order])
    scaled = table.assign(accuracy=4 * table["accuracy"], flash=1024 * table["flash"])
    assert_series_equal(pareto_front(scaled), front)
    measured = table[table["error"] == ""]
    assert_series_equal(pareto_front(measured), front[measured.index])


def test_rows_that_are_equal_are_on_the_front_together():
    table = pd.DataFrame({"accuracy": [0.9, 0.9, 0.9], "flash": [10, 10, 11], "arena": [1, 1, 1]})
    assert pareto_front(table).tolist() == [True, True, False]


def test_columns_that_are_not_there_or_hold_no_numbers_are_refused():
    table = pd.DataFrame({"accuracy": [0.9], "flash": ["small"]})
    with pytest.raises(DataError, match=r"\['arena'\].*among accuracy, flash"):
        pareto_front(table)
    with pytest.raises(DataError, match="only numbers"):
        pareto_front(table, smaller=["flash"])
    with pytest.raises(DataError, match="to compare"):
        pareto_front(table, (), ())


# A cluster


def test_without_dask_it_is_said_what_to_install(counted, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(TinylabError, match=r"pip install \"tinylab-course\[cluster\]\""):
        search(counted.work, CANDIDATES, store, scheduler="tcp://127.0.0.1:8786")


@pytest.mark.slow
def test_a_cluster_makes_the_same_table_as_this_machine(cluster, tmp_path):
    def work(a, b):
        if a == 3:
            raise ValueError("three")
        return {"c": a / b, "d": f"{a} of {b}"}

    candidates = [{"a": a, "b": b} for a in range(5) for b in (3, 7)]
    here = search(work, candidates, tmp_path / "here")
    there = search(work, candidates, tmp_path / "there", scheduler=cluster.address)
    assert_frame_equal(here, there)
    assert sorted((tmp_path / "here").read_text()) == sorted((tmp_path / "there").read_text())


@pytest.mark.slow
def test_a_candidate_that_kills_its_workers_fails_alone(cluster, store):
    def work(a):
        import os
        import signal

        if a == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"b": 2 * a}

    table = search(work, [{"a": a} for a in (2, 3, 5)], store, scheduler=cluster.address)
    assert table["b"].fillna(-1).tolist() == [-1, 6, 10]
    assert table["error"][0].startswith("KilledWorker")


@pytest.mark.slow
def test_when_the_scheduler_dies_what_was_measured_is_kept(tmp_path, store):
    pytest.importorskip("distributed")

    def work(a):
        import time

        time.sleep(0.1 if a < 2 else 60)
        return {"b": 2 * a}

    cluster = Cluster(tmp_path)
    try:
        cluster.add_workers(1)
        watcher = threading.Thread(
            target=lambda: (until(lambda: lines_of(store) >= 3), cluster.scheduler.kill())
        )
        watcher.start()
        with pytest.raises(TinylabError, match="the scheduler is gone"):
            search(work, [{"a": a} for a in range(4)], store, scheduler=cluster.address)
        watcher.join()
    finally:
        cluster.end()
    assert lines_of(store) == 1 + 2


@pytest.mark.slow
def test_ctrl_c_calls_the_cluster_off_and_a_second_call_goes_on(cluster, run_python, store):
    """In a process of its own: its work is defined in __main__, as a notebook's is."""
    import distributed

    code = script(store, 0.3, "range(40)", cluster.address)
    process = run_python(code, wait=False)
    until(lambda: lines_of(store) >= 3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in err
    kept = lines_of(store) - 1
    assert 2 <= kept < 30
    with distributed.Client(cluster.address, set_as_default=False) as client:
        until(lambda: not any(client.processing().values()))
    rest = script(store, 0, "range(40)", cluster.address)
    assert run_python(rest).split() == [str(2 * a) for a in range(40)]
    assert lines_of(store) == 1 + 40
