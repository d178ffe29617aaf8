"""What the data report counts: whole numbers that add up, whatever the order of the records.

Memory is bounded by the number of classes and bins, and by the few pictures that are kept as
examples, chosen by a hash of their id.
"""

import heapq
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from components.coco_transform.anchor_coverage import best_anchor_iou
from components.coco_transform.anchor_fit import SHAPE_BINS, count_shapes
from components.coco_transform.record import DroppedPictureError, TrainingRecord
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.suspicion import KINDS, Suspicions, SuspiciousPlace
from model.anchor_proposal import BoxShapes
from model.encoded.files import shown
from model.input.hashing import hashes
from model.input.sizes import resized_sides

# Pictures of a split that the report can show.
EXAMPLE_PICTURES = 12
# COCO's limits between small, medium and large, on the box's area in pixels.
SIZE_NAMES = ("small", "medium", "large")
SIZE_LIMITS_PX = (32.0, 96.0)

OBJECTS_EDGES = (0, 1, 2, 3, 4, 6, 8, 11, 16, 24, 32, 64, 128, 256, 2**31)
SIDE_EDGES = tuple(float(2**i) for i in range(-1, 13))  # square root of the area, pixels
ASPECT_EDGES = tuple(2.0 ** (i / 2) for i in range(-8, 9))  # height / width
IOU_EDGES = tuple(i / 20 for i in range(21))


class ExamplePlace(NamedTuple):
    """A picture that the report can show, and where its record lies.

    Attributes:
        number: a hash of the image id: the lowest ones are shown.
        shard: number of the shard.
        offset: offset of the payload in the shard's file, in bytes.
        length: length of the payload.
    """

    number: int
    shard: int
    offset: int
    length: int


