"""`python -m model.train`: trains a detector from plain folders."""

import os
from pathlib import Path

import click

from configs.loader import load_config
from ground.command_options import config_option, set_option
from ground.console import OneLineCommand, finish, one_line_errors, show_lines
from ground.interrupts import leave_to_the_debugger, say_if_interrupted
from ground.speech import say, speech_options
from model.launch.cluster import cluster_from_environment
from model.launch.errors import TrainingStopped
from model.launch.launcher import TrainResult, train
from model.launch.places import claim_output
from model.launch.progress import ProgressPrinter
from model.tracking.request import TrackingRequest
from model.training.events import metrics_line
from model.training_settings import TrainingSettings
from model.weights.fetching import ensure_weights


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn train --examples T/examples --config configs/coco_tiny.yaml "
    "--out M --set train.batch=1x4",
)
@click.option("--examples", required=True, type=click.Path(), help="CocoTransform's examples.")
@config_option()
@click.option("--out", required=True, type=click.Path(), help="Gets model/, run/, summary.json.")
@click.option(
    "--checkpoints",
    type=click.Path(),
    help="Keep checkpoints here, one folder a run; default: OUT/run/checkpoints.",
)
@set_option
@click.option(
    "--eager",
    is_flag=True,
    help="One worker in this process, its step undecorated: breakpoint() works in model/. Slow.",
)
@speech_options
@one_line_errors
def main(
    examples: str,
    config_file: Path,
    out: str,
    checkpoints: str | None,
    overrides: tuple[str, ...],
    eager: bool,
) -> None:
    """Train a detector and export it as a SavedModel.

    The same command again goes on where the last one was cut off. SIGTERM writes a checkpoint and
    ends with status 0; Ctrl-C does where a step ends within 2.5 seconds, with status 130. On
    several hosts (docs/clusters.md) only the first one needs OUT.
    """
    whole = load_config(config_file, overrides)
    config, tracking = TrainingSettings.of(whole), TrackingRequest.of(whole)
    say_if_interrupted("run the same again to go on")
    if eager:
        leave_to_the_debugger()
    is_chief = cluster_from_environment(os.environ).is_chief
    if is_chief:
        claim_output(out, checkpoints, [examples, config_file, config.model.weights])
        ensure_weights(config.model.weights, say)
    try:
        # A line that changes would write over a debugger's prompt.
        printer = ProgressPrinter(in_place=not eager)
        result = train(
            config,
            examples,
            out,
            checkpoints,
            on_progress=printer,
            eager=eager,
            tracking=tracking,
        )
    except TrainingStopped as stopped:
        if is_chief:
            finish({"resumable": True, "step": stopped.step}, out, [])
        stopped.raise_if_interrupted()
        show_lines([str(stopped)])
        return
    if is_chief:
        finish(result.summary(), out, _lines(result))
    else:
        trained = f"trained   {result.steps} steps; the model is on the first host"
        show_lines([trained, f"logs      {result.run_dir}"])


def _lines(result: TrainResult) -> list[str]:
    first, last = sum(result.first_losses.values()), sum(result.last_losses.values())
    return [
        f"trained   {result.steps} steps in {result.seconds:.1f} s, "
        f"{result.images_per_second:.2f} images/s, loss {first:.3f} -> {last:.3f}",
        *_best_lines(result),
        f"model     {result.model_dir} ({result.model_id[:12]})",
        f"run       {result.run_dir}",
    ]


def _best_lines(result: TrainResult) -> list[str]:
    if result.best is None:
        return []
    return [f"best      step {result.best.step}: {metrics_line(result.best.metrics)}"]
