"""A small S3: buckets in memory, lists in pages, uploads in parts; asks for a key it knows."""

import hashlib
import urllib.parse
from xml.sax.saxutils import escape

from tests.loopback import Handler, LoopbackServer

ACCESS_KEY, SECRET_KEY = "AKIATESTONLY", "a-secret-of-the-tests"
_PAGE = 5  # short, so that lists have several pages


class _Handler(Handler):
    def answer_request(self, body: bytes) -> None:
        store: S3Server = self.state
        if f"Credential={ACCESS_KEY}/" not in self.headers.get("Authorization", ""):
            status, content = 403, _error("AccessDenied", "Access Denied")
        else:
            key = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
            methods = {"GET": store.get, "PUT": store.put, "POST": store.post}
            methods |= {"HEAD": store.get, "DELETE": store.delete}
            status, content = methods[self.command](key, self.query, body)
        headers = {
            "ETag": f'"{hashlib.md5(content).hexdigest()}"',
            "Last-Modified": "Sun, 29 Nov 2026 12:00:00 GMT",
        }
        wanted = self.headers.get("Range", "").removeprefix("bytes=")
        if status == 200 and wanted:
            first, _, last = wanted.partition("-")
            total = len(content)
            content = content[int(first) : int(last) + 1 if last else None]
            end = int(first) + len(content) - 1
            status = 206
            headers["Content-Range"] = f"bytes {first}-{end}/{total}"
        self.send(status, headers, content)


class S3Server(LoopbackServer):
    """The server and what it stores.

    Attributes:
        objects: content by `bucket/key`.
        address: its endpoint.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._parts: dict[str, dict[int, bytes]] = {}
        super().__init__(_Handler, self)

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to know."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

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
