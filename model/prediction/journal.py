"""What was found so far, kept so that a killed run goes on where it was.

A hidden folder holds the drawn pictures, `journal.jsonl` and `key.json`. A line of the journal is
a picture's head and what was found in it, two JSON values with a tab between: the first says
whether a picture needs to be looked at again, and large results need not be parsed for that.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ground.files import remove, sync_folder, write_json

_JOURNAL, _KEY, _PICTURES = "journal.jsonl", "key.json", "pictures"
_SECONDS_BETWEEN_SYNCS = 1.0  # what a power cut may cost; a killed process loses nothing


class Entry(NamedTuple):
    """What the journal has of a picture.

    Attributes:
        stamp: size in bytes and time of change of the file, by which a changed one is known.
        height: height of the upright picture, pixels.
        width: width of the upright picture, pixels.
        results: detections in COCO's results form, without `image_id`.
    """

    stamp: list[int]
    height: int
    width: int
    results: list[dict[str, Any]]


class Journal:
    """The journal in a folder; what another key left there is thrown away with the first entry.

    Args:
        folder: folder of its own; made when something is added.
        key: what results depend on beside the pictures: the model, settings.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self._folder = folder
        self._key = dict(key)
        self._places: dict[str, tuple[list[int], int]] = {}
        self._file: Any = None
        self._end = 0
        self._synced = 0.0
        if _json_of(folder / _KEY) == self._key:
            self._read()

    @property
    def pictures(self) -> Path:
        """Folder of the drawn pictures; there once the journal is open."""
        return self._folder / _PICTURES

    def open(self) -> None:
        """Opens the journal behind its last whole line, or a new one, unless it is open."""
        if self._file is not None:
            return
        if not self._places:
            remove_journal(self._folder)
            self.pictures.mkdir(parents=True)
            write_json(self._folder / _KEY, self._key)
        self._file = open(self._folder / _JOURNAL, "ab")
        self._file.truncate(self._end)
        sync_folder(self._folder)

    def has(self, file: str, stamp: list[int]) -> bool:
        """Returns whether a picture with this stamp was looked at."""
        return file in self._places and self._places[file][0] == stamp

    def add(self, file: str, entry: Entry) -> None:
        """Writes what was found in a picture; once a second, all so far to the disk."""
        self.open()
        head = [file, entry.stamp, entry.height, entry.width]
        line = f"{json.dumps(head)}\t{json.dumps(entry.results, allow_nan=False)}\n".encode()
        self._file.write(line)
        self._file.flush()
        if time.monotonic() - self._synced >= _SECONDS_BETWEEN_SYNCS:
            os.fsync(self._file.fileno())  # takes as long as a picture: not after each
            self._synced = time.monotonic()
        self._places[file] = (entry.stamp, self._end)
        self._end += len(line)

    def entries(self, stamped: Sequence[tuple[str, list[int]]]) -> Iterator[Entry | None]:
        """Yields what was found in each file with its stamp, None for those that are not here.

        So what was found in a file as it was before a kill does not count for what it is now.
        """
        if not self._places:
            yield from (None for _ in stamped)
            return
        with open(self._folder / _JOURNAL, "rb") as stream:
            for file, stamp in stamped:
                if not self.has(file, stamp):
                    yield None
                    continue
                stream.seek(self._places[file][1])
                head, results = stream.readline().split(b"\t", 1)
                _, stamp, height, width = json.loads(head)
                yield Entry(stamp, height, width, json.loads(results))

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()

    def _read(self) -> None:
        """Notes where each picture's line is; a line that a killed run began is cut off."""
        try:
            stream = open(self._folder / _JOURNAL, "rb")
        except FileNotFoundError:
            return
        with stream:
            for line in stream:
                head, _, results = line.partition(b"\t")
                if not results.endswith(b"]\n") or b"\0" in results:
                    break
                try:
                    file, stamp, _, _ = json.loads(head)
                    self._places[file] = (stamp, self._end)
                except (ValueError, TypeError):  # after a power cut a block may be missing
                    break
                self._end += len(line)


def remove_journal(folder: Path) -> None:
    """Removes a journal's folder; one that is left half removed is no journal any more."""
    if (folder / _KEY).exists():
        (folder / _KEY).unlink()
        sync_folder(folder)
    remove(folder)


def _json_of(path: Path) -> Any:
    """Returns a file's JSON value; None where there is no such file, or no JSON in it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
