"""`decision.json`: the verdict, and by digests what it is about. Whoever pushes reads it."""

from typing import Any

from components.coco_evaluator.findings import Narrowing
from components.coco_evaluator.judgement import Detected, Judgement, Pushed
from components.coco_evaluator.sources import Source
from configs.schema import EvaluateConfig
from ground.files import json_digest
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.metrics import Metrics


def decision_content(
    judgement: Judgement,
    candidate: Detected,
    pushed: Pushed,
    source: Source,
    settings: EvaluateConfig,
    narrowing: Narrowing,
) -> dict[str, Any]:
    """Returns `decision.json`: the verdict, every comparison, and what was compared on what.

    Its last entry, `digest`, is that of all others, so that an edited file is no longer a decision.
    """
    content = judgement.decision.to_dict() | {
        "model_id": candidate.model_id,
        "model_digest": candidate.model_digest,
        "data": {
            "name": source.name,
            "digest": source.digest,
            "split": source.split,
            "ground_truth_digest": ground_truth_digest(source.ground_truth),
        },
        "costs": dict(candidate.costs),
        "settings": settings.model_dump(mode="json"),
        "narrowing": narrowing.to_dict(),
        "baseline": _baseline_entry(judgement, pushed),
        "older": [numbers.numbers_by_kind() for numbers in judgement.older],
        "resamples": judgement.chance.counts,
    }
    return content | {"digest": json_digest(content)}


def _baseline_entry(judgement: Judgement, pushed: Pushed) -> dict[str, Any] | None:
    baseline, note = pushed.newest, pushed.note
    if baseline is None:
        return None
    words = {"version", "pushed", "override", "rollback"}
    return {
        "model_id": baseline.model_id,
        "model_digest": baseline.model_digest,
        "category_ids": judgement.compared_category_ids,
        **(judgement.baseline or Metrics({})).numbers_by_kind(),
        "push": note.model_dump(mode="json", include=words) if note else None,
    }


def ground_truth_digest(ground_truth: GroundTruth) -> str:
    """Returns 64 hex digits that stand for what was to be found."""
    return json_digest([ground_truth.images, ground_truth.annotations, ground_truth.categories])
