"""Tells a run's trackers what came of its model: the evaluation, the verdict, the version."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.tracking.request import TrackingRequest
from model.tracking.tracking import track_outcome
from pipeline.local.lineage import Lineage
from pipeline.local.run_folder import RunFolder


def tell_trackers(
    request: TrackingRequest, folder: RunFolder, run_id: str, summary: Mapping[str, Any]
) -> list[str]:
    """Adds a run's outcome to the tracked run of its training; returns what went wrong there.

    A training that an earlier run did is told of again: its evaluation may be another.
    """
    outputs = Lineage(str(folder.metadata), run_id).outputs()
    trained = outputs.get("DetectionTrainer", {})
    if "run" not in trained:
        return []
    tags = {"blessed": str(summary["blessed"]).lower(), "reason": str(summary["reason"] or "")}
    if model := trained.get("model"):
        tags["model_id"] = str(model.properties.get("model_id", ""))
    if summary["pushed_model"]:
        tags["pushed_version"] = Path(summary["pushed_model"]).name
    reports = {"evaluation": summary["report"], "data": summary["data_report"]}
    files = {name: path for name, path in reports.items() if path}
    return track_outcome(request, Path(trained["run"].uri), metrics_of(summary), tags, files)


def metrics_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """Returns the evaluation's numbers by name; -1, which is undefined, is left out.

    >>> metrics_of({"metrics": {"box": {"AP": 0.5, "APs": -1.0}, "mask": None}})
    {'evaluation/box/AP': 0.5}
    """
    return {
        f"evaluation/{kind}/{name}": value
        for kind, values in summary["metrics"].items()
        for name, value in (values or {}).items()
        if value >= 0
    }
