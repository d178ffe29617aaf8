"""The data report: what is in the records, how much is padding, how well the anchors fit."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from components.coco_transform import statistics as bins
from components.coco_transform.drift import check_drift, drifts
from components.coco_transform.findings import (
    Alike,
    alike_content,
    anchors_content,
    masks_content,
    notes_on_findings,
    overflow_content,
    suspicions_content,
)
from components.coco_transform.record import DROP_REASONS
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.statistics import SplitStatistics
from configs.schema import InputSizes
from ground.wording import listed, plural
from model.examples import TRAINING_SPLIT, Category
from model.input.buckets import Bucket, assign_buckets
from model.input.index import ShardIndex
from model.input.sizes import resized_sides

_COVERAGE_IOUS = (0.5, 0.7)
# When the report says something: a judgement. In coco_tiny at 800 / 1333, Detectron2's anchors
# cover 68 to 75 % of the small objects, and three buckets leave 9 % padding.
_POOR_COVERAGE = 0.6
_MUCH_PADDING = 0.25
_MOST_NAMES = 10
_EDGES = {
    "objects_per_picture": bins.OBJECTS_EDGES,
    "box_side": bins.SIDE_EDGES,
    "box_side_resized": bins.SIDE_EDGES,
    "box_aspect": bins.ASPECT_EDGES,
    "picture_aspect": bins.ASPECT_EDGES,
    "anchor_iou": bins.IOU_EDGES,
}


class Gathered(NamedTuple):
    """What is known once all records are written; the keys are the splits.

    Attributes:
        categories: the label map.
        statistics: what was counted.
        indexes: indexes of the written records.
        buckets: the input shapes.
        digest: digest of the examples.
        alike: pictures that are the same.
        origin: what CocoExampleGen counted; empty where that is not known.
        previous: the splits and edges of the last run's report; None without one.
        anomalies: what ExampleValidator found and the settings let pass, a line each.
    """

    categories: Sequence[Category]
    statistics: Mapping[str, SplitStatistics]
    indexes: Mapping[str, ShardIndex]
    buckets: Sequence[Bucket]
    digest: str
    alike: Alike
    origin: Mapping[str, Any]
    previous: Mapping[str, Any] | None
    anomalies: Sequence[str]


def report_content(settings: CocoTransformSettings, gathered: Gathered) -> dict[str, Any]:
    """Returns the numbers of the report as a JSON value.

    Shares are None where there is nothing to share.

    Raises:
        DatasetError: the data has drifted, and the settings have that fail.
    """
    statistics, indexes, limits = gathered.statistics, gathered.indexes, settings.transform.drift
    splits = {
        name: _split_content(settings.input, gathered, statistics[name], indexes[name])
        for name in statistics
    }
    content: dict[str, Any] = {
        "name": settings.name,
        "digest": gathered.digest,
        "notes": [],
        "origin": dict(gathered.origin),
        "buckets": [list(bucket) for bucket in gathered.buckets],
        "edges": {name: list(edges) for name, edges in _EDGES.items()},
        "splits": splits,
        "alike": alike_content(gathered.alike),
        "anchors": anchors_content(statistics, settings.model.anchors),
    }
    drifted = drifts(content, gathered.previous, limits)
    check_drift(drifted, limits)
    content["drift"] = [drift._asdict() for drift in drifted]
    content["notes"] = [
        *(f"anomaly in {line}" for line in gathered.anomalies),
        *(f"{name}: {note}" for name, found in gathered.origin.items() for note in found["notes"]),
        *(note for name, split in splits.items() for note in _notes(name, split)),
        *_overflow_notes(splits),
        *notes_on_findings(content),
        *(drift.line for drift in drifted if drift.is_over),
    ]
    return content


def _split_content(
    sizes: InputSizes, gathered: Gathered, statistics: SplitStatistics, index: ShardIndex
) -> dict[str, Any]:
    histograms = statistics.histograms
    by_class = histograms["anchor_iou_by_class"]
    covered = bins.IOU_EDGES.index(_COVERAGE_IOUS[0])
    return {
        "pictures": dict(sorted(statistics.pictures.items())),
        "objects": dict(sorted(statistics.objects.items())),
        "classes": [
            {
                "label": category["label"],
                "name": category["name"],
                "objects": int(histograms["objects_by_class"][category["label"] - 1]),
                "pictures": int(histograms["pictures_by_class"][category["label"] - 1]),
                "anchor_coverage": _share(
                    by_class[category["label"] - 1, covered:].sum(),
                    by_class[category["label"] - 1].sum(),
                ),
            }
            for category in gathered.categories
        ],
        "box_size": {
            name: int(number)
            for name, number in zip(bins.SIZE_NAMES, histograms["box_size"], strict=True)
        },
        "anchor_coverage": _coverage(histograms["anchor_iou"]),
        "histograms": {name: histograms[name].tolist() for name in _EDGES},
        "suspicions": suspicions_content(statistics),
        "masks": masks_content(statistics),
        "overflow": overflow_content(sizes.max_objects, index),
        **_padding(sizes, index, gathered.buckets),
    }


def _notes(name: str, split: Mapping[str, Any]) -> list[str]:
    """Returns a sentence for each thing in a split that a person should look at."""
    notes = []
    dropped = {code: split["pictures"].get(code, 0) for code in DROP_REASONS}
    if lost := sum(dropped.values()):
        notes.append(f"{name}: {plural(lost, 'picture')} cannot be used")
    objects = {
        code: number for code, number in split["objects"].items() if "_dropped_" in code and number
    }
    if objects:
        number = plural(sum(objects.values()), "object")
        notes.append(f"{name}: {number} cannot be learnt ({listed(objects)})")
    if empty := split["objects"].get("mask_empty", 0):
        notes.append(f"{name}: {plural(empty, 'mask')} without a pixel")
    missing = [one["name"] for one in split["classes"] if not one["objects"]]
    if missing:
        names = ", ".join(missing[:_MOST_NAMES]) + (", ..." if len(missing) > _MOST_NAMES else "")
        them = "1 class has" if len(missing) == 1 else f"{len(missing)} classes have"
        notes.append(f"{name}: {them} no object ({names})")
    for size, shares in split["anchor_coverage"].items():
        share = shares["0.5"]
        if size != "all" and share is not None and share < _POOR_COVERAGE:
            notes.append(
                f"{name}: only {100 * share:.0f} % of the {size} objects have an anchor with IoU "
                "0.5 or more (model.anchors, input.short_side_px)"
            )
    padding = split["padding_share"]
    if padding is not None and padding > _MUCH_PADDING:
        notes.append(
            f"{name}: {100 * padding:.0f} % of the input is padding (transform.max_buckets)"
        )
    return notes


def _overflow_notes(splits: Mapping[str, Any]) -> list[str]:
    """Returns a sentence where pictures hold more objects than training looks at."""
    overflow = splits.get(TRAINING_SPLIT, {}).get("overflow")
    if not overflow or not overflow["objects"]:
        return []
    objects, pictures = (
        plural(overflow["objects"], "object"),
        plural(overflow["pictures"], "picture"),
    )
    return [
        f"{TRAINING_SPLIT}: {objects} in {pictures} exceed input.max_objects "
        f"{overflow['max_objects']}: training sees the largest of a picture"
    ]


def _coverage(iou_counts: npt.NDArray[np.int64]) -> dict[str, dict[str, float | None]]:
    """Returns the share of objects whose best anchor reaches an IoU, by size and IoU.

    Args:
        iou_counts: [size, bin] of `SplitStatistics`.
    """
    rows = {"all": iou_counts.sum(axis=0), **dict(zip(bins.SIZE_NAMES, iou_counts, strict=True))}
    return {
        size: {
            f"{iou:.1f}": _share(counts[bins.IOU_EDGES.index(iou) :].sum(), counts.sum())
            for iou in _COVERAGE_IOUS
        }
        for size, counts in rows.items()
    }


def _padding(sizes: InputSizes, index: ShardIndex, buckets: Sequence[Bucket]) -> dict[str, Any]:
    """Returns the pictures of each bucket and the share of padding, without scale jitter."""
    rows, columns = resized_sides(
        index.height, index.width, sizes.short_side_px, sizes.long_side_px
    )
    assigned = assign_buckets(rows, columns, buckets)
    fits = assigned >= 0
    areas = np.asarray([height * width for height, width in buckets])
    content = (rows[fits] * columns[fits]).sum()
    share = _share(content, areas[assigned[fits]].sum())
    return {
        "pictures_in_bucket": np.bincount(assigned[fits], minlength=len(buckets)).tolist(),
        "pictures_in_no_bucket": int(np.count_nonzero(~fits)),
        "padding_share": None if share is None else round(1 - share, 6),
    }


def _share(part: float, whole: float) -> float | None:
    return round(float(part) / float(whole), 6) if whole else None
