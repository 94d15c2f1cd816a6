"""Which classes of tasks have handlers of their own, such as ``on_failure``."""

from __future__ import annotations

from typing import Any, Final

HANDLERS: Final = ("on_success", "on_failure", "on_retry", "after_return")


def has_handlers(task: Any) -> bool:
    """Whether a task, or a class of tasks, has handlers of its own."""
    from taskq_cloud.celery.app.task import Task  # which imports this module

    kind = task if isinstance(task, type) else type(task)
    own = () if task is kind else vars(task)
    return any(name in own or getattr(kind, name) is not getattr(Task, name) for name in HANDLERS)
