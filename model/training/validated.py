"""The validations of a run: each is a value, and from their list follow the best and the end."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Validated:
    """One validation.

    Attributes:
        step: steps done before it.
        metrics: "box/AP" and the like.
    """

    step: int
    metrics: Mapping[str, float]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Validated":
        """Returns what `dataclasses.asdict` made a JSON object of."""
        return cls(fields["step"], fields["metrics"])

    def value(self, metric: str) -> float:
        """Returns a number that can be compared: one that is missing is less than any other."""
        return self.metrics.get(metric, -math.inf)


def best_validation(validations: Sequence[Validated], metric: str) -> Validated | None:
    """Returns the validation that is the best by `metric`, of equal ones the last.

    Args:
        validations: the oldest first.
        metric: such as "box/AP"; a validation without it is worse than any.

    Example:
        >>> best_validation([Validated(2, {"box/AP": 0.5}), Validated(4, {})], "box/AP").step
        2
    """
    return max(reversed(validations), key=lambda one: one.value(metric), default=None)


def is_patience_over(validations: Sequence[Validated], metric: str, patience: int) -> bool:
    """Returns whether the last `patience` validations brought no higher value; 0 waits for ever."""
    values = [one.value(metric) for one in validations]
    if not patience or not values:
        return False
    return len(values) - 1 - values.index(max(values)) >= patience
