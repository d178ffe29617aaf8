"""The page in a browser: grid, filters, keys, a picture, as served and from a folder."""

import threading
from contextlib import contextmanager

import pytest

from pipeline.look.places import Request, album_of
from pipeline.look.server import LookServer
from pipeline.look.static_folder import write_static
from tests.browser import DESKTOP, PHONE
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset
from tests.pipeline.look.data import HOSTILE, detection, write_examples, write_flawed, write_json

READY = "body[data-state=ready]"


@contextmanager
def serving(album):
    with LookServer(album, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """300 small pictures with a cat or a dog; every tenth has neither."""
    folder = tmp_path_factory.mktemp("many") / "D"
    images = [image(n, f"{n:03}.jpg") for n in range(300)]
    annotations = [
        annotation(n, n, category_id=3 if n % 2 else 8, bbox=[1, 1, 20, 15])
        for n in range(300)
        if n % 10
    ]
    write_dataset(folder, images, annotations)
    with serving(album_of(Request(folder)).album) as url:
        yield url


def opened(open_page, url, screen=DESKTOP, **options):
    page = open_page(url, screen, **options)
    page.wait_for(READY)
    page.wait_for(".tile")
    return page


def settle(page):
    page.run("() => new Promise((d) => requestAnimationFrame(() => requestAnimationFrame(d)))")


def choose(page, fieldset, text):
    page.do(lambda p: p.locator(f"#{fieldset} .choice", has_text=text).locator("input").click())
    settle(page)


def troubles(page):
    """Returns what went wrong; a picture that rushes by is not waited for, which is none."""
    return [error for error in page.errors if "ERR_ABORTED" not in error]


def names(page):
    return page.texts(".tile:not([hidden]) .caption")


def test_filters_narrow_what_is_shown_and_few_tiles_exist(open_page, many):
    page = opened(open_page, many)
    assert page.text("#count") == "300 of 300 pictures"
    assert len(names(page)) < 60
    choose(page, "classes", "dog")
    assert page.text("#count") == "120 of 300 pictures"
    assert names(page)[0] == "002.jpg"
    choose(page, "sizes", "small")
    assert page.text("#count") == "120 of 300 pictures"
    page.press("r")
    page.do(lambda p: p.select_option("#which", "without"))
    assert page.text("#count") == "30 of 300 pictures"
    page.press("Escape")
    page.press("r")
    page.fill("#text", "29")
    assert page.text("#count") == "13 of 300 pictures"  # 029, 129, 229, 290 ... 299
    page.fill("#text", "nowhere")
    assert page.is_seen("#nothing")
    assert troubles(page) == [] and page.too_wide() == []


def test_the_grid_shows_the_end_after_scrolling(open_page, many):
    page = opened(open_page, many)
    page.press("End")
    settle(page)
    assert "299.jpg" in names(page) and "000.jpg" not in names(page)
    assert page.run("() => document.activeElement.textContent") == "299.jpg"
    page.press("Home")
    settle(page)
    assert "000.jpg" in names(page)


def test_keys_open_walk_and_close(open_page, many):
    page = opened(open_page, many)
    page.press("ArrowRight")
    page.press("ArrowRight")
    page.press("Enter")
    page.wait_for("#viewer[open]")
    assert page.text("#name") == "002.jpg" and page.text("#place") == "3 of 300"
    assert page.texts("#things strong") == ["dog"]
    page.press("ArrowRight")
    page.press("k")
    page.press("j")
    assert page.text("#name") == "003.jpg"
    assert page.run("() => location.hash") == "#3"
    page.press("Escape")
    settle(page)
    assert not page.is_seen("#viewer") and page.run("() => location.hash") == ""
    page.press("?")
    assert page.is_seen("#help")
    page.press("Escape")
    assert not page.is_seen("#help")
    for key, name in [("b", "boxes"), ("m", "masks"), ("l", "labels"), ("a", "all")]:
        selector = f'[data-toggle="{name}"]'
        before = page.attribute(selector, "aria-pressed")
        page.press(key)
        assert page.attribute(selector, "aria-pressed") != before
    assert troubles(page) == []


def painted(page):
    """Returns how many points of the first tile's canvas are not clear."""
    settle(page)
    return page.run(
        """() => { const c = document.querySelector(".tile:not([hidden]) canvas");
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }"""
    )


def test_boxes_and_masks_are_drawn_and_can_be_switched(open_page, many):
    page = opened(open_page, many)
    page.fill("#text", "001")
    page.run("async () => { await look.load('masks-0'); redraw(); }")
    both = painted(page)
    page.run("() => toggle('masks')")
    box = painted(page)
    page.run("() => toggle('boxes')")
    assert painted(page) == 0 < box < both


def test_a_mask_is_drawn_where_coco_has_it(open_page, many):
    page = opened(open_page, many)
    # pycocotools: 2 rows, 3 columns; runs go down the columns: 1 clear, 2 set, 3 clear.
    runs = page.run("() => runLengths('123')")
    assert runs == [1, 2, 3]
    lit = page.run(
        """() => { const c = new OffscreenCanvas(3, 2), p = c.getContext("2d");
        p.fill(shapeOf('123', 2)); const d = p.getImageData(0, 0, 3, 2).data;
        return [...Array(6).keys()].map((n) => d[4 * n + 3] > 0); }"""
    )
    assert lit == [False, True, False, True, False, False]  # row by row


def test_what_detections_find_can_be_filtered_by_score(open_page, tmp_path):
    write_examples(tmp_path / "O")
    found = [detection(1, 0.9), detection(1, 0.8, bbox=[20, 1, 5, 5]), detection(2, 0.4)]
    file = write_json(tmp_path / "d.json", found)
    with serving(album_of(Request(tmp_path / "O", detections=file)).album) as url:
        page = opened(open_page, url)
        assert page.text("#from-value") == "0.40"
        for outcome, expected in [("missed", ["3.jpg"]), ("wrong", ["1.jpg"])]:
            choose(page, "outcomes", outcome)
            assert names(page) == expected
            choose(page, "outcomes", outcome)
        page.fill("#from", "0.5")
        choose(page, "outcomes", "missed")
        assert names(page) == ["2.jpg", "3.jpg"]
        page.press("r")
        choose(page, "reasons", "bad_bbox")
        assert names(page) == ["1.jpg"]
        assert troubles(page) == []


def test_what_is_left_out_says_why_and_names_stay_text(open_page, tmp_path):
    write_flawed(tmp_path / "D")
    album = album_of(Request(tmp_path / "D")).album
    album.classes[0] = album.pictures[0].name = HOSTILE
    with serving(album) as url:
        page = opened(open_page, url, is_dark=True)
        assert page.count(".tile.left-out") == 3
        assert names(page)[0] == HOSTILE
        page.do(lambda p: p.locator(".tile").nth(0).click())
        assert page.texts("#things strong")[0] == HOSTILE
        page.press("ArrowRight")
        page.press("ArrowRight")
        assert page.text("#flaws").startswith("picture_missing ")
        page.wait_for("#no-picture")
        assert [error for error in troubles(page) if "404" not in error] == []
        assert page.run("() => document.querySelectorAll('#things img, .caption b').length") == 0


def test_a_folder_opens_without_a_server(open_page, tmp_path):
    write_dataset(tmp_path / "D", [image(n) for n in range(3)], [annotation(1, 1)])
    (tmp_path / "P").mkdir()
    assert write_static(album_of(Request(tmp_path / "D")).album, tmp_path / "P", None) == 0
    page = opened(open_page, tmp_path / "P" / "index.html", PHONE)
    assert page.text("#count") == "3 of 3 pictures"
    seen = "() => [...document.querySelectorAll('.tile img')].every((i) => i.naturalWidth === 30)"
    page.do(lambda p: p.wait_for_function(seen))
    page.click("#show-filters")
    assert page.is_seen("#classes") and page.too_wide() == []
    page.click("#hide-filters")
    page.do(lambda p: p.locator(".tile", has_text="1.jpg").click())
    assert page.texts("#things strong") == ["cat"]
    assert troubles(page) == [] and page.too_wide() == []
