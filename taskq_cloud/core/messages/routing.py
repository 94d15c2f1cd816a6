"""The routing of tasks to queues by Celery's ``task_routes``, and the options that a route gives to its tasks' calls.

A route's key is a task name, or a pattern if it contains ``*``. Names come before patterns, which are tried in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.option_values import CALL, check_all
from taskq_cloud.errors import ImproperlyConfigured, OptionError

OPTIONS: Final = (
    "queue",
    "priority",
    "serializer",
    "compression",
    "expires",
    "ignore_result",
    "time_limit",
    "soft_time_limit",
    "MessageGroupId",
)
"""The options that a route can have."""


@dataclass(frozen=True, slots=True)
class Route:
    """A queue, and options of calls.

    Args:
        queue: the queue's name; None: the default queue.
        options: the options, by the names that they have in ``apply_async``.
    """

    queue: str | None
    options: Mapping[str, Any]


class Router:
    """Finds the route of a task by its name.

    Args:
        routes: task name or pattern -> queue, or ``{"queue": name, "priority": 5}``.
        default: the queue of tasks without a route (``task_default_queue``).

    Raises:
        ImproperlyConfigured: a route names no queue and no option, or has an option that isn't supported.
    """

    def __init__(self, routes: Mapping[str, str | Mapping[str, Any]], default: str) -> None:
        read = {key: _read(key, route) for key, route in routes.items()}
        self._exact = {key: route for key, route in read.items() if "*" not in key}
        self._patterns = [(key, route) for key, route in read.items() if "*" in key]
        self._default = Route(default, {})

    def route_of(self, task: str) -> Route:
        """The route of a task."""
        exact = self._exact.get(task)
        if exact is not None:
            return exact
        if not self._patterns:
            return self._default
        from fnmatch import fnmatchcase  # few applications route by patterns

        return next((route for pattern, route in self._patterns if fnmatchcase(task, pattern)), self._default)

    def queue_for(self, task: str) -> str:
        """The name of the queue for a task."""
        return self.route_of(task).queue or str(self._default.queue)


def _read(key: str, route: str | Mapping[str, Any]) -> Route:
    given = {"queue": route} if isinstance(route, str) else dict(route)
    unknown = sorted(given.keys() - set(OPTIONS))
    if unknown:
        raise ImproperlyConfigured(
            f"task_routes: the route of {key!r} has {unknown[0]!r}, which has no effect here: remove it; "
            f"a route can have {', '.join(OPTIONS)}"
        )
    try:
        options = {name: value for name, value in check_all(CALL, given).items() if value is not None}
    except OptionError as error:
        raise ImproperlyConfigured(f"task_routes: the route of {key!r}: {error}") from None
    if not options:
        raise ImproperlyConfigured(
            f"task_routes: the route of {key!r} names no queue: {route!r}; write a queue's name, or {{'queue': name}}"
        )
    return Route(options.pop("queue", None), options)
