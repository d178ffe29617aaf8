import io

import numpy as np
import pytest
from PIL import Image

from configs.errors import DatasetError
from model.pictures import read_picture, servable

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


@pytest.mark.parametrize(("form", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA")])
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


@pytest.mark.parametrize(("form", "mode"), [("JPEG", "CMYK"), ("BMP", "RGB"), ("WEBP", "RGB")])
def test_other_forms_become_png(picture, form, mode):
    result = servable(encoded(picture.convert(mode), form), "it")

    assert Image.open(io.BytesIO(result.encoded)).format == "PNG"
    assert (result.height, result.width) == (4, 6)


def test_16_bit_grey_goes_as_it_is(picture):
    file = encoded(Image.fromarray(np.full((4, 6), 0x80FF, np.uint16)), "PNG")

    assert servable(file, "it").encoded is file


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: b"no picture at all", "it: cannot be decoded .not a picture"),
        (lambda file: file[: len(file) // 2], "it: cannot be decoded"),
    ],
)
def test_what_cannot_be_decoded_is_named(picture, damage, message):
    with pytest.raises(DatasetError, match=message):
        servable(damage(encoded(picture.resize((60, 60)), "PNG")), "it")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"absent\.jpg: No such file"):
        read_picture(tmp_path / "absent.jpg")
