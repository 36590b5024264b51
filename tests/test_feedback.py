"""Grades, feedback and the summary of a class, from reports that are made up; pages in a real browser."""

import contextlib
import csv
import dataclasses
import html.parser
import io
import itertools
import json
import os
import random
import socket
import sys
import threading
import unicodedata
import unittest.mock
import xml.etree.ElementTree
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab import obstacles
from tests.made_up_grades import HINTS, MESSAGES, a_class, changed
from tinylab.check.task import Outcome
from tinylab.classroom import executed, feedback, summary
from tinylab.classroom.exercises import exercises
from tinylab.classroom.report import SAME_FILE, Graded, Report, TaskReport
from tinylab.errors import TinylabError

ARITHMETIC = "05_quantization_arithmetic"
RIGHT, WRONG, ERROR, BLANK = Outcome.RIGHT, Outcome.WRONG, Outcome.ERROR, Outcome.NOT_ATTEMPTED


def report(exercise="05_x", right=1, tasks=2, **kept):
    """The first tasks right, the others not attempted."""
    made = [TaskReport(f"task_{n}", RIGHT if n < right else BLANK, "", HINTS) for n in range(tasks)]
    return Report(exercise, tuple(made), **kept)


def graded(student="Ana", number="", exercise="05_x", file="", **kept):
    file = file or f"{student}/{exercise}.ipynb"
    return Graded(student, number, file, exercise, report(exercise, **kept))


def failed(message, outcome=WRONG, task="f", hints=HINTS):
    return Report("05_x", (TaskReport(task, outcome, message, hints),))


def with_cells(*cells):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


def shows(*outputs):
    """A notebook whose one cell has these outputs: data by MIME type."""
    outputs = [{"output_type": "display_data", "metadata": {}, "data": data} for data in outputs]
    return with_cells({"cell_type": "code", "source": "1", "metadata": {}, "outputs": outputs})


def written(folder, *everything):
    feedback.write(everything, folder)
    return folder


def rows(folder):
    return list(csv.DictReader(io.StringIO((folder / "grades.csv").read_bytes().decode("utf-8-sig"))))


def pages(folder):
    return sorted(
        path.relative_to(folder / "feedback").as_posix() for path in folder.rglob("feedback/*/*.html")
    )


def page(folder, address="Ana/05_x.html"):
    return Read((folder / "feedback" / address).read_text(encoding="utf-8"))


class Read(html.parser.HTMLParser):
    """A page as a browser would read it: its tags, its attributes, and its text."""

    def __init__(self, source):
        super().__init__()
        self.source, self.tags, self.attributes, self.parts = source, [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("code", "b", "span"):
            self.parts.append(" ")
        self.attributes += [(tag, *attribute) for attribute in attributes]

    def handle_data(self, data):
        self.parts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.parts).split())

    def values(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]


# The table


def test_a_row_is_a_student_and_a_column_an_exercise_or_a_task(tmp_path):
    everything = [
        graded("Ana", "7", right=2),
        graded("Ana", "7", "06_y", tasks=3),
        graded("Ben", exercise="06_y", tasks=3, right=0),
    ]
    table = rows(written(tmp_path, *everything))
    assert list(table[0]) == [
        *("Student", "ID", "Section", "05_x", "06_y", "Total", "Possible", "Remarks"),
        *("05_x: task_0", "05_x: task_1", "06_y: task_0", "06_y: task_1", "06_y: task_2"),
    ]
    assert [list(row.values()) for row in table] == [
        ["Ana", "7", "", "2", "1", "3", "5", "", "1", "1", "1", "0", "0"],
        ["Ben", "", "", "", "0", "0", "5", "", "", "", "0", "0", "0"],
    ]


def test_whose_files_could_not_be_graded_has_a_row_that_says_why(tmp_path):
    everything = [
        graded("Ben", remarks=("cell 3 ended the process",)),
        Graded("Ana", "", "Ana/x.doc", problem="No."),
    ]
    ana, ben = rows(written(tmp_path, *everything))
    assert (ana["Student"], ana["05_x"], ana["Total"], ana["Remarks"]) == ("Ana", "", "0", "x.doc: No.")
    assert (ben["Total"], ben["Remarks"]) == ("1", "05_x: cell 3 ended the process")


