"""The gate: may a model take the place of the pushed one? Pure, from numbers alone.

A model is blessed if and only if the evaluation was not empty, at least one condition was a
comparison with a number (a `min`, or a `max_drop` against a baseline), and every condition held.
So a first model needs a `min`, for it has no baseline to be compared with.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from configs.schema import Threshold

# Differences of this size come from floating point alone: 0.8 - 0.1 is 0.7000000000000001.
_ROUNDING = 1e-9


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
    """The verdict, its reason in one line, and every comparison made."""

    blessed: bool
    reason: str
    comparisons: tuple[Comparison, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the decision as `decision.json` holds it."""
        return asdict(self) | {"comparisons": [asdict(c) for c in self.comparisons]}


def decide(
    metrics: dict[str, Any], baseline: dict[str, Any] | None, thresholds: Iterable[Threshold]
) -> Decision:
    """Returns whether the candidate is blessed, and why.

    Args:
        metrics: the candidate's, as `model.coco_metrics.evaluate` returns them.
        baseline: the pushed model's on the same pictures; None if there is none.
        thresholds: the conditions. None at all never bless.

    Example:
        >>> metrics = {"box": {"AP": 0.4}, "counts": {"pictures": 2, "objects": 5}}
        >>> asked = [Threshold(metric="box/AP", min=0.5)]
        >>> decide(metrics, None, asked).reason
        'box/AP 0.4000 is below the minimum 0.5000'
    """
    comparisons = tuple(
        comparison
        for threshold in thresholds
        for comparison in _comparisons(metrics, baseline, threshold)
    )
    counts = metrics.get("counts") or {}
    failed = [c for c in comparisons if not c.passed]
    if not comparisons:
        reason = "no thresholds are set (evaluate.thresholds)"
    elif not counts.get("pictures") or not counts.get("objects"):
        reason = "the evaluation set has no pictures or no objects"
    elif failed:
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        reason = failed[0].note + others
    elif all(c.limit is None for c in comparisons):
        reason = "there is no baseline yet and no `min`: a first model needs one to be measured by"
    else:
        word = "condition holds" if len(comparisons) == 1 else "conditions hold"
        return Decision(True, f"{len(comparisons)} {word}", comparisons)
    return Decision(False, reason, comparisons)


def _comparisons(
    metrics: dict[str, Any], baseline: dict[str, Any] | None, threshold: Threshold
) -> list[Comparison]:
    candidate = _number(metrics, threshold.metric)
    result = []
    if threshold.min is not None:
        result.append(_against_minimum(threshold.metric, candidate, threshold.min))
    if threshold.max_drop is not None:
        old = None if baseline is None else _number(baseline, threshold.metric)
        result.append(_against_baseline(threshold.metric, candidate, old, threshold.max_drop))
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
