"""Stores results in one SQLite file, which several processes of one machine can use at once and which outlives them.

Every method is one transaction. The first call creates the file and its directory. The client
(``taskq_cloud.clients.sqlite``) handles connections, the journal and locking.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias
from urllib.parse import SplitResult

from taskq_cloud.core.file_errors import operational_error
from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.model.local_clock import STEP_BACK, clock_schema, see_time
from taskq_cloud.core.model.rates import FARTHEST_SLOT_SECONDS
from taskq_cloud.core.ports import Service
from taskq_cloud.core.records.compressed import unpacked
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FINAL_VERSION, Record
from taskq_cloud.core.urls import file_of, query_of
from taskq_cloud.errors import PayloadTooLarge

_Statement: TypeAlias = tuple[str, Mapping[str, Any]]
_Rows: TypeAlias = list[dict[str, Any]]

LARGEST_RECORD_BYTES: Final = 900_000_000
"""The largest payload of one record. SQLite's own limit is 1,000,000,000 bytes a row
(https://www.sqlite.org/limits.html, SQLITE_MAX_LENGTH)."""

_TABLES = """
CREATE TABLE IF NOT EXISTS results (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, version INTEGER NOT NULL, payload TEXT NOT NULL, expires_at REAL,
    fence INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS results_expire ON results (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS joins (id TEXT PRIMARY KEY, expires_at REAL);
CREATE INDEX IF NOT EXISTS joins_expire ON joins (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS join_members (
    join_id TEXT NOT NULL, member TEXT NOT NULL, PRIMARY KEY (join_id, member)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, fence INTEGER NOT NULL, lapses_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS claims_lapse ON claims (lapses_at);
CREATE TABLE IF NOT EXISTS rates (key TEXT PRIMARY KEY, next_slot REAL NOT NULL, spent_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS rates_spent ON rates (spent_at);
"""

# A lock and a slot must not last longer than they were meant to because the machine's clock was set back.
_SCHEMA = _TABLES + clock_schema(
    "results_clock",
    f"""
    UPDATE claims SET lapses_at = lapses_at - {STEP_BACK} WHERE lapses_at > new.latest;
    UPDATE rates SET next_slot = next_slot - {STEP_BACK}, spent_at = spent_at - {STEP_BACK}
    WHERE spent_at > new.latest;
    """,  # noqa: S608 - the inserted value is a constant
)
_SEE_TIME = see_time("results_clock")

_LOAD = """
SELECT id, state, version, payload, expires_at, fence FROM results
WHERE id IN (SELECT value FROM json_each(:ids)) AND (expires_at IS NULL OR expires_at > :now)
"""

# The WHERE clause is records.may_replace; the statement returns a row only if it wrote one.
_SAVE = f"""
INSERT INTO results (id, state, version, payload, expires_at, fence)
VALUES (:id, :state, :version, :payload, :expires_at, :fence)
ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, version = excluded.version, payload = excluded.payload,
    expires_at = excluded.expires_at, fence = excluded.fence
WHERE results.expires_at <= :now
    OR (results.version < {FINAL_VERSION} AND results.version <= excluded.version AND results.fence <= excluded.fence)
RETURNING id
"""  # noqa: S608 - the inserted value is a constant

_SWEPT = 20
"""Each write removes so many expired rows more than it adds: so rows don't pile up, and no write pays for all."""

_SWEEP = "DELETE FROM results WHERE id IN (SELECT id FROM results WHERE expires_at <= :now LIMIT :swept)"

_DELETE = "DELETE FROM results WHERE id IN (SELECT value FROM json_each(:ids))"

# A member of the same join from before its expiry doesn't count. Other joins that have expired go one after the
# other, in steps: first the members, and then the join.
_JOIN = (
    """
    DELETE FROM join_members
    WHERE join_id = :id AND EXISTS (SELECT 1 FROM joins WHERE id = :id AND expires_at <= :now)
    """,
    """
    INSERT INTO joins (id, expires_at) VALUES (:id, :expires_at)
    ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at
    """,
    "INSERT OR IGNORE INTO join_members (join_id, member) VALUES (:id, :member)",
    "SELECT count(*) AS arrived FROM join_members WHERE join_id = :id",
    """
    DELETE FROM join_members
    WHERE join_id = (SELECT id FROM joins WHERE expires_at <= :now ORDER BY expires_at LIMIT 1) AND member IN (
        SELECT member FROM join_members
        WHERE join_id = (SELECT id FROM joins WHERE expires_at <= :now ORDER BY expires_at LIMIT 1) LIMIT :swept
    )
    """,
    """
    DELETE FROM joins
    WHERE id = (SELECT id FROM joins WHERE expires_at <= :now ORDER BY expires_at LIMIT 1)
        AND NOT EXISTS (SELECT 1 FROM join_members WHERE join_id = joins.id)
    """,
)

_REMOVE_OLD_LOCKS = "DELETE FROM claims WHERE key IN (SELECT key FROM claims WHERE lapses_at <= :forgotten_at LIMIT 20)"

_LOCK = """
INSERT INTO claims (key, owner, fence, lapses_at) VALUES (:key, :owner, 1, :lapses_at)
ON CONFLICT (key) DO UPDATE SET
    owner = excluded.owner, lapses_at = excluded.lapses_at, fence = claims.fence + (claims.lapses_at <= :now)
WHERE claims.lapses_at <= :now OR claims.owner = excluded.owner
RETURNING fence
"""

_UNLOCK = """
UPDATE claims SET lapses_at = :now WHERE key = :key AND owner = :owner AND lapses_at > :now RETURNING fence
"""

# Removing such a row changes nothing: the key's next slot would be the same without the row.
_REMOVE_OLD_RATES = "DELETE FROM rates WHERE key IN (SELECT key FROM rates WHERE spent_at <= :now LIMIT 20)"

# The statement is rates.take_slot; it returns no row if the slot is too far ahead.
_RESERVE = """
INSERT INTO rates (key, next_slot, spent_at) VALUES (:key, :earliest + :interval, :earliest + :interval + :credit)
ON CONFLICT (key) DO UPDATE SET
    next_slot = max(rates.next_slot, :earliest) + :interval,
    spent_at = max(rates.next_slot, :earliest) + :interval + :credit
WHERE rates.next_slot <= :farthest
RETURNING next_slot
"""


class SQLiteResults:
    """The store behind ``sqlite:///path``.

    Args:
        path: the database's file.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=LARGEST_RECORD_BYTES,
        joins=True,
        claims=True,
        reservations_per_second=math.inf,
        shared_between_processes=True,
        durable=True,
        saves_together=True,
        loads_together=True,
    )

    def __init__(self, path: str | Path, clock: Callable[[], float] = time.time) -> None:
        # The path is made absolute, so that a later change of the working directory doesn't lead to another file.
        self._path = str(Path(path).absolute())
        self._service = f"sqlite:{self._path}"
        self._clock = clock

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> SQLiteResults:
        """Make the store for ``sqlite:///relative/path`` or ``sqlite:////absolute/path``."""
        query_of(url)
        return cls(file_of(url))

    @property
    def services(self) -> Mapping[str, Service]:
        """The client that opens the file."""
        return {self._service: Service("sqlite", (("path", self._path),))}

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records: see ``ResultStore.load``."""
        if not ids:
            return {}
        (rows,) = yield from self._run("query", [(_LOAD, {"ids": json.dumps(list(ids)), "now": self._clock()})])
        return {row["id"]: _record(row) for row in rows}

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records: see ``ResultStore.save``."""
        if not records:
            return []
        now = self._clock()
        statements = [(_SAVE, {**_row(record), "now": now}) for record in records]
        ended = [_topic(record.id) for record in records if record.final]
        rows = yield from self._run(
            "transaction", [*statements, (_SWEEP, {"now": now, "swept": _SWEPT + len(records)})], ended
        )
        return [bool(each) for each in rows[: len(records)]]

    def save_each(self, records: Sequence[Record]) -> Flow[list[bool | Exception]]:
        """Write records in one transaction, which all of them are in or none: see ``SavesTogether.save_each``."""
        return [*(yield from self.save(records))]

    def listen(self, ids: Sequence[str], listener: Listener) -> Flow[bool]:
        """Let a listener hear of the ends of tasks: see ``TellsOfEnds.listen``."""
        topics = {_topic(each): each for each in ids}
        heard: bool = yield from self._call("listen", listener=listener, topics=topics)
        return heard

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records."""
        if ids:
            yield from self._run("transaction", [(_DELETE, {"ids": json.dumps(list(ids))})])

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member: see ``ResultStore.join``."""
        values = {"id": join_id, "member": member, "expires_at": expires_at, "now": self._clock(), "swept": _SWEPT}
        rows = yield from self._run("transaction", [(sql, values) for sql in _JOIN])
        arrived: int = rows[3][0]["arrived"]
        return arrived >= size

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Take, renew or give up the fenced lock on a key: see ``ResultStore.claim``."""
        now = self._clock()
        values = {
            "key": key,
            "owner": owner,
            "now": now,
            "lapses_at": now + ttl_seconds,
            "forgotten_at": now - FENCE_KEPT_SECONDS,
        }
        statement = _LOCK if ttl_seconds > 0 else _UNLOCK
        statements = [(each, values) for each in (_SEE_TIME, _REMOVE_OLD_LOCKS, statement)]
        rows = yield from self._run("transaction", statements)
        return rows[-1][0]["fence"] if rows[-1] else None

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Take a key's next slot: see ``ResultStore.reserve``."""
        now = self._clock()
        values = {
            "key": key,
            "now": now,
            "earliest": now - credit_seconds,
            "interval": interval_seconds,
            "credit": credit_seconds,
            "farthest": now + FARTHEST_SLOT_SECONDS,
        }
        statements = [(each, values) for each in (_SEE_TIME, _REMOVE_OLD_RATES, _RESERVE)]
        rows = yield from self._run("transaction", statements)
        return rows[-1][0]["next_slot"] - interval_seconds if rows[-1] else None

    def _run(self, operation: str, statements: Sequence[_Statement], announce: Sequence[str] = ()) -> Flow[list[_Rows]]:
        answer: list[_Rows] = yield from self._call(
            operation, schema=_SCHEMA, statements=list(statements), announce=announce
        )
        return answer

    def _call(self, operation: str, **parameters: Any) -> Flow[Any]:
        try:
            return (yield Call(self._service, operation, parameters))
        except CallError as error:
            raise operational_error("the result store can't be used", error) from error


def _topic(task_id: str) -> str:
    """What is announced when a task has ended."""
    return f"result {task_id}"


def _record(row: Mapping[str, Any]) -> Record:
    payload = row["payload"]
    return Record(**{**row, "payload": unpacked(payload)}) if isinstance(payload, bytes) else Record(**row)


def _row(record: Record) -> dict[str, Any]:
    size = len(record.body)
    if size > LARGEST_RECORD_BYTES:
        raise PayloadTooLarge(
            f"the result of task {record.id} is {size} bytes; SQLite takes at most {LARGEST_RECORD_BYTES}: "
            "set TASKQ_PAYLOADS to a bucket for larger results, or store the data elsewhere and return its location"
        )
    return {
        "id": record.id,
        "state": record.state,
        "version": record.version,
        "payload": record.payload if record.packed is None else record.packed,
        "expires_at": record.expires_at,
        "fence": record.fence,
    }
