import pytest
from PIL import Image

from tests.browser import DESKTOP, PHONE
from tests.model.serving.fake_served import add_version, serving


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return add_version(tmp_path_factory.mktemp("serving") / "cells", 3)


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (90, 60), "white").save(tmp_path / "white.png")
    return tmp_path / "white.png"


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_dropped_picture_is_shown_with_what_the_slider_leaves(
    open_page, cells, picture, tmp_path, screen
):
    with serving(cells) as (client, _, _):
        page = open_page(f"http://127.0.0.1:{client.port}/", screen)
        page.wait_for("#name")
        page.drop("#drop", picture)
        page.wait_for("#canvas")
        assert page.text("#shown") == "2 of 3 shown"  # scores 0.9, 0.6 and 0.3, from 0.5 on
        assert page.texts("#classes .name") == ["<b>line</b>", "dot"]
        page.fill("#score", "0.2")
        assert page.text("#shown") == "3 of 3 shown"
        colours = (
            "() => { const c = document.getElementById('canvas'); const d = c.getContext('2d')"
        )
        colours += (
            ".getImageData(0, 0, c.width, c.height).data; const s = new Set(); for (let n = 0;"
        )
        colours += " n < d.length; n += 4) s.add(d[n] + ',' + d[n + 1] + ',' + d[n + 2]);"
        colours += " return s.size; }"
        drawn = page.run(colours)
        page.fill("#score", "1")
        assert page.text("#shown") == "0 of 3 shown"
        assert page.run(colours) == 1 < drawn
        page.fill("#score", "0")
        page.click("#classes .row:first-child")
        assert page.text("#shown") == "2 of 3 shown"
        page.screenshot(tmp_path / "page.png")
        assert page.too_wide() == []
        assert page.errors == []


def test_what_is_no_picture_is_said_and_the_page_goes_on(open_page, cells, picture, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with serving(cells) as (client, _, _):
        page = open_page(f"http://127.0.0.1:{client.port}/")
        page.choose("#file", tmp_path / "bad.jpg")
        page.wait_for("#said.bad")
        assert page.text("#said").startswith("the picture: cannot be decoded")
        page.choose("#file", picture)
        page.wait_for("#canvas")
        assert page.text("#shown") == "2 of 3 shown"
