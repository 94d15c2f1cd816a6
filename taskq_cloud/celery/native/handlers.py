"""Which classes of tasks have handlers of their own, such as ``on_failure``."""

from __future__ import annotations

from typing import Any, Final

HANDLERS: Final = ("on_success", "on_failure", "on_retry", "after_return")


def has_handlers(kind: Any) -> bool:
    """Whether a class of tasks has handlers of its own."""
    from taskq_cloud.celery.app.task import Task  # which imports this module

    return any(getattr(kind, name) is not getattr(Task, name) for name in HANDLERS)
