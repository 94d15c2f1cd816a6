"""The doctor's checks of ECS services: containers that run ``taskq worker``."""

from __future__ import annotations

from typing import Final

from taskq_cloud.deploy.doctor.check import NOT_DEPLOYED, Check, at_least, equal, require, same_variables
from taskq_cloud.deploy.doctor.matching import SERVICES

USUAL_STOP_SECONDS: Final = 30
"""The stop timeout of a container that has no ``stopTimeout`` (ECS Developer Guide, "Task definition parameters")."""

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
        lambda service: require(
            service.live.memory_mb >= service.declared.memory_mb
            and service.live.cpu_units >= service.declared.cpu_units,
            f"a container has {service.live.cpu_units} CPU units and {service.live.memory_mb} MiB of memory;"
            f" {service.declared.cpu_units} units and {service.declared.memory_mb} MiB are declared",
        ),
        "a task that needs more memory kills its container, and all tasks that ran there are run again",
    ),
    Check(
        "service.stop",
        SERVICES.deployed,
        lambda service: at_least(
            USUAL_STOP_SECONDS if service.live.stop_timeout_seconds is None else service.live.stop_timeout_seconds,
            service.declared.stop_timeout_seconds,
            "its containers are killed {} s after SIGTERM; {} s are declared",
        ),
        "tasks that could have finished are killed at every deployment, and are run again",
    ),
)
