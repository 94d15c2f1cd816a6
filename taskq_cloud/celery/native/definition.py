"""The definition by which the native runner knows one of Celery's tasks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import Parameter, Signature, iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.celery.native import running
from taskq_cloud.core.execution.run_context import current_invocation
from taskq_cloud.core.lazy.values import fields
from taskq_cloud.core.model.options import TaskOptions, task_options
from taskq_cloud.core.model.task_definition import TaskDefinition, signature_of

if TYPE_CHECKING:
    from taskq_cloud.core.model.outcome import Invocation

_NATIVE: Final = frozenset(each.name for each in fields(TaskOptions))
_NOT_PASSED: Final = frozenset(
    {
        "autoretry_for",
        "dont_autoretry_for",
        "expires",
        "hooks",
        "queue",
        "rate_limit_scope",
        "retry_backoff",
        "retry_backoff_max",
        "retry_jitter",
        "retry_kwargs",
    }
)
"""Native options whose attribute has another form in Celery, which each call carries, or which ``run`` obeys itself."""
_NONE_COUNTS: Final = frozenset({"max_retries"})
"""Options whose None is a value: no limit."""
OPTION_ATTRIBUTES: Final = _NATIVE | {"routing_key", "exchange", "exchange_type", "delivery_mode"}
"""Attributes of a task that a definition, or the options of a call, are made of."""


def definition_of(task: Any) -> TaskDefinition:
    """Make the definition of a task from its attributes.

    Raises:
        ImproperlyConfigured: an attribute has a value that no worker can obey.
    """
    return TaskDefinition(
        name=task.name,
        function=_function(task),
        options=task_options(task.name, native_options(task)),
        bind=(lambda invocation: invocation) if _is_bound(task) else None,
        request=_request,
    )


def native_options(task: Any) -> dict[str, Any]:
    """The attributes of a task that are native options, by name.

    An attribute that has the value of a setting is left out: the native application has that setting, too.
    """
    options = {name: getattr(task, name) for name in _NATIVE - _NOT_PASSED if _is_own(task, name)}
    given = {name: value for name, value in options.items() if value is not None or name in _NONE_COUNTS}
    if "throws" in given:
        given["throws"] = tuple(given["throws"]) if isinstance(given["throws"], list | tuple) else (given["throws"],)
    soft, hard = given.get("soft_time_limit"), given.get("time_limit")
    if soft and hard and soft > hard:
        del given["soft_time_limit"]  # the hard limit comes first; a call is refused by apply_async
    return given


def _is_own(task: Any, name: str) -> bool:
    """Whether a task has an attribute that isn't only a setting's value."""
    if name in vars(task):
        return True
    for kind in type(task).__mro__:
        if name in vars(kind):
            return name not in vars(kind).get("_from_settings", ())
    return False


def _request(invocation: Invocation) -> Any:
    from taskq_cloud.celery.app.context import context_of  # few tasks are errbacks

    return context_of(invocation)


def _function(task: Any) -> Callable[..., Any]:
    """The function that the native runner calls: with the run first if the task is bound, else with its arguments."""
    is_bound = _is_bound(task)

    def begin(args: Any, kwargs: Any) -> tuple[Invocation, Any]:
        invocation = current_invocation.get()
        assert invocation is not None  # only the runner calls this function
        request = running.begin(task, invocation)
        if invocation.message.task == task.name:  # and not that of celery.map, which calls the task for each item
            task.before_start(request.id, args, kwargs)
        return invocation, request

    async def arun(*args: Any, **kwargs: Any) -> Any:
        args = args[is_bound:]
        invocation, request = begin(args, kwargs)
        with running.function_of(invocation):
            return _end(request, await _body(task)(*args, **kwargs))

    def plain(*args: Any, **kwargs: Any) -> Any:
        args = args[is_bound:]
        invocation, request = begin(args, kwargs)
        with running.function_of(invocation):
            return _end(request, _body(task)(*args, **kwargs))

    run: Any = arun if iscoroutinefunction(_body(task)) else plain
    run.__module__, run.__name__ = type(task).__module__, task.name.rpartition(".")[2]
    run.__qualname__ = getattr(task, "__qualname__", type(task).__qualname__)
    run.__signature__ = _signature(task, bound=is_bound)
    function: Callable[..., Any] = run
    return function


def _is_bound(task: Any) -> bool:
    """Whether the task can be no errback that gets the exception: it is bound, or made of a class."""
    header = getattr(task, "__header__", None)
    return header is None or isinstance(header, partial)


def _body(task: Any) -> Callable[..., Any]:
    from taskq_cloud.celery.app.task import Task  # which imports this module

    overridden = type(task).__call__ is not Task.__call__
    body: Callable[..., Any] = task if overridden else task.run
    return body


def _end(request: Any, value: Any) -> Any:
    """Raise the retry that the task has asked for with ``throw=False``; otherwise return its value."""
    asked = vars(request).get("retry_asked_for")
    if asked is not None:
        raise asked
    return value


def _signature(task: Any, *, bound: bool) -> Signature:
    run = Parameter("invocation", Parameter.POSITIONAL_ONLY)
    try:
        own = [*signature_of(task.run).parameters.values()]
    except (TypeError, ValueError):  # functions of C need not have a signature
        own = [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
    return Signature([run, *own] if bound else own)
        args, kwargs = running.arguments_of(task, request, args, kwargs)
        args, kwargs = running.arguments_of(task, request, args, kwargs)
