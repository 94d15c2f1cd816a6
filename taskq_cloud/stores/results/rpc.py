"""Results as messages: a worker sends the record of a task to the reply queue of its caller, as Celery's ``rpc`` does.

Each process that calls tasks has a queue of its own, which RabbitMQ removes once it has been unused for the time that
results are kept. The process collects the messages of its queue when it looks for a result, and keeps the records in
memory. So a result can be read by its caller only, and is lost if that ends, or if the server is started again.

Source: the reply queues of Celery 5.7's ``rpc://``.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit

from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.ports import Service
from taskq_cloud.core.records.record import Record, may_replace
from taskq_cloud.core.servers.rabbitmq import RabbitMQOptions, operational_error, read_options
from taskq_cloud.core.urls import shown
from taskq_cloud.errors import DecodeError, ImproperlyConfigured, OperationalError, PayloadTooLarge
from taskq_cloud.stores.results._celery import record_of

REPLIES_KEPT_SECONDS: Final = 86_400
"""How long RabbitMQ keeps a reply queue that nobody uses: Celery's ``result_expires``."""
_COLLECTED_AT_ONCE: Final = 1000
_SWEEP_SECONDS: Final = 60.0
_TRANSIENT: Final = 1
"""The delivery mode of messages that the server need not write to its disk."""
_OURS: Final = frozenset({"broker_url"})
_SCHEMES: Final = ("amqp", "amqps")


