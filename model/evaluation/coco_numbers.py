"""COCO's numbers for a list of detections, bit by bit those of the official pycocotools.

Detections and ground truth are in COCO's own form here: boxes `[x, y, width, height]` in pixels of
the picture as stored, masks as run-length codes of the whole picture. -1 means undefined (nothing
of that kind in the ground truth).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from configs.metric_names import METRIC_NAMES
from ground.errors import DatasetError
from model.coco.boxes import yxyx_to_xywh
from model.evaluation.columns import Columns
from model.evaluation.engine import Evaluator, Outcome, Task, evaluate_task, task_of
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.matching import AREAS, IOU_THRESHOLDS, Matches, match
from model.evaluation.metrics import ClassNumbers, Counts, KindMetrics, Metrics
from model.evaluation.results import check_detections, range_of

UNDEFINED = -1.0
MAX_DETECTIONS = 100  # COCO's: of a category in a picture, best first

_CURVES = {"0.50": 0, "0.75": 5}  # position among the ten IoU thresholds 0.50 ... 0.95
_BOX_DECIMALS = 4  # of results, in pixels


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


@dataclass(frozen=True)
class Measured:
    """What measuring gives.

    Attributes:
        metrics: the numbers.
        matches: by kind, of each detection.
        tasks: by kind, what was evaluated.
    """

    metrics: Metrics
    matches: dict[str, Matches]
    tasks: dict[str, Task]


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
    for n, box in enumerate(boxes_orig):
        result = {
            "image_id": image["id"],
            "category_id": int(category_ids[n]),
            "bbox": [round(float(value), _BOX_DECIMALS) for value in yxyx_to_xywh(box)],
            # The shortest number that is the same float32: 0.9, not 0.8999999761581421.
            "score": float(str(np.float32(scores[n]))),
        }
        if masks is not None:
            result["segmentation"] = _pasted(masks[n], box, height, width)
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
) -> Metrics:
    """Returns COCO's numbers; see `measure`, which also says what each detection finds."""
    return measure(
        ground_truth, detections, kinds, image_ids, category_ids, class_agnostic, max_detections
    ).metrics


def measure(
    ground_truth: GroundTruth,
    detections: Sequence[dict[str, Any]],
    kinds: Sequence[str] = ("box",),
    image_ids: Iterable[int] | None = None,
    category_ids: Iterable[int] | None = None,
    class_agnostic: bool = False,
    max_detections: int = MAX_DETECTIONS,
    where: str = "",
    evaluator: Evaluator = "hotcoco",
) -> Measured:
    """Returns COCO's numbers, and what each detection finds.

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
        max_detections: those of a category in a picture that count, best first, at least 10. The
            numbers keep their names: AR100 is the recall with so many.
        where: the detections are from, for errors.
        evaluator: see `model.evaluation.engine.evaluate_task`.

    Raises:
        DatasetError: a detection, `image_ids` or `category_ids` name what is not in the ground
            truth, or a detection is malformed.
    """
    images = _chosen("image", image_ids, [i["id"] for i in ground_truth.images])
    categories = _chosen("category", category_ids, [c["id"] for c in ground_truth.categories])
    checked, reasons = check_detections(ground_truth, detections, where)
    counts = _counts(ground_truth, checked, images, categories)
    totals = sum(counts.values(), Counter[str]())
    by_kind: dict[str, KindMetrics] = {}
    notes: list[str] = []
    matches: dict[str, Matches] = {}
    tasks: dict[str, Task] = {}
    for kind in (k for k in kinds if k == "box" or ground_truth.has_masks):
        task = task_of(
            ground_truth, checked, kind, images, categories, class_agnostic, max_detections
        )
        outcome = evaluate_task(task, evaluator)
        notes += [outcome.note] if outcome.note else []
        by_class = None if class_agnostic else _by_class(ground_truth, outcome, counts)
        by_kind[kind] = _kind_metrics(outcome, by_class)
        matches[kind], tasks[kind] = outcome.matches, task
    metrics = Metrics(
        by_kind,
        Counts(len(images), totals["objects"], totals["crowds"], totals["detections"]),
        ground_truth_flaws=dict(sorted(ground_truth.tally.reasons.items())),
        detection_flaws=dict(sorted(reasons.items())),
        max_detections=max_detections,
        notes=notes,
    )
    return Measured(metrics, matches, tasks)


