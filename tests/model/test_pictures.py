import io

import numpy as np
import pytest
from PIL import Image

from ground.errors import DatasetError
from model.pictures import read_picture, servable
from tests.picture_zoo import HEIGHT, WIDTH, saved, zoo

ZOO = zoo()
QUARTER_TURN = 6  # EXIF: turn clockwise to see it upright


def encoded(picture, form, **options):
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture
def picture():
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, :, 0] = 200  # a red top row
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("form", "mode"),
    [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P")],
)
def test_an_upright_jpeg_or_png_goes_as_it_is(picture, form, mode):
    file = encoded(picture.convert(mode), form)

    result = servable(file, "it")

    assert result.encoded is file
    assert (result.height, result.width) == (4, 6)


def test_an_exif_turn_is_carried_out(picture):
    exif = Image.Exif()
    exif[0x0112] = QUARTER_TURN

    result = servable(encoded(picture, "PNG", exif=exif), "it")

    assert (result.height, result.width, result.orientation) == (6, 4, QUARTER_TURN)
    pixels = np.asarray(result.open())
    assert (pixels[:, -1, 0] == 200).all()  # the top row has become the right column
    assert not pixels[:, :-1].any()


@pytest.mark.parametrize(("form", "mode"), [("TIFF", "CMYK"), ("BMP", "RGB"), ("WEBP", "RGB")])
def test_other_forms_become_png(picture, form, mode):
    result = servable(encoded(picture.convert(mode), form), "it")

    assert Image.open(io.BytesIO(result.encoded)).format == "PNG"
    assert (result.height, result.width) == (4, 6)


def test_16_bit_grey_goes_as_it_is(picture):
    file = encoded(Image.fromarray(np.full((4, 6), 0x80FF, np.uint16)), "PNG")

    assert servable(file, "it").encoded is file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("JPEG: cut in half and closed", "it: cannot be decoded .Corrupt JPEG data"),
        ("JPEG: cut without end", "it: cannot be decoded .cut off after"),
        ("JPEG: no height", "it: cannot be decoded .its header gives"),
        ("PNG: no palette", "it: cannot be decoded .has a palette picture's pixels"),
        ("other: login page", "it: cannot be decoded .HTML or SVG"),
        ("other: nothing", "it: cannot be decoded .the file is empty"),
    ],
)
def test_what_is_no_whole_picture_is_named(name, message):
    with pytest.raises(DatasetError, match=message):
        servable(ZOO[name][0], "it")


def test_what_is_sound_or_mended_can_be_served_and_drawn():
    for name, (file, code) in ZOO.items():
        if code in ("", "picture_without_end", "picture_metadata_damaged"):
            result = servable(file, name)
            assert result.open().size == (result.width, result.height), name
            if name == "JPEG: EXIF with a tag of another type":
                assert (result.height, result.width, result.orientation) == (WIDTH, HEIGHT, 6)
            elif code != "picture_without_end":
                assert result.encoded is file, name


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF"])
def test_more_pixels_than_allowed_are_not_decoded(form, monkeypatch):
    file = saved(form)
    with pytest.raises(DatasetError, match=r"64 x 48 pixels exceed input.max_picture_pixels 3071"):
        servable(file, "it", 3071)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own limit counts for nothing
    assert (servable(file, "it", 3072).height, Image.MAX_IMAGE_PIXELS) == (48, 100)


@pytest.mark.parametrize("form", ["TIFF", "WEBP"])
def test_other_forms_are_turned_upright(picture, form):
    exif = Image.Exif()
    exif[0x0112] = QUARTER_TURN

    result = servable(encoded(picture, form, exif=exif), "it")

    assert np.asarray(result.open())[:, -1, 0].min() > 100
    assert (result.height, result.width) == (6, 4)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: b"no picture at all", "it: cannot be decoded .an unknown format"),
        (lambda file: file[: len(file) // 2], "it: cannot be decoded"),
    ],
)
def test_what_cannot_be_decoded_is_named(picture, damage, message):
    with pytest.raises(DatasetError, match=message):
        servable(damage(encoded(picture.resize((60, 60)), "PNG")), "it")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"absent\.jpg: no such file"):
        read_picture(tmp_path / "absent.jpg")