def test_two_students_of_one_name_have_two_rows_and_two_folders(tmp_path):
    everything = graded("Ana", "1", right=2), graded("Ana", "2", right=0)
    table = rows(written(tmp_path, *everything))
    assert [(row["ID"], row["Total"]) for row in table] == [("1", "2"), ("2", "0")]
    assert pages(tmp_path) == ["Ana 1/05_x.html", "Ana 2/05_x.html"]


def test_what_does_not_count_gives_no_points(tmp_path):
    better, worse = graded(right=2), graded(file="Ana/old.ipynb", right=1)
    worse = dataclasses.replace(worse, counts=False)
    for order in itertools.permutations((better, worse)):
        assert rows(written(tmp_path, *order))[0]["Total"] == "2"
        assert pages(tmp_path) == ["Ana/05_x.html"]
        text = page(tmp_path).text
        assert "2 of 2 points" in text
        assert "Ana/old.ipynb was handed in, too: 1 of 2 points. It does not count." in text


def test_the_order_in_which_files_come_does_not_change_the_table(tmp_path):
    everything = a_class(12, ("01_conversion", ARITHMETIC))
    first = written(tmp_path, *everything).joinpath("grades.csv").read_bytes()
    random.Random(0).shuffle(everything)
    assert written(tmp_path, *everything).joinpath("grades.csv").read_bytes() == first


def test_excel_knows_the_table_for_utf_8_and_lines_end_as_rfc_4180_says(tmp_path):
    content = written(tmp_path, graded('Zoë "Z", Ek')).joinpath("grades.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfStudent,ID,Section,")
    assert content.count(b"\r\n") == content.count(b"\n") == 2
    assert '"Zoë ""Z"", Ek"'.encode() in content


@given(st.text(alphabet="=+-@＝ \t\r\n\"',;1a\x00", max_size=12))
def test_no_cell_is_a_formula_wherever_a_spreadsheet_splits_lines(text):
    table = feedback._grades(feedback._students([Graded(text, text, f"a/{text}", problem=text)]), [])
    assert table.count(b"\n") == 2
    line = table.decode("utf-8-sig").split("\r\n")[1]
    assert "\t" not in line
    for separator in ",;":
        for cell in next(csv.reader([line], delimiter=separator)):
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝"))


# Files


@given(
    st.lists(
        st.text(max_size=80) | st.sampled_from(["Ana", "ANA", "é", "É", "e\u0301", "CON", "con.x", ".."])
    )
)
def test_names_become_names_of_files_on_every_system(names):
    made = feedback._different(names)
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in made}) == len(names) == len(made)
    assert made == feedback._different(names)
    for name in made:
        assert name == name.strip(" .") != ""
        assert not set(name) & set('/\\:*?"<>|\0\n\x7f')
        assert not feedback.RESERVED.fullmatch(name)
        assert len(name.encode()) <= 150


@pytest.mark.parametrize(
    "student",
    [
        "../../up",
        "/etc/passwd",
        "C:\\x",
        "a" * 500,
        "俊" * 200,
        "nul",
        "",
        " . ",
        "a\x00b",
        "\udcff",
        "\u202egpj",
    ],
)
def test_no_name_of_a_student_leads_out_of_the_folder(tmp_path, student):
    place = tmp_path / "grades"
    feedback.write([graded(student, file="f"), Graded(student, "", student, problem="No.")], place)
    assert {path.name for path in tmp_path.iterdir()} == {"grades"}
    assert {path.name for path in place.iterdir()} == {"grades.csv", "index.html", "feedback"}
    assert len(pages(place)) == 2
    links = Read((place / "index.html").read_text()).values("href")
    assert len([link for link in links if link.startswith("feedback/")]) == 3


def test_pages_that_belong_to_nothing_any_more_are_removed_and_no_file_of_others(tmp_path):
    written(tmp_path, graded("Ana"), graded("Ben"), graded("Ben", exercise="06_y"))
    own = tmp_path / "feedback" / "Ben" / "my own.html"
    own.write_text("<p>Well done.")
    (tmp_path / "feedback" / "Ben" / "link.html").symlink_to(tmp_path / "index.html")
    written(tmp_path, graded("Cem"))
    assert pages(tmp_path) == ["Ben/link.html", "Ben/my own.html", "Cem/05_x.html"]
    assert not (tmp_path / "feedback" / "Ana").exists()


