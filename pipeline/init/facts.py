"""What one pass over a COCO file tells a config: sizes, objects, classes, masks."""

import array
import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ground.errors import DatasetError
from model.coco.boxes import bbox_in_pixels, meant_box, yxyx_to_xywh
from model.coco.hints import format_of_boxes
from model.coco.kind import not_instances, other_task
from model.coco.masks import is_no_mask
from model.coco.stream import ANNOTATIONS, BARE_LIST, CATEGORIES, IMAGES, LISTS, iterate_file, lacks
from model.coco.survey import Survey, read_label_map
from model.coco.values import integer_at, meant_integer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_SAMPLE = 500
_FEWEST_POINTS = 6  # numbers of the shortest ring


@dataclasses.dataclass
class DataFacts:
    """What a COCO file holds; memory is 24 bytes an object and 100 a picture.

    Attributes:
        path: the file.
        names: file names of the pictures, in the file's order.
        ids: int64 [P], image ids.
        heights: int64 [P], pixels; 0 where the file does not say.
        widths: int64 [P], likewise.
        picture_of: int64 [N], for each object with a box the place of its picture.
        class_of: int64 [N], its category id.
        box_heights: float64 [N], pixels of the picture as stored.
        box_widths: float64 [N], likewise.
        categories: name by id.
        objects: entries of `annotations`.
        masks: those with a mask, crowds too.
        rectangles: masks that are no more than a box.
        crowds: those that are crowds.
        box_format: what the four numbers of a box are, of `data.box_format`.
        all_crowds: whether every object is a crowd; then they count as objects here.
        unsized: pictures whose size the file does not say.
    """

    path: Path
    names: list[str]
    ids: Ints
    heights: Ints
    widths: Ints
    picture_of: Ints
    class_of: Ints
    box_heights: Floats
    box_widths: Floats
    categories: dict[int, str]
    objects: int
    masks: int
    rectangles: int
    crowds: int
    box_format: str
    all_crowds: bool
    unsized: int

    @property
    def objects_by_picture(self) -> Ints:
        """int64 [P]: objects with a box."""
        return np.bincount(self.picture_of, minlength=len(self.ids))

    @property
    def most_of_a_class(self) -> int:
        """The most objects of one class in one picture."""
        if not len(self.picture_of):
            return 0
        pairs = np.stack([self.picture_of, self.class_of])
        _, counts = np.unique(pairs, axis=1, return_counts=True)
        return int(counts.max())


