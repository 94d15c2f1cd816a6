"""Sends the members of a large group, for whoever started it: the built-in task ``taskq.fan_out``.

    the group's message ---> a message a page ---> the page's members, in batches ---> the page is marked as sent

No pool runs it: it is an effect of the pipeline, as a join is, and each of its steps can be done again. A page that is
marked as sent is not sent twice; where a crash came before the mark, its members are sent with the same ids again, and
a header that has them ask the store first whether they have run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import islice
from typing import Any, Final

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.execution.steps import chords, errbacks
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages.protocol import RESERVED_HEADERS
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Embed, Message, Settlement, Signature
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records.record import FAILURE
from taskq_cloud.core.workflows import group_pages as pages
from taskq_cloud.core.workflows import planner, saved_groups
from taskq_cloud.core.workflows.chord_members import Membership
from taskq_cloud.core.workflows.group_pages import FAN_OUT, PageClaim
from taskq_cloud.core.workflows.planner import RESENT, Origin, Place, Successor
from taskq_cloud.core.workflows.signatures import parse
from taskq_cloud.core.workflows.stages import Stages, every_task
from taskq_cloud.errors import DecodeError, DelayTooLong, EncodeError, InvalidTaskError, PayloadTooLarge

BATCH_MESSAGES: Final = 100
"""Encoded and sent at a time: what a chord's members carry may be as large as a message."""
_UNSENDABLE: Final = (DelayTooLong, EncodeError, PayloadTooLarge)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What a message of the task says: pages of a group, and what their members are given."""

    group: str
    pages: Sequence[PageClaim]
    chord: Signature | None
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    now: float

    @classmethod
    def of(cls, message: Message) -> _Part:
        match message.kwargs:
            case {
                "group": str(group),
                "pages": [_, *_] as claims,
                "chord": None | {} as chord,
                "args": [*args],
                "kwargs": {} as kwargs,
                "now": int() | float() as now,
            } if all(map(_is_claim, claims)):
                found = [PageClaim(*claim) for claim in claims]
                part = cls(group=group, pages=found, chord=chord, args=args, kwargs=kwargs, now=now)
                part.membership(found[0].first)
                return part
        raise InvalidTaskError(f"task {FAN_OUT}: its arguments name no pages of a group", message.id)

    def membership(self, index: int) -> Membership | None:
        try:
            member = None if self.chord is None else Membership.of(self.group, index, self.chord)
            if member is not None:
                member.body()
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise InvalidTaskError(f"task {FAN_OUT}: its chord makes no sense: {error}") from error
        return member


def _is_claim(value: Any) -> bool:
    match value:
        case [int(first), int(size), str()] if first >= 0 and size > 0:
            return True
    return False


def carry_out(effects: DeliveryContext) -> Flow[Settlement]:
    """Do what a message of the task asks for, instead of running it.

    Raises:
        OperationalError: broker or store can't be used; doing all of it again does no harm.
    """
    try:
        part = _Part.of(effects.message)
    except InvalidTaskError as error:
        return _dead_letter(effects, error)
    if len(part.pages) > 1:
        yield from _send(effects, _messages(effects, part))
        effects.log(logging.INFO, "fan_out.pages", "sends group %s: %d pages", part.group, len(part.pages))
        return Acknowledge(effects.delivery)
    return (yield from _send_page(effects, part, part.pages[0]))


def _send_page(effects: DeliveryContext, part: _Part, claim: PageClaim) -> Flow[Settlement]:
    store, page_id = effects.environment.store, pages.record_id(part.group, claim.first)
    record = (yield from effects.insist(lambda: store.load([page_id]))).get(page_id)
    if record is not None and record.final:
        effects.log(logging.INFO, "fan_out.already_sent", "has sent this page of group %s already", part.group)
        return Acknowledge(effects.delivery)
    try:
        members = [_line(signature) for signature in pages.read(record, part.group, claim)]
        successors = list(_members(effects, part, members))
    except (DecodeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        yield from _fail_members(effects, part, claim, ErrorInfo.of(error))
        return _dead_letter(effects, error)
    yield from _send(effects, iter(successors))
    yield from effects.insist(lambda: store.save([pages.sent_record(part.group, claim, effects.environment.clock())]))
    effects.log(logging.INFO, "fan_out.sent", "sends %d members of group %s", claim.size, part.group)
    return Acknowledge(effects.delivery)


def _line(signature: Signature) -> Stages:
    stages = parse(signature)
    if not stages or any(not step.id for step in every_task(stages)):
        raise InvalidTaskError(f"this is no member of a group: {signature!r:.200}")
    return stages


def _messages(effects: DeliveryContext, part: _Part) -> Iterator[Successor]:
    """One message a page, to the queue that this one came from."""
    message = effects.message
    for claim in part.pages:
        of_page = replace(
            message,
            id=derived_id(message.id, "page", claim.first),
            kwargs={**message.kwargs, "pages": [astuple(claim)]},
            headers=_headers(effects),
            payload_reference=None,
        )
        yield Successor(of_page, effects.delivery.queue)


def _members(effects: DeliveryContext, part: _Part, members: Sequence[Stages]) -> Iterator[Successor]:
    message = effects.message
    origin = Origin(
        now=part.now,
        root_id=message.root_id,
        parent_id=message.parent_id,
        headers=_headers(effects),
        paging=effects.paging(),
    )
    place = Place(part.group, part.pages[0].first, part.chord)
    return planner.start_members(members, place, part.args, part.kwargs, origin)


def _headers(effects: DeliveryContext) -> dict[str, Any]:
    """What every message of the group carries; and, where it may have been sent before, that it may have been."""
    own = {name: value for name, value in effects.message.headers.items() if name not in RESERVED_HEADERS}
    return {**own, RESENT: True} if effects.delivery.redelivered else own


def _send(effects: DeliveryContext, successors: Iterator[Successor]) -> Flow[None]:
    while batch := list(islice(successors, BATCH_MESSAGES)):
        try:
            addressed = effects.address(batch)
        except _UNSENDABLE:
            addressed = []
            for each in batch:
                try:
                    addressed += effects.address([each])
                except _UNSENDABLE as error:
                    yield from _fail(effects.about(each.message), ErrorInfo.of(error))
        yield from effects.send(addressed)


def _fail(effects: DeliveryContext, error: ErrorInfo) -> Flow[None]:
    """End a member that can't be sent as if it had run and failed."""
    effects.log(logging.ERROR, "task.failed", "can't be sent: %s: %s", error.exc_type, error.exc_message)
    yield from effects.record(FAILURE, error)
    yield from effects.send(effects.address(effects.following(FAILURE)))
    yield from chords.conclude(effects, FAILURE, error)
    yield from errbacks.call(effects, error)


def _fail_members(effects: DeliveryContext, part: _Part, claim: PageClaim, error: ErrorInfo) -> Flow[None]:
    """Fail the members of a page that is lost, so that neither their chord nor anyone else waits for them."""
    chord = part.membership(claim.first)
    own_ids = {} if chord is None else chord.own_ids
    if chord is not None and chord.saved:
        group = yield from effects.insist(lambda: saved_groups.load(effects.environment.store, chord.group))
        own_ids = {} if group is None else {str(place): each for place, each in enumerate(saved_groups.leaves(group))}
    for index in range(claim.first, claim.first + claim.size):
        member = Message(
            task=FAN_OUT,
            id=own_ids.get(str(index)) or planner.member_id(part.group, index),
            group=part.group,
            group_index=index,
            embed=Embed(chord=part.chord),
            root_id=effects.message.root_id,
            parent_id=effects.message.parent_id,
        )
        about = effects.about(member)
        yield from about.record(FAILURE, error)
        yield from chords.conclude(about, FAILURE, error)


def _dead_letter(effects: DeliveryContext, error: Exception) -> Settlement:
    reason = f"{type(error).__name__}: {error}"
    effects.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", reason)
    return DeadLetter(effects.delivery, reason)
