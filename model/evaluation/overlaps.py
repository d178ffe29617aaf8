"""Objects and detections of a class in a picture side by side, and the IoU of their pairs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from model.evaluation.columns import Columns

_PAIRS_AT_ONCE = 1 << 16  # of which the IoU is taken; what fits a processor's cache

Overlaps = Callable[["Side", "Side", np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Side:
    """Objects or detections in columns, sorted by group: those of one class in one picture."""

    group: np.ndarray
    image: np.ndarray
    category: np.ndarray
    source: np.ndarray
    area: np.ndarray
    score: np.ndarray
    is_crowd: np.ndarray
    columns: Columns

    def taken(self, rows: np.ndarray) -> "Side":
        """Returns some of the rows."""
        names = ("group", "image", "category", "source", "area", "score", "is_crowd")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def side_of(
    columns: Columns, images: np.ndarray, categories: np.ndarray, class_agnostic: bool
) -> Side:
    """Returns the entries of some pictures and classes, in COCO's order: by score, then as given.

    Where classes are ignored, equal scores stand by class first, as in pycocotools.
    """
    images_of = _found(images, columns.image_id)
    categories_of = _found(categories, columns.category_id)
    source = np.flatnonzero((images_of >= 0) & (categories_of >= 0))
    image, category, scores = images_of[source], categories_of[source], columns.score[source]
    group = image if class_agnostic else category * len(images) + image
    order = np.lexsort((category, -scores, group) if class_agnostic else (-scores, group))
    return Side(
        group=group[order],
        image=image[order],
        category=np.zeros_like(category) if class_agnostic else category[order],
        source=source[order],
        area=columns.area[source][order],
        score=scores[order],
        is_crowd=columns.is_crowd[source][order],
        columns=columns,
    )


def _found(known: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Returns the place of each id among the known ones, which are sorted; -1 of an unknown one."""
    if not len(known):
        return np.full(len(ids), -1)
    place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.where(known[place] == ids, place, -1)


def places(group: np.ndarray) -> np.ndarray:
    """Returns the place of each row among the rows of its group, which lie together.

    >>> places(np.array([4, 4, 7, 7, 7]))
    array([0, 1, 0, 1, 2])
    """
    rows = np.arange(len(group))
    is_first = np.ones(len(group), bool)
    is_first[1:] = group[1:] != group[:-1]
    return rows - np.maximum.accumulate(np.where(is_first, rows, 0))


def candidates(
    dts: Side, gts: Side, overlaps: Overlaps, lowest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the pairs of a group whose IoU reaches the lowest threshold: detection, object, IoU.

    They are sorted by detection, then object.
    """
    first = np.searchsorted(gts.group, dts.group, side="left")
    per_detection = np.searchsorted(gts.group, dts.group, side="right") - first
    ends = np.cumsum(per_detection)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    start = 0
    while start < len(per_detection):
        done = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")), start + 1)
        counts = per_detection[start:stop]
        dt = np.repeat(np.arange(start, stop), counts)
        within = np.arange(len(dt)) - np.repeat(np.cumsum(counts) - counts, counts)
        gt = first[dt] + within
        iou = overlaps(dts, gts, dt, gt)
        near = iou >= lowest
        found.append((dt[near], gt[near], iou[near]))
        start = stop
    if not found:
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    columns = (np.concatenate(column) for column in zip(*found, strict=True))
    return next(columns), next(columns), next(columns)


def box_overlaps(dts: Side, gts: Side, dt: np.ndarray, gt: np.ndarray) -> np.ndarray:
    """Returns the IoU of pairs of boxes, bit by bit as pycocotools' C code computes it."""
    dt_x, dt_y, dt_w, dt_h = _boxes(dts, dt)
    gt_x, gt_y, gt_w, gt_h = _boxes(gts, gt)
    width = np.minimum(dt_w + dt_x, gt_w + gt_x) - np.maximum(dt_x, gt_x)
    height = np.minimum(dt_h + dt_y, gt_h + gt_y) - np.maximum(dt_y, gt_y)
    meets = (width > 0) & (height > 0)
    inner = width * height
    dt_area, gt_area = dt_w * dt_h, gt_w * gt_h
    outer = np.where(gts.is_crowd[gt], dt_area, dt_area + gt_area - inner)
    return np.divide(inner, outer, out=np.zeros(len(dt)), where=meets)


def mask_overlaps(dts: Side, gts: Side, dt: np.ndarray, gt: np.ndarray) -> np.ndarray:
    """Returns the IoU of pairs of masks, by pycocotools."""
    from pycocotools import mask as coco_mask

    iou = np.zeros(len(dt))
    starts = np.flatnonzero(np.diff(dts.group[dt], prepend=-1))
    stops = np.flatnonzero(np.diff(dts.group[dt], append=-1)) + 1  # none without pairs, as starts
    for start, stop in zip(starts, stops, strict=True):
        found, meant = np.unique(dt[start:stop]), np.unique(gt[start:stop])
        iou[start:stop] = np.asarray(
            coco_mask.iou(
                dts.columns.masks_of(dts.source[found]),
                gts.columns.masks_of(gts.source[meant]),
                gts.is_crowd[meant].astype(int).tolist(),
            )
        ).ravel()
    return iou


def _boxes(side: Side, rows: np.ndarray) -> np.ndarray:
    """Returns [4, n] float64 x, y, width, height."""
    boxes: np.ndarray = side.columns.boxes[side.source[rows]].T
    return boxes
