import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.coco_transform.record import (
    DroppedPictureError,
    RecordForm,
    transform_record,
)
from configs.schema import Config
from model import records
from model.tf_example import decode_example
from tests.components.coco_transform.sources import encoded_picture, source_record

SETTINGS = RecordForm(800, 1333, 95, "box", 112)
GREY = np.full((40, 60, 3), 128, np.uint8)

BOX_KEYS = (records.BOX_YMIN, records.BOX_XMIN, records.BOX_YMAX, records.BOX_XMAX)
MASK_KEYS = (records.MASK_YMIN, records.MASK_XMIN, records.MASK_YMAX, records.MASK_XMAX)


def written(payload, keys, height, width):
    """Returns [n, 4] boxes in pixels from a written record."""
    record = decode_example(payload)
    return np.array([record[key] for key in keys]).T.reshape(-1, 4) * [height, width, height, width]


def test_boxes_are_clipped_dropped_and_counted():
    xywh = [
        [10, 5, 20, 10],
        [-4, 30, 10, 20],  # over the left and lower border
        [70, 10, 5, 5],  # outside
        [10, 10, 0, 5],  # no area
        [50, 30, 10.001, 10],  # a rounding error over the border
        [0, 0, 60, 40],  # a crowd
        [80, 0, 5, 5],  # a crowd outside
    ]
    source = source_record(
        encoded_picture(GREY), 40, 60, xywh, [1, 2, 3, 1, 2, 3, 1], [0, 0, 0, 0, 0, 1, 1]
    )
    result = transform_record(source, SETTINGS)
    np.testing.assert_allclose(
        written(result.payload, BOX_KEYS, 40, 60),
        [[5, 10, 15, 30], [30, 0, 40, 6], [30, 50, 40, 60], [0, 0, 40, 60]],
        atol=1e-4,
    )
    assert result.labels.tolist() == [1, 2, 2, 3]
    assert result.is_crowd.tolist() == [False, False, False, True]
    assert result.lost == {
        "outside": "image id 1, annotation id 102",
        "without_area": "image id 1, annotation id 103",
    }
    assert result.counts == {
        "read": 7,
        "object_kept": 3,
        "object_clipped": 1,
        "object_dropped_outside": 1,
        "object_dropped_without_area": 1,
        "crowd_kept": 1,
        "crowd_clipped": 0,
        "crowd_dropped_outside": 1,
        "mask_absent": 3,
    }
    record = decode_example(result.payload)
    assert record[records.ANNOTATION_ID] == [100, 101, 104, 105]
    assert record[records.CLASS_LABEL] == [1, 2, 2, 3]
    assert record[records.IS_CROWD] == [0, 0, 0, 1]


def test_normalised_boxes_stay_within_zero_and_one():
    source = source_record(encoded_picture(GREY), 40, 60, [[-1e-7, -5, 60.0000001, 50]])
    record = decode_example(transform_record(source, SETTINGS).payload)
    assert [record[key] for key in BOX_KEYS] == [[0], [0], [1], [1]]


def test_masks_follow_their_objects_and_crowds_have_none():
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:50] = True
    empty = np.zeros((40, 60), bool)
    source = source_record(
        encoded_picture(GREY),
        40,
        60,
        [[70, 0, 5, 5], [30, 10, 20, 10], [0, 0, 5, 5], [5, 5, 9, 9], [0, 0, 60, 40]],
        crowds=[0, 0, 0, 0, 1],
        masks=[mask, mask, None, empty, ~empty],
    )
    result = transform_record(source, SETTINGS)
    bitmaps = decode_example(result.payload)[records.MASK_BITMAP]
    assert [bool(png) for png in bitmaps] == [True, False, False, False]
    assert np.asarray(Image.open(io.BytesIO(bitmaps[0]))).sum() == 200
    boxes = written(result.payload, MASK_KEYS, 40, 60)
    np.testing.assert_allclose(boxes, [[9, 29, 21, 51], *[[0] * 4] * 3], atol=1e-5)
    assert result.mask_side == 22
    assert {key: n for key, n in result.counts.items() if key.startswith("mask")} == {
        "mask_kept": 1,
        "mask_absent": 1,
        "mask_empty": 1,
    }


def test_picture_without_objects_has_all_keys():
    result = transform_record(source_record(encoded_picture(GREY), 40, 60, image_id=9), SETTINGS)
    record = decode_example(result.payload)
    lists = [*BOX_KEYS, *MASK_KEYS, records.CLASS_LABEL, records.IS_CROWD, records.MASK_BITMAP]
    assert all(record[key] == [] for key in (*lists, records.ANNOTATION_ID))
    assert record[records.SOURCE_ID] == [b"9"]
    assert record[records.FILENAME] == [b"9.jpg"]
    assert (record[records.HEIGHT], record[records.WIDTH]) == ([40], [60])
    assert result.boxes_norm.shape == (0, 4)


def test_scaled_down_picture_keeps_its_normalised_boxes():
    source = source_record(encoded_picture(GREY), 40, 60, [[30, 10, 15, 20]])
    result = transform_record(source, RecordForm(20, 1333, 95, "box", 112))
    assert (result.height, result.width) == (20, 30)
    assert result.source_size == (40, 60)
    np.testing.assert_allclose(result.boxes_norm, [[0.25, 0.5, 0.75, 0.75]])


@pytest.mark.parametrize("size_as_stored", [True, False])
def test_annotations_of_a_turned_picture(size_as_stored):
    """The object is the white patch, however the COCO file counts the picture's size."""
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[8:16, 40:56] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    encoded = encoded_picture(stored, exif=exif.tobytes())
    mask = stored[..., 0] > 0
    if size_as_stored:
        source = source_record(encoded, 40, 60, [[40, 8, 16, 8]], masks=[mask])
    else:  # clockwise: row r becomes column 40 - r
        upright = np.rot90(mask, -1)
        source = source_record(encoded, 60, 40, [[24, 40, 8, 16]], masks=[upright])
    result = transform_record(source, SETTINGS)
    assert (result.height, result.width) == (60, 40)
    pixels = tf.io.decode_jpeg(decode_example(result.payload)[records.ENCODED][0]).numpy()
    np.testing.assert_allclose(written(result.payload, BOX_KEYS, 60, 40), [[40, 24, 56, 32]])
    assert pixels[40:56, 24:32].min() > 200
    assert pixels[:39].max() < 50
    np.testing.assert_allclose(written(result.payload, MASK_KEYS, 60, 40), [[39, 23, 57, 33]])


def test_picture_of_another_size_or_unreadable_is_dropped():
    with pytest.raises(DroppedPictureError, match="picture_size_differs"):
        transform_record(source_record(encoded_picture(GREY), 41, 60), SETTINGS)
    with pytest.raises(DroppedPictureError, match="picture_unreadable"):
        transform_record(source_record(encoded_picture(GREY)[:200], 40, 60), SETTINGS)


def test_settings_count_the_largest_jitter():
    config = Config.model_validate(
        {"name": "a", "input": {"short_side_px": 100, "long_side_px": 200, "scale_jitter": [1, 2]}}
    )
    form = RecordForm.of(config.input, config.transform)
    assert (form.short_side_px, form.long_side_px) == (200, 400)
