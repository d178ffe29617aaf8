"""COCO's numbers for a list of detections, by the official pycocotools and nothing else.

Detections and ground truth are in COCO's own form here: boxes `[x, y, width, height]` in pixels of
the picture as stored, masks as run-length codes of the whole picture. -1 means undefined (nothing
of that kind in the ground truth).
"""

import contextlib
import io
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from configs.console import read_json
from configs.errors import DatasetError
from configs.schema import METRIC_NAMES
from model import records
from model.examples import iterate_records, read_categories
from model.tf_example import decode_example

KINDS = ("box", "mask")
UNDEFINED = -1.0
MAX_DETECTIONS = 100  # COCO's: of a category in a picture, best first

_IOU_TYPES = {"box": "bbox", "mask": "segm"}
_AREAS = ("all", "small", "medium", "large")  # COCOeval's order of area ranges
_CURVES = {"0.50": 0, "0.75": 5}  # position among the ten IoU thresholds 0.50 ... 0.95
_BOX_DECIMALS = 4  # of results, in pixels
_MATCH_IOU = 0  # pictures are judged at IoU 0.50


@dataclass(frozen=True)
class GroundTruth:
    """What is to be found.

    Attributes:
        images: COCO's `id`, `width`, `height`, `file_name`.
        annotations: COCO's `image_id`, `category_id`, `bbox`, `area`, `iscrowd` and, where the
            object has a mask, `segmentation`; `id` is a count from 1.
        categories: COCO's `id` and `name`.
    """

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]

    @property
    def has_masks(self) -> bool:
        """Whether any object that is no crowd has a mask."""
        return any("segmentation" in a and not a["iscrowd"] for a in self.annotations)


@dataclass
class PictureMatches:
    """How the detections of one picture fit its objects (boxes, IoU 0.50, within a category).

    Crowds, and detections that lie in one, are in none of the lists.

    Attributes:
        pairs: an object (annotation) and the detection that found it.
        missed: objects without a detection.
        wrong: detections without an object.
    """

    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    missed: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[dict[str, Any]] = field(default_factory=list)


def ground_truth_from_json(path: str | os.PathLike[str]) -> GroundTruth:
    """Returns the ground truth of a COCO instances file.

    A missing `iscrowd` is 0, a missing `area` the box's. Annotations are numbered anew from 1,
    because COCOeval takes an annotation with id 0 for unmatched, and repeated ids for one object.

    Raises:
        DatasetError: the file is missing, not JSON, or lacks what evaluation needs.
    """
    content = read_json(path, DatasetError)
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected an object with images, annotations, categories")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise DatasetError(f"{path}: has no list {key!r}, so it is no COCO instances file")
    try:
        return GroundTruth(
            [_image(i) for i in content["images"]],
            [_annotation(a, n) for n, a in enumerate(content["annotations"], 1)],
            [{"id": c["id"], "name": str(c.get("name", c["id"]))} for c in content["categories"]],
        )
    except KeyError as error:
        raise DatasetError(f"{path}: a record lacks the key {error}") from None
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}: a record is not as in COCO's files ({error})") from None


def _image(image: dict[str, Any]) -> dict[str, Any]:
    """Returns the entries of a COCO image that are read."""
    return {
        "id": image["id"],
        "width": image["width"],
        "height": image["height"],
        "file_name": image.get("file_name", ""),
    }


def _annotation(annotation: dict[str, Any], number: int) -> dict[str, Any]:
    """Returns the entries of a COCO annotation that are read, with `number` as its id."""
    x, y, width, height = annotation["bbox"]
    area = annotation.get("area")
    result = {
        "id": number,
        "image_id": annotation["image_id"],
        "category_id": annotation["category_id"],
        "bbox": [x, y, width, height],
        "area": width * height if area is None else area,
        "iscrowd": int(annotation.get("iscrowd", 0)),
    }
    if annotation.get("segmentation"):
        result["segmentation"] = annotation["segmentation"]
    return result


