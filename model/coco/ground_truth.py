"""What is to be found: from a COCO file or from records, by the checks of CocoExampleGen."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from configs.errors import DatasetError
from configs.schema import DataConfig
from model import records
from model.coco.entries import CocoObject, Forms, Picture, parse_object, parse_picture
from model.coco.masks import compressed_rle
from model.coco.policies import REFUSE, Flaw, Judge, LeftOut, resolve_policies
from model.coco.stream import iterate_annotations, iterate_images
from model.coco.survey import survey
from model.coco.values import meant_integer, shortened
from model.examples import Category, iterate_records, read_categories
from model.tf_example import decode_example

_DEFAULTS = DataConfig()


@dataclass(frozen=True)
class GroundTruth:
    """What is to be found.

    Attributes:
        images: COCO's `id`, `width`, `height`, `file_name`.
        annotations: COCO's `image_id`, `category_id`, `bbox`, `area`, `iscrowd` and, where the
            object has a mask, `segmentation`; `id` is a count from 1.
        categories: COCO's `id` and `name`.
        reasons: how often each flaw of the file came up; empty for records.
    """

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def has_masks(self) -> bool:
        """Whether any object that is no crowd has a mask."""
        return any("segmentation" in a and not a["iscrowd"] for a in self.annotations)


def ground_truth_from_json(
    path: str | os.PathLike[str], data: DataConfig = _DEFAULTS
) -> GroundTruth:
    """Returns the ground truth of a COCO instances file, as CocoExampleGen's records would give it.

    Flawed records are treated by the same policies. Annotations are numbered anew from 1, because
    COCOeval takes an annotation with id 0 for unmatched, and repeated ids for one object.

    Raises:
        ConfigError: `data.policies` has an unknown code.
        DatasetError: the file is missing, no COCO instances file, or too much of it is refused.
    """
    categories = survey(path).categories
    reader = _Reader(path, data, categories)
    for image in iterate_images(path):
        reader.read_picture(image)
    for place, annotation in enumerate(iterate_annotations(path)):
        reader.read_object(place, annotation)
    reader.check_enough()
    return GroundTruth(
        [_image(picture) for picture in reader.pictures.values()],
        [
            {"id": number, **_annotation(found, image_id)}
            for number, (image_id, found) in enumerate(reader.kept_objects(), 1)
        ],
        [{"id": category["id"], "name": category["name"]} for category in categories],
        reader.reasons,
    )


class _Reader:
    """Collects what is sound of a COCO file, and counts what is not."""

    def __init__(
        self, path: str | os.PathLike[str], data: DataConfig, categories: list[Category]
    ) -> None:
        self.pictures: dict[int, Picture] = {}
        self.reasons: Counter[str] = Counter()
        self._path = path
        self._policies = resolve_policies(data.policies)
        self._forms = Forms.of(data)
        self._max_picture_pixels = data.max_picture_pixels
        self._max_rejected_fraction = data.max_rejected_fraction
        self._categories: Mapping[int, Category] = {c["id"]: c for c in categories}
        self._listed_ids: set[int] = set()
        self._object_ids: set[int] = set()
        self._objects: list[tuple[int, CocoObject]] = []
        self._pictures_read = 0
        self._objects_read = 0
        self._refused: Counter[str] = Counter()
        self._example = ""

    def read_picture(self, image: Any) -> None:
        """Takes an entry of `images`."""
        self._pictures_read += 1
        image_id = meant_integer(image.get("id")) if isinstance(image, dict) else None
        judge = Judge(self._policies)
        try:
            if image_id in self._listed_ids:
                judge.leave_out("duplicate_image_id", f"the id {image_id} came before")
            if image_id is not None:
                self._listed_ids.add(image_id)
            picture = parse_picture(image, judge, self._max_picture_pixels)
            self.pictures[picture.id] = picture
        except LeftOut:
            self._note_refused(judge.flaws[-1])
        self.reasons.update(flaw.code for flaw in judge.flaws)

    def read_object(self, place: int, annotation: Any) -> None:
        """Takes an entry of `annotations`."""
        self._objects_read += 1
        if not isinstance(annotation, dict):
            self.reasons["bad_annotation"] += 1
            return
        annotation_id = meant_integer(annotation.get("id"))
        is_repeated = annotation_id in self._object_ids
        if annotation_id is not None:
            self._object_ids.add(annotation_id)
        image_id = meant_integer(annotation.get("image_id"))
        if image_id is None or image_id not in self._listed_ids:
            self.reasons["unknown_image"] += 1
            return
        picture = self.pictures.get(image_id)
        if picture is None:
            return  # left out, with its objects
        judge = Judge(self._policies)
        try:
            found = parse_object(
                annotation,
                place,
                is_repeated,
                picture.height,
                picture.width,
                self._categories,
                judge,
                self._forms,
            )
            self._objects.append((image_id, found))
        except LeftOut:
            if judge.flaws[-1].policy == REFUSE:
                del self.pictures[image_id]
                self._note_refused(judge.flaws[-1], image_id)
        self.reasons.update(flaw.code for flaw in judge.flaws)

    def kept_objects(self) -> list[tuple[int, CocoObject]]:
        """Returns (image id, object) of the pictures that are left, in the file's order."""
        return [(image_id, found) for image_id, found in self._objects if image_id in self.pictures]

    def check_enough(self) -> None:
        """Checks that the file is fit for use.

        Raises:
            DatasetError: too many pictures are refused, or no picture or no object is left.
        """
        refused, read = sum(self._refused.values()), self._pictures_read
        if refused > self._max_rejected_fraction * read:
            raise DatasetError(
                f"{self._path}: {refused} of {read} pictures are refused ({_listed(self._refused)})"
                f", more than data.max_rejected_fraction {self._max_rejected_fraction:g} allows. "
                f"For example {self._example}"
            )
        if not self.pictures:
            raise DatasetError(
                f"{self._path}: none of {read} pictures is left ({_listed(self.reasons)})"
            )
        if self._objects_read and not self.kept_objects():
            raise DatasetError(
                f"{self._path}: none of {self._objects_read} objects is left "
                f"({_listed(self.reasons)})"
            )

    def _note_refused(self, flaw: Flaw, image_id: int | None = None) -> None:
        if flaw.policy == REFUSE:
            self._refused[flaw.code] += 1
            where = "" if image_id is None else f"image id {image_id}: "
            self._example = self._example or f"{where}{flaw.code}: {flaw.detail}"


