"""Fan-out: sending the members of a large group for the task that started it (the built-in task ``taskq.fan_out``).

    the group's message ---> a message a page ---> the page's members, in batches ---> the page is marked as sent

The task doesn't run in a pool. It is an effect of the pipeline, as a join is, and each of its steps can be repeated. A
page that is marked as sent is not sent twice. If a crash came before the mark, the members are sent once more with the
same ids, and a header makes them ask the store first whether they have run.

This module reads and decides; ``pipeline`` carries out what ``FanOut`` holds.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice, pairwise
from typing import Any, Final, Self

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.execution.steps.dead_letters import dead_letter
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages.headers import RESERVED_HEADERS
from taskq_cloud.core.messages.sending import UNSENDABLE, Addressed
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Acknowledge, Embed, Message, Settlement, Signature, lineage_of
from taskq_cloud.core.model.option_values import LARGEST_NUMBER
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.model.task_names import FAN_OUT
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.workflows import group_pages, planner, saved_groups
from taskq_cloud.core.workflows.chord_members import Membership
from taskq_cloud.core.workflows.group_pages import PageReference
from taskq_cloud.core.workflows.planner import RESENT, GroupPosition, Origin, Successor
from taskq_cloud.core.workflows.signatures import parse
from taskq_cloud.core.workflows.stages import Stages, every_task
from taskq_cloud.errors import DecodeError, InvalidTaskError, PayloadTooLarge

BATCH_MESSAGES: Final = 100
"""Messages encoded and sent at a time: the part of each that belongs to a chord may be as large as a message."""
_SHA256: Final = re.compile("[0-9a-f]{64}")
_LATEST: Final = datetime.max.replace(tzinfo=UTC).timestamp()
_UNREADABLE: Final = (DecodeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class Failure:
    """A member that can't be sent: it ends as if it had run and failed."""

    context: DeliveryContext
    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Messages to be sent together, and the members among them that can't be sent."""

    messages: Sequence[Addressed] = ()
    failures: Sequence[Failure] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOut:
    """The effects of a message of ``taskq.fan_out``; they are carried out in the order of the fields.

    Args:
        batches: the messages, batch by batch; each batch is made when it is asked for.
        mark: the record that takes the page's place once its members are sent.
        report: logs what was done, after that.
        settlement: the settlement of the message.
    """

    batches: Iterator[Batch] = field(default_factory=lambda: iter(()))
    mark: Record | None = None
    report: Callable[[], None]
    settlement: Settlement


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The arguments of ``taskq.fan_out``: pages of a group, and the arguments that their members are given."""

    group: str
    pages: Sequence[PageReference]
    chord: Signature | None
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    now: float

    @classmethod
    def of(cls, message: Message) -> Self:
        match message.kwargs:
            case {
                "group": str(group),
                "pages": [_, *_] as pages,
                "chord": None | {} as chord,
                "args": [*args],
                "kwargs": {} as kwargs,
                "now": int() | float() as now,
            } if all(map(_is_page, pages)) and 0 <= now < _LATEST:
                found = [PageReference(*page) for page in pages]
                part = cls(group=group, pages=found, chord=chord, args=args, kwargs=kwargs, now=now)
                part.check()
                return part
        raise InvalidTaskError(f"task {FAN_OUT}: its arguments don't name pages of a group", message.id)

    def check(self) -> None:
        """Check that the pages follow each other, have places in the chord, and lead to messages of a bounded size.

        Raises:
            InvalidTaskError: they don't.
            PayloadTooLarge: the messages would be too large together.
        """
        if any(page.first + page.size != after.first for page, after in pairwise(self.pages)):
            raise InvalidTaskError(f"task {FAN_OUT}: the pages of group {self.group!r:.100} don't follow each other")
        self.membership(self.pages[0].first)
        self.membership(self.pages[-1].first + self.pages[-1].size - 1)
        group_pages.check_carried(self.group, [self.chord, self.args, self.kwargs], self.pages)

    def membership(self, index: int) -> Membership | None:
        try:
            member = None if self.chord is None else Membership.read(self.group, index, self.chord)
            if member is not None:
                member.body()
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise InvalidTaskError(f"task {FAN_OUT}: its chord can't be read: {error}") from error
        return member


def _is_page(value: Any) -> bool:
    match value:
        case [int(first), int(size), str(sha256)] if (
            0 <= first < LARGEST_NUMBER and 0 < size <= group_pages.PAGE_MEMBERS
        ):
            return _SHA256.fullmatch(sha256) is not None
    return False


def decide(context: DeliveryContext) -> Flow[FanOut]:
    """Decide the effects of a message of ``taskq.fan_out``.

    Raises:
        OperationalError: the store can't be read; repeating all of it does no harm.
    """
    try:
        part = _Part.of(context.message)
    except (InvalidTaskError, PayloadTooLarge) as error:
        return _dead_letter(context, error)
    if len(part.pages) > 1:
        return FanOut(
            batches=_batches(context, _page_messages(context, part)),
            report=partial(
                context.log, logging.INFO, "fan_out.pages", "sends group %s: %d pages", part.group, len(part.pages)
            ),
            settlement=Acknowledge(context.delivery),
        )
    return (yield from _decide_page(context, part, part.pages[0]))


def _decide_page(context: DeliveryContext, part: _Part, page: PageReference) -> Flow[FanOut]:
    lineage, settlement = lineage_of(part.group, context.message.headers), Acknowledge(context.delivery)
    page_id = group_pages.record_id(lineage, page.first)
    record = (yield from context.store.load([page_id])).get(page_id)
    if record is not None and record.final:
        text = "has sent this page of group %s already"
        report = partial(context.log, logging.INFO, "fan_out.already_sent", text, part.group)
        return FanOut(report=report, settlement=settlement)
    try:
        members = [_member(signature) for signature in group_pages.read(record, lineage, page)]
        messages = list(_member_messages(context, part, members))
        group_pages.check_sent(part.group, (each.message for each in messages))
    except (*_UNREADABLE, PayloadTooLarge) as error:
        failures = yield from _lost_members(context, part, page, ErrorInfo.of(error))
        return replace(_dead_letter(context, error), batches=iter([Batch(failures=failures)]))
    return FanOut(
        batches=_batches(context, iter(messages)),
        mark=group_pages.sent_record(lineage, page, context.now),
        report=partial(
            context.log, logging.INFO, "fan_out.sent", "sends %d members of group %s", page.size, part.group
        ),
        settlement=settlement,
    )


def _member(signature: Signature) -> Stages:
    stages = parse(signature)
    if not stages or any(not task.id for task in every_task(stages)):
        raise InvalidTaskError(f"this signature isn't that of a group's member: {signature!r:.200}")
    return stages


def _page_messages(context: DeliveryContext, part: _Part) -> Iterator[Successor]:
    """One message a page, to the queue that this message came from."""
    message = context.message
    for page in part.pages:
        of_page = replace(
            message,
            id=derived_id(message.id, "page", page.first),
            kwargs={**message.kwargs, "pages": [astuple(page)]},
            headers=_headers(context),
            payload_reference=None,
        )
        yield Successor(of_page, context.delivery.queue)


def _member_messages(context: DeliveryContext, part: _Part, members: Sequence[Stages]) -> Iterator[Successor]:
    message = context.message
    origin = Origin(
        now=part.now,
        root_id=message.root_id,
        parent_id=message.parent_id,
        headers=_headers(context),
        paging=context.environment.paging(),
    )
    position = GroupPosition(part.group, part.pages[0].first, part.chord)
    return planner.start_members(members, position, part.args, part.kwargs, origin)


def _headers(context: DeliveryContext) -> dict[str, Any]:
    """The headers of every message of the group, with a mark if the message may have been sent before."""
    own = {name: value for name, value in context.message.headers.items() if name not in RESERVED_HEADERS}
    return {**own, RESENT: True} if context.delivery.redelivered else own


def _batches(context: DeliveryContext, messages: Iterator[Successor]) -> Iterator[Batch]:
    while some := list(islice(messages, BATCH_MESSAGES)):
        try:
            yield Batch(messages=context.address(some))
        except UNSENDABLE:
            yield _one_by_one(context, some)


def _one_by_one(context: DeliveryContext, messages: Sequence[Successor]) -> Batch:
    """Encode the messages of a batch one by one, to tell those that can't be sent from the others."""
    addressed: list[Addressed] = []
    failures: list[Failure] = []
    for each in messages:
        try:
            addressed += context.address([each])
        except UNSENDABLE as error:
            about, described = context.about(each.message), ErrorInfo.of(error)
            about.log(logging.ERROR, "task.failed", "can't be sent: %s", described.summary)
            failures.append(Failure(about, described))
    return Batch(messages=addressed, failures=failures)


def _lost_members(context: DeliveryContext, part: _Part, page: PageReference, error: ErrorInfo) -> Flow[list[Failure]]:
    """The members of a lost page, which fail so that neither their chord nor anyone else waits for them."""
    chord = part.membership(page.first)
    own_ids = {} if chord is None else chord.own_ids
    if chord is not None and chord.saved:
        store = context.environment.store
        group = yield from context.patience.repeat(lambda: saved_groups.load(store, chord.group))
        own_ids = {} if group is None else {str(place): each for place, each in enumerate(saved_groups.leaves(group))}
    members = [
        Message(
            task=FAN_OUT,
            id=own_ids.get(str(index)) or planner.member_id(part.group, index),
            group=part.group,
            group_index=index,
            embed=Embed(chord=part.chord),
            root_id=context.message.root_id,
            parent_id=context.message.parent_id,
        )
        for index in range(page.first, page.first + page.size)
    ]
    return [Failure(context.about(member), error) for member in members]


def _dead_letter(context: DeliveryContext, error: Exception) -> FanOut:
    reason = f"{type(error).__name__}: {error}"
    return FanOut(
        report=partial(context.log, logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", reason),
        settlement=dead_letter(context, reason),
    )
