"""Which split a picture of a COCO file is in, where one file is split by its pictures.

A picture's split is a hash of its id, or of what a pattern finds in its file name; nothing else
counts, so that it stays where it is when others are added.
"""

import array
import bisect
import dataclasses
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import regex

from configs.data_schema import SPLIT_NAMES, SplitConfig, quoted
from ground.errors import ConfigError, DatasetError
from ground.wording import plural
from model.coco.stream import iterate_images
from model.coco.values import meant_integer
from model.encoded.files import shown

# Tells whether what belongs to the picture with an id is meant; None is no picture's.
Holds = Callable[[int | None], bool]

_MATCHING_SECONDS = 20.0  # of the processor, for all names of a file: a million takes two
_FIRST = SPLIT_NAMES[0]
# The number of pictures from which a split that is half as large as asked for is no accident.
_ENOUGH = 20


def everything(image_id: int | None) -> bool:
    """Holds all that a file has."""
    del image_id
    return True


def split_of_key(key: bytes, split: SplitConfig) -> int:
    """Returns the place in `SPLIT_NAMES` of what has a key: the same on every machine.

    A larger share takes pictures from the other split and gives none away.
    """
    digest = hashlib.blake2b(b"%d/%s" % (split.seed, key), digest_size=8).digest()
    # 53 bits: exact as a float, so that no rounding decides.
    return int((int.from_bytes(digest, "big") >> 11) / (1 << 53) >= split.train)


def split_of_id(image_id: int, split: SplitConfig) -> int:
    """Returns the place in `SPLIT_NAMES` of a picture that goes by its id."""
    return split_of_key(b"id/%d" % image_id, split)


def split_of_group(group: str, split: SplitConfig) -> int:
    """Returns the place in `SPLIT_NAMES` of the pictures of a group."""
    return split_of_key(b"group/" + _bytes(group), split)


class GroupPattern:
    """Finds the group of a picture in its file name.

    Args:
        pattern: the regular expression of `data.split.group`.

    Raises:
        ConfigError: the library that can be stopped reads none.
    """

    def __init__(self, pattern: str) -> None:
        try:
            self._pattern = regex.compile(pattern)
        except regex.error as error:
            raise ConfigError(
                f"data.split.group: {quoted(pattern)} is no regular expression ({error})"
            ) from None
        self._seconds_left = _MATCHING_SECONDS

    def group_of(self, file_name: Any) -> str | None:
        """Returns what the (...) of the pattern find; None where they find nothing.

        Raises:
            ConfigError: the pattern takes too long.
        """
        if not isinstance(file_name, str):
            return None
        started = time.process_time()
        try:
            found = self._pattern.search(file_name, timeout=max(self._seconds_left, 1e-3))
        except TimeoutError:
            raise ConfigError(
                f"data.split.group {quoted(self._pattern.pattern)} takes too long on file names "
                f"such as {shown(file_name)}: write it without a repeat of what can be read in "
                "several ways, such as (a|aa)+"
            ) from None
        self._seconds_left -= time.process_time() - started
        texts = [] if found is None else [text or "" for text in found.groups()]
        return "\0".join(texts) if any(texts) else None


@dataclasses.dataclass
class Division:
    """The pictures of a file by their splits.

    Attributes:
        split: how it is split.
        ids: image ids, sorted, each once.
        places: their splits, as places in `SPLIT_NAMES`.
        pictures: entries of `images` by split, also those without an id.
        groups: by split.
        ungrouped: pictures in whose file name the pattern finds nothing.
        an_ungrouped_name: one of them.
        shared_names: pictures whose file is that of one in another split.
        a_shared_name: one of them.
    """

    split: SplitConfig
    ids: "array.array[int]"
    places: bytes
    pictures: Counter[str]
    groups: Counter[str]
    ungrouped: int = 0
    an_ungrouped_name: str = ""
    shared_names: int = 0
    a_shared_name: str = ""

    def split_of(self, image_id: int | None) -> str:
        """Returns the split of what belongs to a picture.

        What belongs to none is in the first split; to one that the file does not list, where its
        id would be.
        """
        if image_id is None:
            return _FIRST
        at = bisect.bisect_left(self.ids, image_id)
        if at < len(self.ids) and self.ids[at] == image_id:
            return SPLIT_NAMES[self.places[at]]
        return SPLIT_NAMES[split_of_id(image_id, self.split)]

    def ids_of(self, name: str) -> set[int]:
        """Returns the ids of a split's pictures."""
        place = SPLIT_NAMES.index(name)
        return {id_ for id_, of in zip(self.ids, self.places, strict=True) if of == place}

    def facts(self, name: str) -> dict[str, Any]:
        """Returns what summaries and reports say of a split."""
        facts: dict[str, Any] = {
            "asked": getattr(self.split, name),
            "pictures": self.pictures[name],
            "of": self.pictures.total(),
            "seed": self.split.seed,
        }
        if self.split.group is not None:
            groups = {"groups": self.groups[name], "of_groups": self.groups.total()}
            facts |= {"group": self.split.group, **groups, "ungrouped": self.ungrouped}
        return facts

    def notes(self, name: str) -> list[str]:
        """Returns what is odd about a split, a line each."""
        return [*self._notes_on_size(name), *(self._notes_on_names() if name == _FIRST else [])]

    def _notes_on_size(self, name: str) -> Iterator[str]:
        total, asked = self.pictures.total(), getattr(self.split, name)
        got = self.pictures[name] / total
        ratios = (got / asked, (1 - got) / (1 - asked))
        if name != _FIRST and total >= _ENOUGH and not all(0.5 <= r <= 2 for r in ratios):
            of_groups = f" ({plural(self.groups.total(), 'group')})" if self.split.group else ""
            yield (
                f"data.split gives it {self.pictures[name]:,} of {plural(total, 'picture')}"
                f"{of_groups}, {got:.2f} in place of {asked:g}: another data.split.seed draws "
                "another split"
            )

    def _notes_on_names(self) -> Iterator[str]:
        if self.split.group is not None and self.ungrouped:
            yield (
                f"data.split.group {quoted(self.split.group)} finds nothing in "
                f"{self.ungrouped:,} of {plural(self.pictures.total(), 'file name')} (such as "
                f"{shown(self.an_ungrouped_name)}): each of these pictures goes by its image id"
            )
        if self.shared_names:
            yield (
                f"{plural(self.shared_names, 'picture')} and an earlier one of the other split "
                f"have one file name (such as {shown(self.a_shared_name)}): "
                "data.split.group='(.+)' keeps them together"
            )


