"""Celery's strategies, which decide what a worker does with a message. The native pipeline decides that."""

from __future__ import annotations

from typing import Any, NoReturn

from taskq_cloud.celery.exceptions import ImproperlyConfigured

__all__ = ("default",)


def default(task: Any, app: Any, consumer: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Raise an error: the native pipeline handles messages.

    Raises:
        ImproperlyConfigured: always.
    """
    raise ImproperlyConfigured(
        f"the strategy of {task!r} can't be used, because a worker handles messages by the native pipeline: use "
        "signals (task_received, task_prerun) or the task's own methods"
    )