def test_a_page_is_written_again_only_if_it_changes(tmp_path):
    written(tmp_path, graded("Ana"), graded("Ben"))
    for path in tmp_path.rglob("*.html"):
        os.utime(path, ns=(1, 1))
    written(tmp_path, graded("Ana"), graded("Ben", right=2))
    changed = [path.parent.name for path in tmp_path.rglob("05_x.html") if path.stat().st_mtime_ns != 1]
    assert changed == ["Ben"]
    assert "2 of 2 points" in page(tmp_path, "Ben/05_x.html").text


def test_what_a_killed_run_left_unfinished_harms_nothing(tmp_path):
    left = tmp_path / "feedback" / "Eve"
    left.mkdir(parents=True)
    for path in (tmp_path / ".index.html.unfinished", left / ".05_x.html.unfinished"):
        path.write_text("half a p")
    assert {path.name for path in written(tmp_path, graded()).iterdir()} == {
        "grades.csv",
        "index.html",
        "feedback",
    }
    assert not left.exists()


def test_a_page_is_never_seen_half_written(tmp_path, monkeypatch):
    written(tmp_path, graded())
    before = (tmp_path / "grades.csv").read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(OSError, match="full"):
        written(tmp_path, graded(right=2))
    assert (tmp_path / "grades.csv").read_bytes() == before


def test_a_missing_package_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbconvert", None)
    with pytest.raises(TinylabError, match=r'nbconvert.*pip install "tinylab-course\[classroom\]"'):
        feedback.write([graded()], tmp_path / "grades")
    assert not (tmp_path / "grades").exists()


def test_a_class_that_handed_nothing_in_has_a_table_and_a_summary(tmp_path):
    assert rows(written(tmp_path)) == []
    assert "0 students, 0 files handed in" in Read((tmp_path / "index.html").read_text()).text


@pytest.mark.slow
def test_a_large_class(tmp_path):
    written(tmp_path, *a_class(300, tuple(exercises())))
    assert len(rows(tmp_path)) == 300
    assert len(pages(tmp_path)) > 2200


# Pages of feedback


def test_a_page_says_what_came_of_each_task_and_why(tmp_path):
    tasks = [
        TaskReport("f", RIGHT, "", HINTS),
        TaskReport("g", WRONG, "given     1\nexpected  2\ngot       3", HINTS),
        TaskReport("h", ERROR, "ValueError: no", HINTS),
        TaskReport("k", BLANK, "", HINTS),
    ]
    made = Report("05_x", tuple(tasks), ("cell 3 ended the process, and was left out",))
    read = page(written(tmp_path, Graded("Ana", "7", "Ana/a.ipynb", "05_x", made)), "Ana 7/05_x.html")
    for sentence in (
        "05_x Ana (7) from the file Ana/a.ipynb 1 of 4 points",
        "f ✓ right 1 g ✗ not right yet 0 h ! stopped with an error 0 k – not attempted yet 0",
        "given 1 expected 2 got 3",
        "ValueError: no",
        "cell 3 ended the process, and was left out",
    ):
        assert sentence in read.text
    assert read.tags.count("details") == 3 * len(HINTS)
    assert "open" not in [name for tag, name, _ in read.attributes if tag == "details"]
    steps = read.source.split("<h3>")[1]
    assert steps.count("</details></details></details>") == 1  # one inside the other


def test_a_file_that_could_not_be_graded_has_a_page_that_says_why(tmp_path):
    problem = Graded("Ana", "", "Ana/my file.zip", problem="It is no notebook: it begins with PK.")
    text = page(written(tmp_path, problem), "Ana/my file.zip.html").text
    assert "This file could not be graded. It is no notebook: it begins with PK." in text


def test_a_long_message_is_cut_and_says_so(tmp_path):
    text = page(written(tmp_path, Graded("Ana", "", "f", "05_x", failed("x" * 100_000, ERROR)))).text
    assert "x ... (of 100,000 characters, the first 5,000 are shown)" in text
    assert len(text) < 10_000