def matches_by_picture(
    ground_truth: GroundTruth, checked: Columns, max_detections: int = MAX_DETECTIONS
) -> tuple[Matches, dict[int, PictureMatches]]:
    """Returns how detections fit objects: in columns, and by picture; without any numbers.

    Args:
        ground_truth: what is to be found.
        checked: detections that `check_detections` returned.
        max_detections: those of a category in a picture that count, best first.
    """
    image_ids = sorted(image["id"] for image in ground_truth.images)
    category_ids = sorted(category["id"] for category in ground_truth.categories)
    task = task_of(ground_truth, checked, "box", image_ids, category_ids, False, max_detections)
    matches = match(
        task.object_columns,
        task.detections,
        "box",
        image_ids,
        category_ids,
        False,
        max_detections,
    )
    return matches, _pictures(task, matches)


def _kind_metrics(outcome: Outcome, by_class: dict[int, ClassNumbers] | None) -> KindMetrics:
    precision = outcome.precision[:, :, :, 0, -1]
    return KindMetrics(
        numbers=_twelve_numbers(outcome.precision, outcome.recall),
        by_class=by_class,
        by_iou={f"{iou:.2f}": _mean(precision[i]) for i, iou in enumerate(IOU_THRESHOLDS)},
        curves={name: _curve(precision[i]) for name, i in _CURVES.items()},
        evaluator=outcome.by,
    )


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


def _twelve_numbers(precision: np.ndarray, recall: np.ndarray) -> dict[str, float]:
    """Returns COCO's numbers of some classes, the means over those that are defined.

    Args:
        precision: [T, R, K, A, M] thresholds, recalls, classes, sizes, limits of detections.
        recall: [T, K, A, M].
    """
    best = precision[..., -1]
    sizes = range(1, len(AREAS))
    values = [_mean(best[:, :, :, 0]), _mean(best[0, :, :, 0]), _mean(best[5, :, :, 0])]
    values += [_mean(best[:, :, :, a]) for a in sizes]
    values += [_mean(recall[:, :, 0, m]) for m in range(recall.shape[-1])]
    values += [_mean(recall[:, :, a, -1]) for a in sizes]
    return dict(zip(METRIC_NAMES, values, strict=True))


def _mean(values: np.ndarray) -> float:
    """Returns the mean of the defined values, -1 where there is none."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else UNDEFINED


def _curve(precision: np.ndarray) -> list[float]:
    """Returns the precision [101] over recall, a mean over categories, of [101, K] values."""
    defined = precision[:, (precision > -1).all(axis=0)]
    return defined.mean(axis=1).tolist() if defined.size else []


def _by_class(
    ground_truth: GroundTruth, outcome: Outcome, counts: dict[int, Counter[str]]
) -> dict[int, ClassNumbers]:
    """Returns the numbers of each category by its id."""
    names = {c["id"]: c["name"] for c in ground_truth.categories}
    result = {}
    for k, category_id in enumerate(outcome.matches.category_ids.tolist()):
        only = slice(k, k + 1)
        mine = outcome.matches.gt_category == k
        result[category_id] = ClassNumbers(
            names[category_id],
            _twelve_numbers(outcome.precision[:, :, only], outcome.recall[:, only]),
            **{key: counts[category_id][key] for key in ("pictures", "objects", "detections")},
            objects_of_size={
                size: int((outcome.matches.gt_counts[a] & mine).sum())
                for a, size in enumerate(AREAS)
                if a
            },
        )
    return result


def _counts(
    ground_truth: GroundTruth,
    detections: Columns,
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
    found = detections.category_id[np.isin(detections.image_id, image_ids)]
    for category_id, count in zip(*np.unique(found, return_counts=True), strict=True):
        if category_id in counts:
            counts[int(category_id)]["detections"] = int(count)
    return counts


def _pictures(task: Task, matches: Matches) -> dict[int, PictureMatches]:
    """Returns what was found in each picture, at IoU 0.50 and for objects of any size."""
    pictures = {image_id: PictureMatches() for image_id in task.image_ids}
    finder = dict(zip(matches.finds.tolist(), matches.source.tolist(), strict=True))
    to_find = np.flatnonzero(matches.gt_counts[0])
    for row in to_find.tolist():
        source = int(matches.gt_source[row])
        picture = pictures[task.image_ids[matches.gt_image[row]]]
        if source in finder:
            picture.pairs.append((task.objects[source], task.detections[finder[source]]))
        else:
            picture.missed.append(task.objects[source])
    for row in np.flatnonzero(((matches.right[0] | matches.ignored[0]) & 1) == 0).tolist():
        detection = task.detections[matches.source[row]]
        pictures[task.image_ids[matches.image[row]]].wrong.append(detection)
    return pictures