def read_division(path: str | os.PathLike[str], split: SplitConfig) -> Division:
    """Splits the pictures of a COCO file; reads its `images` once.

    Raises:
        ConfigError: the pattern finds nothing in any file name, or takes too long.
        DatasetError: the file is none of COCO's, or a split gets no picture.
    """
    reader = _DivisionReader(split)
    for image in iterate_images(path):
        reader.add(image)
    division = reader.division()
    total = plural(division.pictures.total(), "picture")
    if split.group is not None and not division.groups:
        raise ConfigError(
            f"data.split.group {quoted(split.group)} finds nothing in the file names of {path} "
            f"(such as {shown(division.an_ungrouped_name)}): null splits by image id"
        )
    for name in SPLIT_NAMES:
        if not division.pictures[name]:
            groups = f" in {plural(division.groups.total(), 'group')}" if split.group else ""
            raise DatasetError(
                f"{path}: data.split leaves split {name!r} without a picture: the file lists "
                f"{total}{groups}, of which it asks for {getattr(split, name):g}. "
                f"{_remedy(division)}"
            )
    return division


def _remedy(division: Division) -> str:
    """Returns what to do where a split gets no picture."""
    if len(division.ids) < 2:
        return "One picture makes no two splits: add others"
    if division.groups.total() == 1 and not division.ungrouped:
        return (
            "A group is never parted: set data.split.group to a pattern that finds more of them, "
            "or to null"
        )
    return "Set data.split.seed to another number, or another share"


class _DivisionReader:
    """Collects the pictures of a file: 9 bytes of each, and 8 of each name and group."""

    def __init__(self, split: SplitConfig) -> None:
        self._split = split
        self._pattern = None if split.group is None else GroupPattern(split.group)
        self._ids = array.array("q")
        self._places = bytearray()
        self._groups: tuple[set[bytes], ...] = tuple(set() for _ in SPLIT_NAMES)
        self._names: tuple[set[bytes], ...] = tuple(set() for _ in SPLIT_NAMES)
        self._result = Division(split, array.array("q"), b"", Counter(), Counter())
        self._without_id = 0

    def add(self, image: Any) -> None:
        """Takes an entry of `images`."""
        image_id = meant_integer(image.get("id")) if isinstance(image, dict) else None
        if image_id is None:
            self._without_id += 1
            return
        name = image.get("file_name")
        group = None if self._pattern is None else self._pattern.group_of(name)
        if group is None:
            place = split_of_id(image_id, self._split)
        else:
            place = split_of_group(group, self._split)
            self._groups[place].add(_digest(group))
        if self._pattern is not None and group is None:
            self._result.ungrouped += 1
            if isinstance(name, str):
                self._result.an_ungrouped_name = self._result.an_ungrouped_name or name
        self._ids.append(image_id)
        self._places.append(place)
        if isinstance(name, str):
            self._see_name(name, place)

    def _see_name(self, name: str, place: int) -> None:
        digest = _digest(name)
        if any(digest in names for at, names in enumerate(self._names) if at != place):
            self._result.shared_names += 1
            self._result.a_shared_name = self._result.a_shared_name or name
        self._names[place].add(digest)

    def division(self) -> Division:
        """Returns what was collected; an id that comes again is where it was first."""
        places = np.frombuffer(self._places, np.uint8)
        ids, first, again = np.unique(
            np.asarray(self._ids, np.int64), return_index=True, return_inverse=True
        )
        of_first = places[first]
        counts = np.bincount(of_first[again.reshape(-1)], minlength=len(SPLIT_NAMES))
        result = self._result
        result.ids = array.array("q", ids.tobytes())
        result.places = of_first.tobytes()
        result.pictures = Counter(dict(zip(SPLIT_NAMES, counts.tolist(), strict=True)))
        result.pictures[_FIRST] += self._without_id
        groups = zip(SPLIT_NAMES, map(len, self._groups), strict=True)
        result.groups.update({name: number for name, number in groups if number})
        return result


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _digest(text: str) -> bytes:
    return hashlib.blake2b(_bytes(text), digest_size=8).digest()


class Portion(NamedTuple):
    """The part of a COCO file that one split has.

    Attributes:
        split: how the file is split.
        name: the split's name.
    """

    split: SplitConfig
    name: str

    def of(self, division: Division) -> Holds:
        """Returns what tells whether an entry is in it."""
        return lambda image_id: division.split_of(image_id) == self.name


def holds_of(path: str | os.PathLike[str], portion: Portion | None) -> Holds:
    """Returns what tells which entries of a file are meant; reads the file where it is split."""
    if portion is None:
        return everything
    return portion.of(read_division(path, portion.split))
