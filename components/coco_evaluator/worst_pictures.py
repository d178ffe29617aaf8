"""Where a model is wrong: the pictures with most errors. Pure."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.coco_evaluator.chance import Array
from model.evaluation.engine import Task
from model.evaluation.matching import Matches


@dataclass(frozen=True)
class JudgedPicture:
    """The objects and detections of a picture at a score threshold (boxes, IoU 0.50).

    Crowds, and detections that lie in one, are in none of the lists.

    Attributes:
        image_id: COCO's.
        found: objects with a detection.
        missed: objects without one.
        right: detections with an object.
        wrong: detections without one.
    """

    image_id: int
    found: list[dict[str, Any]]
    missed: list[dict[str, Any]]
    right: list[dict[str, Any]]
    wrong: list[dict[str, Any]]


def worst_pictures(task: Task, matches: Matches, score: float, count: int) -> list[JudgedPicture]:
    """Returns up to `count` pictures with errors at a score threshold, most errors first.

    Among equals the one with the larger share of errors comes first, then the lower id.

    Args:
        task: what was evaluated.
        matches: what its detections find.
        score: detections that score at least this count.
        count: how many.
    """
    is_sure = matches.score >= score
    is_right = (matches.right[0] & 1).astype(bool) & is_sure
    is_wrong = (((matches.right[0] | matches.ignored[0]) & 1) == 0) & is_sure
    pictures = len(task.image_ids)
    found = np.bincount(matches.image[is_right], minlength=pictures)
    wrong = np.bincount(matches.image[is_wrong], minlength=pictures)
    to_find = np.bincount(matches.gt_image[matches.gt_counts[0]], minlength=pictures)
    errors = to_find - found + wrong
    order = np.lexsort((np.arange(pictures), found, -errors))
    worst = [place for place in order[:count].tolist() if errors[place]]
    return [_judged(task, matches, place, is_right, is_wrong) for place in worst]


def _judged(
    task: Task, matches: Matches, place: int, is_right: Array, is_wrong: Array
) -> JudgedPicture:
    here = matches.image == place
    objects = matches.gt_source[(matches.gt_image == place) & matches.gt_counts[0]].tolist()
    found = set(matches.finds[is_right & here].tolist())
    return JudgedPicture(
        task.image_ids[place],
        found=[task.objects[n] for n in objects if n in found],
        missed=[task.objects[n] for n in objects if n not in found],
        right=[task.detections[n] for n in matches.source[is_right & here].tolist()],
        wrong=[task.detections[n] for n in matches.source[is_wrong & here].tolist()],
    )
