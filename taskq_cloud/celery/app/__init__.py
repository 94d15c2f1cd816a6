"""Applications, and the functions that find the current one."""

from __future__ import annotations

from typing import Any

from taskq_cloud.celery import _state
from taskq_cloud.celery._state import app_or_default, disable_trace, enable_trace
from taskq_cloud.celery.local import Proxy

__all__ = (
    "AppPickler",
    "Celery",
    "app_or_default",
    "bugreport",
    "default_app",
    "disable_trace",
    "enable_trace",
    "pop_current_task",
    "push_current_task",
    "shared_task",
)

default_app: Any = Proxy(lambda: _state.default_app)
push_current_task = _state._task_stack.push
pop_current_task = _state._task_stack.pop


def bugreport(app: Any = None) -> str:
    """Describe the machine and an application for a bug report."""
    text: str = (app or _state.get_current_app()).bugreport()
    return text


def shared_task(*args: Any, **kwargs: Any) -> Any:
    """Declare a task for every application: those that are finalized, and those that will be.

    Args:
        args: the function, if the decorator is used without options.
        kwargs: the options of ``app.task``.

    Returns:
        A proxy for the task of the current application.
    """

    def share(function: Any, **options: Any) -> Any:
        if isinstance(function, Proxy):
            raise TypeError(
                f"@shared_task is applied twice to {function.__name__}: a task can't be declared as a task again"
            )
        name = options.get("name")
        _state.connect_on_app_finalize(lambda app: app._task_from_fun(function, **options))
        for app in _state._get_active_apps():
            if app.finalized:
                with app._finalize_mutex:
                    app._task_from_fun(function, **options)

        def task_by_name() -> Any:
            app = _state.get_current_app()
            return app.tasks[name or app.gen_task_name(function.__name__, function.__module__)]

        return Proxy(task_by_name)

    if len(args) == 1 and callable(args[0]):
        return share(args[0], **kwargs)

    def decorator(function: Any) -> Any:
        return share(function, *args, **kwargs)

    return decorator


def __getattr__(name: str) -> Any:
    if name == "Celery":
        from taskq_cloud.celery.app.base import Celery  # which imports this package

        return Celery
    if name == "AppPickler":
        from taskq_cloud.celery.app.utils import AppPickler  # few processes pickle applications

        return AppPickler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
