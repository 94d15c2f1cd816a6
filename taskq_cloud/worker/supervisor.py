"""The container worker: starts, watches, drains and ends pollers, a pool, lease renewal and settlement together.

A delivery takes these steps: a poller receives it and adds it to ``LeasedDeliveries``. Its pipeline starts at once.
When the pipeline yields the run, the delivery waits for a slot of the pool. The settlement goes to the
``SettlementBatcher``, which removes the delivery from ``LeasedDeliveries``. When the worker is told to stop, a delivery
that waits for a slot goes back to its queue at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias

from taskq_cloud.core.execution import early_acks
from taskq_cloud.core.flows import arun, retrying
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.message import Delivery, Release, Settlement
from taskq_cloud.core.model.outcome import Abandoned, Admission, Admitted, Invocation, Outcome
from taskq_cloud.core.serializers import json_text
from taskq_cloud.pools.base import GRACE_SECONDS, Place
from taskq_cloud.pools.factory import make_pool
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.worker import burst
from taskq_cloud.worker.early_acks import EarlyAcks
from taskq_cloud.worker.health import HealthServer, report
from taskq_cloud.worker.leases import LeasedDeliveries
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.ordering import MessageGroups
from taskq_cloud.worker.poller import Poller
from taskq_cloud.worker.protection import Protection
from taskq_cloud.worker.settlement import SettlementBatcher
from taskq_cloud.worker.slots import Slots

logger = logging.getLogger("taskq_cloud.worker")

SideService: TypeAlias = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""A service that runs along with the worker until the event is set, such as the ticker of ``--beat``."""

SETTLE_RESERVE_SECONDS: Final = 3
"""The part of the shutdown timeout that is kept for giving back the messages of tasks that still run."""
POOL_RESERVE_SECONDS: Final = GRACE_SECONDS + 0.5
"""The part of the shutdown timeout that is kept for the end of the pool, which gives threads and processes the grace
period to end."""
LAST_RECEIVE_SECONDS: Final = 1
"""How long to wait, once no task runs, for a receive under way: its messages can then be given back at once as well."""


