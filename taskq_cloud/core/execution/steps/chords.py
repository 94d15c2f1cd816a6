r"""Chords: what the end of a task means for the chord that waits for it (step 7b of ``pipeline``).

Each member counts itself in a join of the store. A member that arrives twice is counted once, so there is no counter to
spoil, and nothing polls. The member that finds the join complete sends the body, or fails it:

    last member ends ---> join: complete? ---> claim the lock ---> load the results ---> send the body ---> mark it sent
                                           \                                        \-> or fail it      -/
                                            \-> lock held by another: marked as sent? otherwise given back until it is

The holder of the lock may die before the body is sent, and its message may be gone by then, acknowledged by another
worker that was handed the same message. So no member of a complete chord is acknowledged before the body is marked as
sent.

This module counts, reads and decides. ``consequences`` saves and sends what a ``Decision`` holds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, TypeVar

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.messages.sending import UNSENDABLE, Addressed
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FAILURE, PENDING, PROPAGATE_STATES, REVOKED, SUCCESS, Record
from taskq_cloud.core.workflows import chord_life, planner, successors
from taskq_cloud.core.workflows.chord_members import Membership, check_store_counts_members, is_sized, join_places
from taskq_cloud.core.workflows.planner import JOINED, Origin, Successor
from taskq_cloud.core.workflows.stages import Stages, TaskStage, awaited_tasks, tasks_told_of_failure
from taskq_cloud.errors import BodyPending, ChordError, DecodeError, TaskRevokedError

T = TypeVar("T")

PAGE_RECORDS: Final = 500
"""Records read or written at a time."""
LOCK_SECONDS: Final = 60
"""How long the lock of the member that sends the body lasts; the member renews it with each page of results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The effects that the end of a task has on a chord; they are carried out in the order of the fields.

    Args:
        records: pages of records of tasks that will not run, to be saved.
        messages: the messages of a body, to be sent.
        not_run: messages of tasks that failed without having run, whose errbacks are to be called.
        error: the error with which the tasks of ``not_run`` failed.
        arrival: the place of a task that will not run, which counts in a chord as ended.
    """

    records: Iterable[Sequence[Record]] = ()
    messages: Sequence[Addressed] = ()
    not_run: Sequence[Message] = ()
    error: Exception | None = None
    arrival: Membership | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A complete chord whose body this member is to send, or a chord that has taken too long and is to fail.

    Args:
        member: the member that has completed it.
        mark: the record that says that the body was sent, to be saved after that; None: the store has no locks.
        error: the error with which the body fails, as the chord has taken too long; None: the chord is complete.
    """

    member: Membership
    mark: Record | None
    error: ChordError | None = None


def decide_end(context: DeliveryContext, state: str, error: ErrorInfo | None = None) -> Decision:
    """Decide what the end of a task means for the tasks after it in its chain, and for its chord.

    Args:
        context: the task's context.
        state: the state in which it has ended.
        error: the error, if it has not succeeded.
    """
    member = successors.membership(context.message)
    if state in PROPAGATE_STATES and error is not None and context.message.embed.chain:
        rest = successors.rest_of_chain(context.message)
        return Decision(records=_ended_records(context, rest, state, error), arrival=_place_of_last(rest))
    if member is None:
        return Decision()
    if state == SUCCESS and context.added:
        from taskq_cloud.core.workflows import chord_additions  # few tasks add to their chord

        member = chord_additions.own_place(context.message, member, context.added)
    return Decision(arrival=member)


def decide_unrun(context: DeliveryContext) -> Decision:
    """Decide what becomes of the tasks after a call that does nothing, because its task was called before."""
    message = context.message
    text = f"task {message.task}[{message.id}] was called before with this id, and has succeeded; call it with another"
    if message.embed.chain:
        return decide_end(context, REVOKED, ErrorInfo.of(TaskRevokedError(text)))
    member = successors.membership(message)
    return Decision() if member is None else _fail(context, member, ChordError(text))


def arrive(context: DeliveryContext, member: Membership) -> Flow[Completion | None]:
    """Count a member, and claim the lock if it completes the chord; None: nothing is left to do here.

    Raises:
        ImproperlyConfigured: the result store can't count members.
        BodyPending: another member has claimed the lock, and has not sent the body yet.
    """
    check_store_counts_members(context.environment.store)
    result_expires, error = context.environment.policy.result_expires, None
    expires_at = chord_life.join_expiry(member.due, result_expires, context.now)
    for place in (*member.path, *join_places(member.group, member.index, member.size)):
        if not (yield from context.store.join(place.join, place.member, place.size, expires_at)):
            last_arrival = chord_life.last_arrival(member.due, result_expires)
            if last_arrival is None or context.now < last_arrival:
                return None
            error = _too_late(member, last_arrival)
            break
    if not context.environment.store.capabilities.claims:
        return Completion(member, None, error)
    fence = yield from _claim_body(context, member)
    mark_id = derived_id(member.group, "sent")
    if (yield from context.store.load([mark_id])):
        text = "chord body already sent by another member; nothing to do"
        context.log(logging.INFO, "chord.claimed_elsewhere", text)
        return None
    if fence is None:
        raise BodyPending(f"another member of chord {member.group} has claimed its body, and not yet sent it")
    text = document.encode(Message(task="", id=mark_id), PENDING, "null", now=context.now)
    return Completion(member, Record(mark_id, PENDING, 0, text, expires_at), error)


def _too_late(member: Membership, last_arrival: float) -> ChordError:
    until = datetime.fromtimestamp(last_arrival, UTC).isoformat(timespec="seconds")
    return ChordError(
        f"chord {member.group} of {member.size} members has taken too long: its members were counted until {until}; "
        "set a longer result_expires, or give the members an earlier eta"
    )


