"""`tfx-rcnn init`: writes a config that fits a folder; see docs/own_data.md."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import yaml

from ground.command_examples import program
from ground.command_options import FILE
from ground.console import OneLineCommand, one_line_errors, show_lines
from ground.errors import DatasetError
from ground.speech import say, speech_options

if TYPE_CHECKING:
    from configs.schema import Config
    from pipeline.init.plan import Plan

CONFIG_FILE = "tfx-rcnn.yaml"


@click.command(
    "init",
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn init data/cells\n"
    "Example: tfx-rcnn init data/cells --annotations labels.json "
    "--weights imagenet/torchvision-resnet18 --out cells.yaml",
)
@click.argument("data_dir", type=FILE)
@click.option(
    "--annotations",
    multiple=True,
    type=FILE,
    help="COCO file where several could be meant; given twice: that of training, then that of "
    "evaluation.",
)
@click.option("--weights", help="File or name of weights to start from (docs/weights.md).")
@click.option("--out", type=FILE, help=f"File that is written.  [default: DATA_DIR/{CONFIG_FILE}]")
@speech_options
@one_line_errors
def init(
    data_dir: Path, annotations: tuple[Path, ...], weights: str | None, out: Path | None
) -> None:
    """Looks at a folder of pictures and writes a config that fits it.

    Says what was found, what was chosen and why, and the command that trains with it.
    """
    if len(annotations) > 2:
        raise click.BadParameter("give one file, or two", param_hint="--annotations")
    if not data_dir.is_dir():
        what = "is a file: give its folder" if data_dir.exists() else "no such folder"
        raise DatasetError(f"{data_dir}: {what}")
    from ground.files import atomic_path
    from ground.outputs import check_file, marked_text
    from pipeline.init.machine import this_machine
    from pipeline.init.plan import make_plan

    target = out or data_dir / CONFIG_FILE
    check_file(target, [])
    names = [_below(data_dir, path) for path in annotations]
    if len(set(names)) < len(names):
        raise click.BadParameter(
            f"{names[0]} twice: what is learnt measures nothing; give it once, and it is split",
            param_hint="--annotations",
        )
    machine = this_machine(say)
    plan = make_plan(data_dir, names, weights, target, machine, say)
    text, run = _text_and_run(plan, target, data_dir)
    with atomic_path(target) as partial:
        partial.write_text(marked_text(text), encoding="utf-8")
    lines = [f"found     {line}" for line in plan.found]
    lines.append(f"machine   {machine.words()}")
    lines += [f"{choice.what:<9} {_shown(choice.settings)}{choice.why}" for choice in plan.chosen]
    lines.append(f"written   {target}")
    if plan.minutes is not None:
        lines.append(f"time      about {_time(plan.minutes)} of training here (a rough guess)")
    show_lines([*lines, f"next      {run}"])


def _text_and_run(plan: "Plan", target: Path, data_dir: Path) -> tuple[str, str]:
    """Returns the text of the config, which a run would take, and the command that trains with it.

    Raises:
        ConfigError: a run would refuse the text.
    """
    from configs.loader import check_config
    from pipeline.init.yaml_text import config_text

    sections = [(choice.settings, choice.why) for choice in plan.chosen]
    config = check_config(yaml.safe_load(config_text(plan.name, sections, "")), str(target))
    run = _run_command(config, target, data_dir)
    head = (
        f"Fitted to {os.path.abspath(data_dir)} by tfx-rcnn init; change what you like.\n"
        f"Command: {run}"
    )
    text = config_text(plan.name, sections, head)
    check_config(yaml.safe_load(text), str(target))  # names of folders in its head may be odd
    return text, run


def _below(data_dir: Path, path: Path) -> str:
    """Returns a file that is named from the working folder or the data folder, below the latter.

    Raises:
        DatasetError: there is no such file.
    """
    from pipeline.init.plan import below

    for place in (data_dir / path, path):
        if place.is_file():
            return below(data_dir, place)
    raise DatasetError(f"--annotations {path}: no such file, in {data_dir} or from here")


def _run_command(config: "Config", target: Path, data_dir: Path) -> str:
    """Returns the command that trains with a config, as a shell here takes it."""
    words = ["run", "--config", str(target), "--data-dir", str(data_dir)]
    if root := _root_outside(config, data_dir):
        words += ["--root", str(root)]
    return f"{program()} {shlex.join(words)}"


def _root_outside(config: "Config", data_dir: Path) -> Path | None:
    """Returns a root outside what a run reads; None where its default is, or nothing is."""
    from pipeline.data_folder import read_by_a_run

    read = [os.path.realpath(path) for path in read_by_a_run(config, data_dir)]
    default = Path("runs", config.name)
    here = Path.cwd()
    for up, place in enumerate((here, *here.parents)):
        root = Path(os.path.realpath(place / default))
        if not any(root.is_relative_to(path) for path in read):
            return Path(*[os.pardir] * up, default) if up else None
    return None


def _shown(settings: dict[str, object]) -> str:
    """Returns settings in short: the names without their sections."""
    parts = [f"{key.rpartition('.')[2]} {_value(value)}" for key, value in settings.items()]
    return f"{', '.join(parts)}: " if parts else ""


def _value(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "; ".join(" ".join(f"{k} {v}" for k, v in entry.items()) for entry in value)
    return "null" if value is None else str(value)


def _time(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
