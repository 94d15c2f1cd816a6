"""The SQLite broker, which keeps messages in a file: they are durable, and a machine's processes can share them.

The file can't be on a network file system, as SQLite's write-ahead log needs memory that all its users share
(https://www.sqlite.org/wal.html). The tables are described in ``_sqlite_statements``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult

from taskq_cloud.brokers import _sqlite_statements as sql
from taskq_cloud.brokers._local import (
    DEDUPLICATION_SECONDS,
    LOCAL_CAPABILITIES,
    lost_lease,
    queues_with_more,
    read_cursor,
    receive_in_time,
    refusal,
    send_in_batches,
    write_cursor,
)
from taskq_cloud.core.file_errors import operational_error
from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, BrokerCapabilities, dead_letter_queue, is_ordered
from taskq_cloud.core.model.local_clock import CLOCK_SET_BACK_SECONDS
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
from taskq_cloud.core.urls import file_of, query_of

PURGED_IN_A_STEP: Final = 10_000
"""Messages that a purge removes in one transaction, which others wait for: some 30 ms."""

_Statement = tuple[str, Mapping[str, Any] | Sequence[Mapping[str, Any] | tuple[Any, ...]]]
_NO_ATTRIBUTES: Final = "{}"
_Rows = list[list[dict[str, Any]]]


class SQLiteBroker:
    """The broker of ``sqlite:///path`` URLs.

    Args:
        path: the database's file. The first call creates a missing file and its directory.
        clock: returns the time, in seconds since the epoch; all processes must agree on it.
    """

    capabilities: ClassVar[BrokerCapabilities] = LOCAL_CAPABILITIES

    def __init__(self, path: str | Path, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path).absolute()
        self._service = f"sqlite:{self._path}"
        self._clock = clock

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> SQLiteBroker:
        """Make the broker of ``sqlite:///relative/path`` or ``sqlite:////absolute/path``.

        Raises:
            ImproperlyConfigured: the URL has no path, or has options.
        """
        query_of(url)
        return cls(file_of(url))

    @property
    def services(self) -> Mapping[str, Service]:
        """The one service, which is the database file."""
        return {self._service: Service("sqlite", (("path", str(self._path)),))}

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Send messages, up to ``send_batch`` in one transaction; see ``Broker.send``."""
        return (yield from send_in_batches(messages, self.capabilities.send_batch, partial(self._send_batch, queue)))

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Receive messages; see ``Broker.receive``."""
        take = partial(self._take, queue, limit, lease_seconds)
        seconds_until_next = partial(self._seconds_until_next, queue)
        listener = Listener()
        try:
            return (
                yield from receive_in_time(
                    take, seconds_until_next, wait_seconds, partial(self._listen, queue, listener)
                )
            )
        finally:
            listener.close()

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries, all in one transaction; see ``Broker.settle``."""
        if settlements:
            now = self._clock()
            about = _queue_names(settlement.delivery for settlement in settlements)
            done = [_receipt(each.delivery) for each in settlements if isinstance(each, Acknowledge)]
            others = [_settle_statement(each, now) for each in settlements if not isinstance(each, Acknowledge)]
            statements = [(sql.ACKNOWLEDGE, done), *others] if done else others
            yield from self._write(about, now, statements, queues_with_more(settlements))
        return [None] * len(settlements)

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Extend the leases of deliveries; see ``Broker.extend``."""
        if not deliveries:
            return []
        now = self._clock()
        statements = [
            (sql.EXTEND, {**_receipt_parameters(delivery), "now": now, "visible_at": now + lease_seconds})
            for delivery in deliveries
        ]
        rows = yield from self._lease(_queue_names(deliveries), now, statements)
        return [None if extended else lost_lease(delivery) for delivery, extended in zip(deliveries, rows, strict=True)]

    def depth(self, queue: str) -> Flow[Depth]:
        """Count a queue's messages; see ``Broker.depth``."""
        [[row]] = yield from self._run(
            "query", f"queue {queue!r}", [(sql.DEPTH, {"queue": queue, "now": self._clock()})]
        )
        return Depth(**row)

    def held(self, queues: Sequence[str], *, limit: int, cursor: str | None = None) -> Flow[HeldPage]:
        """List the messages that queues hold back; see ``ListsHeld.held``."""
        after_time, after_sequence = read_cursor(cursor)
        parameters = {
            "queues": json.dumps(list(queues)),
            "now": self._clock(),
            "after_time": after_time,
            "after_sequence": after_sequence,
            "limit": limit + 1,
        }
        [rows] = yield from self._run("query", "listing delayed messages", [(sql.LIST_HELD, parameters)])
        page = rows[:limit]
        found = [HeldMessage(row["queue"], row["body"], row["visible_at"]) for row in page]
        more = len(rows) > limit
        return HeldPage(found, write_cursor(page[-1]["visible_at"], page[-1]["sequence"]) if more else None)

    def purge(self, queue: str) -> Flow[int | None]:
        """Remove a queue's messages; see ``Broker.purge``."""
        about, parameters = f"queue {queue!r}", {"queue": queue}
        if is_ordered(queue):
            # In one step: messages whose groups are gone could not be received if the purge ended half-way.
            statements = [(sql.PURGE_GROUPS, parameters), (sql.PURGE, parameters), (sql.REMOVED, {})]
            [_, _, [row]] = yield from self._run("transaction", about, statements)
            count: int = row["messages"]
            return count
        [[row]] = yield from self._run("query", about, [(sql.LAST, {})])
        step = {"queue": queue, "last": row["last"], "limit": PURGED_IN_A_STEP}
        removed: int = 0
        while True:
            [_, [row]] = yield from self._run("transaction", about, [(sql.PURGE_SOME, step), (sql.REMOVED, {})])
            removed += row["messages"]
            if row["messages"] < PURGED_IN_A_STEP:
                return removed

    def _send_batch(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        now = self._clock()
        answers: list[Sent | Refused] = []
        statements: list[_Statement] = []
        inserted: list[Mapping[str, Any]] = []
        remembered: dict[int, int] = {}  # position of a REMEMBER_ID statement -> position of its message
        if is_ordered(queue):
            old = {"queue": queue, "before": now - DEDUPLICATION_SECONDS, "limit": 20 + len(messages)}
            statements.append((sql.FORGET_OLD_IDS, old))
        for message in messages:
            refused = refusal(queue, message, self.capabilities)
            if refused:
                answers.append(refused)
                continue
            row = _insert_parameters(queue, message, now)
            answers.append(Sent(row["message_id"]))
            if row["deduplication"] is None:
                inserted.append(row)
                continue
            if inserted:  # an ordered queue keeps the order of the messages
                statements.append((sql.INSERT, inserted))
                inserted = []
            remembered[len(statements)] = len(answers) - 1
            statements += [(sql.REMEMBER_ID, row), (sql.INSERT_ONCE, row)]
        if inserted:
            statements.append((sql.INSERT, inserted))
        if statements:
            rows = yield from self._write(f"queue {queue!r}", now, statements, [queue])
            for position, message_position in remembered.items():
                answers[message_position] = Sent(rows[position][0]["message_id"])
        return answers

    def _listen(self, queue: str, listener: Listener) -> Flow[Listener | None]:
        topics = {_topic(queue): queue}
        heard = yield from self._call("listen", f"queue {queue!r}", listener=listener, topics=topics)
        return listener if heard else None

    def _take(self, queue: str, limit: int, lease_seconds: float) -> Flow[list[Delivery]]:
        now = self._clock()
        limit = min(limit, self.capabilities.receive_batch)
        parameters = {"queue": queue, "now": now, "lease": lease_seconds, "limit": limit}
        statements = [(sql.RECEIVE.format(ready=sql.READY), parameters)]
        if is_ordered(queue):
            statements = [(sql.UNBLOCK, parameters), (sql.RECEIVE.format(ready=sql.READY_IN_ORDER), parameters)]
        [*_, rows] = yield from self._lease(f"queue {queue!r}", now, statements)
        # RETURNING guarantees no order (https://www.sqlite.org/lang_returning.html, section 3).
        rows.sort(key=lambda row: row["sequence"])
        return [_delivery(queue, row, now, lease_seconds) for row in rows]

    def _seconds_until_next(self, queue: str) -> Flow[float | None]:
        # This query takes no write lock, so idle workers don't slow down senders.
        now = self._clock()
        ready = sql.NEXT_IN_ORDER if is_ordered(queue) else sql.NEXT
        [[row]] = yield from self._run("query", f"queue {queue!r}", [(ready, {"queue": queue})], quick=True)
        at: float | None = row["at"]
        if at is None:
            return None
        if row["latest"] > now + CLOCK_SET_BACK_SECONDS:
            return 0.0  # the clock was set back, which only a transaction sets right
        return at - now

    def _write(self, about: str, now: float, statements: Sequence[_Statement], queues: Iterable[str]) -> Flow[_Rows]:
        """Run a transaction that first looks whether the clock was set back, and announce it.

        Args:
            about: what the transaction is about, for errors.
            now: the time.
            statements: the statements.
            queues: the queues that may have a message to receive afterwards.
        """
        seen = (sql.SEE_TIME, {"now": now})
        announce = [*map(_topic, queues)]
        [_, *rows] = yield from self._run("transaction", about, [seen, *statements], announce=announce)
        return rows

    def _lease(self, about: str, now: float, statements: Sequence[_Statement]) -> Flow[_Rows]:
        """Run a transaction about leases, which waits for no disk: after a loss of power, nobody has the messages.

        Leases are on the disk as soon as a message is sent or settled after them.
        """
        seen = (sql.SEE_TIME, {"now": now})
        [_, *rows] = yield from self._run("transaction", about, [seen, *statements], durable=False)
        return rows

    def _run(self, operation: str, about: str, statements: Sequence[_Statement], **more: Any) -> Flow[_Rows]:
        rows: _Rows = yield from self._call(operation, about, schema=sql.SCHEMA, statements=statements, **more)
        return rows

    def _call(self, operation: str, about: str, **parameters: Any) -> Flow[Any]:
        try:
            return (yield Call(self._service, operation, parameters))
        except CallError as error:
            raise operational_error(about, error) from error


def _topic(queue: str) -> str:
    """What is announced when a queue may have a message to receive."""
    return f"queue {queue}"


def _insert_parameters(queue: str, message: Outgoing, now: float) -> dict[str, Any]:
    return {
        "queue": queue,
        "visible_at": now + message.delay_seconds,
        "group": message.group or (DEFAULT_GROUP if is_ordered(queue) else None),
        "message_id": os.urandom(16).hex(),
        "now": now,
        "before": now - DEDUPLICATION_SECONDS,
        "attributes": _as_json(message.attributes),
        "body": message.body,
        "deduplication": message.deduplication if is_ordered(queue) else None,
    }


def _delivery(queue: str, row: Mapping[str, Any], now: float, lease_seconds: float) -> Delivery:
    return Delivery(
        queue=queue,
        message_id=row["message_id"],
        receipt=row["receipt"],
        body=row["body"],
        receive_count=row["receive_count"],
        sent_at=row["sent_at"],
        received_at=now,
        lease_seconds=lease_seconds,
        group=row["message_group"],
        attributes=json.loads(row["attributes"]) if row["attributes"] != _NO_ATTRIBUTES else {},
    )


def _settle_statement(settlement: Release | DeadLetter, now: float) -> _Statement:
    """The statement that settles a delivery; it changes no row if the message has been delivered again or settled."""
    delivery = settlement.delivery
    parameters = _receipt_parameters(delivery)
    match settlement:
        case Release(after_seconds=after_seconds, counts=counts):
            return sql.RELEASE, {**parameters, "visible_at": now + after_seconds, "taken_back": int(not counts)}
        case DeadLetter(reason=reason):
            attributes = {**delivery.attributes, DEAD_LETTER_REASON: reason, DEAD_LETTER_SOURCE: delivery.queue}
            return sql.DEAD_LETTER, {
                **parameters,
                "now": now,
                "dead_letter_queue": dead_letter_queue(delivery.queue),
                "attributes": _as_json(attributes),
            }


def _receipt_parameters(delivery: Delivery) -> dict[str, Any]:
    return dict(zip(("sequence", "receipt", "queue"), _receipt(delivery), strict=True))


def _receipt(delivery: Delivery) -> tuple[int, str, str]:
    return int(delivery.receipt.partition(".")[0]), delivery.receipt, delivery.queue


def _queue_names(deliveries: Iterable[Delivery]) -> str:
    queues = sorted({delivery.queue for delivery in deliveries})
    return f"queue{'s' if len(queues) > 1 else ''} {', '.join(map(repr, queues))}"


def _as_json(attributes: Mapping[str, str]) -> str:
    return json.dumps(dict(attributes)) if attributes else _NO_ATTRIBUTES
