"""The site: built without a warning, whole in itself, and legible on a telephone and on a desk."""

import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

import tinylab
from tests.lab import ROOT
from tinylab.course import LESSONS, REPOSITORY

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted(
    f.relative_to(ROOT)
    for kind in ("notebooks", "exercises", "solutions")
    for f in (ROOT / kind).glob("*.ipynb")
)
MODULES = [
    module.name for module in pkgutil.iter_modules(tinylab.__path__) if not module.name.startswith("_")
]
WIDTHS = (390, 1440)
LOOKED_AT = [
    "index",
    "search",
    *(f"notebooks/{lesson.name}" for lesson in LESSONS),
    *(f"docs/{name}" for name in ("cheat_sheet", "glossary", "teaching", "api")),
    *(f"docs/api/tinylab.{name}" for name in ("affine", "runners", "memory_plan", "check.task")),
]
LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built from nothing; a warning of Sphinx is an error."""
    folder = tmp_path_factory.mktemp("build")
    command = [
        "make",
        "site",
        "--old-file=install-test",
        f"BUILD={folder}",
        f"VENV={Path(sys.executable).parent}",
    ]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert "warning" not in made.stderr.lower()
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site):
    files = [file for file in site.rglob("*.html") if "_static" not in file.parts]
    return {file: BeautifulSoup(file.read_text(), "html.parser") for file in files}


def addresses(soup, tags):
    """What a page refers to: a tag, and the address in it."""
    for name, attribute in tags.items():
        for tag in soup.find_all(name, {attribute: True}):
            yield tag, urlsplit(tag[attribute])


def test_every_link_within_the_site_leads_somewhere(pages):
    anchors = {
        file: {tag.get("id") or tag.get("name") for tag in soup.find_all(True)}
        for file, soup in pages.items()
    }
    broken = []
    for file, soup in pages.items():
        for tag, address in addresses(soup, {"a": "href", **LOADED}):
            if address.scheme or address.netloc:
                continue
            target = (file.parent / unquote(address.path)).resolve() if address.path else file
            if not target.is_file():
                broken.append(f"{file.name}: no file for {tag}")
            elif address.fragment and unquote(address.fragment) not in anchors[target]:
                broken.append(f"{file.name}: no such anchor for {tag}")
    assert broken == []


def test_no_page_fetches_anything_from_elsewhere(pages):
    fetched = {
        address.geturl()
        for soup in pages.values()
        for tag, address in addresses(soup, LOADED)
        if address.netloc and tag.get("rel") not in (["canonical"], ["license"])
    }
    assert fetched == set()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=str)
def test_every_notebook_has_a_page_that_leads_to_colab(pages, site, notebook):
    page = pages[site / notebook.with_suffix(".html")]
    path = REPOSITORY.removeprefix("https://github.com/")
    button = page.find(
        "a", href=f"https://colab.research.google.com/github/{path}/blob/main/{notebook.as_posix()}"
    )
    assert button.get_text() == "Open in Colab"
    title = page.find("h1").get_text()
    assert ("solution" in title.lower()) == (notebook.parts[0] == "solutions")


def test_every_picture_has_words_in_its_place(pages):
    words = [picture["alt"] for page in pages.values() for picture in page.find_all("img")]
    assert len(words) > 30
    assert [text for text in words if " " not in text] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_page_with_what_it_offers(pages, site, module):
    page = pages.get(site / "docs" / "api" / f"tinylab.{module}.html")
    assert page, f"docs/api.md does not list {module}"
    assert page.find(id=f"module-tinylab.{module}").find("p")


def test_the_search_finds_a_lesson_in_files_that_no_server_serves(site, browser):
    page = browser.new_page()
    page.goto(f"{(site / 'search.html').as_uri()}?q=Fashion-MNIST")
    found = page.locator("#search-results a", has_text="From Keras to .tflite").first
    found.wait_for(timeout=20_000)
    found.click()
    page.get_by_role("heading", name="01 · From Keras to .tflite").wait_for()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_has_to_be_scrolled_sideways(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    widths = {}
    for name in LOOKED_AT:
        page.goto((site / f"{name}.html").as_uri())
        widths[name] = page.evaluate("document.documentElement.scrollWidth")
    assert {name: found for name, found in widths.items() if found > width} == {}


def test_the_cheat_sheet_prints_on_one_page(site, browser):
    page = browser.new_page()
    page.goto((site / "docs" / "cheat_sheet.html").as_uri())
    printed = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
