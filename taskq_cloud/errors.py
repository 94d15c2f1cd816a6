"""Every error this package raises, in one tree.

::

    TaskQError
    ├── ImproperlyConfigured            a setting or a task option is wrong
    │   ├── MissingExtra                an SDK is not installed
    │   ├── TimeZonesMissing            this machine has no database of time zones
    │   └── ScheduleError               a schedule, or an entry that has one (also a ValueError, as in Celery)
    │       └── ParseException          a crontab's field can't be read
    ├── OperationalError                a broker, a store or a scheduler could not be used
    │   ├── Unreachable                 no answer after the retries
    │   ├── AccessDenied                the credentials lack a permission
    │   ├── QueueNotFound               (also a KeyError, as in Celery)
    │   ├── StoreNotFound               a result store's bucket or container does not exist
    │   │   ├── TableNotFound           or its table
    │   │   └── ScheduleGroupNotFound   or the group of a store of schedules
    │   ├── QuotaExceeded               an account's limit on the number of something is reached
    │   ├── BodyPending                 who has claimed a chord's body has not sent it yet (within the pipeline)
    │   ├── SendError                   some messages of a batch were not accepted
    │   ├── PayloadTooLarge             a message or a result over the provider's limit
    │   └── DelayTooLong                a message is due later than the broker can hold it back
    ├── ScheduleConflict                a schedule is another's, or was changed by somebody else meanwhile
    ├── EncodeError                     arguments or a result can't be serialised
    ├── DecodeError                     a message can't be read; it is dead-lettered
    │   ├── ContentDisallowed           its content type is not in accept_content
    │   ├── SecurityError               it isn't signed as it must be
    │   ├── ClaimError                  what it claims of an object store is gone, altered or not to be had
    │   └── InvalidTaskError            its parts make no task
    ├── TaskError                       what a task ends in
    │   ├── NotRegistered               (also a KeyError, as in Celery)
    │   ├── AlreadyRegistered
    │   ├── MaxRetriesExceededError
    │   ├── ChordError                  a member of a chord's header did not succeed
    │   ├── TaskRevokedError
    │   ├── IncompleteStream            a task of a graph of results has not ended
    │   ├── TimeoutError                AsyncResult.get() waited long enough
    │   ├── TimeLimitExceeded           the hard time limit ended the task
    │   ├── WorkerLostError             the process that ran the task died
    │   ├── RateKeyError                its arguments make no rate_key
    │   └── RemoteError                 a task's exception whose class is not importable here
    └── TaskPredicate                   raised by a task to say what becomes of it
        ├── Retry
        ├── Ignore
        │   └── Replaced                self.replace(), which is an Ignore in Celery
        └── Reject

    SoftTimeLimitExceeded               an Exception of its own, as in Celery: a task may catch it

A message says what happened, to which queue, task or key, and the way out. Names that Celery has mean what they
mean there.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


class TaskQError(Exception):
    """The root of this package's errors."""


class ImproperlyConfigured(TaskQError):
    """A setting or a task option is wrong."""


class MissingExtra(ImproperlyConfigured, ImportError):
    """An SDK that a URL asks for is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed: pip install 'taskq-cloud[{extra}]'")


class TimeZonesMissing(ImproperlyConfigured):
    """This machine has no database of time zones: what is wrong is here, and not with a schedule."""

    def __init__(self, name: object) -> None:
        super().__init__(f"time zone {name!r}: this machine has no time zone database: pip install tzdata")


class ScheduleError(ImproperlyConfigured, ValueError):
    """A schedule is impossible, or what is said of a periodic task can't be honoured."""


class ParseException(ScheduleError):
    """A crontab's field can't be read."""


class OperationalError(TaskQError):
    """A broker or a result store could not be used."""


class Unreachable(OperationalError):
    """An endpoint gave no answer after the retries."""


class BodyPending(OperationalError):
    """Another member of a chord has claimed its body and not yet sent it: this one's message is given back."""


class AccessDenied(OperationalError):
    """The credentials are missing, wrong, or lack a permission."""


class QueueNotFound(OperationalError, KeyError):
    """A queue does not exist; the runtime creates none."""

    __str__ = OperationalError.__str__


class StoreNotFound(OperationalError):
    """What a result store keeps its records in does not exist: a bucket, a container. The runtime creates none."""


class TableNotFound(StoreNotFound):
    """A result store's table does not exist."""


class ScheduleGroupNotFound(StoreNotFound):
    """The group that schedules are kept in does not exist; the runtime creates none."""


class ScheduleConflict(TaskQError):
    """A schedule belongs to another application or tool, or was changed by somebody else meanwhile."""


class QuotaExceeded(OperationalError):
    """The account has as many of something as its provider lets it have."""


