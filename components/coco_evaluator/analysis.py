"""What is behind the numbers: kinds of errors, confusion, scores, suspected labels."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.coco_evaluator.chance import Array
from components.coco_evaluator.label_errors import Suspect, suspects
from model.evaluation.confusion import confusion
from model.evaluation.engine import Task
from model.evaluation.error_types import (
    ALL_MISSED,
    ALL_WRONG,
    ERROR_KINDS,
    ErrorCosts,
    error_costs,
    error_types,
)
from model.evaluation.matching import Matches
from model.evaluation.operating import (
    Calibration,
    OperatingPoint,
    ScoreCurve,
    calibration,
    score_curve,
)

WANTED = 0.9  # precision, and recall, that scores are named for
MOST_SUSPECTS = 200


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class.

    Attributes:
        name: the class.
        curve: what each score gives.
        calibration: how far scores are probabilities.
    """

    name: str
    curve: ScoreCurve
    calibration: Calibration


@dataclass(frozen=True)
class Analysis:
    """What is behind the numbers of boxes, and of masks where there are some; K classes.

    Attributes:
        names: names of the K classes.
        point: the score with the best F1 over all classes (boxes, IoU 0.50).
        calibration: how far the scores of all classes are probabilities.
        classes: those with objects or detections, most objects first; empty where classes are
            ignored.
        costs: what each kind of errors costs, for "box" and "mask"; empty where no class counts.
        confusion: [K + 1, K + 1] at `point`, see `confusion`; None where classes are ignored.
        suspects: labels that may be wrong, the surest first, the most likely MOST_SUSPECTS.
        num_suspects: how many there were.
    """

    names: list[str]
    point: OperatingPoint
    calibration: Calibration
    classes: list[ClassScores]
    costs: dict[str, ErrorCosts]
    confusion: Array | None
    suspects: list[Suspect]
    num_suspects: int


def analyse(
    tasks: Mapping[str, Task], matches: Mapping[str, Matches], names: Mapping[int, str]
) -> Analysis:
    """Returns what is behind the numbers.

    Args:
        tasks: what was evaluated, by kind; "box" is among them.
        matches: what its detections find, by kind.
        names: names of the classes by id.
    """
    boxes = matches["box"]
    point = score_curve(boxes).best()
    if tasks["box"].class_agnostic:
        return Analysis([], point, calibration(boxes), [], {}, None, [], 0)
    class_names = _told_apart(boxes.category_ids.tolist(), names)
    types = {kind: error_types(task, matches[kind]) for kind, task in tasks.items()}
    found = suspects(tasks["box"], boxes, types["box"])
    return Analysis(
        names=class_names,
        point=point,
        calibration=calibration(boxes),
        classes=_class_scores(boxes, class_names),
        costs={kind: error_costs(matches[kind], types[kind]) for kind in tasks},
        confusion=confusion(tasks["box"], boxes, point.score),
        suspects=found[:MOST_SUSPECTS],
        num_suspects=len(found),
    )


def _told_apart(ids: Sequence[int], names: Mapping[int, str]) -> list[str]:
    """Returns the names of classes; with its id where a name is that of several."""
    times = Counter(names[number] for number in ids)
    return [
        names[number] if times[names[number]] == 1 else f"{names[number]} (id {number})"
        for number in ids
    ]


def _class_scores(matches: Matches, names: Sequence[str]) -> list[ClassScores]:
    scores = [
        ClassScores(name, score_curve(matches, k), calibration(matches, k))
        for k, name in enumerate(names)
    ]
    used = [one for one in scores if one.curve.objects or len(one.curve.scores)]
    return sorted(used, key=lambda one: -one.curve.objects)


def analysis_content(analysis: Analysis) -> dict[str, Any]:
    """Returns `analysis.json`: the numbers that the report draws; null is undefined."""
    return {
        "errors": {kind: _costs_content(costs) for kind, costs in analysis.costs.items()},
        "class_names": analysis.names,
        "best_f1": asdict(analysis.point),
        "calibration_error": _number(analysis.calibration.error),
        "confusion": None if analysis.confusion is None else analysis.confusion.tolist(),
        "scores": {
            one.name: {
                "objects": one.curve.objects,
                "calibration_error": _number(one.calibration.error),
                "best_f1": asdict(one.curve.best()),
                f"precision_{WANTED}": _point(one.curve.for_precision(WANTED)),
                f"recall_{WANTED}": _point(one.curve.for_recall(WANTED)),
            }
            for one in analysis.classes
        },
        "suspected_labels": analysis.num_suspects,
    }


def _costs_content(costs: ErrorCosts) -> dict[str, Any]:
    by_kind = {
        kind: {
            "cost": costs.cost(kind),
            "count": int(costs.counts[kind].sum()),
            "cost_by_class": [_number(cost) for cost in costs.cost_by_class(kind).tolist()],
            "count_by_class": costs.counts[kind].tolist(),
        }
        for kind in ERROR_KINDS
    }
    return by_kind | {name: {"cost": costs.cost(name)} for name in (ALL_WRONG, ALL_MISSED)}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _point(point: OperatingPoint | None) -> dict[str, float] | None:
    return None if point is None else asdict(point)
