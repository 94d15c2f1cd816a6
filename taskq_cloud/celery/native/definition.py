"""The definition by which the native runner knows one of Celery's tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, Signature, iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.celery.native import running
from taskq_cloud.core.execution.run_context import current_invocation
from taskq_cloud.core.lazy.values import fields
from taskq_cloud.core.model import option_values
from taskq_cloud.core.model.options import TaskOptions, task_options
from taskq_cloud.core.model.task_definition import TaskDefinition, signature_of
from taskq_cloud.errors import ImproperlyConfigured, OptionError

if TYPE_CHECKING:
    from taskq_cloud.core.model.outcome import Invocation

logger = logging.getLogger("taskq_cloud.celery")

_NATIVE: Final = frozenset(each.name for each in fields(TaskOptions))
_NOT_PASSED: Final = frozenset(
    {
        "autoretry_for",
        "dont_autoretry_for",
        "expires",
        "pydantic",
        "pydantic_context",
        "pydantic_dump_kwargs",
        "pydantic_strict",
        "queue",
        "retry_backoff",
        "retry_backoff_max",
        "retry_jitter",
        "retry_kwargs",
    }
)
"""Native options whose attribute has another form in Celery, which each call carries, or which ``run`` obeys itself."""
NATIVE_ONLY: Final = frozenset(
    {"memory_mb", "once", "rate_key", "rate_limit_burst", "rate_limit_scope", "runtime", "typed"}
)
"""Options that Celery doesn't have. A project may use these names for attributes of its own: see ``own_arguments``."""
_NONE_COUNTS: Final = frozenset({"max_retries"})
"""Options whose None is a value: no limit."""
OPTION_ATTRIBUTES: Final = _NATIVE | {"routing_key", "exchange", "exchange_type", "delivery_mode", "taskq_options"}
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

    An attribute that has the value of a setting is left out: the native application has that setting, too. An option
    that Celery doesn't have counts in the decorator and in ``taskq_options``: elsewhere it is the project's own.

    Raises:
        ImproperlyConfigured: ``taskq_options`` isn't a mapping, or has an unknown option.
    """
    options = {name: getattr(task, name) for name in _NATIVE - _NOT_PASSED - NATIVE_ONLY if _is_own(task, name)}
    options |= {**task._native_arguments, **_taskq_options(task)}
    _warn_of_attributes(task, options)
    given = {name: value for name, value in options.items() if value is not None or name in _NONE_COUNTS}
    if "throws" in given:
        given["throws"] = tuple(given["throws"]) if isinstance(given["throws"], list | tuple) else (given["throws"],)
    soft, hard = given.get("soft_time_limit"), given.get("time_limit")
    if soft and hard and soft > hard:
        del given["soft_time_limit"]  # the hard limit comes first; a call is refused by apply_async
    return given


def own_arguments(kind: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The decorator's arguments that are native options which Celery doesn't have.

    An argument whose name is an attribute of the base class is the project's own, as is one of another type.

    Args:
        kind: the base class of the task.
        given: the decorator's arguments.
    """
    return {
        name: given[name] for name in NATIVE_ONLY & given.keys() if not hasattr(kind, name) and _fits(name, given[name])
    }


def _fits(name: str, value: Any) -> bool:
    """Whether a value is one that the native option of this name can have."""
    if name == "rate_limit_burst":
        return isinstance(value, int) and not isinstance(value, bool)
    try:
        option_values.check(option_values.DECLARED[name], name, value)
    except OptionError:
        return False
    return True


def _taskq_options(task: Any) -> dict[str, Any]:
    """The options in the attributes ``taskq_options`` of a task and its classes; those of the task itself win."""
    found: dict[str, Any] = {}
    for owner in (*reversed(type(task).__mro__), task):
        given = vars(owner).get("taskq_options")
        if given is None:
            continue
        if not isinstance(given, Mapping):
            raise ImproperlyConfigured(f"task {task.name}: taskq_options must be a mapping of options, not {given!r}")
        found |= given
    unknown = sorted(found.keys() - NATIVE_ONLY)
    if unknown:
        known = ", ".join(sorted(NATIVE_ONLY))
        raise ImproperlyConfigured(
            f"task {task.name}: taskq_options has the unknown option {unknown[0]!r}; known: {known}"
        )
    return found


_warned: Final[set[str]] = set()


def _warn_of_attributes(task: Any, options: Mapping[str, Any]) -> None:
    """Warn, once in a process, of an attribute that has the name and the type of a native option, and isn't taken."""
    for name in NATIVE_ONLY - options.keys() - _warned:
        value, is_inherited = getattr(type(task), name, None), any(hasattr(base, name) for base in type(task).__bases__)
        if value is None or callable(value) or isinstance(value, property):
            continue
        if not is_inherited or _fits(name, value):
            _warned.add(name)
            text = "task %s: the attribute %s=%r is the project's own; taskq_options={%r: ...} sets the native option"
            logger.warning(text, task.name, name, value, name)


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
        args, kwargs = running.arguments_of(task, request, args, kwargs)
        with running.function_of(invocation):
            return _end(request, await _body(task)(*args, **kwargs))

    def plain(*args: Any, **kwargs: Any) -> Any:
        args = args[is_bound:]
        invocation, request = begin(args, kwargs)
        args, kwargs = running.arguments_of(task, request, args, kwargs)
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
