"""What the runner looks at in a COCO-format folder before anything heavy is loaded."""

import errno
import functools
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from configs.data_schema import DataInput, DataPlaces
from configs.schema import Config
from ground.addresses import Place, below, secrets_of, shown_address
from ground.errors import ConfigError, DatasetError
from ground.files import file_digest, json_digest
from model.coco.edges import read_edges
from model.object_store import S3_SCHEMES, disk_path, open_store
from model.weights.named import weights_path

_EDGE_BYTES = 4096
# Beside pictures, a config or an annotation file that changes changes no picture.
_NEVER_PICTURES = (".json", ".yaml", ".yml", ".xml", ".txt", ".csv", ".md")


def read_by_a_run(config: Config, data_dir: Place) -> list[Path | str]:
    """Returns the files and folders of a user's that a run reads; addresses of stores as texts."""
    names = data_names(config.data)
    weights = config.model.weights
    return [
        *(_place(data_dir, name) for name in names),
        *([weights_path(weights)] if weights else []),
    ]


def check_data_folder(data: DataPlaces, data_dir: Place) -> None:
    """Checks that annotation files and picture folders are there, and that no file is cut off.

    What the files say is checked by CocoExampleGen; this takes milliseconds, and of a store two
    requests a place.

    Raises:
        DatasetError: one is missing, empty, or ends before its JSON does.
        ServiceError: a store does not answer, or refuses.
    """
    folder = disk_path(data_dir)
    if folder is not None and not Path(folder).is_dir():
        raise DatasetError(f"--data-dir {folder}: no such folder")
    stores = _Stores()
    for each in data.inputs():
        for place, key in _places(each, data_dir):
            if isinstance(place, str) and not stores.has(place):
                raise DatasetError(
                    f"{shown_address(place)}: there is nothing; name yours with --set {key}=..."
                )
        annotations, pictures = (place for place, _ in _places(each, data_dir))
        if isinstance(annotations, Path):
            _check_annotations(
                annotations, each.annotations_key, Path(folder or annotations.parent)
            )
        if isinstance(pictures, Path) and not pictures.is_dir():
            raise DatasetError(
                f"{pictures}: no such picture folder; name yours with --set {each.pictures_key}=..."
            )


def check_no_secrets(data: DataPlaces, data_dir: Place) -> None:
    """Checks that no address has a password or a signature: a pipeline keeps its parameters.

    Raises:
        ConfigError: one has.
    """
    given = [(data_dir, "--data-dir")]
    for each in data.inputs():
        given += [(each.annotations, each.annotations_key), (each.pictures, each.pictures_key)]
    for place, key in given:
        if secrets_of(str(place)):
            raise ConfigError(
                f"{key} {shown_address(place)}: holds a secret, which would be kept with the "
                f"pipeline's parameters: {_way_for_secret(str(place))}"
            )


def _way_for_secret(address: str) -> str:
    scheme = address.partition("://")[0]
    if scheme in S3_SCHEMES:
        return "leave it out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if scheme in ("http", "https"):
        return "fetch the files into a folder, or give the store's own address (s3://, gs://)"
    return (
        "leave it out, and set it where the store's library looks, such as "
        f"FSSPEC_{scheme.upper()}_PASSWORD"
    )


def _place(data_dir: Place, name: str) -> Path | str:
    """Returns where a name of the data section lies: a path, or the address of a store."""
    place = below(data_dir, name)
    path = disk_path(place)
    return str(place) if path is None else Path(path)


def _places(each: DataInput, data_dir: Place) -> list[tuple[Path | str, str]]:
    """Returns the annotation file and the picture folder, each with the setting that names it."""
    return [
        (_place(data_dir, each.annotations), each.annotations_key),
        (_place(data_dir, each.pictures), each.pictures_key),
    ]


class _Stores:
    """The stores of one look, each opened once: a client of S3 takes half a second to make."""

    def __init__(self) -> None:
        self._open = functools.cache(open_store)

    def has(self, address: str) -> bool:
        """Tells whether there is something at or below an address."""
        top, name = _top_and_name(address)
        return self._open(top).has(name)

    def listing(self, address: str) -> list[list[str | int]]:
        """Returns [name below the address, size in bytes, tag] of the file, or files, at it.

        Raises:
            DatasetError: the store lists none, or no tag of one: then no change would be seen.
        """
        top, name = _top_and_name(address)
        files = [
            file
            for file in self._open(top).files(name)
            if file.name == name or not file.name.lower().endswith(_NEVER_PICTURES)
        ]
        if not files or not all(file.tag for file in files):
            raise DatasetError(
                f"{shown_address(address)}: the store lists nothing there, or not when it changed, "
                "so that no change would be seen: copy it, or use example-gen, transform and train"
            )
        return [[file.name.removeprefix(name), file.size, file.tag] for file in files]


