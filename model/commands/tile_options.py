"""The options by which a command cuts large pictures into tiles."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from ground.command_options import FiniteRange
from ground.errors import ModelError
from model.model_folder import CONFIG_FILE
from model.prediction.tiles import DEFAULT_OVERLAP, LARGEST_OVERLAP, Tiling

_AUTO = "auto"
_LARGEST_SIDE_PX = 1_000_000


class _TileSide(click.ParamType):
    name = "PX|auto"

    def convert(
        self, value: object, param: click.Parameter | None, context: click.Context | None
    ) -> int | str:
        text = str(value)
        if text == _AUTO:
            return _AUTO
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _LARGEST_SIDE_PX):
            self.fail(f"{value!r}: expected a side in pixels, or {_AUTO}", param, context)
        return int(text)


def tile_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--tile-px` (the parameter `tile_side`) and `--tile-overlap` to a command."""
    side = click.option(
        "--tile-px",
        "tile_side",
        type=_TileSide(),
        help="Also look at larger pictures in square tiles of this side, best as large as the "
        "pictures of the training were; auto is what the model sees without shrinking it.",
    )
    overlap = click.option(
        "--tile-overlap",
        default=DEFAULT_OVERLAP,
        show_default=True,
        type=FiniteRange(0, LARGEST_OVERLAP),
        help="Share of a tile's side that it has in common with the next one.",
    )
    return side(overlap(command))


def tiling_of(
    side: int | str | None, overlap: float, model_input: Mapping[str, Any]
) -> Tiling | None:
    """Returns what the options say, None for no tiles.

    Args:
        side: value of `--tile-px`.
        overlap: value of `--tile-overlap`.
        model_input: section `input` of the model's config.

    Raises:
        ModelError: the config does not say what `auto` is.
    """
    if side is None:
        return None
    if side == _AUTO:
        side = model_input.get("short_side_px", "")
        if type(side) is not int:
            raise ModelError(
                f"--tile-px {_AUTO}: the model's {CONFIG_FILE} has no input.short_side_px: give "
                "a side in pixels"
            )
    return Tiling(int(side), overlap)
