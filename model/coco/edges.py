"""The two ends of a JSON file as text, without what lies between: a look that takes no time."""

import codecs
import json
from pathlib import Path

_BYTE_ORDERS = (  # those of UTF-32 first: one begins as one of UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)


def read_edges(path: Path, length: int) -> tuple[str, str]:
    """Returns the text of so many bytes at the beginning of a JSON file, and at its end.

    Args:
        path: the file, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark, as PowerShell
            and Excel write them; what is none of these has characters in place of it.
        length: bytes, a multiple of four.
    """
    with open(path, "rb") as stream:
        head = stream.read(length)
        start = max(0, path.stat().st_size - length)
        stream.seek(start - start % 4)  # where a character of UTF-16 or UTF-32 starts
        tail = stream.read()
    encoding = marked_encoding(head) or json.detect_encoding(head[:8])
    first, last = (part.decode(encoding, "replace").lstrip("\ufeff") for part in (head, tail))
    return first, last


def marked_encoding(head: bytes) -> str | None:
    """Returns the encoding of a file whose first bytes are a byte order mark; else None.

    It says its byte order, as the end of a file has no mark.
    """
    return next((encoding for mark, encoding in _BYTE_ORDERS if head.startswith(mark)), None)
