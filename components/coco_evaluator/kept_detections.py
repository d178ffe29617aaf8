"""Detections that are kept, so that a changed threshold costs no inference.

A file's first line holds the digest of the rest, so that one that was cut short or edited is seen
before a byte of it is believed.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from ground.files import atomic_path
from ground.outputs import Paths, growing_folder

_MODEL = re.compile(r"[0-9a-f]{64}")
_HEAD = b'{"sha256": "%s", "detections":'
_TAIL = b"}\n"


def claim_detections_dir(folder: str | os.PathLike[str], inputs: Paths) -> None:
    """Notes that detections are kept in a folder, which is made.

    Raises:
        OutputError: it is or lies in an input, or holds something else.
    """
    growing_folder(folder, "detections", [], inputs, "--detections-dir", is_earlier=_is_earlier)


def _is_earlier(folder: Path) -> bool:
    """Returns whether a folder without a record holds nothing but folders named by models."""
    return all(_MODEL.fullmatch(path.name) and path.is_dir() for path in folder.iterdir())


def read_kept(path: Path) -> list[dict[str, Any]] | None:
    """Returns the detections in a file; None where there is none, or it is damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logging.warning("%s: kept detections cannot be read (%s): measured anew", path, error)
        return None
    body = content[len(_HEAD % (b"0" * 64)) : -len(_TAIL)]
    if content != _content(body):
        logging.warning("%s: kept detections are damaged: measured anew", path)
        return None
    found: list[dict[str, Any]] = json.loads(body)
    return found


def write_kept(path: Path, detections: Sequence[dict[str, Any]]) -> None:
    """Writes detections so that `read_kept` returns them, atomically."""
    with atomic_path(path) as partial:
        partial.write_bytes(_content(detections_text(detections).encode()))


def _content(body: bytes) -> bytes:
    return _HEAD % hashlib.sha256(body).hexdigest().encode() + body + _TAIL


def detections_text(detections: Sequence[dict[str, Any]]) -> str:
    """Returns the JSON of detections in COCO's results form, one a line."""
    lines = (json.dumps(d, separators=(",", ":"), allow_nan=False) for d in detections)
    return "[" + ",".join("\n" + line for line in lines) + "\n]\n"


def write_detections(path: str | os.PathLike[str], detections: Sequence[dict[str, Any]]) -> None:
    """Writes detections in COCO's results form, one a line, atomically."""
    with atomic_path(path) as partial:
        partial.write_text(detections_text(detections), encoding="utf-8")
