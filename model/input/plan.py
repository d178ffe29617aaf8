"""The plan: which records make which step's batch on which worker, and at what size.

A pure function of its arguments, in NumPy. Every record is in exactly one batch of an epoch. All
workers use the same bucket in a step, so that their shapes agree; the last batch of a bucket is
filled up with -1. The pictures of a step depend on the global batch alone: 1x4, 2x2 and 4x1 see
the same ones. Nothing is remembered, so a run that is taken up again at step s goes on exactly
where it was.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from configs.schema import InputConfig
from ground.errors import DatasetError
from model.input.buckets import assign_buckets
from model.input.hashing import Purpose, hashes, uniforms
from model.input.sizes import resized_sides

FILLER = -1  # record index of a place that no picture is left for

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Augmentation:
    """What is random about a picture, and the size that it is resized to.

    Attributes:
        short_side_px: short side of the resized picture, before jitter.
        long_side_px: largest long side of the resized picture, before jitter.
        scale_jitter: range of the factor on both; log-uniform, but uniform with `crop_px`.
        flip_probability: chance of a horizontal flip.
        short_side_choices_px: one of these takes the place of `short_side_px`, each as likely.
        crop_px: a side that is longer after resizing is cropped to this, at any place alike; None
            leaves all as it is.
        crop_min_share: a window at any place, its sides this share of the picture's to all of
            them, is enlarged to the size of the whole.
    """

    short_side_px: int
    long_side_px: int
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    flip_probability: float = 0.0
    short_side_choices_px: tuple[int, ...] = ()
    crop_px: int | None = None
    crop_min_share: float = 1.0

    @classmethod
    def from_config(cls, config: InputConfig) -> "Augmentation":
        """Returns what the `input` section asks for.

        Reference: 2012.07177, section 3 and appendix, for large-scale jitter; its uniform factor
            and the place of the crop are as in Detectron2's `ResizeScale` and `FixedSizeCrop`.
        """
        jitter = config.large_scale_jitter
        if jitter is not None:
            side = jitter.side_px
            return cls(side, side, jitter.range, config.flip_probability, crop_px=side)
        return cls(
            config.short_side_px,
            config.long_side_px,
            config.scale_jitter,
            config.flip_probability,
            config.short_side_choices_px,
            crop_min_share=config.crop_min_share,
        )

    @property
    def draws_sizes(self) -> bool:
        """Whether a picture's bucket may differ from epoch to epoch."""
        is_jittered = self.scale_jitter[0] < self.scale_jitter[1]
        return is_jittered or len(set(self.short_side_choices_px)) > 1


@dataclass(frozen=True)
class _Epoch:
    """One epoch: everything per step or per record."""

    records: Ints  # [steps, global batch], FILLER where none is left
    buckets: Ints  # [steps]
    heights: Ints  # [records], resized
    widths: Ints  # [records]
    flips: npt.NDArray[np.bool_]  # [records]
    crops: Ints  # [records, 4]: top, left, height, width in the resized picture


