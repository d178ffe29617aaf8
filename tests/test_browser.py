"""What tests/browser.py sees of a page, and what it does to it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser import DESKTOP, PHONE, Page, Screen

HEAD = '<!doctype html><meta name="viewport" content="width=device-width, initial-scale=1">'
SCREENS = pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])

Open = Callable[..., Page]


def write(folder: Path, body: str) -> Path:
    path = folder / "page.html"
    path.write_text(HEAD + body, encoding="utf-8")
    return path


@SCREENS
def test_a_page_that_fits_has_no_faults(open_page: Open, tmp_path: Path, screen: Screen) -> None:
    body = "<h1>Fine</h1><b hidden>not shown</b>"
    body += "<div style='overflow-x:auto'><p style='width:3000px'>long</p></div>"
    page = open_page(write(tmp_path, body), screen)
    assert (page.errors, page.too_wide(), page.text("h1")) == ([], [], "Fine")
    assert page.run("innerWidth") == screen.width
    assert page.out_of_view("p") == ["long"] and page.out_of_view("h1, b") == []


@SCREENS
def test_what_is_too_wide_is_named(open_page: Open, tmp_path: Path, screen: Screen) -> None:
    page = open_page(write(tmp_path, "<div class='wide' style='width:2000px'>x</div>"), screen)
    assert [found[:18] for found in page.too_wide()] == ['<div class="wide" ']


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("<script>throw new Error('broken')</script>", "broken"),
        ("<script>console.error('said so')</script>", "said so"),
        ("<img src='missing.png'>", "missing.png"),
        ("<img src='http://example.org/a.png'>", "left this machine: http://example.org/a.png"),
    ],
)
def test_faults_are_kept(open_page: Open, tmp_path: Path, body: str, error: str) -> None:
    page = open_page(write(tmp_path, body))
    assert any(error in one for one in page.errors), page.errors


def test_hands_reach_the_page(open_page: Open, tmp_path: Path) -> None:
    body = """<button onclick="this.textContent = 'clicked'">b</button><input type=range max=9>
      <p id=key></p><p id=file>none</p><script>
      addEventListener("keydown", (e) => { document.querySelector("#key").textContent = e.key; });
      const p = document.querySelector("#file");
      p.addEventListener("dragover", (e) => e.preventDefault());
      p.addEventListener("drop", async (e) => { const f = e.dataTransfer.files[0];
        p.textContent = [f.name, f.type, await f.text()].join(); p.className = "done"; });
      </script>"""
    page = open_page(write(tmp_path, body), PHONE)
    dropped = tmp_path / "a.txt"
    dropped.write_text("content", encoding="utf-8")
    page.click("button")
    page.fill("input", "7")
    page.press("x")
    page.drop("#file", dropped)
    page.wait_for(".done")
    assert page.text("button") == "clicked"
    assert page.run("document.querySelector('input').value") == "7"
    assert page.text("#key") == "x" and page.text("#file") == "a.txt,text/plain,content"
    assert page.attribute("#file", "class") == "done" and page.count("p") == 2
    assert page.errors == []


def test_it_is_dark_for_who_wants_it(open_page: Open, tmp_path: Path) -> None:
    body = "<style>@media (prefers-color-scheme: dark) { p { display: none } }</style><p>day</p>"
    path = write(tmp_path, body)
    assert open_page(path).is_seen("p") and not open_page(path, is_dark=True).is_seen("p")
    picture = tmp_path / "page.png"
    open_page(path).screenshot(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_other_loops_run_beside_it(open_page: Open, tmp_path: Path) -> None:
    page = open_page(write(tmp_path, "<p>here</p>"))
    assert asyncio.run(asyncio.sleep(0, "run")) == "run" and page.text("p") == "here"
