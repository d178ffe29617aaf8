"""The gate: may a model take the place of the pushed one? Pure, from numbers alone.

A model is blessed if and only if no finding closes the gate, the evaluation was not empty, at least
one condition was a comparison with a number (a `min`, or a `max_drop` against a baseline), and
every condition held. So a first model needs a `min`, for it has no baseline to be compared with.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from configs.schema import Threshold

# Kinds of findings that are about the evaluation as a whole.
NARROWED = "narrowed"  # only a part of the data counted
NO_MODEL = "no_model"  # detections of a file: no model is known to have made them
FAILED_PICTURES = "failed_pictures"  # pictures that could not be measured
UNUSABLE_BASELINE = "unusable_baseline"  # a pushed model is there and cannot be used
OWN_BASELINE = "own_baseline"  # a model was compared with itself
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

# Differences of this size come from floating point alone: 0.8 - 0.1 is 0.7000000000000001.
_ROUNDING = 1e-9


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
class Comparison:
    """One comparison that was made, or could not be made.

    Attributes:
        metric: "box/AP", ...
        rule: "min" or "max_drop".
        setting: the threshold's number.
        candidate: the candidate's number; None where it has none.
        baseline: the baseline's number, for `max_drop`; None where there is none.
        limit: what the candidate must reach; None where there is no baseline.
        passed: whether the condition stands.
        note: what happened, in words.
    """

    metric: str
    rule: str
    setting: float
    candidate: float | None
    baseline: float | None
    limit: float | None
    passed: bool
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
    metrics: dict[str, Any],
    baseline: dict[str, Any] | None,
    thresholds: Iterable[Threshold],
    findings: Sequence[Finding] = (),
    compared: dict[str, Any] | None = None,
) -> Decision:
    """Returns whether the candidate is blessed, and why.

    Args:
        metrics: the candidate's, as `model.evaluation.coco_numbers.evaluate` returns them.
        baseline: the pushed model's on the same pictures; None if there is none.
        thresholds: the conditions. None at all never bless.
        findings: what else is known about the evaluation; those that close the gate never bless.
        compared: the candidate's numbers that stand against the baseline's, where they are not
            `metrics`: over the classes that both models know.

    Example:
        >>> metrics = {"box": {"AP": 0.4}, "counts": {"pictures": 2, "objects": 5}}
        >>> asked = [Threshold(metric="box/AP", min=0.5)]
        >>> decide(metrics, None, asked).reason
        'box/AP 0.4000 is below the minimum 0.5000'
    """
    against = metrics if compared is None else compared
    comparisons = tuple(
        comparison
        for threshold in thresholds
        for comparison in _comparisons(metrics, against, baseline, threshold)
    )
    reasons = _reasons_against(metrics, comparisons, findings)
    if reasons:
        others = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        return Decision(False, reasons[0] + others, comparisons, tuple(findings))
    word = "condition holds" if len(comparisons) == 1 else "conditions hold"
    return Decision(True, f"{len(comparisons)} {word}", comparisons, tuple(findings))


def _reasons_against(
    metrics: dict[str, Any], comparisons: Sequence[Comparison], findings: Sequence[Finding]
) -> list[str]:
    """Returns what keeps the candidate from being blessed, of the first sort there is any.

    That the detections are of a file comes last: the numbers are what one who asks so wants.
    """
    closing = [finding for finding in findings if finding.closes_gate]
    notes = [finding.note for finding in closing if finding.kind != NO_MODEL]
    counts = metrics.get("counts") or {}
    if any(finding.kind == NARROWED for finding in closing):
        return notes
    if not comparisons:
        return ["no thresholds are set (evaluate.thresholds)"]
    if notes:
        return notes
    if not counts.get("pictures") or not counts.get("objects"):
        return ["the evaluation set has no pictures or no objects"]
    failed = [comparison.note for comparison in comparisons if not comparison.passed]
    if failed:
        return failed
    if all(comparison.limit is None for comparison in comparisons):
        return ["there is no baseline yet and no `min`: a first model needs one to be measured by"]
    return [finding.note for finding in closing]


def contradiction(comparisons: Sequence[Comparison], findings: Sequence[Finding]) -> str | None:
    """Returns what in a decision that blesses speaks against it, in words; None for nothing."""
    for finding in findings:
        if finding.closes_gate:
            return finding.note
    for comparison in comparisons:
        candidate, limit = comparison.candidate, comparison.limit
        falls_short = limit is not None and not (candidate or 0.0) >= limit - _ROUNDING
        if not comparison.passed or candidate is None or falls_short:
            return f"{comparison.metric} does not hold ({comparison.note})"
    if all(comparison.limit is None for comparison in comparisons):
        return "it compares nothing"
    return None


def _comparisons(
    metrics: dict[str, Any],
    against: dict[str, Any],
    baseline: dict[str, Any] | None,
    threshold: Threshold,
) -> list[Comparison]:
    metric = threshold.metric
    result = []
    if threshold.min is not None:
        result.append(_against_minimum(metric, _number(metrics, metric), threshold.min))
    if threshold.max_drop is not None:
        new = _number(against, metric)
        old = None if baseline is None else _number(baseline, metric)
        result.append(_against_baseline(metric, new, old, threshold.max_drop))
    return result


def _number(metrics: dict[str, Any], metric: str) -> float | None:
    """Returns the number named "kind/name", or None where it is missing."""
    kind, _, name = metric.partition("/")
    value = (metrics.get(kind) or {}).get(name)
    return None if value is None else float(value)


def _problem(value: float | None) -> str | None:
    """Returns what keeps a value from being compared, or None.

    >>> _problem(-1.0)
    'is undefined (-1)'
    """
    if value is None:
        return "is missing"
    if not math.isfinite(value):
        return "is not a number"
    return "is undefined (-1)" if value < 0 else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _against_minimum(metric: str, candidate: float | None, minimum: float) -> Comparison:
    problem = _problem(candidate)
    if problem or candidate is None:
        passed, note = False, f"{metric} {problem}"
    elif candidate >= minimum - _ROUNDING:
        passed, note = True, f"{metric} {candidate:.4f} reaches the minimum {minimum:.4f}"
    else:
        passed, note = False, f"{metric} {candidate:.4f} is below the minimum {minimum:.4f}"
    return Comparison(metric, "min", minimum, _finite(candidate), None, minimum, passed, note)


def _against_baseline(
    metric: str, candidate: float | None, baseline: float | None, max_drop: float
) -> Comparison:
    """Returns the comparison with the pushed model.

    A baseline that lacks the number (no pushed model yet, or one without a mask head) cannot be
    dropped below, so the condition stands; one whose number is NaN or -1 proves nothing, so it
    fails.
    """
    limit = None
    problem, old_problem = _problem(candidate), _problem(baseline)
    if problem or candidate is None:
        passed, note = False, f"{metric} {problem}"
    elif baseline is None:
        passed, note = True, f"{metric} has no baseline to be compared with"
    elif old_problem:
        passed, note = False, f"{metric} of the baseline {old_problem}"
    else:
        limit = baseline - max_drop
        passed = candidate >= limit - _ROUNDING
        note = (
            f"{metric} {candidate:.4f} is {_change(candidate - baseline)} the pushed model's "
            f"{baseline:.4f} (a drop of {max_drop:.4f} is allowed)"
        )
    return Comparison(
        metric, "max_drop", max_drop, _finite(candidate), _finite(baseline), limit, passed, note
    )


def _change(difference: float) -> str:
    """Returns a difference in words.

    >>> _change(-0.25), _change(0.0)
    ('0.2500 below', 'level with')
    """
    if abs(difference) <= _ROUNDING:
        return "level with"
    return f"{abs(difference):.4f} {'above' if difference > 0 else 'below'}"
