"""Runs a task by hand, as Celery's worker would: ``trace_task`` and ``build_tracer``.

No worker uses this module: messages are handled by the native pipeline, and tasks run in place by the native runner.
It is for programs and tests that run a task with a request of their own, and look at its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from taskq_cloud.celery._state import get_current_app
from taskq_cloud.celery.app.context import Context
from taskq_cloud.celery.app.trace_ends import (
    LOG_FAILURE,
    LOG_IGNORED,
    LOG_INTERNAL_ERROR,
    LOG_RECEIVED,
    LOG_REJECTED,
    LOG_RETRY,
    LOG_SUCCESS,
    TraceInfo,
    get_log_policy,
    get_task_name,
    info,
    log_policy_expected,
    log_policy_ignore,
    log_policy_internal,
    log_policy_reject,
    log_policy_t,
    log_policy_unexpected,
    logger,
    report_internal_error,
    traceback_clear,
)
from taskq_cloud.celery.app.tracing import (
    EXCEPTION_STATES,
    FAILURE,
    IGNORE_STATES,
    IGNORED,
    REJECTED,
    RETRY,
    STARTED,
    SUCCESS,
    Tracer,
    _signal_internal_error,
    task_has_custom,
)
from taskq_cloud.celery.backends.exception_info import ExceptionInfo
from taskq_cloud.celery.canvas import group
from taskq_cloud.celery.exceptions import Reject
from taskq_cloud.celery.result import AsyncResult
from taskq_cloud.celery.utils.nodenames import gethostname
from taskq_cloud.celery.worker.state import successful_requests

__all__ = (
    "EXCEPTION_STATES",
    "FAILURE",
    "IGNORED",
    "IGNORE_STATES",
    "LOG_FAILURE",
    "LOG_IGNORED",
    "LOG_INTERNAL_ERROR",
    "LOG_RECEIVED",
    "LOG_REJECTED",
    "LOG_RETRY",
    "LOG_SUCCESS",
    "REJECTED",
    "RETRY",
    "STARTED",
    "SUCCESS",
    "AsyncResult",
    "Context",
    "ExceptionInfo",
    "TraceInfo",
    "build_tracer",
    "fast_trace_task",
    "get_log_policy",
    "get_task_name",
    "group",
    "info",
    "log_policy_expected",
    "log_policy_ignore",
    "log_policy_internal",
    "log_policy_reject",
    "log_policy_t",
    "log_policy_unexpected",
    "logger",
    "report_internal_error",
    "reset_worker_optimizations",
    "setup_worker_optimizations",
    "successful_requests",
    "task_has_custom",
    "trace_ok_t",
    "trace_task",
    "trace_task_ret",
    "traceback_clear",
)

_localized: list[Any] = []


class trace_ok_t(NamedTuple):
    """The end of a task.

    It has the value or the ``ExceptionInfo``, the ``TraceInfo`` unless the task has succeeded, and the seconds.
    """

    retval: Any
    info: Any
    runtime: Any
    retstr: Any


def build_tracer(
    name: str,
    task: Any,
    loader: Any = None,
    hostname: str | None = None,
    store_errors: bool = True,
    Info: Any = TraceInfo,
    eager: bool = False,
    propagate: bool = False,
    app: Any = None,
    monotonic: Callable[[], float] = time.monotonic,
    trace_ok_t: Any = trace_ok_t,
    IGNORE_STATES: Iterable[str] = IGNORE_STATES,
) -> Callable[..., Any]:
    """Make the function that runs a task: it takes the id, the arguments and the request, and returns a ``trace_ok_t``.

    The end of the task is recorded by its backend, and the signals and the task's handlers are told of it.

    Args:
        name: the task's name.
        task: the task.
        loader: the loader; None: the application's.
        hostname: the name of this process.
        store_errors: has no effect, as in Celery.
        Info: the class of ends that are no successes.
        eager: the task runs in place: its end is only recorded with ``store_eager_result``.
        propagate: raise the task's exception.
        app: the application.
        monotonic: the clock by which the run is timed.
        trace_ok_t: the class of what the function returns.
        IGNORE_STATES: the states after which ``after_return`` isn't called.
    """
    loader, hostname = loader or app.loader, hostname or gethostname()
    tracer = Tracer(name, task, app, loader, hostname, Info, eager, propagate, monotonic, frozenset(IGNORE_STATES))

    def trace_task(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        return trace_ok_t(*tracer.trace(uuid, args, kwargs, request))

    return trace_task


def trace_task(task: Any, uuid: str, args: Any, kwargs: Any, request: Any = None, **opts: Any) -> Any:
    """Run a task, and return its end as a ``trace_ok_t``.

    Args:
        task: the task; it keeps the function that ``build_tracer`` makes.
        uuid: the task's id.
        args: the positional arguments.
        kwargs: the keyword arguments.
        request: attributes of the request.
        opts: arguments of ``build_tracer``.
    """
    request = request or {}
    try:
        if task.__trace__ is None:
            task.__trace__ = build_tracer(task.name, task, **opts)
        return task.__trace__(uuid, args, kwargs, request)
    except Reject:
        raise
    except Exception as error:
        _signal_internal_error(task, uuid, args, kwargs, request, error)
        return trace_ok_t(report_internal_error(task, error), TraceInfo(FAILURE, error), 0.0, None)


def _read(body: Any, content_type: str | None, content_encoding: str | None, accept: Any) -> Any:
    """Read the arguments of a message's body, and what follows the task."""
    if not content_type:
        return body
    from taskq_cloud.core.serializers.registry import serializer_for  # few programs read messages

    return serializer_for(content_type, accept).decode(body)


