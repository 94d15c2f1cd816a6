"""The container worker: pollers, a pool, leases and settling, started, watched over, drained and ended together.

The way of a delivery: a poller receives it into ``LeasedDeliveries``. Its pipeline starts at once and waits for a slot
of the pool where it yields the run. Its settlement goes to the ``SettlementBatcher``, which lets go of it. A delivery
that waits for a slot when the worker is told to stop goes back to its queue at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias

from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.flows import arun, retrying
from taskq_cloud.core.model.message import Delivery, Release, Settlement
from taskq_cloud.core.model.outcome import Abandoned, Admission, Invocation, Outcome
from taskq_cloud.errors import TaskQError
from taskq_cloud.pools.base import GRACE_SECONDS
from taskq_cloud.pools.factory import make_pool
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.worker.health import HealthServer, report
from taskq_cloud.worker.leases import LeasedDeliveries
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.ordering import Groups
from taskq_cloud.worker.poller import Poller
from taskq_cloud.worker.protection import Protection
from taskq_cloud.worker.settlement import SettlementBatcher
from taskq_cloud.worker.slots import Slots

logger = logging.getLogger("taskq_cloud.worker")

Beside: TypeAlias = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""What a worker does beside serving its queues, until the event is set."""

SETTLE_RESERVE_SECONDS: Final = 3
"""Of the shutdown timeout, kept for giving back what was still running."""
POOL_RESERVE_SECONDS: Final = GRACE_SECONDS + 0.5
"""And for the end of the pool, which waits that long for a thread or a process that won't end."""
LAST_RECEIVE_SECONDS: Final = 1
"""How long a receive under way is waited for once nothing runs: what it brings can go back at once, too."""
BURST_LOOK_SECONDS: Final = 0.5
BURST_EMPTY_RECEIVES: Final = 5
"""In a row, of a queue whose broker doesn't count its messages: one that brings nothing says little."""
CRASHED_FIRST_DELAY_SECONDS: Final = 30
LONGEST_DELAY_SECONDS: Final = 900


