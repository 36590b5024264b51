"""What the sections of a notebook need of each other, read from their code.

A section goes from one "## " heading to the next; the cells before the first heading are the opening,
which every section needs. A section builds on another if it uses a name to which that one gave its
value, or whose object it changed.
"""

import ast
import re
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
# Methods that change their object, as far as notebooks here call them.
CHANGING = {"append", "compile", "fit", "insert", "invoke", "set_tensor", "set_weights"}


@dataclass
class Section:
    """A heading, its code, and the sections whose results it uses, in the notebook's order."""

    heading: str
    code: str = ""
    builds_on: list["Section"] = field(default_factory=list, repr=False)


def sections(notebook: NotebookNode) -> list[Section]:
    """The sections of a notebook; the first is the opening, which has no heading."""
    found = [Section("")]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found += map(Section, HEADING.findall(cell.source))
        elif cell.cell_type == "code":
            found[-1].code += TransformerManager().transform_cell(cell.source)  # without ! and %
    makers: dict[str, set[int]] = {}  # of each name, the sections that made what it stands for
    for number, section in enumerate(found):
        needed = set()
        for statement in ast.parse(section.code).body:
            bound = _bound(statement)
            for name in _used(statement):
                needed |= makers.get(name, set())
            for name in _changed(statement) - bound:
                makers[name] = makers.get(name, set()) | {number}
            makers |= {name: {number} for name in bound}
        section.builds_on = [found[i] for i in sorted(needed - {0, number})]
    return found


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a value."""
    table = symtable.symtable(ast.unparse(statement), "statement", "exec")
    return {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}


def _used(statement: ast.stmt) -> set[str]:
    """The names whose values a statement needs, in functions and comprehensions too.

    >>> sorted(_used(ast.parse("for a in b: c = [a + d for d in e]").body[0]))
    ['b', 'e']
    >>> sorted(_used(ast.parse("a = a + 1").body[0]))
    ['a']
    """
    tables = list(_tables(symtable.symtable(ast.unparse(statement), "statement", "exec")))
    used = {
        s.get_name()
        for table in tables
        for s in table.get_symbols()
        if s.is_referenced() and (table is tables[0] or s.is_global())
    }
    is_simple = isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr)
    return used if is_simple else used - _bound(statement)  # a loop makes its variables itself


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _changed(statement: ast.stmt) -> set[str]:
    """The names whose objects a statement changes: x[0] = ..., x.y = ..., x.append(...).

    >>> sorted(_changed(ast.parse("a[0].b, c = d.e, f.append(a)").body[0]))
    ['a', 'f']
    """
    return {_root(node) for node in ast.walk(statement) if _changes(node)} - {None}


def _changes(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
            return True
        case ast.Call(func=ast.Attribute(attr=method)):
            return method in CHANGING
    return False


def _root(node: ast.AST) -> str | None:
    """The name that an expression such as a[0].b.append(c) begins with, if it does begin with one."""
    while isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None
