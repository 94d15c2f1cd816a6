"""The memory broker, which keeps messages in this process: for tests, and for tasks that run in the process's threads.

Each broker object has its own queues, so code that shares the queues must share the object.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.parse import SplitResult
from uuid import uuid4

from taskq_cloud.brokers._local import (
    DEDUPLICATION_SECONDS,
    LOCAL_CAPABILITIES,
    lost_lease,
    polling_pauses,
    read_cursor,
    refusal,
    write_cursor,
)
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, BrokerCapabilities, dead_letter_queue, is_ordered
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


@dataclass(slots=True)
class _Message:
    """A message in a queue.

    Args:
        receipt: the receipt of the last delivery; None before the first delivery and after a release.
    """

    message_id: str
    body: str
    group: str | None
    attributes: Mapping[str, str]
    sent_at: float
    visible_at: float
    receipt: str | None = None
    receive_count: int = 0


@dataclass(slots=True)
class _Queue:
    """A queue.

    Args:
        messages: number -> message, in the order in which messages are delivered.
        seen: deduplication id -> when it was first seen, and the id of the message that had it.
    """

    messages: dict[int, _Message] = field(default_factory=dict)
    seen: dict[str, tuple[float, str]] = field(default_factory=dict)


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
        self._queues: dict[str, _Queue] = {}
        self._numbers = itertools.count(1)
        self._latest = LatestTime(clock())
        self._receipts = itertools.count(1)

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
            return [refusal(queue, each, self.capabilities) or self._put(queue, each) for each in messages]

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Receive messages; see ``Broker.receive``."""
        deliveries = self._take(queue, limit, lease_seconds)
        for pause in polling_pauses(0 if deliveries else wait_seconds):
            yield pause
            deliveries = self._take(queue, limit, lease_seconds)
            if deliveries:
                break
        return deliveries

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries; see ``Broker.settle``."""
        yield from ()
        with self._lock:
            for settlement in settlements:
                self._settle(settlement)
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
            count = len(self._messages(queue))
            self._messages(queue).clear()
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
        return now

    def _messages(self, queue: str) -> dict[int, _Message]:
        found = self._queues.get(queue)
        return found.messages if found else {}

    def _put(self, queue: str, message: Outgoing) -> Sent:
        now = self._now()
        target = self._queues.setdefault(queue, _Queue())
        message_id = str(uuid4())
        if is_ordered(queue) and message.deduplication is not None:
            _forget_old_ids(target.seen, now)
            _, first_id = target.seen.setdefault(message.deduplication, (now, message_id))
            if first_id != message_id:
                return Sent(first_id)
        target.messages[next(self._numbers)] = _Message(
            message_id=message_id,
            body=message.body,
            group=message.group or (DEFAULT_GROUP if is_ordered(queue) else None),
            attributes=dict(message.attributes),
            sent_at=now,
            visible_at=now + message.delay_seconds,
        )
        return Sent(message_id)

    def _take(self, queue: str, limit: int, lease_seconds: float) -> list[Delivery]:
        with self._lock:
            now = self._now()
            messages = self._messages(queue)
            ready = _ordered_ready(messages, now) if is_ordered(queue) else _ready(messages, now)
            numbers = list(itertools.islice(ready, min(limit, self.capabilities.receive_batch)))
            return [self._deliver(queue, number, messages[number], now, lease_seconds) for number in numbers]

    def _deliver(self, queue: str, number: int, message: _Message, now: float, lease_seconds: float) -> Delivery:
        message.receive_count += 1
        message.receipt = f"{number}.{next(self._receipts)}"
        message.visible_at = now + lease_seconds
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
                message.visible_at = self._now() + after_seconds
                if not is_ordered(delivery.queue):
                    # A released message goes to the end, so that a message that is released again and again doesn't
                    # keep the others waiting.
                    messages[number] = messages.pop(number)
            case DeadLetter(reason=reason):
                del messages[number]
                attributes = {
                    **delivery.attributes,
                    DEAD_LETTER_REASON: reason,
                    DEAD_LETTER_SOURCE: delivery.queue,
                }
                dead = Outgoing(body=message.body, group=message.group, attributes=attributes)
                self._put(dead_letter_queue(delivery.queue), dead)

    def _extend(self, delivery: Delivery, lease_seconds: float) -> Refused | None:
        _, message = self._find(delivery)
        now = self._now()
        if message is None or message.visible_at <= now:
            return lost_lease(delivery)
        message.visible_at = now + lease_seconds
        return None

    def _find(self, delivery: Delivery) -> tuple[int, _Message | None]:
        """Find a delivery's number and message; the message is None if it was delivered again or settled since."""
        number = int(delivery.receipt.partition(".")[0])
        message = self._messages(delivery.queue).get(number)
        return number, message if message is not None and message.receipt == delivery.receipt else None


def _ready(messages: Mapping[int, _Message], now: float) -> list[int]:
    return [number for number, message in messages.items() if message.visible_at <= now]


def _ordered_ready(messages: Mapping[int, _Message], now: float) -> list[int]:
    """The numbers of the messages that an ordered queue can deliver.

    A group with a message in flight delivers none; another group delivers its messages up to the first delayed one.
    """
    blocked = {
        message.group for message in messages.values() if message.receipt is not None and message.visible_at > now
    }
    ready = []
    for number, message in messages.items():
        if message.group in blocked:
            continue
        if message.visible_at > now:
            blocked.add(message.group)
            continue
        ready.append(number)
    return ready


def _forget_old_ids(seen: dict[str, tuple[float, str]], now: float) -> None:
    # The oldest ids come first, since an id keeps the position and the time of its first message.
    while seen:
        oldest = next(iter(seen))
        if seen[oldest][0] > now - DEDUPLICATION_SECONDS:
            return
        del seen[oldest]
