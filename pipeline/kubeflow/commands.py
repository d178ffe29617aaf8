"""The commands about Kubeflow that `python -m pipeline` has besides compile and upload."""

import sys
from pathlib import Path

import click

from configs.console import OneLineCommand, finish, one_line_errors
from configs.errors import EXIT_FAILED
from pipeline.kubeflow.player.dialects import DIALECTS


@click.command(
    "run-compiled",
    cls=OneLineCommand,
    epilog="Example: python -m pipeline run-compiled build/demo.yaml --param data_version=monday",
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
@one_line_errors
def run_compiled(
    pipeline_file: Path,
    parameters: tuple[str, ...],
    dialect: str,
    store: str | None,
    root: Path | None,
    no_cache: bool,
) -> None:
    """Runs a compiled file here, as Kubeflow Pipelines would: try it before the cluster does.

    Each task is a process of its own with an empty working folder; this Python is its image.
    """
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
    player = Player(compiled, DIALECTS[dialect], folder, store, use_cache=not no_cache)
    summary = player.run(given)
    lines = [f"run     {summary['run_id']} {summary['state']}", f"summary {folder}/summary.json"]
    finish({"dialect": dialect, **summary}, folder, lines)
    if summary["error"]:
        click.echo(f"error: {summary['error']}", err=True)
        sys.exit(EXIT_FAILED)
