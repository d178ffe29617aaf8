"""Where AP is lost: six kinds of errors, and what each costs.

Every wrong detection, and every object that is not found, is of one kind; what a kind costs is how
much AP at IoU 0.50 would rise were its errors mended and all else left. The costs do not add up to
what is missing from 1: a mended error may make room for another.

Reference: Bolya, Foley, Hays, Hoffman, "TIDE: A General Toolbox for Identifying Object Detection
Errors", ECCV 2020, section 2; the numbers are those of its package tidecv 1.0.1.

D detections and G objects in the order of `Matches`, K classes.
"""

from dataclasses import dataclass

import numpy as np

from model.evaluation.engine import Task
from model.evaluation.matching import Matches, overlaps_in_pictures

CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND, MISSED = ERROR_KINDS = (
    "classification",
    "localisation",
    "both",
    "duplicate",
    "background",
    "missed",
)
ALL_WRONG, ALL_MISSED = "every wrong detection", "every missed object"
NEAR = 0.5  # IoU from which on a detection is on an object
FAR = 0.1  # IoU up to which it is on the background
_RECALLS = np.arange(101) / 100


@dataclass(frozen=True)
class ErrorTypes:
    """The kind of every error.

    Attributes:
        kind: [D] int, position in ERROR_KINDS; -1 of what is right.
        target: [D] row of the object that a classification or localisation error is about, or that
            a duplicate finds again; -1 of others.
        finds: [D] bool: mended, the detection would find its target, as the surest of those that
            are about it.
        is_found: [G] bool.
        is_missed: [G] bool: nothing finds the object, nor would anything that is mended.
        overlap: [D] IoU with the target; 0 without one.
    """

    kind: np.ndarray
    target: np.ndarray
    finds: np.ndarray
    is_found: np.ndarray
    is_missed: np.ndarray
    overlap: np.ndarray


def error_types(task: Task, matches: Matches) -> ErrorTypes:
    """Returns the kind of every error at IoU 0.50.

    Args:
        task: what was evaluated, by class.
        matches: what its detections find.
    """
    dt_source, gt_source, iou = overlaps_in_pictures(
        task.object_columns,
        task.detections,
        task.kind,
        task.image_ids,
        task.category_ids,
        FAR,
    )
    dt, gt = _rows(matches.source, dt_source), _rows(matches.gt_source, gt_source)
    counts = (dt >= 0) & (gt >= 0)
    dt, gt, iou = dt[counts], gt[counts], iou[counts]
    is_found = np.zeros(len(matches.gt_source), bool)
    is_right = (matches.right[0] & 1).astype(bool)
    found = _rows(matches.gt_source, matches.finds[is_right])
    is_found[found] = True
    same = matches.category[dt] == matches.gt_category[gt]

    own, own_iou = _nearest(dt, gt, iou, same, len(is_right))
    other, other_iou = _nearest(dt, gt, iou, ~same, len(is_right))
    again, again_iou = _nearest(dt, gt, iou, same & is_found[gt], len(is_right))
    _, any_iou = _nearest(dt, gt, iou, np.ones_like(same), len(is_right))
    choices = [
        is_right,
        (own_iou >= FAR) & (own_iou <= NEAR),
        other_iou >= NEAR,
        again_iou >= NEAR,
        any_iou <= FAR,
    ]
    kinds = [-1, *map(ERROR_KINDS.index, (LOCALISATION, CLASSIFICATION, DUPLICATE, BACKGROUND))]
    kind = np.select(choices, kinds, ERROR_KINDS.index(BOTH))
    nothing = np.full_like(own, -1)
    target = np.select(choices, [nothing, own, other, again, nothing], nothing)
    zero = np.zeros_like(own_iou)
    overlap = np.select(choices, [zero, own_iou, other_iou, again_iou, zero], zero)

    may_find = (kind == ERROR_KINDS.index(LOCALISATION)) | (
        kind == ERROR_KINDS.index(CLASSIFICATION)
    )
    may_find &= ~np.append(is_found, True)[target]
    rows = np.flatnonzero(may_find)
    rows = rows[np.lexsort((matches.source[rows], -matches.score[rows], target[rows]))]
    _, firsts = np.unique(target[rows], return_index=True)
    finds = np.zeros(len(kind), bool)
    finds[rows[firsts]] = True
    is_missed = matches.gt_counts[0] & ~is_found
    is_missed[target[rows]] = False
    return ErrorTypes(kind, target, finds, is_found, is_missed, overlap)


