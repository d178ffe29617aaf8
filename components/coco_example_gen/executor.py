"""Converts the two splits of a config's data, with TFX's artifacts around it."""

from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components.coco_example_gen.settings import CocoExampleGenSettings
from components.coco_example_gen.together import sources_of
from components.coco_example_gen.whole import convert
from components.examples_artifact import describe_examples
from ground.addresses import place_of
from ground.outputs import fresh_folder


class Executor(base_beam_executor.BaseBeamExecutor):
    """The executor of CocoExampleGen."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the records of both splits, and the rejects.

        Args:
            input_dict: empty.
            output_dict: `examples`: Examples with the splits train and eval; `rejects`: Rejects.
            exec_properties: `settings`: JSON of `CocoExampleGenSettings`; `data_dir`: the folder,
                or its address, that the paths in the settings are relative to; `overrides`:
                optional, of `Part.from_json`; `pictures_digest` and `source_digest`: only there so
                that a change runs this anew.

        Raises:
            DatasetError: a file is missing or damaged, or too many pictures are refused.
        """
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        rejects = artifact_utils.get_single_instance(output_dict["rejects"])
        data = CocoExampleGenSettings.from_json(
            exec_properties["settings"], exec_properties.get("overrides")
        ).data
        sources = sources_of(data, place_of(exec_properties["data_dir"]))
        for output in (examples, rejects):
            fresh_folder(output.uri, [path for source in sources for path in source.read])
        convert(
            sources,
            examples.uri,
            rejects.uri,
            data,
            self._make_beam_pipeline,
            lambda line: logging.info("%s", line),
        )
        describe_examples(examples, [source.name for source in sources])
