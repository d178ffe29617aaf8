"""Runs CocoTransform inside TFX."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components.anomalies import anomaly_lines, refuse_anomalies
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.source import previous_report
from components.coco_transform.whole import transform_examples
from components.examples_artifact import describe_examples
from ground.outputs import fresh_folder
from model.examples import split_names


class Executor(base_beam_executor.BaseBeamExecutor):
    """Turns CocoExampleGen's records into those that training reads, and reports on the data."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the examples and the report.

        Args:
            input_dict: `examples`: Examples of CocoExampleGen; `anomalies`: ExampleAnomalies
                of them, optional; any anomaly refuses them
                unless `transform.on_anomalies` lets it pass.
            output_dict: `transformed_examples`: Examples, the same splits; `report`: DataReport,
                with `report.html` and `report.json`.
            exec_properties: `settings`: JSON of `CocoTransformSettings`; `overrides`: optional,
                of `Part.from_json`; `source_digest`: for the cache alone.

        Raises:
            DatasetError: ExampleValidator found anomalies, or a shard is damaged.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        settings = CocoTransformSettings.from_json(
            exec_properties["settings"], exec_properties.get("overrides")
        )
        folders = [anomalies.uri for anomalies in input_dict.get("anomalies") or []]
        if settings.transform.on_anomalies == "fail":
            for folder in folders:
                refuse_anomalies(folder)
        source = artifact_utils.get_single_instance(input_dict["examples"])
        transformed = artifact_utils.get_single_instance(output_dict["transformed_examples"])
        report = artifact_utils.get_single_instance(output_dict["report"])
        for output in (transformed, report):
            fresh_folder(output.uri, [source.uri])
        transform_examples(
            source.uri,
            transformed.uri,
            report.uri,
            settings,
            self._make_beam_pipeline,
            previous=previous_report(report.uri),
            anomalies=[line for folder in folders for line in anomaly_lines(folder)],
        )
        describe_examples(transformed, split_names(transformed.uri))
