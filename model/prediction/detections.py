"""What a model finds in a picture."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, best first.

    Attributes:
        boxes_norm: [n, 4] float32 yxyx, shares of the picture's sides.
        scores: [n] float32.
        category_ids: [n] int64, COCO's.
        masks: [n, 28, 28] float32 probabilities within the box; None without a mask head.
    """

    boxes_norm: np.ndarray
    scores: np.ndarray
    category_ids: np.ndarray
    masks: np.ndarray | None
