"""All errors that this package raises, in one tree.

    TaskQError
    ├── ImproperlyConfigured            a setting or a task option is wrong
    │   ├── MissingExtra                an SDK is not installed
    │   ├── TimeZonesMissing            this machine has no time zone database
    │   └── ScheduleError               a schedule or a periodic task is declared wrongly (also a ValueError)
    │       └── ParseException          a field of a crontab can't be read
    ├── OperationalError                a broker, a store or a scheduler could not be used
    │   ├── Unreachable                 an endpoint gave no answer, even after retries
    │   ├── AccessDenied                the credentials are missing or wrong, or lack a permission
    │   ├── QueueNotFound               a queue does not exist (also a TaskError and a KeyError)
    │   ├── StoreNotFound               the bucket or container of a result store does not exist
    │   │   ├── TableNotFound           the table of a result store does not exist
    │   │   └── ScheduleGroupNotFound   the group of a schedule store does not exist
    │   ├── QuotaExceeded               an account's quota is used up
    │   ├── BodyPending                 another process is about to send a chord's body (internal)
    │   ├── SendError                   some messages of a batch were not accepted
    │   ├── PayloadTooLarge             a message or a result exceeds the provider's size limit
    │   └── DelayTooLong                a message is due later than the broker can delay it
    ├── ComponentError                  a component of a worker could not start
    ├── ScheduleConflict                a schedule belongs to another application, or was changed at the same time
    ├── OptionError                     an option of a call is unknown or impossible (also a TypeError and a ValueError)
    ├── EncodeError                     arguments or a result can't be serialised (also a TypeError)
    ├── DecodeError                     a message can't be read; it is dead-lettered (also a ValueError)
    │   ├── ContentDisallowed           a message's content type is not in accept_content
    │   ├── SecurityError               a message's signature is missing, wrong or too old
    │   ├── ClaimError                  a payload in an object store is missing or altered, or may not be read
    │   └── InvalidTaskError            the parts of a message don't describe a task (also a TaskError)
    ├── TaskError                       a task can't be called or run, or its result can't be given
    │   ├── NotRegistered               no task of this name is registered (also a KeyError)
    │   ├── ArgumentsMismatch           a task does not take the arguments of its message (also a TypeError)
    │   ├── ArgumentsInvalid            an argument is not of its parameter's type (also a TypeError and a ValueError)
    │   ├── AlreadyRegistered           two functions have the same task name
    │   ├── MaxRetriesExceededError     a task has no retries left
    │   ├── ChordError                  a member of a chord's header did not succeed
    │   ├── TaskRevokedError            a task was revoked, or expired before it ran
    │   ├── IncompleteStream            a task of a graph of results has not ended
    │   ├── TimeoutError                a result was not there in time (also the builtin TimeoutError)
    │   ├── TimeLimitExceeded           a task was stopped at its hard time limit
    │   ├── WorkerLostError             the process that ran a task died
    │   ├── RateKeyError                the rate_key of a task can't be computed from its arguments
    │   └── RemoteError                 a task's exception, if its class can't be imported here
    └── TaskPredicate                   raised by a task to decide what happens to it
        ├── Retry                       run the task again
        ├── Ignore                      end without a result
        │   └── Replaced                run another task instead
        └── Reject                      refuse the message

    SoftTimeLimitExceeded               a task has reached its soft time limit (an Exception, not a TaskQError)

An error's message says what happened, names the queue, task or key, and says what to do. Names, builtin base classes
and meanings are Celery's wherever Celery has an error of the same name.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

# fmt: off
__all__ = [
    "AccessDenied", "AlreadyRegistered", "ArgumentsInvalid", "ArgumentsMismatch", "BodyPending", "ChordError",
    "ClaimError", "ComponentError", "ContentDisallowed", "DecodeError", "DelayTooLong", "EncodeError", "Ignore",
    "ImproperlyConfigured", "IncompleteStream", "InvalidTaskError", "MaxRetriesExceededError", "MissingExtra",
    "NotRegistered", "OperationalError", "OptionError", "ParseException", "PayloadTooLarge", "QueueNotFound",
    "QuotaExceeded", "RateKeyError", "Reject", "RemoteError", "Replaced", "Retry", "ScheduleConflict", "ScheduleError",
    "ScheduleGroupNotFound", "SecurityError", "SendError", "SoftTimeLimitExceeded", "StoreNotFound",
    "TableNotFound", "TaskError", "TaskPredicate", "TaskQError", "TaskRevokedError", "TimeLimitExceeded",
    "TimeZonesMissing", "TimeoutError", "Unreachable", "WorkerLostError",
]
# fmt: on


class TaskQError(Exception):
    """The base class of all errors of this package, except ``SoftTimeLimitExceeded``."""

    __str__ = Exception.__str__  # KeyError, a base class of some of these errors, would quote the text


class ImproperlyConfigured(TaskQError):
    """A setting or a task option is wrong."""


class MissingExtra(ImproperlyConfigured, ImportError):
    """An SDK, or another optional package, is not installed; the message names the extra to install."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed: pip install 'taskq-cloud[{extra}]'")


