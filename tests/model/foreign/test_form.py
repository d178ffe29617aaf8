"""Which picture an annotation means, of what size it speaks, and what a folder's name says."""

import unicodedata
from collections import Counter

import pytest
from PIL import Image

from model.coco.values import is_text
from model.foreign.convert import folder_of
from model.foreign.form import (
    Folder,
    ellipse,
    has_key,
    number,
    picture_size,
    split_of_word,
    stated_size,
)
from tests.model.encoded.odd_jpegs import SEGMENTS, odd_jpeg
from tests.model.foreign.forms import picture


@pytest.mark.parametrize(
    ("names", "named", "beside", "expected"),
    [
        (["a.jpg"], "a.jpg", "a.xml", "a.jpg"),
        (["a.jpg"], "C:\\me\\a.jpg", "x/a.xml", "a.jpg"),
        (["a.jpg"], "/people/me/a.jpg", "x.json", "a.jpg"),
        (["a.JPG"], "a.jpg", "x.json", "a.JPG"),
        (["a.png"], "a.jpg", "x.json", "a.png"),  # converted since
        (["i/a.jpg"], "../i/a.jpg", "j/a.json", "i/a.jpg"),
        (["i/a.jpg", "k/a.jpg"], "../i/a.jpg", "j/a.json", "i/a.jpg"),
        (["train/i/a.jpg", "val/i/a.jpg"], "a.jpg", "val/l/a.xml", "val/i/a.jpg"),
        (["k/a.jpg", "i/a.jpg"], "a.jpg", "j/all.json", None),  # either
        (["masks/a.png", "i/b.jpg"], "i/a.jpg", "j/all.json", None),
        (["masks/a.jpg", "i/b.jpg"], "a.jpg", "j/all.json", "masks/a.jpg"),  # its very name
        (["masks/a.png"], "i/a.jpg", "j/all.json", "masks/a.png"),  # all pictures are there
        (["masks/a.png", "i/a.tif"], "i/a.tif", "j/all.json", "i/a.tif"),
        (["labels/a.png", "i/b.jpg"], "a.jpg", "labels/a.json", "labels/a.png"),
        (["labeled/i/a.png", "b.jpg"], "a.jpg", "labeled/xml/a.xml", "labeled/i/a.png"),
        (["labeled/i/a.jpg", "b.jpg"], "a", "all.xml", "labeled/i/a.jpg"),  # no mask is a JPEG
        (["no_mask/a.png", "with_mask/b.png"], "a.jpg", "j/all.json", "no_mask/a.png"),
        (["a.jpg", "a.png"], "a.webp", "j/all.json", None),
        (["i/x/a.jpg", "i/y/a.jpg"], "y/a.jpg", "all.xml", "i/y/a.jpg"),
        (["i/x/a.jpg", "i/y/a.jpg"], "C:\\me\\y\\a.jpg", "all.xml", "i/y/a.jpg"),
        (["i/x/a.jpg", "i/y/a.jpg"], "y/a.jpg", "i/x/all.xml", "i/y/a.jpg"),
        (["i/x/a.png", "i/y/a.png"], "y/a.jpg", "all.xml", "i/y/a.png"),
        (["x/y/a.jpg", "z/y/a.jpg"], "y/a.jpg", "z/all.xml", "z/y/a.jpg"),
        (["x/y/a.jpg", "z/y/a.jpg"], "y/a.jpg", "all.xml", None),
        (["i/x/a.jpg", "i/y/a.jpg"], "z/a.jpg", "all.xml", None),
        (["y/x/a.jpg", "y/z/a.jpg"], "y/a.jpg", "all.xml", None),
        (["b.jpg"], "a.jpg", "b.xml", None),
        (["b.jpg"], "", "l/b.xml", "b.jpg"),
        (["b.jpg"], "../../b", "l/b.xml", "b.jpg"),
        ([], "a.jpg", "a.xml", None),
        (["a.jpg"], "a.jpg\0", "b.xml", "a.jpg"),
    ],
)
def test_a_picture_is_found_where_one_alone_is_meant(tmp_path, names, named, beside, expected):
    assert Folder(tmp_path, names).picture(named, beside) == expected


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("other", ["NFC", "NFD"])
def test_both_forms_of_an_umlaut_are_one_name(tmp_path, form, other):
    there = unicodedata.normalize(form, "ä/ü é.jpg")
    folder = Folder(tmp_path, [there])
    for named in ("ä/ü é.jpg", "ü é.jpg", "ü é.png"):
        assert folder.picture(unicodedata.normalize(other, named), "x.xml") == there
    assert folder.picture("", unicodedata.normalize(other, "l/ü é.xml")) == there


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("b.jpg", "b.jpg"),
        ("old.jpg", "b.jpg"),  # renamed since, together with the file
        ("a.jpg", "b.jpg"),  # copied from the file of another picture
        ("", "b.jpg"),
        ("D:\\old\\b.png", "b.jpg"),
    ],
)
def test_an_own_file_is_of_the_picture_of_its_name(tmp_path, named, expected):
    assert Folder(tmp_path, ["a.jpg", "b.jpg"]).own_picture(named, "l/b.xml") == expected


