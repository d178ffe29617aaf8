"""Which detection finds which object, by COCO's rule: all pictures, sizes and thresholds at once.

pycocotools walks through picture, class, size range, threshold, detection and object, in Python.
Here pairs that overlap enough are found in columns, and what remains in order is only the turn of a
detection among those of its picture and class: in each turn all pictures are matched together.

I pictures, K classes, D detections, G objects, A = 4 ranges of size, T = 10 IoU thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from model.evaluation.columns import Columns
from model.evaluation.overlaps import (
    Overlaps,
    Side,
    box_overlaps,
    candidates,
    mask_overlaps,
    places,
    side_of,
)

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
# Of areas in square pixels; both ends belong to a range.
AREAS = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
ANY_CLASS = -1  # the one class where classes are ignored

_ALL_THRESHOLDS = np.uint16((1 << len(IOU_THRESHOLDS)) - 1)
_PAIRS_AT_ONCE = 1 << 14  # of a turn; each takes T x A numbers a few times
_COUNTS = 1 << 30  # lifts every object that counts above all that are ignored


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
        box_overlaps if kind == "box" else mask_overlaps,
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
    gts = side_of(objects, images, categories, class_agnostic=True)
    gts = gts.taken(np.flatnonzero(~gts.is_crowd))
    dts = side_of(detections, images, categories, class_agnostic=True)
    overlaps = box_overlaps if kind == "box" else mask_overlaps
    dt, gt, iou = candidates(dts, gts, overlaps, lowest)
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
    gts = side_of(objects, images, categories, class_agnostic)
    dts = side_of(detections, images, categories, class_agnostic)
    rank = places(dts.group)
    dts, rank = dts.taken(rank < max_detections), rank[rank < max_detections]
    counts = np.stack(
        [~gts.is_crowd & (gts.area >= low) & (gts.area <= high) for low, high in AREAS.values()]
    )
    outside = np.stack([(dts.area < low) | (dts.area > high) for low, high in AREAS.values()])
    right, excused, finds = _matched(
        dts, gts, counts, candidates(dts, gts, overlaps, IOU_THRESHOLDS[0])
    )
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


def _matched(
    dts: Side,
    gts: Side,
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
    preference[by_iou] = places(dt[by_iou]) + 1
    turn = _turns(dts.group, dt)
    order = np.argsort(turn, kind="stable")
    for start, stop in pairwise(_bounds(turn[order], dt[order])):
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


def _bounds(turn: np.ndarray, dt: np.ndarray) -> list[int]:
    """Returns where the pairs are parted, after each turn and about every _PAIRS_AT_ONCE of it.

    Those of a detection stay together; the detections of a turn are of different groups.
    """
    is_first = np.ones(len(dt) + 1, bool)
    is_first[1:-1] = (turn[1:] != turn[:-1]) | (dt[1:] != dt[:-1])
    firsts = np.flatnonzero(is_first)
    begins_turn = np.searchsorted(turn, np.arange(turn.max(initial=-1) + 2))
    places = [np.arange(a, b, _PAIRS_AT_ONCE) for a, b in pairwise(begins_turn)]
    wanted = np.concatenate([*places, [len(dt)]]).astype(int)
    return np.unique(firsts[np.searchsorted(firsts, wanted)]).tolist()


def _turns(group: np.ndarray, dt: np.ndarray) -> np.ndarray:
    """Returns for each candidate the place of its detection among its group's that have any."""
    detections, position = np.unique(dt, return_inverse=True)
    turns: np.ndarray = places(group[detections])[position]
    return turns
