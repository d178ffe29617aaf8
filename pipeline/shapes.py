"""Draws a small COCO-format data set: overlapping textured shapes on textured backgrounds.

What makes COCO awkward is in it: objects that hide each other (boxes and masks are of the visible
part, in several polygons where needed), crowd regions as run-length masks, pictures without
objects, category ids with gaps, landscape and portrait pictures of many sizes. The shape alone
tells the class; colour, texture, turn and size do not.

Letters: H, W a picture's height and width in pixels.
"""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from ground.files import write_json
from ground.outputs import output_folder, settle_inputs
from ground.progress import Progress, say_or_log
from model.coco.boxes import yxyx_to_xywh

Bitmap = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.float32]

CATEGORIES = {1: "circle", 2: "square", 4: "triangle", 7: "star"}
MARKER = "shapes.json"

# Counts up when the same parameters give other pictures.
_DRAWING = 1
_SPLITS = (("train2017", 0), ("val2017", 500_000))  # name, and where its image ids start
_NAMES = ("annotations", *(name for name, _ in _SPLITS), MARKER)
_ASPECTS = (4 / 3, 4 / 3, 3 / 2, 1.0, 3 / 4)  # width / height
_SIDE_RANGE = (0.8, 1.0)  # of the longest side asked for
_RADIUS_RANGE = (0.09, 0.3)  # of the shorter side
_MAX_OBJECTS = 6
_MIN_VISIBLE = 0.4  # of an object's pixels; one that is hidden more is not drawn
_EMPTY_EVERY = 25
_CROWD_EVERY = 16
_CROWD_MEMBERS = 12
_JPEG_QUALITY = 92


def generate_shapes(
    out_dir: str | os.PathLike[str],
    train: int = 400,
    val: int = 80,
    seed: int = 0,
    size: int = 160,
) -> Path:
    """Draws the data set into `out_dir` unless it is there already, and returns its path.

    The folder appears whole or not at all; the same arguments give the same bytes.

    Args:
        out_dir: gets `annotations/instances_{train,val}2017.json`, `train2017/`, `val2017/`.
        train: number of training pictures.
        val: number of validation pictures; none is also a training picture.
        seed: seed of everything that is drawn.
        size: upper limit of a picture's longer side, in pixels.

    Raises:
        ValueError: a count is below 1, or `size` below 48.
        OutputError: `out_dir` holds something that this function did not make.
    """
    if train < 1 or val < 1 or size < 48:
        raise ValueError(f"expected train, val >= 1 and size >= 48, got {train}, {val}, {size}")
    out_dir = Path(out_dir)
    parameters = {"drawing": _DRAWING, "train": train, "val": val, "seed": seed, "size": size}
    settle_inputs([out_dir])
    if _parameters_of(out_dir) == parameters:
        return out_dir
    with output_folder(out_dir, "pipeline.shapes", _NAMES, []) as new:
        for (split, first_id), count in zip(_SPLITS, (train, val), strict=True):
            _write_split(new, split, first_id, count, seed, size)
        write_json(new / MARKER, parameters)
    return out_dir


