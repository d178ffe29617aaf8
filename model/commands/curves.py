"""`python -m model.curves`: see model/curves.py."""

from pathlib import Path

import click

from ground.console import OneLineCommand, one_line_errors
from ground.errors import ConfigError
from ground.outputs import check_file
from ground.speech import RESULT, say, speech_options
from model.curves import draw_curves, read_scalars


@click.command(cls=OneLineCommand, epilog="Example: tfx-rcnn curves M/run --out curves.png")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A .png or .svg file.")
@speech_options
@one_line_errors
def main(runs: tuple[Path, ...], out: Path) -> None:
    """Draws what training runs wrote for TensorBoard.

    RUNS are folders such as M/run. One run is drawn with all its losses, several with their sums.
    """
    if out.suffix not in (".png", ".svg"):
        raise ConfigError(f"--out {out}: must be a .png or .svg file")
    check_file(out, runs)
    draw_curves({str(run): read_scalars(run) for run in runs}, out)
    say(f"written {out}", RESULT)
