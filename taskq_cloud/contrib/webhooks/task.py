"""A task that calls a URL, so that a service in any language can do a task's work, or hear of its end.

A request without an answer, and the statuses 408, 425, 429, 500, 502, 503 and 504, are retried: after the pause that
the server asks for, or after 2, 4, 8, ... seconds with jitter, at most 10 minutes. Another status that isn't a success
ends the task with ``WebhookFailed``. Redirects are not followed: an allowed host could lead to one that isn't.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.contrib.webhooks.hosts import AllowedHosts
from taskq_cloud.contrib.webhooks.requests import (
    RetriableFailure,
    WebhookAnswer,
    WebhookFailed,
    encoded,
    request,
    signed,
    signer,
)
from taskq_cloud.core.backoff import growing_delay

if TYPE_CHECKING:
    from taskq_cloud.app import TaskQ
    from taskq_cloud.bound_task import BoundTask
    from taskq_cloud.task import Task

NAME: Final = "taskq.webhook"
FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 600.0


def webhook_task(
    app: TaskQ,
    *,
    hosts: Collection[str],
    name: str = NAME,
    secret: str | None = None,
    timeout: float = 30.0,
    most_bytes: int = 256 * 1024,
    http: bool = False,
    max_retries: int = 8,
    **options: Any,
) -> Task[..., WebhookAnswer]:
    """Declare a task that calls a URL: ``task.delay("https://api.example.com/orders", json={"id": 5})``.

    Args:
        app: the application.
        hosts: the hosts that may be called: ``"api.example.com"``, ``"*.example.com"``, ``"api.example.com:8443"``.
        name: the task's name.
        secret: signs the requests by the Standard Webhooks specification: ``whsec_`` and Base64. None: not signed.
        timeout: the longest wait for the connection and for each part of the answer, in seconds.
        most_bytes: the largest answer; a longer one fails the task.
        http: whether ``http://`` URLs are allowed.
        max_retries: the most retries.
        options: further options of the task.

    Raises:
        ImproperlyConfigured: ``hosts`` has no host or a wrong one, the secret isn't Base64, or a package is missing.
    """
    calls = _Calls(AllowedHosts(hosts, http=http), secret, timeout, most_bytes)
    if secret is not None:
        signer(secret)

    def webhook(
        task: BoundTask,
        url: str,
        *,
        method: str = "POST",
        json: Any = None,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> WebhookAnswer:
        """Call a URL with a JSON value, a text or no content, and return the answer."""
        try:
            return calls.make(str(task.request.id), method, url, encoded(json, body), headers or {}, params)
        except RetriableFailure as failure:
            final = WebhookFailed(failure.reason, failure.status)
            raise task.retry(exc=final, countdown=pause_seconds(failure, task.request.retries)) from failure

    return app.task(name=name, bind=True, max_retries=max_retries, **options)(webhook)


@dataclass(frozen=True, slots=True)
class _Calls:
    """How a task calls URLs: see ``webhook_task``."""

    allowed: AllowedHosts
    secret: str | None
    timeout: float
    most_bytes: int

    def make(
        self,
        task_id: str,
        method: str,
        url: str,
        content: tuple[bytes, str | None],
        headers: Mapping[str, str],
        params: Mapping[str, str] | None,
    ) -> WebhookAnswer:
        self.allowed.check(url)
        body, content_type = content
        sent = {"user-agent": "taskq-cloud", **({} if content_type is None else {"content-type": content_type})}
        sent |= {key.lower(): value for key, value in headers.items()}
        sent |= signed(self.secret, task_id, body)
        return request(method, url, params, sent, body, self.timeout, self.most_bytes)


def pause_seconds(failure: RetriableFailure, retries: int) -> float:
    """How long to wait before the next attempt: as long as the server asks, or longer with each retry, with jitter."""
    if failure.retry_after is not None:
        return failure.retry_after
    longest = growing_delay(retries + 1, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    return random.uniform(longest / 2, longest)
