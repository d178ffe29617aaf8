"""Measures the exported model on the evaluation split, and blesses it or not."""

from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.coco_evaluator.evaluation import detect_with_model, evaluate_to_folder
from components.coco_evaluator.gate import Decision
from components.coco_evaluator.sources import ExamplesSource
from components.model_pusher import properties
from components.model_pusher.registry import pushed_versions
from configs.loader import runtime_config
from model.model_folder import find_saved_model, read_model_id

SPLIT = "eval"


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
                `decision.json`, `report.html`; `blessing`: ModelBlessing, with TFX's custom
                properties and a file `BLESSED` or `NOT_BLESSED`.
            exec_properties: `settings`: JSON of `configs.schema.component_settings`;
                `detections_dir`: folder where detections are kept by model and examples, "" keeps
                none; `push_folder`: str, optional, where to look for a baseline that no input
                names; `overrides`: str, optional, of `runtime_config`; `source_digest`: str, for
                the cache alone.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        evaluation = artifact_utils.get_single_instance(output_dict["evaluation"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        baselines = input_dict.get("baseline_model") or []
        config = runtime_config(exec_properties["settings"], exec_properties.get("overrides"))
        settings = config.evaluate
        source = ExamplesSource(examples.uri, SPLIT)

        def detect(folder: Path, is_baseline: bool = False) -> Any:
            return detect_with_model(
                folder,
                source,
                settings.batch_size,
                exec_properties.get("detections_dir") or None,
                on_progress=logging.info,
                is_baseline=is_baseline,
            )

        candidate_folder = find_saved_model(model.uri)
        if baselines:
            baseline_folder = _pushed_folder(baselines[0])
        else:
            baseline_folder = newest_other_model(
                exec_properties.get("push_folder"), config.name, read_model_id(candidate_folder)
            )
        candidate = detect(candidate_folder)
        baseline = detect(baseline_folder, is_baseline=True) if baseline_folder else None
        _, decision = evaluate_to_folder(source, candidate, baseline, settings, evaluation.uri)
        _write_blessing(blessing, decision, model, baselines[0] if baselines else None)
        verdict = "Blessed" if decision.blessed else "Not blessed"
        logging.info("%s: %s. See %s/report.html", verdict, decision.reason, evaluation.uri)


def _pushed_folder(pushed: types.Artifact) -> Path:
    return find_saved_model(pushed.get_string_custom_property(properties.DESTINATION))


def newest_other_model(push_folder: str | None, name: str, model_id: str) -> Path | None:
    """Returns the newest pushed version of `name` that is not the model `model_id`, if any."""
    versions = pushed_versions(push_folder, name) if push_folder else []
    others = [version for version in versions if version.model_id not in (None, model_id)]
    return others[-1].path if others else None


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
