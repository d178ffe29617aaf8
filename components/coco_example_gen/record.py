"""One picture and its objects as the bytes of a `tf.train.Example`."""

import hashlib
import struct
from collections.abc import Sequence

from model import records
from model.coco.entries import CocoObject
from model.tf_example import encode_example


def encode_record(
    image_id: int,
    file_name: str,
    size: tuple[int, int],
    encoded: bytes,
    format_: str,
    objects: Sequence[CocoObject],
) -> bytes:
    """Returns a record with all keys of `model/records.py`; without objects the lists are empty.

    Args:
        image_id: COCO's.
        file_name: name as the COCO file has it.
        size: height and width in pixels.
        encoded: the picture file.
        format_: "jpeg" or "png".
        objects: in the COCO file's order.
    """
    height, width = size
    return encode_example(
        bytes_lists={
            records.ENCODED: [encoded],
            records.FORMAT: [format_.encode()],
            records.FILENAME: [file_name.encode()],
            records.SOURCE_ID: [str(image_id).encode()],
            records.SHA256: [hashlib.sha256(encoded).hexdigest().encode()],
            records.CLASS_TEXT: [o.name.encode() for o in objects],
            records.SEGMENTATION: [o.segmentation for o in objects],
            records.COCO_NUMBERS: [b"".join(struct.pack("<5d", *o.bbox, o.area) for o in objects)],
        },
        float_lists={
            records.BOX_YMIN: [o.box_norm[0] for o in objects],
            records.BOX_XMIN: [o.box_norm[1] for o in objects],
            records.BOX_YMAX: [o.box_norm[2] for o in objects],
            records.BOX_XMAX: [o.box_norm[3] for o in objects],
        },
        int64_lists={
            records.HEIGHT: [height],
            records.WIDTH: [width],
            records.CLASS_LABEL: [o.label for o in objects],
            records.CATEGORY_ID: [o.category_id for o in objects],
            records.ANNOTATION_ID: [o.annotation_id for o in objects],
            records.IS_CROWD: [int(o.is_crowd) for o in objects],
        },
    )
