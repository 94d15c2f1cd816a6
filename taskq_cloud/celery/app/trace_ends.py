"""The ends of tasks that ``taskq_cloud.celery.app.trace`` runs: their records, signals, handlers and log lines."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from taskq_cloud.celery import signals, states
from taskq_cloud.celery.backends.exception_info import ExceptionInfo
from taskq_cloud.celery.exceptions import Ignore, Reject
from taskq_cloud.celery.utils.log import get_logger
from taskq_cloud.celery.utils.serialization import (
    get_pickleable_etype,
    get_pickleable_exception,
    get_pickled_exception,
)

__all__ = ("TraceInfo", "get_log_policy", "get_task_name", "info", "report_internal_error", "traceback_clear")

logger = get_logger("taskq_cloud.celery.app.trace")

LOG_RECEIVED: Final = "Task %(name)s[%(id)s] received"
LOG_SUCCESS: Final = "Task %(name)s[%(id)s] succeeded in %(runtime)ss: %(return_value)s"
LOG_FAILURE: Final = "Task %(name)s[%(id)s] %(description)s: %(exc)s"
LOG_INTERNAL_ERROR: Final = LOG_FAILURE
LOG_IGNORED: Final = "Task %(name)s[%(id)s] %(description)s"
LOG_REJECTED: Final = "Task %(name)s[%(id)s] %(exc)s"
LOG_RETRY: Final = "Task %(name)s[%(id)s] retry: %(exc)s"


class log_policy_t(NamedTuple):
    """How an end that isn't a success is logged. ``mail`` is always as ``traceback``, and has no effect."""

    format: str
    description: str
    severity: int
    traceback: int
    mail: int


log_policy_reject: Final = log_policy_t(LOG_REJECTED, "rejected", logging.WARNING, 1, 1)
log_policy_ignore: Final = log_policy_t(LOG_IGNORED, "ignored", logging.INFO, 0, 0)
log_policy_internal: Final = log_policy_t(LOG_INTERNAL_ERROR, "INTERNAL ERROR", logging.CRITICAL, 1, 1)
log_policy_expected: Final = log_policy_t(LOG_FAILURE, "raised expected", logging.INFO, 0, 0)
log_policy_unexpected: Final = log_policy_t(LOG_FAILURE, "raised unexpected", logging.ERROR, 1, 1)


def info(fmt: str, context: Mapping[str, Any]) -> None:
    """Log a line at the level INFO, with the data that it is made of for handlers."""
    logger.info(fmt, context, extra={"data": context})


def get_log_policy(task: Any, einfo: Any, exc: BaseException) -> log_policy_t:
    """Return how the exception that ended a task is logged."""
    if isinstance(exc, Reject):
        return log_policy_reject
    if isinstance(exc, Ignore):
        return log_policy_ignore
    if einfo.internal:
        return log_policy_internal
    return log_policy_expected if task.throws and isinstance(exc, task.throws) else log_policy_unexpected


def get_task_name(request: Any, default: str) -> str:
    """Return the name under which a call is logged: its ``shadow``, if it has one."""
    return getattr(request, "shadow", None) or default


def get_actual_ignore_result(task: Any, req: Any) -> Any:
    """Return whether a call's result is ignored: the call says so, or its task."""
    return req.ignores_result(task)


def traceback_clear(exc: Any = None) -> None:
    """Forget the variables of a traceback's frames, which may hold much memory.

    Args:
        exc: the exception; None: the one that is being handled.
    """
    tb = getattr(exc, "__traceback__", None) if hasattr(exc, "__traceback__") else sys.exc_info()[2]
    while tb is not None:
        try:
            tb.tb_frame.clear()
        except RuntimeError:  # the frame still runs
            logger.debug("a frame that runs keeps its variables")
        tb = tb.tb_next


def report_internal_error(task: Any, exc: BaseException) -> ExceptionInfo:
    """Warn of an exception that the task's function hasn't raised, and return it."""
    kind, _, tb = sys.exc_info()
    einfo = ExceptionInfo((kind, task.backend.prepare_exception(exc, "pickle"), tb), internal=True)
    warnings.warn(RuntimeWarning(f"Exception raised outside body: {exc!r}:\n{einfo.traceback}"), stacklevel=2)
    return einfo


