"""How far what another form finds is from what the SavedModel finds."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from model.exports.forms import Run
from model.exports.rebuilt import Rebuilt, prepared

_SAME_IOU = 0.5
LEAST_SCORE = 0.5

Outputs = Mapping[str, np.ndarray]


def compare(
    rebuilt: Rebuilt, run: Run, pictures: Iterable[np.ndarray], side: int | None
) -> dict[str, Any]:
    """Returns the largest differences over pictures, of detections that score at least 0.5.

    A detection is found again where the other form has one of its category that overlaps it by
    half; the best counts. Differences of boxes are shares of the picture's sides.

    Args:
        rebuilt: the model, with its SavedModel's graph.
        run: runs the other form.
        pictures: uint8 [height, width, 3] each.
        side: see `prepared`.
    """
    total = again = extra = 0
    largest = {"score": 0.0, "box": 0.0, "mask": 0.0}
    seconds = [0.0, 0.0]
    count = 0
    for n, pixels in enumerate(pictures):
        count += 1
        images, sizes = prepared(rebuilt, pixels, side)
        began = time.perf_counter()
        first = rebuilt.saved_graph(tf.constant(images), tf.constant(sizes))
        expected = {name: value.numpy() for name, value in first.items()}
        between = time.perf_counter()
        got = run(images, sizes)
        if n:  # the first call of each traces and allocates
            seconds[0] += between - began
            seconds[1] += time.perf_counter() - between
        pairs = _pairs(expected, got)
        total += int((expected["detection_scores"][0] >= LEAST_SCORE).sum())
        extra += int((got["detection_scores"][0] >= LEAST_SCORE).sum())
        again += len(pairs)
        for one, other in pairs:
            for key in largest:
                name = {"score": "detection_scores", "box": "detection_boxes"}.get(
                    key, "detection_masks"
                )
                if name in expected:
                    difference = np.abs(expected[name][0, one] - got[name][0, other]).max()
                    largest[key] = max(largest[key], float(difference))
    return {
        "pictures": count,
        "detections": total,
        "found_again": again,
        "of_the_other": extra,
        "largest_difference": largest,
        "times_as_fast": round(seconds[0] / seconds[1], 2) if seconds[1] else None,
    }


def _pairs(expected: Outputs, got: Outputs) -> list[tuple[int, int]]:
    """Returns which rows of one and of the other are the same detection."""
    pairs = []
    free = set(range(int(got["num_detections"][0])))
    for n in np.flatnonzero(expected["detection_scores"][0] >= LEAST_SCORE):
        overlaps = {
            m: _iou(expected["detection_boxes"][0, n], got["detection_boxes"][0, m])
            for m in free
            if got["detection_classes"][0, m] == expected["detection_classes"][0, n]
        }
        best = max(overlaps, key=lambda m: overlaps[m], default=None)
        if best is not None and overlaps[best] >= _SAME_IOU:
            pairs.append((int(n), best))
            free.remove(best)
    return pairs


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0)
    common = float(np.prod(sides))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (one, other)]
    return common / max(sum(areas) - common, 1e-12)
