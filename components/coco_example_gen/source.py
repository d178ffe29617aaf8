"""Where a split comes from, and whether it is there; looked at before Beam is loaded."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ground.addresses import Place, is_address, shown_address
from ground.errors import DatasetError

if TYPE_CHECKING:  # a command's help comes without NumPy
    from model.coco.merge import SourceFile
    from model.coco.splits import Portion

# Of the JSON that several sources are merged into.
MERGED_FILE = "merged.json"


class SplitSource(NamedTuple):
    """Where one split comes from, and how many shards it gets. A place may be an address.

    Attributes:
        name: name of the split.
        annotations: its COCO JSON; of several sources the one that they are merged into.
        pictures: folder of the pictures in it; of several sources the folder above all.
        shards: that it gets.
        portion: portion of the JSON that the split has; None is all of it.
        files: the sources that are merged; empty where the JSON is the user's own.
    """

    name: str
    annotations: Place
    pictures: Place
    shards: int
    portion: "Portion | None" = None
    files: "tuple[SourceFile, ...]" = ()

    @property
    def places(self) -> list[tuple[Place, Place]]:
        """The user's own COCO files that it comes from, each with the folder of its pictures."""
        if self.files:
            return [(file.annotations, file.pictures) for file in self.files]
        return [(self.annotations, self.pictures)]

    @property
    def read(self) -> list[Place]:
        """The user's files and folders that are read."""
        return [path for place in self.places for path in place]


def check_source(source: SplitSource) -> None:
    """Checks what can be checked at once.

    Raises:
        DatasetError: an annotation file or a picture folder is missing.
        ServiceError: an object store does not answer, or refuses.
        ConfigError: there is no such kind of store.
    """
    for annotations, pictures in source.places:
        for place, is_folder in ((annotations, False), (pictures, True)):
            if not _is_there(place, is_folder):
                kind = "picture folder" if is_folder else "annotation file"
                raise DatasetError(
                    f"{shown_address(place)}: no such {kind} for split {source.name!r}: "
                    "check the data folder and the split's paths"
                )


def _is_there(place: Place, is_folder: bool) -> bool:
    if not is_address(place):
        return Path(place).is_dir() if is_folder else Path(place).is_file()
    from model.object_store import open_store  # a command's help comes without it

    folder, _, name = str(place).rpartition("/")
    return open_store(str(place)).has("") if is_folder else open_store(folder).has(name)
