"""Celery's errors. Wherever the native API has an error of this meaning, the name here is the native class itself.

So an error that native code raises is caught by its Celery name, and a task may raise either kind. ``Retry`` and
``Reject`` are derived from the native classes, since Celery gives them other attributes and texts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from numbers import Number
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from taskq_cloud import errors
from taskq_cloud.celery.utils.serialization import _repr, get_pickleable_exception
from taskq_cloud.errors import (
    AlreadyRegistered,
    ChordError,
    DecodeError,
    EncodeError,
    Ignore,
    ImproperlyConfigured,
    IncompleteStream,
    InvalidTaskError,
    MaxRetriesExceededError,
    NotRegistered,
    OperationalError,
    QueueNotFound,
    SecurityError,
    SoftTimeLimitExceeded,
    TaskError,
    TaskPredicate,
    TaskRevokedError,
    TimeLimitExceeded,
    TimeoutError,  # noqa: A004 - Celery's name; this is a builtin TimeoutError too
    WorkerLostError,
)
from taskq_cloud.errors import TaskQError as CeleryError

if TYPE_CHECKING:
    from taskq_cloud.celery.command_exception import CeleryCommandException

# fmt: off
__all__ = (
    "AlreadyRegistered", "AlwaysEagerIgnored", "BackendError", "BackendGetMetaError", "BackendStoreError",
    "CDeprecationWarning", "CPendingDeprecationWarning", "CeleryCommandException", "CeleryError", "CeleryWarning",
    "ChordError", "DecodeError", "DuplicateNodenameWarning", "DuplicateTaskNameWarning", "EncodeError", "FixupWarning",
    "Ignore", "ImproperlyConfigured", "IncompleteStream", "InvalidTaskError", "MaxRetriesExceededError",
    "NotConfigured", "NotRegistered", "OperationalError", "QueueNotFound", "Reject", "Retry", "SecurityError",
    "SecurityWarning", "SoftTimeLimitExceeded", "TaskError", "TaskPredicate", "TaskRevokedError", "Terminated",
    "TimeLimitExceeded", "TimeoutError", "WorkerLostError", "WorkerShutdown", "WorkerTerminate", "reraise",
)
# fmt: on

UNREGISTERED_FMT = "Task of kind {0} never registered, please make sure it's imported."


def __getattr__(name: str) -> Any:
    if name == "CeleryCommandException":
        from taskq_cloud.celery.command_exception import CeleryCommandException  # click, which few processes need

        return CeleryCommandException
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def reraise(tp: type[BaseException], value: BaseException, tb: TracebackType | None = None) -> NoReturn:
    """Raise an exception with a traceback.

    Args:
        tp: its class, which is not used.
        value: the exception.
        tb: the traceback that it is to have.
    """
    del tp
    if value.__traceback__ is not tb:
        raise value.with_traceback(tb)
    raise value


class CeleryWarning(UserWarning):
    """The base class of all warnings."""


class AlwaysEagerIgnored(CeleryWarning):
    """``send_task`` sends a message although ``task_always_eager`` is set."""


class DuplicateNodenameWarning(CeleryWarning):
    """Several workers have one name."""


class DuplicateTaskNameWarning(CeleryWarning):
    """Several functions are registered under one task name."""


class FixupWarning(CeleryWarning):
    """Something is wrong with the support of a framework such as Django."""


class NotConfigured(CeleryWarning):
    """No module with the configuration was found."""


class SecurityWarning(CeleryWarning):
    """Something may be insecure."""


class Retry(errors.Retry):
    """The task is to run again. ``self.retry()`` raises this; a task may also raise it directly.

    Args:
        message: the reason.
        exc: the exception that caused the retry, or its text.
        when: the delay in seconds, or the time to run at.
        is_eager: the task runs in the calling process.
        sig: the signature of the next run.
        options: the further arguments of the native ``Retry``: ``args``, ``kwargs``, ``max_retries`` and ``options``.
    """

    message: str | None = None
    exc: Any = None
    when: Any = None
    is_eager = False
    sig: Any = None
    excs: str | None = None

    def __init__(
        self,
        message: str | None = None,
        exc: Any = None,
        when: float | timedelta | datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
        **options: Any,
    ) -> None:
        if isinstance(exc, str):
            cause, self.excs = None, exc
        else:
            cause, self.excs = get_pickleable_exception(exc), _repr(exc) if exc else None
        super().__init__(message, cause, when, **options)
        self.is_eager = is_eager
        self.sig = sig

    def humanize(self) -> str:
        """Say when the task runs again: ``"in 3s"``, ``"at 2026-01-31 12:00:00"``."""
        return f"in {self.when}s" if isinstance(self.when, Number) else f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        return f"Retry {self.humanize()}: {self.excs}" if self.excs else f"Retry {self.humanize()}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.exc, self.when)


RetryTaskError = Retry


class Reject(errors.Reject):
    """The task refuses its message.

    Args:
        reason: the reason, which goes to the dead-letter queue with the message.
        requeue: True returns the message to its queue.
    """

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        super().__init__(reason, requeue)
        self.reason = reason
        self.args = (reason, requeue)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class Terminated(Exception):
    """The process that ran a task was ended by somebody's request."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """Something will be deprecated."""


class CDeprecationWarning(DeprecationWarning):
    """Something is deprecated."""


class WorkerTerminate(SystemExit):
    """The worker is to end at once."""


SystemTerminate = WorkerTerminate


class WorkerShutdown(SystemExit):
    """The worker is to end when its tasks have ended."""


class BackendError(Exception):
    """A result store could not be read or written."""


class BackendGetMetaError(BackendError):
    """The record of a task could not be read.

    Args:
        args: the message.
        task_id: the task's id.
    """

    def __init__(self, *args: Any, task_id: str = "", **_: Any) -> None:
        super().__init__(*args)
        self.task_id = task_id

    def __repr__(self) -> str:
        return f"{super().__repr__()} task_id:{self.task_id}"


class BackendStoreError(BackendError):
    """The record of a task could not be written.

    Args:
        args: the message.
        state: the state that was to be stored.
        task_id: the task's id.
    """

    def __init__(self, *args: Any, state: str = "", task_id: str = "", **_: Any) -> None:
        super().__init__(*args)
        self.state = state
        self.task_id = task_id

    def __repr__(self) -> str:
        return f"{super().__repr__()} state:{self.state} task_id:{self.task_id}"
