"""How many tasks a worker runs at a time: its pool, its slots and its leases follow a new number together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.base import Pool, ResizablePool
from taskq_cloud.pools.solo import SoloPool
from taskq_cloud.worker.autoscale import AutoscaleLimits, Autoscaler
from taskq_cloud.worker.leases import LeasedDeliveries
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.poller import Poller
from taskq_cloud.worker.slots import Slots


class WorkerSize:
    """Changes how many tasks a worker runs at a time.

    Args:
        pool: the worker's pool.
        options: the worker's options.
        slots: the slots of the pool.
        leased: the worker's deliveries.
        pollers: the pollers of the worker's queues.
        receive_batch: how many messages the broker returns at a time at most.

    Attributes:
        autoscaler: follows the number of messages; None: the worker was started without autoscaling.

    Raises:
        ImproperlyConfigured: the worker is to scale a pool that can't change its size.
    """

    def __init__(
        self,
        pool: Pool,
        options: WorkerOptions,
        slots: Slots,
        leased: LeasedDeliveries,
        pollers: Sequence[Poller],
        receive_batch: int,
    ) -> None:
        self._pool = pool
        self._options = options
        self._slots = slots
        self._leased = leased
        self._pollers = pollers
        self._receive_batch = receive_batch
        self.autoscaler: Autoscaler | None = None
        if options.autoscale is not None:
            self._resizable()
            self.autoscaler = Autoscaler(slots, options.autoscale, self._resize)

    @property
    def concurrency(self) -> int:
        """How many tasks run at a time at most, at present."""
        return self._slots.count

    async def resize(self, concurrency: int) -> None:
        """Run so many tasks at a time from now on, and lease messages for so many. Tasks that run go on.

        Raises:
            ImproperlyConfigured: the pool can't change its size, the number is below 1, or the worker scales itself.
        """
        if self.autoscaler is not None:
            raise ImproperlyConfigured("the worker scales itself: change the limits of its autoscaling")
        if concurrency < 1:
            raise ImproperlyConfigured(f"concurrency is {concurrency}; it must be at least 1")
        self._resizable()
        self._lease_for(replace(self._options, concurrency=concurrency))
        await self._resize(concurrency)

    async def autoscale(self, limits: AutoscaleLimits) -> None:
        """Change the limits of autoscaling. The number of tasks at a time follows at once.

        Raises:
            ImproperlyConfigured: the worker was started without autoscaling.
        """
        if self.autoscaler is None:
            raise ImproperlyConfigured("the worker was started without --autoscale")
        self._lease_for(replace(self._options, autoscale=limits))
        self.autoscaler.limits = limits
        await self.autoscaler.scale()

    def _lease_for(self, options: WorkerOptions) -> None:
        self._options = options
        self._leased.resize(options.capacity, options.refill)
        for poller in self._pollers:
            poller.batch = min(self._receive_batch, options.share)

    def _resizable(self) -> ResizablePool:
        if not isinstance(self._pool, ResizablePool) or isinstance(self._pool, SoloPool):
            raise ImproperlyConfigured(
                f"the {self._options.pool} pool can't change its size, so autoscale doesn't apply: use another pool"
            )
        return self._pool

    async def _resize(self, concurrency: int) -> None:
        """Change the number of places. There are never more slots than places."""
        pool = self._resizable()
        if concurrency < self._slots.count:
            self._slots.resize(concurrency)
        await pool.resize(concurrency)
        self._slots.resize(concurrency)
