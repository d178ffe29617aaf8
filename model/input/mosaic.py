"""Mosaic: four pictures, each in a quarter of the input, around a point near the middle.

Each is resized so that it fills its quarter and cut at a random place; one that is very long stays
within a few times the size that fits whole, and what it leaves of its quarter is black. The whole
input is content then.

Reference: 2004.10934, section 3.4 and figure 3.
"""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.input.objects import Objects, chosen, kept_rows
from model.input.scene import Scene, Source
from model.input.visible import cut_masks

PARTS = 4
# Of the sides: how far from a border the parts meet, at least.
_LEAST_SHARE = 0.3
_MOST_ENLARGED = 4.0  # times the size at which the whole picture fits

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def quarters(shape: npt.NDArray[np.int32], centres: Floats) -> Ints:
    """Returns int64 [n, 4, 4]: top, left, height, width of the parts of each mosaic.

    Args:
        shape: [2], height and width of the input.
        centres: [n, 2] in 0-1, where the parts meet within the middle of the input.
    """
    share = _LEAST_SHARE + (1 - 2 * _LEAST_SHARE) * centres
    y, x = np.clip((share * shape).astype(np.int64), 1, shape - 1).T
    zero, height, width = np.zeros_like(y), shape[0] - y, shape[1] - x
    parts = [(zero, zero, y, x), (zero, x, y, width), (y, zero, height, x), (y, x, height, width)]
    return np.stack([np.stack(part, axis=1) for part in parts], axis=1)


def quarter_sources(source: Source, sizes: Ints, parts: Ints, places: Floats) -> Source:
    """Returns the sources with the sizes and windows that fill a quarter.

    Args:
        source: columns of n records.
        sizes: [n, 2], of the pictures as stored.
        parts: [n, 4], of the quarters.
        places: [n, 2] in 0-1, of the windows.
    """
    ratios = parts[:, 2:] / sizes
    scale = np.minimum(ratios.max(axis=1), _MOST_ENLARGED * ratios.min(axis=1))
    resized = np.maximum(np.floor(sizes * scale[:, np.newaxis] + 0.5), 1).astype(np.int64)
    kept = np.minimum(resized, parts[:, 2:])
    corners = (places * (resized - kept + 1)).astype(np.int64)
    return source._replace(
        height=resized[:, 0].astype(np.int32),
        width=resized[:, 1].astype(np.int32),
        crop=np.concatenate([corners, kept], axis=1).astype(np.int32),
    )


def mosaic(scenes: list[Scene], parts: tf.Tensor, size: tf.Tensor, max_objects: int) -> Scene:
    """Returns the four scenes as one, with at most `max_objects` objects, the largest.

    Args:
        scenes: each as large as its part or smaller.
        parts: int32 [4, 4], top, left, height, width.
        size: int32 [2], height and width of the whole.
        max_objects: M.
    """
    pieces = [_filled(scene.picture, parts[n, 2:]) for n, scene in enumerate(scenes)]
    above, below = tf.concat(pieces[:2], axis=1), tf.concat(pieces[2:], axis=1)
    objects = joined([_moved(scene, parts[n, :2]) for n, scene in enumerate(scenes)])
    window = tf.concat([[0, 0], size], axis=0)
    rows = kept_rows(objects.gt_boxes, objects.gt_is_crowd, window, max_objects)
    return Scene(tf.concat([above, below], axis=0), chosen(objects, rows))


def joined(several: list[Objects]) -> Objects:
    """Returns the rows of all, one after another."""
    return tf.nest.map_structure(lambda *rows: _joined_rows(rows), *several)


def _joined_rows(rows: tuple[tf.Tensor | None, ...]) -> tf.Tensor | None:
    return None if rows[0] is None else tf.concat(rows, axis=0)


def _filled(picture: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the picture with black to its right and below, of the size [2]."""
    rows, columns = tf.unstack(size - tf.shape(picture)[:2])
    return tf.pad(picture, [[0, rows], [0, columns], [0, 0]])


def _moved(scene: Scene, corner: tf.Tensor) -> Objects:
    """Returns the objects of a part in the frame of the whole; masks end with the part."""
    shift = tf.cast(tf.concat([corner, corner], axis=0), tf.float32)
    objects, masks = scene.objects, scene.objects.gt_masks
    if masks is not None:
        masks = cut_masks(masks, tf.cast(tf.shape(scene.picture)[:2], tf.float32))
        boxes = tf.where(masks.valid[:, tf.newaxis], masks.boxes + shift, 0.0)
        masks = masks._replace(boxes=boxes)
    return objects._replace(gt_boxes=objects.gt_boxes + shift, gt_masks=masks)
