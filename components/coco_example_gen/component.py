"""CocoExampleGen: a folder of COCO-format data becomes examples and rejects."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import component_spec, standard_artifacts

from components.artifacts import Rejects
from components.coco_example_gen.executor import Executor
from components.coco_example_gen.settings import CocoExampleGenSettings
from model.coco.policies import resolve_policies


class CocoExampleGenSpec(component_spec.ComponentSpec):
    """Outputs and properties of CocoExampleGen."""

    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "source_digest": component_spec.ExecutionParameter(type=str),
        "overrides": component_spec.ExecutionParameter(type=str, optional=True),
        "data_dir": component_spec.ExecutionParameter(type=str),
        "pictures_digest": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "rejects": component_spec.ChannelParameter(type=Rejects),
    }


class CocoExampleGen(base_beam_component.BaseBeamComponent):
    """Converts COCO-format data into examples; what is wrong goes to rejects, with its reason.

    Args:
        data_dir: folder that the paths in the settings are relative to.
        settings: settings of the config.
        pictures_digest: digest of the data, so that changed pictures are converted anew.
        source_digest: digest of the executor's source files, for the same reason.
        overrides: `key=value` settings of one run, separated by `;` (`configs.parts`).

    Outputs:
        `examples`: Examples with the splits train and eval.
        `rejects`: Rejects.

    Raises:
        ConfigError: `data.policies` has an unknown reason code or a policy that it cannot have.
    """

    SPEC_CLASS = CocoExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        data_dir: str,
        settings: CocoExampleGenSettings,
        pictures_digest: str = "",
        source_digest: str = "",
        overrides: str | RuntimeParameter | None = None,
    ) -> None:
        resolve_policies(settings.data.policies)
        spec = CocoExampleGenSpec(
            settings=settings.to_json(),
            source_digest=source_digest,
            overrides=overrides,
            data_dir=data_dir,
            pictures_digest=pictures_digest,
            examples=types.Channel(type=standard_artifacts.Examples),
            rejects=types.Channel(type=Rejects),
        )
        super().__init__(spec=spec)
