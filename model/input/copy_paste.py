"""Copy-paste: objects of one picture, cut out by their masks, in another.

What they cover of the other's objects is taken from their masks, and their boxes shrink to what is
left; one that is covered wholly, or without a mask nearly so, is no ground truth any more. Crowd
regions and objects without a mask are not pasted, nor more than there are rows for.

Reference: 2012.07177, section 3. As there, edges are not blended.
"""

import tensorflow as tf

from model.batch import Masks
from model.input.augment import crop_boxes
from model.input.mosaic import joined
from model.input.objects import Objects, chosen
from model.input.scene import Scene, shown
from model.input.visible import cut_masks, in_window, seen_boxes

_HIDDEN_SHARE = 0.9  # of a box without a mask, from which on its object counts as covered
# A little less than a half: where a mask ends at the picture's border its last pixels lie between
# a set cell and none.
_LEAST_COVER = 0.499


def pasted(
    scene: Scene, other: Scene, seed: tf.Tensor, object_probability: float, max_objects: int
) -> Scene:
    """Returns the scene with some objects of another in it, both with masks.

    Args:
        scene: keeps its size.
        other: cut off, or black beyond its border, where its size differs.
        seed: int32 [2], chooses the objects.
        object_probability: chance of each.
        max_objects: M.
    """
    size, other_size = tf.shape(scene.picture)[:2], tf.shape(other.picture)[:2]
    shared = tf.minimum(size, other_size)
    window = tf.cast(shared, tf.float32)
    new = _chosen_objects(other.objects, seed, object_probability)
    boxes = crop_boxes(new.gt_boxes, tf.concat([[0, 0], shared], axis=0))
    masks = _masks(new)
    boxes = seen_boxes(boxes, masks, in_window(masks, window), window)
    masks = cut_masks(masks, tf.cast(other_size, tf.float32))
    new = shown(new._replace(gt_boxes=boxes, gt_masks=masks))
    room = max_objects - tf.size(scene.objects.gt_classes)
    new = chosen(new, tf.range(tf.minimum(tf.size(new.gt_classes), room)))
    rows, columns = tf.unstack(size - shared)
    cover = tf.pad(covered_pixels(_masks(new), shared), [[0, rows], [0, columns]])
    picture = tf.where(cover[..., tf.newaxis], _fitted(other.picture, size), scene.picture)
    return Scene(picture, joined([_uncovered(scene.objects, cover), new]))


