"""Makes the pool that ``--pool`` names."""

from __future__ import annotations

import os

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.asyncio_pool import AsyncioPool
from taskq_cloud.pools.base import Pool, Runner
from taskq_cloud.pools.processes import ProcessPool
from taskq_cloud.pools.solo import SoloPool
from taskq_cloud.pools.threads import ThreadPool

POOLS = ("processes", "threads", "asyncio", "solo")
# Celery's names for the same.
ALIASES = {"prefork": "processes"}


def make_pool(
    name: str,
    *,
    runner: Runner,
    app_path: str | None = None,
    concurrency: int | None = None,
    max_tasks_per_child: int | None = None,
    max_memory_per_child_kib: int | None = None,
) -> Pool:
    """Make a pool; it is not started yet.

    Args:
        name: one of ``POOLS``, or ``prefork``.
        runner: runs the task functions, in the pools that stay in this process.
        app_path: where processes find the application: ``"shop:app"``.
        concurrency: how many tasks run at a time; None: one for each CPU that this process may use.
        max_tasks_per_child: processes only: a process retires after this many tasks.
        max_memory_per_child_kib: processes only: a process retires when it has grown over this, in KiB.

    Raises:
        ImproperlyConfigured: there is no such pool, or it has no such option.
    """
    kind = ALIASES.get(name, name)
    if kind not in POOLS:
        raise ImproperlyConfigured(f"no pool is named {name!r}; there are {', '.join(POOLS)}")
    slots = usable_cpus() if concurrency is None else concurrency
    if slots < 1:
        raise ImproperlyConfigured(f"concurrency is {slots}; a pool runs at least one task at a time")
    if kind == "processes":
        if app_path is None:
            raise ImproperlyConfigured("the processes pool needs the application's path, such as shop:app")
        return ProcessPool(app_path, slots, max_tasks_per_child, max_memory_per_child_kib)
    if max_tasks_per_child is not None or max_memory_per_child_kib is not None:
        raise ImproperlyConfigured(f"the {kind} pool has no processes to limit; use --pool processes")
    if kind == "threads":
        return ThreadPool(runner, slots)
    if kind == "asyncio":
        return AsyncioPool(runner, slots)
    if concurrency not in (None, 1):
        raise ImproperlyConfigured(f"the solo pool runs one task at a time, not {concurrency}; use --pool threads")
    return SoloPool(runner)


def usable_cpus() -> int:
    """How many CPUs this process may use; a container's or a user's restriction counts."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
