"""`tfx-rcnn export`: other forms of an exported model; see model/exports/."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ground.command_options import model_option, out_option
from ground.console import OneLineCommand, one_line_errors, print_table
from ground.errors import EXIT_FAILED, DatasetError, ModelError
from ground.files import write_json
from ground.output_record import SUMMARY_FILE
from ground.outputs import check_pattern, output_folder, settle_inputs
from ground.progress import Progress, elapsed_shown
from ground.speech import say, say_error, speech_options
from model.model_folder import find_saved_model
from model.prediction.paths import find_pictures, places_of
from model.quiet_tensorflow import quiet_tensorflow

_FORMS = ("float16", "onnx", "tflite")
# What a form takes, as a multiple of rebuilding the model here (benchmarks/exports.md).
_TIMES_REBUILDING = {"float16": 2.0, "onnx": 7.5, "tflite": 3.8}
_FILES = {"float16": "float16", "onnx": "model.onnx", "tflite": "model.tflite"}


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn export --model M/model --form onnx photos/ --out exported",
)
@model_option
@out_option
@click.option(
    "--form",
    "forms",
    multiple=True,
    type=click.Choice(_FORMS),
    help="float16 (a SavedModel that computes in it), onnx, tflite; may be repeated.  "
    "[default: all]",
)
@click.argument("pictures", nargs=-1, required=True)
@speech_options
@one_line_errors
def main(model_folder: str, out: Path, forms: tuple[str, ...], pictures: tuple[str, ...]) -> None:
    """Writes a model in other forms, each compared with it on PICTURES.

    A form that cannot be made is one line, the others are written, and the status is then 1.
    """
    wanted = [form for form in _FORMS if form in (forms or _FORMS)]
    found = find_pictures(pictures)
    settle_inputs([model_folder])
    folder = find_saved_model(model_folder)
    check_pattern(folder, "--model")
    names = [SUMMARY_FILE, *(_FILES[form] for form in wanted)]
    inputs = [folder, *places_of(pictures, found)]
    with output_folder(out, "model.exports", names, inputs) as new, quiet_tensorflow():
        summary = _export(folder, wanted, [picture.path for picture in found], new)
        write_json(new / SUMMARY_FILE, summary)
    _show(summary)
    if summary["failed"]:
        sys.exit(EXIT_FAILED)


def _export(folder: Path, forms: list[str], paths: list[Path], new: Path) -> dict[str, Any]:
    import numpy as np

    from model.exports.compare import compare
    from model.exports.forms import fixed_side, write_form
    from model.exports.rebuilt import Rebuilt
    from model.pictures import read_picture

    begun = time.monotonic()
    rebuilt = Rebuilt(folder)
    rebuilding = time.monotonic() - begun
    most = rebuilt.config.input.max_picture_pixels
    if not paths:
        raise DatasetError("no pictures to compare on")
    for path in paths:  # before the minutes that a form takes
        read_picture(path, most).open()

    def pixels(form: str) -> Iterator[Any]:
        """Yields the pictures, none of which is held."""
        progress = Progress(f"{form}: comparing", len(paths), lambda line, values: say(line))
        for path in paths:
            yield np.asarray(read_picture(path, most).open())
            progress.advance()

    made: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for form in forms:
        say(f"{form}: converting")
        try:
            expected = rebuilding * _TIMES_REBUILDING[form]
            with elapsed_shown(f"{form}: converting", expected_seconds=expected):
                run = write_form(form, rebuilt, new)
            made[form] = compare(rebuilt, run, pixels(form), fixed_side(form, rebuilt))
            made[form]["bytes"] = _bytes_of(new / _FILES[form])
        except ModelError as error:
            failed[form] = str(error)
            say_error(str(error))
    return {"model": str(folder), "forms": made, "failed": failed}


def _bytes_of(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)


def _show(summary: dict[str, Any]) -> None:
    """Prints a table of the forms."""
    rows = [
        [
            form,
            f"{one['bytes'] / 1e6:.1f}",
            f"{one['found_again']}/{one['detections']}",
            *(f"{one['largest_difference'][key]:.1e}" for key in ("score", "box", "mask")),
            "" if one["times_as_fast"] is None else str(one["times_as_fast"]),
        ]
        for form, one in summary["forms"].items()
    ]
    print_table(["form", "MB", "found again", "score", "box", "mask", "times as fast"], rows)
