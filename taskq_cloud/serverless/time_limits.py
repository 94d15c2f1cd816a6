"""Time limits on a Lambda function's main thread, until the moment at which Lambda cuts the function off.

Only the main thread of a POSIX process can be interrupted wherever it is; ``lanes`` keeps the limits on other threads.

The process's timer raises exceptions in the task: ``SoftTimeLimitExceeded`` once, ``TimeLimitExceeded`` every second
until the task ends, and ``OutOfTime`` in any code that runs when the invocation must be answered. Two kinds of code
escape these exceptions: C code that never returns to the interpreter, and a loop that catches ``BaseException``. In
both cases the function's own timeout ends the process, and the whole batch returns to its queue. Python drops an
exception that is raised while it runs a finalizer; the next ``TimeLimitExceeded`` or ``OutOfTime`` then ends the task.

A task that exceeds its own hard limit has the outcome ``TimedOut``. A task that is stopped because the function's time
is over has the outcome ``Lost``: its message comes back with a growing delay, and its failure is recorded on its last
receive.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.model.outcome import Invocation, Outcome, TimedOut
from taskq_cloud.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from taskq_cloud.pools.interruptible import Interruptible
from taskq_cloud.pools.own_code import ALARM_AGAIN_SECONDS, Alarms
from taskq_cloud.pools.task_calls import call, outcome_of_error
from taskq_cloud.serverless.deadlines import lost_for_time

TIME_LIMIT_REPEAT_SECONDS: Final = 1.0
OUT_OF_TIME_REPEAT_SECONDS: Final = 0.1


class OutOfTime(BaseException):
    """The invocation must be answered now. This isn't an ``Exception``, so ``except Exception`` lets it through."""


_SEVEREST_FIRST: Final = (OutOfTime, TimeLimitExceeded, SoftTimeLimitExceeded)


class TimeKeeper:
    """Keeps the time limits of a function's invocations, one after the other, on a thread that ``can_interrupt``."""

    def __init__(self) -> None:
        self._due_at: dict[type[BaseException], float] = {}
        self._past_hard_limit = False
        self._running = False
        self._alarms = Alarms()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._coroutine: Interruptible[Outcome] | None = None

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Raise ``OutOfTime`` in the block once it has run for ``seconds``. Infinity means never."""
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
        """Run a task within its limits, in a block of ``deadline``.

        Args:
            runner: runs the task's function.
            invocation: the run, with its time limits.
            seconds_left: seconds after which the task is stopped, even if its own limit is longer.

        Raises:
            OutOfTime: the task could not be stopped in time.
        """
        limit = invocation.time_limit
        outcome: Outcome | None = None
        try:
            try:
                self._start_limits(
                    invocation.soft_time_limit, seconds_left if limit is None else min(limit, seconds_left)
                )
                outcome = self._call(runner, invocation)
            finally:
                self._stop_limits()
        except OutOfTime:
            raise
        except BaseException as error:  # every run has an outcome
            # With an outcome, the alarm went off after the task had ended and before its limits were stopped.
            outcome = outcome or self._outcome_of_error(error, limit, seconds_left)
            self._stop_limits()
        return outcome

    def _call(self, runner: TaskRunner, invocation: Invocation) -> Outcome:
        if not runner.is_async(invocation.message.task):
            return call(runner, invocation)
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            weakref.finalize(self, self._loop.close).atexit = False
        self._coroutine = Interruptible(runner.arun(invocation))
        context = contextvars.copy_context()  # context variables that the task sets are undone afterwards
        try:
            ended = self._loop.run_until_complete(self._loop.create_task(_end_of(self._coroutine), context=context))
        finally:
            self._coroutine = None
        if not isinstance(ended, BaseException):
            return ended
        try:
            raise ended
        finally:
            del ended  # see _raise

    def _outcome_of_error(self, error: BaseException, limit: float | None, seconds_left: float) -> Outcome:
        if not (isinstance(error, TimeLimitExceeded) and self._past_hard_limit):
            return outcome_of_error(error)
        if limit is not None and limit <= seconds_left:
            return TimedOut(limit)
        return lost_for_time("function", seconds_left)

    def _start_limits(self, soft: float | None, hard: float) -> None:
        self._past_hard_limit = False
        self._running = True
        now = time.monotonic()
        self._due_at[TimeLimitExceeded] = now + hard
        if soft is not None:
            self._due_at[SoftTimeLimitExceeded] = now + soft
        self._set_timer()

    def _stop_limits(self) -> None:
        self._running = False
        self._alarms.forget()
        self._due_at.pop(TimeLimitExceeded, None)
        self._due_at.pop(SoftTimeLimitExceeded, None)
        # The task or a library may have set another handler.
        signal.signal(signal.SIGALRM, self._on_alarm)
        self._set_timer()

    def _set_timer(self) -> None:
        at = min(self._due_at.values(), default=math.inf)
        # A timer set to zero never goes off, and it can't be set to infinity.
        seconds = 0.0 if at == math.inf else max(at - time.monotonic(), 0.000_1)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def _on_alarm(self, _signal_number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        kind = next((kind for kind in _SEVEREST_FIRST if self._due_at.get(kind, math.inf) <= now), None)
        if kind is None:
            self._set_timer()
            return
        if kind is not OutOfTime and not self._alarms.can_raise(frame):
            signal.setitimer(signal.ITIMER_REAL, ALARM_AGAIN_SECONDS)
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
            # The event loop is waiting. An exception raised here would leave the loop without reaching the task.
            self._loop.call_soon_threadsafe(self._coroutine.interrupt, error)
            return
        try:
            raise error
        finally:
            # The exception will refer to this frame. If the frame referred back, the task's objects would live on until
            # a garbage collection, and their finalizers would run in the middle of a later task.
            del error


async def _end_of(awaitable: Interruptible[Outcome]) -> Outcome | BaseException:
    try:
        return await awaitable
    except BaseException as error:  # returned as a value, because a SystemExit would leave the loop in mid-step
        return error


def can_interrupt() -> bool:
    """Whether the process's timer can interrupt this thread: it is the main thread, and the system is POSIX."""
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
