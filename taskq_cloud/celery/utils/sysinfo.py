"""The machine: its load, its disks, and how many CPUs a worker may use."""

from __future__ import annotations

import os
from math import ceil
from typing import Any, NamedTuple

from taskq_cloud.pools.cpus import cpu_quota, in_cpus

from ._caching import cached_property

__all__ = (
    "AUTO_CONCURRENCY",
    "CpuBudget",
    "available_cpu_count",
    "cgroup_cpu_quota",
    "cpu_budget",
    "df",
    "is_auto_concurrency",
    "load_average",
)

#: The value of ``worker_concurrency`` that stands for the CPUs of the container.
AUTO_CONCURRENCY = "auto"


def is_auto_concurrency(value: Any) -> bool:
    """Tell whether a setting says ``auto``."""
    return isinstance(value, str) and value.strip().lower() == AUTO_CONCURRENCY


def available_cpu_count() -> int:
    """Return the number of CPUs that this process may run on, or 2 if it is unknown."""
    count = None
    if hasattr(os, "process_cpu_count"):
        count = os.process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):
        try:
            count = len(os.sched_getaffinity(0))
        except OSError:
            count = None
    return count or os.cpu_count() or 2


def _parse_quota(quota_us: str, period_us: str) -> float | None:
    """Return a quota in CPUs; None if there is no limit, which is written as ``max`` or -1."""
    return in_cpus(quota_us, period_us)


def cgroup_cpu_quota() -> float | None:
    """Return the quota of this process's container, in CPUs, or None without one."""
    return cpu_quota()


class CpuBudget(NamedTuple):
    """The CPUs that a worker's pool may use.

    Args:
        count: how many tasks may run at a time.
        available: the CPUs that this process may run on.
        quota: the container's quota, in CPUs; None: there is none, or it doesn't count.
    """

    count: int  # type: ignore[assignment]  # a tuple has a method of this name
    available: int
    quota: float | None


def cpu_budget(use_cgroup_quota: bool = True) -> CpuBudget:
    """Return the CPUs that a worker's pool may use.

    Args:
        use_cgroup_quota: whether the container's quota, rounded up, limits the number.
    """
    available = available_cpu_count()
    quota = cgroup_cpu_quota() if use_cgroup_quota else None
    count = available if quota is None else min(available, max(1, ceil(quota)))
    return CpuBudget(count, available, quota)


def load_average() -> tuple[float, ...]:
    """Return the load of the last 1, 5 and 15 minutes; zeros where the system doesn't say."""
    if not hasattr(os, "getloadavg"):
        return 0.0, 0.0, 0.0
    return tuple(ceil(load * 1e2) / 1e2 for load in os.getloadavg())


class df:
    """The disk of a path."""

    def __init__(self, path: Any) -> None:
        self.path = path

    @property
    def total_blocks(self) -> float:
        """The size, in KiB."""
        return float(self.stat.f_blocks * self.stat.f_frsize / 1024)

    @property
    def available(self) -> float:
        """The room for users, in KiB."""
        return float(self.stat.f_bavail * self.stat.f_frsize / 1024)

    @property
    def capacity(self) -> int:
        """The part that is in use, in percent, rounded up."""
        used = self.stat.f_blocks - self.stat.f_bfree
        percent: float = used * 100.0 / (used + self.stat.f_bavail)
        return ceil(percent + 0.5)

    @cached_property
    def stat(self) -> Any:
        """What the system says of the file system."""
        return os.statvfs(self.path)
