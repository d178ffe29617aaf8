"""Rows of the report's sections on errors, confusion and scores. Pure."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from components.coco_evaluator.analysis import WANTED, Analysis, ClassScores
from components.coco_evaluator.chance import Array
from components.coco_evaluator.report.figures import Series, plot
from ground.wording import plural
from model.evaluation.error_types import (
    ALL_MISSED,
    ALL_WRONG,
    BACKGROUND,
    BOTH,
    CLASSIFICATION,
    DUPLICATE,
    ERROR_KINDS,
    LOCALISATION,
    MISSED,
    ErrorCosts,
)
from model.evaluation.operating import Calibration

MEANINGS = {
    CLASSIFICATION: "on an object, of another class",
    LOCALISATION: "of the right class, but IoU 0.1 to 0.5",
    BOTH: "of another class, and IoU 0.1 to 0.5",
    DUPLICATE: "on an object that is found already",
    BACKGROUND: "where nothing is",
    MISSED: "objects that no detection is near enough to",
}
_TITLES = {"box": "Boxes", "mask": "Masks"}
_MOST_NAMES = 3
_MOST_PAIRS = 10
_MOST_IN_MATRIX = 15
_SEEN_COST = 0.0005  # what shows in three decimals
_CURVE_POINTS = 80
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def loss_parts(analysis: Analysis) -> list[dict[str, Any]]:
    """Returns what each kind of errors costs, boxes first, the dearest kind first."""
    return [
        {
            "title": _TITLES[kind],
            "ap": _mean(costs.ap),
            "no_wrong": _mean(costs.ap) + costs.cost(ALL_WRONG),
            "no_missed": _mean(costs.ap) + costs.cost(ALL_MISSED),
            "rows": _loss_rows(costs, analysis.names),
        }
        for kind, costs in analysis.costs.items()
        if not np.isnan(costs.ap).all()
    ]


def _loss_rows(costs: ErrorCosts, names: Sequence[str]) -> list[dict[str, Any]]:
    dearest = max(max(costs.cost(kind) for kind in ERROR_KINDS), 1e-9)
    rows = []
    for kind in ERROR_KINDS:
        by_class = costs.cost_by_class(kind)
        order = np.argsort(-np.nan_to_num(by_class), kind="stable")[:_MOST_NAMES]
        most = [
            f"{names[k]} ({by_class[k]:.3f})"
            for k in order
            if len(names) > 1 and by_class[k] > _SEEN_COST
        ]
        rows.append(
            {
                "name": kind.capitalize(),
                "meaning": MEANINGS[kind],
                "cost": costs.cost(kind),
                "count": int(costs.counts[kind].sum()),
                "width": round(70 * costs.cost(kind) / dearest),
                "most": ", ".join(most),
            }
        )
    return sorted(rows, key=lambda row: -row["cost"])


def loss_line(analysis: Analysis) -> str:
    """Returns in words what costs most AP; "" where nothing does."""
    for kind, costs in analysis.costs.items():
        dear = [k for k in ERROR_KINDS if costs.cost(k) > _SEEN_COST]
        if not dear:
            continue
        dear.sort(key=lambda k: -costs.cost(k))
        words = [
            f"{'missed objects' if k == MISSED else k + ' errors'} ({costs.cost(k):.3f})"
            for k in dear[:2]
        ]
        return f"Most {kind} AP50 is lost by {' and '.join(words)}."
    return ""


def confusion_section(analysis: Analysis) -> dict[str, Any] | None:
    """Returns the pairs of classes most often confused, and the matrix of the worst classes."""
    if analysis.confusion is None or not analysis.confusion.any():
        return None
    counts, names = analysis.confusion, analysis.names
    between = counts[:-1, :-1] * (1 - np.eye(len(names), dtype=int))
    errors = between.sum(axis=0) + between.sum(axis=1) + counts[:-1, -1] + counts[-1, :-1]
    chosen = np.sort(np.argsort(-errors, kind="stable")[:_MOST_IN_MATRIX])
    if len(names) > _MOST_IN_MATRIX:
        caption = f"The {_MOST_IN_MATRIX} of {len(names)} classes with most errors."
    else:
        caption = ""
    return {
        "pairs": list(_pair_lines(between, counts, names)),
        "caption": caption,
        "columns": [*(names[k] for k in chosen), "missed"],
        "rows": [
            {"name": name, "cells": _cells(counts, row, chosen)}
            for row, name in [*((k, names[k]) for k in chosen), (len(names), "nothing there")]
        ],
    }


def _pair_lines(between: Array, counts: Array, names: Sequence[str]) -> Iterator[str]:
    order = np.argsort(-between, axis=None, kind="stable")[:_MOST_PAIRS]
    for true, taken in zip(*np.unravel_index(order, between.shape), strict=True):
        if between[true, taken]:
            yield (
                f"{names[true]} taken for {names[taken]}: {between[true, taken]:,} of "
                f"{counts[true].sum():,}"
            )


def _cells(counts: Array, row: int, chosen: Array) -> list[dict[str, Any]]:
    total = max(int(counts[row].sum()), 1)
    last = counts.shape[1] - 1
    cells = [
        {"count": int(counts[row, k]), "share": counts[row, k] / total, "is_right": row == k}
        for k in [*chosen.tolist(), last]
    ]
    if row == last:  # Nothing there, and nothing found.
        cells[-1] = {"count": 0, "share": 0.0, "is_right": False}
    return cells


def score_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Returns the score to set for each class."""
    rows = []
    for one in analysis.classes:
        best = one.curve.best()
        has_right = best.f1 > 0
        rows.append(
            {
                "name": one.name,
                "objects": one.curve.objects,
                "f1": best.f1 if has_right else None,
                "at": best.score if has_right else None,
                "precise": one.curve.for_precision(WANTED),
                "complete": one.curve.for_recall(WANTED),
                "error": one.calibration.error,
            }
        )
    return rows


def score_curves(analysis: Analysis) -> list[list[list[float]]]:
    """Returns [score, precision, recall] points of each class, for the page's own look-up."""
    return [_points(one) for one in analysis.classes]


def _points(one: ClassScores) -> list[list[float]]:
    curve = one.curve.thinned(_CURVE_POINTS)
    rows = zip(curve.scores, curve.precision, curve.recall, strict=True)
    return [[float(s), round(float(p), 4), round(float(r), 4)] for s, p, r in rows]


def calibration_plot(found: Calibration) -> dict[str, Any] | None:
    """Returns the share of right detections over the score; None without detections."""
    points = [
        (float(score), float(precision))
        for score, precision, count in zip(found.score, found.precision, found.count, strict=True)
        if count
    ]
    if not points:
        return None
    series = [
        Series("", "ideal", [(0.0, 0.0), (1.0, 1.0)]),
        Series("", "curve curve0", points),
    ]
    svg = plot(series, "score", "share that is right", _TICKS)
    return {"svg": svg, "error": None if math.isnan(found.error) else found.error}


def suspect_lines(analysis: Analysis, meanings: dict[str, str]) -> list[str]:
    """Returns how many suspicions of each sort the file has."""
    counts = {name: 0 for name in meanings}
    for suspect in analysis.suspects:
        counts[suspect.suspicion] += 1
    return [
        f"{name} {plural(count, 'object')}: {meanings[name]}"
        for name, count in counts.items()
        if count
    ]


def _mean(values: Array) -> float:
    return 0.0 if np.isnan(values).all() else float(np.nanmean(values))
