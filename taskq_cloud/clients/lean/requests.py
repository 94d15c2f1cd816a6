"""Requests of the lean driver: their heads, what else a client tells them, and what both protocols' answers share."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from taskq_cloud.clients.aws_waits import Waits
from taskq_cloud.clients.lean.answers import Answer, Look
from taskq_cloud.clients.lean.endpoints import Endpoint, Target
from taskq_cloud.clients.lean.signing import Keys
from taskq_cloud.core.flows import Call, CallError, Trouble

FAILED: Final = 300
"""The least status of a refusal. An answer that leads elsewhere is one, too."""

SERVICES_FAULT: Final = 500
"""The least status of a failure within the service, or in front of it."""


class Setting(NamedTuple):
    """What all requests of one client share.

    Args:
        target: where they go.
        waits: how long they may wait.
        trace: returns the trace header of the function's invocation; None: there is none.
        clock: returns the time of a signature, in seconds since the epoch.
    """

    target: Target
    waits: Waits
    trace: Callable[[], str | None] | None = None
    clock: Callable[[], float] = time.time


class Request(NamedTuple):
    """A request.

    Args:
        endpoint: where it goes.
        head: its head, as bytes.
        body: its body.
        seconds: the longest wait for the next bytes of its answer.
        read: turns an answer into the SDK's dict, or raises a ``CallError`` or ``OtherWayError``.
        look: looks at the head of the answer.
    """

    endpoint: Endpoint
    head: bytes
    body: bytes
    seconds: float
    read: Callable[[Answer], Any]
    look: Look | None = None


class Wire(Protocol):
    """Writes the requests of one service, and reads their answers."""

    def request(self, call: Call, keys: Keys) -> Request | None:
        """Write a call's request; None: the call is not for the lean driver."""
        ...


class OtherWayError(Exception):
    """The answer, which is a refusal, leads to a place that the SDK knows how to find."""


def user_agent() -> str:
    """Return the value of the header ``User-Agent``: no SDK's, and as much about the process as SDKs tell."""
    version = ".".join(map(str, sys.version_info[:3]))
    where = os.environ.get("AWS_EXECUTION_ENV", "")
    usable = where.isascii() and where.isprintable() and where
    return f"taskq-cloud os/{sys.platform} lang/python#{version}" + (f" exec-env/{where}" if usable else "")


def head_of(method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes, rest: str) -> bytes:
    """Return the head of a request.

    Args:
        method: the HTTP method.
        path: the path, encoded.
        headers: the headers that are signed, and the signature.
        body: the body.
        rest: further lines.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    length = f"Content-Length: {len(body)}\r\n" if body or method != "GET" else ""
    return f"{method} {path} HTTP/1.1\r\n{lines}{rest}{length}\r\n".encode("latin-1")


def unsigned_lines() -> str:
    """Return the lines of the headers that are the same in all requests, and no part of a signature."""
    return f"Accept-Encoding: identity\r\nUser-Agent: {user_agent()}\r\n"


def trace_line(setting: Setting) -> str:
    """Return the line with the trace header, or nothing."""
    trace = setting.trace() if setting.trace is not None else None
    return f"X-Amzn-Trace-Id: {trace}\r\n" if trace else ""


def service_error(call: Call, code: str, message: str, status: int) -> CallError:
    """Return the error for a refusal, with what it means for a retry."""
    from taskq_cloud.clients.aws_trouble import trouble_of  # few calls fail

    return CallError(call, code, message, trouble_of(code, status))


def generic_error(call: Call, answer: Answer) -> CallError | None:
    """Return the error for an answer that isn't the service's but a load balancer's; None: it is the service's."""
    body = answer.body.strip()
    if answer.status < SERVICES_FAULT or (body and not body.startswith(b"<html>")):
        return None
    return status_error(call, answer)


def status_error(call: Call, answer: Answer) -> CallError:
    """Return the error for a refusal of which nothing is known but its status."""
    from http import HTTPStatus  # few calls fail

    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    return service_error(call, str(answer.status), phrase, answer.status)


def nonsense(call: Call, error: Exception) -> CallError:
    """Return the error for an answer that can't be read."""
    code = "UnicodeDecodeError" if isinstance(error, UnicodeDecodeError) else "ResponseParserError"
    return CallError(call, code, f"the answer can't be read: {error}", Trouble.TRANSIENT)


def metadata(answer: Answer, **ids: str | None) -> dict[str, Any]:
    """Return the part of an answer about the answer itself, as the SDK has it."""
    known = {name: value for name, value in ids.items() if value is not None}
    return {**known, "HTTPStatusCode": answer.status, "HTTPHeaders": answer.headers, "RetryAttempts": 0}
