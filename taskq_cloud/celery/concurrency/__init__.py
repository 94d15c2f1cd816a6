"""The names of pools, and the classes that stand for the native pools."""

from __future__ import annotations

import os
from typing import Any, Final

from taskq_cloud.celery.utils.imports import symbol_by_name

__all__ = ("get_available_pool_names", "get_implementation")

ALIASES: Final[dict[str, Any]] = {
    "prefork": "taskq_cloud.celery.concurrency.prefork:TaskPool",
    "eventlet": "taskq_cloud.celery.concurrency.eventlet:TaskPool",
    "gevent": "taskq_cloud.celery.concurrency.gevent:TaskPool",
    "solo": "taskq_cloud.celery.concurrency.solo:TaskPool",
    "processes": "taskq_cloud.celery.concurrency.prefork:TaskPool",
    "threads": "taskq_cloud.celery.concurrency.thread:TaskPool",
    "asyncio": "taskq_cloud.celery.concurrency.asyncio:TaskPool",
    "custom": os.environ.get("CELERY_CUSTOM_WORKER_POOL"),
}
"""Name -> the path of the class; "custom" is the path that an environment variable names."""


def get_implementation(cls: Any) -> Any:
    """Return the class of a pool by its name or its path; a class is returned as it is."""
    if isinstance(cls, str) and cls.startswith("celery.concurrency."):
        cls = f"taskq_cloud.{cls}"
    return symbol_by_name(cls, ALIASES)


def get_available_pool_names() -> tuple[str, ...]:
    """Return the names of all pools."""
    return tuple(ALIASES)
