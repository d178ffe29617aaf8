"""Where a split comes from, and whether it is there; looked at before Beam is loaded."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ground.errors import DatasetError

if TYPE_CHECKING:  # a command's help comes without NumPy
    from model.coco.splits import Portion


class SplitSource(NamedTuple):
    """Where one split comes from, and how many shards it gets.

    Attributes:
        name: of the split.
        annotations: its COCO JSON.
        pictures: folder of the pictures in it.
        shards: that it gets.
        portion: of the JSON that the split has; None is all of it.
    """

    name: str
    annotations: Path
    pictures: Path
    shards: int
    portion: "Portion | None" = None


def check_source(source: SplitSource) -> None:
    """Checks what can be checked at once.

    Raises:
        DatasetError: the annotation file or the picture folder is missing.
    """
    if not source.annotations.is_file():
        raise DatasetError(
            f"{source.annotations}: no such annotation file for split {source.name!r}: "
            "check the data folder and the split's paths"
        )
    if not source.pictures.is_dir():
        raise DatasetError(
            f"{source.pictures}: no such picture folder for split {source.name!r}: "
            "check the data folder and the split's paths"
        )
