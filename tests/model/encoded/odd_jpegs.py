"""JPEGs whose picture is sound, and whose metadata Pillow's own reader trips over."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError


def _segment(content: bytes) -> bytes:
    return b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content


def _cut_index() -> bytes:
    """Returns CIPA's index of further pictures (MPF), of two entries, without the second."""
    tags = [(0xB000, 7, 4, b"0100"), (0xB001, 4, 1, struct.pack("<I", 2))]
    tags.append((0xB002, 7, 16, struct.pack("<I", 8 + 2 + 12 * 3 + 4)))
    entries = b"".join(struct.pack("<HHI4s", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, 3)
    return b"MPF\0" + head + entries + bytes(4) + bytes(16)


SEGMENTS = {"cut profile": _segment(b"ICC_PROFILE\0"), "cut index": _segment(_cut_index())}


def odd_jpeg(segment: bytes, height: int = 60, width: int = 90, seed: int = 0) -> bytes:
    """Returns a JPEG of coarse noise that Pillow does not open."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (6, 9, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(stream, "JPEG", subsampling=0)
    content = stream.getvalue()
    content = content[:2] + segment + content[2:]
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(content))
    return content
