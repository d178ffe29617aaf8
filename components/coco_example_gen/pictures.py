"""Looks at a picture file: what it is, how large, and whether a trainer can decode it.

Decoding every picture to its end would take most of the time of a conversion (COCO: 1.9 of
2.2 ms a picture), and finds little: libjpeg fills what is damaged with grey and only warns. So a
file is walked through marker by marker (JPEG) or chunk by chunk (PNG, with checksums), which
finds cut-off files and overwritten stretches that decoding would not, and of a JPEG only the
beginning is decoded, which tries its tables. What looks wrong is then decoded to its end.
"""

import io
import os
import re
import stat
import zlib
from typing import Literal, NamedTuple

from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from model.coco.policies import REASONS

Format = Literal["jpeg", "png"]

_ORIENTATION_TAG = 0x0112
_UPRIGHT = 1
_QUARTER_TURNS = (5, 6, 7, 8)
_UPRIGHT_QUALITY = 95

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_OTHER_FORMATS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"RIFF", "a WebP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"<", "HTML or SVG"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the files themselves"),
)
# In the entropy-coded data an FF is followed by 00 or a restart marker; else a marker begins.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
# Tables, comments, application segments, a further scan, the number of lines, a restart interval.
_BETWEEN_SCANS = {0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
_TRIED_BYTES = 4096
_CUT_OFF = "cut off"


class PictureFlaw(Exception):
    """A picture that cannot be used as it is.

    Attributes:
        code: of `policies.REASONS`.
        detail: what is wrong.
    """

    def __init__(self, code: str, detail: str):
        super().__init__(detail)
        self.code = REASONS[code].code
        self.detail = detail


class Facts(NamedTuple):
    """What a picture file is.

    Attributes:
        format: by its content.
        height: in pixels, as stored.
        width: likewise.
        orientation: the turn that EXIF asks for; 1 is none.
        damage: what in it is no part of a picture, though it can be decoded; "" for nothing.
    """

    format: Format
    height: int
    width: int
    orientation: int
    damage: str = ""

    @property
    def is_turned(self) -> bool:
        """Whether EXIF asks for a turn or a mirroring."""
        return self.orientation != _UPRIGHT

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width after the turn."""
        if self.orientation in _QUARTER_TURNS:
            return self.width, self.height
        return self.height, self.width


def check_in_folder(path: str, real_folder: str) -> None:
    """Checks that a path, its symbolic links followed, stays below `real_folder`.

    Raises:
        PictureFlaw: it does not.
    """
    real = os.path.realpath(path)
    if not real.startswith(os.path.join(real_folder, "")):
        raise PictureFlaw("path_outside_folder", f"{path} leads to {real}")


def read_file(path: str) -> bytes:
    """Returns the bytes of a picture file.

    Raises:
        PictureFlaw: it is missing, no regular file, or may not be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise PictureFlaw("picture_unreadable", f"{path} is no regular file")
        with open(path, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        raise PictureFlaw("picture_missing", f"{path}: no such file") from None
    except OSError as error:
        raise PictureFlaw("picture_unreadable", f"{path}: {error.strerror}") from None


def inspect(content: bytes, max_pixels: int) -> Facts:
    """Returns what a picture file is; it can be decoded.

    Args:
        content: the file.
        max_pixels: limit of height x width.

    Raises:
        PictureFlaw: it is empty, neither JPEG nor PNG, larger than the limit, or cannot be decoded.
    """
    format_ = _format(content)
    complaint, tried = _structure(content, format_)
    try:
        picture = _opened(content[:tried], format_)
    # Pillow's header readers raise whatever a damaged field leads to.
    except Exception as error:
        detail = complaint or f"its header cannot be read ({error})"
        raise PictureFlaw("picture_unreadable", detail) from None
    if picture.width * picture.height > max_pixels:
        raise PictureFlaw(
            "picture_too_large",
            f"{picture.width} x {picture.height} pixels exceed "
            f"data.max_picture_pixels {max_pixels}",
        )
    orientation = _UPRIGHT
    if format_ == "jpeg" or b"eXIf" in content:  # Pillow decodes a whole PNG in search of it
        orientation = _orientation(picture)
    facts = Facts(format_, picture.height, picture.width, orientation, complaint)
    _try_decoding(picture, content, facts)
    return facts


def _try_decoding(picture: Image.Image, content: bytes, facts: Facts) -> None:
    """Decodes the beginning of a sound JPEG, nothing of a sound PNG, all of what looks damaged.

    Raises:
        PictureFlaw: it cannot be decoded.
    """
    if facts.damage.startswith(_CUT_OFF):  # Pillow may fill what is missing, TensorFlow refuses
        raise PictureFlaw("picture_unreadable", facts.damage)
    if not facts.damage and (facts.format == "png" or _beginning_decodes(picture)):
        return
    try:
        _opened(content, facts.format).load()
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureFlaw("picture_unreadable", facts.damage or str(error)) from None


def upright_jpeg(content: bytes, format_: Format) -> bytes:
    """Returns a picture turned as its EXIF asks, as a JPEG without EXIF.

    Raises:
        PictureFlaw: it cannot be decoded.
    """
    try:
        upright = ImageOps.exif_transpose(_opened(content, format_)).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureFlaw("picture_unreadable", str(error)) from None
    stream = io.BytesIO()
    upright.save(stream, "JPEG", quality=_UPRIGHT_QUALITY, subsampling=0, exif=b"")
    return stream.getvalue()


def jpeg_complaint(content: bytes) -> tuple[str, int]:
    r"""Returns what is wrong with the structure of a JPEG, and where its picture data begin.

    "" where nothing is wrong; the length of the file where no picture data begin.

    >>> jpeg_complaint(b"\xff\xd8\xff\xd9")
    ('ends before any picture data', 4)

    Reference: ITU T.81, annex B.
    """
    position, data_start = 2, 0
    while True:
        if data_start:
            found = _MARKER.search(content, position)
            if not found:
                return f"{_CUT_OFF} after {len(content)} bytes (no end marker)", data_start
            position = found.start()
        while content[position : position + 2] == b"\xff\xff":  # fill bytes
            position += 1
        if position + 2 > len(content):
            return f"{_CUT_OFF} in the headers after {len(content)} bytes", len(content)
        marker = content[position + 1]
        if content[position] != 0xFF:
            return f"no marker at byte {position}", data_start or len(content)
        position += 2
        if marker == _END_OF_IMAGE:
            return ("", data_start) if data_start else ("ends before any picture data", position)
        if data_start and marker not in _BETWEEN_SCANS:
            detail = f"damaged at byte {position - 2} (marker FF{marker:02X} in the picture data)"
            return detail, data_start
        if marker in _STANDALONE:
            continue
        position += max(2, int.from_bytes(content[position : position + 2], "big"))
        if marker == _START_OF_SCAN and not data_start:
            data_start = position


def png_complaint(content: bytes) -> str:
    """Returns what is wrong with the chunks of a PNG, "" where nothing is.

    Reference: PNG specification (third edition), section 5.
    """
    view, position, has_pixels = memoryview(content), len(_PNG_SIGNATURE), False
    while position + 12 <= len(content):
        length = int.from_bytes(view[position : position + 4], "big")
        end = position + 12 + length
        name = bytes(view[position + 4 : position + 8])
        if end > len(content):
            break
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return f"damaged at byte {position} (checksum of chunk {name!r})"
        if name == b"IEND":
            return "" if has_pixels else "ends before any picture data"
        has_pixels = has_pixels or name == b"IDAT"
        position = end
    return f"{_CUT_OFF} after {len(content)} bytes (no end chunk)"


def _format(content: bytes) -> Format:
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content.startswith(_PNG_SIGNATURE):
        return "png"
    if not content:
        raise PictureFlaw("picture_unreadable", "the file is empty")
    names = [name for start, name in _OTHER_FORMATS if content.startswith(start)]
    name = names[0] if names else f"an unknown format (starts with {content[:8].hex()})"
    raise PictureFlaw("picture_format_unsupported", f"{name}; expected a JPEG or PNG")


def _opened(content: bytes, format_: Format) -> Image.Image:
    """Returns a picture with its header read; without the limit on pixels of `Image.open`."""
    reader = JpegImageFile if format_ == "jpeg" else PngImageFile
    return reader(io.BytesIO(content))


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(_ORIENTATION_TAG, _UPRIGHT)
    # EXIF that cannot be read asks for nothing; what Pillow raises then has no common type.
    except Exception:
        return _UPRIGHT
    return value if value in range(1, 9) else _UPRIGHT


def _structure(content: bytes, format_: Format) -> tuple[str, int]:
    """Returns what is wrong with a file's structure, and how much of it to open at first."""
    if format_ == "png":
        return png_complaint(content), len(content)
    complaint, data_start = jpeg_complaint(content)
    return complaint, data_start + _TRIED_BYTES


def _beginning_decodes(picture: Image.Image) -> bool:
    """Returns whether a JPEG that was opened without its end decodes as far as it goes."""
    picture.draft("L", (1, 1))  # at an eighth of the size: the same tables, less arithmetic
    try:
        picture.load()
    except OSError as error:
        return "truncated" in str(error)
    return True
