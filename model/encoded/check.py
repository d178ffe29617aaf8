"""Looks at a picture file: what it is, how large, and whether every part of it is there.

A PNG carries checksums, and TensorFlow's decoder refuses one that is not whole. libjpeg fills what
is missing in a JPEG with grey and only warns, and TensorFlow passes that on. So a JPEG's markers
are followed here, and its data are read once more, at an eighth of the size, by a decoder that
turns each warning into an error (1.2 ms a picture of 640 x 480).
"""

from typing import Any, Literal, NamedTuple

from model.encoded import exif, jpeg, png
from model.encoded.flaw import PictureFlaw

Format = Literal["jpeg", "png"]

_OTHER_FORMATS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"RIFF", "a WebP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"\0\0\0\x0cjP", "a JPEG 2000"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\x1f\x8b", "a packed file (gzip)"),
    (b"PK", "a packed file (ZIP)"),
    (b"<", "HTML or SVG"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the files themselves"),
)
# What the strict decoder says of chroma sampling that it does not know; others decode it.
_NO_VERDICT = "Could not determine subsampling"
_EXTRANEOUS = "extraneous bytes before marker 0xd9"
_CMYK_COMPONENTS = 4
# TensorFlow's decoder takes no more than 512 MiB of pixels.
_MOST_PIXELS = (1 << 29) // 3 - 1


