"""What the runner looks at in a COCO-format folder before anything heavy is loaded."""

import errno
import os
import stat
from pathlib import Path

from configs.data_schema import DataPlaces
from configs.schema import Config
from ground.errors import DatasetError
from ground.files import file_digest, json_digest
from model.coco.edges import read_edges
from model.weights.named import weights_path

_EDGE_BYTES = 4096
# Beside pictures, a config or an annotation file that changes changes no picture.
_NEVER_PICTURES = (".json", ".yaml", ".yml", ".xml", ".txt", ".csv", ".md")


def read_by_a_run(config: Config, data_dir: Path) -> list[Path]:
    """Returns the files and folders of a user's that a run reads."""
    names = data_names(config.data)
    weights = config.model.weights
    return [*(data_dir / name for name in names), *([weights_path(weights)] if weights else [])]


def check_data_folder(data: DataPlaces, data_dir: Path) -> None:
    """Checks that annotation files and picture folders are there, and that no file is cut off.

    What the files say is checked by CocoExampleGen; this takes milliseconds.

    Raises:
        DatasetError: one is missing, empty, or ends before its JSON does.
    """
    if not data_dir.is_dir():
        raise DatasetError(f"--data-dir {data_dir}: no such folder")
    for each in data.inputs():
        path, folder = data_dir / each.annotations, data_dir / each.pictures
        if not path.is_file():
            raise DatasetError(
                f"{path}: no such annotation file{_candidates(data_dir, path)}; "
                f"name yours with --set {each.annotations_key}=..."
            )
        _check_whole(path)
        if not folder.is_dir():
            raise DatasetError(
                f"{folder}: no such picture folder; name yours with --set {each.pictures_key}=..."
            )


def data_names(data: DataPlaces) -> list[str]:
    """Returns the annotation files, then the picture folders, relative to the data folder."""
    inputs = data.inputs()
    names = [each.annotations for each in inputs] + [each.pictures for each in inputs]
    return list(dict.fromkeys(names))


def pictures_digest(data: DataPlaces, data_dir: Path) -> str:
    """Returns a digest of the annotation files' bytes and the picture files' stats.

    Pictures count by name, size and modification time: reading COCO's 19 GB would take longer
    than it saves. It is what makes CocoExampleGen run anew where a picture changed.
    """
    return json_digest(
        [
            [file_digest(data_dir / each.annotations), _folder_listing(data_dir / each.pictures)]
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
    names = sorted(str(p.relative_to(data_dir)) for p in folder.glob("*.json"))[:4]
    return f" (there: {', '.join(names)})" if names else ""