MARKUP = st.text(alphabet="<>&\"'/=! -abscript\n{}%\x00", max_size=40)


@settings(max_examples=50, deadline=None)
@given(MARKUP, MARKUP, MARKUP, MARKUP)
def test_what_people_wrote_is_text_and_never_markup(tmp_path_factory, name, message, remark, hint):
    def tags(name, message, remark, hint):
        made = dataclasses.replace(failed(message, ERROR, hints=(hint,)), remarks=(remark,))
        place = tmp_path_factory.mktemp("made")
        both = [Graded(name, name, name, "05_x", made), Graded(name, name, name, problem=message)]
        with unittest.mock.patch.object(summary.ExerciseSummary, "drawing", b""):  # takes longest
            feedback.write(both, place)
        index, *others = sorted(place.rglob("*.html"), key=lambda path: len(path.parts))
        (own,) = (path for path in others if path.name.startswith("05_x"))
        return Read(index.read_text()).tags, Read(own.read_text()).tags

    plain = ("x" if text.strip() else text for text in (name, message, remark, hint))
    assert tags(name, message, remark, hint) == tags(*plain)


# The notebook


@pytest.mark.parametrize("name", exercises())
def test_a_page_with_a_real_notebook_is_small_and_shows_it(tmp_path, name):
    source = changed(name, 'Ana\'s <b>own</b> & "best"')
    made = Report(name, report().tasks, (), source)
    read = page(written(tmp_path, Graded("Ana", "", "f", name, made)), f"Ana/{name}.html")
    assert len(read.source.encode()) < 60_000
    (inside,) = read.values("srcdoc")
    shown = Read(inside)
    code = ["".join(cell["source"]) for cell in json.loads(source)["cells"] if cell["cell_type"] == "code"]
    assert " ".join(code[-1].split()) in shown.text
    assert f"cell {len(code)}" in shown.text
    assert 'Ana\'s <b>own</b> & "best"' in shown.text
    (sandbox,) = read.values("sandbox")
    assert not sandbox


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", "3", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{"cell_type": "code"}]}'),
        "[" * 100_000,
        with_cells({"cell_type": "code", "source": "1", "outputs": [{"output_type": "stream"}]}),
        with_cells({"cell_type": "code", "source": "1", "outputs": 7}),
    ],
    ids=lambda content: content[:30],
)
def test_what_is_no_notebook_leaves_a_page_without_one(tmp_path, content):
    read = page(written(tmp_path, Graded("Ana", "", "f", "05_x", report(notebook=content))))
    assert "iframe" not in read.tags
    assert "cannot be shown" in read.text


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
strange_outputs = st.fixed_dictionaries(
    {"output_type": st.sampled_from(["stream", "error", "display_data", "x"]) | anything},
    optional={
        "text": anything,
        "traceback": anything,
        "data": st.dictionaries(
            st.sampled_from(["text/html", "text/plain", "image/png", "image/svg+xml"]), anything
        )
        | anything,
    },
)
strange_cells = st.fixed_dictionaries(
    {"cell_type": st.sampled_from(["code", "markdown", "raw"]) | anything, "source": anything},
    optional={"outputs": st.lists(strange_outputs, max_size=3) | anything},
)


@settings(deadline=None)
@given(st.lists(strange_cells, max_size=4) | anything)
def test_a_strange_notebook_is_shown_or_not_but_raises_nothing(cells):
    executed.cells(json.dumps({"cells": cells}))


SNIPPETS = (
    *("<p onclick=alert(1) onload=alert(1) href=//x>", "<div id=x style='color: red' formaction=//x>"),
    *(
        "<script>",
        "</script>",
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)>",
        "<iframe src=//x>",
        "<b>",
    ),
    *(
        "<a href='javascript:alert(1)'>",
        "[a](javascript:alert(1))",
        "![a](http://x/y.png)",
        "<!--",
        "-->",
        "<p>",
    ),
    *(
        "<math><mtext><style>",
        "</style>",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
        "`",
        "$",
    ),
    *(
        "<meta http-equiv=refresh content=0>",
        "<link rel=stylesheet href=//x>",
        "<base href=//x>",
        "<table><form>",
    ),
    *(
        "<style>@import '//x';",
        "<td style='background:url(//x)'>",
        "</iframe>",
        "'>",
        '">',
        "&lt;",
        "\n\n",
        "text",
    ),
    *(
        "<img src='data:text/html,<script>alert(1)</script>'>",
        "<details open ontoggle=alert(1)>",
        "<select><template>",
    ),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(SNIPPETS), max_size=8).map("".join), st.sampled_from([0, 1, 2, 3]))
