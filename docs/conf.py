"""The site: the course as static pages, notebooks with the outputs that they are stored with.

`make site` copies what is to become pages into build/pages, as it lies here, with docs/index.md on top,
and has Sphinx read it there. Nothing is fetched, neither by the build nor by the pages.
"""

import re
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes

from tinylab.course import REPOSITORY

ROOT = Path(__file__).parent.parent

project = "tinylab"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["README.md", "docs/_templates", "**/.ipynb_checkpoints"]
templates_path = [str(ROOT / "docs" / "_templates")]

# The pages
html_theme = "sphinx_book_theme"
html_title = "tinylab"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_copy_source = True  # the button that downloads a notebook
html_show_sourcelink = False
html_use_index = html_domain_indices = False  # the search finds more
html_theme_options = {
    "repository_url": REPOSITORY,
    "use_repository_button": True,
    "navbar_persistent": [],  # a second search field, above the one at the side
    "show_toc_level": 2,
    "footer_content_items": [],
}

# Notebooks and Markdown
nb_execution_mode = "off"
nb_merge_streams = True
# A widget that nothing runs: its picture or its text instead.
nb_mime_priority_overrides = [("*", "application/vnd.jupyter.widget-view+json", None)]
nb_ipywidgets_js = {}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

# The package: what stands between `backticks` is code, and a link if it is a name of ours.
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 90
html_math_renderer = "mathml"


def show_indented_code(app, what, name, obj, options, lines):
    """Docstrings indent code and formulas, as in Markdown; reStructuredText wants two colons before them."""
    for i in range(len(lines) - 1, 1, -1):
        begins = re.match(" {4}", lines[i]) and not lines[i - 1] and re.match(r"\S", lines[i - 2])
        if begins:
            lines[i - 1 : i] = ["", "::", ""]
    if what == "property":
        lines.insert(0, "")  # or else napoleon takes what stands before a colon for a type


def show_defaults(app, what, name, obj, options, signature, returned):
    """Sphinx parses signatures, and a default such as <function f at 0x7f> is no Python."""
    return signature and re.sub("= <.+?>", "= ...", signature), returned


def link_to_repository(app, doctree):
    """What is no page here is a file or a folder of the repository: the licence, a part of the package."""
    for link in list(doctree.findall(addnodes.pending_xref)):
        path = re.sub(r"^([.][.]/)+", "", link["reftarget"])
        if link["reftype"] == "myst" and not link["refdomain"] and (ROOT / path).exists():
            address = f"{REPOSITORY}/blob/main/{path}"
            link.replace_self(nodes.reference("", "", *link.children, refuri=address))


def draw_badges_as_buttons(app, doctree):
    """The picture on the badge would come from Colab's server at every visit."""
    for picture in list(doctree.findall(nodes.image)):
        if picture["uri"].endswith("/colab-badge.svg"):
            picture.parent["classes"].append("colab")
            picture.replace_self(nodes.Text(picture["alt"]))


def describe_pictures(app, doctree):
    """A figure is known by the line that drew it; what it shows, the text around it tells."""
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code":
            code = next(cell.findall(nodes.literal_block)).astext()
            for picture in cell.findall(nodes.image):
                picture["alt"] = f"The picture that {code.splitlines()[-1]} draws"


def mark_solutions(app, doctree):
    """A solution has its exercise's text: say so in its title, which the navigation and the search show."""
    if app.env.docname.startswith("solutions/"):
        title = next(doctree.findall(nodes.title))
        title.replace_self(nodes.title("", title.astext().replace("Exercise", "Solution")))


def visit_math(self, node, block=False):
    """Browsers draw MathML by themselves: no MathJax has to be fetched."""
    formula = tex2mathml(node.astext(), as_block=block)
    self.body.append(f'<div class="formula">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", show_indented_code, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", show_defaults)
    for change in (link_to_repository, draw_badges_as_buttons, describe_pictures, mark_solutions):
        app.connect("doctree-read", change, priority=100)  # before titles are collected
    app.add_html_math_renderer(
        "mathml", (visit_math, None), (lambda self, node: visit_math(self, node, block=True), None)
    )
