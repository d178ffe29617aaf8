"""Some of what was left out, as the data report shows it: the picture, the boxes, the words."""

import base64
import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image

from components.coco_example_gen.source import SplitSource
from configs.schema import DataConfig
from ground.addresses import Place
from model.coco.boxes import bbox_in_pixels, meant_box, xywh_to_yxyx, yxyx_to_xywh
from model.coco.merge import source_of
from model.coco.names import find_picture
from model.coco.picture_folder import open_pictures
from model.coco.policies import MEND, REASONS, Judge
from model.coco.stream import iterate_images
from model.coco.values import integer_at, meant_integer
from model.drawing import Mark, draw
from model.encoded import exif
from model.encoded.check import Facts, read_facts
from model.encoded.files import path_inside, read_picture_file, shown
from model.encoded.flaw import PictureFlaw
from model.encoded.pixels import opened, rgb
from model.object_store import disk_path

SHOWN_OF_A_REASON = 20
_LONG_SIDE_PX = 320
_JPEG_QUALITY = 75
_MOST_PIXELS = 50_000_000  # a larger picture is not decoded to be shown
_MOST_BOXES = 100
_MOST_LETTERS = 700  # of a record
_LETTERS_OF_A_VALUE = 160
_COLOUR = (213, 94, 0)  # Okabe and Ito's vermillion


class _Line(NamedTuple):
    """A line of the rejects: its picture's entry, where that is known, and its objects."""

    reject: dict[str, Any]
    image: Any
    objects: Sequence[Any]


def refused_of(
    rejects: str | os.PathLike[str], source: SplitSource, data: DataConfig
) -> dict[str, dict[str, Any]]:
    """Returns, by reason, how much was left out, and the first of it to be shown.

    Args:
        rejects: the `rejects.jsonl` of the split.
        source: the split.
        data: how it is read.
    """
    numbers: dict[str, int] = {}
    kept: list[dict[str, Any]] = []
    with open(rejects, encoding="utf-8", errors="surrogatepass") as stream:
        for text in stream:
            reject = json.loads(text)
            reason = reject["reason"]
            numbers[reason] = numbers.get(reason, 0) + 1
            if numbers[reason] <= SHOWN_OF_A_REASON:
                kept.append(reject)
    found: dict[str, dict[str, Any]] = {}
    for line in _with_pictures(kept, source):
        reason = line.reject["reason"]
        of_reason = found.setdefault(reason, {"number": numbers[reason], "shown": []})
        of_reason["shown"].append(_shown(line, source, data))
    return found


def _with_pictures(rejects: Sequence[dict[str, Any]], source: SplitSource) -> Iterator[_Line]:
    """Yields rejects, each object with the entry of its picture."""
    wanted = {integer_at(r["annotation"], "image_id") for r in rejects if "annotation" in r}
    images: dict[int, Any] = {}
    if wanted - {None}:
        for image in iterate_images(source.annotations):
            image_id = integer_at(image, "id")
            if image_id is not None and image_id in wanted:
                images.setdefault(image_id, image)
    for reject in rejects:
        if "image" in reject:
            yield _Line(reject, reject["image"], reject["annotations"])
        else:
            image_id = integer_at(reject["annotation"], "image_id")
            image = None if image_id is None else images.get(image_id)
            yield _Line(reject, image, [reject["annotation"]])


def _shown(line: _Line, source: SplitSource, data: DataConfig) -> dict[str, str]:
    reject = line.reject
    entry = reject["image"] if "image" in reject else reject["annotation"]
    name = line.image.get("file_name") if isinstance(line.image, dict) else None
    return {
        "caption": shown(name) if isinstance(name, str) else "its picture is not known",
        "detail": reject["detail"],
        "words": words(entry),
        "uri": _thumbnail(line, source, data) or "",
    }


