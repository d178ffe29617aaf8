"""Runs the launcher of model/launch and files what comes out as artifacts."""

import dataclasses
import math
import os
import time
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.detection_trainer.settings import DetectionTrainerSettings
from ground.files import write_json
from ground.output_record import SUMMARY_FILE
from ground.speech import draw_bar, shows_bars
from model.launch.launcher import train
from model.training.events import Event, Notice, StepDone

_SECONDS_BETWEEN_LINES = 10.0


class Executor(base_executor.BaseExecutor):
    """The executor of DetectionTrainer."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains and exports; a rerun after a failure goes on from the last checkpoint.

        Args:
            input_dict: `examples`: Examples of CocoTransform with a split named train, and the one
                that `train.validation_split` names where the run is to validate.
            output_dict: `model`: Model, the SavedModel in its serving folder; `run`: TrainingRun
                with TensorBoard scalars, logs, throughput.json and summary.json.
            exec_properties: `settings`: JSON of `DetectionTrainerSettings`; `overrides`: optional,
                of `Part.from_json`; `checkpoints_dir`: a stable folder that outlives this
                execution; `source_digest`: of the code, which when changed starts anew;
                `weights_digest` is for TFX's cache alone: the launcher reads the file itself.

        Raises:
            TrainingStopped: the process was asked to stop; run again to go on.
            TrainingError: a worker was lost or a loss is not finite.
        """
        model = artifact_utils.get_single_instance(output_dict["model"])
        run = artifact_utils.get_single_instance(output_dict["run"])
        result = train(
            DetectionTrainerSettings.from_json(
                exec_properties["settings"], exec_properties.get("overrides")
            ),
            artifact_utils.get_single_uri(input_dict["examples"]),
            out_dir=run.uri,
            checkpoints_dir=exec_properties["checkpoints_dir"],
            on_progress=_EventLog(),
            model_dir=path_utils.serving_model_dir(model.uri),
            run_dir=run.uri,
            source_digest=exec_properties.get("source_digest") or "",
        )
        write_json(os.path.join(run.uri, SUMMARY_FILE), result.summary())
        model.set_string_custom_property("model_id", result.model_id)


class _EventLog:
    """Logs what has a line: where the run is every ten seconds, all else at once.

    A terminal has a bar beside.

    The record also has the event's name and values, as `told`, for logs that programs read.
    """

    def __init__(self) -> None:
        self._last_step_line = -math.inf

    def __call__(self, event: Event) -> None:
        """Logs an event of the chief."""
        if isinstance(event, StepDone):
            if shows_bars():
                draw_bar(event.line, event.step, event.steps)
            now = time.monotonic()
            if now - self._last_step_line < _SECONDS_BETWEEN_LINES:
                return
            self._last_step_line = now
        if event.line:
            level = logging.WARNING if isinstance(event, Notice) else logging.INFO
            told = (event.name, dataclasses.asdict(event))
            logging.log(level, "%s", event.line, extra={"told": told})
