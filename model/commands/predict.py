"""`python -m model.predict`: see model/predict.py."""

import sys
from pathlib import Path

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
from model.predict import DETECTIONS_FILE, LoadedModel, output_names, picture_paths, predict
from model.quiet_tensorflow import quiet_tensorflow


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn predict --model M/model photo.jpg more/ --out drawn",
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
@click.argument("pictures", nargs=-1, required=True)
@speech_options
@one_line_errors
def main(
    model_folder: str, out: Path, score_threshold: float, batch_size: int, pictures: tuple[str, ...]
) -> None:
    """Finds and draws objects in PICTURES (files, or folders of them)."""
    paths = picture_paths(pictures)
    settle_inputs([model_folder])
    model_folder = str(find_saved_model(model_folder))
    names = [*output_names(paths), DETECTIONS_FILE, SUMMARY_FILE]
    inputs = [model_folder, *pictures]
    with output_folder(out, "model.predict", names, inputs) as new, quiet_tensorflow():
        model = LoadedModel(model_folder)
        show_unused_gpus(lambda line: say(line, "warning", "warning", err=True))
        summary = predict(
            model,
            paths,
            new,
            score_threshold,
            batch_size,
            on_failure=say_error,
        )
        write_json(new / SUMMARY_FILE, summary)
    read, failed = summary["pictures"]["read"], summary["pictures"]["failed"]
    found = plural(summary["detections"], "detection")
    lines = [f"{found} in {plural(read, 'picture')}, drawn into {out}"]
    if failed:
        lines.append(f"{failed} of {plural(read + failed, 'picture')} could not be read")
    show_lines(lines)
    if failed:
        sys.exit(EXIT_FAILED)
