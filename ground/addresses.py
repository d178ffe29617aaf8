"""Addresses of object stores (`s3://bucket/folder`) beside the paths of a disk."""

import posixpath
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# A path of a disk, or the text of an address: a Path would make one slash of two.
Place = Path | str

_SECRET_NAMES = re.compile(r"sig|key|secret|token|password|credential", re.IGNORECASE)
_HIDDEN = "***"
# A password in which / ? or # stands as it is; what looks like a port is one.
_UNESCAPED = re.compile(r"[^:@/?#\[]*:(?!\d+(?:[/?#]|$))([^@]+)@")
# Of a limited length, for which a text of a million letters takes a second, not hours.
_SCHEME = r"[a-z][a-z0-9+.-]{0,30}://"
_IN_A_TEXT = re.compile(rf"{_SCHEME}(?:(?!{_SCHEME})[^\s\"'<>{{}}])+", re.IGNORECASE)


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
    parts = [part for part in posixpath.normpath(name).split("/") if part not in ("", ".")]
    return "/".join([str(place).rstrip("/"), *parts])


def shown_address(place: Place) -> str:
    """Returns a place for a message: an address without passwords and signatures.

    >>> shown_address("ftp://me:secret@host/x"), shown_address("https://host/x?sig=abc&v=1")
    ('ftp://me:***@host/x', 'https://host/x?sig=***&v=1')
    """
    text = str(place)
    if not is_address(text):
        return text
    for mark, secret in ((":", _password(text)), ("//", _token(text))):
        if secret:
            text = text.replace(f"{mark}{secret}@", f"{mark}{_HIDDEN}@", 1)
    before, mark, query = text.partition("?")
    return before + mark + "&".join(map(_shown_part, query.split("&")))


def shown_text(text: str) -> str:
    """Returns a text that may hold addresses, such as a setting, without their secrets.

    >>> shown_text("data.sources=[{annotations: ftp://me:secret@host/x, pictures: y}]")
    'data.sources=[{annotations: ftp://me:***@host/x, pictures: y}]'
    """
    if "://" not in text:
        return text
    return _IN_A_TEXT.sub(lambda found: shown_address(found[0]), text)


def shown_leaves(value: Any) -> Any:
    """Returns a value of JSON whose texts are as `shown_text` has them."""
    if isinstance(value, str):
        return shown_text(value)
    if isinstance(value, Mapping):
        return {key: shown_leaves(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown_leaves(item) for item in value]
    return value


def secrets_of(address: str) -> list[str]:
    """Returns the parts of an address that nobody should read, as they stand and as decoded."""
    if not is_address(address):
        return []
    parts = (part.partition("=") for part in address.partition("?")[2].split("&"))
    values = [value for name, _, value in parts if _SECRET_NAMES.search(name)]
    found = [secret for secret in (_password(address), _token(address), *values) if secret]
    return list(dict.fromkeys([*found, *map(urllib.parse.unquote, found)]))


def _password(address: str) -> str:
    """Returns the password in an address, also of one that no library can read; "" without one."""
    scheme, _, rest = address.partition("://")
    if scheme == "github":  # github://organisation:repository@branch/path
        return ""
    user, at, _ = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")
    if at:
        return user.partition(":")[2]
    unescaped = _UNESCAPED.match(rest)
    return unescaped[1] if unescaped else ""


def _token(address: str) -> str:
    """Returns what stands alone before the host of a web address, as tokens do; else ""."""
    scheme, _, rest = address.partition("://")
    user = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[0]
    return user if scheme.lower() in ("http", "https") and ":" not in user else ""


def _shown_part(part: str) -> str:
    """Returns a part of a query, without a secret's value."""
    name, _, value = part.partition("=")
    return f"{name}={_HIDDEN}" if value and _SECRET_NAMES.search(name) else part
