"""Time limits inside a Lambda function: one process, one thread, and a moment at which it is cut off.

The timer of the process raises in the task: ``SoftTimeLimitExceeded`` once, ``TimeLimitExceeded`` every second until
the task ends, and ``OutOfTime`` in whatever runs when the invocation must be answered. Only C code that never comes
back to the interpreter, and a loop that catches ``BaseException``, escape that; the function's own timeout then ends
the process, and the whole batch returns.

A task whose hard limit is its own comes to ``TimedOut``. A task that the end of the function's time stops comes to
``Lost``: its message comes back with a growing delay, and on its last receive its failure is recorded.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import signal
import threading
import time
import weakref
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Generic, TypeVar

from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.model.outcome import ErrorInfo, Failed, Invocation, Lost, Outcome, TimedOut
from taskq_cloud.errors import SoftTimeLimitExceeded, TimeLimitExceeded

T = TypeVar("T")
logger = logging.getLogger("taskq_cloud.serverless")

TIME_LIMIT_REPEAT_SECONDS: Final = 1.0
OUT_OF_TIME_REPEAT_SECONDS: Final = 0.1


class OutOfTime(BaseException):
    """The invocation must be answered now. No ``Exception``, so that a task's ``except Exception`` lets it through."""


_SEVEREST_FIRST: Final = (OutOfTime, TimeLimitExceeded, SoftTimeLimitExceeded)


