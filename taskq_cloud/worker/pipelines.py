"""The pipelines of a worker's deliveries, each from the delivery to its settlement.

A pipeline starts at once. When it yields the run of its task, the delivery waits for a slot, and then for a place in
the pool. The settlement goes to the ``SettlementBatcher``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from taskq_cloud.core.flows import arun, retrying
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.message import Acknowledge, Delivery, Release, Settlement
from taskq_cloud.core.model.outcome import Abandoned, Admission, Admitted, Invocation, Outcome
from taskq_cloud.pools.base import Place, Pool
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.worker.early_acks import EarlyAcks
from taskq_cloud.worker.leases import LeasedDeliveries
from taskq_cloud.worker.ordering import MessageGroups
from taskq_cloud.worker.protection import Protection
from taskq_cloud.worker.settlement import SettlementBatcher
from taskq_cloud.worker.slots import Slots


class Pipelines:
    """Drives the pipelines of a worker's deliveries.

    Args:
        runtime: the application's runtime.
        pool: runs the tasks.
        slots: the slots that runs take.
        leased: the deliveries that the worker has.
        settlements: takes the settlements.
        protection: is told of the time in which tasks run.
        level_of: queue -> its level of priority.

    Attributes:
        running: the pipelines that are under way.
        recording: those of them whose message was acknowledged before its run, and that run nothing now: they record
            an end that is known.
    """

    def __init__(
        self,
        runtime: Runtime,
        pool: Pool,
        slots: Slots,
        leased: LeasedDeliveries,
        settlements: SettlementBatcher,
        protection: Protection,
        level_of: Callable[[str], int],
    ) -> None:
        self.running: set[asyncio.Task[None]] = set()
        self.recording: set[asyncio.Task[Any]] = set()
        self._runtime = runtime
        self._pool = pool
        self._slots = slots
        self._leased = leased
        self._settlements = settlements
        self._protection = protection
        self._level_of = level_of
        self._early_acks = EarlyAcks(runtime.broker, runtime.async_connections.run, leased)
        self._groups = MessageGroups()
        # Receipt -> the place in the pool of a delivery that has a slot, and whose task does not run yet.
        self._places: dict[str, Place] = {}

    def deliver(self, deliveries: list[Delivery]) -> None:
        """Start the pipelines of deliveries."""
        for delivery in deliveries:
            task = asyncio.create_task(self._process(delivery), name=f"message {delivery.message_id}")
            self.running.add(task)
            task.add_done_callback(self.running.discard)
            task.add_done_callback(self.recording.discard)

    async def _process(self, delivery: Delivery) -> None:
        settlement: Settlement | None = None
        begun = False
        try:
            if not self._groups.has_turns(delivery):
                begun = True
                settlement = await self._run_pipeline(delivery)
                return
            async with self._groups.turn(delivery) as turn:
                if not turn.blocked:
                    begun = True
                    settlement = await self._run_pipeline(delivery)
                lost = self._leased.has_lost(delivery) and not self._early_acks.has(delivery)
                turn.blocked = not begun or isinstance(settlement, Release) or lost
        except asyncio.CancelledError:
            pass  # the worker is giving up, so the message goes back to its queue
        finally:
            if self._early_acks.has(delivery):
                self._early_acks.end(delivery, recorded=isinstance(settlement, Acknowledge))
            else:
                # If it was cancelled once it had begun, something may have been done.
                self._settle(Release(delivery, counts=begun) if settlement is None else settlement)

    def _settle(self, settlement: Settlement) -> None:
        delivery = settlement.delivery
        if isinstance(settlement, Release) and self._leased.has_lost(delivery):
            # The message is back in its queue already. Releasing it could take it from another worker.
            self._leased.remove([delivery])
        else:
            self._settlements.settle(settlement)

    async def _run_pipeline(self, delivery: Delivery) -> Settlement:
        try:
            flow = self._runtime.pipeline.process(delivery, offload=True)
            return await arun(retrying(flow), partial(self._perform, delivery))
        except Exception as error:  # the pipeline has let it through; it must never end the worker
            return self._runtime.pipeline.crashed(delivery, error)
        finally:
            self._give_up_place(delivery)

    async def _perform(self, delivery: Delivery, step: Any) -> Any:
        if isinstance(step, Invocation):
            return await self._invoke(delivery, step)
        if isinstance(step, Admission):
            place = await self._acquire_place(delivery)
            return None if place is None else Admitted(place.pid)
        return await self._runtime.async_connections.perform(step)

    async def _invoke(self, delivery: Delivery, invocation: Invocation) -> Outcome:
        place = await self._acquire_place(delivery)
        if place is None:
            return Abandoned()
        first = invocation.acknowledge_first
        if first is not None:
            not_run = await self._early_acks.acknowledge(first)
            if not_run is not None:
                return not_run
            invocation = replace(invocation, acknowledge_first=None)
        del self._places[delivery.receipt]
        try:
            with self._protection.run():
                running = self._pool.run(invocation, place)
                return await (self._acknowledged_run(running) if self._early_acks.has(delivery) else running)
        finally:
            self._slots.release()

    async def _acknowledged_run(self, running: Coroutine[Any, Any, Outcome]) -> Outcome:
        pipeline = asyncio.current_task()
        assert pipeline is not None  # this is a coroutine
        self.recording.discard(pipeline)
        try:
            return await self._early_acks.outcome_of(running)
        finally:
            self.recording.add(pipeline)

    async def _acquire_place(self, delivery: Delivery) -> Place | None:
        """Wait until the delivery has a slot and a place in the pool; None if it gets none, or has lost its lease.

        A delivery that was acknowledged before its run has no lease to lose, and does not come back: its errbacks are
        called even while the worker stops.
        """
        place, acknowledged = self._places.get(delivery.receipt), self._early_acks.has(delivery)
        if place is None:
            if not await self._slots.acquire(self._level_of(delivery.queue), until_free=acknowledged):
                return None
            try:
                place = await self._pool.reserve()
            finally:
                if place is None:
                    self._slots.release()
            if place is None:
                return None
            self._places[delivery.receipt] = place
        # It was lost during the wait, and another worker runs the task.
        if self._leased.has_lost(delivery) and not acknowledged:
            self._give_up_place(delivery)
            return None
        return place

    def _give_up_place(self, delivery: Delivery) -> None:
        place = self._places.pop(delivery.receipt, None)
        if place is not None:
            self._pool.free(place)
            self._slots.release()
