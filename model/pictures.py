"""Picture files as the exported model takes them: upright, JPEG or PNG."""

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from configs.errors import DatasetError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_ORIENTATION_TAG = 0x0112
_UPRIGHT = 1
# TensorFlow and Pillow decode these to the same RGB; of 16-bit grey both keep the high byte.
_PLAIN_MODES = {
    "JPEG": ("L", "RGB"),
    "PNG": ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "I;16B"),
}


@dataclass(frozen=True)
class Picture:
    """A picture file that the exported model can take.

    Attributes:
        encoded: a JPEG or PNG file's bytes.
        height: in pixels, of the upright picture.
        width: likewise.
        orientation: EXIF's number of the turn that made it upright; 1 is none.
    """

    encoded: bytes
    height: int
    width: int
    orientation: int = _UPRIGHT

    def open(self) -> Image.Image:
        """Returns the decoded RGB picture."""
        return Image.open(io.BytesIO(self.encoded)).convert("RGB")


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Returns a picture file ready for the model.

    Raises:
        DatasetError: the file is missing, or cannot be decoded to its end.
    """
    try:
        encoded = Path(path).read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    return servable(encoded, str(path))


def servable(encoded: bytes, name: str, is_checked: bool = False) -> Picture:
    """Returns a picture file's bytes, or where the model could misread them, an upright PNG.

    An upright JPEG or PNG goes as it is. One with an EXIF turn, another format or a mode such as
    CMYK is decoded here and written losslessly.

    Args:
        encoded: the file's bytes.
        name: of the picture, for errors.
        is_checked: the file is known to decode to its end, so only its header is read.

    Raises:
        DatasetError: the bytes are no picture that can be decoded to its end.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; pixels are what counts
            picture = Image.open(io.BytesIO(encoded))
            if not is_checked:
                picture.load()
            orientation = _orientation(picture)
            is_plain = picture.mode in _PLAIN_MODES.get(str(picture.format), ())
            if is_plain and orientation == _UPRIGHT:
                return Picture(encoded, picture.height, picture.width)
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        reason = "not a picture" if isinstance(error, UnidentifiedImageError) else error
        raise DatasetError(f"{name}: cannot be decoded ({reason})") from None
    except Image.DecompressionBombError as error:
        raise DatasetError(f"{name}: {error}") from None
    stream = io.BytesIO()
    upright.save(stream, "PNG", compress_level=1)
    return Picture(stream.getvalue(), upright.height, upright.width, orientation)


def _orientation(picture: Image.Image) -> int:
    """Returns EXIF's orientation; what is none of the eight asks for nothing."""
    value = picture.getexif().get(_ORIENTATION_TAG, _UPRIGHT)
    return value if value in range(1, 9) else _UPRIGHT
