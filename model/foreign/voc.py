"""Pascal VOC: an XML file a picture, as the challenge, labelImg, CVAT and Roboflow write it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from model.foreign.form import (
    Folder,
    ForeignObject,
    ForeignPicture,
    Losses,
    Ring,
    count_other,
    number,
    stated_size,
)

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(folder: Folder, losses: Losses) -> Iterator[ForeignPicture]:
    """Yields the pictures of VOC's XML files; splits are those of ImageSets/Main, or of folders."""
    splits = _image_sets(folder)
    for name in folder.ending(".xml"):
        root = _root(folder.root / name, losses)
        if root is None:
            continue
        picture = folder.own_picture((root.findtext("filename") or "").strip(), name)
        if picture is None:
            losses["annotations without their picture"] += 1
            continue
        size = folder.size(picture, losses)
        if size is None:
            continue
        shift = 1.0 if "VOC" in (root.findtext("source/database") or "") else 0.0
        size = stated_size(root.findtext("size/width"), root.findtext("size/height"), size)
        objects = list(_objects(root, shift, losses))
        yield ForeignPicture(picture, *size, objects, splits.get(Path(picture).stem))


def _root(path: Path, losses: Losses) -> Any:
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError):
        losses["files that are no XML"] += 1
        return None
    if root.tag == "annotation":
        return root
    count_other(path, losses)
    return None


def _objects(root: Any, shift: float, losses: Losses) -> Iterator[ForeignObject]:
    """Yields the objects; the challenge counts pixels from 1, and the last one is within."""
    for element in root.iter("object"):
        name = (element.findtext("name") or "").strip()
        corners = [number(element.findtext(f"bndbox/{corner}")) for corner in _CORNERS]
        if not name or None in corners:
            losses["objects without a name or a box"] += 1
            continue
        if element.findtext("difficult") == "1":
            losses["marks `difficult` (the objects stay)"] += 1
        xmin, ymin, xmax, ymax = corners
        box = (xmin - shift, ymin - shift, xmax, ymax)  # type: ignore[operator]
        yield ForeignObject(name, _polygon(element), box)  # type: ignore[arg-type]


def _polygon(element: Any) -> list[Ring]:
    """Returns the outline that Roboflow writes beside the box: x1, y1, x2, ..."""
    polygon = element.find("polygon")
    ring: Ring = []
    for corner in range(1, 1 + len(polygon if polygon is not None else ()) // 2):
        pair = [number(polygon.findtext(f"{axis}{corner}")) for axis in "xy"]
        if None in pair:
            return []
        ring += pair  # type: ignore[arg-type]
    return [ring] if len(ring) >= 6 else []


def _image_sets(folder: Folder) -> dict[str, str]:
    """Returns the split of each picture's stem, of VOC's own lists."""
    whole, cut = {}, {}
    for file, split in (("test.txt", "test"), ("val.txt", "eval"), ("train.txt", "train")):
        for name in folder.names:
            if name.endswith(f"ImageSets/Main/{file}"):
                text = (folder.root / name).read_text(encoding="utf-8", errors="replace")
                stems = list(filter(None, map(str.strip, text.splitlines())))
                whole.update(dict.fromkeys(stems, split))
                # Lists of a class have -1, 0 or 1 behind the name, which may have blanks itself.
                cut.update({re.sub(r"\s+(-1|0|1)$", "", stem): split for stem in stems})
    return cut | whole
