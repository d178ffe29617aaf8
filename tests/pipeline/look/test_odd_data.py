"""Whatever a COCO file holds, the page is whole: each entry is in it once, with its reason."""

import io
import json
import math
import os
from pathlib import Path

import pytest
from PIL import Image

from ground.errors import DatasetError
from pipeline.look import places
from pipeline.look.album import Album, Kind
from pipeline.look.parts import part, part_names
from pipeline.look.picture_files import thumbnail, whole
from pipeline.look.places import Request, album_of, coco_file
from pipeline.look.static_folder import write_static
from tests.components.coco_example_gen.small_dataset import (
    annotation,
    image,
    jpeg,
    png,
    write_dataset,
)

HUGE = 10**400
NAN, INFINITE = math.nan, math.inf


def album(folder):
    return album_of(Request(folder / "instances.json", pictures=folder / "pictures")).album


def scripts(shown):
    """Returns the page's data, read as strictly as a browser reads them."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    found = {}
    for name in part_names(shown):
        text = part(shown, name).decode("ascii")
        head, _, rest = text.partition("JSON.parse(")
        assert head.startswith("look.take(") and rest.endswith("));\n") and text.count("\n") == 1
        found[name] = json.loads(json.loads(rest[:-4]), parse_constant=refuse)
    return found


def things(folder, *annotations, images=None):
    write_dataset(folder, images or [image(1)], list(annotations), pictures={"1.jpg": jpeg()})
    shown = album(folder)
    return scripts(shown)["pictures-0.js"][0][7], shown.pictures[0].things


BOXES = [
    None, "x", 5, True, [], [1, 2], [1, 2, 3, 4, 5], {"x": 1}, [1, 2, None, 4], [[1, 2], [3, 4]],
    [1, 2, NAN, 3], [1, 2, INFINITE, 3], [-INFINITE, 2, 3, 3], [1e308] * 4, [HUGE, 1, 2, 3],
    [1, 2, -3, -4], [1, 2, 0, 0], [900, 900, 5, 5], [-50, -50, 900, 900], ["1", "2", "3", "4"],
    [True, False, True, True], ["1", "two", 3, 4], [1, 2, 1e-300, 1e-300],
]  # fmt: skip


@pytest.mark.parametrize("area", [80.3, None, NAN, -1, HUGE, "80", [80]], ids=lambda v: str(v)[:9])
def test_boxes_and_areas_of_any_kind_are_shown_or_left_out(tmp_path, area):
    given = [annotation(n, 1, bbox=box, area=area) for n, box in enumerate(BOXES)]
    rows, found = things(tmp_path / "D", *given)

    assert sorted(thing.number for thing in found) == list(range(len(BOXES)))
    for thing, row in zip(found, rows, strict=True):
        assert thing.kind != Kind.LEFT_OUT or thing.reasons, thing
        assert row[2] is None or (len(row[2]) == 4 and all(map(math.isfinite, row[2]))), row


SEGMENTATIONS = [
    None, [], "x", 5, [[]], [[1, 2]], [[1, 1, 5, 1, 5]], [[1, 1, 5, 1, 5, 5]], [1, 1, 5, 1, 5, 5],
    [[90, 90, 99, 90, 99, 99]], [[-9, -9, 90, -9, 90, 90, -9, 90]], [[NAN] * 6], [[HUGE] * 6],
    [[{"x": 1, "y": 2}]], {}, {"size": [20, 30]}, {"size": [20, 30], "counts": [0, 600]},
    {"size": [20, 30], "counts": [7]}, {"size": [30, 20], "counts": [0, 600]},
    {"size": [20, 30], "counts": "\x00\ud800"}, {"size": "20", "counts": [600]},
    {"size": [20, 30], "counts": [-5, 605]}, {"size": [HUGE, 1], "counts": []},
]  # fmt: skip


@pytest.mark.parametrize("is_crowd", [0, 1])
def test_masks_of_any_kind_are_shown_or_left_out(tmp_path, is_crowd):
    given = [
        annotation(n, 1, segmentation=seg, iscrowd=is_crowd) for n, seg in enumerate(SEGMENTATIONS)
    ]
    rows, found = things(tmp_path / "D", *given)

    assert sorted(thing.number for thing in found) == list(range(len(SEGMENTATIONS)))
    assert [row[8] for row in rows] == [int(bool(thing.mask)) for thing in found]
    masks = {thing.number: thing.mask for thing in found}
    assert masks[7] and masks[16] and not masks[1]


@pytest.mark.parametrize("iscrowd", ["1", 2, None, True, "yes", [1]])
def test_what_says_crowd_in_another_way_is_one_entry_still(tmp_path, iscrowd):
    _, found = things(tmp_path / "D", annotation(1, 1, iscrowd=iscrowd))
    assert len(found) == 1


def test_ids_as_text_are_the_same_ids(tmp_path):
    entry = {"id": "1", "file_name": "1.jpg", "height": "20", "width": "30"}
    _, found = things(
        tmp_path / "D", annotation("7", "1", category_id="3"), annotation(8, 1.0), images=[entry]
    )
    assert [(thing.kind, thing.category) for thing in found] == [(Kind.OBJECT, 0)] * 2


def test_entries_that_are_none_are_counted(tmp_path):
    images = ["x", None, 5, [], image(1), image(1), {"id": 2}, {"file_name": "1.jpg"}]
    folder = write_dataset(
        tmp_path / "D", images, ["x", None, 5, annotation(1, 1)], pictures={"1.jpg": jpeg()}
    )
    shown = album(folder)
    rows = scripts(shown)["pictures-0.js"]

    assert len(rows) == len(images)
    assert sum(not picture.is_left_out for picture in shown.pictures) == 1
    assert all(p.reasons for p in shown.pictures if p.is_left_out)


NAMES = [
    "../instances.json", "/etc/passwd", "a\0b.jpg", "\ud800.jpg", "x" * 400 + ".jpg", ".", "..",
    "1.jpg/1.jpg", "a\nb.jpg", "C:\\data\\9.jpg", "~/9.jpg", "%2e%2e/instances.json",
    "%00.jpg", " ", "", 5, None, ["1.jpg"], {"name": "1.jpg"},
]  # fmt: skip


def test_names_that_are_no_picture_s_give_nothing_out(tmp_path):
    folder = write_dataset(
        tmp_path / "D",
        [image(n) | {"file_name": name} for n, name in enumerate(NAMES)],
        [],
        pictures={"1.jpg": jpeg()},
    )
    shown = album(folder)
    (tmp_path / "out").mkdir()

    assert len(scripts(shown)["pictures-0.js"]) == len(NAMES)
    assert write_static(shown, tmp_path / "out", None) == len(NAMES)
    assert os.listdir(tmp_path / "out" / "pictures") == []


SOUND_NAMES = [
    '"><script>alert(1)<%2Fscript>.jpg', "it's.jpg", "日本語.jpg", "100%.jpg", "a b#c?d&e.jpg",
    "-rf.jpg", "..jpg", "\u202egpj.jpg", "a;b`c$d.jpg", "__proto__.jpg",
]  # fmt: skip


def test_names_with_odd_letters_are_found_and_written_under_numbers(tmp_path):
    images = [image(n, name) for n, name in enumerate(SOUND_NAMES)]
    shown = album(write_dataset(tmp_path / "D", images, []))
    (tmp_path / "out").mkdir()

    assert write_static(shown, tmp_path / "out", None) == 0
    assert sorted(os.listdir(tmp_path / "out" / "pictures")) == [f"{n}.jpg" for n in range(10)]
    assert [row[0] for row in scripts(shown)["pictures-0.js"]] == SOUND_NAMES


@pytest.mark.parametrize(
    "height", [0, -3, 10**9, 10**30, NAN, INFINITE, "many", 1.5, 20.0, None, [20]], ids=str
)
def test_sizes_of_any_kind_are_judged(tmp_path, height):
    write_dataset(
        tmp_path / "D", [image(1) | {"height": height}], [annotation(1, 1)],
        pictures={"1.jpg": jpeg()},
    )  # fmt: skip
    shown = album(tmp_path / "D")
    row = scripts(shown)["pictures-0.js"][0]

    codes = {
        reason.code for reason in (*shown.pictures[0].reasons, *shown.pictures[0].file.flaws())
    }
    assert codes and all(len(str(detail)) < 500 for detail in row[6])
    assert bool(codes & shown.leaves_out) == (height != 20.0)
    assert row[4] == int(height != 20.0)


def encoded(size, form, mode="RGB"):
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, form)
    return stream.getvalue()


def write_pictures(folder, contents):
    images = [image(n, f"{n}.jpg") for n in range(len(contents))]
    pictures = {f"{n}.jpg": content for n, content in enumerate(contents)}
    return album(write_dataset(folder, images, [], pictures=pictures))


@pytest.mark.parametrize("make", [jpeg, png])
def test_a_picture_that_is_cut_anywhere_is_shown_or_missing_never_an_end(tmp_path, make):
    whole = make(40, 60)
    cuts = [0, 1, 3, 9, *range(10, len(whole), len(whole) // 25), len(whole) - 1, len(whole)]
    shown = write_pictures(tmp_path / "D", [whole[:cut] for cut in cuts])
    (tmp_path / "out").mkdir()

    missing = write_static(shown, tmp_path / "out", None)

    assert 4 <= missing < len(cuts)
    assert (tmp_path / "out" / "pictures" / f"{len(cuts) - 1}.jpg").is_file()
    assert len(scripts(shown)["pictures-0.js"]) == len(cuts)


def test_pictures_of_other_kinds_can_be_seen_all_the_same(tmp_path):
    contents = [encoded((30, 20), form) for form in ("GIF", "BMP", "TIFF", "WEBP")]
    contents += [encoded((30, 20), "JPEG", "CMYK"), encoded((30, 20), "PNG", "I;16")]
    contents += [encoded((30, 20), "JPEG", "L"), encoded((30, 20), "PNG", "1")]
    shown = write_pictures(tmp_path / "D", contents)
    (tmp_path / "out").mkdir()

    assert write_static(shown, tmp_path / "out", None) == 0
    for n in range(len(contents)):
        with Image.open(tmp_path / "out" / "pictures" / f"{n}.jpg") as picture:
            assert (picture.format, picture.size) == ("JPEG", (30, 20))


@pytest.mark.parametrize(("policy", "is_left"), [("accept", False), ("mend", True)])
def test_half_a_turn_is_shown_as_policy_has_it(tmp_path, policy, is_left):
    half = Image.new("L", (48, 32))
    half.paste(255, (24, 0, 48, 32))  # on the left once it is turned
    exif = Image.Exif()
    exif[0x0112] = 3
    stream = io.BytesIO()
    half.save(stream, "JPEG", exif=exif)
    write_dataset(
        tmp_path / "D", [image(1, height=32, width=48)], [], pictures={"1.jpg": stream.getvalue()}
    )
    overrides = (f"data.policies.exif_turned={policy}",)
    request = Request(
        tmp_path / "D" / "instances.json", tmp_path / "D" / "pictures", overrides=overrides
    )
    [shown] = album_of(request).album.pictures
    for content in (whole(shown).content, thumbnail(shown).content):
        picture = Image.open(io.BytesIO(content)).convert("L")
        assert (picture.getpixel((0, 0)) > picture.getpixel((47, 0))) == is_left


def test_a_picture_that_is_longer_than_a_jpeg_can_be_is_shown_smaller(tmp_path):
    shown = write_pictures(tmp_path / "D", [encoded((70_000, 2), "TIFF")])
    (tmp_path / "out").mkdir()

    assert write_static(shown, tmp_path / "out", None) == 0
    with Image.open(tmp_path / "out" / "pictures" / "0.jpg") as picture:
        assert picture.format == "JPEG" and picture.width <= 65_500


def test_ten_thousand_classes_and_hostile_names_are_only_names(tmp_path):
    names = ["__proto__", "constructor", "</script><b>", "a\u2028b", "'\"\\"]
    names += [f"c{n}" for n in range(10_000)]
    categories = [{"id": n, "name": name} for n, name in enumerate(names)]
    folder = write_dataset(
        tmp_path / "D", [image(1)], [annotation(1, 1, category_id=0)], categories=categories
    )
    assert scripts(album(folder))["index.js"]["classes"] == names


def test_an_album_without_pictures_is_a_page(tmp_path):
    assert write_static(Album("none"), tmp_path, None) == 0
    assert scripts(Album("none"))["index.js"]["pictures"] == 0
    assert os.listdir(tmp_path / "data") == ["index.js"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("{", "cut off or not JSON"),
        ("[]", "it holds a list"),
        ("null", "it holds no lists"),
        ('{"images": {}}', "`images` is no list"),
        ('{"annotations": []}', "has no `images`"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "is empty"),
        ('{"images": [], "annotations": [], "categories": []}', "is empty"),
    ],
)
def test_a_file_that_is_no_data_is_said(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DatasetError, match=message) as caught:
        album_of(Request(tmp_path / "a.json", pictures=tmp_path))
    assert str(tmp_path / "a.json") in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_listed_does_not_hide_the_pictures(tmp_path, monkeypatch):
    write_dataset(tmp_path / "D", [image(1)], [])
    (tmp_path / "D" / "lost+found").mkdir()
    (tmp_path / "D" / "pictures").rename(tmp_path / "D" / "zz")
    listed = Path.iterdir

    def iterdir(folder):
        if folder.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(places.Path, "iterdir", iterdir)
    assert coco_file(tmp_path / "D" / "instances.json", None).pictures == tmp_path / "D" / "zz"


def test_a_split_that_a_config_does_not_make_is_said_with_those_that_it_makes(tmp_path):
    write_dataset(tmp_path / "D", [image(n) for n in range(20)], [])
    config = tmp_path / "c.yaml"
    config.write_text(
        "name: x\ndata: {annotations: instances.json, pictures: pictures, "
        "split: {train: 0.5, eval: 0.5}}\n"
    )
    with pytest.raises(DatasetError, match="no split named 'val', only train, eval"):
        album_of(Request(tmp_path / "D", config=config, split="val"))
