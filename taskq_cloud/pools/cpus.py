"""How many CPUs this process may use: those that it may run on, and the share of them that its container may take.

A container's limit is a quota of a control group: so many microseconds of CPU time in each period. See cpu.max in
"Control Group v2", and cpu.cfs_quota_us in "CFS Bandwidth Control", both in the kernel's documentation.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from typing import Final

AUTO: Final = "auto"
"""The value of the setting ``worker_concurrency`` that stands for the CPUs of the container."""

ROOT: Final = Path("/")
"""The folder in which the files of the kernel are."""


def usable_cpus() -> int:
    """Return on how many CPUs this process may run, as the user or a container's CPU set has restricted it."""
    if hasattr(os, "process_cpu_count"):  # since Python 3.13; it heeds PYTHON_CPU_COUNT, too
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def container_cpus(root: Path = ROOT) -> int:
    """Return how many CPUs this process may use in its container: the quota, rounded up, or fewer if it runs on fewer.

    Args:
        root: the folder in which the files of the kernel are.
    """
    available, quota = usable_cpus(), cpu_quota(root)
    return available if quota is None else min(available, max(1, ceil(quota)))


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return the quota of this process's control group, in CPUs; None: there is none.

    Args:
        root: the folder in which the files of the kernel are.
    """
    v2_path, v1_path, v1_mount = _control_groups(root)
    groups = root / "sys/fs/cgroup"
    if v2_path is None and v1_path is None:
        v2_path = v1_path = "/"
    if v2_path is not None:
        quota = _least_quota(groups, v2_path, _quota_of_v2)
        if quota is not None:
            return quota
    if v1_path is not None:
        # Some machines have no link from the usual name to the mount.
        for mount in dict.fromkeys((v1_mount, "cpu")):
            quota = _least_quota(groups / mount, v1_path, _quota_of_v1)
            if quota is not None:
                return quota
    return None


def _control_groups(root: Path) -> tuple[str | None, str | None, str]:
    """Return this process's group in version 2, its group in version 1, and the mount of that one."""
    v2_path = v1_path = None
    v1_mount = "cpu"
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon:
            continue
        if number == "0" and not controllers:
            v2_path = path
        elif "cpu" in controllers.split(","):
            v1_path, v1_mount = path, controllers
    return v2_path, v1_path, v1_mount


def _least_quota(base: Path, path: str, read: Callable[[Path], tuple[str, str] | None]) -> float | None:
    """Return the smallest quota of a group and of the groups that it is in."""
    written = (read(base / each.lstrip("/")) for each in _with_parents(path))
    quotas = [in_cpus(*each) for each in written if each]
    return min((each for each in quotas if each is not None), default=None)


def _with_parents(path: str) -> Iterator[str]:
    current = posixpath.normpath("/" + path.lstrip("/"))
    yield current
    while current != "/":
        current = posixpath.dirname(current)
        yield current


def _quota_of_v2(group: Path) -> tuple[str, str] | None:
    match (_text(group / "cpu.max") or "").split():
        case [quota, period]:
            return quota, period
    return None


def _quota_of_v1(group: Path) -> tuple[str, str] | None:
    quota, period = (_text(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return None if quota is None or period is None else (quota.strip(), period.strip())


def in_cpus(quota_us: str, period_us: str) -> float | None:
    """Return a quota in CPUs; None if there is no limit, which is written as ``max`` or -1."""
    try:
        quota, period = int(quota_us), int(period_us)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
