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
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias

from taskq_cloud.core.model.message import Delivery
from taskq_cloud.core.serializers import json_text
from taskq_cloud.pools.base import GRACE_SECONDS
from taskq_cloud.pools.factory import make_pool
from taskq_cloud.pools.hubs import check_unpatched
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.worker import burst
from taskq_cloud.worker.components import STOP_SECONDS, Components
from taskq_cloud.worker.health import HealthServer, report
from taskq_cloud.worker.leases import LeasedDeliveries
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.pipelines import Pipelines
from taskq_cloud.worker.poller import Poller
from taskq_cloud.worker.protection import Protection
from taskq_cloud.worker.settlement import SettlementBatcher
from taskq_cloud.worker.size import WorkerSize
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
        size: changes how many tasks the worker runs at a time.

    Raises:
        ImproperlyConfigured: the pool doesn't exist, or doesn't have one of the options; or a component requires what
            there is not; or gevent or eventlet has patched this process.
    """

    def __init__(self, runtime: Runtime, options: WorkerOptions, side_service: SideService | None = None) -> None:
        check_unpatched()
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
        self._components = Components(runtime.components)
        run = runtime.async_connections.run
        self._lease_seconds = min(options.visibility_timeout, runtime.broker.capabilities.longest_extension_seconds)
        self._leased = LeasedDeliveries(
            runtime.broker, run, options.capacity, self._lease_seconds, refill=options.refill
        )
        self._slots = Slots(options.concurrency, self._leased.notify, options.priority_weights)
        self._leased.slot_is_idle = lambda: self._slots.idle
        self._leased.count_running = lambda: self._slots.taken
        self._settlements = SettlementBatcher(runtime.broker, run, self._leased)
        self._protection = Protection(options.ecs_agent_uri, options.shutdown_timeout)
        self._pipelines = Pipelines(
            runtime, self._pool, self._slots, self._leased, self._settlements, self._protection, options.level_of
        )
        self._stopping = asyncio.Event()
        self._giving_up = asyncio.Event()
        self.crashed = False
        self._pollers = [self._poller(queue) for queue in options.queues]
        receive_batch = runtime.broker.capabilities.receive_batch
        self.size = WorkerSize(self._pool, options, self._slots, self._leased, self._pollers, receive_batch)

    @property
    def hostname(self) -> str:
        """The worker's name."""
        return self._runtime.hostname

    @property
    def options(self) -> WorkerOptions:
        """The worker's options."""
        return self._options

    @property
    def runs_tasks(self) -> bool:
        """Whether the worker's own process runs tasks, and not its child processes."""
        return getattr(self._pool, "runs_here", True)

    async def serve(self) -> None:
        """Serve the queues until told to stop, or, in a burst, until they are empty.

        Raises:
            ImproperlyConfigured: the pool can't run the application at all, or a client can't be opened because a
                package or a setting is missing.
            ComponentError: a component of the application could not start.
            OSError: the health port is taken.
        """
        health = HealthServer(self._options.health_port, self.health) if self._options.health_port is not None else None
        services: list[asyncio.Task[None]] = []
        served = False
        try:
            if health is not None:
                await health.start()
            if await self._start_pool():
                services = [
                    asyncio.create_task(self._watch("the renewal of leases", self._leased.renew_forever())),
                    asyncio.create_task(self._watch("settlement", self._settlements.settle_forever())),
                    asyncio.create_task(self._watch("task protection", self._protection.check_forever())),
                ]
                if self.size.autoscaler is not None:
                    scaling = self._watch("autoscaling", self.size.autoscaler.scale_forever())
                    services.append(asyncio.create_task(scaling))
                await self._serve()
            served = True
        finally:
            for service in services:
                service.cancel()
            await asyncio.gather(*services, return_exceptions=True)
            error = await self._end(health)
            if served and error is not None:
                raise error

    async def _end(self, health: HealthServer | None) -> Exception | None:
        """End all parts of the worker, and return the first error: a part that fails keeps no other from its end."""
        pool, protection = _ended("the pool", self._pool.stop()), _ended("task protection", self._protection.stop())
        errors = [*await asyncio.gather(pool, protection)]
        errors.append(await _ended("the components", self._components.stop(self)))
        if health is not None:
            errors.append(await _ended("the health endpoint", health.stop()))
        errors.append(await _ended("the connections", self._runtime.async_connections.close()))
        return next(filter(None, errors), None)

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
        body |= {"held": len(self._leased), "stopping": self._stopping.is_set()}
        if self._components:
            components_healthy, body["components"] = self._components.health()
            if not components_healthy:
                healthy, body["status"] = False, "failing"
        return healthy, body

    def _poller(self, queue: str) -> Poller:
        options, broker = self._options, self._runtime.broker
        wait_seconds = options.wait_time_seconds
        if options.burst:
            wait_seconds = min(wait_seconds, LAST_RECEIVE_SECONDS)

        async def receive(limit: int) -> list[Delivery]:
            flow = broker.receive(queue, limit, wait_seconds, self._lease_seconds)
            return await self._runtime.async_connections.run(flow)

        batch = min(broker.capabilities.receive_batch, options.share)
        return Poller(queue, receive, self._leased, batch, self._pipelines.deliver, options.level_of(queue))

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
        await self._components.start(self)
        await self._pool.start()
        await self._tell_hooks("worker_started")

    async def _tell_hooks(self, method: str) -> None:
        if self._runtime.runner.hooks:
            from taskq_cloud.core.model.hook_calls import anotify  # few applications have hooks

            await anotify(self._runtime.runner.hooks, method, self)

    async def _serve(self) -> None:
        polls = [asyncio.create_task(self._watch(f"queue {p.queue}", p.poll(self._stopping))) for p in self._pollers]
        ending = asyncio.create_task(self._watch("burst", self._stop_when_empty())) if self._options.burst else None
        side_service = (
            asyncio.create_task(self._watch("beat", self._side_service(self._stopping))) if self._side_service else None
        )
        told: asyncio.Task[None] | None = None
        logger.info("ready: serves %s", ", ".join(self._options.queues), extra={"action": "worker.ready"})
        try:
            await self._stopping.wait()
            logger.info("stopping: %d messages are not settled", len(self._leased), extra={"action": "worker.stopping"})
            told = asyncio.create_task(self._tell_hooks("worker_stopping"))
            await self._drain(polls)
            await asyncio.wait((told,), timeout=LAST_RECEIVE_SECONDS)
            if side_service is not None:
                await asyncio.wait((side_service,), timeout=LAST_RECEIVE_SECONDS)
        finally:
            left = [*filter(None, (*polls, ending, side_service, told))]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _drain(self, polls: list[asyncio.Task[None]]) -> None:
        """Let running tasks come to their end, then give back the other messages, within the shutdown timeout."""
        loop, timeout = asyncio.get_running_loop(), self._options.shutdown_timeout
        kept = POOL_RESERVE_SECONDS + (STOP_SECONDS if self._components else 0)
        ends_at = loop.time() + timeout - min(kept, timeout / 4)
        reserve = min(SETTLE_RESERVE_SECONDS, timeout / 2)
        await self._wait_for_pipelines(ends_at - reserve)
        if not self._giving_up.is_set():
            last = min(loop.time() + LAST_RECEIVE_SECONDS, ends_at - reserve)
            await asyncio.wait(polls, timeout=max(0.0, last - loop.time()))
            await self._wait_for_pipelines(ends_at - reserve)
        left = [*polls, *self._pipelines.running]
        self._settlements.hurry()
        # The end of a run whose message was acknowledged before is recorded, as far as there is time.
        for spared, seconds in (self._pipelines.recording.copy(), max(0.0, ends_at - loop.time())), (set(), None):
            for task in left:
                if task not in spared:
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
            while self._pipelines.running and not giving_up.done():
                left = until - asyncio.get_running_loop().time()
                if left <= 0:
                    return
                await asyncio.wait(
                    (giving_up, *self._pipelines.running), timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            giving_up.cancel()

    async def _stop_when_empty(self) -> None:
        """Stop the worker once all its messages are settled and every queue is empty."""
        await burst.until_empty(
            self._runtime, self._pollers, lambda: bool(len(self._leased) or self._pipelines.running)
        )
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


async def _ended(part: str, ending: Awaitable[None]) -> Exception | None:
    try:
        await ending
    except Exception as error:
        logger.exception("%s could not be ended", part, extra={"action": "worker.end_failed"})
        return error
    return None
