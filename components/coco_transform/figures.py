"""Figures of the data report as inline SVG; the same numbers give the same bytes."""

import io
import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model.figure_names import label_of, names_as_they_are

# Okabe and Ito's colours: apart for every kind of colour vision.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
_SETTINGS = {
    "svg.hashsalt": "tfx-rcnn",  # else element ids are random
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_MOST_CLASSES = 30  # in the figure; the table has all
_CLASS_HEIGHT_INCHES = 3.4
_BARS_HEIGHT_INCHES = 1.6  # what bars need beside the names below them
_INCHES_A_LETTER = 0.081  # of a name's height as it is turned, for a W
_WIDE = 1.6  # also where a font lacks it, and a box stands in its place


def report_figures(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns title and SVG of each figure, from the numbers of `report_content`."""
    splits, edges = content["splits"], content["edges"]
    return [
        {"title": "Objects by class (share of the split)", "svg": _class_figure(splits)},
        {
            "title": "Objects per picture",
            "svg": _histogram(splits, "objects_per_picture", edges, "objects", _count_labels),
        },
        {
            "title": "Box side when resized for training: square root of the area",
            "svg": _histogram(splits, "box_side_resized", edges, "pixels", _open_labels),
        },
        {
            "title": "Box aspect",
            "svg": _histogram(splits, "box_aspect", edges, "height / width", _open_labels),
        },
        {
            "title": "IoU of the best anchor",
            "svg": _histogram(splits, "anchor_iou", edges, "IoU", _interval_labels),
        },
        {
            "title": "Picture aspect",
            "svg": _histogram(splits, "picture_aspect", edges, "height / width", _open_labels),
        },
    ]


def _histogram(
    splits: Mapping[str, Any],
    name: str,
    edges: Mapping[str, Sequence[float]],
    x_label: str,
    label_bins: Any,
) -> str:
    """Returns bars of each split's share by bin, the empty bins on both ends left out."""
    counts = {split: np.asarray(of["histograms"][name]) for split, of in splits.items()}
    counts = {split: c.sum(axis=0) if c.ndim == 2 else c for split, c in counts.items()}
    used = np.flatnonzero(sum(counts.values(), np.zeros(1, np.int64)))
    first, last = (used[0], used[-1] + 1) if len(used) else (0, 1)
    labels = label_bins(edges[name])[first:last]

    def draw(axes: Axes) -> None:
        for number, (split, values) in enumerate(counts.items()):
            _bars(axes, number, len(counts), values[first:last], values.sum(), split)
        axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
        axes.set_xlabel(x_label)

    return _svg(draw, 4.6, 3.0)


def _class_figure(splits: Mapping[str, Any]) -> str:
    counts = {s: np.asarray([c["objects"] for c in of["classes"]]) for s, of in splits.items()}
    names = [c["name"] for c in next(iter(splits.values()))["classes"]]
    order = np.argsort(-next(iter(counts.values())), kind="stable")[:_MOST_CLASSES]
    labels = [label_of(names[i]) for i in order]
    longest = max(map(_letters, labels), default=0.0)

    def draw(axes: Axes) -> None:
        for number, (split, values) in enumerate(counts.items()):
            _bars(axes, number, len(counts), values[order], values.sum(), split)
        axes.set_xticks(range(len(order)), labels, rotation=60, ha="right")

    height = max(_CLASS_HEIGHT_INCHES, _BARS_HEIGHT_INCHES + _INCHES_A_LETTER * longest)
    return _svg(draw, 9.6, height)


def _letters(label: str) -> float:
    """Returns how long a label is in letters, of which one as wide as Chinese counts more."""
    return sum(_WIDE if unicodedata.east_asian_width(c) in "WF" else 1.0 for c in label)


def _bars(
    axes: Axes, number: int, of: int, values: npt.NDArray[np.int64], total: int, label: str
) -> None:
    width = 0.8 / of
    places = np.arange(len(values)) + (number - (of - 1) / 2) * width
    colour = _COLOURS[number % len(_COLOURS)]
    axes.bar(places, 100 * values / max(total, 1), width, color=colour, label=label_of(label))


def _svg(draw: Any, width: float, height: float) -> str:
    with names_as_they_are(_SETTINGS):
        figure = Figure((width, height), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.set_ylabel("share, %")
        if len(axes.containers) > 1:
            # Else long names of splits would leave no room for the bars.
            axes.legend(frameon=False).set_in_layout(False)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _open_labels(edges: Sequence[float]) -> list[str]:
    """Returns a label a bin, where the first bin is below all edges and the last above."""
    inner = _interval_labels(edges)
    return [f"< {_number(edges[0])}", *inner, f"≥ {_number(edges[-1])}"]


def _interval_labels(edges: Sequence[float]) -> list[str]:
    return [f"{_number(a)}–{_number(b)}" for a, b in itertools.pairwise(edges)]


def _count_labels(edges: Sequence[int]) -> list[str]:
    """Returns labels for bins of whole numbers, the last without an upper end."""
    pairs = list(itertools.pairwise(edges))
    inner = [str(a) if b - a == 1 else f"{a}–{b - 1}" for a, b in pairs[:-1]]
    return [*inner, f"≥ {edges[-2]}"]
