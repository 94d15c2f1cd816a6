"""Helpers for the tests of pools: make a pool by name, make an invocation, and wait for a condition."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import Invocation
from taskq_cloud.pools.asyncio_pool import AsyncioPool
from taskq_cloud.pools.greenlets import EventletPool, GeventPool
from taskq_cloud.pools.processes import ProcessPool
from taskq_cloud.pools.solo import SoloPool
from taskq_cloud.pools.threads import ThreadPool
from tests.pools.pool_runner import PoolRunner

RUNNER_FACTORY = "tests.pools.pool_runner:load"


def invocation(name: str, *args: Any, hard: float | None = None, soft: float | None = None) -> Invocation:
    message = Message(task=name, id=str(uuid.uuid4()), args=args)
    return Invocation(message=message, queue="celery", time_limit=hard, soft_time_limit=soft)


def make(kind: str, concurrency: int = 2, *, app_path: str = "shop:app", **options: Any) -> Any:
    match kind:
        case "threads":
            return ThreadPool(PoolRunner(), concurrency, **options)
        case "processes":
            return ProcessPool(app_path, concurrency, runner_factory=RUNNER_FACTORY, **options)
        case "asyncio":
            return AsyncioPool(PoolRunner(), concurrency, **options)
        case "gevent":
            return GeventPool(app_path, concurrency, runner_factory=RUNNER_FACTORY, **options)
        case "eventlet":
            return EventletPool(app_path, concurrency, runner_factory=RUNNER_FACTORY, **options)
        case "solo":
            return SoloPool(PoolRunner())
    raise AssertionError(kind)


StartPool = Callable[..., Awaitable[Any]]