def test_an_own_file_of_another_name_is_of_the_picture_in_it(tmp_path):
    folder = Folder(tmp_path, ["a.jpg", "b.jpg"])
    assert folder.own_picture("a.jpg", "l/0001.xml") == "a.jpg"
    assert folder.own_picture("c.jpg", "l/0001.xml") is None


def test_what_cannot_be_learnt_from_is_found_after_what_can(tmp_path):
    names = ["a.jpg", "a.webp", "b.TIF", "c.gif", "d.png", "e.txt"]
    folder = Folder(tmp_path, names)
    assert folder.pictures == ["a.jpg", "d.png"]
    assert folder.others == ["b.TIF", "c.gif"]  # a.jpg is what a.webp was converted into
    assert folder.picture("a.webp", "x.xml") == "a.jpg"
    assert folder.picture("b.jpg", "x.xml") == "b.TIF"
    assert folder.own_picture("d.png", "c.xml") == "d.png"  # c.gif has the name of the file


def test_a_picture_of_no_use_has_no_size_and_is_counted(tmp_path):
    names = ["a.jpg", "b.BMP", "c.tiff", "d.webp", "e.jpg"]
    for name in names[:4]:
        picture(tmp_path / name)
    (tmp_path / "e.jpg").write_bytes(b"no picture")
    losses = Counter()
    folder = Folder(tmp_path, names)
    assert [folder.size(name, losses) for name in names] == [(80, 100), None, None, None, None]
    assert losses == {
        "pictures that are BMP (convert them to JPEG or PNG)": 1,
        "pictures that are TIFF (convert them to JPEG or PNG)": 1,
        "pictures that are WebP (convert them to JPEG or PNG)": 1,
        "pictures that cannot be read": 1,
    }


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        ("640", "480", (480, 640)),
        (640.0, 480, (480, 640)),
        (0, 0, (5, 7)),  # labelImg of old
        (640, None, (5, 7)),
        ("", "x", (5, 7)),
        (-1, 480, (5, 7)),
        (0.5, 480.5, (5, 7)),
        (float("nan"), 480, (5, 7)),
        (10**400, 480, (5, 7)),
        ([640], {}, (5, 7)),
    ],
)
def test_the_size_that_is_stated_holds_where_it_is_one(width, height, expected):
    assert stated_size(width, height, (5, 7)) == expected


@pytest.mark.parametrize("orientation", range(10))
def test_sizes_are_of_the_upright_picture(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = picture(tmp_path / "a.jpg", (100, 80), exif=exif)
    assert picture_size(path) == ((100, 80) if 5 <= orientation <= 8 else (80, 100))


@pytest.mark.parametrize("segment", SEGMENTS.values(), ids=SEGMENTS)
def test_metadata_hides_no_size(tmp_path, segment):
    path = tmp_path / "a.jpg"
    path.write_bytes(odd_jpeg(segment, 60, 90))
    assert picture_size(path) == (60, 90)


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "BMP"])
def test_other_formats_have_their_size(tmp_path, format_):
    assert picture_size(picture(tmp_path / "a.jpg", (100, 80), format=format_)) == (80, 100)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"<svg/>", None])
def test_what_is_no_picture_has_no_size(tmp_path, content):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    assert picture_size(path) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", "train"),
        ("TRAIN2017", "train"),
        ("train_images", "train"),
        ("training-set", "train"),
        ("1. Valid imgs", "eval"),
        ("dev", "eval"),
        ("test_data", "test"),
        ("images", None),
        ("trains", None),
        ("test bench", None),
        ("train_val", None),  # both
        ("", None),
    ],
)
def test_a_folder_is_a_split_by_its_name(name, expected):
    assert split_of_word(name) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1e2", 100.0), (" 7 ", 7.0), (3, 3.0), ("nan", None), ("-inf", None), (1e9, None),
        (10**400, None), (None, None), ("", None), ([1], None), ("1,5", None),
    ],
)  # fmt: skip
def test_numbers(value, expected):
    assert number(value) == expected


def test_an_ellipse_spans_its_radii():
    ring = ellipse(10, 20, 4, 2)
    assert len(ring) == 64
    assert (min(ring[0::2]), max(ring[0::2])) == pytest.approx((6, 14))
    assert (min(ring[1::2]), max(ring[1::2])) == pytest.approx((18, 22))


def test_names_that_are_no_text_are_not_among_the_files(tmp_path):
    odd = b"p\xff.jpg".decode("utf-8", "surrogateescape")
    assert not is_text(odd) and is_text("ü.jpg")
    assert folder_of(tmp_path, ["a.jpg", odd]).pictures == ["a.jpg"]


@pytest.mark.parametrize("before", [0, 1, (1 << 20) - 3, (1 << 20) - 7, 1 << 20, (2 << 20) - 2])
def test_a_key_is_found_wherever_it_is(tmp_path, before):
    path = tmp_path / "a.json"
    path.write_bytes(b"-" * before + b'"shapes" "short"' + b"-" * 9)
    assert has_key(path, "shapes") and has_key(path, "none", "short") and has_key(path, "short")
    assert not has_key(path, "shape", "hapes", "---")
