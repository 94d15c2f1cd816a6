"""The routing of tasks: which options the setting ``task_routes`` gives to a call.

A route here is what it is in Celery: options of the call, of which ``queue`` is expanded to the queue's declaration.
``taskq_cloud.celery.app.amqp.native_queue`` then decides which native queue the message goes to.
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Any

from taskq_cloud.celery.exceptions import ImproperlyConfigured, QueueNotFound
from taskq_cloud.celery.messaging import is_queue
from taskq_cloud.celery.utils.collections import lpmerge
from taskq_cloud.celery.utils.functional import maybe_evaluate, mlazy
from taskq_cloud.celery.utils.imports import qualname, symbol_by_name

__all__ = ("MapRoute", "Router", "RouterError", "expand_router_string", "prepare")


class RouterError(ImproperlyConfigured):
    """A router raised an exception, so the task that it was asked about was not sent."""


def _as_options(route: Any) -> dict[str, Any]:
    """Return a route as options: a queue, or its name, is the option ``queue``."""
    if is_queue(route):
        return {"queue": route}
    try:
        return dict(route)
    except ValueError:
        return {"queue": route}


class MapRoute:
    """A router made of a mapping, or of pairs: the name of a task, a pattern with ``*``, or a compiled expression.

    Names come before patterns, and patterns in the order in which they were given.
    """

    def __init__(self, map: Any) -> None:
        pairs: Iterable[tuple[Any, Any]] = map.items() if isinstance(map, Mapping) else map
        self.map: dict[str, Any] = {}
        self.patterns: dict[re.Pattern[str], Any] = {}
        for key, route in pairs:
            if isinstance(key, re.Pattern):
                self.patterns[key] = route
            elif "*" in key:
                self.patterns[re.compile(fnmatch.translate(key))] = route
            else:
                self.map[key] = route

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Return the options of a task's route, or None."""
        if name in self.map:
            return _as_options(self.map[name])
        return next((_as_options(route) for regex, route in self.patterns.items() if regex.match(name)), None)


class Router:
    """Finds the options of a call by the name and the arguments of its task.

    Args:
        routes: the routers, as ``prepare`` returns them.
        queues: the declared queues by name; this mapping decides whether an unknown name is a new queue or an error.
        create_missing: kept as an attribute.
        app: the application, whose settings name the default queue.
    """

    def __init__(self, routes: Any = None, queues: Any = None, create_missing: bool = False, app: Any = None) -> None:
        self.app = app
        self.queues = {} if queues is None else queues
        self.routes = [] if routes is None else routes
        self.create_missing = create_missing

    def route(self, options: Any, name: str, args: Any = (), kwargs: Any = None, task_type: Any = None) -> Any:
        """Return the options of a call: its own first, then those of the task's route, then the default queue.

        Raises:
            QueueNotFound: if a queue isn't declared, and ``task_create_missing_queues`` is off.
            RouterError: if a router raises an exception.
        """
        options = self.expand_destination(options)
        route = self.lookup_route(name, args, kwargs or {}, options, task_type) if self.routes else None
        if route:
            return lpmerge(self.expand_destination(route), options)
        if "queue" not in options:
            options = lpmerge(self.expand_destination(self.app.conf.task_default_queue), options)
        return options

    def expand_destination(self, route: Any) -> Any:
        """Put the declaration of its queue into a route, which may also be the name of a queue only.

        Raises:
            QueueNotFound: if the queue isn't declared.
        """
        if isinstance(route, str):
            queue, route = route, {}
        else:
            queue = route.pop("queue", None)
        if not queue:
            return route
        try:
            route["queue"] = queue if is_queue(queue) else self.queues[queue]
        except KeyError:
            raise QueueNotFound(f"Queue {queue!r} missing from task_queues") from None
        return route

    def lookup_route(
        self, name: str, args: Any = None, kwargs: Any = None, options: Any = None, task_type: Any = None
    ) -> Any:
        """Ask one router after the other, and return the first answer that isn't None."""
        for router in self.routes:
            route = self.query_router(router, name, args, kwargs, options, task_type)
            if route is not None:
                return route
        return None

    def query_router(self, router: Any, task: str, args: Any, kwargs: Any, options: Any, task_type: Any) -> Any:
        """Ask one router: an object with ``route_for_task(task, args, kwargs)``, or a function.

        Raises:
            RouterError: if the router raises an exception, which is the cause of this one.
        """
        try:
            router = maybe_evaluate(router)
            if hasattr(router, "route_for_task"):
                return router.route_for_task(task, args, kwargs)
            return router(task, args, kwargs, options, task=task_type)
        except Exception as error:
            raise RouterError(
                f"task {task!r} was not sent, because its router {_named(router)} raised {error!r}"
            ) from error


def _named(router: Any) -> str:
    """Describe a router, one that couldn't be imported too."""
    if isinstance(router, mlazy):
        return repr(router._args[0])
    return qualname(router)


def expand_router_string(router: Any) -> Any:
    """Import a router by its path; a class with ``route_for_task`` is instantiated."""
    found = symbol_by_name(router)
    return found() if hasattr(found, "route_for_task") else found


def prepare(routes: Any) -> Any:
    """Return the routers of ``task_routes``: a mapping, pairs, functions, objects, paths, or a list of these."""

    def expand(route: Any) -> Any:
        if isinstance(route, Mapping | list | tuple):
            return MapRoute(route)
        return mlazy(expand_router_string, route) if isinstance(route, str) else route

    if routes is None:
        return ()
    return [expand(route) for route in (routes if isinstance(routes, list | tuple) else (routes,))]
