"""The services of a topology: containers that run ``taskq worker``, and the queues each of them serves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from taskq_cloud.deploy.topology import google
from taskq_cloud.deploy.topology.deployment import Deployment, ServiceOptions
from taskq_cloud.deploy.topology.model import Service
from taskq_cloud.deploy.topology.runtimes import Served
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.settings import Settings

LONGEST_STOP_SECONDS: Final = 120
"""``stopTimeout`` on Fargate (ECS Developer Guide, "Task definition parameters")."""

STOP_MARGIN_SECONDS: Final = 5
"""From the end of a worker's own shutdown to the platform's SIGKILL."""

MEMORY_SIZES_MB: Final[dict[int, tuple[int, ...]]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16_384 + 1, 1024)),
    4096: tuple(range(8192, 30_720 + 1, 1024)),
    8192: tuple(range(16_384, 61_440 + 1, 4096)),
    16_384: tuple(range(32_768, 122_880 + 1, 8192)),
}
"""By CPU units (ECS Developer Guide, "Amazon ECS task definition parameters for Fargate")."""

MOST_QUEUES: Final = 5
"""A service is scaled by two metrics of each of its queues, and an alarm takes ten (CloudWatch User Guide, "CloudWatch
service quotas")."""

_DEFAULT_SERVICE: Final = "worker"


def services(
    name: str,
    deployment: Deployment,
    served: Sequence[Served],
    settings: Settings,
    environment: Mapping[str, str],
    app_path: str | None,
    *,
    aws: bool,
) -> tuple[Service, ...]:
    """The services of the queues that containers serve; those that the deployment names no service for share one.

    Raises:
        ImproperlyConfigured: services contradict each other, or a worker would be killed before it has ended.
    """
    containers = {each.queue: each for each in served if each.runtime == "container"}
    named = {queue for options in deployment.services.values() for queue in options.queues}
    rest = tuple(sorted(containers.keys() - named))
    offered = dict(deployment.services)
    if rest and all(options.queues for options in offered.values()):
        offered.setdefault(_DEFAULT_SERVICE, ServiceOptions())
    takers = sorted(service for service, options in offered.items() if not options.queues)
    if len(takers) > 1:
        raise ImproperlyConfigured(f"deployment: services: {' and '.join(takers)} name no queues: one may at most")
    stop = _stop_timeout(settings) if aws else google.STOP_TIMEOUT_SECONDS
    own = {} if aws else {"TASKQ_WORKER_SHUTDOWN_TIMEOUT": str(google.shutdown_timeout(settings))}
    found = []
    for service, options in sorted(offered.items()):
        queues = tuple(sorted(options.queues)) or rest
        tasks = [task for queue in queues for task in containers[queue].tasks]
        if not queues:
            raise ImproperlyConfigured(f"deployment: services.{service}: no queue is left for it to serve")
        cpu = options.cpu_units
        memory = max([options.memory_mb, *(each.memory_mb for each in tasks if each.memory_mb)])
        if aws:
            where = f"deployment: services.{service}"
            _check_queues(where, queues)
            cpu, memory = fargate_size(where, cpu, memory)
        command = ("taskq", "worker", *(("-A", app_path) if app_path else ()), "-Q", ",".join(queues))
        found.append(
            Service(
                name=f"{name}-{service}",
                role=f"{name}-{service}-service" if aws else None,
                queues=queues,
                command=command,
                cpu_units=cpu,
                memory_mb=memory,
                minimum_tasks=options.minimum_tasks,
                maximum_tasks=options.maximum_tasks,
                backlog_per_task=options.backlog_per_task,
                stop_timeout_seconds=stop,
                environment=dict(sorted({**environment, **own, **options.environment}.items())),
            )
        )
    return tuple(found)


def _stop_timeout(settings: Settings) -> int:
    stop = math.ceil(settings.worker_shutdown_timeout) + STOP_MARGIN_SECONDS
    if stop > LONGEST_STOP_SECONDS:
        raise ImproperlyConfigured(
            f"worker_shutdown_timeout is {settings.worker_shutdown_timeout:g} s, and Fargate kills"
            f" {LONGEST_STOP_SECONDS} s after SIGTERM: {LONGEST_STOP_SECONDS - STOP_MARGIN_SECONDS} s at most"
        )
    return stop


def fargate_size(where: str, cpu_units: int, memory_mb: int) -> tuple[int, int]:
    """The smallest container that has as much of both: CPU units and memory in MiB.

    Args:
        where: what the container is for, for the error.
        cpu_units: those asked for, at least.
        memory_mb: likewise, in MiB.

    Raises:
        ImproperlyConfigured: there is none.
    """
    for cpu, sizes in MEMORY_SIZES_MB.items():
        fitting = [memory for memory in sizes if memory >= memory_mb]
        if cpu >= cpu_units and fitting:
            return cpu, fitting[0]
    largest = max(MEMORY_SIZES_MB)
    raise ImproperlyConfigured(
        f"{where}: Fargate has no container of {cpu_units} CPU units and {memory_mb} MiB of memory; its largest has"
        f" {largest} and {MEMORY_SIZES_MB[largest][-1]}: lower cpu_units, or memory_mb of the service or of its tasks"
    )


def _check_queues(where: str, queues: tuple[str, ...]) -> None:
    """Refuse more queues than one service is scaled by.

    Raises:
        ImproperlyConfigured: says how to spread them.
    """
    if len(queues) > MOST_QUEUES:
        raise ImproperlyConfigured(
            f"{where}: it would serve {len(queues)} queues ({', '.join(queues)}), and one service is scaled by"
            f" {MOST_QUEUES} at most: give some of them to another by deployment's services"
        )
