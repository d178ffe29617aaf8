"""The endpoint: TensorFlow Serving's REST addresses, and a page to drop pictures on.

    GET  /v1/models/NAME[/versions/N]               status
    GET  /v1/models/NAME[/versions/N]/metadata      signatures
    POST /v1/models/NAME[/versions/N]:predict       detections
    GET  /                                          the page; it uses /page/model and /page/detect

A request that is wrong is answered with 4xx and `{"error": "one line"}`.
"""

import asyncio
import base64
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ground.errors import RcnnError
from model.coco.boxes import yxyx_to_xywh
from model.drawing import class_colour
from model.pictures import servable
from model.serving import rest
from model.serving.errors import RequestError, not_found
from model.serving.gzipped import unzipped
from model.serving.versions import ServedVersions, Version

Result = TypeVar("Result")

_PAGE = Path(__file__).with_name("page.html")
# As TensorFlow Serving's, whose case does not count.
_MODEL = r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_PREDICT = re.compile(rf"{_MODEL}:(\w+)", re.IGNORECASE)
_STATUS = re.compile(rf"{_MODEL}(/metadata)?", re.IGNORECASE)
_MOST_DROPPED = 4  # times the limit of a body
_WORKERS = 2  # a call of the model takes all cores; a second one reads and writes JSON meanwhile
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src blob: data:; connect-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Limits:
    """What one request may take.

    Attributes:
        body_bytes: size of its body.
        picture_pixels: width x height of a picture.
        pictures: number of pictures.
        seconds: time for its body, and again for its answer.
        waiting: requests that may wait for the model.
    """

    body_bytes: int = 64 << 20
    picture_pixels: int = 100_000_000
    pictures: int = 64
    seconds: float = 120.0
    waiting: int = 32


class Endpoint:
    """What answers requests for one model.

    Args:
        name: by which the model is addressed.
        versions: versions of the model.
        limits: what a request may take.
        say_error: called with a line for what is our fault.
    """

    def __init__(
        self,
        name: str,
        versions: ServedVersions,
        limits: Limits,
        say_error: Callable[[str], None],
    ) -> None:
        self._name = name
        self._versions = versions
        self._limits = limits
        self._say_error = say_error
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="predict")
        self._waiting = 0

    async def page(self, request: Request) -> Response:
        """Answers with the page."""
        return HTMLResponse(_PAGE.read_text(encoding="utf-8"), headers=_HEADERS)

    async def page_model(self, request: Request) -> Response:
        """Answers with what the page says of the model."""
        number, model = self._versions.current
        classes = [
            {"id": c["id"], "name": c["name"], "colour": class_colour(c["label"])}
            for c in model.categories
        ]
        return JSONResponse({"name": self._name, "version": number, "classes": classes})

    async def page_detect(self, request: Request) -> Response:
        """Answers with what is found in the picture file that is the body."""
        body = await self._body(request)
        return JSONResponse(await self._work(lambda: self._found(body)))

    async def get(self, request: Request) -> Response:
        """Answers with the status or the metadata of the model."""
        name, number, label, metadata = _parts(_STATUS, request)
        if metadata:
            version = self._version(name, number, label)
            return JSONResponse(version.model.metadata(self._name, version.number))
        states = self._versions.status()["model_version_status"]
        if number is not None:
            states = [state for state in states if int(state["version"]) == _number(number)]
        if name != self._name or label or not states:
            raise _unknown(name, number, label)
        return JSONResponse({"model_version_status": states})

    async def post(self, request: Request) -> Response:
        """Answers with predictions."""
        name, number, label, method = _parts(_PREDICT, request)
        version = self._version(name, number, label)
        if str(method).lower() != "predict":
            raise RequestError(f"{str(method)[:40]}: this model only knows predict")
        body = await self._body(request)
        content = await self._work(lambda: self._predictions(version, body))
        return Response(content, media_type="application/json")

    def _version(self, name: str | None, number: str | None, label: str | None) -> Version:
        """Returns the version that is asked for.

        Raises:
            RequestError: it is not served.
        """
        current = self._versions.current
        is_current = number is None or _number(number) == current.number
        if name != self._name or label or not is_current:
            raise _unknown(name, number, label)
        return current

    async def _body(self, request: Request) -> bytes:
        """Returns the body.

        Raises:
            RequestError: it is too large, too slow or cut off.
        """
        limit = self._limits.body_bytes
        too_large = RequestError(f"the body exceeds the limit of {limit} bytes", 413)
        stated = request.headers.get("content-length", "")
        size = int(stated[:20]) if stated.isdecimal() else 0
        # Who is refused while still sending sees a reset connection and no answer, so that a body
        # somewhat too large is read and dropped; who asks before sending needs none of that.
        most = limit if "expect" in request.headers else _MOST_DROPPED * limit
        if size > most:
            raise too_large

        async def read() -> bytes:
            parts, size = [], 0
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise too_large
                if size <= limit:
                    parts.append(part)
            if size > limit:
                raise too_large
            return b"".join(parts)

        coding = request.headers.get("content-encoding", "").strip().lower()
        if coding not in ("", "identity", "gzip", "x-gzip"):
            raise RequestError(f"Content-Encoding {coding[:40]!r}: expected gzip or none", 415)
        try:
            content = await asyncio.wait_for(read(), self._limits.seconds)
        except asyncio.TimeoutError:
            raise RequestError("the body took too long", 408) from None
        except ClientDisconnect:
            raise RequestError("the body was cut off") from None
        return unzipped(content, limit) if "gzip" in coding else content

    async def _work(self, work: Callable[[], Result]) -> Result:
        """Returns what comes of work that takes time; it is done beside the loop.

        Raises:
            RequestError: too many wait, or it takes too long.
        """
        if self._waiting >= self._limits.waiting:
            raise RequestError("too many requests wait for the model: try again later", 503)
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._workers, work)
        # Also after a timeout what was begun goes on, and takes its place until its end.
        future.add_done_callback(self._is_done)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self._limits.seconds)
        except asyncio.TimeoutError:
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise RequestError(f"took longer than {self._limits.seconds:g} s", 503) from None

    def _is_done(self, future: Any) -> None:
        self._waiting -= 1

    def _predictions(self, version: Version, body: bytes) -> bytes:
        """Returns the JSON that answers a request to predict."""
        request = rest.request_of(rest.read_request(body))
        wanted = version.model.input_of(request.signature)
        values = rest.tensor_of(request, wanted, self._limits.pictures)
        if wanted.dtype == np.dtype(object):
            for n, encoded in enumerate(values):
                servable(encoded, f"picture {n}", self._most_pixels(version), is_checked=True)
        return rest.answer(version.model.call(request.signature, values), request.is_rows)

    def _most_pixels(self, version: Version) -> int:
        return min(self._limits.picture_pixels, version.model.max_picture_pixels)

    def _found(self, body: bytes) -> dict[str, Any]:
        """Returns what the page draws."""
        version = self._versions.current
        picture = servable(body, "the picture", self._most_pixels(version))
        start = time.perf_counter()
        found = version.model.detect(picture.encoded)
        seconds = time.perf_counter() - start
        sides = [picture.height, picture.width] * 2
        detections: list[dict[str, Any]] = [
            {
                "box": [float(v) for v in yxyx_to_xywh(box.astype(float) * sides)],
                "score": float(score),
                "class": int(category),
            }
            for box, score, category in zip(
                found.boxes_norm, found.scores, found.category_ids, strict=True
            )
        ]
        if found.masks is not None:
            for detection, mask in zip(detections, found.masks, strict=True):
                pixels = (np.clip(mask, 0, 1) * 255).round().astype(np.uint8)
                detection["mask"] = base64.b64encode(pixels.tobytes()).decode()
        return {
            "version": version.number,
            "width": picture.width,
            "height": picture.height,
            "seconds": round(seconds, 3),
            "mask_side": 0 if found.masks is None else int(found.masks.shape[-1]),
            "detections": detections,
        }

    async def failed(self, request: Request, error: Exception) -> Response:
        """Answers a request that cannot be answered."""
        if isinstance(error, RequestError):
            status, line = error.status, str(error)
        elif isinstance(error, RcnnError):
            status, line = 400, str(error)
        elif isinstance(error, HTTPException):
            status, line = error.status_code, f"{error.detail}: {request.method} {_path(request)}"
        else:
            status, line = 500, f"{type(error).__name__}: {' '.join(str(error).split())}"
            self._say_error(f"{request.method} {_path(request)!r}: {line}")
        return JSONResponse({"error": line[:2000]}, status, {"Connection": "close"})


