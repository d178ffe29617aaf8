"""Scores as probabilities, and the score to set for what one wants (IoU 0.50, objects of any size).

D detections of a class or of all, by falling score.
"""

from dataclasses import dataclass

import numpy as np

from model.evaluation.matching import Matches

_BINS = 10


@dataclass(frozen=True)
class OperatingPoint:
    """A score from which on detections count, and what comes of it.

    Attributes:
        score: detections that score at least this count; 1.0 where none is right.
        precision: share of those that are right.
        recall: share of the objects that are found.
        f1: harmonic mean of both.
    """

    score: float
    precision: float
    recall: float
    f1: float


NOTHING_RIGHT = OperatingPoint(1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class ScoreCurve:
    """What each score to set gives.

    Attributes:
        scores: [S] the scores there are, falling.
        precision: [S].
        recall: [S]; all 0 where there is no object.
        objects: how many are to be found.
    """

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    objects: int

    def best(self) -> OperatingPoint:
        """Returns the point with the best F1, of equals the one with the highest score."""
        total = self.precision + self.recall
        f1 = np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total),
                       where=total > 0)  # fmt: skip
        if not f1.any():
            return NOTHING_RIGHT
        return self._point(int(np.argmax(f1)))

    def for_precision(self, wanted: float) -> OperatingPoint | None:
        """Returns the point with the most recall whose precision is at least that wanted."""
        enough = np.flatnonzero((self.precision >= wanted) & (self.recall > 0))
        return self._point(int(enough[-1])) if len(enough) else None

    def for_recall(self, wanted: float) -> OperatingPoint | None:
        """Returns the point with the highest score whose recall is at least that wanted."""
        enough = np.flatnonzero((self.recall >= wanted) & (self.recall > 0))
        return self._point(int(enough[0])) if len(enough) else None

    def thinned(self, most: int) -> "ScoreCurve":
        """Returns it with no more than so many points, spread over the recall."""
        if len(self.scores) <= most:
            return self
        places = np.searchsorted(self.recall, np.linspace(0, self.recall[-1], most))
        rows = np.unique(np.minimum(places, len(self.scores) - 1))
        return ScoreCurve(self.scores[rows], self.precision[rows], self.recall[rows], self.objects)

    def _point(self, n: int) -> OperatingPoint:
        precision, recall = float(self.precision[n]), float(self.recall[n])
        f1 = 2 * precision * recall / (precision + recall)
        return OperatingPoint(float(self.scores[n]), precision, recall, f1)


def score_curve(matches: Matches, category: int | None = None) -> ScoreCurve:
    """Returns what each score gives.

    Detections are matched best score first, so a threshold takes away pairs and changes none.

    Args:
        matches: what the detections find.
        category: position of a class; None is all together.
    """
    score, right = _judged(matches, category)
    mine = matches.gt_counts[0] & _is_of(matches.gt_category, category)
    objects = int(mine.sum())
    found = np.cumsum(right)
    is_last = np.append(score[1:] != score[:-1], True)[: len(score)]
    found, counted = found[is_last], np.arange(1, len(score) + 1)[is_last]
    return ScoreCurve(score[is_last], found / counted, found / max(objects, 1), objects)


@dataclass(frozen=True)
class Calibration:
    """How far a score is the probability to be right, in bins of equal width.

    Attributes:
        score: [B] mean score of each bin's detections; NaN of an empty bin.
        precision: [B] share of them that are right, likewise.
        count: [B] how many they are.
        error: mean distance of score and precision over the detections; NaN without any.

    Reference: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2 (ECE);
        Küppers et al., "Multivariate Confidence Calibration for Object Detection", CVPR workshops
        2020, for detections.
    """

    score: np.ndarray
    precision: np.ndarray
    count: np.ndarray
    error: float


def calibration(matches: Matches, category: int | None = None) -> Calibration:
    """Returns how far scores are probabilities; see `score_curve` for the arguments."""
    score, right = _judged(matches, category)
    which = np.clip((score * _BINS).astype(int), 0, _BINS - 1)
    count = np.bincount(which, minlength=_BINS)
    share = np.where(count > 0, 1 / np.maximum(count, 1), np.nan)
    mean_score = np.bincount(which, score, _BINS) * share
    precision = np.bincount(which, right, _BINS) * share
    error = float("nan")
    if len(score):
        error = float(np.nansum(np.abs(mean_score - precision) * count) / len(score))
    return Calibration(mean_score, precision, count, error)


def _judged(matches: Matches, category: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores, falling, and whether right, of detections that are right or wrong."""
    rows = np.flatnonzero(((matches.ignored[0] & 1) == 0) & _is_of(matches.category, category))
    rows = rows[np.lexsort((rows, -matches.score[rows]))]
    return matches.score[rows], (matches.right[0][rows] & 1).astype(float)


def _is_of(column: np.ndarray, category: int | None) -> np.ndarray:
    return np.ones(len(column), bool) if category is None else column == category
