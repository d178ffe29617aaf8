"""`python -m components.bulk_predict`: what a model finds in many pictures, by Beam."""

import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import click

from components.beam_options import beam_arguments
from ground.command_options import (
    batch_size_option,
    config_option,
    model_option,
    out_option,
    set_option,
)
from ground.console import OneLineCommand, one_line_errors, show_lines
from ground.errors import EXIT_FAILED
from ground.files import remove, write_json
from ground.interrupts import say_if_interrupted
from ground.output_record import SUMMARY_FILE
from ground.outputs import output_folder, settle_inputs
from ground.speech import say, say_error, speech_options
from ground.wording import plural
from model.commands.tile_options import tile_options, tiling_of
from model.encoded.files import shown
from model.model_folder import find_saved_model, read_categories, read_model_config, read_model_id
from model.prediction.files import FILES
from model.prediction.paths import FoundPicture, find_pictures, places_of
from model.quiet_tensorflow import quiet_tensorflow

_WORK = ".tfx-rcnn-bulk-predict"


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn bulk-predict --model M/model photos/ --out found "
    "--set pipeline.beam_args='[--direct_num_workers=4, --direct_running_mode=multi_processing]'",
)
@model_option
@out_option
@batch_size_option
@click.option(
    "--shard-size",
    default=256,
    show_default=True,
    type=click.IntRange(1),
    help="Pictures that a worker takes together.",
)
@tile_options
@config_option("YAML config; its pipeline.beam_args count.  [default: the defaults]", False)
@set_option
@click.argument("pictures", nargs=-1, required=True)
@speech_options
@one_line_errors
def main(
    model_folder: str,
    out: Path,
    batch_size: int,
    shard_size: int,
    tile_side: int | str | None,
    tile_overlap: float,
    config_file: Path | None,
    overrides: tuple[str, ...],
    pictures: tuple[str, ...],
) -> None:
    """Finds objects in PICTURES, as predict does, by Beam on any of its runners.

    The runner is that of the data path: pipeline.beam_args. Workers of other machines need the
    pictures, the model and --out at the same paths. Nothing is drawn. The same command after a
    run that was cut off goes on where that was.
    """
    from configs.loader import default_config, load_config

    config = load_config(config_file, overrides) if config_file else default_config(overrides)
    found = find_pictures(pictures)
    settle_inputs([model_folder])
    folder = find_saved_model(model_folder).absolute()
    read_model_id(folder), read_categories(folder)  # errors before the seconds that Beam takes
    tiling = tiling_of(tile_side, tile_overlap, read_model_config(folder)["input"])
    start = time.monotonic()
    inputs = [config_file, folder, *places_of(pictures, found)]
    with output_folder(out, "components.bulk_predict", FILES, inputs) as new, quiet_tensorflow():
        settings = {"batch_size": batch_size, "pictures_a_shard": shard_size, "tiling": tiling}
        summary = _predict(config, folder, found, new, out.absolute() / _WORK, settings)
        summary["seconds"] = round(time.monotonic() - start, 3)
        write_json(new / SUMMARY_FILE, summary)
    remove(out / _WORK)
    read, failed = summary["pictures"]["read"], summary["pictures"]["failed"]
    detections = plural(summary["detections"], "detection")
    lines = [f"{detections} in {plural(read, 'picture')}, written into {shown(out)}"]
    if failed:
        lines.append(f"{failed} of {plural(read + failed, 'picture')} could not be read")
    show_lines(lines)
    if failed:
        sys.exit(EXIT_FAILED)


def _predict(
    config: Any,
    folder: Path,
    found: list[FoundPicture],
    new: Path,
    work: Path,
    settings: dict[str, Any],
) -> dict[str, Any]:
    # Google's clients, which Beam loads, find Python 3.10 and TFX's grpcio old.
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    # What a worker raises is shown in one line; Beam would log it with its own frames as well.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.beam_workers import start_safely
    from components.bulk_predict.whole import BulkSettings, bulk_predict

    start_safely()
    say_if_interrupted("shards that were done are kept: run the same again to go on")
    options = PipelineOptions(beam_arguments(config.pipeline.beam_args))
    return bulk_predict(
        folder,
        found,
        new,
        work,
        BulkSettings(**settings),
        lambda: beam.Pipeline(options=options),
        say,
        say_error,
    )


if __name__ == "__main__":
    main(prog_name="python -m components.bulk_predict")
