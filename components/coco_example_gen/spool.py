"""Spreads the records of a COCO JSON over one small file an output shard, without the pictures.

The JSON is streamed, so memory does not grow with it, and each shard can then be worked on alone:
all that belongs to a picture is in the file of its shard, in the JSON's order.
"""

import array
import contextlib
import dataclasses
import functools
import os
import pickle
import struct
from collections import Counter
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from components.coco_example_gen.spread import HashRange, Spread
from components.handovers import Account, difference, lost_on_the_way
from ground.wording import plural
from model.coco.names import RepeatedNames
from model.coco.splits import Holds, everything
from model.coco.stream import iterate_annotations, iterate_images
from model.coco.values import integer_at, shortened

_IMAGE, _ANNOTATION = 0, 1
# Kind, image id, place in the JSON's list, length of the pickled entry.
_HEADER = struct.Struct("<BqqI")
_REPEATED_IDS_FILE = "repeated.npy"
_BUFFER_BYTES = 1 << 16  # of each shard's file
_REMEMBERED_IDS = 1 << 12  # a picture's objects often stand together

Places = npt.NDArray[np.int64]
# Gives the class of an entry of `annotations` where that is not kept; else None.
LeftOutName = Callable[[Any], str | None]
# Called with (reason code, what is wrong, the entry) for what belongs to no shard.
OnHomeless = Callable[[str, str, Any], None]


class Entry(NamedTuple):
    """Where an entry lies in a spool file, and its place in the JSON's list."""

    place: int
    offset: int
    length: int


@dataclasses.dataclass
class Accounts:
    """How many pictures and objects passed; the keys are their places in the JSON's lists."""

    pictures: Account = dataclasses.field(default_factory=Account)
    objects: Account = dataclasses.field(default_factory=Account)

    def __add__(self, other: "Accounts") -> "Accounts":
        """Returns the accounts of both."""
        return Accounts(self.pictures + other.pictures, self.objects + other.objects)


@dataclasses.dataclass
class Spooled:
    """What became of the entries of a JSON, each number counted where it happened.

    Attributes:
        listed: what the JSON's lists hold for this split.
        elsewhere: what they hold for another one.
        not_kept: objects of `listed` by the class that is not kept.
        homeless: what belongs to no shard, or is not kept.
        shards: what each spool file got.
        names: names of the pictures' files.
    """

    listed: Accounts
    homeless: Accounts
    shards: list[Accounts]
    elsewhere: Accounts = dataclasses.field(default_factory=Accounts)
    not_kept: Counter[str] = dataclasses.field(default_factory=Counter)
    names: RepeatedNames = dataclasses.field(default_factory=RepeatedNames)


@dataclasses.dataclass
class SpoolIndex:
    """What a spool file holds.

    Attributes:
        images: first entry of each image id.
        repeated_images: entries whose image id came before.
        annotations: entries by image id, in the JSON's order.
        accounts: accounts of all of them.
    """

    images: dict[int, Entry]
    repeated_images: list[tuple[int, Entry]]
    annotations: dict[int, list[Entry]]
    accounts: Accounts


def nothing_left_out(annotation: Any) -> None:
    """Leaves no class out."""
    del annotation


def spool_path(folder: str | os.PathLike[str], shard: int) -> Path:
    """Returns the spool file of a shard."""
    return Path(folder) / f"{shard:05d}"


def write_spool(
    annotations_file: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    spread: Spread,
    on_homeless: OnHomeless,
    holds: Holds = everything,
    left_out_name: LeftOutName = nothing_left_out,
) -> Spooled:
    """Writes the spool files of a COCO JSON into `folder`; returns what became of its entries.

    Args:
        annotations_file: the JSON.
        folder: gets a file a shard.
        spread: gives the shard of a picture.
        on_homeless: called with what belongs to no shard.
        holds: tells which entries the split has.
        left_out_name: gives the class of an object where that is not kept; such objects are in no
            spool file.

    Raises:
        DatasetError: the JSON is cut off, or no COCO instances file; or entries were lost.
    """
    shards = len(spread.firsts)
    spooled = Spooled(Accounts(), Accounts(), [Accounts() for _ in range(shards)])
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(open(spool_path(folder, shard), "wb", _BUFFER_BYTES))
            for shard in range(shards)
        ]

        shard_of = functools.lru_cache(_REMEMBERED_IDS)(spread.shard_of)

        def put(kind: int, image_id: int, place: int, entry: Any) -> None:
            content = pickle.dumps(entry, protocol=4)
            shard = shard_of(image_id)
            streams[shard].write(_HEADER.pack(kind, image_id, place, len(content)) + content)
            _account(spooled.shards[shard], kind).add(place)

        _spool_images(annotations_file, holds, put, on_homeless, spooled)
        ids, id_places = _spool_annotations(
            annotations_file, holds, left_out_name, put, on_homeless, spooled
        )
    _check_spooled(annotations_file, folder, spooled, holds, left_out_name)
    np.save(Path(folder) / _REPEATED_IDS_FILE, repeated_places(ids, id_places))
    return spooled


