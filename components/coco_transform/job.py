"""What CocoTransform's shard machine is told about one shard."""

from dataclasses import dataclass
from pathlib import Path

from components import shard_job
from components.coco_transform.settings import CocoTransformSettings
from model.examples import split_folder


@dataclass(frozen=True)
class ShardJob(shard_job.ShardJob):
    """One shard of CocoExampleGen, to be one of CocoTransform under the same file name.

    Attributes:
        source_dir: CocoExampleGen's folder.
        records: records of the source, by its manifest.
        sha256: digest of the source's file, by its manifest.
        num_classes: K.
        settings: settings of the component.
    """

    source_dir: str
    records: int
    sha256: str
    num_classes: int
    settings: CocoTransformSettings

    @property
    def pictures_to_do(self) -> int:
        """See `ShardJob`."""
        return self.records

    @property
    def source_path(self) -> Path:
        """Where the source's records lie."""
        return split_folder(self.source_dir, self.split) / self.file
