"""Puts the numbers, the verdict and the pictures into one HTML page."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from components.coco_evaluator.analysis import WANTED, Analysis
from components.coco_evaluator.frames import picture_of_annotations
from components.coco_evaluator.gate import Decision
from components.coco_evaluator.label_errors import SUSPICIONS, Suspect
from components.coco_evaluator.report import figures, sections
from components.coco_evaluator.report.changes import ChangedNumber
from components.coco_evaluator.report.costs import cost_lines
from components.coco_evaluator.report.verdict import verdict_lines
from components.coco_evaluator.worst_pictures import JudgedPicture
from configs.metric_names import METRIC_NAMES
from ground.errors import DatasetError
from ground.page import page_templates
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.metrics import Metrics
from model.pictures import Picture

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
_SHOWN_SUSPECTS = 12
_SECTIONS = {
    "findings": "Findings",
    "conditions": "Conditions",
    "changes": "Changes",
    "losses": "Where AP is lost",
    "confusion": "Confusion",
    "numbers": "COCO numbers",
    "classes": "Classes",
    "scores": "Scores to set",
    "worst": "Worst pictures",
    "suspects": "Suspected labels",
    "costs": "Time and size",
    "made": "How this was made",
}


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
        analysis: what is behind the numbers.
        worst: the worst pictures.
        pictures: their files by image id; those without one are left out.
        ground_truth: for names and sizes.
        facts: (name, value) lines at the end.
        compared_classes: how many both models know; None where they are all.
        remarks: lines on flaws of the ground truth and of the detections.
        changes: against the pushed model, by size and by class, the most harm first.
        spread: lines on how far chance alone moves the numbers.
        costs: what of the model's time and size was measured, by the names of its limits.
        settings: (name, text) of settings, shown when asked for.
    """

    title: str
    source: str
    created: str
    metrics: Metrics
    compared: Metrics
    baseline: Metrics | None
    decision: Decision
    analysis: Analysis
    worst: Sequence[JudgedPicture]
    pictures: Mapping[int, Picture]
    ground_truth: GroundTruth
    facts: Sequence[tuple[str, str]]
    compared_classes: int | None = None
    remarks: Sequence[str] = ()
    changes: Sequence[ChangedNumber] = ()
    spread: Sequence[str] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    settings: Sequence[tuple[str, str]] = ()


def render(content: ReportContent) -> str:
    """Returns the page: no file or address but itself is needed to see it."""
    environment = page_templates(Path(__file__).parent)
    environment.filters |= {
        "number": _number,
        "signed": _signed,
        "tone": _tone,
        "floored": _floored,
    }
    kinds = list(content.metrics.by_kind)
    analysis = content.analysis
    values = {
        "title": content.title,
        "source": content.source,
        "created": content.created,
        "metrics": content.metrics,
        "baseline": content.baseline,
        "compared_classes": content.compared_classes,
        "decision": content.decision,
        "verdict": verdict_lines(
            content.metrics, content.compared, content.baseline, content.changes, analysis
        ),
        "spread": content.spread,
        "changes": content.changes,
        "losses": sections.loss_parts(analysis),
        "confusion": sections.confusion_section(analysis),
        "kinds": kinds,
        "numbers": _number_rows(content, kinds),
        "plots": _plots(content, kinds),
        "categories": _category_rows(content),
        "point": analysis.point,
        "wanted": WANTED,
        "scores": sections.score_rows(analysis),
        "score_curves": sections.score_curves(analysis),
        "calibration_plot": _marked(sections.calibration_plot(analysis.calibration)),
        "worst": list(_worst_rows(content)),
        "why_no_pictures": (
            "No pictures were at hand." if content.worst else "No picture has an error."
        ),
        "suspects": _suspects_section(content),
        "costs": cost_lines(content.costs),
        "remarks": content.remarks,
        "facts": content.facts,
        "settings": content.settings,
    }
    shown = {
        "findings": content.decision.findings,
        "conditions": content.decision.comparisons,
        "classes": values["categories"],
        "suspects": analysis.suspects,
    }
    values["sections"] = [
        (anchor, name)
        for anchor, name in _SECTIONS.items()
        if shown.get(anchor, values.get(anchor, True))
    ]
    return environment.get_template("report.html.j2").render(values)


def _plots(content: ReportContent, kinds: Iterable[str]) -> list[dict[str, Any]]:
    plots = [
        figures.precision_recall_plot(content.metrics, content.baseline, kind)
        | {"title": f"Precision over recall, {kind}"}
        for kind in kinds
    ]
    by_iou = figures.ap_by_iou_plot(content.metrics, content.baseline)
    plots.append(by_iou | {"title": "AP over the IoU threshold"})
    return [_marked(plot) or {} for plot in plots]


def _marked(plot: dict[str, Any] | None) -> dict[str, Any] | None:
    """Returns a plot whose SVG, which is our own, is put into the page as it is."""
    from markupsafe import Markup

    return plot and plot | {"svg": Markup(plot["svg"])}


def _suspects_section(content: ReportContent) -> dict[str, Any]:
    analysis = content.analysis
    return {
        "count": analysis.num_suspects,
        "in_file": len(analysis.suspects),
        "lines": sections.suspect_lines(analysis, SUSPICIONS),
        "shown": list(_suspect_rows(content)),
    }


def _suspect_rows(content: ReportContent) -> Iterable[dict[str, Any]]:
    images = {image["id"]: image for image in content.ground_truth.images}
    names = {c["id"]: c["name"] for c in content.ground_truth.categories}
    for suspect in suspects_shown(content.analysis):
        image = images[suspect.image_id]
        picture = _picture(content, image)
        if picture is None:
            continue
        caption = f"{suspect.suspicion} {names[suspect.category_id]} ({suspect.sureness:.2f})"
        labelled = suspect.annotation and names[suspect.annotation["category_id"]]
        if labelled and labelled != names[suspect.category_id]:
            caption += f", labelled {labelled}"
        yield {
            "uri": figures.suspect_panel(suspect, picture),
            "caption": caption,
            "file_name": image["file_name"],
            "image_id": suspect.image_id,
        }


def suspects_shown(analysis: Analysis) -> Sequence[Suspect]:
    """Returns the suspects that the page shows, for whose pictures somebody has to fetch."""
    return analysis.suspects[:_SHOWN_SUSPECTS]


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


def _picture(content: ReportContent, image: dict[str, Any]) -> Image.Image | None:
    """Returns the picture of an image; None where there is none to show."""
    found = content.pictures.get(image["id"])
    try:
        return None if found is None else picture_of_annotations(image, found)
    except DatasetError:  # the model could read it, Pillow cannot
        return None


def _worst_rows(content: ReportContent) -> Iterable[dict[str, Any]]:
    images = {image["id"]: image for image in content.ground_truth.images}
    names = {c["id"]: c["name"] for c in content.ground_truth.categories}
    for judged in content.worst:
        image = images[judged.image_id]
        picture = _picture(content, image)
        if picture is None:
            continue
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


def _floored(score: float) -> str:
    """Returns three decimals, rounded down: a threshold takes what scores as much."""
    return f"{math.floor(score * 1000) / 1000:.3f}"


def _signed(change: float | None) -> str:
    if change is None:
        return ""
    return f"{change:+.3f}".replace("-", "−")


def _tone(change: float | None) -> str:
    if change is None or abs(change) < _SEEN_CHANGE:
        return "soft"
    return "good" if change > 0 else "bad"
