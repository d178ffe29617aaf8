"""Comparisons of a model's numbers: with a minimum, with pushed models, with limits. Pure.

A change is judged by the numbers alone, or, where a condition has a `confidence`, by what chance
may do to it: the pictures are a sample, and others would have given other numbers.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.coco_evaluator.chance import FEWEST_PICTURES, Array, Change, changes_and_chance
from configs.metric_names import parts_of
from configs.schema import LimitsConfig, Threshold
from model.evaluation.metrics import ClassNumbers, Metrics

MIN, MAX_DROP, MIN_GAIN, MAX = "min", "max_drop", "min_gain", "max"
NEWEST = "the pushed model"
SHOWN_CONFIDENCE = 0.95  # of intervals where a condition names no level

# Differences of this size come from floating point alone: 0.8 - 0.1 is 0.7000000000000001.
ROUNDING = 1e-9
_SIZES = {"s": "small", "m": "medium", "l": "large"}

# For a metric and categories (None: the mean over all) [K or 1, B] deviations of the change on
# resamples; a row of NaN where too few pictures have such objects; None where there are none.
Deviations = Callable[[str, Sequence[int] | None], Array | None]


@dataclass(frozen=True)
class Rival:
    """A pushed model that the candidate is compared with, over the classes that both know.

    Attributes:
        name: in words.
        numbers: its metrics.
        candidate: the candidate's over the same classes.
        deviations: deviations of the change, on resamples.
    """

    name: str
    numbers: Metrics
    candidate: Metrics
    deviations: Deviations = lambda metric, categories: None


@dataclass(frozen=True)
class Comparison:
    """One comparison that was made, or could not be made.

    Attributes:
        metric: "box/AP", ..., "size_mb", ...
        rule: "min", "max_drop", "min_gain" or "max".
        setting: the condition's number.
        candidate: the candidate's number; None where it has none.
        baseline: the pushed model's number; None where there is none.
        limit: what the candidate must reach (of `max`: keep); None where there is no baseline.
        passed: whether the condition stands.
        note: what happened, in words.
        category: name of the class; None for the mean.
        against: the pushed model that it is compared with, in words; "" for none.
        interval: that holds the true change at the level `confidence`; None without resamples.
        confidence: see `interval`; those of one condition's classes hold together.
        chance: the probability that chance alone makes such a change (`chance.Change`).
        detectable: the smallest change that such a set of pictures shows 4 times of 5.
        by_chance: whether chance decided, in place of the numbers alone.
    """

    metric: str
    rule: str
    setting: float
    candidate: float | None
    baseline: float | None
    limit: float | None
    passed: bool
    note: str
    category: str | None = None
    against: str = ""
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    chance: float | None = None
    detectable: float | None = None
    by_chance: bool = False


@dataclass(frozen=True)
class _Subject:
    """What a condition looks at: a metric of all classes, or of one."""

    metric: str
    category_id: int | None = None
    category: str | None = None

    def __str__(self) -> str:
        return self.metric if self.category is None else f"{self.metric} of {self.category!r}"

    def number(self, metrics: Metrics) -> float | None:
        """Returns its number, or None where it is missing."""
        return metrics.number(self.metric, self.category_id)


def comparisons_of(
    threshold: Threshold, metrics: Metrics, newest: Rival | None, older: Sequence[Rival] = ()
) -> list[Comparison]:
    """Returns the comparisons of one condition.

    Args:
        threshold: the condition.
        metrics: the candidate's, over all classes of the data.
        newest: the pushed model; None where there is none.
        older: those pushed before it, whose best a drop is counted against too.
    """
    subjects, problem = _subjects(threshold, metrics)
    if problem:
        return [_failed(threshold, rule, problem) for rule in _rules(threshold)]
    result = []
    if threshold.min is not None:
        result += [_against_minimum(subject, metrics, threshold.min) for subject in subjects]
    if threshold.max_drop is not None:
        result += _against(newest, subjects, threshold, MAX_DROP, metrics)
        for rival, better in _best_before(subjects, newest, older):
            result += _against(rival, better, threshold, MAX_DROP, metrics)
    if threshold.min_gain is not None:
        result += _against(newest, subjects, threshold, MIN_GAIN, metrics)
    return result


def cost_comparisons(limits: LimitsConfig, costs: Mapping[str, float]) -> list[Comparison]:
    """Returns the comparisons of what a model costs with what it may cost, by the limits' names.

    Example:
        >>> cost_comparisons(LimitsConfig(size_mb=1), {"size_mb": 2.5})[0].note
        'size_mb 2.5 exceeds the limit 1'
    """
    result = []
    for name, limit in limits.model_dump().items():
        if limit is None:
            continue
        cost = costs.get(name)
        if cost is None or not math.isfinite(cost):
            passed, note = False, f"{name} was not measured"
        else:
            passed = cost <= limit
            verb = "keeps" if passed else "exceeds"
            note = f"{name} {cost:.4g} {verb} the limit {limit:.4g}"
        result.append(Comparison(name, MAX, limit, _finite(cost), None, limit, passed, note))
    return result


def falls_short(comparison: Comparison) -> bool:
    """Returns whether a comparison's own numbers speak against it."""
    candidate, limit, interval = comparison.candidate, comparison.limit, comparison.interval
    if candidate is None:
        return True
    if limit is None:
        return False
    if comparison.rule == MAX:
        return not candidate <= limit
    if comparison.by_chance and interval is not None:
        end = interval[1] if comparison.rule == MAX_DROP else interval[0]
        asked = -comparison.setting if comparison.rule == MAX_DROP else comparison.setting
        return not end >= asked - ROUNDING
    return not candidate >= limit - ROUNDING


