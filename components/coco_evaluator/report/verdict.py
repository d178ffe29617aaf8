"""The verdict in words: how it is against the pushed model, what fell, what costs most. Pure."""

from collections.abc import Iterator, Sequence

from components.coco_evaluator.analysis import Analysis
from components.coco_evaluator.report.changes import ChangedNumber
from components.coco_evaluator.report.sections import loss_line
from configs.metric_names import KINDS
from model.evaluation.metrics import Metrics

_SEEN = 0.0005  # what shows in three decimals
_MOST_FALLEN = 3
_MEAN = "all"


def verdict_lines(
    metrics: Metrics,
    compared: Metrics,
    baseline: Metrics | None,
    changes: Sequence[ChangedNumber],
    analysis: Analysis,
) -> list[str]:
    """Returns sentences that stand beside the verdict.

    Args:
        metrics: the candidate's.
        compared: those that stand against the baseline's.
        baseline: the pushed model's, or None.
        changes: against it, the most harm first.
        analysis: what is behind the numbers.
    """
    lines = [*_mean_lines(metrics, compared, baseline, changes), *_falls(changes)]
    lost = loss_line(analysis)
    return [*lines, lost] if lost else lines


def _mean_lines(
    metrics: Metrics,
    compared: Metrics,
    baseline: Metrics | None,
    changes: Sequence[ChangedNumber],
) -> Iterator[str]:
    by_name = {change.name: change for change in changes}
    for kind in KINDS:
        ap = metrics.numbers(kind).get("AP", -1)
        if ap < 0:
            continue
        new = compared.numbers(kind).get("AP", -1)
        old = baseline.numbers(kind).get("AP", -1) if baseline else -1
        line = f"{kind.capitalize()} AP {ap:.3f}"
        if min(new, old) >= 0:
            line += f", {_distance(new - old)} the pushed model's {old:.3f}"
            line += _chance(by_name.get(f"{kind}, {_MEAN}"))
        yield line + "."


def _distance(change: float) -> str:
    if abs(change) < _SEEN:
        return "level with"
    return f"{abs(change):.3f} {'above' if change > 0 else 'below'}"


def _chance(change: ChangedNumber | None) -> str:
    if change is None or change.interval is None:
        return ""
    low, high = change.interval
    words = "more than chance" if change.is_real else "within chance"
    return f" ({words}: {_signed(low)} to {_signed(high)})"


def _falls(changes: Sequence[ChangedNumber]) -> Iterator[str]:
    """Yields what fell more than chance would have it, which a mean may hide."""
    fallen = [c for c in changes if c.is_real and c.change < -_SEEN and not c.name.endswith(_MEAN)]
    if fallen:
        named = ", ".join(
            f"{c.name.replace(', ', ' AP of ')} by {-c.change:.3f}" for c in fallen[:_MOST_FALLEN]
        )
        more = len(fallen) - _MOST_FALLEN
        yield f"Fallen more than by chance: {named}{f', and {more} more' if more > 0 else ''}."
    elif any(c.interval for c in changes):
        yield "No class and no size has fallen more than by chance."


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
