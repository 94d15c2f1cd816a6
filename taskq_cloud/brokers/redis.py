"""The Redis broker: queues on a Redis server, in a layout of its own or, with ``layout=celery``, in Celery's.

Its own layout has leases, receive counts, delays, dead letters and ordered queues, and is described in
``_redis_scripts``. What survives a crash of the server depends on the server's settings: see ``docs/redis.md``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, TypeAlias
from urllib.parse import SplitResult

from taskq_cloud.brokers import _redis_ordered as ordered
from taskq_cloud.brokers import _redis_scripts as scripts
from taskq_cloud.brokers._local import (
    DEDUPLICATION_SECONDS,
    LEAST_PAUSE_SECONDS,
    LOCAL_CAPABILITIES,
    lost_lease,
    read_cursor,
    refusal,
    send_in_batches,
    write_cursor,
)
from taskq_cloud.brokers._redis_options import key_prefix, layout_of
from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, BrokerCapabilities, dead_letter_queue, is_ordered
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
from taskq_cloud.core.ports import Broker, Depth, HeldMessage, HeldPage, Service
from taskq_cloud.core.servers.redis import redis_error, redis_service

LONGEST_PAUSE_SECONDS: Final = 2.0
"""How long a receiver waits before it looks for itself. It hears of every message that is sent or released, but not of
the lease of a receiver that has died."""

MOST_SETTLED: Final = 1000
"""The most deliveries that one script settles. Lua takes up to 8000 arguments of a call."""

_MICROSECONDS: Final = 1_000_000

_Part: TypeAlias = tuple[str, list[int]]
"""A queue, and the positions of some of its settlements."""


class RedisBroker:
    """The broker of ``redis://``, ``rediss://``, ``redis+socket://`` and ``sentinel://`` URLs.

    Args:
        urls: the URL of the server, or those of several of which one is used at a time.
        options: ``global_keyprefix``, and those of ``core.servers.redis.redis_service``.
        clock: returns the time, in seconds since the epoch; None: the server's time.
    """

    capabilities: ClassVar[BrokerCapabilities] = LOCAL_CAPABILITIES

    def __init__(
        self,
        urls: str | Sequence[str | SplitResult],
        options: Mapping[str, Any] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        options = options or {}
        self._prefix = key_prefix(options)
        self._service, service = redis_service([urls] if isinstance(urls, str) else urls, options)
        self._services = {self._service: service}
        self._clock = clock

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> Broker:
        """Make the broker of one URL; see ``from_urls``."""
        return cls.from_urls([url], options)

    @classmethod
    def from_urls(cls, urls: Sequence[SplitResult], options: Mapping[str, Any]) -> Broker:
        """Make the broker of several servers of which one is used at a time.

        Args:
            urls: their URLs. The query of the first may have ``layout`` and ``global_keyprefix``.
            options: ``broker_transport_options``: ``layout``, ``global_keyprefix``, ``master_name``,
                ``sentinel_kwargs`` and ``failover_strategy``. Celery's further options are for Celery's layout.

        Raises:
            ImproperlyConfigured: a URL or an option is wrong.
        """
        layout, stripped, found = layout_of(urls, options)
        if layout == "celery":
            from taskq_cloud.brokers._redis_celery import CeleryRedisBroker  # most applications have the other layout

            celery_broker: Broker = CeleryRedisBroker.from_urls(stripped, found)
            return celery_broker
        return cls(stripped, found)

    @property
    def services(self) -> Mapping[str, Service]:
        """The one service, which is the server."""
        return self._services

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Send messages, up to ``send_batch`` in one round trip; see ``Broker.send``."""
        return (yield from send_in_batches(messages, self.capabilities.send_batch, partial(self._send_batch, queue)))

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Receive messages; see ``Broker.receive``."""
        key, about = self._key(queue), f"queue {queue!r}"
        limit = min(limit, self.capabilities.receive_batch)
        script = (ordered if is_ordered(queue) else scripts).RECEIVE
        left_seconds = wait_seconds
        arguments = [limit, _microseconds(lease_seconds), os.urandom(6).hex(), scripts.MOVED_AT_ONCE]
        answer = yield from self._call("script", about, **self._script(script, [key], arguments))
        while len(answer) == 1 and left_seconds > 0:
            pause_seconds = min(left_seconds, LONGEST_PAUSE_SECONDS)
            if answer[0] >= 0:
                pause_seconds = min(pause_seconds, answer[0] / _MICROSECONDS)
            # A pause of 0, to which less would be rounded, has no end.
            pause_seconds = max(pause_seconds, LEAST_PAUSE_SECONDS)
            began_at = time.monotonic()
            # The server runs the script as soon as there may be a message, so that it comes without a further request.
            _, answer = yield from self._call(
                "wait",
                about,
                command=["BLPOP", f"{key}wake", f"{pause_seconds:.3f}"],
                seconds=pause_seconds,
                then=self._script(script, [key], arguments),
            )
            left_seconds -= time.monotonic() - began_at
        received_at = time.time() if self._clock is None else self._clock()
        return [
            _delivery(queue, answer[position], answer[position + 1], received_at, lease_seconds)
            for position in range(1, len(answer), 2)
        ]

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries, in one round trip; see ``Broker.settle``."""
        parts = _parts([settlement.delivery.queue for settlement in settlements])
        calls = []
        for queue, positions in parts:
            arguments = [each for position in positions for each in _settlement_arguments(settlements[position])]
            keys = [self._key(queue), self._key(dead_letter_queue(queue))]
            calls.append(self._script((ordered if is_ordered(queue) else scripts).SETTLE, keys, arguments))
        answers: list[Refused | None] = [None] * len(settlements)
        for (queue, positions), answer in zip(parts, (yield from self._make(parts, calls)), strict=True):
            if isinstance(answer, CallError):
                for position in positions:
                    answers[position] = Refused(redis_error(f"queue {queue!r}", answer))
        return answers

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Extend the leases of deliveries, in one round trip; see ``Broker.extend``."""
        parts = _parts([delivery.queue for delivery in deliveries])
        calls = []
        for queue, positions in parts:
            arguments = [_microseconds(lease_seconds), *(deliveries[position].receipt for position in positions)]
            calls.append(self._script(scripts.EXTEND, [self._key(queue)], arguments))
        answers: list[Refused | None] = [None] * len(deliveries)
        for (queue, positions), answer in zip(parts, (yield from self._make(parts, calls)), strict=True):
            failure = Refused(redis_error(f"queue {queue!r}", answer)) if isinstance(answer, CallError) else None
            for number, position in enumerate(positions):
                if failure is not None or not answer[number]:
                    answers[position] = failure or lost_lease(deliveries[position])
        return answers

    def depth(self, queue: str) -> Flow[Depth]:
        """Count a queue's messages; see ``Broker.depth``."""
        script = self._script(scripts.DEPTH, [self._key(queue)], [])
        waiting, delayed, in_flight = yield from self._call("script", f"queue {queue!r}", **script)
        return Depth(waiting=waiting, delayed=delayed, in_flight=in_flight)

    def purge(self, queue: str) -> Flow[int]:
        """Remove a queue's messages; see ``Broker.purge``."""
        script = self._script((ordered if is_ordered(queue) else scripts).PURGE, [self._key(queue)], [])
        count: int = yield from self._call("script", f"queue {queue!r}", **script)
        return count

    def held(self, queues: Sequence[str], *, limit: int, cursor: str | None = None) -> Flow[HeldPage]:
        """List the messages that queues hold back; see ``ListsHeld.held``."""
        after_time, after_number = read_cursor(cursor)
        after = (round(after_time * _MICROSECONDS), after_number)
        found: list[tuple[tuple[int, int], HeldMessage]] = []
        for queue in queues:
            found += yield from self._held_of(queue, after, limit + 1)
        found.sort(key=lambda each: each[0])
        page = found[:limit]
        more = len(found) > limit
        last_time, last_number = page[-1][0] if more else (0, 0)
        return HeldPage(
            [message for _, message in page], write_cursor(last_time / _MICROSECONDS, last_number) if more else None
        )

    def _held_of(
        self, queue: str, after: tuple[int, int], limit: int
    ) -> Flow[list[tuple[tuple[int, int], HeldMessage]]]:
        """Up to ``limit`` messages of one queue, each with its place in the order."""
        found: list[tuple[tuple[int, int], HeldMessage]] = []
        offset = 0
        while True:
            script = self._script(scripts.HELD, [self._key(queue)], [after[0], offset, limit])
            rows = yield from self._call("script", f"queue {queue!r}", **script)
            for position in range(0, len(rows), 3):
                place = (int(rows[position + 1]), int(rows[position], 16))
                if place > after:
                    body = rows[position + 2].split(b"\n", 2)[2].decode()
                    found.append((place, HeldMessage(queue, body, place[0] / _MICROSECONDS)))
            offset += limit
            if len(rows) < 3 * limit or len(found) >= limit:
                return found[:limit]

    def _send_batch(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        keeps_order = is_ordered(queue)
        arguments: list[Any] = [DEDUPLICATION_SECONDS * _MICROSECONDS] if keeps_order else []
        answers: list[Sent | Refused] = []
        # An id that begins with the time, and the position in the batch: messages that are due at one time are listed
        # in the order in which they were sent.
        first_id = (time.time_ns() // 1_000_000 << 80) + int.from_bytes(os.urandom(8))
        for position, message in enumerate(messages):
            refused = refusal(queue, message, self.capabilities)
            if refused:
                answers.append(refused)
                continue
            message_id = f"{first_id + (position << 64):032x}"
            answers.append(Sent(message_id))
            group = message.group or (DEFAULT_GROUP if keeps_order else None)
            content = f"{_header(group, message.attributes)}\n{message.body}"
            arguments += (message_id, _microseconds(message.delay_seconds), content)
            if keeps_order:
                arguments += (group, message.deduplication or "")
        accepted = [position for position, answer in enumerate(answers) if isinstance(answer, Sent)]
        if accepted:
            script = self._script((ordered if keeps_order else scripts).SEND, [self._key(queue)], arguments)
            ids = yield from self._call("script", f"queue {queue!r}", **script)
            if keeps_order:
                for position, message_id in zip(accepted, ids, strict=True):
                    answers[position] = Sent(message_id.decode())
        return answers

    def _key(self, queue: str) -> str:
        """The base of a queue's keys. A dead-letter queue is kept beside its queue."""
        stem = queue.removesuffix(".fifo")
        return f"{self._prefix}{{{stem.removesuffix('-dead')}}}{queue[len(stem.removesuffix('-dead')) :]}:"

    def _script(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> dict[str, Any]:
        now = "" if self._clock is None else _microseconds(self._clock())
        return {"script": script, "keys": keys, "args": [now, *arguments]}

    def _make(self, parts: Sequence[_Part], calls: Sequence[Mapping[str, Any]]) -> Flow[list[Any]]:
        """Run a script for each part at once. A failed one is a ``CallError``, unless it is the only one."""
        if not calls:
            return []
        queues = sorted({queue for queue, _ in parts})
        about = f"queue{'s' if len(queues) > 1 else ''} {', '.join(map(repr, queues))}"
        if len(calls) == 1:
            return [(yield from self._call("script", about, **calls[0]))]
        answers: list[Any] = yield from self._call("scripts", about, scripts=calls)
        return answers

    def _call(self, operation: str, about: str, **parameters: Any) -> Flow[Any]:
        try:
            return (yield Call(self._service, operation, parameters))
        except CallError as error:
            raise redis_error(about, error) from error


def _parts(queues: Sequence[str]) -> list[_Part]:
    """Split settlements by their queues, and a queue's into parts that one script can take."""
    by_queue: dict[str, list[int]] = {}
    for position, queue in enumerate(queues):
        by_queue.setdefault(queue, []).append(position)
    return [
        (queue, positions[start : start + MOST_SETTLED])
        for queue, positions in by_queue.items()
        for start in range(0, len(positions), MOST_SETTLED)
    ]


def _microseconds(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)


def _header(group: str | None, attributes: Mapping[str, str]) -> str:
    """The line before the body."""
    return json.dumps([group, dict(attributes)]) if group or attributes else ""


def _settlement_arguments(settlement: Settlement) -> tuple[str, str, Any]:
    delivery = settlement.delivery
    match settlement:
        case Acknowledge():
            return "a", delivery.receipt, ""
        case Release(after_seconds=after_seconds, counts=counts):
            return "r" if counts else "t", delivery.receipt, _microseconds(after_seconds)
        case DeadLetter(reason=reason):
            attributes = {**delivery.attributes, DEAD_LETTER_REASON: reason, DEAD_LETTER_SOURCE: delivery.queue}
            return "d", delivery.receipt, _header(delivery.group, attributes)


def _delivery(queue: str, receipt: bytes, content: bytes, received_at: float, lease_seconds: float) -> Delivery:
    sent_at, header, body = content.split(b"\n", 2)
    receipt_text = receipt.decode()
    message_id, count, _ = receipt_text.split(":")
    group, attributes = json.loads(header) if header else (None, {})
    return Delivery(
        queue=queue,
        message_id=message_id,
        receipt=receipt_text,
        body=body.decode(),
        receive_count=int(count),
        sent_at=int(sent_at) / _MICROSECONDS,
        received_at=received_at,
        lease_seconds=lease_seconds,
        group=group,
        attributes=attributes,
    )