class TimeZonesMissing(ImproperlyConfigured):
    """This machine has no time zone database, so no time zone can be looked up; the schedule itself may be right."""

    def __init__(self, name: object) -> None:
        cause = "this machine has no time zone database"
        super().__init__(f"time zone {name!r} can't be looked up: {cause}; pip install tzdata")


class ScheduleError(ImproperlyConfigured, ValueError):
    """A schedule is impossible, or an option of a periodic task can't be honoured."""


class ParseException(ScheduleError):
    """A field of a crontab can't be read."""


class ComponentError(TaskQError):
    """A component that an application adds to its workers could not start, so the worker ends."""


class OperationalError(TaskQError):
    """A broker, a store or a scheduler could not be used."""


class Unreachable(OperationalError):
    """An endpoint gave no answer, even after retries."""


class BodyPending(OperationalError):
    """Another member of a chord is about to send the chord's body, so this member's message returns to its queue."""


class AccessDenied(OperationalError):
    """The credentials are missing, wrong, or lack a permission."""


class StoreNotFound(OperationalError):
    """The bucket or container of a result store does not exist; it is never created implicitly."""


class TableNotFound(StoreNotFound):
    """The table of a result store does not exist; it is never created implicitly."""


class ScheduleGroupNotFound(StoreNotFound):
    """The group of a schedule store does not exist; it is never created implicitly."""


class ScheduleConflict(TaskQError):
    """A schedule belongs to another application or tool, or another process changed it at the same time."""


class QuotaExceeded(OperationalError):
    """A quota of the account, such as its number of schedules, is used up."""


class SendError(OperationalError):
    """Some messages of a batch were not accepted.

    Attributes:
        failures: position of a message in the batch -> its error; all other messages were accepted.
        results: one result per message, in the order of the batch; None for messages that were not accepted.
    """

    def __init__(
        self, message: str, failures: Mapping[int, Exception] | None = None, results: Sequence[Any] = ()
    ) -> None:
        super().__init__(message)
        self.failures: dict[int, Exception] = dict(failures or {})
        self.results: list[Any] = list(results)


class PayloadTooLarge(OperationalError):
    """A message or a result exceeds the provider's size limit; this is checked before it is sent."""


class DelayTooLong(OperationalError):
    """A message is due later than its broker can delay it; this is checked before it is sent."""


class OptionError(TaskQError, TypeError, ValueError):
    """An option of a call, a signature or a retry is unknown, or has a value that no worker can obey."""


class EncodeError(TaskQError, TypeError):
    """Arguments or a result can't be serialised."""


class DecodeError(TaskQError, ValueError):
    """A message can't be read, and is dead-lettered for this reason; ``task_id`` is None if it can't be read either."""

    def __init__(self, message: str = "", task_id: str | None = None) -> None:
        super().__init__(*([message] if message else []))
        self.task_id = task_id


class ContentDisallowed(DecodeError):
    """A message's content type is not in ``accept_content``."""


class SecurityError(DecodeError):
    """A message's signature is missing, doesn't match, comes from an unknown signer, or is too old."""


class ClaimError(DecodeError):
    """A payload in an object store is missing, was altered, or is in a bucket that may not be read."""


class TaskError(TaskQError):
    """A task can't be called or run, or its result can't be given: the base class of such errors."""


class QueueNotFound(OperationalError, TaskError, KeyError):
    """A queue does not exist; queues are never created implicitly."""


class InvalidTaskError(DecodeError, TaskError):
    """A message could be decoded, but its parts don't describe a task."""


class NotRegistered(TaskError, KeyError):
    """No task of this name is registered with the application."""

    def __str__(self) -> str:
        return repr(self.args[0]) if self._is_name else super().__str__()

    def __repr__(self) -> str:
        if not self._is_name:
            return super().__repr__()
        return f"Task of kind {self.args[0]!r} never registered, please make sure it's imported."  # Celery's words

    @property
    def _is_name(self) -> bool:
        """Whether the error has the task's name alone, as in Celery, and not a sentence, which says more."""
        return len(self.args) == 1 and isinstance(self.args[0], str) and " " not in self.args[0] != ""


