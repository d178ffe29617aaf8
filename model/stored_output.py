"""Where a command writes: a folder of a disk, or an address of an object store.

A store renames nothing, so what is new is made in a folder here, and then goes to the store file by
file, first everything that readers find through other files, then those that they begin with
(`_DOORS`), which are taken away before the first one goes. Thus no reader sees half of it: there is
the old output, none, or the new one. `.tfx-rcnn.json` tells there too what is ours, as on a disk
(ground/output_record.py), with the store's tags in place of digests.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ground.addresses import Place, is_address, shown_address
from ground.errors import FolderInUseError, OutputError
from ground.files import LOCK_FILE, held_folder, remove, write_json
from ground.output_record import RECORD_FILE, SUMMARY_FILE, Files, Record, record_of
from ground.outputs import output_folder, settle_inputs
from model.object_store import ObjectStore, StoredFile, open_store

_DOORS = ("counts.json", "manifest.json", SUMMARY_FILE)  # the last is the last to be there
_AT_ONCE = 16  # files that travel at the same time
_LARGEST_RECORD = 256 << 20  # bytes


@contextlib.contextmanager
def output_place(
    out: Place,
    writer: str,
    names: Iterable[str],
    inputs: Iterable[Place | None],
    option: str = "--out",
) -> Iterator[Path]:
    """Yields an empty folder whose content becomes the writer's output at a path or an address.

    Args:
        out: where it goes.
        writer: the command, such as `model.predict`.
        names: names of files and folders that will be written, as far as they are known.
        inputs: what the command reads; None is left out.
        option: option of the command line, for messages.

    Raises:
        OutputError: something there would be harmed.
        FolderInUseError: another process here is at work at the same place.
        ServiceError: the store refuses, or does not answer.
    """
    names, inputs = list(names), list(inputs)
    if not is_address(out):
        with output_folder(out, writer, names, inputs, option) as new:
            yield new
        return
    output = _StoredOutput(str(out).rstrip("/"), writer, option)
    settle_inputs(inputs)
    output.check_inputs(names, inputs)
    output.check(names)
    with _staging(output.address, option) as new:
        yield new
        output.check(os.listdir(new))
        output.publish(new)


class _StoredOutput:
    """What a writer puts at an address."""

    def __init__(self, address: str, writer: str, option: str) -> None:
        self.address = address
        self._writer = writer
        self._option = option
        self._store: ObjectStore = open_store(address)

    def check_inputs(self, names: Iterable[str], inputs: Iterable[Place | None]) -> None:
        """Checks that nothing that is read would be written over.

        Raises:
            OutputError: it would.
        """
        for place in inputs:
            if place is None or not is_address(place):
                continue
            read = str(place).rstrip("/")
            targets = [self.address, *(f"{self.address}/{name}" for name in names)]
            is_inside = f"{self.address}/".startswith(f"{read}/")
            if is_inside or any(f"{read}/".startswith(f"{target}/") for target in targets[1:]):
                raise OutputError(
                    f"{self._option} {self._shown}: is or lies in {shown_address(read)}, which is "
                    "read, or would replace it: give another"
                )

    def check(self, names: Iterable[str]) -> None:
        """Checks that names may be written; writes nothing.

        Raises:
            OutputError: something is there that is not ours, or not as we wrote it.
        """
        taken = set(names)
        record, files = self._record(), self._files()
        if record is None and files:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            raise OutputError(
                f"{self._option} {self._shown}: holds {min(files)}{more}, which is not of ours (no "
                f"{RECORD_FILE} tells of it): give a new or an empty place"
            )
        if record is None:
            return
        pending = record.pending or {"writer": "", "names": []}
        known = {path: entry for files in record.outputs.values() for path, entry in files.items()}
        for name in sorted(taken):
            owner = record.owner(name)
            if name in pending["names"]:
                owner = pending["writer"]
            if owner not in (None, self._writer) and name != SUMMARY_FILE:
                raise OutputError(
                    f"{self._shown}/{name}: was written by {owner}: give another {self._option}"
                )
        for path, file in files.items():
            top = path.partition("/")[0]
            if top in taken and top not in pending["names"] and known.get(path) != _entry(file):
                said = "is not as it was written" if path in known else "is not of ours"
                raise OutputError(
                    f"{self._shown}/{path}: {said}: move it away, or give another {self._option}"
                )

    def publish(self, new: Path) -> None:
        """Puts what lies in a folder in the place of the writer's former output."""
        record = self._record() or Record()
        names = sorted(os.listdir(new))
        former = set(record.outputs.get(self._writer, {}))
        before = [path for path in self._files() if path in former or _top(path) in names]
        record.pending = {"writer": self._writer, "names": sorted({*names, *map(_top, former)})}
        self._write_record(record)
        self._all(self._store.remove, [path for path in before if _is_door(path)])
        found = [path for path in sorted(new.rglob("*")) if path.is_file()]
        paths = {path.relative_to(new).as_posix(): path for path in found}

        def put(name: str) -> None:
            self._store.put(paths[name], name)

        self._all(put, [name for name in paths if not _is_door(name)])
        self._all(self._store.remove, [path for path in before if path not in paths])
        for name in sorted(filter(_is_door, paths), key=_order_of_door):
            put(name)
        written: Files = {
            path: _entry(file) for path, file in self._files().items() if path in paths
        }
        record.forget(record.pending["names"])
        record.outputs[self._writer] = {**dict.fromkeys(names), **written}
        record.pending = None
        self._write_record(record)

    @property
    def _shown(self) -> str:
        return shown_address(self.address)

    def _all(self, act: Callable[[str], None], names: Iterable[str]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for _ in threads.map(act, names):
                pass

    def _files(self) -> dict[str, StoredFile]:
        """Returns the files by name, without hidden ones."""
        return {file.name: file for file in self._store.files() if not file.name.startswith(".")}

    def _record(self) -> Record | None:
        """Returns the record of what is ours, None where there is none.

        Raises:
            OutputError: the file is not what we write.
        """
        try:
            return record_of(self._store.read(RECORD_FILE, _LARGEST_RECORD))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise OutputError(f"{self._shown}/{RECORD_FILE}: {error}: give another place") from None

    def _write_record(self, record: Record) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_json(Path(folder) / RECORD_FILE, record.to_json())
            self._store.put(Path(folder) / RECORD_FILE, RECORD_FILE)


def _entry(file: StoredFile) -> list[int | str]:
    return [file.size, file.tag]


def _top(path: str) -> str:
    return path.partition("/")[0]


def _is_door(path: str) -> bool:
    return path.rpartition("/")[2] in _DOORS


def _order_of_door(path: str) -> tuple[int, str]:
    return _DOORS.index(path.rpartition("/")[2]), path


@contextlib.contextmanager
def _staging(address: str, option: str) -> Iterator[Path]:
    """Yields an empty folder of this user's for what goes to an address; it vanishes.

    What killed processes left is removed.
    """
    top = Path(tempfile.gettempdir()) / f"tfx-rcnn-{os.getuid()}"
    top.mkdir(mode=0o700, exist_ok=True)
    status = os.lstat(top)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise OutputError(f"{top}: is no folder of this user: set TMPDIR to one")
    own = top / hashlib.sha256(address.encode()).hexdigest()[:16]
    for left in (folder for folder in top.iterdir() if folder != own):
        with contextlib.suppress(FolderInUseError, OSError), held_folder(left, "wait"):
            _empty(left)
        with contextlib.suppress(OSError):
            left.rmdir()
    try:
        with held_folder(own, f"wait for its end, or give another {option}"):
            _empty(own)
            try:
                (own / "new").mkdir()
                yield own / "new"
            finally:
                _empty(own)
    finally:
        with contextlib.suppress(OSError):
            own.rmdir()


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != LOCK_FILE:
            remove(path)
