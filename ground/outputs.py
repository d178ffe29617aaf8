"""Where may be written: the one place that decides it, for all commands, components and runs.

Never into, over or around an input of the same command, and never over a file that is not as we
wrote it. There are four kinds of output:

    output_folder     files and folders that are replaced as a whole, by one rename
    growing_folder    a folder that a run adds to (checkpoints, a pipeline's root)
    fresh_folder      an empty folder that somebody made for us (TFX's artifacts)
    check_file        a single file among a user's own; ours carry a mark
"""

import contextlib
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ground.addresses import shown_address
from ground.errors import OutputError
from ground.files import held_folder, remove
from ground.output_record import (
    RECORD_FILE,
    SUMMARY_FILE,
    Record,
    commit,
    read_record,
    settle,
    stage_path,
    write_record,
)
from ground.unfinished import undone_at_a_forced_end

MARK = "Written by tfx-rcnn"
_MARKED_TEXT = re.compile(rf"# {MARK}; SHA-256 of the lines below: ([0-9a-f]{{64}})\n".encode())
_MARK_BYTES = 1 << 16
_NOT_COUNTED = ("lost+found",)  # beside hidden files: of a disk's own folder
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")  # a Path has lost the second slash
_PATTERN_LETTERS = re.compile(r"[\[\]*?\\\x00-\x1f\x7f]")

Paths = Iterable[str | os.PathLike[str] | None]
Otherwise = Callable[[Path], bool]
Identity = tuple[int, int] | str


@contextlib.contextmanager
def output_folder(
    out: str | os.PathLike[str],
    writer: str,
    names: Iterable[str],
    inputs: Paths,
    option: str = "--out",
) -> Iterator[Path]:
    """Yields an empty folder whose content becomes the writer's output when the block ends well.

    Its former output in `out` is replaced as a whole, by one rename; after an error it stays, and
    nothing else does. The folder is held meanwhile, for this process alone.

    Args:
        out: the folder, which is made where there is none.
        writer: the command, such as `model.predict`.
        names: names of files and folders that will be written, as far as they are known.
        inputs: files and folders that the command reads; None is left out.
        option: option of the command line, for messages.

    Raises:
        OutputError: something there would be harmed (see `check_folder`).
        FolderInUseError: another process is at work in the folder.
    """
    names, inputs = list(names), list(inputs)
    settle_inputs(inputs)
    folder = check_folder(out, writer, names, inputs, option)
    is_new = not folder.exists()

    def remove_if_new() -> None:
        if is_new:
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()

    try:
        with (
            undone_at_a_forced_end(remove_if_new),
            held_folder(folder, f"wait for its end, or give another {option}"),
        ):
            settle(folder)
            check_folder(folder, writer, names, inputs, option)
            with _new_output(folder, writer) as new:
                yield new
                check_folder(folder, writer, os.listdir(new), inputs, option)
    finally:
        remove_if_new()


@contextlib.contextmanager
def _new_output(folder: Path, writer: str) -> Iterator[Path]:
    """Yields a stage that is committed when the block ends well, else removed."""
    new = stage_path(folder)
    try:
        new.mkdir(parents=True)
        with undone_at_a_forced_end(lambda: remove(new.parent)):
            yield new
        commit(folder, read_record(folder) or Record(), writer, new)
    except BaseException as error:
        if isinstance(error, OSError) and isinstance(error.filename, str):
            error.filename = error.filename.replace(str(new), str(folder))
        with contextlib.suppress(OSError):  # else the next start does it
            settle(folder)
        raise


def growing_folder(
    out: str | os.PathLike[str],
    writer: str,
    names: Iterable[str],
    inputs: Paths,
    option: str = "--out",
    is_earlier: Otherwise = lambda folder: False,
) -> Path:
    """Notes in a folder, which is made, that `writer` keeps `names` in it; returns its real path.

    Args:
        out: the folder.
        writer: whose names they are.
        names: names of files and folders that it adds to and updates.
        inputs: see `output_folder`.
        option: option of the command line, for messages.
        is_earlier: whether a folder without a record is of an earlier version of ours.

    Raises:
        OutputError: see `check_folder`.
    """
    names, inputs = sorted(names), list(inputs)
    settle_inputs([*inputs, out])
    folder = check_folder(out, writer, names, inputs, option, is_earlier)
    folder.mkdir(parents=True, exist_ok=True)
    record = read_record(folder) or Record()
    before = record.to_json()
    record.forget(names)
    record.grows[writer] = sorted({*names, *record.grows.get(writer, [])})
    if record.to_json() != before:
        write_record(folder, record)
    return folder


