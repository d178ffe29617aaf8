"""Whether a folder can be transformed; looked at before Beam is loaded."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import logging

from ground.addresses import Place, is_address, shown_address
from ground.console import read_json
from ground.errors import DatasetError
from model.examples import (
    CATEGORIES_FILE,
    COUNTS_FILE,
    MANIFEST_FILE,
    REFUSED_FILE,
    read_manifest,
)
from model.input.buckets import BUCKETS_FILE
from model.object_store import download, open_store

REPORT_NUMBERS = "report.json"


@contextlib.contextmanager
def beside_records(examples: Place, folder: Path) -> Iterator[tuple[str, str]]:
    """Yields where the files beside the records of CocoExampleGen lie on the disk, and the address.

    Args:
        examples: its folder, or the address of one.
        folder: gets a copy of those files, where they lie at an address.

    Raises:
        DatasetError: the body raises it; with the address in place of the copy.
        ServiceError: the store does not give them.
    """
    if not is_address(examples):
        yield os.path.abspath(examples), ""
        return
    address, copy = str(examples), folder / "source"
    try:
        store = open_store(address)
        for name in (
            MANIFEST_FILE,
            CATEGORIES_FILE,
            COUNTS_FILE,
            REFUSED_FILE,
            BUCKETS_FILE,
            "index",
        ):
            download(store, name, copy / name)
        yield str(copy), address
    except DatasetError as error:
        message = str(error).replace(str(copy), shown_address(address))
        raise DatasetError(message) from None


def check_source(examples: Place) -> None:
    """Checks that `examples` is a folder that CocoExampleGen wrote, or the address of one.

    Raises:
        DatasetError: it is no examples folder, or one of CocoTransform.
        ServiceError: the store does not answer.
    """
    if is_address(examples):
        with (
            tempfile.TemporaryDirectory() as folder,
            beside_records(examples, Path(folder)) as (copy, _),
        ):
            check_source(Path(copy))
        return
    read_manifest(examples)
    if (Path(examples) / BUCKETS_FILE).exists():
        raise DatasetError(
            f"{examples}: CocoTransform wrote these examples (there is a {BUCKETS_FILE}): "
            "give the ones of CocoExampleGen"
        )


def read_origin(examples: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what CocoExampleGen counted of each split, as in its `summary.json`.

    Empty where the folder does not say.
    """
    path = Path(examples) / COUNTS_FILE
    splits: dict[str, Any] = read_json(path, DatasetError)["splits"] if path.exists() else {}
    return splits


def read_refused(examples: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns some of what CocoExampleGen left out, by split and reason, as it can be shown.

    Empty where the folder does not say.
    """
    path = Path(examples) / REFUSED_FILE
    found: dict[str, Any] = read_json(path, DatasetError) if path.exists() else {}
    return found


def read_report(path: Place) -> dict[str, Any]:
    """Returns the report of an earlier run, to compare with.

    Raises:
        DatasetError: the file is none.
        ServiceError: the store does not give it.
    """
    if is_address(path):
        above, _, name = str(path).rpartition("/")
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / name
            open_store(above).get(name, copy)
            try:
                return read_report(copy)
            except DatasetError as error:
                message = str(error).replace(str(copy), shown_address(path))
                raise DatasetError(message) from None
    from components.coco_transform.drift import is_comparable  # a command's help needs no NumPy

    report = read_json(Path(path), DatasetError)
    if not isinstance(report, dict) or not isinstance(report.get("splits"), dict):
        raise DatasetError(f"{path}: no data report (expected `splits`): give a report.json")
    for name, split in report["splits"].items():
        if not is_comparable(split):
            raise DatasetError(
                f"{path}: its split {name!r} has no counts to compare with, such as another file's "
                "or an earlier version's: give a report.json that CocoTransform wrote"
            )
    return report


def previous_report(report_dir: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Returns the report of the run before, which lies beside this one's; None without one.

    TFX numbers the executions of a component; on a cluster each run has a folder of its own.
    One that cannot be read is passed over, with a warning: it is no reason to end today's run.
    """
    own = Path(report_dir)
    if not own.name.isdecimal() or not own.parent.is_dir():
        return None
    earlier = [
        path
        for path in own.parent.iterdir()
        if path.name.isdecimal() and int(path.name) < int(own.name)
        if (path / REPORT_NUMBERS).is_file()
    ]
    for folder in sorted(earlier, key=lambda path: int(path.name), reverse=True):
        try:
            return read_report(folder / REPORT_NUMBERS)
        except DatasetError as error:
            logging.warning("Not compared with the data of an earlier run: %s", error)
    return None
