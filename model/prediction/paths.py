"""Which pictures are meant, and what their drawn copies are called."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from ground.errors import DatasetError
from model.pictures import SUFFIXES

_MAX_STEM_BYTES = 200  # file systems take 255 for a name, of which a partial file needs some


class FoundPicture(NamedTuple):
    """A picture file to look at.

    Attributes:
        path: path of the file, as it was given or below the folder that was.
        below: its path in that folder; of a file its name.
    """

    path: Path
    below: PurePath


def find_pictures(arguments: Iterable[str]) -> list[FoundPicture]:
    """Returns the files named, of a folder all pictures in and below it, of a pattern what fits.

    Folders are searched by name; hidden files and folders are left out, links are followed. What
    was found twice by the same path counts once.

    Args:
        arguments: paths of files and folders; what is neither and has one of `*?[` is a pattern,
            whose `**` stands for folders of any depth. Of what fits a pattern, files that are
            named like pictures count.

    Raises:
        DatasetError: a folder or a pattern gives no pictures, or a folder cannot be read.
    """
    found: dict[Path, FoundPicture] = {}
    for argument in arguments:
        for picture in _found_by(argument):
            found.setdefault(picture.path, picture)
    return list(found.values())


def _found_by(argument: str) -> list[FoundPicture]:
    if os.path.isdir(argument):
        return _inside(Path(argument))
    if os.path.lexists(argument) or not glob.has_magic(argument):
        return [FoundPicture(Path(argument), PurePath(Path(argument).name))]
    pictures: list[FoundPicture] = []
    for match in sorted(glob.glob(argument, recursive=True)):
        if Path(match).suffix.lower() in SUFFIXES and not os.path.isdir(match):
            pictures.append(FoundPicture(Path(match), PurePath(Path(match).name)))
        elif (
            os.path.isdir(match) and "**" not in argument
        ):  # else the pattern itself leads into its folders
            pictures += _inside(Path(match), may_be_empty=True)
    if not pictures:
        raise DatasetError(f"{argument}: no file of that name, and as a pattern it fits no picture")
    return pictures


def _inside(folder: Path, may_be_empty: bool = False) -> list[FoundPicture]:
    pictures = [
        FoundPicture(path, path.relative_to(folder))
        for path in _files_below(folder, frozenset())
        if path.suffix.lower() in SUFFIXES
    ]
    if not pictures and not may_be_empty:
        raise DatasetError(f"{folder}: a folder without pictures ({', '.join(SUFFIXES)})")
    return pictures


def _files_below(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """Yields files by name, then those of the folders; `above` are the folders that lead here."""
    try:
        status = folder.stat()
        with os.scandir(folder) as entries:
            listed = sorted((e for e in entries if not e.name.startswith(".")), key=_name)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error.strerror})") from None
    identity = (status.st_dev, status.st_ino)
    if identity in above:  # a link to a folder that it lies in
        return
    folders = []
    for entry in listed:
        if _is_folder(entry):
            folders.append(entry)
        else:
            yield folder / entry.name
    for entry in folders:
        yield from _files_below(folder / entry.name, above | {identity})


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: told when it is read
        return False


def places_of(arguments: Iterable[str], found: Iterable[FoundPicture]) -> list[Path]:
    """Returns what the arguments have us read: a folder stands for all below it."""
    folders = {Path(argument) for argument in arguments if os.path.isdir(argument)}
    others = [p.path for p in found if len(p.below.parts) == 1 and p.path.parent not in folders]
    return [*folders, *others]


def output_names(pictures: Sequence[PurePath], reserved: Iterable[str] = ()) -> list[str]:
    """Returns a `.jpg` path for each picture, in its folders; equal ones get a number.

    Args:
        pictures: paths below the folders that they come from.
        reserved: names that no file or folder at the top may take.

    >>> output_names([PurePath("a.png"), PurePath("b/a.png"), PurePath("a.tif")])
    ['a.jpg', 'b/a.jpg', 'a-2.jpg']
    """
    reserved = set(reserved)
    folders = [_renamed(path.parent, reserved) for path in pictures]
    taken = {str(folder) for below in set(folders) for folder in (below, *below.parents)}
    taken |= reserved
    names = []
    for path, folder in zip(pictures, folders, strict=True):
        stem = path.stem[:_MAX_STEM_BYTES]
        while len(os.fsencode(stem)) > _MAX_STEM_BYTES:  # by letters: half of one is no name
            stem = stem[:-1]
        name, count = str(folder / f"{stem}.jpg"), 1
        while name in taken:
            count += 1
            name = str(folder / f"{stem}-{count}.jpg")
        taken.add(name)
        names.append(name)
    return names


def _renamed(folder: PurePath, reserved: set[str]) -> PurePath:
    """Returns a folder whose first part is not reserved."""
    if not folder.parts or folder.parts[0] not in reserved:
        return folder
    return PurePath(f"{folder.parts[0]}-pictures", *folder.parts[1:])
