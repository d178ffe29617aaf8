"""CVAT for images 1.1: one XML file for many pictures, read an `image` at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from ground.errors import DatasetError
from model.foreign.form import (
    Folder,
    ForeignObject,
    ForeignPicture,
    Losses,
    Ring,
    count_other,
    ellipse,
    number,
    split_of_word,
    stated_size,
)

_BOX, _ELLIPSE = ("xtl", "ytl", "xbr", "ybr"), ("cx", "cy", "rx", "ry")
_BITMAP = ("left", "top", "width", "height")
_NUMBERS = (*_BOX, *_ELLIPSE, *_BITMAP)


def is_cvat(path: Path) -> bool:
    """Returns whether an XML file begins as CVAT's do."""
    with open(path, "rb") as stream:
        return b"<annotations>" in stream.read(4096)


def read_cvat(folder: Folder, losses: Losses) -> Iterator[ForeignPicture]:
    """Yields the pictures of CVAT's XML files.

    Raises:
        DatasetError: a file is broken, or of a video.
    """
    for name in folder.ending(".xml"):
        if not is_cvat(folder.root / name):
            count_other(folder.root / name, losses)
            continue
        try:
            yield from _pictures(folder, name, losses)
        except DatasetError:
            raise
        except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as error:
            raise DatasetError(f"{folder.root / name}: is no whole XML ({error})") from None


def _pictures(folder: Folder, name: str, losses: Losses) -> Iterator[ForeignPicture]:
    for _, element in ElementTree.iterparse(folder.root / name, events=("end",)):
        if element.tag == "track":
            raise DatasetError(
                f"{folder.root / name}: is CVAT's form for videos, whose frames have no files: "
                "export it as `CVAT for images`, or as COCO, with the pictures"
            )
        if element.tag != "image":
            continue
        picture = folder.picture(element.get("name", ""), name)
        size = None if picture is None else folder.size(picture, losses)
        if picture is None:
            losses["annotations without their picture"] += 1
        elif size is not None:
            objects = [each for child in element if (each := _object(child, losses))]
            size = stated_size(element.get("width"), element.get("height"), size)
            yield ForeignPicture(picture, *size, objects, split_of_word(element.get("subset", "")))
        element.clear()


def _object(shape: Any, losses: Losses) -> ForeignObject | None:
    name = shape.get("label", "")
    numbers = {key: number(shape.get(key)) for key in _NUMBERS}
    if not name:
        return None
    box = tuple(numbers[key] for key in _BOX)
    if shape.tag == "box" and None not in box:
        if number(shape.get("rotation")):
            losses["turns of boxes (the boxes before the turn stay)"] += 1
        return ForeignObject(name, (), box)  # type: ignore[arg-type]
    if shape.tag == "polygon" and (ring := _ring(shape.get("points", ""))):
        return ForeignObject(name, [ring])
    middle = tuple(numbers[key] for key in _ELLIPSE)
    if shape.tag == "ellipse" and None not in middle:
        return ForeignObject(name, [ellipse(*middle)])  # type: ignore[arg-type]
    bitmap = [numbers[key] for key in _BITMAP]
    if shape.tag == "mask" and None not in bitmap:
        losses["bitmaps (their boxes stay)"] += 1
        left, top, width, height = (value or 0.0 for value in bitmap)
        return ForeignObject(name, (), (left, top, left + width, top + height))
    losses[f"shapes of the kind {shape.tag[:20]}"] += 1
    return None


def _ring(text: str) -> Ring | None:
    """Returns the corners of `x,y;x,y;...`."""
    numbers = [number(word) for pair in text.split(";") for word in pair.split(",")]
    if len(numbers) < 6 or len(numbers) % 2 or None in numbers:
        return None
    return numbers  # type: ignore[return-value]
