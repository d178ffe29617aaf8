"""Evaluates detections, decides, and writes what came out: the work of CocoEvaluator.

Writes into one folder: `metrics.json`, `detections.json`, `decision.json` and `report.html`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.coco_evaluator.detections import model_detections, write_detections
from components.coco_evaluator.gate import Decision, decide
from components.coco_evaluator.report.render import ReportContent, render
from components.coco_evaluator.sources import Source
from components.coco_evaluator.worst_pictures import JudgedPicture, operating_point, worst_pictures
from configs.console import read_json
from configs.errors import ModelError
from configs.files import atomic_path, write_json
from configs.schema import EvaluateConfig
from model.coco_metrics import KINDS, measure
from model.model_folder import CONFIG_FILE, MODEL_ID_FILE
from model.pictures import Picture

METRICS_FILE = "metrics.json"
DETECTIONS_FILE = "detections.json"
DECISION_FILE = "decision.json"
REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Narrowing:
    """What part of the ground truth counts; None is all of it.

    Attributes:
        image_ids: only these pictures.
        category_ids: only these categories.
        class_agnostic: any category of a detection is right.
    """

    image_ids: frozenset[int] | None = None
    category_ids: frozenset[int] | None = None
    class_agnostic: bool = False


@dataclass(frozen=True)
class Detected:
    """Detections, and whose they are.

    Attributes:
        title: of the model, for people.
        model_id: None for detections from a file.
        detections: in COCO's results form.
        kinds: what they can be measured as: "box", "mask".
    """

    title: str
    model_id: str | None
    detections: list[dict[str, Any]]
    kinds: tuple[str, ...]


def detect_with_model(
    saved_model: Path,
    source: Source,
    batch_size: int,
    keep_in: str | None = None,
    narrowing: Narrowing = Narrowing(),
    on_progress: Callable[[str], None] | None = None,
    is_baseline: bool = False,
) -> Detected:
    """Returns what an exported model finds; see `model_detections`."""
    chosen = None if narrowing.image_ids is None else set(narrowing.image_ids)
    found = model_detections(
        saved_model, source, batch_size, keep_in, chosen, on_progress, is_baseline
    )
    identity = read_json(saved_model / MODEL_ID_FILE, ModelError)
    has_masks = read_json(saved_model / CONFIG_FILE, ModelError)["model"]["mask_head"] is not None
    kinds = KINDS if has_masks else ("box",)
    return Detected(identity.get("name", "model"), identity["model_id"], found, kinds)


def detected_of_file(path: str, detections: list[dict[str, Any]]) -> Detected:
    """Returns detections that were read from a file, whichever model made them."""
    has_masks = any(detection.get("segmentation") for detection in detections)
    return Detected(Path(path).name, None, detections, KINDS if has_masks else ("box",))


def evaluate_to_folder(
    source: Source,
    candidate: Detected,
    baseline: Detected | None,
    settings: EvaluateConfig,
    out: str | Path,
    narrowing: Narrowing = Narrowing(),
) -> tuple[dict[str, Any], Decision]:
    """Measures, decides, writes the four files into `out`; returns the metrics and the decision.

    Args:
        source: ground truth, and pictures for the report where it has them.
        candidate: what is judged.
        baseline: the pushed model's detections in the same pictures, or None.
        settings: thresholds and the number of worst pictures shown.
        out: folder.
        narrowing: what part of the ground truth counts.

    Raises:
        DatasetError: a detection or an id of `narrowing` does not fit the ground truth.
    """
    out = Path(out)
    metrics, matches = _measure(source, candidate, narrowing)
    old_metrics = None if baseline is None else _measure(source, baseline, narrowing)[0]
    decision = decide(metrics, old_metrics, settings.thresholds)
    point = operating_point(matches.values())
    worst = worst_pictures(matches, point.score, settings.worst_pictures)
    content = ReportContent(
        title=_title(candidate),
        source=source.name,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        metrics=metrics,
        baseline=old_metrics,
        decision=decision,
        point=point,
        worst=worst,
        pictures=_files_of(source, worst),
        ground_truth=source.ground_truth,
        facts=_facts(candidate, baseline, source, narrowing),
    )
    write_detections(out / DETECTIONS_FILE, candidate.detections)
    write_json(out / METRICS_FILE, metrics)
    write_json(out / DECISION_FILE, _decision_content(decision, candidate, baseline, old_metrics))
    with atomic_path(out / REPORT_FILE) as partial:
        partial.write_text(render(content), encoding="utf-8")
    return metrics, decision


def _measure(source: Source, detected: Detected, narrowing: Narrowing) -> tuple[Any, Any]:
    return measure(
        source.ground_truth,
        detected.detections,
        detected.kinds,
        narrowing.image_ids,
        narrowing.category_ids,
        narrowing.class_agnostic,
    )


def _files_of(source: Source, worst: Sequence[JudgedPicture]) -> dict[int, Picture]:
    """Returns the files of some pictures by image id; empty where the source has none."""
    wanted = {judged.image_id for judged in worst}
    if not wanted or not source.has_pictures:
        return {}
    return {image["id"]: picture for image, picture in source.pictures(wanted)}


def _title(detected: Detected) -> str:
    return f"{detected.title} {detected.model_id[:12]}" if detected.model_id else detected.title


def _decision_content(
    decision: Decision,
    candidate: Detected,
    baseline: Detected | None,
    old_metrics: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Returns `decision.json`: the verdict, every comparison, and who was compared with whom."""
    content = decision.to_dict() | {"model_id": candidate.model_id, "baseline": None}
    if baseline is not None and old_metrics is not None:
        numbers = {kind: old_metrics[kind] for kind in KINDS}
        content["baseline"] = {"model_id": baseline.model_id, **numbers}
    return content


def _facts(
    candidate: Detected, baseline: Detected | None, source: Source, narrowing: Narrowing
) -> list[tuple[str, str]]:
    facts = [("Model id", candidate.model_id or f"detections of {candidate.title}")]
    if baseline is not None:
        facts.append(("Pushed model", str(baseline.model_id)))
    facts.append(("Ground truth", source.name))
    if source.digest:
        facts.append(("Digest of it", source.digest))
    if narrowing != Narrowing():
        facts.append(("Narrowed to", narrowing_in_words(narrowing)))
    facts.append(("Numbers", f"pycocotools {version('pycocotools')}"))
    return facts


def narrowing_in_words(narrowing: Narrowing) -> str:
    """Returns what part of the ground truth counts."""
    parts = []
    if narrowing.image_ids is not None:
        parts.append(f"{len(narrowing.image_ids)} pictures")
    if narrowing.category_ids is not None:
        parts.append(f"categories {', '.join(map(str, sorted(narrowing.category_ids)))}")
    if narrowing.class_agnostic:
        parts.append("categories ignored")
    return "; ".join(parts) or "nothing"
