"""The data report as one page for people, with the pictures that it shows."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.coco_transform.augmented import augmented_examples, is_augmented
from components.coco_transform.examples import drawn_example
from components.coco_transform.figures import report_figures
from components.coco_transform.findings import SUSPICIONS, shown_pairs
from components.coco_transform.picture import CHANGES
from components.coco_transform.record import DROP_REASONS
from components.coco_transform.report import Gathered
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.source import REPORT_NUMBERS
from ground.files import atomic_path, write_json
from ground.page import page_templates
from ground.wording import made_lines
from model.examples import TRAINING_SPLIT, read_manifest, shard_paths

REPORT_PAGE = "report.html"

_TEMPLATE = "report.html.j2"
_SMALL_PX = 320  # of pictures that are one of many

Shown = dict[str, str]  # a picture: `uri` and `caption`


class RecordPlace(NamedTuple):
    """Where a record lies, as `drawn_example` takes it."""

    shard: Path
    offset: int
    length: int


def write_report(
    report_dir: str | os.PathLike[str],
    examples_dir: str | os.PathLike[str],
    content: Mapping[str, Any],
    gathered: Gathered,
    refused: Mapping[str, Any],
    settings: CocoTransformSettings,
) -> None:
    """Writes `report.json` and `report.html`, one page that needs no other file.

    Args:
        report_dir: where to.
        examples_dir: the new examples folder, for the pictures that are shown.
        content: what `report_content` gives.
        gathered: what it was made of.
        refused: what CocoExampleGen left out, by split and reason, to be shown.
        settings: sizes and augmentation, as training will see pictures.
    """
    write_json(Path(report_dir) / REPORT_NUMBERS, content)
    names = {category["label"]: category["name"] for category in gathered.categories}
    page = _page(
        content,
        refused=refused,
        shown=_examples(examples_dir, gathered, names),
        augmented=_augmented(examples_dir, gathered, settings),
        suspects=_suspects(examples_dir, gathered, names),
        pairs=_pairs(examples_dir, gathered, names),
    )
    with atomic_path(Path(report_dir) / REPORT_PAGE) as partial:
        partial.write_text(page, encoding="utf-8")


def _examples(
    examples_dir: str | os.PathLike[str], gathered: Gathered, names: dict[int, str]
) -> dict[str, list[Shown]]:
    """Returns some pictures of each split with their objects."""
    shown = {}
    for split, statistics in gathered.statistics.items():
        shards = shard_paths(examples_dir, split)
        shown[split] = [
            drawn_example(shards[place.shard], place.offset, place.length, names)
            for place in statistics.examples
        ]
    return shown


def _augmented(
    examples_dir: str | os.PathLike[str], gathered: Gathered, settings: CocoTransformSettings
) -> list[Shown]:
    """Returns some pictures as training will see them; none where it only flips them."""
    pictures = gathered.statistics.get(TRAINING_SPLIT)
    if not is_augmented(settings.input) or not pictures or not gathered.indexes[TRAINING_SPLIT]:
        return []
    has_masks = pictures.objects["mask_kept"] > 0
    return augmented_examples(
        examples_dir, TRAINING_SPLIT, settings.input, settings.data.seed, has_masks
    )


def _suspects(
    examples_dir: str | os.PathLike[str], gathered: Gathered, names: dict[int, str]
) -> list[dict[str, Any]]:
    """Returns split, kind, number and pictures of what looks wrong."""
    suspects = []
    for split, statistics in gathered.statistics.items():
        shards = shard_paths(examples_dir, split)
        for kind, meaning in SUSPICIONS.items():
            places = statistics.suspicions.places.get(kind, [])
            pictures = [
                drawn_example(
                    shards[place.shard],
                    place.offset,
                    place.length,
                    names,
                    only={place.annotation_id, place.other_id},
                    long_side_px=_SMALL_PX,
                )
                | {"caption": f"image id {place.image_id}, annotation id {place.annotation_id}"}
                for place in places
            ]
            number = statistics.suspicions.counts[kind]
            if number:
                suspects.append(
                    {"split": split, "meaning": meaning, "number": number, "pictures": pictures}
                )
    return suspects


def _pairs(
    examples_dir: str | os.PathLike[str], gathered: Gathered, names: dict[int, str]
) -> list[list[Shown]]:
    """Returns pictures that look alike, two by two."""
    alike = gathered.alike
    rows = np.arange(len(alike.pictures.split))
    first_rows = np.searchsorted(alike.pictures.split, np.arange(len(alike.names)))
    pairs = []
    for pair in shown_pairs(alike):
        both = []
        for at in (pair.one, pair.other):
            number = int(alike.pictures.split[at])
            split = alike.names[number]
            place = _place(examples_dir, gathered, split, int(rows[at] - first_rows[number]))
            found = drawn_example(*place, names, only=set(), long_side_px=_SMALL_PX)
            image_id = int(alike.pictures.image_id[at])
            both.append(found | {"caption": f"{split}: image id {image_id}"})
        pairs.append(both)
    return pairs


def _place(
    examples_dir: str | os.PathLike[str], gathered: Gathered, split: str, row: int
) -> RecordPlace:
    """Returns where the record of a row of a split's index lies."""
    index = gathered.indexes[split]
    shards = read_manifest(examples_dir)["splits"][split]["shards"]
    ends = np.cumsum([shard["records"] for shard in shards])
    shard = int(np.searchsorted(ends, row, side="right"))
    path = shard_paths(examples_dir, split)[shard]
    return RecordPlace(path, int(index.offset[row]), int(index.length[row]))


def _page(content: Mapping[str, Any], **pictures: Any) -> str:
    from markupsafe import Markup

    environment = page_templates(Path(__file__).parent)
    environment.filters["percent"] = lambda share: "–" if share is None else f"{100 * share:.1f} %"
    environment.filters["made"] = made_lines
    environment.filters["words"] = lambda code: code.replace("_", " ")
    environment.filters["number"] = lambda number: f"{number:,}"
    plots = [figure | {"svg": Markup(figure["svg"])} for figure in report_figures(content)]
    return environment.get_template(_TEMPLATE).render(
        content=content,
        plots=plots,
        classes=_class_rows(content),
        changes=CHANGES,
        drops=DROP_REASONS,
        **pictures,
    )


def _class_rows(content: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """Returns a row a class: objects, pictures and anchors in each split, most objects first."""
    splits = list(content["splits"].values())
    if not splits:
        return []
    rows = [
        {
            "name": classes[0]["name"],
            "cells": [(one["objects"], one["pictures"], one["anchor_coverage"]) for one in classes],
        }
        for classes in zip(*(split["classes"] for split in splits), strict=True)
    ]
    return sorted(rows, key=lambda row: -row["cells"][0][0])
