"""Where a local run keeps its things, below one root folder, and the lock on that folder."""

import contextlib
import dataclasses
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from ground.files import held_folder
from ground.output_record import SUMMARY_FILE, settle
from ground.outputs import Paths, check_folder, check_pattern, growing_folder

_WRITER = "pipeline"
_NAMES = (
    "artifacts",
    "checkpoints",
    "detections",
    "logs",
    "metadata.sqlite",
    "schemas",
    "serving",
    SUMMARY_FILE,
)


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

    @property
    def summary(self) -> Path:
        """What the last run came to."""
        return self.root / SUMMARY_FILE

    def has_output(self, node: str) -> bool:
        """Returns whether a node has written something here, in any run."""
        return any((self.artifacts / node).glob("*/*"))

    def check(self, inputs: Paths) -> None:
        """Checks that a run may write here; writes nothing.

        Args:
            inputs: files and folders that the run reads.

        Raises:
            OutputError: something would be harmed, or a library takes the path for a pattern.
        """
        check_pattern(self.root, "--root")
        check_folder(self.root, _WRITER, _NAMES, inputs, "--root", is_earlier_run)

    @contextlib.contextmanager
    def locked(self, inputs: Paths = ()) -> Iterator[None]:
        """Holds the folder, which is created, for one process; the system ends it with us.

        Args:
            inputs: see `check`.

        Raises:
            OutputError: see `check`.
            FolderInUseError: another process holds it.
        """
        inputs = list(inputs)
        self.check(inputs)
        growing_folder(self.root, _WRITER, _NAMES, inputs, "--root", is_earlier_run)
        with held_folder(self.root, "wait for its end, or give another --root"):
            settle(self.root)
            yield


def is_earlier_run(root: Path) -> bool:
    """Returns whether a folder without a record is of a run of ours before there were records."""
    metadata = root / "metadata.sqlite"
    if not (metadata.is_file() and (root / "logs" / "pipeline.log").is_file()):
        return False
    address = f"file:{quote(str(metadata))}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True)) as db:
        try:
            query = "SELECT 1 FROM Type WHERE name LIKE '%CocoExampleGen' LIMIT 1"
            return db.execute(query).fetchone() is not None
        except sqlite3.Error:
            return False