def _rules(threshold: Threshold) -> list[tuple[str, float]]:
    settings = {MIN: threshold.min, MAX_DROP: threshold.max_drop, MIN_GAIN: threshold.min_gain}
    return [(rule, setting) for rule, setting in settings.items() if setting is not None]


def _failed(threshold: Threshold, rule: tuple[str, float], problem: str) -> Comparison:
    note = f"{threshold.metric} of classes: {problem}"
    return Comparison(threshold.metric, rule[0], rule[1], None, None, None, False, note)


def _subjects(threshold: Threshold, metrics: Metrics) -> tuple[list[_Subject], str]:
    """Returns what a condition looks at, and what is wrong with the classes it names."""
    metric, wanted = threshold.metric, threshold.classes
    if wanted is None:
        return [_Subject(metric)], ""
    known = metrics.classes(parts_of(metric)[0])
    names = {one.name for one in known.values()}
    missing = [] if wanted == "all" else [name for name in wanted if name not in names]
    if missing:
        near = difflib.get_close_matches(missing[0], sorted(names), 1)
        return [], f"the data have no class {missing[0]!r}" + (f": {near[0]!r}?" if near else "")
    fewest = threshold.min_objects or 0
    if wanted == "all":
        fewest = max(fewest, 1)
    subjects = [
        _Subject(metric, number, one.name)
        for number, one in known.items()
        if (wanted == "all" or one.name in wanted) and _num_objects(one, metric) >= fewest
    ]
    return subjects, "" if subjects else f"none has {fewest} objects or more"


def _num_objects(numbers: ClassNumbers, metric: str) -> int:
    """Returns how many objects of a class a metric is about."""
    size = _SIZES.get(metric[-1])
    return numbers.objects if size is None else numbers.objects_of_size[size]


def _best_before(
    subjects: Iterable[_Subject], newest: Rival | None, older: Sequence[Rival]
) -> list[tuple[Rival, list[_Subject]]]:
    """Returns the older models that the candidate falls further below than below the newest.

    Each with what it is the furthest above in, over the classes that it shares with the candidate.
    """
    better: dict[int, list[_Subject]] = {}
    for subject in subjects:
        drops = [_drop(subject, rival) for rival in older]
        best = max(range(len(older)), key=lambda n: drops[n], default=None)
        now = _drop(subject, newest) if newest else -math.inf
        if best is not None and drops[best] > now + ROUNDING:
            better.setdefault(best, []).append(subject)
    return [(older[n], those) for n, those in sorted(better.items())]


def _drop(subject: _Subject, rival: Rival) -> float:
    """Returns how far the candidate falls below a pushed model; -inf below one without a number."""
    old, new = subject.number(rival.numbers), subject.number(rival.candidate)
    if old is None or _problem(old):
        return -math.inf
    return old - (-1.0 if new is None or _problem(new) else new)


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


def _against_minimum(subject: _Subject, metrics: Metrics, minimum: float) -> Comparison:
    value = subject.number(metrics)
    problem = _problem(value)
    if problem or value is None:
        passed, note = False, f"{subject} {problem}"
    elif value >= minimum - ROUNDING:
        passed, note = True, f"{subject} {value:.4f} reaches the minimum {minimum:.4f}"
    else:
        passed, note = False, f"{subject} {value:.4f} is below the minimum {minimum:.4f}"
    return Comparison(
        subject.metric, MIN, minimum, _finite(value), None, minimum, passed, note, subject.category
    )


def _against(
    rival: Rival | None,
    subjects: Sequence[_Subject],
    threshold: Threshold,
    rule: str,
    metrics: Metrics,
) -> list[Comparison]:
    """Returns the comparisons with a pushed model.

    One that lacks the number (no pushed model yet, or one without a mask head) cannot be dropped
    below, so the condition stands; one whose number is NaN or -1 proves nothing, so it fails.
    """
    setting = dict(_rules(threshold))[rule]
    candidate = rival.candidate if rival else metrics
    pairs = []
    for subject in subjects:
        old = subject.number(rival.numbers) if rival else None
        # What the pushed model does not know is not among what both know.
        pairs.append((subject.number(metrics if old is None else candidate), old))
    told = [n for n, (new, old) in enumerate(pairs) if not (_problem(new) or _problem(old))]
    changes = _changes(
        rival, [subjects[n] for n in told], [pairs[n] for n in told], threshold, setting
    )
    by_subject = dict(zip(told, changes, strict=True))
    return [
        _change_comparison(rival, subject, pair, threshold, rule, setting, by_subject.get(n))
        for n, (subject, pair) in enumerate(zip(subjects, pairs, strict=True))
    ]


