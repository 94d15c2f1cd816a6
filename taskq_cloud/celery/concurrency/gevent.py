"""The pool of greenlets of gevent."""

from __future__ import annotations

from taskq_cloud.celery.concurrency.base import BasePool

__all__ = ("TaskPool",)


class TaskPool(BasePool):
    """Stands for the pool of greenlets, which are in a child process that is patched for them."""

    native_name = "gevent"
    signal_safe = False
    is_green = True
