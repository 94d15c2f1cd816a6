"""Receive a queue's messages while the worker runs. An error is logged, shown in ``/healthz``, and retried."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.model.message import Delivery
from taskq_cloud.errors import TaskQError
from taskq_cloud.worker.leases import LeasedDeliveries

logger = logging.getLogger("taskq_cloud.worker")

FIRST_PAUSE_SECONDS: Final = 1
LONGEST_PAUSE_SECONDS: Final = 30


@dataclass(slots=True)
class PollHealth:
    """The state of a queue's polling.

    Args:
        polled_at: when a receive last succeeded, on the monotonic clock; before the first, when polling began.
        waiting_for_room: no receive is due because the worker is full.
        error: the text of the last receive's error, or None if it succeeded.
        empty_receives: how many of the latest receives in a row returned no message.
    """

    polled_at: float
    waiting_for_room: bool = False
    error: str | None = None
    empty_receives: int = 0


class Poller:
    """Receives the messages of one queue.

    Args:
        queue: the queue's name.
        receive: receives at most the given number of messages from the queue.
        leased: the worker's deliveries, which say how many messages there is room for.
        batch: the largest number of messages to ask for at a time; it may be changed.
        deliver: called with the received deliveries.
        level: the queue's level of priority.
    """

    def __init__(
        self,
        queue: str,
        receive: Callable[[int], Awaitable[list[Delivery]]],
        leased: LeasedDeliveries,
        batch: int,
        deliver: Callable[[list[Delivery]], None],
        level: int = 0,
    ) -> None:
        self.queue = queue
        self.health = PollHealth(time.monotonic())
        self._receive = receive
        self._leased = leased
        self.batch = batch
        self._deliver = deliver
        self._level = level
        self._failures = 0

    async def poll(self, stop: asyncio.Event) -> None:
        """Receive until ``stop`` is set. Messages of a receive that is under way by then are still delivered."""
        while True:
            room = await self._reserve_room(stop)
            if room == 0:
                return
            deliveries: list[Delivery] = []
            failure: Exception | None = None
            try:
                deliveries = await self._receive_up_to(room)
            except Exception as error:  # whatever the error is, its cause may go away
                failure = error
            finally:
                self._leased.add(deliveries, room, self._level)
            self._deliver(deliveries)
            if failure is not None:
                await self._pause(failure, stop)

    async def _reserve_room(self, stop: asyncio.Event) -> int:
        """Reserve room and return it, in messages. Return 0 once the worker stops."""
        self.health.waiting_for_room = True
        reserving = asyncio.ensure_future(self._leased.reserve(self.batch, self._level))
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
            self._leased.add((), reserving.result(), self._level)
            return 0
        return reserving.result()

    async def _receive_up_to(self, room: int) -> list[Delivery]:
        deliveries = await self._receive(room)
        if self.health.error is not None:
            extra = {"action": "poll.recovered", "queue": self.queue}
            logger.info("messages can be received from queue %s again", self.queue, extra=extra)
        self.health.polled_at, self.health.error, self._failures = time.monotonic(), None, 0
        self.health.empty_receives = 0 if deliveries else self.health.empty_receives + 1
        return deliveries

    async def _pause(self, error: Exception, stop: asyncio.Event) -> None:
        self._failures += 1
        self.health.error = str(error)
        pause = growing_delay(self._failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        extra = {"action": "poll.failed", "queue": self.queue}
        logger.error(
            "no messages can be received from queue %s; next attempt in %.0f s: %s",
            self.queue,
            pause,
            error,
            exc_info=None if isinstance(error, TaskQError) else error,
            extra=extra,
        )
        with suppress(TimeoutError):  # the pause is over
            async with asyncio.timeout(pause):
                await stop.wait()
