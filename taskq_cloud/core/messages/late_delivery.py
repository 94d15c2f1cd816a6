"""One-off schedules: a message that is due later than its broker can delay it is held by the platform's scheduler.

When that is so, when the schedule fires, its name, and how it is taken back. What comes early waits out the rest as any
early message does (``execution``, step 4).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.capabilities import BrokerCapabilities, ScheduleCapabilities, is_ordered
from taskq_cloud.core.model.message import Message, Outgoing, Refused
from taskq_cloud.core.ports import Broker, KnowsTargets, ScheduleStore

if TYPE_CHECKING:
    from taskq_cloud.core.model.platform_schedule import PlatformSchedule

PREFIX: Final = "once."
"""What the names of one-off schedules begin with, which tells them from the periodic ones of the same group."""

_PLAIN_ID: Final = re.compile(r"[0-9a-zA-Z\-_]{1,40}")
"""What of a name of 64 characters is left for a task's id; without dots, which separate the parts."""


@dataclass(frozen=True, slots=True)
class OneOff:
    """When a message is to be sent, and the name of the schedule that does it.

    Args:
        name: made from the task's id, its attempt and the time: the same message has one schedule, however often it is
            scheduled, and one that comes early finds no schedule of its own in its way.
        at: seconds since the epoch, whole.
        description: for whoever looks at the schedules.
    """

    name: str
    at: int
    description: str


def due_at(message: Message) -> float | None:
    """When a message has to be looked at, in seconds since the epoch: at its eta, or earlier if it expires before."""
    if message.eta is None:
        return None
    due = message.eta.timestamp()
    return due if message.expires is None else min(due, message.expires.timestamp())


def fires_at(
    broker: BrokerCapabilities, scheduler: ScheduleCapabilities | None, queue: str, due: float | None, now: float
) -> int | None:
    """When a schedule is to send a message that is due at ``due``; None where the broker or the receivers hold it.

    A queue that delays single messages gets it early, by as much as the scheduler may be late: the queue holds it for
    the rest, and it runs on time. On one that doesn't, an early message would stand in the way of those behind it.
    """
    if scheduler is None or due is None or not scheduler.one_off:
        return None
    longest_delay = broker.longest_delay(queue)
    if due - now <= max(longest_delay, broker.longest_parking_seconds if broker.prefers_parking else 0):
        return None
    wanted = due - scheduler.precision_seconds if longest_delay > 0 else math.ceil(due)
    at = math.floor(min(wanted, now + scheduler.longest_lead_seconds))
    return at if at - now >= scheduler.least_lead_seconds else None


def one_off(message: Message, queue: str, at: int) -> OneOff:
    """The schedule of a message."""
    name = f"{prefix_of(message.id)}{message.attempt}.{at}"
    return OneOff(name, at, f"task {message.task}[{message.id}] on queue {queue}")


def prefix_of(task_id: str) -> str:
    """What the names of a task's schedules begin with; those of its attempts follow."""
    stem = task_id if _PLAIN_ID.fullmatch(task_id) else f"h{hashlib.sha256(task_id.encode()).hexdigest()[:39]}"
    return f"{PREFIX}{stem}."


def fits(outgoing: Outgoing, scheduler: ScheduleCapabilities) -> bool:
    """Whether a scheduler takes a message: its body is JSON within JSON there, and so are its attributes."""
    if scheduler.placeholder and any(scheduler.placeholder in value for value in outgoing.attributes.values()):
        return False
    quoted = json.dumps([outgoing.body, *outgoing.attributes, *outgoing.attributes.values()], ensure_ascii=False)
    # Of an attribute, SendMessage's parameters also have a type; of the message, its queue and its ids.
    frame_bytes = 1024 + 64 * len(outgoing.attributes)
    return len(quoted.encode(errors="replace")) + frame_bytes <= scheduler.largest_body_bytes


def put(
    scheduler: ScheduleStore, broker: Broker, messages: Sequence[tuple[str, Outgoing, OneOff]]
) -> Flow[list[Refused | None]]:
    """Schedule messages, each with its queue; one answer a message, in order.

    Raises:
        OperationalError: a queue is not there, or can't be asked for.
    """
    targets: dict[str, str] = {}
    for queue, _, _ in messages:
        if queue not in targets:
            targets[queue] = (yield from broker.target_of(queue)) if isinstance(broker, KnowsTargets) else queue
    placeholder = scheduler.capabilities.placeholder
    return (
        yield from scheduler.put(
            [_schedule(outgoing, once, queue, targets, placeholder) for queue, outgoing, once in messages]
        )
    )


def keeper(scheduler: ScheduleStore | None) -> ScheduleStore | None:
    """The scheduler, if it holds messages that are due late; one for periodic tasks alone does not."""
    return scheduler if scheduler is not None and scheduler.capabilities.one_off else None


def cancel(scheduler: ScheduleStore, task_ids: Sequence[str]) -> Flow[list[bool]]:
    """Remove the schedules of tasks: which of them had one, in order.

    Raises:
        OperationalError: one of them could not be removed.
    """
    if keeper(scheduler) is None:
        return [False] * len(task_ids)
    names: list[str] = []
    owners: list[int] = []
    for position, task_id in enumerate(task_ids):
        cursor = None
        while True:
            page = yield from scheduler.names(prefix_of(task_id), cursor=cursor)
            names += page.names
            owners += [position] * len(page.names)
            cursor = page.cursor
            if cursor is None:
                break
    removed = [False] * len(task_ids)
    for position, answer in zip(owners, (yield from scheduler.delete(names)), strict=True):
        if isinstance(answer, Refused):
            raise answer.error
        removed[position] |= answer
    return removed


def _schedule(
    outgoing: Outgoing, once: OneOff, queue: str, targets: Mapping[str, str], placeholder: str
) -> PlatformSchedule:
    from taskq_cloud.core.model.platform_schedule import PlatformSchedule  # few messages are due late

    body = outgoing.body
    if placeholder:
        # In JSON the same text, and no longer a word that the scheduler would put something in place of.
        body = body.replace(placeholder, f"\\u{ord(placeholder[0]):04x}{placeholder[1:]}")
    return PlatformSchedule(
        name=once.name,
        when=datetime.fromtimestamp(once.at, UTC),
        target=targets[queue],
        body=body,
        group=outgoing.group,
        # Not the message's own: sent on within five minutes for a later time, it would be taken for itself.
        deduplication=once.name if is_ordered(queue) else None,
        attributes=outgoing.attributes,
        description=once.description,
    )
