"""Between the upright picture that the model sees and the picture that annotations mean.

Annotations are in pixels of the picture as stored where their file states its size before the turn
that EXIF asks for (docs/data.md). The model is trained on upright pictures and shown one here; what
it finds is then turned back.
"""

from typing import Any

import numpy as np
from PIL import Image

from components.coco_transform.turn import TURNS, UPRIGHT, Turn
from model.pictures import Picture
from model.predict import Detections


def turn_from_upright(image: dict[str, Any], picture: Picture) -> Turn:
    """Returns the turn from the upright picture to the one that the annotations mean.

    Args:
        image: COCO's `height` and `width`, in the annotations' frame.
        picture: the upright picture.
    """
    turn = TURNS[picture.orientation]
    inverse = Turn(turn.flips_columns, turn.flips_rows, True) if turn.transposes else turn
    stored_size = inverse.size(picture.height, picture.width)
    return inverse if stored_size == (image["height"], image["width"]) else UPRIGHT


def turned_detections(found: Detections, turn: Turn) -> Detections:
    """Returns detections in a turned picture, boxes and masks alike."""
    if turn == UPRIGHT:
        return found
    boxes = turn.boxes(found.boxes_norm.astype(np.float64), 1.0, 1.0)
    masks = found.masks
    if masks is not None:
        masks = np.moveaxis(turn.pixels(np.moveaxis(masks, 0, -1)), -1, 0)
    return Detections(boxes, found.scores, found.category_ids, masks)


def picture_of_annotations(image: dict[str, Any], picture: Picture) -> Image.Image:
    """Returns the decoded picture in the annotations' frame."""
    turn = turn_from_upright(image, picture)
    upright = picture.open()
    if turn == UPRIGHT:
        return upright
    return Image.fromarray(np.ascontiguousarray(turn.pixels(np.asarray(upright))))
