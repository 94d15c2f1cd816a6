"""The current application and the current task, which Celery's interface looks up where no application is given.

Each thread has its own current application. A thread without one uses the default application. The current task is that
of the running context, so coroutines that run side by side don't see each other's.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final, Generic, TypeVar

from taskq_cloud.celery.local import Proxy

__all__ = (
    "connect_on_app_finalize",
    "current_app",
    "current_task",
    "get_current_app",
    "get_current_task",
    "get_current_worker_task",
    "set_default_app",
)

T = TypeVar("T")

default_app: Any = None
"""The application of threads that have no current one; None until one is made."""

_apps: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_on_app_finalizers: Final[set[Callable[[Any], object]]] = set()


class LocalStack(Generic[T]):
    """A stack of values of which each context has its own.

    Args:
        name: the name of the context variable.
    """

    def __init__(self, name: str) -> None:
        self._values: ContextVar[tuple[T, ...]] = ContextVar(name, default=())

    def push(self, obj: T) -> None:
        """Put a value on top."""
        self._values.set((*self._values.get(), obj))

    def pop(self) -> T | None:
        """Remove the value on top, and return it; None for an empty stack."""
        match self._values.get():
            case (*rest, top):
                self._values.set(tuple(rest))
                return top
        return None

    def __len__(self) -> int:
        return len(self._values.get())

    def __iter__(self) -> Iterator[T]:
        return iter(self._values.get())

    @property
    def stack(self) -> list[T]:
        """The values, the one on top last."""
        return list(self._values.get())

    @property
    def top(self) -> T | None:
        """The value on top; None for an empty stack."""
        values = self._values.get()
        return values[-1] if values else None


_task_stack: Final[LocalStack[Any]] = LocalStack("taskq_celery_tasks")

push_current_task: Final = _task_stack.push
"""Put a task on top of the stack of tasks that run in this context."""
pop_current_task: Final = _task_stack.pop
"""Take the task on top off the stack."""


class _TLS(threading.local):
    current_app: Any = None


_tls: Final = _TLS()
_task_join_will_block = False


def connect_on_app_finalize(callback: Callable[[Any], object]) -> Callable[[Any], object]:
    """Register a function that is called with every application that is finalized from now on."""
    _on_app_finalizers.add(callback)
    return callback


def _announce_app_finalized(app: Any) -> None:
    for callback in set(_on_app_finalizers):
        callback(app)


def _set_task_join_will_block(blocks: bool) -> None:
    global _task_join_will_block
    _task_join_will_block = blocks


def task_join_will_block() -> bool:
    """Whether a task that waits for another task can block its worker."""
    return _task_join_will_block


def set_default_app(app: Any) -> None:
    """Make an application the one of threads without a current application."""
    global default_app
    default_app = app


def _set_current_app(app: Any) -> None:
    _tls.current_app = app


def _get_current_app() -> Any:
    if default_app is None:
        from taskq_cloud.celery.app.base import Celery  # the application registers itself here

        set_default_app(
            Celery("default", fixups=[], set_as_current=False, loader=os.environ.get("CELERY_LOADER") or "default")
        )
    return _tls.current_app or default_app


if os.environ.get("C_STRICT_APP"):

    def get_current_app() -> Any:
        """Return the current application; with ``C_STRICT_APP`` in the environment nothing may need it."""
        raise RuntimeError("USES CURRENT APP")

elif os.environ.get("C_WARN_APP"):

    def get_current_app() -> Any:
        """Return the current application, and say on standard error who has asked for it."""
        import traceback  # few processes look for code that uses the current application

        print("-- USES CURRENT_APP", file=sys.stderr)
        traceback.print_stack(file=sys.stderr)
        return _get_current_app()

else:
    get_current_app = _get_current_app


def get_current_task() -> Any:
    """Return the task that runs in this context; None outside a task."""
    if (pushed := _task_stack.top) is not None:
        return pushed
    from taskq_cloud.celery.native.running import running_task  # a process that only calls tasks runs none

    return running_task()


def get_current_worker_task() -> Any:
    """Return the task that a worker runs in this context; a task that was called as a function is not one."""
    for task in reversed(_task_stack.stack):
        if not task.request.called_directly:
            return task
    from taskq_cloud.celery.native.running import running_task  # a process that only calls tasks runs none

    return running_task()


current_app: Any = Proxy(get_current_app)
current_task: Any = Proxy(get_current_task)


def _register_app(app: Any) -> None:
    _apps.add(app)


def _deregister_app(app: Any) -> None:
    _apps.discard(app)


def _get_active_apps() -> weakref.WeakSet[Any]:
    return _apps


def _app_or_default(app: Any = None) -> Any:
    return get_current_app() if app is None else app


def _app_or_default_trace(app: Any = None) -> Any:
    if app is not None:
        return app
    import traceback  # few processes look for code that uses the current application

    if getattr(_tls, "current_app", None):
        print("-- RETURNING TO CURRENT APP --")
        traceback.print_stack()
        return _tls.current_app
    print("-- RETURNING TO DEFAULT APP --")
    traceback.print_stack()
    return default_app


app_or_default: Callable[..., Any] = _app_or_default


def enable_trace() -> None:
    """Print who asks for the current application, from now on."""
    global app_or_default
    app_or_default = _app_or_default_trace


def disable_trace() -> None:
    """Stop printing who asks for the current application."""
    global app_or_default
    app_or_default = _app_or_default


if os.environ.get("CELERY_TRACE_APP"):
    enable_trace()
