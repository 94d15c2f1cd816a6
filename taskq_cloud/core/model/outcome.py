"""The invocation of a task, and the outcomes it can have.

Both cross process boundaries, so they hold plain data only: encoded values, and exceptions described by ``ErrorInfo``.
"""

from __future__ import annotations

import json
import reprlib
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self, TypeAlias

from taskq_cloud.core.model.message import Message, Signature

SHORT_CHARACTERS: Final = 4000
"""An error that the store refuses as too large is cut to this length: its text and its traceback each."""

_repr = reprlib.Repr()  # also copes with a __repr__ that raises
_repr.maxstring = _repr.maxother = 1000


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An exception as Celery's JSON results describe it.

    Args:
        exc_type: the class's qualified name.
        exc_message: its arguments, each a JSON value.
        exc_module: the module that defines the class.
        traceback: the formatted traceback, or None.
    """

    exc_type: str
    exc_message: Sequence[Any]
    exc_module: str
    traceback: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Describe an exception as plain data; arguments that JSON can't carry become their ``repr``."""
        kind = type(error)
        return cls(
            exc_type=kind.__qualname__,
            exc_message=tuple(_plain(argument) for argument in error.args),
            exc_module=kind.__module__,
            traceback="".join(traceback.format_exception(error)),
        )

    @property
    def summary(self) -> str:
        """The class's name and the arguments, as logs show them: ``"ValueError: no such user"``."""
        return f"{self.exc_type}: {', '.join(map(str, self.exc_message))}"

    def shortened(self) -> Self:
        """Cut the error to a size that every store accepts."""
        short_traceback = (self.traceback or "")[-SHORT_CHARACTERS:]
        return replace(self, exc_message=[self.summary[:SHORT_CHARACTERS]], traceback=short_traceback)


def _plain(value: Any) -> Any:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return _repr.repr(value)
    # Reading the JSON back leaves nothing of the task's own classes, unless the text would be read as a rich value.
    return _repr.repr(value) if '"__type__"' in text else json.loads(text)


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A failed task as its errback gets it: the message and the error."""

    message: Message
    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One run of one task's function. A pipeline yields it as a step; a pool or a handler answers with an outcome.

    Args:
        message: the call.
        queue: the queue that the message was received from, without the broker's prefix; None for a direct call.
        message_id: the broker's id of the message.
        receive_count: how often the message has been handed over.
        time_limit: seconds after which the run is ended, with the outcome ``TimedOut``; None: never.
        soft_time_limit: seconds after which ``SoftTimeLimitExceeded`` is raised in the task; None: never.
        hostname: the name of the worker.
        fence: the fencing number of the lock that the run holds; 0 without a lock.
        failed: the failed task whose errback this is; the function gets it before the message's arguments.
    """

    message: Message
    queue: str | None = None
    message_id: str | None = None
    receive_count: int = 1
    time_limit: float | None = None
    soft_time_limit: float | None = None
    hostname: str | None = None
    fence: int = 0
    failed: FailedCall | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """A wait until a run could begin at once. A pipeline yields it before it takes a slot that is soon out of date.

    The answer says whether a run can begin: False if the runtime is stopping, and the message goes back to its queue.
    """


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The function returned.

    Args:
        payload: the value as JSON text.
        added: signatures that the task has added to its chord.
        called: ids of the tasks that the task has called.
    """

    payload: str
    added: Sequence[Signature] = ()
    called: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised an exception.

    Args:
        error: the exception.
        expected: whether the task names the exception in ``throws``.
        called: ids of the tasks that the task has called.
    """

    error: ErrorInfo
    expected: bool = False
    called: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Retrying:
    """The task asks to run again ``after_seconds`` from now, with new arguments if given."""

    error: ErrorInfo
    after_seconds: float
    args: Sequence[Any] | None = None
    kwargs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Replaced:
    """The task asks for ``signature`` to run in its place."""

    signature: Signature


@dataclass(frozen=True, slots=True)
class Ignored:
    """The task raised ``Ignore``."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The task raised ``Reject``."""

    reason: str
    requeue: bool


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The hard time limit, in seconds, has ended the run."""

    time_limit: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The process that ran the task died: ``reason`` says how (``"killed by SIGKILL"``, ``"exit code 3"``)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The stopping worker has ended the run; the message goes back to its queue."""


Outcome: TypeAlias = Succeeded | Failed | Retrying | Replaced | Ignored | Rejected | TimedOut | Lost | Abandoned