class Worker:
    """One worker, which takes up a process.

    Args:
        runtime: the application's runtime.
        options: the worker's options.
        side_service: a service that runs along with the worker.

    Attributes:
        crashed: a part of the worker has crashed.

    Raises:
        ImproperlyConfigured: the pool doesn't exist, or doesn't have one of the options.
    """

    def __init__(self, runtime: Runtime, options: WorkerOptions, side_service: SideService | None = None) -> None:
        self._runtime = runtime
        self._side_service = side_service
        self._options = options
        self._pool = make_pool(
            options.pool,
            runner=runtime.runner,
            app_path=runtime.app_path,
            concurrency=options.concurrency,
            max_tasks_per_child=options.max_tasks_per_child,
            max_memory_per_child_kib=options.max_memory_per_child,
        )
        run = runtime.async_connections.run
        self._lease_seconds = min(options.visibility_timeout, runtime.broker.capabilities.longest_extension_seconds)
        self._leased = LeasedDeliveries(
            runtime.broker, run, options.capacity, self._lease_seconds, refill=options.refill
        )
        self._slots = Slots(options.concurrency, self._leased.notify, options.priority_weights)
        self._leased.slot_is_idle = lambda: self._slots.idle
        self._leased.count_running = lambda: self._slots.taken
        self._settlements = SettlementBatcher(runtime.broker, run, self._leased)
        self._early_acks = EarlyAcks(runtime.broker, run, self._leased)
        self._groups = MessageGroups()
        self._protection = Protection(options.ecs_agent_uri, options.shutdown_timeout)
        # Receipt -> the place in the pool of a delivery that has a slot, and whose task does not run yet.
        self._places: dict[str, Place] = {}
        self._pipelines: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._giving_up = asyncio.Event()
        self.crashed = False
        self._pollers = [self._poller(queue) for queue in options.queues]

    async def serve(self) -> None:
        """Serve the queues until told to stop, or, in a burst, until they are empty.

        Raises:
            ImproperlyConfigured: the pool can't run the application at all, or a client can't be opened because a
                package or a setting is missing.
            OSError: the health port is taken.
        """
        health = HealthServer(self._options.health_port, self.health) if self._options.health_port is not None else None
        services: list[asyncio.Task[None]] = []
        try:
            if health is not None:
                await health.start()
            if await self._start_pool():
                services = [
                    asyncio.create_task(self._watch("the renewal of leases", self._leased.renew_forever())),
                    asyncio.create_task(self._watch("settlement", self._settlements.settle_forever())),
                    asyncio.create_task(self._watch("task protection", self._protection.check_forever())),
                ]
                await self._serve()
        finally:
            for service in services:
                service.cancel()
            await asyncio.gather(*services, return_exceptions=True)
            await asyncio.gather(self._pool.stop(), self._protection.stop())
            if health is not None:
                await health.stop()
            await self._runtime.async_connections.close()

    def stop(self, give_up: bool = False) -> None:
        """Receive no more messages, let running tasks finish, and give back the other messages.

        Args:
            give_up: also end the running tasks and give back their messages. A second call always does so.
        """
        if give_up or self._stopping.is_set():
            self._giving_up.set()
        self._stopping.set()
        self._slots.close()

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the worker is healthy, and the JSON body that ``/healthz`` answers with."""
        queues = {poller.queue: poller.health for poller in self._pollers}
        healthy, body = report(queues, self._options.wait_time_seconds, time.monotonic())
        return healthy, {**body, "held": len(self._leased), "stopping": self._stopping.is_set()}

    def _poller(self, queue: str) -> Poller:
        options, broker = self._options, self._runtime.broker
        wait_seconds = options.wait_time_seconds
        if options.burst:
            wait_seconds = min(wait_seconds, LAST_RECEIVE_SECONDS)

        async def receive(limit: int) -> list[Delivery]:
            flow = broker.receive(queue, limit, wait_seconds, self._lease_seconds)
            return await self._runtime.async_connections.run(flow)

        batch = min(broker.capabilities.receive_batch, options.share)
        return Poller(queue, receive, self._leased, batch, self._deliver, options.level_of(queue))

    # -- from start to stop

    async def _start_pool(self) -> bool:
        """Start the pool. Return False if the worker is stopped first: a child's import may never come to an end."""
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                return True
            logger.info("stopped before it was ready", extra={"action": "worker.stopped"})
            return False
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)

    async def _start(self) -> None:
        json_text.prefer_msgspec()
        await self._runtime.async_connections.open()
        await self._pool.start()

    async def _serve(self) -> None:
        polls = [asyncio.create_task(self._watch(f"queue {p.queue}", p.poll(self._stopping))) for p in self._pollers]
        ending = asyncio.create_task(self._watch("burst", self._stop_when_empty())) if self._options.burst else None
        side_service = (
            asyncio.create_task(self._watch("beat", self._side_service(self._stopping))) if self._side_service else None
        )
        logger.info("ready: serves %s", ", ".join(self._options.queues), extra={"action": "worker.ready"})
        try:
            await self._stopping.wait()
            logger.info("stopping: %d messages are not settled", len(self._leased), extra={"action": "worker.stopping"})
            await self._drain(polls)
            if side_service is not None:
                await asyncio.wait((side_service,), timeout=LAST_RECEIVE_SECONDS)
        finally:
            for task in filter(None, (*polls, ending, side_service)):
                task.cancel()
            await asyncio.gather(*filter(None, (*polls, ending, side_service)), return_exceptions=True)

    async def _drain(self, polls: list[asyncio.Task[None]]) -> None:
        """Let running tasks come to their end, then give back the other messages, within the shutdown timeout."""
        loop, timeout = asyncio.get_running_loop(), self._options.shutdown_timeout
        ends_at = loop.time() + timeout - min(POOL_RESERVE_SECONDS, timeout / 4)
        reserve = min(SETTLE_RESERVE_SECONDS, timeout / 2)
        await self._wait_for_pipelines(ends_at - reserve)
        if not self._giving_up.is_set():
            last = min(loop.time() + LAST_RECEIVE_SECONDS, ends_at - reserve)
            await asyncio.wait(polls, timeout=max(0.0, last - loop.time()))
            await self._wait_for_pipelines(ends_at - reserve)
        left = [*polls, *self._pipelines]
        self._settlements.hurry()
        # A run whose message was acknowledged before is recorded as failed, as far as there is time.
        for seconds in (max(0.0, ends_at - loop.time()), None):
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=seconds)
        try:
            async with asyncio.timeout_at(ends_at):
                await self._leased.wait_until_empty()
            logger.info("stopped: all messages are settled", extra={"action": "worker.stopped"})
        except TimeoutError:
            extra = {"action": "worker.stopped"}
            text = "stopped: %d messages could not be settled, and come back when their leases end"
            logger.warning(text, len(self._leased), extra=extra)

    async def _wait_for_pipelines(self, until: float) -> None:
        """Wait until no pipeline is under way, the time is over, or a second signal has come."""
        giving_up = asyncio.create_task(self._giving_up.wait())
        try:
            while self._pipelines and not giving_up.done():
                left = until - asyncio.get_running_loop().time()
                if left <= 0:
                    return
                await asyncio.wait((giving_up, *self._pipelines), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            giving_up.cancel()

    async def _stop_when_empty(self) -> None:
        """Stop the worker once all its messages are settled and every queue is empty."""
        await burst.until_empty(self._runtime, self._pollers, lambda: bool(len(self._leased) or self._pipelines))
        self.stop()

    async def _watch(self, part: str, service: Coroutine[Any, Any, None]) -> None:
        """Run a part of the worker. If a fault of this package crashes it, stop the worker in order."""
        try:
            await service
        except Exception:
            text = "%s crashed because of a fault in taskq_cloud, so the worker stops; please report the fault"
            logger.critical(text, part, exc_info=True, extra={"action": "worker.crashed"})
            self.crashed = True
            self.stop()

    # -- from a delivery to its settlement

    def _deliver(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            task = asyncio.create_task(self._process(delivery), name=f"message {delivery.message_id}")
            self._pipelines.add(task)
            task.add_done_callback(self._pipelines.discard)

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
                self._early_acks.end(delivery, recorded=settlement is not None)
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
            error = await self._early_acks.acknowledge(first)
            if error is not None:
                return early_acks.not_begun(error)
            invocation = replace(invocation, acknowledge_first=None)
        del self._places[delivery.receipt]
        try:
            with self._protection.run():
                running = self._pool.run(invocation, place)
                return await (running if first is None else self._early_acks.outcome_of(running))
        finally:
            self._slots.release()

    async def _acquire_place(self, delivery: Delivery) -> Place | None:
        """Wait until the delivery has a slot and a place in the pool; None if it gets none, or has lost its lease."""
        place = self._places.get(delivery.receipt)
        if place is None:
            if not await self._slots.acquire(self._options.level_of(delivery.queue)):
                return None
            try:
                place = await self._pool.reserve()
            finally:
                if place is None:
                    self._slots.release()
            if place is None:
                return None
            self._places[delivery.receipt] = place
        if self._leased.has_lost(delivery):  # it was lost during the wait, and another worker runs the task
            self._give_up_place(delivery)
            return None
        return place

    def _give_up_place(self, delivery: Delivery) -> None:
        place = self._places.pop(delivery.receipt, None)
        if place is not None:
            self._pool.free(place)
            self._slots.release()
