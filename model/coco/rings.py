"""Polygons of a COCO `segmentation`, in every form that is plainly meant, and their checks."""

import math
from collections.abc import Iterator
from typing import Any

from model.coco.values import meant_number, shortened

# COCO's polygons never leave the picture far; the farther, the more memory their drawing takes.
_REACH = 10
_FEWEST_CORNERS = 3
_NUMBERS = {int, float}
_NUMBERS_AND_TEXT = {int, float, str}


class Ring:
    """One polygon.

    Attributes:
        value: the segmentation as the file has it.
        numbers: x, y of each corner in turn; meaningless where `problem` finds one.
        has_text: whether numbers were written as text.
    """

    def __init__(self, value: Any):
        self.value = value
        self.numbers: list[float] = []
        self.has_text = False
        self._is_list_of_numbers = False
        if not isinstance(value, list):
            return
        kinds = set(map(type, value))
        if kinds <= _NUMBERS:
            self.numbers, self._is_list_of_numbers = value, True
        elif kinds <= _NUMBERS_AND_TEXT:
            meant = [meant_number(number) for number in value]
            if None not in meant:
                self.numbers, self._is_list_of_numbers = meant, True  # type: ignore[assignment]
                self.has_text = True

    def problem(self, height: int, width: int) -> str:
        """Returns what is wrong with it as a polygon in a picture; empty where nothing is."""
        numbers = self.numbers
        if not self._is_list_of_numbers:
            return f"expected a list of numbers as polygon, got {shortened(self.value)}"
        # pycocotools would take four numbers for a box.
        if len(numbers) < 2 * _FEWEST_CORNERS or len(numbers) % 2:
            return f"a polygon of {len(numbers)} numbers; expected x, y of 3 corners or more"
        reach = _REACH * max(height, width)
        lowest, highest = min(numbers), max(numbers)
        is_near = -reach <= lowest and highest <= reach
        if not (is_near and math.isfinite(sum(numbers))):  # NaN is neither smallest nor largest
            return f"a polygon far outside the picture: {shortened(numbers)}"
        return ""

    @property
    def longest_outline_px(self) -> float:
        """What its outline cannot exceed; quick. Each step is at most as long as it is large."""
        return len(self.numbers) / 2 * (max(self.numbers) - min(self.numbers))

    @property
    def outline_px(self) -> float:
        """The steps from corner to corner, each the longer one of those in x and in y."""
        xs, ys = self.numbers[0::2], self.numbers[1::2]
        steps = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
        return sum(max(abs(x1 - x0), abs(y1 - y0)) for x0, y0, x1, y1 in steps)


def read_rings(segmentation: list[Any]) -> tuple[list[Ring], str]:
    """Returns the polygons of a `segmentation`, and what is odd about its form (or nothing).

    >>> rings, odd = read_rings([[[1, 2], [3, 4], [5, 6]]])
    >>> [ring.numbers for ring in rings], odd
    ([[1, 2, 3, 4, 5, 6]], 'corners as pairs')
    """
    if _is_flat(segmentation):
        return [Ring(segmentation)], "a polygon without the list around it"
    if all(_is_flat(value) for value in segmentation) and not _is_pairs(segmentation):
        return [Ring(value) for value in segmentation], ""
    odd: list[str] = []
    rings = [Ring(value) for value in _unwrapped(segmentation, odd, 0)]
    return rings, odd[0] if odd else ""


def _unwrapped(value: Any, odd: list[str], level: int) -> Iterator[Any]:
    """Yields the polygons in `value`; notes in `odd` what is unusual."""
    if _is_pairs(value):
        odd.append("corners as pairs")
        yield [number for pair in value for number in pair]
    elif _is_named_corners(value):
        odd.append("corners as x and y")
        yield [number for corner in value for number in (corner["x"], corner["y"])]
    elif isinstance(value, list) and any(isinstance(inner, list | dict) for inner in value):
        if level == 1:
            odd.append("a list around it too many")
        for inner in value:
            yield from _unwrapped(inner, odd, level + 1)
    else:
        yield value


def _is_flat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and set(map(type, value)) <= _NUMBERS_AND_TEXT


def _is_pairs(value: Any) -> bool:
    """Returns whether it is a list of three [x, y] or more: none of them could be a polygon."""
    return (
        isinstance(value, list)
        and len(value) >= _FEWEST_CORNERS
        and all(len(pair) == 2 and _is_flat(pair) for pair in value if isinstance(pair, list))
        and all(isinstance(pair, list) for pair in value)
    )


def _is_named_corners(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= _FEWEST_CORNERS
        and all(type(corner) is dict and {"x", "y"} <= corner.keys() for corner in value)
    )