def _top_and_name(address: str) -> tuple[str, str]:
    """Returns the address of a bucket or a host, and the name in it."""
    scheme, _, rest = address.partition("://")
    top, _, name = rest.partition("/")
    return f"{scheme}://{top}", name


def _check_annotations(path: Path, key: str, data_dir: Path) -> None:
    """Checks that an annotation file of the disk is there and whole.

    Raises:
        DatasetError: it is not.
    """
    if not path.is_file():
        raise DatasetError(
            f"{path}: no such annotation file{_candidates(data_dir, path)}; "
            f"name yours with --set {key}=..."
        )
    _check_whole(path)


def data_names(data: DataPlaces) -> list[str]:
    """Returns the annotation files, then the picture folders, relative to the data folder."""
    inputs = data.inputs()
    names = [each.annotations for each in inputs] + [each.pictures for each in inputs]
    return list(dict.fromkeys(names))


def pictures_digest(data: DataPlaces, data_dir: Place) -> str:
    """Returns a digest of the annotation files' bytes and the picture files' stats.

    Pictures count by name, size and modification time: reading COCO's 19 GB would take longer
    than it saves. In a store all files count by name, size and the store's own tag. It is what
    makes CocoExampleGen run anew where a picture changed.

    Raises:
        DatasetError: a store lists nothing at an address.
        ServiceError: a store does not answer, or refuses.
    """
    stores = _Stores()

    def state(name: str, of_path: Callable[[Path], Any]) -> Any:
        place = _place(data_dir, name)
        return of_path(place) if isinstance(place, Path) else stores.listing(place)

    return json_digest(
        [
            [state(each.annotations, file_digest), state(each.pictures, _folder_listing)]
            for each in data.inputs()
        ]
    )


def _folder_listing(top: Path) -> list[list[str | int]]:
    """Returns [relative name, size in bytes, modification time in ns] of all files, sorted.

    Links are followed; a folder that several lead to counts once, so that a loop ends.
    """
    found: list[list[str | int]] = []
    waiting, status = [str(top)], os.stat(top)
    seen = {(status.st_dev, status.st_ino)}
    while waiting:
        folder = waiting.pop()
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            entry = _status(path)
            if entry is None:
                continue
            if stat.S_ISREG(entry.st_mode):
                if name.lower().endswith(_NEVER_PICTURES):
                    continue
                relative = os.path.relpath(path, top)
                found.append([relative, entry.st_size, entry.st_mtime_ns])
            elif stat.S_ISDIR(entry.st_mode) and (entry.st_dev, entry.st_ino) not in seen:
                seen.add((entry.st_dev, entry.st_ino))
                waiting.append(path)
    return sorted(found)


def _status(path: str) -> os.stat_result | None:
    """Returns what a path leads to; None for a link that leads nowhere, or to itself."""
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise


def _check_whole(path: Path) -> None:
    """Checks the two ends of a JSON file.

    Raises:
        DatasetError: it is empty, does not start with `{`, or does not end with `}`.
    """
    head, tail = (text.strip() for text in read_edges(path, _EDGE_BYTES))
    if not head:
        raise DatasetError(f"{path}: is empty; expected a COCO JSON file")
    if not head.startswith("{"):
        raise DatasetError(f"{path}: is no COCO JSON file (it starts with {head[:20]!r})")
    if not tail.endswith("}"):
        size = path.stat().st_size
        raise DatasetError(
            f"{path}: is cut off after {size} bytes (the JSON does not end): copy it anew"
        )


def _candidates(data_dir: Path, missing: Path) -> str:
    """Returns a hint that names the JSON files that are there instead."""
    folder = missing.parent if missing.parent.is_dir() else data_dir
    names = sorted(
        str(path.relative_to(data_dir) if path.is_relative_to(data_dir) else path)
        for path in folder.glob("*.json")
    )[:4]
    return f" (there: {', '.join(names)})" if names else ""
