"""What is to be found: from a COCO file or from records, by the checks of CocoExampleGen."""

import json
import os
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from configs.data_schema import SPLIT_NAMES
from configs.schema import DataConfig
from ground.errors import DatasetError
from model import records
from model.coco.classes import class_map
from model.coco.entries import CocoObject, Picture
from model.coco.limits import Origin, check_losses
from model.coco.masks import compressed_rle
from model.coco.notes import notes_on, notes_on_use, with_notes
from model.coco.reader import InstancesReader, SizesOf
from model.coco.splits import Division, Portion, everything, read_division
from model.coco.stream import iterate_annotations, iterate_images
from model.coco.survey import survey
from model.coco.tally import Tally
from model.coco.values import integer_at, shortened
from model.examples import iterate_records, read_categories, read_manifest
from model.input.index import index_path, read_index
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
        tally: what became of the file's entries; empty for records.
        notes: what of the file is no flaw and yet odd, a line each.
        left_out_ids: ids of pictures that the file lists and policy leaves out.
        ids_of_other_splits: gives the image ids of each other split of the examples, or the file.
        part: what this is of a file that is split (`Division.facts`); None of a whole one.
        classes: what `data.classes` made of the file's (`ClassMap.facts`); None without it.
    """

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    tally: Tally = field(default_factory=Tally)
    notes: tuple[str, ...] = ()
    left_out_ids: Set[int] = frozenset()
    ids_of_other_splits: Callable[[], Mapping[str, Set[int]]] = dict
    part: Mapping[str, Any] | None = None
    classes: Mapping[str, Any] | None = None

    @property
    def has_masks(self) -> bool:
        """Whether any object that is no crowd has a mask."""
        return any("segmentation" in a and not a["iscrowd"] for a in self.annotations)


def ground_truth_from_json(
    path: str | os.PathLike[str],
    data: DataConfig = _DEFAULTS,
    sizes_of: SizesOf | None = None,
    split: str = "eval",
) -> GroundTruth:
    """Returns the ground truth of a COCO instances file, as CocoExampleGen's records would give it.

    Flawed records are treated by the same policies, within the same limits. Annotations are
    numbered anew from 1, because COCOeval takes an annotation with id 0 for unmatched, and repeated
    ids for one object.

    Args:
        path: the file.
        data: how it is read: policies, formats and limits.
        sizes_of: gives the sizes of a picture's file, which then holds (`picture_size_differs`).
        split: whose pictures are measured on, where `data.split` splits the file.

    Raises:
        ConfigError: `data.policies` has an unknown code, or `data.split.group` fits no file name.
        DatasetError: the file is missing, no COCO instances file, or more of it is lost than the
            limits allow.
    """
    division = None if data.split is None else read_division(path, data.split)
    holds = everything if division is None else Portion(division.split, split).of(division)
    found = survey(path, holds)
    classes = class_map(found.categories, data.classes, knows_all=False)
    reader = InstancesReader(data, classes, sizes_of)
    for image in iterate_images(path):
        if holds(integer_at(image, "id")):
            reader.read_picture(image)
    for place, annotation in enumerate(iterate_annotations(path)):
        if holds(integer_at(annotation, "image_id")):
            reader.read_object(place, annotation)
    reader.close()
    notes = notes_on(classes.mapped(found), data)
    try:
        check_losses(Origin(str(path), str(path)), reader.tally, data)
    except DatasetError as error:
        raise with_notes(error, notes) from None
    return GroundTruth(
        *_numbered(reader),
        [{"id": category["id"], "name": category["name"]} for category in classes.categories],
        reader.tally,
        tuple(
            [
                *([] if division is None else division.notes(split)),
                *notes_on_use(reader.tally, is_for_training=False),
                *notes,
            ]
        ),
        reader.left_out_ids,
        dict if division is None else lambda: _ids_outside(division, split),
        None if division is None else division.facts(split),
        None if data.classes is None else classes.facts(found.objects),
    )


def _numbered(reader: InstancesReader) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns COCO's `images` and `annotations` of what was read, numbered from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture, objects in reader.pictures():
        images.append(_image(picture))
        for each in objects:
            annotations.append({"id": len(annotations) + 1, **_annotation(each, picture.id)})
    return images, annotations


def _ids_outside(division: Division, split: str) -> dict[str, Set[int]]:
    return {name: division.ids_of(name) for name in SPLIT_NAMES if name != split}


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
    return GroundTruth(
        images,
        annotations,
        categories,
        ids_of_other_splits=lambda: _ids_of_other_splits(examples, split),
    )


def _ids_of_other_splits(examples: str | os.PathLike[str], split: str) -> dict[str, set[int]]:
    """Returns the image ids of the other splits whose indexes are there."""
    ids: dict[str, set[int]] = {}
    for name, other in read_manifest(examples)["splits"].items():
        shards = len(other["shards"])
        paths = [index_path(examples, name, shard, shards) for shard in range(shards)]
        if name != split and all(path.is_file() for path in paths):
            ids[name] = set().union(*(read_index(path).image_id.tolist() for path in paths))
    return ids


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
