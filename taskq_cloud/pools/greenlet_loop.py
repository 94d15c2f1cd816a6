"""The event loop of a child process with greenlets: it is one greenlet, on which all coroutine functions run.

asyncio knows one running event loop for each thread, and greenlets share their thread. So a loop that waits is made to
be no running one: ``asyncio.run`` in the greenlet of a plain function then works, too, and in many at a time.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import threading
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import Awaitable, Callable
from typing import Any

from taskq_cloud.core.model.outcome import Abandoned, Invocation, Outcome
from taskq_cloud.pools.asyncio_pool import AsyncioPool
from taskq_cloud.pools.base import Runner
from taskq_cloud.pools.hubs import Hub

logger = logging.getLogger(__name__)


def let_loops_share_thread() -> None:
    """Have event loops that are made from now on count as running only while they don't wait for events."""
    usual: Any = selectors.DefaultSelector

    def select(self: Any, timeout: float | None = None) -> Any:
        loop = _get_running_loop()
        _set_running_loop(None)
        try:
            return usual.select(self, timeout)
        finally:
            _set_running_loop(loop)

    shared: Any = type("SharingSelector", (usual,), {"select": select})
    selectors.DefaultSelector = shared  # type: ignore[misc]


class CoroutineLoop:
    """Runs coroutine functions side by side, by the rules of the asyncio pool.

    Args:
        hub: the library of greenlets.
        runner: runs the coroutine functions.
    """

    def __init__(self, hub: Hub, runner: Runner) -> None:
        self._hub = hub
        self._pool = AsyncioPool(runner, concurrency=1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runs: dict[int, asyncio.Task[None]] = {}
        self._ended: threading.Event | None = None
        self._closing = False

    def begin(self, number: int, invocation: Invocation, ended: Callable[[int, Invocation, Outcome], None]) -> None:
        """Run a coroutine function.

        Args:
            number: the number of the task.
            invocation: the invocation.
            ended: is called with the number, the invocation and the outcome.
        """
        loop = self._made_loop()
        if self._ended is None:
            self._ended = threading.Event()
            self._hub.spawn(self._run_forever, loop, self._ended)
        loop.call_soon_threadsafe(self._start, number, invocation, ended)

    def cancel(self, number: int) -> None:
        """End the run of a coroutine function, if there is one of this number."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, number)

    def complete(self, awaitable: Awaitable[Any]) -> None:
        """Await what a hook about this process has returned. No coroutine function runs."""
        self._stop_running()
        self._made_loop().run_until_complete(_awaited(awaitable))

    def close(self) -> None:
        """Close the loop. No coroutine function runs."""
        self._stop_running()
        if self._loop is not None:
            self._loop.run_until_complete(self._pool.stop())
            self._loop.close()

    def _made_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._loop.run_until_complete(self._pool.start())
        return self._loop

    def _run_forever(self, loop: asyncio.AbstractEventLoop, ended: threading.Event) -> None:
        while not self._closing:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                text = (
                    "work that a task has left on the event loop has stopped it (%s). The loop goes on; let the task "
                    "return, or raise another error"
                )
                logger.exception(text, type(error).__name__, extra={"action": "worker.loop_stopped"})
        ended.set()

    def _stop_running(self) -> None:
        if self._ended is not None and self._loop is not None:
            self._closing = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._ended.wait()
            self._ended, self._closing = None, False

    def _start(self, number: int, invocation: Invocation, ended: Callable[[int, Invocation, Outcome], None]) -> None:
        loop = asyncio.get_running_loop()
        self._runs[number] = loop.create_task(self._run(number, invocation, ended))

    def _cancel(self, number: int) -> None:
        run = self._runs.get(number)
        if run is not None:
            run.cancel()

    async def _run(
        self, number: int, invocation: Invocation, ended: Callable[[int, Invocation, Outcome], None]
    ) -> None:
        outcome: Outcome = Abandoned()
        try:
            outcome = await self._pool.run(invocation)
        finally:
            del self._runs[number]
            ended(number, invocation, outcome)


async def _awaited(awaitable: Awaitable[Any]) -> None:
    await awaitable
