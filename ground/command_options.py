"""Options that several commands take: the same name, words and type wherever they stand."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ground.addresses import is_address, place_of

FILE = click.Path(path_type=Path)
_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class FiniteRange(click.FloatRange):
    """A number within limits; click's own type takes NaN, which is within any, and infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Returns the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


class PlaceType(click.Path):
    """A path of a disk, or the address of an object store, which is looked at later."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """Returns a Path, or the text of an address."""
        if isinstance(value, str) and is_address(value):
            return place_of(value)
        return Path(os.fsdecode(super().convert(value, param, ctx)))


class RenamedOption(click.Option):
    """An option that is still taken by older names, of which the help says nothing.

    Args:
        old: those names.
    """

    def __init__(self, *args: Any, old: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.old = old

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Adds all names to the parser of the command line."""
        shown = self.opts
        self.opts = [*shown, *self.old]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


def config_option(
    help: str = "YAML file: one that init wrote, one of configs/, or yours.", required: bool = True
) -> _Decorator:
    """Returns the option `--config`, the parameter `config_file`."""
    return click.option("--config", "config_file", required=required, type=FILE, help=help)


model_option = click.option(
    "--model",
    "model_folder",
    required=True,
    type=click.Path(),
    help="Folder of the exported model.",
)
out_option = click.option("--out", required=True, type=FILE, help="Output folder.")
batch_size_option = click.option(
    "--batch-size", default=4, show_default=True, type=click.IntRange(1), help="Pictures a call."
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Changes one setting, such as train.epochs=1; may be repeated.",
)
