"""One pass over a COCO instances file: its label map, what it counts, and a sample of it."""

import array
import dataclasses
import os
from collections import Counter
from typing import Any

from ground.errors import DatasetError
from model.coco.kind import not_instances, other_task
from model.coco.splits import Holds, everything
from model.coco.stream import ANNOTATIONS, BARE_LIST, CATEGORIES, IMAGES, LISTS, iterate_file, lacks
from model.coco.values import integer, integer_at, is_text, meant_integer, shortened
from model.examples import Category

_SAMPLE = 500  # entries of each list


@dataclasses.dataclass
class Survey:
    """What a COCO instances file holds.

    Attributes:
        path: path of the file.
        categories: the label map: labels count from 1 in the order of category ids.
        supercategories: what stands above a category, by its id, where that is said.
        text_ids: categories whose id is a whole number in another form.
        pictures: entries of `images`.
        image_ids: ids of those that have one.
        objects: entries of `annotations` by category id; what is no id counts as None.
        crowds: those of the objects that are crowds.
        images: the first entries of `images`.
        annotations: the first entries of `annotations`.
    """

    path: str
    categories: list[Category] = dataclasses.field(default_factory=list)
    supercategories: dict[int, str] = dataclasses.field(default_factory=dict)
    text_ids: int = 0
    pictures: int = 0
    image_ids: "array.array[int]" = dataclasses.field(default_factory=lambda: array.array("q"))
    objects: Counter[int | None] = dataclasses.field(default_factory=Counter)
    crowds: int = 0
    images: list[Any] = dataclasses.field(default_factory=list)
    annotations: list[Any] = dataclasses.field(default_factory=list)


def survey(path: str | os.PathLike[str], holds: Holds = everything) -> Survey:
    """Reads a COCO instances file once, from its start to its end.

    Args:
        path: the file.
        holds: tells which pictures, with their objects, are meant.

    Raises:
        DatasetError: the file is missing, cut off, no JSON or no COCO instances file (what it is
            instead is said), lists no picture or no category, or a category has no integer id and
            no name, or the id of another one.
    """
    result = Survey(str(path))
    kinds: dict[str, str] = {}
    entries: list[Any] = []
    bare: list[Any] = []
    listed = 0
    for key, entry in iterate_file(path, kinds):
        if key == ANNOTATIONS:
            if holds is everything or holds(integer_at(entry, "image_id")):
                _count_object(entry, result)
        elif key == IMAGES:
            listed += 1
            image_id = integer_at(entry, "id")
            if not holds(image_id):
                continue
            result.pictures += 1
            if image_id is not None:
                result.image_ids.append(image_id)
            if result.pictures <= _SAMPLE:
                result.images.append(entry)
        elif key == CATEGORIES:
            entries.append(entry)
        elif key == BARE_LIST and len(bare) < _SAMPLE:
            bare.append(entry)
    for wanted in LISTS:
        problem = lacks(path, kinds, wanted)
        if problem:
            meant = not_instances(kinds, result.images, result.annotations, bare)
            raise DatasetError(f"{problem}: {meant}")
    if other := other_task(result.annotations):
        raise DatasetError(f"{path}: {other}")
    if not listed:
        raise DatasetError(f"{path}: `images` is empty: it lists no picture")
    read_label_map(entries, result)
    return result


def _count_object(annotation: Any, result: Survey) -> None:
    if len(result.annotations) < _SAMPLE:
        result.annotations.append(annotation)
    if not isinstance(annotation, dict):
        result.objects[None] += 1
        return
    category_id = annotation.get("category_id")
    result.objects[category_id if type(category_id) is int else meant_integer(category_id)] += 1
    if annotation.get("iscrowd") in (1, "1"):
        result.crowds += 1


def read_label_map(entries: list[Any], result: Survey) -> None:
    """Sets the categories of a survey from the entries of `categories`.

    Raises:
        DatasetError: there is none, one has no integer id and no name, or two have one id.
    """
    if not entries:
        raise DatasetError(
            f"{result.path}: `categories` is empty: a detector needs at least one class"
        )
    names: dict[int, str] = {}
    for number, category in enumerate(entries):
        stated = category.get("id") if isinstance(category, dict) else None
        name = category.get("name") if isinstance(category, dict) else None
        id_ = meant_integer(stated)
        if id_ is None or not isinstance(name, str) or not name.strip() or not is_text(name):
            raise DatasetError(
                f"{result.path}: category {number} has no integer `id` and `name`: "
                f"{shortened(category)}"
            )
        if id_ in names:
            raise DatasetError(
                f"{result.path}: categories {names[id_]!r} and {name!r} both have the id {id_}"
            )
        names[id_] = name
        above = category.get("supercategory")
        if isinstance(above, str) and above.strip():
            result.supercategories[id_] = above
        result.text_ids += integer(stated) is None
    result.categories = [
        {"id": id_, "name": names[id_], "label": label}
        for label, id_ in enumerate(sorted(names), 1)
    ]
