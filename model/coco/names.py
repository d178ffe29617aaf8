"""Finds the file of a picture that the JSON names in another way than the disk does."""

import functools
import hashlib
import os
import re
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from model.coco.policies import Judge
from model.encoded.files import path_inside, shown
from model.encoded.flaw import PictureFlaw

# Names of a folder that are looked at for one of another ending.
_MOST_NAMES = 1_000_000
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png")
_OF_MASKS = re.compile(
    r"mask|segm|annot|label|ground.?truth|(?<![a-z])(?:gt|seg)(?![a-z])", re.IGNORECASE
)
SAME_NAME, SAME_KIND, OTHER_KIND = 3, 2, 1  # of `likeness`


class FoundPicture(NamedTuple):
    """Where a picture lies.

    Attributes:
        name: name of the file, below the folder; as it is where there is none that fits.
        code: code of the reason that notes what differs; None where the name is the file's.
        detail: what differs.
    """

    name: str
    code: str | None = None
    detail: str = ""


class RepeatedNames:
    """Counts file names that came before, by a digest of each.

    Attributes:
        number: how many there are.
        first: such name; "" without one.
    """

    def __init__(self) -> None:
        self.number = 0
        self.first = ""
        self._seen: set[bytes] = set()

    def add(self, name: Any) -> None:
        """Takes the `file_name` of an entry."""
        key = hashlib.blake2b(repr(name).encode(errors="replace"), digest_size=8).digest()
        if key in self._seen and isinstance(name, str):
            self.number += 1
            self.first = self.first or name
        self._seen.add(key)


def find_picture(folder: str | os.PathLike[str], file_name: str, prefix: str = "") -> FoundPicture:
    """Returns the file of a picture: of its name, or the only one that is plainly meant.

    Whether the file lies inside the folder is left to the caller.

    Args:
        folder: folder of the pictures.
        file_name: name as the COCO file has it.
        prefix: taken off its front, where it begins so.
    """
    name = file_name.removeprefix(prefix)
    if os.path.lexists(os.path.join(folder, name)):
        return FoundPicture(name)
    for other in other_forms(name):
        if os.path.lexists(os.path.join(folder, other)):
            return FoundPicture(other, "picture_name_in_other_form", f"found as {other!r}")
    sub_folder, base = os.path.split(name.replace("\\", "/"))
    alike = _names_by_stem(os.path.join(folder, sub_folder)).get(stem_of(base), ())
    if len(alike) == 1:
        detail = f"there is {alike[0]!r}"
        return FoundPicture(os.path.join(sub_folder, alike[0]), "picture_ending_differs", detail)
    return FoundPicture(name)


def likeness(file_name: str, found: FoundPicture) -> int:
    """Returns how well a file that is there goes with the name that it was found by.

    `SAME_NAME`, perhaps written in another form; `SAME_KIND` with an ending such as JPG or jpeg
    for jpg; `OTHER_KIND`, such as png for jpg: that may be a mask of the picture.

    >>> likeness("a.jpg", FoundPicture("a.JPEG", "picture_ending_differs")) == SAME_KIND
    True
    """
    if found.code != "picture_ending_differs":
        return SAME_NAME
    return SAME_KIND if _kind_of(file_name) == _kind_of(found.name) else OTHER_KIND


def _kind_of(name: str) -> str:
    return os.path.splitext(name)[1].lower().replace(".jpeg", ".jpg")


def is_called_masks(folder: str) -> bool:
    """Returns whether a folder's path speaks of masks, which may have the names of the pictures.

    >>> [is_called_masks(name) for name in ("gt/train", "SegmentationClass", "images", "height")]
    [True, True, False, False]
    """
    return _OF_MASKS.search(folder) is not None


def locate_picture(
    folder: str | os.PathLike[str],
    file_name: str,
    prefix: str,
    judge: Judge,
    show: Callable[[str], str] = shown,
) -> str:
    """Returns the path of a picture's file; how it was found is noted with `judge`.

    Args:
        folder: folder of the pictures.
        file_name: name as the COCO file has it.
        prefix: taken off its front, where it begins so.
        judge: what judges this record.
        show: says a path in a message.

    Raises:
        LeftOut: the policy leaves a picture out that lies there, or whose name differs so, and
            one whose name no file can have.
    """
    found = find_picture(folder, file_name, prefix)
    if found.code:
        judge.note(found.code, found.detail)
    try:
        path_inside(folder, found.name, show)
    except PictureFlaw as flaw:
        judge.note(flaw.code, flaw.detail)
    return os.path.join(folder, found.name)


def forms_of_name(file_name: str) -> set[str]:
    """Returns a file name with and without its folder and its ending.

    >>> sorted(forms_of_name("a/1.jpg"))
    ['1', '1.jpg', 'a/1', 'a/1.jpg']
    """
    name = file_name.replace("\\", "/")
    base = name.rpartition("/")[2]
    return {file_name, name, base, os.path.splitext(name)[0], os.path.splitext(base)[0]}


def other_forms(name: str) -> Iterator[str]:
    r"""Yields the other ways to write one and the same file name.

    >>> list(other_forms("a%20b\\c.jpg"))
    ['a%20b/c.jpg', 'a b\\c.jpg', 'a b/c.jpg']
    """
    seen = {name}
    for unquoted in (name, urllib.parse.unquote(name)):
        for slashed in (unquoted, unquoted.replace("\\", "/")):
            for form in ("", "NFC", "NFD"):
                other = unicodedata.normalize(form, slashed) if form else slashed  # type: ignore[arg-type]
                if other not in seen and "\0" not in other:
                    seen.add(other)
                    yield other


def _names_by_stem(folder: str) -> dict[str, tuple[str, ...]]:
    """Returns the names of the pictures in a folder by stem; empty where it cannot be listed."""
    try:
        changed = os.stat(folder).st_mtime_ns
    except (OSError, ValueError):
        return {}
    return _listed(folder, changed)


@functools.lru_cache(maxsize=16)
def _listed(folder: str, changed: int) -> dict[str, tuple[str, ...]]:
    del changed  # only there so that a changed folder is listed anew
    names: dict[str, tuple[str, ...]] = {}
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number == _MOST_NAMES:
                    return {}
                if entry.name.lower().endswith(PICTURE_ENDINGS):
                    stem = stem_of(entry.name)
                    names[stem] = (*names.get(stem, ()), entry.name)
    except OSError:
        return {}
    return names


def stem_of(name: str) -> str:
    """Returns what two names have in common that differ in ending, case or Unicode form alone."""
    return unicodedata.normalize("NFC", os.path.splitext(name)[0]).casefold()
