"""The slots of a pool, in which tasks run. A caller waits for a slot in turn, or learns that no slot will be free."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Slots:
    """A fair semaphore that can be closed.

    Args:
        count: how many slots there are.
        on_idle: called when a slot becomes free and no caller waits for it.
    """

    def __init__(self, count: int, on_idle: Callable[[], None]) -> None:
        self._count = self._free = count
        self._on_idle = on_idle
        self._waiters: deque[asyncio.Future[bool]] = deque()
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether a slot is free. Then no caller waits for one."""
        return self._free > 0

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return self._count - self._free

    async def acquire(self) -> bool:
        """Wait for a slot and return True, or return False once the slots are closed."""
        if self._closed:
            return False
        if self._free > 0:
            self._free -= 1
            return True
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.release()  # the slot was handed over at the moment at which this caller was cancelled
            raise

    def release(self) -> None:
        """Hand a slot to the caller that has waited longest, or make it free."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(True)
                return
        self._free += 1
        self._on_idle()

    def close(self) -> None:
        """Let all waiting and future calls of ``acquire`` return False. Slots that are taken remain taken."""
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(False)