class SendError(OperationalError):
    """Some messages of a batch were not accepted.

    Attributes:
        failures: position in the batch -> the error of that message; the other messages were accepted.
        results: the results of the accepted ones, in order, None where a message was not accepted.
    """

    def __init__(
        self, message: str, failures: Mapping[int, Exception] | None = None, results: Sequence[Any] = ()
    ) -> None:
        super().__init__(message)
        self.failures: dict[int, Exception] = dict(failures or {})
        self.results: list[Any] = list(results)


class PayloadTooLarge(OperationalError):
    """A message or a result is over the provider's limit, which was checked before sending."""


class DelayTooLong(OperationalError):
    """A message is due later than its broker can hold it back, which was checked before sending."""


class EncodeError(TaskQError, TypeError):
    """Arguments or a result can't be serialised."""


class DecodeError(TaskQError, ValueError):
    """A message can't be read. It goes to the dead-letter queue with this error as the reason.

    Attributes:
        task_id: the task's id, as far as the message could be read.
    """

    def __init__(self, message: str, task_id: str | None = None) -> None:
        super().__init__(message)
        self.task_id = task_id


class ContentDisallowed(DecodeError):
    """A message's content type is not in ``accept_content``."""


class SecurityError(DecodeError):
    """A message isn't signed, was altered, or was signed by someone unknown, or too long ago."""


class ClaimError(DecodeError):
    """A message or a result is in an object store, and what is there is gone, altered, or not to be followed."""


class InvalidTaskError(DecodeError):
    """A message was read, but its parts make no task."""


class TaskError(TaskQError):
    """What a task ends in."""


class NotRegistered(TaskError, KeyError):
    """No task of that name is registered with the application."""

    __str__ = TaskError.__str__


class AlreadyRegistered(TaskError):
    """Two different functions were given one task name."""


class MaxRetriesExceededError(TaskError):
    """``Task.retry`` was called when the task had no retry left."""


class ChordError(TaskError):
    """A member of a chord's header did not succeed, so its body did not run."""


class TaskRevokedError(TaskError):
    """The task was revoked, or it expired before it ran."""


class TimeoutError(TaskError, builtins.TimeoutError):  # noqa: A001 - Celery's name; it is the builtin as well
    """``AsyncResult.get`` waited as long as it was told to."""


class IncompleteStream(TaskError):
    """A task of a graph of results has not ended, so what follows it is not known."""


class TimeLimitExceeded(TaskError):
    """The hard time limit ended the task."""


class WorkerLostError(TaskError):
    """The process that ran the task died before it could answer."""


class RateKeyError(TaskError):
    """A task's arguments make no ``rate_key``: it fails, as nothing says under which limit it would be."""


class RemoteError(TaskError):
    """A task's exception whose own class can't be found in this process.

    Attributes:
        exc_type: the qualified name of the class.
        exc_module: the module it was defined in.
    """

    def __init__(self, *args: Any, exc_type: str = "Exception", exc_module: str = "builtins") -> None:
        super().__init__(*args)
        self.exc_type = exc_type
        self.exc_module = exc_module

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.exc_type}: {text}" if text else self.exc_type


class TaskPredicate(TaskQError):
    """Raised by a task to say what becomes of it."""


class Retry(TaskPredicate):
    """Run the task again. ``self.retry()`` raises it; a task may also raise it itself.

    Args:
        message: why, for the log.
        exc: the exception that caused it; stored as the result while the state is RETRY.
        when: seconds to wait, or the time (aware) to run at; None means the task's ``default_retry_delay``.
        args: replaces the positional arguments where given.
        kwargs: replaces the keyword arguments where given.
        max_retries: replaces the task's ``max_retries`` where given.
    """

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | None = None,
        when: float | datetime | None = None,
        *,
        args: tuple[Any, ...] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        max_retries: int | None = None,
    ) -> None:
        super().__init__(message or (repr(exc) if exc else "retry"))
        self.message = message
        self.exc = exc
        self.when = when
        self.retry_args = args
        self.retry_kwargs = kwargs
        self.max_retries = max_retries


class Ignore(TaskPredicate):
    """Store nothing, send nothing that follows; the message is acknowledged."""


class Replaced(Ignore):
    """Run something else instead of the task: what ``self.replace()`` raises.

    Args:
        signature: what, as plain JSON.
    """

    def __init__(self, signature: Mapping[str, Any]) -> None:
        super().__init__("replaced by a new task")
        self.signature = signature


class Reject(TaskPredicate):
    """Refuse the message.

    Args:
        reason: written to the dead-letter queue with the message.
        requeue: True gives the message back to the queue; False dead-letters it.
    """

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        super().__init__(str(reason) if reason is not None else "rejected by the task")
        self.reason = str(reason) if reason is not None else "rejected by the task"
        self.requeue = requeue


class SoftTimeLimitExceeded(Exception):
    """The soft time limit has passed: raised inside the task, which may catch it and clean up."""
