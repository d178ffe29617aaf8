"""Where a model is wrong: the pictures with most errors. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.evaluation.coco_numbers import PictureMatches


@dataclass(frozen=True)
class JudgedPicture:
    """The objects and detections of a picture at a score threshold.

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

    @property
    def errors(self) -> int:
        """Missed objects and wrong detections."""
        return len(self.missed) + len(self.wrong)


def worst_pictures(
    matches: Mapping[int, PictureMatches], score: float, count: int
) -> list[JudgedPicture]:
    """Returns up to `count` pictures with errors at a score threshold, most errors first.

    Among equals the one with the larger share of errors comes first, then the lower id.
    """
    judged = [_judged(image_id, picture, score) for image_id, picture in matches.items()]
    wrong = [picture for picture in judged if picture.errors]
    wrong.sort(key=lambda p: (-p.errors, len(p.found), p.image_id))
    return wrong[:count]


def _judged(image_id: int, picture: PictureMatches, score: float) -> JudgedPicture:
    pairs = [pair for pair in picture.pairs if pair[1]["score"] >= score]
    lost = [pair[0] for pair in picture.pairs if pair[1]["score"] < score]
    return JudgedPicture(
        image_id,
        found=[annotation for annotation, _ in pairs],
        missed=[*picture.missed, *lost],
        right=[detection for _, detection in pairs],
        wrong=[detection for detection in picture.wrong if detection["score"] >= score],
    )
