"""The broker of Redis in Celery's layout: Celery's workers and callers share its queues with ours, both ways.

Keys, items and times are kombu's, so each side puts back what the other has lost. What is ours is described in
``_redis_celery_scripts`` (leases, receives) and ``_redis_celery_messages`` (attributes).

Celery has no delay on Redis: a message with an ``eta`` lies in its list, and the worker that gets it holds it in its
memory. Here it lies in its list, too, so that Celery's workers run it on time. If one of our workers gets it early, it
is moved to ``unacked`` with a time at which any consumer, ours or Celery's, puts it back into its list. A message that
is due later than ``visibility_timeout`` is kept there from the beginning, since Celery's workers would run it twice.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult

from taskq_cloud.brokers import _redis_celery_messages as messages_of_kombu
from taskq_cloud.brokers import _redis_celery_scripts as scripts
from taskq_cloud.brokers._local import lost_lease, refusal, send_in_batches
from taskq_cloud.brokers._redis_celery_calls import LayoutCalls
from taskq_cloud.brokers._redis_celery_fanout import fanout_message, fanout_topic
from taskq_cloud.brokers._redis_celery_options import read_options
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.capabilities import BrokerCapabilities, dead_letter_queue
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.model.message import (
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
from taskq_cloud.core.servers.redis import redis_server, redis_service
from taskq_cloud.errors import OperationalError

LONGEST_BLOCK_SECONDS: Final = 0.5
"""How long a receive blocks before it looks at the lists of other priorities, and for messages to put back."""
SHORTEST_BLOCK_SECONDS: Final = 0.01

LONGEST_SWEEP_SECONDS: Final = 150.0
"""How late Celery's workers may put a message back: they look every 100 s (``unacked_restore_interval`` times
``unacked_restore_throttle``). Messages that are due later than ``visibility_timeout`` come earlier by this."""

LONGEST_LEASE_SECONDS: Final = 60.0
"""How long a lease lasts unless it is renewed. Celery's users set ``visibility_timeout`` to an hour or more, since
Celery's workers renew nothing. The message of a worker of ours that has died must not wait that long."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A message that was leased."""

    tag: str
    receives: int
    message_id: str
    found: messages_of_kombu.Found


