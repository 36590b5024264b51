"""The cheat sheet: every number on it is computed anew."""

import doctest
import re

from tests.lab import ROOT

SHEET = (ROOT / "docs" / "cheat_sheet.md").read_text()


def test_every_number_is_what_the_course_computes():
    without_fences = re.sub(r"^```.*$", "", SHEET, flags=re.MULTILINE)
    sheet = doctest.DocTestParser().get_doctest(without_fences, {}, "cheat_sheet.md", None, 0)
    assert doctest.DocTestRunner().run(sheet).failed == 0


def test_every_formula_has_a_worked_number():
    formulas = re.split(r"^## ", SHEET, flags=re.MULTILINE)[1:]
    assert len(formulas) > 10
    for formula in formulas:
        assert "$$" in formula
        assert re.search(r"^```pycon\n(>>> .*\n|[.]{3} .*\n)+(?!>>>|```).+", formula, re.MULTILINE), formula
