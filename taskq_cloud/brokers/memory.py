"""Messages in this process's memory: for tests, and for an application that runs its tasks in its own threads.

The queues live in the broker object; whoever is to share them shares it.
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
    polling,
    read_cursor,
    refusal,
    write_cursor,
)
from taskq_cloud.core.flows import Flow
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
from taskq_cloud.core.ports import (
    DEFAULT_GROUP,
    BrokerCapabilities,
    Depth,
    HeldMessage,
    HeldPage,
    Service,
    dead_letter_queue,
    is_ordered,
)
from taskq_cloud.core.urls import query_of
from taskq_cloud.errors import OperationalError


@dataclass(slots=True)
class _Held:
    """A message; ``receipt`` is that of its last delivery, until it is released."""

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
    """Messages by number, in the order they are handed over in; deduplication ids -> when seen, and as what."""

    messages: dict[int, _Held] = field(default_factory=dict)
    seen: dict[str, tuple[float, str]] = field(default_factory=dict)


class MemoryBroker:
    """The broker behind ``memory://``; any thread may use it.

    Args:
        clock: the time, in seconds since the epoch.
    """

    capabilities: ClassVar[BrokerCapabilities] = replace(
        LOCAL_CAPABILITIES, shared_between_processes=False, durable=False
    )

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._queues: dict[str, _Queue] = {}
        self._numbers = itertools.count(1)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> MemoryBroker:
        """``memory://``."""
        query_of(url)
        return cls()

    @property
    def services(self) -> Mapping[str, Service]:
        """None: its flows make no calls."""
        return {}

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Send messages: see ``Broker.send``."""
        yield from ()
        with self._lock:
            return [refusal(queue, each, self.capabilities) or self._put(queue, each) for each in messages]

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Take messages: see ``Broker.receive``."""
        deliveries = self._claim(queue, limit, lease_seconds)
        for pause in polling(0 if deliveries else wait_seconds):
            yield pause
            deliveries = self._claim(queue, limit, lease_seconds)
            if deliveries:
                break
        return deliveries

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries: see ``Broker.settle``."""
        yield from ()
        with self._lock:
            for settlement in settlements:
                self._settle(settlement)
        return [None] * len(settlements)

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Lease deliveries for longer: see ``Broker.extend``."""
        yield from ()
        with self._lock:
            return [self._extend(delivery, lease_seconds) for delivery in deliveries]

    def depth(self, queue: str) -> Flow[Depth]:
        """Count a queue's messages: see ``Broker.depth``."""
        yield from ()
        now = self._clock()
        with self._lock:
            held = list(self._messages(queue).values())
            delayed = sum(each.visible_at > now and each.receipt is None for each in held)
            in_flight = sum(each.visible_at > now and each.receipt is not None for each in held)
        return Depth(waiting=len(held) - delayed - in_flight, delayed=delayed, in_flight=in_flight)

    def held(self, queues: Sequence[str], *, limit: int, cursor: str | None = None) -> Flow[HeldPage]:
        """A page of what is held back: see ``ListsHeld.held``."""
        yield from ()
        now, after = self._clock(), read_cursor(cursor)
        with self._lock:
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
        """Remove a queue's messages: see ``Broker.purge``."""
        yield from ()
        with self._lock:
            count = len(self._messages(queue))
            self._messages(queue).clear()
        return count

    def _messages(self, queue: str) -> dict[int, _Held]:
        found = self._queues.get(queue)
        return found.messages if found else {}

    def _put(self, queue: str, message: Outgoing) -> Sent:
        now = self._clock()
        there = self._queues.setdefault(queue, _Queue())
        message_id = str(uuid4())
        if is_ordered(queue) and message.deduplication is not None:
            _forget_old(there.seen, now)
            _, first_id = there.seen.setdefault(message.deduplication, (now, message_id))
            if first_id != message_id:
                return Sent(first_id)
        there.messages[next(self._numbers)] = _Held(
            message_id=message_id,
            body=message.body,
            group=message.group or (DEFAULT_GROUP if is_ordered(queue) else None),
            attributes=dict(message.attributes),
            sent_at=now,
            visible_at=now + message.delay_seconds,
        )
        return Sent(message_id)

    def _claim(self, queue: str, limit: int, lease_seconds: float) -> list[Delivery]:
        now = self._clock()
        with self._lock:
            messages = self._messages(queue)
            ready = _ordered_ready(messages, now) if is_ordered(queue) else _ready(messages, now)
            numbers = list(itertools.islice(ready, min(limit, self.capabilities.receive_batch)))
            return [self._hand_over(queue, number, messages[number], now, lease_seconds) for number in numbers]

    def _hand_over(self, queue: str, number: int, held: _Held, now: float, lease_seconds: float) -> Delivery:
        held.receive_count += 1
        held.receipt = f"{number}.{held.receive_count}"
        held.visible_at = now + lease_seconds
        return Delivery(
            queue=queue,
            message_id=held.message_id,
            receipt=held.receipt,
            body=held.body,
            receive_count=held.receive_count,
            sent_at=held.sent_at,
            received_at=now,
            lease_seconds=lease_seconds,
            group=held.group,
            attributes=held.attributes,
        )

    def _settle(self, settlement: Settlement) -> None:
        delivery = settlement.delivery
        number, held = self._find(delivery)
        if held is None:
            return
        messages = self._messages(delivery.queue)
        match settlement:
            case Acknowledge():
                del messages[number]
            case Release(after_seconds=after_seconds):
                held.receipt = None
                held.visible_at = self._clock() + after_seconds
                if not is_ordered(delivery.queue):
                    # Back to the end: a message that is given back again and again must not keep the others waiting.
                    messages[number] = messages.pop(number)
            case DeadLetter(reason=reason):
                del messages[number]
                attributes = {
                    **delivery.attributes,
                    DEAD_LETTER_REASON: reason,
                    DEAD_LETTER_SOURCE: delivery.queue,
                }
                dead = Outgoing(body=held.body, group=held.group, attributes=attributes)
                self._put(dead_letter_queue(delivery.queue), dead)

    def _extend(self, delivery: Delivery, lease_seconds: float) -> Refused | None:
        _, held = self._find(delivery)
        now = self._clock()
        if held is None or held.visible_at <= now:
            return Refused(
                OperationalError(f"queue {delivery.queue!r}: the lease of message {delivery.message_id} was lost")
            )
        held.visible_at = now + lease_seconds
        return None

    def _find(self, delivery: Delivery) -> tuple[int, _Held | None]:
        """The message of a delivery, or None where the delivery is no longer the last one."""
        number = int(delivery.receipt.partition(".")[0])
        held = self._messages(delivery.queue).get(number)
        return number, held if held is not None and held.receipt == delivery.receipt else None


def _ready(messages: Mapping[int, _Held], now: float) -> list[int]:
    return [number for number, held in messages.items() if held.visible_at <= now]


def _ordered_ready(messages: Mapping[int, _Held], now: float) -> list[int]:
    """What may be handed over of groups with nothing in flight: each group up to its first delayed message."""
    blocked = {held.group for held in messages.values() if held.receipt is not None and held.visible_at > now}
    ready = []
    for number, held in messages.items():
        if held.group in blocked:
            continue
        if held.visible_at > now:
            blocked.add(held.group)
            continue
        ready.append(number)
    return ready


def _forget_old(seen: dict[str, tuple[float, str]], now: float) -> None:
    # The oldest come first, since an entry keeps the place and the time of its first message.
    while seen:
        oldest = next(iter(seen))
        if seen[oldest][0] > now - DEDUPLICATION_SECONDS:
            return
        del seen[oldest]
