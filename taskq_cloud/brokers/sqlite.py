"""Messages in an SQLite file: durable, and shared by all processes of one machine that name the same file.

A network file system won't do: SQLite's write-ahead log needs memory that its users share
(https://www.sqlite.org/wal.html). How messages lie in the tables is told in ``_sqlite_statements``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import SplitResult
from uuid import uuid4

from taskq_cloud.brokers import _sqlite_statements as sql
from taskq_cloud.brokers._local import (
    DEDUPLICATION_SECONDS,
    LOCAL_CAPABILITIES,
    polling,
    read_cursor,
    refusal,
    write_cursor,
)
from taskq_cloud.core.flows import Call, CallError, Flow, Trouble
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
from taskq_cloud.core.urls import file_of, query_of
from taskq_cloud.errors import AccessDenied, OperationalError, Unreachable

_Statement = tuple[str, Mapping[str, Any]]
_Rows = list[list[dict[str, Any]]]


class SQLiteBroker:
    """The broker behind ``sqlite:///path``.

    Args:
        path: the database's file; it is created, with its directory, at the first call.
        clock: the time, in seconds since the epoch; all processes must agree on it.
    """

    capabilities: ClassVar[BrokerCapabilities] = LOCAL_CAPABILITIES

    def __init__(self, path: str | Path, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path).absolute()
        self._service = f"sqlite:{self._path}"
        self._clock = clock

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> SQLiteBroker:
        """``sqlite:///relative/path`` or ``sqlite:////absolute/path``."""
        query_of(url)
        return cls(file_of(url))

    @property
    def services(self) -> Mapping[str, Service]:
        """The database."""
        return {self._service: Service("sqlite", (("path", str(self._path)),))}

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Send messages, up to ``send_batch`` in one transaction: see ``Broker.send``."""
        answers: list[Sent | Refused] = []
        size = self.capabilities.send_batch
        for start in range(0, len(messages), size):
            batch = messages[start : start + size]
            try:
                answers += yield from self._send_batch(queue, batch)
            except OperationalError as error:
                # What the batches before it sent can't be taken back, so from here on the failure is one of a part.
                if not any(isinstance(answer, Sent) for answer in answers):
                    raise
                answers += [Refused(error)] * len(batch)
        return answers

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Take messages: see ``Broker.receive``."""
        deliveries = yield from self._claim(queue, limit, lease_seconds)
        for pause in polling(0 if deliveries else wait_seconds):
            yield pause
            # A look takes no write lock, so idle workers don't slow down those that send.
            if (yield from self._something_ready(queue)):
                deliveries = yield from self._claim(queue, limit, lease_seconds)
            if deliveries:
                break
        return deliveries

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries, all in one transaction: see ``Broker.settle``."""
        if settlements:
            now = self._clock()
            queues = _names(settlement.delivery for settlement in settlements)
            yield from self._call("transaction", queues, [_settling(settlement, now) for settlement in settlements])
        return [None] * len(settlements)

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Lease deliveries for longer: see ``Broker.extend``."""
        if not deliveries:
            return []
        now = self._clock()
        statements = [
            (sql.EXTEND, {**_naming(delivery), "now": now, "visible_at": now + lease_seconds})
            for delivery in deliveries
        ]
        rows = yield from self._call("transaction", _names(deliveries), statements)
        return [None if extended else _lost(delivery) for delivery, extended in zip(deliveries, rows, strict=True)]

    def depth(self, queue: str) -> Flow[Depth]:
        """Count a queue's messages: see ``Broker.depth``."""
        [[row]] = yield from self._call(
            "query", f"queue {queue!r}", [(sql.DEPTH, {"queue": queue, "now": self._clock()})]
        )
        return Depth(**row)

    def held(self, queues: Sequence[str], *, limit: int, cursor: str | None = None) -> Flow[HeldPage]:
        """A page of what is held back: see ``ListsHeld.held``."""
        after_time, after_sequence = read_cursor(cursor)
        parameters = {
            "queues": json.dumps(list(queues)),
            "now": self._clock(),
            "after_time": after_time,
            "after_sequence": after_sequence,
            "limit": limit + 1,
        }
        [rows] = yield from self._call("query", "what is held back", [(sql.HELD, parameters)])
        page = rows[:limit]
        found = [HeldMessage(row["queue"], row["body"], row["visible_at"]) for row in page]
        more = len(rows) > limit
        return HeldPage(found, write_cursor(page[-1]["visible_at"], page[-1]["sequence"]) if more else None)

    def purge(self, queue: str) -> Flow[int | None]:
        """Remove a queue's messages: see ``Broker.purge``."""
        statements = [(sql.COUNT, {"queue": queue}), (sql.PURGE, {"queue": queue})]
        [[row], _] = yield from self._call("transaction", f"queue {queue!r}", statements)
        count: int = row["messages"]
        return count

    def _send_batch(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        now = self._clock()
        answers: list[Sent | Refused] = []
        statements: list[_Statement] = []
        remembered: dict[int, int] = {}  # position of a statement that answers with a message's id -> of that message
        if is_ordered(queue):
            statements.append((sql.FORGET, {"queue": queue, "before": now - DEDUPLICATION_SECONDS}))
        for message in messages:
            refused = refusal(queue, message, self.capabilities)
            if refused:
                answers.append(refused)
                continue
            row = _row(queue, message, now)
            if row["deduplication"] is not None:
                remembered[len(statements)] = len(answers)
                statements.append((sql.REMEMBER, row))
            statements.append((sql.INSERT, row))
            answers.append(Sent(row["message_id"]))
        if statements:
            rows = yield from self._call("transaction", f"queue {queue!r}", statements)
            for position, message_position in remembered.items():
                answers[message_position] = Sent(rows[position][0]["message_id"])
        return answers

    def _claim(self, queue: str, limit: int, lease_seconds: float) -> Flow[list[Delivery]]:
        now = self._clock()
        claim = sql.CLAIM.format(ready=sql.READY_IN_ORDER if is_ordered(queue) else sql.READY)
        limit = min(limit, self.capabilities.receive_batch)
        parameters = {"queue": queue, "now": now, "lease": lease_seconds, "limit": limit}
        [rows] = yield from self._call("transaction", f"queue {queue!r}", [(claim, parameters)])
        # RETURNING promises no order (https://www.sqlite.org/lang_returning.html, section 3).
        rows.sort(key=lambda row: row["sequence"])
        return [_delivery(queue, row, now, lease_seconds) for row in rows]

    def _something_ready(self, queue: str) -> Flow[bool]:
        ready = sql.READY_IN_ORDER if is_ordered(queue) else sql.READY
        parameters = {"queue": queue, "now": self._clock(), "limit": 1}
        [rows] = yield from self._call("query", f"queue {queue!r}", [(ready, parameters)])
        return bool(rows)

    def _call(self, operation: str, about: str, statements: Sequence[_Statement]) -> Flow[_Rows]:
        try:
            rows: _Rows = yield Call(self._service, operation, {"schema": sql.SCHEMA, "statements": statements})
        except CallError as error:
            kind = OperationalError
            if error.trouble is Trouble.TRANSIENT:
                kind = Unreachable
            elif error.code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "PermissionError")):
                kind = AccessDenied
            raise kind(f"{about}: {error.message}") from error
        return rows


