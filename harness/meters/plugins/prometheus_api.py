"""One question to the HTTP API of a Prometheus server, answered with data or with the reason why not.

The form of the answers is that of prometheus.io/docs/prometheus/latest/querying/api.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec

T = TypeVar("T")

TIMEOUT_S = 5.0
ANSWER_BYTES = 32 << 20
"""A longer answer than this is refused; a day of samples at 10 Hz fits."""


class Answer(msgspec.Struct, frozen=True):
    """The envelope of every answer of the HTTP API."""

    status: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    errorType: str = ""  # noqa: N815 -- the name on the wire
    error: str = ""
    warnings: tuple[str, ...] = ()


class Refusal(NamedTuple):
    """Why the server gave no data; `kind` is its own word for the error, '' where it said nothing."""

    reason: str
    kind: str = ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: the address that is recorded is the one that answered."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def answered(url: str, endpoint: str, parameters: dict[str, str]) -> msgspec.Raw | Refusal:
    """Return the data of one question to the HTTP API, or why there are none."""
    address = f"{url}/api/v1/{endpoint}?{urlencode(parameters)}"
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(address, timeout=TIMEOUT_S) as response:
            body = response.read(ANSWER_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            return _said(url, error)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        return Refusal(f"{url} does not answer: {reason}; is the server running, and reachable from here?")
    return _data(url, body)


def _data(url: str, body: bytes) -> msgspec.Raw | Refusal:
    if len(body) > ANSWER_BYTES:
        return Refusal(f"{url} answers with more than {ANSWER_BYTES >> 20} MiB; name one series, or a coarser step")
    answer = decoded(body, Answer)
    if isinstance(answer, Refusal):
        return Refusal(f"{url} does not answer as Prometheus does: {answer.reason}")
    if answer.status != "success":
        return Refusal(f"{url} says {answer.errorType}: {answer.error}", answer.errorType)
    if answer.warnings:
        return Refusal(f"{url} warns that its answer may not be whole: {'; '.join(answer.warnings)}")
    return answer.data


def _said(url: str, error: urllib.error.HTTPError) -> Refusal:
    """Return the server's own message where an error carries one."""
    if 300 <= error.code < 400:
        return Refusal(f"{url} redirects to {error.headers.get('Location')}; name the address that answers")
    try:
        answer = decoded(error.read(1 << 20), Answer)
    except (OSError, http.client.HTTPException) as broken:
        answer = Refusal(str(broken))
    if isinstance(answer, Refusal) or not answer.error:
        return Refusal(f"{url} answers {error.code} {error.reason}")
    return Refusal(f"{url} says {answer.errorType}: {answer.error}", answer.errorType)


def decoded(body: bytes | msgspec.Raw, shape: type[T]) -> T | Refusal:
    """Return JSON as the shape it should have, or what it is instead."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Refusal(f"an answer of another form than documented: {error}")
