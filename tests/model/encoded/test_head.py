"""The size of a picture from its first bytes."""

import pytest
from PIL import Image

from model.encoded.flaw import PictureFlaw
from model.encoded.head import size_in_head
from tests.model.encoded.odd_jpegs import SEGMENTS, odd_jpeg


@pytest.mark.parametrize("segments", [1, 30])  # of 64 KiB: in the head, and beyond it
@pytest.mark.parametrize("name", SEGMENTS)
def test_what_stands_before_the_size_is_passed_over(tmp_path, name, segments):
    content = odd_jpeg(SEGMENTS[name], 60, 90)
    path = tmp_path / "a.jpg"
    path.write_bytes(content[:2] + (b"\xff\xe5\xff\xff" + bytes(65533)) * segments + content[2:])
    assert size_in_head(path, 6000, "limit") == ((60, 90), 1)


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_turn_is_read_too(tmp_path, format_, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.effect_noise((900, 600), 99).save(tmp_path / "a", format_, exif=exif)
    assert size_in_head(tmp_path / "a", 600 * 900, "limit") == ((600, 900), orientation)


def test_what_is_no_picture_or_too_large_is_told(tmp_path):
    for name, content, code in (
        ("a", b"", "picture_unreadable"),
        ("b", b"GIF89a", "picture_format_unsupported"),
        ("c", odd_jpeg(SEGMENTS["cut index"], 60, 90), "picture_too_large"),
        ("d", None, "picture_missing"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(PictureFlaw) as error:
            size_in_head(tmp_path / name, 60 * 90 - 1, "limit")
        assert error.value.code == code
