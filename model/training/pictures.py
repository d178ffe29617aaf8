"""The same few training pictures again and again: ground truth beside what the detector finds.

They are the first pictures of the chief's batch of step 0, also in a run that is taken up later, as
that batch is a function of the config and the examples. Detection runs between two steps and takes
as long as a step's forward pass; drawing runs in a thread beside the next steps.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging
from PIL import Image

from model.batch import Batch, Found, arrays_of, row_of
from model.coco.boxes import yxyx_to_xywh
from model.contract import Detector
from model.drawing import Mark, class_colour, draw
from model.examples import Category
from model.ops.mask_paste import encode_window, paste_mask

MAX_PICTURES = 4
SCORE_THRESHOLD = 0.5  # of the detections that are drawn
_LONG_SIDE_PX = 640  # of a drawn picture
_GAP_PX = 8  # between ground truth and detections


class TrainingPictures:
    """Draws ground truth (left) and detections (right) into TensorBoard.

    Args:
        detector: that finds.
        batch: a training batch.
        categories: the label map.
        writer: tf.summary's writer.
    """

    def __init__(
        self,
        detector: Detector,
        batch: Batch,
        categories: Sequence[Category],
        writer: Any,
    ) -> None:
        chosen = np.flatnonzero(batch.valid.numpy())[:MAX_PICTURES]
        self._truth = row_of(arrays_of(batch), chosen)
        self._names = {category["label"]: str(category["name"]) for category in categories}
        self._writer = writer
        # Not compiled by XLA: that would take longer than all the pictures of a run.
        self._detect = tf.function(detector.detect, autograph=False)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._drawing: Future[None] | None = None

    def show(self, step: int) -> None:
        """Detects with the weights of this moment; the pictures appear a little later."""
        found = self._detect(self._truth.images, self._truth.image_sizes)
        self._wait()
        self._drawing = self._thread.submit(self._write, step, arrays_of(found))

    def close(self) -> None:
        """Returns when everything is drawn."""
        self._wait()
        self._thread.shutdown()

    def _wait(self) -> None:
        """Waits for the last pictures; that one cannot be drawn is no reason to end a training."""
        error = self._drawing.exception() if self._drawing else None
        if error:
            logging.error("pictures for TensorBoard: %s", error, exc_info=error)
        self._drawing = None

    def _write(self, step: int, found: Found) -> None:
        with self._writer.as_default():
            for n, image_id in enumerate(self._truth.image_ids):
                drawn = side_by_side(row_of(self._truth, n), row_of(found, n), self._names)
                tf.summary.image(f"pictures/{image_id}", drawn[np.newaxis], step=step)
        self._writer.flush()


def side_by_side(truth: Batch, found: Found, names: dict[int, str]) -> np.ndarray:
    """Returns uint8 [h, w, 3]: one picture with its ground truth, and with what was found.

    Args:
        truth: one row of a training batch.
        found: one row of `Detector.detect`.
        names: names of the classes, by label.
    """
    left = drawn_truth(truth, names, _LONG_SIDE_PX)
    picture = _content(truth)
    size = picture.height, picture.width
    right = draw(picture, _found_marks(found, names, size), _LONG_SIDE_PX)
    both = Image.new("RGB", (2 * left.width + _GAP_PX, left.height), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width + _GAP_PX, 0))
    return np.asarray(both)


def drawn_truth(truth: Batch, names: dict[int, str], long_side_px: int) -> Image.Image:
    """Returns one picture with its ground truth.

    Args:
        truth: one row of a training batch.
        names: names of the classes, by label.
        long_side_px: longer side of what is returned.
    """
    return draw(_content(truth), _true_marks(truth, names), long_side_px)


def _content(truth: Batch) -> Image.Image:
    height, width = (int(side) for side in truth.image_sizes)
    return Image.fromarray(truth.images[:height, :width])


def _true_marks(truth: Batch, names: dict[int, str]) -> list[Mark]:
    """Returns the objects, and crowd regions with dashed outlines."""
    size = (int(truth.image_sizes[0]), int(truth.image_sizes[1]))
    marks = []
    for n in np.flatnonzero(truth.gt_valid):
        label = int(truth.gt_classes[n])
        mask = None
        if truth.gt_masks is not None and truth.gt_masks.valid[n]:
            mask = _mask_code(truth.gt_masks.bitmaps[n], truth.gt_masks.boxes[n], size)
        marks.append(
            Mark(
                yxyx_to_xywh(truth.gt_boxes[n].tolist()),
                class_colour(label),
                names.get(label, str(label)),
                mask,
                is_dashed=bool(truth.gt_is_crowd[n]),
            )
        )
    return marks


def _found_marks(found: Found, names: dict[int, str], size: tuple[int, int]) -> list[Mark]:
    """Returns the detections that score enough, the best last, so that it is drawn on top."""
    marks = []
    for n in reversed(range(int(found.num))):
        score, label = float(found.scores[n]), int(found.classes[n])
        if score < SCORE_THRESHOLD:
            continue
        box = found.boxes[n]
        mask = None if found.masks is None else _mask_code(found.masks[n], box, size)
        text = f"{names.get(label, label)} {score:.2f}"
        marks.append(Mark(yxyx_to_xywh(box.tolist()), class_colour(label), text, mask))
    return marks


def _mask_code(mask: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """Returns the run-length code of a mask [S, S] that covers `box`, in a picture of `size`."""
    y0, x0, window = paste_mask(mask.astype(np.float32), box, *size)
    return encode_window(window, y0, x0, *size)