def _rows(source: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns the row of each position in a list; -1 of one that has none."""
    row_of = np.full(max(source.max(initial=-1), wanted.max(initial=-1)) + 1, -1)
    row_of[source] = np.arange(len(source))
    rows: np.ndarray = row_of[wanted]
    return rows


def _nearest(
    dt: np.ndarray, gt: np.ndarray, iou: np.ndarray, chosen: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each detection the nearest object of the chosen pairs, or -1, and the IoU."""
    nearest, best = np.full(count, -1), np.zeros(count)
    dt, gt, iou = dt[chosen], gt[chosen], iou[chosen]
    order = np.lexsort((gt, -iou, dt))
    who, firsts = np.unique(dt[order], return_index=True)
    nearest[who] = gt[order[firsts]]
    best[who] = iou[order[firsts]]
    return nearest, best


@dataclass(frozen=True)
class ErrorCosts:
    """What errors cost.

    Attributes:
        ap: [K] AP at IoU 0.50; NaN of classes without objects.
        mended: [K] likewise by kind, and for ALL_WRONG and ALL_MISSED, were it mended.
        counts: [K] errors by kind, those of a detection by its own class.
    """

    ap: np.ndarray
    mended: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]

    def cost(self, kind: str) -> float:
        """Returns what a kind costs in the mean over the classes that have objects."""
        return max(0.0, _mean(self.mended[kind]) - _mean(self.ap))

    def cost_by_class(self, kind: str) -> np.ndarray:
        """Returns what a kind costs in each class [K]; NaN without objects."""
        costs: np.ndarray = np.maximum(self.mended[kind] - self.ap, 0.0)
        return costs


def error_costs(matches: Matches, types: ErrorTypes) -> ErrorCosts:
    """Returns what each kind of errors costs in AP at IoU 0.50."""
    num_classes = len(matches.category_ids)
    is_right = types.kind < 0
    is_ignored = (matches.ignored[0] & 1).astype(bool)
    to_find = np.bincount(matches.gt_category[matches.gt_counts[0]], minlength=num_classes)
    missed = np.bincount(matches.gt_category[types.is_missed], minlength=num_classes)
    unfound = matches.gt_counts[0] & ~types.is_found
    all_missed = np.bincount(matches.gt_category[unfound], minlength=num_classes)
    own = matches.category
    target = np.append(matches.gt_category, -1)[types.target]
    ap = _average_precisions(own, matches.score, is_right, ~is_ignored, to_find)
    mended, counts = {}, {}
    for number, kind in enumerate(ERROR_KINDS):
        mine = types.kind == number
        finds = mine & types.finds
        category = np.where(finds, target, own)
        mended[kind] = _average_precisions(
            category,
            matches.score,
            is_right | finds,
            (~is_ignored & ~mine) | finds,
            to_find - (missed if kind == MISSED else 0),
        )
        counts[kind] = np.bincount(own[mine], minlength=num_classes)
    counts[MISSED] = missed
    certain = np.where(is_right, 1.0, 0.0)
    mended[ALL_WRONG] = _average_precisions(own, certain, is_right, ~is_ignored, to_find)
    mended[ALL_MISSED] = _average_precisions(
        own, matches.score, is_right, ~is_ignored, to_find - all_missed
    )
    for values in mended.values():
        values[to_find == 0] = np.nan
    return ErrorCosts(ap, mended, counts)


def _average_precisions(
    category: np.ndarray,
    score: np.ndarray,
    is_right: np.ndarray,
    counts: np.ndarray,
    to_find: np.ndarray,
) -> np.ndarray:
    """Returns [K] AP; NaN of classes in which nothing is to be found.

    Args:
        category: [D] of each detection.
        score: [D].
        is_right: [D] bool.
        counts: [D] bool: the others are left out.
        to_find: [K] objects.
    """
    rows = np.flatnonzero(counts)
    rows = rows[np.lexsort((rows, -score[rows], category[rows]))]
    bounds = np.searchsorted(category[rows], np.arange(len(to_find) + 1))
    result = np.full(len(to_find), np.nan)
    for k, objects in enumerate(to_find):
        if objects <= 0:
            continue
        right = is_right[rows[bounds[k] : bounds[k + 1]]]
        found = np.cumsum(right)
        precision = found / np.arange(1, len(right) + 1)
        best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        result[k] = best[np.searchsorted(found / objects, _RECALLS)].mean()
    return result


def _mean(values: np.ndarray) -> float:
    return 0.0 if np.isnan(values).all() else float(np.nanmean(values))
