"""`python -m model.serve`: see model/serving/."""

import os
import socket
from pathlib import Path
from urllib.parse import quote

import click

from ground.command_options import FiniteRange
from ground.console import OneLineCommand, one_line_errors
from ground.errors import ServiceError
from ground.speech import RESULT, say, say_error, say_warning, speech_options
from model.model_folder import find_saved_model
from model.quiet_tensorflow import quiet_tensorflow
from model.serving.versions import ServedVersions, is_model_name, model_name

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MOST_CONNECTIONS = 128


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn serve --model runs/demo/serving/demo",
)
@click.option(
    "--model",
    "model_folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the served versions, of which the newest is taken up as it appears; or an "
    "exported model.",
)
@click.option("--name", help="Of the model in addresses.  [default: its folder's]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8501,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes any that is free.",
)
@click.option(
    "--max-body-mb",
    default=64,
    show_default=True,
    type=click.IntRange(1),
    help="Largest body of a request.",
)
@click.option(
    "--max-pixels",
    default=100_000_000,
    show_default=True,
    type=click.IntRange(1),
    help="Largest width x height of a picture; the model's own limit holds as well.",
)
@click.option(
    "--timeout",
    default=120.0,
    show_default=True,
    type=FiniteRange(0.1),
    help="Seconds that a request may take.",
)
@speech_options
@one_line_errors
def main(
    model_folder: Path,
    name: str | None,
    host: str,
    port: int,
    max_body_mb: int,
    max_pixels: int,
    timeout: float,
) -> None:
    """Serves a model here: TensorFlow Serving's REST addresses, and a page to try it on."""
    find_saved_model(model_folder)
    if name is not None and not is_model_name(name):
        raise click.BadParameter(
            f"{name!r:.80}: a name in an address has letters, but no / and no :",
            param_hint="'--name'",
        )
    with _listening(host, port) as listener, quiet_tensorflow():
        from model.serving.app import Limits, build_app
        from model.serving.loaded import ServedModel
        from model.serving.server import run_server

        called = model_name(model_folder) if name is None else name
        versions = ServedVersions(model_folder, ServedModel, say)
        limits = Limits(max_body_mb << 20, max_pixels, seconds=timeout)
        hosts = [*_LOOPBACK, "[::1]"] if host in _LOOPBACK else None
        if host not in _LOOPBACK:
            say_warning(f"--host {host}: whoever reaches this machine can use the model")
        app = build_app(called, versions, limits, say_error, hosts)
        shown = f"[{host}]" if ":" in host else host
        place = f"http://{shown}:{listener.getsockname()[1]}"
        version = versions.current.number
        address = f"{place}/v1/models/{quote(called)}"
        say(f"version {version} of {called}: {place}/ and {address}", RESULT)
        versions.watch()
        run_server(app, listener, _MOST_CONNECTIONS)
        versions.end()


def _listening(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Raises:
        ServiceError: the address is no address here, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except UnicodeError:  # of a name that is too long, or of letters that no name has
        raise ServiceError(f"--host {host!r:.80}: is no name of a host: give another") from None
    except OSError as error:
        # Of an unknown name there is no number, and Python's own text repeats the address.
        known = error.errno is not None and error.errno > 0
        reason = os.strerror(error.errno or 0) if known else error.strerror
        raise ServiceError(
            f"--host {host} --port {port}: cannot listen there ({reason}): give another"
        ) from None
