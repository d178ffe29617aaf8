"""What a picture file is, and each way in which it cannot be used."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from components.coco_example_gen import pictures
from components.coco_example_gen.pictures import Facts, PictureFlaw
from tests.components.coco_example_gen.small_dataset import jpeg, png

JPEG = jpeg(40, 60)
PNG = png(40, 60)


def saved(format_, mode="RGB", **options):
    stream = io.BytesIO()
    Image.new(mode, (60, 40), 0).save(stream, format_, **options)
    return stream.getvalue()


def start_of_picture_data(content):
    return content.index(b"\xff\xda") + 14  # the header of a scan of three components


def flaw_of(content, max_pixels=10_000):
    """Returns (code, detail) of a picture's flaw, None where it has none."""
    try:
        facts = pictures.inspect(content, max_pixels)
    except PictureFlaw as flaw:
        return flaw.code, flaw.detail
    return ("picture_damaged", facts.damage) if facts.damage else None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (JPEG, Facts("jpeg", 40, 60, 1)),
        (PNG, Facts("png", 40, 60, 1)),
        (jpeg(40, 60, orientation=6), Facts("jpeg", 40, 60, 6)),
        (jpeg(40, 60, orientation=99), Facts("jpeg", 40, 60, 1)),
        (saved("JPEG", "L"), Facts("jpeg", 40, 60, 1)),
        (saved("JPEG", "CMYK"), Facts("jpeg", 40, 60, 1)),
        (saved("JPEG", progressive=True), Facts("jpeg", 40, 60, 1)),
        (saved("JPEG", restart_marker_blocks=1), Facts("jpeg", 40, 60, 1)),
        (saved("JPEG", comment=b"\xff\xd8\xff\xda in a comment"), Facts("jpeg", 40, 60, 1)),
        (JPEG + b"a trailer, as phones write it \xff\xff", Facts("jpeg", 40, 60, 1)),
        (JPEG[:2] + b"\xff" + JPEG[2:], Facts("jpeg", 40, 60, 1)),  # a fill byte
        (saved("PNG", "RGBA"), Facts("png", 40, 60, 1)),
        (saved("PNG", "P"), Facts("png", 40, 60, 1)),
        (PNG + b"a trailer", Facts("png", 40, 60, 1)),
    ],
)
def test_sound_picture_is_described(content, expected):
    assert pictures.inspect(content, 2400) == expected


def test_png_turn_is_read_from_its_exif_chunk():
    exif = Image.Exif()
    exif[0x0112] = 8
    facts = pictures.inspect(saved("PNG", exif=exif), 2400)
    assert facts.orientation == 8
    assert facts.upright_size == (60, 40)


def test_shared_pictures_are_all_sound(shared_data):
    paths = [*shared_data.glob("coco_tiny/*2017/*.jpg"), *shared_data.glob("nuclei/val/*.png")]
    assert len(paths) == 170
    for path in paths:
        assert flaw_of(path.read_bytes(), 10**6) is None, path