def decide_completion(context: DeliveryContext, completion: Completion) -> Flow[Decision]:
    """Read the results of a complete chord, and decide whether its body is sent or fails."""
    member = completion.member
    if completion.error is not None:
        return _fail(context, member, completion.error)
    try:
        if member.saved:
            values = yield from _load_saved(context, completion)
        else:
            values = yield from _load_all(context, completion, member.ids())
        addressed = context.address(list(_body(context, member, values)))
    except (ChordError, *UNSENDABLE) as error:
        return _fail(context, member, error)
    context.log(logging.INFO, "chord.completed", "completes chord %s of %d members", member.group, member.size)
    return Decision(messages=addressed)


def _load_saved(context: DeliveryContext, completion: Completion) -> Flow[list[Any]]:
    """Read the values of a header whose members are listed in the store: a Celery chord, or one with many given ids."""
    from taskq_cloud.core.workflows import saved_groups  # few headers are

    store, group_id = context.environment.store, completion.member.group
    try:
        group = yield from context.patience.repeat(lambda: saved_groups.load(store, group_id))
    except DecodeError as error:
        raise ChordError(str(error)) from error
    if group is None:
        raise ChordError(f"group {group_id} is not in the result store: it was forgotten, or has expired")
    return (
        yield from _load_all(
            context,
            completion,
            saved_groups.leaves(group),
            lambda values: saved_groups.nest(group, iter(values)),
        )
    )


def _load_all(
    context: DeliveryContext,
    completion: Completion,
    ids: Iterable[str],
    arrange: Callable[[list[Any]], list[Any]] = list,
) -> Flow[list[Any]]:
    """Read the values of members, arranged as their group is, and then those of the tasks that they added."""
    values, added = yield from _load(context, completion, ids)
    values = arrange(values)
    seen: set[str] = set()
    while added:
        if not seen.isdisjoint(added):
            raise ChordError(f"task {min(seen.intersection(added))} was added to the chord by a task that it has added")
        seen.update(added)
        more, added = yield from _load(context, completion, added)
        values += more
    return values


def _claim_body(context: DeliveryContext, member: Membership) -> Flow[int | None]:
    return context.store.claim(f"chord/{member.group}", member.name, LOCK_SECONDS)


def _load(context: DeliveryContext, completion: Completion, ids: Iterable[str]) -> Flow[tuple[list[Any], list[str]]]:
    """Read the values of members, and the ids of the tasks that they added; raises ``ChordError`` if one has none."""
    values: list[Any] = []
    added: list[str] = []
    for number, page in enumerate(_pages(ids)):
        if number and completion.mark is not None:
            yield from _claim_body(context, completion.member)
        try:
            found = yield from context.store.load(page)
            for task_id in page:
                record = found.get(task_id)
                if record is None or record.state != SUCCESS:
                    raise _dependency_error(task_id, record)
                result = document.of(record)
                values.append(result.get("result"))
                if result.get("added"):
                    from taskq_cloud.core.workflows import chord_additions

                    more, _ = chord_additions.read(task_id, result, context.outbox.codec)
                    added += chord_additions.added_ids(more)
        except DecodeError as error:  # the record stays as it is, however often it is read
            raise ChordError(f"the results of chord {completion.member.group} can't be read: {error}") from error
    return values, added


def _dependency_error(task_id: str, record: Record | None) -> ChordError:
    if record is None or record.state not in PROPAGATE_STATES:
        return ChordError(f"Dependency {task_id} has no result: it was ignored, forgotten or has expired")
    cause = document.exception_in(document.of(record))
    return ChordError(f"Dependency {task_id} raised {cause!r}")


def _body(context: DeliveryContext, member: Membership, values: Sequence[Any]) -> Iterator[Successor]:
    message = context.message
    origin = Origin(
        now=context.now,
        root_id=message.root_id or message.id,
        parent_id=message.id,
        headers={JOINED: member.group},
        paging=context.environment.paging(),
    )
    return planner.start(member.body(), (values,), {}, origin)


def _fail(context: DeliveryContext, member: Membership, error: Exception) -> Decision:
    """Fail the body as if it had run: its state, its errbacks, and its place in another chord."""
    context.log(logging.ERROR, "chord.failed", "ends chord %s, whose body fails: %s", member.group, error)
    body, origin = member.body(), Origin(now=context.now, root_id=context.message.root_id)
    return Decision(
        records=_ended_records(context, body, FAILURE, ErrorInfo.of(error)),
        not_run=[planner.to_message(task.signature, (), {}, origin).message for task in tasks_told_of_failure(body)],
        error=error,
        arrival=_place_of_last(body),
    )


def _place_of_last(stages: Stages) -> Membership | None:
    """The place in a chord of the last of some tasks that will not run; None: it has none."""
    match stages[-1:]:
        case (TaskStage(id=str(task_id), options={"chord": {} as chord} as options),) if is_sized(chord):
            return Membership.read(options.get("group_id"), options.get("group_index"), chord, task_id)
    return None


def _ended_records(
    context: DeliveryContext, stages: Stages, state: str, error: ErrorInfo
) -> Iterator[Sequence[Record]]:
    """The records of tasks that will not run, page by page, unless their results are ignored."""
    origin = Origin(now=context.now, root_id=context.message.root_id, parent_id=context.message.id)
    for page in _pages(task for task in awaited_tasks(stages) if task.id):
        contexts = [context.about(planner.to_message(task.signature, (), {}, origin).message) for task in page]
        records = [about.make_record(state, error) for about in contexts if about.keeps(state)]
        if records:
            yield records


def _pages(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while page := list(islice(iterator, PAGE_RECORDS)):
        yield page
