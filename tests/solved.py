"""What the tests of the exercises share: solutions from their notebooks, and tables of mistakes.

Answers take the way that they take from a sandbox to a grader.

A table says, for each task, what wrong answers there are: what is wrong, the function, and words that the
message must hold.
"""

import functools
from types import SimpleNamespace

import pytest

from tinylab import authoring
from tinylab.check import exchange
from tinylab.check.task import Outcome, Task


def solved(name):
    """The functions of solutions/NAME.ipynb, with what its import cell imports."""
    cells = authoring.read(authoring.ROOT / "solutions" / f"{name}.ipynb").cells
    namespace = {}
    for source in (cell.source for cell in cells if cell.cell_type == "code"):
        if source.startswith("import ") or "### BEGIN SOLUTION" in source:
            exec(source, namespace)
    return SimpleNamespace(**namespace)


def tasks(module):
    """The names of a module's tasks, in their order."""
    return [task.name for task in vars(module).values() if isinstance(task, Task)]


@functools.lru_cache(maxsize=8)
def expected(task, seed):
    """The cases of a seed with the right answers, made once for all who are judged."""
    return task.expected(seed)


def checked(task, function, seed=1):
    """A check with cases from this seed."""
    answers = exchange.load(exchange.dump(task.collect(function, seed)))
    return task.judge_against(answers, expected(task, seed))


class Mistakes:
    """Tests of a table of mistakes: each is refused, with words that name it, whatever the cases.

    Attributes:
        check: the module of the tasks.
        table: for each task, mistakes by what is wrong.
        seeds: of further cases, for `make test`.
        slow_tasks: of these, `make test` tries the first `some` mistakes, `make long` the others, and the
            further cases. `make check` tries all mistakes of the other tasks.
    """

    slow_tasks = ()
    some = 5

    def pytest_generate_tests(self, metafunc):
        if "words" in metafunc.fixturenames:
            parameters = [
                pytest.param(name, function, words, marks=self._length(name, number), id=f"{name}: {what}")
                for name, number, what, function, words in self._every()
            ]
            metafunc.parametrize(("name", "function", "words"), parameters)
        elif "seed" in metafunc.fixturenames:
            parameters = [
                pytest.param(
                    name,
                    function,
                    marks=pytest.mark.long if name in self.slow_tasks else pytest.mark.slow,
                    id=f"{name}: {what}",
                )
                for name, _, what, function, _ in self._every()
            ]
            metafunc.parametrize(("name", "function"), parameters)
            metafunc.parametrize("seed", self.seeds)

    def _every(self):
        for name, wrong in self.table.items():
            for number, (what, (function, words)) in enumerate(wrong.items()):
                yield name, number, what, function, words

    def _length(self, name, number):
        if name not in self.slow_tasks:
            return []
        return pytest.mark.slow if number < self.some else pytest.mark.long

    def test_a_mistake_is_wrong_and_named(self, name, function, words):
        result = checked(getattr(self.check, name), function)
        assert result.outcome is Outcome.WRONG, result
        assert words in result.message

    def test_a_mistake_is_wrong_whatever_the_cases(self, name, function, seed):
        assert checked(getattr(self.check, name), function, seed).outcome is Outcome.WRONG

    def test_every_task_has_its_mistakes(self):
        assert list(self.table) == tasks(self.check)
        assert min(len(wrong) for wrong in self.table.values()) >= 3
