"""`python -m model.estimate`: see model/estimate.py."""

import dataclasses
import math
import re
from pathlib import Path

import click

from configs.loader import load_config
from ground.command_options import RenamedOption, config_option, set_option
from ground.console import (
    OneLineCommand,
    one_line_errors,
    print_document,
    print_table,
    show_lines,
)
from ground.errors import ConfigError
from ground.speech import speech_options
from model.estimate import (
    Estimate,
    Spread,
    estimate,
    precision_on,
    steps_of_run,
    usual_bucket,
    work_of,
)
from model.gpu_facts import GPUS
from model.quiet_tensorflow import quiet_tensorflow


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn estimate --config configs/faster_rcnn_r50_fpn_1x_coco.yaml "
    "--gpu V100 --workers 8",
)
@config_option()
@click.option(
    "--gpu",
    required=True,
    type=click.Choice(list(GPUS), case_sensitive=False),
    help="Of the training.",
)
@click.option("--workers", type=click.IntRange(1), help="GPUs; default: the N of train.batch NxM.")
@click.option(
    "--num-pictures",
    cls=RenamedOption,
    old=("--pictures",),
    default=118287,
    show_default=True,
    type=click.IntRange(1),
    help="Of the data set.",
)
@click.option(
    "--num-classes",
    cls=RenamedOption,
    old=("--classes",),
    default=80,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="K, without the background.",
)
@click.option(
    "--picture-size",
    default="480x640",
    show_default=True,
    help="HEIGHTxWIDTH of a usual picture as stored.",
)
@click.option(
    "--price",
    type=click.FloatRange(0),
    help="US dollars an hour of one GPU; default: AWS's list price of mid 2024.",
)
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@speech_options
@one_line_errors
def main(
    config_file: Path,
    gpu: str,
    workers: int | None,
    num_pictures: int,
    num_classes: int,
    picture_size: str,
    price: float | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say what a training will take: time, memory and money, and how sure that is."""
    if price is not None and not math.isfinite(price):
        raise ConfigError(f"--price: expected dollars an hour, got {price}")
    config = load_config(config_file, overrides)
    precision = precision_on(config.train.precision, gpu)
    bucket = usual_bucket(config, *_size(picture_size))
    if workers is None and config.train.has_auto_workers:
        raise ConfigError(f"--workers: say how many GPUs, as train.batch is {config.train.batch}")
    workers = workers or config.train.workers
    with quiet_tensorflow():
        work = work_of(config, precision, num_classes, bucket)
    steps = steps_of_run(config, workers, num_pictures)
    found = estimate(work, gpu, precision, workers, steps, price)
    if as_json:
        facts = {"gpu": gpu, "workers": workers, "precision": precision, "bucket": list(bucket)}
        spreads = {
            name: value._asdict() if isinstance(value, Spread) else value
            for name, value in vars(found).items()
        }
        print_document({**facts, **dataclasses.asdict(work), **spreads})
        return
    head = (
        f"{config.name}: {workers}x{work.pictures_per_step} on {gpu}, {precision}, "
        f"{bucket[0]}x{bucket[1]} px, {work.flops_per_picture / 1e12:.3g} TFLOP a picture, "
        f"{found.steps} steps"
    )
    show_lines([head])
    print_table(["", "likely", "low", "high"], _rows_of_table(found))
    fits = ", ".join(f"{size}: {answer}" for size, answer in found.fits.items())
    show_lines([f"fits {fits}", *(f"- {reason}" for reason in found.reasons)])


def _size(text: str) -> tuple[int, int]:
    sides = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text)
    if sides is None:
        raise ConfigError(
            f"--picture-size: expected HEIGHTxWIDTH such as 480x640, got {text[:40]!r}"
        )
    return int(sides[1]), int(sides[2])


def _rows_of_table(found: Estimate) -> list[list[str]]:
    def of(spread: Spread, unit: str, form: str) -> list[str]:
        return [unit, *(format(value, form) for value in (spread.middle, spread.low, spread.high))]

    rows = [
        of(found.images_per_second, "images/s", ".1f"),
        of(found.hours, "hours", ".2f"),
        of(found.memory_gib, "GiB a GPU", ".1f"),
    ]
    return rows + ([of(found.dollars, "US dollars", ".2f")] if found.dollars else [])
