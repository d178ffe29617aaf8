"""COCO's numbers on resamples of the pictures: how far chance alone moves them.

A resample draws as many pictures as there are, with replacement (Efron's bootstrap). It is a count
for each picture, 0, 1, 2, ..., and no detection has to be matched or sorted again: a curve of
precision over recall is the running sums of those counts along the detections by falling score.
Models are compared on the same resamples (paired), for what is hard in one picture is hard for
all.

I pictures, K classes, A = 4 ranges of size, T = 10 IoU thresholds, B resamples.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import NamedTuple

import numpy as np
from scipy import sparse

from configs.metric_names import METRIC_NAMES
from model.evaluation.matching import AREAS, IOU_THRESHOLDS, Matches
from model.evaluation.resampled_curve import Curve, average_precision, flags
from model.limits import machine_limits

_T = len(IOU_THRESHOLDS)
_AP_METRICS = {"all": "AP", "small": "APs", "medium": "APm", "large": "APl"}
_AT_IOU = {"AP50": 0, "AP75": 5}  # position of the threshold, of objects of any size
_AR_OF_AREA = {"all": "AR100", "small": "ARs", "medium": "ARm", "large": "ARl"}
_AR_OF_LIMIT = {1: "AR1", 10: "AR10"}
_AREA_OF = {name: area for by in (_AP_METRICS, _AR_OF_AREA) for area, name in by.items()}
FEWEST_RESAMPLES = 200
_MOST_WORK = 24_000_000  # rows of curves times resamples: some seconds
_AT_ONCE = 500  # resamples; bounds the memory
_MOST_THREADS = 16  # likewise: each takes some 30 MB where a class has thousands of objects


class _CurveOf(NamedTuple):
    """A curve, the mean over thresholds that it gives, and of what."""

    metric: str
    area: str
    place: int
    curve: Curve


class Resampler:
    """Gives COCO's twelve numbers of each class for counts of the pictures.

    Args:
        matches: those of a model.
        category_ids: those of the classes, all in the matches; their order is that of the results.
    """

    def __init__(self, matches: Matches, category_ids: Sequence[int]) -> None:
        self.num_classes = len(category_ids)
        self.num_pictures = len(matches.image_ids)
        places = np.full(len(matches.category_ids) + 1, -1)
        where = np.searchsorted(matches.category_ids, category_ids)
        places[where] = np.arange(len(category_ids))
        self._curves: list[_CurveOf] = []
        self._objects: dict[str, sparse.csr_matrix] = {}
        self._recalls: dict[str, tuple[sparse.csr_matrix, str]] = {}
        of_gt, of_dt = places[matches.gt_category], places[matches.category]
        by_score = np.flatnonzero(of_dt >= 0)
        by_score = by_score[np.lexsort((-matches.score[by_score], of_dt[by_score]))]
        for a, area in enumerate(AREAS):
            counts = matches.gt_counts[a] & (of_gt >= 0)
            self._objects[area] = self._sums(of_gt[counts], matches.gt_image[counts])
            found = (matches.right[a] != 0) & (of_dt >= 0)
            limits = {_AR_OF_AREA[area]: found}
            if area == "all":
                limits |= {name: found & (matches.rank < n) for n, name in _AR_OF_LIMIT.items()}
            for name, rows in limits.items():
                times = flags(matches.right[a][rows]).sum(axis=1)
                self._recalls[name] = self._sums(of_dt[rows], matches.image[rows], times), area
            self._add_curves(matches, a, area, of_dt, by_score)

    def _sums(
        self, place: np.ndarray, image: np.ndarray, times: np.ndarray | None = None
    ) -> sparse.csr_matrix:
        """Returns [K, I]: how much of each class lies in each picture."""
        return _counted(place, image, (self.num_classes, self.num_pictures), times)

    def _add_curves(
        self, matches: Matches, a: int, area: str, of_dt: np.ndarray, by_score: np.ndarray
    ) -> None:
        """Adds the curves of a range of size."""
        right, ignored = matches.right[a], matches.ignored[a]
        used = by_score[ignored[by_score] != (1 << _T) - 1]
        bounds = np.searchsorted(of_dt[used], np.arange(self.num_classes + 1))
        for place, (start, stop) in enumerate(pairwise(bounds)):
            mine = used[start:stop]
            curve = Curve.of(matches.image[mine], right[mine], ignored[mine], self.num_pictures)
            self._curves.append(_CurveOf(_AP_METRICS[area], area, place, curve))

    def pictures_with_objects(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns by number how many pictures have objects of a class [12, K], and of any [12]."""
        by_class = {area: np.diff(sums.indptr) for area, sums in self._objects.items()}
        of_any = {area: len(np.unique(sums.indices)) for area, sums in self._objects.items()}
        areas = [_AREA_OF.get(name, "all") for name in METRIC_NAMES]
        return np.stack([by_class[a] for a in areas]), np.array([of_any[a] for a in areas])

    def numbers(self, counts: np.ndarray, threads: int = 1) -> np.ndarray:
        """Returns [12, K, B] float32 by METRIC_NAMES; NaN where nothing is to be found.

        Args:
            counts: [I, B] float32, how often each picture was drawn.
            threads: so many curves are worked through side by side; NumPy lets them.
        """
        result = np.full((len(METRIC_NAMES), self.num_classes, counts.shape[1]), np.nan, np.float32)
        to_find = {area: sums @ counts for area, sums in self._objects.items()}  # [K, B]
        with np.errstate(invalid="ignore", divide="ignore"):
            for name, (sums, area) in self._recalls.items():
                result[METRIC_NAMES.index(name)] = (sums @ counts) / to_find[area] / _T

        def fill(one: _CurveOf) -> None:
            ap = average_precision(one.curve, counts, to_find[one.area][one.place])
            result[METRIC_NAMES.index(one.metric), one.place] = ap.mean(axis=0)
            if one.area == "all":
                for name, t in _AT_IOU.items():
                    result[METRIC_NAMES.index(name), one.place] = ap[t]

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(fill, self._curves):
                pass
        return result


