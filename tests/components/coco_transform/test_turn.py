import numpy as np
import pytest
from PIL import Image, ImageOps

from components.coco_transform.turn import TURNS


def pillow_upright(pixels, orientation):
    """Returns what Pillow makes of a picture with an EXIF orientation."""
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(picture))


@pytest.mark.parametrize("orientation", TURNS)
def test_pixels_turn_as_pillow_turns_them(orientation):
    pixels = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    turned = TURNS[orientation].pixels(pixels)
    assert (turned == pillow_upright(pixels, orientation)).all()
    assert turned.shape[:2] == TURNS[orientation].size(3, 5)


@pytest.mark.parametrize("orientation", TURNS)
def test_boxes_turn_with_the_pixels_they_cover(orientation):
    pixels = np.zeros((7, 10), np.uint8)
    pixels[1:3, 4:9] = 1
    turned = TURNS[orientation].pixels(pixels)
    ((ymin, xmin, ymax, xmax),) = TURNS[orientation].boxes(np.array([[1.0, 4, 3, 9]]), 7, 10)
    assert turned[int(ymin) : int(ymax), int(xmin) : int(xmax)].all()
    assert (ymax - ymin) * (xmax - xmin) == turned.sum()


def test_no_boxes_stay_no_boxes():
    assert TURNS[6].boxes(np.zeros((0, 4)), 7, 10).shape == (0, 4)
