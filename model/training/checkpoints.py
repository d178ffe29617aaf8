"""Checkpoints: one safetensors file a step, in a folder that belongs to one run.

A run is what determines its weights: the settings that enter the mathematics, the examples, and
(where the caller gives it) the source code. Its key names the folder and stands in every file, so
that a changed config starts anew and is never mixed with an old one.

    <checkpoints_dir>/<first 16 digits of the key>/step-00000120.safetensors

The file's metadata is one JSON value under the name `run`: key, step, and what the history needs.
"""

import json
import os
import re
import struct
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ground.errors import TrainingError
from ground.files import json_digest
from model.training.storage import joined, open_folder
from model.training_settings import TrainingSettings
from model.weights.files import weights_digest

# Settings that change how a run is watched, fed or kept, but no bit of its weights.
_WITHOUT_EFFECT = {
    "checkpoint_every_steps",
    "device",
    "fewer_gpus",
    "keep_checkpoints",
    "log_every_steps",
    "input_threads",
    "numa",
    "heartbeat_seconds",
    "max_restarts",
    "max_non_finite_steps",
    "validate_every_epochs",
    "patience_validations",
    "export",
    "profile_steps",
    "picture_every_steps",
}
_FILE_NAME = re.compile(r"step-(\d{8})\.safetensors")


def checkpoint_key(config: TrainingSettings, examples_digest: str, source_digest: str = "") -> str:
    """Returns the key of a run, 64 hex digits.

    Args:
        config: its sections `input`, `model` and `train` count, less what has no effect on weights.
        examples_digest: digest of the records and of the buckets that they are batched in.
        source_digest: digest of the code, where a change of it should start anew.
    """
    return json_digest(
        {
            "input": config.input.model_dump(mode="json"),
            "model": config.model.model_dump(mode="json"),
            "train": config.train.model_dump(mode="json", exclude=_WITHOUT_EFFECT),
            "weights": weights_digest(config.model.weights),
            "examples": examples_digest,
            "source": source_digest,
        }
    )


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        checkpoints_dir: the folder above, or the URI of one; holds one folder a run.
        key: from `checkpoint_key`.
        keep: how many of the newest stay.
    """

    def __init__(self, checkpoints_dir: str | os.PathLike[str], key: str, keep: int) -> None:
        self.key = key
        self._keep = keep
        self._folder = open_folder(run_folder(checkpoints_dir, key))

    def steps(self) -> list[int]:
        """Returns the steps with a checkpoint, ascending; [] where there is no folder."""
        matches = (_FILE_NAME.fullmatch(name) for name in self._folder.names())
        return sorted(int(match[1]) for match in matches if match)

    def save(
        self,
        step: int,
        arrays: dict[str, np.ndarray],
        history: dict[str, Any],
        best_step: int | None = None,
    ) -> str:
        """Writes a checkpoint, whole or not at all, and removes the oldest beyond `keep`.

        Args:
            step: updates done so far, which is also the step that comes next.
            arrays: everything the run needs to go on, by name.
            history: JSON values that come back from `load` as they are.
            best_step: whose checkpoint stays besides the newest.

        Returns:
            The file's path or URI.
        """
        metadata = {"run": json.dumps({"key": self.key, "step": step, "history": history})}
        self._folder.write(_name(step), lambda path: save_file(arrays, path, metadata=metadata))
        for old in self.steps()[: -self._keep]:
            if old != best_step:
                self._folder.remove(_name(old))
        return self._folder.address(_name(step))

    def load(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Returns the arrays and the history of a checkpoint.

        Raises:
            TrainingError: the file is broken or belongs to another run.
        """
        path = self._folder.address(_name(step))
        try:
            with self._folder.local_copy(_name(step)) as local:
                run = json.loads(read_metadata(local)["run"])
                arrays = load_file(local)
        except (SafetensorError, OSError, ValueError, KeyError, struct.error) as error:
            raise TrainingError(
                f"{path}: not a whole checkpoint ({error}); remove it to go on from the one before"
            ) from None
        if run["key"] != self.key:
            raise TrainingError(
                f"{path}: belongs to another run (settings or examples differ: key "
                f"{run['key'][:16]}, this run has {self.key[:16]}); give another --checkpoints"
            )
        return arrays, run["history"]

    def remove_partial_files(self) -> None:
        """Removes what a killed writer left behind."""
        self._folder.remove_partial_files()


def _name(step: int) -> str:
    return f"step-{step:08d}.safetensors"


def run_folder(checkpoints_dir: str | os.PathLike[str], key: str) -> str:
    """Returns the folder of the run with `key`."""
    return joined(checkpoints_dir, key[:16])


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Returns the metadata of a safetensors file; its arrays are not read."""
    with open(path, "rb") as stream:
        [length] = struct.unpack("<Q", stream.read(8))
        metadata: dict[str, str] = json.loads(stream.read(length))["__metadata__"]
    return metadata
