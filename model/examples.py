"""Examples folders: shards of records, their manifest and label map. Read and written without TF.

Layout, for the folders of CocoExampleGen and of CocoTransform alike (docs/data.md):

    Split-<name>/data_tfrecord-00000-of-00008   TFRecord files, uncompressed, and nothing else
    categories.json                             [{"id": COCO id, "name", "label": 1..K}]
    manifest.json                               {"splits": {name: {"records", "objects",
                                                "shards": [{"file", "records", "bytes",
                                                            "sha256"}]}},
                                                "digest"}
    index/<name>-00000-of-00008.npz             of each record (model/input/index.py)
    counts.json                                 of CocoExampleGen: what it read, wrote and rejected
    refused.json                                of CocoExampleGen: some of that, to be shown
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from configs import data_schema
from ground.console import read_json
from ground.errors import DatasetError
from ground.files import file_digest, json_digest, write_json
from model.tfrecord import read_tfrecord

CATEGORIES_FILE = "categories.json"
MANIFEST_FILE = "manifest.json"
COUNTS_FILE = "counts.json"
REFUSED_FILE = "refused.json"
TRAINING_SPLIT: str = data_schema.TRAINING_SPLIT  # of an examples folder, others have any name


class Shard(TypedDict):
    """One line of the manifest: a file in its split's folder."""

    file: str
    records: int
    bytes: int
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
        DatasetError: what `read_manifest` raises.
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


def _split(examples: str | os.PathLike[str], split: str) -> Split:
    """Returns the manifest's part on a split; DatasetError where there is none."""
    splits = read_manifest(examples)["splits"]
    if split not in splits:
        raise DatasetError(f"{examples}: no split named {split!r}, only {', '.join(splits)}")
    return splits[split]
