"""A compiled pipeline's parameters that have a type, besides `overrides`.

Each stands for one setting. The tasks whose settings have it take it as an input of their own, so
that KFP's cache knows which of them a changed value concerns; the container entry turns it into an
override, which `overrides` itself still wins over.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TypedParameter:
    """A parameter's setting and KFP's name of its type."""

    key: str
    kind: str

    def value_in(self, settings: Mapping[str, Any]) -> Any:
        """Returns the setting's value; None where the settings do not have it."""
        found: Any = settings
        for part in self.key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return None
            found = found[part]
        return found


TYPED = {
    "learning_rate": TypedParameter("train.optimizer.learning_rate", "NUMBER_DOUBLE"),
    "epochs": TypedParameter("train.epochs", "NUMBER_DOUBLE"),
    "thresholds": TypedParameter("evaluate.thresholds", "LIST"),
}
OVERRIDES = "overrides"


def with_typed_as_overrides(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a task's parameters with the typed ones as the first of its overrides.

    >>> with_typed_as_overrides({"epochs": 3.0, "overrides": "train.seed=1", "settings": "{}"})
    {'overrides': 'train.epochs=3.0;train.seed=1', 'settings': '{}'}
    """
    given = {TYPED[name].key: value for name, value in values.items() if name in TYPED}
    others = {name: value for name, value in values.items() if name not in TYPED}
    if given:
        others[OVERRIDES] = with_overrides(given, others.get(OVERRIDES))
    return others


def with_overrides(settings: Mapping[str, Any], overrides: str | None, wins: bool = False) -> str:
    """Returns overrides with settings added; of two of the same setting one is left.

    Args:
        settings: value by key.
        overrides: overrides as a run gives them, separated by `;`.
        wins: whether `settings` replace what the overrides say, not the other way round.
    """
    texts = [text.strip() for text in (overrides or "").split(";") if text.strip()]
    known = {text.partition("=")[0].strip() for text in texts}
    if wins:
        texts = [text for text in texts if text.partition("=")[0].strip() not in settings]
        known = set()
    # A `;` would end the override; in JSON it has another form.
    added = [
        f"{key}={json.dumps(value).replace(';', chr(92) + 'u003b')}"
        for key, value in settings.items()
        if key not in known
    ]
    return ";".join([*added, *texts])
