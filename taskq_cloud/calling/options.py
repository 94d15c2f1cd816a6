"""The options of a call (``apply_async``), and the message they make."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from taskq_cloud.core.execution.run_context import current_invocation
from taskq_cloud.core.lazy.values import dataclass, field, fields, replace
from taskq_cloud.core.messages.sending import TRANSPORT_OPTIONS, Transport
from taskq_cloud.core.model import option_values
from taskq_cloud.core.model.ids import new_call, new_id
from taskq_cloud.core.model.message import CALL, NO_EMBED, Embed, Message, Signature
from taskq_cloud.core.model.option_keywords import DeliveryKeywords
from taskq_cloud.core.model.option_values import NAME, check, time_from_option
from taskq_cloud.core.model.options import TaskOptions, first_given
from taskq_cloud.core.serializers import PlainForm
from taskq_cloud.errors import OptionError

if TYPE_CHECKING:
    from uuid import UUID

LINKS: Final = ("link", "link_error")

Linked: TypeAlias = "PlainForm | Signature | Iterable[PlainForm | Signature]"
"""One signature, or several, as a workflow or as plain JSON."""


class CallKeywords(DeliveryKeywords, total=False):
    """The options of ``apply_async`` as keyword arguments; ``CallOptions`` explains each of them."""

    task_id: str | UUID | None
    MessageDeduplicationId: str | None
    link: Linked | None
    link_error: Linked | None
    add_to_parent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """The options of a call, with Celery's names and meanings. None leaves an option to the task, then to the settings.

    These are the values after ``call_options`` has checked them.

    Args:
        task_id: the task's id; None: a new one.
        countdown: seconds from now until the task is due; wins over ``eta``.
        eta: the time when the task is due; a naive time is UTC.
        expires: the end of the time in which the task may begin: seconds from now, or a time.
        queue: the queue that the message goes to.
        ignore_result: whether no result is stored.
        time_limit: the hard time limit, in seconds.
        soft_time_limit: the soft time limit, in seconds.
        serializer: the serializer of the arguments.
        compression: the compression of the arguments.
        headers: the caller's own message headers.
        priority: how urgent the task is, on a queue with levels of priority; a higher number is more urgent.
        shadow: another name for the task, in logs and monitors.
        argsrepr: a text shown instead of the positional arguments' ``repr``, which may hold secrets.
        kwargsrepr: a text shown instead of the keyword arguments' ``repr``.
        MessageGroupId: the message group of a FIFO queue; the tenant on SQS's standard queues (fair queues).
        MessageDeduplicationId: the deduplication id on a FIFO queue; None: it is made from the task's id.
        message_attributes: the broker's message attributes, as strings.
        trace_header: the value of ``AWSTraceHeader``.
        link: a signature, or several, to run with the task's value.
        link_error: a signature, or several, to run with the task's id if it fails.
        add_to_parent: within a task, whether the called task is among the children of that task's record.
    """

    task_id: str | None = None
    countdown: float | None = None
    eta: datetime | None = None
    expires: float | datetime | None = None
    queue: str | None = None
    ignore_result: bool | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    serializer: str | None = None
    compression: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    priority: int | None = None
    shadow: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    MessageGroupId: str | None = None
    MessageDeduplicationId: str | None = None
    message_attributes: Mapping[str, str] = field(default_factory=dict)
    trace_header: str | None = None
    link: Sequence[Signature] | None = None
    link_error: Sequence[Signature] | None = None
    add_to_parent: bool = True


_NAMES: Final = frozenset(option.name for option in fields(CallOptions))


def call_options(task: str, given: Mapping[str, Any]) -> CallOptions:
    """Check the options of a call.

    Raises:
        OptionError: an option is unknown, or no worker can obey its value; the error names the task and the option.
        InvalidTaskError: linked JSON is not a signature.
    """
    if not given:
        return _NO_OPTIONS
    checked = checked_options(task, given)
    for name in LINKS:
        if checked.get(name) is not None:
            checked[name] = _signatures(task, name, checked[name])
    return CallOptions(**{name: value for name, value in checked.items() if value is not None})


def checked_options(task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a call, and return them in the form in which they are kept, None values and all.

    Raises:
        OptionError: an option is unknown, or no worker can obey its value; names the task and the option.
    """
    unknown = sorted(given.keys() - _NAMES)
    if unknown:
        raise OptionError(f"task {task}: unknown option {unknown[0]!r} of the call; known: {', '.join(sorted(_NAMES))}")
    try:
        checked = option_values.check_all(option_values.CALL, given)
    except OptionError as error:
        raise OptionError(f"task {task}: {error}") from None
    hard, soft = checked.get("time_limit"), checked.get("soft_time_limit")
    if hard is not None and soft is not None and soft > hard:
        raise OptionError(
            f"task {task}: soft_time_limit ({soft} s) is over time_limit ({hard} s); a soft limit must come first"
        )
    return checked


