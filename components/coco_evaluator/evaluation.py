"""Evaluates detections, decides, and writes what came out: the work of CocoEvaluator.

Writes into one folder: `metrics.json`, `detections.json`, `decision.json`, `analysis.json`,
`label_errors.json` and `report.html`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from components.coco_evaluator.analysis import analyse, analysis_content
from components.coco_evaluator.baseline import (
    Baseline,
    older_versions,
    pushed_note,
    rollback_of,
)
from components.coco_evaluator.decision_file import decision_content
from components.coco_evaluator.detections import check_categories, model_detections
from components.coco_evaluator.findings import WHOLE, Narrowing
from components.coco_evaluator.gate import Decision
from components.coco_evaluator.judgement import Detected, Judgement, Pushed, judge
from components.coco_evaluator.kept_detections import write_detections
from components.coco_evaluator.label_errors import labelling_content
from components.coco_evaluator.report.changes import changed_numbers, spread_lines
from components.coco_evaluator.report.lineage import lineage_facts, setting_texts
from components.coco_evaluator.report.render import ReportContent, render, suspects_shown
from components.coco_evaluator.serving_check import (
    Served,
    check_served,
    differs_from_measured,
    keep_costs,
    read_kept_costs,
)
from components.coco_evaluator.sources import Source
from components.coco_evaluator.worst_pictures import worst_pictures
from configs.metric_names import KINDS
from configs.schema import EvaluateConfig
from ground.errors import DatasetError, RcnnError
from ground.files import atomic_path, write_json
from ground.wording import made_lines, reason_lines
from model.evaluation.metrics import Metrics
from model.evaluation.result_hints import notes_on_detections
from model.model_folder import (
    files_digest,
    read_categories,
    read_model_config,
    read_model_description,
    read_model_id,
)
from model.pictures import DEFAULT_MAX_PIXELS, Picture

METRICS_FILE = "metrics.json"
DETECTIONS_FILE = "detections.json"
DECISION_FILE = "decision.json"
REPORT_FILE = "report.html"
ANALYSIS_FILE = "analysis.json"
LABEL_ERRORS_FILE = "label_errors.json"


def detect_with_model(
    saved_model: Path,
    source: Source,
    batch_size: int,
    keep_in: str | None = None,
    narrowing: Narrowing = WHOLE,
    on_progress: Callable[[str], None] | None = None,
    is_baseline: bool = False,
    served_pictures: int = 0,
) -> Detected:
    """Returns what an exported model finds; see `model_detections`.

    A candidate is first served in a process of its own; one that dies there is not measured.

    Args:
        saved_model: the exported model.
        source: where the pictures are from.
        batch_size: pictures a call.
        keep_in: folder where detections are kept, or None.
        narrowing: what part of the ground truth counts.
        on_progress: called with a line now and then.
        is_baseline: it is no candidate: it was served in such a process before it was pushed.
        served_pictures: how many of the source a candidate is shown there.
    """
    digest = files_digest(saved_model)
    known = _not_yet_measured(saved_model, digest)
    chosen = None if narrowing.image_ids is None else set(narrowing.image_ids)
    served = Served()
    if not is_baseline:
        check_categories(saved_model, source)  # at once: what follows takes its time
        served = _served(saved_model, source, digest, served_pictures, keep_in, chosen, on_progress)
    failed: list[str] = []
    found: list[dict[str, Any]] = []
    if not served.is_dead:
        found = model_detections(
            saved_model,
            source,
            batch_size,
            keep_in,
            chosen,
            on_progress,
            is_baseline,
            digest,
            on_failure=failed.append,
        )
    problems = list(served.problems)
    if line := differs_from_measured(served, found, source):
        problems.append(line)
    if not (is_baseline or problems or chosen):
        keep_costs(keep_in, digest, source, served)
    return replace(
        known,
        detections=found,
        failed=tuple(failed),
        costs=served.costs,
        unservable=tuple(problems),
        is_measured=not served.is_dead,
    )


def _not_yet_measured(saved_model: Path, digest: str) -> Detected:
    """Returns what an exported model says of itself, with nothing detected."""
    config = read_model_config(saved_model)
    settings = config["model"]
    description = read_model_description(saved_model)
    return Detected(
        title=str(description.get("name", "model")),
        model_id=read_model_id(saved_model),
        detections=[],
        kinds=KINDS if settings.get("mask_head") is not None else ("box",),
        model_digest=digest,
        categories=tuple(read_categories(saved_model)),
        max_detections=_max_detections(settings),
        description=description,
        config=config,
    )


def _served(
    saved_model: Path,
    source: Source,
    digest: str,
    count: int,
    keep_in: str | None,
    chosen: set[int] | None,
    on_progress: Callable[[str], None] | None,
) -> Served:
    """Returns how a candidate does in a process of its own, from an earlier time where it is kept.

    Args:
        saved_model: the exported model.
        source: where the pictures are from.
        digest: digest of the model's files.
        count: pictures of the source that it is shown.
        keep_in: folder where what came out is kept, or None.
        chosen: image ids; None is all.
        on_progress: called with a line.
    """
    kept = read_kept_costs(keep_in, digest, source) if chosen is None else None
    if kept is not None:
        return kept
    if on_progress:
        on_progress("evaluating: the model is served in a process of its own")
    return check_served(saved_model, source, count, chosen)


def _max_detections(settings: dict[str, Any]) -> int | None:
    """Returns how many detections a model gives in a picture; None where its config lacks it."""
    section = settings.get("detections")
    limit = section.get("max_detections") if isinstance(section, dict) else None
    return limit if isinstance(limit, int) else None


def detect_pushed(
    baseline: Baseline,
    count: int,
    model_id: str | None,
    detect: Callable[[Path], Detected],
    skip_unusable: bool = False,
) -> Pushed:
    """Returns what the pushed model finds, and those that were pushed before it.

    Args:
        baseline: the newest.
        count: how many of those before it at most.
        model_id: id of the candidate, which is not compared with itself.
        detect: runs the model of a folder.
        skip_unusable: where the newest cannot be measured, the one before it takes its place.
    """
    if baseline.folder is None:
        return Pushed(problems=baseline.problems)
    newest, problems = None, baseline.problems
    try:
        newest = detect(baseline.folder)
    except RcnnError as error:
        problems = (*problems, str(error))
        if skip_unusable and (before := older_versions(baseline.folder, 1, model_id)):
            next_newest = Baseline(before[0], problems)
            return detect_pushed(next_newest, count, model_id, detect, skip_unusable)
    older, unmeasured = [], []
    for folder in older_versions(baseline.folder, count, model_id):
        try:
            older.append(detect(folder))
        except RcnnError as error:
            unmeasured.append(str(error))
    return Pushed(
        newest=newest,
        problems=problems,
        older=tuple(older),
        unmeasured=tuple(unmeasured),
        note=pushed_note(baseline.folder),
        rollback=rollback_of(baseline.folder, model_id),
    )


def detected_of_file(path: str, detections: list[dict[str, Any]]) -> Detected:
    """Returns detections that were read from a file, whichever model made them."""
    has_masks = any(detection.get("segmentation") for detection in detections)
    kinds = KINDS if has_masks else ("box",)
    return Detected(Path(path).name, None, detections, kinds, file=str(path))


class Evaluated(NamedTuple):
    """What came of an evaluation: the numbers, lines on flaws of the inputs, and the verdict."""

    metrics: Metrics
    remarks: list[str]
    decision: Decision


def evaluate_to_folder(
    source: Source,
    candidate: Detected,
    pushed: Pushed,
    settings: EvaluateConfig,
    out: str | Path,
    narrowing: Narrowing = WHOLE,
) -> Evaluated:
    """Measures, decides, writes the files into `out`.

    Args:
        source: ground truth, and pictures for the report where it has them.
        candidate: what is judged.
        pushed: what it is compared with, on the same pictures.
        settings: thresholds and the number of worst pictures shown.
        out: folder.
        narrowing: what part of the ground truth counts.

    Raises:
        DatasetError: a detection or an id of `narrowing` does not fit the ground truth.
    """
    out = Path(out)
    judgement = judge(source.ground_truth, candidate, pushed, settings, narrowing)
    names = {c["id"]: c["name"] for c in source.ground_truth.categories}
    analysis = analyse(judgement.tasks, judgement.matches_by_kind, names)
    worst = worst_pictures(
        judgement.tasks["box"],
        judgement.matches_by_kind["box"],
        analysis.point.score,
        settings.worst_pictures,
    )
    shown = {p.image_id for p in worst} | {s.image_id for s in suspects_shown(analysis)}
    remarks = _remarks(source, candidate, judgement.metrics)
    not_shown: list[str] = []
    content = ReportContent(
        title=_title(candidate),
        source=source.name,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        metrics=judgement.metrics,
        compared=judgement.compared,
        baseline=judgement.baseline,
        decision=judgement.decision,
        analysis=analysis,
        worst=worst,
        pictures=_files_of(source, shown, not_shown),
        ground_truth=source.ground_truth,
        facts=_facts(candidate, pushed.newest, source, narrowing, not_shown, judgement.metrics),
        compared_classes=_compared_classes(judgement),
        remarks=remarks,
        changes=changed_numbers(judgement),
        spread=spread_lines(judgement),
        costs=candidate.costs,
        settings=setting_texts(settings, candidate),
    )
    decision = decision_content(judgement, candidate, pushed, source, settings, narrowing)
    _write_files(out, content, decision, candidate.detections)
    return Evaluated(judgement.metrics, remarks, judgement.decision)


def _write_files(
    out: Path, content: ReportContent, decision: dict[str, Any], detections: list[dict[str, Any]]
) -> None:
    """Writes the files of an evaluation; the decision last, as it stands for all of them."""
    page = render(content)
    write_detections(out / DETECTIONS_FILE, detections)
    suspects = content.analysis.suspects
    suspected = labelling_content(content.ground_truth, suspects, content.source)
    write_json(out / LABEL_ERRORS_FILE, suspected)
    write_json(out / ANALYSIS_FILE, analysis_content(content.analysis))
    write_json(out / METRICS_FILE, content.metrics.to_dict() | {"remarks": content.remarks})
    with atomic_path(out / REPORT_FILE) as partial:
        partial.write_text(page, encoding="utf-8")
    write_json(out / DECISION_FILE, decision)


def _remarks(source: Source, candidate: Detected, metrics: Metrics) -> list[str]:
    """Returns a line for each flaw of the ground truth and the detections, and what else is odd."""
    reading = source.reading
    notes = notes_on_detections(source.ground_truth, candidate.detections) if candidate.file else []
    lines = [*reason_lines(reading), *reading["notes"]] if reading else []
    lines = [*made_lines(reading), *lines]
    return [
        *(f"ground truth: {line}" for line in lines),
        *(f"detections: {code} {count:,}" for code, count in metrics.detection_flaws.items()),
        *(f"detections: {note}" for note in notes),
        *metrics.notes,
    ]


def _compared_classes(judgement: Judgement) -> int | None:
    """Returns over how many classes models were compared, None where those are all or none."""
    is_part = judgement.baseline is not None and judgement.compared is not judgement.metrics
    return len(judgement.compared_category_ids) if is_part else None


def _files_of(source: Source, wanted: set[int], not_shown: list[str]) -> dict[int, Picture]:
    """Returns the files of some pictures by image id; empty where the source has none.

    A line for each that cannot be read is added to `not_shown`.
    """
    if not wanted or not source.has_pictures:
        return {}

    def warn(image: dict[str, Any], error: DatasetError) -> None:
        not_shown.append(f"image id {image['id']}: {error}")

    return {image["id"]: p for image, p in source.pictures(wanted, DEFAULT_MAX_PIXELS, warn)}


def _title(detected: Detected) -> str:
    return f"{detected.title} {detected.model_id[:12]}" if detected.model_id else detected.title


def _facts(
    candidate: Detected,
    baseline: Detected | None,
    source: Source,
    narrowing: Narrowing,
    not_shown: Sequence[str],
    metrics: Metrics,
) -> list[tuple[str, str]]:
    facts = [("Model id", candidate.model_id or f"detections of {candidate.title}")]
    if baseline is not None:
        facts.append(("Pushed model", str(baseline.model_id)))
    if candidate.model_digest:
        facts.append(("Digest of the model's files", candidate.model_digest))
    facts += lineage_facts(candidate.description)
    facts.append(("Ground truth", source.name))
    if source.digest:
        facts.append(("Digest of it", source.digest))
    if narrowing != WHOLE:
        facts.append(("Narrowed to", narrowing.in_words()))
    facts += [("Not shown", line) for line in not_shown]
    evaluators = [kind.evaluator for kind in metrics.by_kind.values()]
    libraries = {*evaluators, f"pycocotools {version('pycocotools')}"}
    facts.append(("Numbers", ", ".join(sorted(libraries))))
    return facts
