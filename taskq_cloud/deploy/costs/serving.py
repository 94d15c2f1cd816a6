"""Turns an application's topology and settings into the cost model's input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, cast, get_args

from taskq_cloud.deploy.costs.load import LARGEST_BATCH, Containers, QueueLoad, Served, StoreName, check
from taskq_cloud.deploy.topology.model import Topology
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.settings import Settings

_STORES: Final = tuple(name for name in get_args(StoreName) if name != "server")


def read_tasks(given: tuple[str, ...]) -> dict[str | None, float]:
    """Read the values of ``--tasks-per-day``: one number, or ``queue=number`` for each queue.

    Returns:
        Queue -> tasks a day; the key None stands for all queues together.

    Raises:
        ImproperlyConfigured: a value has neither form, or both forms are mixed.
    """
    tasks: dict[str | None, float] = {}
    for each in given:
        queue, named, number = each.rpartition("=")
        try:
            value = float(number.replace("_", ""))
        except ValueError:
            raise ImproperlyConfigured(
                f"--tasks-per-day {each!r} isn't a number, nor a queue with a number such as orders=1000"
            ) from None
        check("tasks_per_day", value)
        tasks[queue if named else None] = value
    if None in tasks and len(tasks) > 1:
        raise ImproperlyConfigured("--tasks-per-day takes one number, or one for each queue: orders=1000")
    return tasks


def of_application(topology: Topology, settings: Settings, tasks: Mapping[str | None, float]) -> Served:
    """Describe an application's queues, services and result store to the cost model.

    Args:
        topology: the application's topology.
        settings: the application's settings.
        tasks: queue -> tasks a day; None -> tasks of all queues together, spread evenly over the queues with tasks.

    Raises:
        ImproperlyConfigured: the application has no such queue, or a result store whose prices are unknown.
    """
    broker, results = _server_of(topology, "broker"), _server_of(topology, "results")
    return Served(
        broker="server" if broker else "pubsub" if topology.provider == "google" else "sqs",
        store="server" if results else _store(settings),
        queues=_queue_loads(topology, tasks),
        services=_containers(topology, settings),
        scheduler=topology.schedule_group is not None,
        stores_results=not settings.task_ignore_result,
        track_started=settings.task_track_started,
        track_workflows=settings.task_track_workflows,
        wait_seconds=settings.wait_time_seconds,
        lease_seconds=settings.visibility_timeout,
        broker_server=broker,
        results_server=results,
        results_seconds=settings.policy(0).result_expires,
    )


def _server_of(topology: Topology, role: str) -> str | None:
    """Return the server in one of its uses in words; None: no server is used so."""
    for server in topology.servers:
        if any(use.role == role for use in server.uses):
            return f"{server.kind} at {', '.join(f'{each.host}:{each.port}' for each in server.addresses)}"
    return None


def _store(settings: Settings) -> StoreName:
    store = settings.results_url().partition(":")[0]
    if store not in _STORES:
        raise ImproperlyConfigured(
            f"the prices of results in {store}:// are unknown: taskq cost knows those of {', '.join(_STORES)}; name"
            " one of these stores with --results"
        )
    return cast("StoreName", store)


def _queue_loads(topology: Topology, tasks: Mapping[str | None, float]) -> tuple[QueueLoad, ...]:
    functions = {function.queue: function for function in topology.functions}
    return tuple(
        QueueLoad(
            name=name,
            tasks=number,
            fifo=name.endswith(".fifo"),
            memory_mb=functions[name].memory_mb if name in functions else None,
            batch_size=functions[name].batch_size if name in functions else LARGEST_BATCH,
        )
        for name, number in _spread(topology, tasks).items()
    )


def _containers(topology: Topology, settings: Settings) -> tuple[Containers, ...]:
    return tuple(
        Containers(
            name=service.name,
            queues=service.queues,
            cpu_units=service.cpu_units,
            memory_mb=service.memory_mb,
            minimum=service.minimum_tasks,
            concurrency=_number(settings.worker_concurrency) or math.ceil(service.cpu_units / 1024),
        )
        for service in topology.services
    )


def _number(concurrency: int | str | None) -> int | None:
    """Return a number of tasks; None: they are as many as the container has CPUs."""
    return concurrency if isinstance(concurrency, int) else None


def _spread(topology: Topology, tasks: Mapping[str | None, float]) -> dict[str, float]:
    """Return the tasks a day of every queue; a queue without tasks is included, because it is polled."""
    every = {each.queue: each.tasks for each in topology.queues}
    every |= {each.queue: each.tasks for each in topology.subscriptions}
    every |= {each.queue: each.tasks for each in topology.server_queues}
    unknown = sorted(str(name) for name in tasks.keys() - every.keys() - {None})
    if unknown:
        raise ImproperlyConfigured(
            f"--tasks-per-day: the application has no queue {unknown[0]!r}; its queues are: {', '.join(every)}"
        )
    busy = [name for name, served in every.items() if served] or [*every]
    each = tasks.get(None, 0.0) / len(busy)
    return {name: tasks.get(name, each if name in busy else 0.0) for name in every}
