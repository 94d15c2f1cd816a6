"""One-off schedules: the platform's scheduler holds messages that are due later than their broker can delay them.

This module decides which messages are scheduled and when their schedules fire, names the schedules, and removes them. A
message that comes before it is due waits for the rest of the time as any early message does
(``execution.steps.not_due``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.capabilities import BrokerCapabilities, ScheduleCapabilities, is_ordered
from taskq_cloud.core.model.message import Message, Outgoing, Refused
from taskq_cloud.core.ports import Broker, KnowsTargets, ScheduleStore

if TYPE_CHECKING:
    from taskq_cloud.core.model.platform_schedule import PlatformSchedule

PREFIX: Final = "once."
"""The beginning of the names of one-off schedules. The names of periodic schedules, which may be in the same group,
begin differently."""

_PLAIN_ID: Final = re.compile(r"[0-9a-zA-Z\-_]{1,40}")
"""Matches a task id that can be a part of a schedule's name. A name has at most 64 characters, of which 40 are left for
the id, and the id can't contain dots, because dots separate the parts."""


@dataclass(frozen=True, slots=True)
class OneOff:
    """The name and the time of the schedule that sends one message.

    Args:
        name: the schedule's name, made from the task's id, its attempt and the time. So a message that is scheduled
            twice has one schedule, and a message that comes early can be scheduled once more for its full time.
        at: the time at which the schedule fires, in whole seconds since the epoch.
        description: a description for people who look at the schedules.
    """

    name: str
    at: int
    description: str


def due_at(message: Message) -> float | None:
    """The time at which a message is due, in seconds since the epoch: its eta, or its expiry if that is earlier.

    None for a message without an eta.
    """
    if message.eta is None:
        return None
    due = message.eta.timestamp()
    return due if message.expires is None else min(due, message.expires.timestamp())


def fires_at(
    broker: BrokerCapabilities, scheduler: ScheduleCapabilities | None, queue: str, due: float | None, now: float
) -> int | None:
    """Decide the time at which a schedule is to send a message; None: the broker or the receivers hold it back.

    A queue that can delay single messages gets the message early, by as much as the scheduler may be late: the queue
    holds it back for the rest, and the message arrives on time. On a queue that can't, an early message would block the
    messages behind it.

    Args:
        broker: the capabilities of the broker.
        scheduler: the capabilities of the scheduler; None: there is no scheduler.
        queue: the message's queue.
        due: when the message is due, in seconds since the epoch; None: it is not delayed.
        now: the time, in seconds since the epoch.
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
    """Make the name and the description of a message's schedule.

    Args:
        message: the message.
        queue: its queue.
        at: the time at which the schedule fires, in seconds since the epoch.
    """
    name = f"{prefix_of(message.id)}{message.attempt}.{at}"
    return OneOff(name, at, f"task {message.task}[{message.id}] on queue {queue}")


def prefix_of(task_id: str) -> str:
    """The beginning of the names of a task's schedules; the number of the attempt follows."""
    if _PLAIN_ID.fullmatch(task_id):
        return f"{PREFIX}{task_id}."
    import hashlib  # few messages are due late, and most ids are plain

    return f"{PREFIX}h{hashlib.sha256(task_id.encode()).hexdigest()[:39]}."


def fits(outgoing: Outgoing, scheduler: ScheduleCapabilities) -> bool:
    """Whether a message is small enough for a scheduler, which writes body and attributes as JSON within JSON.

    A message with an attribute that the scheduler would alter doesn't fit either.
    """
    if scheduler.placeholder and any(scheduler.placeholder in value for value in outgoing.attributes.values()):
        return False
    quoted = json.dumps([outgoing.body, *outgoing.attributes, *outgoing.attributes.values()], ensure_ascii=False)
    # The parameters of SendMessage also hold a type for each attribute, and the message's queue and ids.
    frame_bytes = 1024 + 64 * len(outgoing.attributes)
    return len(quoted.encode(errors="replace")) + frame_bytes <= scheduler.largest_body_bytes


def put(
    scheduler: ScheduleStore, broker: Broker, messages: Sequence[tuple[str, Outgoing, OneOff]]
) -> Flow[list[Refused | None]]:
    """Schedule messages, and return one answer for each of them, in order; None: the message is scheduled.

    Args:
        scheduler: the scheduler.
        broker: the broker, which knows the scheduler's names for its queues.
        messages: the messages, each with its queue and its schedule.

    Raises:
        OperationalError: a queue doesn't exist, or can't be looked up.
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


def late_scheduler(scheduler: ScheduleStore | None) -> ScheduleStore | None:
    """The scheduler, if it can hold messages that are due late; None for a scheduler of periodic tasks only."""
    return scheduler if scheduler is not None and scheduler.capabilities.one_off else None


def cancel(scheduler: ScheduleStore, task_ids: Sequence[str]) -> Flow[list[bool]]:
    """Remove the schedules of tasks, and return for each task, in order, whether it had one.

    Raises:
        OperationalError: a schedule could not be removed.
    """
    if late_scheduler(scheduler) is None:
        return [False] * len(task_ids)
    names: list[str] = []
    positions: list[int] = []
    for position, task_id in enumerate(task_ids):
        cursor = None
        while True:
            page = yield from scheduler.names(prefix_of(task_id), cursor=cursor)
            names += page.names
            positions += [position] * len(page.names)
            cursor = page.cursor
            if cursor is None:
                break
    removed = [False] * len(task_ids)
    for position, answer in zip(positions, (yield from scheduler.delete(names)), strict=True):
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
        # The escape doesn't change the JSON, but the scheduler no longer finds the word that it would replace.
        body = body.replace(placeholder, f"\\u{ord(placeholder[0]):04x}{placeholder[1:]}")
    return PlatformSchedule(
        name=once.name,
        when=datetime.fromtimestamp(once.at, UTC),
        target=targets[queue],
        body=body,
        group=outgoing.group,
        # The message's own deduplication id would drop the message if it is scheduled again within five minutes.
        deduplication=once.name if is_ordered(queue) else None,
        attributes=outgoing.attributes,
        description=once.description,
    )
