"""How the runner is called where a task runs: in a thread, in a pool's process, on an event loop.

Here is the soft time limit of coroutines, the event loop a thread keeps from task to task, and what becomes of an
exception that comes out of the runner. Hard time limits are not here: whoever waits for the outcome keeps them.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

from taskq_cloud.core.model.outcome import Abandoned, ErrorInfo, Failed, Invocation, Lost, Outcome
from taskq_cloud.errors import SoftTimeLimitExceeded
from taskq_cloud.pools.base import Runner

T = TypeVar("T")


def escaped(error: BaseException) -> Outcome:
    """The outcome of a run whose runner let an exception through."""
    match error:
        case SystemExit():
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            return Lost(f"exit code {code}")
        case KeyboardInterrupt():
            return Lost("KeyboardInterrupt")
    return Failed(ErrorInfo.of(error))


def call(runner: Runner, invocation: Invocation) -> Outcome:
    """Run a plain function in this thread; context variables that it sets are gone afterwards."""
    return contextvars.copy_context().run(runner.run, invocation)


async def acall(runner: Runner, invocation: Invocation) -> Outcome:
    """Run a coroutine function as the running asyncio task, within its soft time limit.

    Raises:
        asyncio.CancelledError: the asyncio task was cancelled; where nobody cancelled it, the task raised it itself
            and has failed.
    """
    coroutine: Coroutine[Any, Any, Outcome] = runner.arun(invocation)
    try:
        if invocation.soft_time_limit is None:
            return await coroutine
        return await _SoftLimited(coroutine, invocation.soft_time_limit)
    except asyncio.CancelledError as error:
        running = asyncio.current_task()
        if running is not None and running.cancelling():
            raise
        return escaped(error)
    except BaseException as error:  # a SystemExit must not end the event loop
        return escaped(error)


class _SoftLimited(Generic[T]):
    """Awaits a coroutine, and raises ``SoftTimeLimitExceeded`` inside it when the time has passed.

    asyncio can wake a waiting task early only by cancelling it, and a cancellation carries no exception of our own. So
    this stands between the asyncio task and the coroutine, hands on what they tell each other, and replaces the one
    cancellation that it asked for itself. A coroutine that never awaits is not reached.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], seconds: float) -> None:
        self._coroutine = coroutine
        self._seconds = seconds
        self._due = False
        self._timer: asyncio.Handle | None = None

    def __await__(self) -> Generator[Any, Any, T]:
        task = asyncio.current_task()
        assert task is not None  # acall runs in an asyncio task
        self._timer = task.get_loop().call_later(self._seconds, self._fire, task)
        error: BaseException | None = None
        try:
            while True:
                try:
                    awaited = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                error = None
                try:
                    yield awaited
                except GeneratorExit:
                    self._coroutine.close()
                    raise
                except BaseException as raised:  # it is the coroutine's
                    error = raised
                if self._due:
                    error = self._limit(task, error)
        finally:
            self._timer.cancel()

    def _fire(self, task: asyncio.Task[Any]) -> None:
        self._due = True
        task.cancel()

    def _limit(self, task: asyncio.Task[Any], error: BaseException | None) -> BaseException:
        self._due = False
        if task.uncancel() and isinstance(error, asyncio.CancelledError):
            # Someone else has cancelled the task too; theirs goes first, ours comes again.
            self._timer = task.get_loop().call_soon(self._fire, task)
            return error
        return SoftTimeLimitExceeded()


class TaskLoop:
    """The event loop of one thread: made for the first coroutine function, kept for the next ones.

    What a coroutine leaves running on it goes on only while a later one runs.

    Args:
        runner: runs the coroutine functions.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._loop: asyncio.Runner | None = None
        self._running: asyncio.Task[Any] | None = None
        self._ended = False

    def run(self, invocation: Invocation) -> Outcome:
        """Run a coroutine function to its end in this thread."""
        if self._loop is None:
            self._loop = asyncio.Runner()
        return self._loop.run(self._acall(invocation), context=contextvars.copy_context())

    def end(self) -> None:
        """Cancel the coroutine that runs. May be called from another thread; no further one will run."""
        self._ended = True
        running = self._running
        if running is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
                running.get_loop().call_soon_threadsafe(running.cancel)

    def close(self) -> None:
        """Cancel what is left on the loop and close it."""
        if self._loop is not None:
            self._loop.close()

    async def _acall(self, invocation: Invocation) -> Outcome:
        # First known, then checked: end() does it the other way round, so one of the two sees the other.
        self._running = asyncio.current_task()
        if self._ended:
            return Abandoned()
        return await acall(self._runner, invocation)
