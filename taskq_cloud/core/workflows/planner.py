"""Plans the first messages of a workflow: their ids, and the signatures of the following tasks that each one carries.

All ids are derived from the id of the last task. So a workflow that is planned twice consists of the same tasks. Each
member of a chord's header carries the body, the number of members and their given ids, as only they know the chord.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Final, Protocol

from taskq_cloud.core.messages.headers import RESERVED_HEADERS
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Embed, Message, Signature, lineage_of
from taskq_cloud.core.model.option_values import time_from_option
from taskq_cloud.core.model.task_names import ACCUMULATE, FAN_OUT
from taskq_cloud.core.model.validation import identifier
from taskq_cloud.core.records.record import MOST_CHILDREN, Record
from taskq_cloud.core.workflows.chord_life import CHORD_DUE, latest_due
from taskq_cloud.core.workflows.signatures import (
    CHORD_OPTIONS,
    SAVED_CHORD,
    checked_options,
    mapped_task,
    signature_of,
    to_signature,
    to_signatures,
)
from taskq_cloud.core.workflows.stages import GroupStage, Stages, TaskStage, as_list, every_task, set_on_last
from taskq_cloud.errors import EncodeError

if TYPE_CHECKING:  # few groups are kept in pages
    from taskq_cloud.core.workflows.group_pages import Paging

JOINED: Final = "taskq_chord"
"""The header of the message of a chord's body: the id of the group that the body has waited for."""
RESENT: Final = "taskq_resent"
"""The header of a message that may have been sent before: its sender may have died before it could note that."""
MOST_OWN_IDS: Final = 20
"""The most given ids that the message of each member of a header lists: 800 bytes, which cost less than a write."""


class Stored(Protocol):
    """A part of a workflow that has to be stored before a message is sent."""

    def record(self, now: float) -> Record:
        """The record of the part."""
        ...


