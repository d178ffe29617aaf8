"""Annotations or detections by columns, which arrays are made of at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Columns:
    """Annotations or detections in columns, in their order.

    Attributes:
        image_id: [n] int64.
        category_id: [n] int64.
        score: [n] float64; 0 of objects.
        area: [n] float64.
        is_crowd: [n] bool.
        boxes: [n, 4] float64 x, y, width, height.
        entries: COCO's own form of each; with `segmentation` as run-length code for masks.
    """

    image_id: np.ndarray
    category_id: np.ndarray
    score: np.ndarray
    area: np.ndarray
    is_crowd: np.ndarray
    boxes: np.ndarray
    entries: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, entries: Sequence[Mapping[str, Any]]) -> "Columns":
        """Returns the columns of annotations, or of detections that have an `area`."""
        count = len(entries)
        numbers = chain.from_iterable(entry["bbox"] for entry in entries)
        return cls(
            np.fromiter((entry["image_id"] for entry in entries), np.int64, count),
            np.fromiter((entry["category_id"] for entry in entries), np.int64, count),
            np.fromiter((entry.get("score", 0.0) for entry in entries), float, count),
            np.fromiter((entry["area"] for entry in entries), float, count),
            np.fromiter((entry["iscrowd"] for entry in entries), bool, count),
            np.fromiter(numbers, float, 4 * count).reshape(count, 4),
            entries,
        )

    def taken(self, rows: Sequence[int]) -> "Columns":
        """Returns some of them."""
        picked = np.asarray(rows, int)
        return Columns(
            self.image_id[picked],
            self.category_id[picked],
            self.score[picked],
            self.area[picked],
            self.is_crowd[picked],
            self.boxes[picked],
            [self.entries[row] for row in picked.tolist()],
        )
