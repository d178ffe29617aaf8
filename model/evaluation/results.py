"""Detections in COCO's results form: read from a file, and checked against the ground truth.

Where a detection is not plain, the whole list is refused with one line that names it: numbers that
leave some out would be of another model.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain, repeat
from operator import contains, itemgetter
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ground.errors import DatasetError
from model.coco.boxes import MeantBox, bbox_in_pixels, meant_box
from model.coco.json_text import RepeatedKeys
from model.coco.kind import RESULTS, not_results
from model.coco.masks import Mask, read_mask
from model.coco.names import forms_of_name
from model.coco.stream import BARE_LIST, iterate_file
from model.coco.values import meant_integer, meant_number, shortened
from model.evaluation.columns import Columns
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.result_hints import why_unknown

_KEYS = ("image_id", "category_id", "score")
_LARGE = 1e300
_AT_ONCE = 16_384  # detections that are checked together


def read_detections(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns the detections of a file in COCO's results form, as they are.

    Raises:
        DatasetError: the file is missing, not JSON, or not a list of results.
    """
    kinds: dict[str, str] = {}
    detections: list[dict[str, Any]] = []
    scored = ""
    for key, detection in iterate_file(path, kinds):
        if key != BARE_LIST:
            is_scored = isinstance(detection, dict) and "score" in detection
            scored = scored or (key if is_scored else "")
            continue
        where = f"{path}: detection {len(detections)}"
        if not isinstance(detection, dict):
            raise DatasetError(f"{where} is {shortened(detection)}: {RESULTS}")
        if isinstance(detection, RepeatedKeys):
            raise DatasetError(f"{where} has a key twice: {shortened(detection)}")
        missing = [key for key in _KEYS if key not in detection]
        if not missing and not ("bbox" in detection or "segmentation" in detection):
            missing = ["bbox"]
        if missing:
            raise DatasetError(f"{where} has no {missing[0]!r}: {RESULTS}")
        detections.append(detection)
    if BARE_LIST not in kinds:
        raise DatasetError(f"{path}: holds no list: {not_results(kinds, scored)}")
    return detections


def check_detections(
    ground_truth: GroundTruth, detections: Sequence[dict[str, Any]], where: str = ""
) -> tuple[Columns, Counter[str]]:
    """Returns detections as COCOeval wants them, in columns, and how often each reason came up.

    Pictures and categories may be named in place of their ids, where the name is of one alone.

    Args:
        ground_truth: has the pictures and categories that they may name.
        detections: dicts of COCO's results form.
        where: they are from, for errors.

    Raises:
        DatasetError: one names what is not in the ground truth, or is malformed.
    """
    checker = _Checker(ground_truth)
    parts = []
    for start in range(0, len(detections), _AT_ONCE):
        some = detections[start : start + _AT_ONCE]
        columns = checker.plain(some, start)
        if columns is None:
            columns = Columns.of(_one_by_one(checker, detections, start, len(some), where))
        parts.append(columns)
    return Columns.joined(parts), checker.reasons


def _one_by_one(
    checker: "_Checker", detections: Sequence[dict[str, Any]], start: int, count: int, where: str
) -> list[dict[str, Any]]:
    checked = []
    for position in range(start, start + count):
        try:
            found = checker.checked(detections[position], position + 1)
        except ValueError as error:
            place = f"{where}: detection {position}" if where else f"detection {position}"
            hint = ""
            if isinstance(error, _UnknownIdError):
                hint = f"; {why_unknown(error.what, detections, checker.ground_truth)}"
            raise DatasetError(f"{place}: {error}{hint}") from None
        if found is not None:
            checked.append(found)
    return checked


def range_of(ids: Iterable[int]) -> str:
    """Returns the ids that are there, for a message."""
    known = set(ids)
    return f"its {len(known)} ids lie in {min(known)}..{max(known)}" if known else "it has none"


def _are_of(kind: type, *columns: list[Any]) -> bool:
    """Returns whether all values are of a type, and not of one that is made from it (bool)."""
    return all(set(map(type, column)) <= {kind} for column in columns)


class _UnknownIdError(ValueError):
    def __init__(self, what: str, stated: Any, known: Iterable[int]) -> None:
        super().__init__(
            f"{what} id {shortened(stated)} is not in the ground truth: {range_of(known)}"
        )
        self.what = what