def check_folder(
    out: str | os.PathLike[str],
    writer: str,
    names: Iterable[str],
    inputs: Paths,
    option: str = "--out",
    is_earlier: Otherwise = lambda folder: False,
) -> Path:
    """Checks that names may be written in a folder, and returns its real path; writes nothing.

    Raises:
        OutputError: the folder, or a file in it that would be replaced, is or holds an input, or
            lies in one; it holds something and has no record of ours; or something of these names
            was changed since it was written, or is of another writer.
    """
    folder = _real(out, option)
    names = list(names)
    _check_inputs(folder, [folder / name for name in names], inputs, option)
    if os.path.lexists(folder) and not folder.is_dir():
        raise OutputError(f"{option} {out}: is no folder: give another, or move it away")
    record = read_record(folder)
    if record is None or not record.writers:
        if not is_empty(folder) and not is_earlier(folder):
            raise OutputError(
                f"{option} {out}: holds {_some(folder)}, which is not of ours (no {RECORD_FILE} "
                "tells of it): give a new or an empty folder"
            )
        return folder
    if record.pending is not None:
        return folder  # looked at again when it is settled
    for name in sorted({*names, *record.names(writer)}):
        _check_name(folder, record, writer, name, option)
    return folder


def _check_name(folder: Path, record: Record, writer: str, name: str, option: str) -> None:
    path, owner = folder / name, record.owner(name)
    is_shared = name == SUMMARY_FILE
    if owner is None and os.path.lexists(path):
        raise OutputError(f"{path}: is not of ours: move it away, or give another {option}")
    if owner not in (None, writer) and not is_shared:
        raise OutputError(f"{path}: was written by {owner}: give another {option}")
    if changed := record.strangers(folder, name):
        raise OutputError(
            f"{folder / changed[0]}: is not as {owner} wrote it: move it away, or give another "
            f"{option}"
        )


def is_empty(folder: Path) -> bool:
    """Returns whether a folder is missing, or holds nothing but hidden files."""
    return not _visible(folder)


def _visible(folder: Path) -> list[str]:
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(n for n in names if not n.startswith(".") and n not in _NOT_COUNTED)


def _some(folder: Path) -> str:
    names = _visible(folder)
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def fresh_folder(folder: str | os.PathLike[str], inputs: Paths = ()) -> Path:
    """Checks a folder that somebody made for us, and returns it.

    Raises:
        OutputError: it is not empty and lies in no folder that we keep, or is or lies in an input.
    """
    folder = _real(folder, "output")
    _check_inputs(folder, [folder], inputs, "output")
    if not is_empty(folder) and not _is_kept(folder):
        raise OutputError(f"{folder}: holds {_some(folder)}, and is to be a new folder")
    return folder


def _is_kept(folder: Path) -> bool:
    """Returns whether a folder lies below a name that one of us keeps in a folder above."""
    above = [folder, *folder.parents]
    for below, parent in itertools.pairwise(above):
        record = read_record(parent)
        if record is not None and any(below.name in names for names in record.grows.values()):
            return True
    return False


def check_file(
    path: str | os.PathLike[str],
    inputs: Paths,
    option: str = "--out",
    is_ours: Otherwise | None = None,
) -> None:
    """Checks that a single file may be written; writes nothing.

    Args:
        path: the file.
        inputs: see `output_folder`.
        option: option of the command line, for messages.
        is_ours: whether a file is of ours; by default one with our mark (`is_marked`).

    Raises:
        OutputError: it is an input, or is there and not of ours, or was edited since.
    """
    target = _real(path, option)
    _check_inputs(target.parent, [target], inputs, option)
    if not os.path.lexists(path):
        return
    if not target.is_file() or not (is_ours or is_marked)(target):
        raise OutputError(
            f"{option} {path}: is there already, and not as we wrote it: move it away, or give "
            "another name"
        )


