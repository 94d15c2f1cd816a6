"""How tasks are declared on an application: of functions, of classes, in other packages, and periodically."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from taskq_cloud.celery import _state
from taskq_cloud.celery.app.autoretry import add_autoretry_behaviour
from taskq_cloud.celery.exceptions import DuplicateTaskNameWarning
from taskq_cloud.celery.local import PromiseProxy, guard
from taskq_cloud.celery.utils.imports import symbol_by_name


def load_fixups(app: Any, fixups: Sequence[Any]) -> None:
    """Apply the functions that adapt an application to a framework."""
    app.fixups = set(fixups)
    app._fixups = [fixup for each in fixups if (fixup := symbol_by_name(each)(app)) is not None]


def declare(
    app: Any, fun: Callable[..., Any], shared: bool = True, filter: Any = None, lazy: bool = True, **options: Any
) -> Any:
    """Declare a task of a function: see ``Celery.task``."""
    if shared:

        def declare_there(other: Any) -> Any:
            return other._task_from_fun(fun, **options)

        declare_there.__doc__ = fun.__doc__
        _state.connect_on_app_finalize(declare_there)
    task: Any
    if not lazy or app.finalized:
        task = app._task_from_fun(fun, **options)
    else:
        task = PromiseProxy(app._task_from_fun, (fun,), options, __doc__=fun.__doc__)
        guard(task, app._finalize_mutex)
        app._pending.append(task)
    return filter(task) if filter else task


def task_of_function(app: Any, fun: Callable[..., Any], name: str, options: dict[str, Any]) -> Any:
    """Make the task of a function, unless the application has one of that name."""
    options = dict(options)
    base, bind = options.pop("base", None) or app.Task, options.pop("bind", False)
    typed = {key: options.pop(key) for key in _PYDANTIC if key in options}
    known = app._tasks.get(name)
    if known is not None:
        _warn_of_duplicate(known, fun, name)
        return known
    if not hasattr(base, "bind"):
        raise TypeError(f"task {name}: base must be a class that is derived from app.Task, not {base!r:.100}")
    body, dump = fun, None
    if typed.get("pydantic") is True:
        from taskq_cloud.celery.app import typed_arguments  # few tasks take models

        body = typed_arguments.wrapped(app, fun, name, typed, bound=bind)
        dump = staticmethod(body.dump_arguments)
    run = body if bind else staticmethod(body)
    kind = type(
        fun.__name__,
        (base,),
        {
            "app": app,
            "name": name,
            "run": run,
            "_decorated": True,
            "_native_arguments": _native_arguments(base, options),
            "_dump_pydantic_arguments": dump,
            "_decorated_fun": staticmethod(fun),
            "__doc__": fun.__doc__,
            "__module__": fun.__module__,
            "__annotations__": getattr(fun, "__annotations__", {}),
            "__header__": app.type_checker(fun, bound=bind),
            "__wrapped__": run,
            **options,
        },
    )
    task = kind()
    if hasattr(fun, "__qualname__"):
        task.__qualname__ = fun.__qualname__
    app._tasks[name] = task
    task.bind(app)
    add_autoretry_behaviour(task, **options)
    return task


def _native_arguments(base: type[Any], options: dict[str, Any]) -> dict[str, Any]:
    from taskq_cloud.celery.native.definition import own_arguments  # an application that only sends declares no task

    return own_arguments(base, options)


_PYDANTIC = ("pydantic", "pydantic_strict", "pydantic_context", "pydantic_dump_kwargs")


def register(app: Any, task: Any, options: dict[str, Any]) -> Any:
    """Register a task that is a class or an instance of one: see ``Celery.register_task``."""
    task = task() if inspect.isclass(task) else task
    if not hasattr(task, "bind"):
        raise TypeError(f"register_task() takes a task, or a class that is derived from app.Task, not {task!r:.100}")
    if not task.name:
        task.name = app.gen_task_name(type(task).__name__, type(task).__module__)
    known = app.tasks.get(task.name)
    if known is not None and known is not task:
        _warn(task.name, known, task, "the new task replaces the other one, also for calls by this name")
    if options:
        task._native_arguments = _native_arguments(type(task), options)
    for name, value in options.items():
        setattr(task, name, value)
    app.tasks[task.name] = task
    task._app = app
    task.bind(app)
    add_autoretry_behaviour(task, **options)
    return task


def _warn_of_duplicate(known: Any, fun: Any, name: str) -> None:
    first = getattr(known, "_decorated_fun", None)
    same = first is fun or (
        getattr(first, "__module__", None) == fun.__module__
        and getattr(first, "__qualname__", None) == getattr(fun, "__qualname__", None)
    )
    if not same:
        _warn(name, known, fun, "the first one stays, and is what calls by this name run")


def _warn(name: str, known: Any, new: Any, consequence: str) -> None:
    warnings.warn(
        DuplicateTaskNameWarning(
            f"two tasks have the name {name!r}: {_qualified(known)} and {_qualified(new)}; {consequence}. Give one of "
            "them its own name"
        ),
        stacklevel=5,
    )


def _qualified(task: Any) -> str:
    function = getattr(task, "_decorated_fun", None) or task
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{kind.__module__}.{kind.__qualname__}"


def autodiscover(app: Any, packages: Any, related_name: str | None, *, force: bool) -> Any:
    """Import task modules of packages: see ``Celery.autodiscover_tasks``."""
    if force:
        return discover(app, packages, related_name)
    from taskq_cloud.celery import signals  # the signal of a worker that imports its modules

    signals.import_modules.connect(lambda **_: discover(app, packages, related_name), weak=False, sender=app)
    return None


def discover(app: Any, packages: Any, related_name: str | None, **_: Any) -> Any:
    """Import the task modules of packages now."""
    return discover_in(app, packages, related_name) if packages else discover_by_fixups(app, related_name)


def discover_in(app: Any, packages: Any, related_name: str | None) -> Any:
    """Import the task modules of packages, which a function may name."""
    return app.loader.autodiscover_tasks(packages() if callable(packages) else packages, related_name)


def discover_by_fixups(app: Any, related_name: str | None) -> Any:
    """Import the task modules of packages that the support of frameworks finds."""
    found = [fixup.autodiscover_tasks() for fixup in app._fixups if hasattr(fixup, "autodiscover_tasks")]
    return discover_in(app, [each for listed in found for each in listed], related_name)


def add_periodic_task(
    app: Any, schedule: Any, sig: Any, args: Any, kwargs: Any, name: str | None, options: dict[str, Any]
) -> str:
    """Declare a periodic task: see ``Celery.add_periodic_task``."""
    key, entry = periodic_entry(app, schedule, sig, args, kwargs, name, **options)
    app._add_periodic_entry(key, entry, named=name is not None)
    return key


def periodic_entry(
    app: Any, schedule: Any, sig: Any, args: Any = (), kwargs: Any = None, name: str | None = None, **options: Any
) -> tuple[str, dict[str, Any]]:
    """Return the name and the entry of a periodic task for the setting ``beat_schedule``."""
    from taskq_cloud.celery.utils.abstract import CallableSignature  # few applications have periodic tasks

    given = dict(kwargs or {})
    made = sig.clone(args, given) if isinstance(sig, CallableSignature) else app.signature(sig.name, args, given)
    return name or repr(made), {
        "schedule": schedule,
        "task": made.name,
        "args": made.args,
        "kwargs": made.kwargs,
        "options": dict(made.options, **options),
    }