@pytest.mark.parametrize("kept", [0.02, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("content", [JPEG, PNG, saved("JPEG", progressive=True)])
def test_cut_off_file_is_unreadable_wherever_it_is_cut(content, kept):
    code, detail = flaw_of(content[: int(kept * len(content))] or b"\xff\xd8\xff")
    assert code == "picture_unreadable"
    assert detail


def test_tail_of_zeros_is_unreadable():
    half = len(JPEG) // 2
    assert flaw_of(JPEG[:half] + bytes(half))[0] == "picture_unreadable"


def test_overwritten_stretch_is_found_where_decoding_would_not():
    start = start_of_picture_data(JPEG) + 100
    damaged = JPEG[:start] + b"\xff\x01" * 20 + JPEG[start + 40 :]
    Image.open(io.BytesIO(damaged)).load()  # libjpeg only warns
    code, detail = flaw_of(damaged)
    assert code == "picture_damaged"
    assert detail == f"damaged at byte {start} (marker FF01 in the picture data)"


def test_flipped_bit_in_a_png_is_found():
    middle = len(PNG) // 2
    code, detail = flaw_of(PNG[:middle] + bytes([PNG[middle] ^ 1]) + PNG[middle + 1 :])
    assert code == "picture_unreadable"
    assert "checksum of chunk b'IDAT'" in detail


def test_jpeg_without_quantisation_tables_is_unreadable():
    content = JPEG
    while (at := content.find(b"\xff\xdb")) > 0:
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        content = content[:at] + content[at + 2 + length :]
    assert pictures.jpeg_complaint(content)[0] == ""
    assert flaw_of(content)[0] == "picture_unreadable"


@pytest.mark.parametrize(
    ("content", "code", "detail"),
    [
        (b"", "picture_unreadable", "empty"),
        (saved("GIF"), "picture_format_unsupported", "a GIF"),
        (saved("BMP"), "picture_format_unsupported", "a BMP"),
        (saved("WEBP"), "picture_format_unsupported", "a WebP"),
        (saved("TIFF"), "picture_format_unsupported", "a TIFF"),
        (b"<!DOCTYPE html>", "picture_format_unsupported", "HTML"),
        (b"version https://git-lfs.github.com", "picture_format_unsupported", "Git LFS"),
        (b"abc", "picture_format_unsupported", "616263"),
        (JPEG[:2] + b"\xff\xd9", "picture_unreadable", ""),
        (PNG[:40], "picture_unreadable", "cut off"),
    ],
)
def test_other_content_is_named(content, code, detail):
    found = flaw_of(content)
    assert found[0] == code
    assert detail in found[1]


def test_too_many_pixels_are_found_before_decoding():
    assert flaw_of(JPEG, 2399) == (
        "picture_too_large",
        "60 x 40 pixels exceed data.max_picture_pixels 2399",
    )


def test_picture_beyond_pillows_own_limit_is_allowed_where_ours_is_higher(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert flaw_of(JPEG) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_picture_has_the_pixels_of_the_turn(orientation):
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :32] = 255  # the upper left quarter is white
    backwards = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: np.rot90(p, 1),  # 6 asks for a quarter turn clockwise
        7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
        8: lambda p: np.rot90(p, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(backwards(upright))).save(stream, "JPEG", exif=exif)
    turned = pictures.upright_jpeg(stream.getvalue(), "jpeg")
    facts = pictures.inspect(turned, 10_000)
    assert facts == Facts("jpeg", 32, 64, 1)
    pixels = np.asarray(Image.open(io.BytesIO(turned)).convert("L")).astype(int)
    assert abs(pixels - upright[..., 0]).mean() < 2


def test_path_must_stay_in_the_folder(tmp_path):
    folder, outside = tmp_path / "pictures", tmp_path / "other"
    (folder / "sub").mkdir(parents=True)
    outside.mkdir()
    for place in (folder / "a.jpg", folder / "sub" / "b.jpg", outside / "c.jpg"):
        place.write_bytes(JPEG)
    (folder / "inward.jpg").symlink_to(folder / "a.jpg")
    (folder / "outward.jpg").symlink_to(outside / "c.jpg")
    (folder / "outward").symlink_to(outside)
    (tmp_path / "pictures2").mkdir()
    real = os.path.realpath(folder)
    for name in ("a.jpg", "sub/b.jpg", "sub/../a.jpg", "inward.jpg", "missing.jpg"):
        pictures.check_in_folder(os.path.join(folder, name), real)
    for name in (
        "outward.jpg",
        "outward/c.jpg",
        "../other/c.jpg",
        "../pictures2/x.jpg",
        str(outside / "c.jpg"),
        ".",
    ):
        with pytest.raises(PictureFlaw) as error:
            pictures.check_in_folder(os.path.join(folder, name), real)
        assert error.value.code == "path_outside_folder"


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    (tmp_path / "file").write_bytes(b"x")
    for name, code in {
        "pipe": "picture_unreadable",
        "": "picture_unreadable",
        "missing.jpg": "picture_missing",
        "file/a.jpg": "picture_missing",
        "n" * 300: "picture_unreadable",
    }.items():
        with pytest.raises(PictureFlaw) as error:
            pictures.read_file(os.path.join(tmp_path, name))
        assert error.value.code == code, name
