"""What is said and kept of a step whose losses or gradients are not finite."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from configs.errors import TrainingError
from model.training.step import StepReport


class NotFiniteError(TrainingError):
    """A loss or a gradient is not finite.

    Attributes:
        is_culprit: whether this worker's own losses are the ones that are not.
    """

    def __init__(self, message: str, is_culprit: bool) -> None:
        super().__init__(message)
        self.is_culprit = is_culprit


def is_culprit(report: StepReport) -> bool:
    """Returns whether this worker's own loss sums are not finite."""
    return not np.isfinite(list(report.local_sums.values())).all()


def keep_batch(work_dir: Path, step: int, worker: int, batch: Mapping[str, tf.Tensor]) -> Path:
    """Writes a worker's batch for inspection; returns the file."""
    path = work_dir / f"not-finite-step-{step}-worker-{worker}.npz"
    np.savez(path, **{name: tensor.numpy() for name, tensor in batch.items()})
    return path


def picture_ids(batch: Mapping[str, tf.Tensor]) -> list[int]:
    """Returns the ids of a batch's pictures; fillers are left out."""
    ids: list[int] = batch["image_ids"].numpy()[batch["valid"].numpy()].tolist()
    return ids


def description(step: int, report: StepReport, pictures: list[int]) -> str:
    """Returns what is not finite, with the loss terms, and on which pictures."""
    what = "gradients" if np.isfinite(report.loss) else "losses"
    losses = ", ".join(f"{name} {value:g}" for name, value in report.losses.items())
    return (
        f"step {step}: {what} not finite ({losses}, gradient norm {report.gradient_norm:g}) on "
        f"pictures {', '.join(map(str, pictures))}"
    )


def suspects(notes: list[bytes]) -> list[int]:
    """Returns the pictures of the workers whose losses are not finite, or of all workers.

    Args:
        notes: `note_for_others` of every worker.
    """
    told = [json.loads(note) for note in notes]
    culprits = [note for note in told if note["is_culprit"]] or told
    return [picture for note in culprits for picture in note["pictures"]]


def note_for_others(report: StepReport, pictures: list[int]) -> bytes:
    """Returns what the other workers are told of this one's part of the step."""
    return json.dumps({"is_culprit": is_culprit(report), "pictures": pictures}).encode()
