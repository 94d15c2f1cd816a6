"""Create the pool that the option ``--pool`` names: one of this package's, or one that another package brings."""

from __future__ import annotations

import os

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools import custom
from taskq_cloud.pools.asyncio_pool import AsyncioPool
from taskq_cloud.pools.base import Pool, Runner
from taskq_cloud.pools.cpus import usable_cpus
from taskq_cloud.pools.processes import ProcessPool
from taskq_cloud.pools.solo import SoloPool
from taskq_cloud.pools.threads import ThreadPool

POOLS = ("processes", "threads", "asyncio", "gevent", "eventlet", "solo")
IN_PROCESSES = ("processes", "gevent", "eventlet")
"""The pools whose tasks run in child processes."""
# Celery's names of these pools.
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
    """Create a pool without starting it.

    Args:
        name: one of ``POOLS``, ``prefork``, the name of an entry point, or a path: ``proj.pools:MyPool``.
        runner: runs the task functions, in the pools that stay in this process.
        app_path: where processes find the application: ``"shop:app"``.
        concurrency: how many tasks run at a time; None: one for each CPU that this process may use.
        max_tasks_per_child: processes pool only: a process is replaced after this many tasks.
        max_memory_per_child_kib: processes pool only: a process is replaced once it has grown over this size, in KiB.

    Raises:
        ImproperlyConfigured: no pool has this name, the pool doesn't have one of the options, or this system can't run
            it.
    """
    kind = ALIASES.get(name, name)
    size = _checked_size(concurrency)
    if kind not in POOLS:
        check_name(name)
        limits = {"max_tasks_per_child": max_tasks_per_child, "max_memory_per_child_kib": max_memory_per_child_kib}
        return custom.make(name, runner, size, {"app_path": app_path, **limits})
    if kind == "processes":
        path = _checked_path(kind, app_path)
        return ProcessPool(path, size, max_tasks_per_child, max_memory_per_child_kib)
    if max_tasks_per_child is not None or max_memory_per_child_kib is not None:
        raise ImproperlyConfigured(
            f"the {kind} pool has no child process for each task, so max_tasks_per_child and max_memory_per_child "
            "don't apply; use --pool processes, or remove the option"
        )
    if kind in IN_PROCESSES:
        from taskq_cloud.pools.greenlets import EventletPool, GeventPool  # few workers have greenlets

        return (GeventPool if kind == "gevent" else EventletPool)(_checked_path(kind, app_path), size)
    if kind == "threads":
        return ThreadPool(runner, size)
    if kind == "asyncio":
        return AsyncioPool(runner, size)
    if concurrency not in (None, 1):
        raise ImproperlyConfigured(f"the solo pool runs one task at a time, not {concurrency}; use --pool threads")
    return SoloPool(runner)


def check_name(name: str) -> None:
    """Check that a pool can have a name; nothing is imported for that.

    Raises:
        ImproperlyConfigured: it is neither a pool of this package, nor an entry point, nor a path.
    """
    if name in POOLS or name in ALIASES or ":" in name:
        return
    brought = custom.names()
    if name not in brought:
        others = f", and installed packages bring {', '.join(brought)}" if brought else ""
        raise ImproperlyConfigured(
            f"no pool is named {name!r}; there are {', '.join(POOLS)}{others}. Any other is named by its path, such as "
            "proj.pools:MyPool"
        )


def _checked_size(concurrency: int | None) -> int:
    size = usable_cpus() if concurrency is None else concurrency
    if size < 1:
        raise ImproperlyConfigured(f"concurrency is {size}; it must be at least 1, the number of tasks run at a time")
    return size


def _checked_path(kind: str, app_path: str | None) -> str:
    """Return the path of the application, which the child processes of a pool need."""
    if not hasattr(os, "killpg"):
        raise ImproperlyConfigured(
            f"the {kind} pool needs process groups and signals, which this system (Windows) doesn't have: use "
            "--pool threads (worker_pool), or run the worker in a Linux container or WSL"
        )
    if app_path is None:
        raise ImproperlyConfigured(
            f"the {kind} pool needs the path of the application, such as shop:app, because its processes import "
            "it; use --pool threads without one"
        )
    return app_path
