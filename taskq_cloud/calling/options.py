"""The options of a call (``apply_async``), and the message they make."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Final

from taskq_cloud.core.execution.runner import current_invocation
from taskq_cloud.core.messages.sending import TRANSPORT_OPTIONS, Transport
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.model.message import Embed, Message, Signature
from taskq_cloud.core.model.options import TaskOptions, first_given
from taskq_cloud.core.model.validation import time_from_option
from taskq_cloud.core.serializers import PlainForm
from taskq_cloud.core.workflows import signatures

LINKS: Final = ("link", "link_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """How a task is called; names and meanings are Celery's. None leaves it to the task, then to the settings.

    Args:
        task_id: the task's id; made up where None.
        countdown: seconds from now until it is due; wins over ``eta``.
        eta: when it is due; a naive time is UTC.
        expires: from when on it is not run any more: seconds from now, or a time.
        queue: where it goes.
        ignore_result: whether no result is stored.
        time_limit: hard, in seconds.
        soft_time_limit: in seconds.
        serializer: of the arguments.
        compression: of the arguments.
        headers: the caller's own message headers.
        priority: carried for Celery's workers.
        shadow: another name, for logs and monitors.
        argsrepr: shown instead of the arguments' ``repr`` (secrets in arguments).
        kwargsrepr: likewise.
        MessageGroupId: the message group of a FIFO queue; the tenant on SQS's standard queues (fair queues).
        MessageDeduplicationId: of a FIFO queue; made from the task's id where None.
        message_attributes: the broker's message attributes, as strings.
        trace_header: ``AWSTraceHeader``.
        link: a signature, or several, that run with the task's value.
        link_error: likewise, that run with the task's id when it fails.
        add_to_parent: called within a task, it is among the children of that task's record.
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


_NAMES = frozenset(option.name for option in fields(CallOptions))


def call_options(task: str, given: Mapping[str, Any]) -> CallOptions:
    """Check the options of a call.

    Raises:
        TypeError: an option is unknown, or its value is of the wrong kind; names the task and the option.
        InvalidTaskError: JSON that is linked is no signature.
    """
    unknown = sorted(given.keys() - _NAMES)
    if unknown:
        raise TypeError(f"task {task}: unknown option {unknown[0]!r} of the call; known: {', '.join(sorted(_NAMES))}")
    options = CallOptions(**given)
    for name in ("countdown", "time_limit", "soft_time_limit"):
        if not isinstance(getattr(options, name), int | float | None):
            raise TypeError(f"task {task}: {name} is a number of seconds, not {getattr(options, name)!r}")
    if not isinstance(options.eta, datetime | None):
        raise TypeError(f"task {task}: eta is a datetime, not {options.eta!r}; for seconds there is countdown")
    if not isinstance(options.expires, int | float | datetime | None):
        raise TypeError(f"task {task}: expires is a number of seconds or a datetime, not {options.expires!r}")
    if options.link is None and options.link_error is None:
        return options
    return replace(
        options,
        link=_signatures(task, "link", options.link),
        link_error=_signatures(task, "link_error", options.link_error),
    )


def _signatures(task: str, name: str, given: Any) -> Sequence[Signature] | None:
    """What is linked, as plain JSON."""
    linked = [given] if isinstance(given, PlainForm | Mapping) or not isinstance(given, Iterable) else given
    plain: list[Signature] = []
    for each in linked if given is not None else ():
        form = each.__json__() if isinstance(each, PlainForm) else each
        if not isinstance(form, Mapping):
            raise TypeError(f"task {task}: {name} takes signatures, such as task.s(...), not {each!r:.100}")
        signatures.parse(form)
        plain.append(form)
    return plain or None


def make_message(
    task: str, args: Sequence[Any], kwargs: Mapping[str, Any], call: CallOptions, options: TaskOptions
) -> Message:
    """The message of a call; called within a task, it knows its parent and its root.

    Raises:
        TypeError: ``args`` is no list or tuple, or ``kwargs`` no mapping.
    """
    if not isinstance(args, list | tuple):
        raise TypeError(f"task {task}: args must be a list or tuple, not {type(args).__name__}")
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"task {task}: kwargs must be a mapping, not {type(kwargs).__name__}")
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
        headers=call.headers,
        embed=Embed(callbacks=call.link, errbacks=call.link_error),
    )


def make_transport(call: CallOptions, task: TaskOptions) -> Transport:
    """How the message of a call is carried: the call decides, then the task's declaration, then the settings."""
    return Transport.of({name: getattr(call, name) for name in TRANSPORT_OPTIONS}, task)
