"""Empties a queue that is to be dropped, renamed or made anew as a queue of the other kind.

Nothing is removed here: messages, dead letters and one-off schedules are moved to another queue, or waited for.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages.late_delivery import PREFIX
from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, dead_letter_queue, is_ordered
from taskq_cloud.core.model.message import Acknowledge, Delivery, Outgoing, Refused, Release, Sent
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import Broker, Depth, KnowsTargets, ScheduleStore
from taskq_cloud.errors import QueueNotFound

EMPTY_RECEIVES: Final = 5
"""The receives without a message after which a queue counts as empty if its provider doesn't count messages."""

_WAIT_SECONDS: Final = 2.0
_LEASE_SECONDS: Final = 60.0
_PAGE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The messages that would be lost with a queue, and the schedules that still send to it.

    Args:
        depth: the queue's counts; None: the provider doesn't count messages.
        dead: the counts of its dead-letter queue; None: there is none, or the provider doesn't count messages.
        late: the one-off schedules of late tasks that send to it.
        periodic: the schedules of periodic tasks that send to it.
    """

    depth: Depth | None
    dead: Depth | None
    late: tuple[PlatformSchedule, ...] = ()
    periodic: tuple[PlatformSchedule, ...] = ()

    @property
    def parts(self) -> list[str]:
        """What is left, in words, such as ``"3 messages in flight"``; empty if nothing is."""
        depth = self.depth or Depth(0, 0, 0)
        counts = (
            (depth.waiting, "message{} waiting"),
            (depth.delayed, "message{} delayed"),
            (depth.in_flight, "message{} in flight"),
            (self.dead.total if self.dead else 0, "dead letter{}"),
            (len(self.late), "late task{} in the scheduler"),
            (len(self.periodic), "schedule{} of periodic tasks"),
        )
        return [f"{count} {words.format('' if count == 1 else 's')}" for count, words in counts if count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """The draining of one queue.

    Args:
        broker: the broker.
        scheduler: the platform's scheduler; None: there is none.
        queue: the queue.
        to: the queue that takes over what the queue holds; None: workers empty it.
        moved: the number of what was moved so far: of each ``"message"``, ``"dead letter"`` and ``"late task"``.
        clock: returns the time, in seconds since the epoch.
    """

    broker: Broker
    scheduler: ScheduleStore | None
    queue: str
    to: str | None = None
    moved: Counter[str] = field(default_factory=Counter)
    clock: Callable[[], float] = time.time

    def turn(self) -> Flow[Held]:
        """Move whatever can be moved at present, and return what is left.

        Raises:
            QueueNotFound: the queue, or the one to move to, does not exist.
            TaskQError: the broker or the scheduler refused a message or a schedule, which stays where it is.
        """
        late, periodic = yield from self._schedules()
        if self.to is not None:
            late = yield from self._retarget(late, self.to)
            yield from self._move("message", self.queue, self.to)
            yield from self._move_dead_letters(self.to)
        depth = yield from self.broker.depth(self.queue)
        dead = yield from self._dead_letters()
        return Held(depth=depth, dead=dead, late=tuple(late), periodic=tuple(periodic))

    def _dead_letters(self) -> Flow[Depth | None]:
        try:
            return (yield from self.broker.depth(dead_letter_queue(self.queue)))
        except QueueNotFound:
            return None

    def _move_dead_letters(self, to: str) -> Flow[None]:
        source = dead_letter_queue(self.queue)
        try:
            counted = yield from self.broker.depth(source)
        except QueueNotFound:
            return
        if counted is None or counted.total:
            yield from self._move("dead letter", source, dead_letter_queue(to))

    # -- messages

    def _move(self, kind: str, source: str, target: str) -> Flow[None]:
        """Move messages until receives find none.

        A message is sent before it is removed, so a crash in between leaves a duplicate and loses nothing.
        """
        abilities, empty = self.broker.capabilities, 0
        # Exact counts need no wait: they show whether another turn has to look for more messages.
        exact = abilities.counts_messages and not abilities.counts_lag_seconds
        wait = 0.0 if exact else min(_WAIT_SECONDS, abilities.longest_wait_seconds)
        while empty < (1 if abilities.counts_messages else EMPTY_RECEIVES):
            deliveries = yield from self.broker.receive(source, abilities.receive_batch, wait, _LEASE_SECONDS)
            empty = 0 if deliveries else empty + 1
            if deliveries:
                yield from self._send_on(kind, deliveries, target)

    def _send_on(self, kind: str, deliveries: Sequence[Delivery], target: str) -> Flow[None]:
        answers: Sequence[Sent | Refused]
        try:
            answers = yield from self.broker.send(target, [_outgoing(each, target) for each in deliveries])
        except Exception:
            yield from self.broker.settle([Release(each, counts=False) for each in deliveries])
            raise
        pairs = list(zip(deliveries, answers, strict=True))
        refused = [answer.error for _, answer in pairs if isinstance(answer, Refused)]
        settled = yield from self.broker.settle(
            [Acknowledge(each) if isinstance(answer, Sent) else Release(each, counts=False) for each, answer in pairs]
        )
        self.moved[kind] += len(deliveries) - len(refused)
        failed = [*refused, *(answer.error for answer in settled if answer is not None)]
        if failed:
            raise failed[0]

    # -- schedules

    def _schedules(self) -> Flow[tuple[list[PlatformSchedule], list[PlatformSchedule]]]:
        """Return the schedules that send to the queue: those of late tasks, and those of periodic tasks."""
        late: list[PlatformSchedule] = []
        periodic: list[PlatformSchedule] = []
        if self.scheduler is None:
            return late, periodic
        target = yield from self._target(self.queue)
        cursor: str | None = None
        while True:
            page = yield from self.scheduler.names(limit=_PAGE, cursor=cursor)
            found = yield from self.scheduler.load(page.names)
            for name, schedule in found.items():
                if schedule.target == target:
                    (late if name.startswith(PREFIX) else periodic).append(schedule)
            cursor = page.cursor
            if cursor is None:
                return late, periodic

    def _retarget(self, late: Sequence[PlatformSchedule], to: str) -> Flow[list[PlatformSchedule]]:
        """Let the schedules of late tasks send to another queue; return those that still send to this one.

        A schedule that fires while it is changed would be made again, and its task be sent twice. So those that are
        about to fire are left alone: their messages are moved when they have come.
        """
        if not late or self.scheduler is None:
            return []
        abilities = self.scheduler.capabilities
        soon = self.clock() + abilities.least_lead_seconds + abilities.precision_seconds
        left = [each for each in late if isinstance(each.when, datetime) and each.when.timestamp() <= soon]
        target = yield from self._target(to)
        # Only an ordered queue takes a group from a schedule.
        changed = [
            replace(each, target=target, group=(each.group or DEFAULT_GROUP) if is_ordered(to) else None)
            for each in late
            if each not in left
        ]
        answers = yield from self.scheduler.put(changed, replace=True)
        failed = [answer.error for answer in answers if answer is not None]
        self.moved["late task"] += len(changed) - len(failed)
        if failed:
            raise failed[0]
        return left

    def _target(self, queue: str) -> Flow[str]:
        if isinstance(self.broker, KnowsTargets):
            return (yield from self.broker.target_of(queue))
        return queue


def _outgoing(delivery: Delivery, target: str) -> Outgoing:
    # The deduplication id makes a message that is moved twice within five minutes one message on a FIFO queue.
    deduplication = delivery.message_id if is_ordered(target) else None
    return Outgoing(
        body=delivery.body, group=delivery.group, deduplication=deduplication, attributes=delivery.attributes
    )