def _parameters_of(folder: Path) -> dict[str, int] | None:
    """Returns the parameters that a complete folder was drawn with, None where there is none."""
    try:
        parameters: dict[str, int] = json.loads((folder / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return parameters


def _write_split(folder: Path, split: str, first_id: int, count: int, seed: int, size: int) -> None:
    (folder / split).mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    progress = Progress(f"drawing {split}", count, say_or_log, says_end=False)
    for number in range(1, count + 1):
        progress.reach(number)
        random = np.random.default_rng([seed, first_id, number])
        pixels, objects = _draw_picture(random, number, size)
        file_name = f"{first_id + number:012d}.jpg"
        image = {
            "id": first_id + number,
            "file_name": file_name,
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            "license": 1,
        }
        Image.fromarray(pixels).save(folder / split / file_name, "JPEG", quality=_JPEG_QUALITY)
        images.append(image)
        for category_id, mask, is_crowd in objects:
            annotation = {"id": first_id * 10 + len(annotations) + 1, "image_id": image["id"]}
            annotations.append(annotation | _annotation(category_id, mask, is_crowd))
    (folder / "annotations").mkdir(exist_ok=True)
    write_json(
        folder / "annotations" / f"instances_{split}.json",
        {
            "info": {"description": "Drawn shapes", "version": str(_DRAWING)},
            "licenses": [{"id": 1, "name": "CC0", "url": ""}],
            "images": images,
            "annotations": annotations,
            "categories": [
                {"id": number, "name": name, "supercategory": "shape"}
                for number, name in CATEGORIES.items()
            ],
        },
    )


def _draw_picture(
    random: np.random.Generator, number: int, size: int
) -> tuple[npt.NDArray[np.uint8], list[tuple[int, Bitmap, bool]]]:
    """Returns [H, W, 3] pixels and (category id, visible pixels [H, W], is crowd) an object.

    Every 25th picture has no object, every 16th a crowd.
    """
    height, width = _picture_size(random, size)
    pixels = _background(random, height, width)
    free = np.ones((height, width), bool)
    objects: list[tuple[int, Bitmap, bool]] = []
    if number % _EMPTY_EVERY:
        crowded = number % _CROWD_EVERY == 0
        for category_id, mask, is_crowd in _layout(random, height, width, crowded):
            visible = mask & free
            if visible.sum() < _MIN_VISIBLE * mask.sum():
                continue
            free &= ~mask
            pixels[visible] = _texture(random, height, width)[visible]
            objects.append((category_id, visible, is_crowd))
    noise = random.normal(0.0, 5.0, pixels.shape).astype(np.float32)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8), objects


def _picture_size(random: np.random.Generator, size: int) -> tuple[int, int]:
    aspect = random.choice(_ASPECTS)
    longer = size * random.uniform(*_SIDE_RANGE)
    height = longer / max(1.0, aspect)
    return round(height), round(height * aspect)


def _layout(
    random: np.random.Generator, height: int, width: int, crowded: bool
) -> Iterator[tuple[int, Bitmap, bool]]:
    """Yields (category id, pixels [H, W], is crowd) of objects from front to back."""
    short = min(height, width)
    for _ in range(random.integers(1, _MAX_OBJECTS + 1)):
        category_id = int(random.choice(list(CATEGORIES)))
        low, high = np.log(_RADIUS_RANGE)
        radius = short * math.exp(random.uniform(low, high))
        centre = _centre(random, height, width, 0.6 * radius)
        yield category_id, _shape(random, category_id, centre, radius, height, width), False
    if crowded:
        category_id = int(random.choice(list(CATEGORIES)))
        region = 0.22 * short
        y, x = _centre(random, height, width, region)
        mask = np.zeros((height, width), bool)
        for _ in range(_CROWD_MEMBERS):
            centre = y + random.normal(0, region / 2), x + random.normal(0, region)
            mask |= _shape(random, category_id, centre, 0.06 * short, height, width)
        yield category_id, mask, True


def _centre(
    random: np.random.Generator, height: int, width: int, margin: float
) -> tuple[float, float]:
    return random.uniform(margin, height - margin), random.uniform(margin, width - margin)


def _shape(
    random: np.random.Generator,
    category_id: int,
    centre: tuple[float, float],
    radius: float,
    height: int,
    width: int,
) -> Bitmap:
    """Returns the pixels [H, W] of one shape, turned by up to 30 degrees."""
    turn = random.uniform(-math.pi / 6, math.pi / 6)
    radii: tuple[float, ...]
    if CATEGORIES[category_id] == "circle":
        corners, radii = 48, (1.0,)
    elif CATEGORIES[category_id] == "square":
        corners, radii, turn = 4, (1.0,), turn + math.pi / 4
    elif CATEGORIES[category_id] == "triangle":
        corners, radii = 3, (1.1,)
    else:
        corners, radii = 10, (1.15, 0.45)
    angles = turn - math.pi / 2 + 2 * math.pi * np.arange(corners) / corners
    reach = radius * np.resize(radii, corners)
    outline = np.stack([centre[1] + reach * np.cos(angles), centre[0] + reach * np.sin(angles)], 1)
    picture = Image.new("1", (width, height))
    ImageDraw.Draw(picture).polygon([tuple(point) for point in outline.tolist()], fill=1)
    return np.asarray(picture, bool)


def _background(random: np.random.Generator, height: int, width: int) -> Pixels:
    """Returns [H, W, 3] dull, slowly varying colours."""
    grey = _clouds(random, height, width, cells=4, low=60, high=180)
    tint = random.uniform(-18, 18, 3).astype(np.float32)
    return grey + 0.4 * (_clouds(random, height, width, cells=9, low=-60, high=60)) + tint


def _texture(random: np.random.Generator, height: int, width: int) -> Pixels:
    """Returns [H, W, 3] of one strong colour with soft stripes, for an object to be cut from."""
    colour = random.uniform(0, 70, 3)
    colour[random.permutation(3)[: random.integers(1, 3)]] += 180
    y, x = np.mgrid[:height, :width]
    angle, period = random.uniform(0, math.pi), random.uniform(5, 14)
    wave = np.sin((y * math.cos(angle) + x * math.sin(angle)) * 2 * math.pi / period)
    striped: Pixels = (colour + random.uniform(8, 30) * wave[..., None]).astype(np.float32)
    return striped


def _clouds(
    random: np.random.Generator, height: int, width: int, cells: int, low: float, high: float
) -> Pixels:
    """Returns [H, W, 1] smooth noise from `low` to `high` with about `cells` spots a side."""
    coarse = Image.fromarray(random.uniform(low, high, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BILINEAR))[..., None]


def _annotation(category_id: int, mask: Bitmap, is_crowd: bool) -> dict[str, Any]:
    """Returns COCO's fields for the visible pixels [H, W] of one object."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y, x = int(rows[0]), int(columns[0])
    polygons = None if is_crowd else polygons_of(mask)
    return {
        "category_id": category_id,
        "bbox": list(yxyx_to_xywh((y, x, int(rows[-1]) + 1, int(columns[-1]) + 1))),
        "area": int(mask.sum()),
        "iscrowd": int(is_crowd),
        "segmentation": uncompressed_rle(mask) if polygons is None else polygons,
    }


def uncompressed_rle(mask: Bitmap) -> dict[str, Any]:
    """Returns COCO's `{"size", "counts"}`: lengths of runs down the columns, off first.

    >>> uncompressed_rle(np.array([[False, True], [True, True]]))
    {'size': [2, 2], 'counts': [1, 3]}
    """
    flat = np.concatenate([[False], mask.ravel(order="F")])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], edges, [mask.size]]))
    return {"size": list(mask.shape), "counts": counts.tolist()}


def polygons_of(mask: Bitmap) -> list[list[int]] | None:
    """Returns polygons [x, y, x, y, ...] along the pixel edges, one a part.

    None where polygons cannot say it: the pixels have a hole, or drawing them by COCO's rule does
    not give the same pixels back.

    >>> polygons_of(np.array([[True, True]]))
    [[0, 0, 2, 0, 2, 1, 0, 1]]
    """
    loops = _outlines(mask)
    polygons = [_flat(loop) for loop in loops]
    height, width = mask.shape
    drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))
    return polygons if np.array_equal(drawn, mask) else None


def _outlines(mask: Bitmap) -> list[list[tuple[int, int]]]:
    """Returns the closed outlines as corners (y, x); set pixels lie to the right of the way.

    Where two pixels touch at a corner only, the way turns right, so that they are two parts.
    """
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for neighbour, start, step in (
        (padded[:-2, 1:-1], (0, 0), (0, 1)),  # the edge above runs right
        (padded[1:-1, 2:], (0, 1), (1, 0)),  # at the right it runs down
        (padded[2:, 1:-1], (1, 1), (0, -1)),
        (padded[1:-1, :-2], (1, 0), (-1, 0)),
    ):
        for y, x in (np.argwhere(inside & ~neighbour) + start).tolist():
            following.setdefault((y, x), []).append(step)
    loops = []
    while following:
        loops.append(_walk(following))
    return loops


def _walk(
    following: dict[tuple[int, int], list[tuple[int, int]]],
) -> list[tuple[int, int]]:
    """Takes one closed outline out of `following` (steps by corner) and returns its turns."""
    start = place = next(iter(following))
    step = (0, 0)
    turns = []
    while True:
        steps = following[place]
        right = (step[1], -step[0])
        taken = right if right in steps else steps[0]
        steps.remove(taken)
        if not steps:
            del following[place]
        if taken != step:
            turns.append(place)
        step = taken
        place = (place[0] + step[0], place[1] + step[1])
        if place == start:
            return turns


def _flat(loop: list[tuple[int, int]]) -> list[int]:
    return [coordinate for y, x in loop for coordinate in (x, y)]