def _account(accounts: Accounts, kind: int) -> Account:
    return accounts.objects if kind == _ANNOTATION else accounts.pictures


def _check_spooled(
    annotations_file: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    spooled: Spooled,
    holds: Holds,
    left_out_name: LeftOutName,
) -> None:
    """Checks that each entry of the JSON's lists is in a spool file, or belongs to none.

    Raises:
        DatasetError: entries were lost, with ids.
    """
    put = sum(spooled.shards, Accounts()) + spooled.homeless
    for noun in ("picture", "object"):
        listed, found = (getattr(accounts, f"{noun}s") for accounts in (spooled.listed, put))
        if listed != found:
            raise lost_on_the_way(
                str(annotations_file),
                "the JSON to the spool files",
                f"{plural(listed.number, noun)} listed",
                f"{found.number:,} spooled",
                missing_from_spools(
                    annotations_file, folder, len(spooled.shards), holds, left_out_name
                ),
            )


def read_index(folder: str | os.PathLike[str], shard: int) -> SpoolIndex:
    """Returns where the entries of a shard lie; reads their headers only.

    Of a file that is cut off, what is whole: its accounts are not those that were written.
    """
    index = SpoolIndex({}, [], {}, Accounts())
    path = spool_path(folder, shard)
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        while len(header := stream.read(_HEADER.size)) == _HEADER.size:
            kind, image_id, place, length = _HEADER.unpack(header)
            entry = Entry(place, stream.tell(), length)
            if entry.offset + length > size:
                break
            _account(index.accounts, kind).add(place)
            if kind == _ANNOTATION:
                index.annotations.setdefault(image_id, []).append(entry)
            elif image_id in index.images:
                index.repeated_images.append((image_id, entry))
            else:
                index.images[image_id] = entry
            stream.seek(length, os.SEEK_CUR)
    return index


def missing_from_spools(
    annotations_file: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    shards: int,
    holds: Holds,
    left_out_name: LeftOutName = nothing_left_out,
) -> str:
    """Returns in words which ids of a JSON, that is read again, are not in its spool files."""
    found_images: list[Any] = []
    found_objects: list[Any] = []
    for shard in range(shards):
        index = read_index(folder, shard)
        found_images += [*index.images, *(image_id for image_id, _ in index.repeated_images)]
        with open(spool_path(folder, shard), "rb") as stream:
            for entries in index.annotations.values():
                found_objects += [entry.get("id") for _, entry in iterate_entries(stream, entries)]
    images = [
        image_id
        for image in iterate_images(annotations_file)
        if (image_id := integer_at(image, "id")) is not None and holds(image_id)
    ]
    objects = [
        annotation.get("id")
        for annotation in iterate_annotations(annotations_file)
        if (image_id := integer_at(annotation, "image_id")) is not None
        and holds(image_id)
        and left_out_name(annotation) is None
    ]
    parts = [
        difference(images, found_images, "image id"),
        difference(map(shortened, objects), map(shortened, found_objects), "annotation id"),
    ]
    return "; ".join(part for part in parts if part)


