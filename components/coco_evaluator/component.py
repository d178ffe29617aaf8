"""CocoEvaluator: the exported model's COCO numbers, and whether it may be pushed."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import component_spec, standard_artifacts

from components.artifacts import Evaluation
from components.coco_evaluator.executor import FROM_PUSH_FOLDER, FROM_RESOLVER, Executor
from components.coco_evaluator.settings import CocoEvaluatorSettings


class CocoEvaluatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and properties of CocoEvaluator."""

    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "source_digest": component_spec.ExecutionParameter(type=str),
        "overrides": component_spec.ExecutionParameter(type=str, optional=True),
        "detections_dir": component_spec.ExecutionParameter(type=str),
        "push_folder": component_spec.ExecutionParameter(type=str, optional=True),
        "baseline_from": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": component_spec.ChannelParameter(
            type=standard_artifacts.PushedModel, optional=True
        ),
    }
    OUTPUTS = {
        "evaluation": component_spec.ChannelParameter(type=Evaluation),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class CocoEvaluator(base_component.BaseComponent):
    """Measures the exported model with pycocotools, and gates it.

    Args:
        examples: channel of CocoExampleGen's Examples (split `eval`).
        model: channel of the Model.
        settings: settings of the config.
        baseline_model: channel of the PushedModel to compare with
            (`components.model_pusher.baseline`); None, or one without artifacts, compares with
            nothing.
        source_digest: digest of the executor's source files, so that the cache knows them.
        detections_dir: a stable folder where detections are kept; "" keeps none.
        push_folder: base folder of the served models. Where no Resolver can name a baseline
            (Kubeflow), it is the newest model there that is not the candidate; else what is served
            there is only checked.
        is_baseline_resolved: whether `baseline_model` names the baseline; else the push folder
            does, and the channel is for the lineage alone (Vertex).
        overrides: `key=value` settings of one run, separated by `;` (`configs.parts`).

    Outputs:
        `evaluation`: Evaluation with the numbers, the decision and the report.
        `blessing`: ModelBlessing.
    """

    SPEC_CLASS = CocoEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        settings: CocoEvaluatorSettings,
        baseline_model: types.BaseChannel | None = None,
        source_digest: str = "",
        detections_dir: str = "",
        push_folder: str | None = None,
        is_baseline_resolved: bool = True,
        overrides: str | RuntimeParameter | None = None,
    ) -> None:
        spec = CocoEvaluatorSpec(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            settings=settings.to_json(),
            source_digest=source_digest,
            overrides=overrides,
            detections_dir=detections_dir,
            push_folder=push_folder,
            baseline_from=(
                FROM_RESOLVER if baseline_model and is_baseline_resolved else FROM_PUSH_FOLDER
            ),
            evaluation=types.Channel(type=Evaluation),
            blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        )
        super().__init__(spec=spec)
