"""What serves the tasks of an application: its topology as the model takes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.deploy.costs.load import Containers, QueueLoad, Served, check
from taskq_cloud.deploy.topology.model import Topology
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.settings import Settings

_STORES: Final = ("dynamodb", "s3", "gs", "disabled")


def read_tasks(given: tuple[str, ...]) -> dict[str | None, float]:
    """Read ``--tasks-per-day``: a number, or ``queue=number``; None stands for no queue.

    Raises:
        ImproperlyConfigured: it is neither, or both.
    """
    tasks: dict[str | None, float] = {}
    for each in given:
        queue, named, number = each.rpartition("=")
        try:
            value = float(number.replace("_", ""))
        except ValueError:
            raise ImproperlyConfigured(f"--tasks-per-day {each!r} is no number, nor orders=1000") from None
        check("tasks_per_day", value)
        tasks[queue if named else None] = value
    if None in tasks and len(tasks) > 1:
        raise ImproperlyConfigured("--tasks-per-day is one number, or one of each queue: orders=1000")
    return tasks


def of_application(topology: Topology, settings: Settings, tasks: Mapping[str | None, float]) -> Served:
    """An application's.

    Args:
        topology: the application's.
        settings: the application's.
        tasks: queue -> tasks a day; None -> of all queues that have tasks, evenly.

    Raises:
        ImproperlyConfigured: it has no such queue, or keeps results where no prices are known.
    """
    store = settings.results_url().partition(":")[0]
    if store not in _STORES:
        raise ImproperlyConfigured(
            f"no prices are known of results in {store}://: taskq cost knows {', '.join(_STORES)}; --results names "
            "another store"
        )
    by_queue = _spread(topology, tasks)
    functions = {function.queue: function for function in topology.functions}
    queues = [
        QueueLoad(
            name=name,
            tasks=number,
            fifo=name.endswith(".fifo"),
            memory_mb=functions[name].memory_mb if name in functions else None,
            batch_size=functions[name].batch_size if name in functions else 10,
        )
        for name, number in by_queue.items()
    ]
    services = [
        Containers(
            name=service.name,
            queues=service.queues,
            cpu_units=service.cpu_units,
            memory_mb=service.memory_mb,
            minimum=service.minimum_tasks,
            concurrency=settings.worker_concurrency or math.ceil(service.cpu_units / 1024),
        )
        for service in topology.services
    ]
    options: dict[str, Any] = {"broker": "pubsub" if topology.provider == "google" else "sqs", "store": store}
    return Served(
        **options,
        queues=tuple(queues),
        services=tuple(services),
        scheduler=topology.schedule_group is not None,
        stores_results=not settings.task_ignore_result,
        track_started=settings.task_track_started,
        track_workflows=settings.task_track_workflows,
        wait_seconds=settings.wait_time_seconds,
        lease_seconds=settings.visibility_timeout,
    )


def _spread(topology: Topology, tasks: Mapping[str | None, float]) -> dict[str, float]:
    """Queue -> tasks a day, of every queue: one without tasks is polled, too."""
    every = {each.queue: each.tasks for each in topology.queues}
    every |= {each.queue: each.tasks for each in topology.subscriptions}
    unknown = sorted(str(name) for name in tasks.keys() - every.keys() - {None})
    if unknown:
        raise ImproperlyConfigured(f"--tasks-per-day: there is no queue {unknown[0]!r}, but: {', '.join(every)}")
    busy = [name for name, served in every.items() if served] or [*every]
    each = tasks.get(None, 0.0) / len(busy)
    return {name: tasks.get(name, each if name in busy else 0.0) for name in every}
