"""What CocoTransform's shard machine is told about one shard."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components import shard_job
from components.coco_transform.settings import CocoTransformSettings
from ground.files import remove
from model.examples import split_folder
from model.object_store import open_store


@dataclass(frozen=True)
class ShardJob(shard_job.ShardJob):
    """One shard of CocoExampleGen, to be one of CocoTransform under the same file name.

    Attributes:
        source_dir: CocoExampleGen's folder; of one in an object store, all but the records.
        records: records of the source, by its manifest.
        sha256: digest of the source's file, by its manifest.
        num_classes: K.
        settings: settings of the component.
        source_address: where CocoExampleGen's folder lies in an object store; "" for one of a disk.
    """

    source_dir: str
    records: int
    sha256: str
    num_classes: int
    settings: CocoTransformSettings
    source_address: str = ""

    @property
    def pictures_to_do(self) -> int:
        """See `ShardJob`."""
        return self.records

    @property
    def source_path(self) -> Path:
        """Where the source's records lie."""
        return split_folder(self.source_dir, self.split) / self.file

    @contextlib.contextmanager
    def source_at_hand(self) -> Iterator[None]:
        """Has the source's records on the disk within the block.

        Raises:
            ServiceError: the store does not give them.
        """
        if not self.source_address:
            yield
            return
        name = self.source_path.relative_to(self.source_dir).as_posix()
        try:
            open_store(self.source_address).get(name, self.source_path)
            yield
        finally:
            remove(self.source_path)
