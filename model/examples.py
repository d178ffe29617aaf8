"""Examples folders: shards of records, their manifest and label map. Read and written without TF.

Layout, for the folders of CocoExampleGen and of CocoTransform alike (docs/data.md):

    Split-<name>/data_tfrecord-00000-of-00008   TFRecord files, uncompressed, and nothing else
    categories.json                             [{"id": COCO id, "name", "label": 1..K}]
    manifest.json                               {"splits": {name: {"records", "objects",
                                                "shards": [{"file", "records", "sha256"}]}},
                                                "digest"}
    index/<name>-00000-of-00008.npz             of each record (model/input/index.py)
    counts.json                                 of CocoExampleGen: what it read, wrote and rejected
"""

import hashlib
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, TypedDict

import google_crc32c

from configs.console import read_json
from configs.errors import DatasetError
from configs.files import file_digest, json_digest, write_json

CATEGORIES_FILE = "categories.json"
MANIFEST_FILE = "manifest.json"
COUNTS_FILE = "counts.json"

# A TFRecord is <length uint64><checksum of it><payload><checksum of that>, little-endian.
RECORD_HEADER_BYTES = 12
_FOOTER_BYTES = 4
_MASK_DELTA = 0xA282EAD8


class Shard(TypedDict):
    """One line of the manifest: a file in its split's folder."""

    file: str
    records: int
    sha256: str


class _CountedSplit(TypedDict):
    records: int
    objects: int
    shards: list[Shard]


class Split(_CountedSplit, total=False):
    """What the manifest says of a split; `objects` counts crowds too.

    CocoTransform adds what training can learn from: `crowds` of the objects cannot be learnt, and
    `masks` of the others have a bitmap.
    """

    crowds: int
    masks: int


class Manifest(TypedDict):
    """What lies in an examples folder; equal digests mean equal records and label maps."""

    splits: dict[str, Split]
    digest: str


class Category(TypedDict):
    """A class: its id in the COCO file, its name, and its label for the model, from 1."""

    id: int
    name: str
    label: int


def split_folder(examples: str | os.PathLike[str], split: str) -> Path:
    """Returns the folder of a split's shards; TFX reads every file in it."""
    return Path(examples) / f"Split-{split}"


def shard_file(shard: int, shards: int) -> str:
    """Returns the file name of a shard.

    >>> shard_file(0, 8)
    'data_tfrecord-00000-of-00008'
    """
    return f"data_tfrecord-{shard:05d}-of-{shards:05d}"


def write_manifest(
    examples: str | os.PathLike[str],
    splits: Mapping[str, Split],
    categories: Sequence[Category],
) -> Manifest:
    """Writes `categories.json`, then `manifest.json`, and returns the manifest.

    Written last, so that a folder with a manifest is a complete one.
    """
    examples = Path(examples)
    manifest: Manifest = {"splits": dict(splits), "digest": _digest(splits, categories)}
    write_json(examples / CATEGORIES_FILE, list(categories))
    write_json(examples / MANIFEST_FILE, manifest)
    return manifest


def _digest(splits: Mapping[str, Split], categories: Sequence[Category]) -> str:
    digests = {name: [s["sha256"] for s in split["shards"]] for name, split in splits.items()}
    return json_digest({"shards": digests, "categories": list(categories)})


def verified_digest(examples: str | os.PathLike[str], split: str) -> str:
    """Returns the manifest's digest, after a look at every byte of one split.

    Raises:
        DatasetError: a shard of the split, or the label map, is not what the manifest was made of.
    """
    manifest = read_manifest(examples)
    for path, shard in zip(
        shard_paths(examples, split), _split(examples, split)["shards"], strict=True
    ):
        if file_digest(path) != shard["sha256"]:
            raise DatasetError(f"{path}: has changed since it was written: make the examples again")
    if _digest(manifest["splits"], read_categories(examples)) != manifest["digest"]:
        raise DatasetError(
            f"{examples}: {CATEGORIES_FILE} and {MANIFEST_FILE} do not belong together: make the "
            "examples again"
        )
    return manifest["digest"]


def read_manifest(examples: str | os.PathLike[str]) -> Manifest:
    """Returns the manifest of an examples folder.

    Raises:
        DatasetError: the folder is missing, incomplete, or no examples folder.
    """
    path = Path(examples) / MANIFEST_FILE
    if not path.is_file():
        raise DatasetError(f"{examples}: not an examples folder (no {MANIFEST_FILE} in it)")
    manifest: Manifest = read_json(path, DatasetError)
    if not isinstance(manifest, dict) or not {"splits", "digest"} <= manifest.keys():
        raise DatasetError(f"{path}: not a manifest (expected `splits` and `digest`)")
    return manifest


def read_categories(examples: str | os.PathLike[str]) -> list[Category]:
    """Returns the label map, by rising label.

    Raises:
        DatasetError: the file is missing, or its labels are not 1..K in order.
    """
    path = Path(examples) / CATEGORIES_FILE
    categories: list[Category] = read_json(path, DatasetError)
    try:
        labels = [category["label"] for category in categories]
    except (TypeError, KeyError):
        labels = []
    if not labels or labels != list(range(1, len(labels) + 1)):
        raise DatasetError(f"{path}: expected categories with the labels 1..K, got {labels[:5]}")
    return categories


def split_names(examples: str | os.PathLike[str]) -> list[str]:
    """Returns the splits of an examples folder in their order.

    Raises:
        DatasetError: as `read_manifest`.
    """
    return list(read_manifest(examples)["splits"])


