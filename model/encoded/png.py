"""The structure of a PNG file, read chunk by chunk; no pixel is decoded.

Reference: PNG specification (third edition), section 5.
"""

import zlib
from typing import NamedTuple

START = b"\x89PNG\r\n\x1a\n"
END = b"\0\0\0\0IEND\xaeB`\x82"

_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_HEADER_BYTES = 13


class Chunk(NamedTuple):
    """A chunk: its name, and where its length stands, its data begin and the next one follows."""

    name: bytes
    start: int
    data: int
    end: int


class Png(NamedTuple):
    """What a PNG file consists of.

    Attributes:
        height: in pixels; 0 without a header.
        width: width in pixels.
        chunks: whole ones, as far as they can be followed.
        has_end: whether the end chunk is there and whole.
        complaint: what is wrong with the chunks that hold the picture; "" for nothing.
        metadata_complaint: what is wrong with the other chunks; "" for nothing.
    """

    height: int
    width: int
    chunks: list[Chunk]
    has_end: bool
    complaint: str
    metadata_complaint: str


def read_png(content: bytes) -> Png:
    """Returns the structure of a PNG file, as far as it can be followed."""
    view, position = memoryview(content), len(START)
    chunks: list[Chunk] = []
    complaints, has_end = {True: "", False: ""}, False  # by whether the picture is concerned
    while position + 12 <= len(content) and not (chunks and chunks[-1].name == b"IEND"):
        end = position + 12 + int.from_bytes(view[position : position + 4], "big")
        if end > len(content):
            break
        name = bytes(view[position + 4 : position + 8])
        checksum = int.from_bytes(view[end - 4 : end], "big")
        is_whole = zlib.crc32(view[position + 4 : end - 4]) == checksum
        is_picture = name in _PIXELS or not name[0] & 0x20  # a capital: needed to decode
        chunks.append(Chunk(name, position, position + 8, end))
        if name == b"IEND":
            has_end = is_whole
        elif not is_whole and not complaints[is_picture]:
            complaints[is_picture] = f"damaged at byte {position} (checksum of chunk {name!r})"
        position = end
    height, width = _size(content, chunks)
    if not complaints[True]:
        complaints[True] = _missing({chunk.name for chunk in chunks}, content)
    return Png(height, width, chunks, has_end, complaints[True], complaints[False])


def _size(content: bytes, chunks: list[Chunk]) -> tuple[int, int]:
    """Returns the height and width that the first chunk gives; zeros where it is no header."""
    if not chunks or chunks[0].name != b"IHDR" or chunks[0].end - chunks[0].start < 12 + 8:
        return 0, 0
    start = chunks[0].data
    width, height = (int.from_bytes(content[n : n + 4], "big") for n in (start, start + 4))
    return height, width


def _missing(names: set[bytes], content: bytes) -> str:
    """Returns which needed chunk is not there, "" where all are."""
    if b"IHDR" not in names:
        return f"cut off in the headers after {len(content)} bytes"
    if b"IDAT" not in names:
        return "ends before any picture data"
    is_palette = content[len(START) + 8 + 9 : len(START) + 8 + 10] == b"\x03"
    return (
        "has a palette picture's pixels and no palette"
        if (is_palette and b"PLTE" not in names)
        else ""
    )


def exif(content: bytes, png: Png) -> bytes:
    """Returns the content of the first EXIF chunk; b"" without one."""
    for chunk in png.chunks:
        if chunk.name == b"eXIf":
            return content[chunk.data : chunk.end - 4]
    return b""


def without_metadata(content: bytes, png: Png) -> bytes:
    """Returns the file with the chunks that make its pixels, and no others."""
    kept = [content[c.start : c.end] for c in png.chunks if c.name in _PIXELS]
    return b"".join([START, *kept])


def with_end(content: bytes, png: Png) -> bytes:
    """Returns the whole chunks of a file that lacks the end chunk, and an end chunk."""
    chunks = [chunk for chunk in png.chunks if chunk.name != b"IEND"]
    return content[: chunks[-1].end if chunks else len(START)] + END
