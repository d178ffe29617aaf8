"""Turns a file of weights into one of ours, or ours into torchvision's; see docs/weights.md.

Example:
    python -m model.import_weights --from detectron2 model_final.pkl \
        --config configs/faster_rcnn_r50_fpn_1x_coco.yaml --num-classes 80 --out start.safetensors
"""

import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from configs.schema import Config
from ground.console import read_json
from ground.errors import DatasetError
from ground.files import atomic_path
from ground.outputs import MARK
from model.weights.files import WeightReport, load_start_weights

OUT_SUFFIXES = (".safetensors", ".npz")


def imported_weights(
    config: Config, num_classes: int, kind: str, path: str
) -> tuple[dict[str, np.ndarray], WeightReport]:
    """Returns the weights of a detector that started from the file, and what became of it."""
    from model.detector import build_detector  # imports TensorFlow

    model = config.model.model_copy(update={"weights": None})
    detector = build_detector(model, num_classes, config.train.seed)
    report = load_start_weights(detector, path, kind)
    return detector.export_weights(), report


def write_weights(path: str, weights: Mapping[str, np.ndarray], kind: str) -> None:
    """Writes {name: array} to a .safetensors (with the kind in its metadata) or .npz file."""
    from safetensors.numpy import save_file

    arrays: dict[str, Any] = dict(weights)
    with atomic_path(path) as partial:
        if path.endswith(".npz"):
            with partial.open("wb") as stream:
                np.savez(stream, **arrays)
            with zipfile.ZipFile(partial, "a") as archive:
                archive.comment = MARK.encode()
        else:
            metadata = {"weights": json.dumps({"kind": kind}), "about": MARK}
            save_file(arrays, partial, metadata=metadata)


def count_classes(categories: str) -> int:
    """Returns K of the label map in a file.

    Raises:
        DatasetError: the file is missing, or holds no list of categories.
    """
    rows = read_json(categories, DatasetError)
    if not isinstance(rows, list) or not rows:
        raise DatasetError(f"{categories}: expected a list of categories")
    return len(rows)


if __name__ == "__main__":
    from model.commands import run_command

    run_command("import_weights")
