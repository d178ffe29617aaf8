"""The frame of the small servers that play others' services, on a port of this machine."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

_Server = TypeVar("_Server", bound="LoopbackServer")


class Handler(BaseHTTPRequestHandler):
    """Answers requests without a word; a server's own has `answer_request`."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: two wait for each other

    def handle_expect_100(self) -> bool:
        """Asks for the body at once: boto3 waits a second for it, and sends it then unasked."""
        is_wanted = super().handle_expect_100()
        self.wfile.flush()
        return is_wanted

    @property
    def state(self) -> Any:
        """What the server was given as its state."""
        return self.server.state  # type: ignore[attr-defined]

    @property
    def query(self) -> dict[str, str]:
        """The address's query; of a name that stands twice the last value."""
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def _handle(self) -> None:
        self.answer_request(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def answer_request(self, body: bytes) -> None:
        """Answers the request whose body this is, by `send` or `break_off`."""
        raise NotImplementedError

    def send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        """Sends a whole answer; to HEAD without the content."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def break_off(self) -> None:
        """Closes the connection without an answer."""
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class LoopbackServer:
    """A server that serves within a `with` block.

    Attributes:
        state: what its handlers know.
        address: where it listens.
    """

    def __init__(self, handler: type[Handler], state: Any) -> None:
        self.state = state
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.state = state  # type: ignore[attr-defined]
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def running(self: _Server) -> _Server:
        """Returns itself, which serves within the `with` block."""
        return self

    def __enter__(self: _Server) -> _Server:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
