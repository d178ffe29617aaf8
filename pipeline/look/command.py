"""The command `look`: pictures with their boxes, masks and detections, in the browser."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ground.command_options import FILE, config_option, set_option
from ground.console import OneLineCommand, one_line_errors, show_lines
from ground.outputs import output_folder
from ground.speech import RESULT, say, say_warning, speech_options
from ground.wording import plural

if TYPE_CHECKING:
    from pipeline.look.album import Album

_WRITER = "pipeline.look"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.command(
    "look",
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn look data/blood_cells",
)
@click.argument("what", type=FILE)
@click.option("--pictures", type=FILE, help="Folder of the pictures, where WHAT is a JSON file.")
@config_option("YAML config whose data section says how COCO files are read.", required=False)
@set_option
@click.option("--detections", type=FILE, help="Detections in COCO's results form.")
@click.option("--examples", type=FILE, help="Examples folder that an evaluation measured on.")
@click.option("--annotations", type=FILE, help="COCO instances file that it measured on.")
@click.option("--split", help="Only this split.  [default: all]")
@click.option(
    "--out", type=FILE, help="Write the page as a folder that opens without a server, and end."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to serve at; another one shows the pictures to whoever reaches it.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="The first port that is tried; 0 is any.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in this machine's browser.")
@speech_options
@one_line_errors
def look(
    what: Path,
    pictures: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    detections: Path | None,
    examples: Path | None,
    annotations: Path | None,
    split: str | None,
    out: Path | None,
    host: str,
    port: int,
    opens: bool,
) -> None:
    """Shows WHAT in the browser: data with boxes and masks, and what a model found.

    WHAT is a COCO-format folder or its JSON file, an examples folder, an evaluation's folder, or
    the root of a run.
    """
    from pipeline.look.places import Request, album_of

    request = Request(
        what, pictures, config_file, overrides, detections, examples, annotations, split
    )
    found = album_of(request)
    for note in found.album.notes:
        say_warning(note)
    if out is not None:
        _write(found.album, out, [what, config_file, *found.inputs])
    else:
        _serve(found.album, host, port, opens)


def _write(album: "Album", out: Path, inputs: "list[Path | None]") -> None:
    from pipeline.look.static_folder import WRITTEN, write_static

    with output_folder(out, _WRITER, WRITTEN, inputs) as new:
        missing = write_static(album, new, lambda line, fields: say(line, fields=fields))
    total = len(album.pictures)
    without = f" ({missing:,} of them cannot be shown)" if missing else ""
    show_lines([f"{plural(total, 'picture')}{without}: open {out / 'index.html'}"])


def _serve(album: "Album", host: str, port: int, opens: bool) -> None:
    from pipeline.look.server import LookServer

    if host not in _LOOPBACK:
        say_warning(f"--host {host}: whoever reaches this machine sees the pictures")
    with LookServer(album, host, port) as server:
        say(f"{plural(len(album.pictures), 'picture')}: {server.url} (Ctrl-C ends it)", RESULT)
        if opens:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")
