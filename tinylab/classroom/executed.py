"""A notebook as executed, made into a page that is safe to open whatever its author put into it.

What a notebook shows is its author's HTML, and JavaScript. Three walls keep it from doing anything in the
browser of the teacher who opens it: here everything but a short list of tags and attributes is taken out;
the page forbids scripts and every request (Content-Security-Policy); and the page that it is shown in puts
it into an iframe with an empty `sandbox`. The last two hold without the first, but for this: for a frame
or a link, a browser opens a connection to a host before it finds out that it may not load from there.

The parts of a notebook are made by nbconvert's filters. Its exporter is not used: a page takes it a
tenth of a second, and the page loads scripts from the network.
"""

import base64
import functools
import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LONGEST_TEXT = 10_000  # characters of a source or of an output; some texts take time by their square
LONGEST_PAGE = 500_000  # of all of them
LONGEST_PICTURE = 1_000_000  # of one, and
LONGEST_PICTURES = 4_000_000  # of all, in base64
LONGEST_NOTEBOOK = 100_000_000  # of its JSON

# fmt: off
TAGS = frozenset((
    "h1", "h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "div", "span", "blockquote", "details", "summary",
    "pre", "code", "kbd", "samp", "b", "strong", "i", "em", "u", "s", "del", "small", "sub", "sup", "img",
    "ul", "ol", "li", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td",
))
# fmt: on
ATTRIBUTES = {
    "*": ["class"],
    "img": ["src", "alt"],
    "th": ["colspan", "rowspan"],
    "td": ["colspan", "rowspan"],
}
UNSEEN = re.compile(r"<(style|script)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)  # no tags: text to be read
PLAIN = re.compile(r'<span class="(?:n|p|o|w|nn|nb|bp|esc|fm|vm|ow|err)">([^<]*)</span>')  # has no colour
BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")


@dataclass(frozen=True)
class Cell:
    """One cell to show.

    Attributes:
        number: of a code cell, from 1; 0 if it is none.
        source: as HTML.
        outputs: as HTML.
    """

    number: int
    source: str
    outputs: tuple[str, ...]


def cells(notebook: str) -> list[Cell]:
    """The cells of a notebook as HTML; none if it is no notebook.

    Args:
        notebook: JSON in nbformat 4, from anybody.
    """
    if not notebook or len(notebook) > LONGEST_NOTEBOOK:
        return []
    try:
        return list(_Budget().cells(json.loads(notebook)["cells"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


class _Budget:
    """How much may still be shown. What exceeds it gives way to a sentence that says so."""

    def __init__(self) -> None:
        self.text, self.pictures = LONGEST_PAGE, LONGEST_PICTURES

    def cells(self, found: list[dict]) -> Iterator[Cell]:
        number = 0
        for cell in found:
            source, kind = _text(cell["source"]), cell["cell_type"]
            if self.text <= 0:
                yield Cell(0, "<p class=cut>The rest of the notebook is left out: it is too long.</p>", ())
                return
            if kind == "code":
                number += 1
                shown = f"<pre>{_python(self._short(source))}</pre>{self._cut(source)}"
                yield Cell(number, shown, tuple(map(self._output, cell.get("outputs", []))))
            elif kind == "markdown":
                yield Cell(0, _markdown(self._short(source)) + self._cut(source), ())
            else:
                yield Cell(0, self._pre(source), ())

    def _output(self, output: dict) -> str:
        kind = output["output_type"]
        if kind == "stream":
            return self._pre(_text(output["text"]))
        if kind == "error":
            return self._pre("\n".join(map(str, output["traceback"])))
        data = output["data"]
        for kind, show in (("text/html", _clean), ("text/markdown", _markdown)):
            if kind in data and len(text := _text(data[kind])) <= min(LONGEST_TEXT, self.text):
                return show(self._short(text))
        if "image/svg+xml" in data:
            drawing = _text(data["image/svg+xml"]).encode("utf-8", "replace")
            return self._picture("svg+xml", base64.b64encode(drawing).decode())
        for kind in ("png", "jpeg"):
            if f"image/{kind}" in data:
                return self._picture(kind, _text(data[f"image/{kind}"]))
        return self._pre(_text(data.get("text/plain", "An output that has no text is not shown.")))

    def _picture(self, kind: str, encoded: str) -> str:
        if not BASE64.fullmatch(encoded) or len(encoded) > min(LONGEST_PICTURE, self.pictures):
            return "<p class=cut>A picture is left out: it is too large, or damaged.</p>"
        self.pictures -= len(encoded)
        return f'<img alt="a picture that the cell shows" src="data:image/{kind};base64,{encoded}">'

    def _pre(self, text: str) -> str:
        from nbconvert.filters import ansi2html

        return f"<pre>{ansi2html(self._short(text))}</pre>{self._cut(text)}"

    def _short(self, text: str) -> str:
        self.text -= min(len(text), LONGEST_TEXT)
        return text[:LONGEST_TEXT]

    def _cut(self, text: str) -> str:
        if len(text) <= LONGEST_TEXT:
            return ""
        return f"<p class=cut>Of {len(text):,} characters, the first {LONGEST_TEXT:,} are shown.</p>"


def _text(value: Any) -> str:
    """What nbformat calls a multiline string: a string, or a list of them."""
    return "".join(value) if isinstance(value, list) else str(value)


# Many learners of a class have the same text, and the same code: each is made once.


@functools.lru_cache(1000)
def _python(source: str) -> str:
    from pygments import highlight

    return PLAIN.sub(r"\1", highlight(source, *_colours()))


@functools.cache
def _colours() -> tuple[Any, Any]:
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return PythonLexer(ensurenl=False, stripnl=False), HtmlFormatter(nowrap=True)


@functools.lru_cache(1000)
def _markdown(source: str) -> str:
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    renderer = IPythonRenderer(escape=False, exclude_anchor_links=True)
    # A fence may name any of hundreds of languages, whose lexers nobody tried on hostile text.
    renderer.block_code = lambda code, info=None: f"<pre>{html.escape(code)}</pre>"
    return _clean(MarkdownWithMath(renderer=renderer).render(source))


@functools.lru_cache(1000)
def _clean(untrusted: str) -> str:
    """HTML without anything that could act, load or lead anywhere."""
    return _cleaner().clean(UNSEEN.sub("", untrusted))


@functools.cache
def _cleaner() -> Any:
    from bleach.sanitizer import Cleaner

    return Cleaner(TAGS, ATTRIBUTES, protocols=["data"], strip=True)


def as_attribute(page: str) -> str:
    """A page as the value of an attribute in single quotes, no longer than it has to be.

    >>> as_attribute("<p>R&amp;D's</p>")
    '<p>R&amp;amp;D&#39;s</p>'
    """
    return page.replace("&", "&amp;").replace("'", "&#39;")
