"""The report's pictures as training sees them."""

import base64
import io
import re

import numpy as np
import pytest
from apache_beam import Pipeline
from PIL import Image

from components.coco_transform.augmented import augmented_examples, is_augmented
from components.coco_transform.augmented_worker import drawn_pictures
from components.coco_transform.settings import CocoTransformSettings, TrainingSight
from components.coco_transform.whole import transform_examples
from configs.schema import Config, InputConfig
from ground.errors import DatasetError
from tests.components.coco_transform.sources import (
    encoded_picture,
    source_record,
    write_source_folder,
)
from tests.model.input.handmade import example, write_folder


def settings(**changes):
    sizes = {"short_side_px": 64, "long_side_px": 96, "max_objects": 8}
    config = Config.model_validate({"name": "tiny", "input": {**sizes, **changes}})
    return CocoTransformSettings.of(config)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"flip_probability": 0.0}, False),
        ({"rotation_degrees": 5}, True),
        ({"color_jitter": {}}, True),
        ({"copy_paste": {}}, True),
        ({"mosaic": {}}, True),
        ({"crop_min_share": 0.9}, True),
        ({"scale_jitter": (0.8, 1.0)}, True),
        ({"large_scale_jitter": {}}, True),
    ],
)
def test_a_flip_alone_is_not_worth_showing(changes, expected):
    assert is_augmented(settings(**changes).input) is expected


def page_of(tmp_path, **changes):
    mask = np.zeros((60, 90), bool)
    mask[10:30, 20:50] = True
    records = [
        source_record(
            encoded_picture(np.full((60, 90, 3), 60 * n, np.uint8)), 60, 90,
            [[20, 10, 30, 20]], [1], image_id=n, masks=[mask],
        )
        for n in range(1, 4)
    ]  # fmt: skip
    source = write_source_folder(tmp_path / "source", {"train": [records]})
    transform_examples(source, tmp_path / "out", tmp_path / "report", settings(**changes), Pipeline)
    return (tmp_path / "report" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_report_shows_pictures_as_training_sees_them(tmp_path):
    title = "<h2>Pictures as training sees them</h2>"
    plain = page_of(tmp_path / "plain")
    square = {"side_px": 64, "range": (1.0, 2.0)}
    page = page_of(tmp_path / "on", rotation_degrees=20, copy_paste={}, large_scale_jitter=square)
    assert title not in plain
    _, shown = page.split(title)
    assert len(re.findall("<figure>", shown)) == 3
    assert len(re.findall(r"image id [123]: \d+ objects", shown)) >= 3
    [first, *_] = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', shown)
    assert Image.open(io.BytesIO(base64.b64decode(first))).width == 480


def test_what_training_would_refuse_is_refused_before_it(tmp_path):
    config = InputConfig(short_side_px=64, long_side_px=96)
    boxes_only = example(np.zeros((64, 64, 3), np.uint8), [[0, 0, 9, 9]], [1])
    folder = write_folder(tmp_path, [boxes_only], config)
    sight = TrainingSight.model_validate(settings(copy_paste={}).input.model_dump())
    message = "input.copy_paste cuts objects out by their masks, and no object of the split train"
    with pytest.raises(DatasetError, match=message):
        augmented_examples(folder, "train", sight, 0, masks=False)
    asked = {"examples_dir": folder, "split": "train", "seed": 0, "masks": False}
    with pytest.raises(DatasetError, match=message):
        drawn_pictures({**asked, "input": sight.model_dump(mode="json")})
