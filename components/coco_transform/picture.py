"""From a picture file to the JPEG that training reads: RGB, upright, not larger than it needs."""

import io
import sys
from dataclasses import dataclass

import numpy as np
from PIL import Image

from components.coco_transform.turn import TURNS, UPRIGHT, Turn
from model.encoded.check import read_facts
from model.encoded.flaw import PictureFlaw
from model.encoded.pixels import opened, rgb
from model.input.sizes import resized_sides

# Why a picture is written anew.
CHANGES = ("not_jpeg", "not_rgb", "turned", "progressive", "scaled_down")


class UnreadablePictureError(ValueError):
    """A picture file that cannot be decoded."""


@dataclass(frozen=True)
class TrainingPicture:
    """What training reads.

    Attributes:
        jpeg: the file.
        height: its height, upright.
        width: its width, upright.
        stored_size: height and width of the source as it is stored, before any turn.
        turn: from the source to upright.
        changes: why the file is not the source's own bytes; empty where it is.
        pixels: what the file was written from; None where it is the source's.
    """

    jpeg: bytes
    height: int
    width: int
    stored_size: tuple[int, int]
    turn: Turn
    changes: tuple[str, ...]
    pixels: Image.Image | None = None


def training_picture(
    encoded: bytes, short_side_px: float, long_side_px: float, quality: int
) -> TrainingPicture:
    """Returns a picture as training reads it.

    The file's own bytes stay where it is a baseline RGB JPEG, upright, and not larger than
    training resizes it to. Any other is decoded and written as a JPEG without chroma subsampling,
    scaled down to the training size where it is larger, never up. Scaling is that of
    `model.input.resize` (bilinear, half-pixel, no antialiasing), so that training sees the pixels
    that the exported model makes of the source.

    CocoExampleGen has decoded each file wholly, so one that stays as it is is not decoded again.

    Args:
        encoded: a picture file, JPEG or PNG.
        short_side_px: short side of the resized picture, as in `resized_sides`.
        long_side_px: its long side.
        quality: quality of a JPEG that is written here.

    Raises:
        UnreadablePictureError: the file cannot be decoded.
    """
    try:
        return _training_picture(encoded, short_side_px, long_side_px, quality)
    except PictureFlaw as flaw:
        raise UnreadablePictureError(flaw.detail) from None


def _training_picture(
    encoded: bytes, short_side_px: float, long_side_px: float, quality: int
) -> TrainingPicture:
    facts = read_facts(encoded, sys.maxsize, "")
    if facts.lacked_end:  # CocoExampleGen adds one where that is all
        raise PictureFlaw("picture_unreadable", facts.lacked_end)
    picture = opened(encoded)
    stored_size = facts.height, facts.width
    turn = TURNS[facts.orientation]
    height, width = turn.size(*stored_size)
    rows, columns = resized_sides(height, width, short_side_px, long_side_px)
    target = min(height, int(rows)), min(width, int(columns))
    changes = _changes(picture, turn, target != (height, width))
    if changes:
        pixels = Image.fromarray(np.ascontiguousarray(turn.pixels(np.asarray(rgb(picture)))))
        scaled = scaled_down(pixels, *target)
        jpeg = _written(scaled, quality)
        return TrainingPicture(jpeg, *target, stored_size, turn, changes, scaled)
    return TrainingPicture(encoded, height, width, stored_size, turn, ())


def _changes(picture: Image.Image, turn: Turn, is_larger: bool) -> tuple[str, ...]:
    """Returns the reasons for which a file cannot stay as it is."""
    applies = (
        picture.format != "JPEG",
        picture.mode != "RGB",
        turn != UPRIGHT,
        bool(picture.info.get("progressive")),
        is_larger,
    )
    return tuple(reason for reason, here in zip(CHANGES, applies, strict=True) if here)


def scaled_down(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Returns the picture at a smaller size, bilinear as `model.input.resize` does it."""
    if (height, width) == (picture.height, picture.width):
        return picture
    # `resize` would smooth over several pixels; `transform` reads the four nearest.
    factors = picture.width / width, 0, 0, 0, picture.height / height, 0
    return picture.transform(
        (width, height), Image.Transform.AFFINE, factors, Image.Resampling.BILINEAR
    )


def _written(picture: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()
