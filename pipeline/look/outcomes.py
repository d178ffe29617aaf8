"""Found, missed, wrong: what detections are to the objects of an album, by COCO's matching."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from model.evaluation.coco_numbers import MAX_DETECTIONS, matches_by_picture
from model.evaluation.operating import score_curve
from model.evaluation.results import check_detections
from pipeline.look.album import NOBODY, UNJUDGED, Album, Kind, Thing
from pipeline.look.truth import Truth


def add_detections(
    album: Album,
    truth: Truth,
    detections: Sequence[dict[str, Any]],
    where: str,
    max_detections: int = MAX_DETECTIONS,
) -> None:
    """Adds detections to the pictures of an album, and says what they find.

    The page begins at the score with the best F1, as the evaluation's report does.

    Args:
        album: gets them.
        truth: what is to be found in it.
        detections: in COCO's results form.
        where: they are from, for errors.
        max_detections: those of a class in a picture that count.

    Raises:
        DatasetError: a detection names what is not in the data, or is malformed.
    """
    ground_truth = dataclasses.replace(truth.ground_truth, left_out_ids=truth.left_out_ids)
    checked, _ = check_detections(ground_truth, detections, where)
    columns, matches = matches_by_picture(ground_truth, checked, max_detections)
    names = {category["id"]: category["name"] for category in ground_truth.categories}
    wrong = {detection["id"] for found in matches.values() for detection in found.wrong}
    things: dict[int, tuple[int, Thing]] = {}
    for detection in checked:
        shown = truth.pictures[detection["image_id"]]
        mask = detection.get("segmentation")
        thing = Thing(
            Kind.DETECTION,
            album.class_position(names[detection["category_id"]]),
            detection["bbox"],
            detection["area"],
            mask=_text(mask["counts"]) if mask else "",
            score=detection["score"],
            partner=NOBODY if detection["id"] in wrong else UNJUDGED,
        )
        things[detection["id"]] = len(shown.things), thing
        shown.things.append(thing)
    places = {id(t): n for shown in truth.pictures.values() for n, t in enumerate(shown.things)}
    for found in matches.values():
        for annotation in found.missed:
            truth.things[annotation["id"]].partner = NOBODY
        for annotation, detection in found.pairs:
            place, finder = things[detection["id"]]
            thing = truth.things[annotation["id"]]
            thing.partner, finder.partner = place, places[id(thing)]
    album.has_detections = True
    album.score = score_curve(columns).best().score


def _text(counts: str | bytes) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
