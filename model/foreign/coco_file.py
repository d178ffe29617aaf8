"""Writes COCO files of ours, which are known again until somebody changes them."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from ground.files import atomic_path
from ground.outputs import MARK, check_file

_TAIL = b',\n"written_by": {"program": "tfx-rcnn", "sha256": "'
_END = b'"}}\n'
_TAIL_BYTES = len(_TAIL) + 64 + len(_END)


def write_coco(path: Path, about: str, lists: Iterable[tuple[str, Iterable[str]]]) -> None:
    """Writes a COCO file; its end has a digest of all before it.

    Args:
        path: the file.
        about: what it is made of, for its `info`.
        lists: key of each list, and its entries as JSON texts, which are written as they come.

    Raises:
        OutputError: there is a file that is not as we wrote it.
    """
    check_file(path, [], is_ours=is_as_written)
    digest = hashlib.sha256()
    with atomic_path(path) as partial, partial.open("wb") as stream:

        def put(text: str) -> None:
            content = text.encode("utf-8", "surrogatepass")
            digest.update(content)
            stream.write(content)

        put(f'{{"info": {json.dumps({"description": f"{MARK}: {about}"})}')
        for key, entries in lists:
            put(f',\n"{key}": [')
            for place, entry in enumerate(entries):
                put(f"{',' if place else ''}\n{entry}")
            put("]")
        stream.write(_TAIL + digest.hexdigest().encode() + _END)


def is_as_written(path: Path) -> bool:
    """Returns whether a file is one that `write_coco` wrote, and unchanged since."""
    size = path.stat().st_size
    if size < _TAIL_BYTES:
        return False
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        stream.seek(size - _TAIL_BYTES)
        tail = stream.read()
        if not tail.startswith(_TAIL):
            return False
        stream.seek(0)
        left = size - _TAIL_BYTES
        while left and (block := stream.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return tail == _TAIL + digest.hexdigest().encode() + _END
