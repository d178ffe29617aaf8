"""Fetches the file of named weights into the cache folder, checked, whole or not at all."""

import contextlib
import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from ground.errors import ModelError
from ground.files import atomic_path
from ground.progress import Progress, say_or_log
from model.weights.named import NamedWeights, cached_path, is_name, named, where_to_put

MIRROR_VARIABLE = "TFX_RCNN_WEIGHTS_MIRROR"
_SECONDS = 30.0  # without a byte
_BLOCK_BYTES = 1 << 20
_MOST_BYTES = 4 << 30
_ALGORITHMS = {"sha256": hashlib.sha256, "md5": lambda: hashlib.md5(usedforsecurity=False)}

Say = Callable[[str], None]


def ensure_weights(
    weights: str | None, say: Say, environ: Mapping[str, str] = os.environ
) -> Path | None:
    """Returns the file that `model.weights` means; that of a name is fetched where it is missing.

    Args:
        weights: `model.weights`.
        say: gets lines: what is fetched, its size, checksum and licence, before the first byte.
        environ: may name a mirror that has the same files, TFX_RCNN_WEIGHTS_MIRROR.

    Raises:
        ModelError: there is no such name, or its file is neither here nor can be fetched whole.
    """
    if weights is None or not is_name(weights):
        return None if weights is None else Path(weights)
    entry = named(weights)
    path = cached_path(entry)
    if not path.is_file():
        _fetch(weights, entry, path, say, environ)
    return path


def _fetch(
    name: str, entry: NamedWeights, path: Path, say: Say, environ: Mapping[str, str]
) -> None:
    mirror = environ.get(MIRROR_VARIABLE, "").rstrip("/")
    url = f"{mirror}/{entry.file}" if mirror else entry.url
    if not url:
        raise ModelError(f"weights: nobody publishes {name} as a file: {where_to_put(name)}")
    try:
        with _opened(url) as answer, atomic_path(path) as partial:
            size = _stated_size(answer)
            known = entry.checksum.replace(":", " ") or "none is published"
            shown = f"{size / 1e6:,.1f} MB" if size else "of unknown size"
            say(f"weights: fetching {name}, {shown}, from {url}")
            say(f"weights: checksum {known}; licence {entry.licence}")
            progress = Progress(f"fetching {name}", size >> 20, say_or_log, "megabyte")
            read = _copy(answer, partial, progress)
            if size and read != size:
                raise ModelError(f"the connection ended after {read:,} of {size:,} bytes")
            _check(partial, entry.checksum)
    except (ModelError, OSError, HTTPException, ValueError) as error:
        raise ModelError(
            f"weights: {name} is not here, and {url} cannot be fetched ({_reason(error)}): "
            f"{where_to_put(name)}"
        ) from None
    say(f"weights: {name} is {path}")


@contextlib.contextmanager
def _opened(url: str) -> Iterator[Any]:
    if not url.startswith(("https://", "http://")):
        raise ValueError("no address of http or https")
    request = urllib.request.Request(url, headers={"User-Agent": "tfx-rcnn"})
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        yield answer


def _stated_size(answer: Any) -> int:
    text = answer.headers.get("Content-Length") or ""
    return int(text) if text.isdigit() else 0


def _copy(answer: IO[bytes], target: Path, progress: Progress) -> int:
    """Returns how many bytes were written.

    Raises:
        ModelError: there are more than any weights have.
    """
    read = 0
    with target.open("wb") as stream:
        while block := answer.read(_BLOCK_BYTES):
            read += len(block)
            if read > _MOST_BYTES:
                raise ModelError(f"more than {_MOST_BYTES >> 30} GiB came")
            stream.write(block)
            progress.reach(read >> 20)
    return read


def _check(path: Path, checksum: str) -> None:
    """Compares a file with the first digits of its checksum.

    Raises:
        ModelError: it is another file.
    """
    algorithm, _, digits = checksum.partition(":")
    if not digits:
        return
    digest = _ALGORITHMS[algorithm]()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    if not digest.hexdigest().startswith(digits):
        raise ModelError(f"what came has the {algorithm} {digest.hexdigest()}, not {digits}...")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it holds the connection
        return f"the server answered {error.code}"
    if isinstance(error, urllib.error.URLError):
        return str(getattr(error.reason, "strerror", None) or error.reason)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