class TraceInfo:
    """The end of a task that has not succeeded.

    Args:
        state: the state.
        retval: the exception.
    """

    __slots__ = ("retval", "state")

    def __init__(self, state: str, retval: Any = None) -> None:
        self.state = state
        self.retval = retval

    def handle_error_state(self, task: Any, req: Any, eager: bool = False, call_errbacks: bool = True) -> Any:
        """Record a failure or a retry, and tell the task and the signals of it.

        Args:
            task: the task.
            req: the request of the call.
            eager: the task runs in place.
            call_errbacks: False: no errbacks are called.
        """
        if get_actual_ignore_result(task, req):
            store = task.store_errors_even_if_ignored
        else:
            store = not eager or bool(task.store_eager_result)
        handlers: dict[str, Any] = {states.RETRY: self.handle_retry, states.FAILURE: self.handle_failure}
        return handlers[self.state](task, req, store_errors=store, call_errbacks=call_errbacks)

    def handle_reject(self, task: Any, req: Any, **kwargs: Any) -> None:
        """Log that the task has refused its message."""
        self._log_error(task, req, ExceptionInfo())

    def handle_ignore(self, task: Any, req: Any, **kwargs: Any) -> None:
        """Log that the task keeps its result to itself."""
        self._log_error(task, req, ExceptionInfo())

    def handle_retry(self, task: Any, req: Any, store_errors: bool = True, **kwargs: Any) -> ExceptionInfo:
        """Record that the task will run again."""
        kind, _, tb = sys.exc_info()
        reason = self.retval
        einfo = ExceptionInfo((kind, reason, tb))
        if store_errors:
            task.backend.mark_as_retry(req.id, reason.exc, einfo.traceback, request=req)
        task.on_retry(reason.exc, req.id, req.args, req.kwargs, einfo)
        signals.task_retry.send(sender=task, request=req, reason=reason, einfo=einfo)
        info(LOG_RETRY, {"id": req.id, "name": get_task_name(req, task.name), "exc": str(reason)})
        traceback_clear(einfo.exception)
        return einfo

    def handle_failure(
        self, task: Any, req: Any, store_errors: bool = True, call_errbacks: bool = True
    ) -> ExceptionInfo:
        """Record that the task has failed."""
        exc = get_pickleable_exception(self.retval)
        if exc.__traceback__ is None:
            exc.__traceback__ = sys.exc_info()[2]
        einfo = ExceptionInfo((get_pickleable_etype(type(self.retval)), exc, exc.__traceback__))
        task.backend.mark_as_failure(
            req.id, exc, einfo.traceback, request=req, store_result=store_errors, call_errbacks=call_errbacks
        )
        task.on_failure(exc, req.id, req.args, req.kwargs, einfo)
        signals.task_failure.send(
            sender=task,
            task_id=req.id,
            exception=exc,
            args=req.args,
            kwargs=req.kwargs,
            traceback=exc.__traceback__,
            einfo=einfo,
        )
        self._log_error(task, req, einfo)
        traceback_clear(exc)
        return einfo

    def _log_error(self, task: Any, req: Any, einfo: ExceptionInfo) -> None:
        error = einfo.exception = get_pickled_exception(einfo.exception)
        policy = get_log_policy(task, einfo, error)
        context = {
            "hostname": req.hostname,
            "id": req.id,
            "name": get_task_name(req, task.name),
            "exc": safe_repr(error),
            "traceback": str(einfo.traceback),
            "args": req.get("argsrepr") or safe_repr(req.args),
            "kwargs": req.get("kwargsrepr") or safe_repr(req.kwargs),
            "description": policy.description,
            "internal": einfo.internal,
        }
        exc_info = einfo.exc_info if policy.traceback else None
        logger.log(policy.severity, policy.format, context, exc_info=exc_info, extra={"data": context})


def safe_repr(value: Any) -> str:
    """Return the representation of a value, also if it can't be shown."""
    try:
        return repr(value)
    except Exception as error:
        return f"<Unrepresentable {type(value)!r}: {error!r}>"
