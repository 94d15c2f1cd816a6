"""The task that runs in this context, and its request, as the native runner knows them."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.core.execution.run_context import current_invocation

if TYPE_CHECKING:
    from taskq_cloud.celery.app.context import Context
    from taskq_cloud.core.model.outcome import Invocation

_run: Final[ContextVar[tuple[Invocation, Any, Context] | None]] = ContextVar("taskq_celery_run", default=None)


def begin(task: Any, invocation: Invocation) -> Context:
    """Note which task a run is of, and return the request of the run: one object for the whole run."""
    known = _run.get()
    if known is not None and known[0] is invocation:
        return known[2]
    from taskq_cloud.celery.app.context import context_of  # a process that only calls tasks runs none

    request = context_of(invocation)
    _run.set((invocation, task, request))
    return request


def running_task() -> Any:
    """Return the task that runs in this context; None outside a task."""
    run = _current()
    return None if run is None else run[1]


def running_request(task: Any) -> Context | None:
    """Return the request of the run in this context if it is a run of this task; otherwise None."""
    run = _current()
    return run[2] if run is not None and run[1].name == task.name else None


def _current() -> tuple[Invocation, Any, Context] | None:
    invocation, run = current_invocation.get(), _run.get()
    return run if invocation is not None and run is not None and run[0] is invocation else None
