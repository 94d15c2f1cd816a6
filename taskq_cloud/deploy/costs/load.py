"""What a cost is asked of: how many tasks of what kind, and what serves them. Values only."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final, Literal

from taskq_cloud.errors import ImproperlyConfigured

LARGEST_BATCH: Final = 10
"""Messages of one request of SQS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the tasks are like. Every number is an average, of all tasks.

    Args:
        payload_bytes: of a task's arguments, as they are encoded.
        result_bytes: of its result, likewise.
        run_seconds: for which it runs.
        retries: of it.
        reads: looks of callers at its result.
        chord_size: members of a chord's header; 0: no chords. Otherwise all tasks are in chords, bodies included.
        eta_share: the share of tasks that are called with a ``countdown`` or an ``eta``.
        eta_seconds: and how far ahead.
        send_batch: calls sent by one request: 1 for ``delay``, up to 10 for ``map_async``.
        messages_per_request: messages received, and settled, by one request: 1 where they come one at a time, up to 10
            where there always are some.
        idle_hours: of a day in which queues are polled and bring nothing; None: those in which no task runs.

    Raises:
        ImproperlyConfigured: a number is out of its range; names the option.
    """

    payload_bytes: int = 1000
    result_bytes: int = 200
    run_seconds: float = 1.0
    retries: float = 0.0
    reads: float = 1.0
    chord_size: int = 0
    eta_share: float = 0.0
    eta_seconds: float = 86_400.0
    send_batch: float = 1.0
    messages_per_request: float = 1.0
    idle_hours: float | None = None

    def __post_init__(self) -> None:
        upper = {"eta_share": 1, "idle_hours": 24, "send_batch": LARGEST_BATCH, "messages_per_request": LARGEST_BATCH}
        lower = {"send_batch": 1, "messages_per_request": 1}
        for field in fields(self):
            check(field.name, getattr(self, field.name), lower.get(field.name, 0), upper.get(field.name))


def check(name: str, value: float | None, least: float = 0, most: float | None = None) -> None:
    """Whether a number is in its range; raises ``ImproperlyConfigured``, which names the option."""
    if value is None:
        return
    option = f"--{name.replace('_', '-')}"
    if not math.isfinite(value) or value < least or (most is not None and value > most):
        bounds = f"at least {least:g}" if most is None else f"from {least:g} to {most:g}"
        raise ImproperlyConfigured(f"{option} is {value:g}; it is a number, {bounds}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLoad:
    """A queue, its tasks and who serves it.

    Args:
        name: the application's name.
        tasks: a day.
        fifo: whether it is ordered.
        memory_mb: of the function that serves it; None: containers do.
        batch_size: of that function, at most.
    """

    name: str
    tasks: float
    fifo: bool = False
    memory_mb: int | None = None
    batch_size: int = LARGEST_BATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers:
    """Containers that run ``taskq worker``.

    Args:
        name: of the service.
        queues: the application's names of those they serve.
        cpu_units: of each container; 1,024 are a virtual CPU.
        memory_mb: of each container.
        minimum: containers that always run.
        concurrency: tasks that run at a time in each.
    """

    name: str
    queues: tuple[str, ...]
    cpu_units: int
    memory_mb: int
    minimum: int
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What serves the tasks, and where their results go.

    Args:
        broker: which messages go through.
        store: where results go.
        queues: with their tasks.
        services: of containers.
        scheduler: whether EventBridge holds what is due late.
        stores_results: whether tasks record their results.
        track_started: whether they record that they have begun.
        track_workflows: whether a workflow's shape is stored when it is sent.
        wait_seconds: of a worker's receive.
        lease_seconds: of a worker's lease.
    """

    broker: Literal["sqs", "pubsub"]
    store: Literal["dynamodb", "s3", "gs", "disabled"]
    queues: tuple[QueueLoad, ...]
    services: tuple[Containers, ...] = ()
    scheduler: bool = False
    stores_results: bool = True
    track_started: bool = False
    track_workflows: bool = True
    wait_seconds: float = 10.0
    lease_seconds: float = 60.0

    @property
    def tasks(self) -> float:
        """Of all queues, a day."""
        return sum(queue.tasks for queue in self.queues)