def _listed(reasons: Counter[str]) -> str:
    return ", ".join(f"{code} {count}" for code, count in reasons.most_common())


def _image(picture: Picture) -> dict[str, Any]:
    return {
        "id": picture.id,
        "width": picture.width,
        "height": picture.height,
        "file_name": picture.file_name,
    }


def _annotation(found: CocoObject, image_id: int) -> dict[str, Any]:
    annotation: dict[str, Any] = {
        "image_id": image_id,
        "category_id": found.category_id,
        "bbox": list(found.bbox),
        "area": found.area,
        "iscrowd": int(found.is_crowd),
    }
    if found.segmentation:
        annotation["segmentation"] = json.loads(found.segmentation)
    return annotation


def ground_truth_from_records(examples: str | os.PathLike[str], split: str) -> GroundTruth:
    """Returns the ground truth of one split of CocoExampleGen's examples folder.

    Boxes and areas come from the float64 copy in the records, so that the metrics equal those of
    the JSON the records were made from.

    Raises:
        DatasetError: the folder or the split is missing, or a shard or a record is damaged.
    """
    categories = [{"id": c["id"], "name": c["name"]} for c in read_categories(examples)]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for serialized in iterate_records(examples, split):
        image, objects, _ = content_of_record(serialized)
        images.append(image)
        for annotation in objects:
            annotations.append({"id": len(annotations) + 1, **annotation})
    return GroundTruth(images, annotations, categories)


def content_of_record(
    serialized: bytes,
) -> tuple[dict[str, Any], list[dict[str, Any]], bytes]:
    """Returns the COCO image, its annotations (without id) and its file's bytes.

    Args:
        serialized: a record of CocoExampleGen.

    Raises:
        DatasetError: a mask in it does not fit the picture.
    """
    values = decode_example(serialized)
    image = {
        "id": int(values[records.SOURCE_ID][0]),
        "width": values[records.WIDTH][0],
        "height": values[records.HEIGHT][0],
        "file_name": values[records.FILENAME][0].decode(),
    }
    numbers = np.frombuffer(values[records.COCO_NUMBERS][0], "<f8")
    annotations = []
    for row, category_id, is_crowd, mask in zip(
        numbers.reshape(-1, 5).tolist(),
        values[records.CATEGORY_ID],
        values[records.IS_CROWD],
        values[records.SEGMENTATION],
        strict=True,
    ):
        annotation = {
            "image_id": image["id"],
            "category_id": category_id,
            "bbox": row[:4],
            "area": row[4],
            "iscrowd": int(is_crowd),
        }
        if mask:
            annotation["segmentation"] = _mask_of_record(mask, image)
        annotations.append(annotation)
    return image, annotations, values[records.ENCODED][0]


def _mask_of_record(mask: bytes, image: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return compressed_rle(json.loads(mask), image["height"], image["width"])
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"the record of image id {image['id']} has a damaged mask ({shortened(str(error))}): "
            "make the examples anew"
        ) from None
