"""CocoTransform: examples for training and a report on the data."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import component_spec, standard_artifacts

from components.artifacts import DataReport
from components.coco_transform.executor import Executor
from components.coco_transform.settings import CocoTransformSettings


class CocoTransformSpec(component_spec.ComponentSpec):
    """Inputs, outputs and properties of CocoTransform."""

    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "source_digest": component_spec.ExecutionParameter(type=str),
        "overrides": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "anomalies": component_spec.ChannelParameter(
            type=standard_artifacts.ExampleAnomalies, optional=True
        ),
    }
    OUTPUTS = {
        "transformed_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "report": component_spec.ChannelParameter(type=DataReport),
    }


class CocoTransform(base_beam_component.BaseBeamComponent):
    """Upright RGB JPEGs not larger than training needs, clipped boxes, bitmaps, an index a shard.

    Args:
        examples: channel of CocoExampleGen's Examples.
        settings: settings of the config.
        anomalies: channel of ExampleAnomalies, so that validation comes first; not read.
        source_digest: digest of the executor's source files, so that the cache knows them.
        overrides: `key=value` settings of one run, separated by `;` (`configs.parts`).

    Outputs:
        `transformed_examples`: Examples with the splits of `examples`.
        `report`: DataReport.
    """

    SPEC_CLASS = CocoTransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        settings: CocoTransformSettings,
        anomalies: types.BaseChannel | None = None,
        source_digest: str = "",
        overrides: str | RuntimeParameter | None = None,
    ) -> None:
        spec = CocoTransformSpec(
            examples=examples,
            anomalies=anomalies,
            settings=settings.to_json(),
            source_digest=source_digest,
            overrides=overrides,
            transformed_examples=types.Channel(type=standard_artifacts.Examples),
            report=types.Channel(type=DataReport),
        )
        super().__init__(spec=spec)
