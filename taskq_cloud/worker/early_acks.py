"""Messages that a worker acknowledges before it runs their tasks (``acks_late=False``).

Such a message is not leased any more while its task runs, so it is neither renewed nor settled. Its run is not given
back when the worker stops: it is ended, and its end is recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from taskq_cloud.core.execution import early_acks
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Acknowledge, Delivery
from taskq_cloud.core.model.outcome import Abandoned, Outcome
from taskq_cloud.core.ports import Broker
from taskq_cloud.worker.leases import LeasedDeliveries

logger = logging.getLogger("taskq_cloud.worker")


class EarlyAcks:
    """The deliveries of a worker that are acknowledged already.

    Args:
        broker: acknowledges them.
        run: drives the broker's flows.
        leased: the worker's deliveries; an acknowledged one is removed from it.
    """

    def __init__(self, broker: Broker, run: Callable[[Flow[Any]], Awaitable[Any]], leased: LeasedDeliveries) -> None:
        self._broker = broker
        self._run = run
        self._leased = leased
        self._acknowledged: set[tuple[str, str]] = set()

    async def acknowledge(self, settlement: Acknowledge) -> Outcome | None:
        """Acknowledge a delivery, and return None; or the outcome of its run, which does not begin.

        If the worker gives up meanwhile, the answer of the broker is still waited for: it decides whether the message
        goes back to its queue.
        """
        delivery = settlement.delivery
        asking = asyncio.ensure_future(self._run(early_acks.acknowledge(self._broker, settlement)))
        not_begun, stopped = await self._answer(asking, delivery)
        if not_begun is not None:
            return not_begun
        self._acknowledged.add((delivery.queue, delivery.receipt))
        self._leased.remove([delivery])
        return early_acks.begun(Abandoned("the worker stops")) if stopped else None

    @staticmethod
    async def _answer(asking: asyncio.Future[Outcome | None], delivery: Delivery) -> tuple[Outcome | None, bool]:
        """Wait for the answer of the broker; it comes with whether the worker has given up meanwhile.

        Raises:
            asyncio.CancelledError: the worker has no time left.
        """
        stopped = False
        try:
            await asyncio.shield(asking)
        except asyncio.CancelledError:
            stopped = True
        try:
            return await asking, stopped
        finally:
            if asking.cancelled():
                extra = {"action": "task.may_be_lost", "queue": delivery.queue, "message_id": delivery.message_id}
                text = "message %s of queue %s is lost if the broker has forgotten it: the worker stopped while it "
                text += "waited for the answer to its acknowledgement before the run"
                logger.error(text, delivery.message_id, delivery.queue, extra=extra)

    @staticmethod
    async def outcome_of(run: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Wait for the outcome of an acknowledged delivery's run. If the worker gives up, the run counts as abandoned.

        The cancellation ends here, so that the end of the run is recorded.
        """
        try:
            return early_acks.begun(await run)
        except asyncio.CancelledError:
            return early_acks.begun(Abandoned("the worker stops"))

    def has(self, delivery: Delivery) -> bool:
        """Whether a delivery was acknowledged before its run, and has not come to its end."""
        return (delivery.queue, delivery.receipt) in self._acknowledged

    def end(self, delivery: Delivery, *, recorded: bool) -> None:
        """Forget a delivery that has come to its end.

        Args:
            delivery: the delivery.
            recorded: whether its end was recorded; if not, the worker stopped before.
        """
        self._acknowledged.discard((delivery.queue, delivery.receipt))
        if not recorded:
            extra = {"action": "task.state_not_recorded", "queue": delivery.queue, "message_id": delivery.message_id}
            text = "message %s of queue %s was acknowledged before its run, whose end could not be recorded in time"
            logger.error(text, delivery.message_id, delivery.queue, extra=extra)
