"""Which classes of tasks have methods of their own that hooks call: handlers, such as ``on_failure``, and calls."""

from __future__ import annotations

from typing import Any, Final

HANDLERS: Final = ("on_success", "on_failure", "on_retry", "after_return")


def has_handlers(task: Any) -> bool:
    """Whether a task, or a class of tasks, has handlers of its own."""
    return any(_is_own(task, name) for name in HANDLERS)


def overrides_apply_async(task: Any) -> bool:
    """Whether a task, or a class of tasks, has an ``apply_async`` of its own."""
    return _is_own(task, "apply_async")


def _is_own(task: Any, name: str) -> bool:
    from taskq_cloud.celery.app.task import Task  # which imports this module

    kind = task if isinstance(task, type) else type(task)
    own = () if task is kind else vars(task)
    return name in own or getattr(kind, name) is not getattr(Task, name)