def shard_paths(examples: str | os.PathLike[str], split: str) -> list[Path]:
    """Returns the paths of a split's shards in order.

    Raises:
        DatasetError: there is no such split, or a shard is missing.
    """
    folder = split_folder(examples, split)
    paths = [folder / shard["file"] for shard in _split(examples, split)["shards"]]
    for path in paths:
        if not path.is_file():
            raise DatasetError(f"{path}: the manifest names this shard, but it is not there")
    return paths


def iterate_records(examples: str | os.PathLike[str], split: str) -> Iterator[bytes]:
    """Yields the serialized records of a split, shard by shard.

    Raises:
        DatasetError: there is no such split, a shard is missing, damaged, or holds another number
            of records than the manifest says.
    """
    shards = _split(examples, split)["shards"]
    for path, shard in zip(shard_paths(examples, split), shards, strict=True):
        count = 0
        for count, (_, payload) in enumerate(read_tfrecord(path), 1):  # noqa: B007
            yield payload
        if count != shard["records"]:
            raise DatasetError(
                f"{path}: holds {count} records, the manifest says {shard['records']}"
            )


def read_tfrecord(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    """Yields (offset of the payload, payload) of each record; both checksums are checked.

    Raises:
        DatasetError: the file is missing, cut off or damaged, with the offset of the record.
    """
    try:
        stream = open(path, "rb")
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    with stream:
        size = os.fstat(stream.fileno()).st_size
        start = 0
        while header := stream.read(RECORD_HEADER_BYTES):
            if len(header) < RECORD_HEADER_BYTES:
                raise DatasetError(f"{path}: cut off in the header of the record at byte {start}")
            length, checksum = struct.unpack("<QI", header)
            if masked_crc32c(header[:8]) != checksum:
                raise DatasetError(f"{path}: damaged length of the record at byte {start}")
            offset = start + RECORD_HEADER_BYTES
            if offset + length + _FOOTER_BYTES > size:
                raise DatasetError(f"{path}: cut off in the record at byte {start}")
            payload = stream.read(length)
            (checksum,) = struct.unpack("<I", stream.read(_FOOTER_BYTES))
            if masked_crc32c(payload) != checksum:
                raise DatasetError(f"{path}: damaged data of the record at byte {start}")
            yield offset, payload
            start = offset + length + _FOOTER_BYTES


def walk_tfrecord(path: str | os.PathLike[str]) -> Iterator[tuple[int, int, int]]:
    """Yields (offset, length, stored checksum) of each payload, none of which is read.

    Raises:
        DatasetError: the file is missing or cut off, or the length of a record is damaged.
    """
    try:
        stream = open(path, "rb", buffering=0)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    with stream:
        size = os.fstat(stream.fileno()).st_size
        start = 0
        while start < size:
            header = os.pread(stream.fileno(), RECORD_HEADER_BYTES, start)
            if len(header) < RECORD_HEADER_BYTES:
                raise DatasetError(f"{path}: cut off in the header of the record at byte {start}")
            length, checksum = struct.unpack("<QI", header)
            if masked_crc32c(header[:8]) != checksum:
                raise DatasetError(f"{path}: damaged length of the record at byte {start}")
            offset = start + RECORD_HEADER_BYTES
            footer = os.pread(stream.fileno(), _FOOTER_BYTES, offset + length)
            if len(footer) < _FOOTER_BYTES:
                raise DatasetError(f"{path}: cut off in the record at byte {start}")
            yield offset, length, struct.unpack("<I", footer)[0]
            start = offset + length + _FOOTER_BYTES


def write_tfrecord(stream: "BinaryIO | DigestingStream", payload: bytes) -> tuple[int, int]:
    """Appends one record and returns where its payload lies: (offset, length) in bytes."""
    length = struct.pack("<Q", len(payload))
    offset = stream.tell() + RECORD_HEADER_BYTES
    stream.write(length + struct.pack("<I", masked_crc32c(length)))
    stream.write(payload)
    stream.write(struct.pack("<I", masked_crc32c(payload)))
    return offset, len(payload)


class DigestingStream:
    """A binary file opened for writing that knows the SHA-256 of what went through.

    Example:
        >>> import io
        >>> stream = DigestingStream(io.BytesIO())
        >>> write_tfrecord(stream, b"abc")
        (12, 3)
    """

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._digest = hashlib.sha256()

    def tell(self) -> int:
        """Returns the position in bytes."""
        return self._stream.tell()

    def write(self, block: bytes) -> int:
        """Writes `block` and returns its length."""
        self._digest.update(block)
        return self._stream.write(block)

    def sha256(self) -> str:
        """Returns the digest of all that was written, as 64 hex digits."""
        return self._digest.hexdigest()


def masked_crc32c(block: bytes) -> int:
    """Returns TFRecord's checksum: CRC-32C, rotated by 15 bits, plus a constant.

    Reference: tensorflow/core/lib/hash/crc32c.h; the mask keeps the checksum of a string that
        holds checksums from being trivial.
    """
    crc: int = google_crc32c.value(block)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _split(examples: str | os.PathLike[str], split: str) -> Split:
    """Returns the manifest's part on a split; DatasetError where there is none."""
    splits = read_manifest(examples)["splits"]
    if split not in splits:
        raise DatasetError(f"{examples}: no split named {split!r}, only {', '.join(splits)}")
    return splits[split]
