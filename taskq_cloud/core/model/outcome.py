"""What running a task takes and what it comes to: the invocation, and its outcomes.

Both cross a process boundary, so they hold plain data only: a value is already encoded, an exception already described.
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
"""Length to which an exception's text and its traceback are each cut, where the store refuses the whole error."""

_repr = reprlib.Repr()  # also bears with a __repr__ that raises
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
        """Describe an exception as plain data. Arguments that JSON can't carry become their ``repr``."""
        kind = type(error)
        return cls(
            exc_type=kind.__qualname__,
            exc_message=tuple(_plain(argument) for argument in error.args),
            exc_module=kind.__module__,
            traceback="".join(traceback.format_exception(error)),
        )

    @property
    def summary(self) -> str:
        """The class's name and the arguments on one line, as logs show them: ``"ValueError: no such user"``."""
        return f"{self.exc_type}: {', '.join(map(str, self.exc_message))}"

    def shortened(self) -> Self:
        """The error cut to a size that every store accepts."""
        short_traceback = (self.traceback or "")[-SHORT_CHARACTERS:]
        return replace(self, exc_message=[self.summary[:SHORT_CHARACTERS]], traceback=short_traceback)


def _plain(value: Any) -> Any:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return _repr.repr(value)
    # Read back, so that nothing of the task's own classes is left; unless JSON would read a rich value into it.
    return _repr.repr(value) if '"__type__"' in text else json.loads(text)


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A task that has failed, for an errback that takes it: its message, and why."""

    message: Message
    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One run of one task's function. A pipeline yields it as a step; a pool or a handler answers with an outcome.

    Args:
        message: the call.
        queue: where it was received, without the broker's prefix; None when called directly.
        message_id: the broker's id of the message.
        receive_count: how often the message has been handed over.
        time_limit: the run is ended after this many seconds, its outcome ``TimedOut``; None: never.
        soft_time_limit: ``SoftTimeLimitExceeded`` is raised in the task after this many seconds; None: never.
        hostname: the name of the worker.
        fence: the number of the claim it runs under, 0 without one.
        failed: what the function is called with, before the message's arguments: it is an errback (``errbacks``).
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
    """Wait until a run could begin at once. A pipeline yields it before it takes what is only good for a while.

    The answer is whether it can: False where the runtime stops, and the message goes back to its queue.
    """


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The function returned.

    Args:
        payload: the value as JSON text.
        added: what it has added to its chord (``additions``).
        called: ids of the tasks that it has called.
    """

    payload: str
    added: Sequence[Signature] = ()
    called: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised. ``expected``: the task names the exception in ``throws``; ``called`` as of ``Succeeded``."""

    error: ErrorInfo
    expected: bool = False
    called: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Retrying:
    """The task is to run again, ``after_seconds`` from now, with new arguments where given."""

    error: ErrorInfo
    after_seconds: float
    args: Sequence[Any] | None = None
    kwargs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Replaced:
    """Something else is to run in the task's place: ``signature``."""

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
    """The hard time limit, in seconds, ended the run."""

    time_limit: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The process that ran the task died: ``reason`` says how (``"killed by SIGKILL"``, ``"exit code 3"``)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The worker is stopping and ended the run itself; the message goes back to the queue."""


Outcome: TypeAlias = Succeeded | Failed | Retrying | Replaced | Ignored | Rejected | TimedOut | Lost | Abandoned