def ground_truth_from_records(examples: str | os.PathLike[str], split: str) -> GroundTruth:
    """Returns the ground truth of one split of CocoExampleGen's examples folder.

    Boxes and areas come from the float64 copy in the records, so that the metrics equal those of
    the JSON the records were made from.

    Raises:
        DatasetError: the folder or the split is missing, or a shard is damaged.
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
            annotation["segmentation"] = json.loads(mask)
        annotations.append(annotation)
    return image, annotations, values[records.ENCODED][0]


def read_detections(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns the detections of a file in COCO's results form.

    Raises:
        DatasetError: the file is missing, not JSON, or not a list of results.
    """
    detections = read_json(path, DatasetError)
    if not isinstance(detections, list) or not all(isinstance(d, dict) for d in detections):
        raise DatasetError(f"{path}: expected a list of detections in COCO's results form")
    for position, detection in enumerate(detections):
        missing = {"image_id", "category_id", "score"} - detection.keys()
        if not missing and not ("bbox" in detection or "segmentation" in detection):
            missing = {"bbox"}
        if missing:
            raise DatasetError(f"{path}: detection {position} has no {sorted(missing)[0]!r}")
    return detections


def results_of_picture(
    image: dict[str, Any],
    boxes_norm: np.ndarray,
    scores: np.ndarray,
    category_ids: np.ndarray,
    masks: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Returns the detections in one picture in COCO's results form.

    Args:
        image: COCO's `id`, `height`, `width` in pixels.
        boxes_norm: [n, 4] float32 yxyx, shares of the picture's sides.
        scores: [n] float32.
        category_ids: [n] COCO ids.
        masks: [n, 28, 28] float32 probabilities within the box, or None.
    """
    height, width = image["height"], image["width"]
    boxes_orig = boxes_norm.astype(np.float64) * [height, width, height, width]
    results = []
    for n, (ymin, xmin, ymax, xmax) in enumerate(boxes_orig):
        box = [xmin, ymin, xmax - xmin, ymax - ymin]
        result = {
            "image_id": image["id"],
            "category_id": int(category_ids[n]),
            "bbox": [round(float(value), _BOX_DECIMALS) for value in box],
            # The shortest number that is the same float32: 0.9, not 0.8999999761581421.
            "score": float(str(np.float32(scores[n]))),
        }
        if masks is not None:
            result["segmentation"] = _pasted(masks[n], boxes_orig[n], height, width)
        results.append(result)
    return results


def _pasted(mask: np.ndarray, box_orig: np.ndarray, height: int, width: int) -> dict[str, Any]:
    """Returns the run-length code of a mask [28, 28] in its box, in the whole picture."""
    from model.ops.mask_paste import encode_window, paste_mask

    y0, x0, window = paste_mask(mask, box_orig, height, width)
    return encode_window(window, y0, x0, height, width)


def evaluate(
    ground_truth: GroundTruth,
    detections: Sequence[dict[str, Any]],
    kinds: Sequence[str] = ("box",),
    image_ids: Iterable[int] | None = None,
    category_ids: Iterable[int] | None = None,
    class_agnostic: bool = False,
    max_detections: int = MAX_DETECTIONS,
) -> dict[str, Any]:
    """Returns COCO's numbers; see `measure`, which also says what was found in each picture."""
    return measure(
        ground_truth, detections, kinds, image_ids, category_ids, class_agnostic, max_detections
    )[0]


def measure(
    ground_truth: GroundTruth,
    detections: Sequence[dict[str, Any]],
    kinds: Sequence[str] = ("box",),
    image_ids: Iterable[int] | None = None,
    category_ids: Iterable[int] | None = None,
    class_agnostic: bool = False,
    max_detections: int = MAX_DETECTIONS,
) -> tuple[dict[str, Any], dict[int, PictureMatches]]:
    """Returns COCO's numbers, and how the detections of each picture fit its objects.

    Where a detection has both `bbox` and `segmentation`, its area is the box's, as in
    pycocotools' `loadRes`; with `segmentation` alone box and area are the mask's.

    Args:
        ground_truth: what is to be found. A picture without detections counts.
        detections: dicts of COCO's results form: `image_id`, `category_id`, `score`, and `bbox`
            or `segmentation` or both. An empty list is allowed.
        kinds: "box", "mask" or both. "mask" without any mask in the ground truth gives None.
        image_ids: only these pictures; None is all.
        category_ids: only these categories; None is all.
        class_agnostic: any category of a detection is right.
        max_detections: of a category in a picture that count, best first, at least 10. The
            numbers keep their names: AR100 is the recall with so many.

    Returns:
        `{"box": {the twelve numbers} or None, "mask": likewise, "per_category": {kind: {id: ...}},
        "per_iou": {kind: {"0.50": AP, ...}}, "curves": {kind: {"0.50": 101 precisions at recall
        0.00, 0.01, ..., 1.00, ...}}, "counts": {...}}`, and the matches by image id.

    Raises:
        DatasetError: a detection, `image_ids` or `category_ids` name what is not in the ground
            truth, or a detection is malformed.
    """
    images = _chosen("image", image_ids, [i["id"] for i in ground_truth.images])
    categories = _chosen("category", category_ids, [c["id"] for c in ground_truth.categories])
    checked = _checked(ground_truth, detections)
    counts = _counts(ground_truth, checked, images, categories)
    keys = ("pictures", "objects", "crowds", "detections")
    totals = {key: sum(c[key] for c in counts.values()) for key in keys}
    metrics: dict[str, Any] = {
        "box": None,
        "mask": None,
        "counts": totals | {"pictures": len(images)},
        "max_detections": max_detections,
        "per_category": {},
        "per_iou": {},
        "curves": {},
    }
    matches: dict[int, PictureMatches] = {}
    for kind in kinds:
        if kind == "mask" and not ground_truth.has_masks:
            continue
        run = _run_coco_eval(
            ground_truth, checked, kind, images, categories, class_agnostic, max_detections
        )
        precision = run.eval["precision"]
        metrics[kind] = _twelve_numbers(run)
        metrics["per_iou"][kind] = {
            f"{iou:.2f}": _mean(precision[i, :, :, 0, -1])
            for i, iou in enumerate(run.params.iouThrs)
        }
        metrics["curves"][kind] = {
            name: _curve(precision[i, :, :, 0, -1]) for name, i in _CURVES.items()
        }
        if not class_agnostic:
            metrics["per_category"][kind] = _per_category(ground_truth, run, counts)
        if kind == "box":
            matches = _matches(run, images)
    return metrics, matches


def _chosen(what: str, wanted: Iterable[int] | None, known: list[int]) -> list[int]:
    """Returns the sorted ids to evaluate.

    Raises:
        DatasetError: a wanted id is unknown; it and the range of the known ones are named.
    """
    if wanted is None:
        return sorted(set(known))
    chosen = sorted(set(wanted))
    for number in chosen:
        if number not in set(known):
            raise DatasetError(f"{what} id {number} is not in the ground truth: {_range(known)}")
    return chosen


def _range(ids: Iterable[int]) -> str:
    known = set(ids)
    return f"its {len(known)} ids lie in {min(known)}..{max(known)}" if known else "it has none"


def _checked(
    ground_truth: GroundTruth, detections: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Returns the detections as COCOeval wants them, after looking at each."""
    images = {i["id"]: i for i in ground_truth.images}
    categories = {c["id"] for c in ground_truth.categories}
    result = []
    for position, detection in enumerate(detections):
        try:
            result.append(_checked_detection(detection, position + 1, images, categories))
        except DatasetError as error:
            raise DatasetError(f"detection {position}: {error}") from None
    return result


def _checked_detection(
    detection: dict[str, Any], number: int, images: dict[int, Any], categories: set[int]
) -> dict[str, Any]:
    """Returns a COCO result as an annotation; of a mask alone with the mask's box and area.

    Args:
        detection: a row of a COCO results file.
        number: its id.
        images: of the ground truth, by id.
        categories: ids of the ground truth's.

    Raises:
        DatasetError: it names what is not in the ground truth, or a number is not finite.
    """
    image = images.get(detection["image_id"])
    if image is None:
        raise DatasetError(
            f"image id {detection['image_id']} is not in the ground truth: {_range(images)}"
        )
    if detection["category_id"] not in categories:
        raise DatasetError(
            f"category id {detection['category_id']} is not in the ground truth: "
            f"{_range(categories)}"
        )
    score = detection["score"]
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise DatasetError(f"score is {score!r}, expected a finite number")
    result = {
        "id": number,
        "image_id": detection["image_id"],
        "category_id": detection["category_id"],
        "score": score,
        "iscrowd": 0,
    }
    if detection.get("segmentation"):
        result["segmentation"] = mask_to_rle(detection["segmentation"], image)
    box = detection.get("bbox") or _mask_box(result)
    if len(box) != 4 or not all(isinstance(v, int | float) and math.isfinite(v) for v in box):
        raise DatasetError(f"bbox is {box!r}, expected four finite numbers")
    result["bbox"] = list(box)
    result["area"] = box[2] * box[3] if detection.get("bbox") else _mask_area(result)
    return result


def mask_to_rle(segmentation: Any, image: dict[str, Any]) -> dict[str, Any]:
    """Returns a mask in any of COCO's forms as a compressed run-length code of the picture."""
    from pycocotools import mask as coco_mask

    height, width = image["height"], image["width"]
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if list(segmentation.get("size", [])) != [height, width]:
        raise DatasetError(
            f"mask of size {segmentation.get('size')} for picture {image['id']} "
            f"of [height, width] {[height, width]}"
        )
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


def _mask_box(detection: dict[str, Any]) -> list[float]:
    """Returns [x, y, width, height] of a detection's mask.

    Raises:
        DatasetError: it has none.
    """
    from pycocotools import mask as coco_mask

    if "segmentation" not in detection:
        raise DatasetError("has neither bbox nor segmentation")
    return coco_mask.toBbox(detection["segmentation"]).tolist()


def _mask_area(detection: dict[str, Any]) -> float:
    from pycocotools import mask as coco_mask

    return float(coco_mask.area(detection["segmentation"]))


def _run_coco_eval(
    ground_truth: GroundTruth,
    detections: list[dict[str, Any]],
    kind: str,
    image_ids: list[int],
    category_ids: list[int],
    class_agnostic: bool,
    max_detections: int,
) -> Any:
    """Returns a COCOeval that has evaluated, accumulated and summarised, without its prints."""
    from pycocotools.cocoeval import COCOeval

    annotations = [dict(a) for a in ground_truth.annotations]  # COCOeval writes into them
    found = [dict(d) for d in detections]
    if kind == "mask":
        annotations = [_with_mask(a) for a in annotations]
        found = [d for d in found if "segmentation" in d]
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(
            _coco(ground_truth, annotations), _coco(ground_truth, found), _IOU_TYPES[kind]
        )
        run.params.imgIds = image_ids
        run.params.catIds = category_ids
        run.params.useCats = 0 if class_agnostic else 1
        run.params.maxDets = [1, 10, max_detections]
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


def _twelve_numbers(run: Any) -> dict[str, float]:
    """Returns COCO's numbers of a COCOeval that has summarised.

    pycocotools looks for its AP at 100 detections whatever `maxDets` says, and finds nothing (-1)
    where that is another number. The other eleven follow `maxDets`.
    """
    numbers = dict(zip(METRIC_NAMES, map(float, run.stats), strict=True))
    if run.params.maxDets[-1] != MAX_DETECTIONS:
        numbers["AP"] = _mean(run.eval["precision"][:, :, :, 0, -1])
    return numbers


def _with_mask(annotation: dict[str, Any]) -> dict[str, Any]:
    """Returns the annotation, or for an object without a mask its box as a crowd region.

    pycocotools cannot read such an object. As a region to be ignored it is neither missed nor
    are detections on it wrong.
    """
    if "segmentation" in annotation:
        return annotation
    x, y, width, height = annotation["bbox"]
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return annotation | {"segmentation": [corners], "iscrowd": 1}


def _coco(ground_truth: GroundTruth, annotations: list[dict[str, Any]]) -> Any:
    """Returns pycocotools' index of the annotations in the ground truth's images."""
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": ground_truth.images,
        "annotations": annotations,
        "categories": ground_truth.categories,
    }
    coco.createIndex()
    return coco


def _mean(values: np.ndarray) -> float:
    """Returns the mean of the defined values, -1 where there is none."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else UNDEFINED


def _curve(precision: np.ndarray) -> list[float]:
    """Returns the precision [101] over recall, a mean over categories, of [101, K] values."""
    defined = precision[:, (precision > -1).all(axis=0)]
    return defined.mean(axis=1).tolist() if defined.size else []


def _per_category(
    ground_truth: GroundTruth, run: Any, counts: dict[int, Counter[str]]
) -> dict[str, dict[str, Any]]:
    """Returns the numbers of each category by its id as a string (JSON's keys are strings)."""
    precision, recall = run.eval["precision"], run.eval["recall"]
    names = {c["id"]: c["name"] for c in ground_truth.categories}
    result = {}
    for k, category_id in enumerate(run.params.catIds):
        numbers = {
            "AP": _mean(precision[:, :, k, 0, -1]),
            "AP50": _mean(precision[0, :, k, 0, -1]),
            "AP75": _mean(precision[5, :, k, 0, -1]),
        }
        for a, area in enumerate(_AREAS[1:], 1):
            numbers[f"AP{area[0]}"] = _mean(precision[:, :, k, a, -1])
        numbers["AR100"] = _mean(recall[:, k, 0, -1])
        found = {key: counts[category_id][key] for key in ("pictures", "objects", "detections")}
        result[str(category_id)] = {"name": names[category_id], **numbers, **found}
    return result


def _counts(
    ground_truth: GroundTruth,
    detections: list[dict[str, Any]],
    image_ids: list[int],
    category_ids: list[int],
) -> dict[int, Counter[str]]:
    """Returns by category id how many pictures, objects, crowds and detections there are."""
    counts = {c: Counter[str]() for c in category_ids}
    images, seen = set(image_ids), set()
    for annotation in ground_truth.annotations:
        category_id, image_id = annotation["category_id"], annotation["image_id"]
        if image_id not in images or category_id not in counts:
            continue
        counts[category_id]["crowds" if annotation["iscrowd"] else "objects"] += 1
        if not annotation["iscrowd"] and (category_id, image_id) not in seen:
            seen.add((category_id, image_id))
            counts[category_id]["pictures"] += 1
    for detection in detections:
        if detection["image_id"] in images and detection["category_id"] in counts:
            counts[detection["category_id"]]["detections"] += 1
    return counts


def _matches(run: Any, image_ids: list[int]) -> dict[int, PictureMatches]:
    """Returns what COCOeval matched in each picture, at IoU 0.50 and for objects of any size."""
    matches = {image_id: PictureMatches() for image_id in image_ids}
    for result in _all_sizes(run):
        picture = matches[result["image_id"]]
        found_by = result["gtMatches"][_MATCH_IOU]
        for number, match, ignored in zip(
            result["gtIds"], found_by, result["gtIgnore"], strict=True
        ):
            annotation = run.cocoGt.anns[number]
            if match and not ignored:
                picture.pairs.append((annotation, run.cocoDt.anns[int(match)]))
            elif not ignored:
                picture.missed.append(annotation)
        found, ignored_too = result["dtMatches"][_MATCH_IOU], result["dtIgnore"][_MATCH_IOU]
        for number, match, ignored in zip(result["dtIds"], found, ignored_too, strict=True):
            if not match and not ignored:
                picture.wrong.append(run.cocoDt.anns[number])
    return matches


def _all_sizes(run: Any) -> Iterator[dict[str, Any]]:
    whole_range = run.params.areaRng[0]
    return (r for r in run.evalImgs if r is not None and r["aRng"] == whole_range)
