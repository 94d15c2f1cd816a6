"""The slots of a pool: who waits for one gets it in turn, or is told that there will be none."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Slots:
    """A fair semaphore that can be closed.

    Args:
        count: how many there are.
        on_idle: called when one becomes free and nobody waits for it.
    """

    def __init__(self, count: int, on_idle: Callable[[], None]) -> None:
        self._count = self._free = count
        self._on_idle = on_idle
        self._waiters: deque[asyncio.Future[bool]] = deque()
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether one is free; then nobody waits."""
        return self._free > 0

    @property
    def taken(self) -> int:
        """How many are not free."""
        return self._count - self._free

    async def acquire(self) -> bool:
        """Wait for a slot; False once they are closed."""
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
                self.release()  # it was handed over in the very moment its taker went
            raise

    def release(self) -> None:
        """Hand a slot to the next in turn."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(True)
                return
        self._free += 1
        self._on_idle()

    def close(self) -> None:
        """Tell all who wait, and all who come, that there is none. Slots taken stay taken until released."""
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(False)
