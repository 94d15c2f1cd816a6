"""What a workflow sends: which messages come first, with which ids, and what each of them carries along.

All ids are made from that of the last task, so that planning the same again is sending the same tasks again. Members of
a chord's header carry its body, how many they are and which they are: nothing else knows of the chord until ``joins``
counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

from taskq_cloud.core.messages.protocol import RESERVED_HEADERS
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Embed, Message, Signature
from taskq_cloud.core.model.validation import text_bytes, time_from_option
from taskq_cloud.core.records.document import MOST_CHILDREN
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.workflows.signatures import (
    ACCUMULATE,
    FAN_OUT,
    SAVED_CHORD,
    of_map,
    signature_of,
    to_signature,
    to_signatures,
)
from taskq_cloud.core.workflows.stages import GroupStage, Stages, TaskStage, as_list, every_task, set_on_last
from taskq_cloud.errors import EncodeError

if TYPE_CHECKING:  # few groups are kept in pages
    from taskq_cloud.core.workflows.group_pages import Paging

JOINED: Final = "taskq_chord"
"""The header of a chord's body: the id of the group it has waited for."""
RESENT: Final = "taskq_resent"
"""The header of a message that may have been sent before, by whoever died before saying so."""
MOST_OWN_IDS: Final = 20
"""Of a header's members, in each one's message: 800 bytes, less than a write of them costs."""


class Stored(Protocol):
    """What has to be stored before a message is sent."""

    def record(self, now: float) -> Record:
        """As it is stored."""
        ...


