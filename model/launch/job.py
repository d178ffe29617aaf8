"""What the launcher tells its workers: one JSON file in the run's folder."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

from ground.files import write_json
from model.training.storage import is_remote, joined
from model.training_settings import TrainingSettings


@dataclass(frozen=True)
class TrainingJob:
    """One run as its workers see it.

    Attributes:
        settings: JSON of `TrainingSettings`.
        examples_dir: CocoTransform's examples.
        work_dir: where logs, status and TensorBoard scalars go while it runs.
        checkpoints_dir: holds one folder a run.
        key: the run's, from `checkpoint_key`.
        model_dir: where the chief exports the model to.
        threads: CPU threads of a worker; 0 is all cores.
    """

    settings: str
    examples_dir: str
    work_dir: str
    checkpoints_dir: str
    key: str
    model_dir: str
    threads: int

    @property
    def config(self) -> TrainingSettings:
        """The settings, checked."""
        return TrainingSettings.from_json(self.settings)

    @property
    def status_dir(self) -> Path:
        """Folder of the workers' beats and events."""
        return Path(self.work_dir) / "status"

    @property
    def logs_dir(self) -> Path:
        """Folder of the workers' logs and stacks."""
        return Path(self.work_dir) / "logs"

    @property
    def compiled_dir(self) -> Path | None:
        """Folder for what XLA compiles; None where the checkpoints are in an object store."""
        folder = joined(self.checkpoints_dir, self.key[:16])
        return None if is_remote(folder) else Path(folder) / "xla"

    @property
    def stop_path(self) -> Path:
        """The file by which the launcher asks all workers to write a checkpoint and end."""
        return self.status_dir / "stop"

    def log_path(self, worker: int) -> Path:
        """Returns the file that takes what a worker prints."""
        return self.logs_dir / f"worker-{worker}.log"

    def stacks_path(self, worker: int) -> Path:
        """Returns the file that takes a worker's Python stacks on SIGUSR1."""
        return self.logs_dir / f"worker-{worker}.stacks"

    def without_start_weights(self) -> "TrainingJob":
        """Returns the job of a worker that starts from the chief's weights."""
        config = self.config
        model = config.model.model_copy(update={"weights": None})
        settings = config.model_copy(update={"model": model}).to_json()
        return dataclasses.replace(self, settings=settings)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the job as JSON."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "TrainingJob":
        """Returns the job in a file that `write` wrote."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
