"""The invocation of a task, and the outcomes it can have.

Both cross process boundaries, so they hold plain data only: encoded values, and exceptions described by ``ErrorInfo``.
"""

from __future__ import annotations

import reprlib
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, TypeAlias

from taskq_cloud.core import serializers
from taskq_cloud.core.lazy.values import dataclass, field, replace
from taskq_cloud.core.model.message import Acknowledge, Embed, Message, Signature

SHORT_CHARACTERS: Final = 4000
"""An error that the store refuses as too large is cut to this length: its text and its traceback each."""

_repr = reprlib.Repr()  # also copes with a __repr__ that raises
_repr.maxstring = _repr.maxother = 1000


DESCRIPTION: Final = "_taskq_description"
"""The attribute of an exception that was made anew and is not of its own class: its description, which is passed on."""
MOST_BASES: Final = 10
"""The base classes of an exception that are stored at most."""
MOST_MEMBERS: Final = 20
"""The exceptions of an exception group that are stored at most, in each group."""
DEEPEST_GROUP: Final = 5
"""How many exception groups inside each other are stored."""


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An exception as plain data: its class, arguments and module as Celery's JSON results have them, and more.

    Args:
        exc_type: the class's qualified name.
        exc_message: its arguments, each a value that JSON with the rich types can carry.
        exc_module: the module that defines the class.
        traceback: the formatted traceback, or None.
        text: ``str(error)``; None if the arguments alone say it.
        notes: the notes that were added to the exception.
        bases: module and qualified name of the classes that its class derives from, the nearest first. ``Exception``
            is left out, and so are the bases of builtin classes.
        members: the exceptions of an exception group.
    """

    exc_type: str
    exc_message: Sequence[Any]
    exc_module: str
    traceback: str | None = None
    text: str | None = None
    notes: Sequence[str] = ()
    bases: Sequence[tuple[str, str]] = ()
    members: Sequence[ErrorInfo] = ()

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Describe an exception as plain data; arguments that JSON can't carry become their ``repr``."""
        return replace(cls._of(error), traceback=_formatted(error))

    @classmethod
    def _of(cls, error: BaseException, depth: int = 1) -> Self:
        attributes = vars(error)  # a class may compute its other attributes, and fail
        added = attributes.get("__notes__")
        notes = tuple(note for note in added if isinstance(note, str)) if isinstance(added, list | tuple) else ()
        described = attributes.get(DESCRIPTION)
        if isinstance(described, cls):
            return replace(described, notes=notes)
        kind, arguments = type(error), tuple(map(_plain, error.args))
        members = error.exceptions if isinstance(error, BaseExceptionGroup) and depth <= DEEPEST_GROUP else ()
        return cls(
            exc_type=kind.__qualname__,
            exc_message=arguments,
            exc_module=kind.__module__,
            text=_text(error, arguments),
            notes=notes,
            bases=_bases(kind),
            members=tuple(cls._of(member, depth + 1) for member in members[:MOST_MEMBERS]),
        )

    @property
    def message(self) -> str:
        """The text of the exception, ``str(error)``."""
        return text_of_arguments(self.exc_message) if self.text is None else self.text

    @property
    def summary(self) -> str:
        """The class's name and the text, as logs show them: ``"ValueError: no such user"``."""
        return f"{self.exc_type}: {self.message}"

    def shortened(self) -> Self:
        """Cut the error to a size that every store accepts."""
        return replace(
            self,
            exc_message=[self.summary[:SHORT_CHARACTERS]],
            traceback=(self.traceback or "")[-SHORT_CHARACTERS:],
            text=None if self.text is None else self.text[:SHORT_CHARACTERS],
            notes=[note[:SHORT_CHARACTERS] for note in self.notes[:1]],
            members=(),
        )


def text_of_arguments(arguments: Sequence[Any]) -> str:
    """The text of an exception whose class leaves it to the arguments, as most classes do."""
    return str(arguments[0]) if len(arguments) == 1 else str(tuple(arguments)) if arguments else ""


