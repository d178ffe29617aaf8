"""Whether two lists of detections in one picture are the same, but for rounding. Pure.

Two graphs, or two machines, round otherwise. A score moves in its last digits, and where two boxes
are nearly as good as each other, NMS keeps the other one. So detections are paired, and what has
no partner may weigh little: by its score, for what scores low is a guess on both sides.
"""

from dataclasses import dataclass

import numpy as np

from model.predict import Detections

SCORE_TOLERANCE = 0.02  # of a pair
FEWEST_IOU = 0.9  # of a pair's boxes
MASK_TOLERANCE = 0.05  # mean difference of a pair's mask probabilities
UNPAIRED_SHARE = 0.1  # of all scores, that may have no partner ...
UNPAIRED_SCORES = 0.3  # ... or that much altogether
_HAIR = 5e-4  # of a picture's side
TOLERANCES = (
    f"same class, IoU {FEWEST_IOU:g} or more, scores within {SCORE_TOLERANCE:g}, mask "
    f"probabilities within {MASK_TOLERANCE:g} on average; by score at most "
    f"{UNPAIRED_SHARE:.0%} without a partner"
)


@dataclass(frozen=True)
class Difference:
    """How far two lists of detections differ.

    Attributes:
        unpaired: the scores of detections without a partner, summed over both lists.
        total: the scores of all, likewise.
        strongest: category id and score of the best detection without a partner; None for none.
        score: largest difference of scores in a pair.
    """

    unpaired: float
    total: float
    strongest: tuple[int, float] | None
    score: float

    @property
    def is_allowed(self) -> bool:
        """Whether it is no more than rounding makes."""
        return self.unpaired <= max(UNPAIRED_SCORES, UNPAIRED_SHARE * self.total)

    def in_words(self) -> str:
        """Returns by how much the lists differ."""
        share = self.unpaired / self.total if self.total else 0.0
        which = ""
        if self.strongest is not None:
            which = f", the strongest of category {self.strongest[0]} at {self.strongest[1]:.3f}"
        return f"{share:.0%} of the detections, by score, have no counterpart{which}"


def difference(first: Detections, second: Detections) -> Difference:
    """Returns how far two lists of detections in the same picture differ.

    Each detection of the first list, best first, takes the partner with the largest IoU that is
    left and within the tolerances.
    """
    iou = _iou(first.boxes_norm, second.boxes_norm)
    fits = (iou >= FEWEST_IOU) & (first.category_ids[:, None] == second.category_ids[None])
    gaps = np.abs(first.scores[:, None] - second.scores[None])
    fits &= gaps <= SCORE_TOLERANCE
    if first.masks is not None and second.masks is not None and fits.any():
        rows, columns = np.nonzero(fits)
        apart = np.abs(first.masks[rows] - second.masks[columns]).mean(axis=(1, 2))
        fits[rows, columns] = apart <= MASK_TOLERANCE
    has_partner = np.zeros(len(first.scores), bool)
    is_taken = np.zeros(len(second.scores), bool)
    worst = 0.0
    for n in np.argsort(-first.scores, kind="stable"):
        left = np.where(fits[n] & ~is_taken, iou[n], -1.0)
        if left.size and (best := int(left.argmax())) >= 0 and left[best] >= 0:
            has_partner[n] = is_taken[best] = True
            worst = max(worst, float(gaps[n, best]))
    alone = [
        *zip(first.category_ids[~has_partner], first.scores[~has_partner], strict=True),
        *zip(second.category_ids[~is_taken], second.scores[~is_taken], strict=True),
    ]
    strongest = max(alone, key=lambda found: float(found[1]), default=None)
    return Difference(
        unpaired=float(sum(score for _, score in alone)),
        total=float(first.scores.sum() + second.scores.sum()),
        strongest=None if strongest is None else (int(strongest[0]), float(strongest[1])),
        score=worst,
    )


def flaw(found: Detections) -> str | None:
    """Returns what of detections is no detection, in words; None for nothing."""
    numbers = [found.boxes_norm, found.scores]
    if found.masks is not None:
        numbers.append(found.masks)
    if not all(np.isfinite(values).all() for values in numbers):
        return "finds boxes, scores or masks that are not numbers"
    if found.boxes_norm.size and (found.boxes_norm.min() < 0 or found.boxes_norm.max() > 1):
        return "finds boxes that lie outside of the picture"
    return None


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns [n, m] float64 of two lists of boxes, yxyx, each widened by a hair.

    Else a box without a height, of which a model that has learnt little finds many, would be
    nothing like one that rounding gives a height of a millionth.
    """
    one, two = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    low = np.maximum(one[..., :2], two[..., :2]) - _HAIR
    high = np.minimum(one[..., 2:], two[..., 2:]) + _HAIR
    common = np.clip(high - low, 0, None).prod(-1)
    areas = [(box[..., 2:] - box[..., :2] + 2 * _HAIR).prod(-1) for box in (one, two)]
    iou: np.ndarray = common / (areas[0] + areas[1] - common)
    return iou