def covered_pixels(masks: Masks, size: tf.Tensor) -> tf.Tensor:
    """Returns bool [h, w]: the pixels whose middle lies in one of the masks, bilinearly read.

    Args:
        masks: masks of n rows.
        size: int32 [2], height and width.
    """

    def add(cover: tf.Tensor, mask: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        bitmap, box = mask
        weights, ends = [], []
        for axis in (0, 1):
            limit = tf.cast(size[axis], tf.float32)
            start = tf.floor(tf.clip_by_value(box[axis], 0.0, limit))
            end = tf.math.ceil(tf.clip_by_value(box[axis + 2], start, limit))
            weights.append(_reads(start, end, box[axis], box[axis + 2], bitmap.shape[0]))
            ends.append(tf.cast([start, limit - end], tf.int32))
        rows, columns = weights
        values = tf.matmul(rows @ tf.cast(bitmap, tf.float32), columns, transpose_b=True)
        return cover | tf.pad(values > _LEAST_COVER, ends)

    nothing = tf.zeros(size, tf.bool)
    cover = tf.foldl(add, (masks.bitmaps, masks.boxes), nothing)
    return tf.ensure_shape(cover, [None, None])


def _reads(
    start: tf.Tensor, end: tf.Tensor, low: tf.Tensor, high: tf.Tensor, cells: int
) -> tf.Tensor:
    """Returns float32 [pixels, cells]: the weights by which pixels from start to end read cells."""
    middles = tf.range(start, end) + 0.5
    place = tf.math.divide_no_nan(middles - low, high - low) * float(cells) - 0.5
    distances = tf.abs(place[:, tf.newaxis] - tf.range(cells, dtype=tf.float32))
    return tf.maximum(1.0 - distances, 0.0)


def _masks(objects: Objects) -> Masks:
    if objects.gt_masks is None:
        raise ValueError("copy-paste cuts objects out by their masks; expected objects with masks")
    return objects.gt_masks


def _chosen_objects(objects: Objects, seed: tf.Tensor, probability: float) -> Objects:
    # The generator is named: what "auto" is depends on the device.
    chance = tf.random.stateless_uniform([tf.size(objects.gt_classes)], seed, alg="philox")
    return chosen(objects, _masks(objects).valid & ~objects.gt_is_crowd & (chance < probability))


def _fitted(picture: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the picture cut off, and black beyond its border, at the size [2]."""
    cut = picture[: size[0], : size[1]]
    rows, columns = tf.unstack(size - tf.shape(cut)[:2])
    return tf.pad(cut, [[0, rows], [0, columns], [0, 0]])


def _uncovered(objects: Objects, cover: tf.Tensor) -> Objects:
    """Returns what is left of the objects where some pixels are covered."""
    masks, window = _masks(objects), tf.cast(tf.shape(cover), tf.float32)
    left = masks._replace(
        bitmaps=tf.where(_cells_under(cover, masks), tf.zeros([], tf.uint8), masks.bitmaps)
    )
    boxes = seen_boxes(objects.gt_boxes, masks, in_window(left, window), window)
    # The sums over a whole picture take longer than all else here, and only boxes without a mask
    # ask for them.
    is_hidden = tf.cond(
        tf.reduce_all(masks.valid),
        lambda: tf.zeros_like(masks.valid),
        lambda: ~masks.valid & (_covered_share(cover, boxes) >= _HIDDEN_SHARE),
    )
    boxes = tf.where(is_hidden[:, tf.newaxis], 0.0, boxes)
    return shown(objects._replace(gt_boxes=boxes, gt_masks=left))


def _cells_under(cover: tf.Tensor, masks: Masks) -> tf.Tensor:
    """Returns bool [n, S, S]: the cells whose middle lies on a covered pixel."""
    side = masks.bitmaps.shape[1]
    size = tf.shape(cover)
    steps = (tf.range(side, dtype=tf.float32) + 0.5) / float(side)
    places, inside = [], []
    for axis in (0, 1):
        low, high = masks.boxes[:, axis, tf.newaxis], masks.boxes[:, axis + 2, tf.newaxis]
        pixel = tf.cast(tf.floor(low + steps * (high - low)), tf.int32)
        inside.append((pixel >= 0) & (pixel < size[axis]))
        places.append(tf.clip_by_value(pixel, 0, size[axis] - 1))
    rows, columns = places[0][:, :, tf.newaxis], places[1][:, tf.newaxis, :]
    found = tf.gather(tf.reshape(cover, [-1]), rows * size[1] + columns)
    return found & inside[0][:, :, tf.newaxis] & inside[1][:, tf.newaxis, :]


def _covered_share(cover: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Returns float32 [n], the share of each box's pixels that are covered."""
    sums = tf.pad(tf.cumsum(tf.cumsum(tf.cast(cover, tf.int32), axis=0), axis=1), [[1, 0], [1, 0]])
    top, left = tf.unstack(tf.cast(tf.floor(boxes[:, :2]), tf.int32), axis=1)
    bottom, right = tf.unstack(tf.cast(tf.math.ceil(boxes[:, 2:]), tf.int32), axis=1)

    def until(y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        return tf.gather_nd(sums, tf.stack([y, x], axis=1))

    covered = until(bottom, right) - until(top, right) - until(bottom, left) + until(top, left)
    return tf.math.divide_no_nan(
        tf.cast(covered, tf.float32), tf.cast((bottom - top) * (right - left), tf.float32)
    )
