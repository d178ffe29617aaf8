"""What the page's scripts hand over."""

import json
import re

from pipeline.look.parts import part, part_names
from pipeline.look.places import Request, album_of
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset
from tests.pipeline.look.data import HOSTILE, write_flawed


def value_of(script: bytes):
    """Returns what a script hands over, read as a browser would."""
    kind, number, text = re.fullmatch(
        r'look\.take\("(\w+)", (\d+), JSON\.parse\((".*")\)\);\n', script.decode("ascii"), re.DOTALL
    ).groups()
    return kind, int(number), json.loads(json.loads(text))


def test_parts_hold_what_the_album_has(tmp_path):
    album = album_of(Request(write_flawed(tmp_path / "D"))).album
    assert part_names(album) == ["index.js", "pictures-0.js", "masks-0.js"]
    kind, _, index = value_of(part(album, "index.js", "v1"))
    assert kind == "index"
    assert (index["pictures"], index["classes"], index["version"]) == (5, ["cat", "dog"], "v1")
    code = {name: n for n, (name, _) in enumerate(index["reasons"])}
    _, number, rows = value_of(part(album, "pictures-0.js"))
    assert number == 0
    assert rows[0][:6] == ["1.jpg", 30, 20, 0, 0, 1]
    assert rows[0][7][0] == [0, 0, [2.2, 3.5, 10.1, 8.7], 0, -2, None, 10, [], 1]
    assert rows[0][7][1][7] == [code["null_for_missing"]]
    assert rows[2][4] == 1 and rows[2][6][0][0] == code["picture_missing"]
    _, _, masks = value_of(part(album, "masks-0.js"))
    assert masks[0] == [[0, album.pictures[0].things[0].mask]]


def test_hostile_names_stay_data(tmp_path):
    names = [{"id": 3, "name": HOSTILE}, {"id": 8, "name": "__proto__\u2028"}]
    write_dataset(tmp_path / "D", [image(1)], [annotation(1, 1)], names)
    album = album_of(Request(tmp_path / "D")).album
    script = part(album, "index.js")
    assert value_of(script)[2]["classes"] == [HOSTILE, "__proto__\u2028"]


def test_pictures_are_handed_over_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.look.parts.PICTURES_A_PART", 2)
    images = [image(n) for n in range(5)]
    write_dataset(tmp_path / "D", images, [annotation(0, 0, segmentation=[])])
    album = album_of(Request(tmp_path / "D")).album
    assert part_names(album) == ["index.js", "pictures-0.js", "pictures-1.js", "pictures-2.js"]
    assert [row[0] for row in value_of(part(album, "pictures-2.js"))[2]] == ["4.jpg"]
