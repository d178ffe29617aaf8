"""Which detection finds which object, by COCO's rule: all pictures, sizes and thresholds at once.

pycocotools walks through picture, class, size range, threshold, detection and object, in Python.
Here pairs that overlap enough are found in columns, and what remains in order is only the turn of a
detection among those of its picture and class: in each turn all pictures are matched together.

I pictures, K classes, D detections, G objects, A = 4 ranges of size, T = 10 IoU thresholds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any

import numpy as np

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
# Of areas in square pixels; both ends belong to a range.
AREAS = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
ANY_CLASS = -1  # the one class where classes are ignored

_PAIRS_AT_ONCE = 1 << 21  # of which the IoU is taken, so that memory stays bounded
_COUNTS = 1 << 30  # lifts every object that counts above all that are ignored

Overlaps = Callable[["_Side", "_Side", np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Matches:
    """What became of each detection, in the order of class, picture, falling score.

    Attributes:
        image_ids: [I] sorted.
        category_ids: [K] sorted; `[ANY_CLASS]` where classes are ignored.
        image: [D] int64, position in `image_ids`.
        category: [D] int64, position in `category_ids`.
        rank: [D] int64, place by score among those of its picture and class.
        score: [D] float64.
        source: [D] int64, position in the list of detections.
        right: [A, D] uint16; bit t: it finds an object that counts at threshold t.
        ignored: [A, D] uint16; bit t: it is neither right nor wrong at threshold t.
        finds: [D] int64, position in the list of objects of what it finds at IoU 0.50, any size;
            -1 for nothing.
        gt_image: [G] int64.
        gt_category: [G] int64.
        gt_counts: [A, G] bool: the object is to be found (no crowd, of that size).
        gt_source: [G] int64, position in the list of objects.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    image: np.ndarray
    category: np.ndarray
    rank: np.ndarray
    score: np.ndarray
    source: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    finds: np.ndarray
    gt_image: np.ndarray
    gt_category: np.ndarray
    gt_counts: np.ndarray
    gt_source: np.ndarray


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


@dataclass(frozen=True)
class _Side:
    """Objects or detections in columns, sorted by group: those of one class in one picture."""

    group: np.ndarray
    image: np.ndarray
    category: np.ndarray
    source: np.ndarray
    area: np.ndarray
    score: np.ndarray
    is_crowd: np.ndarray
    columns: Columns

    def taken(self, rows: np.ndarray) -> "_Side":
        """Returns some of the rows."""
        names = ("group", "image", "category", "source", "area", "score", "is_crowd")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def match(
    objects: Columns,
    detections: Columns,
    kind: str,
    image_ids: Sequence[int],
    category_ids: Sequence[int],
    class_agnostic: bool,
    max_detections: int,
) -> Matches:
    """Returns what each detection finds.

    Args:
        objects: what is to be found.
        detections: what was found.
        kind: "box" or "mask".
        image_ids: those of the pictures that count, sorted.
        category_ids: those of the classes that count, sorted.
        class_agnostic: any class of a detection is right.
        max_detections: those of a class in a picture that count, best first.
    """
    return _match(
        objects,
        detections,
        _box_overlaps if kind == "box" else _mask_overlaps,
        np.asarray(image_ids, int),
        np.asarray(category_ids, int),
        class_agnostic,
        max_detections,
    )