def _parts(pattern: re.Pattern[str], request: Request) -> tuple[str | None, ...]:
    """Returns the model's name, version, label and what else an address of the pattern says.

    Raises:
        RequestError: it is of another form.
    """
    matched = pattern.fullmatch(str(request.scope["path"]))
    if not matched:
        raise RequestError(f"Malformed request: {request.method} {_path(request)}")
    return matched.groups()


def _path(request: Request) -> str:
    """Returns a request's path as a message says it.

    That of `request.url` ends at a "?" that was part of a name, and fails with a Host header that
    is no host.
    """
    path = str(request.scope["path"])[:200]
    return path if path.isprintable() else repr(path)


def _number(digits: str) -> int:
    """Returns a version's number; one that is far too large stays one that is not there."""
    return int(digits.lstrip("0")[:20] or "0")


def _unknown(name: str | None, number: str | None, label: str | None) -> RequestError:
    """Returns TensorFlow Serving's error of what is not served."""
    if label:
        return RequestError(f"Unrecognized servable version label: {label[:200]}")
    asked = f"Latest({name})" if number is None else f"Specific({name}, {number})"
    return not_found(f"Servable not found for request: {asked[:200]}")


def build_app(
    name: str,
    versions: ServedVersions,
    limits: Limits,
    say_error: Callable[[str], None],
    hosts: list[str] | None = None,
) -> Starlette:
    """Returns the application.

    Args:
        name: by which the model is addressed.
        versions: what is served.
        limits: what a request may take.
        say_error: called with a line for what is our fault.
        hosts: names by which this machine may be called, so that no page of others can have a
            browser do it by a name of its own; None is any.
    """
    endpoint = Endpoint(name, versions, limits, say_error)
    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        kind: endpoint.failed for kind in (RcnnError, HTTPException, Exception)
    }
    return Starlette(
        routes=[
            Route("/", endpoint.page),
            Route("/page/model", endpoint.page_model),
            Route("/page/detect", endpoint.page_detect, methods=["POST"]),
            Route("/{rest:path}", endpoint.get, methods=["GET"]),
            Route("/{rest:path}", endpoint.post, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)] if hosts else [],
        exception_handlers=handlers,
    )
