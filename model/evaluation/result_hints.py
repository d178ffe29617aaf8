"""What fits instead, where detections and ground truth do not belong together."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ground.wording import plural
from model.coco.hints import as_positions, format_of_boxes
from model.coco.values import meant_integer
from model.evaluation.ground_truth import GroundTruth

_FEWEST_IDS = 2  # of one alone nothing can be told
_SAMPLE = 500
_FEW_PICTURES = 0.5  # share of the pictures with objects


def why_unknown(
    what: str, detections: Sequence[Mapping[str, Any]], ground_truth: GroundTruth
) -> str:
    """Returns how many ids of detections are unknown, and what they look like.

    Args:
        what: "image" or "category".
        detections: what was found, in COCO's results form.
        ground_truth: that does not know all of the ids.
    """
    stated = {meant_integer(detection.get(f"{what}_id")) for detection in detections} - {None}
    ids: set[int] = stated  # type: ignore[assignment]
    is_image = what == "image"
    entries = ground_truth.images if is_image else ground_truth.categories
    known = {entry["id"] for entry in entries}
    shared = f"{len(ids & known):,} of {len(ids):,} {what} ids of the detections are known"
    if not ids:
        return f"{what}s are named, as they are nowhere in the ground truth"
    looks = _of_pictures(ids, ground_truth) if is_image else ""
    looks = looks or as_positions(ids, known, "images" if is_image else "categories")
    return f"{shared}; {looks}" if looks else shared


def _of_pictures(ids: set[int], ground_truth: GroundTruth) -> str:
    for split, others in ground_truth.ids_of_other_splits().items():
        if ids <= others:
            return f"they are those of split {split!r}: give it as --split"
    stems = {
        meant_integer(os.path.splitext(os.path.basename(image["file_name"]))[0])
        for image in ground_truth.images
    }
    if len(ids) >= _FEWEST_IDS and ids <= stems:
        return "they are the numbers of the file names: write the `id` of the entry in `images`"
    return ""


def notes_on_detections(
    ground_truth: GroundTruth, detections: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Returns what is odd about the detections of a file, though each of them can be measured.

    Args:
        ground_truth: what is to be found.
        detections: what was found, as in the file.
    """
    objects = [a for a in ground_truth.annotations if not a["iscrowd"]]
    if not detections or not objects:
        return []
    with_objects = {annotation["image_id"] for annotation in objects}
    with_any = {meant_integer(detection["image_id"]) for detection in detections}
    notes = []
    if len(with_objects & with_any) < _FEW_PICTURES * len(with_objects):
        notes.append(
            f"none in {len(with_objects - with_any):,} of {plural(len(with_objects), 'picture')} "
            "with objects: are they of another split?"
        )
    notes += _note_on_categories(ground_truth, objects, detections)
    boxes = [d for d in detections[:_SAMPLE] if d.get("bbox") and not d.get("segmentation")]
    best = format_of_boxes(ground_truth.images, boxes, "xywh")
    if best is not None:
        notes.append(
            f"the boxes leave the picture as [x, y, width, height] and fit as {best}: write them "
            "as COCO does"
        )
    return notes


def _note_on_categories(
    ground_truth: GroundTruth,
    objects: Iterable[Mapping[str, Any]],
    detections: Iterable[Mapping[str, Any]],
) -> list[str]:
    """Returns a line where categories of the detections have no objects, and others have."""
    there = Counter(annotation["category_id"] for annotation in objects)
    found = Counter(meant_integer(detection["category_id"]) for detection in detections)
    names = {category["id"]: category["name"] for category in ground_truth.categories}
    idle = [id_ for id_ in found if id_ in names and not there[id_]]
    missed = [id_ for id_ in there if not found[id_]]
    if not (idle and missed):
        return []
    for shift in (1, -1):
        if {id_ + shift for id_ in found if id_ is not None} <= there.keys():
            verb = "add" if shift > 0 else "subtract"
            return [
                f"of category {names[idle[0]]!r} (id {idle[0]}) without objects, none of "
                f"{names[missed[0]]!r} (id {missed[0]}) with some: are the ids shifted by one "
                f"({verb} 1)?"
            ]
    return []
