from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest

from ground.page import page_templates
from tests.browser import DESKTOP, PHONE, Page, Screen

PAGE = """{% extends "page.html.j2" %}
{% block title %}{{ name }}{% endblock %}
{% block style %}h1 { letter-spacing: 3px; }{% endblock %}
{% block content %}
<h1>{{ name }}</h1>
<p>{{ "long" * 400 }}</p>
<div class="scroll"><table><tr>
{% for n in range(40) %}<td>cell {{ n }}</td>{% endfor %}
</tr></table></div>
<dl><dt>Digest</dt><dd>{{ "0123456789abcdef" * 8 }}</dd></dl>
{% endblock %}
{% block script %}<script>document.body.dataset.ran = "yes";</script>{% endblock %}
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "own.html.j2").write_text(PAGE)
    text = page_templates(tmp_path).get_template("own.html.j2").render(name="<b>Name</b>")
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("is_dark", [False, True], ids=["day", "night"])
def test_a_page_fits_and_is_legible(
    open_page: Callable[..., Page], page: Path, screen: Screen, is_dark: bool
) -> None:
    seen = open_page(page, screen, is_dark=is_dark)
    assert (seen.errors, seen.too_wide()) == ([], [])
    assert seen.text("h1") == "<b>Name</b>" and seen.run("document.title") == "<b>Name</b>"
    assert seen.run("getComputedStyle(document.querySelector('h1')).letterSpacing") == "3px"
    assert seen.attribute("body", "data-ran") == "yes"
    paper = seen.run("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(21, 24, 28)" if is_dark else "rgb(255, 255, 255)")


def test_a_missing_value_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.html.j2").write_text("{{ nothing }}")
    with pytest.raises(jinja2.UndefinedError):
        page_templates(tmp_path).get_template("own.html.j2").render()
