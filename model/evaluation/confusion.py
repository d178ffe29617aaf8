"""Which class is taken for which, at a score and IoU 0.50.

An object counts with the detection of its own class that finds it, as in COCO's matching; what is
left over of both sides is paired across the classes, the surest detection first, by the highest
IoU. The last row and column stand for nothing: false alarms, and misses.
"""

import numpy as np

from model.evaluation.engine import Task
from model.evaluation.error_types import NEAR
from model.evaluation.matching import Matches, overlaps_in_pictures


def confusion(task: Task, matches: Matches, score: float) -> np.ndarray:
    """Returns [K + 1, K + 1] counts: a row for the true class, a column for the detected one.

    Args:
        task: what was evaluated, by class.
        matches: what its detections find.
        score: detections that score at least this count.
    """
    nothing = len(matches.category_ids)
    counts = np.zeros((nothing + 1, nothing + 1), int)
    is_sure = matches.score >= score
    is_right = (matches.right[0] & 1).astype(bool) & is_sure
    is_wrong = (((matches.right[0] | matches.ignored[0]) & 1) == 0) & is_sure
    row_of = {source: row for row, source in enumerate(matches.gt_source.tolist())}
    found = np.array([row_of[source] for source in matches.finds[is_right].tolist()], int)
    np.add.at(counts, (matches.gt_category[found], matches.category[is_right]), 1)
    is_left = matches.gt_counts[0].copy()
    is_left[found] = False
    for dt, gt in _pairs(task, matches, is_wrong, is_left):
        counts[matches.gt_category[gt], matches.category[dt]] += 1
        is_wrong[dt] = is_left[gt] = False
    np.add.at(counts, (nothing, matches.category[is_wrong]), 1)
    np.add.at(counts, (matches.gt_category[is_left], nothing), 1)
    return counts


def _pairs(
    task: Task, matches: Matches, is_wrong: np.ndarray, is_left: np.ndarray
) -> list[tuple[int, int]]:
    """Returns pairs of a wrong detection and an object that nothing finds, each in one at most."""
    dt_row = {source: row for row, source in enumerate(matches.source.tolist()) if is_wrong[row]}
    gt_row = {source: row for row, source in enumerate(matches.gt_source.tolist()) if is_left[row]}
    left = sorted(gt_row)
    wrong = sorted(dt_row)
    dts, gts, iou = overlaps_in_pictures(
        task.object_columns.taken(left),
        task.detections.taken(wrong),
        task.kind,
        task.image_ids,
        task.category_ids,
        NEAR,
    )
    rows = [(dt_row[wrong[d]], gt_row[left[g]]) for d, g in zip(dts, gts, strict=True)]
    order = sorted(range(len(rows)), key=lambda n: (-matches.score[rows[n][0]], -iou[n], rows[n]))
    chosen: list[tuple[int, int]] = []
    used: set[tuple[str, int]] = set()
    for n in order:
        dt, gt = rows[n]
        if ("dt", dt) not in used and ("gt", gt) not in used:
            used |= {("dt", dt), ("gt", gt)}
            chosen.append((dt, gt))
    return chosen
