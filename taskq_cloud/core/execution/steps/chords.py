r"""Chords: members are counted as they end, and the last one sends the body, or fails it (step 7b of ``execution``).

There is no counter to spoil: a member that arrives twice is one. Every effect can be done twice; nothing polls.

    last member ends ---> join: all there? ---> claim ---> load the results ---> send the body ---> say so
                                              \                             \-> or fail it     -/
                                               \-> claimed elsewhere: said so? else given back until it is

Who has claimed the body may die before it is sent, and its message may be gone by then: another worker that was handed
the same message has acknowledged it. So nobody leaves a complete chord before it is said that its body was sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.execution.steps import errbacks
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.record import FAILURE, PENDING, PROPAGATE_STATES, SUCCESS, Record
from taskq_cloud.core.workflows import chord_additions, planner, saved_groups, successors
from taskq_cloud.core.workflows.chord_members import Membership, check_store_counts_members, is_sized, places
from taskq_cloud.core.workflows.planner import JOINED, Origin, Successor
from taskq_cloud.core.workflows.stages import Stages, TaskStage, awaited_tasks, tasks_told_of_failure
from taskq_cloud.errors import BodyPending, ChordError, DelayTooLong, EncodeError, PayloadTooLarge

T = TypeVar("T")

PAGE_RECORDS: Final = 500
"""Records read or written at a time."""
CLAIM_SECONDS: Final = 60
"""How long the member that sends the body is the only one; it claims it again with each page of results it reads."""

_UNSENDABLE: Final = (DelayTooLong, EncodeError, PayloadTooLarge)


def conclude(effects: DeliveryContext, state: str, error: ErrorInfo | None = None) -> Flow[None]:
    """Do what a workflow asks for when one of its tasks has ended; to be done again when that is in doubt.

    Args:
        effects: of the task.
        state: the state it has ended in.
        error: where it has not succeeded.
    """
    member = successors.membership(effects.message)
    if state in PROPAGATE_STATES and error is not None and effects.message.embed.chain:
        yield from _abandon(effects, successors.left_of_chain(effects.message), state, error)
    elif member is not None:
        if state == SUCCESS and effects.added:
            member = chord_additions.own_place(effects.message, member, effects.added)
        yield from _arrive(effects, member)


def check(effects: DeliveryContext) -> None:
    """Whether the store can do what the task's message asks for.

    Raises:
        ImproperlyConfigured: it can't.
    """
    if successors.membership(effects.message) is not None:
        check_store_counts_members(effects.environment.store)


def _arrive(effects: DeliveryContext, member: Membership) -> Flow[None]:
    store, expires = effects.environment.store, effects.expires_at()
    check_store_counts_members(store)
    for place in (*member.path, *places(member.group, member.index, member.size)):
        arrive = partial(store.join, place.join, place.member, place.size, expires)
        if not (yield from effects.insist(arrive)):
            return None
    if not store.capabilities.claims:
        return (yield from _complete(effects, member))
    claim = partial(store.claim, f"chord/{member.group}", member.name, CLAIM_SECONDS)
    fence = yield from effects.insist(claim)
    mark = derived_id(member.group, "sent")
    if (yield from effects.insist(lambda: store.load([mark]))):
        effects.log(logging.INFO, "chord.claimed_elsewhere", "leaves the body to the member that has sent it")
        return None
    if fence is None:
        raise BodyPending(f"another member of chord {member.group} has claimed its body, and not yet sent it")
    yield from _complete(effects, member, claim)
    text = result_document.encode(Message(task="", id=mark), PENDING, "null", now=effects.environment.clock())
    yield from effects.insist(lambda: store.save([Record(mark, PENDING, 0, text, expires)]))
    return None


def _complete(
    effects: DeliveryContext, member: Membership, claim: Callable[[], Flow[int | None]] | None = None
) -> Flow[None]:
    group: saved_groups.Group | None = None
    if member.saved:
        group = yield from effects.insist(lambda: saved_groups.load(effects.environment.store, member.group))
        if group is None:
            missing = ChordError(f"group {member.group} is not in the result store: forgotten, expired, or another's")
            return (yield from _fail(effects, member, missing))
    try:
        values, added = yield from _load(effects, member.ids() if group is None else saved_groups.leaves(group), claim)
        if group is not None:
            values = saved_groups.nest(group, iter(values))
        while added:
            more, added = yield from _load(effects, added, claim)
            values += more
        addressed = effects.address(list(_body(effects, member, values)))
    except (ChordError, *_UNSENDABLE) as error:
        return (yield from _fail(effects, member, error))
    effects.log(logging.INFO, "chord.completed", "completes chord %s of %d members", member.group, member.size)
    if addressed:
        yield from effects.send(addressed)
    return None


def _load(
    effects: DeliveryContext, ids: Iterable[str], claim: Callable[[], Flow[int | None]] | None
) -> Flow[tuple[list[Any], list[str]]]:
    """The values of members, and the ids of what they have added; raises ``ChordError`` where one has none."""
    values: list[Any] = []
    added: list[str] = []
    for number, page in enumerate(_pages(ids)):
        if number and claim is not None:
            yield from effects.insist(claim)
        found = yield from effects.insist(partial(effects.environment.store.load, page))
        for task_id in page:
            record = found.get(task_id)
            if record is None or record.state != SUCCESS:
                raise _why(task_id, record)
            document = result_document.decode(record.payload)
            values.append(document.get("result"))
            added += chord_additions.ids(document.get("added") or ())
    return values, added


def _why(task_id: str, record: Record | None) -> ChordError:
    if record is None or record.state not in PROPAGATE_STATES:
        return ChordError(f"Dependency {task_id} has no result: it was ignored, forgotten or has expired")
    cause = result_document.exception_of(result_document.decode(record.payload).get("result"))
    return ChordError(f"Dependency {task_id} raised {cause!r}")


def _body(effects: DeliveryContext, member: Membership, values: Sequence[Any]) -> Iterator[Successor]:
    message = effects.message
    origin = Origin(
        now=effects.environment.clock(),
        root_id=message.root_id or message.id,
        parent_id=message.id,
        headers={JOINED: member.group},
        paging=effects.paging(),
    )
    return planner.start(member.body(), (values,), {}, origin)


def _fail(effects: DeliveryContext, member: Membership, error: Exception) -> Flow[None]:
    """Fail the body as if it had run: its state, its errbacks, what it has a place in."""
    effects.log(logging.ERROR, "chord.failed", "ends chord %s, whose body fails: %s", member.group, error)
    body, described = member.body(), ErrorInfo.of(error)
    yield from _record(effects, body, FAILURE, described)
    now, call_errbacks = effects.environment.clock(), effects.environment.call_errbacks
    for hearer in tasks_told_of_failure(body):
        failed = planner.to_message(hearer.signature, (), {}, Origin(now=now, root_id=effects.message.root_id)).message
        yield from (call_errbacks or errbacks.call_for_task_not_run)(effects, failed, error)
    yield from _arrive_for(effects, body)


def _abandon(effects: DeliveryContext, stages: Stages, state: str, error: ErrorInfo) -> Flow[None]:
    """What was to run after a failed task ends as it did, so that nobody waits for it."""
    yield from _record(effects, stages, state, error)
    yield from _arrive_for(effects, stages)


def _arrive_for(effects: DeliveryContext, stages: Stages) -> Flow[None]:
    """The last task of a line that will not run counts in its chord as ended."""
    match stages[-1:]:
        case (TaskStage(id=str(task_id), options={"chord": {} as chord} as options),) if is_sized(chord):
            place = options.get("group_id"), options.get("group_index")
            yield from _arrive(effects, Membership.of(*place, chord, task_id))


def _record(effects: DeliveryContext, stages: Stages, state: str, error: ErrorInfo) -> Flow[None]:
    """Record the end of tasks that will not run, unless their results are ignored. What has ended already stays."""
    now = effects.environment.clock()
    origin = Origin(now=now, root_id=effects.message.root_id, parent_id=effects.message.id)
    for page in _pages(step for step in awaited_tasks(stages) if step.id):
        records = []
        for step in page:
            message = planner.to_message(step.signature, (), {}, origin).message
            about = effects.about(message)
            if about.records(state):
                records.append(about.make_record(state, error))
        if records:
            yield from effects.insist(lambda records=records: effects.environment.store.save(records))  # type: ignore[misc]


def _pages(items: Any) -> Iterator[list[Any]]:
    iterator = iter(items)
    while page := list(islice(iterator, PAGE_RECORDS)):
        yield page
