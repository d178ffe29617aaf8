"""What kind of file it is where a COCO instances file, or COCO results, were expected."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ground.errors import DatasetError
from model.coco.stream import ANNOTATIONS, BARE_LIST, IMAGES, iterate_file

INSTANCES = "expected a COCO instances file, such as instances_train2017.json"
RESULTS = "expected a list of detections in COCO's results form"

# A key at the top of the files of other tools.
_TOOLS = {
    "shapes": "labelme",
    "_via_img_metadata": "VGG Image Annotator",
    "regions": "VGG Image Annotator",
    "segments_info": "panoptic",
    "tagged_files": "another tool",
    "label_config": "Label Studio",
    "outputs": "another tool",
}
_EXPORT = "export it as COCO instances (with `images`, `annotations`, `categories`)"


def is_instances(path: str | os.PathLike[str]) -> bool:
    """Returns whether a file has `images` and `annotations` at its top, and is whole up to them.

    It is read as far as to the second of them, which may be most of it.
    """
    kinds: dict[str, str] = {}
    try:
        for _ in iterate_file(path, kinds):
            if {IMAGES, ANNOTATIONS} <= kinds.keys():
                return True
    except DatasetError:
        return False
    return {IMAGES, ANNOTATIONS} <= kinds.keys()


def not_instances(
    kinds: Mapping[str, str], images: Sequence[Any], annotations: Sequence[Any], bare: Sequence[Any]
) -> str:
    """Returns what a file is, in place of an instances file, and what to do.

    Args:
        kinds: kind of each key at its top, as `iterate_file` gives them.
        images: the first entries of `images`.
        annotations: the first entries of `annotations`.
        bare: the first entries, where the file is one list.
    """
    if BARE_LIST in kinds:
        return _not_instances_but_list(bare)
    for key, tool in _TOOLS.items():
        if key in kinds:
            return f"this looks like a file of {tool}: {_EXPORT}"
    other = other_task(annotations)
    if other:
        return other
    if {"objects", "size"} <= kinds.keys():
        return f"this looks like a file of Supervisely: {_EXPORT}"
    if {"image_id", "score"} <= kinds.keys():
        return "this is one detection: detections are given to the evaluator as --detections"
    if ANNOTATIONS not in kinds and images:
        return (
            "this is a list of pictures alone (COCO's image_info of a test split): "
            "it has no objects to learn or to measure on; " + INSTANCES
        )
    return INSTANCES


def other_task(annotations: Sequence[Any]) -> str | None:
    """Returns what a file is whose annotations are of another task than instances; else None."""
    entries = [entry for entry in annotations if isinstance(entry, dict)]
    if not entries or any("bbox" in entry or "segmentation" in entry for entry in entries):
        return None
    for key, task, instances in (
        ("segments_info", "panoptic segmentation", "instances_train2017.json"),
        ("caption", "captions", "instances_train2017.json"),
        ("keypoints", "keypoints without boxes", "person_keypoints_train2017.json, with `bbox`"),
    ):
        if all(key in entry for entry in entries):
            return f"this is no instances file but one of {task}: give the one such as {instances}"
    return None


def _not_instances_but_list(bare: Sequence[Any]) -> str:
    entries = [entry for entry in bare if isinstance(entry, dict)]
    if entries and all("score" in entry for entry in entries):
        return (
            "this is a results file (detections): the evaluator takes it as --detections; "
            + INSTANCES
        )
    if entries and all("image_id" in entry for entry in entries):
        return f"these are annotations alone, without `images` and `categories`; {INSTANCES}"
    if entries and all("image" in entry and "annotations" in entry for entry in entries):
        return f"this looks like a file of CreateML: {_EXPORT}"
    if entries and all("Labeled Data" in entry or "data_row" in entry for entry in entries):
        return f"this looks like a file of Labelbox: {_EXPORT}"
    if entries and all("data" in entry and "annotations" in entry for entry in entries):
        return f"this looks like a file of Label Studio: {_EXPORT}"
    return INSTANCES


def not_results(kinds: Mapping[str, str], scored: str = "") -> str:
    """Returns what a file is that is no list of results, and what to do.

    Args:
        kinds: kind of each key at its top.
        scored: the key of a list whose entries have scores; "" without one.
    """
    if scored:
        return f"its `{scored[:40]}` looks like one: write that list alone"
    if {"images", "annotations"} & kinds.keys():
        return (
            "this looks like a COCO file of ground truth, which the evaluator takes as "
            f"--annotations; {RESULTS}"
        )
    if {"image_id", "score"} & kinds.keys():
        return f"it holds one detection, not a list of them: put it in brackets; {RESULTS}"
    return RESULTS
