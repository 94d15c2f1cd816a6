"""What ``@app.task`` makes of a function and its options: a task's definition, and its schedule if it has one.

Every process that declares tasks imports this module, so it imports the other ones of this room for a schedule only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.core.model.option_values import NAME, check
from taskq_cloud.core.model.options import task_options
from taskq_cloud.core.model.task_definition import TaskDefinition, is_generator
from taskq_cloud.errors import ImproperlyConfigured, OptionError

if TYPE_CHECKING:
    from taskq_cloud.beat.declarations import Declaration
    from taskq_cloud.bound_task import BoundTask
    from taskq_cloud.core.model.outcome import Invocation
    from taskq_cloud.request import Request
    from taskq_cloud.runtime.protocols import Application

_PERIODIC: Final = frozenset(
    {"every", "cron", "schedule", "timezone", "enabled", "start", "end", "jitter", "overlap", "catch_up"}
)
"""The options that make a task periodic: those of ``beat.declarations.DECORATOR_OPTIONS`` that have no other
meaning."""


def define(
    app: Application, function: Callable[..., Any], name: str | None, options: Mapping[str, Any], *, bind: bool
) -> tuple[TaskDefinition, list[Declaration]]:
    """Make the definition of a task, and the declaration of its schedule if it is periodic: see ``TaskQ.task``."""
    if not (callable(function) and hasattr(function, "__name__")):
        raise TypeError(f"@app.task decorates a function, not {function!r}; its options are keyword arguments")
    name, options = name or app.gen_task_name(function.__name__, function.__module__), dict(options)
    options.pop("hooks", None)  # TaskQ.task registers them
    try:
        check(NAME, "the name of a task", name)
    except OptionError as error:
        raise ImproperlyConfigured(str(error)) from None
    if is_generator(function):
        raise ImproperlyConfigured(
            f"task {name}: {function.__qualname__} is a generator function, whose body doesn't run when a worker calls "
            "it: return a list"
        )
    periodic: list[Declaration] = []
    if not _PERIODIC.isdisjoint(options):
        from taskq_cloud.beat.declarations import from_decorator  # most tasks are not periodic

        periodic = from_decorator(name, options)
    definition = TaskDefinition(
        name,
        function,
        task_options(name, options),
        (lambda run: _bound(app, definition, run)) if bind else None,
        _request,
    )
    if headers := definition.options.retry_kwargs.get("headers"):
        from taskq_cloud.core.messages.headers import header_clash  # few tasks have them

        if clash := header_clash(headers):
            raise ImproperlyConfigured(f"task {name}: retry_kwargs: {clash}")
    if definition.options.rate_key is not None:
        from taskq_cloud.core.execution.steps.rate_limits import check_key  # few tasks have one

        check_key(definition)
    return definition, periodic


def _bound(app: Application, definition: TaskDefinition, run: Invocation) -> BoundTask:
    from taskq_cloud.bound_task import BoundTask  # few tasks are bound

    return BoundTask(app, definition, run)


def _request(run: Invocation) -> Request:
    from taskq_cloud.request import Request  # a process that only calls tasks runs none

    return Request(run)
