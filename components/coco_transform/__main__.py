"""CocoTransform alone: plain folders in, plain folders out, no metadata store.

Example:
    python -m components.coco_transform --examples O/examples --config configs/tiny.yaml --out T
"""

import logging
import warnings
from pathlib import Path
from typing import Any

import click

from components.beam_options import beam_arguments
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.source import check_source, read_report
from configs.loader import load_config
from configs.schema import Config
from ground.addresses import Place, below, shown_address
from ground.command_options import PlaceType, config_option, set_option
from ground.console import OneLineCommand, one_line_errors, show_lines
from ground.files import write_json
from ground.output_record import SUMMARY_FILE
from ground.outputs import settle_inputs
from ground.speech import say, speech_options
from model.stored_output import output_place


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn transform --examples O/examples "
    "--config configs/coco_tiny.yaml --out T",
)
@click.option(
    "--examples",
    required=True,
    type=PlaceType(),
    help="The folder that CocoExampleGen wrote, or its address (s3://...).",
)
@config_option()
@click.option(
    "--out",
    required=True,
    type=PlaceType(),
    help="Folder, or address, that gets examples/, report.html, report.json and summary.json.",
)
@click.option(
    "--previous",
    type=PlaceType(exists=True, dir_okay=False),
    help="The report.json of an earlier run: the data is compared with its data (transform.drift).",
)
@set_option
@speech_options
@one_line_errors
def main(
    examples: Place,
    config_file: Path,
    out: Place,
    previous: Place | None,
    overrides: tuple[str, ...],
) -> None:
    """Writes records that training can read, and a report on the data.

    Pictures become upright RGB JPEGs not larger than the config's input size; boxes are clipped;
    masks become bitmaps.
    """
    config = load_config(config_file, overrides)
    settle_inputs([examples])
    check_source(examples)
    before = None if previous is None else read_report(previous)
    written = ("examples", "report.html", "report.json", SUMMARY_FILE)
    read: list[Place | None] = [examples, config_file, previous]
    with output_place(out, "components.coco_transform", written, read) as new:
        report = _transform(config, examples, new, before)
        write_json(new / SUMMARY_FILE, report)
    show_lines(_lines(report, out))


def _transform(
    config: Config, examples: Place, out: Path, previous: dict[str, Any] | None
) -> dict[str, Any]:
    # Google's clients, which Beam loads, find Python 3.10 and TFX's grpcio old.
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    # What a shard raises is shown in one line; Beam would log it with its own frames as well.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    # Beam takes seconds to import: only after the arguments are known to be good.
    from apache_beam import Pipeline
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.beam_workers import start_safely
    from components.coco_transform.whole import transform_examples

    start_safely()
    options = PipelineOptions(beam_arguments(config.pipeline.beam_args))

    def new_pipeline() -> Pipeline:
        return Pipeline(options=options)

    settings = CocoTransformSettings.of(config)
    return transform_examples(
        examples, out / "examples", out, settings, new_pipeline, say, previous
    )


def _lines(report: dict[str, Any], out: Place) -> list[str]:
    lines = []
    for name, split in report["splits"].items():
        pictures, objects = split["pictures"], split["objects"]
        lines.append(
            f"{name}: {pictures.get('written', 0)} pictures ({pictures.get('kept', 0)} as they "
            f"were), {objects.get('object_kept', 0)} objects, {objects.get('crowd_kept', 0)} "
            f"crowd regions, {objects.get('mask_kept', 0)} masks"
        )
    lines += [f"note: {note}" for note in report["notes"]]
    shapes = ", ".join(f"{height}x{width}" for height, width in report["buckets"])
    lines.append(f"input shapes: {shapes}")
    examples, page = (shown_address(below(out, name)) for name in ("examples", "report.html"))
    lines.append(f"examples: {examples}, report: {page}")
    return lines


if __name__ == "__main__":
    main(prog_name="python -m components.coco_transform")
