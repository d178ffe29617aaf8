"""The bytes of pictures, from folders and records, and what a browser is given of them."""

import io
import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ground.errors import DatasetError, RcnnError
from model import records
from model.coco.names import find_picture
from model.coco.reader import Size
from model.drawing import LONGEST_JPEG_PX
from model.encoded import exif
from model.encoded.check import format_of, read_facts
from model.encoded.files import path_inside, read_picture_file
from model.encoded.flaw import PictureFlaw
from model.encoded.head import size_in_head
from model.encoded.pixels import opened, rgb
from model.pictures import DEFAULT_MAX_PIXELS, MAX_PIXELS_SETTING, servable
from model.tf_example import decode_example
from model.tfrecord import read_payload
from pipeline.look.album import PictureFile, Reason, ShownPicture

JPEG_TYPE = "image/jpeg"
THUMBNAIL_SIDE_PX = 320
_QUALITY = 88


class Shown(NamedTuple):
    """A picture as a browser gets it."""

    content: bytes
    media_type: str


class FolderPicture:
    """A picture that a COCO file names.

    Args:
        folder: folder of the pictures; nothing outside it is read.
        file_name: name as the COCO file has it.
        prefix: taken off its front (`data.picture_prefix`).
        stated: height and width in the COCO file, in pixels.
        may_leave: whether links may lead out of the folder, by the user's own policy.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        file_name: str,
        prefix: str,
        stated: tuple[int, int],
        may_leave: bool = False,
    ) -> None:
        self._folder, self._stated, self._may_leave = folder, stated, may_leave
        self._found = find_picture(folder, file_name, prefix)

    def read(self) -> bytes:
        """Returns the file's bytes.

        Raises:
            PictureFlaw: it is missing, lies outside the folder, or cannot be read.
        """
        return read_picture_file(self._path())

    def _path(self) -> str:
        if self._may_leave:
            return os.path.join(self._folder, self._found.name)
        return path_inside(self._folder, self._found.name)

    def sizes(self) -> tuple[Size, Size] | None:
        """Returns the sizes of the file as stored and upright; None where it has none."""
        try:
            stored, orientation = size_in_head(self._path(), DEFAULT_MAX_PIXELS, MAX_PIXELS_SETTING)
        except PictureFlaw:
            return None
        return stored, exif.turned_size(*stored, orientation)

    def flaws(self) -> list[Reason]:
        """Returns what the name and the head of the file show.

        Whether all of the picture is there is what CocoExampleGen looks at.
        """
        found = [Reason(self._found.code, self._found.detail)] if self._found.code else []
        try:
            stored, orientation = size_in_head(self._path(), DEFAULT_MAX_PIXELS, MAX_PIXELS_SETTING)
        except PictureFlaw as flaw:
            return [*found, Reason(flaw.code, flaw.detail)]
        if self._stated == stored:
            return [*found, *([Reason("exif_turned")] if orientation != exif.UPRIGHT else [])]
        if self._stated == exif.turned_size(*stored, orientation):
            return [*found, Reason("exif_size_swapped")]
        height, width = stored
        detail = f"the file has {width} x {height} pixels"
        return [*found, Reason("picture_size_differs", detail)]


class RecordPicture:
    """A picture in a record of CocoExampleGen.

    Args:
        shard: the TFRecord file.
        offset: offset of the record's payload, in bytes.
        length: length of the payload.
    """

    def __init__(self, shard: Path, offset: int, length: int) -> None:
        self._shard, self._offset, self._length = shard, offset, length

    def read(self) -> bytes:
        """Returns the picture's bytes.

        Raises:
            DatasetError: the shard is gone or damaged.
        """
        try:
            descriptor = os.open(self._shard, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DatasetError(f"{self._shard}: {error.strerror}") from None
        try:
            payload = read_payload(descriptor, self._shard, self._offset, self._length)
        finally:
            os.close(descriptor)
        encoded: bytes = decode_example(payload)[records.ENCODED][0]
        return encoded

    def flaws(self) -> list[Reason]:
        """Returns none: CocoExampleGen has decoded the picture."""
        return []


def whole(picture: ShownPicture) -> Shown:
    """Returns a picture in the frame that its boxes mean: the file's own bytes where they are that.

    Raises:
        PictureFlaw: it cannot be shown, with the reason.
    """
    content = _content(picture.file)
    try:
        media_type = f"image/{format_of(content)}"
        facts = read_facts(content, DEFAULT_MAX_PIXELS, MAX_PIXELS_SETTING)
        if not facts.is_turned:
            return Shown(content, media_type)
    except PictureFlaw as flaw:
        if flaw.code != "picture_format_unsupported":
            raise
    return as_jpeg(_decoded(picture, content, None))


def thumbnail(picture: ShownPicture, side_px: int = THUMBNAIL_SIDE_PX) -> Shown:
    """Returns a picture as a small JPEG.

    Args:
        picture: what is shown.
        side_px: its longer side, at most.

    Raises:
        PictureFlaw: it cannot be shown, with the reason.
    """
    small = _decoded(picture, _content(picture.file), side_px)
    small.thumbnail((side_px, side_px))
    return as_jpeg(small)


def _content(file: PictureFile | None) -> bytes:
    if file is None:
        raise PictureFlaw("picture_missing", "the picture is not in the examples")
    try:
        return file.read()
    except RcnnError as error:
        raise PictureFlaw("picture_unreadable", str(error)) from None


def _decoded(picture: ShownPicture, content: bytes, side_px: int | None) -> Image.Image:
    """Returns the pixels in the frame of the boxes, perhaps only about as many as are asked for."""
    try:
        format_of(content)
    except PictureFlaw as flaw:
        if flaw.code != "picture_format_unsupported":
            raise
        return _other_format(content, flaw)
    facts = read_facts(content, DEFAULT_MAX_PIXELS, MAX_PIXELS_SETTING)
    lazy = opened(facts.content)
    if side_px is not None:
        lazy.draft(None, (side_px, side_px))  # of a JPEG: decoded at a fraction of its size
    stored, stated = (facts.height, facts.width), (picture.height, picture.width)
    is_turned = stated == facts.upright_size and (stated != stored or picture.is_upright)
    return exif.turned(rgb(lazy), facts.orientation if is_turned else exif.UPRIGHT)


def _other_format(content: bytes, flaw: PictureFlaw) -> Image.Image:
    """Returns a GIF, BMP, TIFF or WebP: no detector learns from it, but people can see it."""
    try:
        return servable(content, "the picture").open()
    except DatasetError:
        raise flaw from None


def as_jpeg(picture: Image.Image) -> Shown:
    """Returns an RGB picture as a JPEG, smaller where a JPEG cannot be as large."""
    if max(picture.size) > LONGEST_JPEG_PX:
        picture = picture.copy()
        picture.thumbnail((LONGEST_JPEG_PX, LONGEST_JPEG_PX))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    return Shown(stream.getvalue(), JPEG_TYPE)