def is_marked(path: Path) -> bool:
    """Returns whether a file carries our mark near its begin or end, and a text is as written."""
    with open(path, "rb") as stream:
        head = stream.read(_MARK_BYTES)
        if match := _MARKED_TEXT.match(head):
            rest = head[match.end() :] + stream.read()
            return hashlib.sha256(rest).hexdigest().encode() == match[1]
        stream.seek(-min(_MARK_BYTES, path.stat().st_size), os.SEEK_END)
        return MARK.encode() in head or MARK.encode() in stream.read()


def marked_text(text: str) -> str:
    r"""Returns a YAML text below a comment by which `is_marked` knows it until it is edited.

    >>> marked_text("a: 1\n").startswith("# Written by tfx-rcnn; SHA-256 of the lines below: ")
    True
    """
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"# {MARK}; SHA-256 of the lines below: {digest}\n{text}"


def check_pattern(path: str | os.PathLike[str], option: str) -> None:
    """Checks that no library will take a path for a pattern of many.

    Raises:
        OutputError: a letter of it, or of the folder that it begins in, is special to TFX, Beam or
            TensorFlow.
    """
    for place in (os.fspath(path), str(_real(path, option))):
        if found := _PATTERN_LETTERS.search(place):
            raise OutputError(
                f"{option} {place!r}: TFX, Beam or TensorFlow take {found[0]!r} in a path for a "
                r"pattern: give one without [ ] * ? \ and line ends"
            )


def settle_inputs(inputs: Paths) -> None:
    """Finishes what a killed writer had decided and not finished in the inputs' folders.

    Raises:
        OutputError: it cannot be finished here (a folder that may only be read).
    """
    paths = [Path(path) for path in _given(inputs)]
    for folder in sorted({*paths, *(path.parent for path in paths)}):
        record = read_record(folder)
        if record is None or record.pending is None:
            continue
        try:
            with held_folder(folder, "wait for its end"):
                settle(folder)
        except OSError as error:
            raise OutputError(
                f"{folder}: {record.pending['writer']} was cut off while it put its output in "
                f"place: run it again ({error.strerror})"
            ) from error


def _check_inputs(folder: Path, targets: Sequence[Path], inputs: Paths, option: str) -> None:
    """Checks where outputs lie to what is read; two names of one file are equal.

    Args:
        folder: that gets the targets; a real path.
        targets: what is written in it.
        inputs: what is read.
        option: for messages.

    Raises:
        OutputError: the folder, or one of the targets, is an input or lies in one, or a target
            holds one.
    """
    around_folder = _identities(folder)
    by_identity = {_identity(target): target for target in targets}
    for path in _given(inputs):
        around = _identities(Path(os.path.realpath(path)))
        if around[0] in around_folder:
            raise OutputError(
                f"{option} {folder}: is or lies in {path}, which is read: give another"
            )
        if found := next((by_identity[place] for place in around if place in by_identity), None):
            raise OutputError(
                f"{option}: {found} would be replaced, and {path} is read: give another"
            )


def _real(path: str | os.PathLike[str], option: str) -> Path:
    """Returns a path with its links followed.

    Raises:
        OutputError: no file can have such a name, or it is an address.
    """
    if scheme := _ADDRESS.match(os.fspath(path)):
        rest = os.fspath(path)[scheme.end() :].lstrip("/")
        raise OutputError(
            f"{option} {shown_address(f'{scheme[0]}/{rest}')}: is an address, and this goes to a "
            "disk: give a folder"
        )
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        raise OutputError(f"{option} {os.fspath(path)!r}: is no path ({error})") from None


def _given(inputs: Paths) -> list[str]:
    texts = [os.fspath(path) for path in inputs if path is not None]
    return [text for text in texts if "://" not in text]


def _identity(path: Path) -> Identity:
    """Returns what two names of one file have in common; the path where there is none."""
    try:
        status = path.stat()
    except OSError:
        return str(path)
    return status.st_dev, status.st_ino


def _identities(path: Path) -> list[Identity]:
    """Returns the identities of a path and of all folders above it."""
    return [_identity(place) for place in (path, *path.parents)]