class _Reader:
    """Collects the columns of `DataFacts`; pictures and objects may come in any order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.pictures = tuple(array.array("q") for _ in range(3))  # id, height, width
        self.objects = tuple(array.array("q") for _ in range(2))  # image id, category id
        self.boxes = tuple(array.array("f") for _ in range(4))
        self.crowds = array.array("b")
        self.categories: list[Any] = []
        self.images: list[Any] = []
        self.annotations: list[Any] = []
        self.bare: list[Any] = []
        self.counts: Counter[str] = Counter()

    def read(self, key: str, entry: Any) -> None:
        """Takes an entry of a list of the file."""
        if key == IMAGES:
            self._read_picture(entry)
        elif key == ANNOTATIONS:
            self._read_object(entry)
        elif key == CATEGORIES:
            self.categories.append(entry)
        elif key == BARE_LIST and len(self.bare) < _SAMPLE:
            self.bare.append(entry)

    def _read_picture(self, image: Any) -> None:
        if len(self.images) < _SAMPLE:
            self.images.append(image)
        id_ = integer_at(image, "id")
        if id_ is None:
            return
        name = image.get("file_name")
        self.names.append(name if isinstance(name, str) else "")
        sides = [integer_at(image, key) or 0 for key in ("height", "width")]
        if min(sides) < 1:
            sides = [0, 0]
            self.counts["unsized"] += 1
        for column, value in zip(self.pictures, (id_, *sides), strict=True):
            column.append(value)

    def _read_object(self, annotation: Any) -> None:
        self.counts["objects"] += 1
        if len(self.annotations) < _SAMPLE:
            self.annotations.append(annotation)
        if not isinstance(annotation, dict):
            return
        image_id, category_id = (integer_at(annotation, k) for k in ("image_id", "category_id"))
        segmentation = annotation.get("segmentation")
        is_crowd = meant_integer(annotation.get("iscrowd")) == 1
        self.counts["crowds"] += is_crowd
        self.counts["masks"] += not is_no_mask(segmentation)
        self.counts["rectangles"] += _is_rectangle(segmentation)
        box = meant_box(annotation.get("bbox"))
        numbers = box.numbers if box else _around(segmentation)
        if numbers is None or image_id is None or category_id is None:
            return
        self.crowds.append(is_crowd)
        for column, value in zip(self.objects, (image_id, category_id), strict=True):
            column.append(value)
        for numbers_of, number in zip(self.boxes, numbers, strict=True):
            numbers_of.append(number)


def read_facts(path: Path) -> DataFacts:
    """Reads a COCO file once.

    Raises:
        DatasetError: it is missing, cut off, no COCO instances file (what it is instead is said),
            or lists no picture, no class, or no object with a box.
    """
    reader = _Reader()
    kinds: dict[str, str] = {}
    for key, entry in iterate_file(path, kinds):
        reader.read(key, entry)
    _check(path, kinds, reader)
    stated = format_of_boxes(reader.images, reader.annotations, "xywh") or "xywh"
    ids, heights, widths = (np.frombuffer(column, np.int64) for column in reader.pictures)
    image_ids, class_of = (np.frombuffer(column, np.int64) for column in reader.objects)
    order = np.argsort(ids, kind="stable")
    at = np.minimum(np.searchsorted(ids, image_ids, sorter=order), len(ids) - 1)
    picture_of = order[at]
    is_crowd = np.frombuffer(reader.crowds, np.int8).astype(bool)
    all_crowds = 0 < reader.counts["crowds"] == reader.counts["objects"]
    is_known = (ids[picture_of] == image_ids) & (~is_crowd | all_crowds)
    picture_of = picture_of[is_known]
    columns = [np.frombuffer(c, np.float32).astype(np.float64)[is_known] for c in reader.boxes]
    box = bbox_in_pixels(tuple(columns), stated, heights[picture_of], widths[picture_of])
    has_area = (np.asarray(box[2]) > 0) & (np.asarray(box[3]) > 0)
    facts = DataFacts(
        path=path,
        names=reader.names,
        ids=ids,
        heights=heights,
        widths=widths,
        picture_of=picture_of[has_area],
        class_of=class_of[is_known][has_area],
        box_heights=np.asarray(box[3])[has_area],
        box_widths=np.asarray(box[2])[has_area],
        categories=_classes(path, reader),
        objects=reader.counts["objects"],
        masks=reader.counts["masks"],
        rectangles=reader.counts["rectangles"],
        crowds=reader.counts["crowds"],
        box_format=stated,
        all_crowds=all_crowds,
        unsized=reader.counts["unsized"],
    )
    if not len(facts.picture_of):
        raise DatasetError(
            f"{path}: has no object with a box that belongs to one of its pictures: there is "
            "nothing to learn"
        )
    return facts


def _check(path: Path, kinds: dict[str, str], reader: _Reader) -> None:
    for wanted in LISTS:
        if problem := lacks(path, kinds, wanted):
            meant = not_instances(kinds, reader.images, reader.annotations, reader.bare)
            raise DatasetError(f"{problem}: {meant}")
    if other := other_task(reader.annotations):
        raise DatasetError(f"{path}: {other}")
    if not reader.names:
        raise DatasetError(f"{path}: `images` lists no picture with an `id`")


def _classes(path: Path, reader: _Reader) -> dict[int, str]:
    """Returns the names of the classes by id, as a run reads them.

    Raises:
        DatasetError: a run would refuse one.
    """
    label_map = Survey(str(path))
    read_label_map(reader.categories, label_map)
    return {category["id"]: category["name"] for category in label_map.categories}


def _around(segmentation: Any) -> tuple[float, float, float, float] | None:
    """Returns the box around polygons in COCO's own form, None for all others."""
    parts = segmentation if isinstance(segmentation, list) else []
    rings = [ring for ring in parts if isinstance(ring, list)]
    numbers = [number for ring in rings for number in ring]
    if len(numbers) < _FEWEST_POINTS or not all(type(n) in (int, float) for n in numbers):
        return None
    xs, ys = numbers[0::2], numbers[1::2]
    return yxyx_to_xywh((min(ys), min(xs), max(ys), max(xs)))


def _is_rectangle(segmentation: Any) -> bool:
    """Returns whether a mask is one ring along a box, as tools write that have boxes alone."""
    if not isinstance(segmentation, list) or len(segmentation) != 1:
        return False
    ring = segmentation[0]
    if not isinstance(ring, list) or len(ring) not in (8, 10):
        return False
    return len(set(map(repr, ring[0::2]))) == len(set(map(repr, ring[1::2]))) == 2