class RPCResults:
    """The store of ``rpc://`` URLs.

    Args:
        options: the servers.
        clock: returns the time, in seconds since the epoch.
    """

    def __init__(self, options: RabbitMQOptions, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock
        self._service = f"rpc:{options.service_name}"
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._swept_at = clock()
        self._queue, self._process, self._prepared = "", 0, False
        self.capabilities = StoreCapabilities(
            largest_record_bytes=options.largest_message_bytes,
            replies=True,
            joins=False,
            claims=False,
            shared_between_processes=True,
            durable=False,
            saves_together=True,
            loads_together=True,
        )

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> Self:
        """Make the store of ``rpc://``, which uses the broker's server, or of ``rpc://user:password@host/vhost``.

        Raises:
            ImproperlyConfigured: the URL or an option is wrong, or the broker isn't RabbitMQ.
        """
        given = {name: value for name, value in options.items() if name not in _OURS}
        if url.netloc:
            return cls(read_options([url._replace(scheme="amqp")], given))
        servers = [urlsplit(each) for each in str(options.get("broker_url", "")).split(";") if each]
        if not servers or any(each.scheme not in _SCHEMES for each in servers):
            brokers = ", ".join(shown(each) for each in servers) or "no server"
            raise ImproperlyConfigured(
                f"rpc:// sends results over the broker's RabbitMQ, and the broker is {brokers}: use an amqp:// broker, "
                "name a server (rpc://user:password@host/vhost), or choose another result store"
            )
        return cls(read_options(servers, given))

    @property
    def services(self) -> Mapping[str, Service]:
        """RabbitMQ, at the configured servers."""
        return {self._service: self._options.service}

    @property
    def reply_to(self) -> str:
        """The reply queue of this process; a forked one has its own."""
        with self._lock:
            if self._process != os.getpid():
                self._queue, self._process, self._prepared = new_id(), os.getpid(), False
            return self._queue

    def prepare(self) -> Flow[None]:
        """Declare the reply queue, once."""
        queue = self.reply_to
        if not self._prepared:
            yield from self._call("ask", needs=[self._need(queue)], methods=[])
            self._prepared = True

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records, after the replies that have come were collected."""
        now = self._clock()
        found = self._known(ids, now)
        if not all(each in found and found[each].final for each in ids):
            yield from self._collect()
            found = self._known(ids, now)
        return found

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Send records to the callers of their tasks. A record that isn't a task's, or is for here, is kept here.

        Nothing is known of the record that a caller has, who takes the one that may replace the other. A caller that
        has ended gets nothing.

        Raises:
            PayloadTooLarge: a payload is over the limit; nothing was sent.
        """
        for record in records:
            self._check_size(record)
        answers = [True] * len(records)
        own = self.reply_to
        replies = []
        now = self._clock()
        for place, record in enumerate(records):
            if record.reply_to is None or record.reply_to == own:
                answers[place] = self._keep(record, now)
            elif record.reply_to:
                replies.append(("", record.reply_to, _properties(record), record.body))
        if replies:
            yield from self._call("publish", needs=[], messages=replies)
        return answers

    def save_each(self, records: Sequence[Record]) -> Flow[list[bool | Exception]]:
        """Send records as ``save`` does; see ``SavesTogether.save_each``."""
        answers: list[bool | Exception] = [True] * len(records)
        fitting = []
        for place, record in enumerate(records):
            try:
                self._check_size(record)
                fitting.append(place)
            except PayloadTooLarge as error:
                answers[place] = error
        try:
            saved = yield from self.save([records[place] for place in fitting])
        except OperationalError as error:
            for place in fitting:
                answers[place] = error
        else:
            for place, each in zip(fitting, saved, strict=True):
                answers[place] = each
        return answers

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove the records of tasks that this process has called."""
        yield from self._collect()
        with self._lock:
            for each in ids:
                self._records.pop(each, None)

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Refuse to count a member, since workers share nothing.

        Raises:
            ImproperlyConfigured: always.
        """
        yield from ()
        raise ImproperlyConfigured("rpc:// can't count the members of a chord: choose another result store for chords")

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Refuse to lock, since workers share nothing.

        Raises:
            ImproperlyConfigured: always.
        """
        yield from ()
        raise ImproperlyConfigured("rpc:// has no locks: choose another result store for tasks with once=True")

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Refuse to give a slot, since workers share nothing.

        Raises:
            ImproperlyConfigured: always.
        """
        yield from ()
        raise ImproperlyConfigured("rpc:// has no slots: choose another result store for tasks with rate limits")

    def _collect(self) -> Flow[None]:
        queue = self.reply_to
        while True:
            now = self._clock()
            parameters = {"queue": queue, "limit": _COLLECTED_AT_ONCE, "wait_seconds": 0.0, "now": now}
            messages = yield from self._call("receive", needs=[self._need(queue)], **parameters, until=math.inf)
            for _, _, _, _, properties, body in messages:
                record = _received(properties, body, now + REPLIES_KEPT_SECONDS)
                if record is not None:
                    self._keep(record, now)
            if messages:
                yield from self._call("settle", acknowledge=[each[0] for each in messages], give_back=[])
            if len(messages) < _COLLECTED_AT_ONCE:
                return

    def _known(self, ids: Sequence[str], now: float) -> dict[str, Record]:
        with self._lock:
            found = {each: self._records[each] for each in ids if each in self._records}
        return {each: record for each, record in found.items() if not _has_expired(record, now)}

    def _keep(self, record: Record, now: float) -> bool:
        with self._lock:
            if now - self._swept_at >= _SWEEP_SECONDS:
                self._swept_at = now
                self._records = {each: kept for each, kept in self._records.items() if not _has_expired(kept, now)}
            if not may_replace(self._records.get(record.id), record, now):
                return False
            self._records[record.id] = record
            return True

    def _check_size(self, record: Record) -> None:
        size, largest = len(record.body), self.capabilities.largest_record_bytes
        if size > largest:
            raise PayloadTooLarge(
                f"the result of task {record.id} has {size} bytes, and RabbitMQ takes at most {largest}: return the "
                "place of large data instead, or set TASKQ_RESULTS to another store"
            )

    def _need(self, queue: str) -> tuple[str, None, tuple[tuple[Any, ...], ...]]:
        expires = {"x-expires": REPLIES_KEPT_SECONDS * 1000}
        return f"queue {queue}", None, (("queue.declare", 0, queue, False, False, False, False, False, expires),)

    def _call(self, operation: str, **parameters: Any) -> Flow[Any]:
        try:
            return (yield Call(self._service, operation, parameters))
        except CallError as error:
            raise operational_error("results by rpc://", error) from error


def _properties(record: Record) -> dict[str, Any]:
    content = {"content_type": "application/json", "content_encoding": "utf-8", "headers": {}}
    return {**content, "delivery_mode": _TRANSIENT, "correlation_id": record.id, "message_id": new_id()}


def _received(properties: Mapping[str, Any], body: bytes, expires_at: float) -> Record | None:
    """Read a reply; None: it isn't a result, and nobody would know what to do with it."""
    try:
        return record_of(str(properties.get("correlation_id")), body, expires_at)
    except (DecodeError, LookupError):
        return None


def _has_expired(record: Record, now: float) -> bool:
    return record.expires_at is not None and record.expires_at <= now
