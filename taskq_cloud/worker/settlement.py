"""Settles deliveries in batches: acknowledgements, releases and dead letters, a call for every ten.

A settlement waits a tenth of a second for others, unless its delivery takes the room that an idle slot waits for. The
delivery is held, and its lease renewed, until it is done. One that gets no answer is made again, on its own time: it
must not keep those of another queue waiting.
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
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15
REFUSED_DEAD_LETTER_FIRST_DELAY_SECONDS: Final = 30
LONGEST_DELAY_SECONDS: Final = 900


@dataclass(slots=True, eq=False)
class _Open:
    """A settlement that is not done, and how often it has failed."""

    settlement: Settlement
    failures: int = 0


class SettlementBatcher:
    """Settles deliveries.

    Args:
        broker: carries settlements out.
        run: drives the broker's flows.
        held: lets go of what is settled.
    """

    def __init__(self, broker: Broker, run: Callable[[Flow[Any]], Awaitable[Any]], held: LeasedDeliveries) -> None:
        self._broker = broker
        self._run = run
        self._held = held
        self._waiting: list[_Open] = []
        self._paused: list[list[_Open]] = []
        self._full = asyncio.Event()
        self._some = asyncio.Event()
        self._hurry = False

    def settle(self, settlement: Settlement) -> None:
        """Settle a delivery, soon."""
        self._submit([_Open(settlement)])

    def hurry(self) -> None:
        """Wait for no others any more, nor for long after a failure: the worker is stopping."""
        self._hurry = True
        self._full.set()
        for group in list(self._paused):
            self._resume(group)

    async def settle_all(self) -> None:
        """Carry settlements out, for as long as this is not cancelled. A silent broker is asked again and again."""
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
            await self._settle(batch)

    def _submit(self, opened: Sequence[_Open]) -> None:
        self._waiting += opened
        self._some.set()
        batch = self._broker.capabilities.send_batch
        if len(self._waiting) >= batch or self._hurry or self._held.blocked_by(len(self._waiting)):
            self._full.set()

    async def _settle(self, batch: list[_Open]) -> None:
        try:
            answers = await self._run(self._broker.settle([opened.settlement for opened in batch]))
        except Exception as error:  # whatever it is, the cause may go away
            self._pause(batch, error)
            return
        done: list[Delivery] = []
        silent: list[_Open] = []
        reason: Exception | None = None
        for opened, answer in zip(batch, answers, strict=True):
            settlement = opened.settlement
            if isinstance(answer, Refused) and self._is_worth_another_try(settlement, answer.error):
                silent.append(opened)
                reason = reason or answer.error
            elif isinstance(answer, Refused) and isinstance(settlement, DeadLetter):
                self._give_back(settlement, answer)
            else:
                if isinstance(answer, Refused):
                    # Its lease will lapse, and the store knows what has been done.
                    self._say(settlement, f"was not settled and will come again: {answer.error}")
                done.append(settlement.delivery)
        self._held.let_go(done)
        if reason is not None:
            self._pause(silent, reason)

    def _is_worth_another_try(self, settlement: Settlement, error: Exception) -> bool:
        """Whether no answer came that stays: then the message is held on to, for it would come, and run, again.

        What may not be given back comes back with its lease's end; what may not be acknowledged is held as long as its
        lease is, so that missing permissions fill no worker with messages that are no longer its own.
        """
        lost = self._held.has_lost(settlement.delivery)
        if isinstance(settlement, Release):
            return isinstance(error, Unreachable) and not lost
        return isinstance(error, Unreachable) or (isinstance(error, AccessDenied) and not lost)

    def _pause(self, group: list[_Open], error: Exception) -> None:
        for opened in group:
            opened.failures += 1
        longest = FIRST_PAUSE_SECONDS if self._hurry else LONGEST_PAUSE_SECONDS
        pause = growing_delay(max(opened.failures for opened in group), FIRST_PAUSE_SECONDS, longest)
        self._paused.append(group)
        asyncio.get_running_loop().call_later(pause, self._resume, group)
        extra = {"action": "settle.failed"}
        fault = None if isinstance(error, TaskQError) else error
        logger.warning("%d settlements wait %.1f s: %s", len(group), pause, error, exc_info=fault, extra=extra)

    def _resume(self, group: list[_Open]) -> None:
        if group in self._paused:
            self._paused.remove(group)
            self._submit(group)

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