@dataclass(frozen=True, slots=True)
class Successor:
    """A message to send, and how its signature wants it sent.

    Args:
        message: the message.
        queue: its queue; None: wherever its task is routed.
        options: the signature's.
        pages: what has to be stored before it is sent.
        members: the ids of the group's members that it will send, as far as anyone is told of them.
        largest: the member that is most likely to be too large to be sent.
    """

    message: Message
    queue: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    pages: Sequence[Stored] = ()
    members: Sequence[str] = ()
    largest: Successor | None = None

    @property
    def ids(self) -> Sequence[str]:
        """The ids of the tasks that it stands for."""
        return self.members or (self.message.id,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where messages come from.

    Args:
        now: the time, in seconds since the epoch.
        root_id: the workflow's first task; None: that is the message itself.
        parent_id: the task they follow from.
        headers: put into each.
        paging: how large groups are kept in pages; None: their members are all sent at once.
    """

    now: float
    root_id: str | None = None
    parent_id: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    paging: Paging | None = None


# -- ids


def fix(stages: Stages, last_id: str) -> Stages:
    """Give every task and group an id that is made from that of the last stage; an id that is there already stays."""
    return _fix(stages, lambda: last_id)


def _fix(stages: Stages, last_id: Callable[[], str]) -> Stages:
    """``fix``; ids are made where they are needed: what comes in a message has most of them."""
    last = len(stages) - 1

    def own_id(index: int) -> str:
        return last_id() if index == last else derived_id(last_id(), "stage", last - index)

    return tuple(_fixed(stage, partial(own_id, index), header=index != last) for index, stage in enumerate(stages))


def member_id(group_id: str, index: int) -> str:
    """The id of the task in which a group's member ends, unless it was given one of its own."""
    return derived_id(group_id, "member", index)


def _fixed(stage: TaskStage | GroupStage, own_id: Callable[[], str], *, header: bool) -> TaskStage | GroupStage:
    match stage:
        case TaskStage():
            return stage if stage.id else stage.with_options(task_id=own_id())
        case GroupStage():
            group_id = stage.id or own_id()
            members = map(ending_in_a_task, stage.members) if header else stage.members
            fixed = tuple(_fix(member, partial(member_id, group_id, index)) for index, member in enumerate(members))
            return GroupStage(fixed, group_id)


def ending_in_a_task(stages: Stages) -> Stages:
    """A line that ends in a group gets a task that collects the group's values: chords wait for tasks."""
    if not stages or isinstance(stages[-1], TaskStage):
        return stages
    queue = next((name for step in every_task(stages) if (name := step.options.get("queue"))), None)
    options = {} if queue is None else {"queue": queue}
    return (*stages, TaskStage(signature_of(ACCUMULATE, kwargs={"index": 0}, options=options)))


# -- starting


def start(stages: Stages, args: Sequence[Any], kwargs: Mapping[str, Any], origin: Origin) -> Iterator[Successor]:
    """The messages of a line's first stage; each carries along what follows it.

    Args:
        stages: with its ids fixed, as far as it has a fan.
        args: put before the arguments of what is not immutable: what came before.
        kwargs: likewise.
        origin: where they come from.
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
            chord, kept = _body(stage, rest) if rest else (None, ())
            large = _paged(stage, chord, args, kwargs, origin)
            if large is not None:
                yield replace(large, pages=[*large.pages, *kept])
                return
            members = start_members(stage.members, Place(str(stage.id), 0, chord), args, kwargs, origin)
            for first in islice(members, 1):
                yield replace(first, pages=[*first.pages, *kept])
            yield from members


@dataclass(frozen=True, slots=True)
class Place:
    """Where members stand: in which group, from which index on, and the chord whose header that is, if it is one."""

    group: str
    first: int
    chord: Signature | None


def start_members(
    members: Sequence[Stages], place: Place, args: Sequence[Any], kwargs: Mapping[str, Any], origin: Origin
) -> Iterator[Successor]:
    """The first messages of members of a group; arguments as ``start``'s."""
    for index, member in enumerate(members, place.first):
        of_member = {"group_id": place.group, "group_index": index, "chord": place.chord}
        ending = member if isinstance(member[-1], GroupStage) else set_on_last(member, of_member)
        yield from start(ending, args, kwargs, origin)


def _paged(
    fan: GroupStage, chord: Signature | None, args: Sequence[Any], kwargs: Mapping[str, Any], origin: Origin
) -> Successor | None:
    """The one message that a large group begins with, and its pages; None where its members are sent at once."""
    paging, group = origin.paging, str(fan.id)
    if paging is None or len(fan.members) <= paging.over:
        return None
    first = next((step for member in fan.members for step in every_task(member)), None)
    if first is None or (chord is None and not paging.knows(first.task)):
        return None
    from taskq_cloud.core.workflows import group_pages  # few groups are that large

    try:
        cut = list(group_pages.cut(group, fan.members, paging))
    except EncodeError:
        return None  # another serializer may say what JSON can't
    index, member = max(enumerate(fan.members), key=lambda each: len(repr(each[1])))
    message = Message(
        task=FAN_OUT,
        id=derived_id(group, "fan-out"),
        kwargs={
            "group": group,
            "pages": [astuple(page.reference) for page in cut],
            "chord": chord,
            "args": list(args),
            "kwargs": dict(kwargs),
            "now": origin.now,
        },
        root_id=origin.root_id,
        parent_id=origin.parent_id,
        argsrepr="()",
        kwargsrepr=f"{{'group': {group!r}, 'members': {len(fan.members)}}}",
        headers=origin.headers,
    )
    return Successor(
        message,
        first.options.get("queue") or paging.route(of_map(first.signature) or first.task),
        {name: first.options[name] for name in ("MessageGroupId",) if name in first.options},
        cut,
        [str(step.id) for each in islice(fan.members, MOST_CHILDREN) for step in islice(every_task(each), 1)],
        next(start_members([member], Place(group, index, chord), args, kwargs, origin), None),
    )


def _body(fan: GroupStage, rest: Stages) -> tuple[Signature, Sequence[Stored]]:
    """What a header's members carry: the body, how many they are, and the ids that can't be made from the group's.

    Of many these are kept in the store instead: each member would carry all of them.
    """
    body, group = to_signature(rest), str(fan.id)
    ids = [str(last.id) for member in fan.members if isinstance(last := member[-1], TaskStage)]
    own = {str(index): own_id for index, own_id in enumerate(ids) if own_id != member_id(group, index)}
    sized: dict[str, Any] = {"chord_size": len(fan.members)}
    kept: Sequence[Stored] = ()
    if len(own) > MOST_OWN_IDS:
        from taskq_cloud.core.workflows import saved_groups  # few headers have many own ids

        sized[SAVED_CHORD], kept = group, saved_groups.pages(saved_groups.of_tasks(group, ids))
    elif own:
        sized["chord_ids"] = own
    return {**body, "options": {**(body.get("options") or {}), **sized}}, kept


def to_message(
    signature: Signature,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    origin: Origin,
    chain: Sequence[Signature] = (),
) -> Successor:
    """The message of one task.

    Args:
        signature: the task's; its id is in its options.
        args: put before its arguments, unless it is immutable.
        kwargs: likewise.
        origin: where it comes from.
        chain: what is left of its chain, in reverse.

    Raises:
        TypeError, ValueError, LookupError, AttributeError, ArithmeticError: its options make no message.
    """
    options: Mapping[str, Any] = signature.get("options") or {}
    queue, task_id = options.get("queue"), str(options["task_id"])
    if not isinstance(queue, str | None):
        raise TypeError(f"the queue of {signature['task']} is no name: {queue!r:.100}")
    text_bytes("its id", task_id + signature["task"] + (queue or ""))
    own_args, own_kwargs = list(signature.get("args") or ()), dict(signature.get("kwargs") or {})
    if not signature.get("immutable"):
        own_args, own_kwargs = [*args, *own_args], {**own_kwargs, **kwargs}
    headers = {k: v for k, v in dict(options.get("headers") or {}).items() if k not in RESERVED_HEADERS}
    message = Message(
        task=signature["task"],
        id=task_id,
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
        eta=time_from_option(
            options.get("eta") if options.get("countdown") is None else options["countdown"], origin.now
        ),
        expires=time_from_option(options.get("expires"), origin.now),
    )
    return Successor(message, queue, options)
