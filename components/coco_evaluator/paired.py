"""What a change between two models owes to chance: both on the same resamples of the pictures."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from components.coco_evaluator.chance import FEWEST_PICTURES, Array, Change, changes_and_chance
from components.coco_evaluator.comparison import SHOWN_CONFIDENCE, Deviations
from configs.metric_names import METRIC_NAMES, parts_of
from configs.schema import EvaluateConfig
from model.evaluation.matching import Matches
from model.evaluation.resampling import FEWEST_RESAMPLES, Resamples, resample_count, resampled

MatchesByKind = Mapping[str, Matches]
_BEYOND = 8  # resamples at least in each tail of the levels that are asked for


class Chance:
    """Resamples of the candidate and of pushed models, each made when it is first asked for.

    Args:
        candidate: its matches by kind.
        settings: how many resamples, their seed, and the levels that they have to tell.
        can_tell: whether any are made.
    """

    def __init__(
        self, candidate: MatchesByKind, settings: EvaluateConfig, can_tell: bool = True
    ) -> None:
        levels = [t.confidence for t in settings.thresholds if t.confidence is not None]
        finest = 1 - max(levels, default=SHOWN_CONFIDENCE)
        fewest = max(FEWEST_RESAMPLES, math.ceil(2 * _BEYOND / finest))
        self._candidate = candidate
        self._seed = settings.seed
        self._known: dict[tuple[int, tuple[int, ...]], Resamples] = {}
        self.counts = {
            kind: resample_count(matches, settings.resamples, fewest)
            for kind, matches in candidate.items()
            if can_tell and len(matches.image_ids) >= FEWEST_PICTURES and settings.resamples
        }

    def against(self, rival: MatchesByKind, category_ids: Sequence[int]) -> Deviations:
        """Returns the deviations of changes from a pushed model, over the classes of both."""
        return partial(self._deviations, rival, tuple(category_ids))

    def of_change(
        self,
        rival: MatchesByKind | None,
        category_ids: Sequence[int],
        metric: str,
        category_id: int | None = None,
    ) -> Change | None:
        """Returns what of one change may be chance, by itself, at the level that is shown.

        Args:
            rival: the other model's matches; None for the candidate's own number, as if the other
                had none.
            category_ids: ids of the classes of both.
            metric: "box/AP", ...
            category_id: id of one class; None is the mean.
        """
        ids = None if category_id is None else [category_id]
        classes = tuple(category_ids)
        deviations = self._deviations(rival, classes, metric, ids)
        if deviations is None or np.isnan(deviations).all():
            return None
        value = self._value(self._candidate, classes, metric, ids)
        if rival is not None:
            value = value - self._value(rival, classes, metric, ids)
        return changes_and_chance(value, deviations, SHOWN_CONFIDENCE)[0]

    def _deviations(
        self,
        rival: MatchesByKind | None,
        classes: tuple[int, ...],
        metric: str,
        category_ids: Sequence[int] | None,
    ) -> Array | None:
        kind, name = parts_of(metric)
        if kind not in self.counts or (rival is not None and kind not in rival) or not classes:
            return None
        number = METRIC_NAMES.index(name)
        resamples = self._resamples(self._candidate, kind, classes)
        deviations = _deviations(resamples, number, classes, category_ids)
        if rival is not None:
            other = self._resamples(rival, kind, classes)
            deviations = deviations - _deviations(other, number, classes, category_ids)
        pictures = resamples.any_pictures[number]
        if category_ids is not None:
            places = np.searchsorted(classes, category_ids)
            pictures = resamples.pictures[number, places]
        deviations[np.atleast_1d(pictures) < FEWEST_PICTURES] = np.nan
        return deviations

    def _value(
        self,
        model: MatchesByKind,
        classes: tuple[int, ...],
        metric: str,
        category_ids: Sequence[int] | None,
    ) -> Array:
        kind, name = parts_of(metric)
        plain = self._resamples(model, kind, classes).plain[METRIC_NAMES.index(name)]
        return _chosen(plain[:, None], classes, category_ids)[:, 0]

    def _resamples(self, model: MatchesByKind, kind: str, classes: tuple[int, ...]) -> Resamples:
        key = id(model[kind]), classes
        if key not in self._known:
            self._known[key] = resampled(model[kind], classes, self.counts[kind], self._seed)
        return self._known[key]


def _deviations(
    resamples: Resamples,
    number: int,
    classes: tuple[int, ...],
    category_ids: Sequence[int] | None,
) -> Array:
    drawn = _chosen(resamples.drawn[number], classes, category_ids)
    return drawn - _chosen(resamples.plain[number][:, None], classes, category_ids)


def _chosen(values: Array, classes: tuple[int, ...], category_ids: Sequence[int] | None) -> Array:
    """Returns the rows of some classes as float64, or of all the mean of those that are defined.

    Args:
        values: [K, B].
        classes: [K] sorted ids.
        category_ids: ids of the rows; None is the mean.
    """
    if category_ids is not None:
        return values[np.searchsorted(classes, category_ids)].astype(float)
    is_defined = ~np.isnan(values)
    count = is_defined.sum(axis=0, keepdims=True)
    total = np.where(is_defined, values, 0).sum(axis=0, keepdims=True, dtype=float)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
