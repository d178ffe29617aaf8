import numpy as np
import pytest
from PIL import Image

from components.coco_evaluator.frames import (
    picture_of_annotations,
    turn_from_upright,
    turned_detections,
)
from components.coco_transform.turn import TURNS, UPRIGHT
from model.pictures import servable
from model.predict import Detections

HEIGHT, WIDTH = 8, 12


def stored_file(tmp_path, orientation):
    """A picture that is black but for one white block, with an EXIF orientation."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[0:2, 3:9] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "it.png"
    Image.fromarray(pixels).save(path, exif=exif)
    return path.read_bytes(), pixels


def upright_block(picture):
    """The white block's box in the upright picture, normalised yxyx."""
    white = np.asarray(picture.open())[..., 0] > 0
    rows, columns = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
    height, width = white.shape
    return [
        rows[0] / height,
        columns[0] / width,
        (rows[-1] + 1) / height,
        (columns[-1] + 1) / width,
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_found_upright_is_turned_to_where_it_is_stored(tmp_path, orientation):
    encoded, pixels = stored_file(tmp_path, orientation)
    picture = servable(encoded, "it")
    image = {"height": HEIGHT, "width": WIDTH}
    mask = np.arange(28 * 28, dtype=np.float32).reshape(1, 28, 28)
    found = Detections(
        np.array([upright_block(picture)]),
        np.ones(1),
        np.ones(1),
        TURNS[orientation].pixels(mask[0])[None],
    )

    turned = turned_detections(found, turn_from_upright(image, picture))

    box_orig = turned.boxes_norm[0] * [HEIGHT, WIDTH, HEIGHT, WIDTH]
    np.testing.assert_allclose(box_orig, [0, 3, 2, 9], atol=1e-6)
    np.testing.assert_array_equal(turned.masks, mask)
    np.testing.assert_array_equal(picture_of_annotations(image, picture), pixels)


def test_annotations_of_the_turned_size_mean_the_upright_picture(tmp_path):
    encoded, _ = stored_file(tmp_path, 6)
    picture = servable(encoded, "it")

    assert turn_from_upright({"height": WIDTH, "width": HEIGHT}, picture) == UPRIGHT
