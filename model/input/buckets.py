"""Chooses the few padded shapes that pictures are batched in."""

import os

import numpy as np
import numpy.typing as npt

from configs.schema import InputSizes
from ground.console import read_json
from ground.errors import DatasetError
from ground.files import write_json
from model.input.sizes import padded_sides, resized_sides

Bucket = tuple[int, int]  # height, width

BUCKETS_FILE = "buckets.json"


def training_buckets(
    config: InputSizes, heights: npt.ArrayLike, widths: npt.ArrayLike, max_buckets: int
) -> list[Bucket]:
    """Returns the shapes in which training batches pictures of these sizes.

    With large-scale jitter that is its square, else what `choose_buckets` finds.

    Args:
        config: sizes and augmentation.
        heights: int [N], of the pictures as stored.
        widths: int [N].
        max_buckets: at least 1.
    """
    if config.large_scale_jitter is not None:
        return [(config.large_scale_jitter.side_px, config.large_scale_jitter.side_px)]
    short_side_px, long_side_px = config.largest_sides_px
    return choose_buckets(
        heights,
        widths,
        short_side_px=short_side_px,
        long_side_px=long_side_px,
        multiple_px=config.size_multiple_px,
        max_buckets=max_buckets,
    )


def choose_buckets(
    heights: npt.ArrayLike,
    widths: npt.ArrayLike,
    *,
    short_side_px: float,
    long_side_px: float,
    multiple_px: int,
    max_buckets: int,
) -> list[Bucket]:
    """Returns at most `max_buckets` shapes with the least padded area for these pictures.

    Pictures are resized, padded to the multiple and ordered by aspect; the best cut of that order
    into ranges is found by dynamic programming, and a range's bucket is its largest height and
    width. So a bucket may be upright, lying or nearly square, as the data asks.

    Args:
        heights: int [N], of the pictures as stored.
        widths: int [N].
        short_side_px: the parameter of `resized_sides`, at the largest scale jitter.
        long_side_px: largest long side, at the largest scale jitter.
        multiple_px: sides of a bucket are multiples of this.
        max_buckets: at least 1.

    Returns:
        `(height, width)` pairs, by falling height; one of the full size without any picture.
    """
    rows, columns = resized_sides(heights, widths, short_side_px, long_side_px)
    if rows.size == 0:
        short, long = padded_sides([short_side_px, long_side_px], multiple_px)
        return [(int(short), int(long))]
    cells = np.stack([padded_sides(rows, multiple_px), padded_sides(columns, multiple_px)], axis=1)
    shapes, counts = np.unique(cells, axis=0, return_counts=True)
    # Resized pictures lie along one curve from upright to lying, so by aspect the neighbours of a
    # good bucket are a range; all groupings of n shapes would be too many to try.
    order = np.lexsort((shapes[:, 0], shapes[:, 1] / shapes[:, 0]))
    shapes, counts = shapes[order], counts[order]
    merged = {_covering(shapes[start:end]) for start, end in _best_cut(shapes, counts, max_buckets)}
    return sorted(merged, key=lambda bucket: (-bucket[0], bucket[1]))


def assign_buckets(
    heights: npt.ArrayLike, widths: npt.ArrayLike, buckets: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Returns int64 [N]: the smallest bucket that holds each picture, -1 where none does.

    Args:
        heights: int [N], of the resized pictures.
        widths: int [N].
        buckets: int [b, 2]; of equal areas the first wins.
    """
    shapes = np.asarray(buckets, np.int64).reshape(-1, 2)
    heights, widths = np.asarray(heights, np.int64), np.asarray(widths, np.int64)
    assigned = np.full(heights.shape, -1, np.int64)
    smallest_first = np.argsort(shapes[:, 0] * shapes[:, 1], kind="stable")
    for index in smallest_first[::-1]:
        assigned[(heights <= shapes[index, 0]) & (widths <= shapes[index, 1])] = index
    return assigned


def _covering(shapes: npt.NDArray[np.int64]) -> Bucket:
    return int(shapes[:, 0].max()), int(shapes[:, 1].max())


def _best_cut(
    shapes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], max_ranges: int
) -> list[tuple[int, int]]:
    """Returns the ranges (start, end) of `shapes` whose padded area is least.

    `cost[k, e]` is the least area of the first e shapes in at most k ranges.
    """
    n = len(shapes)
    area = np.zeros((n, n + 1), np.int64)  # [start, end): one bucket for that range
    for start in range(n):
        tallest = np.maximum.accumulate(shapes[start:, 0])
        widest = np.maximum.accumulate(shapes[start:, 1])
        area[start, start + 1 :] = tallest * widest * np.cumsum(counts[start:])
    cost = area[0].copy()
    starts = [np.zeros(n + 1, np.int64)]
    for _ in range(1, max_ranges):
        totals = cost[:n, None] + area  # [start, end]
        totals[np.tril_indices(n, 0, n + 1)] = np.iinfo(np.int64).max  # start >= end
        best = totals.argmin(axis=0)
        starts.append(best)
        cost = np.concatenate([[0], totals.min(axis=0)[1:]])
    # `starts[k]` says where the last of k + 1 ranges begins: the ranges are read from the end.
    ranges: list[tuple[int, int]] = []
    end = n
    for best in reversed(starts):
        if end == 0:
            break
        ranges.append((int(best[end]), end))
        end = int(best[end])
    return ranges[::-1]


def write_buckets(examples_dir: str | os.PathLike[str], buckets: list[Bucket]) -> None:
    """Writes `buckets.json` into an examples folder."""
    write_json(os.path.join(examples_dir, BUCKETS_FILE), buckets)


def read_buckets(examples_dir: str | os.PathLike[str]) -> list[Bucket]:
    """Returns the buckets that CocoTransform chose.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    path = os.path.join(examples_dir, BUCKETS_FILE)
    value = read_json(path, DatasetError)
    try:
        return [(int(height), int(width)) for height, width in value]
    except (TypeError, ValueError):
        raise DatasetError(f"{path}: expected a list of [height, width], got {value!r}") from None
