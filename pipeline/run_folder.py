"""Where a local run keeps its things, below one root folder, and the lock on that folder."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from configs.files import held_folder


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The paths of a local run. `root` is absolute: MLMD stores them."""

    root: Path

    @property
    def metadata(self) -> Path:
        """MLMD's SQLite file."""
        return self.root / "metadata.sqlite"

    @property
    def artifacts(self) -> Path:
        """What components write, one folder an output and execution."""
        return self.root / "artifacts"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints by training: they outlive a run that was stopped."""
        return self.root / "checkpoints"

    @property
    def detections(self) -> Path:
        """Detections by model and examples, so that a changed threshold needs no inference."""
        return self.root / "detections"

    @property
    def serving(self) -> Path:
        """Pushed models where the config names no other folder."""
        return self.root / "serving"

    @property
    def schemas(self) -> Path:
        """Copies of the curated schema, named by its digest."""
        return self.root / "schemas"

    @property
    def log(self) -> Path:
        """What TFX, Beam and TensorFlow have to say."""
        return self.root / "logs" / "pipeline.log"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder, which is created, for one process; the system ends it with us.

        Raises:
            FolderInUseError: another process holds it.
        """
        with held_folder(self.root, "wait for its end, or give another --root"):
            yield
