"""Settle deliveries in batches: acknowledgements, releases and dead letters, with one call for about ten of them.

A settlement waits a tenth of a second for others, unless its delivery takes up the room that an idle slot needs. Until
it is done, its delivery stays leased. A settlement that gets no answer is tried again by itself, so that it does not
delay the settlements of another queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import DeadLetter, Delivery, Refused, Release, Settlement
from taskq_cloud.core.ports import Broker
from taskq_cloud.errors import AccessDenied, TaskQError, Unreachable
from taskq_cloud.worker.leases import LeasedDeliveries

logger = logging.getLogger("taskq_cloud.worker")

LINGER_SECONDS: Final = 0.1
LEAST_FULL_BATCH: Final = 10
"""A batch with fewer settlements than this is never full. It is SQS's largest batch."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15
REFUSED_DEAD_LETTER_FIRST_DELAY_SECONDS: Final = 30
LONGEST_DELAY_SECONDS: Final = 900


@dataclass(slots=True, eq=False)
class _Pending:
    """A settlement that isn't done yet, and how often it has failed."""

    settlement: Settlement
    failures: int = 0


class SettlementBatcher:
    """Settles deliveries in batches.

    Args:
        broker: carries out the settlements.
        run: drives the broker's flows.
        leased: the worker's deliveries; settled deliveries are removed from it.
    """

    def __init__(self, broker: Broker, run: Callable[[Flow[Any]], Awaitable[Any]], leased: LeasedDeliveries) -> None:
        self._broker = broker
        self._run = run
        self._leased = leased
        self._waiting: list[_Pending] = []
        self._paused: list[list[_Pending]] = []
        self._batch_is_due = asyncio.Event()
        self._has_waiting = asyncio.Event()
        self._hurry = False
        # Half of the room: while these are settled, the other half keeps the slots busy.
        half = max(LEAST_FULL_BATCH, leased.capacity // 2)
        self._full_batch = min(broker.capabilities.send_batch, half)

    def settle(self, settlement: Settlement) -> None:
        """Settle a delivery with the next batch."""
        self._submit([_Pending(settlement)])

    def hurry(self) -> None:
        """From now on, settle at once and keep the pauses after failures short, because the worker is stopping."""
        self._hurry = True
        self._batch_is_due.set()
        for batch in list(self._paused):
            self._resume(batch)

    async def settle_forever(self) -> None:
        """Carry out settlements until this call is cancelled. If the broker is silent, they are tried again."""
        while True:
            await self._has_waiting.wait()
            if not self._hurry:
                with suppress(TimeoutError):  # no full batch has come together, so this batch goes as it is
                    async with asyncio.timeout(LINGER_SECONDS):
                        await self._batch_is_due.wait()
            batch, self._waiting = self._waiting, []
            self._has_waiting.clear()
            if not self._hurry:
                self._batch_is_due.clear()
            await self._settle(batch)

    def _submit(self, batch: Sequence[_Pending]) -> None:
        self._waiting += batch
        self._has_waiting.set()
        full = len(self._waiting) >= self._full_batch
        if full or self._hurry or self._leased.settlements_block_slot(len(self._waiting)):
            self._batch_is_due.set()

    async def _settle(self, batch: list[_Pending]) -> None:
        try:
            answers = await self._run(self._broker.settle([pending.settlement for pending in batch]))
        except Exception as error:  # whatever the error is, its cause may go away
            self._pause(batch, error)
            return
        done: list[Delivery] = []
        again: list[_Pending] = []
        reason: Exception | None = None
        for pending, answer in zip(batch, answers, strict=True):
            settlement = pending.settlement
            if isinstance(answer, Refused) and self._is_worth_another_try(settlement, answer.error):
                again.append(pending)
                reason = reason or answer.error
            elif isinstance(answer, Refused) and isinstance(settlement, DeadLetter):
                self._release_dead_letter(settlement, answer)
            else:
                if isinstance(answer, Refused):
                    # The lease will lapse. When the message is delivered again, the store knows whether its task ran.
                    self._log(settlement, f"could not be settled, so it will be received again: {answer.error}")
                done.append(settlement.delivery)
        self._leased.remove(done)
        if reason is not None:
            self._pause(again, reason)

    def _is_worth_another_try(self, settlement: Settlement, error: Exception) -> bool:
        """Return whether a later try may succeed. The message stays leased until then, so its task isn't run again.

        A release that is denied needs no other try: the message comes back when its lease ends. An acknowledgement that
        is denied is tried again only while the lease lasts, so that missing permissions don't fill the worker with
        messages whose leases it has lost.
        """
        lost = self._leased.has_lost(settlement.delivery)
        if isinstance(settlement, Release):
            return isinstance(error, Unreachable) and not lost
        return isinstance(error, Unreachable) or (isinstance(error, AccessDenied) and not lost)

    def _pause(self, batch: list[_Pending], error: Exception) -> None:
        for pending in batch:
            pending.failures += 1
        longest = FIRST_PAUSE_SECONDS if self._hurry else LONGEST_PAUSE_SECONDS
        pause = growing_delay(max(pending.failures for pending in batch), FIRST_PAUSE_SECONDS, longest)
        self._paused.append(batch)
        asyncio.get_running_loop().call_later(pause, self._resume, batch)
        extra = {"action": "settle.failed"}
        fault = None if isinstance(error, TaskQError) else error
        text = "%d settlements failed, and will be tried again in %.1f s: %s"
        logger.warning(text, len(batch), pause, error, exc_info=fault, extra=extra)

    def _resume(self, batch: list[_Pending]) -> None:
        if batch in self._paused:
            self._paused.remove(batch)
            self._submit(batch)

    def _release_dead_letter(self, settlement: DeadLetter, answer: Refused) -> None:
        delivery = settlement.delivery
        after = growing_delay(delivery.receive_count, REFUSED_DEAD_LETTER_FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
        self._log(settlement, f"could not be dead-lettered, and is given back for {after:.0f} s: {answer.error}")
        self.settle(Release(delivery, after))

    @staticmethod
    def _log(settlement: Settlement, text: str) -> None:
        delivery = settlement.delivery
        extra = {"action": "settle.refused", "queue": delivery.queue, "message_id": delivery.message_id}
        logger.error("message %s of queue %s %s", delivery.message_id, delivery.queue, text, extra=extra)
