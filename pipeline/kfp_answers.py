"""What an answer of Kubeflow Pipelines looks like, and what answers in its place mean.

A proxy before the service answers 200 with a login page, or sends the browser to one; another
service answers with JSON of its own. kfp's client makes an object without ids of all of them.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from configs.errors import ServiceError

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TITLE = re.compile(r"<title[^>]*>([^<]{1,80})", re.IGNORECASE)
_LOGIN = re.compile(r"dex|oauth|openid|saml|sso|login|signin|sign_in|auth", re.IGNORECASE)
_LONGEST_QUOTE = 80


def check_answer(
    host: str, status: int, headers: Mapping[str, str], body: bytes, how_to_log_in: str
) -> None:
    """Checks that an answer may be one of Kubeflow Pipelines: no page, no redirect, a JSON object.

    Errors (4xx, 5xx) pass: what they say is told elsewhere.

    Args:
        host: what was asked.
        status: of the answer.
        headers: likewise.
        body: likewise.
        how_to_log_in: for the message.

    Raises:
        ServiceError: it is none; with the login page or the address that it points to.
    """
    if 300 <= status < 400:
        raise ServiceError(_redirected(host, headers.get("Location", ""), how_to_log_in))
    if not 200 <= status < 300:
        return
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("<") or "html" in headers.get("Content-Type", "").lower():
        title = _TITLE.search(text)
        named = f" ({' '.join(title[1].split())!r})" if title else ""
        raise ServiceError(
            f"{host}: answered with a web page{named}, as a login does: log in: {how_to_log_in}; "
            "or give the address of the service itself, such as https://kubeflow.my.org/pipeline"
        )
    try:
        is_object = isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        quote = " ".join(text.split())[:_LONGEST_QUOTE]
        raise ServiceError(
            f"{host}: answered with {quote!r}, which Kubeflow Pipelines does not: is this its "
            "address?"
        )


def _redirected(host: str, location: str, how_to_log_in: str) -> str:
    """Returns what a redirect means; it is not followed, since the token would go along."""
    try:
        target = urljoin(f"{host}/", location)
        there, here = urlsplit(target), urlsplit(host)
    except ValueError:
        return f"{host}: redirects to {location[:_LONGEST_QUOTE]!r}, which is no address"
    place = f"{there.scheme}://{there.netloc}{there.path}"[:200]
    if _LOGIN.search(f"{there.netloc}{there.path}") or there.hostname != here.hostname:
        return f"{host}: redirects to {place}: log in: {how_to_log_in}"
    return f"{host}: redirects to {place}: give --host the address that it is at now"


def checked_id(host: str, what: str, value: Any) -> str:
    """Returns an id that the service gave.

    Raises:
        ServiceError: it is none, so nothing may have been stored.
    """
    if isinstance(value, str) and _UUID.fullmatch(value):
        return value
    got = "no id" if value is None else f"the id {str(value)[:_LONGEST_QUOTE]!r}"
    raise ServiceError(
        f"{host}: answered with {got} of the {what}, so it is not known to be stored: is this the "
        "address of Kubeflow Pipelines? Look there before repeating it"
    )
