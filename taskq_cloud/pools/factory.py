"""Create the pool that the option ``--pool`` names: one of this package's, or one that another package brings.

A pool of another package is any callable that takes a runner and a concurrency and returns a ``Pool``. It is named by
its entry point in the group ``taskq_cloud.pools``, or by its path.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.asyncio_pool import AsyncioPool
from taskq_cloud.pools.base import Pool, Runner
from taskq_cloud.pools.processes import ProcessPool
from taskq_cloud.pools.solo import SoloPool
from taskq_cloud.pools.threads import ThreadPool

GROUP: Final = "taskq_cloud.pools"
"""The group of entry points by which packages name their pools."""

POOLS = ("processes", "threads", "asyncio", "solo")
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
    size = usable_cpus() if concurrency is None else concurrency
    if size < 1:
        raise ImproperlyConfigured(f"concurrency is {size}; it must be at least 1, the number of tasks run at a time")
    if kind not in POOLS:
        options = {
            "app_path": app_path,
            "max_tasks_per_child": max_tasks_per_child,
            "max_memory_per_child_kib": max_memory_per_child_kib,
        }
        return _make_custom(name, _find(name), runner, size, options)
    if kind == "processes":
        _check_system()
        if app_path is None:
            raise ImproperlyConfigured(
                "the processes pool needs the path of the application, such as shop:app, because its processes import "
                "it; use --pool threads without one"
            )
        return ProcessPool(app_path, size, max_tasks_per_child, max_memory_per_child_kib)
    if max_tasks_per_child is not None or max_memory_per_child_kib is not None:
        raise ImproperlyConfigured(
            f"the {kind} pool has no child processes, so max_tasks_per_child and max_memory_per_child don't apply; use "
            "--pool processes, or remove the option"
        )
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
    installed = sorted({each.name for each in entry_points(group=GROUP)})
    if name not in installed:
        others = f", and installed packages bring {', '.join(installed)}" if installed else ""
        raise ImproperlyConfigured(
            f"no pool is named {name!r}; there are {', '.join(POOLS)}{others}. Any other is named by its path, such as "
            "proj.pools:MyPool"
        )


def _find(name: str) -> Callable[..., Any]:
    """Find the pool of another package.

    Raises:
        ImproperlyConfigured: there is none, or it can't be imported.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            found = import_module(module)
            for each in attribute.split("."):
                found = getattr(found, each)
        except (ImportError, AttributeError) as error:
            raise ImproperlyConfigured(f"pool {name!r} can't be imported: {error}") from error
        return _callable(name, found)
    check_name(name)
    installed = {each.name: each for each in entry_points(group=GROUP)}
    try:
        return _callable(name, installed[name].load())
    except (ImportError, AttributeError) as error:
        raise ImproperlyConfigured(f"pool {name!r} ({installed[name].value}) can't be imported: {error}") from error


def _callable(name: str, found: Any) -> Callable[..., Any]:
    if not callable(found):
        raise ImproperlyConfigured(f"pool {name!r} is {found!r:.100}, and not a class or function that makes a pool")
    made: Callable[..., Any] = found
    return made


def _make_custom(
    name: str, make: Callable[..., Any], runner: Runner, concurrency: int, options: Mapping[str, Any]
) -> Pool:
    """Make the pool of another package, with the options that it takes."""
    parameters = inspect.signature(make).parameters
    takes_all = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    taken = {option: of for option, of in options.items() if takes_all or option in parameters}
    refused = [option for option, of in options.items() if of is not None and option not in taken | {"app_path": None}]
    if refused:
        option = refused[0].removesuffix("_kib")
        raise ImproperlyConfigured(f"pool {name!r} doesn't take {option}: remove the option, or use --pool processes")
    pool = make(runner, concurrency, **taken)
    missing = [each for each in ("start", "reserve", "free", "run", "stop", "concurrency") if not hasattr(pool, each)]
    if missing:
        raise ImproperlyConfigured(f"pool {name!r} has made {pool!r:.100}, which lacks {', '.join(missing)}")
    made: Pool = pool
    return made


def _check_system() -> None:
    if not hasattr(os, "killpg"):
        raise ImproperlyConfigured(
            "the processes pool needs process groups and signals, which this system (Windows) doesn't have: use "
            "--pool threads (worker_pool), or run the worker in a Linux container or WSL"
        )


def usable_cpus() -> int:
    """Return how many CPUs this process may use, as a container or the user has restricted it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
