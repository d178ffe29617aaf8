"""COCO's numbers on resamples of the pictures: how far chance alone moves them.

A resample draws as many pictures as there are, with replacement (Efron's bootstrap). It is a count
for each picture, 0, 1, 2, ..., and no detection has to be matched or sorted again: a curve of
precision over recall is the running sums of those counts along the detections by falling score.
Models are compared on the same resamples (paired), for what is hard in one picture is hard for
all.

I pictures, K classes, A = 4 ranges of size, T = 10 IoU thresholds, B resamples, U rows of a curve:
the detections that are right, or neither right nor wrong, at some threshold. The others only lower
the precision of the rows that follow; they are summed up to the next row by one sparse product.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from configs.metric_names import METRIC_NAMES
from model.evaluation.matching import AREAS, IOU_THRESHOLDS, Matches

_T = len(IOU_THRESHOLDS)
_RECALLS = 101  # points at which COCO reads a curve
_AP_METRICS = {"all": "AP", "small": "APs", "medium": "APm", "large": "APl"}
_AT_IOU = {"AP50": 0, "AP75": 5}  # position of the threshold, of objects of any size
_AR_OF_AREA = {"all": "AR100", "small": "ARs", "medium": "ARm", "large": "ARl"}
_AR_OF_LIMIT = {1: "AR1", 10: "AR10"}
_AREA_OF = {name: area for by in (_AP_METRICS, _AR_OF_AREA) for area, name in by.items()}
# What a recall of 0.30 may lack after rounding to float32: the next smaller count is farther away.
_ROUNDING = 2e-5
FEWEST_RESAMPLES = 200
_MOST_WORK = 12_000_000  # rows of curves times resamples: some seconds
_AT_ONCE = 250  # resamples; bounds the memory
_ROWS = 40  # of a curve at once


@dataclass(frozen=True)
class _Curve:
    """The rows of one class and one range of size, by falling score.

    Attributes:
        metric: the mean over thresholds that it gives.
        place: the place of the class.
        image: [U] positions of the pictures.
        right: [U, T] float32, 1 where the detection is right.
        ignored: [U, T] float32 likewise; None where no row is ignored.
        rows: those of the sparse product that are its own.
    """

    metric: str
    place: int
    image: np.ndarray
    right: np.ndarray
    ignored: np.ndarray | None
    rows: slice


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
        self._curves: list[_Curve] = []
        self._objects: dict[str, sparse.csr_matrix] = {}
        self._recalls: dict[str, tuple[sparse.csr_matrix, str]] = {}
        wrong: list[tuple[np.ndarray, np.ndarray]] = []
        num_rows = 0
        of_gt, of_dt = places[matches.gt_category], places[matches.category]
        for a, area in enumerate(AREAS):
            counts = matches.gt_counts[a] & (of_gt >= 0)
            self._objects[area] = self._sums(of_gt[counts], matches.gt_image[counts])
            found = (matches.right[a] != 0) & (of_dt >= 0)
            limits = {_AR_OF_AREA[area]: found}
            if area == "all":
                limits |= {name: found & (matches.rank < n) for n, name in _AR_OF_LIMIT.items()}
            for name, rows in limits.items():
                times = _bits(matches.right[a][rows]).sum(axis=1)
                self._recalls[name] = self._sums(of_dt[rows], matches.image[rows], times), area
            num_rows = self._add_curves(matches, a, area, of_dt, num_rows, wrong)
        columns = [np.concatenate([pair[n] for pair in wrong]) for n in (0, 1)]
        self._wrong = _counted(columns[0], columns[1], (num_rows, self.num_pictures))

    def _sums(
        self, place: np.ndarray, image: np.ndarray, times: np.ndarray | None = None
    ) -> sparse.csr_matrix:
        """Returns [K, I]: how much of each class lies in each picture."""
        return _counted(place, image, (self.num_classes, self.num_pictures), times)

    def _add_curves(
        self,
        matches: Matches,
        a: int,
        area: str,
        of_dt: np.ndarray,
        num_rows: int,
        wrong: list[tuple[np.ndarray, np.ndarray]],
    ) -> int:
        """Adds the curves of a range of size, and its wrong detections by the row they precede."""
        right, ignored = matches.right[a], matches.ignored[a]
        used = np.flatnonzero((of_dt >= 0) & (ignored != (1 << _T) - 1))
        used = used[np.lexsort((used, -matches.score[used], of_dt[used]))]
        is_row = (right[used] != 0) | (ignored[used] != 0)
        rows = used[is_row]
        following = np.cumsum(is_row)  # of a detection that is no row: the row it precedes
        before = np.flatnonzero(~is_row & (following < len(rows)))
        before = before[of_dt[used[before]] == of_dt[rows[following[before]]]]
        wrong.append((num_rows + following[before], matches.image[used[before]]))
        bounds = np.searchsorted(of_dt[rows], np.arange(self.num_classes + 1))
        for place, (start, stop) in enumerate(pairwise(bounds)):
            mine = rows[start:stop]
            is_ignored = _bits(ignored[mine])
            self._curves.append(
                _Curve(
                    metric=_AP_METRICS[area],
                    place=place,
                    image=matches.image[mine],
                    right=_bits(right[mine]),
                    ignored=is_ignored if is_ignored.any() else None,
                    rows=slice(num_rows + start, num_rows + stop),
                )
            )
        return num_rows + len(rows)

    def pictures_with_objects(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns by number how many pictures have objects of a class [12, K], and of any [12]."""
        by_class = {area: np.diff(sums.indptr) for area, sums in self._objects.items()}
        of_any = {area: len(np.unique(sums.indices)) for area, sums in self._objects.items()}
        areas = [_AREA_OF.get(name, "all") for name in METRIC_NAMES]
        return np.stack([by_class[a] for a in areas]), np.array([of_any[a] for a in areas])

    def numbers(self, counts: np.ndarray) -> np.ndarray:
        """Returns [12, K, B] float32 by METRIC_NAMES; NaN where nothing is to be found.

        Args:
            counts: [I, B] float32, how often each picture was drawn.
        """
        result = np.full((len(METRIC_NAMES), self.num_classes, counts.shape[1]), np.nan, np.float32)
        to_find = {area: sums @ counts for area, sums in self._objects.items()}  # [K, B]
        wrong = self._wrong @ counts
        with np.errstate(invalid="ignore", divide="ignore"):
            for name, (sums, area) in self._recalls.items():
                result[METRIC_NAMES.index(name)] = (sums @ counts) / to_find[area] / _T
            for curve in self._curves:
                area = next(area for area, name in _AP_METRICS.items() if name == curve.metric)
                of_class = to_find[area][curve.place]
                ap = _average_precision(curve, counts[curve.image], wrong[curve.rows], of_class)
                ap[:, of_class == 0] = np.nan
                result[METRIC_NAMES.index(curve.metric), curve.place] = ap.mean(axis=0)
                if area == "all":
                    for name, t in _AT_IOU.items():
                        result[METRIC_NAMES.index(name), curve.place] = ap[t]
        return result


