"""``--autoscale MAX,MIN``: the number of places in a worker's pool follows the number of messages that need one.

The pool grows at once when a message waits for a place, and shrinks when places have been idle for a while. The worker
leases messages for MAX places from the start. So no message waits for a place longer than the pool takes to grow.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.worker.slots import Slots

logger = logging.getLogger("taskq_cloud.worker")

KEEPALIVE_SECONDS: Final = float(os.environ.get("AUTOSCALE_KEEPALIVE", "30"))
"""How long places have to be idle before the pool shrinks. The environment variable is Celery's."""
CHECK_SECONDS: Final = 1.0
"""How often the worker looks for idle places."""


@dataclass(frozen=True, slots=True)
class AutoscaleLimits:
    """The limits of ``--autoscale``.

    Args:
        most: how many tasks run at a time at most.
        least: how many places the pool keeps while it is idle.

    Raises:
        ImproperlyConfigured: they are not in order, or below 1.
    """

    most: int
    least: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ImproperlyConfigured(
                f"autoscale is {self.most},{self.least}: it is MAX,MIN, two numbers from 1, and MAX comes first"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the limits that a text says: ``10,3``; or ``10``, for a least of 1.

        Raises:
            ImproperlyConfigured: it is not such a text.
        """
        try:
            most, *rest = map(int, text.split(","))
            (least,) = rest or (1,)
        except ValueError:
            raise ImproperlyConfigured(f"autoscale is {text!r}: it is MAX,MIN, such as 10,3") from None
        return cls(most, max(1, least))  # Celery's least may be 0: a pool that ends all its processes

    def __str__(self) -> str:
        return f"{self.least} to {self.most}"


class Autoscaler:
    """Changes the number of places of a pool.

    Args:
        slots: the slots of the pool.
        limits: the limits of the number.
        resize: changes the number.
        keepalive: how long places have to be idle before the pool shrinks, in seconds.
        clock: a monotonic clock, in seconds.

    Attributes:
        limits: as above; they may be changed.
    """

    def __init__(
        self,
        slots: Slots,
        limits: AutoscaleLimits,
        resize: Callable[[int], Awaitable[None]],
        keepalive: float = KEEPALIVE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._slots = slots
        self._resize = resize
        self._keepalive = keepalive
        self._clock = clock
        self._waited = asyncio.Event()
        # Since when fewer places were needed than there are, and how many of them at most; None: all are needed.
        self._idle_since: float | None = None
        self._needed = 0
        slots.on_wait = self._waited.set

    async def scale_forever(self) -> None:
        """Scale the pool whenever a message waits for a place, and once a second, until this call is cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._waited.wait()
            self._waited.clear()
            await self.scale()

    async def scale(self) -> None:
        """Grow to the number of places that messages need now, or shrink to what they have needed for a while."""
        size = self._size()
        if size is not None:
            logger.info(
                "the pool %s from %d to %d places",
                "grows" if size > self._slots.count else "shrinks",
                self._slots.count,
                size,
                extra={"action": "worker.scaled", "concurrency": size},
            )
            await self._resize(size)

    def _size(self) -> int | None:
        """Return the new number of places; None: it stays as it is."""
        limits, now, size = self.limits, self._clock(), self._slots.count
        needed = min(max(self._slots.taken + self._slots.waiting, limits.least), limits.most)
        if needed >= size:
            self._idle_since = None
            return needed if needed > size else None
        if self._idle_since is None:
            self._idle_since, self._needed = now, needed
        self._needed = max(self._needed, needed)
        if now - self._idle_since < self._keepalive and size <= limits.most:
            return None
        self._idle_since = None
        return self._needed
