"""The task that runs in this context, and its request, as the native runner knows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.core.execution.run_context import changed_embed, current_invocation

if TYPE_CHECKING:
    from taskq_cloud.celery.app.context import Context
    from taskq_cloud.core.model.outcome import Invocation

in_place_request: Final[ContextVar[Mapping[str, Any] | None]] = ContextVar("taskq_celery_in_place", default=None)
"""The id of the task that is to run in place, and attributes of its request that its message has no place for."""


class _Run:
    """A run in this context, and the run within which it was begun."""

    __slots__ = ("has_ended", "invocation", "outer", "request", "task")

    def __init__(self, invocation: Invocation, task: Any, request: Context, outer: _Run | None) -> None:
        self.invocation, self.task, self.request, self.outer = invocation, task, request, outer
        self.has_ended = False


_run: Final[ContextVar[_Run | None]] = ContextVar("taskq_celery_run", default=None)


def begin(task: Any, invocation: Invocation) -> Context:
    """Note which task a run is of, and return the request of the run: one object for the whole run."""
    known = _run_of(invocation)
    if known is not None:
        return known.request
    from taskq_cloud.celery.app.context import context_of  # a process that only calls tasks runs none

    request = context_of(invocation)
    _run.set(_Run(invocation, task, request, _outer()))
    return request


@contextmanager
def function_of(invocation: Invocation) -> Iterator[None]:
    """Note when the function of a run has ended, and what its task has changed of what follows it.

    The hooks that are called after it still find the run.
    """
    try:
        yield
    finally:
        run = _run_of(invocation)
        if run is not None:
            run.has_ended = True
            _note_changes(run)


def _note_changes(run: _Run) -> None:
    """Let the native pipeline know of the request's signatures that the task has changed."""
    from taskq_cloud.celery.app.context import changed_embed_of  # a process that only calls tasks runs none

    embed = changed_embed_of(run.request, run.invocation.message, run.task)
    if embed is not None:
        changed_embed.set((run.invocation, embed))


def arguments_of(task: Any, request: Context, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return the arguments that a task's function gets.

    Args:
        task: the task.
        request: the request, whose arguments a receiver of ``task_prerun`` or ``before_start`` may have changed.
        args: the positional arguments that the native runner passes.
        kwargs: the keyword arguments that it passes.
    """
    from taskq_cloud.celery.app.context import changed_arguments  # a process that only calls tasks runs none

    run = _current()
    if run is None or run.invocation.failed is not None or run.invocation.message.task != task.name:
        return args, kwargs
    changed = changed_arguments(request)
    return (args if changed[0] is None else changed[0]), (kwargs if changed[1] is None else changed[1])


def end(invocation: Invocation) -> None:
    """Note that the function of a run has ended, or won't be called."""
    run = _run_of(invocation)
    if run is not None:
        run.has_ended = True


def running_task() -> Any:
    """Return the task that runs in this context; None outside a task."""
    run = _current()
    return None if run is None else run.task


def running_request(task: Any) -> Context | None:
    """Return the request of the run in this context if it is a run of this task; otherwise None."""
    run = _current()
    return run.request if run is not None and run.task.name == task.name else None


def _current() -> _Run | None:
    invocation = current_invocation.get()
    return None if invocation is None else _run_of(invocation)


def _run_of(invocation: Invocation) -> _Run | None:
    run = _run.get()
    while run is not None and run.invocation is not invocation:
        run = run.outer
    return run


def _outer() -> _Run | None:
    """The last run in this context. Runs before it are forgotten, but for those within which it was begun."""
    last = _run.get()
    if last is not None:
        outer = last.outer
        while outer is not None and outer.has_ended:
            outer = outer.outer
        last.outer = outer
    return last
