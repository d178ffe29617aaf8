"""The commands of the whole pipeline.

Heavy libraries are imported inside the commands, after the arguments are checked, so that `--help`
and a wrong argument answer at once.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from configs.console import OneLineGroup, one_line_errors
from configs.errors import EXIT_REFUSED
from pipeline.kubeflow.commands import run_compiled
from pipeline.nodes import NODES
from pipeline.quiet import quiet_libraries

_REPOSITORY = Path(__file__).resolve().parent.parent
_DEMO_CONFIG = _REPOSITORY / "configs" / "demo.yaml"

_config_option = click.option(
    "--config",
    "config_file",
    required=True,
    type=click.Path(path_type=Path),
    help="YAML file, one of configs/ or yours.",
)
_set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Changes one setting, such as train.epochs=1; may be repeated.",
)


@click.group(
    cls=OneLineGroup,
    epilog="Example: python -m pipeline run --config configs/blood_cells.yaml "
    "--data-dir data/blood_cells",
)
def main() -> None:
    """From a COCO-format folder to a measured, gated and pushed detector."""


@main.command(
    epilog="Example: python -m pipeline run --config configs/demo.yaml --data-dir data/shapes "
    "--set train.epochs=2"
)
@_config_option
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(path_type=Path),
    help="COCO-format folder; the config's data section names the files in it.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Folder of everything that the run writes.  [default: runs/<config's name>]",
)
@_set_option
@click.option(
    "--from", "from_node", type=click.Choice(NODES), help="First node; earlier are reused."
)
@click.option("--to", "to_node", type=click.Choice(NODES), help="Last node.")
@click.option("--no-cache", is_flag=True, help="Run every node, whatever is known.")
@click.option("--dry-run", is_flag=True, help="Print the graph and stop.")
@click.option(
    "--require-blessed", is_flag=True, help="Exit with status 3 if the model is not blessed."
)
@one_line_errors
def run(
    config_file: Path,
    data_dir: Path,
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


@main.command(epilog="Example: python -m pipeline demo")
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
@_set_option
@one_line_errors
def demo(data_dir: Path, root: Path, overrides: tuple[str, ...]) -> None:
    """Draws pictures of shapes and runs the whole pipeline on them."""
    from configs.loader import load_config
    from pipeline.shapes import generate_shapes

    config = load_config(_DEMO_CONFIG, overrides)
    if not data_dir.exists():
        click.echo(f"drawing pictures into {data_dir}")
    generate_shapes(data_dir)
    _run(config, data_dir, root, False, {})


@main.command(
    epilog="Example: python -m pipeline shapes --out data/tiny --train 12 --val 6 --size 96"
)
@click.option(
    "--out",
    default=Path("data/shapes"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="New folder of the data set.",
)
@click.option("--train", default=400, show_default=True, type=click.IntRange(1))
@click.option("--val", default=80, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option(
    "--size", default=160, show_default=True, type=click.IntRange(48), help="Longest side, pixels."
)
@one_line_errors
def shapes(out: Path, train: int, val: int, seed: int, size: int) -> None:
    """Draws a COCO-format data set of shapes, unless it is there already."""
    from pipeline.shapes import generate_shapes

    generate_shapes(out, train, val, seed, size)
    click.echo(f"{train} + {val} pictures in {out}")


def _run(
    config: Any, data_dir: Path, root: Path, require_blessed: bool, request: dict[str, Any]
) -> None:
    """Checks the files that the run starts from, then loads TFX and runs.

    Raises:
        OutputError: a file of the user's would be harmed; likewise.
        DatasetError: the data folder is not what the config says; before anything heavy.
        ConfigError: GPUs cannot be used.
        ModelError: there is no file of the weights that the training starts from; likewise.
    """
    from components.model_pusher.registry import check_push_folder
    from model.training.gpus import usable_environment
    from model.weights.files import check_start_weights
    from pipeline.data_folder import check_data_folder, read_by_a_run
    from pipeline.run_folder import RunFolder

    folder, inputs = RunFolder(root.resolve()), read_by_a_run(config, data_dir)
    folder.check(inputs)
    check_push_folder(config.push.folder or folder.serving, config.name, inputs, "push.folder")
    check_data_folder(config.data, data_dir)
    if NODES.index(request.get("to_node") or NODES[-1]) >= NODES.index("DetectionTrainer"):
        check_start_weights(config.model.weights)
        usable_environment(config.train.device, os.environ)
    from pipeline.local_runner import run_pipeline

    summary = run_pipeline(config, data_dir, root, **request)
    if require_blessed and not summary.get("blessed"):
        sys.exit(EXIT_REFUSED)


@main.command(
    "compile",
    epilog="Example: python -m pipeline compile --config configs/demo.yaml "
    "--image registry.my.org/tfx-rcnn:1 --pipeline-root minio://mlpipeline/tfx-rcnn "
    "-o build/demo.yaml",
)
@_config_option
@click.option("--image", required=True, help="Container image with this package.")
@click.option("--pipeline-root", required=True, help="Address below which outputs are stored.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file to write.",
)
@click.option(
    "--data-dir",
    default="/data",
    show_default=True,
    help="The COCO-format folder, as the containers see it.",
)
@click.option(
    "--data-version",
    default="",
    help="Any name for the state of the data: change it when pictures change, as Kubeflow's "
    "cache cannot see them.",
)
@click.option(
    "--shared-dir",
    default="/shared",
    show_default=True,
    help="A folder all containers share: checkpoints, detections and, unless the config says "
    "otherwise, pushed models.",
)
@click.option(
    "--schema-file",
    help="Schema to validate with, as the containers see it.  [default: the package's own]",
)
@_set_option
@one_line_errors
def compile_(
    config_file: Path,
    image: str,
    pipeline_root: str,
    output: Path,
    data_dir: str,
    data_version: str,
    shared_dir: str,
    schema_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Writes the pipeline as a file for Kubeflow Pipelines v2."""
    if not re.match(r"[a-z0-9]+://|/", pipeline_root):
        raise click.BadParameter(
            f"{pipeline_root!r}: expected an address such as minio://mlpipeline/tfx-rcnn",
            param_hint="--pipeline-root",
        )
    if output.suffix not in (".yaml", ".yml"):
        raise click.BadParameter(f"{output}: expected a name that ends in .yaml", param_hint="-o")
    from configs.loader import load_config
    from configs.outputs import check_file

    config = load_config(config_file, overrides)
    check_file(output, [config_file], "-o")
    shared = shared_dir.rstrip("/")
    _check_platform(config, {"--data-dir": data_dir, "--shared-dir": shared_dir})
    with quiet_libraries(Path(os.devnull)):
        from pipeline.kubeflow.pod_paths import own_file
        from pipeline.kubeflow_runner import compile_pipeline
        from pipeline.pipeline import Places

        places = Places(
            data_dir=data_dir,
            pictures_digest=data_version,
            weights_digest="",
            pipeline_root=pipeline_root,
            checkpoints=f"{shared}/checkpoints",
            detections=f"{shared}/detections",
            push_folder=config.push.folder or f"{shared}/serving",
            schema_file=schema_file or own_file("pipeline/schema.pbtxt"),
        )
        tasks = compile_pipeline(config, places, image, output)
    click.echo(f"wrote {output}: {len(tasks)} tasks ({', '.join(tasks)})")


