"""COCO files of object stores on the disk, which they are read from several times."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from components.coco_example_gen.source import SplitSource
from ground.addresses import Place, is_address, shown_address
from ground.errors import ConfigError, DatasetError
from model.object_store import open_store

_SCRATCH = ".fetched"


def has_addresses(sources: Sequence[SplitSource]) -> bool:
    """Tells whether a COCO file lies in an object store."""
    return any(is_address(annotations) for source in sources for annotations, _ in source.places)


@contextlib.contextmanager
def fetched(
    sources: Sequence[SplitSource], folder: Path
) -> Iterator[tuple[list[SplitSource], Callable[[str], str]]]:
    """Yields splits whose COCO files lie on the disk, and what a text says with their addresses.

    Args:
        sources: the splits.
        folder: gets a scratch folder, which vanishes; nobody else may be at work there.

    Raises:
        ServiceError: the store does not give one.
        DatasetError: the body raises it; with addresses in place of the scratch folder's files.
        ConfigError: the body raises it; with addresses in place of the scratch folder's files.
    """
    if not has_addresses(sources):
        yield list(sources), str
        return
    scratch = folder / _SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    copies: dict[Place, Path] = {}

    def copied(place: Place) -> Place:
        if not is_address(place):
            return place
        if place not in copies:
            above, _, name = str(place).rpartition("/")
            copy = scratch / str(len(copies)) / name
            open_store(above).get(name, copy)
            copies[place] = copy
        return copies[place]

    def with_addresses(text: str) -> str:
        for address, copy in copies.items():
            text = text.replace(str(copy), shown_address(address))
        return text

    try:
        on_disk = [
            source._replace(
                annotations=source.annotations if source.files else copied(source.annotations),
                files=tuple(
                    file._replace(annotations=copied(file.annotations)) for file in source.files
                ),
            )
            for source in sources
        ]
        yield on_disk, with_addresses
    except (DatasetError, ConfigError) as error:
        raise type(error)(with_addresses(str(error))) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
