"""Records: every key always there, numbers exact."""

import hashlib
import struct

import pytest

from components.coco_example_gen.record import encode_record
from model import records
from model.coco.entries import CocoObject
from model.tf_example import decode_example

KEYS = {
    value
    for name, value in vars(records).items()
    if name.isupper() and not name.startswith("MASK_")
}
CAT = CocoObject(
    annotation_id=11,
    category_id=3,
    label=1,
    name="cat",
    bbox=(0.1, 1 / 3, 5.7, 2.2),
    area=12.54,
    is_crowd=False,
    box_norm=(0.25, 0.5, 0.75, 1.0),
    segmentation=b'{"size":[4,8],"counts":"0"}',
)
DOG = CocoObject(12, 8, 2, "dog", (1, 2, 3, 4), 12, True, (0, 0, 1, 1), b"")


def test_record_holds_picture_and_objects():
    record = decode_example(encode_record(7, "a/é.jpg", (4, 8), b"bytes", "jpeg", [CAT, DOG]))
    assert record.keys() == KEYS
    numbers = record.pop(records.COCO_NUMBERS)
    assert numbers == [struct.pack("<10d", 0.1, 1 / 3, 5.7, 2.2, 12.54, 1, 2, 3, 4, 12)]
    assert record == {
        records.ENCODED: [b"bytes"],
        records.FORMAT: [b"jpeg"],
        records.HEIGHT: [4],
        records.WIDTH: [8],
        records.FILENAME: ["a/é.jpg".encode()],
        records.SOURCE_ID: [b"7"],
        records.SHA256: [hashlib.sha256(b"bytes").hexdigest().encode()],
        records.BOX_YMIN: [0.25, 0],
        records.BOX_XMIN: [0.5, 0],
        records.BOX_YMAX: [0.75, 1],
        records.BOX_XMAX: [1, 1],
        records.CLASS_LABEL: [1, 2],
        records.CLASS_TEXT: [b"cat", b"dog"],
        records.CATEGORY_ID: [3, 8],
        records.ANNOTATION_ID: [11, 12],
        records.IS_CROWD: [0, 1],
        records.SEGMENTATION: [b'{"size":[4,8],"counts":"0"}', b""],
    }


def test_record_without_objects_has_all_keys_and_one_empty_string_of_numbers():
    record = decode_example(encode_record(7, "a.jpg", (4, 8), b"bytes", "png", []))
    assert record.keys() == KEYS
    assert record[records.COCO_NUMBERS] == [b""]
    empty = {key for key, value in record.items() if value == []}
    assert empty == {key for key in KEYS if key.startswith("image/object/")} - {
        records.COCO_NUMBERS
    }


@pytest.mark.parametrize("image_id", [-5, 0, 2**63 - 1])
def test_any_integer_is_an_image_id(image_id):
    record = decode_example(encode_record(image_id, "a.jpg", (4, 8), b"", "png", []))
    assert int(record[records.SOURCE_ID][0]) == image_id
