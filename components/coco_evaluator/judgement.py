"""Judges a model's detections: the numbers, what they are compared with, the verdict. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.coco_evaluator import findings as about
from components.coco_evaluator.classes import (
    classes_against_baseline,
    classes_against_data,
    shared_category_ids,
)
from components.coco_evaluator.comparison import NEWEST, Rival
from components.coco_evaluator.findings import Narrowing
from components.coco_evaluator.gate import Decision, Finding, decide
from components.coco_evaluator.paired import Chance
from components.model_pusher.push_note import PushNote
from configs.schema import EvaluateConfig
from model.evaluation.coco_numbers import Measured, measure
from model.evaluation.engine import Task
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.matching import Matches
from model.evaluation.metrics import Metrics


@dataclass(frozen=True)
class Detected:
    """Detections, and whose they are.

    Attributes:
        title: title of the model, for people.
        model_id: None for detections from a file.
        detections: in COCO's results form.
        kinds: what they can be measured as: "box", "mask".
        model_digest: `model.model_folder.files_digest` of the model; None without one.
        categories: `id` and `name` of what the model knows; None is whatever the data have.
        max_detections: that the model gives in a picture; None is unknown.
        failed: what is wrong with each picture that could not be measured, with its name.
        file: that they are from; "" for those of a model.
        costs: what serving the model costs, as far as it was measured (`serving_check.Served`).
        unservable: what is wrong where the model is served, a line each.
        is_measured: whether it was run at all; one that dies where it is served is not.
        description: what the model says of itself (`model_folder.read_model_description`).
        config: that it was exported with.
    """

    title: str
    model_id: str | None
    detections: list[dict[str, Any]]
    kinds: tuple[str, ...]
    model_digest: str | None = None
    categories: tuple[Mapping[str, Any], ...] | None = None
    max_detections: int | None = None
    failed: tuple[str, ...] = ()
    file: str = ""
    costs: Mapping[str, float] = field(default_factory=dict)
    unservable: tuple[str, ...] = ()
    is_measured: bool = True
    description: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pushed:
    """What a candidate is compared with.

    Attributes:
        newest: detections of the pushed model; None where there is none that can be used.
        problems: what is wrong with pushed models that are there and cannot be used.
        older: detections of models that led to that one, newest first.
        unmeasured: what is wrong with each of those that could not be measured.
        note: what the pushed model's version says of itself; None is unknown.
        rollback: note of the version that took the candidate's own model out of service, if any.
    """

    newest: Detected | None = None
    problems: tuple[str, ...] = ()
    older: tuple[Detected, ...] = ()
    unmeasured: tuple[str, ...] = ()
    note: PushNote | None = None
    rollback: PushNote | None = None


@dataclass(frozen=True)
class Judgement:
    """What came out.

    Attributes:
        metrics: the candidate's.
        compared: those that stand against the baseline's; `metrics` where all classes are shared.
        baseline: the pushed model's over the same classes; None where nothing is compared.
        compared_category_ids: the classes it was compared over, sorted.
        older: the numbers of models pushed before that one, likewise, in the order they came.
        decision: the verdict.
        chance: what of each change may be chance.
        matches_by_kind: the candidate's, of each detection.
        baseline_matches: the pushed model's likewise; None where nothing is compared.
        tasks: by kind, what was evaluated of the candidate.
    """

    metrics: Metrics
    compared: Metrics
    baseline: Metrics | None
    compared_category_ids: list[int]
    older: list[Metrics]
    decision: Decision
    chance: Chance
    matches_by_kind: Mapping[str, Matches]
    baseline_matches: Mapping[str, Matches] | None
    tasks: Mapping[str, Task]


def judge(
    ground_truth: GroundTruth,
    candidate: Detected,
    pushed: Pushed,
    settings: EvaluateConfig,
    narrowing: Narrowing,
) -> Judgement:
    """Returns the numbers and the verdict.

    Against the pushed model count the classes that both know by the same name and id; `min`
    conditions look at all classes of the data.

    Args:
        ground_truth: what is to be found.
        candidate: what is judged.
        pushed: what it is compared with, on the same pictures.
        settings: thresholds, and what is refused.
        narrowing: what part of the ground truth counts.

    Raises:
        DatasetError: a detection or an id of `narrowing` does not fit the ground truth.
    """
    counted = _counted(ground_truth, narrowing)
    measuring = _Measuring(ground_truth, candidate, settings, narrowing)
    of_candidate = measuring.of_candidate
    metrics = of_candidate.metrics
    of_newest = measuring.rival(pushed.newest, NEWEST) if pushed.newest else None
    newest, of_old = of_newest or (None, None)
    older = pushed.older if pushed.newest else ()
    of_older = [measuring.rival(one, f"the earlier {_title(one)}") for one in older]
    earlier = [found[0] for found in of_older if found]
    shared = _shared(ground_truth, candidate, pushed.newest) & counted
    findings = _findings(ground_truth, candidate, pushed, settings, narrowing)
    if pushed.newest is not None and shared != counted:
        findings.append(about.compared_classes_finding(len(shared), len(counted)))
    decision = decide(
        metrics,
        newest,
        settings.thresholds,
        findings,
        older=earlier,
        limits=settings.limits,
        costs=candidate.costs,
    )
    return Judgement(
        metrics,
        newest.candidate if newest else metrics,
        newest.numbers if newest else None,
        sorted(shared),
        [rival.numbers for rival in earlier],
        decision,
        measuring.chance,
        of_candidate.matches,
        of_old.matches if of_old else None,
        of_candidate.tasks,
    )


class _Measuring:
    """Measures the candidate, and pushed models over the classes that both know."""

    def __init__(
        self,
        ground_truth: GroundTruth,
        candidate: Detected,
        settings: EvaluateConfig,
        narrowing: Narrowing,
    ) -> None:
        self._ground_truth, self._candidate = ground_truth, candidate
        self._settings, self._narrowing = settings, narrowing
        self.of_candidate = self._measured(candidate, narrowing.category_ids)
        can_tell = not narrowing.class_agnostic
        self.chance = Chance(self.of_candidate.matches, settings, can_tell)

    def rival(self, detected: Detected, name: str) -> tuple[Rival, Measured] | None:
        """Returns a pushed model, and what was measured of it; None without a shared class."""
        counted = _counted(self._ground_truth, self._narrowing)
        of_both = _shared(self._ground_truth, self._candidate, detected) & counted
        if not of_both:
            return None
        theirs, ours = self._measured(detected, of_both), self.of_candidate
        if of_both != counted:
            ours = self._measured(self._candidate, of_both)
        deviations = self.chance.against(theirs.matches, sorted(of_both))
        return Rival(name, theirs.metrics, ours.metrics, deviations), theirs

    def _measured(self, detected: Detected, category_ids: frozenset[int] | None) -> Measured:
        return measure(
            self._ground_truth,
            detected.detections,
            detected.kinds,
            self._narrowing.image_ids,
            category_ids,
            self._narrowing.class_agnostic,
            self._settings.max_detections,
            detected.file,
            self._settings.evaluator,
        )


def _counted(ground_truth: GroundTruth, narrowing: Narrowing) -> frozenset[int]:
    """Returns the ids of the classes that count."""
    known = frozenset(c["id"] for c in ground_truth.categories)
    return known if narrowing.category_ids is None else narrowing.category_ids


def _title(detected: Detected) -> str:
    return f"model {str(detected.model_id)[:12]}"


def _shared(
    ground_truth: GroundTruth, candidate: Detected, baseline: Detected | None
) -> frozenset[int]:
    """Returns the ids of the data's classes that both models know by the same name."""
    if baseline is None:
        return frozenset()
    new = _categories(candidate, ground_truth)
    old = _categories(baseline, ground_truth)
    return frozenset(shared_category_ids(new, old) & {c["id"] for c in ground_truth.categories})


