"""The command `doctor`: what works here, what does not, and the line that mends it."""

import dataclasses
import sys
from pathlib import Path

import click

from ground.addresses import Place
from ground.command_options import FiniteRange, PlaceType, RenamedOption, config_option
from ground.console import OneLineCommand, one_line_errors, print_document, show_lines
from ground.errors import EXIT_FAILED
from ground.speech import RESULT, Manner, manner, say, speech_options
from ground.version import VERSION, revision
from model.lanes import LANE
from pipeline.doctor.rows import Row, worst

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command(
    "doctor",
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn doctor --config configs/blood_cells.yaml --data-dir data/blood_cells",
)
@config_option("YAML file to look at too.", required=False)
@click.option(
    "--data-dir", type=PlaceType(), help="COCO-format folder, or its address, to look at too."
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where runs would be written.",
)
@click.option(
    "--host",
    cls=RenamedOption,
    old=("--kubeflow",),
    default="",
    help="Address of Kubeflow Pipelines.  [default: the variable KF_PIPELINES_ENDPOINT, if set]",
)
@click.option(
    "--seconds",
    type=FiniteRange(1, 3600),
    default=240.0,
    show_default=True,
    help="For each library that is tried.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@speech_options
@one_line_errors
def doctor(
    config_file: Path | None,
    data_dir: Place | None,
    root: Path,
    host: str,
    seconds: float,
    as_json: bool,
) -> None:
    """Tries everything that a run needs; exits with 1 if something does not work."""
    if data_dir is not None and config_file is None:
        raise click.UsageError("--data-dir needs --config, whose data section names the files")
    from pipeline.doctor.examination import examine

    if not as_json:
        say(f"tfx-rcnn {version_text()}: looking, with TensorFlow and TFX up to a minute")
    rows = examine(str(config_file or ""), str(data_dir or ""), host, root, seconds)
    status = worst(rows)
    if as_json:
        facts = {"version": VERSION, "revision": revision(), "lane": LANE, "status": status}
        rows_ = [dataclasses.asdict(row) for row in rows]
        print_document({**facts, "rows": rows_})
    else:
        show(rows)
    sys.exit(EXIT_FAILED if status == "error" else 0)


def version_text() -> str:
    """Returns version, revision and lane."""
    python = ".".join(map(str, sys.version_info[:2]))
    return f"{VERSION} (revision {revision()}, {LANE} lane, Python {python})"


def show(rows: list[Row]) -> None:
    """Prints a table on a terminal; else, or without rich, lines of plain text."""
    width = max(len(row.check) for row in rows)
    if manner() is Manner.JSON:
        for row in rows:
            say(_line(row, width), RESULT, fields={"row": dataclasses.asdict(row)})
        return
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        console = None
    else:
        console = Console(file=sys.stdout)
    if console is not None and console.is_terminal:
        table = Table("check", "", "found", "what mends it")
        for row in rows:
            status = Text(row.status, style=_COLOURS[row.status])
            table.add_row(Text(row.check), status, Text(row.found), Text(row.mend))
        console.print(table)
        return
    show_lines([_line(row, width) for row in rows])


def _line(row: Row, width: int) -> str:
    mend = f"  -> {row.mend}" if row.mend else ""
    return f"{row.status:8}{row.check:{width}}  {row.found}{mend}"
