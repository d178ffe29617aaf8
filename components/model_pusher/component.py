"""ModelPusher: a blessed model goes into service, each model once."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.model_pusher.executor import Executor


class ModelPusherSpec(component_spec.ComponentSpec):
    """Inputs, outputs and properties of ModelPusher."""

    PARAMETERS = {
        "push_folder": component_spec.ExecutionParameter(type=str),
        "model_name": component_spec.ExecutionParameter(type=str),
        "source_digest": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    OUTPUTS = {
        "pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel),
    }


class ModelPusher(base_component.BaseComponent):
    """Copies a blessed model to `<push_folder>/<model_name>/<version>`.

    Unlike TFX's Pusher it knows a model by its digest: one that is the newest version already is
    recorded and not copied, and versions count 1, 2, 3, ....

    Args:
        model: channel of the Model.
        model_blessing: channel of its ModelBlessing; not blessed pushes nothing.
        push_folder: base folder of the served models.
        model_name: name of the model, a folder below it.
        source_digest: digest of the executor's source files, so that the cache knows them.

    Outputs:
        `pushed_model`: PushedModel, with the custom properties of `properties.py`.
    """

    SPEC_CLASS = ModelPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        push_folder: str,
        model_name: str,
        source_digest: str = "",
    ) -> None:
        spec = ModelPusherSpec(
            model=model,
            model_blessing=model_blessing,
            push_folder=push_folder,
            model_name=model_name,
            source_digest=source_digest,
            pushed_model=types.Channel(type=standard_artifacts.PushedModel),
        )
        super().__init__(spec=spec)
