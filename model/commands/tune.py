"""`python -m model.tune`: see model/tune.py."""

import os
import signal
from pathlib import Path

import click

from configs.loader import load_config
from ground.command_options import FiniteRange, config_option, set_option
from ground.console import OneLineCommand, one_line_errors, print_table, show_lines
from ground.errors import ConfigError, TrainingError
from ground.interrupts import Terminated, say_if_interrupted
from ground.outputs import check_file
from ground.speech import say, speech_options
from model.input.buckets import read_buckets
from model.launch.errors import TrainingStopped
from model.launch.gpus import usable_environment
from model.training_settings import TrainingSettings
from model.trials import TrialRunner, are_notes, this_machine
from model.tune import COLUMNS, DIMENSIONS, first_setting, search, table_of, write_config


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn tune --config configs/blood_cells.yaml --examples T/examples",
)
@config_option()
@click.option("--examples", required=True, type=click.Path(), help="CocoTransform's examples.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The config to write; default: C-tuned.yaml."
)
@click.option(
    "--steps", default=8, show_default=True, type=click.IntRange(2), help="Measured in each trial."
)
@click.option(
    "--try",
    "tried",
    default=",".join(DIMENSIONS),
    show_default=True,
    help="What to vary, in this order.",
)
@set_option
@click.option("--change-batch", is_flag=True, help="The pictures of a step may grow.")
@click.option(
    "--step-seconds",
    default=600.0,
    show_default=True,
    type=FiniteRange(1),
    help="A step, with its compilation, that takes longer fails its trial.",
)
@speech_options
@one_line_errors
def main(
    config_file: Path,
    examples: str,
    out: Path | None,
    steps: int,
    tried: str,
    overrides: tuple[str, ...],
    change_batch: bool,
    step_seconds: float,
) -> None:
    """Try batch, precision, jit and buckets on this machine and write the fastest as a config.

    After Ctrl-C the same command again goes on with what is left to try.
    """
    say_if_interrupted("what was tried is kept: run the same again to go on")
    config = TrainingSettings.of(load_config(config_file, overrides))
    dimensions = tried.split(",")
    unknown = [name for name in dimensions if name not in DIMENSIONS]
    if unknown:
        raise ConfigError(f"--try: unknown {unknown[0]!r}, known are {', '.join(DIMENSIONS)}")
    if out is not None and out.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--out {out}: expected a name that ends in .yaml")
    out = out or config_file.with_name(f"{config_file.stem}-tuned.yaml")
    notes_path = out.with_suffix(".trials.json")
    check_file(out, [config_file, examples])
    check_file(notes_path, [config_file, examples], is_ours=are_notes)
    os.environ.update(usable_environment(config.train.device, os.environ))
    machine = this_machine()
    runner = TrialRunner(
        config,
        examples,
        steps,
        step_seconds,
        notes_path,
        on_trial=lambda setting: say(f"tries {setting}", "trial", err=True),
    )
    first = first_setting(config, machine, len(read_buckets(examples)))
    try:
        best = search(first, machine, runner, dimensions, change_batch)
    except TrainingStopped as stopped:
        print_table(COLUMNS, table_of(runner.trials, None))
        raise (Terminated if stopped.number == signal.SIGTERM else KeyboardInterrupt) from None
    table = table_of(runner.trials, best)
    print_table(COLUMNS, table)
    if best is None:
        raise TrainingError(
            f"no trial trained ({runner.trials[0].verdict}): lower train.batch or the sizes in "
            "input"
        )
    write_config(out, config_file, best, table, overrides)
    show_lines([f"wrote     {out} (trials in {notes_path})"])
    if best.setting.buckets != first.buckets:
        show_lines(["its buckets are made by CocoTransform: run that again with this config"])
