"""What is said and kept of a step whose losses or gradients are not finite."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ground.errors import TrainingError
from model.batch import Batch, named_arrays
from model.training.step import StepReport


class NotFiniteError(TrainingError):
    """A loss or a gradient is not finite."""


class Part(NamedTuple):
    """One worker's part of a step that is not finite, as every worker is told of it.

    Attributes:
        worker: its number.
        pictures: the ids of its batch.
        is_culprit: whether its own loss sums are not finite.
        path: the file that its batch is kept in.
    """

    worker: int
    pictures: list[int]
    is_culprit: bool
    path: str

    def to_bytes(self) -> bytes:
        """Returns what `from_bytes` reads."""
        return json.dumps(self).encode()

    @classmethod
    def from_bytes(cls, text: bytes) -> "Part":
        """Returns what `to_bytes` wrote."""
        return cls(*json.loads(text))


def own_part(work_dir: Path, step: int, worker: int, report: StepReport, batch: Batch) -> Part:
    """Keeps this worker's batch for inspection; returns its part of the step."""
    is_culprit = not np.isfinite(list(report.local_sums.values())).all()
    path = keep_batch(work_dir, step, worker, batch)
    return Part(worker, picture_ids(batch), bool(is_culprit), str(path))


def suspects(parts: Sequence[Part]) -> list[Part]:
    """Returns the parts of the workers whose own losses are not finite, or all parts."""
    return [part for part in parts if part.is_culprit] or list(parts)


def keep_batch(work_dir: Path, step: int, worker: int, batch: Batch) -> Path:
    """Writes a worker's batch for inspection; returns the file."""
    path = work_dir / f"not-finite-step-{step}-worker-{worker}.npz"
    arrays: dict[str, Any] = named_arrays(batch)
    np.savez(path, **arrays)
    return path


def picture_ids(batch: Batch) -> list[int]:
    """Returns the ids of a batch's pictures; fillers are left out."""
    ids: list[int] = batch.image_ids.numpy()[batch.valid.numpy()].tolist()
    return ids


def description(step: int, report: StepReport, parts: Sequence[Part]) -> str:
    """Returns what is not finite, with the loss terms, on which pictures of which workers."""
    what = "gradients" if np.isfinite(report.loss) else "losses"
    losses = ", ".join(f"{name} {value:g}" for name, value in report.losses.items())
    pictures = ", ".join(str(picture) for part in parts for picture in part.pictures)
    workers = ", ".join(str(part.worker) for part in parts)
    return (
        f"step {step}: {what} not finite ({losses}, gradient norm {report.gradient_norm:g}) on "
        f"pictures {pictures} of worker {workers}"
    )
