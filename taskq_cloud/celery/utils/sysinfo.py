"""The machine: its load, its disks, and how many CPUs a worker may use."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

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

CGROUP_ROOT = "/sys/fs/cgroup"
PROC_SELF_CGROUP = "/proc/self/cgroup"


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


def _read_text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return None


def _parse_quota(quota_us: str, period_us: str) -> float | None:
    """Return a quota in CPUs; None if there is no limit, which is written as ``max`` or -1."""
    try:
        quota, period = int(quota_us), int(period_us)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _cgroup_paths() -> tuple[str | None, str | None, str]:
    """Return this process's path in version 2, its path in version 1, and the mount of that one."""
    v2_path = v1_path = None
    v1_mount = "cpu"
    for line in (_read_text(PROC_SELF_CGROUP) or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon:
            continue
        if number == "0" and not controllers:
            v2_path = path
        elif "cpu" in controllers.split(","):
            v1_path, v1_mount = path, controllers
    return v2_path, v1_path, v1_mount


def _ancestors(path: str) -> Iterator[str]:
    """Yield a path, and each path above it up to the root."""
    current = posixpath.normpath("/" + path.lstrip("/"))
    yield current
    while current != "/":
        current = posixpath.dirname(current)
        yield current


def _read_v2_quota(directory: str) -> tuple[str, str] | None:
    match (_read_text(posixpath.join(directory, "cpu.max")) or "").split():
        case [quota, period]:
            return quota, period
    return None


def _read_v1_quota(directory: str) -> tuple[str, str] | None:
    quota, period = (_read_text(posixpath.join(directory, f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
    return None if quota is None or period is None else (quota.strip(), period.strip())


def _min_quota(base: str, path: str, read: Callable[[str], tuple[str, str] | None]) -> float | None:
    """Return the smallest quota of a group and of the groups that it is in."""
    written = (read(posixpath.join(base, each.lstrip("/"))) for each in _ancestors(path))
    quotas = [_parse_quota(*each) for each in written if each]
    return min((each for each in quotas if each is not None), default=None)


def cgroup_cpu_quota() -> float | None:
    """Return the quota of this process's container, in CPUs, or None without one."""
    v2_path, v1_path, v1_mount = _cgroup_paths()
    if v2_path is None and v1_path is None:
        v2_path = v1_path = "/"
    if v2_path is not None:
        quota = _min_quota(CGROUP_ROOT, v2_path, _read_v2_quota)
        if quota is not None:
            return quota
    if v1_path is not None:
        # Some machines have no link from the usual name to the mount.
        for mount in dict.fromkeys((v1_mount, "cpu")):
            quota = _min_quota(posixpath.join(CGROUP_ROOT, mount), v1_path, _read_v1_quota)
            if quota is not None:
                return quota
    return None


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
