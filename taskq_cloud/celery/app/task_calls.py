"""How a task is called: its options, its arguments, and running it in place. ``Task`` has these as methods."""

from __future__ import annotations

from typing import Any, Final

from taskq_cloud.celery.native import running
from taskq_cloud.celery.utils import uuid

EXEC_OPTIONS: Final = (
    "queue",
    "routing_key",
    "exchange",
    "priority",
    "expires",
    "serializer",
    "delivery_mode",
    "compression",
    "time_limit",
    "soft_time_limit",
    "immediate",
    "mandatory",
)
"""Attributes of a task that are options of its calls."""


def shown(task: Any) -> str:
    """The representation of a task."""
    app = task._app
    of = None if app is None else f"{app.main or '__main__'} at {id(app):#x}"
    return f"<@task: {task.name} of {of}{' (v2 compatible)' if task.__v2_compat__ else ''}>"


def own_options(task: Any) -> dict[str, Any]:
    """The options of a task's calls that the task has as attributes."""
    return {name: getattr(task, name, None) for name in EXEC_OPTIONS}


def check_arguments(task: Any, args: Any, kwargs: Any) -> None:
    """Check arguments against the parameters of a task's function, or of its method ``run``.

    Raises:
        TypeError: the task does not take them.
    """
    header = getattr(task, "__header__", None)
    if header is not None:
        header(*(args or ()), **(kwargs or {}))


def apply_async(
    task: Any, args: Any, kwargs: Any, task_id: str | None, shadow: str | None, options: dict[str, Any]
) -> Any:
    """Send a call of a task, or run it in place with the setting ``task_always_eager``: see ``Task.apply_async``."""
    if task.soft_time_limit and task.time_limit and task.soft_time_limit > task.time_limit:
        raise ValueError("soft_time_limit must be less than or equal to time_limit")
    if task.typing:
        task.check_arguments(args or (), kwargs or {})
    shadow = shadow or task.shadow_name(args, kwargs, options)
    options = {**task._get_exec_options(), **options}
    if task._dump_pydantic_arguments is not None and options.get("serializer") != "pickle":
        args, kwargs = task._dump_pydantic_arguments(args, kwargs)
    options.setdefault("ignore_result", task.ignore_result)
    app = task._get_app()
    if not app.conf.task_always_eager:
        return app.send_task(
            task.name,
            args,
            kwargs,
            task_id=task_id,
            result_cls=task.AsyncResult,
            shadow=shadow,
            task_type=task,
            **options,
        )
    from taskq_cloud.celery.native.in_place import as_sent  # few processes run anything in place
    from taskq_cloud.celery.result import denied_join_result

    args, kwargs = as_sent(args, kwargs, options.get("serializer") or app.conf.task_serializer)
    options.pop("producer", None)
    with denied_join_result():
        return task.apply(args, kwargs, task_id=task_id or uuid(), **options)


def apply(task: Any, args: Any, kwargs: Any, task_id: str | None, throw: bool | None, options: dict[str, Any]) -> Any:
    """Run a task in place: see ``Task.apply``."""
    from taskq_cloud.celery.native import in_place  # few processes run anything in place

    app = task._get_app()
    result = in_place.run_task(app, task.name, args or (), kwargs or {}, {**options, "task_id": task_id or uuid()})
    if app.conf.task_eager_propagates if throw is None else throw:
        result.get(disable_sync_subtasks=False)
    return result


def is_body_of_run(task: Any) -> bool:
    """Tell whether ``Task.__call__`` is called by a subclass's ``__call__``, which the running call is made by.

    This is so once in a run: such a call has the request of the run, and any other one a request of its own.
    """
    request = running.running_request(task)
    if request is None or request._protected or task.request_stack.top is not None:
        return False
    from taskq_cloud.celery.app.task import Task  # which imports this module

    if type(task).__call__ is Task.__call__:
        return False
    request._protected = 1
    return True
