"""The pixels of a picture file by Pillow: the same RGB as TensorFlow's, whatever else it holds."""

import io
import warnings

import numpy as np
from PIL import Image, ImageChops
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from model.encoded import exif, jpeg, png
from model.encoded.flaw import PictureFlaw

_UPRIGHT_QUALITY = 95


def opened(content: bytes) -> Image.Image:
    """Returns a JPEG or PNG with its header read, without its metadata.

    Pillow reads text, profiles and EXIF with code that some of them break; what a file has beside
    its pixels is taken away before. Its own limit on pixels, which counts neither rows nor what
    the caller allows, does not apply.

    Raises:
        PictureFlaw: it is neither, or its header cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if content.startswith(jpeg.START):
                stripped = jpeg.without_metadata(content, jpeg.read_jpeg(content))
                return JpegImageFile(io.BytesIO(stripped))
            if content.startswith(png.START):
                stripped = png.without_metadata(content, png.read_png(content))
                return PngImageFile(io.BytesIO(stripped))
    # Pillow's header readers raise whatever a damaged field leads to.
    except Exception as error:
        raise PictureFlaw("picture_unreadable", f"its header cannot be read ({error})") from None
    raise PictureFlaw("picture_format_unsupported", "not a picture: expected a JPEG or PNG")


def rgb(picture: Image.Image) -> Image.Image:
    """Returns a picture in RGB: alpha is dropped, grey repeated, of 16 bits the high 8 count.

    Raises:
        PictureFlaw: it cannot be decoded.
    """
    try:
        if picture.mode.startswith("I"):
            values = np.asarray(picture).astype(np.int64)
            return Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8)).convert("RGB")
        if picture.mode == "CMYK" and picture.format == "JPEG" and "adobe" not in picture.info:
            picture = ImageChops.invert(picture)  # Pillow takes each for Adobe's, which are inverse
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an alpha that the caller wants to lose
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureFlaw("picture_unreadable", f"cannot be decoded ({error})") from None


def upright_jpeg(content: bytes, orientation: int) -> bytes:
    """Returns a picture turned as its EXIF asks, as a JPEG without EXIF.

    Raises:
        PictureFlaw: it cannot be decoded.
    """
    upright = exif.turned(rgb(opened(content)), orientation)
    stream = io.BytesIO()
    upright.save(stream, "JPEG", quality=_UPRIGHT_QUALITY, subsampling=0, exif=b"")
    return stream.getvalue()