class Plan:
    """The order, batches, sizes, crops and flips of every epoch.

    Args:
        heights: int [R], of the pictures as stored.
        widths: int [R].
        buckets: `(height, width)` shapes; each picture goes to the smallest that holds it.
        pictures_per_step: pictures of a worker in a step.
        workers: number of workers.
        seed: seed of all that is random.
        augmentation: sizes, jitter, crop and flip.
        image_ids: int [R], what a picture's random numbers hang on; its index where not given.

    Raises:
        DatasetError: there is no picture, or one that fits no bucket.
    """

    def __init__(
        self,
        heights: npt.ArrayLike,
        widths: npt.ArrayLike,
        buckets: Sequence[tuple[int, int]],
        pictures_per_step: int,
        workers: int,
        seed: int,
        *,
        augmentation: Augmentation,
        image_ids: npt.ArrayLike | None = None,
    ) -> None:
        self._heights = np.asarray(heights, np.int64)
        self._widths = np.asarray(widths, np.int64)
        self._augmentation = augmentation
        self._image_ids = (
            np.arange(len(self._heights)) if image_ids is None else np.asarray(image_ids, np.int64)
        )
        self._seed = seed
        self._workers = workers
        self.pictures_per_step = pictures_per_step
        self._global_batch = workers * pictures_per_step
        self.buckets = [(int(height), int(width)) for height, width in buckets]
        if len(self._heights) == 0:
            raise DatasetError("no pictures to train on: the split is empty")
        self._check_that_all_fit()
        self.steps_per_epoch = self._count_steps()
        self._epoch = functools.lru_cache(maxsize=2)(self._plan_epoch)

    def batch(self, epoch: int, step_in_epoch: int, worker: int) -> tuple[int, Ints]:
        """Returns the bucket and the record indices int64 [B] of one worker's batch.

        The bucket of a step is the same for all workers.

        Args:
            epoch: from 0.
            step_in_epoch: 0 ... `steps_per_epoch` - 1.
            worker: 0 ... workers - 1.

        Raises:
            IndexError: the step or the worker is out of range.
        """
        if not (0 <= step_in_epoch < self.steps_per_epoch and 0 <= worker < self._workers):
            raise IndexError(
                f"step {step_in_epoch} of {self.steps_per_epoch}, worker {worker} of "
                f"{self._workers}"
            )
        plan = self._epoch(epoch)
        # Every n-th record: whatever N in NxM is, the workers together take the same global batch.
        return int(plan.buckets[step_in_epoch]), plan.records[
            step_in_epoch, worker :: self._workers
        ]

    def sizes(self, epoch: int, records: npt.ArrayLike) -> tuple[Ints, Ints]:
        """Returns the int64 heights and widths that records are resized to in an epoch."""
        plan, records = self._epoch(epoch), np.asarray(records)
        return plan.heights[records], plan.widths[records]

    def flips(self, epoch: int, records: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Returns bool [n], whether each record is flipped from left to right in an epoch."""
        return self._epoch(epoch).flips[np.asarray(records)]

    def crops(self, epoch: int, records: npt.ArrayLike) -> Ints:
        """Returns int64 [n, 4]: top, left, height, width of what is kept of each resized record."""
        return self._epoch(epoch).crops[np.asarray(records)]

    def padding_share(self, epoch: int) -> float:
        """Returns the share of an epoch's input pixels that belong to no picture, fillers too."""
        plan = self._epoch(epoch)
        content = int(plan.crops[:, 2:].prod(axis=1).sum())
        areas = np.asarray([height * width for height, width in self.buckets])
        return 1 - content / float(areas[plan.buckets].sum() * self._global_batch)

    def _check_that_all_fit(self) -> None:
        """Raises DatasetError if a picture, as large as it may be drawn, fits no bucket."""
        augmentation = self._augmentation
        short = max(augmentation.short_side_choices_px, default=augmentation.short_side_px)
        rows, columns = self._content(*self._resized(augmentation.scale_jitter[1], short))
        misfits = np.flatnonzero(assign_buckets(rows, columns, self.buckets) < 0)
        if len(misfits):
            first = misfits[0]
            raise DatasetError(
                f"{len(misfits)} pictures fit none of the buckets {self.buckets}, the first is "
                f"image {self._image_ids[first]}, {rows[first]} x {columns[first]} px resized: run "
                "CocoTransform again with the config that you train with"
            )

    def _resized(self, factors: npt.ArrayLike, short_sides: npt.ArrayLike) -> tuple[Ints, Ints]:
        short = np.multiply(short_sides, factors)
        long = np.multiply(self._augmentation.long_side_px, factors)
        return resized_sides(self._heights, self._widths, short, long)

    def _content(self, heights: Ints, widths: Ints) -> tuple[Ints, Ints]:
        """Returns the sides that enter the model, of resized pictures."""
        limit = self._augmentation.crop_px
        if limit is None:
            return heights, widths
        return np.minimum(heights, limit), np.minimum(widths, limit)

    def _count_steps(self) -> int:
        """Returns the steps of every epoch.

        With jitter the last, partial batches differ from epoch to epoch. The count is then the
        largest possible: k buckets of n pictures need at most (n + k (G - 1)) // G batches of G.
        """
        augmentation = self._augmentation
        if augmentation.draws_sizes:
            n, k, size = len(self._heights), len(self.buckets), self._global_batch
            return min(n, (n + k * (size - 1)) // size)
        short = max(augmentation.short_side_choices_px, default=augmentation.short_side_px)
        content = self._content(*self._resized(augmentation.scale_jitter[0], short))
        assigned = assign_buckets(*content, self.buckets)
        counts = np.bincount(assigned, minlength=len(self.buckets))
        return int((-(-counts // self._global_batch)).sum())

    def _plan_epoch(self, epoch: int) -> _Epoch:
        """Returns sizes, flips and crops of all records, and the records of each step in order."""
        sizes = self._drawn_sizes(epoch)
        heights, widths = self._enlarged(epoch, *sizes)
        crops = self._drawn_crops(epoch, (heights, widths), self._content(*sizes))
        flips = self._chance(epoch, Purpose.FLIP) < self._augmentation.flip_probability
        assigned = assign_buckets(crops[:, 2], crops[:, 3], self.buckets)
        order = np.argsort(
            hashes(self._seed, epoch, Purpose.RECORD_ORDER, self._image_ids), kind="stable"
        )
        # Shuffled first and then sorted into buckets, so that a bucket's order is random as well.
        batches, buckets = [], []
        for bucket in range(len(self.buckets)):
            made = _batches(order[assigned[order] == bucket], self._global_batch)
            batches.append(made)
            buckets.append(np.full(len(made), bucket, np.int64))
        records, step_buckets = _split_to(
            np.concatenate(batches), np.concatenate(buckets), self.steps_per_epoch
        )
        # The buckets' batches are made one bucket after another; without a second shuffle an epoch
        # would begin with all upright pictures and end with all lying ones.
        steps = np.arange(self.steps_per_epoch)
        step_order = np.argsort(hashes(self._seed, epoch, Purpose.STEP_ORDER, steps), kind="stable")
        return _Epoch(records[step_order], step_buckets[step_order], heights, widths, flips, crops)

    def _chance(self, epoch: int, purpose: int) -> npt.NDArray[np.float64]:
        """Returns a number in [0, 1) for each record."""
        return uniforms(self._seed, epoch, purpose, self._image_ids)

    def _drawn_sizes(self, epoch: int) -> tuple[Ints, Ints]:
        """Returns the resized heights and widths of all records."""
        augmentation = self._augmentation
        low, high = augmentation.scale_jitter
        chance = self._chance(epoch, Purpose.SCALE)
        factors = low * (high / low) ** chance
        if augmentation.crop_px is not None:
            factors = low + (high - low) * chance
        choices = np.asarray(augmentation.short_side_choices_px or [augmentation.short_side_px])
        drawn = (self._chance(epoch, Purpose.SHORT_SIDE) * len(choices)).astype(np.int64)
        return self._resized(factors, choices[drawn])

    def _enlarged(self, epoch: int, heights: Ints, widths: Ints) -> tuple[Ints, Ints]:
        """Returns the sides of all records of which a window of these sides is kept."""
        low = self._augmentation.crop_min_share
        shares = low + (1 - low) * self._chance(epoch, Purpose.CROP_SHARE)
        # The window has the picture's own aspect, so that its bucket is that of the whole.
        return (heights / shares).astype(np.int64), (widths / shares).astype(np.int64)

    def _drawn_crops(self, epoch: int, sides: tuple[Ints, Ints], kept: tuple[Ints, Ints]) -> Ints:
        """Returns int64 [records, 4]: top, left, height, width of what is kept."""
        tops = self._chance(epoch, Purpose.TOP) * (sides[0] - kept[0] + 1)
        lefts = self._chance(epoch, Purpose.LEFT) * (sides[1] - kept[1] + 1)
        corners = np.stack([tops, lefts], axis=1).astype(np.int64)
        return np.concatenate([corners, np.stack(kept, axis=1)], axis=1)


def _batches(records: Ints, size: int) -> Ints:
    """Returns int64 [b, size]: `records` in order, the last batch filled up."""
    filled = np.full(-(-len(records) // size) * size, FILLER, np.int64)
    filled[: len(records)] = records
    return filled.reshape(-1, size)


def _split_to(records: Ints, buckets: Ints, steps: int) -> tuple[Ints, Ints]:
    """Returns exactly `steps` batches: the fullest ones are split in two until there are enough."""
    # An epoch must have as many steps as the others: the step alone says what a batch holds, and
    # the schedule counts in epochs. Splitting, not repeating, keeps each picture once an epoch.
    batches, batch_buckets = list(records), list(buckets)
    while len(batches) < steps:
        fullest = int(np.argmax([np.count_nonzero(batch != FILLER) for batch in batches]))
        whole = batches[fullest]
        half = np.count_nonzero(whole != FILLER) // 2
        rest = whole.copy()
        rest[:half] = FILLER
        first = whole.copy()
        first[half:] = FILLER
        # The pictures of a batch come first, so that workers share them evenly.
        batches[fullest] = np.roll(rest, -half)
        batches.append(first)
        batch_buckets.append(batch_buckets[fullest])
    return np.asarray(batches), np.asarray(batch_buckets)
