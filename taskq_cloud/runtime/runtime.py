"""The part of an application that a worker or a handler needs to serve its queues."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.execution.context import Environment
from taskq_cloud.core.execution.pipeline import Pipeline
from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.options import Policy
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.ports import Broker, ResultStore
from taskq_cloud.runtime.registry import Registry

if TYPE_CHECKING:
    from taskq_cloud.runtime.components import Component
    from taskq_cloud.settings import Settings

logger = logging.getLogger("taskq_cloud.hooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The part of an application that runs tasks.

    Args:
        settings: the application's settings.
        tasks: task name -> definition.
        broker: the broker that messages come from.
        store: the store that states are saved in.
        pipeline: takes each delivery to its settlement.
        runner: runs the functions of tasks.
        codec: writes and reads the application's messages.
        route: task name -> queue.
        connections: drives flows in the calling thread.
        async_connections: drives flows on an event loop.
        hostname: the name of the worker, function or endpoint.
        components: the services that the application adds to its workers.
        app_path: the path, such as ``"shop:app"``, from which the children of a process pool import the application.
    """

    settings: Settings
    tasks: Mapping[str, TaskDefinition]
    broker: Broker
    store: ResultStore
    pipeline: Pipeline
    runner: TaskRunner
    codec: Codec
    route: Callable[[str], str]
    connections: Connections
    async_connections: AsyncConnections
    hostname: str = ""
    components: Sequence[Component] = ()
    app_path: str | None = None


def make_environment(app: Registry, policy: Policy, hostname: str | None) -> Environment:
    """Make the parts of an application that a pipeline works with.

    Args:
        app: the application.
        policy: the settings that hold for every task.
        hostname: the worker's name; None: a name that is made from the machine's.
    """
    return Environment(
        outbox=app.outbox,
        store=app.store,
        tasks=app.definitions,
        policy=policy,
        route=app.route,
        hostname=hostname or f"taskq@{socket.gethostname()}",
        clock=time.time,
        hooks=app.hooks,
    )


def make_runtime(app: Registry, hostname: str | None, patience_seconds: float | None, app_path: str | None) -> Runtime:
    """Make the runtime of an application. The arguments are those of ``TaskQ.runtime``.

    Raises:
        ImproperlyConfigured: a setting is wrong, or the result store can't keep rate limits.
    """
    policy = app.conf.policy(app.conf.worker_patience if patience_seconds is None else patience_seconds)
    limited = [
        each for each in app.definitions.values() if policy.limits_rate(each.options, "") or each.options.rate_key
    ]
    if limited or policy.queue_rate_limits:
        from taskq_cloud.core.execution.steps import rate_limits  # few applications have rate limits

        rate_limits.check(limited, policy, app.store.capabilities, app.broker.capabilities)
    for name in app.unknown_tasks_with_hooks():
        text = "add_hooks() has hooks for task %r, which is not declared here: check the name, or import its module"
        logger.warning(text, name, extra={"action": "hook.task_unknown", "task": name})
    environment = make_environment(app, policy, hostname)
    return Runtime(
        settings=app.conf,
        tasks=app.definitions,
        broker=app.broker,
        store=app.store,
        pipeline=Pipeline(environment),
        runner=app.runner,
        codec=app.codec,
        route=app.route,
        connections=app.connections,
        async_connections=app.async_connections,
        hostname=environment.hostname,
        components=app.components,
        app_path=app_path,
    )