class ArgumentsMismatch(TaskError, TypeError):
    """A task's function does not take the arguments of its message, so it has not begun."""


class ArgumentsInvalid(TaskError, TypeError, ValueError):
    """An argument of a task with ``typed=True`` doesn't have the type of its parameter; the text names both.

    Attributes:
        received_by: the id of the task that has received the argument; None: the task was to be called with it.
    """

    received_by: str | None = None


class AlreadyRegistered(TaskError):
    """Two different functions have the same task name."""


class MaxRetriesExceededError(TaskError):
    """``Task.retry`` was called, but the task, called with ``task_args`` and ``task_kwargs``, has no retries left."""

    def __init__(self, *args: object, task_args: Sequence[Any] | None = None, task_kwargs: Any = None) -> None:
        super().__init__(*args)
        self.task_args: Sequence[Any] = [] if task_args is None else task_args
        self.task_kwargs: Mapping[str, Any] = task_kwargs or {}


class ChordError(TaskError):
    """A member of a chord's header did not succeed, so the chord's body did not run."""


class TaskRevokedError(TaskError):
    """The task was revoked, or it expired before it ran."""


class TimeoutError(TaskError, builtins.TimeoutError):  # noqa: A001 - Celery's name; this is a builtin TimeoutError too
    """A result was not there within the timeout of ``AsyncResult.get``; the task may still end."""


class IncompleteStream(TaskError):
    """A task of a graph of results has not ended, so the tasks after it are not known yet."""


class TimeLimitExceeded(TaskError):
    """A task was stopped because it reached its hard time limit."""


class WorkerLostError(TaskError):
    """The process that ran a task died before the task ended."""


class RateKeyError(TaskError):
    """The ``rate_key`` of a task can't be computed from its arguments, so the task fails: its rate limit is unknown."""


class RemoteError(TaskError):
    """Stands for a task's exception whose class, ``exc_type`` in ``exc_module``, can't be imported in this process."""

    def __init__(self, *args: Any, exc_type: str = "Exception", exc_module: str = "builtins") -> None:
        super().__init__(*args)
        self.exc_type = exc_type
        self.exc_module = exc_module

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.exc_type}: {text}" if text else self.exc_type


class TaskPredicate(TaskQError):
    """Raised by a task to decide what happens to it: run again, ignore its result, or refuse its message."""


def shown(error: object) -> str:
    """The ``repr`` of an exception, or its class's name where that fails: a class may do anything in it."""
    try:
        return repr(error)
    except Exception:  # noqa: BLE001
        return f"{type(error).__name__}()"


class Retry(TaskPredicate):
    """Run the task again. ``self.retry()`` raises this; a task may also raise it directly.

    Args:
        message: the reason, for the log.
        exc: the exception that caused the retry, or its class; it is stored as the result while the state is RETRY.
        when: the delay in seconds or as a timedelta, or the time to run at; None means ``default_retry_delay``.
        args: positional arguments of the next run; None keeps the present ones.
        kwargs: keyword arguments of the next run; None keeps the present ones.
        max_retries: the most retries; None means the task's ``max_retries``.
        options: options of the call for the next run, such as ``queue``; the others stay.
    """

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | type[BaseException] | None = None,
        when: float | timedelta | datetime | None = None,
        *,
        args: tuple[Any, ...] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        max_retries: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message or ("retry" if exc is None else shown(exc)))
        self.message = message
        self.exc = exc
        self.when = when
        self.retry_args = args
        self.retry_kwargs = kwargs
        self.max_retries = max_retries
        self.options = dict(options or {})


class Ignore(TaskPredicate):
    """Acknowledge the message without storing a result and without sending the tasks that follow."""


class Replaced(Ignore):
    """Run the task or workflow of a signature, in plain JSON, instead of this task; ``self.replace()`` raises this."""

    def __init__(self, signature: Mapping[str, Any]) -> None:
        super().__init__("replaced by a new task")
        self.signature = signature


class Reject(TaskPredicate):
    """Refuse the message of this task.

    Args:
        reason: the reason, which goes to the dead-letter queue with the message.
        requeue: True returns the message to its queue; False moves it to the dead-letter queue.
    """

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        self.stated_reason = str(reason) if reason is not None else "rejected by the task"
        super().__init__(self.stated_reason)
        self.reason: Any = self.stated_reason
        self.requeue = requeue


class SoftTimeLimitExceeded(Exception):
    """A task has reached its soft time limit; raised inside the task, which may catch it and clean up."""
