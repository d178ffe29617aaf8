"""What was left out is shown: its picture with boxes, the reason and the file's own words."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from components.coco_example_gen import whole
from components.coco_example_gen.refused import SHOWN_OF_A_REASON, words
from components.coco_example_gen.source import SplitSource
from configs.schema import DataConfig
from tests.components.coco_example_gen.small_dataset import annotation, image, jpeg, write_dataset

pytestmark = pytest.mark.usefixtures("without_beam")

LOOSE = {
    "max_rejected_fraction": 1.0,
    "max_lost_objects_fraction": 1.0,
    "max_dropped_fraction": 1.0,
}


def refused(folder, out, **data):
    source = SplitSource("train", folder / "instances.json", folder / "pictures", 2)
    settings = DataConfig.model_validate(LOOSE | data)
    whole.convert([source], out / "examples", out / "rejects", settings, None, lambda line: None)
    path = out / "examples" / "refused.json"
    return json.loads(path.read_text())["train"] if path.exists() else None


def pixels(uri):
    content = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.int16)


def test_each_reason_has_its_first_ones_with_their_words(tmp_path):
    images = [image(n, height=200, width=300) for n in range(30)]
    bad = [annotation(n, n, category_id=77, bbox=[150, 100, 90, 60]) for n in range(25)]
    good = [annotation(100 + n, n) for n in range(30)]
    lost = [annotation(200, 555), annotation(201, 29, bbox="?", segmentation=None)]
    pictures = {f"{n}.jpg": jpeg(200, 300, n) for n in range(30) if n != 28}
    folder = write_dataset(tmp_path / "set", images, [*bad, *good, *lost], pictures=pictures)
    (folder / "pictures" / "27.jpg").write_bytes(b"GIF89a")
    found = refused(folder, tmp_path / "out")
    assert {reason: of["number"] for reason, of in found.items()} == {
        "unknown_category": 25,
        "unknown_image": 1,
        "bad_bbox": 1,
        "picture_missing": 1,
        "picture_format_unsupported": 1,
    }
    assert len(found["unknown_category"]["shown"]) == SHOWN_OF_A_REASON
    first = found["unknown_category"]["shown"][0]
    assert first["detail"] == "category_id 77"
    assert '"category_id": 77' in first["words"]
    assert '"bbox": [150, 100, 90, 60]' in first["words"]
    # The box's left side is drawn in vermillion where it is: half way, of 300 pixels 320 shown.
    drawn = pixels(first["uri"])
    assert drawn.shape[1] == 320
    redness = (drawn[117:160, :, 0] - drawn[117:160, :, 2]).mean(axis=0)
    assert redness[160] > max(redness[140], redness[180]) + 40
    assert found["bad_bbox"]["shown"][0]["uri"]
    assert found["unknown_image"]["shown"][0]["uri"] == ""
    assert found["unknown_image"]["shown"][0]["caption"] == "its picture is not known"
    [missing] = found["picture_missing"]["shown"]
    assert (missing["caption"], missing["uri"]) == ("28.jpg", "")
    assert missing["detail"].endswith("28.jpg: no such file")
    assert found["picture_format_unsupported"]["shown"][0]["uri"] == ""


def test_picture_outside_the_folder_is_not_shown(tmp_path):
    names = ["../secret.jpg", "in.jpg"]
    images = [image(n, name) for n, name in enumerate(names)]
    folder = write_dataset(
        tmp_path / "set", images, [annotation(1, 1)], pictures={"in.jpg": jpeg()}
    )
    (folder / "secret.jpg").write_bytes(jpeg())
    found = refused(folder, tmp_path / "out")
    [shown] = found["path_outside_folder"]["shown"]
    assert shown["uri"] == ""
    assert "../secret.jpg" in shown["words"]


def test_sound_data_leaves_no_file(tmp_path):
    folder = write_dataset(tmp_path / "set", [image(1)], [annotation(1, 1)])
    assert refused(folder, tmp_path / "out") is None


def test_turned_picture_is_shown_as_its_entry_has_it(tmp_path):
    images = [image(1, height=30, width=20), image(2)]
    pictures = {"1.jpg": jpeg(20, 30, orientation=6), "2.jpg": jpeg()}
    folder = write_dataset(tmp_path / "set", images, [annotation(1, 2)], pictures=pictures)
    found = refused(folder, tmp_path / "out", policies={"exif_size_swapped": "drop"})
    height, width = pixels(found["exif_size_swapped"]["shown"][0]["uri"]).shape[:2]
    assert height > width


@pytest.mark.parametrize(("policy", "is_left"), [("accept", False), ("mend", True)])
def test_half_a_turn_is_shown_as_policy_has_it(tmp_path, policy, is_left):
    half = np.zeros((32, 48, 3), np.uint8)
    half[:, 24:] = 255  # on the left once it is turned
    exif = Image.Exif()
    exif[0x0112] = 3
    stream = io.BytesIO()
    Image.fromarray(half).save(stream, "JPEG", exif=exif)
    folder = write_dataset(
        tmp_path / "set",
        [image(1, height=32, width=48), image(2)],
        [annotation(1, 1, bbox="none"), annotation(2, 2)],
        pictures={"1.jpg": stream.getvalue(), "2.jpg": jpeg()},
    )
    found = refused(folder, tmp_path / "out", policies={"exif_turned": policy})
    row = pixels(found["bad_bbox"]["shown"][0]["uri"]).mean(axis=(0, 2))
    assert (row[0] > row[-1]) == is_left


def test_long_words_are_cut_and_halves_of_characters_are_no_text():
    text = words({"segmentation": [[1] * 5000], "name": "\ud800", "id": 7})
    assert len(text) < 800
    assert '"id": 7' in text
    text.encode()
    assert words([1, 2]) == "[1, 2]"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_picture_outside_the_folder_is_not_shown(tmp_path, scheme):
    folder = write_dataset(
        tmp_path / "set",
        [image(1), image(2, "link.jpg")],
        [annotation(1, 1)],
        pictures={"1.jpg": jpeg()},
    )
    (tmp_path / "secret.jpg").write_bytes(jpeg(seed=1))
    (folder / "pictures/link.jpg").symlink_to(tmp_path / "secret.jpg")
    pictures = f"{scheme}{folder}/pictures" if scheme else folder / "pictures"
    source = SplitSource("train", folder / "instances.json", pictures, 1)
    settings, out = DataConfig.model_validate(LOOSE), tmp_path / "out"
    whole.convert([source], out / "examples", out / "rejects", settings, None, lambda line: None)
    found = json.loads((out / "examples/refused.json").read_text())["train"]
    [shown] = found["path_outside_folder"]["shown"]
    assert (shown["caption"], shown["uri"]) == ("link.jpg", "")
