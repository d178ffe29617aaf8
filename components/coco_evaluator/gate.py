"""The gate: may a model take the place of the pushed one? Pure, from numbers alone.

A model is blessed if and only if no finding closes the gate, the evaluation was not empty, at least
one condition on a metric was a comparison with a number (a `min`, or a `max_drop` or `min_gain`
against a baseline), and every condition and limit held. So a first model needs a `min`, for it has
no baseline to be compared with.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.coco_evaluator.comparison import (
    MAX,
    NEWEST,
    Comparison,
    Rival,
    comparisons_of,
    cost_comparisons,
    falls_short,
)
from configs.schema import LimitsConfig, Threshold
from model.evaluation.metrics import Metrics

# Kinds of findings that are about the evaluation as a whole.
NARROWED = "narrowed"  # only a part of the data counted
NO_MODEL = "no_model"  # detections of a file: no model is known to have made them
FAILED_PICTURES = "failed_pictures"  # pictures that could not be measured
UNUSABLE_BASELINE = "unusable_baseline"  # a pushed model is there and cannot be used
OWN_BASELINE = "own_baseline"  # a model was compared with itself
UNMEASURED_OLDER = "unmeasured_older"  # a model before the baseline could not be measured
ROLLED_BACK = "rolled_back"  # this very model was served, and a person went back from it
BY_A_PERSON = "by_a_person"  # a person put the baseline into service, against the gate or back
UNSERVABLE = "unservable"  # in a process of its own the exported model fails or finds other things
# Kinds of findings about classes, each named.
CLASS_GONE = "class_gone"
CLASS_MOVED = "class_moved"  # the same name under another id
CLASS_RENAMED = "class_renamed"  # another name under the same id
CLASS_NEW = "class_new"
CLASS_NOT_OF_DATA = "class_not_of_data"  # the model's name of an id is not the data's
CLASS_UNKNOWN_TO_MODEL = "class_unknown_to_model"
FEWER_CLASSES_COMPARED = "fewer_classes_compared"
# Kinds of findings about limits of detections in a picture.
MORE_OBJECTS_THAN_COUNTED = "more_objects_than_counted"
MORE_OBJECTS_THAN_DETECTED = "more_objects_than_detected"

# What no person may bless: nothing is known of the whole model, or it cannot be served.
BEYOND_A_PERSON = (NARROWED, NO_MODEL, UNSERVABLE)

_NO_LIMITS = LimitsConfig()
_NO_COSTS: Mapping[str, float] = {}


@dataclass(frozen=True)
class Finding:
    """Something about an evaluation that its numbers do not show.

    Attributes:
        kind: one of this module's constants.
        closes_gate: whether no model may be blessed by such an evaluation.
        note: what it is, in words.
    """

    kind: str
    closes_gate: bool
    note: str


@dataclass(frozen=True)
class Decision:
    """The verdict, its reason in one line, every comparison made, and what was found besides."""

    blessed: bool
    reason: str
    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the decision as `decision.json` holds it."""
        return asdict(self) | {
            "comparisons": [asdict(c) for c in self.comparisons],
            "findings": [asdict(f) for f in self.findings],
        }


def decide(
    metrics: Metrics,
    baseline: Metrics | Rival | None,
    thresholds: Iterable[Threshold],
    findings: Sequence[Finding] = (),
    older: Sequence[Rival] = (),
    limits: LimitsConfig = _NO_LIMITS,
    costs: Mapping[str, float] = _NO_COSTS,
) -> Decision:
    """Returns whether the candidate is blessed, and why.

    Args:
        metrics: the candidate's, as `model.evaluation.coco_numbers.evaluate` returns them.
        baseline: the pushed model: its numbers on the same pictures, or what is known besides;
            None if there is none.
        thresholds: the conditions. None at all never bless.
        findings: what else is known about the evaluation; those that close the gate never bless.
        older: models pushed before the baseline, whose best a drop is counted against too.
        limits: what the model may cost.
        costs: what it does.

    Example:
        >>> from model.evaluation.metrics import Counts, KindMetrics
        >>> metrics = Metrics({"box": KindMetrics({"AP": 0.4})}, Counts(pictures=2, objects=5))
        >>> asked = [Threshold(metric="box/AP", min=0.5)]
        >>> decide(metrics, None, asked).reason
        'box/AP 0.4000 is below the minimum 0.5000'
    """
    newest = baseline
    if newest is not None and not isinstance(newest, Rival):
        newest = Rival(NEWEST, newest, metrics)
    comparisons = tuple(
        comparison
        for threshold in thresholds
        for comparison in comparisons_of(threshold, metrics, newest, older)
    )
    comparisons += tuple(cost_comparisons(limits, costs))
    reasons = _reasons_against(metrics, comparisons, findings)
    if reasons:
        others = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        return Decision(False, reasons[0] + others, comparisons, tuple(findings))
    word = "condition holds" if len(comparisons) == 1 else "conditions hold"
    return Decision(True, f"{len(comparisons)} {word}", comparisons, tuple(findings))


def _reasons_against(
    metrics: Metrics, comparisons: Sequence[Comparison], findings: Sequence[Finding]
) -> list[str]:
    """Returns what keeps the candidate from being blessed, of the first sort there is any.

    That the detections are of a file comes last: the numbers are what one who asks so wants.
    """
    closing = [finding for finding in findings if finding.closes_gate]
    notes = [finding.note for finding in closing if finding.kind != NO_MODEL]
    if any(finding.kind == NARROWED for finding in closing):
        return notes
    of_metrics = [comparison for comparison in comparisons if comparison.rule != MAX]
    if not of_metrics:
        return ["no thresholds are set (evaluate.thresholds)"]
    if notes:
        return notes
    if not metrics.counts.pictures or not metrics.counts.objects:
        return ["the evaluation set has no pictures or no objects"]
    failed = [comparison.note for comparison in comparisons if not comparison.passed]
    if failed:
        return failed
    if all(comparison.limit is None for comparison in of_metrics):
        return ["there is no baseline yet and no `min`: a first model needs one to be measured by"]
    return [finding.note for finding in closing]


def contradiction(comparisons: Sequence[Comparison], findings: Sequence[Finding]) -> str | None:
    """Returns what in a decision that blesses speaks against it, in words; None for nothing."""
    for finding in findings:
        if finding.closes_gate:
            return finding.note
    for comparison in comparisons:
        if not comparison.passed or falls_short(comparison):
            return f"{comparison.metric} does not hold ({comparison.note})"
    if all(comparison.limit is None for comparison in comparisons if comparison.rule != MAX):
        return "it compares nothing"
    return None
