"""From a picture file to the JPEG that training reads: RGB, upright, not larger than it needs."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from components.coco_transform.turn import TURNS, UPRIGHT, Turn
from model.input.sizes import resized_sides

# Why a picture is written anew.
CHANGES = ("not_jpeg", "not_rgb", "turned", "progressive", "scaled_down")

_ORIENTATION_TAG = 0x0112


class UnreadablePictureError(ValueError):
    """A picture file that cannot be decoded to its end."""


@dataclass(frozen=True)
class TrainingPicture:
    """What training reads.

    Attributes:
        jpeg: the file.
        height: of it, upright.
        width: likewise.
        stored_size: height and width of the source as it is stored, before any turn.
        turn: from the source to upright.
        changes: why the file is not the source's own bytes; empty where it is.
    """

    jpeg: bytes
    height: int
    width: int
    stored_size: tuple[int, int]
    turn: Turn
    changes: tuple[str, ...]


def training_picture(
    encoded: bytes, short_side_px: float, long_side_px: float, quality: int
) -> TrainingPicture:
    """Returns a picture as training reads it.

    The file's own bytes stay where it is a baseline RGB JPEG, upright, and not larger than
    training resizes it to. Any other is decoded and written as a JPEG without chroma subsampling,
    scaled down to the training size where it is larger, never up. Scaling is that of
    `model.input.resize` (bilinear, half-pixel, no antialiasing), so that training sees the pixels
    that the exported model makes of the source.

    Args:
        encoded: a picture file.
        short_side_px: of the resized picture, as in `resized_sides`.
        long_side_px: likewise.
        quality: of a JPEG that is written here.

    Raises:
        UnreadablePictureError: the file cannot be decoded to its end.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata and many pixels: neither matters here
            return _training_picture(encoded, short_side_px, long_side_px, quality)
    except UnidentifiedImageError:
        raise UnreadablePictureError("not a picture") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadablePictureError(str(error)) from None


def _training_picture(
    encoded: bytes, short_side_px: float, long_side_px: float, quality: int
) -> TrainingPicture:
    picture = Image.open(io.BytesIO(encoded))
    stored_size = picture.height, picture.width
    turn = TURNS.get(picture.getexif().get(_ORIENTATION_TAG, 1), UPRIGHT)
    height, width = turn.size(*stored_size)
    rows, columns = resized_sides(height, width, short_side_px, long_side_px)
    target = min(height, int(rows)), min(width, int(columns))
    changes = _changes(picture, turn, target != (height, width))
    if changes:
        pixels = Image.fromarray(np.ascontiguousarray(turn.pixels(np.asarray(_rgb(picture)))))
        jpeg = _written(scaled_down(pixels, *target), quality)
        return TrainingPicture(jpeg, *target, stored_size, turn, changes)
    # An eighth of the size: reads the whole file, but is much faster than decoding it.
    picture.draft("RGB", (1, 1))
    picture.load()
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


def _rgb(picture: Image.Image) -> Image.Image:
    """Returns the picture in RGB: alpha is dropped, grey is repeated, 16 bits become 8."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        return Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    return picture.convert("RGB")


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
