"""The options of a worker, from the settings and the command line."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskq_cloud.core.model.settings_values import priority_levels
from taskq_cloud.pools.cpus import AUTO, container_cpus, usable_cpus
from taskq_cloud.settings import Settings
from taskq_cloud.worker.autoscale import AutoscaleLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """The options of a worker. The settings with the same names explain each option.

    Args:
        queues: the queues that the worker serves.
        pool: ``processes``, ``threads``, ``asyncio`` or ``solo``.
        concurrency: how many tasks run at a time.
        prefetch_multiplier: messages leased for each of these tasks, the running message included.
        visibility_timeout: seconds after which a lease lapses unless it is renewed.
        wait_time_seconds: how long a receive waits for messages.
        shutdown_timeout: seconds from the first signal until the messages of tasks that still run are given back.
        health_port: the port at which ``/healthz`` is served; None: it isn't served.
        ecs_agent_uri: the address of the ECS agent that is asked to protect the container while a long task runs; None:
            no agent is asked.
        max_tasks_per_child: processes pool only: a process is replaced after this many tasks.
        max_memory_per_child: processes pool only: a process is replaced once it has grown over this size, in KiB.
        autoscale: the limits between which the number of tasks at a time follows the number of messages; None: it stays
            ``concurrency``.
        burst: end once the queues are empty.
        levels: queue -> its level of priority; a queue that is not among them has level 0.
        priority_weights: the weight of each level, from the lowest; empty: a higher level always goes first.
    """

    queues: tuple[str, ...]
    pool: str
    concurrency: int
    prefetch_multiplier: int
    visibility_timeout: float
    wait_time_seconds: float
    shutdown_timeout: float
    health_port: int | None = None
    ecs_agent_uri: str | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    autoscale: AutoscaleLimits | None = None
    burst: bool = False
    levels: Mapping[str, int] = field(default_factory=dict)
    priority_weights: tuple[int, ...] = ()

    @classmethod
    def from_settings(cls, settings: Settings, queues: Sequence[str], **overrides: Any) -> WorkerOptions:
        """Return the options that the settings give.

        Args:
            settings: the application's settings.
            queues: the queues that the worker serves: a queue for all its levels of priority, ``orders-p0`` for one.
            overrides: options that replace those of the settings; None leaves an option as it is.
        """
        priorities = priority_levels(settings)
        served = tuple(priorities.expanded(queues))
        of_settings = {
            "pool": settings.worker_pool,
            "concurrency": settings.worker_concurrency,
            "prefetch_multiplier": settings.worker_prefetch_multiplier,
            # Celery's users set this one among the transport options.
            "visibility_timeout": settings.broker_transport_options.get(
                "visibility_timeout", settings.visibility_timeout
            ),
            "wait_time_seconds": settings.broker_transport_options.get("wait_time_seconds", settings.wait_time_seconds),
            "shutdown_timeout": settings.worker_shutdown_timeout,
            "health_port": settings.worker_health_port,
            # ECS sets this variable in every container.
            "ecs_agent_uri": os.environ.get("ECS_AGENT_URI") if settings.worker_task_protection else None,
            "max_tasks_per_child": settings.worker_max_tasks_per_child,
            "max_memory_per_child": settings.worker_max_memory_per_child,
            "levels": {queue: level for queue in served if (level := priorities.level(queue))},
            "priority_weights": settings.worker_priority_weights,
        }
        given = {name: value for name, value in overrides.items() if value is not None}
        chosen: dict[str, Any] = {**of_settings, **given}
        limits: AutoscaleLimits | None = chosen.get("autoscale")
        if limits is not None:
            chosen["concurrency"] = limits.least
        elif chosen["concurrency"] is None:
            chosen["concurrency"] = 1 if chosen["pool"] == "solo" else usable_cpus()
        elif chosen["concurrency"] == AUTO:
            chosen["concurrency"] = container_cpus()
        return cls(queues=served, **chosen)

    def level_of(self, queue: str) -> int:
        """The level of priority of a queue."""
        return self.levels.get(queue, 0)

    @property
    def places(self) -> int:
        """How many tasks run at a time at most: messages are leased for so many places."""
        return self.concurrency if self.autoscale is None else self.autoscale.most

    @property
    def share(self) -> int:
        """How many messages one queue is asked for at a time, at most."""
        return max(1, self.places * self.prefetch_multiplier // self._queues_of_a_level)

    @property
    def _queues_of_a_level(self) -> int:
        """The number of queues that share the room of a level."""
        return max(Counter(map(self.level_of, self.queues)).values())

    @property
    def refill(self) -> int:
        """How many messages of a queue's share there must be room for before more are received.

        A receive for the whole share would have to wait until the last of its messages has been settled, and the slots
        would be idle until the next messages arrive. Brokers with smaller receives ask for more as soon as one of them
        has room.
        """
        return max(1, self.share // 2)

    @property
    def capacity(self) -> int:
        """How many messages of a level of priority may be leased at a time.

        Each level has its own room: messages of a low level would otherwise take up the room of urgent ones.

        Each receive that waits for messages has its share of this room reserved. The receives of empty queues must
        leave room for as many messages as there are slots. Otherwise one busy queue among many could not fill them.
        """
        others = (self._queues_of_a_level - 1) * self.share
        return max(self.places * self.prefetch_multiplier, self.places + others)
