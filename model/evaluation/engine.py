"""COCO's evaluation of one kind of result: by hotcoco, judged by pycocotools.

hotcoco (Rust) and our matching in columns give what pycocotools gives, in a fraction of the time.
pycocotools stays the judge: it evaluates some of the pictures of each run, and where one bit of
either differs, all of them.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from model.coco.boxes import xywh_to_yxyx
from model.evaluation.columns import Columns
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.matching import (
    AREAS,
    IOU_THRESHOLDS,
    Matches,
    match,
    nothing_matched,
)

Evaluator = Literal["hotcoco", "pycocotools"]

_IOU_TYPES = {"box": "bbox", "mask": "segm"}
_CHECKED_PICTURES = 32
_ARRAYS = ("precision", "recall", "scores")
_LARGEST_EXACT = 2**53  # of whole numbers in float64
_KEYS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "score")


@dataclass(frozen=True)
class Task:
    """What is evaluated.

    Attributes:
        images: COCO's, of all pictures.
        categories: COCO's, of all classes.
        objects: annotations; for masks each with a run-length code.
        detections: what was found, likewise and with `score`.
        kind: "box" or "mask".
        image_ids: those of the pictures that count, sorted.
        category_ids: those of the classes that count, sorted.
        class_agnostic: any class of a detection is right.
        max_detections: those of a class in a picture that count.
    """

    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    objects: list[dict[str, Any]]
    detections: Columns
    kind: str
    image_ids: list[int]
    category_ids: list[int]
    class_agnostic: bool
    max_detections: int

    @cached_property
    def object_columns(self) -> Columns:
        """The objects in columns."""
        return Columns.of(self.objects)


@dataclass(frozen=True)
class Outcome:
    """What COCO's evaluation gives; K classes, T thresholds, R recalls, A sizes, M limits.

    Attributes:
        precision: [T, R, K, A, M].
        recall: [T, K, A, M].
        scores: [T, R, K, A, M].
        matches: what became of each detection.
        by: the library and its version.
        note: why pycocotools alone was used, where that was not asked for; "" else.
    """

    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray
    matches: Matches
    by: str
    note: str = ""


def task_of(
    ground_truth: GroundTruth,
    detections: Columns,
    kind: str,
    image_ids: list[int],
    category_ids: list[int],
    class_agnostic: bool,
    max_detections: int,
) -> Task:
    """Returns what is to be evaluated; `detections` are checked ones."""
    objects = ground_truth.annotations
    if kind == "mask":
        sizes = {image["id"]: image for image in ground_truth.images}
        objects = [_with_mask(a, sizes[a["image_id"]]) for a in objects]
        detections = detections.with_masks()
    return Task(
        ground_truth.images,
        ground_truth.categories,
        objects,
        detections,
        kind,
        image_ids,
        category_ids,
        class_agnostic,
        max_detections,
    )


def _with_mask(annotation: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """Returns the annotation with its mask's code; without a mask its box as a crowd region.

    pycocotools cannot read such an object. As a region to be ignored it is neither missed nor
    are detections on it wrong. The box is clipped to the picture, which draws the same: of one
    far outside the C code would draw every pixel of its outline, or crash.
    """
    from pycocotools import mask as coco_mask

    height, width = image["height"], image["width"]
    shape = annotation.get("segmentation")
    is_crowd = annotation["iscrowd"]
    if shape is None:
        ymin, xmin, ymax, xmax = xywh_to_yxyx(annotation["bbox"])
        left, right = (min(max(value, 0), width) for value in (xmin, xmax))
        top, bottom = (min(max(value, 0), height) for value in (ymin, ymax))
        shape, is_crowd = [[left, top, right, top, right, bottom, left, bottom]], 1
    if isinstance(shape, list):
        code = coco_mask.merge(coco_mask.frPyObjects(shape, height, width))
    elif isinstance(shape["counts"], list):
        code = coco_mask.frPyObjects(shape, height, width)
    else:
        code = shape
    return annotation | {"segmentation": code, "iscrowd": is_crowd}


def evaluate_task(task: Task, evaluator: Evaluator = "hotcoco") -> Outcome:
    """Returns what COCO's evaluation gives, bit by bit as pycocotools computes it.

    Args:
        task: what is evaluated.
        evaluator: "hotcoco" lets pycocotools check some pictures; "pycocotools" computes by it
            alone.
    """
    if evaluator == "pycocotools":
        return by_pycocotools(task)
    try:
        problem = _difference(_some_pictures(task))
        if not problem:
            return by_hotcoco(task)
    except BaseException as error:  # A panic of Rust code is no Exception.
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
            raise
        problem = f"cannot evaluate this ({type(error).__name__}: {error})"
    return by_pycocotools(task, f"hotcoco {version('hotcoco')} {problem}: pycocotools alone counts")


def _some_pictures(task: Task) -> Task:
    """Returns a random part of the pictures, the same for equal numbers of things.

    Of the classes, those that are in them: of others every evaluation says that they are undefined.
    """
    if len(task.image_ids) <= _CHECKED_PICTURES:
        return task
    seed = [len(task.image_ids), len(task.objects), len(task.detections)]
    drawn = np.random.default_rng(seed).choice(task.image_ids, _CHECKED_PICTURES, replace=False)
    chosen = set(drawn.tolist())
    objects = [a for a in task.objects if a["image_id"] in chosen]
    detections = task.detections.taken(np.flatnonzero(np.isin(task.detections.image_id, drawn)))
    present = {a["category_id"] for a in objects} | set(detections.category_id.tolist())
    return Task(
        [image for image in task.images if image["id"] in chosen],
        task.categories,
        objects,
        detections,
        task.kind,
        sorted(chosen),
        [number for number in task.category_ids if number in present] or task.category_ids,
        task.class_agnostic,
        task.max_detections,
    )


def _difference(task: Task) -> str:
    """Returns in what the fast way differs from pycocotools; "" for nothing."""
    ours, judge = by_hotcoco(task), by_pycocotools(task)
    differing = [n for n in _ARRAYS if not np.array_equal(getattr(ours, n), getattr(judge, n))]
    differing += [
        field.name
        for field in fields(Matches)
        if not np.array_equal(getattr(ours.matches, field.name), getattr(judge.matches, field.name))
    ]
    return f"differs from pycocotools in {', '.join(differing)}" if differing else ""


def _matches(task: Task) -> Matches:
    return match(
        task.object_columns,
        task.detections,
        task.kind,
        task.image_ids,
        task.category_ids,
        task.class_agnostic,
        task.max_detections,
    )


def by_hotcoco(task: Task) -> Outcome:
    """Returns what hotcoco and our matching give."""
    precision, recall, scores = _arrays_by_hotcoco(task)
    return Outcome(precision, recall, scores, _matches(task), f"hotcoco {version('hotcoco')}")


def _arrays_by_hotcoco(task: Task) -> list[np.ndarray]:
    """Returns precision, recall and scores; what hotcoco made them of is gone by then."""
    import hotcoco

    truth = _hotcoco_set(hotcoco, task, task.objects)
    run = hotcoco.COCOeval(truth, _hotcoco_results(hotcoco, truth, task), _IOU_TYPES[task.kind])
    run.params.img_ids = task.image_ids
    run.params.cat_ids = task.category_ids
    run.params.use_cats = not task.class_agnostic
    run.params.max_dets = [1, 10, task.max_detections]
    run.evaluate()
    run.accumulate()
    found: Any = run.eval
    return [np.asarray(found[name]) for name in _ARRAYS]


def _hotcoco_set(hotcoco: Any, task: Task, annotations: Sequence[Mapping[str, Any]]) -> Any:
    keys = _KEYS if task.kind == "box" else (*_KEYS, "segmentation")
    trimmed = [{key: a[key] for key in keys if key in a} for a in annotations]
    images = [{key: image[key] for key in ("id", "height", "width")} for image in task.images]
    return hotcoco.COCO({"images": images, "annotations": trimmed, "categories": task.categories})


def _hotcoco_results(hotcoco: Any, truth: Any, task: Task) -> Any:
    """Returns the detections as hotcoco takes them: in an array, which saves a dict each.

    Where that cannot say it, as dicts: an area that is the mask's, ids that float64 cannot hold.
    """
    found = task.detections
    ids = np.concatenate([found.image_id, found.category_id])
    is_of_box = np.array_equal(found.area, found.boxes[:, 2] * found.boxes[:, 3])
    if not (len(ids) and is_of_box and np.abs(ids).max() < _LARGEST_EXACT):
        return _hotcoco_set(hotcoco, task, task.detections)
    table = np.column_stack([found.image_id, found.boxes, found.score, found.category_id])
    if task.kind == "box":
        return truth.load_res(table)
    return truth.load_res(table, segmentation=list(found.masks or []))


def by_pycocotools(task: Task, note: str = "") -> Outcome:
    """Returns what pycocotools gives, without its prints."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def coco(annotations: Sequence[Mapping[str, Any]]) -> Any:
        index = COCO()
        copies = [dict(a) for a in annotations]  # COCOeval writes into them.
        index.dataset = {
            "images": task.images,
            "annotations": copies,
            "categories": task.categories,
        }
        index.createIndex()
        return index

    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(coco(task.objects), coco(task.detections), _IOU_TYPES[task.kind])
        run.params.imgIds = task.image_ids
        run.params.catIds = task.category_ids
        run.params.useCats = 0 if task.class_agnostic else 1
        run.params.maxDets = [1, 10, task.max_detections]
        run.evaluate()
        run.accumulate()
    precision, recall, scores = (np.asarray(run.eval[name]) for name in _ARRAYS)
    by = f"pycocotools {version('pycocotools')}"
    return Outcome(precision, recall, scores, _matches_of(run, task), by, note)