def _check_platform(config: Any, places: dict[str, str]) -> None:
    """Warns of what the cluster must do by itself.

    Raises:
        ConfigError: there are volumes, but a folder is in none of them.
    """
    from pipeline.kubernetes_platform import check_places, left_to_the_cluster

    if config.push.folder:
        places = {**places, "push.folder": config.push.folder}
    check_places(config.pipeline.kubeflow, places)
    for line in left_to_the_cluster(config.pipeline.kubeflow, places):
        click.echo(f"warning: {line}", err=True)


@main.command(
    epilog="Example: python -m pipeline upload --host https://kubeflow.my.org/pipeline "
    "--name detector build/demo.yaml"
)
@click.option("--host", required=True, help="Address of Kubeflow Pipelines.")
@click.option("--name", required=True, help="Of the pipeline in Kubeflow.")
@click.option("--version", help="Add this version to the pipeline; without it, create one.")
@click.option("--namespace", help="Of a multi-user Kubeflow.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File with a bearer token.  [default: the variable KF_PIPELINES_TOKEN, if set]",
)
@click.argument("pipeline_file", type=click.Path(path_type=Path))
@one_line_errors
def upload(
    host: str,
    name: str,
    version: str | None,
    namespace: str | None,
    token_file: Path | None,
    pipeline_file: Path,
) -> None:
    """Stores a compiled pipeline in Kubeflow Pipelines; prints its id and address."""
    from pipeline import upload as service

    token = service.read_token(token_file)
    uploaded = service.upload(pipeline_file, host, name, version, namespace, token)
    click.echo(f"pipeline {uploaded.pipeline_id}")
    if uploaded.version_id:
        click.echo(f"version  {uploaded.version_id}")
    click.echo(uploaded.address)


main.add_command(run_compiled)


if __name__ == "__main__":
    main(prog_name="python -m pipeline")
