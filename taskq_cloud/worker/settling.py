"""Settles deliveries in batches: acknowledgements, releases and dead letters, a call for every ten.

A settlement waits a tenth of a second for others, unless its delivery takes the room that an idle slot waits for. The
delivery is held, and its lease renewed, until it is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from taskq_cloud.core.calls import Flow
from taskq_cloud.core.message import DeadLetter, Refused, Release, Settlement
from taskq_cloud.core.ports import Broker
from taskq_cloud.core.sending import growing_delay
from taskq_cloud.errors import TaskQError
from taskq_cloud.worker.holding import Held

logger = logging.getLogger("taskq_cloud.worker")

LINGER_SECONDS: Final = 0.1
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15
REFUSED_DEAD_LETTER_FIRST_DELAY_SECONDS: Final = 30
LONGEST_DELAY_SECONDS: Final = 900


class Settler:
    """Settles deliveries.

    Args:
        broker: carries settlements out.
        run: drives the broker's flows.
        held: lets go of what is settled.
    """

    def __init__(self, broker: Broker, run: Callable[[Flow[Any]], Awaitable[Any]], held: Held) -> None:
        self._broker = broker
        self._run = run
        self._held = held
        self._waiting: list[Settlement] = []
        self._full = asyncio.Event()
        self._some = asyncio.Event()
        self._hurry = False

    def settle(self, settlement: Settlement) -> None:
        """Settle a delivery, soon."""
        self._waiting.append(settlement)
        self._some.set()
        batch = self._broker.capabilities.send_batch
        if len(self._waiting) >= batch or self._hurry or self._held.blocked_by(len(self._waiting)):
            self._full.set()

    def hurry(self) -> None:
        """Wait for no others any more: the worker is stopping."""
        self._hurry = True
        self._full.set()

    async def settle_all(self) -> None:
        """Carry settlements out, for as long as this is not cancelled. A silent broker is asked again and again."""
        failures = 0
        while True:
            await self._some.wait()
            if not self._hurry:
                with suppress(TimeoutError):  # no others have come: this batch goes as it is
                    async with asyncio.timeout(LINGER_SECONDS):
                        await self._full.wait()
            batch, self._waiting = self._waiting, []
            self._some.clear()
            if not self._hurry:
                self._full.clear()
            try:
                await self._settle(batch)
                failures = 0
            except Exception as error:
                failures += 1
                self._waiting[:0] = batch
                self._some.set()
                pause = growing_delay(failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
                extra = {"action": "settle.failed"}
                fault = not isinstance(error, TaskQError)
                logger.warning("%d settlements wait %.1f s: %s", len(batch), pause, error, exc_info=fault, extra=extra)
                await asyncio.sleep(pause)

    async def _settle(self, batch: list[Settlement]) -> None:
        answers = await self._run(self._broker.settle(batch))
        done = []
        for settlement, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Refused) and isinstance(settlement, DeadLetter):
                self._give_back(settlement, answer)
                continue
            if isinstance(answer, Refused):
                # Its lease will lapse, and the store knows what has been done.
                self._say(settlement, f"was not settled and will come again: {answer.error}")
            done.append(settlement.delivery)
        self._held.let_go(done)

    def _give_back(self, settlement: DeadLetter, answer: Refused) -> None:
        delivery = settlement.delivery
        after = growing_delay(delivery.receive_count, REFUSED_DEAD_LETTER_FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
        self._say(settlement, f"can't be dead-lettered, so it is given back for {after:.0f} s: {answer.error}")
        self.settle(Release(delivery, after))

    @staticmethod
    def _say(settlement: Settlement, text: str) -> None:
        delivery = settlement.delivery
        extra = {"action": "settle.refused", "queue": delivery.queue, "message_id": delivery.message_id}
        logger.error("message %s of queue %s %s", delivery.message_id, delivery.queue, text, extra=extra)
