"""DetectionTrainer: training examples become a detector."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import component_spec, standard_artifacts

from components.artifacts import TrainingRun
from components.detection_trainer.executor import Executor
from components.detection_trainer.settings import DetectionTrainerSettings


class DetectionTrainerSpec(component_spec.ComponentSpec):
    """Inputs, outputs and properties of DetectionTrainer."""

    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "source_digest": component_spec.ExecutionParameter(type=str),
        "weights_digest": component_spec.ExecutionParameter(type=str),
        "overrides": component_spec.ExecutionParameter(type=str, optional=True),
        "checkpoints_dir": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "run": component_spec.ChannelParameter(type=TrainingRun),
    }


class DetectionTrainer(base_component.BaseComponent):
    """Trains a detector with one worker process a GPU (or CPU share) and exports it.

    Args:
        examples: channel of CocoTransform's Examples, with a split named train, and one to
            validate on where `train.validate_every_epochs` asks for it.
        settings: settings of the config.
        checkpoints_dir: stable folder; a run that was cut off goes on from its checkpoints there.
        source_digest: digest of the executor's and the workers' source files.
        weights_digest: digest of the file that `model.weights` names: a changed one is seen.
        overrides: `key=value` settings of one run, separated by `;` (`configs.parts`).

    Outputs:
        `model`: Model, the SavedModel below `Format-Serving`.
        `run`: TrainingRun.
    """

    SPEC_CLASS = DetectionTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        settings: DetectionTrainerSettings,
        checkpoints_dir: str,
        source_digest: str = "",
        weights_digest: str = "",
        overrides: str | RuntimeParameter | None = None,
    ) -> None:
        spec = DetectionTrainerSpec(
            examples=examples,
            settings=settings.to_json(),
            source_digest=source_digest,
            weights_digest=weights_digest,
            overrides=overrides,
            checkpoints_dir=checkpoints_dir,
            model=types.Channel(type=standard_artifacts.Model),
            run=types.Channel(type=TrainingRun),
        )
        super().__init__(spec=spec)
