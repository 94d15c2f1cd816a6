"""Checks the names of a topology: queues and functions have unique names, and no variable has a reserved one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from taskq_cloud.core.model.environments import SECRETS, variable_of
from taskq_cloud.deploy.topology.deployment import Deployment, FunctionOptions, ServiceOptions
from taskq_cloud.deploy.topology.model import Function, Queue
from taskq_cloud.deploy.topology.runtimes import Served
from taskq_cloud.deploy.topology.servers import is_secret
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
"""Variables that Lambda sets itself (Lambda Developer Guide, "configuration-envvars": "Defined runtime environment
variables")."""

_URLS: Final = frozenset({"TASKQ_BROKER", "TASKQ_RESULTS"})
"""Variables whose URLs may hold a password."""


def check_deployment(deployment: Deployment, served: Sequence[Served]) -> None:
    """Check that every queue in the ``deployment`` setting exists, is served by that runtime, and is named once.

    Raises:
        ImproperlyConfigured: a queue fails the check; the error names it, and the queues to choose from.
    """
    functions = {each.queue for each in served if each.runtime == "lambda"}
    containers = {each.queue for each in served if each.runtime == "container"}
    for queue in sorted(deployment.functions.keys() - functions):
        raise ImproperlyConfigured(
            f"deployment: functions: no Lambda function serves a queue {queue!r}; Lambda functions serve these queues:"
            f" {', '.join(sorted(functions)) or 'none'}"
        )
    seen: dict[str, str] = {}
    for service, options in sorted(deployment.services.items()):
        for queue in options.queues:
            if queue not in containers:
                raise ImproperlyConfigured(
                    f"deployment: services.{service}: no container serves a queue {queue!r}; containers serve these"
                    f" queues: {', '.join(sorted(containers)) or 'none'}"
                )
            if queue in seen:
                raise ImproperlyConfigured(
                    f"deployment: services: both {seen[queue]} and {service} name queue {queue!r}: remove it from one"
                )
            seen[queue] = service


def check_retired(deployment: Deployment, queues: Collection[str]) -> None:
    """Check that no task goes to a retired queue, and that the queue which took over exists.

    Raises:
        ImproperlyConfigured: a queue fails the check; the error names it.
    """
    for old, new in sorted(deployment.retired_queues.items()):
        if old in queues:
            raise ImproperlyConfigured(
                f"deployment: retired_queues: tasks still go to queue {old!r}: route them to {new!r}, or remove it here"
            )
        if new not in queues:
            raise ImproperlyConfigured(
                f"deployment: retired_queues: no task goes to queue {new!r}, which is to take over from {old!r}; tasks"
                f" go to these queues: {', '.join(sorted(queues))}"
            )


def check_functions(functions: Sequence[Function]) -> None:
    """Check that function names are unique; a function's name can't contain dots, so two queues may share one.

    Raises:
        ImproperlyConfigured: two functions have the same name; the error names their queues.
    """
    _check_unique("a Lambda function {}", ((each.name, each.queue) for each in functions))


def check_queues(queues: Sequence[Queue]) -> None:
    """Check that the names of queues and dead-letter queues are unique in SQS, which allows fewer characters.

    Raises:
        ImproperlyConfigured: two queues have the same name in SQS; the error names both.
    """
    names = ((name, each.queue) for each in queues for name in (each.name, each.dead_letter_queue.name))
    _check_unique("a queue {} in SQS", names)


def _check_unique(resource: str, names: Iterable[tuple[str, str]]) -> None:
    """Check pairs of a resource's name and the queue that it belongs to."""
    queues: dict[str, str] = {}
    for name, queue in names:
        if name in queues:
            raise ImproperlyConfigured(
                f"queues {queues[name]!r} and {queue!r} would both have {resource.format(name)}: rename one of them"
            )
        queues[name] = queue


def check_variables(where: str, environment: Mapping[str, str]) -> None:
    """Check that CreateFunction accepts the names of environment variables.

    Args:
        where: the function that the variables are for, as errors name it.
        environment: the variables.

    Raises:
        ImproperlyConfigured: Lambda refuses some of the variables; the error names them.
    """
    found = sorted(environment.keys() & RESERVED)
    if found:
        raise ImproperlyConfigured(
            f"{where}: Lambda sets {', '.join(found)} itself and refuses a function that does: remove it from"
            " environment, or set it for services only"
        )


def check_secrets(deployment: Deployment) -> None:
    """Check that no secret is among the environment variables, which are written down in plans and states.

    Raises:
        ImproperlyConfigured: a variable sets a secret setting; the error names it.
    """
    options: dict[str, Deployment | FunctionOptions | ServiceOptions] = {
        "deployment": deployment,
        "deployment: function": deployment.function,
    }
    options |= {f"deployment: functions.{queue}": each for queue, each in deployment.functions.items()}
    options |= {f"deployment: services.{service}": each for service, each in deployment.services.items()}
    for where, each in options.items():
        found = sorted(
            name
            for name, value in each.environment.items()
            if name in map(variable_of, SECRETS) or (name in _URLS and is_secret(value))
        )
        if found:
            raise ImproperlyConfigured(
                f"{where}: environment: {', '.join(found)} would be written into the topology: keep the value in a"
                " secret store, and name the secret in the Terraform module's input secrets"
            )
