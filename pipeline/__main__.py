"""The command `tfx-rcnn`, also `python -m pipeline`: all commands, listed below headings."""

import click

from ground.command_group import ListedGroup
from pipeline.command_list import COMMANDS


def _show_version(context: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked:
        from pipeline.doctor.command import version_text

        click.echo(f"tfx-rcnn {version_text()}")
        context.exit()


@click.group(
    cls=ListedGroup,
    listed=COMMANDS,
    epilog="Example: tfx-rcnn run --config configs/blood_cells.yaml --data-dir data/blood_cells",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show version, revision and lane.",
)
def main() -> None:
    """From a COCO-format folder to a measured, gated and pushed detector.

    Every command has -h with an example.
    """


if __name__ == "__main__":
    main(prog_name="python -m pipeline")
