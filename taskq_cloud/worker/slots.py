"""The slots of a pool, in which tasks run. A caller waits for a slot in turn, or learns that no slot will be free."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence


class Slots:
    """A semaphore that can be closed, and is fair among the callers of a level.

    Args:
        count: how many slots there are.
        on_idle: called when a slot becomes free and no caller waits for it.
        weights: the weight of each level, from level 0; levels beyond it have the last weight. Of the slots that become
            free while callers of several levels wait, each level gets a share by its weight. Empty: a higher level
            always goes first.

    Attributes:
        on_wait: called when a caller has to wait for a slot.
    """

    def __init__(self, count: int, on_idle: Callable[[], None], weights: Sequence[int] = ()) -> None:
        self._count = self._free = count
        self._on_idle = on_idle
        self.on_wait: Callable[[], None] = lambda: None
        self._weights = weights
        self._waiters: dict[int, deque[asyncio.Future[bool]]] = {}
        self._lasting: set[asyncio.Future[bool]] = set()
        # Level -> the virtual time of its next slot: a slot takes the level 1/weight of it.
        self._turns: dict[int, float] = {}
        self._time = 0.0
        self._closed = False

    @property
    def count(self) -> int:
        """How many slots there are."""
        return self._count

    @property
    def idle(self) -> bool:
        """Whether a slot is free. Then no caller waits for one."""
        return self._free > 0

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return self._count - self._free

    @property
    def waiting(self) -> int:
        """How many callers wait for a slot."""
        return sum(map(len, self._waiters.values()))

    def resize(self, count: int) -> None:
        """Change how many slots there are. If more than that are taken, the next ones that become free are given up."""
        added, self._count = count - self._count, count
        if added < 0:
            self._free += added
        for _ in range(added):
            self.release()

    async def acquire(self, level: int = 0, *, until_free: bool = False) -> bool:
        """Wait for a slot and return True, or return False once the slots are closed.

        Args:
            level: the level of the caller's priority.
            until_free: whether the caller waits for its slot even if the slots are closed.
        """
        if self._closed and not until_free:
            return False
        if self._free > 0:
            self._free -= 1
            return True
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(level, deque()).append(waiter)
        if until_free:
            self._lasting.add(waiter)
            waiter.add_done_callback(self._lasting.discard)
        self.on_wait()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.release()  # the slot was handed over at the moment at which this caller was cancelled
            raise

    def release(self) -> None:
        """Hand a slot to the caller whose turn it is, or make it free."""
        while self._waiters and self._free >= 0:  # below 0, more slots are taken than there are
            level = self._next_level()
            waiters = self._waiters[level]
            waiter = waiters.popleft()
            if not waiters:
                del self._waiters[level]
            if not waiter.done():
                self._note_turn(level)
                waiter.set_result(True)
                return
        self._free += 1
        if self._free > 0:
            self._on_idle()

    def close(self) -> None:
        """Let calls of ``acquire`` return False, except those that wait ``until_free``. Taken slots remain taken."""
        self._closed = True
        waiting, self._waiters = self._waiters, {}
        for level, waiters in waiting.items():
            for waiter in waiters:
                if waiter in self._lasting:
                    self._waiters.setdefault(level, deque()).append(waiter)
                elif not waiter.done():
                    waiter.set_result(False)

    def _next_level(self) -> int:
        if not self._weights:
            return max(self._waiters)
        # A level that had no callers for a while has saved no turns.
        return min(self._waiters, key=lambda level: (max(self._turns.get(level, 0.0), self._time), -level))

    def _note_turn(self, level: int) -> None:
        if self._weights:
            self._time = max(self._turns.get(level, 0.0), self._time)
            self._turns[level] = self._time + 1 / self._weights[min(level, len(self._weights) - 1)]