class Facts(NamedTuple):
    """What a picture file is.

    Attributes:
        format: by its content.
        height: in pixels, as stored.
        width: width as it is stored.
        orientation: the turn that EXIF asks for; 1 is none.
        content: the file, with an end marker where only that was missing.
        lacked_end: how the file ended where its end marker was missing; "" where it was there.
        damage: what in it is no part of a picture, though it can be decoded; "" for nothing.
        metadata_damage: what is wrong beside the picture, which is whole; "" for nothing.
        is_read: whether all of it was read here without a complaint, and it is of a kind that the
            decoder of training reads like the one here: their libraries are the same.
    """

    format: Format
    height: int
    width: int
    orientation: int
    content: bytes
    lacked_end: str = ""
    damage: str = ""
    metadata_damage: str = ""
    is_read: bool = False

    @property
    def flaws(self) -> list[tuple[str, str]]:
        """What policy decides upon: reason codes and details."""
        found = {
            "picture_without_end": self.lacked_end,
            "picture_damaged": self.damage,
            "picture_metadata_damaged": self.metadata_damage,
        }
        return [(code, detail) for code, detail in found.items() if detail]

    @property
    def is_turned(self) -> bool:
        """Whether EXIF asks for a turn or a mirroring."""
        return self.orientation != exif.UPRIGHT

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width after the turn."""
        return exif.turned_size(self.height, self.width, self.orientation)


def format_of(content: bytes) -> Format:
    """Returns what a file is by its first bytes.

    Raises:
        PictureFlaw: it is empty, or neither JPEG nor PNG; what it is instead is named.
    """
    if content.startswith(jpeg.START):
        return "jpeg"
    if content.startswith(png.START):
        return "png"
    if not content:
        raise PictureFlaw("picture_unreadable", "the file is empty")
    names = [name for start, name in _OTHER_FORMATS if content.startswith(start)]
    if content[4:8] == b"ftyp":
        names = ["a HEIC, AVIF or video file, as phones make them"]
    name = names[0] if names else f"an unknown format (starts with {content[:8].hex()})"
    raise PictureFlaw("picture_format_unsupported", f"{name}; expected a JPEG or PNG")


def read_facts(content: bytes, max_pixels: int, setting: str) -> Facts:
    """Returns what the headers of a picture file say.

    Args:
        content: the file.
        max_pixels: limit of height x width.
        setting: that the limit comes from, for the message.

    Raises:
        PictureFlaw: it is empty, neither JPEG nor PNG, cut off, or larger than the limit.
    """
    if format_of(content) == "jpeg":
        return _jpeg_facts(content, jpeg.read_jpeg(content), max_pixels, setting)
    return _png_facts(content, png.read_png(content), max_pixels, setting)


def inspect(content: bytes, max_pixels: int, setting: str = "data.max_picture_pixels") -> Facts:
    """Returns what a picture file is, and what of it is damaged.

    Args:
        content: the file.
        max_pixels: limit of height x width.
        setting: that the limit comes from, for the message.

    Raises:
        PictureFlaw: it is empty, neither JPEG nor PNG, larger than the limit, or cannot be decoded.
    """
    facts = read_facts(content, max_pixels, setting)
    if facts.format == "png" or facts.damage:
        return facts
    structure = jpeg.read_jpeg(facts.content)
    complaint, is_clean = structure.missing_scans, False
    if not complaint:
        complaint, is_clean = _reading(facts.content, structure)
    if complaint and facts.lacked_end:
        raise PictureFlaw("picture_unreadable", facts.lacked_end)
    is_small = facts.height * facts.width <= _MOST_PIXELS
    is_read = is_clean and is_small and structure.is_common and not facts.lacked_end
    return facts._replace(damage=complaint, is_read=is_read)


def _check_size(height: int, width: int, max_pixels: int, setting: str, complaint: str) -> None:
    """Raises a PictureFlaw for a picture without pixels, or with too many."""
    if not height or not width:
        detail = complaint or f"its header gives {width} x {height} pixels"
        raise PictureFlaw("picture_unreadable", detail)
    if height * width > max_pixels:
        detail = f"{width} x {height} pixels exceed {setting} {max_pixels}"
        raise PictureFlaw("picture_too_large", detail)


def _jpeg_facts(content: bytes, found: jpeg.Jpeg, max_pixels: int, setting: str) -> Facts:
    if not found.data_start:
        detail = found.complaint or f"cut off in the headers after {len(content)} bytes"
        raise PictureFlaw("picture_unreadable", detail)
    _check_size(found.height, found.width, max_pixels, setting, found.complaint)
    lacked_end = ""
    if not found.end and not found.complaint.startswith(("damaged", "no marker")):
        lacked_end = f"cut off after {len(content)} bytes (no end marker)"
        if found.complaint:  # between two scans
            raise PictureFlaw("picture_unreadable", lacked_end)
        content = content.rstrip(b"\xff") + jpeg.END
    turn = exif.orientation(found.exif)
    size = found.height, found.width
    return Facts("jpeg", *size, turn, content, lacked_end, damage=found.complaint)


def _png_facts(content: bytes, found: png.Png, max_pixels: int, setting: str) -> Facts:
    lacked_end = ""
    if not found.has_end:
        lacked_end = f"cut off after {len(content)} bytes (no end chunk)"
    if found.complaint:
        raise PictureFlaw("picture_unreadable", lacked_end or found.complaint)
    _check_size(found.height, found.width, max_pixels, setting, lacked_end)
    turn = exif.orientation(png.exif(content, found))
    if lacked_end:
        content = png.with_end(content, found)
    return Facts(
        "png",
        found.height,
        found.width,
        turn,
        content,
        lacked_end,
        metadata_damage=found.metadata_complaint,
    )


def _reading(content: bytes, structure: jpeg.Jpeg) -> tuple[str, bool]:
    """Returns what is damaged in the data of a JPEG that can be decoded, "" for nothing.

    Returns:
        The damage, and whether the decoder read the file and complained of nothing.

    Raises:
        PictureFlaw: it cannot be decoded.
    """
    plain = jpeg.with_plain_scans(content, structure)
    plain = jpeg.without_metadata(plain, structure, without_colours=True)
    colours = "CMYK" if len(structure.components) == _CMYK_COMPONENTS else "GRAY"
    complaint = _strict(plain, colours)
    if not complaint:
        return "", True
    if _EXTRANEOUS in complaint:
        # Zeros before the end marker are padding where the picture is whole without them.
        unpadded = plain.removesuffix(jpeg.END).rstrip(b"\0")
        if not _strict(unpadded + jpeg.END, colours) or not _strict(
            unpadded + b"\0" + jpeg.END, colours
        ):
            return "", False
    if _NO_VERDICT in complaint:
        return "", False
    fatal = _strict(plain, colours, is_strict=False)
    if fatal:
        raise PictureFlaw("picture_unreadable", fatal)
    return complaint, False


def _strict(content: bytes, colours: str, is_strict: bool = True) -> str:
    """Returns the first complaint of decoding a JPEG's data, "" for none.

    Args:
        content: the file.
        colours: a colour space that it can be decoded to without conversion.
        is_strict: complain also of what is then filled with grey.
    """
    import simplejpeg

    options: dict[str, Any] = {"min_height": 1, "min_width": 1, "min_factor": 8}
    try:
        simplejpeg.decode_jpeg(content, colours, strict=is_strict, **options)
    except ValueError as error:
        return str(error)
    return ""
