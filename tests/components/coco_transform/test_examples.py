"""Pictures of the report, whatever their files hold beside them."""

import base64
import io

import pytest
from PIL import Image

from components.coco_transform.examples import drawn_example
from model import records
from model.tf_example import encode_example
from model.tfrecord import write_tfrecord
from tests.model.encoded.odd_jpegs import SEGMENTS, odd_jpeg

SIDES = (records.BOX_YMIN, records.BOX_XMIN, records.BOX_YMAX, records.BOX_XMAX)
MASK_SIDES = (records.MASK_YMIN, records.MASK_XMIN, records.MASK_YMAX, records.MASK_XMAX)


def shown(path, encoded):
    """Returns what is shown of a record with one object, a quarter of the picture."""
    payload = encode_example(
        bytes_lists={
            records.ENCODED: [encoded],
            records.FILENAME: [b"a.jpg"],
            records.MASK_BITMAP: [b""],
        },
        float_lists={
            **dict(zip(SIDES, ([0.0], [0.0], [0.5], [0.5]), strict=True)),
            **{key: [0.0] for key in MASK_SIDES},
        },
        int64_lists={
            records.CLASS_LABEL: [1],
            records.IS_CROWD: [0],
            records.ANNOTATION_ID: [7],
        },
    )
    with open(path, "wb") as stream:
        offset, length = write_tfrecord(stream, payload)
    return drawn_example(path, offset, length, {1: "cat"})


@pytest.mark.parametrize("segment", SEGMENTS.values(), ids=SEGMENTS)
def test_a_picture_is_shown_whatever_its_metadata(tmp_path, segment):
    found = shown(tmp_path / "shard", odd_jpeg(segment))
    assert found["caption"] == "a.jpg: 1 object"
    content = base64.b64decode(found["uri"].removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(content)).size == (480, 320)


@pytest.mark.parametrize("content", [b"", b"nothing", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_cannot_be_decoded_is_no_picture_and_no_end(tmp_path, content):
    found = shown(tmp_path / "shard", content)
    assert found == {"caption": "a.jpg: 1 object", "uri": ""}
