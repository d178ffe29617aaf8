"""The documentation site: all pages in the menu; built, whole, local, and fit for screens."""

import itertools
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.browser import DESKTOP, PHONE

ROOT = Path(__file__).parents[1]
MKDOCS = ROOT / "build" / "docs-venv" / "bin" / "mkdocs"
PAGES = sorted((ROOT / "docs").glob("*.md"))


class _Loader(yaml.SafeLoader):
    """Takes mkdocs.yml's one Python object for nothing."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def pages_of(menu: object) -> list[str]:
    """Returns the files that a part of the menu names, in its order."""
    if isinstance(menu, str):
        return [menu]
    parts = menu.values() if isinstance(menu, dict) else menu
    return [page for part in parts for page in pages_of(part)]


def test_every_page_is_once_in_the_menu():
    asked = yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)
    named = sorted(pages_of(asked["nav"]))
    assert named == [page.name for page in PAGES], "name each page of docs/ in mkdocs.yml's nav"


def test_front_page_leads_to_the_two_roads():
    text = (ROOT / "docs" / "index.md").read_text()
    to_use, to_read = text.split("## To use it")[1].split("## To read the code, in this order")
    assert len(set(re.findall(r"\((\w+\.md)", to_use))) > 15
    assert re.findall(r"^\d\. ", to_read, re.MULTILINE) == [f"{n}. " for n in range(1, 10)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lists_and_tables_are_seen_as_such(page):
    """MkDocs takes a list or table for a part of the text line above it."""
    text = re.sub(r"^( *)```.*?^\1```$", "\n", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = text.splitlines()
    begins = re.compile(r"(-|\d+\.) |\|")
    glued = [
        below
        for above, below in itertools.pairwise(lines)
        if begins.match(below) and re.match(r"[^\s#|]", above) and not begins.match(above)
    ]
    assert glued == []


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; strict: a link or anchor that leads nowhere fails."""
    if not MKDOCS.exists():
        pytest.skip("`make docs-site` was not run: no build/docs-venv")
    out = tmp_path_factory.mktemp("site")
    command = [MKDOCS, "build", "--strict", "--quiet", "--site-dir", out]
    built = subprocess.run(
        command, cwd=ROOT, env={"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return out


def test_nothing_of_the_site_is_loaded_from_elsewhere(site):
    sources = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(https?:|//)[^>]*>""")
    styles = re.compile(
        r"""<link\b[^>]*rel=["']?(?:stylesheet|preconnect|icon)[^>]*https?:[^>]*>"""
    )
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        text = page.read_text()
        assert not sources.search(text) and not styles.search(text), page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:|//)", sheet.read_text()), sheet.name


def check_page(open_page, path: Path, screen) -> None:
    page = open_page(path, screen)
    # On phones the menu waits outside of the screen.
    page.run("document.querySelectorAll('.md-sidebar').forEach((menu) => menu.remove())")
    assert page.errors == [] and page.too_wide() == [], path.name


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["index", "messages"])
def test_pages_fit_desktop_and_phone(site, open_page, name, screen):
    check_page(open_page, site / f"{name}.html", screen)


@pytest.mark.slow
@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_all_pages_fit_desktop_and_phone(site, open_page, screen):
    for page in PAGES:
        check_page(open_page, site / f"{page.stem}.html", screen)


def test_search_finds_where_pages_are_opened_as_files(site, open_page):
    page = open_page(site / "index.html", DESKTOP)
    page.click("input[name=query]")
    page.do(lambda it: it.type("input[name=query]", "jitter"))
    found = page.do(
        lambda it: it.wait_for_selector(".md-search-result__link").get_attribute("href")
    )
    assert re.match(r"file:.*/(input|configs)\.html", found) and page.errors == []
