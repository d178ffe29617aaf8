"""The numbers of one evaluation, as a value; what `metrics.json` holds is made of it here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from configs.metric_names import KINDS, metric_of, parts_of

Numbers = Mapping[str, float]  # COCO's twelve by METRIC_NAMES; -1 is undefined


@dataclass(frozen=True)
class Counts:
    """What was there to be evaluated: pictures, objects without crowds, crowds, detections."""

    pictures: int = 0
    objects: int = 0
    crowds: int = 0
    detections: int = 0


@dataclass(frozen=True)
class ClassNumbers:
    """What came of one class.

    Attributes:
        name: the class's.
        numbers: those of its objects alone.
        pictures: that have such objects.
        objects: how many there are, crowds left out.
        detections: how many there are.
        objects_of_size: how many are "small", "medium", "large".
    """

    name: str
    numbers: Numbers
    pictures: int = 0
    objects: int = 0
    detections: int = 0
    objects_of_size: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns what `metrics.json` says of the class."""
        content = asdict(self)
        return {"name": content.pop("name"), **content.pop("numbers"), **content}


@dataclass(frozen=True)
class KindMetrics:
    """What came of one kind, "box" or "mask".

    Attributes:
        numbers: the twelve, means over the classes that have objects.
        by_class: by the category's id; None where a detection of any class was right.
        by_iou: AP at "0.50" ... "0.95".
        curves: precision at recall 0.00, 0.01 ... 1.00, for IoU "0.50" and "0.75".
        evaluator: what computed them, with its version.
    """

    numbers: Numbers
    by_class: Mapping[int, ClassNumbers] | None = None
    by_iou: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    evaluator: str = ""


@dataclass(frozen=True)
class Metrics:
    """The numbers of one evaluation.

    Attributes:
        by_kind: what came of the kinds that were evaluated.
        counts: what there was.
        ground_truth_flaws: how often each flaw of the ground truth came up.
        detection_flaws: how often each flaw of the detections did.
        max_detections: those of a class in a picture that count.
        notes: lines on what is odd about the numbers.
    """

    by_kind: Mapping[str, KindMetrics]
    counts: Counts = Counts()
    ground_truth_flaws: Mapping[str, int] = field(default_factory=dict)
    detection_flaws: Mapping[str, int] = field(default_factory=dict)
    max_detections: int = 100
    notes: Sequence[str] = ()

    def number(self, metric: str, category_id: int | None = None) -> float | None:
        """Returns one number; None where it is missing.

        Args:
            metric: such as "box/AP".
            category_id: a class's; None is the mean.

        Example:
            >>> Metrics({"box": KindMetrics({"AP": 0.25})}).number("box/AP")
            0.25
        """
        kind, number = parts_of(metric)
        if category_id is None:
            return self.numbers(kind).get(number)
        known = self.classes(kind).get(category_id)
        return known.numbers.get(number) if known else None

    def numbers(self, kind: str) -> Numbers:
        """Returns the twelve numbers of a kind; empty where it was not evaluated."""
        return self.by_kind[kind].numbers if kind in self.by_kind else {}

    def classes(self, kind: str) -> Mapping[int, ClassNumbers]:
        """Returns the numbers of a kind by category id; empty where there are none."""
        return (self.by_kind[kind].by_class if kind in self.by_kind else None) or {}

    def named(self, kinds: Iterable[str], numbers: Iterable[str]) -> dict[str, float]:
        """Returns the numbers there are, by their names.

        >>> Metrics({"box": KindMetrics({"AP": 0.5, "AP75": 0.25})}).named(["box", "mask"], ["AP"])
        {'box/AP': 0.5}
        """
        names = [metric_of(kind, number) for kind in kinds for number in numbers]
        found = {name: self.number(name) for name in names}
        return {name: number for name, number in found.items() if number is not None}

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `metrics.json`; a kind that was not evaluated is None."""
        kinds = self.by_kind
        flaws = {
            "ground_truth_flaws": self.ground_truth_flaws,
            "detection_flaws": self.detection_flaws,
        }
        return {
            **self.numbers_by_kind(),
            "counts": asdict(self.counts) | {name: dict(f) for name, f in flaws.items() if f},
            "max_detections": self.max_detections,
            "per_category": {
                kind: {str(number): known.to_dict() for number, known in of.by_class.items()}
                for kind, of in kinds.items()
                if of.by_class is not None
            },
            "per_iou": {kind: dict(of.by_iou) for kind, of in kinds.items()},
            "curves": {kind: dict(of.curves) for kind, of in kinds.items()},
            "evaluators": {kind: of.evaluator for kind, of in kinds.items()},
            "notes": list(self.notes),
        }

    def numbers_by_kind(self) -> dict[str, dict[str, float] | None]:
        """Returns the twelve numbers of each kind; None for one that was not evaluated."""
        return {kind: dict(self.numbers(kind)) or None for kind in KINDS}
