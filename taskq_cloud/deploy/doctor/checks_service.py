"""The doctor's checks of ECS services, which run ``taskq worker`` in containers, and of their scaling."""

from __future__ import annotations

from typing import Final

from taskq_cloud.deploy.doctor.check import (
    NOT_DEPLOYED,
    Check,
    at_least,
    equal,
    no_other_settings,
    require,
    same_variables,
    unless,
)
from taskq_cloud.deploy.doctor.matching import SCALING, SERVICES, Pair
from taskq_cloud.deploy.doctor.observed import ObservedScaling, ObservedService
from taskq_cloud.deploy.topology.model import Service

USUAL_STOP_SECONDS: Final = 30
"""The stop timeout of a container that has no ``stopTimeout`` (ECS Developer Guide, "Task definition parameters")."""

_STOP: Final = "its containers are killed {} s after SIGTERM; {} s are declared"


def _sizes(service: Pair[Service, ObservedService]) -> str:
    return (
        f"a container has {service.live.cpu_units} CPU units and {service.live.memory_mb} MiB of memory;"
        f" {service.declared.cpu_units} units and {service.declared.memory_mb} MiB are declared"
    )


def _large_enough(service: Pair[Service, ObservedService]) -> str | None:
    live, declared = service.live, service.declared
    return require(
        live.memory_mb >= declared.memory_mb and live.cpu_units >= declared.cpu_units,
        _sizes(service),
    )


def _size_as_declared(service: Pair[Service, ObservedService]) -> str | None:
    live, declared = service.live, service.declared
    return require(
        (live.memory_mb, live.cpu_units) == (declared.memory_mb, declared.cpu_units),
        _sizes(service),
    )


def _stop_seconds(service: Pair[Service, ObservedService]) -> int:
    live = service.live.stop_timeout_seconds
    return USUAL_STOP_SECONDS if live is None else live


def _late_enough(service: Pair[Service, ObservedService]) -> str | None:
    return at_least(_stop_seconds(service), service.declared.stop_timeout_seconds, _STOP)


def _stop_as_declared(service: Pair[Service, ObservedService]) -> str | None:
    return equal(_stop_seconds(service), service.declared.stop_timeout_seconds, _STOP)


def _tasks(scaling: Pair[Service, ObservedScaling]) -> str | None:
    return equal(
        f"{scaling.live.minimum_tasks} to {scaling.live.maximum_tasks}",
        f"{scaling.declared.minimum_tasks} to {scaling.declared.maximum_tasks}",
        "{} containers run; {} are declared",
    )


def _backlog(scaling: Pair[Service, ObservedScaling]) -> str | None:
    if scaling.topology.server_queues:
        return None  # nothing counts the messages on a server: the load of processors decides
    live, declared = scaling.live.backlog_per_task, scaling.declared.backlog_per_task
    if live is None and scaling.live.maximum_tasks <= max(scaling.live.minimum_tasks, 1):
        return None  # there is nothing to scale
    return equal(live or 0, declared, "it is scaled to {:g} messages for each container; {} are declared")


CHECKS: Final = (
    Check(
        "service.missing",
        SERVICES.missing,
        lambda _: f"{NOT_DEPLOYED} (if the cluster has another name than the deployment, name it with --cluster)",
        lambda service: f"messages of {', '.join(service.declared.queues)} wait until their retention ends",
    ),
    Check(
        "service.command",
        SERVICES.deployed,
        lambda service: require(
            tuple(service.live.command) == service.declared.command,
            f"its containers run {' '.join(service.live.command) or 'the command of their image'};"
            f" {' '.join(service.declared.command)} is declared",
        ),
        "no worker serves the declared queues that this command does not name",
    ),
    Check(
        "service.environment",
        SERVICES.deployed,
        lambda service: same_variables(service.live.environment, service.declared.environment),
        "its workers use another broker, store or application than their callers",
    ),
    Check(
        "service.environment",
        SERVICES.deployed,
        lambda service: no_other_settings(service.live.environment, service.declared.environment),
        "its workers run with settings that the code and their callers don't know of",
        "apply Terraform; a setting that is meant to stay belongs into deployment's environment",
        severity="warning",
    ),
    Check(
        "service.role",
        SERVICES.deployed,
        lambda service: equal(
            service.live.role or "not set", service.declared.role, "its task role is {}; {} is declared"
        ),
        "calls are denied, or more is allowed than the code needs",
    ),
    Check(
        "service.size",
        SERVICES.deployed,
        _large_enough,
        "a task that needs more memory kills its container, and all tasks that ran there are run again",
    ),
    Check(
        "service.size",
        SERVICES.deployed,
        unless(_large_enough, _size_as_declared),
        "every container costs more than declared, and the next apply makes it smaller again",
        severity="warning",
    ),
    Check(
        "service.stop",
        SERVICES.deployed,
        _late_enough,
        "tasks that could have finished are killed at every deployment, and are run again",
    ),
    Check(
        "service.stop",
        SERVICES.deployed,
        unless(_late_enough, _stop_as_declared),
        "a container that hangs holds up every deployment for that long",
        severity="warning",
    ),
)

SCALING_CHECKS: Final = (
    Check(
        "service.scaling",
        SCALING.missing,
        # A service that is missing as a whole is a finding of service.missing.
        lambda scaling: "nothing scales it" if SERVICES.name(scaling.declared) in scaling.observed.services else None,
        "its containers stay as many as they are, whatever the backlog, or none starts at all",
    ),
    Check(
        "service.scaling",
        SCALING.deployed,
        _tasks,
        "a long queue is worked off more slowly than declared, or containers are paid for that are not needed",
        severity="warning",
    ),
    Check(
        "service.scaling",
        SCALING.deployed,
        _backlog,
        "containers are started for another backlog than declared: later, or more of them",
        severity="warning",
    ),
)