def _counted(
    rows: np.ndarray,
    columns: np.ndarray,
    shape: tuple[int, int],
    times: np.ndarray | None = None,
) -> sparse.csr_matrix:
    """Returns a float32 matrix that counts its cells."""
    values = np.ones(len(rows), np.float32) if times is None else times.astype(np.float32)
    return sparse.csr_matrix((values, (rows, columns)), shape=shape)


@dataclass(frozen=True)
class Resamples:
    """COCO's numbers of a model on resamples of the pictures.

    Attributes:
        plain: [12, K] the numbers on the pictures as they are; NaN where undefined.
        drawn: [12, K, B] those of the resamples.
        pictures: [12, K] how many pictures have an object that the number is about.
        any_pictures: [12] how many have one of any class.
    """

    plain: np.ndarray
    drawn: np.ndarray
    pictures: np.ndarray
    any_pictures: np.ndarray


def resample_count(matches: Matches, resamples: int, fewest: int = FEWEST_RESAMPLES) -> int:
    """Returns how many resamples are drawn: `resamples`, fewer where they would take long.

    Args:
        matches: those of a model; its curves' lengths decide.
        resamples: how many at most.
        fewest: so many in any case, but no more than `resamples`.
    """
    num_rows = int(((matches.right | matches.ignored) != 0).sum())
    return min(resamples, max(fewest, _MOST_WORK // max(1, num_rows)))


def resampled(
    matches: Matches, category_ids: Sequence[int], resamples: int, seed: int
) -> Resamples:
    """Returns COCO's numbers of a model; of models on the same pictures, on the same resamples.

    Args:
        matches: what the model's detections find.
        category_ids: ids of the classes that count, all in the matches.
        resamples: how many.
        seed: number that seeds the draws.
    """
    resampler = Resampler(matches, category_ids)
    num_pictures = resampler.num_pictures
    threads = min(machine_limits().cores, _MOST_THREADS)
    blocks = drawn_counts(num_pictures, resamples, seed)
    as_they_are = np.ones((num_pictures, 1), np.float32)
    first = np.hstack([as_they_are, *islice(blocks, 1)])
    numbers = np.concatenate(
        [resampler.numbers(counts, threads) for counts in chain([first], blocks)], axis=-1
    )
    pictures, any_pictures = resampler.pictures_with_objects()
    return Resamples(numbers[:, :, 0], numbers[:, :, 1:], pictures, any_pictures)


def drawn_counts(num_pictures: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yields [I, b] float32 counts of pictures, in blocks of resamples that add up to `resamples`.

    The same arguments give the same counts.
    """
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _AT_ONCE):
        size = min(_AT_ONCE, resamples - start)
        drawn = generator.integers(num_pictures, size=(size, num_pictures))
        cells = drawn + num_pictures * np.arange(size)[:, None]
        counts = np.bincount(cells.ravel(), minlength=size * num_pictures)
        yield np.ascontiguousarray(counts.reshape(size, num_pictures).T, np.float32)
