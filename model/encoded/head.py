"""What the first bytes of a picture file say of its size, without the rest being read."""

import os
import stat

from model.encoded import exif, png
from model.encoded.check import read_facts
from model.encoded.files import read_picture_file
from model.encoded.flaw import PictureFlaw

_HEAD_BYTES = 1 << 18  # that hold a picture's size, as a rule


def size_in_head(
    path: str | os.PathLike[str], max_pixels: int, setting: str
) -> tuple[tuple[int, int], int]:
    """Returns ((height, width) as stored, EXIF's orientation) of a JPEG or PNG file.

    Args:
        path: path of the file.
        max_pixels: limit of height x width.
        setting: that the limit comes from, for the message.

    Raises:
        PictureFlaw: it is missing, neither of these, too large, or its head is damaged.
    """
    head = _head(path)
    if len(head) == _HEAD_BYTES and head.startswith(png.START):  # its pixels end further on
        found = png.read_png(head)
        return (found.height, found.width), exif.orientation(png.exif(head, found))
    try:
        facts = read_facts(head, max_pixels, setting)
    except PictureFlaw:
        if len(head) < _HEAD_BYTES:
            raise
        facts = read_facts(read_picture_file(path), max_pixels, setting)
    return (facts.height, facts.width), facts.orientation


def _head(path: str | os.PathLike[str]) -> bytes:
    """Returns the first bytes of a regular file.

    Raises:
        PictureFlaw: it is missing, no regular file, or cannot be read.
    """
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb") as stream:
                return stream.read(_HEAD_BYTES)
    except OSError:  # what is wrong is said by who reads the whole of it
        return read_picture_file(path)[:_HEAD_BYTES]
    return read_picture_file(path)[:_HEAD_BYTES]
