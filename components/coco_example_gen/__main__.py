"""`python -m components.coco_example_gen`: COCO-format folders to examples, without a pipeline."""

import logging
import re
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import click

from components.beam_options import beam_arguments
from components.coco_example_gen.source import SplitSource, check_source
from ground.addresses import Place, below, shown_address, shown_text
from ground.command_options import PlaceType, config_option, set_option
from ground.console import OneLineCommand, one_line_errors, show_lines
from ground.files import write_json
from ground.output_record import SUMMARY_FILE
from ground.speech import say, speech_options
from ground.wording import made_lines, plural, reason_lines
from model.quiet_tensorflow import quiet_tensorflow

_SPLIT_NAME = re.compile(r"[A-Za-z0-9_-]+")
_BETWEEN_PLACES = re.compile(r"(.+):(?!//)(.+)", re.DOTALL)  # the last colon that is no address's


class _Split(NamedTuple):
    name: str
    annotations: str
    pictures: str


def _split(text: str) -> _Split:
    """Returns the split that a text such as NAME=JSON:PICTURES names.

    Raises:
        click.BadParameter: it names none.
    """
    name, _, places = text.partition("=")
    both = _BETWEEN_PLACES.fullmatch(places)
    if not (_SPLIT_NAME.fullmatch(name) and both):
        raise click.BadParameter(
            f"{shown_text(text)!r}: expected NAME=ANNOTATIONS_JSON:PICTURES_FOLDER, such as "
            "train=annotations/instances_train2017.json:train2017"
        )
    return _Split(name, both[1], both[2])


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn example-gen --data-dir data/coco "
    "--split train=annotations/instances_train2017.json:train2017 "
    "--split val=annotations/instances_val2017.json:val2017 --out runs/coco",
)
@click.option(
    "--data-dir",
    required=True,
    type=PlaceType(exists=True, file_okay=False),
    help="Folder of the COCO-format data, or its address (s3://...); what --split or the config "
    "names is relative to it.",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=_split,
    metavar="NAME=JSON:PICTURES",
    help="A split's name, COCO JSON and picture folder; once for each split. The split named "
    "train gets data.train_shards shards, any other data.eval_shards. Without it, the splits "
    "train and eval of the config's data section, also of one JSON (data.split) or of several "
    "(data.sources).",
)
@click.option(
    "--out",
    required=True,
    type=PlaceType(file_okay=False),
    help="Folder, or address, that gets examples/, rejects/ and summary.json.",
)
@config_option(
    "YAML config; its data and pipeline.beam_args count.  [default: the defaults]", required=False
)
@set_option
@speech_options
@one_line_errors
def main(
    data_dir: Place,
    splits: tuple[_Split, ...],
    out: Place,
    config_file: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Converts COCO-format data into examples; what is wrong goes to rejects, with its reason."""
    names = [split.name for split in splits]
    if len(set(names)) < len(names):
        raise click.BadParameter("a split is named twice", param_hint="--split")
    from configs.loader import default_config, load_config
    from model.coco.policies import resolve_policies

    config = load_config(config_file, overrides) if config_file else default_config(overrides)
    if splits and config.data.sources:
        raise click.UsageError("--split names whole files: leave it out, or set data.sources=[]")
    if splits and config.data.split is not None:
        raise click.UsageError("--split names whole files: leave it out, or set data.split=null")
    sources = _sources(config, data_dir, splits)
    # What is quickly seen comes before the seconds that Beam takes.
    resolve_policies(config.data.policies)
    for source in sources:
        check_source(source)
    from model.stored_output import output_place

    start = time.monotonic()
    written = ("examples", "rejects", SUMMARY_FILE)
    read = [config_file, *(path for source in sources for path in source.read)]
    with output_place(out, "components.coco_example_gen", written, read) as new:
        with quiet_tensorflow():  # it decodes the pictures
            summary = _convert(config, sources, new)
        write_json(new / SUMMARY_FILE, summary)
    show_lines([*_table(summary), _closing_line(summary, out, time.monotonic() - start)])


def _sources(config: Any, data_dir: Place, splits: tuple[_Split, ...]) -> list[SplitSource]:
    if not splits:
        from components.coco_example_gen.together import sources_of

        return sources_of(config.data, data_dir)
    from model.examples import TRAINING_SPLIT

    shards = {TRAINING_SPLIT: config.data.train_shards}
    return [
        SplitSource(
            split.name,
            below(data_dir, split.annotations),
            below(data_dir, split.pictures),
            shards.get(split.name, config.data.eval_shards),
        )
        for split in splits
    ]


def _convert(config: Any, sources: list[SplitSource], out: Path) -> dict[str, Any]:
    # Google's clients, which Beam loads, find Python 3.10 and TFX's grpcio old.
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    # What a shard raises is shown in one line; Beam would log it with its own frames as well.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.beam_workers import start_safely
    from components.coco_example_gen.whole import convert

    start_safely()
    options = PipelineOptions(beam_arguments(config.pipeline.beam_args))
    return convert(
        sources,
        out / "examples",
        out / "rejects",
        config.data,
        lambda: beam.Pipeline(options=options),
        say,
    )


def _table(summary: dict[str, Any]) -> list[str]:
    """Returns the summary as lines: counts by split, then flaws by reason."""
    form = "{:<12}{:>10}{:>10}{:>10}   {:>10}{:>10}{:>10}"
    kinds = ("read", "written", "rejected")
    lines = [form.format("split", "pictures", *kinds[1:], "objects", *kinds[1:])]
    for name, split in summary["splits"].items():
        counts = [split[what][kind] for what in ("pictures", "objects") for kind in kinds]
        lines.append(form.format(name, *(f"{count:,}" for count in counts)))
    for name, split in summary["splits"].items():
        own = (*made_lines(split), *reason_lines(split), *split["notes"])
        lines += [f"{name}: {line}" for line in own]
    return lines


def _closing_line(summary: dict[str, Any], out: Place, seconds: float) -> str:
    written = sum(split["pictures"]["written"] for split in summary["splits"].values())
    examples, rejects = (shown_address(below(out, name)) for name in ("examples", "rejects"))
    return f"{plural(written, 'picture')} in {seconds:.1f} s; {examples}, {rejects}"


if __name__ == "__main__":
    main(prog_name="python -m components.coco_example_gen")
