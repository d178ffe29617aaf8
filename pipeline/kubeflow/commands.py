"""The commands about compiled pipelines: compile, run-compiled."""

import os
import sys
import time
from pathlib import Path
from typing import Any, get_args

import click

from ground.command_options import RenamedOption, config_option, set_option
from ground.console import OneLineCommand, finish, one_line_errors
from ground.errors import EXIT_FAILED
from ground.speech import RESULT, say, say_error, say_warning, speech_options
from pipeline.kubeflow.player.dialects import DIALECTS
from pipeline.nodes import Target
from pipeline.quiet import quiet_libraries

_PLAYED = ("logs", "metadata.json", "pods", "store", "summary.json")  # in run-compiled's folder


@click.command(
    "compile",
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn compile --config configs/demo.yaml "
    "--image registry.my.org/tfx-rcnn:1 --pipeline-root minio://mlpipeline/tfx-rcnn "
    "--out build/demo.yaml",
)
@config_option()
@click.option(
    "--target",
    type=click.Choice(get_args(Target)),
    default="kubeflow",
    show_default=True,
    help="Kubeflow Pipelines on a cluster of yours, or Vertex AI Pipelines (all addresses gs://).",
)
@click.option("--image", required=True, help="Container image with this package.")
@click.option("--pipeline-root", required=True, help="Address below which outputs are stored.")
@click.option(
    "-o",
    "--out",
    cls=RenamedOption,
    old=("--output",),
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file to write.",
)
@click.option(
    "--data-dir",
    default="/data",
    show_default=True,
    help="The COCO-format folder, as the containers see it, or an address such as s3://bucket/coco.",
)
@click.option(
    "--data-version",
    default="",
    help="Any text that stands for the state of the data; the file's first task adds what it finds "
    "there itself.",
)
@click.option(
    "--shared-dir",
    default="/shared",
    show_default=True,
    help="A folder that all containers share, or an address: checkpoints, detections and, unless "
    "the config says otherwise, pushed models.",
)
@click.option(
    "--schema-file",
    help="Schema to validate with, as the containers see it.  [default: the package's own]",
)
@set_option
@speech_options
@one_line_errors
def compile_(
    config_file: Path,
    target: Target,
    image: str,
    pipeline_root: str,
    out: Path,
    data_dir: str,
    data_version: str,
    shared_dir: str,
    schema_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Writes the pipeline as a file for Kubeflow Pipelines v2, or for Vertex AI Pipelines."""
    if out.suffix not in (".yaml", ".yml"):
        raise click.BadParameter(f"{out}: expected a name that ends in .yaml", param_hint="--out")
    from configs.loader import load_config
    from ground.outputs import check_file

    config = load_config(config_file, overrides)
    check_file(out, [config_file], "--out")
    shared = shared_dir.rstrip("/")
    places_given = {"--data-dir": data_dir, "--shared-dir": shared_dir}
    _check(config, target, image, pipeline_root, places_given)
    with quiet_libraries(Path(os.devnull)):
        from pipeline.kubeflow.compiler import compile_pipeline
        from pipeline.kubeflow.pod_paths import own_file
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
        tasks = compile_pipeline(config, places, image, out, target)
    say(f"wrote {out}: {len(tasks)} tasks ({', '.join(tasks)})", RESULT)


def _check(
    config: Any, target: Target, image: str, pipeline_root: str, places: dict[str, str]
) -> None:
    """Warns of what the cluster must do by itself.

    Raises:
        ConfigError: a cluster would refuse it, or could not run it to its end.
    """
    from model.weights.named import is_file_name
    from pipeline.data_folder import check_no_secrets
    from pipeline.kubeflow import checks
    from pipeline.kubeflow.platform import check_places, left_to_the_cluster
    from pipeline.kubeflow.tasks import with_gpus
    from pipeline.kubeflow.tracked import check_tracking
    from pipeline.kubeflow.vertex import check_vertex

    if config.push.folder:
        places = {**places, "push.folder": config.push.folder}
    if config.model.weights and is_file_name(config.model.weights):
        places = {**places, "model.weights": config.model.weights}
    checks.check_root(pipeline_root)
    checks.check_image(image)
    checks.check_addresses(places)
    check_no_secrets(config.data, places["--data-dir"])
    checks.check_start(config)
    check_tracking(config, places["--shared-dir"], target == "vertex")
    asked = with_gpus(config)
    if target == "vertex":
        check_vertex(asked, pipeline_root, places)
        return
    check_places(asked, {name: p for name, p in places.items() if name != "model.weights"})
    for line in left_to_the_cluster(asked, places):
        say_warning(line)


@click.command(
    "run-compiled",
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn run-compiled build/demo.yaml --param data_version=monday",
)
@click.argument("pipeline_file", type=click.Path(path_type=Path))
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the run; may be repeated.",
)
@click.option(
    "--dialect",
    type=click.Choice(list(DIALECTS)),
    default=list(DIALECTS)[-1],
    show_default=True,
    help="Version of Kubeflow Pipelines to behave like.",
)
@click.option(
    "--store",
    help="Folder or s3:// address in place of the object store.  [default: <root>/store]",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Folder for metadata, logs and pods.  [default: runs/compiled/<pipeline's name>]",
)
@click.option("--no-cache", is_flag=True, help="Run every task, whatever is known.")
@click.option("--no-wait", is_flag=True, help="Retry at once, where Kubeflow would wait.")
@speech_options
@one_line_errors
def run_compiled(
    pipeline_file: Path,
    parameters: tuple[str, ...],
    dialect: str,
    store: str | None,
    root: Path | None,
    no_cache: bool,
    no_wait: bool,
) -> None:
    """Runs a compiled file here, as Kubeflow Pipelines would: try it before the cluster does.

    Each task is a process of its own with an empty working folder; this Python is its image.
    """
    from ground.outputs import growing_folder
    from pipeline.kubeflow.player.compiled import read_compiled
    from pipeline.kubeflow.player.run import Player

    given = {}
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{parameter!r}: expected NAME=VALUE", param_hint="--param")
        given[name] = value
    compiled = read_compiled(pipeline_file)
    folder = root or Path("runs") / "compiled" / compiled.name
    growing_folder(folder, "run-compiled", _PLAYED, [pipeline_file], "--root")
    wait = (lambda seconds: None) if no_wait else time.sleep
    player = Player(compiled, DIALECTS[dialect], folder, store, not no_cache, wait)
    summary = player.run(given)
    lines = [f"run     {summary['run_id']} {summary['state']}", f"summary {folder}/summary.json"]
    finish({"dialect": dialect, **summary}, folder, lines)
    if summary["error"]:
        say_error(summary["error"], exit_status=EXIT_FAILED)
        sys.exit(EXIT_FAILED)
