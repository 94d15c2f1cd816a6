"""What a worker holds: every delivery from its receipt until it is settled, its lease renewed all the while.

``LeasedDeliveries`` is also the worker's flow control: a poller asks it for room before it asks the broker for
messages.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Delivery, Refused
from taskq_cloud.core.ports import Broker
from taskq_cloud.errors import AccessDenied, TaskQError, Unreachable

logger = logging.getLogger("taskq_cloud.worker")

LINGER_SECONDS: Final = 0.05
"""How long a starving worker waits for room for a whole batch before it takes what there is room for."""
RENEWALS_PER_LEASE: Final = 3
"""A lease is renewed when a third of it is gone, and a renewal has as long to be answered: one may hang, or two fail,
before it lapses."""
PASSING: Final = (Unreachable, AccessDenied)
"""What a refusal may be that says nothing of the lease: the service is silent or throttles, a token has expired."""


@dataclass(slots=True)
class _Lease:
    delivery: Delivery
    renewed_at: float
    limit_at: float
    lost: bool = False
    at_limit: bool = False


class LeasedDeliveries:
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
        self.running: Callable[[], int] = lambda: 0
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

    def blocked_by(self, unsettled: int) -> bool:
        """Whether a slot is idle for want of room, and all that is held, but for what runs, waits to be settled.

        Args:
            unsettled: the deliveries that wait to be settled.
        """
        return self.free <= 0 and self.starving() and unsettled + self.running() >= len(self._leases)

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

    def has_lost(self, delivery: Delivery) -> bool:
        """Whether a delivery's lease is over: the broker has said so, or no renewal was answered for so long."""
        lease = self._leases.get(id(delivery))
        return lease is None or lease.lost or self._clock() - lease.renewed_at >= self._lease_seconds

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
            if not (lease.lost or lease.at_limit) and now - lease.renewed_at >= self._lease_seconds / RENEWALS_PER_LEASE
        ]
        ending = [lease for lease in due if lease.limit_at - now < self._lease_seconds]
        await self._extend([lease for lease in due if lease not in ending], self._lease_seconds, now)
        for lease in ending:
            await self._extend([lease], max(0.0, lease.limit_at - now), now)
            if lease.renewed_at == now:
                lease.at_limit = True
                text = "is leased up to the broker's limit; its task goes on, and may begin again"
                self._say(lease, "lease.limit", text)

    async def _extend(self, leases: list[_Lease], seconds: float, now: float) -> None:
        if not leases:
            return
        patience = self._lease_seconds / RENEWALS_PER_LEASE
        try:
            async with asyncio.timeout(patience):
                answers = await self._run(self._broker.extend([lease.delivery for lease in leases], seconds))
        except TimeoutError:
            self._say_not_renewed(leases, f"no answer within {patience:.1f} s")
            return
        except Exception as error:  # whatever it is, the leases run on
            self._say_not_renewed(leases, error)
            return
        waiting: dict[str, list[_Lease]] = {}
        for lease, answer in zip(leases, answers, strict=True):
            if not isinstance(answer, Refused):
                lease.renewed_at = now
            elif isinstance(answer.error, PASSING):
                waiting.setdefault(str(answer.error), []).append(lease)
            elif id(lease.delivery) in self._leases:  # and not settled meanwhile
                lease.lost = True
                self._say(lease, "lease.lost", f"was lost to another worker: {answer.error}")
        for reason, not_renewed in waiting.items():
            self._say_not_renewed(not_renewed, reason)

    @staticmethod
    def _say_not_renewed(leases: list[_Lease], reason: object) -> None:
        # They run on for two thirds of their time, and the next look comes long before.
        fault = isinstance(reason, Exception) and not isinstance(reason, TaskQError)
        extra = {"action": "lease.failed"}
        logger.warning("%d leases were not renewed: %s", len(leases), reason, exc_info=fault, extra=extra)

    @staticmethod
    def _say(lease: _Lease, action: str, text: str) -> None:
        delivery = lease.delivery
        extra = {"action": action, "queue": delivery.queue, "message_id": delivery.message_id}
        logger.warning("message %s of queue %s %s", delivery.message_id, delivery.queue, text, extra=extra)
