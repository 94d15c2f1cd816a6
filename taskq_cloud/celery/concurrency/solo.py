"""The pool that runs one task at a time."""

from __future__ import annotations

from taskq_cloud.celery.concurrency.base import BasePool

__all__ = ("TaskPool",)


class TaskPool(BasePool):
    """Stands for the pool that runs one task at a time, in the process of the worker."""

    native_name = "solo"
    body_can_be_buffer = True
