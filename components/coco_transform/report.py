"""The data report: what is in the records, how much is padding, how well the anchors fit."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components.coco_transform import statistics as bins
from components.coco_transform.examples import drawn_example
from components.coco_transform.picture import CHANGES
from components.coco_transform.record import DROP_REASONS
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.statistics import ExamplePlace, SplitStatistics
from configs.schema import InputSizes
from ground.files import atomic_path, write_json
from ground.wording import listed, made_lines, plural
from model.examples import TRAINING_SPLIT, Category, read_categories, shard_paths
from model.input.buckets import Bucket, assign_buckets
from model.input.index import ShardIndex
from model.input.sizes import resized_sides

REPORT_PAGE = "report.html"
REPORT_NUMBERS = "report.json"

_TEMPLATE = Path(__file__).with_name("report.html.j2")
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


def report_content(
    settings: CocoTransformSettings,
    categories: Sequence[Category],
    statistics: Mapping[str, SplitStatistics],
    indexes: Mapping[str, ShardIndex],
    buckets: Sequence[Bucket],
    digest: str,
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the numbers of the report as a JSON value.

    Shares are None where there is nothing to share.

    Args:
        settings: settings of the run.
        categories: the label map.
        statistics: by split.
        indexes: indexes of the written records, by split.
        buckets: the input shapes.
        digest: digest of the examples.
        origin: what CocoExampleGen counted, by split; empty where that is not known.
    """
    splits = {
        name: _split_content(settings.input, categories, statistics[name], indexes[name], buckets)
        for name in statistics
    }
    return {
        "name": settings.name,
        "digest": digest,
        "notes": [
            *(f"{name}: {note}" for name, counts in origin.items() for note in counts["notes"]),
            *(note for name, split in splits.items() for note in _notes(name, split)),
            *_overflow_notes(settings.input.max_objects, indexes),
        ],
        "origin": dict(origin),
        "buckets": [list(bucket) for bucket in buckets],
        "edges": {name: list(edges) for name, edges in _EDGES.items()},
        "splits": splits,
    }


def write_report(
    report_dir: str | os.PathLike[str],
    examples_dir: str | os.PathLike[str],
    content: Mapping[str, Any],
    examples: Mapping[str, Sequence[ExamplePlace]],
) -> None:
    """Writes `report.json` and `report.html`, one page that needs no other file.

    Args:
        report_dir: where to.
        examples_dir: the new examples folder, for the pictures that are shown.
        content: what `report_content` gives.
        examples: the pictures to show, by split.
    """
    write_json(Path(report_dir) / REPORT_NUMBERS, content)
    names = {category["label"]: category["name"] for category in read_categories(examples_dir)}
    shown = {}
    for split, places in examples.items():
        shards = shard_paths(examples_dir, split)
        shown[split] = [
            drawn_example(shards[place.shard], place.offset, place.length, names)
            for place in places
        ]
    page = _page(content, shown)
    with atomic_path(Path(report_dir) / REPORT_PAGE) as partial:
        partial.write_text(page, encoding="utf-8")


def _split_content(
    sizes: InputSizes,
    categories: Sequence[Category],
    statistics: SplitStatistics,
    index: ShardIndex,
    buckets: Sequence[Bucket],
) -> dict[str, Any]:
    histograms = statistics.histograms
    return {
        "pictures": dict(sorted(statistics.pictures.items())),
        "objects": dict(sorted(statistics.objects.items())),
        "classes": [
            {
                "label": category["label"],
                "name": category["name"],
                "objects": int(histograms["objects_by_class"][category["label"] - 1]),
                "pictures": int(histograms["pictures_by_class"][category["label"] - 1]),
            }
            for category in categories
        ],
        "box_size": {
            name: int(number)
            for name, number in zip(bins.SIZE_NAMES, histograms["box_size"], strict=True)
        },
        "anchor_coverage": _coverage(histograms["anchor_iou"]),
        "histograms": {name: histograms[name].tolist() for name in _EDGES},
        **_padding(sizes, index, buckets),
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


def _overflow_notes(most: int, indexes: Mapping[str, ShardIndex]) -> list[str]:
    """Returns a sentence where pictures hold more objects than training looks at."""
    excess = (
        np.maximum(indexes[TRAINING_SPLIT].num_objects - most, 0)
        if TRAINING_SPLIT in indexes
        else 0
    )
    if not np.any(excess):
        return []
    objects = plural(int(np.sum(excess)), "object")
    pictures = plural(int(np.count_nonzero(excess)), "picture")
    return [
        f"{TRAINING_SPLIT}: {objects} in {pictures} exceed input.max_objects {most}: training sees "
        "the largest of a picture"
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


def _page(content: Mapping[str, Any], shown: Mapping[str, Sequence[dict[str, str]]]) -> str:
    import jinja2
    from markupsafe import Markup

    from components.coco_transform.figures import report_figures

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.Undefined
    )
    environment.filters["percent"] = lambda share: "–" if share is None else f"{100 * share:.1f} %"
    environment.filters["made"] = made_lines
    environment.filters["words"] = lambda code: code.replace("_", " ")
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    plots = [figure | {"svg": Markup(figure["svg"])} for figure in report_figures(content)]
    classes = _class_rows(content)
    return template.render(
        content=content,
        plots=plots,
        classes=classes,
        shown=shown,
        changes=CHANGES,
        drops=DROP_REASONS,
    )


def _class_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns a row a class: objects and pictures in each split, most objects first."""
    splits = list(content["splits"].values())
    if not splits:
        return []
    rows = [
        {
            "name": classes[0]["name"],
            "cells": [(one["objects"], one["pictures"]) for one in classes],
        }
        for classes in zip(*(split["classes"] for split in splits), strict=True)
    ]
    return sorted(rows, key=lambda row: -row["cells"][0][0])
