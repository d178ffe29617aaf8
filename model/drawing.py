"""Boxes, masks and labels drawn on pictures, legible at any picture size."""

import colorsys
import functools
import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from model.coco.boxes import xywh_to_yxyx

Colour = tuple[int, int, int]

_MASK_OPACITY = 0.45
_GOLDEN_RATIO = 0.618033988749895
_MIN_TEXT_PX = 11
LONGEST_JPEG_PX = 65_500  # of libjpeg


@dataclass(frozen=True)
class Mark:
    """One thing to draw.

    Attributes:
        box: [x, y, width, height], pixels of the picture.
        colour: colour of box, mask and label.
        label: text at the box; empty draws none.
        mask: COCO run-length code of the whole picture, or None.
        is_dashed: a dashed outline, for what is not there or not found.
    """

    box: Sequence[float]
    colour: Colour
    label: str = ""
    mask: dict[str, Any] | None = None
    is_dashed: bool = False


def class_colour(label: int) -> Colour:
    """Returns a strong colour for class 1..K; neighbours differ most (golden-ratio hues)."""
    hue = (label * _GOLDEN_RATIO) % 1.0
    # Three rings of brightness keep classes apart whose hues come close again.
    value = (1.0, 0.8, 0.9)[label % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw(
    picture: Image.Image, marks: Iterable[Mark], long_side_px: int | None = None
) -> Image.Image:
    """Returns a copy of an RGB picture with the marks on it, in their order.

    Args:
        picture: the picture whose pixels the marks mean.
        marks: what to draw.
        long_side_px: longer side of the result, so that small pictures get legible labels and
            large ones small files; None keeps the size.
    """
    marks = list(marks)
    drawn = _with_masks(picture, marks)
    scale = 1.0 if long_side_px is None else long_side_px / max(drawn.size)
    if scale != 1.0:
        width, height = (max(1, round(side * scale)) for side in drawn.size)
        drawn = drawn.resize((width, height), Image.Resampling.BICUBIC)
        marks = [replace(mark, box=[value * scale for value in mark.box]) for mark in marks]
    pen = ImageDraw.Draw(drawn)
    short_side = min(drawn.size)
    line = max(1, round(short_side / 250))
    font = _font(max(_MIN_TEXT_PX, round(short_side / 32)))
    for mark in marks:
        _draw_box(pen, mark, line)
    for mark in marks:
        if mark.label:
            _draw_label(pen, mark, font, drawn.size)
    return drawn


@functools.lru_cache(maxsize=8)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """Returns matplotlib's font, which has Latin, Greek and Cyrillic; Pillow's has no umlaut."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None and spec.origin is not None
    fonts = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), size_px)


def _with_masks(picture: Image.Image, marks: list[Mark]) -> Image.Image:
    """Returns a copy of the picture on which the marks' masks are tinted."""
    if not any(mark.mask for mark in marks):
        return picture.copy()
    from pycocotools import mask as coco_mask

    pixels = np.asarray(picture, np.float32).copy()
    for mark in marks:
        if mark.mask:
            inside = coco_mask.decode(mark.mask).astype(bool)
            blended = pixels[inside] * (1 - _MASK_OPACITY)
            pixels[inside] = blended + np.array(mark.colour, np.float32) * _MASK_OPACITY
    return Image.fromarray(pixels.round().astype(np.uint8))


def _draw_box(pen: ImageDraw.ImageDraw, mark: Mark, line: int) -> None:
    """Draws the outline of the mark's box; `line` is its width in pixels."""
    ymin, xmin, ymax, xmax = xywh_to_yxyx(mark.box)
    corners = [(xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax)]
    for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
        if mark.is_dashed:
            _draw_dashes(pen, start, end, mark.colour, line)
        else:
            pen.line([start, end], fill=mark.colour, width=line)


def _draw_dashes(
    pen: ImageDraw.ImageDraw,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: Colour,
    line: int,
) -> None:
    """Draws a dashed line, upright or level, from `start` to `end` (x, y)."""
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    count = max(1, round(length / (6 * line + 2)))
    for n in range(count):
        here, there = n / count, (n + 0.6) / count
        pen.line(
            [
                (start[0] + (end[0] - start[0]) * here, start[1] + (end[1] - start[1]) * here),
                (start[0] + (end[0] - start[0]) * there, start[1] + (end[1] - start[1]) * there),
            ],
            fill=colour,
            width=line,
        )


def _draw_label(
    pen: ImageDraw.ImageDraw, mark: Mark, font: Any, picture_size: tuple[int, int]
) -> None:
    """Draws the label above the box, inside it where there is no room, never off the picture."""
    x, y = mark.box[:2]
    left, top, right, bottom = font.getbbox(mark.label)
    pad = 2
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(max(x, 0), max(picture_size[0] - width, 0))
    y = y - height if y >= height else y
    y = min(max(y, 0), max(picture_size[1] - height, 0))
    pen.rectangle([x, y, x + width, y + height], fill=mark.colour)
    text_colour = "black" if _luminance(mark.colour) > 140 else "white"
    pen.text((x + pad - left, y + pad - top), mark.label, fill=text_colour, font=font)


def _luminance(colour: Colour) -> float:
    """Returns the perceived brightness, 0-255 (ITU-R BT.601)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