def _categories(detected: Detected, ground_truth: GroundTruth) -> Sequence[Mapping[str, Any]]:
    return ground_truth.categories if detected.categories is None else detected.categories


def _findings(
    ground_truth: GroundTruth,
    candidate: Detected,
    pushed: Pushed,
    settings: EvaluateConfig,
    narrowing: Narrowing,
) -> list[Finding]:
    """Returns what is to be known besides the numbers, what closes the gate first."""
    baseline = pushed.newest
    is_allowed = settings.on_changed_classes == "accept"
    is_ignored = settings.on_unusable_baseline == "ignore"
    classes = _categories(candidate, ground_truth)
    found = about.narrowing_findings(narrowing)
    if candidate.model_id is None:
        found.append(about.no_model_finding(candidate.title))
    found += about.unservable_findings(candidate.unservable, candidate.is_measured)
    found += about.failed_pictures_findings(candidate.failed, "the model")
    found += about.rollback_findings(pushed.rollback)
    found += about.baseline_findings(pushed.problems, is_ignored)
    found += about.unmeasured_findings(pushed.unmeasured)
    found += classes_against_data(classes, ground_truth.categories, is_allowed)
    if baseline is not None:
        if _is_the_same(candidate, baseline):
            found.append(about.own_baseline_finding())
        found += about.word_findings(pushed.note)
        found += about.failed_pictures_findings(baseline.failed, "the pushed model")
        old_classes = _categories(baseline, ground_truth)
        found += classes_against_baseline(classes, old_classes, is_allowed)
    found += about.crowded_findings(
        ground_truth, narrowing, settings.max_detections, candidate.max_detections
    )
    return sorted(found, key=lambda finding: not finding.closes_gate)


def _is_the_same(candidate: Detected, baseline: Detected) -> bool:
    if candidate.model_id is None:
        return False
    return (
        candidate.model_id == baseline.model_id or candidate.model_digest == baseline.model_digest
    )
