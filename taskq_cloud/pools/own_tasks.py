"""Keeps the runs of the asyncio pool from cancelling what isn't theirs: they share one event loop with the worker.

``asyncio.all_tasks()`` is how code finds "the tasks of its loop", to wait for them or to cancel them. So the worker's
own tasks are not in it, and a run can't cancel the tasks of another run that goes on. A run is known by a context
variable, which the tasks and callbacks that the run makes inherit.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import tasks
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from taskq_cloud.core.model.outcome import Invocation

T = TypeVar("T")

logger = logging.getLogger(__name__)


class _Run:
    """One run on the loop. ``goes_on`` until its function has ended, whatever it leaves on the loop."""

    def __init__(self, invocation: Invocation) -> None:
        self.goes_on = True
        self.has_warned = False
        self._invocation = invocation

    def warn(self) -> None:
        """Log, once, that the run has tried to cancel tasks that aren't its own."""
        if self.has_warned:
            return
        self.has_warned = True
        message = self._invocation.message
        logger.warning(
            "task %s (%s) has tried to cancel tasks of the event loop that aren't its own, which go on. Let it cancel "
            "the tasks that it has made, or use --pool threads, where it has a loop of its own",
            message.task,
            message.id,
            extra={"action": "pool.foreign_cancel", "queue": self._invocation.queue, "task_id": message.id},
        )


_current_run: ContextVar[_Run | None] = ContextVar("taskq_cloud_run", default=None)


class _OwnedTask(asyncio.Task[T]):
    """An asyncio task that only its own run can cancel, or the worker, or any run once its own has ended."""

    _run: _Run | None = None

    def cancel(self, msg: Any | None = None) -> bool:
        canceller = _current_run.get()
        if canceller is not None and canceller is not self._run and (self._run is None or self._run.goes_on):
            if not self.done():
                canceller.warn()
            return False
        return super().cancel(msg)


def keep_tasks_apart(loop: asyncio.AbstractEventLoop) -> None:
    """Have the tasks that are made on a loop from now on belong to their run, or to the worker."""
    loop.set_task_factory(_make_task)


def start_run(
    coroutine: Coroutine[Any, Any, T], invocation: Invocation, name: str, on_end: Callable[[asyncio.Task[T]], object]
) -> asyncio.Task[T]:
    """Start a run on the running event loop, as an asyncio task.

    Args:
        coroutine: the run.
        invocation: what it runs.
        name: the name of the asyncio task.
        on_end: called with the asyncio task when it has ended.
    """
    run, context = _Run(invocation), copy_context()
    context.run(_current_run.set, run)
    task = asyncio.get_running_loop().create_task(coroutine, name=name, context=context)

    def end(ended: asyncio.Task[T]) -> None:
        run.goes_on = False
        on_end(ended)

    task.add_done_callback(end)
    return task


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: Context | None = None, **options: Any
) -> asyncio.Task[Any]:
    task: _OwnedTask[Any] = _OwnedTask(coroutine, loop=loop, context=context, **options)
    task._run = _current_run.get() if context is None else context.get(_current_run)  # noqa: SLF001
    if task._run is None:  # noqa: SLF001
        # For tasks that asyncio doesn't manage ("Extending", asyncio's documentation).
        tasks._unregister_task(task)  # noqa: SLF001
    return task
