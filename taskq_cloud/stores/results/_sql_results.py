"""The flows that the result stores in SQL databases share: each is one transaction of the store's client.

A store says which statements it has (``_sql_statements``), how a record is written as a row and a row read as a record,
and how its client runs a transaction.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.records.compressed import unpacked
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import PayloadTooLarge
from taskq_cloud.stores.results._sql_records import RecordStatements, Rows, Statement
from taskq_cloud.stores.results._sql_statements import SWEPT, Statements

SWEEP_EVERY: Final = 20
"""How many rows a store on a server adds between two sweeps."""

_MOST_IN_ONE: Final = 1000
"""The most ids in one statement: MySQL's take a parameter for each."""


def sql_capabilities(largest_record_bytes: int) -> StoreCapabilities:
    """Return the capabilities of a store in an SQL database, which differ in the size of a record only."""
    return StoreCapabilities(
        largest_record_bytes=largest_record_bytes,
        joins=True,
        claims=True,
        reservations_per_second=math.inf,
        shared_between_processes=True,
        durable=True,
        saves_together=True,
        loads_together=True,
    )


class SQLResults:
    """The part of a result store in an SQL database that doesn't depend on the database.

    Args:
        clock: returns the time, in seconds since the epoch; None: this machine's clock.
        sweep_every: how many rows are added between two sweeps; 1: each write sweeps.
    """

    database: str
    """The database's name in errors."""

    largest_bytes: int
    """The largest payload of a record."""

    def __init__(self, clock: Callable[[], float] | None, sweep_every: int = 1) -> None:
        self._clock = clock or time.time
        self._sweep_every = sweep_every
        self._added = {"results": sweep_every, "joins": sweep_every}  # the first write of a process sweeps

    # What a store defines

    def _prepare(self) -> Flow[Statements]:
        """Return the store's statements, for which a call may be needed."""
        raise NotImplementedError

    def _run(self, operation: str, statements: Sequence[Statement], announce: Sequence[str] = ()) -> Flow[list[Rows]]:
        """Run statements as one transaction, and announce topics after it."""
        raise NotImplementedError

    def _row(self, record: Record) -> Mapping[str, Any]:
        """Write a record as a row."""
        raise NotImplementedError

    def _record(self, row: Mapping[str, Any]) -> Record:
        """Read a record from its row."""
        raise NotImplementedError

    def _before_locks(self, _now: float) -> list[Statement]:
        """The statements before those of a lock or a slot."""
        return []

    def _topic(self, _task_id: str) -> str:
        """The topic that is announced when a task has ended; empty: nobody can listen."""
        return ""

    # The methods of the port

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records: see ``ResultStore.load``."""
        if not ids:
            return {}
        prepared, now = (yield from self._prepare()), self._clock()
        statements = [table.load(part) for table, part in _parts(prepared, ids)]
        answers = yield from self._run("query", statements)
        records = [self._record(row) for rows in answers for row in rows]
        return {each.id: each for each in records if each.expires_at is None or each.expires_at > now}

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records in one transaction: see ``ResultStore.save``."""
        if not records:
            return []
        rows = [self._checked(record) for record in records]
        prepared, now = (yield from self._prepare()), self._clock()
        statements: list[Statement] = []
        rounds = _rounds(prepared, records)
        begins: list[int] = []
        for table, positions in rounds:
            begins.append(len(statements))
            statements += table.save([rows[position] for position in positions], now)
        begins.append(len(statements))
        if limit := self._to_sweep("results", len(records)):
            statements += [table.sweep(now, limit) for table in prepared.tables]
        topics = [topic for record in records if record.final and (topic := self._topic(record.id))]
        answers = yield from self._run("transaction", statements, topics)
        written = [False] * len(records)
        for number, (table, positions) in enumerate(rounds):
            saved = table.saved(answers[begins[number] : begins[number + 1]])
            for position in positions:
                written[position] = prepared.key_of(records[position].id) in saved
        return written

    def save_each(self, records: Sequence[Record]) -> Flow[list[bool | Exception]]:
        """Write records in one transaction, which all of them are in or none: see ``SavesTogether.save_each``."""
        return [*(yield from self.save(records))]

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records."""
        if ids:
            prepared = yield from self._prepare()
            statements = [table.delete(part) for table, part in _parts(prepared, ids)]
            yield from self._run("transaction", statements)

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member: see ``ResultStore.join``."""
        prepared, now = (yield from self._prepare()), self._clock()
        statements = prepared.join(join_id, member, expires_at, now)
        last = len(statements) - 1
        if limit := self._to_sweep("joins", 1):
            statements += prepared.sweep_joins(now, limit)
        answers = yield from self._run("transaction", statements)
        arrived: int = answers[last][0]["arrived"]
        return arrived >= size

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Take, renew or give up the fenced lock on a key: see ``ResultStore.claim``."""
        prepared, now = (yield from self._prepare()), self._clock()
        statements = [*self._before_locks(now), *prepared.claim(key, owner, ttl_seconds, now)]
        answers = yield from self._run("transaction", statements)
        return next((row["fence"] for rows in answers for row in rows), None)

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Take a key's next slot: see ``ResultStore.reserve``."""
        prepared, now = (yield from self._prepare()), self._clock()
        statements = [*self._before_locks(now), *prepared.reserve(key, interval_seconds, credit_seconds, now)]
        answers = yield from self._run("transaction", statements)
        return next((row["next_slot"] - interval_seconds for rows in answers for row in rows), None)

    def _to_sweep(self, table: str, added: int) -> int:
        """How many expired rows a write removes, given how many rows it adds; 0: none."""
        total = self._added[table] + added
        swept = total >= self._sweep_every
        self._added[table] = 0 if swept else total
        return total + SWEPT if swept else 0

    def _checked(self, record: Record) -> Mapping[str, Any]:
        size = len(record.body)
        if size > self.largest_bytes:
            raise PayloadTooLarge(
                f"the result of task {record.id} is {size} bytes; {self.database} takes at most {self.largest_bytes}: "
                "set TASKQ_PAYLOADS to a bucket for larger results, or store the data elsewhere and return its location"
            )
        return self._row(record)


