"""Example pictures of the data report, drawn from the written records."""

import base64
import io
import os
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from model import records
from model.coco.boxes import yxyx_to_xywh
from model.drawing import Mark, class_colour, draw
from model.encoded.flaw import PictureFlaw
from model.encoded.pixels import opened, rgb
from model.tf_example import decode_example

_LONG_SIDE_PX = 480
_JPEG_QUALITY = 80
_MOST_LABELS = 20  # with more, labels hide the picture
_GREY = (128, 128, 128)


def drawn_example(
    shard: str | os.PathLike[str],
    offset: int,
    length: int,
    names: dict[int, str],
    only: Collection[int | None] | None = None,
    long_side_px: int = _LONG_SIDE_PX,
) -> dict[str, str]:
    """Returns the caption and the data URI of a record's picture with its boxes and masks.

    The URI is "" where the picture cannot be shown; what else a file holds is no reason for that.
    Crowd regions are grey and dashed.

    Args:
        shard: the file that the record lies in.
        offset: offset of its payload, in bytes.
        length: length of its payload.
        names: names of the classes by label.
        only: annotation ids of the objects that are drawn; None draws all.
        long_side_px: longer side of what is returned.
    """
    with open(shard, "rb") as stream:
        stream.seek(offset)
        record = decode_example(stream.read(length))
    number = len(record[records.CLASS_LABEL])
    name = record[records.FILENAME][0].decode(errors="replace")
    return {
        "caption": f"{name}: {number} objects" if number != 1 else f"{name}: 1 object",
        "uri": _uri(record, names, only, long_side_px),
    }


def _uri(
    record: dict[str, list[Any]],
    names: dict[int, str],
    only: Collection[int | None] | None,
    long_side_px: int,
) -> str:
    """Returns the drawn picture; "" where it cannot be decoded."""
    try:
        picture = rgb(opened(record[records.ENCODED][0]))
    except PictureFlaw:
        return ""
    boxes = _boxes(record, "bbox", picture)
    mask_boxes = _boxes(record, "mask", picture)
    labels = record[records.CLASS_LABEL]
    marks = []
    for row, box in enumerate(boxes):
        if only is not None and record[records.ANNOTATION_ID][row] not in only:
            continue
        is_crowd = bool(record[records.IS_CROWD][row])
        bitmap = record[records.MASK_BITMAP][row]
        colour = _GREY if is_crowd else class_colour(labels[row])
        if bitmap:
            picture = _with_bitmap(picture, bitmap, mask_boxes[row], colour)
        label = names.get(labels[row], "") if len(boxes) <= _MOST_LABELS else ""
        marks.append(Mark(yxyx_to_xywh(box), colour, label, None, is_crowd))
    jpeg = io.BytesIO()
    draw(picture, marks, long_side_px).save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()


def _boxes(
    record: dict[str, list[Any]], kind: str, picture: Image.Image
) -> npt.NDArray[np.float64]:
    sides = [record[f"image/object/{kind}/{side}"] for side in ("ymin", "xmin", "ymax", "xmax")]
    sizes = np.asarray([picture.height, picture.width, picture.height, picture.width])
    boxes: npt.NDArray[np.float64] = np.asarray(sides, np.float64).T.reshape(-1, 4) * sizes
    return boxes


def _with_bitmap(
    picture: Image.Image, png: bytes, box: npt.NDArray[np.float64], colour: tuple[int, int, int]
) -> Image.Image:
    """Returns the picture with a bitmap blended in at its box."""
    ymin, xmin, ymax, xmax = (round(side) for side in box)
    size = max(1, xmax - xmin), max(1, ymax - ymin)
    bitmap = Image.open(io.BytesIO(png)).convert("L").resize(size, Image.Resampling.NEAREST)
    opacity = bitmap.point(lambda value: value * 115 // 255)
    blended = picture.copy()
    blended.paste(colour, (xmin, ymin), opacity)
    return blended
