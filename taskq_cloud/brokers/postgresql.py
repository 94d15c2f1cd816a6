"""The PostgreSQL broker: queues in a database, which can be sent to in an application's own transactions.

The tables are described in ``_postgresql_schema``. They are created by the first call if the role may do that. Each
method takes one round trip, except for a purge, and for a receive that finds nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult

from taskq_cloud.brokers import _postgresql_settling as settling
from taskq_cloud.brokers._local import (
    DEDUPLICATION_SECONDS,
    LOCAL_CAPABILITIES,
    lost_lease,
    queues_with_more,
    read_cursor,
    refusal,
    send_in_batches,
    write_cursor,
)
from taskq_cloud.brokers._postgresql_schema import DEFAULT_PREFIX, Tables
from taskq_cloud.brokers._postgresql_sending import Batch
from taskq_cloud.brokers._postgresql_statements import IDENTITY, SCHEMA_OF, Statements, array_of
from taskq_cloud.brokers._postgresql_waiting import receive_or_wait
from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.capabilities import BrokerCapabilities, is_ordered
from taskq_cloud.core.model.message import Delivery, Outgoing, Refused, Sent, Settlement
from taskq_cloud.core.ports import Depth, HeldMessage, HeldPage, Service
from taskq_cloud.core.servers.postgresql import Database, Place, database_of, operational_error
from taskq_cloud.core.urls import shown

PURGED_IN_A_STEP: Final = 10_000
"""Messages that a purge removes in one transaction: some 100 ms."""

_Rows = list[list[dict[str, Any]]]


class PostgreSQLBroker:
    """The broker of ``postgresql://host/database`` URLs.

    Args:
        database: the database.
        tables: the names of its tables; None: the default ones.
        clock: returns the time, in seconds since the epoch; None: the server's own time counts.
        topics: the beginning of what is announced; None: it is made from the names of the tables.
    """

    capabilities: ClassVar[BrokerCapabilities] = LOCAL_CAPABILITIES

    def __init__(
        self,
        database: Database,
        tables: Tables | None = None,
        clock: Callable[[], float] | None = None,
        topics: str | None = None,
    ) -> None:
        self._database = database
        self._tables = tables or Tables()
        self._clock = clock
        self._topics = f"{self._tables.schema}.{self._tables.prefix}" if topics is None else topics
        self._schema = self._tables.script
        self._sql = Statements(self._tables, given_time=clock is not None)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> PostgreSQLBroker:
        """Make the broker of ``postgresql://user:password@host/database``, with libpq's parameters and our options.

        Raises:
            ImproperlyConfigured: an option is unknown, or its value is impossible.
        """
        return cls.from_urls([url], options)

    @classmethod
    def from_urls(cls, urls: Sequence[SplitResult], options: Mapping[str, Any]) -> PostgreSQLBroker:
        """Make the broker of a database on several servers, of which one takes writes; see ``from_url``.

        Args:
            urls: the URLs, which differ in their hosts only.
            options: ``schema`` and ``prefix``, if they are not in the URL. Options of kombu's have no effect.
        """
        database = database_of(urls, ("schema", "prefix"))
        named = {"schema": "", "prefix": DEFAULT_PREFIX, **options, **database.query}
        tables = Tables(str(named["schema"]), str(named["prefix"]))
        tables.check(shown(urls[0]))
        return cls(database, tables)

    @property
    def services(self) -> Mapping[str, Service]:
        """The one service, which is the database."""
        return {self._database.name: self._database.service}

    @property
    def schema(self) -> tuple[str, str]:
        """What the client needs to create the tables; see ``HasTables.schema``."""
        return self._schema

    @property
    def script(self) -> str:
        """The statements that create the tables, for a role that may do that; see ``HasTables.script``."""
        return self._schema[1].strip()

    @property
    def identity(self) -> str:
        """The query that identifies a database: by its name, and by the start of its server."""
        return IDENTITY

    def place(self) -> Flow[Place]:
        """Find the broker's database and schema; see ``SendsInTransactions.place``."""
        about = "the broker's database"
        statements: list[tuple[str, dict[str, Any]]] = [(IDENTITY, {}), (SCHEMA_OF.format(**self._tables.names), {})]
        [[identity], [row]] = yield from self._run("query", about, statements)
        return Place(identity, row["schema"])

    def within(self, service: str, place: Place) -> PostgreSQLBroker:
        """Make a broker that sends by the calls of a service: see ``SendsInTransactions.within``."""
        database = Database(service, self._database.service, {})
        return PostgreSQLBroker(database, Tables(place.schema, self._tables.prefix), self._clock, self._topics)

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Send messages, up to ``send_batch`` in one transaction; see ``Broker.send``."""
        return (yield from send_in_batches(messages, self.capabilities.send_batch, partial(self._send_batch, queue)))

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Receive messages; see ``Broker.receive``."""
        listener = Listener()
        try:
            return (
                yield from receive_or_wait(
                    partial(self._take, queue, limit, lease_seconds),
                    partial(self._seconds_until_next, queue),
                    wait_seconds,
                    partial(self._listen, queue, listener),
                )
            )
        finally:
            listener.close()

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries, all in one transaction; see ``Broker.settle``."""
        if settlements:
            about = _queue_names(settlement.delivery for settlement in settlements)
            statements = settling.statements(self._sql, settlements)
            yield from self._transaction(about, statements, queues_with_more(settlements))
        return [None] * len(settlements)

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Extend the leases of deliveries; see ``Broker.extend``."""
        if not deliveries:
            return []
        statements = settling.extension(self._sql, deliveries, lease_seconds)
        rows = yield from self._transaction(_queue_names(deliveries), statements)
        extended = {f"{row['sequence']}.{row['lease']}" for found in rows for row in found if "lease" in row}
        return [None if each.receipt in extended else lost_lease(each) for each in deliveries]

    def depth(self, queue: str) -> Flow[Depth]:
        """Count a queue's messages; see ``Broker.depth``."""
        [[row]] = yield from self._query(f"queue {queue!r}", self._sql.depth, {"queue": queue})
        return Depth(**row)

    def held(self, queues: Sequence[str], *, limit: int, cursor: str | None = None) -> Flow[HeldPage]:
        """List the messages that queues hold back; see ``ListsHeld.held``."""
        after_time, after_sequence = read_cursor(cursor)
        parameters = {
            "queues": array_of(queues),
            "after_time": after_time,
            "after_sequence": after_sequence,
            "limit": limit + 1,
        }
        [rows] = yield from self._query("listing delayed messages", self._sql.list_held, parameters)
        page = rows[:limit]
        found = [HeldMessage(row["queue"], row["body"], row["visible_at"]) for row in page]
        more = len(rows) > limit
        return HeldPage(found, write_cursor(page[-1]["visible_at"], page[-1]["sequence"]) if more else None)

    def purge(self, queue: str) -> Flow[int | None]:
        """Remove a queue's messages; see ``Broker.purge``."""
        about, parameters = f"queue {queue!r}", {"queue": queue}
        if is_ordered(queue):
            # In one step: messages whose groups are gone could not be received if the purge ended half-way.
            statements = [(self._sql.purge_groups, parameters), (self._sql.purge, parameters)]
            [_, [row]] = yield from self._transaction(about, statements)
            count: int = row["messages"]
            return count
        [[row]] = yield from self._query(about, self._sql.last, {})
        step = {"queue": queue, "last": row["last"], "limit": PURGED_IN_A_STEP}
        removed: int = 0
        while True:
            [[row]] = yield from self._transaction(about, [(self._sql.purge_some, step)])
            removed += row["messages"]
            if row["found"] < PURGED_IN_A_STEP:
                return removed

    def _send_batch(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        batch = Batch(queue)
        for message in messages:
            batch.add(message, refusal(queue, message, self.capabilities))
        if not batch:
            return batch.answers()
        statements = batch.statements(self._sql, DEDUPLICATION_SECONDS)
        rows = yield from self._transaction(f"queue {queue!r}", statements, [queue])
        return batch.answers({row["id"]: row["message_id"] for found in rows for row in found})

    def _listen(self, queue: str, listener: Listener) -> Flow[Listener | None]:
        topics = {self._topic(queue): queue}
        heard = yield from self._call("listen", f"queue {queue!r}", listener=listener, topics=topics)
        return listener if heard else None

    def _take(self, queue: str, limit: int, lease_seconds: float) -> Flow[list[Delivery]]:
        limit = min(limit, self.capabilities.receive_batch)
        parameters = {"queue": queue, "seconds": lease_seconds, "limit": limit}
        statements = [(self._sql.receive, parameters)]
        if is_ordered(queue):
            parameters["holder"] = os.urandom(8).hex()
            in_turn = (self._sql.hold_groups, self._sql.receive_in_order, self._sql.set_times_of_held)
            statements = [(each, parameters) for each in in_turn]
        now = (self._clock or time.time)()
        found = yield from self._transaction(f"queue {queue!r}", statements)
        rows = sorted((row for of_statement in found for row in of_statement), key=lambda row: row["sequence"])
        return [_delivery(queue, row, now, lease_seconds) for row in rows]

    def _seconds_until_next(self, queue: str) -> Flow[float | None]:
        ready = self._sql.next_in_order if is_ordered(queue) else self._sql.next
        [[row]] = yield from self._query(f"queue {queue!r}", ready, {"queue": queue})
        seconds: float | None = row["seconds"]
        return seconds

    def _query(self, about: str, statement: str, parameters: Mapping[str, Any]) -> Flow[_Rows]:
        rows: _Rows = yield from self._run("query", about, [(statement, parameters)])
        return rows

    def _transaction(
        self, about: str, statements: Sequence[tuple[str, Mapping[str, Any]]], queues: Iterable[str] = ()
    ) -> Flow[_Rows]:
        """Run a transaction, and announce it to those who wait for messages of some queues."""
        announce = [*map(self._topic, queues)]
        rows: _Rows = yield from self._run("transaction", about, statements, announce=announce)
        return rows

    def _run(
        self, operation: str, about: str, statements: Sequence[tuple[str, Mapping[str, Any]]], **more: Any
    ) -> Flow[_Rows]:
        if self._clock is not None:
            now = self._clock()
            statements = [(statement, {**parameters, "now": now}) for statement, parameters in statements]
        rows: _Rows = yield from self._call(operation, about, schema=self._schema, statements=statements, **more)
        return rows

    def _call(self, operation: str, about: str, **parameters: Any) -> Flow[Any]:
        try:
            return (yield Call(self._database.name, operation, parameters))
        except CallError as error:
            raise operational_error(about, error) from error

    def _topic(self, queue: str) -> str:
        """The channel on which a queue's messages are announced; its length is limited, and the queue's name isn't."""
        return f"taskq_queue_{sha256((self._topics + queue).encode()).hexdigest()[:24]}"


def _delivery(queue: str, row: Mapping[str, Any], now: float, lease_seconds: float) -> Delivery:
    return Delivery(
        queue=queue,
        message_id=row["message_id"],
        receipt=f"{row['sequence']}.{row['lease']}",
        body=row["body"],
        receive_count=row["receive_count"],
        sent_at=row["sent_at"],
        received_at=now,
        lease_seconds=lease_seconds,
        group=row["message_group"],
        attributes=json.loads(row["attributes"]) if row["attributes"] else {},
    )


def _queue_names(deliveries: Iterable[Delivery]) -> str:
    queues = sorted({delivery.queue for delivery in deliveries})
    return f"queue{'s' if len(queues) > 1 else ''} {', '.join(map(repr, queues))}"
