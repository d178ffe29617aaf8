"""A small Cloud Storage: its JSON API as gcsfs calls it; lists in pages, uploads in parts."""

import base64
import hashlib
import json
import re
import urllib.parse
from typing import Any

from tests.loopback import Handler, LoopbackServer

_PAGE = 5  # short, so that lists have several pages
_OBJECT = re.compile(r"(?:/download)?/storage/v1/b/([^/]+)/o/(.+)")
_LIST = re.compile(r"/storage/v1/b/([^/]+)/o/?")
_UPLOAD = re.compile(r"/upload/storage/v1/b/([^/]+)/o")


class _Handler(Handler):
    def answer_request(self, body: bytes) -> None:
        self.send(*self.state.answer(self.command, self.path, dict(self.headers.items()), body))


class GcsServer(LoopbackServer):
    """The server and what it stores.

    Attributes:
        objects: content by `bucket/name`.
        refuses: answers 403 to everything.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.refuses = False
        self._begun: dict[str, tuple[str, bytes]] = {}
        super().__init__(_Handler, self)

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        url = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        if self.refuses:
            return _json(403, {"error": {"code": 403, "message": "forbidden"}})
        if found := _UPLOAD.fullmatch(url.path):
            return self._upload(found[1], query, headers, body)
        if found := _OBJECT.fullmatch(url.path):
            return self._object(method, f"{found[1]}/{urllib.parse.unquote(found[2])}", query)
        if found := _LIST.fullmatch(url.path):
            return self._listed(found[1], query)
        return _json(404, {"error": {"code": 404, "message": f"no such thing: {url.path}"}})

    def _object(
        self, method: str, key: str, query: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        if key not in self.objects:
            return _json(404, {"error": {"code": 404, "message": f"No such object: {key}"}})
        if method == "DELETE":
            del self.objects[key]
            return 204, {}, b""
        if query.get("alt") == "media":
            return 200, {"X-Goog-Hash": f"md5={_md5(self.objects[key])}"}, self.objects[key]
        return _json(200, self._details(key))

    def _upload(
        self, bucket: str, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if query.get("uploadType") == "multipart":
            boundary = headers["Content-Type"].split("boundary=")[1].strip('"').encode()
            _, about, rest = body.split(b"--" + boundary)[:3]
            key = f"{bucket}/{json.loads(about[about.index(b'{') :])['name']}"
            # The part's own headers end with an empty line.
            self.objects[key] = rest.partition(b"\n\n")[2].removesuffix(b"\n")
            return _json(200, self._details(key))
        if "upload_id" not in query:
            number = str(len(self._begun))
            name = query.get("name") or json.loads(body)["name"]
            self._begun[number] = (f"{bucket}/{name}", b"")
            location = f"{self.address}/upload/storage/v1/b/{bucket}/o?upload_id={number}"
            return 200, {"Location": location}, b""
        key, before = self._begun[query["upload_id"]]
        self._begun[query["upload_id"]] = (key, before + body)
        size = int(headers["Content-Range"].rpartition("/")[2])
        if len(before + body) < size:
            return 308, {"Range": f"bytes=0-{len(before + body) - 1}"}, b""
        self.objects[key] = before + body
        return _json(200, self._details(key))

    def _listed(self, bucket: str, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        prefix = f"{bucket}/{query.get('prefix', '')}"
        delimiter, start = query.get("delimiter"), query.get("pageToken", "")
        names, folders = [], set()
        for key in sorted(self.objects):
            if not key.startswith(prefix):
                continue
            below, found, _ = key.removeprefix(prefix).partition(delimiter or "\0")
            if found:
                folders.add(f"{prefix}{below}/".removeprefix(f"{bucket}/"))
            else:
                names.append(key)
        left = [name for name in names if name > start]
        answer: dict[str, Any] = {"kind": "storage#objects"}
        answer["items"] = [self._details(key) for key in left[:_PAGE]]
        if len(left) > _PAGE:
            answer["nextPageToken"] = left[_PAGE - 1]
        if folders and not start:
            answer["prefixes"] = sorted(folders)
        return _json(200, answer)

    def _details(self, key: str) -> dict[str, str]:
        bucket, _, name = key.partition("/")
        content = self.objects[key]
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "size": str(len(content)),
            "etag": _md5(content),
            "md5Hash": _md5(content),
            "updated": "2026-11-29T12:00:00Z",
            "timeCreated": "2026-11-29T12:00:00Z",
        }


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def _json(status: int, value: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()