class _Checker:
    def __init__(self, ground_truth: GroundTruth) -> None:
        self.reasons: Counter[str] = Counter()
        self._images = {image["id"]: image for image in ground_truth.images}
        self._categories = {category["id"] for category in ground_truth.categories}
        self._left_out = ground_truth.left_out_ids
        self.ground_truth = ground_truth

    def plain(self, detections: Sequence[dict[str, Any]], start: int) -> Columns | None:
        """Returns what `checked` does of detections of the usual form; None if one is of another.

        Nearly all are: five numbers and two ids. Column by column, Python looks at none of them.

        Args:
            detections: rows of a COCO results file.
            start: how many are before them.
        """
        if any(map(contains, detections, repeat("segmentation"))):
            return None
        try:
            image_ids, category_ids, scores, boxes = (
                list(map(itemgetter(key), detections)) for key in (*_KEYS, "bbox")
            )
        except KeyError:
            return None
        if not (
            _are_of(list, boxes)
            and set(map(len, boxes)) <= {4}
            and _are_of(int, image_ids, category_ids)
            and self._images.keys() >= set(image_ids)
            and self._left_out.isdisjoint(image_ids)
            and self._categories >= set(category_ids)
        ):
            return None
        numbers = list(chain.from_iterable(boxes))
        if not _are_of(float, numbers, scores):
            return None
        box, score = np.array(numbers).reshape(-1, 4), np.array(scores)
        with np.errstate(over="ignore", invalid="ignore"):
            sums = box.sum(axis=1)
        if not (
            ((score >= 0) & (score <= 1)).all()
            and (box[:, 2:] >= 0).all()
            and ((sums > -_LARGE) & (sums < _LARGE)).all()  # neither infinite nor none
        ):
            return None
        return Columns(
            np.arange(start + 1, start + 1 + len(score)),
            np.array(image_ids, np.int64),
            np.array(category_ids, np.int64),
            score,
            box[:, 2] * box[:, 3],
            np.zeros(len(score), bool),
            box,
        )

    def checked(self, detection: dict[str, Any], number: int) -> dict[str, Any] | None:
        """Returns a COCO result as an annotation; of a mask alone with the mask's box and area.

        None for one in a picture that the ground truth's file lists and policy leaves out.

        Args:
            detection: a row of a COCO results file.
            number: its id.

        Raises:
            ValueError: what is wrong with it.
        """
        codes: set[str] = set()
        if meant_integer(detection["image_id"]) in self._left_out:
            self.reasons["picture_left_out"] += 1
            return None
        image_id = self._id(detection, "image", self._images, codes)
        category_id = self._id(detection, "category", self._categories, codes)
        image = self._images[image_id]
        result: dict[str, Any] = {
            "id": number,
            "image_id": image_id,
            "category_id": category_id,
            "score": _score(detection["score"], codes),
            "iscrowd": 0,
        }
        mask = _mask(detection.get("segmentation"), image, codes)
        if mask is not None:
            result["segmentation"] = mask.rle
        box = detection.get("bbox")
        if box is None or box == []:
            result |= _box_and_area_of_mask(mask)
        else:
            bbox = result["bbox"] = _bbox(box, image, codes)
            result["area"] = bbox[2] * bbox[3]
        self.reasons.update(codes)
        return result

    def _id(self, detection: dict[str, Any], what: str, known: Any, codes: set[str]) -> int:
        stated = detection[f"{what}_id"]
        id_ = meant_integer(stated)
        if id_ is None and isinstance(stated, str):
            names = self._image_names if what == "image" else self._category_names
            id_ = names.get(stated)
            codes.add("names_for_ids")
        elif type(stated) is not int:
            codes.add("ids_in_other_form")
        if id_ is None or id_ not in known:
            raise _UnknownIdError(what, stated, known)
        return id_

    @cached_property
    def _image_names(self) -> dict[str, int]:
        """The pictures' ids by file name, with or without folder and ending, where it is of one."""
        names = [
            (image["id"], form)
            for image in self._images.values()
            for form in forms_of_name(image["file_name"])
        ]
        return _of_one(names)

    @cached_property
    def _category_names(self) -> dict[str, int]:
        return _of_one([(c["id"], c["name"]) for c in self.ground_truth.categories])


def _of_one(names: Iterable[tuple[int, str]]) -> dict[str, int]:
    """Returns the id of each name that is of one alone."""
    names = list(names)
    times = Counter(name for _, name in names)
    return {name: id_ for id_, name in names if times[name] == 1}


def _score(stated: Any, codes: set[str]) -> float:
    score = meant_number(stated)
    if score is None:
        raise ValueError(f"score is {shortened(stated)}, expected a finite number")
    if isinstance(stated, str):
        codes.add("numbers_in_other_form")
    if not 0 <= score <= 1:
        codes.add("score_out_of_range")
    return score if isinstance(stated, str) else stated


def _mask(segmentation: Any, image: dict[str, Any], codes: set[str]) -> Mask | None:
    if not segmentation:
        return None
    try:
        mask = read_mask(segmentation, image["height"], image["width"])
    except ValueError as error:
        raise ValueError(
            f"its mask does not fit picture {image['id']} of [height, width] "
            f"{[image['height'], image['width']]}: {error}"
        ) from None
    if mask is not None:
        odd = {
            "mask_in_other_form": mask.odd_form,
            "numbers_in_other_form": mask.text_numbers,
            "bad_ring": mask.bad_rings,
        }
        codes.update(code for code, is_so in odd.items() if is_so)
    return mask


def _bbox(stated: Any, image: dict[str, Any], codes: set[str]) -> list[float]:
    box = meant_box(stated)
    if box is None:
        raise ValueError(f"bbox is {shortened(stated)}, expected four finite numbers")
    codes.update(_forms_of(box))
    if box.format is None and not (box.has_text or box.odd_form):
        bbox = stated
    else:
        bbox = bbox_in_pixels(box.numbers, box.format or "xywh", image["height"], image["width"])
    if bbox[2] < 0 or bbox[3] < 0:
        raise ValueError(f"bbox is {shortened(stated)}, whose width or height is negative")
    return list(bbox)


def _forms_of(box: MeantBox) -> set[str]:
    codes = {"numbers_in_other_form"} if box.has_text else set()
    return codes | ({"box_in_other_form"} if box.odd_form else set())


def _box_and_area_of_mask(mask: Mask | None) -> dict[str, Any]:
    """Returns what pycocotools says of a mask.

    Raises:
        ValueError: there is none.
    """
    if mask is None:
        raise ValueError("has neither bbox nor segmentation")
    return {
        "bbox": coco_mask.toBbox(mask.rle).tolist(),
        "area": float(coco_mask.area(mask.rle)),
    }