def plain_row(record: Record) -> dict[str, Any]:
    """Write a record as a row of a table that has a column for each field."""
    return {
        "id": record.id,
        "state": record.state,
        "version": record.version,
        "payload": record.payload if record.packed is None else record.packed,
        "expires_at": record.expires_at,
        "fence": record.fence,
    }


def plain_record(row: Mapping[str, Any]) -> Record:
    """Read a record from such a row."""
    payload = row["payload"]
    return Record(**{**row, "payload": payload if isinstance(payload, str) else unpacked(bytes(payload))})


def _parts(prepared: Statements, ids: Sequence[str]) -> list[tuple[RecordStatements, list[str]]]:
    """Divide ids into parts for one statement each: the table, and keys in it."""
    if len(ids) == 1:
        return [(prepared.of(ids[0]), [prepared.key_of(ids[0])])]
    keys: dict[RecordStatements, dict[str, None]] = {}
    for each in ids:
        keys.setdefault(prepared.of(each), {})[prepared.key_of(each)] = None
    return [
        (table, list(chosen)[start : start + _MOST_IN_ONE])
        for table, chosen in keys.items()
        for start in range(0, len(chosen), _MOST_IN_ONE)
    ]


def _rounds(prepared: Statements, records: Sequence[Record]) -> list[tuple[RecordStatements, list[int]]]:
    """Divide records into rounds: a table, and the positions of records in which an id occurs once.

    In a round the records are in the order of their ids: two transactions that write the same rows then wait for each
    other, and don't end in a deadlock.
    """
    if len(records) == 1:
        return [(prepared.of(records[0].id), [0])]
    seen: dict[str, int] = {}
    rounds: dict[tuple[RecordStatements, int], list[int]] = {}
    for position in sorted(range(len(records)), key=lambda each: records[each].id):
        record_id = records[position].id
        number = seen[record_id] = seen.get(record_id, -1) + 1
        rounds.setdefault((prepared.of(record_id), number), []).append(position)
    return [(table, positions) for (table, _), positions in rounds.items()]