def _text(error: BaseException, arguments: Sequence[Any]) -> str | None:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a class may do anything in its __str__
        return None
    # The text of a class with a __str__ of its own is stored even if the arguments say the same: that method may
    # need more than the arguments.
    said = type(error).__str__ is BaseException.__str__ and text == text_of_arguments(arguments)
    return None if said else text


def _formatted(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - a class may do anything when one of its attributes is read
        return "".join([*traceback.format_tb(error.__traceback__), type(error).__qualname__, "\n"])


def _bases(kind: type[BaseException]) -> Sequence[tuple[str, str]]:
    if kind.__module__ in ("builtins", "taskq_cloud.errors"):  # every reader has these
        return ()
    derived = (each for each in kind.__mro__[1:] if issubclass(each, Exception) and each is not Exception)
    return tuple((each.__module__, each.__qualname__) for each in derived)[:MOST_BASES]


def _plain(value: Any) -> Any:
    try:
        # Reading the JSON back leaves nothing of the task's own classes.
        return serializers.loads(serializers.dumps(value))
    except Exception:  # noqa: BLE001 - a value may have a __json__ method that raises anything
        return _repr.repr(value)


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A failed task as its errback gets it: the message and the error; in place also the exception itself."""

    message: Message
    error: ErrorInfo
    exception: BaseException | None = None


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
        acknowledge_first: the settlement that the runtime carries out just before it runs the function; None: the
            message is settled after the run. See ``core.execution.early_acks``.
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
    acknowledge_first: Acknowledge | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """A wait until a run can begin at once. A pipeline yields it before it decides anything that is soon out of date.

    The answer is ``Admitted``; or None if the runtime is stopping, and the message goes back to its queue.
    """


ADMISSION: Final = Admission()


@dataclass(frozen=True, slots=True)
class Admitted:
    """The answer to ``Admission``: the run can begin. ``pid`` is the id of the process that will run the function."""

    pid: int


@dataclass(frozen=True, slots=True)
class RunTimes:
    """When a function began, in seconds since the epoch, and how long it ran; measured in the process that ran it."""

    started_at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Timed:
    """An outcome whose run was timed.

    Args:
        times: the times of the run; None if the process that ran the function could not tell.
        acknowledged: whether the message was acknowledged before the run, so that it can't be given back.
        embed: what follows the task, if the run has changed it; None: what its message says.
    """

    times: RunTimes | None = field(default=None, compare=False, kw_only=True)
    acknowledged: bool = field(default=False, compare=False, kw_only=True)
    embed: Embed | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Succeeded(Timed):
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
class Failed(Timed):
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
class Retrying(Timed):
    """The task asks to run again ``after_seconds`` from now, with new arguments and options of the call if given."""

    error: ErrorInfo
    after_seconds: float
    args: Sequence[Any] | None = None
    kwargs: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replaced(Timed):
    """The task asks for ``signature`` to run in its place."""

    signature: Signature


@dataclass(frozen=True, slots=True)
class Ignored(Timed):
    """The task raised ``Ignore``."""


@dataclass(frozen=True, slots=True)
class Rejected(Timed):
    """The task raised ``Reject``."""

    reason: str
    requeue: bool


@dataclass(frozen=True, slots=True)
class TimedOut(Timed):
    """The hard time limit, in seconds, has ended the run."""

    time_limit: float


@dataclass(frozen=True, slots=True)
class Lost(Timed):
    """The process that ran the task died: ``reason`` says how (``"killed by SIGKILL"``, ``"exit code 3"``)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Abandoned(Timed):
    """The run was ended, or didn't begin; the message goes back to its queue.

    Args:
        reason: why the runtime has ended it, or not begun.
        after_seconds: how long the message is held back.
        uncertain: whether the broker may have forgotten the message: its acknowledgement before the run got no answer.
    """

    reason: str = "the worker stops, or has lost its lease"
    after_seconds: float = field(default=0.0, kw_only=True)
    uncertain: bool = field(default=False, kw_only=True)


Outcome: TypeAlias = Succeeded | Failed | Retrying | Replaced | Ignored | Rejected | TimedOut | Lost | Abandoned
