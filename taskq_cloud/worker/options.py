"""How a worker is run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from taskq_cloud.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker is run; the settings of the same names say what each is for.

    Args:
        queues: the queues it serves.
        pool: ``processes``, ``threads``, ``asyncio`` or ``solo``.
        concurrency: tasks that run at a time.
        prefetch_multiplier: messages held for each of them, the running one included.
        visibility_timeout: seconds a lease runs before it is renewed or lapses.
        wait_time_seconds: how long a receive waits.
        shutdown_timeout: seconds from the first signal until what still runs is given back.
        health_port: where ``/healthz`` is served; None: nowhere.
        ecs_agent_uri: where ECS is asked to keep the container of a long task; None: nowhere.
        max_tasks_per_child: of a process pool.
        max_memory_per_child: of a process pool, in KiB.
        burst: end once the queues are empty.
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
    burst: bool = False

    @classmethod
    def from_settings(cls, settings: Settings, queues: Sequence[str], **overrides: Any) -> WorkerOptions:
        """The settings' options; an override that is None changes nothing."""
        of_settings = {
            "pool": settings.worker_pool,
            "concurrency": settings.worker_concurrency,
            "prefetch_multiplier": settings.worker_prefetch_multiplier,
            # Celery's users have it among the transport options.
            "visibility_timeout": settings.broker_transport_options.get(
                "visibility_timeout", settings.visibility_timeout
            ),
            "wait_time_seconds": settings.broker_transport_options.get("wait_time_seconds", settings.wait_time_seconds),
            "shutdown_timeout": settings.worker_shutdown_timeout,
            "health_port": settings.worker_health_port,
            # The variable is ECS's own: it sets it in every container.
            "ecs_agent_uri": os.environ.get("ECS_AGENT_URI") if settings.worker_task_protection else None,
            "max_tasks_per_child": settings.worker_max_tasks_per_child,
            "max_memory_per_child": settings.worker_max_memory_per_child,
        }
        given = {name: value for name, value in overrides.items() if value is not None}
        chosen: dict[str, Any] = {**of_settings, **given}
        if chosen["concurrency"] is None:
            chosen["concurrency"] = 1 if chosen["pool"] == "solo" else len(os.sched_getaffinity(0))
        return cls(queues=tuple(queues), **chosen)

    @property
    def share(self) -> int:
        """Messages asked of one queue at a time."""
        return max(1, self.concurrency * self.prefetch_multiplier // len(self.queues))

    @property
    def capacity(self) -> int:
        """Messages held at a time.

        Each receive that waits has its share of the room set aside. The receives of the empty queues must leave enough
        for every slot, or one busy queue among many could not fill them.
        """
        others = (len(self.queues) - 1) * self.share
        return max(self.concurrency * self.prefetch_multiplier, self.concurrency + others)
