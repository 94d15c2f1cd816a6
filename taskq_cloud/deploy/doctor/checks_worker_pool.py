"""The doctor's checks of worker pools of Cloud Run, which run ``taskq worker`` in containers."""

from __future__ import annotations

from typing import Final

from taskq_cloud.deploy.doctor.check import (
    Check,
    at_least,
    equal,
    missing,
    no_other_settings,
    require,
    same_variables,
    unless,
)
from taskq_cloud.deploy.doctor.checks_access import worker_account
from taskq_cloud.deploy.doctor.matching import WORKER_POOLS, Pair
from taskq_cloud.deploy.doctor.observed_google import ObservedWorkerPool
from taskq_cloud.deploy.topology.model import Service

_MADE_BY_TERRAFORM: Final = "TASKQ_BROKER_TRANSPORT_OPTIONS"
"""The variable to which Terraform adds the address of the queue for delays."""

_MEMORY: Final = "a container has {} MiB of memory; {} MiB are declared"


def _same_variables(pool: Pair[Service, ObservedWorkerPool]) -> str | None:
    declared = {name: value for name, value in pool.declared.environment.items() if name != _MADE_BY_TERRAFORM}
    return same_variables(pool.live.environment, declared)


def _enough_memory(pool: Pair[Service, ObservedWorkerPool]) -> str | None:
    return at_least(pool.live.memory_mb, pool.declared.memory_mb, _MEMORY)


def _memory_as_declared(pool: Pair[Service, ObservedWorkerPool]) -> str | None:
    return equal(pool.live.memory_mb, pool.declared.memory_mb, _MEMORY)


def _instances(pool: Pair[Service, ObservedWorkerPool]) -> str | None:
    """Expect as many instances as the autoscaler may start; without it, one at least runs."""
    least, most = pool.declared.minimum_tasks, max(pool.declared.maximum_tasks, 1)
    return require(
        least <= pool.live.instances <= most, f"{pool.live.instances} containers run; {least} to {most} are declared"
    )


CHECKS: Final = (
    missing(
        "pool.missing",
        WORKER_POOLS,
        lambda pool: f"messages of {', '.join(pool.declared.queues)} wait until their retention ends",
    ),
    Check(
        "pool.command",
        WORKER_POOLS.deployed,
        lambda pool: require(
            tuple(pool.live.command) == pool.declared.command,
            f"its containers run {' '.join(pool.live.command) or 'the command of their image'};"
            f" {' '.join(pool.declared.command)} is declared",
        ),
        "no worker serves the declared queues that this command does not name",
    ),
    Check(
        "pool.environment",
        WORKER_POOLS.deployed,
        _same_variables,
        "its workers use another broker, store or application than their callers",
    ),
    Check(
        "pool.environment",
        WORKER_POOLS.deployed,
        lambda pool: no_other_settings(pool.live.environment, pool.declared.environment),
        "its workers run with settings that the code and their callers don't know of",
        "apply Terraform; a setting that is meant to stay belongs into deployment's environment",
        severity="warning",
    ),
    Check(
        "pool.account",
        WORKER_POOLS.deployed,
        lambda pool: equal(
            pool.live.service_account or "the default account",
            worker_account(pool.topology, pool.declared.name),
            "it runs as {}; {} is expected",
        ),
        "calls are denied, or more is allowed than the code needs",
    ),
    Check(
        "pool.memory",
        WORKER_POOLS.deployed,
        _enough_memory,
        "a task that needs more memory kills its container, and all tasks that ran there are run again",
    ),
    Check(
        "pool.memory",
        WORKER_POOLS.deployed,
        unless(_enough_memory, _memory_as_declared),
        "every container costs more than declared, and the next apply makes it smaller again",
        severity="warning",
    ),
    Check(
        "pool.instances",
        WORKER_POOLS.deployed,
        _instances,
        "a long queue is worked off more slowly than declared, or containers are paid for that are not needed",
        severity="warning",
    ),
)
