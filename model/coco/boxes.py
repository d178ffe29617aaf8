"""COCO's boxes in every form that is plainly meant, and the forms that a setting names.

The one place that knows what the four numbers of a box in COCO's order are; a test holds it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

from model.coco.values import meant_number, value_in_text

Numbers = tuple[float, float, float, float]
AnyNumber = TypeVar("AnyNumber")  # or an array of one side of many boxes

# Beyond it a coordinate is no pixel of any picture.
_LARGEST_PX = 1e9
_LONGEST_TEXT = 400
# The keys of a box that is written as an object, and the format of its numbers.
_KEYS = (
    (("x", "y", "width", "height"), "xywh"),
    (("x", "y", "w", "h"), "xywh"),
    (("left", "top", "width", "height"), "xywh"),
    (("xmin", "ymin", "xmax", "ymax"), "xyxy"),
    (("x1", "y1", "x2", "y2"), "xyxy"),
)


class MeantBox(NamedTuple):
    """Four numbers that were read.

    Attributes:
        numbers: the four as they stand.
        format: where the form itself says it; None leaves it to `data.box_format`.
        odd_form: what is unusual in the form; empty where nothing is.
        has_text: whether numbers were written as text.
    """

    numbers: Numbers
    format: str | None = None
    odd_form: str = ""
    has_text: bool = False


def meant_box(value: Any) -> MeantBox | None:
    """Returns the four numbers that a `bbox` plainly means; None where it means none.

    >>> meant_box([1, 2, "3", 4]).numbers
    (1.0, 2.0, 3.0, 4.0)
    >>> meant_box({"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}).format
    'xyxy'
    >>> meant_box("1, 2, 3, 4").numbers
    (1.0, 2.0, 3.0, 4.0)
    >>> meant_box([1, 2, 3]) is None
    True
    """
    if isinstance(value, str) and len(value) <= _LONGEST_TEXT:
        box = meant_box(value_in_text(value))
        return box and box._replace(has_text=True)
    if type(value) is dict:
        for keys, format_ in _KEYS:
            if value.keys() == set(keys):
                box = _four([value[key] for key in keys])
                return box and box._replace(format=format_, odd_form="a box as an object")
        return None
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        box = _four(value[0])
        return box and box._replace(odd_form="a list around it too many")
    return _four(value)


def _four(value: Any) -> MeantBox | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    numbers = [meant_number(number) for number in value]
    if any(number is None or abs(number) > _LARGEST_PX for number in numbers):
        return None
    x, y, width, height = numbers
    has_text = any(isinstance(number, str) for number in value)
    return MeantBox((x, y, width, height), has_text=has_text)  # type: ignore[arg-type]


def bbox_in_pixels(numbers: Numbers, format_: str, height: int, width: int) -> Numbers:
    """Returns `[x, y, width, height]` in pixels of a box in one of the formats of a config.

    >>> bbox_in_pixels((0.25, 0.5, 0.75, 1.0), "xyxy_shares", 10, 20)
    (5.0, 5.0, 10.0, 5.0)

    Args:
        numbers: the four as the file has them.
        format_: one of `data.box_format`: two corners (`xyxy`), one and the sides (`xywh`) or the
            middle and the sides (`cxcywh`), each in pixels or as shares of the picture's sides.
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
    """
    if format_ == "xywh":
        return numbers
    a, b, c, d = numbers
    form, _, unit = format_.partition("_")
    if unit == "shares":
        a, b, c, d = a * width, b * height, c * width, d * height
    if form == "xyxy":
        return a, b, c - a, d - b
    if form == "cxcywh":
        return a - c / 2, b - d / 2, c, d
    return a, b, c, d


def xywh_to_yxyx(box: Iterable[AnyNumber]) -> tuple[AnyNumber, AnyNumber, AnyNumber, AnyNumber]:
    """Returns our `[ymin, xmin, ymax, xmax]` of COCO's `[x, y, width, height]`.

    >>> xywh_to_yxyx((1, 2, 10, 20))
    (2, 1, 22, 11)
    """
    x, y, width, height = box
    return y, x, y + height, x + width  # type: ignore[operator]


def yxyx_to_xywh(box: Iterable[AnyNumber]) -> tuple[AnyNumber, AnyNumber, AnyNumber, AnyNumber]:
    """Returns COCO's `[x, y, width, height]` of our `[ymin, xmin, ymax, xmax]`.

    >>> yxyx_to_xywh((2, 1, 22, 11))
    (1, 2, 10, 20)
    """
    ymin, xmin, ymax, xmax = box
    return xmin, ymin, xmax - xmin, ymax - ymin  # type: ignore[operator]