def test_nothing_is_left_of_a_notebook_that_acts_or_loads(hostile, place):
    outputs = [{}, {"text/html": hostile}, {"text/markdown": hostile}, {"text/plain": hostile}][place]
    source = shows(outputs) if place else with_cells({"cell_type": "markdown", "source": hostile})
    for cell in executed.cells(source):
        for part in (cell.source, *cell.outputs):
            read = Read(part)
            assert set(read.tags) <= executed.TAGS
            for tag, name, value in read.attributes:
                assert name in ("class", "src", "alt", "colspan", "rowspan"), (tag, name)
                assert name != "src" or value.startswith("data:")


def test_a_table_of_pandas_stays_a_table_without_the_text_of_its_style():
    style = "<style scoped>\n.dataframe tbody th { x }\n</style>"
    frame = f"<div>{style}<table border='1' class='dataframe'><tr><th>a</th></tr></table></div>"
    (cell,) = executed.cells(shows({"text/html": frame, "text/plain": "a"}))
    assert cell.outputs == ('<div><table class="dataframe"><tbody><tr><th>a</th></tr></tbody></table></div>',)


def test_what_is_too_long_is_cut_and_says_so():
    (cell,) = executed.cells(
        shows({"text/plain": "x" * 50_000}, {"text/html": "<p>" * 9_000, "text/plain": "short"})
    )
    assert "Of 50,000 characters, the first 10,000 are shown." in cell.outputs[0]
    assert cell.outputs[1] == "<pre>short</pre>"
    assert sum(map(len, cell.outputs)) < 11_000


def test_a_notebook_without_end_is_cut_and_says_so():
    long = [{"cell_type": "code", "source": "#" * 20_000, "metadata": {}, "outputs": []}] * 2_000
    shown = executed.cells(with_cells(*long))
    assert "The rest of the notebook is left out" in shown[-1].source
    assert sum(len(cell.source) for cell in shown) < 700_000


def test_pictures_are_shown_as_long_as_they_are_small():
    small, large, none = "iVBORw0KGgo=", "A" * 1_000_001, '"><script>alert(1)</script>'
    (cell,) = executed.cells(
        shows(*({"image/png": data} for data in (small, large, none)), {"image/svg+xml": "<svg/>"})
    )
    assert f"data:image/png;base64,{small}" in cell.outputs[0]
    assert "A picture is left out" in cell.outputs[1]
    assert "A picture is left out" in cell.outputs[2]
    assert Read(cell.outputs[3]).tags == ["img"]
    many = executed.cells(shows(*[{"image/png": "A" * 900_000}] * 20))[0].outputs
    assert len([output for output in many if "<img" in output]) == 4


def test_errors_and_colours_of_the_terminal_are_shown():
    output = {"output_type": "error", "traceback": ["\x1b[31mNameError\x1b[0m", "<b>"]}
    (cell,) = executed.cells(with_cells({"cell_type": "code", "source": "x", "outputs": [output]}))
    assert Read(cell.outputs[0]).text == "NameError <b>"
    assert "ansi-red-fg" in cell.outputs[0]


# The class


def summary_of(*reports):
    (one,) = summary.summarize(reports)
    return one


def test_the_summary_counts_outcomes_by_task():
    one = summary_of(report(right=2), report(right=1), report(right=0))
    assert one.outcomes["task_0"] == {RIGHT: 2, WRONG: 0, ERROR: 0, BLANK: 1}
    assert one.outcomes["task_1"] == {RIGHT: 1, WRONG: 0, ERROR: 0, BLANK: 2}
    assert (one.students, one.points, one.possible) == (3, 3, 2)


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ((2, 1, 0), "Hard, right in fewer than half of the notebooks: task_1 (1 of 3)."),
        ((1, 0, 0), "Hard, right in fewer than half of the notebooks: task_1 (0 of 3), task_0 (1 of 3)."),
        ((2, 2, 1), "Every task is right in at least half of the notebooks; in the fewest: task_1 (2 of 3)."),
        ((2, 2, 2), "Every task is right in every notebook."),
    ],
)
def test_the_summary_says_which_tasks_are_hard(right, said):
    assert summary_of(*(report(right=number) for number in right)).in_words == said


