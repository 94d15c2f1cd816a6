"""Wait for a task, print its value and choose the exit code, for ``taskq call`` and ``taskq result``."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from taskq_cloud import errors
from taskq_cloud.app import TaskQ
from taskq_cloud.core import serializers
from taskq_cloud.core.records import record
from taskq_cloud.core.records.document import error_of
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.results.state import TaskState

SUCCEEDED: Final = 0
FAILED: Final = 1
NOT_ENDED: Final = 2


def require_store(app: TaskQ) -> None:
    """Check that the application stores results, before a command sends a task or asks for a result.

    Raises:
        ImproperlyConfigured: the application stores no results.
    """
    if not app.store.capabilities.keeps_records:
        raise ImproperlyConfigured(
            "the application stores no results: set TASKQ_RESULTS, or add --results, for example "
            "--results dynamodb://my-table"
        )


def wait_for(result: AsyncResult[Any], seconds: float) -> TaskState:
    """Wait until a task has ended, for at most ``seconds``, and return its state."""
    with suppress(errors.TimeoutError):  # then the state that the task has reached is returned
        result.get(timeout=seconds, propagate=False)
    return result.load()


def value_text(state: TaskState) -> str:
    """Return the text of a task's value: JSON, or the class and message of its exception."""
    if not isinstance(state.result, BaseException):
        return serializers.strict(serializers.dumps(state.result))
    error = error_of(state.document)
    return f"{type(state.result).__name__}: {state.result}" if error is None else error.summary


def exit_code(state: TaskState) -> int:
    """Return the exit code of a command that was asked about a task in this state."""
    if state.state == record.SUCCESS:
        return SUCCEEDED
    return FAILED if state.ready else NOT_ENDED
