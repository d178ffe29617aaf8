"""`python -m model.import_weights`: see model/import_weights.py."""

from pathlib import Path

import click

from configs.loader import load_config
from ground.command_options import config_option, set_option
from ground.console import OneLineCommand, one_line_errors, show_lines
from ground.errors import ConfigError
from ground.outputs import check_file
from ground.progress import elapsed_shown
from ground.speech import say, speech_options
from model.import_weights import OUT_SUFFIXES, count_classes, imported_weights, write_weights
from model.quiet_tensorflow import quiet_tensorflow
from model.weights.fetching import ensure_weights
from model.weights.files import KINDS
from model.weights.named import weights_path
from model.weights.torchvision import to_torchvision


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn import-weights --from detectron2 model_final.pkl "
    "--config configs/faster_rcnn_r50_fpn_1x_coco.yaml --num-classes 80 --out start.safetensors",
)
@click.option(
    "--from",
    "source",
    required=True,
    nargs=2,
    type=(click.Choice(KINDS), str),
    metavar="KIND FILE",
    help=f"Whose file it is ({', '.join(KINDS)}), and the file, or its name (docs/weights.md).",
)
@config_option()
@click.option("--num-classes", type=click.IntRange(1, 10_000), help="K, without the background.")
@click.option("--categories", type=click.Path(), help="categories.json, which tells K.")
@click.option(
    "--to",
    "target",
    type=click.Choice(["ours", "torchvision"]),
    default="ours",
    show_default=True,
    help="Whose names the written file has.",
)
@click.option("--out", required=True, type=click.Path(), help="A .safetensors or .npz file.")
@set_option
@speech_options
@one_line_errors
def main(
    source: tuple[str, str],
    config_file: Path,
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
    if Path(out).suffix not in OUT_SUFFIXES:
        raise ConfigError(f"--out {out}: must be a {' or '.join(OUT_SUFFIXES)} file")
    config = load_config(config_file, overrides)
    check_file(out, [weights_path(path), config_file, categories, config.model.weights])
    ensure_weights(path, say)
    with quiet_tensorflow(), elapsed_shown("importing"):
        weights, report = imported_weights(
            config, _num_classes(num_classes, categories), kind, path
        )
    write_weights(out, to_torchvision(weights) if target == "torchvision" else weights, target)
    show_lines([*report.lines(), f"written   {out} ({target})"])


def _num_classes(given: int | None, categories: str | None) -> int:
    """Returns K, given or counted in the file `categories`; ConfigError unless exactly one is."""
    if (given is None) == (categories is None):
        raise ConfigError("give the number of classes by --num-classes or by --categories")
    return count_classes(str(categories)) if given is None else given
