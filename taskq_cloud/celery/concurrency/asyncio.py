"""The pool of an event loop, which Celery has not."""

from __future__ import annotations

from taskq_cloud.celery.concurrency.base import BasePool

__all__ = ("TaskPool",)


class TaskPool(BasePool):
    """Stands for the pool that runs coroutine functions on an event loop."""

    native_name = "asyncio"
