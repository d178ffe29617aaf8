"""Pushes a blessed model into the folder it is served from."""

from typing import Any

from absl import logging
from tfx import types
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.model_pusher import properties
from components.model_pusher.registry import push
from ground.errors import RefusedError


class Executor(base_executor.BaseExecutor):
    """Copies a blessed model to `<push_folder>/<model_name>/<version>`, each model once."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model, or says why not.

        What is pushed are the files that were evaluated: their digest in the blessing is compared
        with the model's, and with that of the copy before it goes into service.

        Args:
            input_dict: `model`: Model; `model_blessing`: ModelBlessing.
            output_dict: `pushed_model`: PushedModel, which gets the custom properties `pushed`
                (1 or 0) and, where pushed, `pushed_destination` (the version's folder),
                `pushed_version` (str) and `model_id`.
            exec_properties: `push_folder`: str, base of the served models; `model_name`: str;
                `source_digest`: str, for the cache alone.

        Raises:
            RefusedError: the model's files are not those that were evaluated.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict["model"])
        blessing = artifact_utils.get_single_instance(input_dict["model_blessing"])
        pushed_model = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not model_utils.is_model_blessed(blessing):
            pushed_model.set_int_custom_property(properties.PUSHED, 0)
            logging.info("Not pushed: the model is not blessed.")
            return
        digest = blessing.get_string_custom_property(properties.MODEL_DIGEST)
        if not digest:
            raise RefusedError(
                f"{blessing.uri}: the blessing does not say of which files it is: evaluate again"
            )
        decision_digest = blessing.get_string_custom_property(properties.DECISION_DIGEST)
        pushed, is_new = push(
            model.uri,
            exec_properties["push_folder"],
            exec_properties["model_name"],
            digest,
            {"decision_digest": decision_digest or None},
        )
        pushed_model.set_int_custom_property(properties.PUSHED, 1)
        pushed_model.set_string_custom_property(properties.DESTINATION, str(pushed.path))
        pushed_model.set_string_custom_property(properties.VERSION, str(pushed.version))
        pushed_model.set_string_custom_property(properties.MODEL_ID, pushed.model_id)
        what = "Pushed to" if is_new else "Not copied again: the newest version is this model:"
        logging.info("%s %s", what, pushed.path)
