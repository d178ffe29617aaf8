import io
import struct

import numpy as np
import pytest
from PIL import Image

from model.encoded.check import inspect
from model.serving_check.kinds import drawn_pictures

DRAWN = {picture.name: picture.encoded for picture in drawn_pictures(100_000_000)}


def test_each_kind_is_what_its_name_says():
    modes = {}
    for name, encoded in DRAWN.items():
        picture = Image.open(io.BytesIO(encoded))
        width, height = picture.size
        assert name.endswith(f"of {width} x {height} pixels")
        assert picture.format in name
        modes[name.partition(" of ")[0]] = picture.mode
    assert modes == {
        "a drawn JPEG": "RGB",
        "a drawn PNG": "RGB",
        "a drawn grey JPEG": "L",
        "a drawn grey 16-bit PNG": "I;16",
        "a drawn 16-bit PNG": "RGB",  # as Pillow reads it
        "a drawn PNG with alpha": "RGBA",
        "a drawn tiny PNG": "RGB",
        "a drawn narrow JPEG": "RGB",
        "a drawn large JPEG": "RGB",
    }


def test_a_16_bit_png_has_16_bits_and_is_whole():
    [encoded] = [e for name, e in DRAWN.items() if name.startswith("a drawn 16-bit PNG")]

    assert struct.unpack(">B", encoded[24:25]) == (16,)
    assert inspect(encoded, 10_000, "limit").damage == ""
    assert np.asarray(Image.open(io.BytesIO(encoded))).std() > 20


def test_they_are_the_same_each_time():
    assert {p.name: p.encoded for p in drawn_pictures(100_000_000)} == DRAWN


@pytest.mark.parametrize("limit", [1, 5_000, 1_000_000])
def test_none_has_more_pixels_than_a_model_takes(limit):
    sizes = [Image.open(io.BytesIO(p.encoded)).size for p in drawn_pictures(limit)]

    assert all(width * height <= limit for width, height in sizes)
    assert max(width * height for width, height in sizes) > 0.9 * limit or limit == 1