class Worker:
    """One worker process.

    Args:
        runtime: the application.
        options: how it is run.
        beside: what else it does.

    Raises:
        ImproperlyConfigured: there is no such pool, or it can't be run so.
    """

    def __init__(self, runtime: Runtime, options: WorkerOptions, beside: Beside | None = None) -> None:
        self._runtime = runtime
        self._beside = beside
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
        self._held = LeasedDeliveries(runtime.broker, run, options.capacity, self._lease_seconds)
        self._slots = Slots(options.concurrency, self._held.changed)
        self._held.starving = lambda: self._slots.idle
        self._held.running = lambda: self._slots.taken
        self._settler = SettlementBatcher(runtime.broker, run, self._held)
        self._groups = Groups()
        self._protection = Protection(options.ecs_agent_uri, options.shutdown_timeout)
        self._admitted: set[str] = set()
        self._pipelines: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._giving_up = asyncio.Event()
        self.crashed = False
        self._pollers = [self._poller(queue) for queue in options.queues]

    async def serve(self) -> None:
        """Serve the queues until told to stop, or, in a burst, until they are empty.

        Raises:
            ImproperlyConfigured: the pool can't run the application at all.
            OSError: the health port is taken.
        """
        health = HealthServer(self._options.health_port, self.health) if self._options.health_port is not None else None
        services: list[asyncio.Task[None]] = []
        try:
            if health is not None:
                await health.start()
            if await self._start_pool():
                services = [
                    asyncio.create_task(self._watched("leases", self._held.keep_leases())),
                    asyncio.create_task(self._watched("settling", self._settler.settle_all())),
                    asyncio.create_task(self._watched("protection", self._protection.keep())),
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
        """Receive nothing more, finish what runs, give back the rest. Called again: give back what runs, too."""
        if give_up or self._stopping.is_set():
            self._giving_up.set()
        self._stopping.set()
        self._slots.close()

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether the worker is alive, and what it looks like."""
        queues = {poller.queue: poller.health for poller in self._pollers}
        healthy, body = report(queues, self._options.wait_time_seconds, time.monotonic())
        return healthy, {**body, "held": len(self._held), "stopping": self._stopping.is_set()}

    def _poller(self, queue: str) -> Poller:
        options, broker = self._options, self._runtime.broker
        return Poller(
            broker,
            self._runtime.async_connections.run,
            queue,
            self._held,
            batch=min(broker.capabilities.receive_batch, options.share),
            wait_seconds=min(options.wait_time_seconds, LAST_RECEIVE_SECONDS)
            if options.burst
            else options.wait_time_seconds,
            lease_seconds=self._lease_seconds,
            deliver=self._deliver,
        )

    # -- from start to stop

    async def _start_pool(self) -> bool:
        """Start the pool; False where the worker was stopped before: an import in a child may never come to its end."""
        starting = asyncio.create_task(self._pool.start())
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

    async def _serve(self) -> None:
        polls = [asyncio.create_task(self._watched(f"queue {p.queue}", p.poll(self._stopping))) for p in self._pollers]
        burst = asyncio.create_task(self._watched("burst", self._stop_when_empty())) if self._options.burst else None
        beside = asyncio.create_task(self._watched("beat", self._beside(self._stopping))) if self._beside else None
        logger.info("ready: serves %s", ", ".join(self._options.queues), extra={"action": "worker.ready"})
        try:
            await self._stopping.wait()
            logger.info("stopping: %d messages held", len(self._held), extra={"action": "worker.stopping"})
            await self._drain(polls)
            if beside is not None:
                await asyncio.wait((beside,), timeout=LAST_RECEIVE_SECONDS)
        finally:
            for task in filter(None, (*polls, burst, beside)):
                task.cancel()
            await asyncio.gather(*filter(None, (*polls, burst, beside)), return_exceptions=True)

    async def _drain(self, polls: list[asyncio.Task[None]]) -> None:
        """Let what runs come to its end, then give back what has not; all within the shutdown timeout."""
        loop, timeout = asyncio.get_running_loop(), self._options.shutdown_timeout
        ends_at = loop.time() + timeout - min(POOL_RESERVE_SECONDS, timeout / 4)
        reserve = min(SETTLE_RESERVE_SECONDS, timeout / 2)
        await self._quiet(ends_at - reserve)
        if not self._giving_up.is_set():
            last = min(loop.time() + LAST_RECEIVE_SECONDS, ends_at - reserve)
            await asyncio.wait(polls, timeout=max(0.0, last - loop.time()))
            await self._quiet(ends_at - reserve)
        for task in (*polls, *self._pipelines):
            task.cancel()
        self._settler.hurry()
        await asyncio.gather(*polls, *self._pipelines, return_exceptions=True)
        try:
            async with asyncio.timeout_at(ends_at):
                await self._held.empty()
            logger.info("stopped: nothing is held", extra={"action": "worker.stopped"})
        except TimeoutError:
            extra = {"action": "worker.stopped"}
            logger.warning("stopped: %d messages come back when their leases end", len(self._held), extra=extra)

    async def _quiet(self, until: float) -> None:
        """Wait until no pipeline is under way, the time is over, or a second signal came."""
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
        """Stop once nothing is held and every queue says that it is empty."""
        broker, run = self._runtime.broker, self._runtime.async_connections.run
        while True:
            await asyncio.sleep(BURST_LOOK_SECONDS)
            if len(self._held) or self._pipelines:
                continue
            try:
                depths = [await run(broker.depth(queue)) for queue in self._options.queues]
            except TaskQError as error:
                logger.warning("can't tell whether the queues are empty: %s", error, extra={"action": "depth.failed"})
                continue
            unknown = [poller.health for poller, depth in zip(self._pollers, depths, strict=True) if depth is None]
            empty = all(depth.waiting == depth.delayed == depth.in_flight == 0 for depth in depths if depth is not None)
            empty = empty and all(health.empty_receives >= BURST_EMPTY_RECEIVES for health in unknown)
            if empty and not len(self._held):
                self.stop()
                return

    async def _watched(self, what: str, service: Coroutine[Any, Any, None]) -> None:
        """Run a part of the worker; if it crashes, by a fault of ours, the worker ends in order and not in silence."""
        try:
            await service
        except Exception:
            logger.critical("%s crashed; the worker stops", what, exc_info=True, extra={"action": "worker.crashed"})
            self.crashed = True
            self.stop()

    # -- a delivery's way

    def _deliver(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            task = asyncio.create_task(self._process(delivery), name=f"message {delivery.message_id}")
            self._pipelines.add(task)
            task.add_done_callback(self._pipelines.discard)

    async def _process(self, delivery: Delivery) -> None:
        settlement: Settlement = Release(delivery)
        try:
            async with self._groups.turn(delivery) as turn:
                if not turn.broken:
                    settlement = await self._settlement(delivery)
                turn.broken = isinstance(settlement, Release) or self._held.has_lost(delivery)
        except asyncio.CancelledError:
            pass  # the worker gives up: the message goes back to its queue
        finally:
            if isinstance(settlement, Release) and self._held.has_lost(delivery):
                self._held.let_go([delivery])  # it is back already, and must not be taken from whoever has it now
            else:
                self._settler.settle(settlement)

    async def _settlement(self, delivery: Delivery) -> Settlement:
        try:
            return await arun(retrying(self._runtime.pipeline.process(delivery)), partial(self._perform, delivery))
        except Exception:
            # A fault of ours must cost this message some time, and never the worker its life.
            after = growing_delay(delivery.receive_count, CRASHED_FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
            extra = {"action": "message.crashed", "queue": delivery.queue, "message_id": delivery.message_id}
            logger.exception("message %s is given back for %.0f s", delivery.message_id, after, extra=extra)
            return Release(delivery, after)
        finally:
            self._give_up_slot(delivery)

    async def _perform(self, delivery: Delivery, step: Any) -> Any:
        if isinstance(step, Invocation):
            return await self._invoke(delivery, step)
        if isinstance(step, Admission):
            return await self._admit(delivery)
        return await self._runtime.async_connections.perform(step)

    async def _invoke(self, delivery: Delivery, invocation: Invocation) -> Outcome:
        if not await self._admit(delivery):
            return Abandoned()
        try:
            with self._protection.run():
                return await self._pool.run(invocation)
        finally:
            self._give_up_slot(delivery)

    async def _admit(self, delivery: Delivery) -> bool:
        """Wait for a slot of the pool, which is then the delivery's; False where there is nothing to wait for."""
        if delivery.receipt not in self._admitted:
            if not await self._slots.acquire():
                return False
            self._admitted.add(delivery.receipt)
        if self._held.has_lost(delivery):  # while it waited; someone else runs it now, or will
            self._give_up_slot(delivery)
            return False
        return True

    def _give_up_slot(self, delivery: Delivery) -> None:
        if delivery.receipt in self._admitted:
            self._admitted.discard(delivery.receipt)
            self._slots.release()