def missing_from_spool(
    annotations_file: str | os.PathLike[str],
    hashes: HashRange,
    index: SpoolIndex,
    holds: Holds = everything,
    not_kept: Container[int | None] = (),
) -> str:
    """Returns in words which entries of a JSON a spool file should hold, and does not.

    Reads the JSON again: for the message on a spool file whose accounts do not agree.
    """

    def is_here(image_id: int | None) -> bool:
        return image_id is not None and holds(image_id) and hashes.holds(image_id)

    images = [
        integer_at(image, "id")
        for image in iterate_images(annotations_file)
        if is_here(integer_at(image, "id"))
    ]
    places: dict[int, Any] = {}
    for place, annotation in enumerate(iterate_annotations(annotations_file)):
        is_kept = integer_at(annotation, "category_id") not in not_kept
        if is_kept and is_here(integer_at(annotation, "image_id")):
            places[place] = annotation.get("id")
    found_images = [*index.images, *(image_id for image_id, _ in index.repeated_images)]
    found_places = [entry.place for entries in index.annotations.values() for entry in entries]
    parts = [
        difference(images, found_images, "image id"),
        difference(
            places.values(),
            [places.get(place, f"at place {place}") for place in found_places],
            "annotation id",
        ),
    ]
    return "; ".join(part for part in parts if part)


def read_entry(stream: BinaryIO, entry: Entry) -> Any:
    """Returns an entry of the JSON as it was."""
    try:
        stream.seek(entry.offset)
        content = stream.read(entry.length)
    except OSError as error:  # which does not say of which file
        raise OSError(error.errno, error.strerror, stream.name) from None
    return pickle.loads(content)


def read_repeated_places(folder: str | os.PathLike[str]) -> Places:
    """Returns the places of annotations whose id came before: int64, sorted."""
    places: Places = np.load(Path(folder) / _REPEATED_IDS_FILE)
    return places


def repeated_places(ids: "array.array[int]", places: "array.array[int]") -> Places:
    """Returns the places at which an id is not for the first time: int64, sorted.

    >>> repeated_places(array.array("q", [7, 5, 7, 7]), array.array("q", [0, 1, 2, 3])).tolist()
    [2, 3]
    """
    values = np.frombuffer(ids, np.int64) if ids else np.zeros(0, np.int64)
    order = np.argsort(values, kind="stable")
    is_repeated = values[order[1:]] == values[order[:-1]]
    positions = np.asarray(places, np.int64)
    return np.sort(positions[order[1:][is_repeated]])


def _spool_images(
    path: str | os.PathLike[str],
    holds: Holds,
    put: Callable[[int, int, int, Any], None],
    on_homeless: OnHomeless,
    spooled: Spooled,
) -> None:
    for place, image in enumerate(iterate_images(path)):
        image_id = integer_at(image, "id")
        if not holds(image_id):
            spooled.elsewhere.pictures.add(place)
            continue
        spooled.listed.pictures.add(place)
        if image_id is None:
            on_homeless("bad_picture_record", f"entry {place} of `images` has no integer id", image)
            spooled.homeless.pictures.add(place)
            continue
        put(_IMAGE, image_id, place, image)
        spooled.names.add(image.get("file_name"))


def _spool_annotations(
    path: str | os.PathLike[str],
    holds: Holds,
    left_out_name: LeftOutName,
    put: Callable[[int, int, int, Any], None],
    on_homeless: OnHomeless,
    spooled: Spooled,
) -> tuple["array.array[int]", "array.array[int]"]:
    """Returns the annotation ids and their places."""
    ids, id_places = array.array("q"), array.array("q")
    for place, annotation in enumerate(iterate_annotations(path)):
        image_id = integer_at(annotation, "image_id")
        if not holds(image_id):
            spooled.elsewhere.objects.add(place)
            continue
        spooled.listed.objects.add(place)
        if (name := left_out_name(annotation)) is not None:
            spooled.not_kept[name] += 1
            spooled.homeless.objects.add(place)
            continue
        if not isinstance(annotation, dict):
            on_homeless("bad_annotation", f"entry {place} of `annotations`", annotation)
            spooled.homeless.objects.add(place)
            continue
        annotation_id = integer_at(annotation, "id")
        if annotation_id is not None:
            ids.append(annotation_id)
            id_places.append(place)
        if image_id is None:
            detail = f"image_id {shortened(annotation.get('image_id'))} is no integer"
            on_homeless("unknown_image", detail, annotation)
            spooled.homeless.objects.add(place)
        else:
            put(_ANNOTATION, image_id, place, annotation)
    return ids, id_places


def iterate_entries(stream: BinaryIO, entries: list[Entry]) -> Iterator[tuple[int, Any]]:
    """Yields (place, entry) of each."""
    for entry in entries:
        yield entry.place, read_entry(stream, entry)