def _changes(
    rival: Rival | None,
    subjects: Sequence[_Subject],
    pairs: Sequence[tuple[float | None, float | None]],
    threshold: Threshold,
    setting: float,
) -> list[Change | None]:
    """Returns for each subject what of its change may be chance; None where that is unknown."""
    if rival is None or not subjects:
        return [None] * len(subjects)
    ids = [s.category_id for s in subjects if s.category_id is not None]
    deviations = rival.deviations(threshold.metric, ids or None)
    if deviations is None:
        return [None] * len(subjects)
    is_known = np.asarray(~np.isnan(deviations).all(axis=1))
    values = np.array([(new or 0.0) - (old or 0.0) for new, old in pairs])
    confidence = threshold.confidence or SHOWN_CONFIDENCE
    if not is_known.any():
        return [None] * len(subjects)
    found = iter(changes_and_chance(values[is_known], deviations[is_known], confidence, setting))
    return [next(found) if known else None for known in is_known]


def _change_comparison(
    rival: Rival | None,
    subject: _Subject,
    pair: tuple[float | None, float | None],
    threshold: Threshold,
    rule: str,
    setting: float,
    change: Change | None,
) -> Comparison:
    new, old = pair
    limit = None
    by_chance = change is not None and threshold.confidence is not None
    name = rival.name if rival else NEWEST
    problem, old_problem = _problem(new), _problem(old)
    if problem or new is None:
        passed, note = False, f"{subject} {problem}"
    elif old is None:
        passed, note = True, f"{subject} has no baseline to be compared with"
    elif old_problem:
        passed, note = False, f"{subject} of the baseline {old_problem}"
    else:
        limit = old - setting if rule == MAX_DROP else old + setting
        passed = new >= limit - ROUNDING
        if by_chance and change is not None:
            end = change.high if rule == MAX_DROP else change.low
            passed = end >= (-setting if rule == MAX_DROP else setting) - ROUNDING
        asked = f"a drop of {setting:.4f} is allowed"
        if rule == MIN_GAIN:
            asked = f"a gain of {setting:.4f} is asked for"
        note = f"{subject} {new:.4f} is {_distance(new - old)} {name}'s {old:.4f} ({asked})"
        note += _in_words(change, threshold, rule, passed, new >= limit - ROUNDING)
    return Comparison(
        metric=threshold.metric,
        rule=rule,
        setting=setting,
        candidate=_finite(new),
        baseline=_finite(old),
        limit=limit,
        passed=passed,
        note=note,
        category=subject.category,
        against=name if rival else "",
        interval=(change.low, change.high) if change else None,
        confidence=(threshold.confidence or SHOWN_CONFIDENCE) if change else None,
        chance=_chance(change, rule) if change else None,
        detectable=change.detectable if change else None,
        by_chance=by_chance,
    )


def _chance(change: Change, rule: str) -> float:
    return change.chance_of_drop if rule == MAX_DROP else change.chance_of_gain


def _in_words(
    change: Change | None, threshold: Threshold, rule: str, passed: bool, by_numbers: bool
) -> str:
    """Returns what is said of chance, after a comparison's numbers."""
    if change is None:
        if threshold.confidence is None:
            return ""
        return (
            f"; by the numbers alone, for chance cannot be told (fewer than {FEWEST_PICTURES} "
            "pictures have such objects, or evaluate.resamples is 0)"
        )
    interval = f"change {change.low:+.4f} to {change.high:+.4f}"
    if threshold.confidence is None:
        return f"; {SHOWN_CONFIDENCE:.0%} interval of the {interval}"
    told = f"{threshold.confidence:.4g} interval of the {interval}, p = {_chance(change, rule):.3g}"
    if rule == MAX_DROP:
        verdict = "no such drop" if by_numbers else "which may be chance"
        verdict = verdict if passed else "which is more than chance"
    else:
        verdict = "which is real" if passed else "which is not proven"
    return f", {verdict} ({told}; the set shows changes from {change.detectable:.4f} on)"


def _distance(difference: float) -> str:
    """Returns a difference in words.

    >>> _distance(-0.25), _distance(0.0)
    ('0.2500 below', 'level with')
    """
    if abs(difference) <= ROUNDING:
        return "level with"
    return f"{abs(difference):.4f} {'above' if difference > 0 else 'below'}"
