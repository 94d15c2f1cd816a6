"""The services of a topology: containers that run ``taskq worker``, and the queues that each service serves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from taskq_cloud.core.model.priorities import PriorityLevels
from taskq_cloud.deploy.topology import google
from taskq_cloud.deploy.topology.deployment import Deployment, ServiceOptions
from taskq_cloud.deploy.topology.model import ServedTask, Service
from taskq_cloud.deploy.topology.runtimes import Served
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.runtime.protocols import Application
from taskq_cloud.settings import Settings

LONGEST_STOP_SECONDS: Final = 120
"""The longest ``stopTimeout`` on Fargate (ECS Developer Guide, "Task definition parameters")."""

STOP_MARGIN_SECONDS: Final = 5
"""The time from the end of a worker's own shutdown to the platform's SIGKILL."""

MEMORY_SIZES_MB: Final[dict[int, tuple[int, ...]]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16_384 + 1, 1024)),
    4096: tuple(range(8192, 30_720 + 1, 1024)),
    8192: tuple(range(16_384, 61_440 + 1, 4096)),
    16_384: tuple(range(32_768, 122_880 + 1, 8192)),
}
"""CPU units -> memory sizes in MiB (ECS Developer Guide, "Amazon ECS task definition parameters for Fargate")."""

MOST_QUEUES: Final = 5
"""The most queues of one service on AWS: it scales by two metrics of each queue, and an alarm takes ten metrics
(CloudWatch User Guide, "CloudWatch service quotas")."""

_DEFAULT_SERVICE: Final = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlatform:
    """Values that all services of an application share.

    Args:
        name: the name of the deployment, which begins the names of its services.
        aws: whether the containers run on ECS; otherwise they run on Cloud Run.
        stop_timeout_seconds: the time from SIGTERM to SIGKILL.
        environment: the environment variables.
        app_path: the path that the containers import the application from; None: the path in ``TASKQ_APP``.
        priorities: the levels of priority that queues have.
        scales: whether the platform adds containers by the messages that wait. Nothing tells it those of a server.
    """

    name: str
    aws: bool
    stop_timeout_seconds: int
    environment: Mapping[str, str]
    app_path: str | None
    priorities: PriorityLevels
    scales: bool = True


def worker_platform(
    name: str, app: Application, environment: Mapping[str, str], app_path: str | None, *, aws: bool, scales: bool
) -> WorkerPlatform:
    """Return the values that all services share.

    Args:
        name: the name of the deployment.
        app: the application.
        environment: the environment variables of the deployment.
        app_path: where the application is imported from.
        aws: whether the containers run on ECS.
        scales: whether their number follows the messages that wait.

    Raises:
        ImproperlyConfigured: the platform would kill a worker before its own shutdown has ended.
    """
    if aws:
        stop = _stop_timeout(app.conf)
    else:
        stop = google.STOP_TIMEOUT_SECONDS
        environment = {**environment, "TASKQ_WORKER_SHUTDOWN_TIMEOUT": str(google.shutdown_timeout(app.conf))}
    return WorkerPlatform(
        name=name,
        aws=aws,
        stop_timeout_seconds=stop,
        environment=environment,
        app_path=app_path,
        priorities=app.priorities,
        scales=scales,
    )


def services(platform: WorkerPlatform, deployment: Deployment, served: Sequence[Served]) -> tuple[Service, ...]:
    """Return the services that serve the queues of containers; queues that no service names share one.

    Args:
        platform: the values that all services share.
        deployment: the ``deployment`` setting.
        served: all queues, with their runtimes.

    Raises:
        ImproperlyConfigured: services contradict each other, or no container is large enough.
    """
    containers = {each.queue: each for each in served if each.runtime == "container"}
    found = []
    for name, options in _options_of_services(deployment, containers).items():
        tasks = [task for queue in options.queues for task in containers[queue].tasks]
        found.append(_service(platform, name, options, tasks))
    return tuple(found)


def _options_of_services(deployment: Deployment, containers: Mapping[str, Served]) -> dict[str, ServiceOptions]:
    """Return the options of each service, by name, with the queues that it serves."""
    options = dict(deployment.services)
    named = {queue for each in options.values() for queue in each.queues}
    rest = tuple(sorted(containers.keys() - named))
    if rest and all(each.queues for each in options.values()):
        options.setdefault(_DEFAULT_SERVICE, ServiceOptions())
    without_queues = sorted(service for service, each in options.items() if not each.queues)
    if len(without_queues) > 1:
        raise ImproperlyConfigured(
            f"deployment: services: {' and '.join(without_queues)} name no queues, but only one service may leave them"
            " out: name the queues of the others"
        )
    if without_queues and not rest:
        raise ImproperlyConfigured(
            f"deployment: services.{without_queues[0]}: no queue is left for it to serve: remove it"
        )
    return {
        service: each.model_copy(update={"queues": tuple(sorted(each.queues)) or rest})
        for service, each in sorted(options.items())
    }


def _service(platform: WorkerPlatform, name: str, options: ServiceOptions, tasks: Sequence[ServedTask]) -> Service:
    cpu = options.cpu_units
    memory = max([options.memory_mb, *(each.memory_mb for each in tasks if each.memory_mb)])
    if platform.aws:
        where = f"deployment: services.{name}"
        if platform.scales:
            _check_queues(where, options.queues)
        cpu, memory = fargate_size(where, cpu, memory)
    # Without scaling, nothing would start the first container.
    minimum = options.minimum_tasks if platform.scales else max(1, options.minimum_tasks)
    application = ("-A", platform.app_path) if platform.app_path else ()
    return Service(
        name=f"{platform.name}-{name}",
        role=f"{platform.name}-{name}-service" if platform.aws else None,
        queues=options.queues,
        command=("taskq", "worker", *application, "-Q", ",".join(map(platform.priorities.exact, options.queues))),
        cpu_units=cpu,
        memory_mb=memory,
        minimum_tasks=minimum,
        maximum_tasks=max(minimum, options.maximum_tasks),
        backlog_per_task=options.backlog_per_task,
        stop_timeout_seconds=platform.stop_timeout_seconds,
        environment=dict(sorted({**platform.environment, **options.environment}.items())),
    )


def _stop_timeout(settings: Settings) -> int:
    stop = math.ceil(settings.worker_shutdown_timeout) + STOP_MARGIN_SECONDS
    if stop > LONGEST_STOP_SECONDS:
        raise ImproperlyConfigured(
            f"worker_shutdown_timeout is {settings.worker_shutdown_timeout:g} s, but Fargate kills a container"
            f" {LONGEST_STOP_SECONDS} s after SIGTERM at the latest: set it to at most"
            f" {LONGEST_STOP_SECONDS - STOP_MARGIN_SECONDS} s"
        )
    return stop


def fargate_size(where: str, cpu_units: int, memory_mb: int) -> tuple[int, int]:
    """Return the smallest size of a Fargate container that is large enough: CPU units, and memory in MiB.

    Args:
        where: the service that the container belongs to, as errors name it.
        cpu_units: the least CPU units.
        memory_mb: the least memory in MiB.

    Raises:
        ImproperlyConfigured: no container is large enough; the error gives the largest size.
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
    """Refuse more queues than one service can scale by.

    Raises:
        ImproperlyConfigured: there are more queues; the error names them, and says how to spread them over services.
    """
    if len(queues) > MOST_QUEUES:
        raise ImproperlyConfigured(
            f"{where}: it would serve {len(queues)} queues ({', '.join(queues)}), but a service can scale by at most"
            f" {MOST_QUEUES}: name some of them in another service of deployment's services"
        )
