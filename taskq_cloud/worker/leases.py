"""The deliveries that a worker has leased: from their receipt until they are settled, with their leases renewed.

``LeasedDeliveries`` is also the worker's flow control: a poller asks it for room before it asks the broker for
messages.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
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
"""How long a worker with an idle slot waits for enough room for a receive before it makes do with less room."""
RENEWALS_PER_LEASE: Final = 3
"""A lease is renewed when a third of it has passed, and each renewal may take as long as that. So one renewal may hang,
or two may fail, before the lease lapses."""
TEMPORARY_ERRORS: Final = (Unreachable, AccessDenied)
"""Errors that don't mean that a lease is lost: the service is silent or throttles, or a token has expired."""


@dataclass(slots=True)
class _Lease:
    delivery: Delivery
    renewed_at: float
    limit_at: float
    level: int = 0
    lost: bool = False
    at_limit: bool = False


class LeasedDeliveries:
    """The deliveries that a worker has received and not yet settled. Each level of priority has its own room.

    Args:
        broker: renews leases.
        run: drives the broker's flows.
        capacity: how many deliveries of a level may be leased at a time.
        lease_seconds: how long a lease lasts.
        clock: a monotonic clock, in seconds.
        refill: how much room is worth a receive, in deliveries; None: the whole capacity.

    Attributes:
        capacity: how many deliveries of a level may be leased at a time.
        slot_is_idle: returns whether a slot of the pool is idle. The worker sets this function.
        count_running: returns how many slots of the pool are taken. The worker sets this function.
    """

    def __init__(
        self,
        broker: Broker,
        run: Callable[[Flow[Any]], Awaitable[Any]],
        capacity: int,
        lease_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        refill: int | None = None,
    ) -> None:
        self.capacity = capacity
        self.slot_is_idle: Callable[[], bool] = lambda: True
        self.count_running: Callable[[], int] = lambda: 0
        self._broker = broker
        self._run = run
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._refill = capacity if refill is None else refill
        self._leases: dict[tuple[str, str], _Lease] = {}
        # Level -> its deliveries, with the room that is reserved for it.
        self._taken: Counter[int] = Counter()
        self._change = asyncio.Event()

    def __len__(self) -> int:
        return len(self._leases)

    def room(self, level: int = 0) -> int:
        """How many more deliveries of a level of priority may be leased."""
        return self.capacity - self._taken[level]

    def resize(self, capacity: int, refill: int) -> None:
        """Change how many deliveries of a level may be leased, and how much room is worth a receive.

        Deliveries beyond the capacity stay leased until they are settled.
        """
        self.capacity, self._refill = capacity, refill
        self.notify()

    def settlements_block_slot(self, unsettled: int) -> bool:
        """Return whether a slot is idle only because finished deliveries take up the room until they are settled.

        Args:
            unsettled: how many deliveries wait to be settled.
        """
        return (
            max(self._taken.values(), default=0) > self.capacity - self._refill
            and self.slot_is_idle()
            and unsettled + self.count_running() >= len(self._leases)
        )

    async def reserve(self, limit: int, level: int = 0) -> int:
        """Wait for room, reserve it, and return how much was reserved, in deliveries; at most ``limit``.

        While all slots are busy, this waits for as much room as is worth a receive, which keeps the receive calls few.
        Once a slot stays idle, less room is enough, which keeps the slots busy.
        """
        enough = min(limit, self._refill)
        while self.room(level) < enough:
            await self._until(lambda: self.room(level) >= enough or (self.room(level) > 0 and self.slot_is_idle()))
            with suppress(TimeoutError):  # no more room has become free: make do with the room that there is
                async with asyncio.timeout(LINGER_SECONDS):
                    await self._until(lambda: self.room(level) >= enough)
            if self.room(level) > 0 and self.slot_is_idle():
                break
        reserved = min(limit, self.room(level))
        self._taken[level] += reserved
        return reserved

    def add(self, deliveries: Iterable[Delivery], reserved: int, level: int = 0) -> None:
        """Add received deliveries of a level, and free the room that was reserved for them."""
        now = self._clock()
        limit = self._broker.capabilities.longest_lease_seconds
        self._taken[level] -= reserved
        for delivery in deliveries:
            self._taken[level] += _key(delivery) not in self._leases
            self._leases[_key(delivery)] = _Lease(delivery, now, now + limit, level)
        self.notify()

    def remove(self, deliveries: Iterable[Delivery]) -> None:
        """Remove settled deliveries."""
        for delivery in deliveries:
            lease = self._leases.pop(_key(delivery), None)
            if lease is not None:
                self._taken[lease.level] -= 1
        self.notify()

    def notify(self) -> None:
        """Wake the callers that wait for room or for the end. The worker calls this when a slot becomes idle, too."""
        self._change.set()

    def has_lost(self, delivery: Delivery) -> bool:
        """Return whether a delivery's lease is over: the broker has said so, or it was not renewed in time."""
        lease = self._leases.get(_key(delivery))
        return lease is None or lease.lost or self._clock() - lease.renewed_at >= self._lease_seconds

    async def wait_until_empty(self) -> None:
        """Wait until every delivery has been removed."""
        await self._until(lambda: not self._leases)

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            self._change.clear()
            await self._change.wait()

    async def renew_forever(self) -> None:
        """Renew the leases when they are due, until this call is cancelled."""
        while True:
            await asyncio.sleep(self._lease_seconds / RENEWALS_PER_LEASE / 4)
            await self.renew_due()

    async def renew_due(self) -> None:
        """Renew, in one batch, the leases of which a third has passed."""
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
                text = (
                    "has reached the broker's limit for a lease; its task goes on, but may also start again elsewhere"
                )
                self._log(lease, "lease.limit", text)

    async def _extend(self, leases: list[_Lease], seconds: float, now: float) -> None:
        if not leases:
            return
        patience = self._lease_seconds / RENEWALS_PER_LEASE
        try:
            async with asyncio.timeout(patience):
                answers = await self._run(self._broker.extend([lease.delivery for lease in leases], seconds))
        except TimeoutError:
            self._log_not_renewed(leases, f"no answer within {patience:.1f} s")
            return
        except Exception as error:  # whatever the error is, the leases run on
            self._log_not_renewed(leases, error)
            return
        not_renewed: dict[str, list[_Lease]] = {}
        for lease, answer in zip(leases, answers, strict=True):
            if not isinstance(answer, Refused):
                lease.renewed_at = now
            elif isinstance(answer.error, TEMPORARY_ERRORS):
                not_renewed.setdefault(str(answer.error), []).append(lease)
            elif _key(lease.delivery) in self._leases:  # it was not settled in the meantime
                lease.lost = True
                self._log(lease, "lease.lost", f"has lost its lease, so another worker may run it: {answer.error}")
        for reason, affected in not_renewed.items():
            self._log_not_renewed(affected, reason)

    @staticmethod
    def _log_not_renewed(leases: list[_Lease], reason: object) -> None:
        # These leases last for two thirds of their time, and the next attempt comes long before their end.
        fault = isinstance(reason, Exception) and not isinstance(reason, TaskQError)
        extra = {"action": "lease.failed"}
        text = "%d leases could not be renewed, and will be tried again: %s"
        logger.warning(text, len(leases), reason, exc_info=fault, extra=extra)

    @staticmethod
    def _log(lease: _Lease, action: str, text: str) -> None:
        delivery = lease.delivery
        extra = {"action": action, "queue": delivery.queue, "message_id": delivery.message_id}
        logger.warning("message %s of queue %s %s", delivery.message_id, delivery.queue, text, extra=extra)


def _key(delivery: Delivery) -> tuple[str, str]:
    """Tell the delivery from others, also from another delivery of its message."""
    return delivery.queue, delivery.receipt
