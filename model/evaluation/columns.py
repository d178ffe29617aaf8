"""Annotations or detections by columns, which arrays are made of at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, overload

import numpy as np

_AT_ONCE = 4096  # entries that are made while iterating


@dataclass(frozen=True, eq=False)
class Columns(Sequence[dict[str, Any]]):
    """Annotations or detections in columns, in their order.

    A sequence of COCO's own form of each as well, which is made when it is asked for: of half a
    million detections the columns take a tenth of the memory.

    Attributes:
        ids: [n] int64.
        image_id: [n] int64.
        category_id: [n] int64.
        score: [n] float64; 0 of objects.
        area: [n] float64.
        is_crowd: [n] bool.
        boxes: [n, 4] float64 x, y, width, height.
        masks: `segmentation` of each, None of one without; None where none has any.
    """

    ids: np.ndarray
    image_id: np.ndarray
    category_id: np.ndarray
    score: np.ndarray
    area: np.ndarray
    is_crowd: np.ndarray
    boxes: np.ndarray
    masks: Sequence[Any] | None = None

    @classmethod
    def of(cls, entries: Sequence[Mapping[str, Any]]) -> "Columns":
        """Returns the columns of annotations, or of detections that have an `area`."""
        count = len(entries)
        numbers = chain.from_iterable(map(itemgetter("bbox"), entries))
        masks = [entry.get("segmentation") for entry in entries]
        return cls(
            np.fromiter(map(itemgetter("id"), entries), np.int64, count),
            np.fromiter(map(itemgetter("image_id"), entries), np.int64, count),
            np.fromiter(map(itemgetter("category_id"), entries), np.int64, count),
            np.fromiter((entry.get("score", 0.0) for entry in entries), float, count),
            np.fromiter(map(itemgetter("area"), entries), float, count),
            np.fromiter(map(itemgetter("iscrowd"), entries), bool, count),
            np.fromiter(numbers, float, 4 * count).reshape(count, 4),
            masks if any(mask is not None for mask in masks) else None,
        )

    @classmethod
    def joined(cls, parts: Sequence["Columns"]) -> "Columns":
        """Returns one after another."""
        if not parts:
            return cls.of([])
        masks = None
        if any(part.masks is not None for part in parts):
            masks = [mask for part in parts for mask in part.masks or [None] * len(part)]

        def column(name: str) -> np.ndarray:
            return np.concatenate([getattr(part, name) for part in parts])

        return cls(
            column("ids"),
            column("image_id"),
            column("category_id"),
            column("score"),
            column("area"),
            column("is_crowd"),
            column("boxes"),
            masks,
        )

    def taken(self, rows: Sequence[int] | np.ndarray) -> "Columns":
        """Returns some of them."""
        picked = np.asarray(rows, int)
        return Columns(
            self.ids[picked],
            self.image_id[picked],
            self.category_id[picked],
            self.score[picked],
            self.area[picked],
            self.is_crowd[picked],
            self.boxes[picked],
            None if self.masks is None else [self.masks[row] for row in picked.tolist()],
        )

    def with_masks(self) -> "Columns":
        """Returns those that have a mask."""
        masks = self.masks or []
        return self.taken([row for row, mask in enumerate(masks) if mask is not None])

    def masks_of(self, rows: np.ndarray) -> list[Any]:
        """Returns the masks of some of them."""
        masks = self.masks
        return [None] * len(rows) if masks is None else [masks[row] for row in rows.tolist()]

    def __len__(self) -> int:
        """Returns how many there are."""
        return len(self.ids)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """Returns detections in COCO's own form, as pycocotools' `loadRes` makes them."""
        if isinstance(place, slice):
            return self._entries(range(len(self))[place])
        return self._entries([range(len(self))[place]])[0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yields them in COCO's own form."""
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]

    def _entries(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        where = np.asarray(rows, int)
        numbers = (self.ids, self.image_id, self.category_id, self.score, self.is_crowd, self.area)
        columns = [column[where].tolist() for column in (*numbers, self.boxes)]
        entries = [
            {
                "id": number,
                "image_id": image_id,
                "category_id": category_id,
                "score": score,
                "iscrowd": int(is_crowd),
                "bbox": box,
                "area": area,
            }
            for number, image_id, category_id, score, is_crowd, area, box in zip(
                *columns, strict=True
            )
        ]
        if self.masks is not None:
            for entry, row in zip(entries, rows, strict=True):
                if self.masks[row] is not None:
                    entry["segmentation"] = self.masks[row]
        return entries
