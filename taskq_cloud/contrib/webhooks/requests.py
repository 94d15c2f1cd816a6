"""One request of a webhook: what is sent, what the answer means, and whether another attempt may help."""

from __future__ import annotations

import json as json_module
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypedDict

from taskq_cloud.core.urls import without_secrets
from taskq_cloud.errors import ImproperlyConfigured, TaskQError

if TYPE_CHECKING:
    import httpx
    from standardwebhooks import Webhook

RETRIED_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The statuses after which another attempt may succeed (RFC 9110, RFC 8470 and RFC 6585)."""
LONGEST_RETRY_AFTER_SECONDS: Final = 3600.0
"""A server that asks for a longer pause is asked again after this long."""
_SHOWN_CHARACTERS: Final = 500
_KEPT_HEADERS: Final = ("content-type", "date", "etag", "last-modified", "location", "x-request-id")


class WebhookAnswer(TypedDict, total=False):
    """The result of a webhook: the server's answer.

    ``status`` is the HTTP status; ``headers`` are some of the answer's headers, by their names in small letters;
    ``json`` is the answer's content where it is JSON, and ``text`` is its content otherwise.
    """

    status: int
    headers: dict[str, str]
    json: Any
    text: str


class WebhookFailed(TaskQError):
    """A webhook that got no answer, or an answer that isn't a success.

    Args:
        reason: a sentence that names the URL without its secrets, and what is wrong.
        status: the HTTP status; None: there was no answer.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason, status)

    @property
    def reason(self) -> str:
        """The sentence that says what is wrong."""
        return str(self.args[0])

    @property
    def status(self) -> int | None:
        """The HTTP status; None: there was no answer."""
        status: int | None = self.args[1]
        return status

    def __str__(self) -> str:
        return self.reason


class RetriableFailure(WebhookFailed):
    """A failure after which another attempt may succeed.

    Attributes:
        retry_after: how many seconds the server asks to wait; None: it doesn't say.
    """

    retry_after: float | None = None


def encoded(json: Any, body: str | None) -> tuple[bytes, str | None]:
    """Return a request's content, and its Content-Type.

    Raises:
        TypeError: both are given, or ``json`` isn't JSON.
    """
    if json is not None and body is not None:
        raise TypeError("a webhook has either json or body, and not both")
    if body is not None:
        return body.encode(), "text/plain; charset=utf-8"
    if json is None:
        return b"", None
    return json_module.dumps(json, separators=(",", ":"), ensure_ascii=False).encode(), "application/json"


def signed(secret: str | None, task_id: str, content: bytes) -> dict[str, str]:
    """Return the headers of a request by the Standard Webhooks specification; without a secret, it isn't signed.

    All attempts of a task have one id, by which a receiver can tell a repeated request.

    Source: https://www.standardwebhooks.com, "Webhook metadata" and "Verifying webhook authenticity".
    """
    now = datetime.now(tz=UTC)
    headers = {"webhook-id": task_id, "webhook-timestamp": str(int(now.timestamp()))}
    if secret is not None:
        headers["webhook-signature"] = signer(secret).sign(task_id, now, content.decode())
    return headers


@lru_cache
def signer(secret: str) -> Webhook:
    """Return the signer of a secret, ``whsec_...`` or its Base64 alone.

    Raises:
        ImproperlyConfigured: the secret isn't Base64, or the package is missing.
    """
    try:
        from standardwebhooks import Webhook  # an optional requirement
        from standardwebhooks.webhooks import EmptyWebhookSecretError
    except ImportError as error:
        raise _missing() from error
    try:
        return Webhook(secret)
    except (ValueError, EmptyWebhookSecretError) as error:
        raise ImproperlyConfigured(
            "the webhook secret isn't Base64: make one with python -c "
            "\"import base64, os; print('whsec_' + base64.b64encode(os.urandom(24)).decode())\""
        ) from error


def request(
    method: str,
    url: str,
    params: Mapping[str, str] | None,
    headers: Mapping[str, str],
    content: bytes,
    timeout: float,
    most_bytes: int,
) -> WebhookAnswer:
    """Make a request, once, and return the answer.

    Raises:
        RetriableFailure: there was no answer, or another attempt may succeed.
        WebhookFailed: another attempt would fail, too.
    """
    shown = without_secrets(url)
    received = bytearray()
    with (
        _failures_of(shown),
        _client().stream(
            method, url, params=params, headers=dict(headers), content=content, timeout=timeout
        ) as response,
    ):
        for part in response.iter_bytes():
            received += part
            if len(received) > most_bytes:
                raise WebhookFailed(f"the answer of {shown} has more than {most_bytes} bytes", response.status_code)
    return _answer_of(shown, response, bytes(received))


@contextmanager
def _failures_of(url: str) -> Iterator[None]:
    """Turn the client's errors in this block into errors of a webhook."""
    import httpx

    try:
        yield
    except httpx.TransportError as error:
        raise RetriableFailure(f"{url} gave no answer: {type(error).__name__}: {error}") from error
    except (httpx.InvalidURL, ValueError) as error:
        raise WebhookFailed(f"{url} can't be called: {error}") from error


def _answer_of(url: str, response: httpx.Response, content: bytes) -> WebhookAnswer:
    """Read a success, or raise what the answer means.

    Args:
        url: the URL, without its secrets.
        response: the answer.
        content: its content.

    Raises:
        RetriableFailure: another attempt may succeed.
        WebhookFailed: another attempt would fail, too.
    """
    status = response.status_code
    text = content.decode(response.encoding or "utf-8", errors="replace")
    if response.is_success:
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        answer: WebhookAnswer = {"status": status, "headers": headers}
        if _is_json(headers.get("content-type", "")):
            try:
                return {**answer, "json": json_module.loads(text)}
            except ValueError:
                return {**answer, "text": text}
        return {**answer, "text": text}
    shown = f": {text[:_SHOWN_CHARACTERS]}" if text else ""
    if status in RETRIED_STATUSES:
        failure = RetriableFailure(f"{url} answered {status}{shown}", status)
        failure.retry_after = _retry_after(response.headers)
        raise failure
    if response.is_redirect:
        raise WebhookFailed(
            f"{url} answered {status}, a redirect to {response.headers.get('location')!r:.200}, which webhooks don't "
            "follow: call that URL, if its host is allowed",
            status,
        )
    raise WebhookFailed(f"{url} answered {status}{shown}", status)


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After: a number of seconds or a date (RFC 9110, section 10.2.3)."""
    given = headers.get("retry-after", "").strip()
    if given.isascii() and given.isdigit():
        return min(float(given[:9]), LONGEST_RETRY_AFTER_SECONDS)
    try:
        seconds = parsedate_to_datetime(given).timestamp() - time.time()
    except (TypeError, ValueError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def _client() -> httpx.Client:
    """Return the process's client, whose connections its threads share; a forked process opens its own.

    Raises:
        ImproperlyConfigured: httpx is missing.
    """
    process = os.getpid()
    if process not in _clients:
        _clients[process] = _new_client()
    return _clients[process]


_clients: Final[dict[int, httpx.Client]] = {}
"""Process id -> its client; after a fork, the parent's client is left alone."""


def _new_client() -> httpx.Client:
    try:
        import httpx
    except ImportError as error:
        raise _missing() from error
    return httpx.Client(follow_redirects=False, trust_env=True)


def _missing() -> ImproperlyConfigured:
    return ImproperlyConfigured("webhooks need two more packages: pip install 'taskq-cloud[webhooks]'")
