"""Addresses of object stores (`s3://bucket/folder`) beside the paths of a disk."""

import re
import urllib.parse
from pathlib import Path

# A path of a disk, or the text of an address: a Path would make one slash of two.
Place = Path | str

_SECRET_NAMES = re.compile(r"sig|key|secret|token|password|credential", re.IGNORECASE)
_HIDDEN = "***"


def is_address(place: Place) -> bool:
    """Tells an address from a path."""
    return isinstance(place, str) and "://" in place


def place_of(text: Place) -> Place:
    """Returns an address without slashes at its end, or a path."""
    return text.rstrip("/") if isinstance(text, str) and is_address(text) else Path(text)


def absolute(place: Place) -> Place:
    """Returns an address as it is, or an absolute path."""
    return place if is_address(place) else Path(place).absolute()


def below(place: Place, name: str) -> Place:
    """Returns the place of a name in a folder; an address, or an absolute path, stays as it is.

    >>> below("s3://bucket/coco", "train/labels.json"), below(Path("coco"), "s3://other/x")
    ('s3://bucket/coco/train/labels.json', 's3://other/x')
    """
    if is_address(name):
        return name.rstrip("/")
    if not is_address(place):
        return Path(place) / name
    if name.startswith("/"):
        return Path(name)
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/".join([str(place).rstrip("/"), *parts])


def shown_address(place: Place) -> str:
    """Returns a place for a message: an address without passwords and signatures.

    >>> shown_address("ftp://me:secret@host/x"), shown_address("https://host/x?sig=abc&v=1")
    ('ftp://me:***@host/x', 'https://host/x?sig=***&v=1')
    """
    text = str(place)
    for secret in secrets_of(text):
        text = text.replace(secret, _HIDDEN)
    return text


def secrets_of(address: str) -> list[str]:
    """Returns the parts of an address that nobody should read."""
    if not is_address(address):
        return []
    try:
        url = urllib.parse.urlsplit(address)
        found = [url.password] if url.password else []
    except ValueError:
        return []
    for part in url.query.split("&"):
        name, _, value = part.partition("=")
        if value and _SECRET_NAMES.search(name):
            found.append(value)
    return found
