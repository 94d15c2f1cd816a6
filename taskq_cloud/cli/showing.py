"""How results are waited for and shown: what ``taskq call`` and ``taskq result`` share."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from taskq_cloud import errors
from taskq_cloud.app import TaskQ
from taskq_cloud.core import serializers
from taskq_cloud.core.records import record
from taskq_cloud.errors import ImproperlyConfigured, RemoteError
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.results.state import TaskState

SUCCEEDED: Final = 0
FAILED: Final = 1
NOT_ENDED: Final = 2


def require_store(app: TaskQ) -> None:
    """Say so before anything is sent, or asked for in vain.

    Raises:
        ImproperlyConfigured: the application keeps no results.
    """
    if not app.store.capabilities.keeps_records:
        raise ImproperlyConfigured(
            "the application keeps no results: set TASKQ_RESULTS, or --results, for example to dynamodb://my-table"
        )


def wait_for(result: AsyncResult[Any], seconds: float) -> TaskState:
    """The task's state when it has ended, or after so many seconds."""
    with suppress(errors.TimeoutError):  # how far it has come is the answer then
        result.get(timeout=seconds, propagate=False)
    return result.load()


def value_of(state: TaskState) -> str:
    """A value as JSON text, an exception as its class and text."""
    if not isinstance(state.result, BaseException):
        return serializers.dumps(state.result)
    if isinstance(state.result, RemoteError):
        return str(state.result)
    return f"{type(state.result).__name__}: {state.result}"


def exit_code(state: TaskState) -> int:
    """What a command exits with that was asked for this state."""
    if state.state == record.SUCCESS:
        return SUCCEEDED
    return FAILED if state.ready else NOT_ENDED
