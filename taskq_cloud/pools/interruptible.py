"""Raise an exception inside a coroutine while it awaits. This enforces the time limits of coroutine functions."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

from taskq_cloud import errors

T = TypeVar("T")


class SoftTimeLimitExceeded(errors.SoftTimeLimitExceeded, asyncio.CancelledError):
    """The soft limit as a waiting coroutine gets it: also a cancellation.

    The innermost coroutine that waits is mostly a library's, and libraries expect nothing but a cancellation there. At
    another exception, an ``asyncio.Lock`` forgets to wake the next waiter, and ``asyncio.wait_for`` its subtask.
    """

    __module__ = errors.__name__


class Interruptible(Generic[T]):
    """Awaits a coroutine; ``interrupt`` raises an exception inside the coroutine, at the point where it awaits.

    asyncio can wake a waiting task early only by cancelling it, and a cancellation can't carry another exception. So
    this object stands between the asyncio task and the coroutine. It passes values and exceptions on in both
    directions, and replaces the cancellation that it asked for by the exception. A coroutine that never awaits is not
    reached.

    Args:
        coroutine: the coroutine to run.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None

    def interrupt(self, error: BaseException) -> None:
        """Raise an exception in the coroutine, unless it has ended. Call this method on the coroutine's event loop."""
        if type(error) is errors.SoftTimeLimitExceeded:
            error = SoftTimeLimitExceeded(*error.args)
        if self._task is not None and self._error is None:
            self._task.cancel()
        self._error = error

    def __await__(self) -> Generator[Any, Any, T]:
        task = self._task = asyncio.current_task()
        assert task is not None  # an asyncio task awaits this object
        raised, self._error = self._error, None
        try:
            while True:
                try:
                    awaited = self._coroutine.send(None) if raised is None else self._coroutine.throw(raised)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                raised = None
                cancellations = task.cancelling()
                try:
                    yield awaited
                except GeneratorExit:
                    self._coroutine.close()
                    raise
                except BaseException as error:  # it is meant for the coroutine
                    raised = error
                raised = self._exchange(task, raised, cancellations)
        finally:
            self._task = None
            # The exception refers to this frame, and the task may keep it as its result. If the frame referred back,
            # the coroutine's objects would live on until a garbage collection.
            del task, raised

    def _exchange(
        self, task: asyncio.Task[Any], raised: BaseException | None, cancellations: int
    ) -> BaseException | None:
        """Return the exception to raise in the coroutine after a wait, before which there were ``cancellations``."""
        if self._error is None:
            return raised
        error, self._error = self._error, None
        if task.uncancel() > cancellations and isinstance(raised, asyncio.CancelledError):
            # Somebody else cancelled the task during the wait as well. That cancellation goes first, the error follows.
            task.get_loop().call_soon(self.interrupt, error)
            return raised
        return error