@pytest.mark.parametrize(
    ("outcome", "message", "text"),
    [
        (WRONG, MESSAGES[WRONG][0], "exact halves to the even number?"),
        (WRONG, MESSAGES[WRONG][1], "expected shape (4, 6), got shape (6, 4)"),
        (WRONG, MESSAGES[WRONG][3], "None: no return?"),
        (
            WRONG,
            "given     x\nat [3], and 2 of 64 differ:\nexpected  1\ngot       2",
            "other values than expected",
        ),
        (WRONG, "given     x\nexpected  [1. nan]\ngot       [0. 2.e-05]", "other values than expected"),
        (WRONG, "2 answers to 3 cases", "2 answers to 3 cases"),
        (WRONG, "", ""),
        (ERROR, "ValueError: no\n  more", "ValueError: no"),
        (ERROR, "x" * 500, "x" * 159 + "…"),
        (RIGHT, "", ""),
        (BLANK, "", ""),
    ],
)
def test_a_mistake_is_told_in_a_line(outcome, message, text):
    assert summary.mistake(TaskReport("f", outcome, message)) == text


def test_mistakes_that_differ_in_numbers_only_are_one_and_the_most_common_comes_first():
    broadcast = "ValueError: shapes ({},) (4,)"
    reports = [failed(broadcast.format(number), ERROR) for number in (3, 5)]
    reports += [failed("NameError: name 'npp' is not defined", ERROR)] * 3
    reports += [failed(broadcast.format(3), ERROR, task="g")]
    assert summary_of(*reports).mistakes == (
        summary.Mistake("f", "NameError: name 'npp' is not defined", 3),
        summary.Mistake("f", "ValueError: shapes (…,) (…,)", 2),
        summary.Mistake("g", "ValueError: shapes (3,) (4,)", 1),
    )


def test_the_drawing_has_every_number_as_text_and_is_the_same_for_the_same():
    one = summary_of(*[report(right=2)] * 11, *[report(right=1)] * 6, failed("", WRONG, "task_0"))
    texts = [node.text for node in xml.etree.ElementTree.fromstring(one.drawing).iter() if node.text]
    for shown in (
        "task_0",
        "task_1",
        "17",
        "11",
        "6",
        "1",
        "students",
        *(outcome.value for outcome in Outcome),
    ):
        assert shown in texts
    assert one.drawing == one.drawing


def test_the_summary_has_all_that_a_teacher_looks_for(tmp_path):
    everything = a_class(40, ("01_conversion", ARITHMETIC))
    read = Read(written(tmp_path, *everything).joinpath("index.html").read_text())
    problems = [one for one in everything if one.problem]
    assert (
        f"40 students, {len(everything)} files handed in; {len(problems)} could not be graded." in read.text
    )
    for one in everything:
        assert one.problem in read.text
        for remark in one.report.remarks if one.report else ():
            assert remark in read.text
    for one in summary.summarize([one.report for one in everything if one.report]):
        assert one.in_words in read.text
        assert any(one.in_words in text for text in read.values("alt"))
        for mistake in one.mistakes:
            assert f"{mistake.students} {mistake.task} {mistake.text}" in read.text
    for link in read.values("href"):
        assert link.startswith("#") or tmp_path.joinpath(unquote(link)).is_file()


# In a browser


class Listener:
    """A host that a page could reach out to: remembers whether anybody came."""

    def __init__(self):
        self.socket, self.came = socket.create_server(("127.0.0.1", 0)), []
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self):
        while True:
            try:
                visitor, _ = self.socket.accept()
            except OSError:
                return
            self.came.append(visitor)  # a preconnect comes, and says nothing
            visitor.settimeout(0.3)
            with contextlib.suppress(OSError):
                visitor.recv(2000)
                visitor.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
            visitor.close()


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.socket.close()


