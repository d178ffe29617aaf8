"""The page on this machine: a small web server for one person, who sits here.

It gives out the page's own files, the album's parts and the pictures by their numbers in the album,
so no path comes from outside. Requests that another web page makes the browser send are refused:
by their Host (DNS rebinding) and by where they come from.
"""

import functools
import http.server
import ipaddress
import re
import secrets
import socket
import socketserver
import sys
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from ground.errors import ServiceError
from model.encoded.flaw import PictureFlaw
from pipeline.look.album import Album
from pipeline.look.parts import part, part_names
from pipeline.look.picture_files import Shown, thumbnail, whole

PAGE_FILES = {
    "index.html": "text/html; charset=utf-8",
    "look.css": "text/css; charset=utf-8",
    "album.js": "text/javascript; charset=utf-8",
    "masks.js": "text/javascript; charset=utf-8",
    "drawing.js": "text/javascript; charset=utf-8",
    "filters.js": "text/javascript; charset=utf-8",
    "grid.js": "text/javascript; charset=utf-8",
    "viewer.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
_PAGE = Path(__file__).with_name("page")
_SCRIPT = PAGE_FILES["page.js"]
_PICTURE = re.compile(r"(thumbs|pictures)/([0-9]{1,9})\.jpg")
_CONTENT_POLICY = (
    "default-src 'none'; img-src 'self' data:; script-src 'self'; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_NEVER, _LONG = "no-store", "private, max-age=86400"
_IDLE_SECONDS = 60
_PORTS_TRIED = 20
_KEPT_THUMBNAILS = 3000


def page_file(name: str) -> bytes:
    """Returns one of the page's own files."""
    return _PAGE.joinpath(name).read_bytes()


class Answer(Exception):
    """A request that is answered with a status and a line."""

    def __init__(self, status: HTTPStatus, line: str) -> None:
        super().__init__(line)
        self.status = status


class AlbumSite:
    """What there is to get, by path.

    Args:
        album: what is shown.
    """

    def __init__(self, album: Album) -> None:
        self._album = album
        self._parts = set(part_names(album))
        self._version = secrets.token_hex(4)
        self._part = functools.lru_cache(maxsize=None)(self._make_part)
        self._thumbnail = functools.lru_cache(maxsize=_KEPT_THUMBNAILS)(self._make_thumbnail)

    def get(self, path: str) -> tuple[Shown, str]:
        """Returns what lies at a path, and for how long a browser may keep it.

        Raises:
            Answer: there is nothing, or it cannot be shown.
        """
        name = path.removeprefix("/") or "index.html"
        if name in PAGE_FILES:
            return Shown(page_file(name), PAGE_FILES[name]), _NEVER
        folder, _, rest = name.partition("/")
        if folder == "data" and rest in self._parts:
            return Shown(self._part(rest), _SCRIPT), _NEVER
        found = _PICTURE.fullmatch(name)
        if found is None or int(found[2]) >= len(self._album.pictures):
            raise Answer(HTTPStatus.NOT_FOUND, "there is no such page")
        try:
            if found[1] == "thumbs":
                return self._thumbnail(int(found[2])), _LONG
            return whole(self._album.pictures[int(found[2])]), _LONG
        except PictureFlaw as flaw:
            raise Answer(HTTPStatus.NOT_FOUND, f"{flaw.code}: {flaw.detail}") from None

    def _make_part(self, name: str) -> bytes:
        return part(self._album, name, self._version)

    def _make_thumbnail(self, number: int) -> Shown:
        return thumbnail(self._album.pictures[number])


class _Handler(http.server.BaseHTTPRequestHandler):
    server: "LookServer"
    server_version, sys_version = "tfx-rcnn", ""
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS

    def do_GET(self) -> None:
        """Answers a request."""
        try:
            self._check_asker()
            shown, keep = self.server.site.get(self._asked())
        except Answer as answer:
            line = Shown(f"{answer}\n".encode(errors="replace"), "text/plain; charset=utf-8")
            self._send(answer.status, line, _NEVER)
        else:
            self._send(HTTPStatus.OK, shown, keep)

    do_HEAD = do_GET

    def _asked(self) -> str:
        """Returns the path that is asked for.

        Raises:
            Answer: the request names no address.
        """
        try:
            return urlsplit(self.path).path
        except ValueError:  # an address such as http://[
            raise Answer(HTTPStatus.NOT_FOUND, "there is no such page") from None

    def _check_asker(self) -> None:
        """Checks that it is this server's own page, or its person, who asks.

        Raises:
            Answer: it is another page.
        """
        if not self.server.is_own_name(self.headers.get("Host", "")):
            way = f"call it by its IP address or by {socket.gethostname()}"
            raise Answer(HTTPStatus.MISDIRECTED_REQUEST, f"this server has another name: {way}")
        is_from_elsewhere = self.headers.get("Sec-Fetch-Site", "none") not in (
            "same-origin",
            "none",
        )
        if is_from_elsewhere and self.headers.get("Sec-Fetch-Mode") != "navigate":
            raise Answer(HTTPStatus.FORBIDDEN, "another site's page may not have this")

    def _send(self, status: HTTPStatus, shown: Shown, keep: str) -> None:
        self.send_response(status)
        headers = {
            **_HEADERS,
            "Content-Type": shown.media_type,
            "Content-Length": str(len(shown.content)),
            "Cache-Control": keep,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(shown.content)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: a line a picture would hide what matters."""


class LookServer(http.server.ThreadingHTTPServer):
    """Serves an album until it is ended.

    Args:
        album: what is shown.
        host: address to listen at.
        port: the first that is tried; 0 is any.

    Raises:
        ServiceError: it cannot listen there.
    """

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, album: Album, host: str, port: int) -> None:
        self.site = AlbumSite(album)
        self._host = host
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for attempt in range(_PORTS_TRIED):
            try:
                super().__init__((host, port + attempt if port else 0), _Handler)
                return
            except OSError as error:
                problem = error.strerror or str(error)
            except OverflowError:
                break  # past the last port
        raise ServiceError(f"--host {host} --port {port}: cannot listen there ({problem})")

    @property
    def url(self) -> str:
        """The page's address, for a browser on this machine."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_address[1]}/"

    def is_own_name(self, host: str) -> bool:
        """Returns whether a Host header names this server as no other site's name could.

        Who rebinds a name of his own to this machine's address sends that name.
        """
        name = ""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            ipaddress.ip_address(name)
        except ValueError:
            host = socket.gethostname().lower()
            own = {"localhost", self._host.lower(), host, f"{host}.local"}
            return name != "" and (name in own or name == _full_name())
        return True

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of a browser that went away; anything else as usual."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            socketserver.BaseServer.handle_error(self, request, client_address)  # type: ignore[arg-type]


@functools.cache
def _full_name() -> str:
    """Returns this machine's name with its domain; who asks for it may wait for an answer."""
    return socket.getfqdn().lower()
