"""What we wrote into a folder, kept in it as `.tfx-rcnn.json`: what may be replaced, and how.

    {"written_by": "tfx-rcnn",
     "outputs": {writer: {path: [bytes, digest], or null for a folder}},
     "grows": {writer: [name, ...]},
     "pending": null or {"stage", "writer", "files", "names", "stale"}}

`outputs` are replaced as a whole: their new files are made in a stage, a hidden folder in the same
folder. The rename that puts a record with `pending` in place decides: before it the old output
stands; after it the new one does, and who comes next (`settle`) moves what is not yet at its place.
`grows` are names that a writer adds to and updates by itself.
"""

import dataclasses
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ground.errors import OutputError
from ground.files import exchange, recover, remove, sync_folder, sync_tree, write_json

RECORD_FILE = ".tfx-rcnn.json"
SUMMARY_FILE = "summary.json"  # the only name that writers may take from each other
_WRITTEN_BY = "tfx-rcnn"
_STAGE = re.compile(r"\.tfx-rcnn-[0-9a-f]{8}\.stage")
_LEFT_BY_ATOMIC_PATH = re.compile(r"\.(.+)\.[0-9a-f]{8}\.(?:partial|old)", re.DOTALL)
_EDGE_BYTES = 1 << 20

# {path below the folder: [bytes, digest of its edges], or None for a folder}
Files = dict[str, list[Any] | None]


@dataclasses.dataclass
class Record:
    """The content of a record file."""

    outputs: dict[str, Files] = dataclasses.field(default_factory=dict)
    grows: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    pending: dict[str, Any] | None = None

    @property
    def writers(self) -> set[str]:
        """Who wrote something here, or will when what is pending is done."""
        return {*self.outputs, *self.grows, *([self.pending["writer"]] if self.pending else [])}

    def owner(self, name: str) -> str | None:
        """Returns who wrote a name, None where it is not of ours."""
        for writer, files in self.outputs.items():
            if name in files:
                return writer
        return next((writer for writer, names in self.grows.items() if name in names), None)

    def names(self, writer: str) -> set[str]:
        """Returns the names in the folder that a writer replaces as a whole."""
        return {path for path in self.outputs.get(writer, {}) if "/" not in path}

    def strangers(self, folder: Path, name: str) -> list[str]:
        """Returns what is at a name, or below it, and not as its owner wrote it."""
        files = next((files for files in self.outputs.values() if name in files), None)
        return [] if files is None else differing(folder, name, files)

    def to_json(self) -> dict[str, Any]:
        """Returns it as a JSON value."""
        return {"written_by": _WRITTEN_BY, **dataclasses.asdict(self)}

    def forget(self, names: Iterable[str]) -> None:
        """Takes names out of all outputs."""
        taken = set(names)
        for writer, files in self.outputs.items():
            kept = {path: entry for path, entry in files.items() if _top(path) not in taken}
            self.outputs[writer] = kept
        self.outputs = {writer: files for writer, files in self.outputs.items() if files}