@dataclass(frozen=True, slots=True)
class Successor:
    """A message to be sent, with the options that its signature has for the sending.

    Args:
        message: the message.
        queue: its queue; None: the queue that its task is routed to.
        options: the signature's options.
        pages: the parts that have to be stored before the message is sent.
        members: the ids of the group's members that the message will send, as far as its parent's record lists them.
        largest: the member of that group that is most likely to be too large to be sent.
    """

    message: Message
    queue: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    pages: Sequence[Stored] = ()
    members: Sequence[str] = ()
    largest: Successor | None = None

    @property
    def ids(self) -> Sequence[str]:
        """The ids of the tasks that the message stands for."""
        return self.members or (self.message.id,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The origin of messages.

    Args:
        now: the time, in seconds since the epoch.
        root_id: the id of the workflow's first task; None: the message itself is the first.
        parent_id: the id of the task that the messages follow from.
        headers: headers that each message gets.
        paging: the rules for keeping large groups in pages; None: the members of every group are sent at once.
    """

    now: float
    root_id: str | None = None
    parent_id: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    paging: Paging | None = None


@dataclass(frozen=True, slots=True)
class GroupPosition:
    """The position of some members in their group.

    Args:
        group: the group's id.
        first: the index of the first of these members.
        chord: the signature of the body, if the group is a chord's header.
    """

    group: str
    first: int
    chord: Signature | None


# -- ids


def with_ids(stages: Stages, last_id: str) -> Stages:
    """Give every task and group an id that is derived from that of the last stage; given ids stay.

    Args:
        stages: the workflow.
        last_id: the id of the last stage, unless it has one.
    """
    return _with_ids(stages, lambda: last_id)


def _with_ids(stages: Stages, last_id: Callable[[], str]) -> Stages:
    # An id is made only where one is missing: most stages that come in a message have one.
    last = len(stages) - 1

    def own_id(index: int) -> str:
        return last_id() if index == last else derived_id(last_id(), "stage", last - index)

    return tuple(
        _stage_with_ids(stage, partial(own_id, index), header=index != last) for index, stage in enumerate(stages)
    )


def _stage_with_ids(
    stage: TaskStage | GroupStage, own_id: Callable[[], str], *, header: bool
) -> TaskStage | GroupStage:
    match stage:
        case TaskStage():
            return stage if stage.id else stage.with_options(task_id=own_id())
        case GroupStage():
            group_id = stage.id or own_id()
            members = map(ending_in_a_task, stage.members) if header else stage.members
            ids = (partial(member_id, group_id, index) for index in count())
            return GroupStage(tuple(map(_with_ids, members, ids)), group_id)


def member_id(group_id: str, index: int) -> str:
    """The id of the task in which a group's member ends, unless it was given an id."""
    return derived_id(group_id, "member", index)


def ending_in_a_task(stages: Stages) -> Stages:
    """Append a task that collects the values of a last group, since chords wait for tasks; other stages stay."""
    if not stages or isinstance(stages[-1], TaskStage):
        return stages
    queue = next((name for task in every_task(stages) if (name := task.options.get("queue"))), None)
    options = {} if queue is None else {"queue": queue}
    return (*stages, TaskStage(signature_of(ACCUMULATE, kwargs={"index": 0}, options=options)))


# -- the first messages


def start(stages: Stages, args: Sequence[Any], kwargs: Mapping[str, Any], origin: Origin) -> Iterator[Successor]:
    """Make the messages of the first stage; each carries the stages that follow it.

    Args:
        stages: the workflow. If it has a group, its tasks and groups have ids.
        args: the values of the stage before: put before the arguments of each task that isn't immutable.
        kwargs: keyword arguments for each task that isn't immutable.
        origin: the origin of the messages.
    """
    if not stages:
        return
    stage, rest = stages[0], stages[1:]
    match stage:
        case TaskStage():
            yield to_message(stage.signature, args, kwargs, origin, to_signatures(rest)[::-1])
        case GroupStage(members=()):
            yield from start(rest, ([],), {}, origin)
        case GroupStage():
            chord, stored = _carried_body(stage, rest, origin.now) if rest else (None, ())
            large = _paged(stage, chord, args, kwargs, origin)
            if large is not None:
                yield replace(large, pages=[*large.pages, *stored])
                return
            members = start_members(stage.members, GroupPosition(str(stage.id), 0, chord), args, kwargs, origin)
            for first in islice(members, 1):
                yield replace(first, pages=[*first.pages, *stored])
            yield from members


def start_members(
    members: Sequence[Stages], position: GroupPosition, args: Sequence[Any], kwargs: Mapping[str, Any], origin: Origin
) -> Iterator[Successor]:
    """Make the first messages of consecutive members of a group.

    Args:
        members: the members.
        position: the position of the members in their group.
        args: see ``start``.
        kwargs: see ``start``.
        origin: the origin of the messages.
    """
    for index, member in enumerate(members, position.first):
        options = {"group_id": position.group, "group_index": index, "chord": position.chord}
        stages = member if isinstance(member[-1], GroupStage) else set_on_last(member, options)
        yield from start(stages, args, kwargs, origin)


def _paged(
    group: GroupStage, chord: Signature | None, args: Sequence[Any], kwargs: Mapping[str, Any], origin: Origin
) -> Successor | None:
    """The message that starts a large group, with its pages; None if the group's members are sent at once."""
    paging, group_id = origin.paging, str(group.id)
    if paging is None or len(group.members) <= paging.over:
        return None
    first = next((task for member in group.members for task in every_task(member)), None)
    if first is None or (chord is None and not paging.knows(first.task)):
        return None
    from taskq_cloud.core.workflows import group_pages  # few groups are that large

    headers = {**group_pages.call_header(first), **origin.headers}
    try:
        pages = list(group_pages.cut(lineage_of(group_id, headers), group.members, paging))
    except EncodeError:
        return None  # arguments that JSON can't hold may be possible with the message's serializer
    group_pages.check_carried(group_id, [chord, args, kwargs], [page.reference for page in pages])
    message = Message(
        task=FAN_OUT,
        id=derived_id(group_id, "fan-out"),
        kwargs={
            "group": group_id,
            "pages": [astuple(page.reference) for page in pages],
            "chord": chord,
            "args": list(args),
            "kwargs": dict(kwargs),
            "now": origin.now,
        },
        root_id=origin.root_id,
        parent_id=origin.parent_id,
        argsrepr="()",
        kwargsrepr=f"{{'group': {group_id!r}, 'members': {len(group.members)}}}",
        headers=headers,
    )
    index, largest = max(enumerate(group.members), key=lambda each: len(repr(each[1])))
    return Successor(
        message,
        queue=first.options.get("queue") or paging.route(mapped_task(first.signature) or first.task),
        options={name: first.options[name] for name in ("MessageGroupId",) if name in first.options},
        pages=pages,
        members=[str(task.id) for each in islice(group.members, MOST_CHILDREN) for task in islice(every_task(each), 1)],
        largest=next(start_members([largest], GroupPosition(group_id, index, chord), args, kwargs, origin), None),
    )


def _carried_body(header: GroupStage, body: Stages, now: float) -> tuple[Signature, Sequence[Stored]]:
    """The body as the members of its header carry it: with their number, the time until they are due and given ids.

    If many ids were given, the store keeps the list instead, since each member would carry all of them.
    """
    signature, group = to_signature(body), str(header.id)
    ids = [str(last.id) for member in header.members if isinstance(last := member[-1], TaskStage)]
    own_ids = {str(index): own_id for index, own_id in enumerate(ids) if own_id != member_id(group, index)}
    sized: dict[str, Any] = {"chord_size": len(header.members), CHORD_DUE: latest_due(header.members, now)}
    stored: Sequence[Stored] = ()
    if len(own_ids) > MOST_OWN_IDS:
        from taskq_cloud.core.workflows import saved_groups  # few headers have many given ids

        sized[SAVED_CHORD], stored = group, saved_groups.pages_of_tasks(group, ids, sized[CHORD_DUE])
    elif own_ids:
        sized["chord_ids"] = own_ids
    # A body that is a chord itself still has the options by which the members of the chord around it were counted.
    own = {name: value for name, value in (signature.get("options") or {}).items() if name not in CHORD_OPTIONS}
    return {**signature, "options": {**own, **sized}}, stored


# -- one message


def to_message(
    signature: Signature,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    origin: Origin,
    chain: Sequence[Signature] = (),
) -> Successor:
    """Make the message of one task.

    Args:
        signature: the task's signature, with the task's id among its options.
        args: put before the signature's arguments, unless it is immutable.
        kwargs: added to the signature's keyword arguments, unless it is immutable.
        origin: the origin of the message.
        chain: the signatures that follow the task in its chain, in reverse order.

    Raises:
        TypeError, ValueError, LookupError, AttributeError, ArithmeticError: an option has the wrong type or value.
    """
    options = checked_options(signature)
    identifier("its name", signature["task"])
    return Successor(_message(signature, options, args, kwargs, origin, chain), options.get("queue"), options)


def _message(
    signature: Signature,
    options: Mapping[str, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    origin: Origin,
    chain: Sequence[Signature],
) -> Message:
    own_args, own_kwargs = list(signature.get("args") or ()), dict(signature.get("kwargs") or {})
    if not signature.get("immutable"):
        own_args, own_kwargs = [*args, *own_args], {**own_kwargs, **kwargs}
    headers = {k: v for k, v in dict(options.get("headers") or {}).items() if k not in RESERVED_HEADERS}
    due = options.get("eta") if options.get("countdown") is None else options["countdown"]
    return Message(
        task=signature["task"],
        id=options["task_id"],
        args=own_args,
        kwargs=own_kwargs,
        embed=Embed(
            callbacks=as_list(options.get("link")) or None,
            errbacks=as_list(options.get("link_error")) or None,
            chain=[*chain, *(options.get("chain") or ())] or None,
            chord=options.get("chord"),
        ),
        root_id=origin.root_id,
        parent_id=origin.parent_id,
        group=options.get("group_id"),
        group_index=options.get("group_index"),
        timelimit=(options.get("time_limit"), options.get("soft_time_limit")),
        ignore_result=options.get("ignore_result"),
        shadow=options.get("shadow"),
        replaced_task_nesting=options.get("replaced_task_nesting") or 0,
        argsrepr=options.get("argsrepr"),
        kwargsrepr=options.get("kwargsrepr"),
        reply_to=options.get("reply_to"),
        priority=options.get("priority") or 0,
        stamped_headers=options.get("stamped_headers"),
        stamps={name: options[name] for name in options.get("stamped_headers") or ()},
        headers={**headers, **origin.headers},
        eta=time_from_option(due, origin.now),
        expires=time_from_option(options.get("expires"), origin.now),
    )
