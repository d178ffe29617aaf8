"""`python -m model.predict`: see model/predict.py."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from ground.console import OneLineCommand, one_line_errors, show_lines
from ground.errors import EXIT_FAILED
from ground.files import write_json
from ground.output_record import SUMMARY_FILE
from ground.outputs import output_folder, settle_inputs
from ground.speech import say, say_error, speech_options
from ground.wording import plural
from model.launch.gpus import show_unused_gpus
from model.model_folder import find_saved_model
from model.predict import LoadedModel
from model.prediction.files import FILES
from model.prediction.journal import remove_journal
from model.prediction.paths import FoundPicture, find_pictures, output_names
from model.prediction.run import Settings, predict
from model.prediction.tiles import DEFAULT_OVERLAP, LARGEST_OVERLAP, Tiling
from model.quiet_tensorflow import quiet_tensorflow

_WORK = ".tfx-rcnn-predict"
_AUTO = "auto"


class _TileSide(click.ParamType):
    name = "PX|auto"

    def convert(
        self, value: object, param: click.Parameter | None, context: click.Context | None
    ) -> int | str:
        if value == _AUTO:
            return _AUTO
        if not str(value).isascii() or not str(value).isdecimal() or not 1 <= int(str(value)) < 1e6:
            self.fail(f"{value!r}: expected a side in pixels, or {_AUTO}", param, context)
        return int(str(value))


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn predict --model M/model photo.jpg more/ 'x/**/*.png' --out drawn",
)
@click.option(
    "--model",
    "model_folder",
    required=True,
    type=click.Path(),
    help="Folder of the exported model.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder.")
@click.option(
    "--score-threshold",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Draw detections from this score on; detections.json holds all.",
)
@click.option(
    "--batch-size", default=4, show_default=True, type=click.IntRange(1), help="Pictures a call."
)
@click.option(
    "--tile-px",
    "tile_side",
    type=_TileSide(),
    help="Also look at larger pictures in square tiles of this side, best as large as the "
    "pictures of the training were; auto is what the model sees without shrinking it.",
)
@click.option(
    "--tile-overlap",
    default=DEFAULT_OVERLAP,
    show_default=True,
    type=click.FloatRange(0, LARGEST_OVERLAP),
    help="Share of a tile's side that it has in common with the next one.",
)
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
    found = find_pictures(pictures)
    settle_inputs([model_folder])
    model_folder = str(find_saved_model(model_folder))
    names = {n.partition("/")[0] for n in output_names([p.below for p in found], FILES)}
    written = [*FILES, *(() if no_drawing else sorted(names))]
    inputs = [Path(model_folder), *_places(pictures, found)]
    with output_folder(out, "model.predict", written, inputs) as new, quiet_tensorflow():
        model = LoadedModel(model_folder)
        show_unused_gpus(lambda line: say(line, "warning", "warning", err=True))
        tiling = None
        if tile_side is not None:
            side = model.seen_side_px if tile_side == _AUTO else int(tile_side)
            tiling = Tiling(side, tile_overlap)
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


def _places(arguments: tuple[str, ...], found: list[FoundPicture]) -> list[Path]:
    """Returns what is read: a folder stands for all below it."""
    folders = {Path(argument) for argument in arguments if os.path.isdir(argument)}
    others = [p.path for p in found if len(p.below.parts) == 1 and p.path.parent not in folders]
    return [*folders, *others]


def _close(summary: dict[str, Any], out: Path) -> None:
    """Says what came of it, and ends with the status that says so."""
    read, failed = summary["pictures"]["read"], summary["pictures"]["failed"]
    verb = "drawn into" if summary["drawn"] else "written into"
    detections = plural(summary["detections"], "detection")
    lines = [f"{detections} in {plural(read, 'picture')}, {verb} {out}"]
    if failed:
        lines.append(f"{failed} of {plural(read + failed, 'picture')} could not be read")
    show_lines(lines)
    if failed:
        sys.exit(EXIT_FAILED)
