"""Call the runner where a task runs: in a thread, in a child process of the pool, or on an event loop.

This module keeps the soft time limit of coroutine functions, keeps one event loop per thread, and turns an exception
that leaves the runner into an outcome. Hard time limits are kept by the caller, which waits for the outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Coroutine
from typing import Any

from taskq_cloud.core.model.outcome import Abandoned, ErrorInfo, Failed, Invocation, Lost, Outcome
from taskq_cloud.errors import SoftTimeLimitExceeded
from taskq_cloud.pools.base import Runner
from taskq_cloud.pools.interruptible import Interruptible


def outcome_of_error(error: BaseException) -> Outcome:
    """Return the outcome of a run whose runner let an exception through."""
    match error:
        case SystemExit():
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            return Lost(f"exit code {code}")
        case KeyboardInterrupt():
            return Lost("KeyboardInterrupt")
    return Failed(ErrorInfo.of(error))


def call(runner: Runner, invocation: Invocation) -> Outcome:
    """Run a plain function in this thread. Context variables that the task sets are undone afterwards."""
    return contextvars.copy_context().run(runner.run, invocation)


async def acall(runner: Runner, invocation: Invocation) -> Outcome:
    """Run a coroutine function within its soft time limit, as the asyncio task that is running.

    Raises:
        asyncio.CancelledError: the asyncio task was cancelled. If the coroutine function raised it without having been
            cancelled, the task has failed instead.
    """
    coroutine: Coroutine[Any, Any, Outcome] = runner.arun(invocation)
    try:
        if invocation.soft_time_limit is None:
            return await coroutine
        return await _within_soft_limit(coroutine, invocation.soft_time_limit)
    except asyncio.CancelledError as error:
        running = asyncio.current_task()
        if running is not None and running.cancelling():
            raise
        return outcome_of_error(error)
    except BaseException as error:  # a SystemExit must not end the event loop
        return outcome_of_error(error)


async def _within_soft_limit(coroutine: Coroutine[Any, Any, Outcome], seconds: float) -> Outcome:
    limited = Interruptible(coroutine)
    timer = asyncio.get_running_loop().call_later(seconds, limited.interrupt, SoftTimeLimitExceeded())
    try:
        return await limited
    finally:
        timer.cancel()


async def _await(awaitable: Awaitable[Any]) -> None:
    await awaitable


class TaskLoop:
    """The event loop of one thread: created for the first coroutine function and kept for later ones.

    Background work that a coroutine leaves on the loop goes on only while a later coroutine runs.

    Args:
        runner: runs the coroutine functions.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._asyncio_runner: asyncio.Runner | None = None
        self._running: asyncio.Task[Any] | None = None
        self._ended = False

    def run(self, invocation: Invocation) -> Outcome:
        """Run a coroutine function to its end in this thread."""
        if self._asyncio_runner is None:
            self._asyncio_runner = asyncio.Runner()
        try:
            return self._asyncio_runner.run(self._acall(invocation), context=contextvars.copy_context())
        except asyncio.CancelledError:
            raise
        except BaseException:
            # Work that a task has left on the loop has stopped it, and this coroutine must not go on in the next run.
            self.close()
            raise

    def complete(self, awaitable: Awaitable[Any]) -> None:
        """Await what a hook about this process has returned, on the loop that coroutine functions run on."""
        if self._asyncio_runner is None:
            self._asyncio_runner = asyncio.Runner()
        self._asyncio_runner.run(_await(awaitable), context=contextvars.copy_context())

    def end(self) -> None:
        """Cancel the running coroutine and run no further one. Any thread may call this method."""
        self._ended = True
        running = self._running
        if running is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so the coroutine has ended
                running.get_loop().call_soon_threadsafe(running.cancel)

    def close(self) -> None:
        """Cancel the background work that is left on the loop, and close the loop."""
        runner, self._asyncio_runner = self._asyncio_runner, None
        if runner is not None:
            runner.close()

    async def _acall(self, invocation: Invocation) -> Outcome:
        # Set _running before reading _ended. end() does it the other way round, so one of the two sees the other.
        self._running = asyncio.current_task()
        if self._ended:
            return Abandoned()
        return await acall(self._runner, invocation)
