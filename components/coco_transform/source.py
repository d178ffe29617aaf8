"""Whether a folder can be transformed; looked at before Beam is loaded."""

import os
from pathlib import Path
from typing import Any

from ground.console import read_json
from ground.errors import DatasetError
from model.examples import COUNTS_FILE, read_manifest
from model.input.buckets import BUCKETS_FILE


def check_source(examples: str | os.PathLike[str]) -> None:
    """Checks that `examples` is a folder that CocoExampleGen wrote.

    Raises:
        DatasetError: it is no examples folder, or one of CocoTransform.
    """
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
