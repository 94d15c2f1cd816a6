"""Makes the topology of an application: its queues, the functions and services that serve them, and their limits.

``runtimes`` chooses the runtime of each task, ``stores`` finds tables and buckets, ``permissions`` writes the roles. No
service is called, so a topology is made without credentials.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from taskq_cloud.brokers.sqs import SQSBroker
from taskq_cloud.clients.aws_lineage import RECURSIVE_LOOP_VARIABLE
from taskq_cloud.clients.env_files import variables_of_deployment
from taskq_cloud.core.model.capabilities import dead_letter_queue, is_ordered
from taskq_cloud.core.model.environments import ENVIRONMENT_FIRST, SECRETS, environment_first, variable_of
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.urls import without_secrets
from taskq_cloud.deploy.topology import google, names, permissions
from taskq_cloud.deploy.topology.containers import services, worker_platform
from taskq_cloud.deploy.topology.deployment import Deployment, PollerOptions, read_deployment
from taskq_cloud.deploy.topology.levels import with_levels
from taskq_cloud.deploy.topology.model import (
    LARGEST_VISIBILITY_SECONDS,
    LONGEST_RETENTION_SECONDS,
    DeadLetterQueue,
    Function,
    Pollers,
    Queue,
    Server,
    Service,
    Topology,
)
from taskq_cloud.deploy.topology.names import check_variables
from taskq_cloud.deploy.topology.runtimes import MARGIN_SECONDS, Served, serve
from taskq_cloud.deploy.topology.scheduling import schedule_group, schedules, with_key
from taskq_cloud.deploy.topology.servers import BROKER_SCHEMES, check_urls, has_password, is_secret, servers
from taskq_cloud.deploy.topology.stores import Stores, stores
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.runtime.protocols import Application
from taskq_cloud.settings import Settings

VISIBILITY_PER_TIMEOUT: Final = 6
"""A queue's visibility timeout is this many times the timeout of its function, plus the batching window (Lambda
Developer Guide, "services-sqs-configure")."""

LEAST_RECEIVES: Final = 5
"""The least ``maxReceiveCount`` that AWS recommends for the queue of a function (Lambda Developer
Guide, "services-sqs-configure")."""

USUAL_BATCH: Final = 10
"""Lambda's default batch size, and the largest without a batching window (Lambda Developer Guide,
"services-sqs-parameters")."""

USUAL_BATCH_SECONDS: Final = 120
"""The time that a batch may take at the time limits of its tasks, unless one task may take longer. Tasks that may take
long gain little from a batch, and the visibility timeout is six times as long: after an invocation has died, its
messages are not received again before that."""

FUNCTION_WITHOUT_TASKS_SECONDS: Final = 30
_DAY_SECONDS: Final = 86_400
_FOR_PROCESSES: Final = frozenset(
    map(
        variable_of,
        Settings.model_fields.keys() - SECRETS - {"beat_schedule", "broker_url", "deployment", "result_backend"},
    )
)
"""Variables of a deployment's file that its processes get, too. Secrets are none of them, nor are values that other
variables or the topology hold."""


def build(
    app: Application, app_path: str | None = None, periodic: Callable[[], Sequence[PlatformSchedule]] = tuple
) -> Topology:
    """Make the topology of an application.

    Args:
        app: the application.
        app_path: the path that functions and containers import it from: ``"shop:app"``; None: the one in ``TASKQ_APP``.
        periodic: returns the schedules of its periodic tasks, whose targets are names of queues; it is called only if
            Terraform manages them.

    Raises:
        ImproperlyConfigured: the broker is on this machine, the ``deployment`` setting is wrong, or tasks of one queue
            need two runtimes; the error says what to change.
    """
    try:
        return _build(app, app_path, periodic)
    except ValidationError as error:
        problems = "; ".join(
            f"{error.title}.{'.'.join(map(str, each['loc']))} is {each['input']!r}: {each['msg']}"
            for each in error.errors()
        )
        raise ImproperlyConfigured(f"the topology can't be deployed: {problems}") from error


def _build(app: Application, app_path: str | None, periodic: Callable[[], Sequence[PlatformSchedule]]) -> Topology:
    settings = app.conf
    check_urls(settings)
    deployment = with_levels(read_deployment(settings.deployment), app.priorities)
    name = deployment.name or _name_from(app.main or "taskq")
    scheme = urlsplit(settings.broker).scheme
    served = _served(app, deployment, aws=scheme == "sqs")
    names.check_deployment(deployment, served)
    found_stores = stores(settings)
    environment = _environment(settings, deployment, app_path)
    aws = scheme != "pubsub"
    platform = worker_platform(name, app, environment, app_path, aws=aws, scales=scheme not in BROKER_SCHEMES)
    shared = _Shared(
        settings=settings,
        deployment=deployment,
        name=name,
        environment=environment,
        served=served,
        services=services(platform, deployment, served),
        stores=found_stores,
        servers=servers(settings, served),
    )
    if isinstance(app.broker, SQSBroker):
        return _on_aws(shared, app.broker, periodic)
    if scheme in BROKER_SCHEMES:
        return _on_server(shared)
    return _on_google(shared, periodic)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """The parts of a topology that do not depend on the provider."""

    settings: Settings
    deployment: Deployment
    name: str
    environment: dict[str, str]
    served: Sequence[Served]
    services: tuple[Service, ...]
    stores: Stores
    servers: tuple[Server, ...]

    def schedules(self, periodic: Callable[[], Sequence[PlatformSchedule]]) -> Sequence[PlatformSchedule]:
        """Return the schedules of periodic tasks if Terraform manages them."""
        return periodic() if self.deployment.schedules == "terraform" else ()


def _on_google(shared: _Shared, periodic: Callable[[], Sequence[PlatformSchedule]]) -> Topology:
    return Topology(
        name=shared.name,
        provider="google",
        region=None,
        project=google.project_of(shared.settings),
        kms_key_arn=None,
        environment=shared.environment,
        subscriptions=google.subscriptions(shared.settings, shared.deployment, shared.served),
        scheduler_jobs=google.scheduler_jobs(shared.settings, shared.schedules(periodic)),
        services=shared.services,
        tables=shared.stores.tables,
        buckets=shared.stores.buckets,
        servers=shared.servers,
    )


def _on_server(shared: _Shared) -> Topology:
    """Make the topology of an application whose messages are on a server: containers on ECS serve its queues."""
    if shared.deployment.schedules == "terraform":
        raise ImproperlyConfigured(
            "deployment: schedules='terraform' needs EventBridge Scheduler or Cloud Scheduler, which can't send to"
            f" {without_secrets(shared.settings.broker)}: remove it, and run taskq beat"
        )
    topology = Topology(
        name=shared.name,
        provider="aws",
        region=None,
        kms_key_arn=shared.deployment.kms_key_arn,
        environment=shared.environment,
        services=shared.services,
        tables=shared.stores.tables,
        buckets=shared.stores.buckets,
        servers=shared.servers,
    )
    return topology.model_copy(update={"roles": permissions.roles(topology)})


def _on_aws(shared: _Shared, broker: SQSBroker, periodic: Callable[[], Sequence[PlatformSchedule]]) -> Topology:
    group = schedule_group(shared.settings, shared.deployment.kms_key_arn)
    queues = tuple(_queue(broker, shared.deployment, shared.settings, each) for each in shared.served)
    names.check_queues(queues)
    functions = tuple(_function(shared, broker, each) for each in shared.served if each.runtime == "lambda")
    names.check_functions(functions)
    topology = Topology(
        name=shared.name,
        provider="aws",
        region=dict(broker.services["sqs"].options).get("region"),
        kms_key_arn=shared.deployment.kms_key_arn,
        environment=shared.environment,
        queues=queues,
        functions=functions,
        services=shared.services,
        tables=shared.stores.tables,
        buckets=shared.stores.buckets,
        servers=shared.servers,
        schedule_group=group,
        schedules=schedules(group, shared.schedules(periodic)),
    )
    return topology.model_copy(update={"roles": permissions.roles(topology)})


def _name_from(main: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", main.lower()).strip("-")[:32].rstrip("-")


def _served(app: Application, deployment: Deployment, *, aws: bool) -> list[Served]:
    """Return every queue with its runtime; a queue without tasks, which workflows may use, follows the others."""
    tasks_of: dict[str, dict[str, TaskOptions]] = {queue: {} for queue in app.queues()}
    for task in app.tasks:
        for queue in app.priorities.queues(app.route(task)):
            tasks_of[queue][task] = app.options_of(task)
    names.check_retired(deployment, tasks_of)
    tasks_of.update({old: tasks_of[new] for old, new in deployment.retired_queues.items()})
    limit = app.conf.task_time_limit
    served = [Served(queue, *serve(queue, tasks, limit, deployment, aws=aws)) for queue, tasks in tasks_of.items()]
    all_lambda = all(each.runtime == "lambda" for each in served if each.tasks) and any(each.tasks for each in served)
    return [
        Served(each.queue, "lambda", ()) if all_lambda and not each.tasks else each
        for each in sorted(served, key=lambda each: each.queue)
    ]


def _environment(settings: Settings, deployment: Deployment, app_path: str | None) -> dict[str, str]:
    scheduler = settings.scheduler
    if scheduler is not None and deployment.kms_key_arn is not None:
        scheduler = with_key(scheduler, deployment.kms_key_arn)
    variables = {
        "TASKQ_APP": app_path,
        "TASKQ_BROKER": settings.broker,
        "TASKQ_PAYLOADS": settings.payloads,
        "TASKQ_RESULTS": settings.results_url(),
        "TASKQ_SCHEDULER": scheduler,
    }
    # A password must not be written down: processes get such a URL from a secret store.
    given = {name: value for name, value in variables.items() if value is not None and not is_secret(value)}
    # Functions and containers run with the settings that their topology was made with.
    of_deployment = {
        name: value
        for name, value in variables_of_deployment().items()
        if name in _FOR_PROCESSES and not has_password(value)
    }
    first = {ENVIRONMENT_FIRST: "1"} if environment_first(os.environ) else {}
    names.check_secrets(deployment)
    return dict(sorted((of_deployment | first | given | deployment.environment).items()))


def _queue(broker: SQSBroker, deployment: Deployment, settings: Settings, served: Served) -> Queue:
    if served.runtime == "lambda":
        options = deployment.function_options(served.queue)
        _, timeout = batch_and_timeout(served, deployment)
        visibility = VISIBILITY_PER_TIMEOUT * timeout + options.batching_window_seconds
    else:
        # A worker sets its own lease with each receive; this value counts for other receivers, such as operators.
        lease = settings.broker_transport_options.get("visibility_timeout", settings.visibility_timeout)
        visibility = math.ceil(max(lease, served.longest_limit or 0))
    return Queue(
        queue=served.queue,
        name=broker.full_name(served.queue),
        fifo=is_ordered(served.queue),
        runtime=served.runtime,
        tasks=served.tasks,
        visibility_timeout_seconds=min(visibility, LARGEST_VISIBILITY_SECONDS),
        message_retention_seconds=deployment.message_retention_days * _DAY_SECONDS,
        max_receive_count=max(settings.task_max_receives, LEAST_RECEIVES),
        dead_letter_queue=DeadLetterQueue(
            name=broker.full_name(dead_letter_queue(served.queue)), message_retention_seconds=LONGEST_RETENTION_SECONDS
        ),
    )


def batch_and_timeout(served: Served, deployment: Deployment) -> tuple[int, int]:
    """Return the batch size, and the timeout in seconds, of the function that serves a queue.

    A function runs the messages of a batch one after the other, and a message that doesn't fit into its timeout comes
    back with a receive used up. So the timeout lasts for a whole batch at the longest time limit of its tasks, as far
    as a function's longest timeout allows.
    """
    requested = deployment.function_options(served.queue).batch_size
    limit = served.longest_limit
    if limit is None:
        return requested or USUAL_BATCH, FUNCTION_WITHOUT_TASKS_SECONDS
    longest = deployment.longest_function_seconds
    usual = min(USUAL_BATCH_SECONDS, longest - MARGIN_SECONDS)
    batch = requested or max(1, min(USUAL_BATCH, math.floor(usual / limit)))
    return batch, min(longest, math.ceil(batch * limit) + MARGIN_SECONDS)


def _pollers(options: PollerOptions | None) -> Pollers | None:
    return None if options is None else Pollers(minimum=options.minimum, maximum=options.maximum)


def _function(shared: _Shared, broker: SQSBroker, served: Served) -> Function:
    options = shared.deployment.function_options(served.queue)
    batch, timeout = batch_and_timeout(served, shared.deployment)
    where = f"deployment: the function of queue {served.queue!r}"
    if is_ordered(served.queue) and (batch > USUAL_BATCH or options.batching_window_seconds):
        raise ImproperlyConfigured(
            f"{where}: a FIFO queue allows a batch_size of at most {USUAL_BATCH}, and no batching window"
        )
    if batch > USUAL_BATCH and not options.batching_window_seconds:
        raise ImproperlyConfigured(
            f"{where}: a batch_size of {batch} needs batching_window_seconds of at least 1; without a window,"
            f" {USUAL_BATCH} is the largest batch_size"
        )
    loop = {} if options.recursive_loop == "Allow" else {RECURSIVE_LOOP_VARIABLE: options.recursive_loop}
    variables = {**shared.environment, **loop, **options.environment}
    check_variables(where, variables)
    memory = max([options.memory_mb, *(each.memory_mb for each in served.tasks if each.memory_mb)])
    stem = broker.full_name(served.queue).replace(".", "-")
    function = stem if stem.startswith(f"{shared.name}-") else f"{shared.name}-{stem}"
    return Function(
        name=function,
        role=f"{function}-function",
        queue=served.queue,
        timeout_seconds=timeout,
        memory_mb=memory,
        batch_size=batch,
        batching_window_seconds=options.batching_window_seconds,
        maximum_concurrency=None if options.provisioned_pollers else options.maximum_concurrency,
        provisioned_pollers=_pollers(options.provisioned_pollers),
        reserved_concurrency=options.reserved_concurrency,
        recursive_loop=options.recursive_loop,
        environment=variables,
    )