def _row(queue: str, message: Outgoing, now: float) -> dict[str, Any]:
    return {
        "queue": queue,
        "visible_at": now + message.delay_seconds,
        "group": message.group or (DEFAULT_GROUP if is_ordered(queue) else None),
        "message_id": str(uuid4()),
        "now": now,
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
        attributes=json.loads(row["attributes"]),
    )


def _settling(settlement: Settlement, now: float) -> _Statement:
    """The statement that settles a delivery; it finds no row where the delivery is no longer the message's last."""
    delivery = settlement.delivery
    naming = _naming(delivery)
    match settlement:
        case Acknowledge():
            return sql.ACKNOWLEDGE, naming
        case Release(after_seconds=after_seconds):
            return sql.RELEASE, {**naming, "visible_at": now + after_seconds}
        case DeadLetter(reason=reason):
            attributes = {**delivery.attributes, DEAD_LETTER_REASON: reason, DEAD_LETTER_SOURCE: delivery.queue}
            return sql.DEAD_LETTER, {
                **naming,
                "now": now,
                "dead_letter_queue": dead_letter_queue(delivery.queue),
                "attributes": _as_json(attributes),
            }


def _lost(delivery: Delivery) -> Refused:
    return Refused(OperationalError(f"queue {delivery.queue!r}: the lease of message {delivery.message_id} was lost"))


def _naming(delivery: Delivery) -> dict[str, Any]:
    sequence = int(delivery.receipt.partition(".")[0])
    return {"sequence": sequence, "receipt": delivery.receipt, "queue": delivery.queue}


def _names(deliveries: Iterable[Delivery]) -> str:
    queues = sorted({delivery.queue for delivery in deliveries})
    return f"queue{'s' if len(queues) > 1 else ''} {', '.join(map(repr, queues))}"


def _as_json(attributes: Mapping[str, str]) -> str:
    return json.dumps(dict(attributes))
