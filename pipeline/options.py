"""Options that several commands of the pipeline take."""

from pathlib import Path

import click

config_option = click.option(
    "--config",
    "config_file",
    required=True,
    type=click.Path(path_type=Path),
    help="YAML file, one of configs/ or yours.",
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Changes one setting, such as train.epochs=1; may be repeated.",
)
