"""Receives a queue's messages, for as long as the worker runs: an error is logged, shown in the health, and retried."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Delivery
from taskq_cloud.core.ports import Broker
from taskq_cloud.errors import TaskQError
from taskq_cloud.worker.leases import LeasedDeliveries

logger = logging.getLogger("taskq_cloud.worker")

FIRST_PAUSE_SECONDS: Final = 1
LONGEST_PAUSE_SECONDS: Final = 30


@dataclass(slots=True)
class PollHealth:
    """How a queue's polling goes.

    Args:
        polled_at: when a receive last succeeded, on the monotonic clock; at first, when polling began.
        waiting_for_room: no receive is due, as the worker is full.
        error: what the last receive failed with; None where it succeeded.
        empty_receives: how many of the last receives brought nothing.
    """

    polled_at: float
    waiting_for_room: bool = False
    error: str | None = None
    empty_receives: int = 0


class Poller:
    """Receives the messages of one queue.

    Args:
        broker: where the queue is.
        run: drives the broker's flows.
        queue: the queue.
        held: says how many messages there is room for.
        batch: messages asked for at a time, at most.
        wait_seconds: how long a receive waits.
        lease_seconds: how long what is received is leased.
        deliver: takes what was received.
    """

    def __init__(  # noqa: PLR0917 - the parts of a worker meet here
        self,
        broker: Broker,
        run: Callable[[Flow[Any]], Awaitable[Any]],
        queue: str,
        held: LeasedDeliveries,
        batch: int,
        wait_seconds: float,
        lease_seconds: float,
        deliver: Callable[[list[Delivery]], None],
    ) -> None:
        self.queue = queue
        self.health = PollHealth(time.monotonic())
        self._broker = broker
        self._run = run
        self._held = held
        self._batch = batch
        self._wait_seconds = wait_seconds
        self._lease_seconds = lease_seconds
        self._deliver = deliver
        self._failures = 0

    async def poll(self, stop: asyncio.Event) -> None:
        """Receive until ``stop`` is set; what a receive that is under way then brings is still delivered."""
        while True:
            room = await self._room(stop)
            if room == 0:
                return
            deliveries: list[Delivery] = []
            failure: Exception | None = None
            try:
                deliveries = await self._receive(room)
            except Exception as error:  # whatever it is, the cause may go away
                failure = error
            finally:
                self._held.take(deliveries, room)
            self._deliver(deliveries)
            if failure is not None:
                await self._pause(failure, stop)

    async def _room(self, stop: asyncio.Event) -> int:
        """Reserve room, or 0 once the worker stops."""
        self.health.waiting_for_room = True
        reserving = asyncio.ensure_future(self._held.reserve(self._batch))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((reserving, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.health.waiting_for_room = False
            stopping.cancel()
            reserving.cancel()
        if not reserving.done():
            return 0
        if stop.is_set():
            self._held.take((), reserving.result())
            return 0
        return reserving.result()

    async def _receive(self, room: int) -> list[Delivery]:
        deliveries: list[Delivery] = await self._run(
            self._broker.receive(self.queue, room, self._wait_seconds, self._lease_seconds)
        )
        if self.health.error is not None:
            extra = {"action": "poll.recovered", "queue": self.queue}
            logger.info("queue %s is received from again", self.queue, extra=extra)
        self.health.polled_at, self.health.error, self._failures = time.monotonic(), None, 0
        self.health.empty_receives = 0 if deliveries else self.health.empty_receives + 1
        return deliveries

    async def _pause(self, error: Exception, stop: asyncio.Event) -> None:
        self._failures += 1
        self.health.error = str(error)
        pause = growing_delay(self._failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        extra = {"action": "poll.failed", "queue": self.queue}
        logger.error(
            "queue %s can't be received from; tried again in %.0f s: %s",
            self.queue,
            pause,
            error,
            exc_info=None if isinstance(error, TaskQError) else error,
            extra=extra,
        )
        with suppress(TimeoutError):  # the pause is over
            async with asyncio.timeout(pause):
                await stop.wait()
