"""Objects that may be labelled wrongly: where a sure model and the ground truth disagree.

A suspicion is no proof. It is drawn from detections that are at least as sure as the better half of
the right ones of their class, from objects that nothing is found near although their like is, and
from objects that are there twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.coco_evaluator.chance import Array
from model.coco.boxes import xywh_to_yxyx
from model.evaluation.engine import Task
from model.evaluation.error_types import (
    BACKGROUND,
    CLASSIFICATION,
    ERROR_KINDS,
    FAR,
    LOCALISATION,
    ErrorTypes,
)
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.matching import AREAS, Matches, overlaps_in_pictures

NOT_LABELLED = "not labelled?"
OTHER_CLASS = "other class?"
OTHER_PLACE = "other place?"
NOT_THERE = "not there?"
TWICE = "labelled twice?"
SUSPICIONS = {
    NOT_LABELLED: "a sure detection where nothing is labelled",
    OTHER_CLASS: "a sure detection of another class on the object",
    OTHER_PLACE: "a sure detection that lies on a part of the object, or around it",
    NOT_THERE: "nothing is found near the object, although its like is",
    TWICE: "two objects of one class in one place",
}

_FEWEST_RIGHT = 5  # right detections of a class, to know what sure means
_FEWEST_ALIKE = 20  # objects of a class and size, of which most are found
_MOSTLY_FOUND = 0.9
_PARTLY = 0.3  # IoU from which on a detection means the object, if in another place
_SAME_PLACE = 0.9  # IoU of two objects


@dataclass(frozen=True)
class Suspect:
    """A label that may be wrong.

    Attributes:
        suspicion: one of SUSPICIONS.
        image_id: COCO's.
        category_id: the class that the object may be of.
        bbox: [x, y, width, height], where the object may be.
        sureness: 0-1: the detection's score, the share of the object's like that is found, or the
            overlap of two objects.
        annotation: the object as it is labelled; None where none is.
        segmentation: the detection's mask, where it has one.
    """

    suspicion: str
    image_id: int
    category_id: int
    bbox: Sequence[float]
    sureness: float
    annotation: Mapping[str, Any] | None = None
    segmentation: Any = None


def suspects(task: Task, matches: Matches, types: ErrorTypes) -> list[Suspect]:
    """Returns the labels that may be wrong, the surest first.

    Args:
        task: what was evaluated, by class.
        matches: what its detections find.
        types: the kinds of its errors.
    """
    found = [
        *_by_detections(task, matches, types),
        *_not_there(task, matches, types),
        *_twice(task),
    ]
    return sorted(found, key=lambda suspect: (-suspect.sureness, suspect.image_id))


def _by_detections(task: Task, matches: Matches, types: ErrorTypes) -> Iterator[Suspect]:
    is_ignored = (matches.ignored[0] & 1).astype(bool)
    sure = matches.score >= _sure_scores(matches)[matches.category]
    kind, overlap = types.kind, types.overlap
    chosen = {
        NOT_LABELLED: kind == ERROR_KINDS.index(BACKGROUND),
        OTHER_CLASS: (kind == ERROR_KINDS.index(CLASSIFICATION)) & types.finds,
        OTHER_PLACE: (kind == ERROR_KINDS.index(LOCALISATION)) & types.finds & (overlap >= _PARTLY),
    }
    for suspicion, rows in chosen.items():
        for row in np.flatnonzero(rows & sure & ~is_ignored).tolist():
            detection = task.detections[matches.source[row]]
            target = int(types.target[row])
            yield Suspect(
                suspicion,
                detection["image_id"],
                detection["category_id"],
                detection["bbox"],
                float(detection["score"]),
                None if target < 0 else task.objects[matches.gt_source[target]],
                detection.get("segmentation"),
            )


def _sure_scores(matches: Matches) -> Array:
    """Returns [K] the score of the middle right detection of each class; infinite of too few."""
    is_right = (matches.right[0] & 1).astype(bool)
    scores = np.full(len(matches.category_ids), np.inf)
    for k in range(len(scores)):
        right = matches.score[is_right & (matches.category == k)]
        if len(right) >= _FEWEST_RIGHT:
            scores[k] = np.median(right)
    return scores


def _not_there(task: Task, matches: Matches, types: ErrorTypes) -> Iterator[Suspect]:
    """Yields the objects without any detection near, where most of their class and size are found.

    Small objects, or those of a rare class, are missed too often to suspect anything.
    """
    _, near, _ = overlaps_in_pictures(
        task.object_columns,
        task.detections,
        task.kind,
        task.image_ids,
        task.category_ids,
        FAR,
    )
    has_any = np.zeros(len(task.objects), bool)
    has_any[near] = True
    is_alone = types.is_missed & ~has_any[matches.gt_source]
    for a in range(1, len(AREAS)):
        for k in range(len(matches.category_ids)):
            alike = matches.gt_counts[a] & (matches.gt_category == k)
            share = float(types.is_found[alike].mean()) if alike.sum() >= _FEWEST_ALIKE else 0.0
            if share < _MOSTLY_FOUND:
                continue
            for row in np.flatnonzero(alike & is_alone).tolist():
                thing = task.objects[matches.gt_source[row]]
                yield _of_object(NOT_THERE, thing, share)


def _twice(task: Task) -> Iterator[Suspect]:
    """Yields each object whose place is that of an earlier one of its class, once."""
    objects = task.object_columns
    first, later, overlap = overlaps_in_pictures(
        objects, objects, task.kind, task.image_ids, task.category_ids, _SAME_PLACE
    )
    is_pair = (first < later) & ~objects.is_crowd[first]
    is_pair &= objects.category_id[first] == objects.category_id[later]
    later, overlap = later[is_pair], overlap[is_pair]
    # The best of each comes first.
    order = np.lexsort((-overlap, later))
    rows, at = np.unique(later[order], return_index=True)
    for row, iou in zip(rows.tolist(), overlap[order][at].tolist(), strict=True):
        yield _of_object(TWICE, task.objects[row], iou)


def _of_object(suspicion: str, thing: Mapping[str, Any], sureness: float) -> Suspect:
    return Suspect(
        suspicion, thing["image_id"], thing["category_id"], thing["bbox"], sureness, thing
    )


def labelling_content(
    ground_truth: GroundTruth, found: Sequence[Suspect], source: str
) -> dict[str, Any]:
    """Returns a COCO instances file for a labelling tool: the suspected pictures.

    They have their objects as they are, and each suspicion as one object more, in a class of its
    own that says it: "not labelled? dog". An accepted one is moved to the class behind the words,
    the others are deleted. Ids of objects are new.

    Args:
        ground_truth: what was evaluated on.
        found: the suspicions.
        source: where the ground truth is from.
    """
    wanted = {suspect.image_id for suspect in found}
    names = {category["id"]: category["name"] for category in ground_truth.categories}
    categories = [dict(category) for category in ground_truth.categories]
    annotations = [
        dict(a) | {"id": number}
        for number, a in enumerate(
            (a for a in ground_truth.annotations if a["image_id"] in wanted), 1
        )
    ]
    class_of: dict[tuple[str, int], int] = {}
    for suspect in found:
        key = suspect.suspicion, suspect.category_id
        if key not in class_of:
            class_of[key] = max(category["id"] for category in categories) + 1
            name = f"{suspect.suspicion} {names[suspect.category_id]}"
            categories.append(
                {"id": class_of[key], "name": name, "supercategory": suspect.suspicion}
            )
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": suspect.image_id,
                "category_id": class_of[key],
                "bbox": list(suspect.bbox),
                "area": suspect.bbox[2] * suspect.bbox[3],
                "iscrowd": 0,
                "segmentation": suspect.segmentation or [_outline(suspect.bbox)],
                "score": round(suspect.sureness, 4),
            }
        )
    return {
        "info": {"description": f"Labels that may be wrong, of {source}", **SUSPICIONS},
        "images": [image for image in ground_truth.images if image["id"] in wanted],
        "categories": categories,
        "annotations": annotations,
    }


def _outline(bbox: Sequence[float]) -> list[float]:
    ymin, xmin, ymax, xmax = xywh_to_yxyx(bbox)
    return [xmin, ymin, xmax, ymin, xmax, ymax, xmin, ymax]
