"""Test that pools are created by name, and that wrong names and options are refused."""

from __future__ import annotations

import os
from typing import Any

import pytest

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.asyncio_pool import AsyncioPool
from taskq_cloud.pools.base import Pool
from taskq_cloud.pools.cpus import usable_cpus
from taskq_cloud.pools.factory import make_pool
from taskq_cloud.pools.greenlets import EventletPool, GeventPool
from taskq_cloud.pools.processes import ProcessPool
from taskq_cloud.pools.solo import SoloPool
from taskq_cloud.pools.threads import ThreadPool
from tests.pools.pool_runner import PoolRunner


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("processes", ProcessPool),
        ("prefork", ProcessPool),
        ("threads", ThreadPool),
        ("asyncio", AsyncioPool),
        ("gevent", GeventPool),
        ("eventlet", EventletPool),
        ("solo", SoloPool),
    ],
)
def test_pool_is_created_by_name(name: str, kind: type[Pool]) -> None:
    pool = make_pool(name, runner=PoolRunner(), app_path="shop:app")
    assert type(pool) is kind
    assert pool.concurrency == (1 if kind is SoloPool else usable_cpus())


def test_given_concurrency_is_used() -> None:
    assert make_pool("threads", runner=PoolRunner(), concurrency=7).concurrency == 7


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no CPU affinity")
def test_usable_cpus_follow_the_process_affinity() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("forks", {}, "'forks'; there are processes, threads, asyncio, gevent, eventlet, solo"),
        ("processes", {}, "shop:app"),
        ("gevent", {}, "the gevent pool needs the path of the application, such as shop:app"),
        ("eventlet", {"app_path": "shop:app", "max_tasks_per_child": 5}, "--pool processes"),
        ("threads", {"concurrency": 0}, "concurrency is 0"),
        ("threads", {"max_tasks_per_child": 5}, "--pool processes"),
        ("asyncio", {"max_memory_per_child_kib": 5}, "--pool processes"),
        ("solo", {"concurrency": 2}, "--pool threads"),
    ],
)
def test_unknown_pool_or_option_is_refused(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=text):
        make_pool(name, runner=PoolRunner(), **options)
