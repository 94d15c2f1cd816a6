"""The input of a cost estimate: the number and properties of tasks, and the resources that serve them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final, Literal, TypeAlias

from taskq_cloud.errors import ImproperlyConfigured

LARGEST_BATCH: Final = 10
"""The most messages in one request of SQS."""

BrokerName: TypeAlias = Literal["sqs", "pubsub", "server"]
StoreName: TypeAlias = Literal["dynamodb", "s3", "gs", "disabled", "server"]
"""A store whose requests have prices, no store, or a server, which is paid by the hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The properties of the tasks; every number is an average of all tasks.

    Args:
        payload_bytes: the size of a task's encoded arguments.
        result_bytes: the size of a task's encoded result.
        run_seconds: how long one run takes.
        retries: how often a task is retried.
        reads: how often callers read a task's result.
        chord_size: members of a chord's header; 0: there are no chords. Otherwise all tasks belong to chords, the
            bodies included.
        eta_share: the share of tasks that are called with a ``countdown`` or an ``eta``.
        eta_seconds: how far ahead such tasks are due.
        send_batch: tasks sent in one request: 1 with ``delay``, up to 10 with ``map_async``.
        messages_per_request: messages received, and messages deleted, in one request: 1 where they arrive one at a
            time, up to 10 where the queue always holds some.
        idle_hours: hours of a day in which the queues are polled and are empty; None: the hours in which no task runs.

    Raises:
        ImproperlyConfigured: a number is out of its range; the error names the option of ``taskq cost``.
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
        most = {"eta_share": 1, "idle_hours": 24, "send_batch": LARGEST_BATCH, "messages_per_request": LARGEST_BATCH}
        least = {"send_batch": 1, "messages_per_request": 1}
        for field in fields(self):
            check(field.name, getattr(self, field.name), least.get(field.name, 0), most.get(field.name))


def check(name: str, value: float | None, least: float = 0, most: float | None = None) -> None:
    """Refuse an option whose number is out of its range.

    Raises:
        ImproperlyConfigured: the number is not finite, or out of its range; the error names the option and the range.
    """
    if value is None:
        return
    option = f"--{name.replace('_', '-')}"
    if not math.isfinite(value) or value < least or (most is not None and value > most):
        bounds = f"of at least {least:g}" if most is None else f"from {least:g} to {most:g}"
        raise ImproperlyConfigured(f"{option} is {value:g}; it has to be a finite number {bounds}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLoad:
    """A queue, its tasks, and the function that serves it, if one does.

    Args:
        name: the application's name of the queue.
        tasks: tasks a day.
        fifo: whether the queue is ordered.
        memory_mb: memory of the function that serves the queue, in MiB; None: containers serve it.
        batch_size: the most messages of one invocation of that function.
    """

    name: str
    tasks: float
    fifo: bool = False
    memory_mb: int | None = None
    batch_size: int = LARGEST_BATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers:
    """A service of containers that run ``taskq worker``.

    Args:
        name: the name of the service.
        queues: the application's names of the queues that it serves.
        cpu_units: CPU units of each container; 1,024 are one virtual CPU.
        memory_mb: memory of each container, in MiB.
        minimum: containers that always run.
        concurrency: tasks that one container runs at a time.
    """

    name: str
    queues: tuple[str, ...]
    cpu_units: int
    memory_mb: int
    minimum: int
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The broker, queues, services and result store of an application.

    Args:
        broker: the broker that carries the messages.
        store: the store of the results.
        queues: the queues, each with its tasks.
        services: the services of containers.
        scheduler: whether EventBridge Scheduler keeps tasks that are due later than SQS can delay them.
        stores_results: whether tasks record their results.
        track_started: whether tasks record that they have started.
        track_workflows: whether a workflow's shape is stored when it is sent.
        wait_seconds: how long a worker's receive waits for a message.
        lease_seconds: how long a worker's lease of a message lasts.
        broker_server: the server of the messages in words, if the broker is one.
        results_server: the server of the results in words, if the store is one.
        results_seconds: how long results are kept; None: for ever.
    """

    broker: BrokerName
    store: StoreName
    queues: tuple[QueueLoad, ...]
    services: tuple[Containers, ...] = ()
    scheduler: bool = False
    stores_results: bool = True
    track_started: bool = False
    track_workflows: bool = True
    wait_seconds: float = 10.0
    lease_seconds: float = 60.0
    broker_server: str | None = None
    results_server: str | None = None
    results_seconds: float | None = None

    @property
    def tasks(self) -> float:
        """Tasks a day, of all queues."""
        return sum(queue.tasks for queue in self.queues)
