"""The pool of threads."""

from __future__ import annotations

from taskq_cloud.celery.concurrency.base import BasePool

__all__ = ("TaskPool",)


class TaskPool(BasePool):
    """Stands for the pool of threads."""

    native_name = "threads"
    body_can_be_buffer = True
    signal_safe = False
