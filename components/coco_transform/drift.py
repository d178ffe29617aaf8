"""How far two sets of records are apart: a training split and another, or this run's and the last.

The distances are those of TensorFlow Data Validation's comparators: L-infinity for classes,
Jensen-Shannon's divergence for numbers; computed here on the report's own counts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from configs.schema import DriftConfig
from ground.errors import DatasetError
from ground.wording import plural
from model.examples import TRAINING_SPLIT

# Of fewer the counts say little: two halves of one set of 50 differ by 0.1 of themselves.
_ENOUGH = 100
_SHARES = "classes"
# Of two splits: as training sees them, one size of both. Of two runs, whose input may have other
# sizes: in the pictures' own pixels.
_OF_SPLITS = {"box sizes": "box_side_resized", "objects a picture": "objects_per_picture"}
_OF_RUNS = {"box sizes": "box_side", "objects a picture": "objects_per_picture"}


class Drift(NamedTuple):
    """One comparison.

    Attributes:
        between: the two, for people.
        what: is compared.
        distance: 0 (alike) to 1.
        limit: above it they have drifted apart.
        detail: where they differ most.
    """

    between: str
    what: str
    distance: float
    limit: float
    detail: str

    @property
    def is_over(self) -> bool:
        """Whether they have drifted apart."""
        return self.distance > self.limit

    @property
    def line(self) -> str:
        """A sentence on it."""
        return (
            f"{self.between}: the {self.what} differ by {self.distance:.2f} (more than "
            f"transform.drift allows, {self.limit:g}): {self.detail}"
        )


def drifts(
    content: Mapping[str, Any], previous: Mapping[str, Any] | None, limits: DriftConfig
) -> list[Drift]:
    """Returns every comparison that there is enough data for.

    Args:
        content: the splits of a report, by name, as `report.json` has them, and `edges`.
        previous: those of the run before; None without one.
        limits: above which there is drift.
    """
    splits = content["splits"]
    found = []
    for name, split in splits.items():
        if name != TRAINING_SPLIT and TRAINING_SPLIT in splits:
            between = f"{TRAINING_SPLIT} and {name}"
            found += _compare(between, splits[TRAINING_SPLIT], split, limits, _OF_SPLITS)
    if previous is not None:
        histograms = _OF_RUNS if previous.get("edges") == content["edges"] else {}
        for name, split in splits.items():
            before = previous["splits"].get(name)
            if before is not None:
                between = f"{name} of the last run and {name}"
                found += _compare(between, before, split, limits, histograms)
    return found


def is_comparable(split: Any) -> bool:
    """Returns whether a split of some report has what is compared with the next run's."""
    try:
        _objects_by_name(split["classes"])
        counts = [np.asarray(split["histograms"][key], np.float64) for key in _OF_RUNS.values()]
    except (KeyError, TypeError, ValueError):
        return False
    return all(one.ndim == 1 and np.isfinite(one).all() and (one >= 0).all() for one in counts)


def check_drift(found: list[Drift], limits: DriftConfig) -> None:
    """Checks that nothing has drifted apart, where the settings ask for that.

    Raises:
        DatasetError: something has.
    """
    over = [drift for drift in found if drift.is_over]
    if over and limits.on_drift == "fail":
        more = f" (and {plural(len(over) - 1, 'more difference')})" if len(over) > 1 else ""
        raise DatasetError(
            f"{over[0].line}{more}. Look at the data, raise the limits in transform.drift, or set "
            "transform.drift.on_drift=warn"
        )


def l_infinity(counts: npt.ArrayLike, others: npt.ArrayLike) -> float:
    """Returns the largest difference of two shares.

    >>> l_infinity([3, 1], [1, 1])
    0.25
    """
    return float(np.abs(_shares(counts) - _shares(others)).max(initial=0.0))


def jensen_shannon(counts: npt.ArrayLike, others: npt.ArrayLike) -> float:
    """Returns Jensen and Shannon's divergence of two histograms, in bits: 0 to 1.

    >>> jensen_shannon([1, 0], [0, 1])
    1.0
    """
    shares, other_shares = _shares(counts), _shares(others)
    middle = (shares + other_shares) / 2
    return float((_divergence(shares, middle) + _divergence(other_shares, middle)) / 2)


def _divergence(shares: npt.NDArray[np.float64], of: npt.NDArray[np.float64]) -> float:
    there = shares > 0
    return float((shares[there] * np.log2(shares[there] / of[there])).sum())


def _shares(counts: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(counts, np.float64)
    shares: npt.NDArray[np.float64] = values / max(float(values.sum()), 1.0)
    return shares


def _compare(
    between: str,
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    limits: DriftConfig,
    histograms: Mapping[str, str],
) -> list[Drift]:
    found = []
    counts = [_objects_by_name(split["classes"]) for split in (one, other)]
    if min(sum(of.values()) for of in counts) >= _ENOUGH:
        names = sorted({*counts[0], *counts[1]})
        shares, others = (_shares([of.get(name, 0) for name in names]) for of in counts)
        at = int(np.abs(shares - others).argmax())
        detail = f"class {names[at]!r} has {_percent(shares[at])}, then {_percent(others[at])}"
        distance = l_infinity(shares, others)
        found.append(Drift(between, _SHARES, distance, limits.max_class_change, detail))
    limit_of = {
        "box sizes": limits.max_size_divergence,
        "objects a picture": limits.max_count_divergence,
    }
    for what, key in histograms.items():
        pair = [np.asarray(split["histograms"][key], np.float64) for split in (one, other)]
        if min(values.sum() for values in pair) >= _ENOUGH:
            detail = _moved(pair[0] / pair[0].sum(), pair[1] / pair[1].sum(), what)
            found.append(Drift(between, what, jensen_shannon(*pair), limit_of[what], detail))
    return found


def _objects_by_name(classes: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Returns the objects of classes; those of classes with one name together."""
    objects: Counter[str] = Counter()
    for found in classes:
        objects[found["name"]] += found["objects"]
    return objects


def _moved(shares: npt.NDArray[np.float64], others: npt.NDArray[np.float64], what: str) -> str:
    """Returns in which direction a histogram moved."""
    bins = np.arange(len(shares))
    middles = [float((bins * of).sum()) for of in (shares, others)]
    way = middles[1] - middles[0]
    spreads = [
        float(((bins - middle) ** 2 * of).sum())
        for middle, of in zip(middles, (shares, others), strict=True)
    ]
    # Counted in bins: what moves by less than a tenth of one has no direction to speak of.
    if abs(way) < 0.1:
        return f"those of the second are spread {'wider' if spreads[1] > spreads[0] else 'closer'}"
    words = ("larger", "smaller") if what == "box sizes" else ("more", "fewer")
    return f"the second has {words[0 if way > 0 else 1]} ones"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
