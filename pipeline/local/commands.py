"""The commands that run the pipeline here, and the one that draws a data set.

Heavy libraries are imported inside the commands, after the arguments are checked, so that `--help`
and a wrong argument answer at once.
"""

import os
import sys
from pathlib import Path
from typing import Any

import click

from ground.addresses import Place
from ground.command_options import PlaceType, config_option, set_option
from ground.console import OneLineCommand, one_line_errors
from ground.errors import EXIT_REFUSED
from ground.source_digest import SOURCE_ROOT
from ground.speech import RESULT, say, speech_options
from pipeline.nodes import NODES

_DEMO_CONFIG = SOURCE_ROOT / "configs" / "demo.yaml"


@click.command(
    "run",
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn run --config configs/demo.yaml --data-dir data/shapes "
    "--set train.epochs=2",
)
@config_option()
@click.option(
    "--data-dir",
    required=True,
    type=PlaceType(),
    help="COCO-format folder, or its address (s3://...); the config's data section names the files "
    "in it.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Folder of everything that the run writes.  [default: runs/<config's name>]",
)
@set_option
@click.option(
    "--from", "from_node", type=click.Choice(NODES), help="First node; earlier are reused."
)
@click.option("--to", "to_node", type=click.Choice(NODES), help="Last node.")
@click.option("--no-cache", is_flag=True, help="Run every node, whatever is known.")
@click.option("--dry-run", is_flag=True, help="Print the graph and stop.")
@click.option(
    "--require-blessed", is_flag=True, help="Exit with status 3 if the model is not blessed."
)
@speech_options
@one_line_errors
def run(
    config_file: Path,
    data_dir: Place,
    root: Path | None,
    overrides: tuple[str, ...],
    from_node: str | None,
    to_node: str | None,
    no_cache: bool,
    dry_run: bool,
    require_blessed: bool,
) -> None:
    """Runs the whole pipeline here; what did not change comes from earlier runs."""
    if from_node and to_node and NODES.index(from_node) > NODES.index(to_node):
        raise click.BadParameter(f"{from_node} comes after --to {to_node}", param_hint="--from")
    from configs.loader import load_config

    config = load_config(config_file, overrides)
    request = dict(from_node=from_node, to_node=to_node, use_cache=not no_cache, dry_run=dry_run)
    _run(config, data_dir, root or Path("runs") / config.name, require_blessed, request)


@click.command("demo", cls=OneLineCommand, epilog="Example: tfx-rcnn demo")
@click.option(
    "--data-dir",
    default=Path("data/shapes"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where the drawn pictures are; made if not there.",
)
@click.option(
    "--root",
    default=Path("runs/demo"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of everything that the run writes.",
)
@set_option
@speech_options
@one_line_errors
def demo(data_dir: Path, root: Path, overrides: tuple[str, ...]) -> None:
    """Draws pictures of shapes and runs the whole pipeline on them."""
    from configs.loader import load_config
    from pipeline.shapes import generate_shapes

    config = load_config(_DEMO_CONFIG, overrides)
    if not data_dir.exists():
        say(f"drawing pictures into {data_dir}")
    generate_shapes(data_dir)
    _run(config, data_dir, root, False, {})


@click.command(
    "shapes",
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn shapes --out data/tiny --train 12 --val 6 --size 96",
)
@click.option(
    "--out",
    default=Path("data/shapes"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="New folder of the data set.",
)
@click.option(
    "--train",
    default=400,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Pictures to train with.",
)
@click.option(
    "--val",
    default=80,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Pictures to measure with.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**32 - 1),
    help="Another one draws others.",
)
@click.option(
    "--size",
    default=160,
    show_default=True,
    type=click.IntRange(48, 4096),
    help="Longest side, pixels.",
)
@speech_options
@one_line_errors
def shapes(out: Path, train: int, val: int, seed: int, size: int) -> None:
    """Draws a COCO-format data set of shapes, unless it is there already."""
    from pipeline.shapes import generate_shapes

    generate_shapes(out, train, val, seed, size)
    say(f"{train} + {val} pictures in {out}", RESULT)


def _run(
    config: Any, data_dir: Place, root: Path, require_blessed: bool, request: dict[str, Any]
) -> None:
    """Checks the files that the run starts from, then loads TFX and runs.

    Raises:
        OutputError: a file of the user's would be harmed; likewise.
        DatasetError: the data folder is not what the config says; before anything heavy.
        ServiceError: the store of the data does not answer, or refuses; likewise.
        ConfigError: an address of data has a secret in it, GPUs cannot be used or are too few, or a
            policy is of no reason that there is.
        ModelError: there is no file of the weights that the training starts from; likewise.
    """
    from components.model_pusher.registry import check_push_folder
    from model.coco.policies import resolve_policies
    from model.launch.cluster import cluster_from_environment
    from model.launch.gpus import usable_environment
    from model.launch.host import check_workers
    from model.tracking.request import TrackingRequest
    from model.training_settings import TrainingSettings
    from model.weights.fetching import ensure_weights
    from model.weights.files import check_start_weights
    from pipeline.data_folder import check_data_folder, check_no_secrets, read_by_a_run
    from pipeline.local.run_folder import RunFolder

    resolve_policies(config.data.policies)
    TrackingRequest.of(config)  # a missing package is said before the first hour
    folder, inputs = RunFolder(root.resolve()), read_by_a_run(config, data_dir)
    folder.check(inputs)
    check_push_folder(config.push.folder or folder.serving, config.name, inputs, "push.folder")
    check_no_secrets(config.data, data_dir)
    check_data_folder(config.data, data_dir)
    if _includes(request, "DetectionTrainer"):
        check_start_weights(config.model.weights)
        environ = usable_environment(config.train.device, os.environ)
        # What was trained on more GPUs may come from the cache; else the trainer says the same.
        if not request.get("dry_run") and not folder.has_output("DetectionTrainer"):
            check_workers(TrainingSettings.of(config), cluster_from_environment(environ), environ)
        ensure_weights(config.model.weights, say)
    from pipeline.local.runner import run_pipeline

    summary = run_pipeline(config, data_dir, root, **request)
    if require_blessed and not summary.get("blessed"):
        sys.exit(EXIT_REFUSED)


def _includes(request: dict[str, Any], node: str) -> bool:
    """Returns whether a run from one node to another has this one in it."""
    first, last = request.get("from_node") or NODES[0], request.get("to_node") or NODES[-1]
    return NODES.index(first) <= NODES.index(node) <= NODES.index(last)
