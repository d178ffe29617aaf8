"""`python -m model.predict`: see model/predict.py."""

import sys
from pathlib import Path
from typing import Any

import click

from ground.command_options import FiniteRange, batch_size_option, model_option, out_option
from ground.console import OneLineCommand, one_line_errors, show_lines
from ground.errors import EXIT_FAILED
from ground.files import write_json
from ground.interrupts import say_if_interrupted
from ground.output_record import SUMMARY_FILE
from ground.outputs import output_folder, settle_inputs
from ground.speech import say, say_error, speech_options
from ground.wording import plural
from model.commands.tile_options import tile_options, tiling_of
from model.encoded.files import shown
from model.launch.gpus import show_unused_gpus
from model.model_folder import find_saved_model, read_model_config
from model.prediction.files import FILES
from model.prediction.journal import remove_journal
from model.prediction.paths import find_pictures, output_names, places_of
from model.prediction.replicas import Replicas
from model.prediction.run import Settings, predict
from model.quiet_tensorflow import quiet_tensorflow

_WORK = ".tfx-rcnn-predict"


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn predict --model M/model photo.jpg more/ 'x/**/*.png' --out drawn",
)
@model_option
@out_option
@click.option(
    "--score-threshold",
    default=0.5,
    show_default=True,
    type=FiniteRange(0, 1),
    help="Draw detections from this score on; detections.json holds all.",
)
@batch_size_option
@tile_options
@click.option("--no-drawing", is_flag=True, help="Write no drawn pictures.")
@click.argument("pictures", nargs=-1, required=True)
@speech_options
@one_line_errors
def main(
    model_folder: str,
    out: Path,
    score_threshold: float,
    batch_size: int,
    tile_side: int | str | None,
    tile_overlap: float,
    no_drawing: bool,
    pictures: tuple[str, ...],
) -> None:
    """Finds and draws objects in PICTURES.

    They are files, folders with all that lies below, or patterns such as 'photos/**/*.jpg'. One
    that cannot be used is named and left out, and the status is then 1. The same command after a
    run that was cut off goes on where that was.
    """
    say_if_interrupted("what was looked at is kept: run the same again to go on")
    found = find_pictures(pictures)
    settle_inputs([model_folder])
    model_folder = str(find_saved_model(model_folder))
    tiling = tiling_of(tile_side, tile_overlap, read_model_config(model_folder)["input"])
    names = {n.partition("/")[0] for n in output_names([p.below for p in found], FILES)}
    written = [*FILES, *(() if no_drawing else sorted(names))]
    inputs = [Path(model_folder), *places_of(pictures, found)]
    with output_folder(out, "model.predict", written, inputs) as new, quiet_tensorflow():
        model = Replicas(model_folder)
        show_unused_gpus(lambda line: say(line, "warning", "warning", err=True))
        summary = predict(
            model,
            found,
            new,
            out / _WORK,
            Settings(score_threshold, batch_size, not no_drawing, tiling),
            on_failure=say_error,
            on_progress=lambda line, fields: say(line, fields=fields),
        )
        write_json(new / SUMMARY_FILE, summary)
    remove_journal(out / _WORK)
    _close(summary, out)


def _close(summary: dict[str, Any], out: Path) -> None:
    """Says what came of it, and ends with the status that says so."""
    read, failed = summary["pictures"]["read"], summary["pictures"]["failed"]
    verb = "drawn into" if summary["drawn"] else "written into"
    detections = plural(summary["detections"], "detection")
    lines = [f"{detections} in {plural(read, 'picture')}, {verb} {shown(out)}"]
    if failed:
        lines.append(f"{failed} of {plural(read + failed, 'picture')} could not be read")
    show_lines(lines)
    if failed:
        sys.exit(EXIT_FAILED)
