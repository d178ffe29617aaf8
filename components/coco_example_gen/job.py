"""What CocoExampleGen's shard machine is told about one shard."""

from dataclasses import dataclass

from components import shard_job
from components.coco_example_gen import spool
from components.coco_example_gen.spread import HashRange
from configs.schema import Policy
from ground.addresses import is_address
from model.coco.entries import AS_COCO, Forms
from model.coco.merge import SourceFile, source_of
from model.coco.splits import Portion
from model.examples import Category


@dataclass(frozen=True)
class ShardJob(shard_job.ShardJob):
    """All that is needed to write one shard of examples.

    Attributes:
        spool_folder: folder of the split.
        pictures: folder of the split, or its address.
        rejects: file that gets the shard's rejects.
        max_picture_pixels: limit of height x width.
        policies: by reason code.
        categories: by COCO id.
        annotations_file: the COCO JSON.
        hashes: range of the hashes of its pictures' ids.
        spooled: what the shard's spool file got.
        forms: how values in the JSON are meant.
        picture_prefix: taken off the front of file names.
        portion: portion of the COCO JSON that the split has; None is all of it.
        files: the sources that the COCO JSON was merged from; empty for a user's own.
        not_kept: category ids whose objects are in no spool file (`data.classes`).
    """

    spool_folder: str
    pictures: str
    rejects: str
    max_picture_pixels: int
    policies: dict[str, Policy]
    categories: dict[int, Category]
    annotations_file: str
    hashes: HashRange
    spooled: spool.Accounts
    forms: Forms = AS_COCO
    picture_prefix: str = ""
    portion: Portion | None = None
    not_kept: frozenset[int] = frozenset()
    files: tuple[SourceFile, ...] = ()

    @property
    def pictures_to_do(self) -> int:
        """See `ShardJob`."""
        return self.spooled.pictures.number

    @property
    def reads_stores(self) -> bool:
        """Whether some pictures lie in an object store."""
        return any(map(is_address, [self.pictures, *(file.pictures for file in self.files)]))

    def place_of(self, image_id: int, file_name: str) -> tuple[str, str]:
        """Returns the folder that a picture's file has to be in, and its name there."""
        if not self.files:
            return self.pictures, file_name
        file = source_of(image_id, self.files)
        return str(file.pictures), file.own_name(file_name)