def read_record(folder: Path) -> Record | None:
    """Returns a folder's record, None where it has none.

    Raises:
        OutputError: the file is not what we write.
    """
    path = folder / RECORD_FILE
    try:
        return record_of(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except ValueError as error:
        raise OutputError(
            f"{path}: {error}: give another folder, or move what you want to keep and remove this "
            "one"
        ) from None


def record_of(content: bytes) -> Record:
    """Returns what a record file says.

    Raises:
        ValueError: it is not what we write.
    """
    try:
        fields = json.loads(content)
        if fields.pop("written_by") != _WRITTEN_BY:
            raise ValueError("of another program")
        return Record(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"damaged record of what we wrote here ({error})") from None


def write_record(folder: Path, record: Record) -> None:
    """Writes a folder's record."""
    write_json(folder / RECORD_FILE, record.to_json())


def differing(folder: Path, name: str, files: Files) -> list[str]:
    """Returns the paths at or below a name that `files` does not list as they are."""
    found = [] if not os.path.lexists(folder / name) else list(_entries(folder, name))
    return [path for path in found if path not in files or _entry(folder / path) != files[path]]


def _is_as_listed(folder: Path, name: str, files: Files) -> bool:
    expected = {path: entry for path, entry in files.items() if _top(path) == name}
    return listing(folder, [name]) == expected


def listing(folder: Path, names: Iterable[str]) -> Files:
    """Returns what lies at and below names in a folder."""
    return {path: _entry(folder / path) for name in names for path in _entries(folder, name)}


def _entries(folder: Path, name: str) -> Iterator[str]:
    yield name
    if (folder / name).is_dir() and not (folder / name).is_symlink():
        for below in sorted(os.listdir(folder / name)):
            yield from _entries(folder, f"{name}/{below}")


def _entry(path: Path) -> list[Any] | None:
    """Returns size and digest of a file; of a large one its two ends count. None for a folder."""
    if path.is_symlink():
        return [-1, os.readlink(path)]
    if not path.is_file():
        return None if path.is_dir() else [-1, "no file"]
    size = path.stat().st_size
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        digest.update(stream.read(_EDGE_BYTES))
        if size > _EDGE_BYTES:
            stream.seek(max(_EDGE_BYTES, size - _EDGE_BYTES))
            digest.update(stream.read())
    return [size, digest.hexdigest()]


def _top(path: str) -> str:
    return path.partition("/")[0]


def stage_path(folder: Path) -> Path:
    """Returns the path of a new stage's folder that takes the new files."""
    return folder / f".tfx-rcnn-{uuid.uuid4().hex[:8]}.stage" / "new"


def commit(folder: Path, record: Record, writer: str, new: Path) -> None:
    """Makes what lies in a stage the output of `writer`; its former output goes.

    Args:
        folder: that the caller holds.
        record: the folder's, as it is now; nothing pending.
        writer: who wrote it.
        new: what `stage_path` gave.
    """
    # On the disk before the record says so: a power cut keeps a rename and loses the bytes.
    sync_tree(new)
    sync_folder(new.parent)
    # Files last: whoever sees a summary finds the folders that it tells of.
    names = sorted(os.listdir(new), key=lambda name: (not (new / name).is_dir(), name))
    record.pending = {
        "stage": new.parent.name,
        "writer": writer,
        "files": listing(new, names),
        "names": names,
        "stale": sorted(record.names(writer) - set(names)),
    }
    write_record(folder, record)  # this rename decides
    _roll_forward(folder, record)


def settle(folder: Path) -> Record | None:
    """Finishes or clears away what a killed writer left in a folder; returns its record.

    The caller holds the folder.
    """
    record = read_record(folder)
    if record is not None and record.pending is not None:
        _roll_forward(folder, record)
    for name in os.listdir(folder) if folder.is_dir() else []:
        if _STAGE.fullmatch(name):
            remove(folder / name)
        elif left := _LEFT_BY_ATOMIC_PATH.fullmatch(name):
            recover(folder / left[1])
    return record


def _roll_forward(folder: Path, record: Record) -> None:
    """Moves what is decided to its place; each step may have been done before."""
    pending = record.pending or {}
    new, old = folder / pending["stage"] / "new", folder / pending["stage"] / "old"
    # What goes is put aside, and removed only behind the second record: a kill in between loses
    # neither the old output nor the new one.
    old.mkdir(exist_ok=True)
    for name in pending["names"]:
        # Exchanged already: what is in the stage is the old one.
        is_there = (folder / name).is_dir() and _is_as_listed(folder, name, pending["files"])
        if (new / name).exists() and not is_there:
            _move(new / name, folder / name, old / name)
    for name in pending["stale"]:
        if os.path.lexists(folder / name):
            os.rename(folder / name, old / name)
    sync_folder(folder)
    record.forget([*pending["names"], *pending["stale"]])
    record.outputs[pending["writer"]] = pending["files"]
    record.pending = None
    write_record(folder, record)
    remove(new.parent)
    sync_folder(folder)


def _move(new: Path, target: Path, old: Path) -> None:
    """Puts `new` in the place of `target`, which is not lost before."""
    if new.is_dir() and target.is_dir():
        if exchange(new, target):
            return
    elif not target.is_dir() and not new.is_dir():
        os.replace(new, target)
        return
    if os.path.lexists(target):
        os.rename(target, old)
    os.rename(new, target)