class Opened:
    """A page in a browser, and all that it tried."""

    def __init__(self, browser, path, width=1280):
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.asked, self.got, self.dialogs, self.errors = [], [], [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("response", lambda response: self.got.append(response.url))
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page.on("console", lambda said: self.errors.append(said.text))
        self.page.goto(path.as_uri())

    def wait(self):
        """Whatever wants to happen, may."""
        self.page.wait_for_timeout(1000)
        return self

    def happens(self, condition):
        """Whether something comes to be so within half a minute."""
        for _ in range(300):
            if condition():
                return True
            self.page.wait_for_timeout(100)
        return False

    def beyond(self, urls):
        """Those of addresses that are not the page itself, and not in it."""
        return [url for url in urls[1:] if not url.startswith(("data:", "blob:"))]


# Each says "I ran" if it runs, or goes to the host.
HOSTILE = (
    "<script>alert('ran')</script>",
    "<img src=x onerror=alert('ran')>",
    "<svg onload=alert('ran')></svg>",
    "<svg><script>alert('ran')</script></svg>",
    "<body onload=alert('ran')>",
    "<details open ontoggle=alert('ran')><summary>a</summary></details>",
    "<input autofocus onfocus=alert('ran')>",
    "<iframe src='HOST/iframe'></iframe>",
    "<iframe srcdoc='<script>parent.alert(1)</script><img src=HOST/inner>'></iframe>",
    "<object data='HOST/object'></object><embed src='HOST/embed'>",
    "<img src='HOST/img'><img srcset='HOST/srcset 2x'><picture><source srcset='HOST/source'><img></picture>",
    "<video src='HOST/video' autoplay poster='HOST/poster'></video><audio src='HOST/audio' autoplay></audio>",
    "<link rel=stylesheet href='HOST/css'><link rel=prefetch href='HOST/prefetch'>",
    "<style>@import 'HOST/import'; body { background: url(HOST/background) } "
    "@font-face { font-family: f; src: url(HOST/font) } * { font-family: f }</style>",
    "<div style='background: url(HOST/style)'>a</div><table background='HOST/table'><tr><td>a</table>",
    "<meta http-equiv=refresh content='0; url=HOST/refresh'>",
    "<link rel=preconnect href='HOST/'><link rel=dns-prefetch href='HOST/'>",
    "<base href='HOST/'><img src=base.png>",
    "<form action='HOST/form'><button autofocus>a</button></form>",
    "</iframe><script>alert('ran')</script><img src='HOST/out'>",
    "' onload='alert(1)'></iframe><script>alert('ran')</script>",
    "&#39; srcdoc=&#39;<img src=HOST/entity>",
    "<a id=link target=_top href='HOST/link'>a link</a> <a id=code href='javascript:alert(1)'>another</a>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert('ran')></style></mglyph></table></math>",
    "<script src='HOST/script'></script><script type=module>import 'HOST/module'</script>",
)


def a_page_of(folder, hostile):
    outputs = [{"text/html": text} for text in hostile]
    outputs += [{"application/javascript": "alert('ran')"}, {"image/svg+xml": "".join(hostile)}]
    read = json.loads(shows(*outputs))
    read["cells"] += [{"cell_type": "markdown", "source": text, "metadata": {}} for text in hostile]
    made = dataclasses.replace(report(notebook=json.dumps(read)), remarks=hostile)
    written(folder, Graded("Ana", "", "f", "05_x", made))
    return folder / "feedback" / "Ana" / "05_x.html"


@pytest.fixture
def at_host(listener):
    return [text.replace("HOST", listener.address) for text in HOSTILE]


@pytest.mark.slow
def test_the_same_outputs_do_run_and_do_reach_out_where_nothing_is_in_their_way(
    browser, listener, at_host, tmp_path
):
    for number, text in enumerate(at_host):
        path = tmp_path / f"{number}.html"
        path.write_text(f"<!doctype html><title>a</title>{text}")
    for number in range(2):
        opened = Opened(browser, tmp_path / f"{number}.html")
        assert opened.happens(lambda opened=opened: opened.dialogs == ["ran"])
    (picture,) = (number for number, text in enumerate(HOSTILE) if "HOST/img" in text)
    assert Opened(browser, tmp_path / f"{picture}.html").happens(lambda: listener.came)


@pytest.mark.slow
def test_whatever_a_notebook_shows_nothing_of_it_runs_or_reaches_out(browser, listener, at_host, tmp_path):
    opened = Opened(browser, a_page_of(tmp_path, tuple(at_host))).wait()
    opened.page.frame_locator("iframe").get_by_text("a link").first.click()
    opened.wait()
    assert (opened.dialogs, opened.beyond(opened.asked), listener.came) == ([], [], [])
    assert opened.page.url.endswith("05_x.html")


@pytest.mark.slow
def test_without_the_list_of_tags_the_other_walls_hold(browser, at_host, tmp_path, monkeypatch):
    monkeypatch.setattr(executed, "_clean", lambda text: text)
    monkeypatch.setattr(executed, "_markdown", lambda text: text)
    opened = Opened(browser, a_page_of(tmp_path, tuple(at_host)))
    # It wanted to, and says that it may not; of requests that it forbids itself, it does not always tell.
    assert opened.happens(lambda: any("Content Security Policy" in said for said in opened.errors))
    opened.wait()
    opened.page.frame_locator("iframe").locator("#link").first.click(force=True)
    opened.wait()
    assert (opened.dialogs, opened.beyond(opened.got)) == ([], [])
    assert opened.page.url.endswith("05_x.html")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_pages_fit_their_window_and_load_nothing(browser, tmp_path, width):
    everything = a_class(40, ("01_conversion", ARITHMETIC))
    everything += [
        Graded("x" * 200, "", "y" * 300, problem="z" * 300),
        graded("w" * 200, remarks=("v" * 300,)),
    ]
    written(tmp_path, *everything)
    for path in (tmp_path / "index.html", *sorted(tmp_path.rglob("feedback/[Axw]*/*.html"))[::3]):
        opened = Opened(browser, path, width)
        assert opened.page.evaluate("document.documentElement.scrollWidth") == width, path
        assert (opened.beyond(opened.asked), opened.errors) == ([], [])
        for picture in opened.page.locator("img").all():
            assert picture.evaluate("picture => picture.naturalWidth") > 0
        opened.page.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_the_pages(browser, tmp_path, scheme):
    graded = [*a_class(12, (ARITHMETIC,)), Graded("Mona", "", "m.ipynb", problem="It is no notebook.")]
    written(tmp_path, *graded)
    page = browser.new_page(color_scheme=scheme)
    for path in (tmp_path / "index.html", *sorted(tmp_path.rglob("feedback/[ABM]*/*.html"))):
        page.goto(path.as_uri())
        for details in page.locator("details").all():
            details.evaluate("part => { part.open = true; }")
        assert obstacles(page) == [], path
        for notebook in page.locator("iframe").all():
            page.set_content(notebook.get_attribute("srcdoc"))
            assert obstacles(page) == [], path
    page.close()


@pytest.mark.slow
def test_students_are_sorted_by_the_column_that_is_clicked(browser, tmp_path):
    everything = [
        graded(name, exercise=ARITHMETIC, tasks=12, right=right)
        for name, right in [("A", 2), ("B", 10), ("C", 9)]
    ]
    opened = Opened(browser, written(tmp_path, *everything) / "index.html")

    def column():
        return "".join(opened.page.locator("#students tbody tr td:first-child").all_inner_texts())

    assert column() == "ABC"
    opened.page.get_by_text("Total").click()
    assert column() == "ACB"
    opened.page.get_by_text("Total").press("Enter")
    assert column() == "BCA"


def test_a_learners_page_names_no_other_learner(tmp_path):
    remarks = (f"{SAME_FILE} Boris", "cell 3 ended its process, and was left out")
    feedback.write([Graded("Ana", "", "ana.ipynb", "05_x", report(remarks=remarks))], tmp_path)
    (page,) = (tmp_path / "feedback").rglob("*.html")
    assert "Boris" not in page.read_text()
    assert "cell 3 ended its process" in page.read_text()
    assert "Boris" in (tmp_path / "index.html").read_text()
    assert "Boris" in (tmp_path / "grades.csv").read_text()
