"""The pool of gevent, which is not supported."""

from __future__ import annotations

from taskq_cloud.celery.concurrency.base import BasePool

__all__ = ("TaskPool",)


class TaskPool(BasePool):
    """Stands for Celery's pool of gevent."""

    is_green = True
    refusal = (
        "the pool gevent is not supported: use -P threads with the concurrency that the tasks need, or -P asyncio with "
        "`async def` tasks"
    )