def _run_message(task: Any, uuid: str, request: Any, content: Any, hostname: str, **opts: Any) -> tuple[Any, Any, Any]:
    args, kwargs, embed = content
    request.update({"args": args, "kwargs": kwargs, "hostname": hostname, "is_eager": False, **(embed or {})})
    result, ended, runtime, text = trace_task(task, uuid, args, kwargs, request, **opts)
    return (1, result, runtime) if ended else (0, text, runtime)


def trace_task_ret(
    name: str,
    uuid: str,
    request: Any,
    body: Any,
    content_type: str | None,
    content_encoding: str | None,
    loads: Callable[..., Any] = _read,
    app: Any = None,
    **extra_request: Any,
) -> tuple[Any, Any, Any]:
    """Run the task of a message.

    Returns:
        1, the ``ExceptionInfo`` and the seconds; for a task that has succeeded 0, the value as text and the seconds.
    """
    app = app or get_current_app()
    content = loads(body, content_type, content_encoding, accept=app.conf.accept_content) if content_type else body
    return _run_message(app.tasks[name], uuid, request, content, gethostname(), app=app)


def fast_trace_task(
    task: str,
    uuid: str,
    request: Any,
    body: Any,
    content_type: str | None,
    content_encoding: str | None,
    loads: Callable[..., Any] = _read,
    _loc: Any = None,
    hostname: str | None = None,
    **_: Any,
) -> tuple[Any, Any, Any]:
    """Run the task of a message with what ``setup_worker_optimizations`` has noted; returns as ``trace_task_ret``.

    Raises:
        RuntimeError: nothing was noted.
    """
    try:
        tasks, accept, hostname = _loc or _localized
    except ValueError:
        raise RuntimeError(
            "fast_trace_task: worker task registry is empty: call setup_worker_optimizations() in this process first"
        ) from None
    content = loads(body, content_type, content_encoding, accept=accept) if content_type else body
    found = tasks[task]
    return _run_message(found, uuid, request, content, str(hostname), app=found.app)


def setup_worker_optimizations(app: Any, hostname: str | None = None) -> None:
    """Make an application the current and the default one, finalize it, and note its tasks for ``fast_trace_task``."""
    app.set_current()
    app.set_default()
    app.finalize()
    _localized[:] = [app._tasks, app.conf.accept_content, hostname or gethostname()]
    app.use_fast_trace_task = True


def reset_worker_optimizations(app: Any = None) -> None:
    """Undo what ``setup_worker_optimizations`` has told an application; None: the current one."""
    (app or get_current_app()).use_fast_trace_task = False


def _install_stack_protection() -> None:
    """Do nothing: the ``__call__`` of tasks takes care of a class that calls the one of its base class."""
