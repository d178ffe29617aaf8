"""Pictures of every kind that a client may send, drawn: the same ones on every machine."""

import io
import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

_LARGE_SIDES = 4000, 3000
_PNG_RGB, _PNG_START = 2, b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Sent:
    """A picture as it is sent.

    Attributes:
        name: for people, and unique.
        encoded: a JPEG or PNG file's bytes.
    """

    name: str
    encoded: bytes


def drawn_pictures(max_pixels: int) -> list[Sent]:
    """Returns a picture of each kind; those with more pixels than a model takes are left out.

    Args:
        max_pixels: limit of height x width.
    """
    grey16 = (_drawn(48, 64, 3).mean(axis=-1) * 257).astype(np.uint16)
    alpha = np.dstack(
        [_drawn(50, 40, 4), np.linspace(0, 255, 2000, dtype=np.uint8).reshape(50, 40)]
    )
    large = _large_sides(max_pixels)
    drawn = [
        ("JPEG", _file(_drawn(120, 160, 0), "JPEG"), (120, 160)),
        ("PNG", _file(_drawn(160, 120, 1), "PNG"), (160, 120)),
        ("grey JPEG", _file(_drawn(90, 120, 2)[..., 0], "JPEG"), (90, 120)),
        ("grey 16-bit PNG", _file(grey16, "PNG"), (48, 64)),
        ("16-bit PNG", _png_of_16_bits(_drawn(64, 48, 5)), (64, 48)),
        ("PNG with alpha", _file(alpha, "PNG"), (50, 40)),
        ("tiny PNG", _file(_drawn(1, 1, 6), "PNG"), (1, 1)),
        ("narrow JPEG", _file(_drawn(3, 200, 7), "JPEG"), (3, 200)),
        ("large JPEG", _file(_enlarged(_drawn(150, 200, 8), *large), "JPEG"), large),
    ]
    return [
        Sent(f"a drawn {kind} of {width} x {height} pixels", encoded)
        for kind, encoded, (height, width) in drawn
        if height * width <= max_pixels
    ]


def _drawn(height: int, width: int, seed: int) -> np.ndarray:
    """Returns uint8 [height, width, 3]: rectangles and discs on a slope, a little noise on all."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    slope = (rows * 120 / height + columns * 100 / width)[..., np.newaxis]
    picture = slope + rng.integers(0, 36, 3)
    for n in range(6):
        y, x = rng.integers(0, height), rng.integers(0, width)
        size = rng.uniform(0.08, 0.3) * max(height, width)
        square = (abs(rows - y) < size / 2) & (abs(columns - x) < size / 2)
        disc = np.hypot(rows - y, columns - x) < size / 2
        picture[disc if n % 2 else square] = rng.integers(0, 256, 3)
    picture = picture + rng.normal(0, 4, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _large_sides(max_pixels: int) -> tuple[int, int]:
    """Returns height and width of the large picture, within the limit."""
    width, height = _LARGE_SIDES
    scale = min(1.0, math.sqrt(max_pixels / (height * width)))
    return max(1, int(height * scale)), max(1, int(width * scale))


def _enlarged(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def _file(picture: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind)
    return stream.getvalue()


def _png_of_16_bits(picture: np.ndarray) -> bytes:
    """Returns a PNG with 16 bits a channel, which Pillow cannot write, of an 8-bit RGB picture."""
    height, width, _ = picture.shape
    rows = (picture.astype(np.uint16) * 257).astype(">u2").reshape(height, -1)
    content = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, _PNG_RGB, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(content)), (b"IEND", b"")
    return _PNG_START + b"".join(_chunk(name, body) for name, body in parts)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
