"""What an answer of Kubeflow Pipelines looks like, and what answers in its place mean.

A proxy before the service answers 200 with a login page, or sends the browser to one; another
service answers with JSON of its own. Errors are those of its gateway, `{code, message, details}`,
of the uploads, `{error_message, error_details}`, or plain text and pages of proxies.

    ServiceError
    ├── Unreachable   nothing was sent
    ├── NoAnswer      something was sent, and may or may not have been done
    └── Refusal       the service answered with an error
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from ground.errors import ServiceError
from pipeline.kubeflow.api.connection import HOW_TO_LOG_IN

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TITLE = re.compile(r"<title[^>]*>([^<]{1,80})", re.IGNORECASE)
_LOGIN = re.compile(r"dex|oauth|openid|saml|sso|login|signin|sign_in|auth", re.IGNORECASE)
_LONGEST_QUOTE = 80
_LONGEST_MESSAGE = 300
_TEMPORARY = (429, 502, 503, 504)
INTERNAL = 500


class Unreachable(ServiceError):
    """The service could not be reached: nothing was sent."""

    def __init__(self, message: str, is_temporary: bool) -> None:
        super().__init__(message)
        self.is_temporary = is_temporary


class NoAnswer(ServiceError):
    """The connection broke, or the service took too long; what was sent may have been done."""

    def __init__(self, message: str, is_slow: bool) -> None:
        super().__init__(message)
        self.is_slow = is_slow


class Refusal(ServiceError):
    """An answer with the status of an error."""

    def __init__(self, message: str, status: int, said: str, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.said, self.wait_seconds = status, said, wait_seconds

    @property
    def is_temporary(self) -> bool:
        """Whether trying again can help, and the service did not do it."""
        return self.status in _TEMPORARY


def read_answer(host: str, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Returns the object that the service answered with.

    Args:
        host: what was asked.
        status: status of the answer.
        headers: its headers.
        body: its body.

    Raises:
        Refusal: it says that something is wrong.
        ServiceError: it is not one of Kubeflow Pipelines: a page, a redirect, no JSON object.
    """
    if 300 <= status < 400:
        raise ServiceError(_redirected(host, headers.get("Location", "")))
    text = body.decode("utf-8", "replace").strip()
    is_page = text.startswith("<") or "html" in headers.get("Content-Type", "").lower()
    if not 200 <= status < 300:
        raise _refusal(host, status, headers, text, is_page)
    if is_page:
        raise ServiceError(
            f"{host}: answered with a web page{_title(text)}, as a login does: log in: "
            f"{HOW_TO_LOG_IN}; or give the address of the service itself, such as "
            "https://kubeflow.my.org/pipeline"
        )
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        quote = " ".join(text.split())[:_LONGEST_QUOTE]
        raise ServiceError(
            f"{host}: answered with {quote!r}, which Kubeflow Pipelines does not: is this its "
            "address?"
        )
    return value


def _title(page: str) -> str:
    title = _TITLE.search(page)
    return f" ({' '.join(title[1].split())!r})" if title else ""


def _redirected(host: str, location: str) -> str:
    """Returns what a redirect means; it is not followed, since the token would go along."""
    try:
        target = urljoin(f"{host}/", location)
        there, here = urlsplit(target), urlsplit(host)
    except ValueError:
        return f"{host}: redirects to {location[:_LONGEST_QUOTE]!r}, which is no address"
    place = f"{there.scheme}://{there.netloc.rpartition('@')[2]}{there.path}"[:200]
    if _LOGIN.search(f"{there.netloc}{there.path}") or there.hostname != here.hostname:
        return f"{host}: redirects to {place}: log in: {HOW_TO_LOG_IN}"
    return f"{host}: redirects to {place}: give --host the address that it is at now"


def _refusal(
    host: str, status: int, headers: Mapping[str, str], text: str, is_page: bool
) -> Refusal:
    said, is_own = _said(text, is_page)
    wait = headers.get("Retry-After", "")
    return Refusal(
        f"{host}: {_advice(status, said, is_own)}",
        status,
        said,
        float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 5 else 0.0,
    )


def _said(text: str, is_page: bool) -> tuple[str, bool]:
    """Returns what an error's body says, and whether it is in Kubeflow's own form."""
    if is_page:
        return f"a web page{_title(text)}", False
    try:
        body = json.loads(text)
        details = body.get("details") or [{}]
        # The gateway's own message names every function on the way, the detail what matters.
        said = details[0].get("message") if isinstance(details, list) else ""
        said = said or body.get("error_message") or body.get("message") or body.get("error") or ""
        said = said.get("message", "") if isinstance(said, dict) else said
        is_own = "code" in body or "error_message" in body
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError):
        said, is_own = text, False
    return " ".join(str(said).split())[:_LONGEST_MESSAGE] or "without a word", is_own


def _advice(status: int, said: str, is_own: bool) -> str:
    """Returns what went wrong and what to do about it."""
    if status == 401:
        return f"401, not allowed ({said}): {HOW_TO_LOG_IN}"
    if status == 403 and is_own:
        return f"403, not allowed ({said}): ask for the right, or name another --namespace"
    if status == 403:
        return f"403, not allowed ({said}): {HOW_TO_LOG_IN}"
    if status == 404 and not is_own:
        return f"404 ({said}): is this the address of Kubeflow Pipelines?"
    if status == 404:
        return f"404 ({said}): there is no such thing, or no longer"
    if status == 400 and "namespace" in said.lower():
        return f"the service refused with 400 ({said}): give --namespace"
    if status == 429:
        return f"429, asked too often ({said}): try again later"
    if status >= 500:
        return f"the service failed with {status} ({said}): its log says more; try again later"
    return f"the service refused with {status} ({said})"


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