def words(entry: Any) -> str:
    """Returns an entry of a COCO file as it stands there, without the middle of what is long.

    >>> print(words({"id": 1, "bbox": [1, 2, 3, None]}))
    "id": 1
    "bbox": [1, 2, 3, null]
    """
    if not isinstance(entry, dict):
        return _cut(json.dumps(entry, ensure_ascii=False), _MOST_LETTERS)
    lines = [
        f"{json.dumps(key, ensure_ascii=False)}: "
        f"{_cut(json.dumps(value, ensure_ascii=False), _LETTERS_OF_A_VALUE)}"
        for key, value in entry.items()
    ]
    return _cut("\n".join(lines), _MOST_LETTERS)


def _cut(text: str, most: int) -> str:
    text = text.encode(errors="replace").decode()  # a half of a character is no text
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def _thumbnail(line: _Line, source: SplitSource, data: DataConfig) -> str | None:
    """Returns a picture with its boxes as a data URI; None where it cannot be shown."""
    try:
        facts = _facts(line.image, source, data)
        if facts is None:
            return None
        picture, scale = _small(facts, line.image, data)
    except (PictureFlaw, OSError):
        return None
    marks = [
        Mark([side * scale for side in box], _COLOUR)
        for annotation in line.objects[:_MOST_BOXES]
        if (box := _box(annotation, data, picture.height / scale, picture.width / scale))
    ]
    jpeg = io.BytesIO()
    draw(picture, marks, _LONG_SIDE_PX).save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()


def _facts(image: Any, source: SplitSource, data: DataConfig) -> Facts | None:
    """Returns what the file of an entry is; None where the entry leads to none of the folder's.

    Raises:
        PictureFlaw: it cannot be read.
    """
    name = image.get("file_name") if isinstance(image, dict) else None
    if not isinstance(name, str) or not name.strip():
        return None
    folder = source.pictures
    if source.files:
        image_id = integer_at(image, "id")
        if image_id is None:
            return None
        file = source_of(image_id, source.files)
        folder, name = file.pictures, file.own_name(name)
    try:
        content = _content(folder, name, data.picture_prefix)
    except ValueError:  # a NUL in the name
        return None
    most = min(_MOST_PIXELS, data.max_picture_pixels)
    return read_facts(content, most, "data.max_picture_pixels")


def _content(folder: Place, name: str, prefix: str) -> bytes:
    """Returns the bytes of a picture of the folder.

    Raises:
        PictureFlaw: it cannot be read.
    """
    path = disk_path(folder)
    if path is not None:
        return read_picture_file(path_inside(path, find_picture(path, name, prefix).name))
    with contextlib.closing(open_pictures(folder, prefix)) as pictures:
        return pictures.content(name, Judge(dict.fromkeys(REASONS, "accept")))


def _small(facts: Facts, image: Mapping[str, Any], data: DataConfig) -> tuple[Image.Image, float]:
    """Returns a picture, perhaps smaller, and how much smaller; as its entry has it turned.

    Raises:
        PictureFlaw: it cannot be decoded.
    """
    picture = opened(facts.content)
    picture.draft("RGB", (_LONG_SIDE_PX, _LONG_SIDE_PX))
    small = rgb(picture)
    scale = small.width / facts.width
    stated = meant_integer(image.get("height")), meant_integer(image.get("width"))
    is_unclear = stated == (facts.height, facts.width)
    if stated == facts.upright_size and (
        not is_unclear or data.policies.get("exif_turned") == MEND
    ):
        small = exif.turned(small, facts.orientation)
    return small, scale


def _box(annotation: Any, data: DataConfig, height: float, width: float) -> list[float] | None:
    """Returns the box [x, y, width, height] of an annotation as far as it is near the picture."""
    box = meant_box(annotation.get("bbox")) if isinstance(annotation, dict) else None
    if box is None:
        return None
    form = box.format or data.box_format
    ymin, xmin, ymax, xmax = xywh_to_yxyx(
        bbox_in_pixels(box.numbers, form, round(height), round(width))
    )
    left, right = (min(max(side, -0.1 * width), 1.1 * width) for side in (xmin, xmax))
    top, bottom = (min(max(side, -0.1 * height), 1.1 * height) for side in (ymin, ymax))
    return list(yxyx_to_xywh((top, left, bottom, right)))
