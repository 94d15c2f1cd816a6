"""Sending a call by the task's name: its options are completed, its route is found, and its result is made."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from taskq_cloud.celery.exceptions import AlwaysEagerIgnored
from taskq_cloud.celery.native import calls


class Route(NamedTuple):
    """What the queue of a call is found by.

    Args:
        router: the router; None: the application's.
        name: the name by which the router knows the task.
        task_type: the task, if the caller has it.
    """

    router: Any
    name: str
    task_type: Any


def send_task(
    app: Any,
    name: str,
    arguments: tuple[Any, Any],
    route: Route,
    options: dict[str, Any],
    place: dict[str, Any],
    result_cls: Any,
) -> Any:
    """Send a call, and return its result: see ``Celery.send_task``.

    Args:
        app: the application.
        name: the task's name.
        arguments: the positional and the keyword arguments.
        route: what the queue is found by.
        options: the options of the call that routes can have, too.
        place: its other options.
        result_cls: the class of the result; None: the application's.
    """
    if app.conf.task_always_eager:
        warnings.warn(AlwaysEagerIgnored("task_always_eager has no effect on send_task"), stacklevel=3)
    task_type = route.task_type
    if task_type is None:
        task_type = dict.get(app._tasks, name)
        own = {} if task_type is None else task_type._get_exec_options()
        options = {**{key: of for key, of in own.items() if of is not None}, **options}
    args, kwargs = arguments
    options = {**(route.router or app.amqp.router).route(options, route.name, args, kwargs, task_type), **place}
    parent = app.current_worker_task
    if parent is not None:
        _follow(app, parent.request, options)
    calls.send(app, name, args, kwargs, options)
    result = (result_cls or app.AsyncResult)(place["task_id"])
    result.ignored = options.get("ignore_result")
    if place["add_to_parent"] and parent is not None:
        parent.add_trail(result)
    return result


def _follow(app: Any, request: Any, options: dict[str, Any]) -> None:
    """Set the options by which a call follows from the task that makes it."""
    if getattr(request, "invocation", None) is None:
        # The native run under way knows the root and the parent; a request that was pushed by hand is none.
        options["root_id"] = options["root_id"] or request.root_id or request.id
        options["parent_id"] = options["parent_id"] or request.id
    if app.conf.task_inherit_parent_priority:
        options.setdefault("priority", (request.delivery_info or {}).get("priority"))
