"""Runs an application on a socket, until the process is asked to end."""

import socket

import uvicorn
from starlette.applications import Starlette

_SECONDS_TO_FINISH = 4


def server_of(app: Starlette, most_connections: int) -> uvicorn.Server:
    """Returns a server that says nothing of single requests.

    Args:
        app: what answers.
        most_connections: beyond them it answers 503.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_level="critical",
            access_log=False,
            server_header=False,
            limit_concurrency=most_connections,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=_SECONDS_TO_FINISH,
        )
    )


def run_server(app: Starlette, listener: socket.socket, most_connections: int) -> None:
    """Serves until SIGINT or SIGTERM; what is begun may end.

    Args:
        app: what answers.
        listener: a bound socket.
        most_connections: beyond them it answers 503.
    """
    try:
        server_of(app, most_connections).run(sockets=[listener])
    except KeyboardInterrupt:  # raised again after an orderly end
        return