def _matches_of(run: Any, task: Task) -> Matches:
    """Returns what COCOeval matched; the columns without their matches are our own."""
    columns = nothing_matched(
        task.object_columns,
        task.detections,
        task.image_ids,
        task.category_ids,
        task.class_agnostic,
        task.max_detections,
    )
    ids = task.detections.ids[columns.source].tolist()
    row_of = {number: row for row, number in enumerate(ids)}
    place_of = {entry["id"]: place for place, entry in enumerate(task.objects)}
    gt_row_of = {task.objects[source]["id"]: n for n, source in enumerate(columns.gt_source)}
    ranges = [list(area) for area in AREAS.values()]
    right, ignored = np.zeros_like(columns.right), np.zeros_like(columns.ignored)
    finds, counts = np.full_like(columns.finds, -1), np.zeros_like(columns.gt_counts)
    bits = (1 << np.arange(len(IOU_THRESHOLDS)))[:, None]
    for result in (r for r in run.evalImgs if r is not None):
        a = ranges.index([float(end) for end in result["aRng"]])
        rows = [row_of[number] for number in result["dtIds"]]
        is_ignored = result["dtIgnore"].astype(bool)
        right[a, rows] = (((result["dtMatches"] > 0) & ~is_ignored) * bits).sum(axis=0)
        ignored[a, rows] = (is_ignored * bits).sum(axis=0)
        counts[a, [gt_row_of[number] for number in result["gtIds"]]] = result["gtIgnore"] == 0
        if a == 0 and rows:
            found = result["dtMatches"][0].astype(int)
            finds[rows] = [place_of[number] if number else -1 for number in found]
    changed = {"right": right, "ignored": ignored, "finds": finds, "gt_counts": counts}
    return Matches(**{**vars(columns), **changed})