class TimeKeeper:
    """Keeps the time of a function's invocations, one after the other. Outside the main thread it can't interrupt."""

    def __init__(self) -> None:
        self._due_at: dict[type[BaseException], float] = {}
        self._past_hard_limit = False
        self._running = False
        self._warned = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._coroutine: _Interruptible[Outcome] | None = None

    @contextmanager
    def invocation(self, seconds: float) -> Iterator[None]:
        """Raise ``OutOfTime`` in the block once it has taken so long; infinity: never."""
        if not _can_interrupt():
            if not self._warned:
                self._warned = True
                logger.warning(
                    "time limits are not kept here: only the main thread of a POSIX process can be interrupted",
                    extra={"action": "lambda.no_limits"},
                )
            yield
            return
        began = time.monotonic()
        previous_handler = signal.signal(signal.SIGALRM, self._on_alarm)
        previous_seconds, previous_interval = signal.setitimer(signal.ITIMER_REAL, 0)
        self._due_at = {OutOfTime: began + seconds}
        try:
            self._set_timer()
            yield
        finally:
            self._due_at = {}
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous_handler)
            if previous_seconds:
                rest = previous_seconds - (time.monotonic() - began)
                signal.setitimer(signal.ITIMER_REAL, max(rest, 0.001), previous_interval)

    def run(self, runner: TaskRunner, invocation: Invocation, seconds_left: float) -> Outcome:
        """Run a task within its limits.

        Args:
            runner: runs its function.
            invocation: the run; its limits count.
            seconds_left: after which it is stopped, whatever its own limit.

        Raises:
            OutOfTime: it could not be stopped in time.
        """
        limit = invocation.time_limit
        outcome: Outcome | None = None
        try:
            try:
                self._limit(invocation.soft_time_limit, seconds_left if limit is None else min(limit, seconds_left))
                outcome = self._call(runner, invocation)
            finally:
                self._unlimit()
        except OutOfTime:
            raise
        except BaseException as error:  # every run has an outcome
            # With an outcome, the alarm came between the task's end and the timer's: the task is none the worse.
            outcome = outcome or self._stopped(error, limit, seconds_left)
            self._unlimit()
        return outcome

    def _call(self, runner: TaskRunner, invocation: Invocation) -> Outcome:
        # Context variables that a task sets are gone afterwards.
        context = contextvars.copy_context()
        if not runner.is_async(invocation.message.task):
            return context.run(runner.run, invocation)
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            weakref.finalize(self, self._loop.close).atexit = False
        self._coroutine = _Interruptible(runner.arun(invocation))
        try:
            ended = self._loop.run_until_complete(self._loop.create_task(_end_of(self._coroutine), context=context))
        finally:
            self._coroutine = None
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def _stopped(self, error: BaseException, limit: float | None, seconds_left: float) -> Outcome:
        match error:
            case TimeLimitExceeded() if self._past_hard_limit:
                if limit is not None and limit <= seconds_left:
                    return TimedOut(limit)
                return Lost(f"the function's time was over after {seconds_left:.1f} s; the task needs more")
            case SystemExit():
                return Lost(f"exit code {error.code if isinstance(error.code, int) else int(error.code is not None)}")
            case KeyboardInterrupt():
                return Lost("KeyboardInterrupt")
        return Failed(ErrorInfo.of(error))

    def _limit(self, soft: float | None, hard: float) -> None:
        self._past_hard_limit = False
        self._running = True
        if not _can_interrupt():
            return
        # Each time anew: a task or a library may have set another handler.
        signal.signal(signal.SIGALRM, self._on_alarm)
        now = time.monotonic()
        self._due_at[TimeLimitExceeded] = now + hard
        if soft is not None:
            self._due_at[SoftTimeLimitExceeded] = now + soft
        self._set_timer()

    def _unlimit(self) -> None:
        self._running = False
        for kind in (TimeLimitExceeded, SoftTimeLimitExceeded):
            self._due_at.pop(kind, None)
        if _can_interrupt():
            signal.signal(signal.SIGALRM, self._on_alarm)
            self._set_timer()

    def _set_timer(self) -> None:
        at = min(self._due_at.values(), default=math.inf)
        # A timer set to zero never rings, and infinity is none of its numbers.
        seconds = 0.0 if math.isinf(at) else max(at - time.monotonic(), 0.000_1)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def _on_alarm(self, _signal_number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        kind = next((kind for kind in _SEVEREST_FIRST if self._due_at.get(kind, math.inf) <= now), None)
        if kind is None:
            self._set_timer()
            return
        del self._due_at[kind]
        if kind is TimeLimitExceeded:
            self._past_hard_limit = True
            self._due_at[kind] = now + TIME_LIMIT_REPEAT_SECONDS
        elif kind is OutOfTime and self._running:
            self._due_at[kind] = now + OUT_OF_TIME_REPEAT_SECONDS
        self._set_timer()
        self._raise(kind())

    def _raise(self, error: BaseException) -> None:
        if self._coroutine is not None and self._loop is not None and asyncio.current_task(self._loop) is None:
            # The loop waits, so an exception raised here would leave it and not reach the task.
            self._loop.call_soon_threadsafe(self._coroutine.interrupt, error)
            return
        raise error


class _Interruptible(Generic[T]):
    """Awaits a coroutine; ``interrupt`` raises an exception inside it, where it waits.

    asyncio can end a wait early only by a cancellation, which carries no exception of ours. So this stands between the
    asyncio task and the coroutine and replaces the one cancellation that it has asked for.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None

    def interrupt(self, error: BaseException) -> None:
        """Raise an exception in the coroutine. Called on the loop."""
        if self._task is not None and not self._task.done():
            self._error = error
            self._task.cancel()

    def __await__(self) -> Generator[Any, Any, T]:
        self._task = asyncio.current_task()
        raised: BaseException | None = None
        while True:
            try:
                awaited = self._coroutine.send(None) if raised is None else self._coroutine.throw(raised)
            except StopIteration as stop:
                result: T = stop.value
                return result
            raised = None
            try:
                yield awaited
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:  # it is the coroutine's
                raised = error
            if self._error is not None:
                raised, self._error = self._error, None
                if self._task is not None:
                    self._task.uncancel()


async def _end_of(awaitable: _Interruptible[Outcome]) -> Outcome | BaseException:
    try:
        return await awaitable
    except BaseException as error:  # as a value, or a SystemExit would leave the loop in mid-step
        return error


def _can_interrupt() -> bool:
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
