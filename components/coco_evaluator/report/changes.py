"""The report's table of changes against the pushed model, with what of them may be chance."""

from collections.abc import Iterator
from dataclasses import dataclass

from components.coco_evaluator.chance import FEWEST_PICTURES
from components.coco_evaluator.judgement import Judgement
from configs.metric_names import KINDS, metric_of
from model.evaluation.metrics import Metrics

_BY_SIZE = {"AP": "all", "APs": "small objects", "APm": "medium objects", "APl": "large objects"}


@dataclass(frozen=True)
class ChangedNumber:
    """A line of the table.

    Attributes:
        name: what it is the number of: a size or a class.
        value: the number now.
        change: from the pushed model's.
        interval: that holds the true change; None where too few pictures have such objects.
    """

    name: str
    value: float
    change: float
    interval: tuple[float, float] | None

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves no change out."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]

    @property
    def harm(self) -> float:
        """What orders the table: a drop that is certain comes before one that may be chance."""
        return self.change if self.interval is None else self.interval[1] + 0.01 * self.change


def changed_numbers(judgement: Judgement) -> list[ChangedNumber]:
    """Returns the changes of AP by size and by class, the most harm first."""
    if judgement.baseline is None or judgement.baseline_matches is None:
        return []
    return sorted(_changes(judgement), key=lambda changed: changed.harm)


def _changes(judgement: Judgement) -> Iterator[ChangedNumber]:
    classes, rival = judgement.compared_category_ids, judgement.baseline_matches
    before_it = judgement.baseline or Metrics({})
    for kind in KINDS:
        new, old = judgement.compared.numbers(kind), before_it.numbers(kind)
        if not new or not old:
            continue
        lines: list[tuple[str, str, int | None, float, float]] = [
            (f"{kind}, {words}", name, None, new[name], old[name])
            for name, words in _BY_SIZE.items()
        ]
        of_old = before_it.classes(kind)
        for number, one in judgement.compared.classes(kind).items():
            if number in of_old:
                name = f"{kind}, {one.name}"
                lines.append((name, "AP", number, one.numbers["AP"], of_old[number].numbers["AP"]))
        for name, metric, category_id, value, before in lines:
            if value < 0 or before < 0:
                continue
            found = judgement.chance.of_change(rival, classes, metric_of(kind, metric), category_id)
            interval = (found.low, found.high) if found else None
            yield ChangedNumber(name, value, value - before, interval)


def spread_lines(judgement: Judgement) -> list[str]:
    """Returns how far chance alone moves AP, and how small a change the pictures show."""
    lines = []
    for kind, matches in judgement.matches_by_kind.items():
        classes = [c for c in matches.category_ids.tolist() if c >= 0]
        if not classes:
            continue
        own = judgement.chance.of_change(None, classes, metric_of(kind, "AP"))
        if own is None:
            lines.append(
                f"How far chance alone moves {kind} AP cannot be told: fewer than "
                f"{FEWEST_PICTURES} pictures have objects, or evaluate.resamples is 0."
            )
            continue
        line = (
            f"Of other such {len(matches.image_ids):,} pictures {kind} AP would lie within "
            f"{max(own.low, 0):.3f} and {min(own.high, 1):.3f} (95 of 100 times)"
        )
        rival = judgement.baseline_matches
        paired = rival and judgement.chance.of_change(
            rival, judgement.compared_category_ids, metric_of(kind, "AP")
        )
        if paired:
            line += f"; they show changes from {paired.detectable:.3f} on"
        lines.append(f"{line}.")
    return lines
