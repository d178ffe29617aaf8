"""Objects that look wrong: beside their own masks, in their pictures, and beside each other.

None of these is a flaw of form, and each may be right: they are counted and shown, not dropped.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model.coco.boxes import xywh_to_yxyx

Floats = npt.NDArray[np.float64]

BOX_AND_MASK, WHOLE_PICTURE, DUPLICATE = "box_and_mask_differ", "box_fills_picture", "drawn_twice"
KINDS = (BOX_AND_MASK, WHOLE_PICTURE, DUPLICATE)
# When they are told: judgements. In COCO 0.2 % of the objects are the first, 0.5 % the second.
_LEAST_AGREEMENT = 0.6
_WHOLE_SHARE = 0.95
_SAME_IOU = 0.95
_TOLERANCE_PX = 1.0  # between a box and the pixels that its polygon draws

SHOWN_OF_A_KIND = 20
_ROWS_AT_ONCE = 256
_MOST_COMPARED = 5000  # objects of a picture: more are compared in parts


class Suspicion(NamedTuple):
    """What looks wrong about an object.

    Attributes:
        kind: one of `KINDS`.
        degree: 0 to 1; the higher, the surer.
        row: row of the object among those of its record.
        other_row: row of the one that it looks like; None where it is about one alone.
    """

    kind: str
    degree: float
    row: int
    other_row: int | None = None


class SuspiciousPlace(NamedTuple):
    """A suspicion that the report can show; the tuple's order is that of showing.

    Attributes:
        doubt: 1 less the degree.
        image_id: id of the picture.
        annotation_id: id of the object.
        other_id: id of the one that it looks like; None where it is about one alone.
        shard: number of the shard.
        offset: offset of the record's payload in the shard's file, in bytes.
        length: length of the payload.
    """

    doubt: float
    image_id: int
    annotation_id: int
    other_id: int | None
    shard: int
    offset: int
    length: int


class Suspicions:
    """Counts by kind, and the surest of each kind.

    Attributes:
        counts: number of objects, by kind.
        places: at most `SHOWN_OF_A_KIND` of each kind, the surest first.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.places: dict[str, list[SuspiciousPlace]] = {}

    def add(self, kind: str, places: Iterable[SuspiciousPlace]) -> None:
        """Takes suspicions of one kind."""
        places = list(places)
        self.counts[kind] += len(places)
        self._keep(kind, places)

    def merge(self, other: "Suspicions") -> None:
        """Adds the counts of another part."""
        self.counts.update(other.counts)
        for kind, places in other.places.items():
            self._keep(kind, places)

    def to_json(self) -> dict[str, Any]:
        """Returns all as a JSON value; `from_json` reads it back."""
        places = {kind: [list(place) for place in found] for kind, found in self.places.items()}
        return {"counts": dict(sorted(self.counts.items())), "places": places}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Suspicions":
        """Returns what `to_json` wrote."""
        found = cls()
        found.counts.update(value["counts"])
        for kind, places in value["places"].items():
            found._keep(kind, [SuspiciousPlace(*place) for place in places])
        return found

    def _keep(self, kind: str, places: list[SuspiciousPlace]) -> None:
        if places:
            kept = [*self.places.get(kind, []), *places]
            # An id is None in all of a kind, or in none.
            self.places[kind] = heapq.nsmallest(SHOWN_OF_A_KIND, kept)


def agreement(box: Floats, bounds_xywh: Sequence[float]) -> float:
    """Returns the IoU of a box with the rectangle of its mask's pixels, drawn near by a pixel.

    Args:
        box: [4] yxyx, pixels, clipped to the picture.
        bounds_xywh: the mask's, in pixels.
    """
    mask = np.asarray(xywh_to_yxyx(bounds_xywh), np.float64)
    near = np.clip(box, mask - _TOLERANCE_PX, mask + _TOLERANCE_PX)
    sides = np.minimum(box[2:], near[2:]) - np.maximum(box[:2], near[:2])
    shared = float(np.prod(np.maximum(sides, 0.0)))
    area, other = (float(np.prod(np.maximum(b[2:] - b[:2], 0.0))) for b in (box, near))
    union = area + other - shared
    return shared / union if union > 0 else 0.0


def suspicions(
    boxes_norm: Floats,
    labels: npt.NDArray[np.int64],
    is_crowd: npt.NDArray[np.bool_],
    agreements: Sequence[float | None],
) -> list[Suspicion]:
    """Returns what looks wrong about the objects of a picture; crowd regions never do.

    Args:
        boxes_norm: [n, 4] yxyx, as shares of the picture's sides.
        labels: [n].
        is_crowd: [n].
        agreements: agreement of each object's box with its mask; None without a mask.
    """
    rows = np.flatnonzero(~is_crowd)
    found = [
        Suspicion(BOX_AND_MASK, 1 - value, row)
        for row in rows.tolist()
        if (value := agreements[row]) is not None and value < _LEAST_AGREEMENT
    ]
    areas = np.prod(boxes_norm[:, 2:] - boxes_norm[:, :2], axis=1)
    found += [
        Suspicion(WHOLE_PICTURE, float(areas[row]), row)
        for row in rows.tolist()
        if areas[row] >= _WHOLE_SHARE
    ]
    for label in np.unique(labels[rows]).tolist():
        found += _duplicates(boxes_norm, rows[labels[rows] == label])
    return found


def _duplicates(boxes: Floats, rows: npt.NDArray[np.int64]) -> Iterator[Suspicion]:
    """Yields each of the rows whose box is that of an earlier one."""
    for first in range(0, len(rows), _MOST_COMPARED):
        own = rows[first : first + _MOST_COMPARED]
        for start in range(0, len(own), _ROWS_AT_ONCE):
            these = own[start : start + _ROWS_AT_ONCE]
            # Only with those before: of two that are alike the later one is drawn again.
            ious = _ious(boxes[these], boxes[own[: start + len(these)]])
            ious[np.arange(start + len(these)) >= start + np.arange(len(these))[:, None]] = 0
            best = ious.argmax(axis=1)
            highest = ious[np.arange(len(these)), best]
            for at in np.flatnonzero(highest > _SAME_IOU).tolist():
                yield Suspicion(DUPLICATE, float(highest[at]), int(these[at]), int(own[best[at]]))


def _ious(boxes: Floats, others: Floats) -> Floats:
    """Returns [n, m] IoU of yxyx boxes."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas, others_areas = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (boxes, others))
    ious: Floats = shared / np.maximum(areas[:, None] + others_areas[None] - shared, 1e-12)
    return ious
