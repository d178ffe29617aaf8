"""Picture files as the exported model takes them: upright, JPEG or PNG."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from configs.schema import InputConfig
from ground.errors import DatasetError
from model.encoded import exif
from model.encoded.check import format_of, inspect, read_facts
from model.encoded.files import read_picture_file, shown
from model.encoded.flaw import PictureFlaw
from model.encoded.pixels import opened, rgb

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
DEFAULT_MAX_PIXELS: int = InputConfig.model_fields["max_picture_pixels"].default
MAX_PIXELS_SETTING = "input.max_picture_pixels"

_OTHER_FORMATS = ("BMP", "GIF", "TIFF", "WEBP")


@dataclass(frozen=True)
class Picture:
    """A picture file that the exported model can take.

    Attributes:
        encoded: a JPEG or PNG file's bytes.
        height: in pixels, of the upright picture.
        width: in pixels, of the upright picture.
        orientation: EXIF's number of the turn that made it upright; 1 is none.
    """

    encoded: bytes
    height: int
    width: int
    orientation: int = exif.UPRIGHT

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width before the turn."""
        return exif.turned_size(self.height, self.width, self.orientation)

    def open(self) -> Image.Image:
        """Returns the decoded RGB picture.

        Raises:
            DatasetError: it cannot be decoded.
        """
        try:
            return rgb(opened(self.encoded))
        except PictureFlaw as flaw:
            raise DatasetError(f"cannot be decoded ({flaw.detail})") from None


def read_picture(
    path: str | os.PathLike[str], max_pixels: int = DEFAULT_MAX_PIXELS, is_checked: bool = False
) -> Picture:
    """Returns a picture file ready for the model.

    Args:
        path: path of a regular file.
        max_pixels: limit of height x width.
        is_checked: whether it was looked at, as by `servable`.

    Raises:
        DatasetError: the file is missing, no regular file, too large, or damaged.
    """
    try:
        encoded = read_picture_file(path)
    except PictureFlaw as flaw:
        raise DatasetError(flaw.detail) from None
    return servable(encoded, shown(path), max_pixels, is_checked)


def servable(
    encoded: bytes, name: str, max_pixels: int = DEFAULT_MAX_PIXELS, is_checked: bool = False
) -> Picture:
    """Returns a picture file's bytes, or where the model could misread them, an upright PNG.

    An upright JPEG or PNG goes as it is, but for an end marker that is missing. One with an EXIF
    turn, or another format, is decoded here and written losslessly.

    Args:
        encoded: the file's bytes.
        name: name of the picture, for errors.
        max_pixels: limit of height x width.
        is_checked: the file has passed `model.encoded.check`, so only its headers are read.

    Raises:
        DatasetError: the bytes are no whole picture, or it has too many pixels.
    """
    try:
        if other := _other_format(encoded):
            return _png_of_other_format(encoded, max_pixels, other)
        check = read_facts if is_checked else inspect
        facts = check(encoded, max_pixels, MAX_PIXELS_SETTING)
        if facts.damage and not is_checked:
            raise PictureFlaw("picture_damaged", facts.damage)
        if not facts.is_turned:
            return Picture(facts.content, facts.height, facts.width)
        upright = exif.turned(rgb(opened(facts.content)), facts.orientation)
    except PictureFlaw as flaw:
        raise DatasetError(f"{name}: cannot be decoded ({flaw.detail})") from None
    return _as_png(upright, facts.orientation)


def _other_format(encoded: bytes) -> str:
    """Returns what a file is that Pillow may read where TensorFlow does not; "" for others."""
    try:
        format_of(encoded)
    except PictureFlaw as flaw:
        return flaw.detail if flaw.code == "picture_format_unsupported" else ""
    return ""


def _png_of_other_format(encoded: bytes, max_pixels: int, name: str) -> Picture:
    """Returns a BMP, GIF, TIFF or WebP file's first picture, upright, as a PNG.

    Args:
        encoded: the file's bytes.
        max_pixels: limit of height x width.
        name: name of the format, for the message that it is none of these.

    Raises:
        PictureFlaw: it is none of these, has too many pixels, or cannot be decoded.
    """
    try:
        with warnings.catch_warnings(), _without_pillows_limit():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; pixels are what counts
            picture = Image.open(io.BytesIO(encoded), formats=_OTHER_FORMATS)
            if picture.width * picture.height > max_pixels:
                raise PictureFlaw(
                    "picture_too_large",
                    f"{picture.width} x {picture.height} pixels exceed "
                    f"{MAX_PIXELS_SETTING} {max_pixels}",
                )
            picture.load()  # turns a TIFF upright
            orientation = exif.orientation(picture.info.get("exif", b""))
            if picture.format == "TIFF":
                orientation = exif.UPRIGHT
            return _as_png(exif.turned(rgb(picture), orientation), orientation)
    except PictureFlaw:
        raise
    except UnidentifiedImageError:
        raise PictureFlaw("picture_unreadable", name) from None
    # Pillow's readers raise whatever a damaged field leads to.
    except Exception as error:
        raise PictureFlaw("picture_unreadable", " ".join(str(error).split())) from None


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Lets Pillow open what our own limit allows."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _as_png(picture: Image.Image, orientation: int) -> Picture:
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return Picture(stream.getvalue(), picture.height, picture.width, orientation)