def _bits(flags: np.ndarray) -> np.ndarray:
    """Returns [n, T] float32 of [n] uint16."""
    return ((flags[:, None] >> np.arange(_T, dtype=np.uint16)) & 1).astype(np.float32)


def _counted(
    rows: np.ndarray,
    columns: np.ndarray,
    shape: tuple[int, int],
    times: np.ndarray | None = None,
) -> sparse.csr_matrix:
    """Returns a float32 matrix that counts its cells."""
    values = np.ones(len(rows), np.float32) if times is None else times.astype(np.float32)
    return sparse.csr_matrix((values, (rows, columns)), shape=shape)


def _average_precision(
    curve: _Curve, counts: np.ndarray, wrong: np.ndarray, to_find: np.ndarray
) -> np.ndarray:
    """Returns [T, B] the precision at COCO's recalls, its mean.

    Rows are worked through in blocks, for what fits into a processor's cache is many times as fast;
    the last block first, for the precision at a recall is the best at that recall or a higher one.

    Args:
        curve: U rows.
        counts: [U, B] of each row's picture.
        wrong: [U, B] wrong detections before each row and after the one before.
        to_find: [B] objects.
    """
    shape = (_T, len(to_find))
    area, best_later = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    blocks = [slice(start, start + _ROWS) for start in range(0, len(counts), _ROWS)]
    rights, judged = _sums_before(curve, counts, wrong, blocks)
    for n, block in reversed(list(enumerate(blocks))):
        right_before, judged_before = rights[n], judged[n]
        right = curve.right[block, :, None] * counts[block, None, :]
        right[0] += right_before
        _add_up(right)
        precision = _judged(curve, counts, wrong, block, judged_before)
        np.maximum(precision, 1, out=precision)
        np.divide(right, precision, out=precision)
        np.maximum(precision[-1], best_later, out=precision[-1])
        for above, row in zip(precision[-2::-1], precision[:0:-1], strict=True):
            np.maximum(above, row, out=above)
        best_later = precision[0]
        # How many of COCO's recalls 0.01, 0.02, ... are reached.
        for reached in (right, right_before):
            reached *= (_RECALLS - 1) / to_find
            reached += _ROUNDING
            np.floor(reached, out=reached)
        area -= precision[0] * right_before
        area += np.einsum("utb,utb->tb", precision[:-1] - precision[1:], right[:-1])
        area += precision[-1] * right[-1]
    return (area + best_later) / _RECALLS  # Recall 0.00 is reached by the first right one.


def _sums_before(
    curve: _Curve, counts: np.ndarray, wrong: np.ndarray, blocks: Sequence[slice]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what lies before each block of rows: [., T, B] right, and right or wrong."""
    shape = (len(blocks), _T, counts.shape[1])
    rights, judged = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for n, block in enumerate(blocks[:-1]):
        rights[n + 1] = rights[n] + curve.right[block].T @ counts[block]
        judged[n + 1] = judged[n] + (wrong[block] + counts[block]).sum(axis=0)
        if curve.ignored is not None:
            judged[n + 1] -= curve.ignored[block].T @ counts[block]
    return rights, judged


def _judged(
    curve: _Curve, counts: np.ndarray, wrong: np.ndarray, block: slice, before: np.ndarray
) -> np.ndarray:
    """Returns [u, T, B] how many detections are right or wrong up to each row of a block."""
    shape = (len(counts[block]), _T, counts.shape[1])
    step = wrong[block] + counts[block]
    if curve.ignored is None:
        _add_up(step)
        return np.broadcast_to(step[:, None, :], shape) + before
    judged = step[:, None, :] - curve.ignored[block, :, None] * counts[block, None, :]
    judged[0] += before
    _add_up(judged)
    return judged


def _add_up(values: np.ndarray) -> None:
    """Turns values into their running sums along the first axis.

    NumPy's own `cumsum` goes along the rows one number at a time; this takes a row at once.
    """
    for above, row in pairwise(values):
        np.add(above, row, out=row)


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
    drawn = [resampler.numbers(c) for c in drawn_counts(num_pictures, resamples, seed)]
    as_they_are = np.ones((num_pictures, 1), np.float32)
    pictures, any_pictures = resampler.pictures_with_objects()
    return Resamples(
        resampler.numbers(as_they_are)[:, :, 0],
        np.concatenate(drawn, axis=-1),
        pictures,
        any_pictures,
    )


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
