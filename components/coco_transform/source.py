"""Whether a folder can be transformed; looked at before Beam is loaded."""

import os
from pathlib import Path

from configs.errors import DatasetError
from model.examples import read_manifest
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
