"""Puts the numbers, the verdict and the pictures into one HTML page."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.coco_evaluator.frames import picture_of_annotations
from components.coco_evaluator.gate import Decision
from components.coco_evaluator.report import figures
from components.coco_evaluator.report.changes import ChangedNumber
from components.coco_evaluator.worst_pictures import JudgedPicture, OperatingPoint
from configs.metric_names import METRIC_NAMES
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.metrics import Metrics
from model.pictures import Picture

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_MEANINGS = {
    "AP": "mean over IoU 0.50 to 0.95, the main number",
    "AP50": "at IoU 0.50",
    "AP75": "at IoU 0.75",
    "APs": "small objects, below 32 × 32 pixels",
    "APm": "medium objects",
    "APl": "large objects, above 96 × 96 pixels",
    "AR1": "recall with 1 detection a picture",
    "AR10": "recall with 10",
    "AR100": "recall with 100",
    "ARs": "recall of small objects",
    "ARm": "recall of medium objects",
    "ARl": "recall of large objects",
}
_SEEN_CHANGE = 0.0005  # what shows in three decimals


@dataclass(frozen=True)
class ReportContent:
    """What a report shows.

    Attributes:
        title: title of the page: the model.
        source: what it was evaluated on.
        created: when.
        metrics: the candidate's.
        compared: the candidate's that stand against the baseline's: over the classes of both.
        baseline: the pushed model's over the same classes, or None.
        decision: the verdict.
        point: the score threshold that pictures are judged at.
        worst: the worst pictures.
        pictures: their files by image id; those without one are left out.
        ground_truth: for names and sizes.
        facts: (name, value) lines at the end.
        compared_classes: how many both models know; None where they are all.
        remarks: lines on flaws of the ground truth and of the detections.
        changes: against the pushed model, by size and by class, the most harm first.
        spread: lines on how far chance alone moves the numbers.
    """

    title: str
    source: str
    created: str
    metrics: Metrics
    compared: Metrics
    baseline: Metrics | None
    decision: Decision
    point: OperatingPoint
    worst: Sequence[JudgedPicture]
    pictures: Mapping[int, Picture]
    ground_truth: GroundTruth
    facts: Sequence[tuple[str, str]]
    compared_classes: int | None = None
    remarks: Sequence[str] = ()
    changes: Sequence[ChangedNumber] = ()
    spread: Sequence[str] = ()


def render(content: ReportContent) -> str:
    """Returns the page: no file or address but itself is needed to see it."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"number": _number, "signed": _signed, "tone": _tone}
    kinds = list(content.metrics.by_kind)
    plots = [
        figures.precision_recall_plot(content.metrics, content.baseline, kind)
        | {"title": f"Precision over recall, {kind}"}
        for kind in kinds
    ]
    by_iou = figures.ap_by_iou_plot(content.metrics, content.baseline)
    plots.append(by_iou | {"title": "AP over the IoU threshold"})
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        title=content.title,
        source=content.source,
        created=content.created,
        metrics=content.metrics,
        baseline=content.baseline,
        compared_classes=content.compared_classes,
        decision=content.decision,
        headline=_headline(content, kinds),
        kinds=kinds,
        numbers=_number_rows(content, kinds),
        plots=[plot | {"svg": Markup(plot["svg"])} for plot in plots],
        categories=_category_rows(content),
        point=content.point,
        worst=list(_worst_rows(content)),
        why_no_pictures=(
            "No pictures were at hand." if content.worst else "No picture has an error."
        ),
        facts=content.facts,
        remarks=content.remarks,
        changes=content.changes,
        spread=content.spread,
    )


def _headline(content: ReportContent, kinds: Iterable[str]) -> str:
    return ", ".join(
        f"{kind} AP {content.metrics.numbers(kind)['AP']:.3f}"
        for kind in kinds
        if content.metrics.numbers(kind)["AP"] >= 0
    )


def _number_rows(content: ReportContent, kinds: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for name in METRIC_NAMES:
        cells = []
        for kind in kinds:
            new = content.compared.numbers(kind).get(name)
            old = content.baseline.numbers(kind).get(name) if content.baseline else None
            value = content.metrics.numbers(kind)[name]
            cells.append({"value": value, "baseline": old, "change": _change(new, old)})
        rows.append({"name": name, "cells": cells, "meaning": _MEANINGS[name]})
    return rows


def _category_rows(content: ReportContent) -> list[dict[str, Any]]:
    """Returns the classes that have objects or detections, most objects first."""
    masks = content.metrics.classes("mask")
    old = content.baseline.classes("box") if content.baseline else {}
    rows = [
        one.to_dict()
        | {
            "mask_AP": masks[number].numbers["AP"] if number in masks else None,
            "change": _change(
                one.numbers["AP"], old[number].numbers["AP"] if number in old else None
            ),
        }
        for number, one in content.metrics.classes("box").items()
        if one.objects or one.detections
    ]
    return sorted(rows, key=lambda row: -row["objects"])


def _worst_rows(content: ReportContent) -> Iterable[dict[str, Any]]:
    images = {image["id"]: image for image in content.ground_truth.images}
    names = {c["id"]: c["name"] for c in content.ground_truth.categories}
    for judged in content.worst:
        if judged.image_id not in content.pictures:
            continue
        image = images[judged.image_id]
        picture = picture_of_annotations(image, content.pictures[judged.image_id])
        objects_uri, detections_uri = figures.judged_panels(judged, picture, image, names)
        yield {
            "image_id": judged.image_id,
            "file_name": image["file_name"],
            "objects_uri": objects_uri,
            "detections_uri": detections_uri,
            "found": len(judged.found),
            "missed": len(judged.missed),
            "wrong": len(judged.wrong),
        }


def _change(value: float | None, old: float | None) -> float | None:
    """Returns the difference of two defined numbers."""
    if value is None or old is None or value < 0 or old < 0:
        return None
    return value - old


def _number(value: float | None, decimals: int) -> str:
    if value is None or not math.isfinite(value) or value < 0:
        return "–"
    return f"{value:.{decimals}f}"


def _signed(change: float | None) -> str:
    if change is None:
        return ""
    return f"{change:+.3f}".replace("-", "−")


def _tone(change: float | None) -> str:
    if change is None or abs(change) < _SEEN_CHANGE:
        return "soft"
    return "good" if change > 0 else "bad"
