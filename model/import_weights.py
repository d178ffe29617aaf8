"""Turns a file of weights into one of ours, or ours into torchvision's; see docs/weights.md.

Example:
    python -m model.import_weights --from detectron2 model_final.pkl \
        --config configs/faster_rcnn_r50_fpn_1x_coco.yaml --num-classes 80 --out start.safetensors
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np

from configs.console import OneLineCommand, one_line_errors, read_json
from configs.errors import ConfigError, DatasetError
from configs.files import atomic_path
from configs.loader import load_config
from configs.outputs import MARK, check_file
from configs.schema import Config
from model.quiet_tensorflow import quiet_tensorflow
from model.weights.files import KINDS, WeightReport, load_start_weights
from model.weights.torchvision import to_torchvision

_OUT_SUFFIXES = (".safetensors", ".npz")


@click.command(
    cls=OneLineCommand,
    epilog="Example: python -m model.import_weights --from detectron2 model_final.pkl "
    "--config configs/faster_rcnn_r50_fpn_1x_coco.yaml --num-classes 80 --out start.safetensors",
)
@click.option(
    "--from",
    "source",
    required=True,
    nargs=2,
    type=(click.Choice(KINDS), click.Path()),
    metavar="KIND FILE",
    help=f"Whose file it is ({', '.join(KINDS)}), and the file.",
)
@click.option("--config", "config_path", required=True, type=click.Path(), help="YAML config.")
@click.option("--num-classes", type=click.IntRange(1, 10_000), help="K, without the background.")
@click.option("--categories", type=click.Path(), help="categories.json, which tells K.")
@click.option("--to", "target", type=click.Choice(["ours", "torchvision"]), default="ours")
@click.option("--out", required=True, type=click.Path(), help="A .safetensors or .npz file.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@one_line_errors
def main(
    source: tuple[str, str],
    config_path: str,
    num_classes: int | None,
    categories: str | None,
    target: str,
    out: str,
    overrides: tuple[str, ...],
) -> None:
    """Read weights of others into a detector of this config, and write them.

    Says what was loaded, what was left at its initial value and what was left over.
    """
    kind, path = source
    if Path(out).suffix not in _OUT_SUFFIXES:
        raise ConfigError(f"--out {out}: must be a {' or '.join(_OUT_SUFFIXES)} file")
    config = load_config(config_path, overrides)
    check_file(out, [path, config_path, categories, config.model.weights])
    with quiet_tensorflow():
        weights, report = _read(config, _num_classes(num_classes, categories), kind, path)
    write_weights(out, to_torchvision(weights) if target == "torchvision" else weights, target)
    for line in [*report.lines(), f"written   {out} ({target})"]:
        click.echo(line)


def _read(
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

    with atomic_path(path) as partial:
        if path.endswith(".npz"):
            with partial.open("wb") as stream:
                np.savez(stream, **weights)
            with zipfile.ZipFile(partial, "a") as archive:
                archive.comment = MARK.encode()
        else:
            metadata = {"weights": json.dumps({"kind": kind}), "about": MARK}
            save_file(dict(weights), partial, metadata=metadata)


def _num_classes(given: int | None, categories: str | None) -> int:
    """Returns K, given or counted in the file `categories`; ConfigError unless exactly one is."""
    if (given is None) == (categories is None):
        raise ConfigError("give the number of classes by --num-classes or by --categories")
    if given is not None:
        return given
    rows = read_json(str(categories), DatasetError)
    if not isinstance(rows, list) or not rows:
        raise DatasetError(f"{categories}: expected a list of categories")
    return len(rows)


if __name__ == "__main__":
    main()
