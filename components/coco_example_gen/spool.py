"""Spreads the records of a COCO JSON over one small file an output shard, without the pictures.

The JSON is streamed, so memory does not grow with it, and each shard can then be worked on alone:
all that belongs to a picture is in the file of its shard, in the JSON's order.
"""

import array
import contextlib
import dataclasses
import hashlib
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from model.coco.stream import iterate_annotations, iterate_images
from model.coco.values import integer

_IMAGE, _ANNOTATION = 0, 1
# Kind, image id, place in the JSON's list, length of the pickled entry.
_HEADER = struct.Struct("<BqqI")
_REPEATED_IDS_FILE = "repeated.npy"

# Called with (reason code, what is wrong, the entry) for what belongs to no shard.
OnHomeless = Callable[[str, str, Any], None]


class Entry(NamedTuple):
    """Where an entry lies in a spool file, and its place in the JSON's list."""

    place: int
    offset: int
    length: int


@dataclasses.dataclass
class SpoolIndex:
    """What a spool file holds.

    Attributes:
        images: first entry of each image id.
        repeated_images: entries whose image id came before.
        annotations: entries by image id, in the JSON's order.
    """

    images: dict[int, Entry]
    repeated_images: list[tuple[int, Entry]]
    annotations: dict[int, list[Entry]]


def shard_of(image_id: int, seed: int, shards: int) -> int:
    """Returns the shard of a picture: the same on every machine, whatever else there is."""
    digest = hashlib.blake2b(b"%d/%d" % (seed, image_id), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards


def spool_path(folder: str | os.PathLike[str], shard: int) -> Path:
    """Returns the spool file of a shard."""
    return Path(folder) / f"{shard:05d}"


def write_spool(
    annotations_file: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    shards: int,
    seed: int,
    on_homeless: OnHomeless,
) -> tuple[int, int]:
    """Writes the spool files of a COCO JSON into `folder`; returns (pictures, annotations) read.

    Raises:
        DatasetError: the JSON is cut off, or no COCO instances file.
    """
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(open(spool_path(folder, shard), "wb")) for shard in range(shards)
        ]

        def put(kind: int, image_id: int, place: int, entry: Any) -> None:
            content = pickle.dumps(entry, protocol=4)
            stream = streams[shard_of(image_id, seed, shards)]
            stream.write(_HEADER.pack(kind, image_id, place, len(content)))
            stream.write(content)

        pictures = _spool_images(annotations_file, put, on_homeless)
        ids, id_places, annotations = _spool_annotations(annotations_file, put, on_homeless)
    np.save(Path(folder) / _REPEATED_IDS_FILE, repeated_places(ids, id_places))
    return pictures, annotations


def read_index(folder: str | os.PathLike[str], shard: int) -> SpoolIndex:
    """Returns where the entries of a shard lie; reads their headers only."""
    index = SpoolIndex({}, [], {})
    with open(spool_path(folder, shard), "rb") as stream:
        while header := stream.read(_HEADER.size):
            kind, image_id, place, length = _HEADER.unpack(header)
            entry = Entry(place, stream.tell(), length)
            if kind == _ANNOTATION:
                index.annotations.setdefault(image_id, []).append(entry)
            elif image_id in index.images:
                index.repeated_images.append((image_id, entry))
            else:
                index.images[image_id] = entry
            stream.seek(length, os.SEEK_CUR)
    return index


def read_entry(stream: BinaryIO, entry: Entry) -> Any:
    """Returns an entry of the JSON as it was."""
    stream.seek(entry.offset)
    return pickle.loads(stream.read(entry.length))


def read_repeated_places(folder: str | os.PathLike[str]) -> "np.ndarray":
    """Returns the places of annotations whose id came before: int64, sorted."""
    return np.load(Path(folder) / _REPEATED_IDS_FILE)


def repeated_places(ids: "array.array[int]", places: "array.array[int]") -> "np.ndarray":
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
    put: Callable[[int, int, int, Any], None],
    on_homeless: OnHomeless,
) -> int:
    count = 0
    for place, image in enumerate(iterate_images(path)):
        count += 1
        image_id = integer(image.get("id")) if isinstance(image, dict) else None
        if image_id is None:
            on_homeless("bad_picture_record", f"entry {place} of `images` has no integer id", image)
        else:
            put(_IMAGE, image_id, place, image)
    return count


def _spool_annotations(
    path: str | os.PathLike[str],
    put: Callable[[int, int, int, Any], None],
    on_homeless: OnHomeless,
) -> tuple["array.array[int]", "array.array[int]", int]:
    """Returns the annotation ids, their places, and the number of annotations."""
    ids, id_places, count = array.array("q"), array.array("q"), 0
    for place, annotation in enumerate(iterate_annotations(path)):
        count += 1
        if not isinstance(annotation, dict):
            on_homeless("bad_annotation", f"entry {place} of `annotations`", annotation)
            continue
        annotation_id = integer(annotation.get("id"))
        if annotation_id is not None:
            ids.append(annotation_id)
            id_places.append(place)
        image_id = integer(annotation.get("image_id"))
        if image_id is None:
            detail = f"image_id {annotation.get('image_id')!r} is no integer"
            on_homeless("unknown_image", detail, annotation)
        else:
            put(_ANNOTATION, image_id, place, annotation)
    return ids, id_places, count


def iterate_entries(stream: BinaryIO, entries: list[Entry]) -> Iterator[tuple[int, Any]]:
    """Yields (place, entry) of each."""
    for entry in entries:
        yield entry.place, read_entry(stream, entry)
