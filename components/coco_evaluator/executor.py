"""Measures the exported model on the evaluation split, and blesses it or not."""

from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.coco_evaluator.baseline import Baseline, newest_other_model, resolved_baseline
from components.coco_evaluator.evaluation import (
    DECISION_FILE,
    detect_pushed,
    detect_with_model,
    evaluate_to_folder,
)
from components.coco_evaluator.gate import Decision
from components.coco_evaluator.judgement import Detected
from components.coco_evaluator.settings import CocoEvaluatorSettings
from components.coco_evaluator.sources import ExamplesSource
from components.model_pusher import properties
from ground.console import read_json
from ground.errors import ModelError
from ground.outputs import fresh_folder
from model.model_folder import find_saved_model, read_model_id

SPLIT = "eval"
FROM_RESOLVER = "resolver"
FROM_PUSH_FOLDER = "push_folder"


class Executor(base_executor.BaseExecutor):
    """Runs the exported model on CocoExampleGen's examples and decides."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates, decides and writes both artifacts.

        Args:
            input_dict: `examples`: Examples of CocoExampleGen, split `eval`; `model`: Model;
                `baseline_model`: PushedModel, absent or empty where nothing is pushed yet.
            output_dict: `evaluation`: Evaluation, with `metrics.json`, `detections.json`,
                `decision.json`, `analysis.json`, `label_errors.json`, `report.html`;
                `blessing`: ModelBlessing, with TFX's custom properties and a file `BLESSED` or
                `NOT_BLESSED`.
            exec_properties: `settings`: JSON of `CocoEvaluatorSettings`;
                `detections_dir`: folder where detections are kept by model and examples, "" keeps
                none; `push_folder`: str, optional, base of the served models; `baseline_from`:
                str, `resolver` where an input names the baseline, else `push_folder`; `overrides`:
                str, optional, of `Part.from_json`; `source_digest`: str, for the cache alone.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        evaluation = artifact_utils.get_single_instance(output_dict["evaluation"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        baselines = _baselines(input_dict, exec_properties)
        settings = CocoEvaluatorSettings.from_json(
            exec_properties["settings"], exec_properties.get("overrides")
        )
        source = ExamplesSource(examples.uri, SPLIT)
        for output in (evaluation, blessing):
            fresh_folder(output.uri, [examples.uri, model.uri])

        def detect(folder: Path, is_baseline: bool = False) -> Detected:
            return detect_with_model(
                folder,
                source,
                settings.evaluate.batch_size,
                exec_properties.get("detections_dir") or None,
                on_progress=logging.info,
                is_baseline=is_baseline,
                served_pictures=settings.evaluate.served_pictures,
            )

        folder = find_saved_model(model.uri)
        chosen = _chosen_baseline(baselines, exec_properties, settings, read_model_id(folder))
        candidate = detect(folder)
        pushed = detect_pushed(
            chosen,
            settings.evaluate.best_of_last - 1,
            candidate.model_id,
            lambda f: detect(f, is_baseline=True),
            settings.evaluate.on_unusable_baseline == "ignore",
        )
        decision = evaluate_to_folder(
            source, candidate, pushed, settings.evaluate, evaluation.uri
        ).decision
        _write_blessing(blessing, decision, model, baselines[0] if baselines else None)
        _tie_blessing(blessing, read_json(Path(evaluation.uri) / DECISION_FILE, ModelError))
        _log_verdict(decision, evaluation.uri)


def _log_verdict(decision: Decision, folder: str) -> None:
    for finding in decision.findings:
        logging.info("%s", finding.note)
    verdict = "Blessed" if decision.blessed else "Not blessed"
    logging.info("%s: %s. See %s/report.html", verdict, decision.reason, folder)


def _baselines(
    input_dict: dict[str, list[types.Artifact]], exec_properties: dict[str, Any]
) -> list[types.Artifact]:
    """Returns what an input names to compare with, at most one."""
    if exec_properties.get("baseline_from") == FROM_PUSH_FOLDER:
        return []  # On Vertex the input is what was pushed last, for the lineage alone.
    return input_dict.get("baseline_model") or []


def _chosen_baseline(
    baselines: list[types.Artifact],
    exec_properties: dict[str, Any],
    settings: CocoEvaluatorSettings,
    model_id: str,
) -> Baseline:
    """Returns what to compare with: what the Resolver names, or else what the push folder holds."""
    push_folder = exec_properties.get("push_folder")
    if baselines or exec_properties.get("baseline_from") == FROM_RESOLVER:
        destination = (
            baselines[0].get_string_custom_property(properties.DESTINATION) if baselines else None
        )
        return resolved_baseline(destination, push_folder, settings.name)
    if not push_folder:
        return Baseline()
    skip_unusable = settings.evaluate.on_unusable_baseline == "ignore"
    return newest_other_model(push_folder, settings.name, model_id, skip_unusable)


def _write_blessing(
    blessing: types.Artifact,
    decision: Decision,
    model: types.Artifact,
    baseline: types.Artifact | None,
) -> None:
    """Marks the artifact as TFX's Evaluator does."""
    name = constants.BLESSED_FILE_NAME if decision.blessed else constants.NOT_BLESSED_FILE_NAME
    folder = Path(blessing.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("")
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, int(decision.blessed))
    blessing.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    if baseline is not None:
        blessing.set_string_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri
        )
        blessing.set_int_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id
        )


def _tie_blessing(blessing: types.Artifact, decision: dict[str, Any]) -> None:
    """Writes into the artifact what was evaluated, so that nothing else is pushed on it."""
    values = {
        properties.MODEL_DIGEST: decision["model_digest"],
        properties.EXAMPLES_DIGEST: decision["data"]["digest"],
        properties.SPLIT: decision["data"]["split"],
        properties.DECISION_DIGEST: decision["digest"],
    }
    for name, value in values.items():
        blessing.set_string_custom_property(name, value)
