"""What a worker holds: every delivery from its receipt until it is settled, its lease renewed all the while.

``Held`` is also the worker's flow control: a poller asks it for room before it asks the broker for messages.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.core.calls import Flow
from taskq_cloud.core.message import Delivery, Refused
from taskq_cloud.core.ports import Broker
from taskq_cloud.errors import TaskQError

logger = logging.getLogger("taskq_cloud.worker")

LINGER_SECONDS: Final = 0.05
"""How long a starving worker waits for room for a whole batch before it takes what there is room for."""
RENEWALS_PER_LEASE: Final = 3
"""A lease is renewed when a third of it is gone: two renewals may fail before it lapses."""


@dataclass(slots=True)
class _Lease:
    delivery: Delivery
    renewed_at: float
    limit_at: float
    lost: bool = False


class Held:
    """The deliveries a worker holds.

    Args:
        broker: renews leases.
        run: drives the broker's flows.
        capacity: deliveries held at a time.
        lease_seconds: how long a lease runs.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        broker: Broker,
        run: Callable[[Flow[Any]], Awaitable[Any]],
        capacity: int,
        lease_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = capacity
        self.starving: Callable[[], bool] = lambda: True
        self._broker = broker
        self._run = run
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._leases: dict[int, _Lease] = {}
        self._reserved = 0
        self._change = asyncio.Event()

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def free(self) -> int:
        """Deliveries there is room for."""
        return self.capacity - len(self._leases) - self._reserved

    async def reserve(self, most: int) -> int:
        """Wait for room, and take it: for ``most`` deliveries, or for fewer where a slot is idle meanwhile.

        Whole batches while there is work in hand, any number once there is none: that keeps calls few and slots busy.
        """
        await self._until(lambda: self.free >= most or (self.free > 0 and self.starving()))
        if self.free < most:
            with suppress(TimeoutError):  # the room has not grown: what there is must do
                async with asyncio.timeout(LINGER_SECONDS):
                    await self._until(lambda: self.free >= most)
            await self._until(lambda: self.free > 0)
        room = min(most, self.free)
        self._reserved += room
        return room

    def take(self, deliveries: Iterable[Delivery], reserved: int) -> None:
        """Hold what was received, and give back the room that was not needed."""
        now = self._clock()
        limit = self._broker.capabilities.longest_lease_seconds
        self._reserved -= reserved
        for delivery in deliveries:
            self._leases[id(delivery)] = _Lease(delivery, now, now + limit)
        self.changed()

    def let_go(self, deliveries: Iterable[Delivery]) -> None:
        """Stop holding what is settled."""
        for delivery in deliveries:
            self._leases.pop(id(delivery), None)
        self.changed()

    def changed(self) -> None:
        """Wake those who wait for room, or for the end: something they look at is new."""
        self._change.set()

    async def empty(self) -> None:
        """Wait until nothing is held."""
        await self._until(lambda: not self._leases)

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            self._change.clear()
            await self._change.wait()

    async def keep_leases(self) -> None:
        """Renew the leases of everything held, for as long as this is not cancelled."""
        while True:
            await asyncio.sleep(self._lease_seconds / RENEWALS_PER_LEASE / 4)
            await self.renew_due()

    async def renew_due(self) -> None:
        """Renew, in one batch, the leases of which a third is gone."""
        now = self._clock()
        due = [
            lease
            for lease in self._leases.values()
            if not lease.lost and now - lease.renewed_at >= self._lease_seconds / RENEWALS_PER_LEASE
        ]
        ending = [lease for lease in due if lease.limit_at - now < self._lease_seconds]
        await self._extend([lease for lease in due if lease not in ending], self._lease_seconds, now)
        for lease in ending:
            await self._extend([lease], max(0.0, lease.limit_at - now), now)
            lease.lost = True
            self._say(lease, "lease.limit", "is leased up to the broker's limit; its task goes on, and may begin again")

    async def _extend(self, leases: list[_Lease], seconds: float, now: float) -> None:
        if not leases:
            return
        try:
            answers = await self._run(self._broker.extend([lease.delivery for lease in leases], seconds))
        except Exception as error:
            # The leases run on for two thirds of their time.
            fault = not isinstance(error, TaskQError)
            extra = {"action": "lease.failed"}
            logger.warning("%d leases were not renewed: %s", len(leases), error, exc_info=fault, extra=extra)
            return
        for lease, answer in zip(leases, answers, strict=True):
            if not isinstance(answer, Refused):
                lease.renewed_at = now
            elif id(lease.delivery) in self._leases:  # and not settled meanwhile
                lease.lost = True
                self._say(lease, "lease.lost", f"was lost to another worker: {answer.error}")

    @staticmethod
    def _say(lease: _Lease, action: str, text: str) -> None:
        delivery = lease.delivery
        extra = {"action": action, "queue": delivery.queue, "message_id": delivery.message_id}
        logger.warning("message %s of queue %s %s", delivery.message_id, delivery.queue, text, extra=extra)