_NO_OPTIONS: Final = CallOptions()


def with_defaults(call: CallOptions, defaults: Mapping[str, Any]) -> CallOptions:
    """Give a call the options of its task's route that it doesn't have itself."""
    missing = {name: value for name, value in defaults.items() if getattr(call, name) is None}
    return replace(call, **missing) if missing else call


def _signatures(task: str, name: str, given: Any) -> Sequence[Signature] | None:
    """Write linked signatures as plain JSON."""
    from taskq_cloud.core.workflows import signatures  # few calls have links

    linked = [given] if isinstance(given, PlainForm | Mapping) or not isinstance(given, Iterable) else given
    plain: list[Signature] = []
    for each in linked if given is not None else ():
        form = each.__json__() if isinstance(each, PlainForm) else each
        if not isinstance(form, Mapping):
            raise OptionError(f"task {task}: {name} takes signatures, such as task.s(...), not {each!r:.100}")
        signatures.parse(form)
        plain.append(form)
    return plain or None


def make_message(
    task: str, args: Sequence[Any], kwargs: Mapping[str, Any], call: CallOptions, options: TaskOptions
) -> Message:
    """Make the message of a call. Within a task, the message names that task as its parent, and its root.

    Raises:
        TypeError: ``args`` is not a list or tuple, or ``kwargs`` is not a mapping of names to values.
        OptionError: the task's name is not a name.
    """
    check(NAME, "the name of a task", task)
    check_arguments(task, args, kwargs)
    now = time.time()
    within = current_invocation.get()
    parent = within.message if within is not None else None
    return Message(
        task=task,
        id=call.task_id or new_id(),
        args=args,
        kwargs=dict(kwargs),
        eta=time_from_option(call.eta if call.countdown is None else call.countdown, now),
        expires=time_from_option(options.expires if call.expires is None else call.expires, now),
        timelimit=(call.time_limit, call.soft_time_limit),
        root_id=(parent.root_id or parent.id) if parent else None,
        parent_id=parent.id if parent else None,
        ignore_result=call.ignore_result,
        shadow=call.shadow,
        argsrepr=call.argsrepr,
        kwargsrepr=call.kwargsrepr,
        priority=first_given(call.priority, options.priority) or 0,
        headers=call.headers if call.task_id is None else {**call.headers, CALL: new_call()},
        embed=Embed(callbacks=call.link, errbacks=call.link_error) if call.link or call.link_error else NO_EMBED,
    )


def check_arguments(task: str, args: object, kwargs: object) -> None:
    """Check the types of arguments, and the names of keyword arguments: a serializer may turn other keys into texts.

    Raises:
        TypeError: ``args`` is not a list or tuple, or ``kwargs`` is not a mapping of names to values.
    """
    if not isinstance(args, list | tuple):
        raise TypeError(f"task {task}: args must be a list or tuple, not {type(args).__name__}")
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"task {task}: kwargs must be a mapping, not {type(kwargs).__name__}")
    wrong = [name for name in kwargs if not isinstance(name, str)]
    if wrong:
        raise TypeError(f"task {task}: kwargs must have texts as its keys, not {wrong[0]!r:.100}")


def make_transport(call: CallOptions, task: TaskOptions) -> Transport:
    """Make the transport of a call's message: the call decides, then the task's declaration, then the settings."""
    if call is _NO_OPTIONS and task.serializer is None and task.compression is None:
        return _PLAIN_TRANSPORT
    return Transport.of({name: getattr(call, name) for name in TRANSPORT_OPTIONS}, task)


_PLAIN_TRANSPORT: Final = Transport()
"""The transport of a call without options, of a task without any of its own."""
