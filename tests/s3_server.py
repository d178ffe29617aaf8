"""A small S3: buckets in memory, lists in pages, uploads in parts; asks for a key it knows."""

import hashlib
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

ACCESS_KEY, SECRET_KEY = "AKIATESTONLY", "a-secret-of-the-tests"
_PAGE = 5  # short, so that lists have several pages


class S3Server:
    """The server and what it stores.

    Attributes:
        objects: content by `bucket/key`.
        address: its endpoint.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._parts: dict[str, dict[int, bytes]] = {}
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                self._answer(store.get)

            def do_HEAD(self) -> None:
                self._answer(store.get)

            def do_PUT(self) -> None:
                self._answer(store.put)

            def do_POST(self) -> None:
                self._answer(store.post)

            def do_DELETE(self) -> None:
                self._answer(store.delete)

            def _answer(self, answer) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                url = urllib.parse.urlsplit(self.path)
                query = {
                    name: values[0]
                    for name, values in urllib.parse.parse_qs(
                        url.query, keep_blank_values=True
                    ).items()
                }
                if f"Credential={ACCESS_KEY}/" not in self.headers.get("Authorization", ""):
                    status, content = 403, _error("AccessDenied", "Access Denied")
                else:
                    key = urllib.parse.unquote(url.path).lstrip("/")
                    status, content = answer(key, query, body)
                etag = f'"{hashlib.md5(content).hexdigest()}"'
                wanted = self.headers.get("Range", "").removeprefix("bytes=")
                if status == 200 and wanted:
                    first, _, last = wanted.partition("-")
                    stop = int(last) + 1 if last else None
                    total, content = len(content), content[int(first) : stop]
                    status = 206
                self.send_response(status)
                if status == 206:
                    end = int(first) + len(content) - 1
                    self.send_header("Content-Range", f"bytes {first}-{end}/{total}")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", etag)
                self.send_header("Last-Modified", "Sun, 29 Nov 2026 12:00:00 GMT")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to know."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @contextmanager
    def running(self) -> Iterator["S3Server"]:
        """Serves meanwhile."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def get(self, key: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if "list-type" in query:
            return 200, self._listed(key.rstrip("/"), query)
        if key not in self.objects:
            return 404, _error("NoSuchKey", "The specified key does not exist.")
        return 200, self.objects[key]

    def put(self, key: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if "partNumber" in query:
            self._parts[query["uploadId"]][int(query["partNumber"])] = body
            return 200, b""
        self.objects[key] = body
        return 200, b""

    def post(self, key: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if "uploads" in query:
            number = str(len(self._parts))
            self._parts[number] = {}
            return 200, _xml(f"<R><UploadId>{number}</UploadId></R>")
        parts = self._parts.pop(query["uploadId"])
        self.objects[key] = b"".join(parts[number] for number in sorted(parts))
        return 200, _xml("<R><ETag>x</ETag></R>")

    def delete(self, key: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.objects.pop(key, None)
        return 204, b""

    def _listed(self, bucket: str, query: dict[str, str]) -> bytes:
        start = query.get("continuation-token", "")
        prefix = f"{bucket}/{query.get('prefix', '')}"
        names = sorted(name for name in list(self.objects) if name.startswith(prefix))
        names = [name for name in names if name > start]
        page, is_cut = names[:_PAGE], len(names) > _PAGE
        items = "".join(
            f"<Contents><Key>{escape(name.removeprefix(bucket + '/'))}</Key>"
            f"<Size>{len(self.objects[name])}</Size>"
            f"<ETag>&quot;{hashlib.md5(self.objects[name]).hexdigest()}&quot;</ETag></Contents>"
            for name in page
        )
        more = (
            f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if is_cut else ""
        )
        return _xml(f"<R><IsTruncated>{str(is_cut).lower()}</IsTruncated>{more}{items}</R>")


def _xml(text: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()


def _error(code: str, message: str) -> bytes:
    return _xml(f"<Error><Code>{code}</Code><Message>{message}</Message></Error>")