class CeleryRedisBroker:
    """The broker of ``redis://`` URLs with ``layout="celery"``.

    Args:
        urls: the URLs of the servers; one is used at a time.
        options: ``broker_transport_options``, by kombu's names.
        clock: returns the time, in seconds since the epoch; None: the server's own, which all machines share.
    """

    capabilities: ClassVar[BrokerCapabilities] = BrokerCapabilities(
        largest_message_bytes=16 * 1024 * 1024,  # our own limit: Redis takes 512 MB, and serves nobody meanwhile
        send_batch=1000,
        receive_batch=1000,
        longest_wait_seconds=20,
        longest_delay_seconds=math.inf,
        longest_ordered_delay_seconds=0,
        longest_lease_seconds=math.inf,
        ordering=False,
        deduplicates=False,
        shared_between_processes=True,
        durable=True,
        queues_must_exist=False,
        longest_extension_seconds=LONGEST_LEASE_SECONDS,
        takes_back_receives=True,
    )

    def __init__(
        self,
        urls: Sequence[str | SplitResult],
        options: Mapping[str, Any] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        layout = read_options(options or {})
        self._service, service = redis_service(urls, options or {})
        self._services = {self._service: service}
        self._database = redis_server(urls[0]).database
        self._calls = LayoutCalls(self._service, layout, clock)

    @classmethod
    def from_urls(cls, urls: Sequence[SplitResult], options: Mapping[str, Any]) -> CeleryRedisBroker:
        """Make the broker of one server, or of several of which one is used.

        Raises:
            ImproperlyConfigured: a URL or an option is wrong.
        """
        return cls(urls, options)

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the server."""
        return self._services

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Send messages, up to ``send_batch`` in one call; see ``Broker.send``."""
        return (yield from send_in_batches(messages, self.capabilities.send_batch, partial(self._send_batch, queue)))

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Receive messages; see ``Broker.receive``."""
        yield from self._calls.bind(queue)
        ends_at, block_seconds = time.monotonic() + wait_seconds, 0.0
        limit = min(limit, self.capabilities.receive_batch)
        while True:
            kind, *found = yield from self._take(queue, limit, lease_seconds, block_seconds)
            if kind == b"over":
                yield from self._calls.put_back(queue, zip(found[::3], found[1::3], found[2::3], strict=True))
                block_seconds = 0.0
                continue
            next_seconds, *parts = found
            taken = [_taken(*each) for each in zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=True)]
            now = self._calls.now()
            ready = yield from self._ready(queue, taken, now)
            if ready:
                return [_delivery(queue, each, now, lease_seconds) for each in ready]
            left_seconds = ends_at - time.monotonic()
            if left_seconds <= 0:
                return []
            block_seconds = 0.0
            if not taken:
                block_seconds = min(left_seconds, float(next_seconds or LONGEST_BLOCK_SECONDS), LONGEST_BLOCK_SECONDS)
                block_seconds = max(block_seconds, SHORTEST_BLOCK_SECONDS)

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries, all in one step; see ``Broker.settle``."""
        if settlements:
            about = _queue_names(each.delivery for each in settlements)
            keys: list[str] = []
            parts: list[Any] = []
            for each in settlements:
                parts += self._settlement(each, keys)
            now_back = yield from self._calls.script(about, scripts.SETTLE, keys, parts)
            if now_back:
                found = zip(now_back[::3], now_back[1::3], now_back[2::3], strict=True)
                yield from self._calls.put_back(settlements[0].delivery.queue, found)
        return [None] * len(settlements)

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Extend the leases of deliveries; see ``Broker.extend``."""
        if not deliveries:
            return []
        tags = [each.receipt for each in deliveries]
        kept = yield from self._calls.script(_queue_names(deliveries), scripts.EXTEND, (), [lease_seconds, *tags])
        return [None if each else lost_lease(delivery) for delivery, each in zip(deliveries, kept, strict=True)]

    def depth(self, queue: str) -> Flow[Depth]:
        """Count a queue's messages, those that Celery's workers have among them; see ``Broker.depth``."""
        names = [queue, json.dumps(queue)]
        found = yield from self._calls.script(_about(queue), scripts.DEPTH, self._calls.lists(queue), names)
        return Depth(*found)

    def purge(self, queue: str) -> Flow[int]:
        """Remove a queue's messages; see ``Broker.purge``."""
        names = [queue, json.dumps(queue)]
        count: int = yield from self._calls.script(_about(queue), scripts.PURGE, self._calls.lists(queue), names)
        return count

    def held(self, queues: Sequence[str], *, limit: int, cursor: str | None = None) -> Flow[HeldPage]:
        """List the messages that are held back outside of the lists; see ``ListsHeld.held``."""
        after, _, tag = (cursor or "0 ").partition(" ")
        parts = [after, tag, limit + 1, *queues]
        found = yield from self._calls.script("listing delayed messages", scripts.HELD, (), parts)
        held = [
            (_text(tag), float(due), messages_of_kombu.holding(value))
            for tag, due, value in zip(found[::3], found[1::3], found[2::3], strict=True)
            if value is not None
        ]
        page = held[:limit]
        listed = [
            HeldMessage(content[2], messages_of_kombu.read(json.dumps(_inner(content[0])).encode()).body, due)
            for _, due, content in page
            if content is not None
        ]
        more = len(held) > limit
        return HeldPage(listed, f"{page[-1][1]!r} {page[-1][0]}" if more else None)

    def publish(self, exchange: str, routing_key: str, body: Any, headers: Mapping[str, Any]) -> Flow[int]:
        """Publish a message to a fanout exchange, as Celery's events and control commands are.

        Args:
            exchange: the exchange: ``celeryev`` or ``celery.pidbox``.
            routing_key: the routing key: ``worker.heartbeat``.
            body: the message, as plain JSON.
            headers: the message's headers.

        Returns:
            How many programs have heard it.
        """
        topic = self._calls.options.prefix + fanout_topic(self._calls.options, self._database, exchange, routing_key)
        message = fanout_message(exchange, routing_key, body, headers, tag=new_id())
        heard: int = yield from self._calls.command(f"exchange {exchange!r}", "PUBLISH", topic, message)
        return heard

    def _send_batch(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        answers: list[Sent | Refused] = []
        keys: list[str] = []
        parts: list[Any] = []
        for message in messages:
            refused = refusal(queue, message, self.capabilities)
            if refused:
                answers.append(refused)
                continue
            tag = new_id()
            written = messages_of_kombu.written(queue, message, tag, self._calls.now())
            answers.append(Sent(tag))
            seconds = self._held_seconds(message.delay_seconds, written.due)
            if seconds:
                parts += [seconds, _tag("d", tag, queue), messages_of_kombu.held(queue, written.text)]
            else:
                keys.append(self._calls.list_for(queue, written.priority))
                parts += [0, "", written.text]
        if parts:
            yield from self._calls.script(_about(queue), scripts.SEND, keys, parts)
        return answers

    def _held_seconds(self, delay_seconds: float, due: float | None) -> float:
        """How long a message is held back before it is in its list; see the module's docstring."""
        if delay_seconds <= 0:
            return 0.0
        if due is None or due < self._calls.now() + delay_seconds - 1:
            return delay_seconds  # its receivers can't tell from its headers that it is early
        timeout = self._calls.options.visibility_timeout
        return 0.0 if delay_seconds <= timeout else delay_seconds - min(timeout / 2, LONGEST_SWEEP_SECONDS)

    def _take(self, queue: str, limit: int, lease_seconds: float, block_seconds: float) -> Flow[list[Any]]:
        lists = self._calls.lists(queue)
        parts = [lease_seconds, limit, os.urandom(8).hex(), queue, json.dumps(queue)]
        if not block_seconds:
            found: list[Any] = yield from self._calls.script(_about(queue), scripts.TAKE, lists, parts)
            return found
        # The last item of the list is moved to where it is: that changes nothing, and ends once the list has an item.
        command = ["BLMOVE", lists[0], lists[0], "RIGHT", "RIGHT", f"{block_seconds:.3f}"]
        then = self._calls.script_parameters(scripts.TAKE, lists, parts)
        waited = {"command": command, "seconds": block_seconds, "then": then}
        [_, found] = yield from self._calls.call(_about(queue), "wait", waited)
        return found

    def _ready(self, queue: str, taken: Sequence[_Taken], now: float) -> Flow[list[_Taken]]:
        """Hold back the messages that are early, and return the others."""
        ready: list[_Taken] = []
        parts: list[Any] = []
        for each in taken:
            due = messages_of_kombu.due_at(each.found.body)
            if due is None or due <= now:
                ready.append(each)
            else:
                parts += ["release", each.tag, due - now, _tag("d", new_id(), queue), "1"]
        if parts:
            try:
                yield from self._calls.script(_about(queue), scripts.SETTLE, (), parts)
            except OperationalError:
                if not ready:  # otherwise the early messages come again after their lease
                    raise
        return ready

    def _settlement(self, settlement: Settlement, keys: list[str]) -> list[Any]:
        """The values of a settlement for the script; the list of a dead letter is added to ``keys``."""
        delivery = settlement.delivery
        match settlement:
            case Acknowledge():
                return ["done", delivery.receipt, 0, "", ""]
            case Release(after_seconds=seconds, counts=counts):
                kind = "r" if counts else "d"
                return [
                    "release",
                    delivery.receipt,
                    seconds,
                    _tag(kind, new_id(), delivery.queue),
                    str(int(not counts)),
                ]
            case DeadLetter(reason=reason):
                dead = messages_of_kombu.dead_letter(delivery, reason)
                queue = dead_letter_queue(delivery.queue)
                written = messages_of_kombu.written(queue, dead, new_id(), self._calls.now())
                keys.append(self._calls.list_for(queue, written.priority))
                return ["dead", delivery.receipt, 0, written.text, ""]


def _tag(kind: str, token: str, queue: str) -> str:
    return f"taskq.{kind}.{token}.0.{queue}"


def _taken(tag: bytes, receives: bytes, message_id: bytes, item: bytes) -> _Taken:
    count = max(int(receives), 2) if messages_of_kombu.is_redelivered(_text(item)) else int(receives)
    return _Taken(_text(tag), count, _text(message_id), messages_of_kombu.read(item))


def _delivery(queue: str, taken: _Taken, now: float, lease_seconds: float) -> Delivery:
    return Delivery(
        queue=queue,
        message_id=taken.message_id,
        receipt=taken.tag,
        body=taken.found.body,
        receive_count=taken.receives,
        sent_at=taken.found.sent_at,
        received_at=now,
        lease_seconds=lease_seconds,
        attributes=taken.found.attributes,
    )


def _inner(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message without its receives and its id."""
    return {name: value for name, value in message.items() if name not in ("taskq_receives", "taskq_id")}


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _about(queue: str) -> str:
    return f"queue {queue!r}"


def _queue_names(deliveries: Iterable[Delivery]) -> str:
    queues = sorted({each.queue for each in deliveries})
    return ("queue " if len(queues) == 1 else "queues ") + ", ".join(map(repr, queues))
