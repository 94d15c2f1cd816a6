"""The pool of processes."""

from __future__ import annotations

from taskq_cloud.celery.concurrency.base import BasePool

__all__ = ("TaskPool",)


class TaskPool(BasePool):
    """Stands for the pool of processes, in each of which one task runs at a time."""

    native_name = "processes"
