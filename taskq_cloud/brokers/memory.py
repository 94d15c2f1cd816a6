"""The memory broker, which keeps messages in this process: for tests, and for tasks that run in the process's threads.

Each broker object has its own queues, so code that shares the queues must share the object.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar
from urllib.parse import SplitResult

from taskq_cloud.brokers._local import (
    DEDUPLICATION_SECONDS,
    LOCAL_CAPABILITIES,
    at_once,
    lost_lease,
    queues_with_more,
    read_cursor,
    receive_in_time,
    refusal,
    write_cursor,
)
from taskq_cloud.brokers._memory_queue import MemoryMessage, MemoryQueue
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.announcements import Announcements, Listener
from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, BrokerCapabilities, dead_letter_queue, is_ordered
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.model.local_clock import LatestTime
from taskq_cloud.core.model.message import (
    DEAD_LETTER_REASON,
    DEAD_LETTER_SOURCE,
    Acknowledge,
    DeadLetter,
    Delivery,
    Outgoing,
    Refused,
    Release,
    Sent,
    Settlement,
)
from taskq_cloud.core.ports import Depth, HeldMessage, HeldPage, Service
from taskq_cloud.core.urls import query_of


class MemoryBroker:
    """The broker of ``memory://`` URLs. Threads may share it.

    Args:
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[BrokerCapabilities] = replace(
        LOCAL_CAPABILITIES, shared_between_processes=False, durable=False
    )

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._queues: dict[str, MemoryQueue] = {}
        self._numbers = itertools.count(1)
        self._latest = LatestTime(clock())
        self._receipts = itertools.count(1)
        self._announcements = Announcements()

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> MemoryBroker:
        """Make the broker of a ``memory://`` URL.

        Raises:
            ImproperlyConfigured: the URL has options.
        """
        query_of(url)
        return cls()

    @property
    def services(self) -> Mapping[str, Service]:
        """No services, as the flows make no calls."""
        return {}

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Send messages; see ``Broker.send``."""
        yield from ()
        with self._lock:
            answers = [refusal(queue, each, self.capabilities) or self._put(queue, each) for each in messages]
        self._announcements.announce([queue])
        return answers

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Receive messages; see ``Broker.receive``."""
        take = partial(self._take, queue, limit, lease_seconds)
        seconds_until_next = partial(self._seconds_until_next, queue)
        listener = Listener()

        def listen() -> Listener:
            self._announcements.enter(listener, {queue: queue})
            return listener

        try:
            return (
                yield from receive_in_time(
                    partial(at_once, take), partial(at_once, seconds_until_next), wait_seconds, partial(at_once, listen)
                )
            )
        finally:
            listener.close()

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries; see ``Broker.settle``."""
        yield from ()
        with self._lock:
            for settlement in settlements:
                self._settle(settlement)
        self._announcements.announce(queues_with_more(settlements))
        return [None] * len(settlements)

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Extend the leases of deliveries; see ``Broker.extend``."""
        yield from ()
        with self._lock:
            return [self._extend(delivery, lease_seconds) for delivery in deliveries]

    def depth(self, queue: str) -> Flow[Depth]:
        """Count a queue's messages; see ``Broker.depth``."""
        yield from ()
        with self._lock:
            now = self._now()
            messages = list(self._messages(queue).values())
            delayed = sum(each.visible_at > now and each.receipt is None for each in messages)
            in_flight = sum(each.visible_at > now and each.receipt is not None for each in messages)
        return Depth(waiting=len(messages) - delayed - in_flight, delayed=delayed, in_flight=in_flight)

    def held(self, queues: Sequence[str], *, limit: int, cursor: str | None = None) -> Flow[HeldPage]:
        """List the messages that queues hold back; see ``ListsHeld.held``."""
        yield from ()
        after = read_cursor(cursor)
        with self._lock:
            now = self._now()
            found = sorted(
                (each.visible_at, number, HeldMessage(queue, each.body, each.visible_at))
                for queue in queues
                for number, each in self._messages(queue).items()
                if each.visible_at > now and each.receipt is None and (each.visible_at, number) > after
            )
        page = found[:limit]
        more = len(found) > limit
        return HeldPage([each for *_, each in page], write_cursor(*page[-1][:2]) if more else None)

    def purge(self, queue: str) -> Flow[int | None]:
        """Remove a queue's messages; see ``Broker.purge``."""
        yield from ()
        with self._lock:
            found = self._queues.get(queue, MemoryQueue())
            count = len(found.messages)
            found.messages.clear()
            found.times.clear()
        return count

    def _now(self) -> float:
        """Read the clock. If it was set back, move all times back: see ``core.model.local_clock``."""
        now = self._clock()
        back_seconds = self._latest.step_back(now)
        if back_seconds:
            for queue in self._queues.values():
                for message in queue.messages.values():
                    message.visible_at -= back_seconds
                queue.seen = {each: (at - back_seconds, first) for each, (at, first) in queue.seen.items()}
                queue.sort_times()
        return now

    def _messages(self, queue: str) -> dict[int, MemoryMessage]:
        found = self._queues.get(queue)
        return found.messages if found else {}

    def _put(self, queue: str, message: Outgoing) -> Sent:
        now = self._now()
        target = self._queues.setdefault(queue, MemoryQueue())
        message_id = new_id()
        if is_ordered(queue) and message.deduplication is not None:
            _forget_old_ids(target.seen, now)
            seen = target.seen.get(message.deduplication)
            if seen is not None:
                return Sent(seen[1])
        added = MemoryMessage(
            message_id=message_id,
            body=message.body,
            group=message.group or (DEFAULT_GROUP if is_ordered(queue) else None),
            attributes=dict(message.attributes),
            sent_at=now,
        )
        target.add(next(self._numbers), added, now + message.delay_seconds)
        if is_ordered(queue) and message.deduplication is not None:  # not before the message is there
            target.seen[message.deduplication] = (now, message_id)
        return Sent(message_id)

    def _take(self, queue: str, limit: int, lease_seconds: float) -> list[Delivery]:
        with self._lock:
            now = self._now()
            found, limit = self._queues.get(queue), min(limit, self.capabilities.receive_batch)
            if found is None:
                return []
            ready = found.ordered_ready(now) if is_ordered(queue) else found.ready(now)
            numbers: Iterable[int] = itertools.islice(ready, limit)
            if is_ordered(queue):
                numbers = [*numbers]  # a delivery holds up its group, but not the rest of this batch
            return [self._deliver(found, queue, number, now, lease_seconds) for number in numbers]

    def _seconds_until_next(self, queue: str) -> float | None:
        with self._lock:
            now = self._now()
            found = self._queues.get(queue)
            if found is None:
                return None
            if not is_ordered(queue):
                at = found.next_at()
                return None if at is None else at - now
            if next(found.ordered_ready(now), None) is not None:
                return 0.0
            return min(
                (each.visible_at - now for each in found.messages.values() if each.visible_at > now), default=None
            )

    def _deliver(self, found: MemoryQueue, queue: str, number: int, now: float, lease_seconds: float) -> Delivery:
        message = found.messages[number]
        message.receive_count += 1
        message.receipt = f"{number}.{next(self._receipts)}"
        found.show(number, now + lease_seconds)
        return Delivery(
            queue=queue,
            message_id=message.message_id,
            receipt=message.receipt,
            body=message.body,
            receive_count=message.receive_count,
            sent_at=message.sent_at,
            received_at=now,
            lease_seconds=lease_seconds,
            group=message.group,
            attributes=message.attributes,
        )

    def _settle(self, settlement: Settlement) -> None:
        delivery = settlement.delivery
        number, message = self._find(delivery)
        if message is None:
            return
        messages = self._messages(delivery.queue)
        match settlement:
            case Acknowledge():
                del messages[number]
            case Release(after_seconds=after_seconds, counts=counts):
                message.receipt = None
                message.receive_count -= not counts
                # A released message gets its turn after those that wait, so that a message that is released again
                # and again doesn't keep the others waiting.
                self._queues[delivery.queue].show(number, self._now() + after_seconds)
            case DeadLetter(reason=reason):
                attributes = {
                    **delivery.attributes,
                    DEAD_LETTER_REASON: reason,
                    DEAD_LETTER_SOURCE: delivery.queue,
                }
                dead = Outgoing(body=message.body, group=message.group, attributes=attributes)
                self._put(dead_letter_queue(delivery.queue), dead)
                del messages[number]

    def _extend(self, delivery: Delivery, lease_seconds: float) -> Refused | None:
        _, message = self._find(delivery)
        now = self._now()
        if message is None or message.visible_at <= now:
            return lost_lease(delivery)
        self._queues[delivery.queue].show(int(delivery.receipt.partition(".")[0]), now + lease_seconds)
        return None

    def _find(self, delivery: Delivery) -> tuple[int, MemoryMessage | None]:
        """Find a delivery's number and message; the message is None if it was delivered again or settled since."""
        number = int(delivery.receipt.partition(".")[0])
        message = self._messages(delivery.queue).get(number)
        return number, message if message is not None and message.receipt == delivery.receipt else None


def _forget_old_ids(seen: dict[str, tuple[float, str]], now: float) -> None:
    # The oldest ids come first, since an id keeps the position and the time of its first message.
    while seen:
        oldest = next(iter(seen))
        if seen[oldest][0] > now - DEDUPLICATION_SECONDS:
            return
        del seen[oldest]
