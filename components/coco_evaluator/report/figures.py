"""Pictures and curves of the report, as data URIs and inline SVG."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from components.coco_evaluator.label_errors import Suspect
from components.coco_evaluator.worst_pictures import JudgedPicture
from configs.metric_names import KINDS
from model.coco.boxes import xywh_to_yxyx
from model.drawing import Colour, Mark, draw
from model.evaluation.metrics import Metrics

# Okabe and Ito's bluish green and vermillion: apart for every kind of colour vision.
RIGHT: Colour = (0, 158, 115)
WRONG: Colour = (213, 94, 0)

_LONG_SIDE_PX = 640
_JPEG_QUALITY = 82
_SUSPECT_SIDE_PX = 520
_SUSPECT_MARGIN_PX = 40
_MOST_LABELS = 25  # with more, labels hide the picture: then only errors have one

_RECALL_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_IOU_TICKS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_PLOT_WIDTH, _PLOT_HEIGHT = 300, 220  # of the area within the axes, in SVG units
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 10, 12, 40


@dataclass(frozen=True)
class Series:
    """One curve: y values over x, both 0-1.

    Attributes:
        label: for the legend.
        css_class: gives colour and dashes.
        points: (x, y).
    """

    label: str
    css_class: str
    points: Sequence[tuple[float, float]]


def plot(series: Sequence[Series], x_label: str, y_label: str, x_ticks: Sequence[float]) -> str:
    """Returns an SVG of curves over a grid; its colours come from the page's style sheet.

    The x axis goes from the first tick to the last, the y axis from 0 to 1.
    """
    low, high = x_ticks[0], x_ticks[-1]

    def place(x: float, y: float) -> str:
        left = _LEFT + (x - low) / (high - low) * _PLOT_WIDTH
        return f"{left:.1f},{_TOP + (1 - y) * _PLOT_HEIGHT:.1f}"

    width, height = _LEFT + _PLOT_WIDTH + _RIGHT, _TOP + _PLOT_HEIGHT + _BOTTOM
    center, middle = _LEFT + _PLOT_WIDTH / 2, _TOP + _PLOT_HEIGHT / 2
    foot = _TOP + _PLOT_HEIGHT + 16
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" class="plot">']
    parts.append(f"<title>{y_label} over {x_label}</title>")
    for y in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        row = _TOP + (1 - y) * _PLOT_HEIGHT + 4
        parts += [
            f'<path class="grid" d="M{place(low, y)} L{place(high, y)}"/>',
            f'<text x="{_LEFT - 6}" y="{row:.1f}" text-anchor="end">{y:.1f}</text>',
        ]
    for x in x_ticks:
        column = _LEFT + (x - low) / (high - low) * _PLOT_WIDTH
        parts += [
            f'<path class="grid" d="M{place(x, 0)} L{place(x, 1)}"/>',
            f'<text x="{column:.1f}" y="{foot}" text-anchor="middle">{x:.1f}</text>',
        ]
    parts += [
        f'<text x="{center}" y="{height - 6}" text-anchor="middle">{x_label}</text>',
        f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">'
        f"{y_label}</text>",
    ]
    for one in series:
        if one.points:
            points = " ".join(place(x, y) for x, y in one.points)
            parts.append(f'<polyline class="{one.css_class}" points="{points}"/>')
    return "".join([*parts, "</svg>"])


def precision_recall_plot(metrics: Metrics, baseline: Metrics | None, kind: str) -> dict[str, Any]:
    """Returns the SVG and legend of precision over recall, the baseline's dashed."""
    series = []
    for who, numbers, dashes in (("", metrics, ""), ("baseline, ", baseline, " dashed")):
        curves = numbers.by_kind[kind].curves if numbers and kind in numbers.by_kind else {}
        for n, (iou, precision) in enumerate(curves.items()):
            points = [(recall / 100, p) for recall, p in enumerate(precision)]
            series.append(Series(f"{who}IoU {iou}", f"curve curve{n}{dashes}", points))
    return {
        "svg": plot(series, "recall", "precision", _RECALL_TICKS),
        "series": series,
    }


def ap_by_iou_plot(metrics: Metrics, baseline: Metrics | None) -> dict[str, Any]:
    """Returns the SVG and legend of AP over the IoU threshold, box and mask."""
    series = []
    for n, kind in enumerate(KINDS):
        for who, numbers, dashes in (("", metrics, ""), (", baseline", baseline, " dashed")):
            by_iou = numbers.by_kind[kind].by_iou if numbers and kind in numbers.by_kind else {}
            points = [(float(iou), ap) for iou, ap in by_iou.items() if ap >= 0]
            if points:
                series.append(Series(f"{kind}{who}", f"curve curve{n}{dashes}", points))
    return {
        "svg": plot(series, "IoU threshold", "AP", _IOU_TICKS),
        "series": series,
    }


def judged_panels(
    judged: JudgedPicture, picture: Image.Image, image: dict[str, Any], names: Mapping[int, str]
) -> tuple[str, str]:
    """Returns data URIs of the picture with its objects, and with its detections.

    Right is solid green; a wrong detection is solid vermillion, a missed object dashed.
    """
    objects = [(a, RIGHT) for a in judged.found] + [(a, WRONG) for a in judged.missed]
    detections = [(d, RIGHT) for d in judged.right] + [(d, WRONG) for d in judged.wrong]
    panels = []
    for things, wrong_is_dashed in ((objects, True), (detections, False)):
        marks = [
            Mark(
                thing["bbox"],
                colour,
                _label(thing, names) if len(things) <= _MOST_LABELS or colour == WRONG else "",
                thing.get("segmentation"),
                is_dashed=wrong_is_dashed and colour == WRONG,
            )
            for thing, colour in things
        ]
        panels.append(jpeg_uri(draw(picture, marks, _LONG_SIDE_PX)))
    return panels[0], panels[1]


def suspect_panel(suspect: Suspect, picture: Image.Image) -> str:
    """Returns a data URI of the picture around a suspected label.

    What is suspected is solid vermillion; the object as it is labelled, if elsewhere, dashed green.
    """
    ymin, xmin, ymax, xmax = xywh_to_yxyx(suspect.bbox)
    margin = max(*suspect.bbox[2:], _SUSPECT_MARGIN_PX)
    left, top = max(0, int(xmin - margin)), max(0, int(ymin - margin))
    right = max(left + 1, min(picture.width, int(xmax + margin)))
    bottom = max(top + 1, min(picture.height, int(ymax + margin)))
    marks = [Mark([xmin - left, ymin - top, *suspect.bbox[2:]], WRONG)]
    labelled = suspect.annotation
    if labelled is not None and list(labelled["bbox"]) != list(suspect.bbox):
        box = labelled["bbox"]
        marks.insert(0, Mark([box[0] - left, box[1] - top, *box[2:]], RIGHT, is_dashed=True))
    return jpeg_uri(draw(picture.crop((left, top, right, bottom)), marks, _SUSPECT_SIDE_PX))


def _label(thing: dict[str, Any], names: Mapping[int, str]) -> str:
    name = names[thing["category_id"]]
    return f"{name} {thing['score']:.2f}" if "score" in thing else name


def jpeg_uri(picture: Image.Image) -> str:
    """Returns a picture as a data URI."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
