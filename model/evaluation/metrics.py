"""COCO's numbers by name: "box/AP" is made and taken apart here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metrics:
    """The numbers of one evaluation.

    Attributes:
        content: what `evaluate` returns and `metrics.json` holds; `box` and `mask` are None where
            that kind was not evaluated.
    """

    content: Mapping[str, Any]

    def number(self, name: str) -> float | None:
        """Returns the number of a name such as "box/AP"; None where it is missing.

        >>> Metrics({"box": {"AP": 0.25}, "mask": None}).number("box/AP")
        0.25
        """
        kind, _, key = name.partition("/")
        value = (self.content.get(kind) or {}).get(key)
        return None if value is None else float(value)

    def named(self, kinds: Iterable[str], keys: Iterable[str]) -> dict[str, float]:
        """Returns the numbers there are, by their names.

        >>> Metrics({"box": {"AP": 0.25, "AP50": 0.5}, "mask": None}).named(["box", "mask"], ["AP"])
        {'box/AP': 0.25}
        """
        names = [f"{kind}/{key}" for kind in kinds for key in keys]
        numbers = {name: self.number(name) for name in names}
        return {name: number for name, number in numbers.items() if number is not None}