def overlaps_in_pictures(
    objects: Columns,
    detections: Columns,
    kind: str,
    image_ids: Sequence[int],
    category_ids: Sequence[int],
    lowest: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns which detections lie on which objects, of any class; crowds are left out.

    Args:
        objects: what is to be found.
        detections: what was found.
        kind: "box" or "mask".
        image_ids: those of the pictures that count, sorted.
        category_ids: those of the classes that count, sorted.
        lowest: IoU from which on a pair is one.

    Returns:
        Of each pair the positions in the list of detections and in that of objects, and the IoU.
    """
    images, categories = np.asarray(image_ids, int), np.asarray(category_ids, int)
    gts = _side(objects, images, categories, class_agnostic=True)
    gts = gts.taken(np.flatnonzero(~gts.is_crowd))
    dts = _side(detections, images, categories, class_agnostic=True)
    overlaps = _box_overlaps if kind == "box" else _mask_overlaps
    dt, gt, iou = _candidates(dts, gts, overlaps, lowest)
    return dts.source[dt], gts.source[gt], iou


def nothing_matched(
    objects: Columns,
    detections: Columns,
    image_ids: Sequence[int],
    category_ids: Sequence[int],
    class_agnostic: bool,
    max_detections: int,
) -> Matches:
    """Returns the columns of `match` without looking at boxes or masks: nothing finds anything."""
    return _match(
        objects,
        detections,
        lambda dts, gts, dt, gt: np.zeros(len(dt)),
        np.asarray(image_ids, int),
        np.asarray(category_ids, int),
        class_agnostic,
        max_detections,
    )


def _match(
    objects: Columns,
    detections: Columns,
    overlaps: Overlaps,
    images: np.ndarray,
    categories: np.ndarray,
    class_agnostic: bool,
    max_detections: int,
) -> Matches:
    gts = _side(objects, images, categories, class_agnostic)
    dts = _side(detections, images, categories, class_agnostic)
    rank = _places(dts.group)
    dts, rank = dts.taken(rank < max_detections), rank[rank < max_detections]
    counts = np.stack(
        [~gts.is_crowd & (gts.area >= low) & (gts.area <= high) for low, high in AREAS.values()]
    )
    outside = np.stack([(dts.area < low) | (dts.area > high) for low, high in AREAS.values()])
    right, excused, finds = _matched(dts, gts, counts, _candidates(dts, gts, overlaps))
    unmatched = ~(right | excused)
    return Matches(
        image_ids=images,
        category_ids=np.array([ANY_CLASS]) if class_agnostic else categories,
        image=dts.image,
        category=dts.category,
        rank=rank,
        score=dts.score,
        source=dts.source,
        right=right,
        ignored=excused | np.where(outside, unmatched & _ALL_THRESHOLDS, np.uint16(0)),
        finds=finds,
        gt_image=gts.image,
        gt_category=gts.category,
        gt_counts=counts,
        gt_source=gts.source,
    )


_ALL_THRESHOLDS = np.uint16((1 << len(IOU_THRESHOLDS)) - 1)


def _side(
    columns: Columns, images: np.ndarray, categories: np.ndarray, class_agnostic: bool
) -> _Side:
    """Returns the entries of some pictures and classes, in COCO's order: by score, then as given.

    Where classes are ignored, equal scores stand by class first, as in pycocotools.
    """
    source = np.flatnonzero(
        np.isin(columns.image_id, images) & np.isin(columns.category_id, categories)
    )
    image = np.searchsorted(images, columns.image_id[source])
    category = np.searchsorted(categories, columns.category_id[source])
    scores = columns.score[source]
    among = category if class_agnostic else np.zeros_like(category)
    group = image if class_agnostic else category * len(images) + image
    order = np.lexsort((source, among, -scores, group))
    return _Side(
        group=group[order],
        image=image[order],
        category=np.zeros_like(category) if class_agnostic else category[order],
        source=source[order],
        area=columns.area[source][order],
        score=scores[order],
        is_crowd=columns.is_crowd[source][order],
        columns=columns,
    )


def _places(group: np.ndarray) -> np.ndarray:
    """Returns the place of each row among the rows of its group, which lie together.

    >>> _places(np.array([4, 4, 7, 7, 7]))
    array([0, 1, 0, 1, 2])
    """
    rows = np.arange(len(group))
    is_first = np.ones(len(group), bool)
    is_first[1:] = group[1:] != group[:-1]
    return rows - np.maximum.accumulate(np.where(is_first, rows, 0))


def _candidates(
    dts: _Side, gts: _Side, overlaps: Overlaps, lowest: float = IOU_THRESHOLDS[0]
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


def _box_overlaps(dts: _Side, gts: _Side, dt: np.ndarray, gt: np.ndarray) -> np.ndarray:
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


def _boxes(side: _Side, rows: np.ndarray) -> np.ndarray:
    """Returns [4, n] float64 x, y, width, height."""
    boxes: np.ndarray = side.columns.boxes[side.source[rows]].T
    return boxes


def _mask_overlaps(dts: _Side, gts: _Side, dt: np.ndarray, gt: np.ndarray) -> np.ndarray:
    """Returns the IoU of pairs of masks, by pycocotools."""
    from pycocotools import mask as coco_mask

    iou = np.zeros(len(dt))
    starts = np.flatnonzero(np.diff(dts.group[dt], prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(dt)], strict=True):
        found, meant = np.unique(dt[start:stop]), np.unique(gt[start:stop])
        iou[start:stop] = np.asarray(
            coco_mask.iou(
                [dts.columns.entries[n]["segmentation"] for n in dts.source[found]],
                [gts.columns.entries[n]["segmentation"] for n in gts.source[meant]],
                gts.is_crowd[meant].astype(int).tolist(),
            )
        ).ravel()
    return iou


def _matched(
    dts: _Side,
    gts: _Side,
    counts: np.ndarray,
    candidates: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns `right` and `ignored` of matched detections, [A, D] uint16, and `finds` [D].

    A detection takes, of the objects that are free, the one with the highest IoU, the later of
    equals; one that counts before any that is ignored. A crowd is always free.
    """
    dt, gt, iou = candidates
    right = np.zeros((len(AREAS), len(dts.group)), np.uint16)
    excused = np.zeros_like(right)
    finds = np.full(len(dts.group), -1)
    taken = np.zeros((len(IOU_THRESHOLDS), len(AREAS), len(gts.group)), bool)
    bits = (np.uint16(1) << np.arange(len(IOU_THRESHOLDS), dtype=np.uint16))[:, None, None]
    by_iou = np.lexsort((gt, iou, dt))
    preference = np.empty(len(dt), np.int64)  # place by rising IoU, then by order, from 1
    preference[by_iou] = _places(dt[by_iou]) + 1
    turn = _turns(dts.group, dt)
    order = np.argsort(turn, kind="stable")
    bounds = np.searchsorted(turn[order], np.arange(turn.max(initial=-1) + 2))
    for start, stop in pairwise(bounds):
        now = order[start:stop]
        objects = gt[now]
        is_free = ~taken[:, :, objects] | gts.is_crowd[objects]
        is_near = (iou[now] >= IOU_THRESHOLDS[:, None])[:, None, :]
        key = np.where(is_free & is_near, preference[now] + _COUNTS * counts[:, objects], 0)
        firsts = np.flatnonzero(np.diff(dt[now], prepend=-1))
        best = np.maximum.reduceat(key, firsts, axis=-1)
        lengths = np.diff(firsts, append=len(now))
        is_match = (key > 0) & (key == np.repeat(best, lengths, axis=-1))
        taken[:, :, objects] |= is_match
        who = dt[now[firsts]]
        right[:, who] = ((best > _COUNTS) * bits).sum(axis=0, dtype=np.uint16)
        excused[:, who] = (((best > 0) & (best < _COUNTS)) * bits).sum(axis=0, dtype=np.uint16)
        pairs = np.flatnonzero(is_match[0, 0])
        finds[dt[now[pairs]]] = gts.source[objects[pairs]]
    return right, excused, finds


def _turns(group: np.ndarray, dt: np.ndarray) -> np.ndarray:
    """Returns for each candidate the place of its detection among its group's that have any."""
    detections, position = np.unique(dt, return_inverse=True)
    turns: np.ndarray = _places(group[detections])[position]
    return turns
