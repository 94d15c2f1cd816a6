"""The options of tasks, calls and retries as keyword arguments, for type checkers.

``core.model.options`` and ``calling.options`` explain each option.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, TypedDict

RuntimeChoice: TypeAlias = Literal["auto", "container", "lambda"]
RateLimitScope: TypeAlias = Literal["task", "queue", "worker"]

Seconds: TypeAlias = "float | timedelta"
"""A duration, as users write it."""
Exceptions: TypeAlias = "type[BaseException] | Iterable[type[BaseException]]"
"""One class of exceptions, or several."""


class TaskKeywords(TypedDict, total=False):
    """The options of ``@app.task`` as keyword arguments; ``TaskOptions`` explains each of them."""

    acks_late: bool | None
    acks_on_failure: bool | None
    acks_on_timeout: bool | None
    acks_on_failure_or_timeout: bool | None
    max_retries: int | None
    default_retry_delay: Seconds
    autoretry_for: Exceptions
    dont_autoretry_for: Exceptions
    retry_kwargs: Mapping[str, Any]
    retry_backoff: bool | Seconds
    retry_backoff_max: Seconds
    retry_jitter: bool
    time_limit: Seconds | None
    soft_time_limit: Seconds | None
    ignore_result: bool | None
    store_errors_even_if_ignored: bool | None
    store_eager_result: bool | None
    track_started: bool | None
    throws: Exceptions
    reject_on_worker_lost: bool
    once: bool
    queue: str | None
    serializer: str | None
    compression: str | None
    priority: int | None
    typing: bool
    typed: bool
    pydantic: bool
    pydantic_strict: bool
    pydantic_context: Mapping[str, Any] | None
    pydantic_dump_kwargs: Mapping[str, Any] | None
    trail: bool
    runtime: RuntimeChoice
    memory_mb: int | None
    rate_limit: str | float | None
    rate_limit_burst: int | None
    rate_limit_scope: RateLimitScope
    rate_key: str | None
    expires: Seconds | None


class DeliveryKeywords(TypedDict, total=False):
    """The options that ``apply_async`` and a retry share, as keyword arguments."""

    countdown: Seconds | None
    eta: datetime | None
    expires: Seconds | datetime | None
    queue: str | None
    ignore_result: bool | None
    time_limit: Seconds | None
    soft_time_limit: Seconds | None
    serializer: str | None
    compression: str | None
    headers: Mapping[str, Any] | None
    priority: int | None
    shadow: str | None
    argsrepr: str | None
    kwargsrepr: str | None
    MessageGroupId: str | None
    message_attributes: Mapping[str, str] | None
    trace_header: str | None


class RetryKeywords(DeliveryKeywords, total=False):
    """The arguments of a retry as keyword arguments."""

    max_retries: int | None
