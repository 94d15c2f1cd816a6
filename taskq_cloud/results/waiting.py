"""Waiting for results: how often the store is looked at, and who may wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from taskq_cloud.core.execution.runner import current_invocation
from taskq_cloud.errors import ImproperlyConfigured

FIRST_POLL_SECONDS: Final = 0.02
POLL_GROWTH: Final = 1.5

_joins_allowed: Final[ContextVar[bool]] = ContextVar("taskq_joins_allowed", default=False)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Let ``get`` wait inside a task, as far as this reaches: for those who know that another worker is free."""
    token = _joins_allowed.set(True)
    try:
        yield
    finally:
        _joins_allowed.reset(token)


def refuse_inside_a_task(disable_sync_subtasks: bool) -> None:
    """Raise ``RuntimeError`` where waiting could block every worker for good."""
    if disable_sync_subtasks and current_invocation.get() is not None and not _joins_allowed.get():
        raise RuntimeError(
            "get() inside a task waits for a worker that may be waiting for this one: pass the value on instead, "
            "or say disable_sync_subtasks=False, or wait within allow_join_result()"
        )


def refuse_on_message(on_message: Any) -> None:
    """Raise ``ImproperlyConfigured`` for what only Celery's backends of messages can do."""
    if on_message is not None:
        raise ImproperlyConfigured("on_message: no result store sends messages; on_interval is called at each look")


def pauses(longest: float) -> Iterator[float]:
    """Seconds between looks at the store, growing up to ``longest``, without end."""
    pause = min(FIRST_POLL_SECONDS, longest)
    while True:
        yield pause
        pause = min(pause * POLL_GROWTH, longest)
