"""COCO's numbers for a list of detections, by the official pycocotools and nothing else.

Detections and ground truth are in COCO's own form here: boxes `[x, y, width, height]` in pixels of
the picture as stored, masks as run-length codes of the whole picture. -1 means undefined (nothing
of that kind in the ground truth).
"""

import contextlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from configs.errors import DatasetError
from configs.schema import METRIC_NAMES
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.results import check_detections, range_of

KINDS = ("box", "mask")
UNDEFINED = -1.0
MAX_DETECTIONS = 100  # COCO's: of a category in a picture, best first

_IOU_TYPES = {"box": "bbox", "mask": "segm"}
_AREAS = ("all", "small", "medium", "large")  # COCOeval's order of area ranges
_CURVES = {"0.50": 0, "0.75": 5}  # position among the ten IoU thresholds 0.50 ... 0.95
_BOX_DECIMALS = 4  # of results, in pixels
_MATCH_IOU = 0  # pictures are judged at IoU 0.50


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
    where: str = "",
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
        where: the detections are from, for errors.

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
    checked, reasons = check_detections(ground_truth, detections, where)
    counts = _counts(ground_truth, checked, images, categories)
    keys = ("pictures", "objects", "crowds", "detections")
    totals = {key: sum(c[key] for c in counts.values()) for key in keys}
    metrics: dict[str, Any] = {
        "box": None,
        "mask": None,
        "counts": totals | {"pictures": len(images)} | _flaws(ground_truth, reasons),
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


def _flaws(ground_truth: GroundTruth, reasons: Counter[str]) -> dict[str, dict[str, int]]:
    """Returns how often each flaw of the ground truth's file and of the detections came up."""
    flaws = {"ground_truth_flaws": ground_truth.tally.reasons, "detection_flaws": reasons}
    return {name: dict(sorted(counts.items())) for name, counts in flaws.items() if counts}


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
            raise DatasetError(f"{what} id {number} is not in the ground truth: {range_of(known)}")
    return chosen


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
        images = {image["id"]: image for image in ground_truth.images}
        annotations = [_with_mask(a, images[a["image_id"]]) for a in annotations]
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


def _with_mask(annotation: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """Returns the annotation, or for an object without a mask its box as a crowd region.

    pycocotools cannot read such an object. As a region to be ignored it is neither missed nor
    are detections on it wrong. The box is clipped to the picture, which draws the same: of one
    far outside the C code would draw every pixel of its outline, or crash.
    """
    if "segmentation" in annotation:
        return annotation
    x, y, width, height = annotation["bbox"]
    left, right = (min(max(value, 0), image["width"]) for value in (x, x + width))
    top, bottom = (min(max(value, 0), image["height"]) for value in (y, y + height))
    corners = [left, top, right, top, right, bottom, left, bottom]
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
