"""The routing of tasks to queues by Celery's ``task_routes``.

A route's key is a task name, or a pattern if it contains ``*``. Names come before patterns, which are tried in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from taskq_cloud.errors import ImproperlyConfigured


class Router:
    """Finds the queue of a task by its name.

    Args:
        routes: task name or pattern -> queue, or ``{"queue": name}``.
        default: the queue of tasks without a route (``task_default_queue``).

    Raises:
        ImproperlyConfigured: a route names no queue.
    """

    def __init__(self, routes: Mapping[str, str | Mapping[str, Any]], default: str) -> None:
        queues = {key: _queue_of(key, route) for key, route in routes.items()}
        self._exact = {key: queue for key, queue in queues.items() if "*" not in key}
        self._patterns = [(key, queue) for key, queue in queues.items() if "*" in key]
        self._default = default

    def queue_for(self, task: str) -> str:
        """The name of the queue for a task."""
        exact = self._exact.get(task)
        if exact is not None:
            return exact
        return next((queue for pattern, queue in self._patterns if fnmatchcase(task, pattern)), self._default)


def _queue_of(key: str, route: str | Mapping[str, Any]) -> str:
    queue = route if isinstance(route, str) else route.get("queue")
    if not isinstance(queue, str) or not queue:
        raise ImproperlyConfigured(
            f"task_routes: the route of {key!r} names no queue: {route!r}; write a queue's name, or {{'queue': name}}"
        )
    return queue
