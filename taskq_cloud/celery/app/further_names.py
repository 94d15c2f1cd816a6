"""Names of Celery's modules ``app.base`` and ``app.task`` that few programs import, each made when it is read."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from taskq_cloud.celery.app.task_calls import EXEC_OPTIONS
from taskq_cloud.celery.app.utils import appstr
from taskq_cloud.celery.utils.functional import mattrgetter

logger = logging.getLogger(__name__)

R_BOUND_TASK: Final = "<class {0.__name__} of {app}{flags}>"
R_UNBOUND_TASK: Final = "<unbound {0.__name__}{flags}>"
R_INSTANCE: Final = "<@task: {0.name} of {app}{flags}>"

_HERE: Final = "taskq_cloud.celery.app.further_names"
OF_BASE: Final = {
    "App": "taskq_cloud.celery.app.base:Celery",
    "AppPickler": "taskq_cloud.celery.app.utils:AppPickler",
    "BUILTIN_FIXUPS": f"{_HERE}:BUILTIN_FIXUPS",
    "Settings": "taskq_cloud.celery.app.utils:Settings",
    "_after_fork_cleanup_app": f"{_HERE}:_after_fork_cleanup_app",
    "_unpickle_app": "taskq_cloud.celery.app.utils:_unpickle_app",
    "_unpickle_app_v2": "taskq_cloud.celery.app.utils:_unpickle_app_v2",
    "pydantic_wrapper": f"{_HERE}:pydantic_wrapper",
}
"""Name in ``app.base`` -> where it is."""
OF_TASK: Final = {
    "EagerResult": "taskq_cloud.celery.result:EagerResult",
    "ExceptionInfo": "taskq_cloud.celery.backends.exception_info:ExceptionInfo",
    "R_BOUND_TASK": f"{_HERE}:R_BOUND_TASK",
    "R_INSTANCE": f"{_HERE}:R_INSTANCE",
    "R_UNBOUND_TASK": f"{_HERE}:R_UNBOUND_TASK",
    "TaskType": "builtins:type",
    "_reprtask": f"{_HERE}:_reprtask",
    "current_app": "taskq_cloud.celery._state:current_app",
    "denied_join_result": "taskq_cloud.celery.result:denied_join_result",
    "extract_exec_options": f"{_HERE}:extract_exec_options",
    "group": "taskq_cloud.celery.canvas:group",
    "signature": "taskq_cloud.celery.canvas:signature",
}
"""Name in ``app.task`` -> where it is."""

BUILTIN_FIXUPS: Final = {"taskq_cloud.celery.fixups.django:fixup"}
"""The paths of the functions that adapt applications to frameworks."""

extract_exec_options = mattrgetter(*EXEC_OPTIONS)
"""Returns the options of calls that a task has as attributes."""


def lazily(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the function ``__getattr__`` of a module, which finds further names.

    Args:
        module: the module's name.
        names: name -> the path of the object.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        path, _, attribute = names[name].partition(":")
        return getattr(importlib.import_module(path), attribute)

    return find


def _after_fork_cleanup_app(app: Any) -> None:
    """Tell an application that its process was forked."""
    try:
        app._after_fork()
    except Exception as error:
        logger.info("after forker raised exception: %r", error, exc_info=True)


def pydantic_wrapper(
    app: Any,
    task_fun: Callable[..., Any],
    task_name: str,
    strict: bool = True,
    context: Mapping[str, Any] | None = None,
    dump_kwargs: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """Return a function that validates the arguments of another one, and dumps the model that it returns.

    Args:
        app: the application.
        task_fun: the other function.
        task_name: the task's name.
        strict: whether values are validated without conversion.
        context: the context of the validators.
        dump_kwargs: the arguments of ``model_dump``.

    Raises:
        ImproperlyConfigured: pydantic isn't installed.
    """
    from taskq_cloud.celery.app.typed_arguments import ModelArguments  # few tasks take models

    models = ModelArguments(app, task_fun, task_name, strict, context, dump_kwargs)

    @functools.wraps(task_fun)
    def call(*args: Any, **kwargs: Any) -> Any:
        return models.call(*args, **kwargs)

    return call


def _reprtask(task: Any, fmt: str | None = None, flags: Any = None) -> str:
    """Show a task's class.

    Args:
        task: the task, or its class.
        fmt: the format; None: by whether the task belongs to an application.
        flags: words to show in parentheses.
    """
    words = [*(flags or ()), *(["v2 compatible"] if getattr(task, "__v2_compat__", False) else [])]
    app = task._app
    return (fmt or (R_BOUND_TASK if app else R_UNBOUND_TASK)).format(
        task, flags=f" ({', '.join(words)})" if words else "", app=appstr(app) if app else None
    )
