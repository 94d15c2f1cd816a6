"""Checks of names: each queue and function has one of its own, and no variable has one that Lambda reserves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from taskq_cloud.deploy.topology.deployment import Deployment
from taskq_cloud.deploy.topology.model import Function, Queue
from taskq_cloud.deploy.topology.runtimes import Served
from taskq_cloud.errors import ImproperlyConfigured

RESERVED: Final = frozenset(
    {
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
    }
)
"""Lambda Developer Guide, "configuration-envvars": "Defined runtime environment variables"."""


def check_deployment(deployment: Deployment, served: Sequence[Served]) -> None:
    """Every queue that the deployment names is there, and served as it says, once."""
    functions = {each.queue for each in served if each.runtime == "lambda"}
    containers = {each.queue for each in served if each.runtime == "container"}
    for queue in sorted(deployment.functions.keys() - functions):
        raise ImproperlyConfigured(
            f"deployment: functions: no Lambda function serves a queue {queue!r}; those that one serves:"
            f" {', '.join(sorted(functions)) or 'none'}"
        )
    seen: dict[str, str] = {}
    for service, options in sorted(deployment.services.items()):
        for queue in options.queues:
            if queue not in containers:
                raise ImproperlyConfigured(
                    f"deployment: services.{service}: no container serves a queue {queue!r}; those that one serves:"
                    f" {', '.join(sorted(containers)) or 'none'}"
                )
            if queue in seen:
                raise ImproperlyConfigured(
                    f"deployment: services: queue {queue!r} is served by {seen[queue]} and by {service}: name it once"
                )
            seen[queue] = service


def check_functions(functions: Sequence[Function]) -> None:
    """Every function has a name of its own: it has no dots, so two queues may lead to one."""
    by_name: dict[str, str] = {}
    for each in functions:
        if each.name in by_name:
            raise ImproperlyConfigured(
                f"queues {by_name[each.name]!r} and {each.queue!r} are both to have a Lambda function {each.name}:"
                " rename one"
            )
        by_name[each.name] = each.queue


def check_queues(queues: Sequence[Queue]) -> None:
    """Every queue and dead-letter queue has a name of its own in SQS, whose alphabet is smaller than ours."""
    by_name: dict[str, str] = {}
    for each in queues:
        for name in (each.name, each.dead_letter_queue.name):
            if name in by_name:
                raise ImproperlyConfigured(
                    f"queues {by_name[name]!r} and {each.queue!r} are both to have a queue {name} in SQS: rename one"
                )
            by_name[name] = each.queue


def check_variables(where: str, environment: Mapping[str, str]) -> None:
    """Refuse variables that CreateFunction refuses.

    Raises:
        ImproperlyConfigured: names them.
    """
    found = sorted(environment.keys() & RESERVED)
    if found:
        raise ImproperlyConfigured(
            f"{where}: Lambda sets {', '.join(found)} itself and refuses a function that does: leave it out of"
            " environment, or give it to services alone"
        )