class SplitStatistics:
    """Counts of one split, or of a part of it.

    Args:
        settings: gives training size and anchors.
        num_classes: K.

    Attributes:
        pictures: by what happened to them.
        objects: by what happened to them and to their masks.
        histograms: int64 arrays by name.
        boxes: shapes of the objects' boxes in resized pictures.
        examples: the pictures to show, by rising number.
        lost: the first picture or object that was dropped, or lost its mask, by what happened.
        suspicions: what looks wrong about objects.
        masks: `bytes` of all bitmaps, `shrunk` ones, `iou_millionths` of all together.
        worst_mask: the lowest fidelity, its image id and annotation id; empty without masks.
    """

    def __init__(self, settings: CocoTransformSettings, num_classes: int) -> None:
        self._settings = settings
        self.pictures: Counter[str] = Counter()
        self.objects: Counter[str] = Counter()
        self.histograms: dict[str, npt.NDArray[np.int64]] = {
            "objects_by_class": np.zeros(num_classes, np.int64),
            "pictures_by_class": np.zeros(num_classes, np.int64),
            "objects_per_picture": np.zeros(len(OBJECTS_EDGES) - 1, np.int64),
            "box_side": np.zeros(len(SIDE_EDGES) + 1, np.int64),
            "box_side_resized": np.zeros(len(SIDE_EDGES) + 1, np.int64),
            "box_aspect": np.zeros(len(ASPECT_EDGES) + 1, np.int64),
            "picture_aspect": np.zeros(len(ASPECT_EDGES) + 1, np.int64),
            "box_size": np.zeros(len(SIZE_NAMES), np.int64),
            # [size, bin] of the best anchor's IoU
            "anchor_iou": np.zeros((len(SIZE_NAMES), len(IOU_EDGES) - 1), np.int64),
            # [class, bin] likewise
            "anchor_iou_by_class": np.zeros((num_classes, len(IOU_EDGES) - 1), np.int64),
            "box_shape": np.zeros(SHAPE_BINS, np.int64),
        }
        self.boxes = BoxShapes()
        self.examples: list[ExamplePlace] = []
        self.lost: dict[str, str] = {}
        self.suspicions = Suspicions()
        self.masks: Counter[str] = Counter()
        self.worst_mask: tuple[float, int, int] | tuple[()] = ()

    def add(self, record: TrainingRecord, shard: int, offset: int, length: int) -> None:
        """Counts one written record.

        Args:
            record: what was written.
            shard: number of its shard.
            offset: offset of its payload in the shard's file, in bytes.
            length: length of its payload.
        """
        self.pictures["read"] += 1
        self.pictures["written"] += 1
        self.lost = record.lost | self.lost
        self.pictures.update(record.changes or ("kept",))
        self.objects.update(record.counts)
        boxes, labels = record.boxes_norm[~record.is_crowd], record.labels[~record.is_crowd]
        if len(boxes) == 0:
            self.pictures["without_objects"] += 1
        histograms = self.histograms
        histograms["objects_by_class"] += _counts(labels - 1, len(histograms["objects_by_class"]))
        histograms["pictures_by_class"][np.unique(labels) - 1] += 1
        bin_of = np.searchsorted(OBJECTS_EDGES, len(boxes), side="right") - 1
        histograms["objects_per_picture"][bin_of] += 1
        height, width = record.source_size
        _fill(histograms["picture_aspect"], ASPECT_EDGES, [height / width])
        self._add_boxes(boxes, labels, height, width)
        self._add_masks(record)
        self._add_suspicions(record, shard, offset, length)
        number = int(hashes(self._settings.data.seed, record.image_id)[0])
        self._keep_examples([ExamplePlace(number, shard, offset, length)])

    def add_dropped(self, dropped: DroppedPictureError) -> None:
        """Counts a picture that was not written, and its objects."""
        self.pictures["read"] += 1
        self.pictures[dropped.reason] += 1
        self.objects["read"] += dropped.objects
        self.objects["dropped_with_picture"] += dropped.objects
        self.lost.setdefault(dropped.reason, f"image id {dropped.image_id} ({shown(dropped.name)})")

    def merge(self, other: "SplitStatistics") -> None:
        """Adds the counts of another part."""
        self.pictures.update(other.pictures)
        self.objects.update(other.objects)
        for name, values in other.histograms.items():
            self.histograms[name] += values
        self.boxes.merge(other.boxes)
        self._keep_examples(other.examples)
        self.lost = other.lost | self.lost
        self.suspicions.merge(other.suspicions)
        self.masks.update(other.masks)
        self._see_mask(other.worst_mask)

    def to_json(self) -> dict[str, Any]:
        """Returns all counts as a JSON value; `from_json` reads it back."""
        return {
            "pictures": dict(sorted(self.pictures.items())),
            "objects": dict(sorted(self.objects.items())),
            "histograms": {name: values.tolist() for name, values in self.histograms.items()},
            "boxes": self.boxes.to_json(),
            "examples": [list(example) for example in self.examples],
            "lost": self.lost,
            "suspicions": self.suspicions.to_json(),
            "masks": dict(sorted(self.masks.items())),
            "worst_mask": list(self.worst_mask),
        }

    @classmethod
    def from_json(
        cls, value: dict[str, Any], settings: CocoTransformSettings, num_classes: int
    ) -> "SplitStatistics":
        """Returns the counts that `to_json` wrote."""
        statistics = cls(settings, num_classes)
        statistics.pictures.update(value["pictures"])
        statistics.objects.update(value["objects"])
        for name, values in value["histograms"].items():
            statistics.histograms[name] += np.asarray(values, np.int64)
        statistics.boxes = BoxShapes.from_json(value["boxes"])
        statistics._keep_examples([ExamplePlace(*example) for example in value["examples"]])
        statistics.lost = dict(value["lost"])
        statistics.suspicions = Suspicions.from_json(value["suspicions"])
        statistics.masks.update(value["masks"])
        statistics._see_mask(tuple(value["worst_mask"]))
        return statistics

    def _add_suspicions(self, record: TrainingRecord, shard: int, offset: int, length: int) -> None:
        ids = record.annotation_ids
        for kind in KINDS:
            found = [one for one in record.suspicions if one.kind == kind]
            self.suspicions.add(
                kind,
                [
                    SuspiciousPlace(
                        round(1 - one.degree, 6),
                        record.image_id,
                        ids[one.row],
                        None if one.other_row is None else ids[one.other_row],
                        shard,
                        offset,
                        length,
                    )
                    for one in found
                ],
            )

    def _add_masks(self, record: TrainingRecord) -> None:
        for row, (fidelity, size) in record.bitmaps.items():
            self.masks["bytes"] += size
            self.masks["shrunk"] += fidelity < 1
            self.masks["iou_millionths"] += round(1e6 * fidelity)
            self._see_mask((fidelity, record.image_id, record.annotation_ids[row]))

    def _see_mask(self, mask: tuple[float, int, int] | tuple[()]) -> None:
        """Keeps the worst mask; of equal ones that with the lowest ids."""
        if mask and (not self.worst_mask or mask < self.worst_mask):
            self.worst_mask = mask

    def _add_boxes(
        self,
        boxes_norm: npt.NDArray[np.float64],
        labels: npt.NDArray[np.int64],
        height: int,
        width: int,
    ) -> None:
        inputs = self._settings.input
        rows, columns = resized_sides(height, width, inputs.short_side_px, inputs.long_side_px)
        extents = (boxes_norm[:, 2:] - boxes_norm[:, :2]) * [height, width]
        side = np.sqrt(np.prod(extents, axis=1))
        sizes = np.searchsorted(SIZE_LIMITS_PX, side, side="right")
        histograms = self.histograms
        histograms["box_size"] += _counts(sizes, len(SIZE_NAMES))
        _fill(histograms["box_side"], SIDE_EDGES, side)
        _fill(histograms["box_side_resized"], SIDE_EDGES, side * (int(rows) / height))
        _fill(histograms["box_aspect"], ASPECT_EDGES, extents[:, 0] / extents[:, 1])
        best = best_anchor_iou(
            boxes_norm * [int(rows), int(columns), int(rows), int(columns)],
            int(rows),
            int(columns),
            self._settings.model.anchors,
            inputs.size_multiple_px,
        )
        bins = np.clip(np.searchsorted(IOU_EDGES, best, side="right") - 1, 0, len(IOU_EDGES) - 2)
        np.add.at(histograms["anchor_iou"], (sizes, bins), 1)
        np.add.at(histograms["anchor_iou_by_class"], (labels - 1, bins), 1)
        # One factor for both sides, as `init` has: ratios are those of the boxes in the file.
        resized = extents * (int(rows) / height)
        histograms["box_shape"] += count_shapes(resized)
        self.boxes.add(resized[:, 0], resized[:, 1])

    def _keep_examples(self, candidates: list[ExamplePlace]) -> None:
        self.examples = heapq.nsmallest(EXAMPLE_PICTURES, [*self.examples, *candidates])


def _counts(values: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    return np.bincount(values, minlength=length)


def _fill(histogram: npt.NDArray[np.int64], edges: tuple[float, ...], values: Any) -> None:
    """Adds `values` to bins that `edges` divide: the first is below, the last at or above all."""
    histogram += _counts(np.searchsorted(edges, values, side="right"), len(edges) + 1)
