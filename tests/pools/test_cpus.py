"""Test how the CPU limit of a container is read, from files as the kernel writes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.pools import cpus
from taskq_cloud.worker.options import WorkerOptions

V2 = {"proc/self/cgroup": "0::/\n"}
V1 = {"proc/self/cgroup": "4:cpu,cpuacct:/docker/c\n1:name=systemd:/docker/c\n"}
V1_FOLDER = "sys/fs/cgroup/cpu,cpuacct"


def quota(root: Path, files: Mapping[str, str]) -> float | None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return cpus.cpu_quota(root)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({**V2, "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({**V2, "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        (V2, None),
        ({}, None),
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        (
            {
                "proc/self/cgroup": "0::/pod/container\n",
                "sys/fs/cgroup/pod/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/pod/container/cpu.max": "400000 100000\n",
            },
            2.0,
        ),
        ({"proc/self/cgroup": "0::/../..\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        ({**V2, "sys/fs/cgroup/cpu.max": "nonsense"}, None),
        (
            {
                **V1,
                f"{V1_FOLDER}/docker/c/cpu.cfs_quota_us": "250000\n",
                f"{V1_FOLDER}/docker/c/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            {
                **V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "120000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            1.2,
        ),
        ({**V1, f"{V1_FOLDER}/cpu.cfs_quota_us": "-1\n", f"{V1_FOLDER}/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_quota_is_the_least_of_the_control_groups(
    files: dict[str, str], expected: float | None, tmp_path: Path
) -> None:
    assert quota(tmp_path, files) == expected


@pytest.mark.parametrize(("quota", "expected"), [(None, 8), (0.2, 1), (1.0, 1), (1.5, 2), (7.01, 8), (64.0, 8)])
def test_limit_is_rounded_up_and_no_more_than_the_usable_cpus(
    quota: float | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "usable_cpus", lambda: 8)
    monkeypatch.setattr(cpus, "cpu_quota", lambda root: quota)
    assert cpus.container_cpus() == expected


def test_usable_cpus_are_those_of_the_process_where_python_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: 3, raising=False)
    assert cpus.usable_cpus() == 3


@pytest.mark.parametrize("source", ["setting", "option"])
def test_automatic_concurrency_is_the_limit_of_the_container(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskq_cloud.worker.options.container_cpus", lambda: 5)
    settings = {"worker_concurrency": "auto"} if source == "setting" else {}
    overrides = {} if settings else {"concurrency": "auto"}
    app = TaskQ("tests", broker="memory://", **settings)
    assert WorkerOptions.from_settings(app.conf, ("q",), **overrides).concurrency == 5
