import io

import numpy as np
import pytest
from PIL import Image

from components.coco_transform.picture import (
    UnreadablePictureError,
    scaled_down,
    training_picture,
)
from components.coco_transform.turn import TURNS
from model.input.resize import decode_picture, resize_picture
from tests.components.coco_transform.sources import encoded_picture


def smooth(height, width):
    """Returns a picture that JPEG changes little."""
    rows, columns = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin((rows + (k + 1) * columns) / 15) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def decoded(picture):
    """Returns the pixels as training decodes them."""
    return decode_picture(picture.jpeg).numpy().astype(int)


def changed(encoded, short=800, long=1333):
    return training_picture(encoded, short, long, 95)


def test_plain_jpeg_keeps_its_own_bytes():
    encoded = encoded_picture(smooth(40, 60), quality=70)
    picture = changed(encoded)
    assert picture.jpeg is encoded
    assert picture.changes == ()
    assert (picture.height, picture.width) == (40, 60)


def test_training_and_pillow_decode_the_same_pixels():
    encoded = encoded_picture(smooth(40, 60), quality=70)
    pillow = np.asarray(Image.open(io.BytesIO(encoded))).astype(int)
    assert (decoded(changed(encoded)) == pillow).all()


@pytest.mark.parametrize(
    ("mode", "format_", "changes"),
    [
        ("L", "JPEG", ("not_rgb",)),
        ("CMYK", "JPEG", ("not_rgb",)),
        ("RGB", "PNG", ("not_jpeg",)),
        ("RGBA", "PNG", ("not_jpeg", "not_rgb")),
        ("LA", "PNG", ("not_jpeg", "not_rgb")),
        ("P", "PNG", ("not_jpeg", "not_rgb")),
        ("1", "PNG", ("not_jpeg", "not_rgb")),
    ],
)
def test_every_mode_becomes_rgb(mode, format_, changes):
    source = Image.fromarray(smooth(40, 60)).convert(mode)
    picture = changed(encoded_picture(source, format_))
    assert picture.changes == changes
    expected = np.asarray(source.convert("RGB")).astype(int)
    limit = 40 if mode in ("P", "1") else 12  # dither is what JPEG is worst at
    assert np.abs(decoded(picture) - expected).mean() < limit / 4
    written = Image.open(io.BytesIO(picture.jpeg))
    assert (written.mode, written.format) == ("RGB", "JPEG")


def test_alpha_is_dropped_not_blended():
    pixels = np.dstack([np.full((16, 16), 200), np.full((16, 16), 40), np.full((16, 16), 90)])
    pixels = np.dstack([pixels, np.zeros((16, 16))]).astype(np.uint8)  # wholly transparent
    result = decoded(changed(encoded_picture(pixels, "PNG")))
    assert np.abs(result - [200, 40, 90]).max() <= 2


def test_sixteen_bit_grey_keeps_its_range():
    values = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    result = decoded(changed(encoded_picture(Image.fromarray(values), "PNG")))
    assert np.abs(result[..., 0] - (values >> 8)).max() <= 6


def test_progressive_jpeg_is_written_anew():
    picture = changed(encoded_picture(smooth(40, 60), progressive=True))
    assert picture.changes == ("progressive",)
    assert "progressive" not in Image.open(io.BytesIO(picture.jpeg)).info


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_turn_is_done_and_gone(orientation):
    stored = smooth(40, 60)
    exif = Image.Exif()
    exif[0x0112] = orientation
    encoded = encoded_picture(stored, quality=95, subsampling=0, exif=exif.tobytes())
    picture = changed(encoded)
    assert picture.changes == ("turned",)
    assert picture.stored_size == (40, 60)
    assert picture.turn == TURNS[orientation]
    expected = picture.turn.pixels(stored).astype(int)
    assert (picture.height, picture.width) == expected.shape[:2]
    assert np.abs(decoded(picture) - expected).max() <= 12
    assert not Image.open(io.BytesIO(picture.jpeg)).getexif()


def test_larger_picture_is_scaled_to_the_training_size():
    picture = changed(encoded_picture(smooth(200, 300)), 100, 1000)
    assert picture.changes == ("scaled_down",)
    assert (picture.height, picture.width) == (100, 150)
    assert decoded(picture).shape == (100, 150, 3)


def test_picture_is_never_scaled_up():
    encoded = encoded_picture(smooth(50, 70))
    picture = changed(encoded, 100, 1000)
    assert picture.jpeg is encoded


@pytest.mark.parametrize(("height", "width"), [(33, 50), (100, 150), (61, 47), (1, 3)])
def test_scaling_down_gives_the_pixels_of_the_exported_model(height, width):
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    ours = np.asarray(scaled_down(Image.fromarray(noise), height, width)).astype(int)
    theirs = resize_picture(noise, height, width).numpy().astype(int)
    # Pillow truncates where we round.
    assert np.abs(ours - theirs).max() <= 1


def test_same_source_gives_the_same_bytes():
    encoded = encoded_picture(smooth(200, 300), "PNG")
    assert changed(encoded, 100, 1000).jpeg == changed(encoded, 100, 1000).jpeg


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_cut_off_and_foreign_files_are_unreadable(format_):
    encoded = encoded_picture(smooth(100, 100), format_)
    with pytest.raises(UnreadablePictureError):
        changed(encoded[: len(encoded) // 2])
    with pytest.raises(UnreadablePictureError, match="HTML or SVG; expected a JPEG or PNG"):
        changed(b"<html>404</html>")


@pytest.mark.parametrize("side", [1, 60_000])
def test_extreme_shapes_are_kept_or_scaled_within_bounds(side):
    encoded = encoded_picture(np.full((1, side, 3), 90, np.uint8))
    picture = changed(encoded)
    assert (picture.height, picture.width) == (1, min(side, 1333))
